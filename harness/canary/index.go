package canary

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// An index finds the patterns that may begin at a place of the text: where a
// filter says maybe, an open hash table says which.
//
// Every pattern is entered by two windows, one byte apart, so that only every
// second place of the text need be looked at.
type index struct {
	patterns []pattern
	wide     bool    // entries have wide windows
	entries  []entry // by window
	// slots leads from a window to its first entry.
	slots []slot
	mask  uint64
	shift uint
}

// An entry says that a window may belong to a pattern that begins at it, or
// one byte before.
type entry struct {
	// window serves to sort; later it is the pattern's beginning as wideWindow
	// has it, where the text must have just that.
	window  uint64
	pattern int32
	before  int32
}

type slot struct {
	window uint64
	first  int32
	count  int32 // 0 for an empty slot
}

const (
	// windowBytes is the length of a window; with stride windows of it, it is the
	// shortest pattern.
	windowBytes  = 5
	stride       = 2
	patternBytes = windowBytes + stride - 1

	foldMask = 0x2020_2020_2020_2020
	// The masks leave the bytes of a window, and its differences.
	windowMask = 1<<(8*windowBytes) - 1
	xorMask    = windowMask >> 8
)

// foldedWindow is the first bytes of eight, letters in lower case.
func foldedWindow(v uint64) uint64 { return (v | foldMask) & windowMask }

// wideWindow is foldedWindow of the shortest pattern.
func wideWindow(v uint64) uint64 { return (v | foldMask) & (1<<(8*patternBytes) - 1) }

// xorWindow is the differences of neighbours among the first bytes of eight.
func xorWindow(v uint64) uint64 { return (v ^ v>>8) & xorMask }

// caselessWindow is xorWindow without the case of letters.
func caselessWindow(v uint64) uint64 { return (v ^ v>>8) & (xorMask &^ foldMask) }

// newIndex makes an index of patterns, of which window gives the window of
// eight bytes.
func newIndex(patterns []pattern, window func(uint64) uint64) index {
	x := index{patterns: patterns}
	for i := range patterns {
		for before := range int32(stride) {
			w := window(load(patterns[i].key[int(patterns[i].head)+int(before):]))
			x.entries = append(x.entries, entry{window: w, pattern: int32(i), before: before}) //nolint:gosec // Memory bounds the number of patterns far below.
		}
	}
	slices.SortFunc(x.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.window, b.window), cmp.Compare(a.pattern, b.pattern), cmp.Compare(a.before, b.before))
	})
	windows := 0
	for i := range x.entries {
		if i == 0 || x.entries[i].window != x.entries[i-1].window {
			windows++
		}
	}
	size := bits.Len(uint(windows)) //nolint:gosec // A count.
	x.slots, x.mask = make([]slot, 1<<(size+1)), 1<<(size+1)-1
	x.shift = uint(64 - (size + 1)) //nolint:gosec // Memory bounds size far below 64.
	for i := 0; i < len(x.entries); {
		j := i
		w := x.entries[i].window
		for j < len(x.entries) && x.entries[j].window == w {
			j++
		}
		at := w * multiplier >> (x.shift & 63)
		for x.slots[at].count != 0 {
			at = (at + 1) & x.mask
		}
		x.slots[at] = slot{window: w, first: int32(i), count: int32(j - i)} //nolint:gosec // As above.
		i = j
	}
	return x
}

// A windowFilter says of a place of the text whether any of several indexes may
// know a window there. The differences of neighbours, but for the case of letters,
// are the same for a text and for it under any byte, so they are asked first, for
// all indexes at once.
type windowFilter struct {
	differences, windows filter
	// crowded is true for so many windows that the differences tell little.
	crowded bool
}

func newWindowFilter(indexes ...*index) windowFilter {
	windows := 0
	for _, x := range indexes {
		windows += len(x.entries)
	}
	size := bits.Len(uint(windows)) //nolint:gosec // A count.
	const crowd = 14
	f := windowFilter{windows: newFilter(size), crowded: size > crowd}
	if !f.crowded {
		f.differences = newFilter(size)
	}
	for _, x := range indexes {
		for i := range x.entries {
			e := &x.entries[i]
			p := &x.patterns[e.pattern]
			f.windows.add(e.window)
			if !f.crowded {
				f.differences.add(caselessWindow(load(p.key[int(p.head)+int(e.before):])))
			}
		}
	}
	return f
}

// widen writes the wide windows into the entries, which saves looking at most of
// the patterns.
func (x *index) widen() {
	x.wide = true
	for i := range x.entries {
		p := &x.patterns[x.entries[i].pattern]
		x.entries[i].window = wideWindow(load(p.key[p.head:]))
	}
}

// of returns what may begin with a window, or one byte before it.
func (x *index) of(w uint64) []entry {
	for at := w * multiplier >> (x.shift & 63); x.slots[at].count != 0; at = (at + 1) & x.mask {
		if s := x.slots[at]; s.window == w {
			return x.entries[s.first : s.first+s.count]
		}
	}
	return nil
}

// load returns the first eight bytes of b, little-endian, zeros for none.
func load(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b)
	}
	var v [8]byte
	copy(v[:], b)
	return binary.LittleEndian.Uint64(v[:])
}

// scan hands over every hit in b.
func (f *Finder) scan(b []byte, found func(hit)) {
	if len(b) < patternBytes || len(f.canaries) == 0 {
		return
	}
	f.scanWindows(b, found)
	f.digests.scanRaw(b, found)
	f.digests.scanText(b, found)
}

// scanWindows looks for text, and for text under one byte. Four windows at a time
// keep a core's multipliers busy, which one at a time does not; scanRaw does the
// same.
func (f *Finder) scanWindows(b []byte, found func(hit)) {
	i := 0
	if f.windows.crowded {
		i = f.scanCrowded(b, found)
	}
	filter := f.windows.differences
	for ; i+16 <= len(b); i += 4 * stride {
		q := b[i : i+16 : i+16]
		any := filter.maybe(caselessWindow(binary.LittleEndian.Uint64(q)))
		any |= filter.maybe(caselessWindow(binary.LittleEndian.Uint64(q[2:])))
		any |= filter.maybe(caselessWindow(binary.LittleEndian.Uint64(q[4:])))
		any |= filter.maybe(caselessWindow(binary.LittleEndian.Uint64(q[6:])))
		if any != 0 {
			f.lookupAt(b, i, found)
			f.lookupAt(b, i+2, found)
			f.lookupAt(b, i+4, found)
			f.lookupAt(b, i+6, found)
		}
	}
	for ; i+windowBytes <= len(b); i += stride {
		f.lookupAt(b, i, found)
	}
}

// scanCrowded is scanWindows for very many windows, but for the end of b, from
// which it returns.
func (f *Finder) scanCrowded(b []byte, found func(hit)) int {
	filter := f.windows.windows
	i := 0
	for ; i+16 <= len(b); i += 4 * stride {
		q := b[i : i+16 : i+16]
		v := binary.LittleEndian.Uint64(q)
		any := filter.maybe(foldedWindow(v)) | filter.maybe(xorWindow(v))
		v = binary.LittleEndian.Uint64(q[2:])
		any |= filter.maybe(foldedWindow(v)) | filter.maybe(xorWindow(v))
		v = binary.LittleEndian.Uint64(q[4:])
		any |= filter.maybe(foldedWindow(v)) | filter.maybe(xorWindow(v))
		v = binary.LittleEndian.Uint64(q[6:])
		any |= filter.maybe(foldedWindow(v)) | filter.maybe(xorWindow(v))
		if any != 0 {
			f.lookupAt(b, i, found)
			f.lookupAt(b, i+2, found)
			f.lookupAt(b, i+4, found)
			f.lookupAt(b, i+6, found)
		}
	}
	return i
}

// lookupAt looks for what may begin at b[i] or one byte before.
func (f *Finder) lookupAt(b []byte, i int, found func(hit)) {
	v := load(b[i:])
	if w := foldedWindow(v); f.windows.windows.maybe(w) != 0 {
		f.lookup(&f.text, b, i, w, found)
	}
	if w := xorWindow(v); f.windows.windows.maybe(w) != 0 {
		f.lookup(&f.xor, b, i, w, found)
	}
}

func (f *Finder) lookup(x *index, b []byte, i int, w uint64, found func(hit)) {
	for _, e := range x.of(w) {
		at := i - int(e.before)
		if at < 0 || x.wide && wideWindow(load(b[at:])) != e.window {
			continue
		}
		p := &x.patterns[e.pattern]
		if h, ok := p.verify(&f.terms[p.canary], b, at); ok {
			h.canary = p.canary
			found(h)
		}
	}
}
