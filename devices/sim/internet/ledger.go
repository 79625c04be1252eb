package internet

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of the ledger where the configuration names none.
const (
	defaultMaxBody   = 4 << 20
	defaultMaxBodies = 256 << 20
	// maxEntries bounds each list of the ledger.
	maxEntries = 500_000
	// maxDrain bounds what is read of a body that nobody wants, in bytes.
	maxDrain = 1 << 30
)

// An Entry is one HTTP request that a host truly received.
type Entry struct {
	// ID counts the ledger's entries from 1.
	ID int
	// At is when the request's header had been read.
	At time.Time
	// Host is the name of the simulated host that received the request, whatever
	// the request itself says; Authority is what it says (Host or :authority).
	Host, Authority string
	// SNI is the name that the client asked for in its TLS handshake.
	SNI string
	// Remote is the address that the request came from; Phone is the name of the
	// stack that has it ("lab" for the SOCKS door).
	Remote netip.AddrPort
	Phone  string
	TLS    bool
	// Proto is "HTTP/1.1" or "HTTP/2.0".
	Proto  string
	Method string
	// URL is the full address, RequestURI what stood in the request line.
	URL, RequestURI string
	Header          http.Header
	// Body is what was stored of the body, BodySize its true size in bytes.
	// Truncated is true when they differ, which only a full store, a body over
	// the limit, or a client that broke off can cause.
	Body      []byte
	BodySize  int64
	Truncated bool
	// Err says why the body could not be read to its end.
	Err string
}

// A Question is one DNS question that the resolver received.
type Question struct {
	At     time.Time
	Remote netip.AddrPort
	Phone  string
	// Name is without its final dot, Type "A", "AAAA" or a number.
	Name, Type string
	Answers    []netip.Addr
	// RCode is the code of the answer: 0 no error, 3 no such name.
	RCode int
}

// A Connection is one TCP connection that a host accepted.
type Connection struct {
	At     time.Time
	Host   string
	Remote netip.AddrPort
	Phone  string
	Port   uint16
	// TLS is true for a TLS port; SNI and ALPN are then what the client's hello
	// and the handshake said, and Failure why the handshake failed.
	TLS       bool
	SNI, ALPN string
	Failure   string
}

// A Ledger is the truth of what the hosts received. It is safe for concurrent
// use.
type Ledger struct {
	maxBody, maxBodies int64

	mu          sync.Mutex
	changed     chan struct{}
	stored      int64
	lost        int
	entries     []*Entry
	questions   []Question
	connections []Connection
}

func newLedger(maxBody, maxBodies int64) *Ledger {
	if maxBody <= 0 {
		maxBody = defaultMaxBody
	}
	if maxBodies <= 0 {
		maxBodies = defaultMaxBodies
	}
	return &Ledger{maxBody: maxBody, maxBodies: maxBodies, changed: make(chan struct{})}
}

// Entries returns a copy of all requests, in the order in which their headers
// had been read. An entry is there before the request is answered.
func (l *Ledger) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Entry, len(l.entries))
	for i, e := range l.entries {
		all[i] = *e
	}
	return all
}

// Questions returns a copy of all DNS questions, in order.
func (l *Ledger) Questions() []Question {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.questions)
}

// Connections returns a copy of all accepted connections, in order; one with
// TLS is there once its handshake is over.
func (l *Ledger) Connections() []Connection {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.connections)
}

// Lost counts records that a full ledger could not take.
func (l *Ledger) Lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Wait returns the first entry, past or to come, that fits. The error is the
// context's.
func (l *Ledger) Wait(ctx context.Context, fits func(Entry) bool) (Entry, error) {
	next := 0
	for {
		l.mu.Lock()
		changed := l.changed
		var news []Entry
		for _, e := range l.entries[next:] {
			news = append(news, *e)
		}
		next = len(l.entries)
		l.mu.Unlock()
		for _, e := range news {
			if fits(e) {
				return e, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Entry{}, ctx.Err()
		}
	}
}

// record adds an entry and returns it; the caller changes it only through the
// ledger.
func (l *Ledger) record(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) >= maxEntries {
		l.lost++
		return
	}
	e.ID = len(l.entries) + 1
	if room := l.maxBodies - l.stored; int64(len(e.Body)) > room {
		e.Body, e.Truncated = e.Body[:room:room], true
	}
	l.stored += int64(len(e.Body))
	l.entries = append(l.entries, e)
	close(l.changed)
	l.changed = make(chan struct{})
}

// rest notes what came after the stored part of a body.
func (l *Ledger) rest(e *Entry, size int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.BodySize, e.Err = size, errText(err)
	e.Truncated = e.Truncated || err != nil || size != int64(len(e.Body))
}

func (l *Ledger) question(q Question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.questions) >= maxEntries {
		l.lost++
		return
	}
	l.questions = append(l.questions, q)
}

func (l *Ledger) connection(c Connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.connections) >= maxEntries {
		l.lost++
		return
	}
	l.connections = append(l.connections, c)
}

// read takes the body of a request into e, up to the limit, and leaves r with a
// body that a handler can read in full. It returns what has to be called after
// the handler.
func (l *Ledger) read(e *Entry, r *http.Request) (finish func()) {
	stored, err := io.ReadAll(io.LimitReader(r.Body, l.maxBody))
	e.Body, e.BodySize, e.Err = stored, int64(len(stored)), errText(err)
	e.Truncated = err != nil
	more := err == nil && int64(len(stored)) == l.maxBody
	if more {
		// Whether the body ends here is not known yet, and not claimed.
		e.Truncated = true
	}
	original := r.Body
	counted := &counter{r: original}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(stored), counted), original}
	l.record(e)
	return func() {
		if !more {
			return
		}
		_, err := io.Copy(io.Discard, io.LimitReader(counted, maxDrain))
		if counted.n == 0 && err == nil {
			l.complete(e)
			return
		}
		l.rest(e, int64(len(stored))+counted.n, err)
	}
}

// complete notes that the stored part of a body was all of it.
func (l *Ledger) complete(e *Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Truncated = int64(len(e.Body)) != e.BodySize
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
