package collector

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Import reads a list in any of the formats, told by its beginning. An error
// comes with the entries before it, except in the project's own format, in which
// a mistake is somebody's mistake.
func Import(r io.Reader, by By) ([]Indicator, Notes, error) {
	in := bufio.NewReaderSize(r, sniffed)
	beginning, err := in.Peek(sniffed)
	if err != nil && len(beginning) == 0 && !errors.Is(err, io.EOF) {
		return nil, Notes{}, fmt.Errorf("collector list: read %s: %w", by.Source, err)
	}
	switch format(beginning) {
	case FormatOwn:
		list, err := Load(in)
		if err != nil {
			return nil, Notes{Format: FormatOwn}, fmt.Errorf("%w (in %s)", err, by.Source)
		}
		return list.indicators, Notes{Format: FormatOwn, Read: len(list.indicators), Taken: len(list.indicators)}, nil
	case FormatExodus:
		return Exodus(in, by)
	case FormatFilters:
		return Filters(in, by)
	case FormatHosts:
	}
	return Hosts(in, by)
}

// sniffed is how many bytes of a list tell its format.
const sniffed = 1 << 16

// format tells the format of a list by its beginning.
func format(beginning []byte) Format {
	text := bytes.TrimSpace(bytes.TrimPrefix(beginning, []byte("\ufeff")))
	if bytes.HasPrefix(text, []byte("{")) || bytes.HasPrefix(text, []byte("[{")) || bytes.HasPrefix(text, []byte("[ ")) || bytes.HasPrefix(text, []byte("[\n")) {
		return FormatExodus
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' && !strings.HasPrefix(line, "##"):
		case line[0] == '!' || line[0] == '[' || strings.HasPrefix(line, "||") || strings.HasPrefix(line, "@@") || strings.Contains(line, "##"):
			return FormatFilters
		case strings.Contains(line, " | "):
			return FormatOwn
		default:
			return FormatHosts
		}
	}
	return FormatHosts
}

// With returns a list that holds more. It only ever adds: a host that this list
// knows keeps its operator, and no entry excuses what this list calls a
// collector, nor says less of it. What was not added, and why, is in the notes.
func (l *List) With(more []Indicator) (*List, Notes) {
	out := &List{indicators: l.Indicators()}
	notes := Notes{Format: FormatOwn}
	seen := map[[2]string]bool{}
	for _, in := range out.indicators {
		seen[[2]string{in.Host, in.Path}] = true
	}
	for _, in := range more {
		notes.Read++
		host, why := checkHost(in.Host)
		if in.Host = host; why == "" {
			why = l.objects(&in)
		}
		if why == "" && seen[[2]string{in.Host, in.Path}] {
			why = whyTwice
		}
		if why != "" {
			notes.leave(why, 0, in.Host+in.Path)
			continue
		}
		seen[[2]string{in.Host, in.Path}] = true
		out.indicators = append(out.indicators, in)
		notes.Taken++
	}
	out.sort()
	return out, notes
}

// objects says why an entry may not be added, empty when it may. It gives the
// entry the operator that the list knows.
func (l *List) objects(in *Indicator) string {
	if owner := l.Owner(in.Host); owner != "" {
		in.Organisation = owner
	}
	if excuses(in.Purpose) || in.Purpose == PurposeUnknown {
		for zone := range zones(in.Host) {
			for _, was := range l.byHost[zone] {
				if was.Purpose == PurposeUnknown || excuses(was.Purpose) && excuses(in.Purpose) {
					continue
				}
				// The longer host is tried first, whatever the paths; on one host the
				// longer path is.
				if under(in.Path, was.Path) || zone != in.Host && under(was.Path, in.Path) {
					return whyExcuse
				}
			}
		}
	}
	return ""
}

// excuses says whether a purpose is one that the judge takes for harmless.
func excuses(p Purpose) bool {
	switch p {
	case Config, Consent, Connectivity, Update:
		return true
	case PurposeUnknown, Collect, Ads, Push:
		return false
	}
	return false
}
