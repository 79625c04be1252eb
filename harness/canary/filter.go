package canary

// A filter says of a key that it is surely none of a set, or maybe one. It is a
// Bloom filter of two bits a key, both in one word, so that a look costs one
// access to memory.
type filter struct {
	words []uint64
	shift uint
}

const multiplier = 0x9E37_79B9_7F4A_7C15

// newFilter makes a filter for 2^size keys. There are 32 bits a key, of which
// one in three hundred other keys finds both set, while that stays in a core's
// own cache, and 16 beyond.
func newFilter(size int) filter {
	const wordBits, least, cached = 6, 12, 15
	logWords := max(size+5-wordBits, least)
	if logWords > cached {
		logWords = max(size+4-wordBits, cached)
	}
	return filter{words: make([]uint64, 1<<logWords), shift: uint(64 - logWords)} //nolint:gosec // Memory bounds logWords far below 64.
}

func (f filter) add(key uint64) {
	h := key * multiplier
	f.words[h>>(f.shift&63)] |= 1<<(h>>32&63) | 1<<(h>>38&63)
}

// maybe is 0 for a key that is surely none of the set, and 1 for any other.
func (f filter) maybe(key uint64) uint64 {
	h := key * multiplier
	w := f.words[h>>(f.shift&63)]
	return w >> (h >> 32 & 63) & (w >> (h >> 38 & 63)) & 1
}
