package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Stop interrupts tcpdump, reads until its exit status has arrived, makes sure
// that the process is gone, and returns the trace, whose file is then the
// original. ctx gives the work its values only: an ended context must not leave
// a process on the phone, so the limits are the session's own.
func (s *session) Stop(ctx context.Context) (capture.Trace, error) {
	return s.Close(func() error {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*s.o.StopWait)
		defer cancel()
		err := s.end(clean)
		s.abandon()
		return err
	})
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
		case <-s.Done():
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
		case <-s.Done():
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
	case <-s.Done():
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
