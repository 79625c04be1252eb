package dissect

import (
	"bytes"
	"compress/flate"
	"io"
	"math"
	"strings"
	"time"
)

const (
	// maxMessage bounds a compressed message of a WebSocket, and what becomes of
	// it.
	maxMessage = 4 << 20
	// flateWindow is how far DEFLATE reaches back.
	flateWindow = 32 << 10
)

// A webSocketTalk reads the frames of a WebSocket (RFC 6455). What each end said
// is one body of one exchange, unmasked and, where that was agreed, inflated (RFC
// 7692): masks and compression would hide from any search what was sent.
type webSocketTalk struct {
	engine *engine
	flow   *flow
	client int
	x      *exchange
	half   [2]webSocketHalf
}

// A webSocketHalf is one direction.
type webSocketHalf struct {
	head   []byte // of the present frame, as far as it has come
	left   int64  // of the present frame's payload
	mask   [4]byte
	at     int
	code   byte
	last   bool // the present frame ends its message
	packed bool // the present message is compressed
	fresh  bool // each message is compressed for itself
	data   []byte
	window []byte
	over   bool
}

// newWebSocket reads what follows a request that was upgraded.
func newWebSocket(t *httpTalk, asked *exchange) *webSocketTalk {
	w := &webSocketTalk{engine: t.engine, flow: t.flow, client: t.client, x: &exchange{}}
	w.x.Flow, w.x.Start, w.x.Method, w.x.Version = asked.Flow, asked.End, "WEBSOCKET", asked.Version
	w.x.URL = "ws" + strings.TrimPrefix(asked.URL, "http")
	w.x.Status, w.x.replied = asked.Status, true
	if t.engine.http = append(t.engine.http, w.x); len(t.engine.http) > maxExchanges {
		t.engine.full = true
	}
	extensions, _ := field(asked.ResponseHeader, "Sec-WebSocket-Extensions")
	w.half[w.client].fresh = strings.Contains(extensions, "client_no_context_takeover")
	w.half[1-w.client].fresh = strings.Contains(extensions, "server_no_context_takeover")
	return w
}

func (t *webSocketTalk) data(dir int, b []byte, at time.Time) bool {
	h := &t.half[dir]
	if dir == t.client {
		t.x.Sent = at
	} else {
		t.x.End = at
	}
	for len(b) > 0 {
		if h.left == 0 {
			h.head = append(h.head, b[0])
			b = b[1:]
			if whole, ok := h.open(); !ok {
				t.flow.keepUnread(t.engine, dir, append(h.head, b...))
				h.head = nil
				return false
			} else if whole && h.left == 0 {
				t.frame(dir, h)
			}
			continue
		}
		n := int(min(h.left, int64(len(b))))
		plain := make([]byte, n)
		for i, c := range b[:n] {
			plain[i] = c ^ h.mask[h.at&3]
			h.at++
		}
		if dir == t.client {
			t.x.BytesUp += int64(n)
		} else {
			t.x.BytesDown += int64(n)
		}
		t.take(dir, h, plain)
		h.left -= int64(n)
		b = b[n:]
		if h.left == 0 {
			t.frame(dir, h)
		}
	}
	return true
}

// open reads the frame's header once it is whole. ok is false for what is no
// frame.
func (h *webSocketHalf) open() (whole, ok bool) {
	if len(h.head) < 2 {
		return false, h.head[0]&0x30 == 0 && (h.head[0]&0x0f <= 2 || h.head[0]&0x0f >= 8 && h.head[0]&0x0f <= 10)
	}
	size, length := 2, int64(h.head[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	extended := size
	masked := h.head[1]&0x80 != 0
	if masked {
		size += 4
	}
	if len(h.head) < size {
		return false, true
	}
	if extended > 2 {
		length = 0
		for _, c := range h.head[2:extended] {
			length = length<<8&math.MaxInt64 | int64(c)
		}
	}
	h.mask, h.at = [4]byte{}, 0
	if masked {
		copy(h.mask[:], h.head[extended:])
	}
	h.code, h.last = h.head[0]&0x0f, h.head[0]&0x80 != 0
	if h.code == 1 || h.code == 2 {
		h.packed = h.head[0]&0x40 != 0
	}
	h.left, h.head = length, h.head[:0]
	return true, true
}

// take takes a part of a frame.
func (t *webSocketTalk) take(dir int, h *webSocketHalf, b []byte) {
	if !h.packed || h.code >= 8 {
		t.say(dir, b)
		return
	}
	if len(h.data)+len(b) > maxMessage {
		h.over = true
		return
	}
	h.data = append(h.data, b...)
}

// frame ends a frame, and inflates a message that it ends.
func (t *webSocketTalk) frame(dir int, h *webSocketHalf) {
	if !h.packed || !h.last || h.code >= 8 {
		return
	}
	h.packed = false
	packed := h.data
	h.data = nil
	if h.over || t.full(dir) {
		// What is not kept need not be inflated.
		h.over = true
		t.cut(dir)
		return
	}
	// The sender took the end of the block off; a last empty block ends the data.
	r := flate.NewReaderDict(io.MultiReader(bytes.NewReader(packed), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")), h.window)
	plain, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil || len(plain) > maxMessage {
		// The next message builds on this one.
		h.over = !h.fresh
		t.say(dir, packed)
		t.cut(dir)
		return
	}
	if !h.fresh {
		h.window = append(h.window, plain...)
		h.window = append([]byte(nil), h.window[max(0, len(h.window)-flateWindow):]...)
	}
	t.say(dir, plain)
}

// say adds to the body of a direction.
func (t *webSocketTalk) say(dir int, b []byte) {
	x := t.x
	if dir == t.client {
		n := t.engine.room(len(x.RequestBody), len(b))
		x.RequestBody = append(x.RequestBody, b[:n]...)
		x.RequestTruncated = x.RequestTruncated || n < len(b)
		return
	}
	n := t.engine.replyRoom(len(x.ResponseBody), len(b))
	x.ResponseBody = append(x.ResponseBody, b[:n]...)
	x.ResponseTruncated = x.ResponseTruncated || n < len(b)
}

// full says whether no more of a direction's body is kept.
func (t *webSocketTalk) full(dir int) bool {
	if dir == t.client {
		return len(t.x.RequestBody) >= t.engine.o.MaxBody
	}
	return len(t.x.ResponseBody) >= t.engine.o.MaxBody
}

func (t *webSocketTalk) cut(dir int) {
	if dir == t.client {
		t.x.RequestTruncated = true
	} else {
		t.x.ResponseTruncated = true
	}
}

func (t *webSocketTalk) gap(dir, _ int) bool {
	t.cut(dir)
	return false
}

func (t *webSocketTalk) end() {
	for dir := range t.half {
		if h := &t.half[dir]; h.left > 0 || len(h.data) > 0 || len(h.head) > 0 {
			t.say(dir, h.data)
			t.cut(dir)
		}
	}
}
