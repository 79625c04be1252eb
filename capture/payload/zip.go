package payload

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math"

	"github.com/klauspost/compress/flate"
)

// The parts of a ZIP archive (PKWARE's APPNOTE.TXT, section 4.3).
const (
	zipLocal   = "PK\x03\x04"
	zipData    = "PK\x07\x08"
	zipCentral = "PK\x01\x02"
	zipEnd     = "PK\x05\x06"

	zipLocalHead   = 30
	zipCentralHead = 46
	zipEndHead     = 22

	zipEncrypted  = 1
	zipDescriptor = 8
)

// isZip is true for bytes that begin with a file of an archive.
func isZip(b []byte) bool {
	const newest = 63 // the version of the format that is needed to read it, times ten
	return len(b) >= zipLocalHead && string(b[:4]) == zipLocal && b[4] <= newest && b[5] == 0
}

// A zipEntry is one file of an archive, as its own header describes it.
type zipEntry struct {
	name, extra, data []byte
	flags, method     uint16
	crc               uint32
	size              int // with header and descriptor
	missing           int // what the capture ended before
}

// zip opens an archive from its first byte to its last, file by file. The
// directory at the end is not trusted to say where files are: so an archive
// that was captured in part is read as far as it goes, files that overlap cost
// no more than their bytes, and no byte between files is lost.
func (p *peeler) zip(n *Node, depth int) bool {
	if !isZip(n.Value) {
		return false
	}
	b := n.Value
	names := map[string]bool{}
	for isZip(b) {
		if p.spent() {
			n.Children = append(n.Children, p.cut("zip-rest", len(b)))
			return true
		}
		entry, ok := p.zipEntry(b)
		if !ok {
			break
		}
		names[string(entry.name)] = true
		p.zipFile(n, entry, depth)
		b = b[entry.size:]
		if entry.missing > 0 {
			n.Children = append(n.Children, p.cut("zip-rest", entry.missing))
		}
	}
	if len(names) == 0 {
		return false
	}
	b = p.zipDirectory(n, b, names, depth)
	if len(b) > 0 {
		n.Children = append(n.Children, p.peel("zip-trailer", b, depth+1))
	}
	return true
}

// zipEntry reads a file's header and finds its end.
func (p *peeler) zipEntry(b []byte) (zipEntry, bool) {
	e := zipEntry{
		flags: binary.LittleEndian.Uint16(b[6:]), method: binary.LittleEndian.Uint16(b[8:]),
		crc: binary.LittleEndian.Uint32(b[14:]),
	}
	packed := uint64(binary.LittleEndian.Uint32(b[18:]))
	nameEnd := zipLocalHead + int(binary.LittleEndian.Uint16(b[26:]))
	at := nameEnd + int(binary.LittleEndian.Uint16(b[28:]))
	if at > len(b) {
		return zipEntry{}, false
	}
	e.name, e.extra = b[zipLocalHead:nameEnd], b[nameEnd:at]
	if e.flags&zipDescriptor == 0 {
		const inExtra = 0xffffffff
		if packed == inExtra {
			packed = zip64Size(e.extra)
		}
		if left := uint64(len(b) - at); packed > left { //nolint:gosec // at is within b.
			e.missing = int(min(packed-left, math.MaxInt32)) //nolint:gosec // Below 2^31.
			packed = left
		}
		e.data = b[at : at+int(packed)] //nolint:gosec // At most what is left.
		e.size = at + int(packed)       //nolint:gosec // As above.
		return e, true
	}
	// Size and sum stand behind the data: their mark is where it ends.
	for from := at; ; {
		i := bytes.Index(b[from:], []byte(zipData))
		if i < 0 {
			break
		}
		from += i
		if end, ok := descriptorEnd(b, at, from); ok {
			e.crc = binary.LittleEndian.Uint32(b[from+4:])
			e.data, e.size = b[at:from], end
			return e, true
		}
		from++
	}
	e.data, e.size = b[at:], len(b)
	return e, true
}

// descriptorEnd returns the end of a descriptor at from, if it tells the size
// of the data between at and from, in four bytes or in eight.
func descriptorEnd(b []byte, at, from int) (int, bool) {
	size := uint64(from - at) //nolint:gosec // from is behind at.
	if len(b) >= from+16 && uint64(binary.LittleEndian.Uint32(b[from+8:])) == size {
		return from + 16, true
	}
	if len(b) >= from+24 && binary.LittleEndian.Uint64(b[from+8:]) == size {
		return from + 24, true
	}
	return 0, false
}

// zipExtra walks the extra fields of a header, and is false when they are none.
func zipExtra(extra []byte, field func(id uint16, value []byte)) bool {
	for len(extra) >= 4 {
		id, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if size > len(extra)-4 {
			return false
		}
		field(id, extra[4:4+size])
		extra = extra[4+size:]
	}
	return len(bytes.Trim(extra, "\x00")) == 0
}

// zip64Size is the packed size that stands in the extra field of large files.
func zip64Size(extra []byte) (size uint64) {
	zipExtra(extra, func(id uint16, value []byte) {
		if id == 1 && len(value) >= 16 {
			size = binary.LittleEndian.Uint64(value[8:])
		}
	})
	return size
}

// plainExtra is true for extra fields that hold times, owners and sizes of the
// lengths and values that these have.
func plainExtra(extra []byte) bool {
	plain := true
	return zipExtra(extra, func(id uint16, value []byte) {
		most := map[uint16]int{
			0x5455: 13, // Unix times
			0x5855: 12,
			0x7855: 4, // Unix owners
			0x7875: 11,
			0xcafe: 0, // "this is a jar"
			0xd935: 2, // Android's alignment, which may be padded with zeros
		}
		limit, known := most[id]
		switch id {
		case 1:
			plain = plain && plainSizes(value)
		case 0x000a:
			plain = plain && plainTimes(value)
		default:
			plain = plain && known && len(bytes.TrimRight(value, "\x00")) <= limit
		}
	}) && plain
}

// plainSizes is true for sizes and places of eight bytes, with the number of a
// disk behind them.
func plainSizes(value []byte) bool {
	for ; len(value) >= 8; value = value[8:] {
		if binary.LittleEndian.Uint64(value) >= 1<<48 {
			return false
		}
	}
	return len(value) == 0 || len(value) == 4 && binary.LittleEndian.Uint32(value) < 1<<8
}

// plainTimes is true for the three times of NTFS, which count tenths of
// microseconds since 1601, from 1980 to 2100.
func plainTimes(value []byte) bool {
	const first, last, length = 119_600_064_000_000_000, 157_800_000_000_000_000, 32
	if len(value) != length || binary.LittleEndian.Uint32(value) != 0 || binary.LittleEndian.Uint32(value[4:]) != 24<<16|1 {
		return false
	}
	for at := 8; at < length; at += 8 {
		if n := binary.LittleEndian.Uint64(value[at:]); n != 0 && (n < first || n > last) {
			return false
		}
	}
	return true
}

func (p *peeler) zipFile(n *Node, e zipEntry, depth int) {
	if !isPlainName(e.name) {
		n.Children = append(n.Children, p.peel("zip-name", e.name, depth+1))
	}
	if len(e.extra) > 0 && !plainExtra(e.extra) {
		n.Children = append(n.Children, p.peel("zip-extra", e.extra, depth+1))
	}
	if e.method == 0 && e.missing == 0 && e.flags&(zipEncrypted|zipDescriptor) == 0 && crc32.ChecksumIEEE(e.data) != e.crc {
		sum := p.node("zip-sum", binary.LittleEndian.AppendUint32(nil, e.crc)) // That of something else.
		sum.Kind = KindOpaque
		n.Children = append(n.Children, sum)
	}
	step := "zip:?"
	if isText(e.name) {
		step = "zip:" + stepName(e.name)
	}
	switch {
	case e.flags&zipEncrypted != 0:
		child := p.node(step, e.data)
		child.Kind = KindOpaque
		if len(e.data) == 0 {
			child.Kind = KindEmpty
		}
		n.Children = append(n.Children, child)
	case e.method == 8:
		out, ok := p.unzip(e)
		if !ok {
			n.Children = append(n.Children, p.peel(step, e.data, depth+1))
			return
		}
		child := p.node(step, e.data)
		p.attach(child, out, func(name string, content []byte) *Node { return p.peel(name, content, depth+2) })
		n.Children = append(n.Children, child)
	default:
		n.Children = append(n.Children, p.peel(step, e.data, depth+1))
	}
}

// unzip inflates a file. One whose sum does not fit is cut: what came out may
// not be what was put in.
func (p *peeler) unzip(e zipEntry) (inflated, bool) {
	out, ok := p.read("deflate", e.data, func(in *bytes.Reader) (io.Reader, error) { return flate.NewReader(in), nil })
	if ok && !out.cut && crc32.ChecksumIEEE(out.content) != e.crc {
		out.cut, out.rest = true, e.data
	}
	return out, ok
}

// zipDirectory reads the directory and the end of an archive: of what they say
// only comments, unusual fields and names that no file had are new. It returns
// what follows.
func (p *peeler) zipDirectory(n *Node, b []byte, names map[string]bool, depth int) []byte {
	add := func(step string, value []byte) {
		if len(value) > 0 {
			n.Children = append(n.Children, p.peel(step, value, depth+1))
		}
	}
	for len(b) >= zipCentralHead && string(b[:4]) == zipCentral && !p.spent() {
		nameEnd := zipCentralHead + int(binary.LittleEndian.Uint16(b[28:]))
		extraEnd := nameEnd + int(binary.LittleEndian.Uint16(b[30:]))
		end := extraEnd + int(binary.LittleEndian.Uint16(b[32:]))
		if end > len(b) {
			return b
		}
		if name := b[zipCentralHead:nameEnd]; !names[string(name)] {
			add("zip-name", name)
		}
		if extra := b[nameEnd:extraEnd]; !plainExtra(extra) {
			add("zip-extra", extra)
		}
		add("zip-comment", b[extraEnd:end])
		b = b[end:]
	}
	if len(b) >= zipEndHead && string(b[:4]) == zipEnd {
		end := zipEndHead + int(binary.LittleEndian.Uint16(b[20:]))
		if end > len(b) {
			return b
		}
		add("zip-comment", b[zipEndHead:end])
		b = b[end:]
	}
	return b
}
