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
type digests struct {
	forms []digestForm
	names map[string]uint16
	all   []digest // by key
	// bitmap says maybe; starts is the first of all in each of equal parts of
	// the keys' range, in which hashes are spread evenly.
	bitmap []uint64
	shift  uint
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
	size := bits.Len(uint(len(d.all))) //nolint:gosec // A count.
	d.bitmap, d.shift = newBitmap(size)
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
		h := d.all[i].key * multiplier >> d.shift
		d.bitmap[h>>6] |= 1 << (h & 63)
	}
}

// maybe is false for a key that is surely none.
func (d *digests) maybe(key uint64) bool {
	h := key * multiplier >> d.shift
	return d.bitmap[h>>6]&(1<<(h&63)) != 0
}

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

// scanRaw looks for digests as they are.
func (d *digests) scanRaw(b []byte, found func(hit)) {
	for i := 0; i+digestBytes <= len(b); i++ {
		if key := binary.BigEndian.Uint64(b[i:]); d.maybe(key) {
			d.lookup(key, i, i+digestBytes, inRawForm, found)
		}
	}
}

// The digits of a digest in text.
const (
	hexDigits    = 2 * digestBytes
	base64Digits = 11 // the last one tells four bits of the digest
)

// A class says what a character does to the digits gathered so far.
type class struct {
	// hexMask and base64Mask end a run where they are zero.
	hexMask, base64Mask uint8
	// hexCount and hexShift are 1 and 4 for a digit, 0 for a mark between digits.
	hexCount, hexShift uint8
	hexValue           uint8
	base64Value        uint8
}

var classes = func() (table [256]class) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		table[alphabet[i]].base64Mask, table[alphabet[i]].base64Value = 0xff, uint8(i) //nolint:gosec // At most 61.
	}
	for _, m := range []struct {
		c byte
		v uint8
	}{{'+', 62}, {'-', 62}, {'/', 63}, {'_', 63}} {
		table[m.c].base64Mask, table[m.c].base64Value = 0xff, m.v
	}
	for i := range uint8(16) {
		for _, c := range []byte{"0123456789abcdef"[i], "0123456789ABCDEF"[i]} {
			table[c].hexMask, table[c].hexCount, table[c].hexShift, table[c].hexValue = 0xff, 1, 4, i
		}
	}
	// A UUID has dashes, and bytes are often written with colons between.
	for _, c := range []byte{'-', ':'} {
		table[c].hexMask = 0xff
	}
	return table
}()

// scanText looks for digests in hex and in base64, in one pass over the text.
func (d *digests) scanText(b []byte, found func(hit)) {
	var hexKey, base64Key uint64
	var hexRun, base64Run uint8
	for i, c := range b {
		k := &classes[c]
		hexRun = (hexRun + k.hexCount) & k.hexMask
		hexKey = hexKey<<(k.hexShift&7) | uint64(k.hexValue)
		base64Run = (base64Run + 1) & k.base64Mask
		// The first ten characters and four bits of the last.
		key := base64Key<<4 | uint64(k.base64Value>>2)
		base64Key = base64Key<<6 | uint64(k.base64Value)
		if base64Run >= base64Digits {
			base64Run = base64Digits
			if d.maybe(key) {
				d.lookup(key, i+1-base64Digits, i+1, inBase64Form, found)
			}
		}
		if hexRun >= hexDigits && k.hexCount != 0 {
			hexRun = hexDigits
			if d.maybe(hexKey) {
				d.lookup(hexKey, hexFrom(b, i), i+1, inHexForm, found)
			}
		}
	}
}

// hexFrom is where the digits of a digest began that end at b[i].
func hexFrom(b []byte, i int) int {
	for n := 0; ; i-- {
		if n += int(classes[b[i]].hexCount); n == hexDigits {
			return i
		}
	}
}
