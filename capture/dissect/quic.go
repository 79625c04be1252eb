package dissect

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// maxInitials bounds the datagrams of a flow that are tried for a ClientHello
	// where there is no key log.
	maxInitials = 32
	// maxConnections bounds the connections that are told apart in one flow, and
	// maxTries those to which a packet may belong.
	maxConnections = 64
	maxTries       = 8
	// maxWaits bounds the packets that wait until a ClientHello is whole.
	maxWaits = 256
	// Datagrams that were recorded joined have from minSegment to maxSegment bytes
	// each; maxSearches bounds how often a flow is searched for their length.
	minSegment, maxSegment = 1200, 1500
	maxSearches            = 16
	// maxIDs bounds the connection ids of one side, and maxAllIDs those of a file.
	maxIDs    = 256
	maxAllIDs = 1 << 16
	// maxIDSize is the longest connection id (RFC 9000, section 17.2).
	maxIDSize = 20
)

// datagrams is what UDP adds to a flow that carries QUIC.
type datagrams struct {
	conns  []*quicConn // the newest one is the last
	client int         // the direction of the client, -1 when unknown
	tries  int
	read   bool // a ClientHello was read
	// closed says of each direction that something in it was not opened.
	closed [2]bool
	waits  []waiting
	waited int
	// segment is how long those datagrams of a direction are that were recorded
	// joined into one, and searches how often that was looked for in vain.
	segment, searches [2]int
}

// A waiting packet came before the ClientHello was whole.
type waiting struct {
	dir int
	b   []byte
	at  time.Time
}

// datagram takes the payload of a UDP datagram.
func (e *engine) datagram(f *flow, dir int, b []byte, at time.Time) {
	for _, end := range f.ends {
		switch end.Port() {
		case 53, 5353, 5355: // DNS, multicast DNS, LLMNR
			if m, ok := parseDNS(b); ok {
				e.message(f, dir, m, at)
				return
			}
		}
	}
	if f.udp == nil && (quicVersion(b) || e.migrated(f, dir, b)) {
		e.becomeQUIC(f)
	}
	switch {
	case f.udp == nil:
		f.keepUnread(e, dir, b)
	case len(b) > 0:
		e.quic(f, dir, b, at)
		e.replay(f)
	}
}

// becomeQUIC makes a flow one of QUIC. What was kept of it before is encrypted
// too, or nobody knows what it is.
func (e *engine) becomeQUIC(f *flow) {
	if f.udp == nil {
		f.udp = &datagrams{client: -1}
	}
	f.app, f.visibility = appQUIC, capture.Metadata
	for dir, k := range f.kept {
		f.udp.closed[dir] = f.udp.closed[dir] || k != nil && len(k.data) > 0
		f.kept[dir] = k.forget()
	}
}

// forget drops the bytes that turned out to be of a known protocol.
func (k *keptBytes) forget() *keptBytes {
	if k != nil {
		k.data, k.truncated = nil, false
	}
	return k
}

// quicVersion recognises a long header of QUIC.
func quicVersion(b []byte) bool {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return false
	}
	v := binary.BigEndian.Uint32(b[1:])
	known := v == quic1 || v == quic2 || v>>8 == 0xff0000 || v>>24 == 'Q' && isDigits(b[2:5]) || v>>24 == 'T' && isDigits(b[2:5])
	if !known {
		return false
	}
	f := fields{b[5:], true}
	dcid := f.vector(1)
	scid := f.vector(1)
	return f.ok && (len(dcid) <= maxIDSize && len(scid) <= maxIDSize || v>>24 == 'Q')
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Levels of encryption, numbered as the kinds of long packets of version 1.
const (
	levelInitial = iota
	levelEarly
	levelHandshake
	levelApplication // that of short headers; as a kind of long packet, a Retry
)

// A longHeader is what a long packet says in clear.
type longHeader struct {
	version    uint32
	level      int
	dcid, scid string
	number     int // where the packet number begins
	end        int
}

// parseLong reads a long header. A Retry, a negotiation of versions and a packet
// of a version that is not known are none: what stands in them is not read.
func parseLong(b []byte) (longHeader, bool) {
	if len(b) < 7 {
		return longHeader{}, false
	}
	h := longHeader{version: binary.BigEndian.Uint32(b[1:])}
	if quicSalts[h.version] == "" {
		return h, false
	}
	g := fields{b[5:], true}
	dcid, scid := g.vector(1), g.vector(1)
	h.dcid, h.scid = string(dcid), string(scid)
	kind := b[0] >> 4 & 3
	if h.version == quic2 {
		kind = (kind + 3) & 3 // version 2 numbers the kinds one higher
	}
	h.level = int(kind)
	if h.level == levelApplication || !g.ok || len(dcid) > maxIDSize || len(scid) > maxIDSize {
		return h, false
	}
	if h.level == levelInitial {
		g.take(int(min(quicNumber(&g), 1<<16))) // #nosec G115 -- bounded
	}
	size := quicNumber(&g)
	if !g.ok || size > uint64(len(g.b)) {
		return h, false
	}
	h.number = len(b) - len(g.b)
	h.end = h.number + int(size) // #nosec G115 -- not more than the datagram
	return h, true
}

// quicNumber reads a number of variable length.
func quicNumber(f *fields) uint64 {
	if !f.ok || len(f.b) == 0 {
		f.ok = false
		return 0
	}
	n := 1 << (f.b[0] >> 6)
	v := uint64(f.b[0] & 0x3f)
	for i, c := range f.take(n) {
		if i > 0 {
			v = v<<8 | uint64(c)
		}
	}
	return v
}

// keyed says whether there may be secrets for a conversation.
func (e *engine) keyed() bool { return e.o.KeyLog != nil || e.inFile != nil }

// quic reads the packets of a datagram.
func (e *engine) quic(f *flow, dir int, b []byte, at time.Time) {
	u := f.udp
	if !e.keyed() {
		if u.read || u.tries >= maxInitials {
			return
		}
		u.tries++
	}
	for len(b) > 0 {
		if b[0]&0x80 == 0 {
			if !e.short(f, dir, b, at) && !e.joined(f, dir, b, at) {
				e.unopened(f, dir, b, at)
			}
			return
		}
		h, ok := parseLong(b)
		if !ok {
			if len(bytes.Trim(b, "\x00")) > 0 {
				u.closed[dir] = true
			}
			return
		}
		if !e.long(f, dir, b[:h.end], h, at) {
			e.unopened(f, dir, b[:h.end], at)
		}
		b = b[h.end:]
	}
}

// unopened takes a packet that no keys at hand open: it waits for a ClientHello
// that is not whole yet, or stays closed.
func (e *engine) unopened(f *flow, dir int, b []byte, at time.Time) {
	u := f.udp
	if !e.keyed() {
		return
	}
	young := len(u.conns) == 0 || u.conns[len(u.conns)-1].hello == nil
	if !young || len(u.waits) >= maxWaits || u.waited+len(b) > maxWaiting || e.pending+len(b) > maxPendingAll {
		u.closed[dir] = true
		return
	}
	u.waits = append(u.waits, waiting{dir, bytes.Clone(b), at})
	u.waited += len(b)
	e.pending += len(b)
}

// replay reads what waited for a ClientHello, once that is whole.
func (e *engine) replay(f *flow) {
	u := f.udp
	if len(u.waits) == 0 || len(u.conns) == 0 || u.conns[len(u.conns)-1].hello == nil {
		return
	}
	waits := u.waits
	e.pending -= u.waited
	u.waits, u.waited = nil, 0
	for _, w := range waits {
		e.quic(f, w.dir, w.b, w.at)
	}
}

// long opens a packet with a long header.
func (e *engine) long(f *flow, dir int, b []byte, h longHeader, at time.Time) bool {
	u := f.udp
	p := &quicPacket{b: b, number: h.number, plain: e.plain}
	defer func() { e.plain = p.plain }()
	for c := range u.candidates(dir, func(c *quicConn, to int) bool { return c.ids[to][h.dcid] }) {
		if c.long(f, dir, p, h, at) {
			return true
		}
	}
	if h.level != levelInitial || u.client == 1-dir {
		return false
	}
	// The keys come from the first destination that the client named. It names
	// another one after a Retry, and for another connection.
	keys := initialKeys(h.dcid, h.version, 0)
	_, plain, number, ok := keys.generation(p, 0)
	if !ok {
		return false
	}
	for _, c := range u.conns {
		if slices.Contains(c.past, h.dcid) {
			return true // Sent before a Retry, and again since.
		}
	}
	u.client = dir
	f.ask(dir)
	var c *quicConn
	if n := len(u.conns); n > 0 && !u.conns[n-1].answered {
		c = u.conns[n-1]
		c.again(h.dcid)
	} else if n < maxConnections {
		c = newQUIC(e, f, h.dcid)
		u.conns = append(u.conns, c)
		e.conns = append(e.conns, c)
	} else {
		e.full = true
		return false
	}
	c.initial[h.version] = [2]*quicKeys{keys, nil}
	c.opened(f, dir, h, number)
	c.frames(0, levelInitial, plain, at)
	return true
}

// short opens a packet with a short header, which says neither how long its
// connection id is nor whose it is.
func (e *engine) short(f *flow, dir int, b []byte, at time.Time) bool {
	u := f.udp
	p := &quicPacket{b: b, plain: e.plain}
	defer func() { e.plain = p.plain }()
	for c := range u.candidates(dir, func(c *quicConn, to int) bool { return c.addressed(to, b) > 0 }) {
		if c.short(f, dir, p, at) {
			return true
		}
	}
	// A connection may have come from other addresses.
	for _, c := range e.owners(b) {
		if !slices.Contains(u.conns, c) && c.joins(f, dir, p, at) {
			return true
		}
	}
	return false
}

// joined reads packets with short headers that were recorded as one datagram: a
// program gives many of one length to the kernel, which leaves it to the network
// card to cut them, so that a capture on that machine shows them joined. Only the
// packets themselves tell how long each is.
func (e *engine) joined(f *flow, dir int, b []byte, at time.Time) bool {
	u := f.udp
	if len(b) <= maxSegment || !e.keyed() || u.searches[dir] >= maxSearches {
		return false
	}
	first := min(max(u.segment[dir], minSegment), maxSegment)
	for i := range maxSegment - minSegment + 1 {
		n := minSegment + (first-minSegment+i)%(maxSegment-minSegment+1)
		if !e.short(f, dir, b[:n], at) {
			continue
		}
		u.segment[dir], u.searches[dir] = n, 0
		for rest := range slices.Chunk(b[n:], n) {
			if !e.short(f, dir, rest, at) {
				e.unopened(f, dir, rest, at)
			}
		}
		return true
	}
	u.searches[dir]++
	return false
}

// candidates are the connections of a flow to which a packet in a direction may
// belong: first those whose id it bears, then the newest ones.
func (u *datagrams) candidates(dir int, bears func(c *quicConn, to int) bool) func(yield func(*quicConn) bool) {
	return func(yield func(*quicConn) bool) {
		tries, to := 0, 1-dir^max(u.client, 0)
		for _, want := range []bool{true, false} {
			for _, c := range slices.Backward(u.conns) {
				if tries >= maxTries {
					return
				}
				if bears(c, to) != want {
					continue
				}
				if tries++; !yield(c) {
					return
				}
			}
		}
	}
}

// owners are the connections that a short packet may belong to by its connection
// id alone, in any flow.
func (e *engine) owners(b []byte) []*quicConn {
	var all []*quicConn
	if len(e.ids) == 0 || len(b) == 0 || b[0]&0x80 != 0 {
		return nil
	}
	for n := maxIDSize; n >= minOwnID; n-- {
		if e.idSizes[n] && len(b) > n {
			if c := e.ids[string(b[1:1+n])]; c != nil && !slices.Contains(all, c) {
				all = append(all, c)
			}
		}
	}
	return all
}

// migrated says whether a packet in a new flow continues a connection that was
// known from other addresses. It reads no packet that does not open.
func (e *engine) migrated(f *flow, dir int, b []byte) bool {
	for _, c := range e.owners(b) {
		if c.fits(b) {
			e.becomeQUIC(f)
			f.udp.client = dir
			f.ask(dir)
			return true
		}
	}
	return false
}

// alpnIsHTTP3 says whether a name stands for HTTP/3, of which drafts had names of
// their own.
func alpnIsHTTP3(s string) bool { return s == "h3" || strings.HasPrefix(s, "h3-") }
