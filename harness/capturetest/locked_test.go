//go:build !race

package capturetest_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// TestPhoneWithoutRoot: what PCAPdroid records on a locked phone tells contacts,
// and silence of contents never passes for silence.
func TestPhoneWithoutRoot(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.PhoneConfig{Personality: "silent", Root: sim.RootNone, Capture: []string{"pcapdroid"}})
	search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
	search.Claim = browser.MakersPromise()
	off, err := b.observe(search.With(browser.AggregatedData(harness.Off)), never, nil)
	if err != nil {
		t.Fatal(err)
	}
	if verdict(off) != harness.Inconclusive || !strings.Contains(because(off), "contact") {
		t.Errorf("it came to %s: %s", verdict(off), because(off))
	}
}
