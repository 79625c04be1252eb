package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
)

// sealed is the run directory of a trial that found these links.
func sealed(t *testing.T, root string, links ...harness.Link) string {
	t.Helper()
	run, err := evidence.Create(root, "trial", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trial := harness.Trial{Format: 1, Finding: harness.TrialFinding{Links: links}}
	if err := run.Save("finding.json", trial); err != nil {
		t.Fatal(err)
	}
	if err := run.Seal(nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	return run.Dir()
}

func TestLink(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	link := func(mode string, at time.Time) harness.Link {
		return harness.Link{
			Host: "sa.api.intl.miui.com", Organisation: "Xiaomi", Where: "body", Path: "form:data_list > base64 > gzip > json:/*/distinct_id", Name: "distinct_id",
			Value: "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69", Serials: []string{"R58M"}, Windows: []string{mode + "1", mode + "2"}, Modes: []string{mode}, First: at, Last: at.Add(time.Minute),
		}
	}
	root := t.TempDir()
	one, two := sealed(t, root, link("normal", day)), sealed(t, root, link("incognito", day.AddDate(0, 0, 3)))
	out, stderr, status := offproof(t, nil, "link", one, two)
	const want = `distinct_id = 0b5c2a…5a69 to sa.api.intl.miui.com (Xiaomi): the same in 4 windows, across 2 browsing modes, over 3 days
    in the body: form:data_list > base64 > gzip > json:/*/distinct_id
    modes: normal, incognito
`
	if status != 0 || out != want {
		t.Errorf("status %d, %s, %q", status, stderr, out)
	}
	out, _, _ = offproof(t, nil, "link", "--json", one)
	if strings.Count(out, "\n") != 1 || !strings.Contains(out, `"value":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"`) {
		t.Errorf("as JSON it says %q", out)
	}
	if out, _, _ = offproof(t, nil, "link", sealed(t, root)); !strings.Contains(out, "no value was sent in more than one window") {
		t.Errorf("without links it says %q", out)
	}
	if err := os.WriteFile(filepath.Join(two, "finding.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{}, {root}, {filepath.Join(root, "missing")}, {one, two}} {
		out, stderr, status := offproof(t, nil, append([]string{"link"}, args...)...)
		if status != 2 || out != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: status %d, %q, %q", args, status, out, stderr)
		}
	}
}
