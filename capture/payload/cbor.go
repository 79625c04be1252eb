package payload

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// cborBegins is true for what a whole body begins with: an array, a map, or
// the tag that says CBOR.
func cborBegins(b []byte) bool {
	return b[0]>>5 == 4 || b[0]>>5 == 5 || b[0] == 0xd9 && len(b) > 3 && b[1] == 0xd9 && b[2] == 0xf7
}

// An itemReader reads the item at t.at, and says how many bits that
// saved.
type itemReader func(t *tree, nesting int) (span, float64, bool)

// items reads items in a row to the end of b, and says how many bits that
// saves. Each later one has to prove itself too. The walks are our own because
// the decoders that there are merge members of the same name and do not say
// where an item ended.
func (p *peeler) items(b []byte, begins func([]byte) bool, read itemReader) (items []span, sum float64) {
	const few = 6
	if len(b) < few || !begins(b) {
		return nil, 0
	}
	t := p.newTree(b)
	for t.at < len(b) {
		if !begins(b[t.at:]) {
			return nil, 0
		}
		item, saved, ok := read(t, 0)
		if !ok || saved < nestedBits {
			return nil, 0
		}
		sum += saved
		item.number = len(items)
		items = append(items, item)
	}
	return items, sum
}

// itemsReading names what lies in items in a row. The only one has no number.
func itemsReading(format string, items []span, saved float64) reading {
	r := reading{format: format, path: "/", spans: items, list: true, saved: saved}
	if len(items) == 1 && items[0].nested {
		r.spans, r.list = items[0].sub, items[0].list
	}
	return r
}

// CBOR is that of RFC 8949. The shares of its major types: 0.2 unsigned, 0.04 negative, 0.06 bytes,
// 0.45 text, 0.08 arrays, 0.08 maps, 0.03 tags, 0.06 floats and words.
var costOfMajor = [8]float64{2.33, 4.65, 4.06, 1.16, 3.65, 3.65, 5.06, 4.06}

// cborHead reads an initial byte and its argument. indefinite is true where
// the argument is left to a break code.
func (t *tree) cborHead() (major byte, n uint64, size int, indefinite, ok bool) {
	b := t.b[t.at:]
	if len(b) == 0 || !t.take() || !t.p.look(1) {
		return 0, 0, 0, false, false
	}
	major, size = b[0]>>5, 1
	switch info := b[0] & 31; {
	case info < 24:
		n = uint64(info)
	case info <= 27:
		size = 1 + 1<<(info-24)
		if len(b) < size {
			return 0, 0, 0, false, false
		}
		for _, c := range b[1:size] {
			n = n<<8 | uint64(c)
		}
	case info == 31 && (major >= 2 && major <= 5):
		indefinite = true
	default:
		return 0, 0, 0, false, false
	}
	t.at += size
	return major, n, size, indefinite, true
}

func (t *tree) cborItem(nesting int) (span, float64, bool) {
	from := t.at
	major, n, size, indefinite, ok := t.cborHead()
	if !ok {
		return span{}, 0, false
	}
	saved := 8*float64(size) - costOfMajor[major]
	switch major {
	case 0, 1:
		if major == 1 && n == math.MaxUint64 {
			return span{}, 0, false
		}
		s, cost := integer(n+uint64(major), major == 1, size)
		return s, saved - cost, true
	case 2, 3:
		value, more, ok := t.cborString(major, n, size, indefinite)
		s := span{value: value, raw: t.at - from}
		if len(value) == 0 {
			s.kind = KindEmpty
		}
		return s, saved + more, ok
	case 4, 5:
		return t.cborList(major == 5, n, size, indefinite, saved, nesting)
	case 6:
		// A tag says how to take what follows; it holds nothing by itself unless
		// it is a large one, which costs what it holds.
		if nesting >= maxTrees {
			return span{}, 0, false
		}
		s, more, ok := t.cborItem(nesting + 1)
		saved += more - min(3.9+math.Log2(float64(n)+1)*1.2, 66)
		const assigned = 1 << 16 // Larger ones are anybody's.
		if n >= assigned && ok {
			tag, _ := integer(n, false, size-1)
			tag.name, s.name = "tag", "tagged"
			s = span{sub: []span{tag, s}, nested: true, raw: t.at - from}
		}
		return s, saved, ok
	}
	return cborSimple(n, size, saved)
}

// cborSimple reads floats, true, false, null and undefined.
func cborSimple(n uint64, size int, saved float64) (span, float64, bool) {
	switch {
	case size == 1 && n >= 20 && n <= 23:
		word := [4]string{"false", "true", "null", "undefined"}[n-20]
		return span{value: []byte(word), kind: KindNumber, raw: 1}, saved - 3, true
	case size == 3:
		return float(half(uint16(n)), 2), saved - 3 - 16, true
	case size == 5:
		return float(float64(math.Float32frombits(uint32(n))), 4), saved - 3 - 32, true
	case size == 9:
		f := math.Float64frombits(n)
		cost := 65.0
		if plausibleFloat(f) {
			cost = 1 + math.Log2(60) + 53
		}
		return float(f, 8), saved - 2 - cost, true
	}
	return span{}, 0, false
}

// half is the value of an IEEE 754 binary16.
func half(v uint16) float64 {
	exponent, mantissa := int(v>>10&31), float64(v&1023)
	var f float64
	switch exponent {
	case 0:
		f = math.Ldexp(mantissa, -24)
	case 31:
		f = math.Inf(1)
		if mantissa != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(1+mantissa/1024, exponent-15)
	}
	if v>>15 != 0 {
		f = -f
	}
	return f
}

// cborString reads bytes or text, in one piece or in chunks.
func (t *tree) cborString(major byte, n uint64, size int, indefinite bool) (value []byte, saved float64, ok bool) {
	if !indefinite {
		return t.content(n, size, major == 3)
	}
	for {
		if t.at < len(t.b) && t.b[t.at] == 0xff {
			t.at++
			return value, saved + 8 - 2, true
		}
		chunk, n, size, again, ok := t.cborHead()
		if !ok || again || chunk != major {
			return nil, 0, false
		}
		part, more, ok := t.content(n, size, major == 3)
		if !ok {
			return nil, 0, false
		}
		// Chunks are charged as output, for they are copied together.
		if t.p.output -= len(part); t.p.output < 0 {
			return nil, 0, false
		}
		value, saved = append(value, part...), saved+more+6
	}
}

// content takes n bytes. What a format calls text has to be UTF-8.
func (t *tree) content(n uint64, size int, text bool) (value []byte, saved float64, ok bool) {
	left := len(t.b) - t.at
	if n > uint64(left) || !t.p.look(int(n)) { //nolint:gosec // n is at most left here.
		return nil, 0, false
	}
	value = t.b[t.at : t.at+int(n)] //nolint:gosec // n is at most left.
	t.at += len(value)
	saved = -costOfLength(len(value), size, left)
	switch {
	case len(value) == 0:
	case text && !utf8.Valid(value):
		return nil, 0, false
	default:
		saved += savedBy(value)
	}
	return value, saved, true
}

func (t *tree) cborList(pairs bool, n uint64, size int, indefinite bool, saved float64, nesting int) (span, float64, bool) {
	from := t.at - size
	if nesting >= maxTrees || !indefinite && n > uint64(len(t.b)-t.at) { //nolint:gosec // t.at is within b.
		return span{}, 0, false
	}
	saved -= costOfLength(int(n), size, len(t.b)-t.at) //nolint:gosec // n is at most the length of b, or 0.
	sub, more, ok := t.members(n, pairs, nesting, (*tree).cborItem, func() bool {
		if !indefinite || t.at >= len(t.b) || t.b[t.at] != 0xff {
			return false
		}
		t.at++
		return true
	}, indefinite)
	s := span{sub: sub, nested: true, list: !pairs, raw: t.at - from}
	return s, saved + more, ok
}

// members reads the n elements of an array, or as many pairs of a map, or as
// many of either as come before the end.
func (t *tree) members(n uint64, pairs bool, nesting int, read itemReader, end func() bool, open bool) (sub []span, saved float64, ok bool) {
	var loss float64
	for i := 0; ; i++ {
		if !open && uint64(i) == n || open && end() { //nolint:gosec // i counts up from 0.
			return sub, saved, true
		}
		name, key, before := "", []byte(nil), saved
		if pairs {
			k, more, ok := read(t, nesting+1)
			if !ok {
				return nil, 0, false
			}
			saved += more
			name, key = nameOf(k)
		}
		s, more, ok := read(t, nesting+1)
		if !ok {
			return nil, 0, false
		}
		s.name, s.number, s.key = name, i, key
		saved += more
		if loss = min(loss+saved-before, 0); loss < -lossBits {
			return nil, 0, false
		}
		sub = append(sub, s)
	}
}

// nameOf is what a member's name adds to the path, and the name itself where
// that does not show it.
func nameOf(k span) (name string, key []byte) {
	value := k.text()
	switch {
	case k.nested:
		return "?", flat(k)
	case len(value) == 0:
		return `""`, nil
	case !isText(value):
		return "?", value
	}
	name = string(appendToken(nil, stepName(value)))
	if k.kind == KindToken || !isPlainName(value) {
		return name, value
	}
	return name, nil
}

// flat joins the values in a span, for a name that is itself a list.
func flat(s span) []byte {
	out := append([]byte(nil), s.text()...)
	for _, sub := range s.sub {
		out = append(append(append(out, sub.key...), flat(sub)...), ' ')
	}
	return out
}

// unsigned reads a big-endian number of 1, 2, 4 or 8 bytes.
func unsigned(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	return 0
}
