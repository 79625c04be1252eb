package canary

import (
	"bytes"
	"encoding/binary"
)

// The digits of a digest in text.
const (
	hexDigits    = 2 * digestBytes
	base64Digits = 11 // the last one tells four bits of the digest
	base64Window = 7  // and so does that of a window
)

// longRun is how many digits in a row are a blob, which payload opens, rather
// than a token or an address with something before it. In a blob a digest is
// looked for only where an encoder would have begun one.
const longRun = 1024

// base64Set are the digits of both alphabets (RFC 4648). A colon ends none of
// the runs that scanText looks at.
var base64Set = newDigitSet(func(values *[256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['+'], values['-'], values['/'], values['_'], values[':'] = 62, 62, 63, 63, separator
})

// hexSet are hex digits. A UUID has dashes between, and bytes are often written
// with colons.
var hexSet = newDigitSet(func(values *[256]byte) {
	for i := range byte(16) {
		values["0123456789abcdef"[i]], values["0123456789ABCDEF"[i]] = i, i
	}
	values['-'], values[':'] = separator, separator
})

// scanText looks for digests in hex and in base64.
func (d *digests) scanText(b []byte, found func(hit)) {
	for from, to := base64Set.next(b, 0, base64Digits); from < to; from, to = base64Set.next(b, to, base64Digits) {
		run := b[from:to]
		at, end := hexSet.next(run, 0, hexDigits)
		if all := end - at; all == len(run) && all > longRun {
			d.scanHex(b, from, to, found)
			continue // hex alone, and too long to be base64 by chance
		}
		for at < end {
			d.scanHex(b, from+at, from+end, found)
			at, end = hexSet.next(run, end, hexDigits)
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

// scanBase64Token asks of the seven characters from every first four of eight
// on: they are the first or the last five bytes of any digest.
func (d *digests) scanBase64Token(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	const looks = base64Digits - base64Window // and as many characters without
	i := from
	for ; i+base64Window+looks-1 <= to; i += 2 * looks {
		q := b[i : i+10 : i+10]
		v := fourBase64(q)<<24 | fourBase64(q[4:]) // eight characters
		w := v<<12 | uint64(base64Set.values[q[8]])<<6 | uint64(base64Set.values[q[9]])
		any := filter.maybe(lastDigestWindow(v >> 8))
		any |= filter.maybe(lastDigestWindow(v >> 2))
		any |= filter.maybe(lastDigestWindow(w >> 8))
		any |= filter.maybe(lastDigestWindow(w >> 2))
		if any != 0 {
			d.lookupBase64(b[:to], max(i-looks, from), i+looks, found)
		}
	}
	d.lookupBase64(b[:to], max(i-looks, from), to, found)
}

// lookupBase64 looks for the digests that begin in b[from:to] and end in b.
func (d *digests) lookupBase64(b []byte, from, to int, found func(hit)) {
	for to = min(to, len(b)-base64Digits+1); from < to; from++ {
		q := b[from : from+base64Digits]
		key := fourBase64(q)<<40 | fourBase64(q[4:])<<16 | fourBase64(q[7:])&0x3ffff>>2
		if d.filter.maybe(digestWindow(key)) != 0 {
			d.lookup(key, from, from+base64Digits, inBase64Form, found)
		}
	}
}

// fourBase64 are the 24 bits of four characters.
func fourBase64(q []byte) uint64 {
	q = q[:4:4]
	return uint64(base64Set.values[q[0]])<<18 | uint64(base64Set.values[q[1]])<<12 | uint64(base64Set.values[q[2]])<<6 | uint64(base64Set.values[q[3]])
}

// scanBase64Blob asks in every second group of four characters: it begins the
// first or the last five bytes of any digest.
func (d *digests) scanBase64Blob(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	key := func(at int) uint64 {
		return fourBase64(b[at:])<<40 | fourBase64(b[at+4:])<<16 | fourBase64(b[at+8:])>>8
	}
	i := from
	for ; i+12 <= to; i += 8 {
		q := b[i : i+8 : i+8]
		if filter.maybe(fourBase64(q)<<16|fourBase64(q[4:])>>8) == 0 {
			continue
		}
		if i > from {
			d.lookup(key(i-4), i-4, i-4+base64Digits, inBase64Form, found)
		}
		d.lookup(key(i), i, i+base64Digits, inBase64Form, found)
	}
	if i > from && i+8 <= to {
		d.lookup(key(i-4), i-4, i-4+base64Digits, inBase64Form, found)
	}
}

// scanHex asks of the ten digits from every first two of eight on: for a digest
// that begins at an even digit and for one that begins at an odd one they are one
// of its windows.
func (d *digests) scanHex(b []byte, from, to int, found func(hit)) {
	blob := to-from > longRun
	if blob && bytes.IndexByte(b[from:to], '-') < 0 && bytes.IndexByte(b[from:to], ':') < 0 {
		d.scanHexBlob(b, from, to, found)
		return
	}
	const (
		window = digestWindowBits / 4
		apart  = hexDigits - window
	)
	filter := d.filter
	var key uint64
	digits, until, odd := 0, 0, 0
	if blob {
		odd = 1 // only whole bytes
	}
	for i, c := range b[from:to] {
		value := hexSet.values[c]
		if value == separator {
			continue
		}
		digits++
		key = key<<4 | uint64(value)
		if (digits-window)&apart == 0 && filter.maybe(lastDigestWindow(key)) != 0 {
			until = digits + apart
		}
		if digits <= until && digits >= hexDigits && digits&odd == 0 {
			d.lookup(key, hexFrom(b, from+i), from+i+1, inHexForm, found)
		}
	}
}

// eightHex are the 32 bits of eight digits.
func eightHex(q []byte) uint64 {
	const (
		low    = 0x0f0f_0f0f_0f0f_0f0f
		letter = 0x0101_0101_0101_0101
	)
	v := binary.BigEndian.Uint64(q)
	v = v&low + v>>6&letter*9 // letters, and only they, have bit 6
	v = (v | v>>4) & 0x00ff_00ff_00ff_00ff
	v = (v | v>>8) & 0x0000_ffff_0000_ffff
	return (v | v>>16) & 0xffff_ffff
}

// scanHexBlob is scanHex for whole bytes without separators.
func (d *digests) scanHexBlob(b []byte, from, to int, found func(hit)) {
	filter := d.filter
	key := func(at int) uint64 { return eightHex(b[at:])<<32 | eightHex(b[at+8:]) }
	lookup := func(from, to int) {
		for at := from; at < to; at += 2 {
			d.lookup(key(at), at, at+hexDigits, inHexForm, found)
		}
	}
	i := from
	for ; i+hexDigits <= to; i += 8 {
		q := b[i : i+16 : i+16]
		if filter.maybe(digestWindow(eightHex(q)<<32|eightHex(q[8:]))) != 0 {
			lookup(max(i-6, from), i+2)
		}
	}
	if i > from {
		lookup(i-6, to-hexDigits+1)
	}
}

// hexFrom is where the digits of a digest began that end at b[i].
func hexFrom(b []byte, i int) int {
	for n := 0; ; i-- {
		if hexSet.values[b[i]] != separator {
			n++
		}
		if n == hexDigits {
			return i
		}
	}
}
