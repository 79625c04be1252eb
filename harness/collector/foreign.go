package collector

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Format is how a list is written.
type Format string

// The formats.
const (
	// FormatOwn is that of data.txt; see [Load].
	FormatOwn Format = "offproof's own lists"
	// FormatHosts is a hosts file, or one name a line; see [Hosts].
	FormatHosts Format = "hosts files"
	// FormatFilters is that of content blockers; see [Filters].
	FormatFilters Format = "content blockers"
	// FormatExodus is that of Exodus Privacy's trackers; see [Exodus].
	FormatExodus Format = "Exodus Privacy"
)

// The bounds of a list of somebody else's.
const (
	// MaxList is how many bytes are read of it.
	MaxList = 64 << 20
	// MaxEntries is how many indicators are made of it.
	MaxEntries = 500_000
)

// Why rules are left out.
const (
	whyLong      = "the line is too long"
	whyMany      = "the list has too many entries"
	whyName      = "it names no host"
	whyAddress   = "it is an address and no name"
	whySuffix    = "it is a whole public suffix, under which strangers live side by side"
	whyTwice     = "an earlier entry is for the same host and path"
	whyException = "it is an exception, and a list of yours takes nothing away"
	whyCosmetic  = "it hides parts of pages and names nobody"
	whyPattern   = "it is a pattern of addresses and not one host"
	whyOption    = "it holds only under options, which are not understood"
	whySignature = "its signature is no list of hosts"
	whyNone      = "it has no network signature"
	whyExcuse    = "it would excuse what the list that is built in, or another one, calls a collector"
)

// A By says of what a list is. Reason and Source go into every indicator.
type By struct {
	// Source names the list: a file, with its date or version.
	Source string
	// Purpose is what the hosts are for where the list does not say; Collect when
	// empty. A list of trackers is no evidence that a host is harmless, so no other
	// than Collect, Ads and Push is taken.
	Purpose Purpose
}

var errPurposeOf = errors.New("a foreign list can say collect, ads or push only")

func (b By) check() (By, error) {
	switch b.Purpose {
	case PurposeUnknown:
		b.Purpose = Collect
	case Collect, Ads, Push:
	case Config, Consent, Connectivity, Update:
		return b, fmt.Errorf("collector list: read %s: %w, not %q", b.Source, errPurposeOf, b.Purpose)
	default:
		return b, fmt.Errorf("collector list: read %s: %w %q", b.Source, errPurpose, b.Purpose)
	}
	if b.Source = clean(b.Source); b.Source == "" {
		return b, fmt.Errorf("collector list: read list: its source is not named: %w", errMissing)
	}
	return b, nil
}

// clean makes one line of a text of somebody else's.
func clean(s string) string {
	const longest = 120
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return r <= ' ' || r == '|' || r == 0x7f }), " ")
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "")
	}
	return s
}

// An importer makes indicators of the rules of one list.
type importer struct {
	by    By
	notes Notes
	out   []Indicator
	seen  map[[2]string]bool
}

func newImporter(by By, format Format) (*importer, error) {
	by, err := by.check()
	return &importer{by: by, notes: Notes{Format: format}, seen: map[[2]string]bool{}}, err
}

// take makes an indicator of a host that a rule names. organisation may be
// empty: then it is the registrable name above the host, since nobody said who
// that is.
func (im *importer) take(host, path, organisation, reason string, purpose Purpose, line int, rule string) {
	host, why := checkHost(host)
	if why == "" && im.seen[[2]string{host, path}] {
		why = whyTwice
	}
	if why == "" && len(im.out) >= MaxEntries {
		why = whyMany
	}
	if why != "" {
		im.notes.leave(why, line, rule)
		return
	}
	im.seen[[2]string{host, path}] = true
	if organisation = clean(organisation); organisation == "" || organisation == "-" {
		organisation, _ = publicsuffix.EffectiveTLDPlusOne(host)
	}
	im.out = append(im.out, Indicator{Host: host, Path: path, Organisation: organisation, Purpose: purpose, Reason: reason, Source: im.by.Source})
}

// checkHost brings a host name into the form in which names are compared; why is
// the reason when it may not be an indicator.
func checkHost(host string) (ascii, why string) {
	const longest = 253
	host = normalHost(strings.TrimSpace(host))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return "", whyAddress
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		ascii = host // Underscores are no letters of a host, and are used all the same.
	}
	if len(ascii) > longest || !isName(ascii) {
		return "", whyName
	}
	switch suffix, listed := publicsuffix.PublicSuffix(ascii); {
	case suffix != ascii:
	case !listed && !strings.Contains(ascii, "."): // localhost and the like.
		return "", whyName
	default:
		return "", whySuffix
	}
	return ascii, ""
}

// isName says whether a text is a host name in ASCII: labels of letters, digits,
// hyphens and underscores, the last of them no number.
func isName(s string) bool {
	const longest = 63
	label := ""
	for label = range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > longest || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(label, "0123456789") != ""
}

// lines hands over the lines of a list with their numbers, trimmed, without
// those that are empty. A line that is too long is noted and left out.
func lines(r io.Reader, notes *Notes, visit func(number int, line string)) error {
	in := bufio.NewReaderSize(io.LimitReader(r, MaxList+1), maxLine)
	read := 0
	for number := 1; ; number++ {
		line, err := in.ReadSlice('\n')
		read += len(line)
		long := errors.Is(err, bufio.ErrBufferFull)
		if long {
			notes.Read++
			notes.leave(whyLong, number, string(line[:min(len(line), maxLine)]))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = in.ReadSlice('\n')
			read += len(line)
		}
		if text := strings.TrimSpace(string(line)); text != "" && !long {
			visit(number, strings.TrimPrefix(text, "\ufeff"))
		}
		switch {
		case read > MaxList:
			return fmt.Errorf("read line %d: the list is longer than %d bytes", number, MaxList)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read line %d: %w", number, err)
		}
	}
}

// Hosts reads a hosts file: an address and then names, or one name a line, with
// # before comments. What is not understood is in the notes. An error comes with
// the entries before it.
func Hosts(r io.Reader, by By) ([]Indicator, Notes, error) {
	im, err := newImporter(by, FormatHosts)
	if err != nil {
		return nil, im.notes, err
	}
	err = lines(r, &im.notes, func(number int, line string) {
		rule, _, _ := strings.Cut(line, "#")
		names := strings.Fields(rule)
		if len(names) == 0 {
			return
		}
		if _, err := netip.ParseAddr(names[0]); err == nil && len(names) > 1 {
			names = names[1:]
		} else if len(names) > 1 {
			im.notes.Read++
			im.notes.leave(whyName, number, line)
			return
		}
		for _, name := range names {
			im.notes.Read++
			im.take(name, "", "", "Named by a list of hosts to be blocked", im.by.Purpose, number, line)
		}
	})
	return im.result(err)
}

func (im *importer) result(err error) ([]Indicator, Notes, error) {
	im.notes.Taken = len(im.out)
	if err != nil {
		err = fmt.Errorf("collector list: read %s: %w", im.by.Source, err)
	}
	return im.out, im.notes, err
}

// harmless are options of a filter that do not narrow whom it names.
var harmless = []string{"third-party", "3p", "important", "all", "popup", "document", "doc"}

// Filters reads the rules ||domain^ and ||domain/path^ of a content blocker, as
// EasyList and AdGuard have them. Rules that hold on some pages or for some kinds
// of content only, patterns, exceptions and rules that hide parts of a page name
// nobody by themselves; they are counted in the notes.
func Filters(r io.Reader, by By) ([]Indicator, Notes, error) {
	im, err := newImporter(by, FormatFilters)
	if err != nil {
		return nil, im.notes, err
	}
	err = lines(r, &im.notes, func(number int, line string) {
		if line[0] == '!' || line[0] == '[' || strings.HasPrefix(line, "# ") || line == "#" {
			return
		}
		im.notes.Read++
		host, path, why := filter(line)
		if why != "" {
			im.notes.leave(why, number, line)
			return
		}
		im.take(host, path, "", "Named by a filter list of a content blocker", im.by.Purpose, number, line)
	})
	return im.result(err)
}

// filter reads one rule; why is the reason when it names nobody.
func filter(rule string) (host, path, why string) {
	switch {
	case strings.HasPrefix(rule, "@@"):
		return "", "", whyException
	case strings.Contains(rule, "##"), strings.Contains(rule, "#@#"), strings.Contains(rule, "#?#"), strings.Contains(rule, "#$#"), strings.Contains(rule, "#%#"), strings.Contains(rule, "$$"):
		return "", "", whyCosmetic
	}
	rest, ok := strings.CutPrefix(rule, "||")
	if !ok {
		return "", "", whyPattern
	}
	rest, options, narrowed := strings.Cut(rest, "$")
	if narrowed {
		for option := range strings.SplitSeq(options, ",") {
			if !slices.Contains(harmless, strings.TrimSpace(option)) {
				return "", "", whyOption
			}
		}
	}
	host, path, deeper := strings.Cut(rest, "/")
	if deeper {
		// ^ ends a segment, and so does the indicator's path.
		path, ok = strings.CutSuffix("/"+path, "^")
		if !ok || path == "/" || strings.ContainsAny(path, "*^|?") {
			return "", "", whyPattern
		}
		return host, path, hostOnly(host)
	}
	if host, ok = strings.CutSuffix(host, "^"); !ok {
		return "", "", whyPattern
	}
	return host, "", hostOnly(host)
}

func hostOnly(host string) string {
	if host == "" || strings.ContainsAny(host, "*^|:") {
		return whyPattern
	}
	return ""
}

// Exodus reads the trackers of Exodus Privacy as its interface gives them: an
// object or list of trackers, each with a name, categories, and a network
// signature, which is a regular expression. Signatures that are a list of hosts
// are taken; the others are counted in the notes, and none is ever run.
func Exodus(r io.Reader, by By) ([]Indicator, Notes, error) {
	im, err := newImporter(by, FormatExodus)
	if err != nil {
		return nil, im.notes, err
	}
	text, err := io.ReadAll(io.LimitReader(r, MaxList+1))
	if err == nil && len(text) > MaxList {
		err = fmt.Errorf("read trackers: the list is longer than %d bytes", MaxList)
	}
	if err != nil {
		return im.result(err)
	}
	trackers, err := exodusTrackers(bytes.TrimPrefix(text, []byte("\ufeff")))
	if err != nil {
		return im.result(fmt.Errorf("read trackers: %w", err))
	}
	for _, t := range trackers {
		im.notes.Read++
		purpose := im.by.Purpose
		if len(t.Categories) > 0 && !slices.ContainsFunc(t.Categories, func(c string) bool { return !strings.HasPrefix(strings.ToLower(c), "advert") }) {
			purpose = Ads
		}
		switch hosts, ok := signatureHosts(t.Signature); {
		case strings.TrimSpace(t.Signature) == "" || t.Signature == "NC":
			im.notes.leave(whyNone, 0, t.Name)
		case !ok:
			im.notes.leave(whySignature, 0, t.Name+": "+t.Signature)
		default:
			for _, host := range hosts {
				im.take(host, "", t.Name, "Named as a tracker's host by its network signature", purpose, 0, t.Name+": "+host)
			}
		}
	}
	return im.result(nil)
}
