package dissect

import (
	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture"
)

// entryOverhead is what an entry of a table of fields counts beside its name and
// value (RFC 9204, section 3.2.1).
const entryOverhead = 32

// maxQPACKFields bounds the fields of one header, which may each be one byte.
const maxQPACKFields = 1 << 14

// A qpackTable is the dynamic table of one side's header compression (RFC 9204),
// as the instructions on its encoder stream have made it.
type qpackTable struct {
	entries  []capture.Header // the oldest is the first
	dropped  uint64           // entries that came before them
	size     int
	capacity int
	// limit is the capacity that the other side allows; known once its settings
	// were read.
	limit   uint64
	settled bool
	buf     []byte // an incomplete instruction
	broken  bool   // nothing that follows can be applied
}

// inserted counts the entries that there ever were.
func (t *qpackTable) inserted() uint64 { return t.dropped + uint64(len(t.entries)) }

// at is the entry of an absolute index.
func (t *qpackTable) at(i uint64) (capture.Header, bool) {
	if i < t.dropped || i >= t.inserted() {
		return capture.Header{}, false
	}
	return t.entries[i-t.dropped], true
}

// back is the entry that lies n before an absolute index.
func (t *qpackTable) back(from, n uint64) (capture.Header, bool) {
	if n >= from {
		return capture.Header{}, false
	}
	return t.at(from - 1 - n)
}

func (t *qpackTable) insert(h capture.Header) bool {
	n := len(h.Name) + len(h.Value) + entryOverhead
	if n > t.capacity {
		return false
	}
	t.evict(t.capacity - n)
	t.entries = append(t.entries, h)
	t.size += n
	return true
}

// evict drops the oldest entries until the table is no larger than size.
func (t *qpackTable) evict(size int) {
	n := 0
	for ; t.size > size; n++ {
		h := t.entries[n]
		t.size -= len(h.Name) + len(h.Value) + entryOverhead
	}
	if n > 0 {
		t.dropped += uint64(n)
		t.entries = t.entries[n:]
	}
}

// instructions takes bytes of the encoder stream. It returns false when they can
// be followed no further.
func (t *qpackTable) instructions(b []byte) bool {
	if t.broken {
		return false
	}
	t.buf = append(t.buf, b...)
	read := 0
	for read < len(t.buf) {
		f := qpackFields{fields: fields{t.buf[read:], true}}
		ok := t.instruction(&f)
		if !f.ok && !f.bad && len(t.buf)-read <= maxBlock {
			break // The rest has not come yet.
		}
		if !ok || !f.ok || f.bad {
			t.broken = true
			return false
		}
		read = len(t.buf) - len(f.b)
	}
	if read > 0 {
		t.buf = append([]byte(nil), t.buf[read:]...)
	}
	return true
}

// instruction applies one instruction. f.ok is false when it is incomplete.
func (t *qpackTable) instruction(f *qpackFields) bool {
	var h capture.Header
	ok := true
	switch first := f.b[0]; {
	case first&0x80 != 0: // insert with the name of another entry
		n := f.prefixed(6)
		if first&0x40 != 0 {
			h, ok = qpackStatic(n)
		} else {
			h, ok = t.back(t.inserted(), n)
		}
		h.Value = f.text(7)
	case first&0x40 != 0: // insert with a name of its own
		h.Name = f.text(5)
		h.Value = f.text(7)
	case first&0x20 != 0: // set the capacity
		n := f.prefixed(5)
		if !f.ok {
			return true
		}
		if n > maxTable {
			return false
		}
		t.capacity = int(n) // #nosec G115 -- bounded
		t.evict(t.capacity)
		return true
	default: // once more
		h, ok = t.back(t.inserted(), f.prefixed(5))
	}
	if !f.ok {
		return true
	}
	return ok && !f.bad && t.insert(h)
}

// required is how many entries a header needs (RFC 9204, section 4.5.1.1), of
// which the encoded form is n.
func (t *qpackTable) required(n uint64) (uint64, bool) {
	if n == 0 {
		return 0, true
	}
	most := t.limit / entryOverhead
	if most == 0 || n > 2*most {
		return 0, false
	}
	highest := t.inserted() + most
	need := highest/(2*most)*(2*most) + n - 1
	if need > highest {
		if need <= 2*most {
			return 0, false
		}
		need -= 2 * most
	}
	return need, need > 0
}

// A qpackAnswer is what became of a header.
type qpackAnswer uint8

const (
	qpackRead    qpackAnswer = iota
	qpackWaits               // entries that it needs have not come
	qpackUnread              // it cannot be read
	qpackPartial             // it has more fields than are kept
)

// header decodes the header of one message. Where it waits, need is how many
// entries it waits for, 0 for the settings.
func (t *qpackTable) header(b []byte) (all []capture.Header, need uint64, answer qpackAnswer) {
	f := qpackFields{fields: fields{b, true}}
	encoded := f.prefixed(8)
	if len(f.b) == 0 {
		return nil, 0, qpackUnread
	}
	negative := f.b[0]&0x80 != 0
	delta := f.prefixed(7)
	if !f.ok {
		return nil, 0, qpackUnread
	}
	if encoded > 0 && !t.settled {
		return nil, 0, qpackWaits
	}
	need, ok := t.required(encoded)
	if !ok {
		return nil, 0, qpackUnread
	}
	if need > t.inserted() {
		if t.broken {
			return nil, need, qpackUnread
		}
		return nil, need, qpackWaits
	}
	base := need + delta
	switch {
	case negative && delta < need:
		base = need - delta - 1
	case negative && need > 0:
		return nil, 0, qpackUnread
	case negative:
		base = 0 // which no field of such a header uses
	}
	size := 0
	for len(f.b) > 0 {
		h, ok := t.field(&f, base)
		if !ok || !f.ok || f.bad {
			return all, need, qpackUnread
		}
		if size += len(h.Name) + len(h.Value); size > maxBlock || len(all) >= maxQPACKFields {
			return all, need, qpackPartial
		}
		all = append(all, h)
	}
	return all, need, qpackRead
}

// field decodes one field of a header.
func (t *qpackTable) field(f *qpackFields, base uint64) (h capture.Header, ok bool) {
	switch first := f.b[0]; {
	case first&0x80 != 0: // an entry
		n := f.prefixed(6)
		if first&0x40 != 0 {
			return qpackStatic(n)
		}
		return t.back(base, n)
	case first&0x40 != 0: // the name of an entry
		if n := f.prefixed(4); first&0x10 != 0 {
			h, ok = qpackStatic(n)
		} else {
			h, ok = t.back(base, n)
		}
	case first&0x20 != 0: // a name of its own
		h.Name, ok = f.text(3), true
	case first&0x10 != 0: // an entry that came after the base
		return t.at(base + f.prefixed(4))
	default: // the name of such an entry
		h, ok = t.at(base + f.prefixed(3))
	}
	h.Value = f.text(7)
	return h, ok
}

// qpackFields reads the numbers and texts of RFC 9204, section 4.1.
type qpackFields struct {
	fields
	bad bool // what was read is no such number or text
}

// prefixed reads a number of which the first bits stand in the lowest n of a byte.
func (f *qpackFields) prefixed(n int) uint64 {
	first := f.take(1)
	if !f.ok {
		return 0
	}
	most := uint64(1)<<n - 1
	v := uint64(first[0]) & most
	if v < most {
		return v
	}
	for shift := 0; ; shift += 7 {
		next := f.take(1)
		if !f.ok {
			return 0
		}
		if shift > 56 {
			f.bad = true // No such number is meant.
			return 0
		}
		v += uint64(next[0]&0x7f) << shift
		if next[0]&0x80 == 0 {
			return v
		}
	}
}

// text reads a string of which the length begins in the lowest n bits of a byte,
// behind a bit that says whether it is compressed.
func (f *qpackFields) text(n int) string {
	if !f.ok || len(f.b) == 0 {
		f.ok = false
		return ""
	}
	packed := f.b[0]>>n&1 != 0
	size := f.prefixed(n)
	if size > maxField {
		f.bad = true
		return ""
	}
	b := f.take(int(size)) // #nosec G115 -- bounded
	if !packed || !f.ok {
		return string(b)
	}
	s, err := hpack.HuffmanDecodeToString(b)
	if err != nil {
		f.bad = true
	}
	return s
}
