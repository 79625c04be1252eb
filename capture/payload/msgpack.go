package payload

import "math"

// msgpackBegins is true for what a whole body begins with: a map or an array.
func msgpackBegins(b []byte) bool {
	return b[0]&0xe0 == 0x80 || b[0] >= 0xdc && b[0] <= 0xdf
}

// The shares of MessagePack's types: 0.2 whole numbers in one byte, 0.12 in
// more, 0.45 texts, 0.06 bytes and extensions, 0.06 arrays, 0.06 maps, 0.05
// floats and words.
const (
	costTiny   = 2.33
	costLarger = 3.06
	costString = 1.16
	costBinary = 4.06
	costList   = 4.06
	costWord   = 4.33
)

func (t *tree) msgpackItem(nesting int) (span, float64, bool) {
	if t.at >= len(t.b) || !t.take() || !t.p.look(1) {
		return span{}, 0, false
	}
	c := t.b[t.at]
	t.at++
	switch {
	case c < 0x80:
		s, cost := integer(uint64(c), false, 1)
		return s, 8 - costTiny - cost, true
	case c >= 0xe0:
		s, cost := integer(uint64(-int8(c)), true, 1) //nolint:gosec // -32 to -1.
		return s, 8 - costTiny - cost, true
	case c < 0x90:
		return t.msgpackList(true, uint64(c&15), 1, nesting)
	case c < 0xa0:
		return t.msgpackList(false, uint64(c&15), 1, nesting)
	case c < 0xc0:
		return t.msgpackString(uint64(c&31), 1, true)
	}
	return t.msgpackLong(c, nesting)
}

// msgpackLong reads what begins with a byte from 0xc0 to 0xdf.
func (t *tree) msgpackLong(c byte, nesting int) (span, float64, bool) {
	// The sizes of the arguments, from 0xc0 on.
	argument := int([32]byte{0, 0, 0, 0, 1, 2, 4, 1, 2, 4, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 0, 0, 0, 0, 0, 1, 2, 4, 2, 4, 2, 4}[c-0xc0])
	if len(t.b)-t.at < argument {
		return span{}, 0, false
	}
	n := unsigned(t.b[t.at : t.at+argument])
	t.at += argument
	size := 1 + argument
	all := 8 * float64(size)
	switch c {
	case 0xc0, 0xc2, 0xc3:
		word := map[byte]string{0xc0: "null", 0xc2: "false", 0xc3: "true"}[c]
		return span{value: []byte(word), kind: KindNumber, raw: 1}, all - costWord - 2.6, true
	case 0xc4, 0xc5, 0xc6:
		return t.msgpackString(n, size, false)
	case 0xc7, 0xc8, 0xc9:
		return t.extension(n, size)
	case 0xca:
		return float(float64(math.Float32frombits(uint32(n))), 4), all - costWord - 2.6 - 32, true //nolint:gosec // Four bytes.
	case 0xcb:
		f := math.Float64frombits(n)
		cost := 65.0
		if plausibleFloat(f) {
			cost = 1 + math.Log2(60) + 53
		}
		return float(f, 8), all - costWord - 2 - cost, true
	case 0xcc, 0xcd, 0xce, 0xcf:
		s, cost := integer(n, false, size)
		return s, all - costLarger - cost, true
	case 0xd0, 0xd1, 0xd2, 0xd3:
		shift := 64 - 8*argument
		v := int64(n<<shift) >> shift //nolint:gosec // Two's complement is what the wire holds.
		magnitude := uint64(v)
		if v < 0 {
			magnitude = -magnitude
		}
		s, cost := integer(magnitude, v < 0, size)
		return s, all - costLarger - cost, true
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return t.extension(1<<(c-0xd4), size)
	case 0xd9, 0xda, 0xdb:
		return t.msgpackString(n, size, true)
	case 0xdc, 0xdd:
		return t.msgpackList(false, n, size, nesting)
	case 0xde, 0xdf:
		return t.msgpackList(true, n, size, nesting)
	}
	return span{}, 0, false
}

func (t *tree) msgpackString(n uint64, size int, text bool) (span, float64, bool) {
	cost := costBinary
	if text {
		cost = costString
	}
	// Old writers put bytes where text belongs, so those are not refused.
	value, saved, ok := t.content(n, size, false)
	s := span{value: value, raw: size + len(value)}
	if len(value) == 0 {
		s.kind = KindEmpty
	}
	return s, 8*float64(size) - cost + saved, ok
}

// extension reads a value of an application's own type. Times have one that
// everybody knows.
func (t *tree) extension(n uint64, size int) (span, float64, bool) {
	if t.at >= len(t.b) {
		return span{}, 0, false
	}
	kind := t.b[t.at]
	t.at++
	value, saved, ok := t.content(n, size, false)
	if !ok {
		return span{}, 0, false
	}
	saved += 8*float64(size) - costBinary - 2
	if kind == 0xff && len(value) == 4 {
		s, cost := integer(unsigned(value), false, 4)
		return s, saved + 40 - cost, true
	}
	s := span{value: value, raw: size + 1 + len(value)}
	if len(value) == 0 {
		s.kind = KindEmpty
	}
	return s, saved, true
}

func (t *tree) msgpackList(pairs bool, n uint64, size, nesting int) (span, float64, bool) {
	from := t.at - size
	if nesting >= maxTrees || n > uint64(len(t.b)-t.at) { //nolint:gosec // t.at is within b.
		return span{}, 0, false
	}
	saved := 8*float64(size) - costList - costOfLength(int(n), size, len(t.b)-t.at) //nolint:gosec // n is at most the length of b.
	sub, more, ok := t.members(n, pairs, nesting, (*tree).msgpackItem, nil, false)
	return span{sub: sub, nested: true, list: !pairs, raw: t.at - from}, saved + more, ok
}
