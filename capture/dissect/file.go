package dissect

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"
)

const (
	// maxPacket bounds what one packet may claim. It is four times the largest
	// snapshot length of tcpdump and twice the largest packet of Linux BIG TCP.
	maxPacket = 1 << 20
	// maxInterfaces bounds the interfaces of one pcapng section.
	maxInterfaces = 1 << 16
	// maxOptions bounds how much of a block's options is looked at.
	maxOptions = 1 << 16
)

// Magic numbers of the two formats, as they read in the file's own byte order.
const (
	magicMicro   = 0xa1b2c3d4
	magicNano    = 0xa1b23c4d
	magicOrder   = 0x1a2b3c4d
	blockSection = 0x0a0d0d0a
)

// Block types of pcapng that are read.
const (
	blockInterface  = 1
	blockPacketOld  = 2
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 10
)

// A record is one captured packet.
type record struct {
	at   time.Time
	link uint16
	// iface numbers the interfaces of a file, over all of its sections.
	iface int
	// data holds what was captured; it is valid until the next record is read.
	data []byte
	// wire is the length of the packet on the wire, at least len(data).
	wire int
}

// A source reads the packets of one file. Its next answers io.EOF at a clean
// end, and a *damage at any other.
type source interface {
	next(rec *record) error
	// dropped counts packets that the file says were lost, nil when it is silent.
	dropped() *int64
	// problems are doubts that did not end the reading, and whether one of them
	// is a damage of the file.
	problems() (all []string, damaged bool)
	// secrets are those that the file has given so far, nil for none.
	secrets() *KeyLog
}

// damage says why the rest of a file cannot be read.
type damage struct{ reason string }

func (d *damage) Error() string { return d.reason }

// secretsTLS is the type of a block of secrets that is a key log of TLS, and
// maxSecretsBlock how long one may be.
const (
	secretsTLS      = 0x544c534b
	maxSecretsBlock = 16 << 20
)

// newSource recognises the format of a file by its first bytes.
func newSource(r io.Reader) (source, error) {
	br := bufio.NewReaderSize(r, 1<<16)
	head, err := br.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dissect: read file: %w", err)
	}
	if len(head) < 4 {
		return nil, fmt.Errorf("%w: only %d bytes long", ErrFormat, len(head))
	}
	var order binary.ByteOrder = binary.LittleEndian
	for range 2 {
		switch order.Uint32(head) {
		case magicMicro, magicNano:
			return newPcap(br, order, order.Uint32(head) == magicNano)
		case blockSection:
			return newPcapng(br)
		}
		order = binary.BigEndian
	}
	return nil, fmt.Errorf("%w: it begins with % x", ErrFormat, head)
}

// pcapFile reads the classic format: a header, then packets one after another.
type pcapFile struct {
	r     *bufio.Reader
	order binary.ByteOrder
	nano  bool
	link  uint16
	count int
	buf   []byte
	notes []string
}

func newPcap(r *bufio.Reader, order binary.ByteOrder, nano bool) (source, error) {
	var head [24]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("%w: it ends within the file header", ErrFormat)
	}
	p := &pcapFile{r: r, order: order, nano: nano}
	if major := order.Uint16(head[4:]); major != 2 {
		p.notes = append(p.notes, fmt.Sprintf("the file is of version %d of pcap, where version 2 is known", major))
	}
	// The upper half of the field tells of check sequences behind frames, which
	// the lengths inside the packets leave out anyway.
	p.link = uint16(order.Uint32(head[20:])) // #nosec G115 -- the lower half is the link type
	return p, nil
}

func (p *pcapFile) next(rec *record) error {
	var head [16]byte
	n, err := io.ReadFull(p.r, head[:])
	if errors.Is(err, io.EOF) && n == 0 {
		return io.EOF
	}
	if err != nil {
		return cut(err, "the file ends within the header of packet %d", p.count+1)
	}
	p.count++
	kept, wire := p.order.Uint32(head[8:]), p.order.Uint32(head[12:])
	if kept > maxPacket {
		return &damage{fmt.Sprintf("packet %d claims %d bytes, more than any packet has; the rest of the file is unread", p.count, kept)}
	}
	frac := int64(p.order.Uint32(head[4:]))
	if !p.nano {
		frac *= 1000
	}
	if p.buf, err = readInto(p.r, p.buf, int(kept)); err != nil {
		return cut(err, "the file ends within packet %d", p.count)
	}
	rec.at = time.Unix(int64(p.order.Uint32(head[:])), frac).UTC()
	rec.link, rec.iface, rec.data = p.link, 0, p.buf
	rec.wire = max(int(kept), int(min(wire, maxPacket)))
	return nil
}

func (p *pcapFile) dropped() *int64            { return nil }
func (p *pcapFile) problems() ([]string, bool) { return p.notes, len(p.notes) > 0 }

// cut tells the end of a file, which damages it, from a failure to read it.
func cut(err error, format string, args ...any) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &damage{fmt.Sprintf(format, args...)}
	}
	return fmt.Errorf("dissect: read file: %w", err)
}

// readInto reads n bytes, into buf where it is large enough. The caller bounds n.
func readInto(r io.Reader, buf []byte, n int) ([]byte, error) {
	if cap(buf) < n {
		buf = make([]byte, n, max(n, 1<<12))
	}
	buf = buf[:n]
	_, err := io.ReadFull(r, buf)
	return buf, err
}

// An iface is one interface of a pcapng section.
type iface struct {
	number int
	link   uint16
	snap   uint32
	// units are the ticks in one second; offset is added to their seconds.
	units  uint64
	offset int64
	// lost is the last drop count that the file states for this interface.
	lost   int64
	stated bool
}

// pcapngFile reads pcapng: blocks that say how long they are, so that an
// unknown or odd one can be stepped over.
type pcapngFile struct {
	r      *bufio.Reader
	order  binary.ByteOrder
	ifaces []iface
	count  int // of all interfaces so far
	blocks int
	keys   *KeyLog
	packet int
	last   time.Time
	buf    []byte
	seen   map[string]bool
	notes  []string
	// damaged is true when a note tells of a damage.
	damaged bool
	lost    int64 // from sections that have ended, and from packets
	stated  bool
}

func newPcapng(r *bufio.Reader) (source, error) {
	p := &pcapngFile{r: r, order: binary.LittleEndian, seen: map[string]bool{}}
	head, err := r.Peek(12)
	if err != nil {
		return nil, fmt.Errorf("%w: it ends within the section header", ErrFormat)
	}
	if _, ok := byteOrder(head[8:]); !ok {
		return nil, fmt.Errorf("%w: its section header has no byte order", ErrFormat)
	}
	return p, nil
}

func byteOrder(b []byte) (binary.ByteOrder, bool) {
	switch {
	case binary.LittleEndian.Uint32(b) == magicOrder:
		return binary.LittleEndian, true
	case binary.BigEndian.Uint32(b) == magicOrder:
		return binary.BigEndian, true
	}
	return nil, false
}

// note remembers a damage once, however often it occurs.
func (p *pcapngFile) note(format string, args ...any) {
	p.damaged = true
	p.remark(format, args...)
}

// remark remembers once what is odd and allowed.
func (p *pcapngFile) remark(format string, args ...any) {
	if p.seen[format] {
		return
	}
	p.seen[format] = true
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

func (p *pcapngFile) next(rec *record) error {
	for {
		found, err := p.block(rec)
		if found || err != nil {
			return err
		}
	}
}

// block reads one block, and says whether it was a packet.
func (p *pcapngFile) block(rec *record) (bool, error) {
	head, err := p.r.Peek(12)
	if len(head) == 0 && errors.Is(err, io.EOF) {
		return false, io.EOF
	}
	if len(head) < 12 {
		return false, cut(err, "the file ends within the header of block %d", p.blocks+1)
	}
	p.blocks++
	section := binary.LittleEndian.Uint32(head) == blockSection
	if section {
		order, ok := byteOrder(head[8:])
		if !ok {
			return false, &damage{fmt.Sprintf("block %d begins a section without a byte order; the rest of the file is unread", p.blocks)}
		}
		p.order = order
	}
	kind, size := p.order.Uint32(head), p.order.Uint32(head[4:])
	if size < 12 || section && size < 28 {
		return false, &damage{fmt.Sprintf("block %d claims a length of %d bytes; the rest of the file is unread", p.blocks, size)}
	}
	if size%4 != 0 {
		p.note("block %d has a length that is no multiple of four", p.blocks)
		size += 4 - size%4
		if size == 0 {
			return false, &damage{fmt.Sprintf("block %d claims more bytes than a block can have; the rest of the file is unread", p.blocks)}
		}
	}
	if _, err := p.r.Discard(8); err != nil {
		return false, cut(err, "the file ends within block %d", p.blocks)
	}
	body := int64(size) - 12
	want := min(body, int64(keep(kind)))
	if p.buf, err = readInto(p.r, p.buf, int(want)); err != nil {
		return false, cut(err, "the file ends within block %d", p.blocks)
	}
	if n, err := io.CopyN(io.Discard, p.r, body-want); err != nil || n < body-want {
		return false, cut(err, "the file ends within block %d", p.blocks)
	}
	// The block is whole: without its closing length the file is cut, but what
	// the block says can be used.
	var tail [4]byte
	if _, err := io.ReadFull(p.r, tail[:]); err != nil {
		return false, cut(err, "the file ends within block %d", p.blocks)
	}
	if end := p.order.Uint32(tail[:]); end != size {
		p.note("block %d ends with another length than it begins with", p.blocks)
	}
	return p.take(kind, p.buf, body, rec)
}

// keep says how many bytes of a block are worth storing.
func keep(kind uint32) int {
	switch kind {
	case blockEnhanced, blockPacketOld, blockSimple:
		return maxPacket + maxOptions
	case blockSection, blockInterface, blockStatistics:
		return maxOptions
	case blockSecrets:
		return maxSecretsBlock
	}
	return 0
}

func (p *pcapngFile) take(kind uint32, b []byte, body int64, rec *record) (bool, error) {
	switch kind {
	case blockSection:
		p.section(b)
	case blockInterface:
		p.addInterface(b)
	case blockStatistics:
		p.statistics(b)
	case blockEnhanced, blockPacketOld:
		return p.enhanced(kind, b, body, rec)
	case blockSimple:
		return p.simple(b, body, rec)
	case blockSecrets:
		p.addSecrets(b)
	}
	return false, nil
}

// addSecrets reads a key log that the file carries.
func (p *pcapngFile) addSecrets(b []byte) {
	if len(b) < 8 || p.order.Uint32(b) != secretsTLS {
		return
	}
	if p.keys == nil {
		p.keys = &KeyLog{}
	}
	text := b[8:]
	text = text[:min(int64(len(text)), int64(p.order.Uint32(b[4:])))]
	if err := p.keys.read(bytes.NewReader(text)); err != nil {
		p.note("block %d holds secrets that cannot be read: %v", p.blocks, err)
	}
}

func (p *pcapngFile) secrets() *KeyLog { return p.keys }

func (p *pcapFile) secrets() *KeyLog { return nil }

func (p *pcapngFile) section(b []byte) {
	p.dropInterfaces()
	if major := p.order.Uint16(b[4:]); major != 1 {
		p.note("block %d begins a section of version %d of pcapng, where version 1 is known", p.blocks, major)
	}
}

// dropInterfaces forgets the interfaces of a section, but not their losses.
func (p *pcapngFile) dropInterfaces() {
	for _, i := range p.ifaces {
		p.lost += i.lost
		p.stated = p.stated || i.stated
	}
	p.ifaces = p.ifaces[:0]
}

func (p *pcapngFile) addInterface(b []byte) {
	if len(b) < 8 {
		p.note("block %d describes an interface in too few bytes", p.blocks)
		return
	}
	if len(p.ifaces) >= maxInterfaces {
		p.note("block %d describes more interfaces than are read", p.blocks)
		return
	}
	i := iface{number: p.count, link: p.order.Uint16(b), snap: p.order.Uint32(b[4:]), units: 1e6}
	p.count++
	p.options(b[8:], func(code uint16, v []byte) {
		switch {
		case code == 9 && len(v) >= 1: // if_tsresol
			if units, ok := resolution(v[0]); ok {
				i.units = units
			} else {
				p.note("block %d gives a time resolution of %#x, which is beyond reading", p.blocks, v[0])
			}
		case code == 14 && len(v) >= 8: // if_tsoffset
			i.offset = int64(p.order.Uint64(v)) // #nosec G115 -- the field is signed
		}
	})
	p.ifaces = append(p.ifaces, i)
}

// resolution turns if_tsresol into ticks per second.
func resolution(v byte) (uint64, bool) {
	e := v & 0x7f
	if v&0x80 != 0 {
		return 1 << e, e < 64
	}
	units := uint64(1)
	for range min(e, 20) {
		units *= 10
	}
	return units, e <= 19
}

// maxSecond is the last second of the year 9999, beyond which a time cannot be
// written in RFC 3339.
const maxSecond = 253402300799

// time turns the ticks of an interface into a time. It answers false for a time
// that no clock shows.
func (i *iface) time(ticks uint64) (time.Time, bool) {
	whole := ticks / i.units
	hi, lo := bits.Mul64(ticks%i.units, 1e9)
	ns, _ := bits.Div64(hi, lo, i.units)
	if whole > maxSecond || i.offset > maxSecond || i.offset < -maxSecond {
		return time.Time{}, false
	}
	second := int64(whole) + i.offset // #nosec G115 -- bounded above
	if second < 0 || second > maxSecond {
		return time.Time{}, false
	}
	return time.Unix(second, int64(ns)).UTC(), true // #nosec G115 -- below a billion
}

// statistics keeps the drop counts of an interface, which are running totals.
func (p *pcapngFile) statistics(b []byte) {
	if len(b) < 12 || uint64(p.order.Uint32(b)) >= uint64(len(p.ifaces)) {
		p.note("block %d states counts of an interface that is not described", p.blocks)
		return
	}
	i := &p.ifaces[p.order.Uint32(b)]
	var lost int64
	p.options(b[12:], func(code uint16, v []byte) {
		if (code == 5 || code == 7) && len(v) >= 8 { // isb_ifdrop, isb_osdrop
			lost += int64(min(p.order.Uint64(v), 1<<40)) // #nosec G115 -- bounded
			i.stated = true
		}
	})
	i.lost = max(i.lost, lost)
}

// enhanced reads a packet block, of the present kind or of its predecessor.
func (p *pcapngFile) enhanced(kind uint32, b []byte, body int64, rec *record) (bool, error) {
	p.packet++
	if len(b) < 20 {
		p.note("block %d is too short for a packet", p.blocks)
		return false, nil
	}
	number := p.order.Uint32(b)
	if kind == blockPacketOld {
		number = uint32(p.order.Uint16(b))
		if lost := p.order.Uint16(b[2:]); lost != 0xffff {
			p.lost, p.stated = p.lost+int64(lost), true
		}
	}
	if uint64(number) >= uint64(len(p.ifaces)) {
		p.note("block %d holds a packet of an interface that is not described", p.blocks)
		return false, nil
	}
	i := &p.ifaces[number]
	kept, wire := p.order.Uint32(b[12:]), p.order.Uint32(b[16:])
	if int64(kept) > body-20 || kept > maxPacket || int(kept) > len(b)-20 {
		p.note("block %d claims a longer packet than it has room for", p.blocks)
		return false, nil
	}
	if rest := b[20+kept:]; kind == blockEnhanced && len(rest) > int(-kept&3) {
		p.options(rest[-kept&3:], func(code uint16, v []byte) {
			if code == 4 && len(v) >= 8 { // epb_dropcount
				p.lost += int64(min(p.order.Uint64(v), 1<<40)) // #nosec G115 -- bounded
				p.stated = true
			}
		})
	}
	if at, ok := i.time(uint64(p.order.Uint32(b[4:]))<<32 | uint64(p.order.Uint32(b[8:]))); ok {
		p.last = at
	} else {
		p.note("block %d and perhaps others have a time that no clock shows, and got the time of the packet before", p.blocks)
	}
	rec.at, rec.link, rec.iface, rec.data = p.last, i.link, i.number, b[20:20+kept]
	rec.wire = max(int(kept), int(min(wire, maxPacket)))
	return true, nil
}

func (p *pcapngFile) simple(b []byte, body int64, rec *record) (bool, error) {
	p.packet++
	if len(b) < 4 || len(p.ifaces) == 0 {
		p.note("block %d holds a packet of an interface that is not described", p.blocks)
		return false, nil
	}
	i := &p.ifaces[0]
	wire := min(p.order.Uint32(b), maxPacket)
	kept := wire
	if i.snap != 0 {
		kept = min(kept, i.snap)
	}
	if int64(kept) > body-4 || int(kept) > len(b)-4 {
		p.note("block %d claims a longer packet than it has room for", p.blocks)
		return false, nil
	}
	p.remark("block %d and perhaps others hold packets without a time, which got the time of the packet before", p.blocks)
	rec.at, rec.link, rec.iface, rec.data, rec.wire = p.last, i.link, i.number, b[4:4+kept], int(wire)
	return true, nil
}

// options calls f for each option of a block, as far as they can be read.
func (p *pcapngFile) options(b []byte, f func(code uint16, v []byte)) {
	for len(b) >= 4 {
		code, n := p.order.Uint16(b), int(p.order.Uint16(b[2:]))
		if code == 0 {
			return
		}
		b = b[4:]
		if n > len(b) {
			p.note("block %d has an option that is longer than the block", p.blocks)
			return
		}
		f(code, b[:n])
		b = b[min(len(b), n+(-n&3)):]
	}
}

func (p *pcapngFile) dropped() *int64 {
	lost, stated := p.lost, p.stated
	for _, i := range p.ifaces {
		lost += i.lost
		stated = stated || i.stated
	}
	if !stated {
		return nil
	}
	return &lost
}

func (p *pcapngFile) problems() ([]string, bool) { return p.notes, p.damaged }
