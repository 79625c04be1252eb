package payload

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A binary format without a magic accepts much that was never written in it:
// of random buffers of 16 bytes about one in thirty is a whole protobuf
// message. So such a format must earn its place. Each reader counts how many
// bits it saves when it describes the bytes as what it takes them for: every
// tag, length, number and text costs what a fixed code charges for it, and what
// nobody can read costs all of its bits. Since the codes are prefix codes, at
// most one in 2^k random buffers saves k bits (Kraft's inequality), whatever
// their length and however often the format is tried on one of them.
const (
	// provenBits is what a whole value must save to be taken for a format: by
	// chance, one random value in 16 million does.
	provenBits = 24
	// nestedBits is what a message inside a proven one must save: one random
	// field in 65,000 does by chance.
	nestedBits = 16
	// lossBits is what fields in a row may cost more than their bytes: random
	// bytes behind an honest beginning do, honest fields do not.
	lossBits = 8
	// maxTrees is how deep a binary format is walked; what lies deeper is opened
	// as a value of its own.
	maxTrees = 32
)

// Costs in bits of what texts are made of. There are three codes: of ordinary
// text, with small letters and blanks 0.6 of all, digits 0.15, capitals 0.1,
// marks 0.1 and all other characters 0.05; of text in capitals; and of words in
// base64 and hex, with 0.97 for 65 characters.
const (
	costSmall   = 5.492  // one of 27 in 0.6
	costDigit   = 6.059  // one of 10 in 0.15
	costCapital = 8.022  // one of 26 in 0.1
	costMark    = 8.322  // one of 32 in 0.1
	costControl = 11.644 // one of 32 in 0.01
	costCoded   = 6.066  // one of 65 in 0.97
	costUncoded = 12.637 // one of 191 in 0.03
	cost2Bytes  = 17.229 // one of 1,920 in 0.0125
	cost3Bytes  = 22.229 // one of 61,440 in 0.0125
	cost4Bytes  = 26.323 // one of 1,048,576 in 0.0125
	costOfCode  = 1.585  // one of three codes
)

// textSaves is what each character saves, by code.
var textSaves = func() (saves [3][utf8.RuneSelf]float32) {
	for c := range byte(utf8.RuneSelf) {
		small, capital, word := costControl, costControl, costUncoded
		switch {
		case c >= 'a' && c <= 'z':
			small, capital, word = costSmall, costCapital, costCoded
		case c >= 'A' && c <= 'Z':
			small, capital, word = costCapital, costSmall, costCoded
		case c >= '0' && c <= '9':
			small, capital, word = costDigit, costDigit, costCoded
		case c == ' ':
			small, capital = costSmall, costSmall
		case c > ' ' && c < 0x7f:
			small, capital = costMark, costMark
			if c == '+' || c == '/' || c == '=' {
				word = costCoded
			}
		}
		for i, cost := range []float64{small, capital, word} {
			saves[i][c] = float32(8 - cost)
		}
	}
	return saves
}()

// savedByText is how many bits the best of the codes of texts saves on b.
func savedByText(b []byte) float64 {
	var saved [3]float64
	others := 0.0
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			for k := range saved {
				saved[k] += float64(textSaves[k][c])
			}
			i++
			continue
		}
		_, size := utf8.DecodeRune(b[i:])
		switch size {
		case 2:
			others += 16 - cost2Bytes
		case 3:
			others += 24 - cost3Bytes
		case 4:
			others += 32 - cost4Bytes
		default: // a byte that is none: isText forgives one at the end
			others -= 8
		}
		i += size
	}
	if others != 0 {
		return others + max(saved[0], saved[1]) - costOfCode
	}
	return max(saved[0], saved[1], saved[2]) - costOfCode
}

// The shares of what values hold: 0.6 texts, 0.25 what is built further, 0.15
// anything else.
const (
	costText     = 0.74
	costBuilt    = 2
	costAnything = 2.74
)

// savedBy is what reading a value saves, as text or as something with a magic.
// What cannot be read saves nothing.
func savedBy(value []byte) float64 {
	if isText(value) {
		return savedByText(value) - costText
	}
	switch compression(value) {
	case "gzip", "zstd", "lz4", "bzip2", "xz", "snappy":
		return 8*3 - costBuilt
	}
	return -costAnything
}

// costOfLength is what a length of size bytes costs where left bytes follow:
// it is all of them, or any that fits, or a small one, or any at all.
func costOfLength(n, size, left int) float64 {
	const small = 32
	cost := min(2+math.Log2(float64(left)+1), 2+8*float64(size))
	if n < small {
		cost = min(cost, 6.74)
	}
	if n == left {
		cost = min(cost, 2.32)
	}
	return cost
}

// Times that records carry, from 2014 to 2033, as integers: in seconds,
// milliseconds and microseconds.
const (
	firstSecond = 1_400_000_000
	lastSecond  = 2_000_000_000
)

// costOfInteger is what a whole number costs: its sign and one of four ways to
// be likely. n is its magnitude.
func costOfInteger(n uint64, negative bool) float64 {
	cost := 5 + 64.0                     // any number at all
	if k := uint(bits.Len64(n)); k > 0 { //nolint:gosec // At most 64.
		// Whole bytes, the fewer the likelier.
		size := (k + 6) / 7
		cost = min(cost, 0.74+7*float64(size)+float64(size))
	}
	if n <= 1 {
		cost = min(cost, 2.74)
	}
	if !negative {
		for _, unit := range []uint64{1, 1e3, 1e6} {
			if n >= firstSecond*unit && n < lastSecond*unit {
				cost = min(cost, 5.64+math.Log2(float64((lastSecond-firstSecond)*unit)))
			}
		}
		return cost + 0.1
	}
	return cost + 3.91
}

// plausible is true for numbers that people count with: below 2^48, or a time.
// Others are as large as random ones, which tell a person apart.
func plausible(n uint64) bool {
	const (
		large = 1 << 48
		micro = 1_000_000
		nano  = 1_000_000_000
	)
	return n < large || n >= firstSecond*micro && n < lastSecond*micro || n >= firstSecond*nano && n < lastSecond*nano
}

// plausibleFloat is true for doubles between 2^-20 and 2^40, zero and its like:
// one in 34 random ones.
func plausibleFloat(f float64) bool {
	exponent := math.Float64bits(f) >> 52 & 0x7ff
	return f == 0 || exponent >= 1023-20 && exponent < 1023+40
}

// A span is a value that a reader of a binary format found, with what lies
// inside. Most readings come to nothing, so nothing is written out in one.
type span struct {
	// name is its part of the path, or number where it is empty.
	name   string
	number int
	// value is the bytes of a text, of a word, or of what is to be opened further.
	value []byte
	// kind is set for numbers, words and what is empty.
	kind Kind
	// digits is true for a number that value does not spell: real, or else n.
	digits   bool
	negative bool
	float    bool
	n        uint64
	real     float64
	// raw is the size of a number in the format, in bytes.
	raw int
	// key is a name that the step cannot show in full.
	key []byte
	sub []span
	// nested is true where sub holds the value.
	nested bool
	// list is true where sub is an array.
	list bool
}

// step is the span's part of the path.
func (s *span) step() string {
	if s.name != "" {
		return s.name
	}
	return strconv.Itoa(s.number)
}

// text is the value as it is shown: numbers in decimal.
func (s *span) text() []byte {
	switch {
	case !s.digits:
		return s.value
	case s.float:
		return strconv.AppendFloat(nil, s.real, 'g', -1, max(32, s.raw*8))
	case s.negative:
		return strconv.AppendUint([]byte{'-'}, s.n, 10)
	}
	return strconv.AppendUint(nil, s.n, 10)
}

// small is the byte that a number can be, where one is true.
func (s *span) small() (b byte, one bool) {
	switch {
	case !s.digits || s.float:
	case !s.negative && s.n <= math.MaxUint8:
		return byte(s.n), true
	case s.negative && s.n <= -math.MinInt8:
		return -byte(s.n), true
	}
	return 0, false
}

// integer makes the span of a whole number of raw bytes, and says what it costs.
func integer(n uint64, negative bool, raw int) (span, float64) {
	s := span{digits: true, n: n, negative: negative, raw: raw, kind: KindToken}
	if plausible(n) {
		s.kind = KindNumber
	}
	return s, costOfInteger(n, negative)
}

// float makes the span of a floating-point number of 2, 4 or 8 bytes.
func float(f float64, raw int) span {
	s := span{digits: true, float: true, real: f, raw: raw, kind: KindToken}
	const halfSize, doubleSize = 2, 8
	if raw == halfSize || plausibleFloat(f) || raw < doubleSize && (math.IsInf(f, 0) || math.Float64bits(f) == math.Float64bits(float64(float32(math.NaN())))) {
		s.kind = KindNumber
	}
	return s
}

// A tree is what one reader makes of one value.
type tree struct {
	p  *peeler
	b  []byte
	at int
	// left is how many spans it may still make: a value of more is not opened,
	// since their nodes would pass the bound.
	left int
}

func (p *peeler) newTree(b []byte) *tree { return &tree{p: p, b: b, left: max(p.nodes, 0)} }

// take counts one more span.
func (t *tree) take() bool {
	t.left--
	return t.left >= 0
}

// A reading is what one binary format makes of a value.
type reading struct {
	format string
	path   string
	spans  []span
	list   bool
	saved  float64
}

// readings tries the binary formats without a magic, and returns the one that
// saves most, if that proves it. What the value saves as text it must save too.
func (p *peeler) proven(b []byte) (reading, bool) {
	best := reading{saved: provenBits}
	if fields, saved := p.protobuf(b); saved >= best.saved {
		best = reading{format: "protobuf", spans: fields, saved: saved}
	}
	if items, saved := p.items(b, cborBegins, (*tree).cborItem); saved >= best.saved {
		best = itemsReading("cbor", items, saved)
	}
	if items, saved := p.items(b, msgpackBegins, (*tree).msgpackItem); saved >= best.saved {
		best = itemsReading("msgpack", items, saved)
	}
	if best.format == "" || isText(b) && savedByText(b) >= best.saved {
		return reading{}, false
	}
	return best, true
}

// schemaless opens a value by the binary format that proves itself.
func (p *peeler) schemaless(n *Node, depth int) bool {
	r, ok := p.proven(n.Value)
	if !ok {
		return false
	}
	p.emit(n, r.format, r.path, r.spans, r.list, depth)
	return true
}

// look charges the examination of n bytes, and is false when all that a Peel
// may examine is used up: without it, formats inside each other could each be
// read again by every layer around them.
func (p *peeler) look(n int) bool {
	p.looks -= n
	return p.looks > 0
}

// emit makes the nodes of what a reader found.
func (p *peeler) emit(n *Node, format, path string, spans []span, list bool, depth int) {
	run, runBytes := 0, 0 // the numbers in a row that only random bytes make
	past := 0             // the end of those that were opened together
	for i := range spans {
		s := &spans[i]
		if p.spent() {
			n.Children = append(n.Children, p.cut(format+"-rest", restOf(spans[i:])))
			return
		}
		if i < past {
			continue
		}
		if out, end := p.spelled(spans, i, list); end > i {
			step := path + s.step()
			if list {
				step = strings.TrimSuffix(path, "/")
			}
			child := p.node(format+":"+step, out)
			child.Children = append(child.Children, p.peel("bytes", out, depth+2))
			n.Children = append(n.Children, child)
			run, runBytes, past = 0, 0, end
			continue
		}
		if s.key != nil {
			n.Children = append(n.Children, p.peel(format+"-key", s.key, depth+1))
		}
		step := path + s.step()
		switch {
		case s.nested && len(s.sub) > 0:
			p.emit(n, format, step+"/", s.sub, s.list, depth)
		case s.nested || s.kind == KindEmpty:
			child := p.node(format+":"+step, nil)
			child.Kind = KindEmpty
			n.Children = append(n.Children, child)
		case s.kind == KindUnknown:
			n.Children = append(n.Children, p.peel(format+":"+step, s.value, depth+1))
		default:
			child := p.node(format+":"+step, s.text())
			child.Kind = s.kind
			n.Children = append(n.Children, child)
		}
		if s.kind != KindToken {
			run, runBytes = 0, 0
			continue
		}
		// Identifiers side by side hold a block of cipher text as well as one.
		if run, runBytes = run+1, runBytes+s.raw; runBytes*8 >= opaqueBits {
			for _, child := range n.Children[len(n.Children)-run:] {
				if child.Kind == KindToken {
					child.Kind = KindOpaque
				}
			}
		}
	}
}

// restOf is about how many bytes lie in spans.
func restOf(spans []span) int {
	sum := 0
	for i := range spans {
		sum += 1 + max(spans[i].raw, len(spans[i].value)) + restOf(spans[i].sub)
	}
	return sum
}

// spelled opens many small numbers in a row, of one list or of one name, as the
// bytes that they spell, and returns the end of the row.
func (p *peeler) spelled(spans []span, from int, list bool) ([]byte, int) {
	first := &spans[from]
	belongs := func(s *span) (byte, bool) {
		b, one := s.small()
		return b, one && (list || s.name == first.name && s.number == first.number)
	}
	if _, one := belongs(first); !one || len(spans)-from < manyBytes {
		return nil, 0
	}
	if from > 0 {
		if _, one := belongs(&spans[from-1]); one {
			return nil, 0 // not the beginning of the row
		}
	}
	var out []byte
	for i := from; i < len(spans); i++ {
		b, one := belongs(&spans[i])
		if !one {
			break
		}
		out = append(out, b)
	}
	if len(out) < manyBytes || !p.spells(out) {
		return nil, 0
	}
	p.output -= len(out)
	return out, from + len(out)
}
