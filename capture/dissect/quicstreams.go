package dissect

import (
	"maps"
	"slices"
	"time"
)

const (
	// maxAside bounds how far beyond what was read a stream's bytes may lie.
	maxAside = 1 << 30
	// maxSpans bounds the runs of packet numbers that are told apart.
	maxSpans = 256
	// maxLost bounds the count of packets that are known to be missing.
	maxLost = 1 << 20
)

// An ordered stream puts bytes that come with their offsets in order.
type ordered struct {
	half half
	at   uint64 // the offset of the next byte to hand on
}

// accept takes bytes and hands on what has become contiguous. It returns false
// for bytes that lie so far ahead that they cannot wait.
func (o *ordered) accept(e *engine, offset uint64, b []byte, at time.Time, deliver func([]byte, time.Time)) bool {
	o.half.synced = true
	if offset < o.at {
		n := o.at - offset
		if n >= uint64(len(b)) {
			return true
		}
		b, offset = b[n:], o.at
	}
	if offset-o.at > maxAside {
		return false
	}
	before := o.half.pendingBytes
	// The sequence numbers of TCP are the lower half of an offset.
	o.half.accept(chunk{seq: uint32(offset), wire: len(b), data: b, at: at}, o.handing(deliver)) // #nosec G115 -- wraps on purpose
	e.pending += o.half.pendingBytes - before
	return true
}

func (o *ordered) handing(deliver func([]byte, time.Time)) func(chunk) {
	return func(c chunk) {
		o.at += uint64(c.wire) // #nosec G115 -- a length
		deliver(c.data, c.at)
	}
}

// skip gives the next hole up.
func (o *ordered) skip(e *engine, gap func(int), deliver func([]byte, time.Time)) {
	before := o.half.pendingBytes
	o.half.skip(func(n int) {
		o.at += uint64(n) // #nosec G115 -- a length
		gap(n)
	}, o.handing(deliver))
	e.pending += o.half.pendingBytes - before
}

// waits says whether bytes wait behind a hole.
func (o *ordered) waits() bool { return len(o.half.pending) > 0 }

// drop forgets what waits.
func (o *ordered) drop(e *engine) {
	e.pending -= o.half.pendingBytes
	o.half.pending, o.half.pendingBytes = nil, 0
}

// A quicDialect reads what the streams of a connection carry.
type quicDialect interface {
	// data takes the next bytes of a side of a stream.
	data(side int, id uint64, b []byte, at time.Time)
	// fin is told when a side of a stream is complete.
	fin(side int, id uint64, at time.Time)
	// gap says that n bytes of a side of a stream are missing.
	gap(side int, id uint64, n int)
	// reset is told when a side of a stream was broken off.
	reset(side int, id uint64)
	// end is told when nothing more will come.
	end()
}

// quicStreams are the streams of a connection. The lowest bit of a stream's
// number says which side opened it, the next one whether only that side sends.
type quicStreams struct {
	conn    *quicConn
	open    map[uint64]*quicStreamState
	closed  map[uint64]bool // beyond low, by number
	low     [4]uint64       // all below are closed, by kind
	beyond  [4]uint64       // one stream more than the highest that was seen, by kind
	seen    [4]uint64       // how many were, by kind
	dialect quicDialect
}

type quicStreamState struct {
	half [2]quicHalf
}

type quicHalf struct {
	ordered
	size int64 // of the whole, -1 as long as it is unknown
	done bool
}

// reads is the dialect of the streams.
func (s *quicStreams) reads() quicDialect {
	if s.dialect == nil {
		if s.conn.http3() {
			s.dialect = newHTTP3(s.conn)
		} else {
			s.dialect = rawStreams{s.conn}
		}
	}
	if h, ok := s.dialect.(*http3Talk); ok {
		// A connection may have moved.
		h.flow, h.client = s.conn.flow, s.conn.client
		s.conn.plaintext()
	}
	return s.dialect
}

// mayWrite says whether a side may send on a stream.
func mayWrite(side int, id uint64) bool { return id&2 == 0 || (id&1 != 0) == (side != 0) }

// find is a stream that is open still, nil for one that is closed or may not be
// opened.
func (s *quicStreams) find(side int, id uint64) *quicStreamState {
	if x := s.open[id]; x != nil {
		return x
	}
	kind, n := id&3, id>>2
	if n < s.low[kind] || s.closed[id] {
		return nil
	}
	if len(s.open) >= maxStreams || len(s.closed) >= 8*maxStreams {
		s.conn.engine.full = true
		s.conn.hide(side)
		return nil
	}
	if s.open == nil {
		s.open, s.closed = map[uint64]*quicStreamState{}, map[uint64]bool{}
	}
	x := &quicStreamState{}
	x.half[0].size, x.half[1].size = -1, -1
	s.open[id] = x
	s.seen[kind]++
	s.beyond[kind] = max(s.beyond[kind], n+1)
	return x
}

// take takes a STREAM frame.
func (s *quicStreams) take(side int, id, offset uint64, b []byte, fin bool, at time.Time) {
	if !mayWrite(side, id) {
		s.conn.keep(side, b) // Nobody may send there.
		return
	}
	x := s.find(side, id)
	if x == nil || x.half[side].done {
		return
	}
	h, d, e := &x.half[side], s.reads(), s.conn.engine
	if fin {
		h.size = int64(offset) + int64(len(b)) // #nosec G115 -- below 2^62
	}
	deliver := func(b []byte, at time.Time) { d.data(side, id, b, at) }
	if !h.accept(e, offset, b, at, deliver) {
		s.conn.keep(side, b)
		s.conn.hide(side)
	}
	for h.half.due(at) || h.waits() && e.pending > maxPendingAll {
		s.skip(side, id, h)
	}
	s.settle(side, id, x, at)
}

// skip gives up a hole in a stream.
func (s *quicStreams) skip(side int, id uint64, h *quicHalf) {
	d := s.reads()
	h.skip(s.conn.engine, func(n int) {
		s.conn.missing(int64(n))
		d.gap(side, id, n)
	}, func(b []byte, at time.Time) { d.data(side, id, b, at) })
}

// settle notes that a side of a stream is complete.
func (s *quicStreams) settle(side int, id uint64, x *quicStreamState, at time.Time) {
	h := &x.half[side]
	if h.size < 0 || h.at < uint64(h.size) || h.waits() {
		return
	}
	h.done = true
	s.reads().fin(side, id, at)
	s.close(id, x)
}

// reset takes a RESET_STREAM frame.
func (s *quicStreams) reset(side int, id uint64) {
	if !mayWrite(side, id) {
		return
	}
	x := s.find(side, id)
	if x == nil || x.half[side].done {
		return
	}
	for h := &x.half[side]; h.waits(); {
		s.skip(side, id, h)
	}
	x.half[side].done = true
	s.reads().reset(side, id)
	s.close(id, x)
}

// close forgets a stream of which nothing more can come.
func (s *quicStreams) close(id uint64, x *quicStreamState) {
	if id&2 == 0 && !(x.half[0].done && x.half[1].done) {
		return
	}
	delete(s.open, id)
	s.closed[id] = true
	for kind := id & 3; s.closed[s.low[kind]<<2|kind]; s.low[kind]++ {
		delete(s.closed, s.low[kind]<<2|kind)
	}
}

// end hands on what waits still, and says what never came.
func (s *quicStreams) end() {
	for _, id := range slices.Sorted(maps.Keys(s.open)) {
		for side := range 2 {
			h := &s.open[id].half[side]
			for h.waits() {
				s.skip(side, id, h)
			}
			n := h.size - int64(h.at) // #nosec G115 -- below 2^62
			if h.size >= 0 && n > 0 && !h.done {
				s.conn.missing(min(n, maxAside))
				s.reads().gap(side, id, int(min(n, maxAside)))
			}
		}
	}
	// A client opens its requests in order: those before the last one were sent too,
	// or given up before they were. The server's acknowledgements tell which.
	if s.conn.opens[1] == 0 {
		s.conn.missing(int64(min(s.beyond[0]-s.seen[0], maxLost))) // #nosec G115 -- bounded
	}
	if s.dialect != nil {
		s.reads().end()
	}
	s.open = nil
}

// rawStreams keeps what streams carry in a protocol that is not read.
type rawStreams struct{ conn *quicConn }

func (r rawStreams) data(side int, _ uint64, b []byte, _ time.Time) { r.conn.keep(side, b) }
func (rawStreams) fin(int, uint64, time.Time)                       {}
func (rawStreams) gap(int, uint64, int)                             {}
func (rawStreams) reset(int, uint64)                                {}
func (rawStreams) end()                                             {}

// A span is a run of packet numbers, both ends included.
type span struct{ low, high uint64 }

// spans are runs in order, without overlap.
type spans []span

// add adds a run and joins it with its neighbours.
func (s spans) add(low, high uint64) spans {
	i, _ := slices.BinarySearchFunc(s, low, func(x span, low uint64) int {
		if x.high+1 < low {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j].low <= high+1 {
		low, high = min(low, s[j].low), max(high, s[j].high)
		j++
	}
	return slices.Replace(s, i, j, span{low, high})
}

// without counts the numbers of a run that are not in s.
func (s spans) without(r span) uint64 {
	n := r.high - r.low + 1
	for _, x := range s {
		if low, high := max(x.low, r.low), min(x.high, r.high); low <= high {
			n -= high - low + 1
		}
	}
	return n
}

// A ledger compares the packets of a client that the capture holds with those
// that its server says it received: any that only the server has are missing
// here, with whatever they carried.
type ledger struct {
	held, acked spans
	floor       uint64 // all below is settled
	lost        uint64
}

func (l *ledger) saw(number uint64) {
	l.held = l.held.add(number, number)
	if len(l.held) > maxSpans {
		l.settleBelow(l.held[1].low)
		l.held = l.held.add(0, l.held[1].high)
	}
}

func (l *ledger) acknowledged(low, high uint64) {
	if low = max(low, l.floor); low > high {
		return
	}
	l.acked = l.acked.add(low, high)
	if len(l.acked) > maxSpans {
		l.settleBelow(l.acked[1].low)
	}
}

// settleBelow counts what is missing below a packet number, and forgets it.
func (l *ledger) settleBelow(number uint64) {
	for len(l.acked) > 0 && l.acked[0].low < number {
		run := span{l.acked[0].low, min(l.acked[0].high, number-1)}
		l.lost = min(l.lost+min(l.held.without(run), maxLost), maxLost)
		if l.acked[0].high < number {
			l.acked = l.acked[1:]
		} else {
			l.acked[0].low = number
		}
	}
	l.floor = max(l.floor, number)
}

// settle is how many packets are missing, once nothing more will come.
func (l *ledger) settle() int64 {
	l.settleBelow(1 << 62)
	return int64(l.lost) // #nosec G115 -- bounded
}
