package canary

import (
	"encoding/binary"
	"math/bits"
	"sort"
)

// An index finds the patterns whose window a place of the text may have: first
// a bitmap says maybe, then an open hash table says which.
type index struct {
	patterns []pattern // by window
	bitmap   []uint64
	shift    uint
	// slots leads from a window to its first pattern; patterns of one window are
	// neighbours.
	slots []slot
	mask  uint64
}

type slot struct {
	window uint64
	first  int32
	count  int32 // 0 for an empty slot
}

const (
	windowBytes = 6
	foldMask    = 0x2020_2020_2020_2020
	windowMask  = 1<<(8*windowBytes) - 1
	multiplier  = 0x9E37_79B9_7F4A_7C15
)

// newBitmap makes a bitmap for 2^size keys, and the shift that leaves as many
// bits of a product as it needs. A false maybe costs as much as fifty true
// noes, so there are 64 bits a key while that stays in a core's own cache.
func newBitmap(size int) ([]uint64, uint) {
	const least, cached = 15, 21
	logBits := max(size+6, least)
	if logBits > cached {
		logBits = max(size+4, cached)
	}
	return make([]uint64, 1<<logBits/64), uint(64 - logBits) //nolint:gosec // Memory bounds logBits far below 64.
}

func newIndex(patterns []pattern) index {
	x := index{patterns: patterns}
	sort.SliceStable(patterns, func(a, b int) bool { return patterns[a].window < patterns[b].window })
	windows := 0
	for i := range patterns {
		if i == 0 || patterns[i].window != patterns[i-1].window {
			windows++
		}
	}
	size := bits.Len(uint(windows)) //nolint:gosec // A count.
	x.bitmap, x.shift = newBitmap(size)
	x.slots, x.mask = make([]slot, 1<<(size+1)), 1<<(size+1)-1
	for i := 0; i < len(patterns); {
		j := i
		for j < len(patterns) && patterns[j].window == patterns[i].window {
			j++
		}
		w := patterns[i].window
		h := w * multiplier >> x.shift
		x.bitmap[h>>6] |= 1 << (h & 63)
		at := (w * multiplier >> 20) & x.mask
		for x.slots[at].count != 0 {
			at = (at + 1) & x.mask
		}
		x.slots[at] = slot{window: w, first: int32(i), count: int32(j - i)} //nolint:gosec // Memory bounds the number of patterns far below.
		i = j
	}
	return x
}

// maybe is false for a window that is surely none.
func (x *index) maybe(w uint64) bool {
	h := w * multiplier >> x.shift
	return x.bitmap[h>>6]&(1<<(h&63)) != 0
}

// of returns the patterns that begin with a window.
func (x *index) of(w uint64) []pattern {
	for at := (w * multiplier >> 20) & x.mask; x.slots[at].count != 0; at = (at + 1) & x.mask {
		if s := x.slots[at]; s.window == w {
			return x.patterns[s.first : s.first+s.count]
		}
	}
	return nil
}

// foldedWindow is the first six bytes of eight, letters in lower case.
func foldedWindow(v uint64) uint64 { return (v | foldMask) & windowMask }

// scan hands over every hit in b.
func (f *Finder) scan(b []byte, found func(hit)) {
	if len(b) < windowBytes || len(f.text.patterns) == 0 {
		return
	}
	i := 0
	for ; i+8 <= len(b); i++ {
		v := binary.LittleEndian.Uint64(b[i:])
		if w := foldedWindow(v); f.text.maybe(w) {
			f.lookup(&f.text, b, i, w, found)
		}
		if w := xorWindow(v); f.xor.maybe(w) {
			f.lookup(&f.xor, b, i, w, found)
		}
	}
	for ; i+windowBytes <= len(b); i++ {
		v := load(b[i:])
		f.lookup(&f.text, b, i, foldedWindow(v), found)
		f.lookup(&f.xor, b, i, xorWindow(v), found)
	}
	f.digests.scanRaw(b, found)
	f.digests.scanText(b, found)
}

func (f *Finder) lookup(x *index, b []byte, i int, w uint64, found func(hit)) {
	all := x.of(w)
	for k := range all {
		p := &all[k]
		if h, ok := p.verify(&f.terms[p.canary], b, i); ok {
			h.canary = p.canary
			found(h)
		}
	}
}
