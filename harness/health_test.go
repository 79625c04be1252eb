package harness_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness"
)

// Radios that no instrument hears are named in the outcome, and must be the same
// in every window: a phone whose Bluetooth is on in OFF alone has two ways to
// differ.
func TestBlindSpotsAreNamedAndMayNotChange(t *testing.T) {
	bluetooth := devices.Health{{Name: "Bluetooth", Standing: devices.BlindSpot, Found: "on"}}
	well := devices.Health{{Name: "Bluetooth", Standing: devices.Fit, Found: "off"}}
	for name, c := range map[string]struct {
		health  func(o *harness.Observation) devices.Health
		want    harness.Outcome
		because string
	}{
		"nowhere":         {func(*harness.Observation) devices.Health { return well }, harness.Stops, "not observed"},
		"everywhere":      {func(*harness.Observation) devices.Health { return bluetooth }, harness.Stops, "blind spot: Bluetooth on"},
		"in the OFF only": {only(harness.Off, bluetooth, well), harness.OutcomeInconclusive, "not alike"},
		"in the ON only":  {only(harness.On, bluetooth, well), harness.OutcomeInconclusive, "not alike"},
		"never looked at": {func(*harness.Observation) devices.Health { return nil }, harness.Stops, "not observed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, o := range w.trial.Observations {
				o.Health = c.health(o)
			}
			f := w.judge()
			if f.Outcome != c.want || !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("outcome %s because %q, want %s and %q", f.Outcome, f.Because, c.want, c.because)
			}
		})
	}
}

func only(arm harness.Arm, there, elsewhere devices.Health) func(o *harness.Observation) devices.Health {
	return func(o *harness.Observation) devices.Health {
		if o.Arm == arm {
			return there
		}
		return elsewhere
	}
}
