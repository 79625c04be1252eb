package canary

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// A digest is a hash of a canary by its first eight bytes. Sixteen bytes each,
// because there are hundreds for one canary.
type digest struct {
	key    uint64 // big-endian
	canary int32
	form   uint16
	chars  uint8
}

// digestForm is a form's name in each encoding.
type digestForm struct{ hex, raw, base64 string }

// digests finds hashes in hex, in base64 and as raw bytes by one table: what is
// read at each place is the eight bytes that the text there stands for.
//
// Each digest is in the filter by its four windows of five bytes, so that the
// filter need be asked at every fourth byte only; where it says maybe, each place
// of which that may be a window is looked up.
type digests struct {
	forms []digestForm
	names map[string]uint16
	all   []digest // by key
	// filter says maybe of a window; starts is the first of all in each of equal
	// parts of the keys' range, in which hashes are spread evenly.
	filter filter
	starts []uint32
	part   uint
}

// form returns the number of a form; fixed names are the same in every
// encoding.
func (d *digests) form(name string, fixed bool) uint16 {
	if n, ok := d.names[name]; ok {
		return n
	}
	if d.names == nil {
		d.names = map[string]uint16{}
	}
	f := digestForm{name, name, name}
	if !fixed {
		f = digestForm{name + "-hex", name + "-raw", name + "-base64"}
	}
	n := uint16(len(d.forms)) //nolint:gosec // A few for each salt's name.
	d.forms = append(d.forms, f)
	d.names[name] = n
	return n
}

func (d *digests) add(x digest) { d.all = append(d.all, x) }

// build makes the table of what was added.
func (d *digests) build() {
	slices.SortFunc(d.all, func(a, b digest) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.canary, b.canary), cmp.Compare(a.form, b.form))
	})
	d.all = slices.CompactFunc(d.all, func(a, b digest) bool { return a.key == b.key && a.canary == b.canary && a.form == b.form })
	d.all = slices.Clip(d.all)
	size := bits.Len(uint(len(d.all)))
	d.filter = newFilter(size + bits.Len(digestStride-1))
	d.part = uint(64 - size) //nolint:gosec // Memory bounds size far below 64.
	d.starts = make([]uint32, 1<<size+1)
	at := 0
	for i := range d.starts {
		for at < len(d.all) && d.all[at].key>>d.part < uint64(i) { //nolint:gosec // An index.
			at++
		}
		d.starts[i] = uint32(at) //nolint:gosec // Memory bounds the number of digests far below.
	}
	for i := range d.all {
		for before := range digestStride {
			d.filter.add(digestWindow(d.all[i].key << (8 * before)))
		}
	}
}

// A window of a digest is five bytes of it, and there are as many as places
// between two looks.
const (
	digestStride     = 4
	digestWindowBits = 8 * (digestBytes - digestStride + 1)
)

// digestWindow is the first window of eight bytes.
func digestWindow(v uint64) uint64 { return v >> (64 - digestWindowBits) }

// lastDigestWindow is the window that ends where v does.
func lastDigestWindow(v uint64) uint64 { return v & (1<<digestWindowBits - 1) }

// lookup hands over every digest with this key.
func (d *digests) lookup(key uint64, from, to int, name func(*digestForm) string, found func(hit)) {
	part := key >> d.part
	for _, x := range d.all[d.starts[part]:d.starts[part+1]] {
		if x.key == key {
			found(hit{canary: x.canary, form: name(&d.forms[x.form]), chars: int(x.chars), from: from, to: to})
		}
	}
}

func inHexForm(f *digestForm) string    { return f.hex }
func inRawForm(f *digestForm) string    { return f.raw }
func inBase64Form(f *digestForm) string { return f.base64 }

// highBits are set in a byte beyond ASCII.
const highBits = 0x8080_8080_8080_8080

// asciiPatterns are the patterns of those few digests that text can hold as
// they are.
func (d *digests) asciiPatterns() []pattern {
	var out []pattern
	for _, x := range d.all {
		if x.key&highBits == 0 {
			key := binary.BigEndian.AppendUint64(nil, x.key)
			out = append(out, pattern{kind: kindKey, form: d.forms[x.form].raw, canary: x.canary, chars: x.chars, key: key})
		}
	}
	return out
}

// scanRaw looks for digests as they are, but for those that are all ASCII.
func (d *digests) scanRaw(b []byte, found func(hit)) {
	const (
		before = digestStride - 1 // a window's digest may begin as much earlier
		block  = 4 * digestStride
		after  = block - digestStride + digestBytes // the last one ends
	)
	filter := d.filter
	i := before
	for ; i+after <= len(b); i += block {
		q := b[i-before : i+after : i+after]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[7:])|binary.LittleEndian.Uint64(q[15:]))&highBits == 0 {
			continue
		}
		m0 := filter.maybe(digestWindow(binary.BigEndian.Uint64(q[3:])))
		m1 := filter.maybe(digestWindow(binary.BigEndian.Uint64(q[7:])))
		m2 := filter.maybe(digestWindow(binary.BigEndian.Uint64(q[11:])))
		m3 := filter.maybe(digestWindow(binary.BigEndian.Uint64(q[15:])))
		if m0|m1|m2|m3 != 0 {
			d.lookupRaw(b, i-before, i-before+block, found)
		}
	}
	d.lookupRaw(b, i-before, len(b)-digestBytes+1, found)
}

// lookupRaw looks for the digests that begin in b[from:to].
func (d *digests) lookupRaw(b []byte, from, to int, found func(hit)) {
	for i := from; i < to; i++ {
		if key := binary.BigEndian.Uint64(b[i:]); d.filter.maybe(digestWindow(key)) != 0 {
			d.lookup(key, i, i+digestBytes, inRawForm, found)
		}
	}
}
