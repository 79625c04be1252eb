package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/collector"
)

// maxText bounds one value in the view; --json has it whole.
const maxText = 160

// A hostRow sums up the flows, or the requests of a HAR file, to one host.
type hostRow struct {
	name   string
	flows  int
	failed int
	up     int64
	down   int64
	apps   []string
	from   []string
}

// view prints the findings for people.
func (f *findings) view(w io.Writer, more bool) error {
	var out bytes.Buffer
	if more {
		out.WriteString("\n")
	}
	f.title(&out)
	f.hosts(&out)
	f.names(&out)
	f.requests(&out)
	f.reports(&out)
	f.canaries(&out)
	f.failures(&out)
	f.health(&out)
	_, err := w.Write(out.Bytes())
	return err
}

func (f *findings) title(out *bytes.Buffer) {
	fmt.Fprintf(out, "%s: ", visible(f.file))
	if len(f.Flows) == 0 {
		fmt.Fprintf(out, "%s, %s\n", count(len(f.Exchanges), "request"), count(len(f.Lookups), "lookup"))
		return
	}
	start, end := f.Flows[0].Start, f.Flows[0].End
	for _, x := range f.Flows {
		if x.Start.Before(start) {
			start = x.Start
		}
		if x.End.After(end) {
			end = x.End
		}
	}
	fmt.Fprintf(out, "%s, %s, %s to %s UTC\n", count(int(f.Health.Packets), "packet"), count(len(f.Flows), "flow"),
		start.UTC().Format("2006-01-02 15:04:05"), end.UTC().Format("2006-01-02 15:04:05"))
}

// hosts prints the table of hosts, those that got most first.
func (f *findings) hosts(out *bytes.Buffer) {
	rows := map[string]*hostRow{}
	row := func(name string) *hostRow {
		if name == "" {
			name = "(unknown)"
		}
		if rows[name] == nil {
			rows[name] = &hostRow{name: name}
		}
		return rows[name]
	}
	unit, bytesOf := "FLOWS", "IP bytes"
	for i := range f.Flows {
		x := &f.Flows[i]
		name := x.Host
		if name == "" && x.Server.IsValid() {
			name = x.Server.Addr().String()
		}
		r := row(name)
		r.flows++
		if x.Failure != "" {
			r.failed++
		}
		r.up += x.BytesUp
		r.down += x.BytesDown
		app := x.App
		if app == "" {
			app = string(x.Proto)
		}
		if x.Service != "" && x.Service != app {
			app += " (" + x.Service + ")"
		}
		r.apps = with(r.apps, app)
		r.from = with(r.from, string(x.HostFrom))
	}
	if len(f.Flows) == 0 {
		unit, bytesOf = "REQUESTS", "body bytes"
		for _, x := range f.Exchanges {
			r := row(urlHost(x.URL))
			r.flows++
			if x.Failure != "" {
				r.failed++
			}
			r.up += x.BytesUp
			r.down += x.BytesDown
			scheme, _, _ := strings.Cut(x.URL, ":")
			r.apps = with(r.apps, scheme)
		}
	}
	if len(rows) == 0 {
		return
	}
	all := make([]*hostRow, 0, len(rows))
	for _, r := range rows {
		all = append(all, r)
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].up != all[j].up {
			return all[i].up > all[j].up
		}
		return all[i].name < all[j].name
	})
	fmt.Fprintf(out, "\nHosts (%s)\n", bytesOf)
	list := collector.Default()
	t := table(out)
	line(t, "HOST", "UP", "DOWN", unit, "FAILED", "AS", "NAMED BY", "OPERATED BY")
	var up, down int64
	for _, r := range all {
		up, down = up+r.up, down+r.down
		failed := ""
		if r.failed > 0 {
			failed = strconv.Itoa(r.failed)
		}
		line(t, text(r.name), group(r.up), group(r.down), strconv.Itoa(r.flows), failed, text(strings.Join(r.apps, ",")), strings.Join(r.from, ","), text(list.Owner(r.name)))
	}
	if len(all) > 1 {
		line(t, "total", group(up), group(down))
	}
	_ = t.Flush() // a buffer takes everything
}

// with adds a word to a list that does not have it.
func with(all []string, s string) []string {
	if s == "" || slices.Contains(all, s) {
		return all
	}
	return append(all, s)
}

// names prints what was looked up, each name once.
func (f *findings) names(out *bytes.Buffer) {
	if len(f.Lookups) == 0 {
		return
	}
	type key struct{ name, kind string }
	times := map[key]int{}
	answers := map[key]string{}
	var order []key
	for _, l := range f.Lookups {
		k := key{l.Name, l.Type}
		if times[k]++; times[k] == 1 {
			order = append(order, k)
		}
		switch {
		case len(l.Answers) > 0:
			answers[k] = strings.Join(l.Answers, " ")
		case l.RCode == "" && answers[k] == "":
			answers[k] = "(no answer seen)"
		case answers[k] == "" || answers[k] == "(no answer seen)":
			answers[k] = l.RCode
		}
	}
	out.WriteString("\nNames looked up\n")
	t := table(out)
	for _, k := range order {
		n := ""
		if times[k] > 1 {
			n = strconv.Itoa(times[k]) + " times"
		}
		line(t, text(k.name), text(k.kind), text(answers[k]), n)
	}
	_ = t.Flush()
}

func (f *findings) requests(out *bytes.Buffer) {
	if len(f.Exchanges) == 0 {
		return
	}
	out.WriteString("\nRequests that could be read\n")
	t := table(out)
	for _, x := range f.Exchanges {
		status := strconv.Itoa(x.Status)
		if x.Status == 0 {
			status = "-"
		}
		line(t, text(x.ID), text(x.Method), text(x.URL), status, group(x.BytesUp)+" up", text(x.Failure))
	}
	_ = t.Flush()
}

// reports prints the events of analytics SDKs.
func (f *findings) reports(out *bytes.Buffer) {
	if len(f.events) == 0 {
		return
	}
	out.WriteString("\nReports of analytics SDKs\n")
	t := table(out)
	for _, e := range f.events {
		what := e.Name
		if e.Opaque {
			what = "(unreadable: " + e.Reason + ")"
		}
		line(t, text(e.SDK), text(what), "to "+text(e.host), text(properties(e.Properties)))
	}
	_ = t.Flush()
}

// properties prints what the app says before what the SDK adds to each event,
// which it marks by a dollar sign.
func properties(all map[string]any) string {
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		a, b := strings.HasPrefix(keys[i], "$"), strings.HasPrefix(keys[j], "$")
		return a != b && b || a == b && keys[i] < keys[j]
	})
	words := make([]string, 0, len(keys))
	for _, k := range keys {
		words = append(words, fmt.Sprintf("%s=%v", k, all[k]))
	}
	return strings.Join(words, " ")
}

// canaries prints where the texts were found, and what their absence is worth.
func (f *findings) canaries(out *bytes.Buffer) {
	if f.in.finder == nil {
		return
	}
	out.WriteString("\nCanaries\n")
	for _, text := range f.in.canaries {
		n := 0
		for _, s := range f.sightings {
			if s.Canary.Term == text {
				n++
				f.canary(out, "FOUND", s)
			}
		}
		for _, s := range f.expected {
			if s.Canary.Term == text {
				n++
				f.canary(out, "expected", s)
			}
		}
		if n == 0 {
			fmt.Fprintf(out, "  not found  %q in what could be read\n", clip(text))
		}
	}
	var unread int64
	flows := 0
	for _, x := range f.Flows {
		if x.Visibility != capture.Plaintext && x.PayloadUp > 0 {
			unread += x.PayloadUp
			flows++
		}
	}
	if flows > 0 {
		fmt.Fprintf(out, "  unread     %s sent in %s\n", count64(unread, "byte"), count(flows, "flow"))
	}
	if f.opaque > 0 {
		fmt.Fprintf(out, "  unread     %s inside requests, which no decoder opens\n", count64(f.opaque, "byte"))
	}
}

func (f *findings) canary(out *bytes.Buffer, word string, s seen) {
	where := text(s.Where)
	if s.Path != "" {
		where += " " + text(s.Path)
	}
	part := ""
	if !s.Whole() {
		part = fmt.Sprintf(", %d of %d characters", s.Chars, len(s.Canary.Term))
	}
	flow := ""
	if s.flow != "" {
		flow = ", flow " + text(s.flow)
	}
	fmt.Fprintf(out, "  %-9s  %s at %s: %s (%s%s%s)\n", word, strconv.Quote(clip(visible(s.Canary.Term))), text(s.host), where, text(s.Form), part, flow)
}

// failures prints the conversations that came to nothing: an attempt is telling
// too.
func (f *findings) failures(out *bytes.Buffer) {
	first := true
	t := table(out)
	for i := range f.Flows {
		x := &f.Flows[i]
		if x.Failure == "" {
			continue
		}
		if first {
			out.WriteString("\nAttempts that failed\n")
			first = false
		}
		name := x.Host
		if name == "" {
			name = x.Server.Addr().String()
		}
		line(t, text(name), strconv.Itoa(int(x.Server.Port())), text(x.Failure))
	}
	_ = t.Flush()
}

// health prints how far the file can be trusted.
func (f *findings) health(out *bytes.Buffer) {
	h := f.Health
	out.WriteString("\nHealth\n")
	switch {
	case h.Truncated:
		out.WriteString("  DAMAGED: the file could be read only in part\n")
	case len(h.Doubts()) > 0 || h.SkippedBytes > 0 || h.Dropped != nil && *h.Dropped > 0:
		out.WriteString("  the file was read to its end, and something is missing from it\n")
	default:
		out.WriteString("  the file was read to its end and nothing is known to be missing\n")
	}
	switch {
	case h.Packets == 0:
	case h.Dropped == nil:
		out.WriteString("  whether the capture lost packets is unknown: the file does not say\n")
	default:
		fmt.Fprintf(out, "  %s lost by the capture\n", count64(*h.Dropped, "packet"))
	}
	if h.SkippedBytes > 0 {
		fmt.Fprintf(out, "  %s of streams missing\n", count64(h.SkippedBytes, "byte"))
	}
	for _, p := range h.Doubts() {
		fmt.Fprintf(out, "  %s\n", clip(visible(p)))
	}
}

// table lays out columns; each cell ends with a tab.
func table(out *bytes.Buffer) *tabwriter.Writer {
	return tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
}

// line writes the cells of a row, without blanks after the last one.
func line(t *tabwriter.Writer, cells ...string) {
	for len(cells) > 0 && cells[len(cells)-1] == "" {
		cells = cells[:len(cells)-1]
	}
	_, _ = io.WriteString(t, "  "+strings.Join(cells, "\t")+"\n") // a buffer takes everything
}

// text makes a value from a capture fit for a cell.
func text(s string) string { return clip(visible(s)) }

func clip(s string) string {
	if utf8.RuneCountInString(s) <= maxText {
		return s
	}
	return string([]rune(s)[:maxText]) + "…"
}

func count(n int, noun string) string { return count64(int64(n), noun) }

func count64(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return group(n) + " " + noun + "s"
}

// group writes a number with its thousands apart.
func group(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
