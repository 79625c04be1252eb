package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture"
)

const (
	maxStreams = 4096 // open at once, as far as the reader follows them
	// maxTable bounds the header table that a peer may ask for. The usual size
	// is 4096; browsers ask for 65536.
	maxTable = 1 << 20
	// maxControl bounds frames whose payload is wanted but is no header.
	maxControl = 64
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// relayHTTP2 passes an HTTP/2 connection on frame for frame and reads along.
// Flow control, settings and priorities stay a matter of the two ends.
func (c *conn) relayHTTP2(phone *bufio.Reader, toPhone side, up net.Conn, scheme string) {
	t := newTap(c, scheme)
	err := c.duplex(rawRelay{phone: phone, toPhone: toPhone, up: up}, up, t.up.feed, t.down.feed)
	why := "the connection ended before the reply"
	if err != nil {
		why = "the connection " + err.Error()
	}
	t.end(why)
}

// refuseHTTP2 tells a phone that speaks nothing but HTTP/2 that there is no
// server, after reading what it wanted to send there.
func (c *conn) refuseHTTP2(ctx context.Context, phone side, br *bufio.Reader, why error) {
	t := newTap(c, "https")
	t.refuses = why.Error()
	// To the server this is HTTP/2 without TLS, which was taken off already.
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	ln := &oneConn{conn: &tapped{meter: c.raw, w: phone, r: br, sink: t.up.feed}, done: make(chan struct{})}
	server := &http.Server{
		Protocols: &h2, ReadHeaderTimeout: c.s.o.HeaderTimeout, IdleTimeout: c.s.o.HeaderTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				_ = ln.Close()
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			http.Error(w, "offproof: "+why.Error(), http.StatusBadGateway)
		}),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	_ = server.Serve(ln) // always ends with an error: the one connection is over
	t.end(why.Error())
}

// oneConn is a listener with a single connection to give.
type oneConn struct {
	once sync.Once
	conn net.Conn
	end  sync.Once
	done chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	var conn net.Conn
	l.once.Do(func() { conn = l.conn })
	if conn == nil {
		<-l.done
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l *oneConn) Close() error {
	l.end.Do(func() { close(l.done) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// tapped shows a sink all that is read.
type tapped struct {
	*meter
	w    io.Writer
	r    *bufio.Reader
	sink func([]byte)
}

func (t *tapped) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.sink(b[:n])
	return n, err
}

func (t *tapped) Write(b []byte) (int, error) { return t.w.Write(b) }

// A tap reads both directions of an HTTP/2 connection without taking part.
type tap struct {
	c      *conn
	scheme string

	mu      sync.Mutex
	streams map[uint32]*stream
	refuses string // why there is no server that could reply
	blind   bool   // the reader lost its place; what follows is not read
	aside   *exchange
	pings   map[string]bool // of the server, that the phone has not answered
	up      direction
	down    direction
}

// A stream is one exchange of the connection.
type stream struct {
	x         *exchange
	method    string
	sink      func([]byte) // takes the request's body
	down      func([]byte)
	replied   bool
	requested bool // the request is complete
	finished  bool // the reply is
}

// A direction is one side's half of the connection.
type direction struct {
	t     *tap
	phone bool
	dec   *hpack.Decoder

	skip    int    // bytes of the preface still to come
	head    []byte // of the current frame, as far as it has come
	typ     http2.FrameType
	flags   http2.Flags
	id      uint32
	left    int    // bytes of the payload still to come
	data    int    // bytes of content in the rest of a DATA frame
	padded  bool   // the length of the padding is the next byte
	payload []byte // of a frame that is wanted whole
	long    bool   // the frame is longer than any of its kind needs to be

	more   bool   // a header block goes on in the next frame
	block  []byte // what there is of it
	fields []capture.Header
	size   int
	ends   bool // the block's stream ends with it
	push   bool // the block is a promise's
}

func newTap(c *conn, scheme string) *tap {
	t := &tap{c: c, scheme: scheme, streams: make(map[uint32]*stream)}
	for _, d := range []*direction{&t.up, &t.down} {
		d.t = t
		d.dec = hpack.NewDecoder(4096, d.emit)
		d.dec.SetAllowedMaxDynamicTableSize(maxTable)
		d.dec.SetMaxStringLength(c.s.o.MaxHeader)
	}
	t.up.phone = true
	t.up.skip = len(preface)
	return t
}

// lose gives up reading: an exchange that cannot be read must not look like one
// that was not there.
func (t *tap) lose(why string) {
	if t.blind {
		return
	}
	t.blind = true
	t.c.s.rec.problem("an HTTP/2 connection could not be followed: " + why)
	t.c.flow.update(func(f *capture.Flow) {
		f.Visibility = capture.Metadata
		if f.Failure == "" {
			f.Failure = "not readable as HTTP/2: " + why
		}
	})
}

// end closes what is still open.
func (t *tap) end(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, s := range t.streams {
		s.x.fail(why)
		delete(t.streams, id)
	}
	t.endAside()
}

// feed takes the next bytes of the direction.
func (d *direction) feed(b []byte) {
	d.t.mu.Lock()
	defer d.t.mu.Unlock()
	for len(b) > 0 && !d.t.blind {
		switch {
		case d.skip > 0:
			n := min(d.skip, len(b))
			at := len(preface) - d.skip
			if string(b[:n]) != preface[at:at+n] {
				d.t.lose("it does not begin with the preface")
				return
			}
			d.skip -= n
			b = b[n:]
		case d.left == 0:
			n := min(9-len(d.head), len(b))
			d.head = append(d.head, b[:n]...)
			b = b[n:]
			if len(d.head) == 9 {
				d.open()
			}
		default:
			n := min(d.left, len(b))
			d.take(b[:n])
			d.left -= n
			b = b[n:]
			if d.left == 0 {
				d.closeFrame()
			}
		}
	}
}

// open reads a frame's header.
func (d *direction) open() {
	h := d.head
	d.left = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	d.typ, d.flags = http2.FrameType(h[3]), http2.Flags(h[4])
	d.id = binary.BigEndian.Uint32(h[5:]) &^ (1 << 31)
	d.head = d.head[:0]
	d.payload, d.long = d.payload[:0], false
	d.padded = d.typ == http2.FrameData && d.flags.Has(http2.FlagDataPadded)
	d.data = d.left
	if d.more != (d.typ == http2.FrameContinuation) {
		d.t.lose("a header block was interrupted")
		return
	}
	if d.left == 0 {
		d.closeFrame()
	}
}

// take handles a part of the current frame's payload.
func (d *direction) take(b []byte) {
	switch d.typ {
	case http2.FrameData:
		if d.padded {
			d.padded = false
			if d.data = d.left - 1 - int(b[0]); d.data < 0 {
				d.t.lose("padding is longer than its frame")
				return
			}
			b = b[1:]
		}
		n := min(d.data, len(b))
		d.data -= n
		d.content(b[:n])
		d.padding(b[n:])
	case http2.FrameHeaders, http2.FrameContinuation, http2.FramePushPromise:
		if len(d.block)+len(d.payload)+len(b) > d.t.c.s.o.MaxHeader {
			d.t.lose(fmt.Sprintf("a header is larger than %d bytes", d.t.c.s.o.MaxHeader))
			return
		}
		d.payload = append(d.payload, b...)
	case http2.FrameRSTStream, http2.FramePing:
		if len(d.payload) < maxControl {
			d.payload = append(d.payload, b[:min(len(b), maxControl-len(d.payload))]...)
		}
	default:
		d.control(b)
	}
}

// closeFrame acts on a frame that is complete.
func (d *direction) closeFrame() {
	switch d.typ {
	case http2.FrameData:
		if d.flags.Has(http2.FlagDataEndStream) {
			d.endStream(d.id)
		}
	case http2.FrameHeaders:
		d.headers(false)
	case http2.FramePushPromise:
		d.headers(true)
	case http2.FrameContinuation:
		d.block = append(d.block, d.payload...)
		if d.flags.Has(http2.FlagContinuationEndHeaders) {
			d.decode()
		}
	case http2.FrameRSTStream:
		if s := d.t.streams[d.id]; s != nil && len(d.payload) >= 4 {
			code := http2.ErrCode(binary.BigEndian.Uint32(d.payload))
			who := "the server"
			if d.phone {
				who = "the phone"
			}
			s.x.fail(fmt.Sprintf("%s reset the stream: %v", who, code))
			delete(d.t.streams, d.id)
		}
	case http2.FramePing:
		d.ping()
	default:
		d.controlled()
	}
}

// headers begins a header block; what stands around it in the frame goes.
func (d *direction) headers(push bool) {
	b := d.payload
	pad, fixed := 0, 0
	if d.flags.Has(http2.FlagHeadersPadded) {
		if len(b) < 1 {
			d.t.lose("a padded header is empty")
			return
		}
		pad, b = int(b[0]), b[1:]
	}
	if push {
		fixed = 4
	} else if d.flags.Has(http2.FlagHeadersPriority) {
		fixed = 5
	}
	if len(b) < fixed+pad {
		d.t.lose("a header is shorter than its padding")
		return
	}
	d.padding(b[len(b)-pad:])
	d.block = append(d.block[:0], b[fixed:len(b)-pad]...)
	d.ends = !push && d.flags.Has(http2.FlagHeadersEndStream)
	d.push, d.more = push, true
	if d.flags.Has(http2.FlagHeadersEndHeaders) {
		d.decode()
	}
}

// emit collects decoded fields. Their total is bounded, because a few bytes can
// name a large field many times.
func (d *direction) emit(f hpack.HeaderField) {
	d.size += len(f.Name) + len(f.Value) + 32
	if d.size <= 4*d.t.c.s.o.MaxHeader {
		d.fields = append(d.fields, capture.Header{Name: f.Name, Value: f.Value})
	}
}

// decode reads a whole header block. Promises are decoded as well, because the
// tables of both ends must stay the same as ours.
func (d *direction) decode() {
	d.fields, d.size, d.more = nil, 0, false
	_, err := d.dec.Write(d.block)
	if err == nil {
		err = d.dec.Close()
	}
	d.block = d.block[:0]
	switch {
	case err != nil:
		d.t.lose(fmt.Sprintf("a header could not be decoded: %v", err))
		return
	case d.size > 4*d.t.c.s.o.MaxHeader:
		d.t.lose("a header unfolds to an absurd size")
		return
	case d.push:
		return
	case d.phone:
		d.request()
	default:
		d.response()
	}
	if d.ends {
		d.endStream(d.id)
	}
}

// pseudoFields are those that the first line of a message is made of.
var pseudoFields = []string{":method", ":scheme", ":authority", ":path", ":status"}

// split takes the pseudo fields out. One that is not known, or stands there again,
// was sent all the same and stays a field.
func split(fields []capture.Header) (pseudo map[string]string, rest []capture.Header) {
	pseudo = make(map[string]string, 5)
	for _, f := range fields {
		if _, again := pseudo[f.Name]; slices.Contains(pseudoFields, f.Name) && !again {
			pseudo[f.Name] = f.Value
		} else {
			rest = append(rest, f)
		}
	}
	return pseudo, rest
}

func (d *direction) request() {
	t := d.t
	pseudo, fields := split(d.fields)
	if s := t.streams[d.id]; s != nil {
		s.x.trailers(d.fields, false) // A trailer has no first line.
		return
	}
	if len(t.streams) >= maxStreams {
		t.lose("too many streams are open at once")
		return
	}
	to := target{scheme: pseudo[":scheme"], authority: pseudo[":authority"], path: pseudo[":path"]}
	if to.scheme == "" {
		to.scheme = t.scheme
	}
	if to.authority == "" {
		to.authority = (&head{fields: fields}).get("host")
	}
	if to.path == "" || to.path[0] != '/' {
		to.path = "/" + to.path
	}
	s := &stream{method: pseudo[":method"]}
	s.x = t.c.s.rec.newExchange(capture.Exchange{
		Flow: t.c.flow.id(), Start: t.c.s.o.Clock(), Method: s.method, URL: to.url(),
		Version: "HTTP/2.0", RequestHeader: fields,
	})
	s.sink, s.down = s.x.up, s.x.down
	if slices.Contains(fields, capture.Header{Name: ":protocol", Value: "websocket"}) {
		s.sink, s.down = (&frames{sink: s.x.up}).feed, (&frames{sink: s.x.down}).feed
	}
	t.streams[d.id] = s
}

func (d *direction) response() {
	s := d.t.streams[d.id]
	if s == nil {
		return // promised by the server, or abandoned by the phone
	}
	pseudo, fields := split(d.fields)
	if s.replied {
		s.x.trailers(fields, true)
		return
	}
	status, err := strconv.Atoi(pseudo[":status"])
	if err != nil || status < 100 || status > 999 {
		d.t.lose(fmt.Sprintf("a reply has the status %.20q", pseudo[":status"]))
		return
	}
	if status < 200 && !d.ends {
		return // an interim reply
	}
	s.replied = true
	s.x.replied(status, fields)
}

func (d *direction) endStream(id uint32) {
	s := d.t.streams[id]
	if s == nil {
		return
	}
	now := d.t.c.s.o.Clock()
	if d.phone {
		s.x.sent(now)
		if d.t.refuses != "" {
			s.x.fail(d.t.refuses)
			delete(d.t.streams, id)
			return
		}
		if s.requested = true; s.finished {
			delete(d.t.streams, id)
		}
		return
	}
	// The reply is complete, even if the phone still sends: what it sends is
	// no longer read by the server, yet it leaves the phone and is kept.
	s.x.finish(now)
	if s.finished = true; s.requested {
		delete(d.t.streams, id)
	}
}
