package dissect

import (
	"slices"
	"time"

	"github.com/offproof/offproof/capture"
)

// minOwnID is the shortest connection id by which a connection is known from any
// address.
const minOwnID = 4

// Handshake message of TLS 1.3 in which a server chooses the protocol.
const encryptedExtensions = 8

// A quicConn is a connection of QUIC. Its sides are 0 for the client and 1 for
// the server. Its flow is the one that carried the last packet: a connection may
// move to other addresses.
type quicConn struct {
	engine *engine
	flow   *flow
	client int // the direction of the client in flow

	origin   string   // the connection id from which the Initial keys follow
	past     []string // those from which they followed before
	version  uint32   // of the last long packet that was opened
	answered bool     // a packet of the server was opened
	initial  map[uint32][2]*quicKeys
	hello    *hello
	known    map[string][]byte // secrets by label, nil for none
	suite    *suite            // once a packet has shown it
	keys     [4][2][]*quicKeys // one for each suite that may be meant
	expected [4][2]uint64      // the next packet number, by level
	opens    [2]int            // packets with contents of a side that were opened
	ids      [2]map[string]bool
	idSize   [2]int // of the ids by which a side is addressed, -1 when unknown
	crypto   [4][2]*handshakeStream
	protocol string // that the server chose
	streams  quicStreams
	ledger   ledger
	refusal  [2]string // with what alert a side broke the handshake off
}

// quicSecrets are the key log's names for the secrets of a level.
var quicSecrets = [4][2]string{
	levelEarly:       {labelClientEarly, ""},
	levelHandshake:   {labelClientHandshake, labelServerHandshake},
	levelApplication: {labelClientTraffic, labelServerTraffic},
}

func newQUIC(e *engine, f *flow, dcid string) *quicConn {
	c := &quicConn{engine: e, flow: f, client: f.udp.client, origin: dcid, initial: map[uint32][2]*quicKeys{}, idSize: [2]int{-1, -1}}
	c.streams.conn = c
	return c
}

// again begins once more under another connection id, as a client does after a
// Retry.
func (c *quicConn) again(dcid string) {
	if len(c.past) < maxTries {
		c.past = append(c.past, c.origin)
	}
	c.origin, c.initial = dcid, map[uint32][2]*quicKeys{}
	for side, s := range c.crypto[levelInitial] {
		if s != nil {
			s.drop(c.engine)
		}
		c.crypto[levelInitial][side] = nil
	}
}

// space is the space of packet numbers and of CRYPTO frames of a level.
func space(level int) int {
	if level == levelEarly {
		return levelApplication
	}
	return level
}

// keysOf are the keys that a packet may have been sealed with.
func (c *quicConn) keysOf(level, side int, version uint32) []*quicKeys {
	if level == levelInitial {
		both, ok := c.initial[version]
		if !ok && len(c.initial) > 2 {
			return nil
		}
		if both[side] == nil {
			both[side] = initialKeys(c.origin, version, side)
			c.initial[version] = both
		}
		return both[side : side+1 : side+1]
	}
	if c.known == nil {
		return nil
	}
	if all := c.keys[level][side]; len(all) > 0 && all[0].version == version {
		return all
	}
	secret := c.known[quicSecrets[level][side]]
	var all []*quicKeys
	for _, s := range quicSuites(secret) {
		// Early data may be under the suite of an earlier session.
		if c.suite == nil || c.suite == s || level == levelEarly {
			if k := newQUICKeys(s, secret, version); k != nil {
				all = append(all, k)
			}
		}
	}
	c.keys[level][side] = all
	return all
}

// unseal opens a packet, and remembers the keys that did.
func (c *quicConn) unseal(p *quicPacket, level, side int, version uint32) (plain []byte, number uint64, ok bool) {
	for _, k := range c.keysOf(level, side, version) {
		used, plain, number, ok := k.generation(p, c.expected[space(level)][side])
		if !ok {
			continue
		}
		if level != levelInitial {
			if level != levelEarly {
				c.suite = k.suite
			}
			if used != k.prev {
				c.keys[level][side] = []*quicKeys{used.succeeds(k)}
			}
		}
		return plain, number, true
	}
	return nil, 0, false
}

// succeeds notes which keys came before these, of those that a side used.
func (k *quicKeys) succeeds(old *quicKeys) *quicKeys {
	if k == old {
		return k
	}
	before := old
	for before.next != k {
		before = before.next
	}
	before.prev, k.prev = nil, before
	return k
}

// long reads a packet with a long header that may be of this connection.
func (c *quicConn) long(f *flow, dir int, p *quicPacket, h longHeader, at time.Time) bool {
	side := dir ^ f.udp.client
	plain, number, ok := c.unseal(p, h.level, side, h.version)
	if !ok {
		return false
	}
	c.opened(f, dir, h, number)
	if h.level == levelEarly {
		c.ledger.saw(number)
		c.opens[side]++
	}
	c.frames(side, h.level, plain, at)
	return true
}

// opened notes what a long packet that was opened says of its connection.
func (c *quicConn) opened(f *flow, dir int, h longHeader, number uint64) {
	side := dir ^ f.udp.client
	c.flow, c.client = f, f.udp.client
	c.number(h.level, side, number)
	c.version = h.version
	c.answered = c.answered || side == 1
	c.learn(side, h.scid)
	if side == 0 {
		c.learn(1, h.dcid)
	}
}

func (c *quicConn) number(level, side int, number uint64) {
	if s := space(level); number >= c.expected[s][side] {
		c.expected[s][side] = number + 1
	}
}

// learn notes a connection id by which a side is addressed.
func (c *quicConn) learn(side int, id string) {
	if c.ids[side] == nil {
		c.ids[side] = map[string]bool{}
	}
	if len(c.ids[side]) >= maxIDs {
		return
	}
	c.ids[side][id] = true
	c.idSize[side] = len(id)
	if side == 1 {
		c.register(id)
	}
}

// register makes the connection known by an id of the server's from any address.
func (c *quicConn) register(id string) {
	e := c.engine
	if c.known == nil || len(id) < minOwnID || len(e.ids) >= maxAllIDs {
		return
	}
	if e.ids == nil {
		e.ids = map[string]*quicConn{}
	}
	e.ids[id], e.idSizes[len(id)] = c, true
}

// addressed is where the packet number of a short packet begins, if one of the
// ids of a side stands before it, and 0 otherwise.
func (c *quicConn) addressed(to int, b []byte) int {
	if n := c.idSize[to]; n >= 0 && len(b) > n && c.ids[to][string(b[1:1+n])] {
		return 1 + n
	}
	for id := range c.ids[to] {
		if n := len(id); n != c.idSize[to] && n > 0 && len(b) > n && string(b[1:1+n]) == id {
			return 1 + n
		}
	}
	return 0
}

// place finds where the packet number of a short packet to a side begins, by an
// id that is not known too: those of a side have one length.
func (c *quicConn) place(to int, p *quicPacket) {
	if p.number = c.addressed(to, p.b); p.number == 0 {
		p.number = 1 + max(c.idSize[to], 0)
	}
}

// short reads a packet with a short header that may be of this connection.
func (c *quicConn) short(f *flow, dir int, p *quicPacket, at time.Time) bool {
	if f.udp.client < 0 {
		return false
	}
	side := dir ^ f.udp.client
	c.place(1-side, p)
	plain, number, ok := c.unseal(p, levelApplication, side, c.version)
	if !ok {
		return false
	}
	c.flow, c.client = f, f.udp.client
	c.number(levelApplication, side, number)
	c.answered = c.answered || side == 1
	c.opens[side]++
	if side == 0 {
		c.ledger.saw(number)
	}
	c.frames(side, levelApplication, plain, at)
	return true
}

// fits says whether a short packet is one of the client's.
func (c *quicConn) fits(b []byte) bool {
	p := &quicPacket{b: b}
	c.place(1, p)
	for _, k := range c.keysOf(levelApplication, 0, c.version) {
		if _, _, _, ok := k.generation(p, c.expected[levelApplication][0]); ok {
			return true
		}
	}
	return false
}

// joins reads the first packet that a client sends from other addresses.
func (c *quicConn) joins(f *flow, dir int, p *quicPacket, at time.Time) bool {
	u := f.udp
	if u.client == 1-dir || len(u.conns) >= maxConnections || !c.fits(p.b) {
		return false
	}
	u.client = dir
	u.conns = append(u.conns, c)
	u.read = true
	f.ask(dir)
	if f.hello == nil {
		f.hello = c.hello
	}
	return c.short(f, dir, p, at)
}

// greet takes the client's hello, with which the connection's secrets are found.
func (c *quicConn) greet(h *hello) {
	u := c.flow.udp
	if c.hello != nil && c.hello.random == h.random {
		return
	}
	if c.hello != nil && len(u.conns) < maxConnections {
		// The client gave the first attempt up and begins another one.
		n := newQUIC(c.engine, c.flow, c.origin)
		n.initial, n.version, n.ids, n.idSize = c.initial, c.version, c.ids, c.idSize
		u.conns = append(u.conns, n)
		c.engine.conns = append(c.engine.conns, n)
		c = n
	}
	c.hello, u.read = h, true
	if c.flow.hello == nil {
		c.flow.hello = h
	}
	if c.known = c.engine.secretsOf(h.random); c.known == nil {
		return
	}
	for id := range c.ids[1] {
		c.register(id)
	}
}

// A handshakeStream is what the CRYPTO frames of a side at one level hold.
type handshakeStream struct {
	ordered
	buf  []byte
	read bool
	end  uint64 // where the messages that were read end
}

// handshake takes a CRYPTO frame.
func (c *quicConn) handshake(side, level int, offset uint64, b []byte, at time.Time) {
	level = space(level)
	s := c.crypto[level][side]
	if s == nil {
		s = &handshakeStream{}
		c.crypto[level][side] = s
	}
	if s.read || level == levelApplication || offset > maxHello {
		// Tickets for later are of no interest. A client sends none.
		if n := uint64(len(b)); side == 0 && offset+n > s.end {
			c.keep(side, b[n-min(n, offset+n-s.end):])
		}
		return
	}
	s.accept(c.engine, offset, b, at, func(b []byte, _ time.Time) {
		if s.read {
			return
		}
		s.buf = append(s.buf, b...)
		for len(s.buf) >= 4 && !s.read {
			size := 4 + int(s.buf[1])<<16 + int(s.buf[2])<<8 + int(s.buf[3])
			if size > maxHello {
				s.read = true
				break
			}
			if len(s.buf) < size {
				return
			}
			s.read = c.message(side, level, s.buf[0], s.buf[4:size])
			s.buf, s.end = s.buf[size:], s.end+uint64(size) // #nosec G115 -- bounded above
		}
	})
	if s.read {
		if side == 0 {
			c.keep(side, s.buf)
		}
		s.buf = nil
		s.drop(c.engine)
	}
}

// message reads a handshake message. It returns true when those that follow are
// of no interest.
func (c *quicConn) message(side, level int, kind byte, b []byte) bool {
	switch {
	case kind == helloClient && side == 0 && level == levelInitial:
		c.flow.greet(c.engine, c.client, b)
		if h, ok := parseHello(b, 'q'); ok {
			c.greet(h)
		}
	case kind == encryptedExtensions && side == 1:
		m := fields{b, true}
		all := fields{m.vector(2), m.ok}
		for all.ok && len(all.b) > 0 {
			if kind, value := all.number(2), all.vector(2); kind == 16 && len(value) > 3 {
				c.protocol = string(value[3:])
			}
		}
		return false
	case kind == certificate && side == 1:
		c.flow.certify(b, true)
	case level == levelHandshake && side == 0:
		if kind == certificate {
			c.flow.greet(c.engine, c.client, b)
		}
		return kind == finished
	case level == levelHandshake && side == 1:
		return false
	}
	return true
}

// http3 says whether the streams carry HTTP/3. Where the server's choice was not
// seen, it chose what it could of what was offered.
func (c *quicConn) http3() bool {
	if c.protocol != "" {
		return alpnIsHTTP3(c.protocol)
	}
	return c.hello != nil && slices.ContainsFunc(c.hello.protocols, alpnIsHTTP3)
}

// keep keeps bytes of a side that nobody can read.
func (c *quicConn) keep(side int, b []byte) { c.flow.keepUnread(c.engine, side^c.client, b) }

// missing notes that n bytes or more that a side sent are not in the capture.
func (c *quicConn) missing(n int64) { c.flow.skipped += n }

// hide notes that something of the client's was not read.
func (c *quicConn) hide(side int) {
	if side == 0 {
		c.flow.udp.closed[c.client] = true
	}
}

// end is called once, when nothing more will come.
func (c *quicConn) end() {
	c.streams.end()
	if c.known != nil {
		c.missing(max(c.ledger.settle(), 0))
	}
}

// endQUIC ends all connections, and notes which directions the secrets at hand
// did not open.
func (e *engine) endQUIC() {
	for _, c := range e.conns {
		c.end()
	}
	for _, f := range e.order {
		u := f.udp
		if u == nil || u.client < 0 {
			continue
		}
		for _, w := range u.waits {
			u.closed[w.dir] = true
		}
		known, heard := false, false
		for _, c := range u.conns {
			known, heard = known || c.known != nil, heard || c.opens[1] > 0
		}
		if !known {
			continue
		}
		if u.closed[u.client] {
			e.unfit++
			f.sealed = true
		}
		if u.closed[1-u.client] && !heard {
			e.unfit++
		}
	}
}

// refused says with what alert an end broke a handshake off.
func (u *datagrams) refused() string {
	for _, c := range u.conns {
		for side, who := range []string{"client", "server"} {
			if c.refusal[side] != "" && c.opens[0] == 0 {
				return "the " + who + " refused the handshake: " + c.refusal[side]
			}
		}
	}
	return ""
}

// plaintext notes that the contents of the flow can be read.
func (c *quicConn) plaintext() { c.flow.visibility = capture.Plaintext }
