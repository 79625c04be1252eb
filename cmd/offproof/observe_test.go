// The command under test is a process of its own, which the race detector of this
// one does not see.

//go:build !race

package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
)

// A robot is a person who does what the command asks for, with the eyes and the
// finger that a simulated phone lends; no ADB is in it.
type robot struct {
	t    *testing.T
	page string // of the phone
	// says gives another answer than done to words that contain a text, and skips
	// doing it.
	says map[string]string
	// wrong has it type other words than it is told.
	wrong bool
	// off is true once the switch is to be off; only then is anything not done.
	off bool
}

func (r *robot) post(what string, values ...string) {
	r.t.Helper()
	q := url.Values{}
	for i := 0; i < len(values); i += 2 {
		q.Set(values[i], values[i+1])
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.page+"/hand/"+what+"?"+q.Encode(), nil)
	if err != nil {
		r.t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // It is empty.
	if resp.StatusCode != http.StatusOK {
		r.t.Errorf("%s %v: %s", what, values, resp.Status)
	}
}

func (r *robot) tree() *ui.Node {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.page+"/tree", nil)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Error(err)
		return nil
	}
	root, err := ui.Parse(b)
	if err != nil {
		r.t.Error(err)
	}
	return root
}

// tap looks until something is there, and taps it.
func (r *robot) tap(find func(root *ui.Node) *ui.Node) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if n := find(r.tree()); n != nil {
			at := n.Center()
			r.post("tap", "x", fmt.Sprint(at.X), "y", fmt.Sprint(at.Y))
			return
		}
	}
	r.t.Errorf("the person does not see what is to be tapped; the screen shows %q", r.tree().Words(20))
}

func first(sel ui.Selector) func(*ui.Node) *ui.Node {
	return func(root *ui.Node) *ui.Node { return root.First(sel) }
}

func (r *robot) key(codes ...int) {
	for _, c := range codes {
		r.post("key", "code", fmt.Sprint(c))
	}
}

const browserID = "com.mi.globalbrowser:id/"

// do is what a person makes of the words.
func (r *robot) do(words string) {
	quoted := regexp.MustCompile(`"([^"]*)"`).FindStringSubmatch(words)
	switch {
	case strings.HasPrefix(words, "Agree"):
		r.tap(first(ui.ByID("android:id/button1")))
	case strings.HasPrefix(words, "Choose"):
		r.tap(first(ui.ByText("Search engine")))
		r.tap(first(ui.And(ui.ByText("DuckDuckGo"), ui.Checkable())))
	case strings.HasPrefix(words, "Open \""):
		r.tap(first(ui.ByText(quoted[1])))
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
			if root := r.tree(); root.First(ui.ByText("Help us improve Mi Browser")) != nil {
				break
			}
			r.post("swipe", "x", "540", "y", "1700", "x2", "540", "y2", "1100", "ms", "300")
		}
	case strings.HasPrefix(words, "Tap the switch"):
		r.tap(func(root *ui.Node) *ui.Node {
			n, err := ui.SwitchBeside(root, quoted[1])
			if err != nil {
				return nil
			}
			return n
		})
	case strings.HasPrefix(words, "Leave"):
		r.key(ui.KeyBack, ui.KeyBack, ui.KeyHome)
	case strings.HasPrefix(words, "Open a new tab"):
		r.tap(first(ui.ByID(browserID + "action_my")))
		r.tap(first(ui.ByID(browserID + "menu_new_tab")))
	case strings.HasPrefix(words, "Turn incognito"):
		r.tap(first(ui.ByID(browserID + "action_my")))
		r.tap(first(ui.ByID(browserID + "menu_incognito")))
	case strings.HasPrefix(words, "Tap the browser's address bar"):
		r.tap(first(ui.ByID(browserID + "url")))
		for range 60 {
			r.key(ui.KeyDelete)
		}
		if r.wrong && r.off {
			quoted[1] = "something else"
		}
		r.post("text", "text", quoted[1])
	case strings.HasPrefix(words, "Send"):
		r.key(ui.KeyEnter)
	case strings.HasPrefix(words, "Go to the home screen"):
		r.key(ui.KeyHome)
	default:
		r.t.Errorf("the person does not understand %q", words)
	}
}

var order = regexp.MustCompile(`^\s*\d+ (.*)$`)

// observe runs the command with the robot as the person, and returns what it
// printed and its status.
func (r *robot) observe(args ...string) (stdout, talk string, status int) {
	r.t.Helper()
	path, err := command()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), path, append([]string{"observe", "--manual"}, args...)...)
	answers, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	var all strings.Builder
	sc := bufio.NewScanner(said)
	for sc.Scan() {
		all.WriteString(sc.Text() + "\n")
		r.off = r.off || strings.Contains(sc.Text(), "switch off")
		m := order.FindStringSubmatch(sc.Text())
		if m == nil {
			continue
		}
		answer := "done"
		for text, other := range r.says {
			if r.off && strings.Contains(m[1], text) {
				answer = other
			}
		}
		if answer == "done" {
			r.do(m[1])
		}
		if answer == "" {
			_ = answers.Close()
			continue
		}
		if _, err := io.WriteString(answers, strings.TrimPrefix(answer, "lie ")+"\n"); err != nil {
			r.t.Logf("the command takes no answer: %v", err)
		}
	}
	err = cmd.Wait()
	if cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	return out.String(), all.String(), cmd.ProcessState.ExitCode()
}

// manual starts one simulated phone with a farm.yaml of its own.
func manual(t *testing.T, personality, root, capture string) (w *sim.World, farm string, r *robot) {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Phones: []sim.PhoneConfig{{Personality: personality, Root: sim.Root(root)}}, Floor: 4 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(w.FarmFile())
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`capture: \[[^]]*\]`).ReplaceAllString(string(text), "capture: ["+capture+"]")
	farm = filepath.Join(filepath.Dir(w.FarmFile()), "bench.yaml")
	if err := os.WriteFile(farm, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return w, farm, &robot{t: t, page: "http://" + w.Control() + "/phones/" + w.Phones()[0].Serial(), says: map[string]string{}}
}

// runs are the sealed observations of a farm, oldest first.
func runs(t *testing.T, farm string) []harness.Observation {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(filepath.Dir(farm), "runs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(dirs)
	var out []harness.Observation
	for _, dir := range dirs {
		o, err := evidence.ReadObservation(dir)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

// A person does all of it, and the verdicts are those that a hand would have
// brought about.
func TestObserveByAPerson(t *testing.T) {
	t.Parallel()
	for personality, want := range map[string]struct {
		off    harness.Verdict
		status int
	}{"honest": {harness.NotCollected, 0}, "deaf": {harness.Collected, 0}} {
		t.Run(personality, func(t *testing.T) {
			t.Parallel()
			_, farm, r := manual(t, personality, "", "tcpdump, proxy")
			out, talk, status := r.observe("--farm", farm)
			if status != want.status || !strings.Contains(out, "by a person") {
				t.Errorf("status %d\n%s\n%s", status, out, talk)
			}
			seen := runs(t, farm)
			if len(seen) != 2 || seen[0].Finding.Verdict != harness.Collected || seen[1].Finding.Verdict != want.off {
				t.Fatalf("%d observations\n%s\n%s", len(seen), out, talk)
			}
			for _, o := range seen {
				// What the browser sends on its way into incognito is of no window.
				if o.Steps[0].Name != "open an incognito tab" || !o.Steps[0].End.Before(o.Window.Open) || o.Steps[1].Start.Before(o.Window.Open) {
					t.Errorf("%s: the window opened at %s: %+v", o.ID, o.Window.Open, o.Steps)
				}
				if o.Route != ui.RoutePerson || len(o.Asked) < 5 || len(o.Steps) != 2 || o.Settled.Before(o.Acts[0]) {
					t.Errorf("%s: route %q, asked %d times, %d steps, settled %s", o.ID, o.Route, len(o.Asked), len(o.Steps), o.Settled)
				}
			}
		})
	}
}

// A locked phone whose gate is closed takes no tap over ADB; a person can be
// watched on it all the same, and nothing is claimed that was not read.
func TestObserveALockedPhone(t *testing.T) {
	t.Parallel()
	w, farm, r := manual(t, "deaf", "su", "tcpdump")
	fault(t, w.Phones()[0], "gate-closed")
	out, talk, status := r.observe("--farm", farm, "--arm", "off")
	seen := runs(t, farm)
	if status != 1 || len(seen) != 1 || !strings.Contains(out, "INCONCLUSIVE") {
		t.Fatalf("status %d\n%s\n%s", status, out, talk)
	}
	o := seen[0]
	if !o.Completed() || o.Err != "" || len(o.Broken) > 0 || o.After == nil || o.After.Arm != harness.Off {
		t.Errorf("the window broke: %v %v", o.Err, o.Broken)
	}
	for _, rb := range o.ReadBacks {
		if !rb.OK {
			t.Errorf("read back: %+v", rb)
		}
	}
	if len(o.Beacons["tcpdump"]) < 2 {
		t.Errorf("beacons %v", o.Beacons)
	}
}

// What was not done decides nothing, whatever the person says.
func TestObserveWhatWasNotDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		personality string
		says        map[string]string
		wrong       bool
		want        string
		lone        bool // only the switch off, on a phone that is as it came
	}{
		"the search was not sent":        {"honest", map[string]string{"Send the search": "lie done"}, false, "results page", false},
		"other words":                    {"honest", nil, true, "words in the address bar", false},
		"the switch was not set":         {"honest", map[string]string{"Tap the switch": "lie done"}, false, "the switch was to be off and read on", false},
		"not in incognito":               {"honest", map[string]string{"Turn incognito": "lie done"}, false, "does not speak of the mode normal", true},
		"not in incognito, and it sends": {"deaf", map[string]string{"Turn incognito": "lie done"}, false, "does not speak of the mode normal", true},
		"it cannot be done":              {"honest", map[string]string{"Send the search": "cannot the keyboard is gone"}, false, "the keyboard is gone", false},
		"it is ended":                    {"honest", map[string]string{"Send the search": "abort"}, false, "the person ended it", false},
		"the input ends":                 {"honest", map[string]string{"Send the search": ""}, false, "the input ended", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, farm, r := manual(t, c.personality, "", "tcpdump, proxy")
			r.says, r.wrong = c.says, c.wrong
			args, want := []string{"--farm", farm}, []harness.Verdict{harness.Collected, harness.Inconclusive}
			if c.lone {
				args, want = append(args, "--arm", "off"), want[1:]
			}
			out, talk, status := r.observe(args...)
			if status != 1 || !strings.Contains(out, c.want) {
				t.Errorf("status %d, wanted %q\n%s\n%s", status, c.want, out, talk)
			}
			var got []harness.Verdict
			for _, o := range runs(t, farm) {
				got = append(got, o.Finding.Verdict)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q, wanted %q\n%s\n%s", got, want, out, talk)
			}
		})
	}
}

// Where the input command is denied, a keyboard and a touch screen of ours do the
// steps; where they are denied too, the command says so and who can help.
func TestObserveByHID(t *testing.T) {
	t.Parallel()
	w, farm, _ := manual(t, "honest", "su", "tcpdump")
	fault(t, w.Phones()[0], "gate-closed")
	out, talk, status := offproof(t, nil, "observe", "--farm", farm, "--arm", "on", "--json")
	var o harness.Observation
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, talk)
	}
	if status != 1 || o.Route != ui.RouteHID || !o.Completed() || o.Err != "" {
		t.Errorf("status %d, route %q, %s %v\n%s", status, o.Route, o.Err, o.Broken, talk)
	}
	for _, rb := range o.ReadBacks {
		if !rb.OK {
			t.Errorf("read back: %+v", rb)
		}
	}
	if out, _, _ := offproof(t, nil, "doctor", "--farm", farm); !strings.Contains(out, "hid") {
		t.Errorf("doctor does not say that hid works:\n%s", out)
	}
	fault(t, w.Phones()[0], "no-hid")
	_, talk, status = offproof(t, nil, "observe", "--farm", farm, "--arm", "on")
	if status != 2 || !strings.Contains(talk, "--manual") || !strings.Contains(talk, "/dev/uhid") {
		t.Errorf("status %d\n%s", status, talk)
	}
	if out, _, status := offproof(t, nil, "doctor", "--farm", farm); status != 1 || !strings.Contains(out, "observe --manual") {
		t.Errorf("doctor does not say what is left to do:\n%s", out)
	}
}

// The scenario that types one term twice and another once can be observed like any
// other; what was typed when is in the evidence.
func TestObserveKeyedSearch(t *testing.T) {
	t.Parallel()
	w, farm, _ := manual(t, "honest", "", "tcpdump, proxy")
	out, talk, status := offproof(t, nil, "observe", "keyed-search", "--farm", farm, "--phone", w.Phones()[0].Serial())
	seen := runs(t, farm)
	if status != 0 || len(seen) != 2 || seen[0].Finding.Verdict != harness.Collected || seen[1].Finding.Verdict != harness.NotCollected {
		t.Fatalf("status %d, %d observations\n%s\n%s", status, len(seen), out, talk)
	}
	for _, o := range seen {
		times := map[string]int{}
		for _, typed := range o.Typings {
			times[typed.Canary]++
		}
		var counts []int
		for _, n := range times {
			counts = append(counts, n)
		}
		slices.Sort(counts)
		if !slices.Equal(counts, []int{1, 2}) {
			t.Errorf("%s: terms were typed %v times, want one twice and one once", o.ID, counts)
		}
	}
}

// Wrong uses get one line that says what is right.
func TestObserveAskedWrongly(t *testing.T) {
	t.Parallel()
	w := bench(t, 2)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"sing"}, "there are: search, keyed-search"},
		{[]string{"--engine", "bing"}, "known are DuckDuckGo, Google"},
		{[]string{"--mode", "dark"}, "normal or incognito"},
		{[]string{"--arm", "left"}, "on, off or both"},
		{[]string{"--against", "/nowhere"}, "belongs to --arm off"},
		{[]string{"--arm", "off", "--against", t.TempDir()}, "--against"},
		{[]string{"--farm", w.FarmFile()}, "with --phone"},
		{[]string{"--farm", w.FarmFile(), "--phone", "NOPE"}, "lists"},
		{[]string{"--farm", w.FarmFile(), "--sim"}, "exclude each other"},
		{[]string{"--sim=saint"}, "known are"},
	} {
		out, talk, status := offproof(t, nil, append([]string{"observe"}, c.args...)...)
		if status != 2 || out != "" || !strings.Contains(talk, c.says) || strings.Count(talk, "\n") != 1 {
			t.Errorf("%v: status %d, %s%s; wanted %q", c.args, status, out, talk, c.says)
		}
	}
}

// Each model in each language is driven to the switch and to the results of a
// search, and comes out as what it is.
func TestObserveInEveryLanguage(t *testing.T) {
	t.Parallel()
	for i, model := range sim.Models() {
		for j, locale := range sim.Locales() {
			personality, engine, mode := "honest", "Google", "incognito"
			if (i+j)%2 == 0 {
				personality, engine = "deaf", "DuckDuckGo"
			}
			if (i+j)%4 == 1 {
				mode = "normal"
			}
			t.Run(strings.Join([]string{personality, model, locale, engine, mode}, ", "), func(t *testing.T) {
				t.Parallel()
				w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Floor: 4 * time.Minute, Phones: []sim.PhoneConfig{{Personality: personality, Model: model, Locale: locale}}})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := w.Close(); err != nil {
						t.Error(err)
					}
				}()
				out, talk, status := offproof(t, nil, "observe", "--farm", w.FarmFile(), "--engine", engine, "--mode", mode)
				seen := runs(t, w.FarmFile())
				for _, o := range seen {
					for _, rb := range o.ReadBacks {
						if !rb.OK {
							t.Errorf("%s: read back: %+v", o.ID, rb)
						}
					}
				}
				if mode == "normal" {
					// The maker's promise does not speak of it.
					if status != 1 || strings.Count(out, "INCONCLUSIVE") != 2 || !strings.Contains(out, "does not speak of the mode normal") {
						t.Errorf("status %d\n%s%s", status, out, talk)
					}
					return
				}
				want := map[string]harness.Verdict{"honest": harness.NotCollected, "deaf": harness.Collected}[personality]
				if status != 0 || len(seen) != 2 || seen[0].Finding.Verdict != harness.Collected || seen[1].Finding.Verdict != want {
					t.Errorf("status %d\n%s%s", status, out, talk)
				}
			})
		}
	}
}
