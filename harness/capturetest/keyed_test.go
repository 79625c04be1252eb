//go:build !race

package capturetest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	simbrowser "github.com/offproof/offproof/devices/sim/browser"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// keyed is a browser that obeys its switch, and sends an HMAC of the words under
// a key of its own whatever the switch says.
var keyed = simbrowser.Personality{
	Name: "keyed", Summary: "off sends an HMAC of the search under a secret key, as on does",
	Report: func(act simbrowser.Act, s simbrowser.State) []simbrowser.Upload {
		var out []simbrowser.Upload
		if s.Switch {
			out = simbrowser.Genuine(act)
		}
		if act.Kind != simbrowser.ActSearch {
			return out
		}
		mac := hmac.New(sha256.New, []byte("a key that nobody has"))
		mac.Write([]byte(act.Words))
		return append(out, simbrowser.Upload{
			After: 2 * time.Second,
			Request: &simbrowser.Request{
				Method: http.MethodPost, URL: "https://api.collect.data.intl.miui.com/v1/health", Header: http.Header{"Content-Type": {"application/json"}},
				Body: []byte(`{"app":"browser","status":"ok","token":"` + hex.EncodeToString(mac.Sum(nil)) + `"}`),
			},
		})
	},
}

// keyedSearch: what depends on the words is found though nobody can read it, and is
// named in the windows in which the switch was off.
func keyedSearch(t *testing.T) {
	t.Helper()
	b := newBench(t, sim.PhoneConfig{Behaviour: &keyed})
	trial, err := b.try(scenarios.KeyedSearch(browser.DuckDuckGo, harness.ModeIncognito))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range trial.Observations {
		t.Logf("%s: %s because %q; acts %d, typings %d", o.ID, verdict(*o), because(*o), len(o.Acts), len(o.Typings))
	}
	if len(trial.Finding.Keyed) != 1 || !strings.HasPrefix(trial.Finding.Keyed[0].Recipient, "api.collect.data.intl.miui.com/") {
		t.Errorf("it found %v", trial.Finding.Keyed)
	}
	if said := strings.Join(trial.Finding.Because, "\n"); trial.Finding.Outcome != harness.OutcomeInconclusive || !strings.Contains(said, "it depends on what was typed") {
		t.Errorf("it came to %s: %s", trial.Finding.Outcome, said)
	}
}

// honestKeyedSearch: searching three times changes nothing for a phone that keeps
// its promise.
func honestKeyedSearch(t *testing.T) {
	t.Helper()
	b := newBench(t, sim.PhoneConfig{Personality: "honest"})
	trial, err := b.try(scenarios.KeyedSearch(browser.DuckDuckGo, harness.ModeIncognito))
	if err != nil {
		t.Fatal(err)
	}
	if trial.Finding.Outcome != harness.Stops {
		for _, o := range trial.Observations {
			t.Logf("%s: %s because %q", o.ID, verdict(*o), because(*o))
		}
		t.Errorf("it came to %s: %q, found %v", trial.Finding.Outcome, trial.Finding.Because, trial.Finding.Keyed)
	}
}
