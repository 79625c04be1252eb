package dissect

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// maxHTTPHead bounds the first line and the header of a message.
	maxHTTPHead = 256 << 10
	// maxChunkLine bounds the line that tells the size of a chunk.
	maxChunkLine = 16 << 10
	// maxExchanges bounds the exchanges of a whole file, and maxEarly the replies
	// of one connection that wait for their requests.
	maxExchanges = 1 << 18
	maxEarly     = 64
)

// An exchange is a request with its reply while they are being read.
type exchange struct {
	capture.Exchange
	replied bool
}

// httpState is what an HTTP/1 direction expects next.
type httpState uint8

const (
	expectHead httpState = iota
	expectBody           // of a stated length
	expectRest           // a body that ends with the connection
	expectSize           // the line before a chunk
	expectChunk
	expectChunkEnd
	expectTrailer
	expectNothing // the direction is not understood any more
)

// An httpHalf is one direction of an HTTP/1 connection.
type httpHalf struct {
	state httpState
	buf   []byte // an incomplete head or line
	left  int64  // bytes of the body or chunk that have not come
	x     *exchange
	begun time.Time
	last  time.Time
}

// An httpTalk reads HTTP/1 from both directions of a connection, pipelined
// requests included.
type httpTalk struct {
	engine *engine
	flow   *flow
	talk   *talk
	client int // the direction of the requests
	half   [2]httpHalf
	// waiting are requests whose reply has not begun; early are replies whose
	// request has not been read, because a hole in its direction held it up.
	waiting, early []*exchange
}

func newHTTP(e *engine, f *flow, t *talk, dir int, request bool) *httpTalk {
	h := &httpTalk{engine: e, flow: f, talk: t, client: dir}
	if !request {
		h.client = 1 - dir
	}
	f.ask(h.client)
	return h
}

func (t *httpTalk) data(dir int, b []byte, at time.Time) bool {
	h := &t.half[dir]
	if h.state == expectNothing {
		*h = httpHalf{}
	}
	h.last = at
	for len(b) > 0 {
		switch h.state {
		case expectHead:
			if len(h.buf) == 0 {
				// Blank lines may stand before a request.
				if b = bytes.TrimLeft(b, "\r\n"); len(b) == 0 {
					return true
				}
				h.begun = at
			}
			var whole bool
			if b, whole = h.gather(b, maxHTTPHead, true); !whole {
				if len(h.buf) > maxHTTPHead {
					return t.lose(dir, b)
				}
				return true
			}
			head := h.buf
			h.buf = nil
			next, ok := t.message(dir, h, head)
			if !ok {
				t.flow.keepUnread(t.engine, dir, head)
				return t.lose(dir, b)
			}
			if next != nil {
				next(b, at)
				return true
			}
		case expectBody, expectChunk, expectRest:
			n := len(b)
			if h.state != expectRest {
				n = int(min(int64(n), h.left))
			}
			t.body(dir, h, b[:n])
			h.left -= int64(n)
			b = b[n:]
			t.advance(dir, h)
		case expectSize, expectChunkEnd, expectTrailer:
			var whole bool
			if b, whole = h.gather(b, maxChunkLine, false); !whole {
				if len(h.buf) > maxChunkLine {
					return t.lose(dir, b)
				}
				return true
			}
			line := strings.TrimRight(string(h.buf), "\r\n")
			if !t.line(dir, h, line) {
				return t.lose(dir, b)
			}
			h.buf = nil
		case expectNothing:
			return false
		}
	}
	return true
}

// gather moves bytes to the buffer until it holds a whole line, or a whole head
// with the blank line behind it. It returns what is left.
func (h *httpHalf) gather(b []byte, limit int, head bool) ([]byte, bool) {
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 || len(h.buf)+i > limit {
			n := min(len(b), limit+1-min(len(h.buf), limit))
			h.buf = append(h.buf, b[:n]...)
			return b[n:], false
		}
		h.buf = append(h.buf, b[:i+1]...)
		b = b[i+1:]
		if !head || bytes.HasSuffix(h.buf, []byte("\n\r\n")) || bytes.HasSuffix(h.buf, []byte("\n\n")) {
			return b, true
		}
	}
}

// Why a request has no reply, when it is not whole itself.
const (
	incomplete = "the request is incomplete in the capture"
	neverEnded = "the request was never completed"
)

// lose gives a direction up until a message begins in a segment of its own. What
// was sent and is not understood, rest included, is kept to be searched.
func (t *httpTalk) lose(dir int, rest []byte) bool {
	h := &t.half[dir]
	t.partial(dir, h, incomplete)
	t.flow.keepUnread(t.engine, dir, h.buf)
	t.flow.keepUnread(t.engine, dir, rest)
	if h.x != nil {
		t.cutShort(dir, h.x)
		if dir == t.client && h.x.Failure == "" && !h.x.replied {
			h.x.Failure = incomplete
		}
	}
	*h = httpHalf{state: expectNothing}
	return false
}

// partial makes an exchange of a request whose head never ended: what it holds
// was sent all the same.
func (t *httpTalk) partial(dir int, h *httpHalf, why string) {
	if dir != t.client || h.state != expectHead || len(h.buf) == 0 {
		return
	}
	head := h.buf
	h.buf = nil
	if _, ok := t.message(dir, h, head); !ok {
		t.flow.keepUnread(t.engine, dir, head)
		return
	}
	x := t.engine.http[len(t.engine.http)-1]
	x.Sent, x.RequestTruncated = time.Time{}, true
	if !x.replied {
		x.Failure = why
	}
}

func (t *httpTalk) cutShort(dir int, x *exchange) {
	if dir == t.client {
		x.RequestTruncated = true
	} else {
		x.ResponseTruncated = true
	}
}

// message reads the head of a request or reply. Where another protocol follows,
// it returns a function that takes the bytes behind the head.
func (t *httpTalk) message(dir int, h *httpHalf, head []byte) (func([]byte, time.Time), bool) {
	first, rest, _ := strings.Cut(string(head), "\n")
	first = strings.TrimRight(first, "\r")
	header := parseHeader(rest)
	if dir == t.client {
		return nil, t.request(h, first, header)
	}
	return t.reply(dir, h, first, header)
}

// parseHeader reads header fields, in their order and spelling. A continued
// line belongs to the field before it.
func parseHeader(s string) []capture.Header {
	var all []capture.Header
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if (line[0] == ' ' || line[0] == '\t') && len(all) > 0 {
			all[len(all)-1].Value += " " + strings.Trim(line, " \t")
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			// No field, and yet it was sent: a value without a name is searched.
			name, value = "", line
		}
		all = append(all, capture.Header{Name: name, Value: strings.Trim(value, " \t")})
	}
	return all
}

// field is the value of the first header field of that name.
func field(header []capture.Header, name string) (string, bool) {
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			return f.Value, true
		}
	}
	return "", false
}

func (t *httpTalk) request(h *httpHalf, line string, header []capture.Header) bool {
	method, rest, ok := strings.Cut(line, " ")
	i := strings.LastIndexByte(rest, ' ')
	if !ok || i < 0 || !strings.HasPrefix(rest[i+1:], "HTTP/1.") {
		return false
	}
	if len(t.engine.http) >= maxExchanges {
		t.engine.full = true
		return false
	}
	x := &exchange{}
	if len(t.early) > 0 && !t.early[0].Start.Before(h.begun) {
		x, t.early = t.early[0], t.early[1:]
	} else {
		t.waiting = append(t.waiting, x)
	}
	x.Flow, x.Start, x.Method = t.flow.id(), h.begun, method
	x.Version, x.RequestHeader = rest[i+1:], header
	x.URL = t.url(method, strings.TrimSpace(rest[:i]), header)
	t.engine.http = append(t.engine.http, x)
	h.x = x
	t.frame(t.client, h, header, false)
	return true
}

// url makes the absolute URL of a request and notes the host of the flow.
func (t *httpTalk) url(method, target string, header []capture.Header) string {
	host, ok := field(header, "Host")
	if !ok || host == "" {
		host = t.flow.ends[1-t.client].String()
	} else if t.flow.header == "" {
		t.flow.header = host
	}
	switch {
	case method == http.MethodConnect:
		return "connect://" + target
	case strings.Contains(target, "://") && !strings.HasPrefix(target, "/"):
		return target
	case strings.HasPrefix(target, "/"):
		return t.talk.scheme() + host + target
	}
	return t.talk.scheme() + host + "/" + target
}

func (t *httpTalk) reply(dir int, h *httpHalf, line string, header []capture.Header) (func([]byte, time.Time), bool) {
	version, rest, ok := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !ok || !strings.HasPrefix(version, "HTTP/1.") || err != nil || status < 100 || status > 999 {
		return nil, false
	}
	if status < 200 && status != 101 {
		return nil, true // an interim reply: the final one follows
	}
	x := t.asked(h)
	h.x = x
	x.Status, x.ResponseHeader, x.replied, x.Failure = status, header, true, ""
	switch {
	case status == 101, x.Method == http.MethodConnect && status < 300:
		if x.Method == http.MethodConnect && t.flow.connect == "" {
			t.flow.connect = strings.TrimPrefix(x.URL, "connect://")
		}
		x.End = h.last
		h.x = nil
		up := &t.half[t.client]
		early, at := up.buf, up.last
		up.buf = nil
		t.end()
		t.talk.change()
		if upgrade, _ := field(header, "Upgrade"); strings.EqualFold(strings.TrimSpace(upgrade), "websocket") {
			t.talk.adopt(newWebSocket(t, x))
		}
		return func(b []byte, now time.Time) {
			// A client may speak the other protocol before it is told that it may.
			if len(early) > 0 {
				t.talk.data(t.engine, t.flow, t.client, early, at)
			}
			if len(b) > 0 {
				t.talk.data(t.engine, t.flow, dir, b, now)
			}
		}, true
	case x.Method == http.MethodHead, status == 204, status == 304:
		t.finish(dir, h)
	default:
		t.frame(dir, h, header, true)
	}
	return nil, true
}

// asked finds the request of a reply that begins.
func (t *httpTalk) asked(h *httpHalf) *exchange {
	if len(t.waiting) > 0 && !h.begun.Before(t.waiting[0].Start) {
		x := t.waiting[0]
		t.waiting = t.waiting[1:]
		return x
	}
	x := &exchange{}
	x.Start = h.begun
	if len(t.early) < maxEarly {
		t.early = append(t.early, x)
	}
	return x
}

// frame finds out how long the body of a message is.
func (t *httpTalk) frame(dir int, h *httpHalf, header []capture.Header, reply bool) {
	if v, ok := field(header, "Transfer-Encoding"); ok && strings.Contains(strings.ToLower(v), "chunked") {
		h.state = expectSize
		return
	}
	if v, ok := field(header, "Content-Length"); ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); err == nil && n >= 0 {
			h.state, h.left = expectBody, n
			t.advance(dir, h)
			return
		}
	}
	if reply {
		h.state = expectRest
		return
	}
	t.finish(dir, h)
}

// body adds bytes to the body of the present message.
func (t *httpTalk) body(dir int, h *httpHalf, b []byte) {
	x := h.x
	if dir == t.client {
		x.BytesUp += int64(len(b))
		n := t.engine.room(len(x.RequestBody), len(b))
		x.RequestBody = append(x.RequestBody, b[:n]...)
		x.RequestTruncated = x.RequestTruncated || n < len(b)
		return
	}
	x.BytesDown += int64(len(b))
	if x.Method == "" {
		// A reply to a request that nobody saw is not worth its memory, as long
		// as the request has not turned up.
		x.ResponseTruncated = true
		return
	}
	n := t.engine.replyRoom(len(x.ResponseBody), len(b))
	x.ResponseBody = append(x.ResponseBody, b[:n]...)
	x.ResponseTruncated = x.ResponseTruncated || n < len(b)
}

// advance goes on to what follows a body or chunk that is complete.
func (t *httpTalk) advance(dir int, h *httpHalf) {
	switch {
	case h.state == expectBody && h.left == 0:
		t.finish(dir, h)
	case h.state == expectChunk && h.left == 0:
		h.state = expectChunkEnd
	}
}

// line reads a line of the chunked framing.
func (t *httpTalk) line(dir int, h *httpHalf, line string) bool {
	switch h.state {
	case expectSize:
		size, extension, _ := strings.Cut(line, ";")
		// Nobody uses extensions of chunks, so what one says is worth a look.
		t.flow.keepUnread(t.engine, dir, []byte(extension))
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
		if err != nil || n < 0 {
			return false
		}
		h.state, h.left = expectChunk, n
		if n == 0 {
			h.state = expectTrailer
		}
		return true
	case expectChunkEnd:
		h.state = expectSize
		return line == ""
	case expectTrailer:
		if line == "" {
			t.finish(dir, h)
			return true
		}
		// Trailers are fields that were sent, so they belong to the header.
		more := parseHeader(line)
		if dir == t.client {
			h.x.RequestHeader = append(h.x.RequestHeader, more...)
		} else {
			h.x.ResponseHeader = append(h.x.ResponseHeader, more...)
		}
		return true
	case expectHead, expectBody, expectRest, expectChunk, expectNothing:
	}
	return false
}

// finish ends the present message.
func (t *httpTalk) finish(dir int, h *httpHalf) {
	if dir == t.client {
		h.x.Sent = h.last
	} else {
		h.x.End = h.last
	}
	h.state, h.x, h.left, h.buf = expectHead, nil, 0, nil
}

func (t *httpTalk) gap(dir, n int) bool {
	h := &t.half[dir]
	within := (h.state == expectBody || h.state == expectChunk) && h.left >= int64(n) || h.state == expectRest
	if !within {
		return t.lose(dir, nil)
	}
	t.cutShort(dir, h.x)
	if dir == t.client {
		h.x.BytesUp += int64(n)
	} else {
		h.x.BytesDown += int64(n)
	}
	if h.state != expectRest {
		h.left -= int64(n)
	}
	t.advance(dir, h)
	return true
}

func (t *httpTalk) end() {
	why := "no reply"
	if h := t.flow.tcp.half; h[0].rst || h[1].rst {
		why = "the connection was reset before a reply"
	}
	up, down := &t.half[t.client], &t.half[1-t.client]
	t.partial(t.client, up, neverEnded)
	if up.x != nil && up.state != expectHead {
		up.x.RequestTruncated = true
		if up.x.Failure == "" && !up.x.replied {
			up.x.Failure = neverEnded
		}
	}
	if down.x != nil {
		if down.state == expectRest {
			down.x.End = down.last
		} else {
			down.x.ResponseTruncated = true
		}
	}
	for _, x := range t.waiting {
		if x.Failure == "" {
			x.Failure = why
		}
	}
	t.waiting, t.early = nil, nil
}
