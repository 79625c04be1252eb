//go:build !race

package faulttest_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
)

// The variables that choose rows and say where to write what became of them.
const (
	whichVariable  = "OFFPROOF_FAULTS"        // all, how many rows of each fault (1 unless given), or names with commas between
	seedVariable   = "OFFPROOF_FAULTS_SEED"   // a number, that of the day unless given
	reportVariable = "OFFPROOF_FAULTS_REPORT" // a file for the table as Markdown
)

// atOnce is how many rows run at the same time: a row mostly waits.
const atOnce = 16

// The phases in which a fault can come.
const (
	before  = "before"  // the instruments run, and the OFF window is about to open
	during  = "during"  // the OFF window has opened, and nothing was done in it yet
	waiting = "waiting" // the steps are done, and the OFF window is waited out
	after   = "after"   // the OFF window has closed, and the last beacons are to come
)

func phases() []string { return []string{before, during, waiting, after} }

// The personalities: one that keeps its promise and one that collects although
// the switch is off.
const (
	honest = "honest"
	deaf   = "deaf"
)

// A row is one observation of one phone with one fault.
type row struct {
	fault string
	kind  kind
	phase string
	phone string // its personality
}

func (r row) String() string {
	text := r.name() + " " + r.phase + ", " + r.phone
	if len(r.kind.capture) > 0 {
		text += ", by " + strings.Join(r.kind.capture, " and ")
	}
	return text
}

// name is the fault as a person types it.
func (r row) name() string {
	if r.kind.arg == "" {
		return r.fault
	}
	return r.fault + "=" + r.kind.arg
}

// rows are all there are, in order.
func rows() []row {
	var all []row
	table := kinds()
	for _, fault := range slices.Sorted(maps.Keys(table)) {
		for _, k := range table[fault] {
			for _, phase := range phases() {
				for _, phone := range []string{honest, deaf} {
					all = append(all, row{fault, k, phase, phone})
				}
			}
		}
	}
	return all
}

// TestEveryFaultHasRows keeps the table and the simulated phone together: nobody
// adds a fault without saying what it may do to a verdict.
func TestEveryFaultHasRows(t *testing.T) {
	t.Parallel()
	table, known := kinds(), sim.Faults()
	for name := range known {
		if len(table[name]) == 0 {
			t.Errorf("the fault %q has no row: say in kinds what it may do to a verdict", name)
		}
	}
	for name, all := range table {
		if _, ok := known[name]; !ok {
			t.Errorf("there are rows for %q, which is no fault", name)
		}
		for _, k := range all {
			text := name
			if k.arg != "" {
				text += "=" + k.arg
			}
			if _, err := sim.ParseFault(text); err != nil {
				t.Error(err)
			}
			for _, phase := range slices.Concat(slices.Collect(maps.Keys(k.void)), k.clear) {
				if !slices.Contains(phases(), phase) {
					t.Errorf("%s: %q is no phase", text, phase)
				}
			}
		}
	}
	if least := 30; len(table) < least {
		t.Errorf("%d faults are tried, at least %d are wanted", len(table), least)
	}
}

// chosen are the rows that the environment asks for.
func chosen(which string, seed uint64) ([]row, error) {
	all := rows()
	if which == "all" {
		return all, nil
	}
	by := map[string][]row{}
	for _, r := range all {
		by[r.fault] = append(by[r.fault], r)
	}
	each, err := strconv.Atoi(cmp.Or(which, "1"))
	if err != nil {
		var out []row
		for name := range strings.SplitSeq(which, ",") {
			if by[name] == nil {
				return nil, fmt.Errorf("%s=%s: all, a number or names of faults are wanted, and %q is none", whichVariable, which, name)
			}
			out = append(out, by[name]...)
		}
		return out, nil
	}
	if each < 1 {
		return nil, fmt.Errorf("%s=%s: at least one row of each fault is to be tried", whichVariable, which)
	}
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // The choice is repeatable, not secret.
	var out []row
	for _, name := range slices.Sorted(maps.Keys(by)) {
		rs := by[name]
		rng.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
		out = append(out, rs[:min(each, len(rs))]...)
	}
	return out, nil
}

func seedOf(text string, now time.Time) (uint64, error) {
	seed, err := strconv.ParseUint(cmp.Or(text, now.UTC().Format("20060102")), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s=%s: a number is wanted", seedVariable, text)
	}
	return seed, nil
}

// TestFaults runs the rows that were chosen.
func TestFaults(t *testing.T) {
	seed, err := seedOf(os.Getenv(seedVariable), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	rs, err := chosen(os.Getenv(whichVariable), seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d: %d of %d rows; the same again: %s=%d", seed, len(rs), len(rows()), seedVariable, seed)
	began := time.Now()
	var (
		mu    sync.Mutex
		ended []result
		group sync.WaitGroup
		slots = make(chan struct{}, atOnce)
	)
	for _, r := range rs {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			got := r.run(t.Context(), t.TempDir(), seed)
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, got)
			t.Logf("%d of %d: %s", len(ended), len(rs), got)
		})
	}
	group.Wait()
	slices.SortFunc(ended, func(a, b result) int { return cmp.Compare(a.row.String(), b.row.String()) })
	for _, got := range ended {
		for _, w := range got.wrong {
			t.Errorf("%s: %s; it came to %s: %s", got.row, w, got.outcome, got.because)
		}
	}
	if file := os.Getenv(reportVariable); file != "" {
		if err := os.WriteFile(file, markdown(ended, seed, time.Since(began)), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// markdown is what became of the rows, for people.
func markdown(all []result, seed uint64, took time.Duration) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# What faults do to a verdict\n\nSeed %d, %d rows in %s. An honest phone may pass, a deaf one collects although the switch is off.\n\n", seed, len(all), took.Round(time.Second))
	b.WriteString("| fault | phase | phone | outcome | because | |\n|---|---|---|---|---|---|\n")
	for _, got := range all {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", got.name(), got.phase, got.phone, got.outcome,
			strings.ReplaceAll(brief(got.because, 300), "|", `\|`), strings.Join(got.wrong, "; "))
	}
	return []byte(b.String())
}

// brief is the beginning of a text, in one line.
func brief(text string, most int) string {
	words := []rune(strings.Join(strings.Fields(text), " "))
	if len(words) > most {
		words = append(words[:most-1], '…')
	}
	return string(words)
}
