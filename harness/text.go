package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/ui"
)

// barWidth is the length of the longest bar of an accounting.
const barWidth = 40

// Text is a trial in lines for a terminal.
func (t *Trial) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s\n", strings.ToUpper(t.Finding.Outcome.String()), t.Scenario)
	fmt.Fprintf(&b, "  phone     %s %s, %s\n", t.Model, t.Serial, t.Build)
	if len(t.Observations) > 0 {
		operated(&b, t.Observations[0].Route)
	}
	fmt.Fprintf(&b, "  promise   %s\n            %s, %s\n", t.Finding.Claim.Wording, t.Finding.Claim.Source, t.Finding.Claim.Date)
	fmt.Fprintf(&b, "  grade     %s\n", t.Finding.Grade)
	list(&b, "because", t.Finding.Because)
	list(&b, "void", t.Void)
	links(&b, t.Finding.Links)
	if i := slices.IndexFunc(t.Observations, func(o *Observation) bool {
		return o.Finding != nil && (o.Finding.Accounting.Floor != nil || o.Finding.Accounting.Beside != nil)
	}); i >= 0 {
		floor(&b, t.Observations[i].Finding)
	}
	for _, o := range t.Observations {
		if o.Part == Pair {
			o.accounting(&b)
		}
	}
	if t.Dir != "" {
		fmt.Fprintf(&b, "  evidence  %s\n", t.Dir)
	}
	return b.String()
}

// Text is a single observation in lines for a terminal; dir is where its
// evidence lies.
func (o *Observation) Text(dir string) string {
	f := o.Finding
	if f == nil {
		f = &Finding{Because: []string{"it was not judged"}}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, switch %s\n", strings.ToUpper(f.Verdict.String()), o.Scenario, o.Arm)
	fmt.Fprintf(&b, "  phone     %s %s\n", o.Model, o.Serial)
	operated(&b, o.Route)
	fmt.Fprintf(&b, "  grade     %s\n", f.Grade)
	list(&b, "because", f.Because)
	floor(&b, f)
	o.accounting(&b)
	fmt.Fprintf(&b, "  evidence  %s\n", dir)
	return b.String()
}

// operated says how the phone was operated, where it was not by ADB's own input.
func operated(b *strings.Builder, route ui.Route) {
	switch route {
	case ui.RouteHID:
		list(b, "operated", []string{"by a keyboard and a touch screen of ours (hid)"})
	case ui.RoutePerson:
		list(b, "operated", []string{"by a person, who was told each step"})
	case ui.RouteInput, ui.RouteUnknown:
	}
}

func list(b *strings.Builder, name string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(b, "  %-8s  %s\n", name, line)
	}
}

func (o *Observation) accounting(b *strings.Builder) {
	if o.Finding == nil {
		return
	}
	length := o.Window.Close.Sub(o.Window.Open).Round(10 * time.Millisecond)
	if o.Window.Close.IsZero() {
		length = 0
	}
	fmt.Fprintf(b, "  %s, %d bytes sent in %s: %s\n", o.ID, o.Finding.Accounting.Total(), length, o.Finding.Verdict)
	for line := range strings.Lines(o.Finding.Accounting.Bars(barWidth)) {
		b.WriteString("    " + line)
	}
	if a := o.Finding.Accounting; a.Counted != nil {
		fmt.Fprintf(b, "      the phone's counters say %d B; at most %d B of them can be missing in what was recorded\n", *a.Counted, a.Missing())
	}
	o.recipients(b)
}

// floor says what a capture could not have missed unseen.
func floor(b *strings.Builder, f *Finding) {
	if w := floorWords(f.Accounting.Floor); w != "" {
		list(b, "floor", []string{w})
	}
	if f.Accounting.Beside != nil {
		list(b, "floor", []string{besideFloor()})
	}
}

// mostLinks is how many of them are shown in a terminal; the evidence has all.
const mostLinks = 5

func links(b *strings.Builder, all []Link) {
	var lines []string
	for i, l := range all {
		if i == mostLinks {
			lines = append(lines, fmt.Sprintf("and %d more", len(all)-i))
			break
		}
		lines = append(lines, l.String())
	}
	list(b, "ties", lines)
}

// mostRecipients is how many of them are shown in a terminal; the evidence has
// all.
const mostRecipients = 8

func (o *Observation) recipients(b *strings.Builder) {
	all := o.Finding.Recipients
	located := false
	for i, r := range all {
		if i == mostRecipients {
			fmt.Fprintf(b, "      and %d more\n", len(all)-i)
			break
		}
		located = located || len(r.Countries) > 0
		mark := " "
		if r.InScope {
			mark = "*"
		}
		fmt.Fprintf(b, "    %s to %s\n", mark, r)
	}
	if located {
		fmt.Fprintf(b, "      countries %s\n", o.Finding.CountriesBy)
	}
}
