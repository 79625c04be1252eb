package canary

import "math/bits"

// A digitSet is an alphabet: of each character the value, and 1 for a digit or
// a separator, 0 for any other.
type digitSet struct {
	values  [256]byte
	members [256]uint8
}

// Values of characters that are no digits; a separator may stand between two.
const (
	noDigit   = 0xff
	separator = 0x80
)

func newDigitSet(fill func(values *[256]byte)) *digitSet {
	var s digitSet
	for i := range s.values {
		s.values[i] = noDigit
	}
	fill(&s.values)
	for i, v := range s.values {
		if v != noDigit {
			s.members[i] = 1
		}
	}
	return &s
}

// runWindow is how many characters are classed at a time.
const runWindow = 64

// mask has a bit for each of runWindow characters, set for digits and
// separators, the first one's the lowest. Four sums at a time keep a core busy.
func (s *digitSet) mask(b []byte) uint64 {
	b = b[:runWindow:runWindow]
	var m0, m1, m2, m3 uint64
	for i := 15; i >= 0; i-- {
		m0 = m0<<1 | uint64(s.members[b[i]])
		m1 = m1<<1 | uint64(s.members[b[i+16]])
		m2 = m2<<1 | uint64(s.members[b[i+32]])
		m3 = m3<<1 | uint64(s.members[b[i+48]])
	}
	return m0 | m1<<16 | m2<<32 | m3<<48
}

// next returns the next whole stretch of at least shortest digits and separators
// in b from i on, where none begins before; both are len(b) when there is none.
// shortest is 8 to 16.
func (s *digitSet) next(b []byte, i, shortest int) (from, to int) {
	for i+runWindow <= len(b) {
		m := s.mask(b[i:])
		// A bit is left where a run of shortest begins.
		runs := m & (m >> 1)
		runs &= runs >> 2
		runs &= runs >> 4
		runs &= runs >> (uint(shortest-8) & 63) //nolint:gosec // 0 to 8.
		if runs == 0 {
			i += runWindow - shortest + 1
			continue
		}
		from = bits.TrailingZeros64(runs)
		to = i + from + bits.TrailingZeros64(^(m >> from))
		from += i
		if to < i+runWindow {
			return from, to
		}
		return from, s.end(b, to)
	}
	// Few are left: look at the last place that a run would have first, and so
	// pass over most of them.
	for last := i + shortest - 1; last < len(b); {
		at := last
		for at >= i && s.members[b[at]] != 0 {
			at--
		}
		if at < i {
			return i, s.end(b, last+1)
		}
		i = at + 1
		last = at + shortest
	}
	return len(b), len(b)
}

// end is where the run ends that holds the characters before i.
func (s *digitSet) end(b []byte, i int) int {
	for i+runWindow <= len(b) {
		if m := s.mask(b[i:]); m != 1<<runWindow-1 {
			return i + bits.TrailingZeros64(^m)
		}
		i += runWindow
	}
	for i < len(b) && s.members[b[i]] != 0 {
		i++
	}
	return i
}
