package tcpdump

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// userSignal is SIGUSR1's bit in the masks of /proc/PID/status (proc(5)).
const userSignal = 1 << 9

// catches says whether tcpdump handles SIGUSR1. One that does not would die of it.
func (s *session) catches(ctx context.Context) bool {
	s.mu.Lock()
	pid := s.pid
	s.mu.Unlock()
	out, _, exit, err := s.phone.Run(ctx, s.asRoot("cat /proc/"+strconv.Itoa(pid)+"/status"))
	if err != nil || exit != 0 {
		return false
	}
	for line := range strings.Lines(string(out)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && caught&userSignal != 0
		}
	}
	return false
}

// Beacon is the recorder's, and has tcpdump say how many packets it has dropped by
// then, so that a loss is known to lie between two beacons and not just somewhere in
// the trace.
func (s *session) Beacon(ctx context.Context, nonce string) (capture.Beacon, error) {
	beacon, err := s.Recorder.Beacon(ctx, nonce)
	if err == nil {
		s.count(ctx)
	}
	return beacon, err
}

// count has tcpdump say what it dropped. One that does not answer is not asked
// again: a late answer could pass for that to a later question, and a loss would be
// placed too late. What it drops from then on is one long stretch.
func (s *session) count(ctx context.Context) {
	s.counting.Lock()
	defer s.counting.Unlock()
	s.mu.Lock()
	pid, stopping := s.pid, s.stopping
	s.mu.Unlock()
	if !s.tells || stopping {
		return
	}
	s.tells = false
	ctx, cancel := context.WithTimeout(ctx, s.o.StopWait)
	defer cancel()
	asked := time.Now()
	if _, _, exit, err := s.phone.Run(ctx, s.asRoot("kill -USR1 "+strconv.Itoa(pid))); err != nil || exit != 0 {
		return
	}
	select {
	case dropped := <-s.counts:
		s.Lost(dropped, asked, time.Now())
		s.tells = true
	case <-s.Done():
	case <-ctx.Done():
	}
}
