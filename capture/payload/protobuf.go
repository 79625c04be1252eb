package payload

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// protobuf reads a message of which no schema is known, and says how many bits
// that saves. Steps give the path of field numbers, as in "protobuf:1/14";
// fields that repeat repeat their step.
func (p *peeler) protobuf(b []byte) (fields []span, saved float64) {
	if !mayBeTag(b) || !p.skim(b) {
		return nil, 0
	}
	m, ok := p.newTree(b).message(b, 0)
	if !ok {
		return nil, 0
	}
	return m.fields, m.saved
}

// skim is true for bytes that are fields to the end. It makes nothing, and
// nearly all that is no message goes no further.
func (p *peeler) skim(b []byte) bool {
	for len(b) > 0 {
		_, kind, size := protowire.ConsumeTag(b)
		if size < 0 || kind == protowire.StartGroupType || !p.look(1) {
			return false
		}
		value := protowire.ConsumeFieldValue(1, kind, b[size:])
		if value < 0 {
			return false
		}
		b = b[size+value:]
	}
	return true
}

// mayBeTag is true where b can begin with a field: nearly all random bytes end
// here or a few bytes on.
func mayBeTag(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch protowire.Type(b[0] & 7) {
	case protowire.VarintType, protowire.Fixed64Type, protowire.BytesType, protowire.Fixed32Type:
		return b[0]>>3 != 0
	case protowire.StartGroupType, protowire.EndGroupType:
	}
	return false
}

// A message is one that was read to its end.
type message struct {
	fields []span
	saved  float64
}

// A group is what the fields of one number hold, as long as each of them can
// be a message.
type group struct {
	number protowire.Number
	at     []int // their places among the fields
	subs   []message
	// saved is by reading them as messages, other by reading them as what they
	// are otherwise.
	saved, other float64
	failed       bool
}

// message reads b from end to end as the fields of a message. Groups, which
// no SDK of today writes, are not read.
func (t *tree) message(b []byte, nesting int) (message, bool) {
	var (
		m      message
		groups []group
		before protowire.Number
		loss   float64
	)
	for at := 0; at < len(b); {
		if !t.take() || !t.p.look(1) {
			return message{}, false
		}
		number, kind, size := protowire.ConsumeTag(b[at:])
		if size < 0 || size != protowire.SizeTag(number) {
			return message{}, false
		}
		at += size
		saved := 8*float64(size) - costOfNumber(number, before)
		before = number
		var (
			s    span
			more float64
		)
		switch kind {
		case protowire.VarintType:
			s, more, size = varint(b[at:])
		case protowire.Fixed64Type:
			s, more, size = fixed64(b[at:])
		case protowire.Fixed32Type:
			s, more, size = fixed32(b[at:])
		case protowire.BytesType:
			var other float64
			s, more, other, size = t.bytes(b[at:])
			if size > 0 && nesting < maxTrees && mayBeBuilt(s.value) {
				groups = t.member(groups, number, len(m.fields), s.value, other, nesting)
			}
		case protowire.StartGroupType, protowire.EndGroupType:
			size = -1
		default:
			size = -1 // no type has this number
		}
		if size < 0 {
			return message{}, false
		}
		at += size
		saved += more
		s.number = int(number)
		m.fields = append(m.fields, s)
		m.saved += saved
		if loss = min(loss+saved, 0); loss < -lossBits {
			return message{}, false
		}
	}
	for _, g := range groups {
		if g.failed || g.saved < nestedBits || g.saved < g.other {
			continue
		}
		m.saved += g.saved - g.other
		for i, at := range g.at {
			m.fields[at].nested, m.fields[at].sub = true, g.subs[i].fields
		}
	}
	return m, true
}

// mayBeBuilt is true for values that are worth trying as a message: they are
// no text, or text with what no text has.
func mayBeBuilt(value []byte) bool {
	if len(value) < 2 {
		return false
	}
	text, plain := textual(value)
	return !text || !plain || value[0] == '\n'
}

// member tries a value as a message; other is what it saves otherwise. Values of one number are
// of one type, so they are judged together.
func (t *tree) member(groups []group, number protowire.Number, at int, value []byte, other float64, nesting int) []group {
	i := 0
	for i < len(groups) && groups[i].number != number {
		i++
	}
	const manyGroups = 64
	if i == len(groups) {
		if i == manyGroups {
			return groups
		}
		groups = append(groups, group{number: number})
	}
	g := &groups[i]
	if g.failed {
		return groups
	}
	m, ok := message{}, false
	if mayBeTag(value) {
		m, ok = t.message(value, nesting+1)
	}
	if !ok || m.saved < 0 {
		g.failed, g.subs, g.at = true, nil, nil
		return groups
	}
	g.at, g.subs = append(g.at, at), append(g.subs, m)
	g.saved += m.saved - costBuilt
	g.other += other
	return groups
}

// costOfNumber is what a field's number costs behind another, in bits: the
// same again, the next ones, or any.
func costOfNumber(number, before protowire.Number) float64 {
	n := float64(number)
	cost := 4.3 + 29.0
	if number < 1<<18 {
		cost = min(cost, 3.3+18)
	}
	if number < 1<<11 {
		cost = min(cost, 2+11)
	}
	switch step := n - float64(before); {
	case number == before:
		cost = min(cost, 2.3)
	case number > before:
		cost = min(cost, 1.5+math.Log2(step*(step+1)))
	default:
		cost = min(cost, 4.3+math.Log2(float64(before)))
	}
	return cost
}

// The shares of the wire types: 0.4 numbers, 0.45 bytes, 0.075 each of the
// fixed ones.
const (
	costVarint = 1.32
	costBytes  = 1.15
	costFixed  = 3.74
)

// varint reads a number. Enumerations and sizes are small; what is negative is
// written in ten bytes.
func varint(b []byte) (s span, saved float64, size int) {
	v, size := protowire.ConsumeVarint(b)
	if size < 0 || size != protowire.SizeVarint(v) {
		return span{}, 0, -1
	}
	magnitude, negative := v, int64(v) < 0 //nolint:gosec // The wire's two's complement is what is meant.
	if negative {
		magnitude = -v
	}
	s, cost := integer(magnitude, negative, size)
	return s, 8*float64(size) - cost - costVarint, size
}

func fixed64(b []byte) (s span, saved float64, size int) {
	v, size := protowire.ConsumeFixed64(b)
	if size < 0 {
		return span{}, 0, -1
	}
	if f := math.Float64frombits(v); plausibleFloat(f) && v != 0 {
		return float(f, size), 64 - 1 - math.Log2(60) - 53 - costFixed, size
	}
	s, cost := integer(v, false, size)
	return s, 64 - 1 - cost - costFixed, size
}

func fixed32(b []byte) (s span, saved float64, size int) {
	v, size := protowire.ConsumeFixed32(b)
	if size < 0 {
		return span{}, 0, -1
	}
	const fewBits = 16
	if v < 1<<fewBits {
		s, _ = integer(uint64(v), false, size)
		return s, 32 - 1 - fewBits - costFixed, size
	}
	// Small ones and times are no floats.
	if v < 1<<24 || v >= firstSecond && v < lastSecond {
		s, _ = integer(uint64(v), false, size)
		return s, -1 - costFixed, size
	}
	return float(float64(math.Float32frombits(v)), size), -1 - costFixed, size
}

// bytes reads a value that tells its length. other is the part of what it saves
// that comes from its content, when that is text or has a magic of its own.
func (t *tree) bytes(b []byte) (s span, saved, other float64, size int) {
	value, size := protowire.ConsumeBytes(b)
	if size < 0 {
		return span{}, 0, 0, -1
	}
	head := size - len(value)
	if head != protowire.SizeVarint(uint64(len(value))) || !t.p.look(len(value)) {
		return span{}, 0, 0, -1
	}
	saved = 8*float64(head) - costOfLength(len(value), head, len(b)-head) - costBytes
	s = span{value: value, raw: size}
	if len(value) == 0 {
		s.kind = KindEmpty
		return s, saved, 0, size
	}
	other = savedBy(value)
	return s, saved + other, other, size
}
