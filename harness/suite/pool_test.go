//go:build !race

package suite_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// A note is one line of the log that testdata/farmspecs write.
type note struct {
	What   string
	Serial string
	PID    int
	At     time.Time
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path) //nolint:gosec // The test's own file.
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func notes(t *testing.T, path string) []note {
	t.Helper()
	b := read(t, path)
	var all []note
	for line := range bytes.Lines(b) {
		var n note
		if err := json.Unmarshal(line, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, n)
	}
	slices.SortStableFunc(all, func(a, b note) int { return a.At.Compare(b.At) })
	return all
}

// farmSpecs starts testdata/farmspecs with a label.
func (f *farm) farmSpecs(log, label string, before ...string) func() run {
	f.t.Helper()
	return startSuite(f.t, "farmspecs.test", append(f.env(), "FARMSPECS_LOG="+log), append(before, "--label-filter="+label), nil)
}

// TestTwoRunsShareAFarm has two runs of ginkgo with six processes each on four
// phones: no phone is ever had twice, and none stands idle while a spec waits.
func TestTwoRunsShareAFarm(t *testing.T) {
	f := startFarm(t, "honest,honest,honest,honest")
	log := filepath.Join(t.TempDir(), "log")
	waits := []func() run{
		f.farmSpecs(log, "one || two", "--procs=6", "--randomize-all"),
		f.farmSpecs(log, "one || two", "--procs=6", "--randomize-all"),
	}
	for _, wait := range waits {
		if r := wait(); r.exit != 0 {
			t.Fatalf("exit %d\n%s", r.exit, r.output)
		} else if n := len(r.specs()); n != 11 {
			t.Errorf("%d specs ran, want 11", n)
		}
	}
	all := notes(t, log)
	holder := map[string]int{}
	pids := map[int]bool{}
	served := map[string]int{}
	most := 0 // phones that were had at one moment
	for _, n := range all {
		switch n.What {
		case "begin":
			if by, taken := holder[n.Serial]; taken {
				t.Errorf("phone %s is had by %d and by %d", n.Serial, by, n.PID)
			}
			holder[n.Serial] = n.PID
			pids[n.PID] = true
			served[n.Serial]++
			most = max(most, len(holder))
		case "end":
			if holder[n.Serial] != n.PID {
				t.Errorf("phone %s is given back by %d, and %d had it", n.Serial, n.PID, holder[n.Serial])
			}
			delete(holder, n.Serial)
		}
	}
	const wanted = 2 * (8 + 2*3) // by both runs
	times := 0
	for _, n := range served {
		times += n
	}
	if times != wanted || len(holder) != 0 || len(served) != 4 {
		t.Errorf("phones were had %d times (want %d) on %d phones (want 4), and %v are still", times, wanted, len(served), holder)
	}
	if len(pids) < 6 {
		t.Errorf("%d processes had phones, want 6 at least of 12", len(pids))
	}
	// What every spec does takes the same time, so a phone that stood idle while specs
	// waited for one was had less often than the others, however slow the host is.
	for serial, n := range served {
		if n < wanted/4/2 {
			t.Errorf("phone %s was had %d times while specs waited; the phones: %v", serial, n, served)
		}
	}
	if most != 4 {
		t.Errorf("at most %d of 4 phones were had at the same time", most)
	}
	t.Logf("each phone was had so often: %v", served)
}

// TestSpecSaysWhatItNeeds runs specs with needs on phones of two models.
func TestSpecSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest,honest:mi-10")
	ginkgoPhone, umi := f.serials[0], f.serials[1]
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	// The bench says of the first one what it cannot do.
	changed := strings.Replace(string(text), `capture: [tcpdump, proxy]`, `region: global, rooted: false, capture: [tcpdump]`, 1)
	if changed == string(text) {
		t.Fatalf("farm.yaml has another shape:\n%s", text)
	}
	if err := os.WriteFile(f.file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	r := f.farmSpecs(log, "needs")()
	had := map[string]string{}
	for _, c := range []struct {
		name  string
		state types.SpecState
		says  []string
	}{
		{"Needs rooted", types.SpecStatePassed, nil},
		{"Needs umi", types.SpecStatePassed, nil},
		{"Needs nothing like it", types.SpecStateFailed, []string{"Infrastructure:", "needs a build with no such build, has", "/umi_global/", "/ginkgo/", ginkgoPhone, umi}},
		{"Needs captured", types.SpecStatePassed, nil},
		{"Needs app", types.SpecStatePassed, nil},
		{"Needs on " + ginkgoPhone, types.SpecStateSkipped, []string{"needs capture by proxy, has only tcpdump"}},
		{"Needs on " + umi, types.SpecStatePassed, nil},
	} {
		found := false
		for _, s := range r.report {
			if s.LeafNodeType != types.NodeTypeIt || !strings.HasPrefix(s.FullText(), c.name) {
				continue
			}
			found = true
			if s.State != c.state {
				t.Errorf("%s: %s, want %s: %s", c.name, s.State, c.state, s.Failure.Message)
			}
			for _, part := range c.says {
				if !strings.Contains(s.Failure.Message, part) {
					t.Errorf("%s: the message does not say %q: %s", c.name, part, s.Failure.Message)
				}
			}
		}
		if !found {
			t.Errorf("%s: no such spec", c.name)
		}
	}
	if !strings.Contains(r.output, "skipped: ") || !strings.Contains(r.output, "on "+ginkgoPhone) {
		t.Errorf("the plan does not say what is skipped:\n%s", r.output)
	}
	for _, n := range notes(t, log) {
		had[n.Serial] += n.What + " "
	}
	if strings.Count(had[ginkgoPhone], "begin") > 1 {
		t.Errorf("the phone that fits almost nothing was had for %q", had[ginkgoPhone])
	}
}

// TestWaitForAPhoneIsNoTimeOfTheSpec refuses what would count it.
func TestWaitForAPhoneIsNoTimeOfTheSpec(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest")
	r := startSuite(t, "spectimeout.test", f.env(), nil, nil)()
	if r.exit == 0 || !strings.Contains(r.output, "SpecTimeout is refused: it counts the wait for a phone") {
		t.Errorf("exit %d\n%s", r.exit, r.output)
	}
}

// TestUnlistedPhoneIsLeftAlone uses everything that a person has on a farm of
// which one phone is not listed.
func TestUnlistedPhoneIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest,honest")
	ours, stranger := f.serials[0], f.serials[1]
	before := f.settings(stranger)
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, stranger) {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(f.file, []byte(strings.Join(kept, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	offproof := func(args ...string) {
		t.Helper()
		if out, errs, exit := command(t, program(t, "offproof"), append(args, "--farm", f.file)...); exit != 0 {
			t.Errorf("offproof %q: exit %d: %s%s", args, exit, out, errs)
		}
	}
	offproof("doctor")
	offproof("farm", "quarantine", ours, "--reason", "a test")
	offproof("farm", "release", ours)
	f.post("/phones/" + ours + "/faults/stale") // a repair has to reconnect one phone
	if r := start(t, f.env(), []string{"--label-filter=duckduckgo && incognito"}, nil)(); r.exit != 0 {
		t.Errorf("exit %d\n%s", r.exit, r.output)
	}
	b := read(t, f.log)
	asked := map[string]int{}
	for line := range bytes.Lines(b) {
		var rec struct{ Msg, Service, Phone string }
		if err := json.Unmarshal(line, &rec); err != nil || rec.Msg != "adb request" {
			continue
		}
		asked[rec.Phone]++
		for _, bad := range []string{stranger, "host:transport-any", "host:reconnect", "host:kill", "host:disconnect"} {
			if strings.Contains(rec.Service, bad) || rec.Phone == stranger {
				t.Errorf("the server was asked for %q, of phone %q", rec.Service, rec.Phone)
			}
		}
	}
	if asked[ours] < 50 || asked[stranger] != 0 {
		t.Errorf("services were asked for this often: %v", asked)
	}
	if after := f.settings(stranger); after != before {
		t.Errorf("the phone that is not listed was\n%sand is\n%s", before, after)
	}
}

// TestPhoneOfAPersonIsLeftOut has a phone that only a person can operate: specs go
// to the other one, and where there is no other the run says so at once.
func TestPhoneOfAPersonIsLeftOut(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest,honest")
	text := string(read(t, f.file))
	person := func(serial, text string) string {
		return strings.Replace(text, `serial: "`+serial+`"`, `serial: "`+serial+`", input: person`, 1)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(f.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text = person(f.serials[0], text)
	if !strings.Contains(text, "input: person") {
		t.Fatalf("the farm is written in another way: %s", text)
	}
	write(text)
	log := filepath.Join(t.TempDir(), "log")
	if r := f.farmSpecs(log, "one")(); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.output)
	}
	for _, n := range notes(t, log) {
		if n.Serial != f.serials[1] {
			t.Errorf("phone %s was used: %+v", n.Serial, n)
		}
	}
	write(person(f.serials[1], text))
	if r := f.farmSpecs(log, "one")(); r.exit == 0 || !strings.Contains(r.output, "operated by a person") {
		t.Errorf("exit %d\n%s", r.exit, r.output)
	}
}
