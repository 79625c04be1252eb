package harness_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
)

// A decoded event shows that an app collects only where it is a report, is the
// app's and not a page's, and happened in the window.
func TestWhichEventsShowCollection(t *testing.T) {
	off := func(w *world) *harness.Observation { return w.get("off-1") }
	in := func(o *harness.Observation) time.Time { return o.Acts[0].Add(2 * time.Second) }
	words := func(o *harness.Observation) string { return o.Canaries[0].Term }
	const (
		form   = "application/x-www-form-urlencoded"
		webHit = "https://www.google-analytics.com/collect?v=1&tid=UA-12345-1&cid=35009a79-1a05-49d7-b876-2b884d0f825b&t=pageview&dl=https%3A%2F%2Fshop.example%2F"
		appHit = "v=1&tid=UA-12345-1&cid=35009a79-1a05-49d7-b876-2b884d0f825b&t=screenview&cd=Settings&an=Browser"
	)
	for name, c := range map[string]struct {
		happens func(w *world)
		want    harness.Outcome
		because string
		not     string
	}{
		"an app's hit": {func(w *world) {
			w.send(in(off(w)), "POST", "https://ssl.google-analytics.com/collect", form, []byte(appHit))
		}, harness.Continues, "google-analytics event screenview", ""},
		"a hit of a page's script, which no page is seen to name": {func(w *world) {
			w.send(in(off(w)), "GET", webHit, "", nil)
		}, harness.OutcomeInconclusive, "no rule explains", "google-analytics event"},
		"a hit that the opened page names": {func(w *world) {
			o := off(w)
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(o))) {
					tr.Exchanges[i].ResponseBody = append(tr.Exchanges[i].ResponseBody, []byte(`<img src="`+webHit+`">`)...)
				}
			}
			w.send(in(o), "GET", webHit, "", nil)
		}, harness.Stops, "reported apart", "google-analytics event"},
		"a hit that waited since before the window": {func(w *world) {
			o := off(w)
			at := in(o)
			waited := at.Sub(o.Window.Open) + time.Minute
			w.send(at, "POST", "https://ssl.google-analytics.com/collect", form, []byte(appHit+"&qt="+strconv.FormatInt(waited.Milliseconds(), 10)))
		}, harness.OutcomeInconclusive, "", "google-analytics event screenview"},
		"a request for configuration, where no list says so": {func(w *world) {
			w.send(in(off(w)), "POST", "https://settings.unlisted.example/x", form, []byte("oa=&ov=V11&ob=S&ii=1&sv=1.1.5&av=9&ml=Redmi+Note+8&re=GB"))
		}, harness.OutcomeInconclusive, "no rule explains", "sdkconfig event"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.happens(w)
			f := w.judge()
			because := strings.Join(f.Because, "\n")
			if f.Outcome != c.want || !strings.Contains(because, c.because) {
				for _, o := range w.trial.Observations {
					t.Logf("%s: %s %q", o.ID, o.Finding.Verdict, o.Finding.Because)
				}
				t.Fatalf("outcome %s because %q, want %s and %q", f.Outcome, f.Because, c.want, c.because)
			}
			if said := strings.Join(off(w).Finding.Because, "\n"); c.not != "" && strings.Contains(said, c.not) {
				t.Errorf("OFF says %q", said)
			}
		})
	}
}
