//go:build !race

package capturetest_test

import (
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
)

// TestLossElsewhere: packets that tcpdump dropped in one window of an unbroken
// capture say nothing against the others.
func TestLossElsewhere(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.PhoneConfig{Personality: "honest", Capture: []string{"tcpdump", "proxy"}})
	fault := func(every string) {
		if err := b.phone.Fault(t.Context(), "drop-packets", every); err != nil {
			t.Error(err)
		}
	}
	opened := 0
	trial, err := b.tryWhile(incognito(), func(message string) {
		switch message {
		case "window open":
			if opened++; opened == 1 {
				fault("5")
			}
		case "window closed":
			if opened == 1 {
				fault("0")
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range trial.Observations {
		if o.Finding.Sound != (i > 0) {
			t.Errorf("%s, whose packets were dropped in the first window only: sound %t: %q", o.ID, o.Finding.Sound, o.Finding.Because)
		}
	}
	if trial.Finding.Outcome != harness.Stops {
		t.Errorf("it came to %s: %q", trial.Finding.Outcome, trial.Finding.Because)
	}
}
