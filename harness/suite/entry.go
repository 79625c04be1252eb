package suite

import (
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/harness"
)

// barWidth is the length of the longest bar of an accounting.
const barWidth = 40

// A TrialEntry is a trial as a report entry: words in the terminal, values in
// Ginkgo's JSON report.
type TrialEntry struct{ harness.Trial }

// String is what the terminal shows of a trial.
func (e TrialEntry) String() string {
	t := e.Trial
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", strings.ToUpper(t.Finding.Outcome.String()), t.Scenario)
	fmt.Fprintf(&b, "  phone     %s %s, %s\n", t.Model, t.Serial, t.Build)
	fmt.Fprintf(&b, "  promise   %s\n            %s, %s\n", t.Finding.Claim.Wording, t.Finding.Claim.Source, t.Finding.Claim.Date)
	fmt.Fprintf(&b, "  grade     %s\n", t.Finding.Grade)
	list(&b, "because", t.Finding.Because)
	list(&b, "void", t.Void)
	for _, o := range t.Observations {
		if o.Part == harness.Pair {
			accounting(&b, o)
		}
	}
	if t.Dir != "" {
		fmt.Fprintf(&b, "  evidence  %s\n", t.Dir)
	}
	return b.String()
}

// An ObservationEntry is a single observation as a report entry.
type ObservationEntry struct {
	harness.Observation
	Dir string
}

// String is what the terminal shows of an observation.
func (e ObservationEntry) String() string {
	o := e.Observation
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, switch %s\n", strings.ToUpper(o.Finding.Verdict.String()), o.Scenario, o.Arm)
	fmt.Fprintf(&b, "  phone     %s %s\n  grade     %s\n", o.Model, o.Serial, o.Finding.Grade)
	list(&b, "because", o.Finding.Because)
	accounting(&b, &o)
	fmt.Fprintf(&b, "  evidence  %s\n", e.Dir)
	return b.String()
}

func list(b *strings.Builder, name string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(b, "  %-8s  %s\n", name, line)
	}
}

func accounting(b *strings.Builder, o *harness.Observation) {
	if o.Finding == nil {
		return
	}
	length := o.Window.Close.Sub(o.Window.Open).Round(10 * time.Millisecond)
	if o.Window.Close.IsZero() {
		length = 0
	}
	fmt.Fprintf(b, "  %s, %s in %s: %s\n", o.ID, bytes(o.Finding.Accounting.Total()), length, o.Finding.Verdict)
	for line := range strings.Lines(o.Finding.Accounting.Bars(barWidth)) {
		b.WriteString("    " + line)
	}
}

func bytes(n int64) string { return fmt.Sprintf("%d bytes sent", n) }
