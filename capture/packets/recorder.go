// Package packets is the part that backends share which record packets: it
// files a pcap stream as it arrives, whole records only, recognises the
// backend's own beacons in it, hands out steady copies while it grows, and says
// how far it can be trusted.
//
// It knows neither where a stream comes from nor what the packets mean.
package packets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
)

// Errors that callers may tell apart with errors.Is.
var (
	// ErrEnded is returned by Beacon when the recording is over.
	ErrEnded = errors.New("recording has ended")
	// ErrBeaconUnseen is returned by Beacon when the nonce was sent and never
	// came back in the packets.
	ErrBeaconUnseen = errors.New("beacon was not seen in the packets")
)

// A Phone runs shell scripts. Its methods may be called concurrently.
type Phone interface {
	// Run runs a script to its end. A non-zero exit status is no error; a phone
	// that was lost before the exit status arrived is one.
	Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error)
}

// Options say how a recorder works. Name is needed; of the rest the zero value
// is useful.
type Options struct {
	// Name is the backend's: it begins file names and messages.
	Name string
	// Where names what is recorded, such as "wlan0", in messages.
	Where string
	// BeaconTries is how often a beacon's question is asked, 4 when zero, and
	// BeaconWait how long each is waited for, 3 s when zero.
	BeaconTries int
	BeaconWait  time.Duration
	// OwnClock is true where the packets bear the time of another clock than the
	// phone's. Then the beacons measure it.
	OwnClock bool
	// Via is the package whose tunnel in the phone the packets are taken from, at the
	// apps' side; empty where they are those of the wire.
	Via string
}

func (o Options) withDefaults() Options {
	if o.BeaconTries <= 0 {
		o.BeaconTries = 4
	}
	if o.BeaconWait <= 0 {
		o.BeaconWait = 3 * time.Second
	}
	return o
}

// A Recorder files one pcap stream. Its methods may be called concurrently, Take
// by one goroutine at a time.
type Recorder struct {
	phone   Phone
	o       Options
	path    string // grows with whole records only
	started time.Time
	begun   chan struct{} // closed when the pcap header has arrived
	done    chan struct{} // closed when nothing more can arrive

	mu      sync.Mutex
	file    *os.File
	split   splitter
	written int64                // bytes of whole records in the file
	waiting map[string]*sighting // beacons by nonce
	beacons []capture.Beacon
	clock   clock
	lines   []string // the last lines that the source said
	ended   time.Time
	health  capture.Health
	lost    int64     // packets that the source has said it dropped, so far
	lostAt  time.Time // what it dropped before that time is in lost

	reading sync.Mutex // one Read or Close at a time
	copied  int64      // bytes in the copy that Read hands out
	closed  bool
	final   capture.Trace
	failure error
}

// A sighting is a nonce that is being waited for.
type sighting struct {
	pattern []byte
	seen    chan moment
}

// A moment is when a beacon was seen, and the time on its packet.
type moment struct{ seen, stamp time.Time }

// Create makes the file of a recording in dir, NAME.pcap unless there is one.
func Create(dir string, phone Phone, o Options) (*Recorder, error) {
	o = o.withDefaults()
	file, err := create(dir, o.Name)
	if err != nil {
		return nil, fmt.Errorf("%s: create file: %w", o.Name, err)
	}
	return &Recorder{
		phone: phone, o: o, path: file.Name(), file: file, started: time.Now(),
		begun: make(chan struct{}), done: make(chan struct{}), waiting: map[string]*sighting{},
	}, nil
}

// create makes a file that nobody else reads and that never replaces another.
func create(dir, backend string) (*os.File, error) {
	for n := 1; ; n++ {
		name := backend + ".pcap"
		if n > 1 {
			name = fmt.Sprintf("%s-%d.pcap", backend, n)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // dir is the run's own, and the name is fixed here
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		return f, err
	}
}

// Take files one chunk of the stream and looks for beacons in it. False means
// that recording cannot go on; the health says why.
func (r *Recorder) Take(chunk []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamps := map[string]time.Time{}
	before := r.split.order
	whole, err := r.split.feed(chunk, func(packet []byte, at time.Time) {
		for nonce, w := range r.waiting {
			if _, again := stamps[nonce]; !again && holds(packet, w.pattern) {
				stamps[nonce] = at
			}
		}
	})
	if !r.write(whole) {
		return false
	}
	r.written += int64(len(whole))
	if before == nil && r.split.order != nil {
		close(r.begun)
	}
	now := time.Now()
	for nonce, stamp := range stamps { // only now: they are in the file
		r.waiting[nonce].seen <- moment{now, stamp}
		delete(r.waiting, nonce)
	}
	if err != nil {
		r.problem(err.Error())
		return false
	}
	return true
}

// write appends to the file. The lock is held.
func (r *Recorder) write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if _, err := r.file.Write(b); err != nil {
		r.problem(fmt.Sprintf("writing the packets failed: %v", err))
		r.health.Truncated = true
		return false
	}
	return true
}

// Doubt notes a doubt in words.
func (r *Recorder) Doubt(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem(fmt.Sprintf(format, args...))
}

// problem notes a doubt. The lock is held.
func (r *Recorder) problem(text string) {
	r.health.Problems = append(r.health.Problems, r.o.Name+": "+text)
}

// Path is the file that grows.
func (r *Recorder) Path() string { return r.path }

// Begun is closed when the file's header has arrived: the source writes.
func (r *Recorder) Begun() <-chan struct{} { return r.begun }

// Done is closed when nothing more can arrive.
func (r *Recorder) Done() <-chan struct{} { return r.done }

// Lost notes that the source, asked at one time and heard at another, said it had
// dropped so many packets since it began. What is new was dropped after it was last
// asked.
func (r *Recorder) Lost(dropped int64, asked, heard time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.place(dropped, asked, heard)
}

// place is Lost. The lock is held.
func (r *Recorder) place(dropped int64, asked, heard time.Time) {
	since := r.lostAt
	if since.IsZero() {
		since = r.started
	}
	switch n := dropped - r.lost; {
	case n < 0:
		r.problem(fmt.Sprintf("%s said that it dropped %d packets, and later that it dropped %d", r.o.Name, r.lost, dropped))
	case n > 0:
		r.health.Losses = append(r.health.Losses, capture.Loss{From: since, To: heard, Packets: n, Why: "dropped before they were recorded", Dropped: true})
	}
	r.lost, r.lostAt = max(dropped, r.lost), asked
}

// Records is how many packets have arrived.
func (r *Recorder) Records() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.split.records
}

// How says how a stream ended.
type How struct {
	// Early is true when nobody had asked it to end.
	Early bool
	// Lost is true when its last packets may be missing.
	Lost bool
	// Cut is true when this side ended it, after it had heard all that it waited
	// for, so that an unfinished record at its end is no loss.
	Cut bool
	// Dropped is how many packets the source says it lost, nil when it does not
	// say; Captured how many it says it handed over, nil likewise.
	Dropped, Captured *int64
	// Doubt is what is to be said of the end, empty for nothing.
	Doubt string
}

// End files what is left and notes how the stream ended. It is called once,
// after the last Take.
func (r *Recorder) End(how How) {
	defer close(r.done)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = time.Now()
	if how.Cut && r.split.order != nil {
		r.split.rest = nil
	}
	if len(r.split.rest) > 0 {
		// What is left of a record is still evidence; the file then ends inside
		// one, and says so.
		r.problem("the stream ended inside a packet record")
		r.write(r.split.rest)
		r.split.rest = nil
		r.health.Truncated = true
	}
	if how.Doubt != "" {
		r.problem(how.Doubt)
	}
	if how.Early || how.Lost {
		r.health.Truncated = true
	}
	if how.Early {
		r.health.Died = r.ended
	}
	if r.split.order == nil {
		r.problem("no pcap header arrived")
		r.health.Truncated = true
	}
	switch {
	case how.Dropped != nil:
		r.place(*how.Dropped, r.ended, r.ended)
		n := r.lost
		r.health.Dropped = &n
	case !r.lostAt.IsZero():
		// It died with its last count untold: what it said before still holds.
		n := r.lost
		r.health.Dropped = &n
		r.health.Losses = append(r.health.Losses, capture.Loss{From: r.lostAt, To: r.ended, Why: "it did not say how many packets it dropped in its last stretch"})
	}
	if c := how.Captured; c != nil && *c != r.split.records {
		r.problem(fmt.Sprintf("%s captured %d packets, %d arrived", r.o.Name, *c, r.split.records))
		r.health.Truncated = true
	}
}

// Hear keeps a line that the source said, for messages.
func (r *Recorder) Hear(line string) {
	const kept = 20
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	if len(r.lines) > kept {
		r.lines = r.lines[1:]
	}
}

// Words are the last lines that the source said, in one.
func (r *Recorder) Words() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "; ")
}

// LastWords are what the source said and what is in doubt, fit for a message.
func (r *Recorder) LastWords() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Excerpt([]byte(strings.Join(append(append([]string(nil), r.lines...), r.health.Problems...), "; ")))
}

// Excerpt is the beginning of a program's words, fit for one line.
func Excerpt(b []byte) string {
	const limit = 300
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), limit)]), "?")), " ")
	if s == "" {
		return "(it said nothing)"
	}
	return s
}
