package pcapdroid

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

// Stop has the app end its recording, reads the rest of it, makes sure that the
// tunnel is gone, removes the dump from the phone and returns the trace. ctx gives
// the work its values only: an ended context must not leave a VPN on the phone, so
// the limits are the session's own.
func (s *session) Stop(ctx context.Context) (capture.Trace, error) {
	trace, err := s.Close(func() error {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*s.o.StopWait)
		defer cancel()
		s.unfollow()
		err := s.end(clean)
		restore, cancelRestore := context.WithTimeout(context.WithoutCancel(ctx), 6*s.o.StopWait)
		defer cancelRestore()
		err = errors.Join(err, s.b.phone.Restore(restore))
		if s.quit != nil {
			s.quit()
		}
		if s.release != nil {
			err = errors.Join(err, s.release())
		}
		return err
	})
	trace.Tunnel = s.tunnel
	return trace, err
}

// unfollow waits until the file is followed no more. A recording that has ended
// by then did so early.
func (s *session) unfollow() {
	close(s.stop)
	if s.begun {
		timer := time.NewTimer(s.o.StopWait)
		defer timer.Stop()
		select {
		case <-s.ended:
		case <-timer.C:
			s.quit()
			<-s.ended
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
}

// end asks the app to end and reads what is left.
func (s *session) end(ctx context.Context) error {
	select {
	case <-s.Done(): // It died before.
		return nil
	default:
	}
	if s.tunnel == "" {
		// It never recorded, and an intent more would be one question more.
		s.b.close(ctx, Package)
		s.finish(false, "")
		return nil
	}
	if passed := s.look(ctx); passed != nil {
		s.mu.Lock()
		s.passed = passed
		s.mu.Unlock()
	}
	_, _, _, err := s.b.phone.Run(ctx, intent(s.o, "stop"))
	err = s.o.hide(err)
	if down := s.untilDown(ctx); down != nil {
		// It is going to be ended by force, and loses what it holds back.
		err = errors.Join(err, down)
		s.mu.Lock()
		s.forced = true
		s.mu.Unlock()
	}
	switch {
	case !s.begun:
		s.finish(false, "")
	case s.file == "":
		s.await(s.o.StopWait)
		s.quit()
		<-s.Done()
	default:
		settled := s.settle(ctx)
		if settled == nil {
			s.reckon(ctx)
		}
		err = errors.Join(err, settled)
		s.finish(settled != nil, "")
	}
	return err
}

// reckon compares what has arrived with what passed the tunnel and with what the
// app says it had, now that all has been read.
func (s *session) reckon(ctx context.Context) {
	s.mu.Lock()
	passed := s.passed
	s.mu.Unlock()
	s.compare(passed)
	s.count(ctx)
}

// untilDown waits until the tunnel is gone.
func (s *session) untilDown(ctx context.Context) error {
	deadline := time.NewTimer(s.o.StopWait)
	defer deadline.Stop()
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	for {
		now, err := s.b.state(ctx)
		if err == nil && now.tunnel == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrStillRuns, errors.Join(context.Cause(ctx), err))
		case <-deadline.C:
			return errors.Join(fmt.Errorf("%w: %v after it was asked to stop: stop it in the app", ErrStillRuns, s.o.StopWait), err)
		}
	}
}

// settle reads the file until it no longer grows.
func (s *session) settle(ctx context.Context) error {
	still := 0
	for still < 2 {
		s.mu.Lock()
		before := s.offset
		s.mu.Unlock()
		more := true
		var err error
		for more && err == nil {
			_, more, err = s.fetch(ctx)
		}
		if err != nil {
			return err
		}
		s.mu.Lock()
		grown := s.offset > before
		s.mu.Unlock()
		if still++; grown {
			still = 0
		}
		timer := time.NewTimer(startPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
	return nil
}

// count reads how many packets the app says it had.
func (s *session) count(ctx context.Context) {
	log, _, _, err := s.b.phone.Run(ctx, "logcat -d -s CaptureCtrl:D offproof:I")
	if err != nil {
		return // The kernel's count stands.
	}
	s.mu.Lock()
	s.captured = counted(string(log), s.mark)
	s.mu.Unlock()
}

func (s *session) await(limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.Done():
	case <-timer.C:
	}
}

// how says how the recording ended, as far as it is known.
func (s *session) how() packets.How {
	arrived := s.Records()
	s.mu.Lock()
	defer s.mu.Unlock()
	how := packets.How{Early: !s.stopping, Lost: s.forced && !s.failed, Dropped: s.missed}
	if c := s.captured; c != nil && *c > arrived {
		n := *c - arrived
		if how.Dropped == nil || n > *how.Dropped {
			how.Dropped = &n
		}
	}
	return how
}

// finish files the end of a recording that was read from a file.
func (s *session) finish(lost bool, doubt string) {
	s.fetching.Lock()
	s.over = true
	s.fetching.Unlock()
	how := s.how()
	how.Lost = how.Lost || lost
	how.Doubt = doubt
	s.End(how)
}
