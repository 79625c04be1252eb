package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

const pollInterval = 100 * time.Millisecond

// A session is one tcpdump on the phone and the file that it fills.
type session struct {
	*packets.Recorder
	phone   Phone
	o       Options
	asRoot  func(string) string
	abandon context.CancelFunc // ends the stream without asking tcpdump
	ready   chan struct{}      // closed when tcpdump listens and its pid is known

	counting sync.Mutex // one question for counters at a time

	mu       sync.Mutex
	pid      int
	listens  bool
	said     packets.Counters
	counts   chan int64 // what a count in the middle says was dropped; holds one
	tells    bool       // it answers to SIGUSR1
	stopping bool
	forced   bool // ended by a signal that loses what tcpdump holds
	exited   bool // the exit status arrived
}

var _ capture.Session = (*session)(nil)

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
	rec, err := packets.Create(dir, b.phone, packets.Options{
		Name: Name, Where: b.o.Interface, BeaconTries: b.o.BeaconTries, BeaconWait: b.o.BeaconWait,
	})
	if err != nil {
		return nil, err
	}
	// The stream outlives ctx, but as long as the start lasts ctx ends it.
	life, abandon := context.WithCancel(context.WithoutCancel(ctx))
	release := context.AfterFunc(ctx, abandon)
	s := &session{Recorder: rec, phone: b.phone, o: b.o, asRoot: asRoot, abandon: abandon, ready: make(chan struct{}), counts: make(chan int64, 1)}
	script := "echo $$ >&2; exec tcpdump -i " + b.o.Interface + " -U -s 0 -n -w -"
	stdout, stderr, wait, err := b.phone.Stream(life, asRoot(script))
	if err != nil {
		release()
		abandon()
		rec.End(packets.How{Early: true})
		_, closeErr := rec.Close(func() error { return nil })
		return nil, errors.Join(fmt.Errorf("tcpdump: start: %w", err), closeErr, os.Remove(rec.Path()))
	}
	go s.record(stdout, stderr, wait)

	err = s.untilReady(ctx, b.o.ReadyWait)
	if !release() && err == nil {
		err = fmt.Errorf("tcpdump: start: %w", context.Cause(ctx))
	}
	if err != nil {
		_, stopErr := s.Stop(ctx)
		return nil, errors.Join(err, stopErr, os.Remove(rec.Path()))
	}
	s.tells = s.catches(ctx)
	return s, nil
}

func (s *session) untilReady(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.ready:
		return nil
	case <-s.Done():
		return fmt.Errorf("%w: it ended: %s", ErrNotReady, s.LastWords())
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("%w: no \"listening on\" within %v: %s", ErrNotReady, limit, s.LastWords())
	}
}

// record moves everything that arrives to where it belongs, until the stream
// ends.
func (s *session) record(stdout, stderr io.ReadCloser, wait func() (int, error)) {
	var words sync.WaitGroup
	words.Go(func() { packets.Lines(stderr, s.hear) })

	buf := make([]byte, 64<<10)
	var readErr error
	for readErr == nil {
		var n int
		n, readErr = stdout.Read(buf)
		if n > 0 && !s.Take(buf[:n]) {
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
	s.End(s.how(exit, waitErr))
}

// how says how tcpdump ended.
func (s *session) how(exit int, lost error) packets.How {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exited = lost == nil
	how := packets.How{
		Early: lost != nil || !s.stopping, Lost: s.forced,
		Dropped: s.said.DroppedKernel, Captured: s.said.Captured,
	}
	switch {
	case lost != nil:
		how.Doubt = fmt.Sprintf("the stream was lost: %v", lost)
	case !s.stopping:
		how.Doubt = fmt.Sprintf("tcpdump ended by itself with exit status %d: %s", exit, s.Words())
	case s.forced:
		how.Doubt = "tcpdump had to be killed: its last packets may be missing"
	case exit != 0:
		how.Doubt = fmt.Sprintf("tcpdump ended with exit status %d: %s", exit, s.Words())
	}
	if d := s.said.DroppedInterface; d != nil && *d > 0 {
		// These were lost before they reached the phone's kernel: received, not
		// sent. They are a doubt, not a hole in what left.
		s.Doubt("the interface dropped %d received packets", *d)
	}
	return how
}

// hear takes a line of standard error: the pid that the shell wrote, tcpdump's
// readiness, its counters, and its complaints.
func (s *session) hear(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == 0 {
		if pid, err := strconv.Atoi(line); err == nil && pid > 1 {
			s.pid = pid
			return
		}
	}
	if c, ok := packets.Interim(line); ok {
		select {
		case s.counts <- *c.DroppedKernel:
		default: // nobody asked
		}
		return
	}
	s.Hear(line)
	if s.said.Read(line) {
		return
	}
	if !s.listens && s.pid != 0 && strings.Contains(line, "listening on ") {
		s.listens = true
		close(s.ready)
	}
}
