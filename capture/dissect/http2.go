package dissect

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture"
)

const (
	// maxFrame bounds a frame of HTTP/2. Nobody asks for more than the least that
	// all must take, 16 KiB, but for some programs that ask for 1 MiB.
	maxFrame = 1 << 20
	// maxBlock bounds the compressed header of one message, maxField one of its
	// fields.
	maxBlock = 1 << 20
	maxField = 1 << 18
	// maxTable bounds the table of a header compression, whatever was settled.
	maxTable = 1 << 20
	// maxSettings is how long a SETTINGS frame may be before its values are more than
	// settings, of 6 bytes each; maxPings bounds the pings that wait for an answer.
	maxSettings = 10 * 6
	maxPings    = 64
)

// priority is what a priority's text says (RFC 9218, section 4).
var priority = regexp.MustCompile(`^(u=[0-7])?(, ?)?(i(=\?[01])?)?$`)

// Frames of HTTP/2 (RFC 9113, section 6).
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameFarewell     = 7
	frameWindow       = 8
	frameContinuation = 9
	// framePriorityUpdate is of RFC 9218, section 7.1: a stream, and a text.
	framePriorityUpdate = 0x10

	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// An http2Talk reads HTTP/2 from both directions of a connection.
type http2Talk struct {
	messages
	half  [2]http2Half
	pings map[string]bool // of the server, that the client has not answered
}

// An http2Half is one direction.
type http2Half struct {
	buf     []byte // an incomplete frame
	preface bool   // the client's preface has been read
	fields  *hpack.Decoder
	header  []capture.Header // of the message whose header is being read
	size    int
	block   struct {
		open   bool
		stream uint32
		flags  byte
		push   bool
		length int
	}
}

// recogniseSettings knows the frame with which a server begins. A client's
// preface is a request line.
func recogniseSettings(b []byte) kind {
	const head = 9
	if b[0] != 0 || b[1] != 0 || b[2]%6 != 0 {
		return kindUnknown
	}
	if len(b) < head {
		if len(b) > 3 && b[3] != frameSettings {
			return kindUnknown
		}
		return kindMore
	}
	if b[3] != frameSettings || b[4] != 0 || binary.BigEndian.Uint32(b[5:]) != 0 {
		return kindUnknown
	}
	return kindHTTP2Reply
}

func newHTTP2(e *engine, f *flow, _ *talk, dir int, request bool) *http2Talk {
	t := &http2Talk{messages: messages{engine: e, flow: f, client: dir, version: "HTTP/2.0", streams: map[uint64]*multiplexed{}}}
	if !request {
		t.client = 1 - dir
	}
	f.ask(t.client)
	for i := range t.half {
		h := &t.half[i]
		h.fields = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
			if h.size += len(f.Name) + len(f.Value); h.size <= maxBlock {
				h.header = append(h.header, capture.Header{Name: f.Name, Value: f.Value})
			}
		})
		h.fields.SetMaxStringLength(maxField)
		h.fields.SetAllowedMaxDynamicTableSize(maxTable)
	}
	return t
}

func (t *http2Talk) data(dir int, b []byte, at time.Time) bool {
	h := &t.half[dir]
	h.buf = append(h.buf, b...)
	if dir == t.client && !h.preface {
		if len(h.buf) < len(http2Preface) {
			return strings.HasPrefix(http2Preface, string(h.buf))
		}
		if !bytes.HasPrefix(h.buf, []byte(http2Preface)) {
			return t.lose(dir)
		}
		h.preface, h.buf = true, h.buf[len(http2Preface):]
	}
	have := len(h.buf)
	for len(h.buf) >= 9 {
		size := int(h.buf[0])<<16 | int(h.buf[1])<<8 | int(h.buf[2])
		if size > maxFrame {
			return t.lose(dir)
		}
		if len(h.buf) < 9+size {
			break
		}
		kind, flags, stream := h.buf[3], h.buf[4], binary.BigEndian.Uint32(h.buf[5:])&0x7fffffff
		body := h.buf[9 : 9+size]
		h.buf = h.buf[9+size:]
		if !t.frame(dir, h, kind, flags, stream, body, at) {
			return t.lose(dir)
		}
	}
	if len(h.buf) < have { // What was read is let go, once.
		h.buf = append([]byte(nil), h.buf...)
	}
	return true
}

// unpad takes the padding off a frame. It is to be zero (RFC 9113, section 6.1).
func (t *http2Talk) unpad(dir int, flags byte, b []byte) ([]byte, bool) {
	if flags&flagPadded == 0 {
		return b, true
	}
	if len(b) < 1 || int(b[0]) > len(b)-1 {
		return nil, false
	}
	end := len(b) - int(b[0])
	if len(bytes.Trim(b[end:], "\x00")) > 0 {
		t.flow.keepUnread(t.engine, dir, b[end:])
	}
	return b[1:end], true
}

// frame reads one frame. It returns false when the direction cannot be followed
// any further.
func (t *http2Talk) frame(dir int, h *http2Half, kind, flags byte, stream uint32, b []byte, at time.Time) bool {
	if h.block.open && (kind != frameContinuation || stream != h.block.stream) {
		return false
	}
	var ok bool
	switch kind {
	case frameData:
		if b, ok = t.unpad(dir, flags, b); !ok {
			return false
		}
		side := t.side(dir)
		t.body(side, uint64(stream), b)
		if flags&flagEndStream != 0 {
			t.ended(side, uint64(stream), at)
		}
	case frameHeaders, framePush:
		if b, ok = t.unpad(dir, flags, b); !ok {
			return false
		}
		skip := 0
		if kind == framePush {
			skip = 4 // the promised stream
		} else if flags&flagPriority != 0 {
			skip = 5
		}
		if len(b) < skip {
			return false
		}
		h.block.open, h.block.stream, h.block.flags, h.block.push, h.block.length = true, stream, flags, kind == framePush, 0
		h.header, h.size = nil, 0
		return t.fields(dir, h, flags, b[skip:], at)
	case frameContinuation:
		return h.block.open && t.fields(dir, h, flags, b, at)
	case frameReset:
		t.reset(uint64(stream))
	case frameSettings:
		if len(b) > maxSettings {
			t.flow.keepUnread(t.engine, dir, b)
		}
		if flags&1 != 0 || stream != 0 {
			return true
		}
		for ; len(b) >= 6; b = b[6:] {
			if binary.BigEndian.Uint16(b) == 1 { // the table of who sends to this end
				t.half[1-dir].fields.SetAllowedMaxDynamicTableSize(min(binary.BigEndian.Uint32(b[2:]), maxTable))
			}
		}
	default:
		t.control(dir, kind, flags, b)
	}
	return true
}

// control takes a frame that concerns the two ends only. Pings, farewells and
// frames that nobody knows have room for words too.
func (t *http2Talk) control(dir int, kind, flags byte, b []byte) {
	if kind == framePing && dir != t.client && len(t.pings) < maxPings {
		if t.pings == nil {
			t.pings = map[string]bool{}
		}
		t.pings[string(b[:min(len(b), 8)])] = true
		return
	}
	switch kind {
	case framePriority:
		b = b[min(5, len(b)):]
	case frameWindow:
		b = b[min(4, len(b)):]
	case frameFarewell:
		b = b[min(8, len(b)):] // the last stream and the reason
	case framePing:
		// An answer repeats what the server said, and an own ping counts.
		if flags&1 != 0 && t.pings[string(b)] || len(b) == 8 && len(bytes.Trim(b, "\x00")) <= 4 {
			delete(t.pings, string(b))
			return
		}
	case framePriorityUpdate:
		if len(b) >= 4 && priority.Match(b[4:]) {
			return
		}
	}
	t.flow.keepUnread(t.engine, dir, b)
}

// fields decodes a part of a header, and reads the message when it was the last.
func (t *http2Talk) fields(dir int, h *http2Half, flags byte, b []byte, at time.Time) bool {
	if h.block.length += len(b); h.block.length > maxBlock {
		return false
	}
	if _, err := h.fields.Write(b); err != nil {
		return false
	}
	if flags&flagEndHeaders == 0 {
		return true
	}
	h.block.open = false
	if h.fields.Close() != nil {
		return false
	}
	if !h.block.push {
		t.message(t.side(dir), uint64(h.block.stream), h.header, h.block.flags&flagEndStream != 0, at)
	}
	h.header = nil
	return true
}

// lose gives a direction up: what follows cannot be told apart, and the header
// compression has lost its state.
func (t *http2Talk) lose(dir int) bool {
	h := &t.half[dir]
	t.flow.keepUnread(t.engine, dir, h.buf)
	h.buf = nil
	for _, s := range t.streams {
		s.cut(t.side(dir))
	}
	return false
}

func (t *http2Talk) gap(dir, _ int) bool { return t.lose(dir) }

func (t *http2Talk) end() {
	for dir := range t.half {
		t.flow.keepUnread(t.engine, dir, t.half[dir].buf)
	}
	t.closeAll()
}
