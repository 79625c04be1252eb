package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/offproof/offproof/capture"
)

// A leg is the upstream half of an HTTP/1 connection. A watcher waits for the
// first byte of each reply, so that a server that closes an idle connection is
// noticed at once and the phone told: its own retries depend on it.
type leg struct {
	conn net.Conn
	br   *bufio.Reader
	bw   *bufio.Writer

	again chan struct{} // wakes the watcher
	first chan error    // its answer: a byte is there, or why none will come
	busy  atomic.Bool   // a request was sent
	used  bool          // a reply was read
	idle  func()        // called when the server ends an idle connection
	quit  chan struct{}
	once  sync.Once
}

func newLeg(c *conn, up net.Conn, idle func()) *leg {
	l := &leg{
		conn: up, br: bufio.NewReaderSize(up, bufferSize), bw: bufio.NewWriterSize(up, bufferSize),
		again: make(chan struct{}, 1), first: make(chan error, 1), quit: make(chan struct{}), idle: idle,
	}
	l.again <- struct{}{}
	c.own(l)
	c.s.work.Go(l.watch)
	return l
}

func (l *leg) watch() {
	for {
		select {
		case <-l.again:
		case <-l.quit:
			return
		}
		_, err := l.br.Peek(1)
		if !l.busy.Load() && l.idle != nil {
			l.idle()
		}
		l.first <- err
		if err != nil {
			return
		}
	}
}

// rest ends an exchange: the watcher takes over.
func (l *leg) rest() {
	l.used = true
	l.busy.Store(false)
	l.again <- struct{}{}
}

// Close ends the leg, and its watcher with it.
func (l *leg) Close() error {
	l.once.Do(func() { close(l.quit) })
	return l.conn.Close()
}

// A side is one end of a relay.
type side interface {
	io.Writer
	io.Closer
	CloseWrite() error
}

// A relay passes HTTP/1 messages between the phone and its servers, one
// exchange after another.
type relay struct {
	c      *conn
	client *bufio.Reader
	phone  side
	out    *bufio.Writer // to phone
	// plain means that the phone names the server with each request; otherwise
	// leg is the one server, or legErr why there is none.
	plain             bool
	scheme, authority string
	leg               *leg
	legErr            error
	legFor            string // scheme and authority, when plain
}

// run relays exchanges until one side ends.
func (r *relay) run(ctx context.Context, h *head) {
	for r.exchange(ctx, h) {
		var err error
		if h, err = r.c.nextHead(r.client); err != nil {
			if errors.Is(err, errMalformed) {
				r.c.flow.fail(fmt.Sprintf("a later request could not be read: %v", err))
				r.c.answer(r.phone, r.client, 400, "the request could not be read")
			}
			return
		}
	}
	r.c.linger(r.phone, r.client)
}

// A target is where a request goes.
type target struct {
	scheme, authority, path string
	userinfo                string // up to its @
}

// url puts together what the request named.
func (t target) url() string { return t.scheme + "://" + t.userinfo + t.authority + t.path }

func (r *relay) target(h *head) (target, error) {
	t := target{scheme: r.scheme, authority: r.authority, path: h.first[1]}
	if scheme, rest, ok := strings.Cut(h.first[1], "://"); ok && token(scheme) {
		t.scheme = strings.ToLower(scheme)
		i := strings.IndexAny(rest, "/?#")
		if i < 0 {
			i = len(rest)
		}
		t.authority, t.path = rest[:i], rest[i:]
		at := strings.LastIndexByte(t.authority, '@') + 1
		t.userinfo, t.authority = t.authority[:at], t.authority[at:]
	} else if r.plain {
		return t, fmt.Errorf("%w: not a request to a proxy: %.40q", errMalformed, h.first[1])
	} else if host := h.get("Host"); host != "" {
		t.authority = host
	}
	if !strings.HasPrefix(t.path, "/") {
		t.path = "/" + t.path
	}
	if t.authority == "" || (t.scheme != "http" && t.scheme != "https") {
		return t, fmt.Errorf("%w: no server in %.40q", errMalformed, h.first[1])
	}
	return t, nil
}

// exchange relays one request and its reply, and says whether another may
// follow.
func (r *relay) exchange(ctx context.Context, h *head) bool {
	to, err := r.target(h)
	if err != nil {
		r.c.flow.fail(err.Error())
		r.c.answer(r.phone, r.client, 400, "no server is named")
		return false
	}
	x := r.c.s.rec.newExchange(capture.Exchange{
		Flow: r.c.flow.id(), Start: r.c.s.o.Clock(), Method: h.first[0], URL: to.url(),
		Version: h.first[2], RequestHeader: h.fields,
	})
	kind, length, err := h.requestBody()
	if err != nil {
		x.fail(err.Error())
		r.c.answer(r.phone, r.client, 400, "the request's body has no clear end")
		return false
	}
	if r.plain {
		r.c.flow.update(func(f *capture.Flow) {
			if f.Host == "" {
				f.Host, f.HostFrom = hostOf(to.authority), capture.FromHeader
			}
		})
		if strings.EqualFold(to.authority, BeaconHost) {
			return r.beacon(to, x)
		}
		r.reach(ctx, to)
	} else if r.leg != nil {
		r.leg.busy.Store(true)
		select {
		case <-r.leg.first: // the server has ended it, or speaks out of turn
			x.fail("the server had closed the idle connection")
			return false
		default:
		}
	}
	if r.leg == nil {
		return r.refuse(h, x, kind, length)
	}
	return r.forward(h, to, x, kind, length)
}

func hostOf(authority string) string {
	if host, _, err := net.SplitHostPort(authority); err == nil {
		return host
	}
	return strings.Trim(authority, "[]")
}

// reach makes leg the connection to the server of a plain request. One that is
// still good is used again.
func (r *relay) reach(ctx context.Context, to target) {
	key := to.scheme + "://" + strings.ToLower(to.authority)
	if r.leg != nil {
		r.leg.busy.Store(true)
		select {
		case <-r.leg.first:
		default:
			if key == r.legFor {
				return
			}
		}
		r.c.disown(r.leg)
		r.leg = nil
	}
	r.legFor = key
	port := "80"
	if to.scheme == "https" {
		port = "443"
	}
	hostport := to.authority
	if _, _, err := net.SplitHostPort(hostport); err != nil {
		hostport = net.JoinHostPort(hostOf(hostport), port)
	}
	if _, _, err := splitPort(hostport); err != nil {
		r.legErr = err
		return
	}
	up, err := r.c.connect(ctx, hostport)
	if err == nil && to.scheme == "https" {
		up, _, err = r.c.secure(ctx, hostport, hostOf(to.authority), []string{"http/1.1"}, up)
	}
	if r.legErr = err; err != nil {
		return
	}
	r.leg = newLeg(r.c, up, nil)
	r.leg.busy.Store(true)
}

// beacon answers a request to the proxy's own host.
func (r *relay) beacon(to target, x *exchange) bool {
	now := r.c.s.o.Clock()
	x.sent(now)
	status := "404 Not Found"
	recognise, known := r.c.s.beacons.find(to.path)
	code := 404
	if known {
		status, code = "204 No Content", 204
	}
	_, err := fmt.Fprintf(r.phone, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status)
	if err != nil {
		x.fail(fmt.Sprintf("the phone closed the connection: %v", err))
	}
	x.replied(code, nil)
	x.finish(r.c.s.o.Clock())
	if known {
		recognise(now)
	}
	return false
}

// refuse tells the phone that there is no server, after reading what it wanted
// to send there.
func (r *relay) refuse(h *head, x *exchange, kind framing, length int64) bool {
	why := r.legErr.Error()
	r.c.flow.fail(why)
	if !h.lists("Expect", "100-continue") {
		p := passage{
			from: r.client, to: bufio.NewWriter(io.Discard), sink: x.up, limit: r.c.s.o.MaxHeader,
			trailers: func(f []capture.Header) { x.trailers(f, false) },
			read:     func() { x.sent(r.c.s.o.Clock()) },
		}
		if err := p.body(kind, length); err != nil {
			x.fail(fmt.Sprintf("%s; and the phone broke off: %v", why, err))
			return false
		}
	}
	x.fail(why)
	r.c.answer(r.phone, r.client, 502, why)
	return false
}

// requestHead is what goes to the server: in a tunnel the bytes as they came; to a
// proxy's server the same without what was meant for the proxy.
func (r *relay) requestHead(h *head, to target) []byte {
	if !r.plain {
		return h.raw
	}
	b := make([]byte, 0, len(h.raw))
	b = append(b, h.first[0]+" "+to.path+" "+h.first[2]+"\r\n"...)
	for _, f := range h.fields {
		if strings.EqualFold(f.Name, "Proxy-Connection") || strings.EqualFold(f.Name, "Proxy-Authorization") {
			continue
		}
		b = append(b, f.Name+": "+f.Value+"\r\n"...)
	}
	return append(b, "\r\n"...)
}

// forward sends a request on and passes the reply back.
func (r *relay) forward(h *head, to target, x *exchange, kind framing, length int64) bool {
	_, _ = r.leg.bw.Write(r.requestHead(h, to)) // an error stays in the writer
	p := passage{
		from: r.client, to: r.leg.bw, sink: x.up, limit: r.c.s.o.MaxHeader,
		trailers: func(f []capture.Header) { x.trailers(f, false) },
		read:     func() { x.sent(r.c.s.o.Clock()) },
	}
	sent := make(chan error, 1)
	send := func() {
		err := p.body(kind, length)
		if err == nil {
			if err = r.leg.bw.Flush(); err != nil {
				err = &writeError{err}
			}
		}
		var to *writeError
		if err != nil && !errors.As(err, &to) {
			// The phone broke off: the server would wait for ever.
			x.fail(fmt.Sprintf("the phone broke off in the request: %v", err))
			_ = r.leg.Close()
		}
		sent <- err
	}
	if kind == noBody || (kind == byLength && length <= int64(r.client.Buffered())) {
		send()
	} else {
		r.c.s.work.Go(send)
	}
	more := r.reply(h, to, x)
	if !more {
		// The server may have replied early and gone. What the phone still
		// sends has nowhere to go then; it gets a little time to read the reply.
		_ = r.leg.Close()
		_ = r.phone.CloseWrite()
		_ = r.c.raw.SetReadDeadline(time.Now().Add(lingerTime))
		<-sent
		return false
	}
	if err := <-sent; err != nil {
		return false
	}
	r.leg.rest()
	return true
}

// reply passes a reply back and says whether the connection may be used again.
func (r *relay) reply(h *head, to target, x *exchange) bool {
	c := r.c
	if err := <-r.leg.first; err != nil {
		x.fail(fmt.Sprintf("the server closed the connection without a reply: %v", err))
		if !r.leg.used && r.plain {
			_ = say(r.out, 502, "the server closed the connection without a reply")
			_ = r.out.Flush()
		}
		return false
	}
	var rh *head
	for {
		var err error
		if rh, err = readHead(r.leg.br, c.s.o.MaxHeader); err == nil && rh.status() == 0 {
			err = fmt.Errorf("%w: first line %.40q", errMalformed, rh.first[0])
		}
		if err != nil {
			x.fail(fmt.Sprintf("the reply could not be read: %v", err))
			_ = say(r.out, 502, "the reply could not be read")
			_ = r.out.Flush()
			return false
		}
		_, _ = r.out.Write(rh.raw) // an error stays in the writer
		if s := rh.status(); s >= 200 || s == 101 {
			break
		}
		if err := r.out.Flush(); err != nil {
			x.fail(fmt.Sprintf("the phone closed the connection: %v", err))
			return false
		}
	}
	x.replied(rh.status(), rh.fields)
	if rh.status() == 101 {
		return r.upgrade(h, rh, to, x)
	}
	kind, length, err := rh.responseBody(h.first[0])
	if err == nil {
		p := passage{
			from: r.leg.br, to: r.out, sink: x.down, limit: c.s.o.MaxHeader,
			trailers: func(f []capture.Header) { x.trailers(f, true) },
		}
		err = p.body(kind, length)
	}
	if flushErr := r.out.Flush(); err == nil && flushErr != nil {
		err = &writeError{flushErr}
	}
	var phone *writeError
	switch {
	case errors.As(err, &phone):
		x.fail(fmt.Sprintf("the phone closed the connection: %v", err))
		return false
	case err != nil:
		x.fail(fmt.Sprintf("the server broke off: %v", err))
		// The phone must see that the reply is cut, not a tidy end.
		c.close("")
		return false
	}
	x.finish(c.s.o.Clock())
	return kind != untilClose && h.keeps() && rh.keeps()
}

// upgrade passes on whatever follows a change of protocol.
func (r *relay) upgrade(h, rh *head, to target, x *exchange) bool {
	if err := r.out.Flush(); err != nil {
		x.fail(fmt.Sprintf("the phone closed the connection: %v", err))
		return false
	}
	x.finish(r.c.s.o.Clock())
	raw := rawRelay{
		phone: r.client, toPhone: r.phone, up: r.leg.conn, upReader: r.leg.br,
		url: to.url(), method: "UPGRADE", version: rh.get("Upgrade"),
	}
	if rh.lists("Upgrade", "websocket") || h.lists("Upgrade", "websocket") {
		raw.method, raw.frames = "WEBSOCKET", true
	}
	r.c.pass(raw)
	return false
}

// isReset says whether the other side threw the connection away.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
