package dissect

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"time"

	"github.com/offproof/offproof/capture"
)

// A flowKey is the same for both directions of a conversation.
type flowKey struct {
	low, high netip.Addr
	lowPort   uint16
	highPort  uint16
	proto     uint8
}

func keyOf(a, b netip.AddrPort, proto uint8) flowKey {
	if c := a.Addr().Compare(b.Addr()); c > 0 || c == 0 && a.Port() > b.Port() {
		a, b = b, a
	}
	return flowKey{a.Addr(), b.Addr(), a.Port(), b.Port(), proto}
}

// An engine holds what is known while a file is being read.
type engine struct {
	o       Options
	flows   map[flowKey]*flow
	order   []*flow
	rest    *flow // of the packets beyond MaxFlows
	frags   fragments
	dns     lookups
	http    []*exchange
	unread  []unreadOf
	losses  losses
	packets int64
	pending int   // bytes that wait behind holes, in all streams
	past    int   // bytes that repetitions are compared with, in all streams
	stored  int64 // bytes of bodies that were kept
	replies int64 // those of them that came to the phone
	inFile  *KeyLog
	conns   []*quicConn
	ids     map[string]*quicConn // by a connection id of the server's
	idSizes [maxIDSize + 1]bool  // that there are among them
	plain   []byte               // for the contents of a packet
	unfit   int                  // directions that the secrets at hand did not open
	full    bool
	// links are the phone's frames that are no IP packets, own the hardware addresses
	// from which it sends.
	links     map[linkKey]*flow
	linkOrder []linkKey
	own       map[[6]byte]bool
	greeted   int  // bytes of greetings that were kept
	muted     bool // there were more
}

func newEngine(o Options) *engine {
	return &engine{o: o, flows: map[flowKey]*flow{}, losses: losses{}}
}

// record takes one packet of the file.
func (e *engine) record(rec *record) {
	e.packets++
	beyond := rec.wire - len(rec.data)
	if beyond > 0 {
		e.losses.add(cutShort, rec.at, rec.at)
	}
	for d := e.frags.expired(rec.at); d != nil; d = e.frags.expired(rec.at) {
		e.incomplete(d)
	}
	data, whose := rec.data, owner{}
	if rec.link == linkEthernet {
		data, whose = untail(data, rec.wire)
	}
	b, why := network(rec.link, data)
	if why != "" {
		if why == notIP {
			e.linkFrame(rec, data)
		}
		e.strange(why, rec.at)
		return
	}
	var p packet
	if why = internet(b, beyond, &p); why != "" {
		e.strange(why, rec.at)
		return
	}
	p.owner = whose
	e.learn(rec, &p)
	if p.fragment {
		d := e.frags.add(&p, rec.at)
		if d == nil {
			return
		}
		p = d.packet()
		if p.src.Is6() {
			if why = p.extensions(p.payload, 0, len(p.payload)+p.missing, p.proto); why != "" {
				e.strange(why, rec.at)
				p.proto = protoFragment
			}
		}
	}
	e.packet(&p, rec.at)
}

func (e *engine) strange(why oddity, at time.Time) {
	if why != notIP {
		e.losses.add(string(why), at, at)
	}
}

// incomplete gives the bytes of a datagram that never became whole to the flow
// that they belong to, as far as its beginning tells.
func (e *engine) incomplete(d *datagram) {
	e.losses.add(string(oddFragment), d.at, d.last)
	p := d.packet()
	if p.src.Is6() && p.extensions(p.payload, 0, len(p.payload)+p.missing, p.proto) != "" || len(p.payload) < 4 {
		p.proto = protoFragment
	}
	e.packet(&p, d.last)
}

// packet takes one whole IP packet.
func (e *engine) packet(p *packet, at time.Time) {
	switch p.proto {
	case protoTCP:
		e.tcp(p, at)
	case protoUDP:
		e.udp(p, at)
	case protoICMP, protoICMP6:
		f, dir := e.flow(p, 0, 0, at, nil)
		n := max(0, len(p.payload)+p.missing-8)
		f.count(dir, p.size, n+f.spareOf(e, dir, p), at)
		f.skipped += int64(p.missing)
		f.hole(at, at, p.missing)
		e.unreachable(p)
		if len(p.payload) > 8 {
			f.keepUnread(e, dir, p.payload[8:])
		}
	default:
		f, dir := e.flow(p, 0, 0, at, nil)
		n := len(p.payload) + p.missing
		f.count(dir, p.size, n+f.spareOf(e, dir, p), at)
		f.skipped += int64(p.missing)
		f.hole(at, at, p.missing)
		f.keepUnread(e, dir, p.payload)
	}
}

// flow finds the conversation of a packet, and its direction: 0 when the sender
// is the end that was seen first. s is nil for all but TCP.
func (e *engine) flow(p *packet, src, dst uint16, at time.Time, s *segment) (*flow, int) {
	a, b := netip.AddrPortFrom(p.src, src), netip.AddrPortFrom(p.dst, dst)
	key := keyOf(a, b, p.proto)
	f := e.flows[key]
	if f != nil {
		dir := 0
		if f.ends[0] != a {
			dir = 1
		}
		if s == nil || !f.reopened(dir, s) {
			f.owner.merge(p.owner)
			return f, dir
		}
		e.flush(f)
	}
	if len(e.order) >= e.o.MaxFlows {
		if e.rest == nil {
			e.rest = &flow{start: at, end: at, proto: capture.OtherIP, asker: -1, opener: -1, client: -1}
			e.rest.number = len(e.order) + 1
		}
		e.rest.owner = owner{torn: true} // They are of many.
		if e.o.Local != nil && e.o.Local(p.dst) && !e.o.Local(p.src) || e.o.Local == nil && !p.src.IsPrivate() && p.dst.IsPrivate() {
			return e.rest, 1
		}
		return e.rest, 0
	}
	f = &flow{number: len(e.order) + 1, proto: protoName(p.proto), ends: [2]netip.AddrPort{a, b}, start: at, end: at, owner: p.owner, asker: -1, opener: -1, client: -1}
	if s != nil {
		f.tcp = &connection{}
	}
	if e.o.Local != nil {
		if from, to := e.o.Local(p.src), e.o.Local(p.dst); from != to {
			f.client = 0
			if to {
				f.client = 1
			}
		}
	}
	e.flows[key] = f
	e.order = append(e.order, f)
	return f, 0
}

func protoName(n uint8) capture.Proto {
	switch n {
	case protoTCP:
		return capture.TCP
	case protoUDP:
		return capture.UDP
	case protoICMP, protoICMP6:
		return capture.ICMP
	}
	return capture.OtherIP
}

// tcp takes a TCP segment.
func (e *engine) tcp(p *packet, at time.Time) {
	var s segment
	if why := transport(p.payload, &s); why != "" {
		e.strange(why, at)
		e.unparsed(p, at)
		return
	}
	f, dir := e.flow(p, s.src, s.dst, at, &s)
	if f.tcp == nil {
		f.count(dir, p.size, 0, at)
		return
	}
	h, peer := &f.tcp.half[dir], &f.tcp.half[1-dir]
	h.keeps = f.certain() < 0 || f.certain() == dir
	spare := f.spareOf(e, dir, p) + f.keepSpare(e, dir, spareTCP(s.options))
	seq := s.seq
	if s.flags&flagSYN != 0 {
		again := h.syn && h.isn != seq
		h.isn, h.syn = seq, true
		seq++
		if !h.synced || again {
			h.next, h.synced = seq, true
			h.forget(e)
		}
		if s.flags&flagACK == 0 {
			f.opener = dir
		} else if f.opener < 0 {
			f.opener = 1 - dir
			if !peer.synced {
				peer.next, peer.synced = s.ack, true
			}
		}
	}
	if s.flags&flagRST != 0 {
		h.rst = true
	}
	if s.flags&flagFIN != 0 {
		h.fin = true
	}
	if s.flags&flagACK != 0 && s.flags&flagRST == 0 && (!peer.hasAcked || after(s.ack, peer.acked)) {
		peer.acked, peer.hasAcked = s.ack, true
	}
	wire := len(s.data) + p.missing
	fresh := 0
	// What a reset carries is a reason in words, if anything, and its sequence
	// number need not belong to the stream.
	if s.flags&flagRST == 0 {
		c := chunk{seq: seq, wire: wire, data: s.data, cut: p.missing, at: at}
		if f.tcp.talk.done {
			c.cut = 0
			if !h.keeps {
				c.data = nil
			}
		}
		if h.keeps {
			spare += f.keepSpare(e, dir, h.repeats(seq, s.data))
		}
		before := h.pendingBytes
		fresh = h.accept(c, func(c chunk) { f.hear(e, dir, c) })
		e.pending += h.pendingBytes - before
	} else {
		spare += f.keepSpare(e, dir, s.data)
	}
	f.count(dir, p.size, fresh+spare, at)
	if e.past > maxPastAll {
		e.forgetIdle(func(f *flow) bool { return at.Sub(f.end) < patienceAcked })
	}
	for d := range f.tcp.half {
		if g := &f.tcp.half[d]; g.due(at) || len(g.pending) > 0 && e.pending > maxPendingAll {
			e.skip(f, d, at)
		}
	}
}

// skip gives up one hole in a stream. What is missing was first sent after the bytes
// before it were, and by now: either later bytes or an acknowledgement are there.
func (e *engine) skip(f *flow, dir int, now time.Time) {
	h := &f.tcp.half[dir]
	before := h.pendingBytes
	h.forget(e) // What stood in the hole is not known.
	h.skip(
		func(n int) {
			f.hole(f.handed(dir), now, n)
			f.tcp.talk.gap(e, f, dir, n)
		},
		func(c chunk) { f.hear(e, dir, c) })
	e.pending += h.pendingBytes - before
}

// hear takes the next bytes of a stream.
func (f *flow) hear(e *engine, dir int, c chunk) {
	f.hole(c.at, c.at, c.cut)
	f.tcp.half[dir].writes(e, c)
	f.tcp.talk.chunk(e, f, dir, c)
}

// handed is when the last bytes were sent that were handed on.
func (f *flow) handed(dir int) time.Time {
	if at := f.tcp.half[dir].handed; !at.IsZero() {
		return at
	}
	return f.start
}

// flush hands on everything that still waits in a connection, and ends it.
func (e *engine) flush(f *flow) {
	if f.tcp == nil || f.tcp.flushed {
		return
	}
	f.tcp.flushed = true
	for dir := range f.tcp.half {
		for len(f.tcp.half[dir].pending) > 0 {
			e.skip(f, dir, f.end)
		}
		f.tcp.half[dir].forget(e)
		// What the other end has acknowledged was sent, whoever saw it.
		if n := f.tcp.half[dir].unseen(); n > 0 {
			f.tcp.half[dir].skipped += int64(n)
			f.hole(f.handed(dir), f.end, n)
			f.tcp.talk.gap(e, f, dir, n)
		}
	}
	f.tcp.talk.end(e, f)
}

// unparsed counts the bytes of a packet whose transport header cannot be read,
// in the flow of its ports when those are there.
func (e *engine) unparsed(p *packet, at time.Time) {
	var src, dst uint16
	if len(p.payload) >= 4 {
		src, dst = binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:])
	}
	var s *segment
	if p.proto == protoTCP {
		s = &segment{flags: flagACK}
	}
	f, dir := e.flow(p, src, dst, at, s)
	f.count(dir, p.size, 0, at)
}

// udp takes a UDP datagram.
func (e *engine) udp(p *packet, at time.Time) {
	if len(p.payload) < 8 {
		e.strange(oddUDP, at)
		e.unparsed(p, at)
		return
	}
	f, dir := e.flow(p, binary.BigEndian.Uint16(p.payload), binary.BigEndian.Uint16(p.payload[2:]), at, nil)
	data := p.payload[8:]
	wire := len(data) + p.missing
	spare := f.spareOf(e, dir, p)
	if n := int(binary.BigEndian.Uint16(p.payload[4:])); n >= 8 && n-8 < wire {
		wire = n - 8
		spare += f.keepSpare(e, dir, data[min(len(data), wire):])
		data = data[:min(len(data), wire)]
	}
	f.count(dir, p.size, wire+spare, at)
	f.skipped += int64(wire - len(data))
	f.hole(at, at, wire-len(data))
	e.datagram(f, dir, data, at)
}

// unreachable reads an ICMP error and notes it at the flow that it is about.
func (e *engine) unreachable(p *packet) {
	b := p.payload
	if len(b) < 8 || !(p.proto == protoICMP && b[0] == 3 || p.proto == protoICMP6 && b[0] == 1) {
		return
	}
	var in packet
	if internet(b[8:], 0, &in) != "" || len(in.payload) < 4 {
		return
	}
	src, dst := binary.BigEndian.Uint16(in.payload), binary.BigEndian.Uint16(in.payload[2:])
	f := e.flows[keyOf(netip.AddrPortFrom(in.src, src), netip.AddrPortFrom(in.dst, dst), in.proto)]
	if f != nil {
		f.refusal = "unreachable, said " + p.src.String()
	}
}

// finish ends all flows and gathers what was found.
func (e *engine) finish() *Capture {
	for len(e.frags.queue) > 0 {
		d := e.frags.queue[0]
		e.frags.remove(d)
		e.incomplete(d)
	}
	out := &Capture{}
	for _, f := range e.order {
		e.flush(f)
	}
	e.endQUIC()
	names := e.dns.names()
	if e.rest != nil {
		e.order = append(e.order, e.rest)
	}
	e.endLinks()
	for _, f := range e.order {
		out.Flows = append(out.Flows, f.result(names))
		out.Health.SkippedBytes += f.lost()
	}
	out.Lookups = e.dns.all
	sort.SliceStable(e.http, func(i, j int) bool { return e.http[i].Start.Before(e.http[j].Start) })
	for i, x := range e.http {
		x.ID = strconv.Itoa(i + 1)
		out.Exchanges = append(out.Exchanges, x.Exchange)
		out.Lookups = append(out.Lookups, Lookups(x.Exchange)...)
	}
	sort.SliceStable(out.Lookups, func(i, j int) bool { return out.Lookups[i].At.Before(out.Lookups[j].At) })
	for _, u := range e.unread {
		if u.flow.number > 0 && u.flow.clientDir() == u.dir && len(u.side.data) > 0 {
			out.Unread = append(out.Unread, Unread{u.flow.id(), u.side.data, u.side.truncated || u.flow.lost() > 0})
		}
	}
	for _, f := range e.order {
		if b := f.greeting[f.clientDir()]; len(b) > 0 {
			out.Greetings = append(out.Greetings, Unread{f.id(), b, f.lost() > 0})
		}
	}
	out.Health.Packets = e.packets
	out.Health.Problems = e.problems()
	out.Health.Losses = e.losses.list()
	for why := range e.losses {
		out.Damaged = out.Damaged || why != string(oddFragment) && why != cutShort
	}
	out.Damaged = out.Damaged || e.full || e.dns.full || e.muted || e.rest != nil
	return out
}

// problems says in words what could not be read.
func (e *engine) problems() []string {
	var all []string
	if e.unfit > 0 {
		all = append(all, fmt.Sprintf("the key log does not open %d directions of conversations that it names, from some record on", e.unfit))
	}
	if e.rest != nil {
		all = append(all, fmt.Sprintf("more than %d conversations: the bytes of the further ones are in one flow without addresses", e.o.MaxFlows))
	}
	if e.full {
		all = append(all, fmt.Sprintf("more than %d bytes of bodies: the further ones were counted and not kept", e.o.MaxBodies))
	}
	if e.muted {
		all = append(all, fmt.Sprintf("more than %d bytes of handshakes: the further ones cannot be searched", maxGreetings))
	}
	if e.dns.full {
		all = append(all, "more lookups than are kept")
	}
	return all
}

// room says how many of n bytes of a body may be kept beside the have bytes
// that are there already.
func (e *engine) room(have, n int) int {
	n = min(n, e.o.MaxBody-have)
	if left := e.o.MaxBodies - e.stored; int64(n) > left {
		e.full = true
		n = int(left)
	}
	n = max(n, 0)
	e.stored += int64(n)
	return n
}

// replyRoom is room for a body that came to the phone. Replies have half of the
// memory and no more: an evening of videos may not take the room of what the phone
// sends after them. A reply that was cut for it says so itself, and nothing else is
// in doubt.
func (e *engine) replyRoom(have, n int) int {
	n = min(n, e.o.MaxBody-have)
	n = int(max(min(int64(n), e.o.MaxBodies/2-e.replies, e.o.MaxBodies-e.stored), 0))
	e.replies += int64(n)
	e.stored += int64(n)
	return n
}
