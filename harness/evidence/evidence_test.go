package evidence_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
)

func newRun(t *testing.T) *evidence.Run {
	t.Helper()
	r, err := evidence.Create(t.TempDir(), "Redmi Note 8/../search", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealIsBrokenByAnyChange(t *testing.T) {
	changes := map[string]func(dir string) error{
		"was changed": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "observations", "off-1.json"), []byte("{}"), 0o600)
		},
		"is missing": func(dir string) error { return os.Remove(filepath.Join(dir, "observations", "off-1.json")) },
		"was added":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "more.json"), []byte("{}"), 0o600) },
		"malformed": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte("0000  ../../etc/passwd\n"), 0o600)
		},
		"holds no": func(dir string) error { return os.Remove(filepath.Join(dir, "SHA256SUMS")) },
	}
	for want, change := range changes {
		t.Run(want, func(t *testing.T) {
			r := newRun(t)
			if err := r.Save("observations/off-1.json", map[string]int{"format": 1}); err != nil {
				t.Fatal(err)
			}
			if err := r.Seal(nil, time.Now()); err != nil {
				t.Fatal(err)
			}
			if err := evidence.Verify(r.Dir()); err != nil {
				t.Fatalf("untouched directory: %v", err)
			}
			if err := change(r.Dir()); err != nil {
				t.Fatal(err)
			}
			err := evidence.Verify(r.Dir())
			if !errors.Is(err, evidence.ErrSeal) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want a broken seal that says %q", err, want)
			}
		})
	}
}

func TestRunKeepsToItsDirectory(t *testing.T) {
	r := newRun(t)
	if strings.Contains(filepath.Base(r.Dir()), "..") {
		t.Errorf("label leads out: %s", r.Dir())
	}
	for _, name := range []string{"../x", "/etc/x", "a/../../x"} {
		if err := r.Write(name, nil); err == nil {
			t.Errorf("wrote %q", name)
		}
	}
	info, err := os.Stat(r.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode(), err)
	}
}

func TestTwoRunsOfOneMomentAreApart(t *testing.T) {
	root, now := t.TempDir(), time.Now()
	a, err := evidence.Create(root, "x", now)
	if err != nil {
		t.Fatal(err)
	}
	b, err := evidence.Create(root, "x", now)
	if err != nil {
		t.Fatal(err)
	}
	if a.Dir() == b.Dir() {
		t.Errorf("both runs write to %s", a.Dir())
	}
}

func TestTrialComesBackAsItWasWritten(t *testing.T) {
	r := newRun(t)
	want := harness.Trial{Format: 1, Scenario: "s", Observations: []*harness.Observation{{ID: "off-1", Arm: harness.Off, Finding: &harness.Finding{Verdict: harness.NotCollected}}}}
	want.Finding.Outcome, want.Finding.Grade = harness.Stops, harness.CanaryGrade
	if err := r.Save("finding.json", want); err != nil {
		t.Fatal(err)
	}
	got, err := evidence.ReadTrial(r.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if got.Finding.Outcome != harness.Stops || got.Finding.Grade != harness.CanaryGrade || got.Observations[0].Finding.Verdict != harness.NotCollected {
		t.Errorf("got %+v", got)
	}
}
