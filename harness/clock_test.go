package harness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
)

// TestSlowClockAccusesNobody lets the phone's clock fall behind from window to
// window: by the clock of the OFF window, what the closing ON reports happened in
// OFF. It did not, and nobody can be certain.
func TestSlowClockAccusesNobody(t *testing.T) {
	w := newWorld(t)
	off, closing := w.get("off-1"), w.get("closing")
	act := closing.Acts[0]
	behind := act.Sub(off.Acts[0])
	off.ClockAfter.Offset = -time.Second
	closing.ClockBefore.Offset, closing.ClockAfter.Offset = -behind, -behind-time.Second
	w.withoutReports()
	for _, id := range []string{"calibration", "on-1"} {
		w.report(w.get(id))
	}
	w.sensors(act.Add(600*time.Millisecond), act.Add(-behind), closing.Canaries[0].Term)
	f := w.judge()
	if f.Outcome != harness.OutcomeInconclusive || len(off.Finding.Sightings) != 0 {
		t.Errorf("%s because %q", f.Outcome, f.Because)
	}
	if !strings.Contains(strings.Join(off.Finding.Because, "\n"), "not certain whether the sensors event") {
		t.Errorf("the OFF window does not name the doubt: %q", off.Finding.Because)
	}

	// What leaves within OFF needs no later clock: it is of OFF.
	w = newWorld(t)
	off = w.get("off-1")
	off.ClockAfter.Offset = -10 * time.Second
	w.sensors(off.Acts[0].Add(600*time.Millisecond), off.Acts[0], "something else")
	if f := w.judge(); f.Outcome != harness.Continues {
		t.Errorf("an event in OFF: %s because %q", f.Outcome, f.Because)
	}
}
