package harness_test

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
)

// A search engine that suggests is asked letter by letter what somebody types. That
// is the engine's role, and no collection; whatever else is in such a request is.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	const ask = "https://duckduckgo.com/ac/?type=list&q="
	in := func(o *harness.Observation) time.Time { return o.Acts[0].Add(-500 * time.Millisecond) }
	words := func(o *harness.Observation) string { return o.Canaries[0].Term }
	get := func(w *world, o *harness.Observation, address string) { w.send(in(o), "GET", address, "", nil) }
	for _, c := range []struct {
		name    string
		happens func(w *world, o *harness.Observation)
		want    harness.Outcome
		because string
	}{
		{"every letter as it is typed", func(w *world, o *harness.Observation) {
			for n := range words(o) {
				get(w, o, ask+url.QueryEscape(words(o)[:n+1]))
			}
		}, harness.Stops, ""},
		{"all of the words at once", func(w *world, o *harness.Observation) { get(w, o, ask+url.QueryEscape(words(o))) }, harness.Stops, ""},
		{"something that nobody typed", func(w *world, o *harness.Observation) { get(w, o, ask+"headache") }, harness.OutcomeInconclusive, "no rule explains"},
		{"a parameter that nobody knows", func(w *world, o *harness.Observation) { get(w, o, ask+words(o)[:3]+"&topic=health") }, harness.OutcomeInconclusive, "no rule explains"},
		{"an opaque value beside the letters", func(w *world, o *harness.Observation) {
			get(w, o, ask+words(o)[:3]+"&s="+url.QueryEscape(secret))
		}, harness.OutcomeInconclusive, "opaque"},
		{"the identifier beside the letters", func(w *world, o *harness.Observation) {
			get(w, o, ask+words(o)[:8]+"&u="+o.Identifiers[0].Term)
		}, harness.Continues, "ANDROID_ID"},
		{"the words twice", func(w *world, o *harness.Observation) {
			get(w, o, ask+url.QueryEscape(words(o))+"&x="+url.QueryEscape(words(o)))
		}, harness.Continues, "korvandel"},
		{"a hash of the words in the words' place", func(w *world, o *harness.Observation) {
			get(w, o, ask+fmt.Sprintf("%x", sha256.Sum256([]byte(words(o)))))
		}, harness.Continues, "sha256"},
		{"the letters to somebody else", func(w *world, o *harness.Observation) {
			get(w, o, strings.Replace(ask, "duckduckgo.com", "suggest.unlisted.example", 1)+words(o)[:8])
		}, harness.Continues, "suggest.unlisted.example"},
		{"the letters elsewhere at the engine", func(w *world, o *harness.Observation) {
			get(w, o, strings.Replace(ask, "/ac/", "/log/", 1)+words(o)[:8])
		}, harness.Continues, "duckduckgo.com"},
		{"suggestions without the search", func(w *world, o *harness.Observation) {
			*w.search(o) = *w.send(in(o), "GET", ask+url.QueryEscape(words(o)), "", nil)
		}, harness.OutcomeInconclusive, "was not read at its expected recipient"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, o := range w.trial.Observations {
				if len(o.Canaries) > 0 {
					o.Expected = append(o.Expected, harness.Expected{
						Canary: o.Canaries[0].ID, Role: "DuckDuckGo's suggestions", Host: "duckduckgo.com", Path: "/ac/", Param: "q",
						Known: map[string][]string{"type": {"list"}}, AsTyped: true,
					})
				}
			}
			c.happens(w, w.get("off-1"))
			f := w.judge()
			if f.Outcome != c.want || !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("outcome %s because %q, want %s because of %q", f.Outcome, f.Because, c.want, c.because)
			}
		})
	}
}
