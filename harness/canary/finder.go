package canary

import (
	"slices"
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// maxSightings bounds what one Find returns. More of them prove nothing more.
const maxSightings = 1000

// A Finder searches for many canaries at once. It is safe for concurrent use.
//
// Every pattern begins with windows of five bytes, one of which is looked up at
// every second place of the text; only where a filter says maybe is a pattern compared.
// Hashes, which are by far the most, have a table of their own.
type Finder struct {
	canaries []Canary
	terms    []term
	text     index // windows with bit 5 set, so that letters match in both cases
	xor      index // windows of differences
	windows  windowFilter
	digests  digests
	unsalted int
	leads    leads
}

// NewFinder prepares a search for the canaries, shams included. A term that is
// no two words of six letters or more, such as an identifier of the phone, is
// searched in its normal forms and in the disguises that need no words; one of
// fewer than [ShortestText] bytes cannot be found. The salts are what a hash
// may be made with beside the term; see [Salts].
func NewFinder(canaries []Canary, salts ...Salt) *Finder {
	f := &Finder{canaries: slices.Clone(canaries)}
	var text, xor []pattern
	hashes := newHasher(&f.digests, salts)
	spellings := make([][]spelling, len(canaries))
	for i, c := range canaries {
		t, ok := newTerm(c.Term)
		at := int32(i) //nolint:gosec // Memory bounds the number of canaries far below.
		switch {
		case ok:
			text = append(text, t.patterns(at)...)
			xor = append(xor, t.xorPatterns(at)...)
			spellings[i] = append(t.spellings(), t.typedSpellings(c.Typed)...)
		case len(c.Term) >= ShortestText:
			text = append(text, literal(c.Term, at)...)
			xor = append(xor, literalXORs(c.Term, at)...)
			spellings[i] = hashedForms(c.Term)
		}
		f.terms = append(f.terms, t)
		hashes.plain(at, spellings[i])
	}
	limit := saltedLimits(canaries)
	for _, i := range newestFirst(canaries) {
		if !hashes.salted(int32(i), spellings[i], limit(canaries[i])) { //nolint:gosec // As above.
			f.unsalted++
		}
	}
	f.digests.build()
	f.text, f.xor = newIndex(append(text, f.digests.asciiPatterns()...), foldedWindow), newIndex(xor, xorWindow)
	f.windows = newWindowFilter(&f.text, &f.xor)
	f.text.widen() // Differences may stop at the case of a letter.
	return f
}

// Unsalted is how many canaries are searched without their salted hashes,
// because so many hashes have no room; they are the oldest ones.
func (f *Finder) Unsalted() int { return f.unsalted }

// Patterns is how many byte strings are searched at once: beginnings of terms
// in their encodings, differences, and hashes.
func (f *Finder) Patterns() int {
	return len(f.text.patterns) + len(f.xor.patterns) + len(f.digests.all)
}

// A hit is a canary seen in one stretch of bytes.
type hit struct {
	canary   int32
	form     string
	chars    int
	from, to int
}

// hits returns the best hit of each canary in each form, whole ones only
// where there are any.
func (f *Finder) hits(b []byte) []hit {
	var all []hit
	f.scan(b, func(h hit) {
		for i, old := range all {
			if old.canary == h.canary && old.form == h.form {
				if h.chars > old.chars {
					all[i] = h
				}
				return
			}
		}
		if len(all) < maxSightings {
			all = append(all, h)
		}
	})
	if len(all) < 2 {
		return all
	}
	all = slices.DeleteFunc(all, func(h hit) bool { return shadowed(h, all) })
	return slices.DeleteFunc(all, func(h hit) bool {
		return !f.whole(h) && slices.ContainsFunc(all, func(o hit) bool { return o.canary == h.canary && f.whole(o) })
	})
}

func (f *Finder) whole(h hit) bool { return h.chars >= len(f.canaries[h.canary].Term) }

// FindRaw searches bytes as they are, for streams that nothing decoded. Two
// pieces of one stream should overlap by [Overlap] bytes.
func (f *Finder) FindRaw(b []byte) []Sighting {
	var out []Sighting
	for _, h := range f.hits(b) {
		out = append(out, f.sighting(h, "raw", "", b))
	}
	return out
}

// Overlap is how many bytes of a stream can lie between the first and the
// last byte of a sighting.
const Overlap = 256

func (f *Finder) sighting(h hit, where, path string, b []byte) Sighting {
	return Sighting{
		Canary: f.canaries[h.canary], Where: where, Path: path,
		Form: h.form, Chars: min(h.chars, len(f.canaries[h.canary].Term)), Excerpt: excerpt(b, h.from, h.to),
	}
}

// excerpt shows a stretch and a little around it, other bytes than printable
// ASCII as dots.
func excerpt(b []byte, from, to int) string {
	const around, longest = 24, 160
	from, to = max(from-around, 0), min(to+around, len(b))
	to = min(to, from+longest)
	var s strings.Builder
	for _, c := range b[from:to] {
		if c < ' ' || c > '~' {
			c = '.'
		}
		s.WriteByte(c)
	}
	return s.String()
}

// Find returns what it sees in the parts of one message, shams included: in
// leaves, in the layers above them, and in the names of fields. What a layer
// shows only because a layer below it does is reported once, at the deepest.
func (f *Finder) Find(parts []payload.Part) []Sighting {
	s := search{f: f}
	for _, part := range parts {
		if part.Root == nil {
			continue
		}
		own := s.name(part.Where, part.Name, part.Name)
		s.keep(append(own, s.node(part.Where, part.Name, part.Root)...))
	}
	s.split()
	s.pieced()
	return s.out
}

// A search is one Find.
type search struct {
	f     *Finder
	names map[[2]any]bool
	out   []Sighting
	at    []int32 // the canary of each of out
	// scraps are the short texts of the message, one behind the other.
	scraps []byte
	pieces []scrap
}

// A placed hit knows where it is.
type placed struct {
	hit
	Sighting
}

func (s *search) place(hits []hit, where, path string, b []byte) []placed {
	var out []placed
	for _, h := range hits {
		out = append(out, placed{h, s.f.sighting(h, where, path, b)})
	}
	return out
}

func (s *search) node(where, prefix string, n *payload.Node) []placed {
	path := prefix
	if n.Step != "" {
		path = strings.TrimPrefix(prefix+" > "+n.Step, " > ")
	}
	below := s.name(where, path, n.Step)
	for _, child := range n.Children {
		below = append(below, s.node(where, path, child)...)
	}
	s.scrap(where, path, n)
	own := s.f.hits(n.Value)
	if len(own) == 0 {
		return below
	}
	// A whole term here explains its parts below; a hit below explains the same
	// hit here.
	below = slices.DeleteFunc(below, func(p placed) bool {
		return !s.f.whole(p.hit) && slices.ContainsFunc(own, func(h hit) bool { return h.canary == p.hit.canary && s.f.whole(h) })
	})
	own = slices.DeleteFunc(own, func(h hit) bool {
		return slices.ContainsFunc(below, func(p placed) bool { return p.hit.canary == h.canary && p.hit.chars >= h.chars })
	})
	return append(below, s.place(own, where, path, n.Value)...)
}

// name searches the name of a field, once for each canary and form: the name
// of an object is in the path of all that it holds.
func (s *search) name(where, path, name string) []placed {
	if len(name) < patternBytes {
		return nil
	}
	hits := slices.DeleteFunc(s.f.hits([]byte(name)), func(h hit) bool {
		key := [2]any{h.canary, h.form}
		if s.names[key] {
			return true
		}
		if s.names == nil {
			s.names = map[[2]any]bool{}
		}
		s.names[key] = true
		return false
	})
	return s.place(hits, where, path, []byte(name))
}

func (s *search) keep(found []placed) {
	for _, p := range found {
		if len(s.out) >= maxSightings {
			return
		}
		s.out = append(s.out, p.Sighting)
		s.at = append(s.at, p.hit.canary)
	}
}

// split joins the two words of a term that lie apart in one message.
func (s *search) split() {
	type halves struct{ first, second int }
	seen := map[int32]halves{}
	whole := map[int32]bool{}
	for i, sighting := range s.out {
		c := s.at[i]
		h, ok := seen[c]
		if !ok {
			h = halves{-1, -1}
		}
		first, _, _ := strings.Cut(sighting.Canary.Term, " ")
		switch {
		case sighting.Whole():
			whole[c] = true
		case sighting.Form == Prefix && sighting.Chars >= len(first) && h.first < 0:
			h.first = i
		case sighting.Form == Word && h.second < 0:
			h.second = i
		}
		seen[c] = h
	}
	for i := range s.out {
		c := s.at[i]
		h := seen[c]
		if whole[c] || h.first < 0 || h.second < 0 || i != max(h.first, h.second) {
			continue
		}
		a, b := s.out[h.first], s.out[h.second]
		where := a.Where
		if b.Where != a.Where {
			where += "+" + b.Where
		}
		s.out = append(s.out, Sighting{
			Canary: a.Canary, Where: where, Path: a.Path + " + " + b.Path,
			Form: Split, Chars: len(a.Canary.Term), Excerpt: a.Excerpt + " + " + b.Excerpt,
		})
		s.at = append(s.at, c)
	}
}
