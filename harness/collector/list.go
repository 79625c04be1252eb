package collector

import (
	"bufio"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"slices"
	"strings"
)

//go:embed data.txt
var data string

// maxLine bounds one line of a list, in bytes.
const maxLine = 1 << 14

var (
	errFields  = errors.New("want six fields apart by \" | \"")
	errHost    = errors.New("host is empty or not a host name")
	errPath    = errors.New("path does not begin with a slash")
	errMissing = errors.New("organisation, reason or source is empty")
	errPurpose = errors.New("unknown purpose")
	errTwice   = errors.New("same host and path as an earlier line")
)

// Default returns the list that is built in. Its data is part of the program
// and a test loads it strictly, so there is no error to return.
func Default() *List {
	list, _ := Load(strings.NewReader(data))
	return list
}

// Load reads a list: one entry a line, six fields apart by " | ", "-" for an
// empty one; lines that begin with # are comments. The error names the line; the
// entries before it are returned with it.
func Load(r io.Reader) (*List, error) {
	var (
		list   List
		seen   = map[[2]string]bool{}
		number int
	)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		in, err := parseLine(line)
		if err == nil && seen[[2]string{in.Host, in.Path}] {
			err = errTwice
		}
		if err != nil {
			list.sort()
			return &list, fmt.Errorf("collector list: read line %d: %w", number, err)
		}
		seen[[2]string{in.Host, in.Path}] = true
		list.indicators = append(list.indicators, in)
	}
	list.sort()
	if err := lines.Err(); err != nil {
		return &list, fmt.Errorf("collector list: read after line %d: %w", number, err)
	}
	return &list, nil
}

func parseLine(line string) (Indicator, error) {
	fields := strings.Split(line, " | ")
	if len(fields) != 6 {
		return Indicator{}, errFields
	}
	for i, f := range fields {
		fields[i] = strings.TrimSpace(f)
		if fields[i] == "-" {
			fields[i] = ""
		}
	}
	in := Indicator{
		Host: normalHost(fields[0]), Path: fields[1], Organisation: fields[2],
		Purpose: Purpose(fields[3]), Reason: fields[4], Source: fields[5],
	}
	switch {
	case in.Host == "" || strings.ContainsAny(in.Host, " /:*@"):
		return Indicator{}, errHost
	case in.Path != "" && in.Path[0] != '/':
		return Indicator{}, errPath
	case in.Organisation == "" || in.Reason == "" || in.Source == "":
		return Indicator{}, errMissing
	}
	switch in.Purpose {
	case PurposeUnknown, Collect, Config, Consent, Ads, Connectivity, Update, Push:
		return in, nil
	}
	return Indicator{}, fmt.Errorf("%w %q", errPurpose, in.Purpose)
}

func normalHost(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Indicators returns every entry, in the order in which Match tries them.
func (l *List) Indicators() []Indicator { return slices.Clone(l.indicators) }

// Match returns the entry that fits a host and path best: the longest host
// first, then the longest path. path may be empty for a flow whose requests
// were not read: then only entries for a whole host match. A port and a query
// are ignored. Entries without a purpose match too: they say only whose host
// it is.
func (l *List) Match(host, path string) (Indicator, bool) {
	host = withoutPort(normalHost(host))
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	for zone := range zones(host) {
		for _, in := range l.byHost[zone] {
			if under(path, in.Path) {
				return in, true
			}
		}
	}
	return Indicator{}, false
}

// Owner returns the organisation that operates a host, empty when no entry
// says so.
func (l *List) Owner(host string) string {
	for zone := range zones(withoutPort(normalHost(host))) {
		if all := l.byHost[zone]; len(all) > 0 {
			return all[0].Organisation
		}
	}
	return ""
}

// zones yields a host and the names above it, longest first.
func zones(host string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for host != "" {
			if !yield(host) {
				return
			}
			_, host, _ = strings.Cut(host, ".")
		}
	}
}

// Organisations returns the parties of the list, sorted.
func (l *List) Organisations() []string {
	var names []string
	for _, in := range l.indicators {
		names = append(names, in.Organisation)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Of returns the entries of one organisation, best match first.
func (l *List) Of(organisation string) []Indicator {
	var own []Indicator
	for _, in := range l.indicators {
		if in.Organisation == organisation {
			own = append(own, in)
		}
	}
	return own
}

// sort puts the entries in the order in which Match tries them, and finds them by
// their hosts.
func (l *List) sort() {
	slices.SortStableFunc(l.indicators, func(a, b Indicator) int {
		return cmp.Or(
			cmp.Compare(len(b.Host), len(a.Host)),
			cmp.Compare(len(b.Path), len(a.Path)),
			cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.Path, b.Path),
		)
	})
	l.byHost = map[string][]Indicator{}
	for _, in := range l.indicators {
		l.byHost[in.Host] = append(l.byHost[in.Host], in)
	}
}

// under is true when path is prefix or continues it at the end of a segment.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || prefix == "" || rest[0] == '/' || prefix[len(prefix)-1] == '/')
}

func withoutPort(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}
