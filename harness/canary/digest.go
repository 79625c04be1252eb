package canary

import (
	"bytes"
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
	// filter says maybe; starts is the first of all in each of equal parts of
	// the keys' range, in which hashes are spread evenly.
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
	d.filter = newFilter(size)
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
		d.filter.add(d.all[i].key)
	}
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
	filter := d.filter
	i := 0
	for i+16 <= len(b) {
		q := b[i : i+16 : i+16]
		if (binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:]))&highBits == 0 {
			i += 8
			continue
		}
		v0, v1 := binary.BigEndian.Uint64(q), binary.BigEndian.Uint64(q[1:])
		v2, v3 := binary.BigEndian.Uint64(q[2:]), binary.BigEndian.Uint64(q[3:])
		if filter.maybe(v0)|filter.maybe(v1)|filter.maybe(v2)|filter.maybe(v3) != 0 {
			for n, key := range [...]uint64{v0, v1, v2, v3} {
				d.lookup(key, i+n, i+n+digestBytes, inRawForm, found)
			}
		}
		i += 4
	}
	for ; i+digestBytes <= len(b); i++ {
		d.lookup(binary.BigEndian.Uint64(b[i:]), i, i+digestBytes, inRawForm, found)
	}
}

// The digits of a digest in text.
const (
	hexDigits    = 2 * digestBytes
	base64Digits = 11 // the last one tells four bits of the digest
)

// longRun is how many digits in a row are a blob, which payload opens, rather
// than a token or an address with something before it. In a blob a digest is
// looked for only where an encoder would have begun one.
const longRun = 1024

// Values of characters that are no digits; a separator may stand between two.
const (
	noDigit   = 0xff
	separator = 0x80
)

// base64Values are the digits of both alphabets (RFC 4648). A colon ends none
// of the runs that scanText looks at.
var base64Values = func() (values [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range values {
		values[i] = noDigit
	}
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['+'], values['-'], values['/'], values['_'], values[':'] = 62, 62, 63, 63, separator
	return values
}()

// hexValues are hex digits. A UUID has dashes between, and bytes are often
// written with colons.
var hexValues = func() (values [256]byte) {
	for i := range values {
		values[i] = noDigit
	}
	for i := range byte(16) {
		values["0123456789abcdef"[i]], values["0123456789ABCDEF"[i]] = i, i
	}
	values['-'], values[':'] = separator, separator
	return values
}()

// nextRun returns the next stretch of at least shortest digits and separators
// from i on; from is len(b) when there is none. It looks at the last place that
// a run would have first, and so passes over most of a text.
func nextRun(b []byte, i int, values *[256]byte, shortest int) (from, to int) {
	for end := i + shortest - 1; end < len(b); {
		at := end
		for at >= i && values[b[at]] != noDigit {
			at--
		}
		if at >= i {
			i = at + 1
			end = at + shortest
			continue
		}
		to = end + 1
		for to < len(b) && values[b[to]] != noDigit {
			to++
		}
		return i, to
	}
	return len(b), len(b)
}

// scanText looks for digests in hex and in base64.
func (d *digests) scanText(b []byte, found func(hit)) {
	for from, to := nextRun(b, 0, &base64Values, base64Digits); from < to; from, to = nextRun(b, to, &base64Values, base64Digits) {
		run := b[from:to]
		at, end := nextRun(run, 0, &hexValues, hexDigits)
		if all := end - at; all == len(run) && all > longRun {
			d.scanHex(b, from, to, found)
			continue // hex alone, and too long to be base64 by chance
		}
		for at < end {
			d.scanHex(b, from+at, from+end, found)
			at, end = nextRun(run, end, &hexValues, hexDigits)
		}
		for from < to {
			end := to
			if colon := bytes.IndexByte(b[from:to], ':'); colon >= 0 {
				end = from + colon
			}
			switch {
			case end-from > longRun:
				d.scanBase64Blob(b, from, end, found)
			case end-from >= base64Digits:
				d.scanBase64Token(b, from, end, found)
			}
			from = end + 1
		}
	}
}

func (d *digests) scanBase64Token(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	var before uint64 // the last ten characters
	for _, c := range b[from : from+base64Digits-1] {
		before = before<<6 | uint64(base64Values[c])
	}
	for i, c := range b[from+base64Digits-1 : to] {
		value := uint64(base64Values[c])
		key := before<<4 | value>>2
		before = before<<6 | value
		if filter.maybe(key) != 0 {
			d.lookup(key, from+i, from+i+base64Digits, inBase64Form, found)
		}
	}
}

func (d *digests) scanBase64Blob(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	four := func(q []byte) uint64 {
		q = q[:4:4]
		return uint64(base64Values[q[0]])<<18 | uint64(base64Values[q[1]])<<12 | uint64(base64Values[q[2]])<<6 | uint64(base64Values[q[3]])
	}
	first, second := four(b[from:]), four(b[from+4:])
	for i := from + 8; i+4 <= to; i += 4 {
		third := four(b[i:])
		key := first<<40 | second<<16 | third>>8
		if filter.maybe(key) != 0 {
			d.lookup(key, i-8, i+3, inBase64Form, found)
		}
		first, second = second, third
	}
}

func (d *digests) scanHex(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	var key uint64
	digits, odd := 0, 0
	if to-from > longRun {
		odd = 1 // only whole bytes
	}
	for i, c := range b[from:to] {
		value := hexValues[c]
		if value == separator {
			continue
		}
		digits++
		key = key<<4 | uint64(value)
		if digits&odd != 0 || digits < hexDigits {
			continue
		}
		if filter.maybe(key) != 0 {
			d.lookup(key, hexFrom(b, from+i), from+i+1, inHexForm, found)
		}
	}
}

// hexFrom is where the digits of a digest began that end at b[i].
func hexFrom(b []byte, i int) int {
	for n := 0; ; i-- {
		if hexValues[b[i]] != separator {
			n++
		}
		if n == hexDigits {
			return i
		}
	}
}
