package dissect

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"unicode/utf8"
)

// PCAPdroid's extension of a packet: a frame header of zeros but for its type,
// the packet, zeros up to a multiple of four, and a trailer that says whose
// packet it is.
const (
	trailerLen   = 32
	trailerMagic = 0x01072021
	trailerName  = 8  // where the app's name begins in the trailer
	trailerCheck = 28 // where the checksum of all before it does
)

// An owner is the Android user whose packet it is, with the label of its app.
type owner struct {
	known bool
	uid   int
	name  string
	// torn is true where two said that they own the same conversation. Then
	// nobody is believed.
	torn bool
}

// merge adds what another packet of the same conversation says.
func (o *owner) merge(more owner) {
	switch {
	case o.torn || !more.known && !more.torn:
	case more.torn || o.known && o.uid != more.uid:
		*o = owner{torn: true}
	case !o.known:
		*o = more
	case o.name == "":
		o.name = more.name
	}
}

// untail takes PCAPdroid's trailer, and the zeros that it stands behind, from an
// Ethernet frame, and says whose packet it is. wire is the frame's length before
// the capture cut it. A frame without the trailer stays as it is.
//
// The trailer lies behind the packet, where no sender can write: within the
// length that the packet claims it is believed only where a capture was asked to
// cut packets short, and everywhere only with the right checksum and with the
// addresses that no frame of a wire has.
func untail(b []byte, wire int) ([]byte, owner) {
	end := len(b) - trailerLen
	if end < 14 || len(b)%4 != 0 || binary.BigEndian.Uint32(b[end:]) != trailerMagic {
		return b, owner{}
	}
	if [12]byte(b[:12]) != ([12]byte{}) {
		return b, owner{}
	}
	kind := binary.BigEndian.Uint16(b[12:])
	if kind != etherIPv4 && kind != etherIPv6 {
		return b, owner{}
	}
	packet := claimed(b[14:end])
	switch {
	case packet <= end-14:
		if end-14-packet > 3 {
			return b, owner{}
		}
	case wire <= len(b):
		return b, owner{}
	default:
		packet = end - 14
	}
	t := b[end:]
	if crc32.ChecksumIEEE(b[:end+trailerCheck]) != binary.LittleEndian.Uint32(t[trailerCheck:]) {
		return b, owner{}
	}
	o := owner{}
	// Negative numbers are what the app writes when it does not know.
	if uid := int32(binary.BigEndian.Uint32(t[4:])); uid >= 0 { //nolint:gosec // The field is signed.
		o = owner{known: true, uid: int(uid), name: label(t[trailerName:trailerCheck])}
	}
	return b[:14+packet], o
}

// claimed is how long the packet at the beginning of b says that it is, as far as
// its header can be read.
func claimed(b []byte) int {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return int(binary.BigEndian.Uint16(b[2:]))
	case len(b) >= 40 && b[0]>>4 == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	return len(b)
}

// label is the text of a field that zeros fill up. A character that the field's
// end cut in two is left out.
func label(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	for n := 0; n < utf8.UTFMax-1 && len(b) > 0; n++ {
		if r, size := utf8.DecodeLastRune(b); r != utf8.RuneError || size != 1 {
			break
		}
		b = b[:len(b)-1]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
}
