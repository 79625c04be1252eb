package dissect

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Frames of HTTP/3 (RFC 9114, section 7; RFC 9218 for priorities) beside those
// whose numbers HTTP/2 has too: DATA, HEADERS and SETTINGS.
const (
	h3CancelPush     = 0x03
	h3PushPromise    = 0x05
	h3Goaway         = 0x07
	h3MaxPush        = 0x0d
	h3Tunnel         = 0x41 // what follows belongs to WebTransport
	h3Priority       = 0xf0700
	h3PriorityOfPush = 0xf0701
)

// Kinds of streams of HTTP/3 on which one side sends.
const (
	h3Control = iota
	h3Push
	h3Encoder
	h3Decoder
)

// maxBlocked bounds the streams of a side that wait for its table. Those who allow
// it at all allow about a hundred.
const maxBlocked = 256

// h3Table is the setting with the capacity of the table of fields.
const h3Table = 1

// An http3Talk reads HTTP/3 from the streams of a QUIC connection.
type http3Talk struct {
	messages
	conn  *quicConn
	table [2]qpackTable // by which the headers of a side are compressed
	half  map[http3Side]*http3Half
	// blocked are the sides of streams that wait for a table.
	blocked [2]map[uint64]*http3Half
	held    int // bytes behind them
}

// An http3Side is one side of one stream.
type http3Side struct {
	id   uint64
	side int
}

// An http3Half is what was read of it.
type http3Half struct {
	buf   []byte // an incomplete frame, or what waits for a table
	kind  uint64 // of the present frame
	left  uint64 // bytes of the present frame's contents that have not come
	typed bool   // of a stream on which one side sends, kind is known
	uni   uint64
	lost  bool // what follows cannot be told apart
	whole bool // nothing more will come
	need  uint64
	at    time.Time
}

func newHTTP3(c *quicConn) *http3Talk {
	return &http3Talk{
		messages: messages{engine: c.engine, flow: c.flow, client: c.client, version: "HTTP/3.0", streams: map[uint64]*multiplexed{}},
		conn:     c, half: map[http3Side]*http3Half{}, blocked: [2]map[uint64]*http3Half{{}, {}},
	}
}

func (t *http3Talk) of(side int, id uint64) *http3Half {
	key := http3Side{id, side}
	h := t.half[key]
	if h == nil {
		h = &http3Half{}
		t.half[key] = h
	}
	return h
}

func (t *http3Talk) data(side int, id uint64, b []byte, at time.Time) {
	h := t.of(side, id)
	h.at = at
	switch {
	case h.lost:
		t.conn.keep(side, b)
	case id&2 != 0:
		t.uni(side, id, h, b)
	default:
		t.add(side, id, h, b)
	}
}

// add takes the next bytes of frames.
func (t *http3Talk) add(side int, id uint64, h *http3Half, b []byte) {
	if h.left > 0 && len(h.buf) == 0 {
		n := int(min(h.left, uint64(len(b)))) // #nosec G115 -- bounded
		t.content(side, id, h, b[:n])
		b = b[n:]
	}
	if len(b) == 0 {
		return
	}
	if t.blocked[side][id] == nil {
		h.buf = append(h.buf, b...)
		t.frames(side, id, h)
		return
	}
	if t.held += len(b); t.held > maxPendingBytes {
		t.lose(side, id, h)
		t.conn.keep(side, b)
		return
	}
	h.buf = append(h.buf, b...)
}

// frames reads the frames that are whole, and the beginning of those whose
// contents need not be.
func (t *http3Talk) frames(side int, id uint64, h *http3Half) {
	read := 0
	for read < len(h.buf) && !h.lost {
		b := h.buf[read:]
		if h.left > 0 {
			n := int(min(h.left, uint64(len(b)))) // #nosec G115 -- bounded
			t.content(side, id, h, b[:n])
			read += n
			continue
		}
		f := fields{b, true}
		kind, size := quicNumber(&f), quicNumber(&f)
		if kind == h3Tunnel && id&2 == 0 {
			t.lose(side, id, h)
			return
		}
		if !f.ok {
			break
		}
		if kind == frameHeaders || kind == frameSettings || kind == h3PushPromise {
			if size > maxBlock {
				t.lose(side, id, h)
				return
			}
			body := f.take(int(size)) // #nosec G115 -- bounded
			if !f.ok {
				break
			}
			if !t.frame(side, id, h, kind, body) {
				break
			}
		} else {
			h.kind, h.left = kind, size
		}
		read += len(b) - len(f.b)
	}
	if h.lost {
		return
	}
	if read > 0 {
		h.buf = append([]byte(nil), h.buf[read:]...)
	}
}

// frame reads a frame that is read as a whole. It returns false where that must
// wait.
func (t *http3Talk) frame(side int, id uint64, h *http3Half, kind uint64, b []byte) bool {
	switch {
	case kind == frameSettings && id&2 != 0:
		t.settings(side, b)
	case kind == frameHeaders && id&3 == 0:
		table := &t.table[side]
		header, need, answer := table.header(b)
		switch answer {
		case qpackWaits:
			if len(t.blocked[side]) >= maxBlocked {
				t.unread(side, id, b, nil)
				return true
			}
			h.need = need
			t.blocked[side][id] = h
			return false
		case qpackUnread:
			t.unread(side, id, b, header)
		case qpackPartial:
			t.engine.full = true
			t.conn.hide(side)
			t.message(side, id, header, false, h.at)
		case qpackRead:
			t.message(side, id, header, false, h.at)
		}
	case side == 0: // No such frame belongs there.
		t.conn.keep(side, b)
		t.conn.hide(side)
	}
	return true
}

// unread notes a header that cannot be read. What it says is compressed, so that
// no search finds it: it counts as closed.
func (t *http3Talk) unread(side int, id uint64, b []byte, known []capture.Header) {
	t.conn.keep(side, b)
	t.conn.hide(side)
	if len(known) > 0 {
		t.message(side, id, known, false, t.of(side, id).at)
	}
	if s := t.streams[id]; s != nil {
		s.cut(side)
	}
}

// content takes a part of the contents of a frame that is read as it comes.
func (t *http3Talk) content(side int, id uint64, h *http3Half, b []byte) {
	h.left -= uint64(len(b))
	switch {
	case h.kind == frameData && id&3 == 0:
		t.body(side, id, b)
	case side != 0, h.kind != frameData && len(bytes.Trim(b, "\x00")) <= 4:
	case h.kind == h3Goaway, h.kind == h3MaxPush, h.kind == h3CancelPush:
		if h.left+uint64(len(b)) > 8 { // more than a number
			t.conn.keep(side, b)
		}
	case h.kind == h3Priority, h.kind == h3PriorityOfPush:
		if !plainPriority(b) {
			t.conn.keep(side, b)
		}
	default:
		// Frames that nobody knows have room for words.
		t.conn.keep(side, b)
	}
}

// plainPriority says whether the update of a priority holds nothing but that.
func plainPriority(b []byte) bool {
	f := fields{b, true}
	quicNumber(&f)
	return f.ok && len(f.b) <= 16 && strings.Trim(string(f.b), "ui=0123456789?,; ") == ""
}

// uni takes the next bytes of a stream on which one side sends.
func (t *http3Talk) uni(side int, id uint64, h *http3Half, b []byte) {
	if !h.typed {
		h.buf = append(h.buf, b...)
		f := fields{h.buf, true}
		kind := quicNumber(&f)
		if !f.ok {
			return
		}
		h.uni, h.typed = kind, true
		if b, h.buf = f.b, nil; kind == h3Push {
			if quicNumber(&f); !f.ok {
				t.lose(side, id, h) // Nobody cuts that number.
				return
			}
			b = f.b
		}
	}
	switch h.uni {
	case h3Control, h3Push:
		t.add(side, id, h, b)
	case h3Encoder:
		if !t.table[side].instructions(b) {
			t.lose(side, id, h)
			t.conn.keep(side, b)
			t.conn.hide(side)
		}
		t.unblock(side)
	case h3Decoder:
		// It says what was received, in numbers.
	default:
		if len(bytes.Trim(b, "\x00")) > 4 {
			t.conn.keep(side, b)
		}
	}
}

// settings reads the settings of a side, which bind the other one's table.
func (t *http3Talk) settings(side int, b []byte) {
	table := &t.table[1-side]
	if table.settled {
		return
	}
	f := fields{b, true}
	for f.ok && len(f.b) > 0 {
		if key, value := quicNumber(&f), quicNumber(&f); f.ok && key == h3Table {
			table.limit = value
		}
	}
	table.settled = true
	t.unblock(1 - side)
}

// unblock reads what waited for a table.
func (t *http3Talk) unblock(side int) {
	table := &t.table[side]
	if len(t.blocked[side]) == 0 {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(t.blocked[side])) {
		h := t.blocked[side][id]
		if !table.broken && h.need > table.inserted() {
			continue
		}
		delete(t.blocked[side], id)
		t.frames(side, id, h)
		if h.whole && t.blocked[side][id] == nil {
			t.fin(side, id, h.at)
		}
	}
	if len(t.blocked[0])+len(t.blocked[1]) == 0 {
		t.held = 0
	}
}

func (t *http3Talk) fin(side int, id uint64, at time.Time) {
	h := t.of(side, id)
	h.whole, h.at = true, at
	if t.blocked[side][id] != nil {
		return
	}
	if len(h.buf) > 0 || h.left > 0 {
		t.lose(side, id, h) // It ends within a frame.
	}
	delete(t.half, http3Side{id, side})
	t.ended(side, id, at)
}

func (t *http3Talk) gap(side int, id uint64, n int) {
	h := t.of(side, id)
	if h.typed && h.uni == h3Encoder || id&2 != 0 && !h.typed {
		t.table[side].broken = true
	}
	lost := uint64(n) // #nosec G115 -- a length
	if h.kind == frameData && h.left >= lost && len(h.buf) == 0 {
		h.left -= lost
		if s := t.streams[id]; s != nil {
			s.cut(side)
			if side == 0 {
				s.x.BytesUp += int64(n)
			} else {
				s.x.BytesDown += int64(n)
			}
		}
		return
	}
	t.lose(side, id, h)
	t.unblock(side)
}

// lose gives a side of a stream up.
func (t *http3Talk) lose(side int, id uint64, h *http3Half) {
	if t.blocked[side][id] != nil {
		t.conn.hide(side) // Its header is compressed.
		delete(t.blocked[side], id)
	}
	t.conn.keep(side, h.buf)
	h.buf, h.lost = nil, true
	if s := t.streams[id]; s != nil {
		s.cut(side)
	}
}

func (t *http3Talk) reset(side int, id uint64) {
	h := t.of(side, id)
	if len(h.buf) > 0 {
		t.lose(side, id, h)
	}
	delete(t.half, http3Side{id, side})
	s := t.streams[id]
	if s == nil {
		return
	}
	s.cut(side)
	if side == 1 && s.x.Failure == "" && !s.x.replied {
		s.x.Failure = "the stream was reset before a reply"
	}
	t.finish(side, id, s)
}

func (t *http3Talk) end() {
	for side := range t.table {
		// What waits for a table to the end waits for what nobody saw.
		if len(t.blocked[side]) > 0 {
			t.table[side].broken, t.table[side].settled = true, true
			t.unblock(side)
		}
	}
	keys := slices.SortedFunc(maps.Keys(t.half), func(a, b http3Side) int { return int(int64(a.id)-int64(b.id))*2 + a.side - b.side }) // #nosec G115 -- below 2^62
	for _, k := range keys {
		t.conn.keep(k.side, t.half[k].buf)
	}
	t.closeAll()
}
