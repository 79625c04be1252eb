package harness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/harness"
)

// TestLossesConcernTheirWindow: what an instrument lost voids the windows in which
// it may have lost it, and no others.
func TestLossesConcernTheirWindow(t *testing.T) {
	dropped := func(from, to time.Time, packets int64) capture.Loss {
		return capture.Loss{From: from, To: to, Packets: packets, Why: "dropped", Dropped: true}
	}
	for name, c := range map[string]struct {
		lost    func(on, off *harness.Observation) (total int64, losses []capture.Loss)
		want    harness.Outcome
		because string
	}{
		"in the window": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			return 3, []capture.Loss{dropped(off.Acts[0], off.Acts[0].Add(time.Hour), 3)}
		}, harness.OutcomeInconclusive, "3 packets dropped, at some time from"},
		"it ends just after the window has opened": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			return 0, []capture.Loss{{From: off.Window.Open.Add(-time.Hour), To: off.Window.Open.Add(time.Millisecond), Packets: 2, Why: "with a damaged IP header"}}
		}, harness.OutcomeInconclusive, "2 packets with a damaged IP header"},
		"its number is not known": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			return 0, []capture.Loss{{From: off.Acts[0], To: off.Acts[0].Add(time.Hour), Why: "it did not say"}}
		}, harness.OutcomeInconclusive, "it did not say"},
		"in part nobody knows when": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			at := off.Window.Open.Add(-24 * time.Hour)
			return 3, []capture.Loss{dropped(at, at, 2)}
		}, harness.OutcomeInconclusive, "1 packet dropped, nobody knows when"},
		"what is no drop does not make up for drops": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			at := off.Window.Open.Add(-24 * time.Hour)
			return 2, []capture.Loss{{From: at, To: at, Packets: 2, Why: "with a damaged IP header"}}
		}, harness.OutcomeInconclusive, "2 packets dropped, nobody knows when"},
		"long before": {func(_, off *harness.Observation) (int64, []capture.Loss) {
			at := off.Window.Open.Add(-24 * time.Hour)
			return 3, []capture.Loss{dropped(at, at, 3), {From: at, To: at, Packets: 9, Why: "with a damaged IP header"}}
		}, harness.Stops, ""},
		// There it would have been heard all the same: the words came through.
		"in a window with a sighting": {func(on, _ *harness.Observation) (int64, []capture.Loss) {
			return 3, []capture.Loss{dropped(on.Window.Open, on.Window.Close, 3)}
		}, harness.Stops, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			h := &w.ev.Traces[0].Health
			var total int64
			total, h.Losses = c.lost(w.get("on-1"), w.get("off-1"))
			h.Dropped = &total
			f := w.judge()
			if because := strings.Join(f.Because, "; "); f.Outcome != c.want || !strings.Contains(because, c.because) {
				t.Errorf("it came to %s: %s; want %s because of %q", f.Outcome, because, c.want, c.because)
			}
		})
	}
}

// TestLossesAfterTheClockWasSet: a clock that is set between two windows jumps in
// neither, and moves the times of what was lost out of the window it was lost in.
func TestLossesAfterTheClockWasSet(t *testing.T) {
	const jump = 10 * time.Minute
	lost := time.Date(2020, 5, 4, 12, 0, 0, 0, time.UTC) // By the host's clock.
	for name, ahead := range map[string]time.Duration{"forwards": jump, "backwards": -jump, "never": 0} {
		t.Run(name, func(t *testing.T) {
			stamp := lost.Add(time.Second + ahead) // The phone was a second ahead before.
			c := &dissect.Capture{
				Flows:  []capture.Flow{{Start: stamp, End: stamp, Holes: []capture.Hole{{From: stamp, To: stamp, Bytes: 1}}}},
				Health: capture.Health{Losses: []capture.Loss{{From: stamp, To: stamp, Packets: 1}}},
			}
			clock := func(d time.Duration) *harness.Clock {
				return &harness.Clock{Offset: d, Uncertainty: 30 * time.Millisecond}
			}
			harness.Shifted(c, []*harness.Observation{
				{ClockBefore: clock(time.Second), ClockAfter: clock(time.Second)},
				{ClockBefore: clock(time.Second + ahead), ClockAfter: clock(time.Second + ahead)},
			})
			hole, loss := c.Flows[0].Holes[0], c.Health.Losses[0]
			if hole.From.After(lost) || hole.To.Before(lost) || loss.From.After(lost) || loss.To.Before(lost) {
				t.Errorf("lost at %s: hole %+v, loss %+v", lost, hole, loss)
			}
			if ahead == 0 && loss.To.Sub(loss.From) > 5*time.Second {
				t.Errorf("a clock that was never set makes a loss of %s", loss.To.Sub(loss.From))
			}
		})
	}
}
