//go:build race

package capturetest_test

import (
	"context"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// TestObservationUnderTheRaceDetector has the goroutines of a whole observation
// meet: beacons, watches, instruments, steps and the simulated phone. A phone as
// slow as this may miss a beacon, so what the window comes to is no matter here; the
// other tests ask that, without the detector.
func TestObservationUnderTheRaceDetector(t *testing.T) {
	b := newBench(t, sim.PhoneConfig{Personality: "deaf", Capture: []string{"tcpdump", "gateway", "proxy"}})
	search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
	search.Claim = browser.MakersPromise()
	opened := false
	o, err := b.observe(search.With(browser.AggregatedData(harness.On)), during, func(context.Context) { opened = true })
	if !opened {
		t.Errorf("no window was opened: %v", err)
	}
	if o.Finding != nil {
		t.Logf("it came to %s: %q", o.Finding.Verdict, o.Finding.Because)
	}
}
