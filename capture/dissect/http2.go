package dissect

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
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
	// maxStreams bounds the streams of a connection that are open at once.
	maxStreams = 1 << 13
	// maxTable bounds the table of a header compression, whatever was settled.
	maxTable = 1 << 20
)

// Frames of HTTP/2 (RFC 9113, section 6).
const (
	frameData         = 0
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	frameContinuation = 9

	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// pseudoFields are the parts of a request's and a reply's first line.
var pseudoFields = []string{":method", ":scheme", ":authority", ":path", ":status"}

const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// An http2Talk reads HTTP/2 from both directions of a connection.
type http2Talk struct {
	engine  *engine
	flow    *flow
	client  int // the direction of the requests
	half    [2]http2Half
	streams map[uint32]*http2Stream
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

// An http2Stream is a request with its reply.
type http2Stream struct {
	x     *exchange
	ended [2]bool
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
	t := &http2Talk{engine: e, flow: f, client: dir, streams: map[uint32]*http2Stream{}}
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
	h.buf = append([]byte(nil), h.buf...)
	return true
}

// unpad takes the padding off a frame.
func unpad(flags byte, b []byte) ([]byte, bool) {
	if flags&flagPadded == 0 {
		return b, true
	}
	if len(b) < 1 || int(b[0]) > len(b)-1 {
		return nil, false
	}
	return b[1 : len(b)-int(b[0])], true
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
		if b, ok = unpad(flags, b); !ok {
			return false
		}
		t.body(dir, stream, b, flags&flagEndStream != 0, at)
	case frameHeaders, framePush:
		if b, ok = unpad(flags, b); !ok {
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
		if s := t.streams[stream]; s != nil {
			if s.x.Failure == "" && !s.x.replied {
				s.x.Failure = "the stream was reset before a reply"
			}
			t.finish(stream, s, 0)
			t.finish(stream, s, 1)
		}
	case frameSettings:
		if flags&1 != 0 || stream != 0 {
			return true
		}
		for ; len(b) >= 6; b = b[6:] {
			if binary.BigEndian.Uint16(b) == 1 { // the table of who sends to this end
				t.half[1-dir].fields.SetAllowedMaxDynamicTableSize(min(binary.BigEndian.Uint32(b[2:]), maxTable))
			}
		}
	default:
		// Priorities, pings, windows, farewells and frames that nobody knows have
		// room for words too.
		if len(bytes.Trim(b, "\x00")) > 4 {
			t.flow.keepUnread(t.engine, dir, b)
		}
	}
	return true
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
		t.message(dir, h.block.stream, h.header, h.block.flags&flagEndStream != 0, at)
	}
	h.header = nil
	return true
}

// message takes a whole header: a request's, a reply's or a trailer.
func (t *http2Talk) message(dir int, stream uint32, header []capture.Header, last bool, at time.Time) {
	pseudo := map[string]string{}
	plain := header[:0:0]
	for _, f := range header {
		// Each of those that are known stands once; any other was sent all the same.
		if _, again := pseudo[f.Name]; slices.Contains(pseudoFields, f.Name) && !again {
			pseudo[f.Name] = f.Value
		} else {
			plain = append(plain, f)
		}
	}
	s := t.streams[stream]
	if s == nil {
		if len(t.streams) >= maxStreams || len(t.engine.http) >= maxExchanges {
			t.engine.full = true
			return
		}
		s = &http2Stream{x: &exchange{}}
		s.x.Flow, s.x.Start, s.x.Version = t.flow.id(), at, "HTTP/2.0"
		t.streams[stream] = s
		t.engine.http = append(t.engine.http, s.x)
	}
	x := s.x
	switch {
	case dir == t.client && x.Method == "" && pseudo[":method"] != "":
		x.Method, x.RequestHeader = pseudo[":method"], plain
		x.URL = t.url(pseudo)
	case dir == t.client:
		x.RequestHeader = append(x.RequestHeader, header...) // A trailer has no first line.
	case pseudo[":status"] != "":
		status, err := strconv.Atoi(pseudo[":status"])
		if err != nil || status < 200 && status >= 100 && !last {
			return // an interim reply: the final one follows
		}
		x.Status, x.ResponseHeader, x.replied = status, plain, true
	default:
		x.ResponseHeader = append(x.ResponseHeader, plain...)
	}
	if last {
		t.ended(stream, s, dir, at)
	}
}

// url makes the absolute URL of a request and notes the host of the flow.
func (t *http2Talk) url(pseudo map[string]string) string {
	host := pseudo[":authority"]
	if host == "" {
		host = t.flow.ends[1-t.client].String()
	} else if t.flow.header == "" {
		t.flow.header = host
	}
	if pseudo[":method"] == "CONNECT" && pseudo[":path"] == "" {
		return "connect://" + host
	}
	scheme := pseudo[":scheme"]
	if scheme != "http" && scheme != "https" {
		scheme = "https"
	}
	return scheme + "://" + host + "/" + strings.TrimPrefix(pseudo[":path"], "/")
}

// body takes content of a message.
func (t *http2Talk) body(dir int, stream uint32, b []byte, last bool, at time.Time) {
	s := t.streams[stream]
	if s == nil {
		// Content of a message whose header nobody saw is content all the same.
		t.flow.keepUnread(t.engine, dir, b)
		return
	}
	x := s.x
	if dir == t.client {
		x.BytesUp += int64(len(b))
		n := t.engine.room(len(x.RequestBody), len(b))
		x.RequestBody = append(x.RequestBody, b[:n]...)
		x.RequestTruncated = x.RequestTruncated || n < len(b)
	} else {
		x.BytesDown += int64(len(b))
		n := t.engine.room(len(x.ResponseBody), len(b))
		x.ResponseBody = append(x.ResponseBody, b[:n]...)
		x.ResponseTruncated = x.ResponseTruncated || n < len(b)
	}
	if last {
		t.ended(stream, s, dir, at)
	}
}

// ended notes that a direction of a stream has come to its end.
func (t *http2Talk) ended(stream uint32, s *http2Stream, dir int, at time.Time) {
	if dir == t.client {
		s.x.Sent = at
	} else {
		s.x.End = at
	}
	t.finish(stream, s, dir)
}

func (t *http2Talk) finish(stream uint32, s *http2Stream, dir int) {
	s.ended[dir] = true
	if s.ended[0] && s.ended[1] {
		t.close(s)
		delete(t.streams, stream)
	}
}

// close notes what of an exchange never came.
func (t *http2Talk) close(s *http2Stream) {
	x := s.x
	x.RequestTruncated = x.RequestTruncated || x.Sent.IsZero()
	x.ResponseTruncated = x.ResponseTruncated || x.replied && x.End.IsZero()
	if x.Method == "" {
		x.Failure = incomplete
	}
	if x.Failure == "" && !x.replied {
		x.Failure = "no reply"
	}
}

// lose gives a direction up: what follows cannot be told apart, and the header
// compression has lost its state.
func (t *http2Talk) lose(dir int) bool {
	h := &t.half[dir]
	t.flow.keepUnread(t.engine, dir, h.buf)
	h.buf = nil
	for _, s := range t.streams {
		if s.ended[dir] {
			continue
		}
		if dir == t.client {
			s.x.RequestTruncated = true
		} else {
			s.x.ResponseTruncated = true
		}
	}
	return false
}

func (t *http2Talk) gap(dir, _ int) bool { return t.lose(dir) }

func (t *http2Talk) end() {
	for dir := range t.half {
		t.flow.keepUnread(t.engine, dir, t.half[dir].buf)
	}
	for _, s := range t.streams {
		t.close(s)
	}
	t.streams = nil
}
