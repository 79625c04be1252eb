package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Read returns everything recorded so far. Trace.Packets names a copy beside
// the growing file (its name ends in .read.pcap) that holds whole records only
// and changes at no other time than during the next Read, which extends it. All
// packets before a recognised beacon are in it. Health.Dropped is nil, because
// tcpdump tells its drops only at its end.
func (s *session) Read(ctx context.Context) (capture.Trace, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.stopped {
		return cloned(s.final), s.failure
	}
	if err := ctx.Err(); err != nil {
		return capture.Trace{}, fmt.Errorf("tcpdump: read: %w", err)
	}
	trace, size := s.trace()
	copyPath := s.copyPath()
	if err := s.extend(copyPath, size); err != nil {
		return trace, fmt.Errorf("tcpdump: read: %w", err)
	}
	trace.Packets = copyPath
	return trace, nil
}

// trace returns what is known now, and how many bytes of the file are whole
// records.
func (s *session) trace() (capture.Trace, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := s.ended
	if end.IsZero() {
		end = time.Now()
	}
	t := capture.Trace{
		Backend: Name, Start: s.started, End: end, Packets: s.path,
		Beacons: s.beacons, Health: s.health,
	}
	t.Health.Packets = s.split.records
	return cloned(t), s.written
}

func cloned(t capture.Trace) capture.Trace {
	t.Beacons = slices.Clone(t.Beacons)
	t.Health.Problems = slices.Clone(t.Health.Problems)
	if d := t.Health.Dropped; d != nil {
		n := *d
		t.Health.Dropped = &n
	}
	return t
}

func (s *session) copyPath() string {
	return strings.TrimSuffix(s.path, ".pcap") + ".read.pcap"
}

// extend brings the copy up to size. Only what is new is copied.
func (s *session) extend(path string, size int64) (err error) {
	if size == s.copied && size > 0 {
		return nil
	}
	from, err := os.Open(s.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // it stands beside the file that create made
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	n, err := io.Copy(io.NewOffsetWriter(to, s.copied), io.NewSectionReader(from, s.copied, size-s.copied))
	s.copied += n
	return err
}

// Stop interrupts tcpdump, reads until its exit status has arrived, makes sure
// that the process is gone, and returns the trace, whose file is then the
// original. ctx gives the work its values only: an ended context must not leave
// a process on the phone, so the limits are the session's own.
func (s *session) Stop(ctx context.Context) (capture.Trace, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.stopped {
		return cloned(s.final), s.failure
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*s.o.StopWait)
	defer cancel()

	killErr := s.end(clean)
	s.abandon()
	<-s.done

	fileErr := errors.Join(s.file.Sync(), s.file.Close())
	if fileErr != nil {
		fileErr = fmt.Errorf("tcpdump: close file: %w", fileErr)
	}
	s.mu.Lock()
	if fileErr != nil {
		s.health.Truncated = true
	}
	s.mu.Unlock()
	var linkErr error
	if s.copied > 0 {
		// The path that Read gave stays good, without the bytes kept twice.
		linkErr = s.replaceCopy()
	}
	s.final, _ = s.trace()
	s.failure = errors.Join(killErr, fileErr, linkErr)
	s.stopped = true
	return cloned(s.final), s.failure
}

func (s *session) replaceCopy() error {
	tmp := s.copyPath() + ".new"
	if err := os.Link(s.path, tmp); err != nil {
		// A file system without hard links keeps the copy: nothing is lost.
		return nil //nolint:nilerr // the copy is still a true one
	}
	if err := os.Rename(tmp, s.copyPath()); err != nil {
		return errors.Join(fmt.Errorf("tcpdump: replace copy: %w", err), os.Remove(tmp))
	}
	return nil
}

// end makes tcpdump end and proves that it has.
func (s *session) end(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	pid := s.pid
	s.mu.Unlock()
	if pid == 0 {
		// The shell never said who it is. The stream is closed by the caller.
		select {
		case <-s.done:
			return nil
		default:
			s.mu.Lock()
			s.forced = true
			s.mu.Unlock()
			return fmt.Errorf("%w: it never wrote its process id down", ErrStillRuns)
		}
	}
	var signalErr error
	for _, signal := range []string{"INT", "TERM", "KILL"} {
		select {
		case <-s.done:
		default:
			// As long as the stream is open the id cannot have passed to
			// another process: it is the stream's own.
			s.mu.Lock()
			s.forced = s.forced || signal == "KILL"
			s.mu.Unlock()
			_, _, _, signalErr = s.phone.Run(ctx, s.asRoot("kill -"+signal+" "+strconv.Itoa(pid)))
			s.wait(ctx)
			continue
		}
		break
	}
	s.mu.Lock()
	exited := s.exited
	s.mu.Unlock()
	if exited {
		signalErr = nil
	}
	return errors.Join(signalErr, s.gone(ctx, pid, exited))
}

func (s *session) wait(ctx context.Context) {
	timer := time.NewTimer(s.o.StopWait)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// gone checks that the process is no more. After a stream that broke off it is
// killed, if the id still names a tcpdump.
func (s *session) gone(ctx context.Context, pid int, exited bool) error {
	id := strconv.Itoa(pid)
	deadline := time.NewTimer(s.o.StopWait)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		_, _, exit, err := s.phone.Run(ctx, s.asRoot("kill -0 "+id))
		if err != nil {
			return fmt.Errorf("tcpdump: check process %s: %w", id, err)
		}
		if exit != 0 {
			return nil
		}
		what, _, _, err := s.phone.Run(ctx, s.asRoot("cat /proc/"+id+"/cmdline"))
		if err != nil {
			return fmt.Errorf("tcpdump: check process %s: %w", id, err)
		}
		ours := strings.Contains(string(what), "tcpdump") && strings.Contains(string(what), s.o.Interface)
		if !ours && (exited || len(what) > 0) {
			return nil // the id has passed to somebody else's process
		}
		if ours && !exited {
			if _, _, _, err := s.phone.Run(ctx, s.asRoot("kill -9 "+id)); err != nil {
				return fmt.Errorf("tcpdump: kill process %s: %w", id, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s: %w", ErrStillRuns, id, context.Cause(ctx))
		case <-deadline.C:
			return fmt.Errorf("%w: process %s", ErrStillRuns, id)
		}
	}
}
