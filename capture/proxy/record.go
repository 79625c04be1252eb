package proxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	burstGap    = 10 * time.Millisecond // as capture.Flow.Sent allows
	maxBursts   = 1 << 13               // of one flow; further bytes join the last
	flowCost    = 1 << 10               // what a flow is reckoned to hold in memory
	burstCost   = 40
	exchangeFee = 1 << 9
	maxProblems = 64
)

// A recorder is the memory of a session. What it stores is bounded by
// Options.MaxMemory; what does not fit any more is counted and said.
type recorder struct {
	o     Options
	start time.Time
	used  atomic.Int64

	mu        sync.Mutex
	flows     []*flow
	exchanges []*exchange
	sent      []capture.Beacon
	seen      int64 // connections
	dropped   int64 // connections and exchanges that were not recorded
	problems  []string
	ended     time.Time // of an early death
}

func newRecorder(o Options) *recorder {
	return &recorder{o: o, start: o.Clock()}
}

// afford books memory. Replies are the first to be cut: they may use up only
// half of it, because what the phone sent matters more.
func (r *recorder) afford(n int64, reply bool) bool {
	limit := r.o.MaxMemory
	if reply {
		limit /= 2
	}
	if r.used.Add(n) > limit {
		r.used.Add(-n)
		return false
	}
	return true
}

// lost counts something that was not recorded.
func (r *recorder) lost(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropped++
	r.problemLocked(why)
}

// problem notes a doubt once.
func (r *recorder) problem(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problemLocked(text)
}

func (r *recorder) problemLocked(text string) {
	text = "proxy: " + text
	if len(r.problems) < maxProblems && !slices.Contains(r.problems, text) {
		r.problems = append(r.problems, text)
	}
}

func (r *recorder) died(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = r.o.Clock()
	r.problemLocked(why)
}

func (r *recorder) lastProblem() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.problems) == 0 {
		return "it was stopped"
	}
	return r.problems[len(r.problems)-1]
}

func (r *recorder) beacon(b capture.Beacon) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, b)
}

// trace copies what is known, so that the caller may keep it while recording
// goes on.
func (r *recorder) trace(now time.Time) capture.Trace {
	r.mu.Lock()
	defer r.mu.Unlock()
	dropped := r.dropped
	t := capture.Trace{
		Backend: Name, Start: r.start, End: now,
		Beacons: slices.Clone(r.sent),
		Health: capture.Health{
			Packets: r.seen, Dropped: &dropped, Truncated: !r.ended.IsZero(), Died: r.ended,
			Problems: slices.Clone(r.problems),
		},
	}
	for _, f := range r.flows {
		t.Flows = append(t.Flows, f.snapshot())
	}
	for _, x := range r.exchanges {
		t.Exchanges = append(t.Exchanges, x.snapshot())
	}
	return t
}

// A flow is one connection of the phone.
type flow struct {
	r      *recorder
	active atomic.Int64 // when something last moved, in Unix nanoseconds

	mu sync.Mutex
	f  capture.Flow
}

func (r *recorder) newFlow(client net.Addr) *flow {
	now := r.o.Clock()
	f := &flow{r: r}
	f.active.Store(now.UnixNano())
	f.f = capture.Flow{
		Backend: Name, Proto: capture.TCP, Client: addrPort(client), Start: now, End: now,
		Visibility: capture.Metadata,
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen++
	f.f.ID = strconv.FormatInt(r.seen, 10)
	if !r.afford(flowCost, false) {
		r.dropped++
		r.problemLocked("memory for connections is used up: later ones are not recorded")
		return f
	}
	r.flows = append(r.flows, f)
	return f
}

// update changes the record.
func (f *flow) update(change func(*capture.Flow)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.f)
}

// fail says why the conversation came to nothing; the first reason stays.
func (f *flow) fail(why string) {
	f.update(func(c *capture.Flow) {
		if c.Failure == "" {
			c.Failure = why
		}
	})
}

func (f *flow) id() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.f.ID
}

// read and wrote count bytes at the listener, from and to the phone.
func (f *flow) read(n int) {
	now := f.r.o.Clock()
	f.active.Store(now.UnixNano())
	f.mu.Lock()
	defer f.mu.Unlock()
	size := int64(n)
	f.f.End = now
	f.f.BytesUp += size
	f.f.PayloadUp += size
	if last := len(f.f.Sent) - 1; last >= 0 &&
		(now.Sub(f.f.Sent[last].At) < burstGap || last+1 >= maxBursts || !f.r.afford(burstCost, false)) {
		f.f.Sent[last].Bytes += size
		f.f.Sent[last].Payload += size
		return
	}
	f.f.Sent = append(f.f.Sent, capture.Burst{At: now, Bytes: size, Payload: size})
}

func (f *flow) wrote(n int) {
	now := f.r.o.Clock()
	f.active.Store(now.UnixNano())
	f.mu.Lock()
	defer f.mu.Unlock()
	f.f.End = now
	f.f.BytesDown += int64(n)
	f.f.PayloadDown += int64(n)
}

func (f *flow) snapshot() capture.Flow {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.f
	c.Sent = slices.Clone(c.Sent)
	c.ALPN = slices.Clone(c.ALPN)
	return c
}

// An exchange is one request with its reply while it goes on.
type exchange struct {
	r *recorder

	mu sync.Mutex
	e  capture.Exchange
}

// newExchange begins the record of a request whose header has arrived.
func (r *recorder) newExchange(e capture.Exchange) *exchange {
	x := &exchange{r: r, e: e}
	x.e.Backend = Name
	cost := int64(exchangeFee + len(e.URL) + headerSize(e.RequestHeader))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.afford(cost, false) {
		r.dropped++
		r.problemLocked("memory for exchanges is used up: later ones are not recorded")
		return x
	}
	x.e.ID = strconv.Itoa(len(r.exchanges) + 1)
	r.exchanges = append(r.exchanges, x)
	return x
}

func headerSize(h []capture.Header) int {
	n := 0
	for _, f := range h {
		n += len(f.Name) + len(f.Value) + 32
	}
	return n
}

// up and down take the next bytes of the request's and the reply's body.
func (x *exchange) up(b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.e.BytesUp += int64(len(b))
	x.e.RequestBody = x.keep(x.e.RequestBody, b, x.r.o.MaxRequestBody, &x.e.RequestTruncated, false)
}

func (x *exchange) down(b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.e.BytesDown += int64(len(b))
	x.e.ResponseBody = x.keep(x.e.ResponseBody, b, x.r.o.MaxResponseBody, &x.e.ResponseTruncated, true)
}

func (x *exchange) keep(body, b []byte, limit int64, truncated *bool, reply bool) []byte {
	if *truncated || len(b) == 0 {
		return body // nothing after a hole: a copy is always a beginning
	}
	if room := limit - int64(len(body)); int64(len(b)) > room {
		b, *truncated = b[:room], true
	}
	if !x.r.afford(int64(len(b)), reply) {
		*truncated = true
		if !reply { // A reply that was cut says so itself; nothing that left is lost with it.
			x.r.problem("memory for bodies is used up: later copies are cut")
		}
		return body
	}
	return append(body, b...)
}

func (x *exchange) sent(at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.e.Sent.IsZero() {
		x.e.Sent = at
	}
}

func (x *exchange) replied(status int, header []capture.Header) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.e.Status = status
	if x.r.afford(int64(headerSize(header)), true) {
		x.e.ResponseHeader = header
	} else {
		x.e.ResponseTruncated = true
	}
}

// trailers join the header of their message.
func (x *exchange) trailers(header []capture.Header, reply bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.r.afford(int64(headerSize(header)), reply) {
		x.e.RequestTruncated = x.e.RequestTruncated || !reply
		x.e.ResponseTruncated = x.e.ResponseTruncated || reply
		return
	}
	if reply {
		x.e.ResponseHeader = append(x.e.ResponseHeader, header...)
	} else {
		x.e.RequestHeader = append(x.e.RequestHeader, header...)
	}
}

func (x *exchange) finish(at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.e.End.IsZero() && x.e.Failure == "" {
		x.e.End = at
	}
}

// fail says why the reply is missing or incomplete. A finished exchange stays
// as it is.
func (x *exchange) fail(why string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.e.End.IsZero() || x.e.Failure != "" {
		return
	}
	if x.e.Status != 0 {
		x.e.ResponseTruncated = true
		why = "the reply was cut short: " + why
	}
	x.e.Failure = why
}

// snapshot shares the bodies' memory: they are only ever appended to, beyond
// what the snapshot can reach.
func (x *exchange) snapshot() capture.Exchange {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.e
	e.RequestBody = slices.Clip(e.RequestBody)
	e.ResponseBody = slices.Clip(e.ResponseBody)
	e.RequestHeader = slices.Clip(e.RequestHeader)
	e.ResponseHeader = slices.Clip(e.ResponseHeader)
	return e
}

// A meter counts what passes between the listener and the phone.
type meter struct {
	net.Conn
	flow *flow
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.Conn.Read(b)
	if n > 0 {
		m.flow.read(n)
	}
	return n, err
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	if n > 0 {
		m.flow.wrote(n)
	}
	return n, err
}

// CloseWrite ends what the phone reads, and leaves what it sends.
func (m *meter) CloseWrite() error {
	if half, ok := m.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return fmt.Errorf("proxy: close writing: %T cannot", m.Conn)
}
