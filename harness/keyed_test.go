package harness_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
)

// keyedPlace is where the tests send what depends on the words.
const keyedPlace = "https://api.collect.data.intl.miui.com/v1/health"

// typingWorld is a trial of pairs in each of whose windows one term is typed
// twice and another once. Nothing is reported but with the switch on.
func typingWorld(t *testing.T, pairs int) *world {
	t.Helper()
	w := newWorld(t)
	for i := 2; i <= pairs; i++ {
		w.observation(fmt.Sprintf("off-%d", i), harness.Pair, harness.Off)
		w.observation(fmt.Sprintf("on-%d", i), harness.Pair, harness.On)
	}
	w.ev.Traces[1] = capture.Trace{Backend: "proxy"}
	for i, o := range w.trial.Observations {
		if o.Part != harness.Quiet {
			w.typings(o, i)
		}
	}
	return w
}

// typings makes an observation one of three typings. Which of them is of the
// other term is chosen by place, as a draw might.
func (w *world) typings(o *harness.Observation, place int) {
	other := canary.Canary{ID: o.ID + "-other", Field: "search words", Term: fmt.Sprintf("tolvimark%c zendrupk%c", 'a'+place, 'a'+place), Observation: o.ID, Serial: "R58M"}
	twice := o.Canaries[0]
	o.Canaries = append(o.Canaries, other)
	expected := o.Expected[0]
	expected.Canary = other.ID
	o.Expected = append(o.Expected, expected)
	o.Acts = nil
	for i := range 3 {
		term := twice
		if i == (place*2+1)%3 {
			term = other
		}
		at := o.Window.Open.Add(time.Duration(i+1) * 600 * time.Millisecond)
		o.Typings = append(o.Typings, harness.Typing{Canary: term.ID, At: at})
		o.Acts = append(o.Acts, at.Add(100*time.Millisecond))
		w.send(at.Add(150*time.Millisecond), "GET", "https://duckduckgo.com/?q="+url.QueryEscape(term.Term)+"&ia=web", "", nil)
		if o.Arm == harness.On {
			w.sensors(at.Add(400*time.Millisecond), at.Add(100*time.Millisecond), term.Term)
		}
	}
}

// after sends what a talker makes of each typing.
func (w *world) after(o *harness.Observation, place string, talk func(words string, n int) string) {
	for n, ty := range o.Typings {
		i := slices.IndexFunc(o.Canaries, func(c canary.Canary) bool { return c.ID == ty.Canary })
		w.send(ty.At.Add(300*time.Millisecond), "POST", strings.Replace(place, "%d", fmt.Sprint(n), 1), "application/json", []byte(`{"status":"ok","d":"`+talk(o.Canaries[i].Term, n)+`"}`))
	}
}

func underKey(words string) string {
	mac := hmac.New(sha256.New, []byte("a key that nobody has"))
	mac.Write([]byte(words))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestThreeTypings(t *testing.T) {
	t.Run("an honest phone stops", func(t *testing.T) {
		w := typingWorld(t, 3)
		w.want(harness.Stops, "not observed in 3 of 3 OFF windows")
		for _, o := range w.trial.Observations {
			for _, s := range o.Finding.Sightings {
				if s.Grade == harness.CanaryGrade && s.Lag != 300*time.Millisecond {
					t.Errorf("%s: %s came %s after the act, want 300ms", o.ID, s.Term, s.Lag)
				}
			}
		}
	})
	t.Run("a leak of the second typing", func(t *testing.T) {
		w := typingWorld(t, 1)
		off := w.get("off-1")
		w.sensors(off.Typings[1].At.Add(400*time.Millisecond), off.Acts[1], off.Canaries[2].Term)
		w.want(harness.Continues, "tolvimark")
	})
	t.Run("a second typing that was not heard", func(t *testing.T) {
		for n := range 3 {
			w := typingWorld(t, 1)
			off := w.get("off-1")
			tr := &w.ev.Traces[1]
			tr.Exchanges = slices.DeleteFunc(tr.Exchanges, func(e capture.Exchange) bool {
				return strings.HasPrefix(e.URL, "https://duckduckgo.com/") && e.Start.Equal(off.Typings[n].At.Add(150*time.Millisecond))
			})
			w.want(harness.OutcomeInconclusive, "was not read at its expected recipient")
		}
	})
}

// TestKeyed: a value that goes with what is typed is found under whatever key, by
// three windows or more, and what has nothing to do with it is not.
func TestKeyed(t *testing.T) {
	hash := func(words string, _ int) string { return underKey(words) }
	every := func(*harness.Observation) bool { return true }
	off := func(o *harness.Observation) bool { return o.Arm == harness.Off }
	nonce := 0
	fresh := func(words string, _ int) string { nonce++; return underKey(fmt.Sprint(words, nonce)) }
	for name, c := range map[string]struct {
		pairs int
		which func(*harness.Observation) bool
		place string
		talk  func(words string, n int) string
		found bool
		doubt bool
	}{
		"an HMAC with the switch off":          {3, off, keyedPlace, hash, true, true},
		"an HMAC in either position":           {1, every, keyedPlace, hash, true, true},
		"an HMAC with the switch on":           {3, func(o *harness.Observation) bool { return o.Arm == harness.On }, keyedPlace, hash, true, false},
		"an HMAC at an address with a number":  {3, off, "https://telemetry.unlisted.example/v1/1%d/x", hash, true, true},
		"an HMAC in one window":                {1, off, keyedPlace, hash, false, false},
		"an encryption with a nonce":           {3, every, keyedPlace, fresh, false, false},
		"a token that never changes":           {3, every, keyedPlace, func(string, int) string { return underKey("") }, false, false},
		"a session that changes at the last":   {3, every, keyedPlace, func(_ string, n int) string { return underKey(fmt.Sprint(n / 2)) }, false, false},
		"an HMAC to the engine that was asked": {3, every, "https://duckduckgo.com/t/x", hash, false, false},
		"an HMAC in one OFF window of three":   {3, func(o *harness.Observation) bool { return o.ID == "off-2" }, keyedPlace, hash, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := typingWorld(t, c.pairs)
			for _, o := range w.trial.Observations {
				if len(o.Typings) > 0 && c.which(o) {
					w.after(o, c.place, c.talk)
				}
			}
			f := w.judge()
			if found := len(f.Keyed) == 1; found != c.found {
				t.Fatalf("found %v, want %v", f.Keyed, c.found)
			}
			if f.Outcome == harness.Continues || c.found && c.doubt && f.Outcome == harness.Stops {
				t.Errorf("outcome %s because %q", f.Outcome, f.Because)
			}
			if c.found && (f.Keyed[0].Chance > 0.05 || f.Keyed[0].Chance <= 0 || f.Keyed[0].Where != "body" || f.Keyed[0].Windows < 3) {
				t.Errorf("%+v", f.Keyed[0])
			}
			for _, o := range w.trial.Observations {
				said := strings.Contains(strings.Join(o.Finding.Because, "\n"), "was the same for a term typed twice and different for another")
				if want := c.doubt && o.Part == harness.Pair && o.Arm == harness.Off; said != want {
					t.Errorf("%s: %s because %q, doubt wanted: %t", o.ID, o.Finding.Verdict, o.Finding.Because, want)
				}
			}
			again := w.fromDisk()
			harness.JudgeTrial(again, list(t))
			if got, want := fmt.Sprint(again.Finding), fmt.Sprint(f); got != want {
				t.Errorf("judged again %s, first %s", got, want)
			}
		})
	}
}

// TestKeyedNeedsTypings: records that lack a typing, or contradict themselves,
// show nothing, and break nothing.
func TestKeyedNeedsTypings(t *testing.T) {
	for name, harm := range map[string]func(o *harness.Observation){
		"none":             func(o *harness.Observation) { o.Typings = nil },
		"two":              func(o *harness.Observation) { o.Typings = o.Typings[:2] },
		"of nobody's term": func(o *harness.Observation) { o.Typings[0].Canary = "elsewhere" },
		"of a sham":        func(o *harness.Observation) { o.Typings[0].Canary = o.Canaries[1].ID },
		"of one term": func(o *harness.Observation) {
			o.Typings[0].Canary, o.Typings[1].Canary, o.Typings[2].Canary = "x", "x", "x"
		},
		"out of order":         func(o *harness.Observation) { slices.Reverse(o.Typings) },
		"all at the same time": func(o *harness.Observation) { o.Typings[1].At, o.Typings[2].At = o.Typings[0].At, o.Typings[0].At },
	} {
		t.Run(name, func(t *testing.T) {
			w := typingWorld(t, 3)
			for _, o := range w.trial.Observations {
				if len(o.Typings) > 0 {
					w.after(o, keyedPlace, func(words string, _ int) string { return underKey(words) })
					harm(o)
				}
			}
			if f := w.judge(); len(f.Keyed) > 0 || f.Outcome == harness.Stops {
				t.Errorf("outcome %s, found %v", f.Outcome, f.Keyed)
			}
		})
	}
}

// fromDisk is the trial as it is written and read back.
func (w *world) fromDisk() *harness.Trial {
	w.t.Helper()
	text, err := json.Marshal(w.trial)
	if err != nil {
		w.t.Fatal(err)
	}
	var again harness.Trial
	if err := json.Unmarshal(text, &again); err != nil {
		w.t.Fatal(err)
	}
	for _, o := range again.Observations {
		o.Attach(w.ev)
	}
	return &again
}
