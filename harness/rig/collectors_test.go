package rig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/collector"
	"github.com/offproof/offproof/harness/rig"
)

func TestAFarmsListsAddToTheBuiltInOne(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"filters.txt": "! trackers\n||metrics.example.org^\n||tracking.miui.com^\n||x.example.org^$script\n",
		"own.txt":     "tracking.miui.com | /track/v4 | Somebody | config | it is harmless | a rumour\ntime.example.org | - | Example | update | asks for the time | our bench\nmetrics.example.org | /x | Example | config | it is harmless | a rumour\n",
		"broken.txt":  "a.example.org | - | Org | spying | why | who\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := func(collectors string) (*rig.Rig, error) {
		t.Helper()
		f, err := rig.Parse(filepath.Join(dir, "farm.yaml"), []byte("version: 1\nstate: state\nphones: [{serial: a, capture: [proxy]}]\n"+collectors))
		if err != nil {
			return nil, err
		}
		return rig.New(f)
	}
	// Whichever comes first, no list excuses what another calls a collector.
	r, err := open("collectors: [own.txt, filters.txt]\n")
	if err != nil {
		t.Fatal(err)
	}
	if in, _ := r.Collectors.Match("metrics.example.org", "/x"); in.Purpose != collector.Collect {
		t.Errorf("a collector of one list is excused by another: %+v", in)
	}
	if in, ok := r.Collectors.Match("a.metrics.example.org", "/x"); !ok || in.Purpose != collector.Collect || !strings.HasPrefix(in.Source, "filters.txt, sha256:") {
		t.Errorf("a host of a filter list is %+v", in)
	}
	if in, _ := r.Collectors.Match("time.example.org", ""); in.Purpose != collector.Update {
		t.Errorf("a host of an own list is %+v", in)
	}
	if in, _ := r.Collectors.Match("tracking.miui.com", "/track/v4"); in.Purpose != collector.Collect || in.Organisation != "Xiaomi" {
		t.Errorf("a collector that is built in is %+v", in)
	}
	said := strings.Join(r.Lists, "\n")
	for _, words := range []string{"filters.txt: 2 of 3 rules", "under options", "own.txt: 3 of 3 rules", "2 left out: it would excuse"} {
		if !strings.Contains(said, words) {
			t.Errorf("%q is not said: %s", words, said)
		}
	}
	for collectors, message := range map[string]string{
		"collectors: filters.txt\n":   ":4: collectors must be a list",
		"collectors: [\"\"]\n":        "without a name",
		"collectors: [missing.txt]\n": "missing.txt",
		"collectors: [broken.txt]\n":  "unknown purpose",
	} {
		if _, err := open(collectors); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v", collectors, err)
		}
	}
}
