package tcpdump

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	maxLine      = 4 << 10 // of standard error; the rest of a line is dropped
	keptLines    = 20      // of standard error, for messages
	pollInterval = 100 * time.Millisecond
)

// A session is one tcpdump on the phone and the file that it fills.
type session struct {
	phone   Phone
	o       Options
	asRoot  func(string) string
	path    string // grows with whole records only
	started time.Time
	abandon context.CancelFunc // ends the stream without asking tcpdump
	ready   chan struct{}      // closed when tcpdump listens and its pid is known
	done    chan struct{}      // closed when nothing more can arrive

	mu       sync.Mutex
	file     *os.File
	split    splitter
	written  int64 // bytes of whole records in the file
	pid      int
	listens  bool
	lines    []string // the last lines of standard error
	said     counters
	waiting  map[string]*sighting // beacons by nonce
	beacons  []capture.Beacon
	stopping bool
	forced   bool // ended by a signal that loses what tcpdump holds
	ended    time.Time
	exited   bool // the exit status arrived
	health   capture.Health

	reading sync.Mutex // one Read or Stop at a time
	copied  int64      // bytes in the copy that Read hands out
	stopped bool
	final   capture.Trace
	failure error
}

var _ capture.Session = (*session)(nil)

// A sighting is a nonce that is being waited for.
type sighting struct {
	pattern []byte
	seen    chan time.Time
}

// Start runs tcpdump on the phone and returns when it says that it listens.
// Packets are appended to a new file in dir, tcpdump.pcap unless there is one.
func (b *Backend) Start(ctx context.Context, dir string) (capture.Session, error) {
	if !interfaceName.MatchString(b.o.Interface) {
		return nil, fmt.Errorf("tcpdump: start: %q is not the name of an interface", b.o.Interface)
	}
	asRoot, err := b.root(ctx)
	if err != nil {
		return nil, err
	}
	file, err := create(dir)
	if err != nil {
		return nil, fmt.Errorf("tcpdump: create file: %w", err)
	}
	// The stream outlives ctx, but as long as the start lasts ctx ends it.
	life, abandon := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, abandon)
	s := &session{
		phone: b.phone, o: b.o, asRoot: asRoot,
		path: file.Name(), file: file, started: time.Now(), abandon: abandon,
		ready: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[string]*sighting),
	}
	script := "echo $$ >&2; exec tcpdump -i " + b.o.Interface + " -U -s 0 -n -w -"
	stdout, stderr, wait, err := b.phone.Stream(life, asRoot(script))
	if err != nil {
		release()
		abandon()
		return nil, errors.Join(fmt.Errorf("tcpdump: start: %w", err), file.Close(), os.Remove(file.Name()))
	}
	go s.record(stdout, stderr, wait)

	err = s.untilReady(ctx, b.o.ReadyWait)
	if !release() && err == nil {
		err = fmt.Errorf("tcpdump: start: %w", context.Cause(ctx))
	}
	if err != nil {
		_, stopErr := s.Stop(ctx)
		return nil, errors.Join(err, stopErr, os.Remove(s.path))
	}
	return s, nil
}

// create makes a file that nobody else reads and that never replaces another.
func create(dir string) (*os.File, error) {
	for n := 1; ; n++ {
		name := Name + ".pcap"
		if n > 1 {
			name = fmt.Sprintf("%s-%d.pcap", Name, n)
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600) //nolint:gosec // dir is the run's own, and the name is fixed here
		if errors.Is(err, fs.ErrExist) && n < 1000 {
			continue
		}
		return f, err
	}
}

func (s *session) untilReady(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.ready:
		return nil
	case <-s.done:
		return fmt.Errorf("%w: it ended: %s", ErrNotReady, s.lastWords())
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("%w: no \"listening on\" within %v: %s", ErrNotReady, limit, s.lastWords())
	}
}

// record moves everything that arrives to where it belongs, until the stream
// ends.
func (s *session) record(stdout, stderr io.ReadCloser, wait func() (int, error)) {
	defer close(s.done)
	var words sync.WaitGroup
	words.Go(func() { s.listen(stderr) })

	buf := make([]byte, 64<<10)
	var readErr error
	for readErr == nil {
		var n int
		n, readErr = stdout.Read(buf)
		if n > 0 && !s.take(buf[:n]) {
			s.abandon()
			break
		}
	}
	// A stream that ends badly must not leave its other half open for ever.
	if readErr != nil && !errors.Is(readErr, io.EOF) {
		s.abandon()
	}
	words.Wait()
	exit, waitErr := wait()
	// Everything has arrived: how the host's ends close matters no more.
	_, _ = stdout.Close(), stderr.Close()
	s.abandon()

	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = time.Now()
	s.exited = waitErr == nil
	if len(s.split.rest) > 0 {
		// What is left of a record is still evidence; the file then ends inside
		// one, and says so.
		s.problem("the stream ended inside a packet record")
		s.write(s.split.rest)
		s.split.rest = nil
		s.health.Truncated = true
	}
	switch {
	case waitErr != nil:
		s.problem(fmt.Sprintf("the stream was lost: %v", waitErr))
	case !s.stopping:
		s.problem(fmt.Sprintf("tcpdump ended by itself with exit status %d: %s", exit, strings.Join(s.lines, "; ")))
	case s.forced:
		s.problem("tcpdump had to be killed: its last packets may be missing")
	case exit != 0:
		s.problem(fmt.Sprintf("tcpdump ended with exit status %d: %s", exit, strings.Join(s.lines, "; ")))
	}
	if waitErr != nil || !s.stopping || s.forced {
		s.health.Truncated = true
	}
	if waitErr != nil || !s.stopping {
		s.health.Died = s.ended
	}
	if s.split.order == nil {
		s.problem("no pcap header arrived")
		s.health.Truncated = true
	}
	s.settle()
}

// settle compares what arrived with what tcpdump says it sent.
func (s *session) settle() {
	if d := s.said.droppedKernel; d != nil {
		n := *d
		s.health.Dropped = &n
	}
	if d := s.said.droppedInterface; d != nil && *d > 0 {
		// These were lost before they reached the phone's kernel: received, not
		// sent. They are a doubt, not a hole in what left.
		s.problem(fmt.Sprintf("the interface dropped %d received packets", *d))
	}
	if c := s.said.captured; c != nil && *c != s.split.records {
		s.problem(fmt.Sprintf("tcpdump captured %d packets, %d arrived", *c, s.split.records))
		s.health.Truncated = true
	}
}

// take files one chunk of the pcap stream and looks for beacons in it. False
// means that recording cannot go on.
func (s *session) take(chunk []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	whole, err := s.split.feed(chunk, func(packet []byte) {
		for nonce, w := range s.waiting {
			if holds(packet, w.pattern) {
				found = append(found, nonce)
			}
		}
	})
	if !s.write(whole) {
		return false
	}
	s.written += int64(len(whole))
	now := time.Now()
	for _, nonce := range found { // only now: they are in the file
		if w := s.waiting[nonce]; w != nil {
			w.seen <- now
			delete(s.waiting, nonce)
		}
	}
	if err != nil {
		s.problem(err.Error())
		return false
	}
	return true
}

// write appends to the file. The lock is held.
func (s *session) write(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if _, err := s.file.Write(b); err != nil {
		s.problem(fmt.Sprintf("writing the packets failed: %v", err))
		s.health.Truncated = true
		return false
	}
	return true
}

// problem notes a doubt. The lock is held.
func (s *session) problem(text string) {
	s.health.Problems = append(s.health.Problems, "tcpdump: "+text)
}

// listen reads standard error: the pid that the shell wrote, tcpdump's
// readiness, its counters, and its complaints.
func (s *session) listen(r io.Reader) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		text := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if text != "" {
			s.hear(text)
		}
		if err != nil {
			return
		}
	}
}

func (s *session) hear(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
			s.pid = pid
			return
		}
	}
	s.lines = append(s.lines, line)
	if len(s.lines) > keptLines {
		s.lines = s.lines[1:]
	}
	if s.said.read(line) {
		return
	}
	if !s.listens && s.pid != 0 && strings.Contains(line, "listening on ") {
		s.listens = true
		close(s.ready)
	}
}

func (s *session) lastWords() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return excerpt([]byte(strings.Join(append(append([]string(nil), s.lines...), s.health.Problems...), "; ")))
}

// Beacon asks for a name that holds the nonce, from the phone, and returns when
// the question has been read back from the packets. The name never resolves.
func (s *session) Beacon(ctx context.Context, nonce string) (capture.Beacon, error) {
	if !validNonce(nonce) {
		return capture.Beacon{}, fmt.Errorf("tcpdump: beacon: %q is not a nonce of a-z and 0-9", nonce)
	}
	w := &sighting{pattern: wireName(nonce), seen: make(chan time.Time, 1)}
	s.mu.Lock()
	if s.waiting[nonce] != nil {
		s.mu.Unlock()
		return capture.Beacon{}, fmt.Errorf("tcpdump: beacon: %s is already under way", nonce)
	}
	s.waiting[nonce] = w
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, nonce)
		s.mu.Unlock()
	}()

	beacon := capture.Beacon{Nonce: nonce, Sent: time.Now(), Name: nonce + "." + beaconZone}
	var runErr error
	for range s.o.BeaconTries {
		seen, err := s.ask(ctx, beacon.Name, w.seen)
		if !seen.IsZero() {
			beacon.Seen = seen
			s.mu.Lock()
			s.beacons = append(s.beacons, beacon)
			s.mu.Unlock()
			return beacon, nil
		}
		if errors.Is(err, ErrEnded) || ctx.Err() != nil {
			return capture.Beacon{}, err
		}
		runErr = err
	}
	if runErr != nil {
		return capture.Beacon{}, fmt.Errorf("%w: %s: %w", ErrBeaconUnseen, nonce, runErr)
	}
	return capture.Beacon{}, fmt.Errorf("%w: %s, asked %d times on %s: is the phone online there, "+
		"and Private DNS off?", ErrBeaconUnseen, nonce, s.o.BeaconTries, s.o.Interface)
}

// ask puts the question once and waits for its sight. The zero time means that
// it was not seen; the error then says why, nil for no known reason.
func (s *session) ask(ctx context.Context, name string, seen <-chan time.Time) (time.Time, error) {
	run, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(asked)
		// ping fails, for the name does not exist: only its question matters.
		if _, _, _, err := s.phone.Run(run, "ping -c 1 -W 1 "+name); err != nil {
			failed <- fmt.Errorf("tcpdump: beacon: ask on the phone: %w", err)
		}
	}()
	// Whatever comes, no command is left running behind the caller's back.
	defer func() {
		cancel()
		<-asked
	}()
	timer := time.NewTimer(s.o.BeaconWait)
	defer timer.Stop()
	var failure error
	for {
		select {
		case at := <-seen:
			return at, nil
		case <-s.done:
			select { // the last packets may have held it
			case at := <-seen:
				return at, nil
			default:
				return time.Time{}, fmt.Errorf("%w: %s", ErrEnded, s.lastWords())
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("tcpdump: beacon: %w", context.Cause(ctx))
		case failure = <-failed:
			// Nothing more will come of it, unless the nonce is on its way.
			timer.Reset(s.o.BeaconWait / 10)
		case <-timer.C:
			return time.Time{}, failure
		}
	}
}

// Done is closed when recording has ended.
func (s *session) Done() <-chan struct{} { return s.done }
