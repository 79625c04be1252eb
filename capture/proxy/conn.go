package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	bufferSize = 16 << 10 // one TLS record
	// lingerTime bounds the wait for the phone to read our last words.
	lingerTime = 2 * time.Second
)

// A conn is one connection of the phone and all that hangs on it.
type conn struct {
	s    *session
	raw  *meter
	flow *flow
	// limit is when the current phase (a header, a handshake) must be over, in
	// Unix nanoseconds; 0 when there is no such limit.
	limit atomic.Int64

	mu     sync.Mutex
	open   []io.Closer // closed with the connection
	closed bool
}

func newConn(s *session, raw net.Conn) *conn {
	f := s.rec.newFlow(raw.RemoteAddr())
	return &conn{s: s, raw: &meter{Conn: raw, flow: f}, flow: f}
}

// own closes c together with the connection, at once if that is over.
func (c *conn) own(closer io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = closer.Close()
		return
	}
	c.open = append(c.open, closer)
}

// disown gives up an upstream connection that was replaced.
func (c *conn) disown(closer io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.open, closer); i >= 0 {
		c.open = slices.Delete(c.open, i, i+1)
	}
	_ = closer.Close()
}

// close ends everything. An empty reason is an ordinary end.
func (c *conn) close(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if why != "" {
		c.flow.fail(why)
	}
	_ = c.raw.Close()
	for _, closer := range c.open {
		_ = closer.Close()
	}
	c.open = nil
}

// phase begins a limited phase; phase(0) ends it.
func (c *conn) phase(limit time.Duration) {
	if limit == 0 {
		c.limit.Store(0)
		return
	}
	c.limit.Store(c.s.o.Clock().Add(limit).UnixNano())
}

// expire closes a connection whose time is over.
func (c *conn) expire(now time.Time) {
	if l := c.limit.Load(); l != 0 && now.UnixNano() > l {
		go c.close("the phone took too long over a header, a handshake or its farewell")
		return
	}
	if now.Sub(time.Unix(0, c.flow.active.Load())) > c.s.o.IdleTimeout {
		why := ""
		if c.flow.snapshot().Visibility != capture.Plaintext { // a used connection came to something
			why = fmt.Sprintf("nothing moved for %v", c.s.o.IdleTimeout)
		}
		go c.close(why)
	}
}

// serve handles the connection from the first byte to the last.
func (c *conn) serve(life context.Context) {
	ctx, cancel := context.WithCancel(life)
	defer cancel()
	defer c.close("")
	br := bufio.NewReaderSize(c.raw, bufferSize)
	h, err := c.nextHead(br)
	if err != nil {
		if errors.Is(err, errMalformed) {
			c.flow.fail(fmt.Sprintf("not a request to a proxy: %v", err))
			c.answer(c.raw, br, 400, "this is an HTTP proxy")
			return
		}
		if !errors.Is(err, io.EOF) {
			c.flow.fail(fmt.Sprintf("the connection broke before a request: %v", err))
		}
		return
	}
	if strings.EqualFold(h.first[0], "CONNECT") {
		c.tunnel(ctx, br, h.first[1])
		return
	}
	c.flow.update(func(f *capture.Flow) { f.App, f.Visibility = "http", capture.Plaintext })
	r := &relay{c: c, client: br, phone: c.raw, out: bufio.NewWriterSize(c.raw, bufferSize), plain: true}
	r.run(ctx, h)
}

// nextHead waits for a message as long as the idle limit allows, and reads its
// header within the header limit.
func (c *conn) nextHead(br *bufio.Reader) (*head, error) {
	if _, err := br.Peek(1); err != nil {
		return nil, err
	}
	c.phase(c.s.o.HeaderTimeout)
	defer c.phase(0)
	return readHead(br, c.s.o.MaxHeader)
}

// answer sends a reply of the proxy's own and ends the connection in such a way
// that the phone can read it.
func (c *conn) answer(w io.Writer, br *bufio.Reader, status int, text string) {
	if say(w, status, text) == nil {
		c.linger(w, br)
	}
}

// say writes a reply of the proxy's own.
func say(w io.Writer, status int, text string) error {
	reasons := map[int]string{400: "Bad Request", 502: "Bad Gateway"}
	text = "offproof: " + text + "\n"
	_, err := fmt.Fprintf(w, "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, reasons[status], len(text), text)
	return err
}

// linger closes the proxy's half and reads on for a little, because closing a
// socket with unread bytes would destroy the reply on its way.
func (c *conn) linger(w io.Writer, br *bufio.Reader) {
	half, ok := w.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.raw.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.Copy(io.Discard, io.LimitReader(br, 1<<20))
}

// tunnel serves CONNECT: it looks at what the phone sends first and reads along
// wherever it can.
func (c *conn) tunnel(ctx context.Context, br *bufio.Reader, target string) {
	host, _, err := splitPort(target)
	if err != nil {
		c.flow.fail(err.Error())
		c.answer(c.raw, br, 400, "no such address")
		return
	}
	c.flow.update(func(f *capture.Flow) { f.Host, f.HostFrom = host, capture.FromConnect })
	if _, err := io.WriteString(c.raw, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		c.flow.fail(fmt.Sprintf("the connection broke after CONNECT: %v", err))
		return
	}
	w := c.firstWord(ctx, br, target)
	switch {
	case w.err != nil:
		c.flow.fail(w.err.Error())
	case len(w.server) > 0 || w.phone != nil:
		c.opaque(w, br, target)
	case w.byte == 0x16 && c.s.passes(host):
		c.passThrough(ctx, w, br, target)
	case w.byte == 0x16:
		c.intercept(ctx, br, target, host, w.up)
	default:
		c.clear(ctx, w, br, target)
	}
}

// A firstWord tells who spoke first in a tunnel.
type firstWord struct {
	byte   byte     // the phone's first byte, unread
	up     net.Conn // set when the server was connected while waiting
	server []byte   // what the server said before the phone did
	// phone is set when the phone has not spoken yet: it ends when the reader
	// of its side is free again.
	phone <-chan error
	err   error
}

var errSilent = errors.New("the phone closed the tunnel without a byte")

// firstWord waits for the phone's first byte. When the phone is silent the
// server is connected and may speak first, as it does in mail protocols.
func (c *conn) firstWord(ctx context.Context, br *bufio.Reader, target string) firstWord {
	phone := make(chan error, 1)
	c.s.work.Go(func() {
		_, err := br.Peek(1)
		if errors.Is(err, io.EOF) {
			err = errSilent
		}
		phone <- err
	})
	spoke := func(err error, up net.Conn) firstWord {
		if err != nil {
			return firstWord{err: err}
		}
		b, _ := br.Peek(1)
		return firstWord{byte: b[0], up: up}
	}
	timer := time.NewTimer(c.s.o.ServerFirst)
	defer timer.Stop()
	select {
	case err := <-phone:
		return spoke(err, nil)
	case <-timer.C:
	}
	up, err := c.connect(ctx, target)
	if err != nil {
		// The phone shall still say what it wanted: that is evidence.
		return spoke(<-phone, nil)
	}
	buf := make([]byte, bufferSize)
	server := make(chan error, 1)
	n := 0
	c.s.work.Go(func() {
		var err error
		n, err = up.Read(buf)
		server <- err
	})
	select {
	case err := <-phone:
		_ = up.SetReadDeadline(time.Unix(1, 0)) // wakes the read
		<-server
		_ = up.SetReadDeadline(time.Time{})
		if n == 0 || err != nil {
			return spoke(err, up)
		}
		free := make(chan error, 1)
		free <- nil
		return firstWord{up: up, server: buf[:n], phone: free}
	case err := <-server:
		if n == 0 {
			return firstWord{err: fmt.Errorf("the server closed a silent tunnel: %w", err)}
		}
		return firstWord{up: up, server: buf[:n], phone: phone}
	}
}

// connect makes an upstream connection that is closed with this one.
func (c *conn) connect(ctx context.Context, target string) (net.Conn, error) {
	up, err := c.s.uplink.connect(ctx, target)
	if err != nil {
		return nil, err
	}
	if c.s.uplink.direct {
		c.flow.update(func(f *capture.Flow) { f.Server = addrPort(up.RemoteAddr()) })
	}
	c.own(up)
	return up, nil
}

// intercept terminates the phone's TLS with a certificate of the run's, and
// makes TLS of the same kind with the server.
func (c *conn) intercept(ctx context.Context, br *bufio.Reader, target, host string, ready net.Conn) {
	c.flow.update(func(f *capture.Flow) { f.App = "tls" })
	var (
		up    net.Conn
		upErr error
		hello bool
		name  = host
		alpn  string
	)
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = true
			if h.ServerName != "" {
				name = h.ServerName
			}
			c.flow.update(func(f *capture.Flow) {
				f.ALPN = slices.Clone(h.SupportedProtos)
				if h.ServerName != "" {
					f.SNI, f.Host, f.HostFrom = h.ServerName, h.ServerName, capture.FromSNI
				}
			})
			up, alpn, upErr = c.secure(h.Context(), target, name, h.SupportedProtos, ready)
			if upErr != nil {
				alpn = fallback(h.SupportedProtos)
			}
			cert, err := c.s.ca.leaf(name)
			if err != nil {
				return nil, err
			}
			answer := &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*cert},
				// Every connection shall prove anew that the phone trusts us.
				SessionTicketsDisabled: true, KeyLogWriter: c.s.keys,
			}
			if alpn != "" {
				answer.NextProtos = []string{alpn}
			}
			return answer, nil
		},
	}
	watched := &prefixed{meter: c.raw, r: br}
	watched.shaking.Store(true)
	phone := tls.Server(watched, config)
	c.phase(c.s.o.HeaderTimeout + c.s.o.DialTimeout)
	err := phone.HandshakeContext(ctx)
	c.phase(0)
	watched.shaking.Store(false)
	if err != nil {
		if alert := watched.alert(); alert != nil {
			err = alert
		}
		c.flow.fail(refusal(err, name, hello))
		if upErr != nil {
			c.s.rec.problem(upErr.Error())
		}
		return
	}
	if upErr != nil {
		c.flow.fail(upErr.Error())
	}
	c.speak(ctx, phone, up, upErr, alpn, name, target)
}

// secure makes the upstream connection of an intercepted one. ready, if not
// nil, is a TCP connection that stands already.
func (c *conn) secure(ctx context.Context, target, name string, protocols []string, ready net.Conn) (net.Conn, string, error) {
	if ready == nil {
		var err error
		if ready, err = c.connect(ctx, target); err != nil {
			return nil, "", err
		}
	}
	up, err := c.s.uplink.secure(ctx, ready, name, protocols)
	if err != nil {
		return nil, "", err
	}
	return up, up.ConnectionState().NegotiatedProtocol, nil
}

// fallback chooses the protocol in which the phone is told that there is no
// server: the simplest that it offers.
func fallback(offered []string) string {
	for _, p := range []string{"http/1.1", "h2"} {
		if slices.Contains(offered, p) {
			return p
		}
	}
	return ""
}

// speak relays an intercepted connection in the protocol that was agreed on.
func (c *conn) speak(ctx context.Context, phone *tls.Conn, up net.Conn, upErr error, alpn, name, target string) {
	br := bufio.NewReaderSize(phone, bufferSize)
	if _, err := br.Peek(1); err != nil {
		c.flow.fail(unused(err, name))
		return
	}
	c.flow.update(func(f *capture.Flow) { f.Visibility = capture.Plaintext })
	preface, _ := br.Peek(min(br.Buffered(), 3))
	if alpn == "h2" || string(preface) == "PRI" {
		if upErr != nil {
			c.refuseHTTP2(ctx, phone, br, upErr)
		} else {
			c.relayHTTP2(br, phone, up, "https")
		}
		return
	}
	host, port, err := splitPort(target)
	if err != nil {
		host, port = name, 443 // cannot be: the target was checked
	}
	authority := joinPort(name, port, 443)
	if !looksHTTP(br) {
		if upErr == nil {
			c.pass(rawRelay{phone: br, toPhone: phone, up: up, url: "tls://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/"})
		}
		return
	}
	c.http1(ctx, &relay{
		c: c, client: br, phone: phone, scheme: "https", authority: authority, legErr: upErr,
	}, up)
}

// http1 relays a tunnel of HTTP/1 to the one server that it is for.
func (c *conn) http1(ctx context.Context, r *relay, up net.Conn) {
	r.out = bufio.NewWriterSize(r.phone, bufferSize)
	h, err := c.nextHead(r.client)
	if err != nil {
		c.flow.fail(fmt.Sprintf("the request could not be read: %v", err))
		c.answer(r.phone, r.client, 400, "the request could not be read")
		return
	}
	if up != nil {
		r.leg = newLeg(c, up, func() { _ = r.phone.Close() })
	}
	r.run(ctx, h)
}

// joinPort is host:port, without the port that goes without saying.
func joinPort(host string, port, usual int) string {
	if port != usual {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// clear relays a tunnel that is not TLS: HTTP is read, the rest is opaque.
func (c *conn) clear(ctx context.Context, w firstWord, br *bufio.Reader, target string) {
	var err error
	if w.up == nil {
		if w.up, err = c.connect(ctx, target); err != nil {
			c.flow.fail(err.Error())
		}
	}
	preface, _ := br.Peek(min(br.Buffered(), 14))
	switch {
	case string(preface) == "PRI * HTTP/2.0" && err == nil:
		c.flow.update(func(f *capture.Flow) { f.App, f.Visibility = "http", capture.Plaintext })
		c.relayHTTP2(br, c.raw, w.up, "http")
	case looksHTTP(br):
		host, port, splitErr := splitPort(target)
		if splitErr != nil {
			host, port = target, 80 // cannot be: the target was checked
		}
		c.flow.update(func(f *capture.Flow) { f.App, f.Visibility = "http", capture.Plaintext })
		c.http1(ctx, &relay{
			c: c, client: br, phone: c.raw, scheme: "http", authority: joinPort(host, port, 80), legErr: err,
		}, w.up)
	case err == nil:
		c.opaque(w, br, target)
	}
}

// passes says whether a host is one of those that are not intercepted.
func (s *session) passes(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return slices.ContainsFunc(s.o.PassThrough, func(p string) bool {
		p = strings.ToLower(p)
		return host == p || strings.HasSuffix(host, "."+p)
	})
}

// passThrough relays TLS that is not to be intercepted. Nothing of it is kept:
// it counts as a conversation that nobody read.
func (c *conn) passThrough(ctx context.Context, w firstWord, br *bufio.Reader, target string) {
	c.flow.update(func(f *capture.Flow) { f.App, f.Visibility = "tls", capture.Metadata })
	up := w.up
	if up == nil {
		var err error
		if up, err = c.connect(ctx, target); err != nil {
			c.flow.fail(err.Error())
			return
		}
	}
	nobody := func([]byte) {}
	if err := c.duplex(rawRelay{phone: br, toPhone: c.raw, up: up}, up, nobody, nobody); err != nil {
		c.flow.fail(err.Error())
	}
}

// opaque relays what cannot be read. Its bytes are kept all the same, for a
// search, as an exchange without a method.
func (c *conn) opaque(w firstWord, br *bufio.Reader, target string) {
	c.pass(rawRelay{phone: br, toPhone: c.raw, up: w.up, server: w.server, free: w.phone, url: "tcp://" + target + "/"})
}

// looksHTTP says whether what is buffered can begin a request: a method, and a
// blank behind it if that much has arrived.
func looksHTTP(br *bufio.Reader) bool {
	b, _ := br.Peek(min(br.Buffered(), 24))
	method, _, blank := strings.Cut(string(b), " ")
	if !blank && len(b) >= 24 {
		return false
	}
	method = strings.TrimLeft(method, "\r\n")
	for _, c := range []byte(method) {
		if (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" || len(b) < 24
}
