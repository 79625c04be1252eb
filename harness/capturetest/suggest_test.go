//go:build !race

package capturetest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	simbrowser "github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// suggesting is a browser that obeys its switch, and asks the search engine for
// suggestions, letter by letter, whatever the switch says.
var suggesting = simbrowser.Personality{
	Name: "suggesting", Summary: "asks the search engine for suggestions, and reports with the switch on only",
	Report: func(act simbrowser.Act, s simbrowser.State) []simbrowser.Upload {
		var out []simbrowser.Upload
		if s.Switch {
			out = simbrowser.Genuine(act)
		}
		if act.Kind != simbrowser.ActSearch {
			return out
		}
		for n := range act.Words {
			out = append(out, simbrowser.Upload{
				After:   time.Duration(n) * 50 * time.Millisecond,
				Request: &simbrowser.Request{Method: http.MethodGet, URL: "https://duckduckgo.com/ac/?type=list&q=" + url.QueryEscape(act.Words[:n+1])},
			})
		}
		return out
	},
}

// suggestions: that an engine is asked what somebody types is no collection by the
// maker.
func suggestions(t *testing.T) {
	t.Helper()
	b := newBench(t, sim.PhoneConfig{Behaviour: &suggesting})
	trial, err := b.try(scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito))
	if err != nil {
		t.Fatal(err)
	}
	if trial.Finding.Outcome != harness.Stops {
		for _, o := range trial.Observations {
			t.Logf("%s: %s because %q", o.ID, verdict(*o), because(*o))
		}
		t.Errorf("it came to %s: %q", trial.Finding.Outcome, trial.Finding.Because)
	}
}
