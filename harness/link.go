package harness

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

// A Link is a value by which records of one phone can be tied together: it looks
// like an identifier, and it was sent to the same recipient in the same field in
// more than one window. Whatever else changed between those windows, the mode, the
// app's data, the phone's start, did not change it.
type Link struct {
	Host         string `json:"host"`
	Organisation string `json:"organisation,omitempty"`
	Where        string `json:"where"`
	// Path is the value's path of layers, with places in lists as "*"; Name is the
	// innermost field.
	Path string `json:"path"`
	Name string `json:"name"`
	// Value is as it was sent; a long one is shortened, with a checksum of all of it.
	Value string `json:"value"`
	// Serials are the phones that sent it: a value of several phones ties nothing
	// to a person.
	Serials []string `json:"serials"`
	// Windows are the windows in which it was sent, Arms, Modes, Boots and Data
	// what was different between them: positions of the switch, browsing modes,
	// starts of the phone, and states of the app's data as steps recorded them.
	Windows []string `json:"windows"`
	Arms    []string `json:"arms,omitempty"`
	Modes   []string `json:"modes,omitempty"`
	Boots   []string `json:"boots,omitempty"`
	Data    []string `json:"data,omitempty"`
	// First and Last are when it was sent first and last.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// FactorData is the factor in which a step records that it reset the app's data.
const FactorData = "app data"

// The bounds of what is taken for an identifier: a longer value that nobody can
// read is a record, not a name.
const (
	longestLink  = 128
	shortestLink = 6
	shownLink    = 64
)

type linkKey struct{ host, where, path, value string }

func (l *Link) key() linkKey { return linkKey{l.Host, l.Where, l.Path, l.Value} }

// MergeLinks puts what several trials found together, with lifetimes over all of
// them. Values that two trials found in one place are one link.
func MergeLinks(trials ...[]Link) []Link {
	by := map[linkKey]*Link{}
	for _, links := range trials {
		for i := range links {
			l := links[i]
			was := by[l.key()]
			if was == nil {
				by[l.key()] = &l
				continue
			}
			was.add(l)
		}
	}
	out := make([]Link, 0, len(by))
	for _, l := range by {
		out = append(out, *l)
	}
	sortLinks(out)
	return out
}

func sortLinks(links []Link) {
	slices.SortFunc(links, func(a, b Link) int {
		return cmp.Or(cmp.Compare(len(b.Windows), len(a.Windows)), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Value, b.Value))
	})
}

func (l *Link) add(m Link) {
	union := func(to *[]string, from []string) {
		for _, s := range from {
			if s != "" && !slices.Contains(*to, s) {
				*to = append(slices.Clip(*to), s)
			}
		}
	}
	union(&l.Serials, m.Serials)
	union(&l.Windows, m.Windows)
	union(&l.Arms, m.Arms)
	union(&l.Modes, m.Modes)
	union(&l.Boots, m.Boots)
	union(&l.Data, m.Data)
	if l.First.IsZero() || m.First.Before(l.First) {
		l.First = m.First
	}
	if m.Last.After(l.Last) {
		l.Last = m.Last
	}
}

// links finds what ties the windows of a trial together.
func (v *view) links() []Link {
	by := map[linkKey]*Link{}
	for _, o := range v.all {
		for i := range v.messages {
			m := &v.messages[i]
			if m.raw || m.instrument || m.page != "" || !v.decides(m, o) || !overlaps(o, m.from, m.to) {
				continue
			}
			if _, ok := v.expectedExchange(m); ok {
				continue
			}
			for _, one := range linkable(m) {
				one.Host, one.Organisation, one.First, one.Last = m.host, m.ind.Organisation, m.from, m.to
				one.Serials, one.Arms, one.Modes = []string{o.Serial}, []string{string(o.Arm)}, []string{string(o.Mode)}
				one.Windows = []string{o.Serial + " " + clockDay(o.Window.Open) + " " + o.ID}
				one.Boots, one.Data = []string{o.Boot}, []string{cmp.Or(o.Factors[FactorData], "kept")}
				if was := by[one.key()]; was != nil {
					was.add(one)
				} else {
					fresh := Link{Host: one.Host, Organisation: one.Organisation, Where: one.Where, Path: one.Path, Name: one.Name, Value: one.Value}
					fresh.add(one)
					by[one.key()] = &fresh
				}
			}
		}
	}
	var out []Link
	for _, l := range by {
		if len(l.Windows) > 1 {
			out = append(out, *l)
		}
	}
	sortLinks(out)
	return out
}

func clockDay(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// linkable are the values of a message that look like identifiers: random-looking
// ones, the phone's own, and what the SDKs call so.
func linkable(m *message) []Link {
	var out []Link
	seen := map[string]bool{}
	add := func(where, path, value string) {
		name := lastStep(path)
		if i := strings.LastIndexAny(name, ":>"); i >= 0 && i+1 < len(name) {
			name = strings.TrimSpace(name[i+1:])
		}
		if len(value) < shortestLink || seen[name+"\x00"+value] {
			return
		}
		seen[name+"\x00"+value] = true
		if len(value) > shownLink {
			// Two that begin alike are two values.
			value = value[:shownLink] + fmt.Sprintf("… CRC32 %08x", crc32.ChecksumIEEE([]byte(value)))
		}
		out = append(out, Link{Where: where, Path: anyPlace(path), Name: name, Value: strings.ToValidUTF8(value, "\uFFFD")})
	}
	for _, l := range m.leaves {
		random := l.Kind == payload.KindToken || (l.Kind == payload.KindOpaque && l.Size <= longestLink && !l.Truncated)
		own := slices.ContainsFunc(m.hits, func(h canary.Sighting) bool {
			return h.Where == l.Where && h.Path == l.Path && !h.Canary.Sham && strings.HasPrefix(h.Canary.ID, identifierPrefix)
		})
		if random || own {
			add(l.Where, l.Path, string(l.Value))
		}
	}
	for _, e := range m.events {
		names := make([]string, 0, len(e.Identifiers))
		for name := range e.Identifiers {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			add(e.Where, e.Path+"/"+name, e.Identifiers[name])
		}
	}
	return out
}

// anyPlace replaces places in lists by "*": in which place of its batch a record
// stands is chance.
func anyPlace(path string) string {
	steps := strings.Split(path, "/")
	for i, s := range steps {
		if i > 0 && s != "" && strings.Trim(s, "0123456789") == "" {
			steps[i] = "*"
		}
	}
	return strings.Join(steps, "/")
}

// String says what the value ties together.
func (l Link) String() string {
	to := l.Host
	if l.Organisation != "" {
		to += " (" + l.Organisation + ")"
	}
	out := fmt.Sprintf("%s = %s to %s: the same in %d windows", l.Name, shortValue(l.Value), to, len(l.Windows))
	several := func(n int, what string) {
		if n > 1 {
			out += fmt.Sprintf(", across %d %s", n, what)
		}
	}
	several(len(l.Arms), "positions of the switch")
	several(len(l.Modes), "browsing modes")
	several(len(l.Boots), "starts of the phone")
	several(len(l.Data), "states of the app's data")
	life := l.Last.Sub(l.First)
	if days := int(life / (24 * time.Hour)); days > 1 {
		out += fmt.Sprintf(", over %d days", days)
	} else if life >= time.Second {
		out += fmt.Sprintf(", over %s", life.Round(time.Second))
	}
	if len(l.Serials) > 1 {
		out += fmt.Sprintf("; %d phones send it, so it ties nothing to one of them", len(l.Serials))
	}
	return out
}

// shortValue shows that two values are the same without showing all of one.
func shortValue(s string) string {
	if r := []rune(s); len(r) > 12 {
		return string(r[:6]) + "…" + string(r[len(r)-4:])
	}
	return s
}
