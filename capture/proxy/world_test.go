package proxy_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/proxy"
)

// A world is a few servers behind a SOCKS5 door that alone knows their names,
// and a phone whose proxy is under test.
type world struct {
	t     testing.TB
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
	socks string

	mu    sync.Mutex
	hosts map[string]string // host:port to a real address
	asked []string          // what the door was asked for
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, hosts: make(map[string]string), roots: x509.NewCertPool()}
	w.ca, w.key = authority(t, "the world's")
	w.roots.AddCert(w.ca)
	ln := listen(t)
	w.socks = ln.Addr().String()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go w.door(c)
		}
	}()
	return w
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func authority(t testing.TB, name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (w *world) certificate(name string, until time.Time) tls.Certificate {
	w.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, w.ca, w.key.Public(), w.key)
	if err != nil {
		w.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: w.key}
}

// door is a SOCKS5 server, as far as it is needed: CONNECT by name.
func (w *world) door(c net.Conn) {
	defer func() { _ = c.Close() }()
	b := make([]byte, 2)
	if _, err := io.ReadFull(c, b); err != nil {
		return
	}
	if _, err := io.ReadFull(c, make([]byte, b[1])); err != nil {
		return
	}
	_, _ = c.Write([]byte{5, 0})
	b = make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || b[3] != 3 {
		return // an address, not a name: it was resolved on the way
	}
	name := make([]byte, int(b[4])+2)
	if _, err := io.ReadFull(c, name); err != nil {
		return
	}
	n := len(name) - 2
	host := net.JoinHostPort(string(name[:n]), strconv.Itoa(int(binary.BigEndian.Uint16(name[n:]))))
	w.mu.Lock()
	addr := w.hosts[host]
	w.asked = append(w.asked, host)
	w.mu.Unlock()
	up, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", addr)
	if addr == "" || err != nil {
		_, _ = c.Write([]byte{5, 4, 0, 1, 0, 0, 0, 0, 0, 0}) // host unreachable
		return
	}
	defer func() { _ = up.Close() }()
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(up, c)
		_ = up.(*net.TCPConn).CloseWrite()
		close(done)
	}()
	_, _ = io.Copy(c, up)
	_ = c.(*net.TCPConn).CloseWrite()
	<-done
}

func (w *world) host(hostport, addr string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[hostport] = addr
}

// wasAsked is how often the door was asked for a host.
func (w *world) wasAsked(hostport string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.asked {
		if a == hostport {
			n++
		}
	}
	return n
}

// serve adds a site. protocols are its ALPN; none means no TLS.
func (w *world) serve(hostport string, h http.Handler, protocols ...string) *http.Server {
	w.t.Helper()
	ln := listen(w.t)
	w.host(hostport, ln.Addr().String())
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	if len(protocols) > 0 {
		host, _, _ := net.SplitHostPort(hostport)
		s.TLSConfig = &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{w.certificate(host, time.Now().Add(time.Hour))}, NextProtos: protocols,
		}
		var p http.Protocols
		p.SetHTTP1(slices.Contains(protocols, "http/1.1"))
		p.SetHTTP2(slices.Contains(protocols, "h2"))
		s.Protocols = &p
		go func() { _ = s.ServeTLS(ln, "", "") }()
	} else {
		go func() { _ = s.Serve(ln) }()
	}
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

// raw adds a server that speaks as the test says.
func (w *world) raw(hostport string, over *tls.Config, serve func(net.Conn)) {
	ln := listen(w.t)
	w.host(hostport, ln.Addr().String())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if over != nil {
				c = tls.Server(c, over)
			}
			go func() {
				defer func() { _ = c.Close() }()
				serve(c)
			}()
		}
	}()
}

func (w *world) tls(name string, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{w.certificate(name, time.Now().Add(time.Hour))}, NextProtos: protocols,
	}
}

// A phone is what the backend may do to a phone, written down.
type phone struct {
	t    testing.TB
	mu   sync.Mutex
	did  []string
	fail string // the call that fails
	pem  []byte
	port int // of the host
	noNC bool
	root bool
	deaf bool // beacons do not get through
}

var errPhone = errors.New("the phone does not want to")

func (p *phone) note(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.did = append(p.did, what)
	if what == p.fail {
		return errPhone
	}
	return nil
}

func (p *phone) Tunnel(_ context.Context, devicePort, hostPort int) error {
	p.mu.Lock()
	p.port = hostPort
	p.mu.Unlock()
	return p.note("tunnel " + strconv.Itoa(devicePort))
}

func (p *phone) TrustCA(_ context.Context, pem []byte) error {
	p.mu.Lock()
	p.pem = pem
	p.mu.Unlock()
	return p.note("trust")
}

func (p *phone) SetProxy(_ context.Context, hostport string) error {
	return p.note("proxy " + hostport)
}

func (p *phone) Restore(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.note("restore")
}

func (p *phone) addr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port))
}

func (p *phone) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	switch {
	case script == "command -v nc":
		if p.noNC {
			return nil, nil, 1, nil
		}
		return []byte("/system/bin/nc\n"), nil, 0, nil
	case script == "id -u":
		if !p.root {
			return []byte("2000\n"), nil, 0, nil
		}
		return []byte("0\n"), nil, 0, nil
	case strings.HasPrefix(script, "printf '") && strings.HasSuffix(script, "' | nc -w 5 127.0.0.1 8080"):
		if p.deaf {
			return nil, []byte("nc: connect: Connection refused"), 1, nil
		}
		text := strings.TrimSuffix(strings.TrimPrefix(script, "printf '"), "' | nc -w 5 127.0.0.1 8080")
		text = strings.NewReplacer(`\r`, "\r", `\n`, "\n").Replace(text)
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.addr())
		if err != nil {
			return nil, []byte("nc: connect: Connection refused"), 1, nil
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		out, _ := io.ReadAll(c)
		return out, nil, 0, nil
	}
	return nil, []byte("not found"), 127, nil
}

// rig is a started session with its phone.
type rig struct {
	t     testing.TB
	s     capture.Session
	phone *phone
	dir   string
}

func (w *world) start(t testing.TB, o proxy.Options) *rig {
	t.Helper()
	o.SOCKS5, o.Roots = w.socks, w.roots
	return startProxy(t, o)
}

func startProxy(t testing.TB, o proxy.Options) *rig {
	t.Helper()
	p := &phone{t: t}
	dir := t.TempDir()
	s, err := proxy.New(p, o).Start(t.Context(), dir)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { _, _ = s.Stop(context.WithoutCancel(t.Context())) })
	return &rig{t: t, s: s, phone: p, dir: dir}
}

func (r *rig) stop() capture.Trace {
	r.t.Helper()
	trace, err := r.s.Stop(r.t.Context())
	if err != nil {
		r.t.Fatalf("stop: %v", err)
	}
	return trace
}

// roots is what the phone was told to trust.
func (r *rig) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(r.phone.pem)
	return pool
}

// A counter counts the bytes of a client's connections.
type counter struct{ up, down atomic.Int64 }

type countedConn struct {
	net.Conn
	n *counter
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.down.Add(int64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.up.Add(int64(n))
	return n, err
}

// client is an app that uses the system's proxy and trusts its store.
func (r *rig) client(h2 bool) (*http.Client, *counter) {
	n := &counter{}
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: r.phone.addr()}),
		TLSClientConfig: &tls.Config{RootCAs: r.roots(), MinVersion: tls.VersionTLS12},
		Protocols:       &p, DisableCompression: true, MaxIdleConnsPerHost: 100,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &countedConn{Conn: c, n: n}, nil
		},
	}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, n
}

// dial opens a connection to the proxy, bare.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := (&net.Dialer{}).DialContext(r.t.Context(), "tcp", r.phone.addr())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// connect opens a tunnel.
func (r *rig) connect(hostport string) net.Conn {
	r.t.Helper()
	c := r.dial()
	_, _ = io.WriteString(c, "CONNECT "+hostport+" HTTP/1.1\r\nHost: "+hostport+"\r\n\r\n")
	want := "HTTP/1.1 200 Connection established\r\n\r\n"
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		r.t.Fatalf("connect: %q %v", b, err)
	}
	return c
}

// secure opens a tunnel with TLS in it.
func (r *rig) secure(hostport string, protocols ...string) *tls.Conn {
	r.t.Helper()
	host, _, _ := net.SplitHostPort(hostport)
	c := tls.Client(r.connect(hostport), &tls.Config{
		ServerName: host, RootCAs: r.roots(), NextProtos: protocols, MinVersion: tls.VersionTLS12,
	})
	if err := c.HandshakeContext(r.t.Context()); err != nil {
		r.t.Fatalf("handshake: %v", err)
	}
	return c
}

// until reads the trace until it is as wanted, because the proxy's last word on
// a connection may come after the client's.
func (r *rig) until(what string, ok func(capture.Trace) bool) capture.Trace {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		trace, err := r.s.Read(ctx)
		if err != nil {
			r.t.Fatalf("read: %v", err)
		}
		if ok(trace) {
			return trace
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("never %s: flows %+v exchanges %s health %+v", what, trace.Flows, show(trace.Exchanges), trace.Health)
		}
	}
}

// finished waits until n exchanges are over.
func (r *rig) finished(n int) []capture.Exchange {
	r.t.Helper()
	trace := r.until(strconv.Itoa(n)+" exchanges finished", func(t capture.Trace) bool {
		if len(t.Exchanges) < n {
			return false
		}
		for _, x := range t.Exchanges {
			if x.End.IsZero() && x.Failure == "" {
				return false
			}
		}
		return true
	})
	if len(trace.Exchanges) != n {
		r.t.Fatalf("%d exchanges: %s", len(trace.Exchanges), show(trace.Exchanges))
	}
	return trace.Exchanges
}

func (r *rig) exchange() capture.Exchange {
	r.t.Helper()
	return r.finished(1)[0]
}

// failed waits until the only flow has failed.
func (r *rig) failed() capture.Flow {
	r.t.Helper()
	trace := r.until("failed", func(t capture.Trace) bool { return len(t.Flows) == 1 && t.Flows[0].Failure != "" })
	return trace.Flows[0]
}

func show(xs []capture.Exchange) string {
	var b strings.Builder
	for _, x := range xs {
		b.WriteString("\n" + x.Method + " " + x.URL + " " + strconv.Itoa(x.Status) + " up " + strconv.FormatInt(x.BytesUp, 10) +
			" end " + x.End.String() + " failure " + x.Failure)
	}
	return b.String()
}

func do(t testing.TB, c *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: body: %v", method, url, err)
	}
	return resp, b
}

func value(h []capture.Header, name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// noLeaks fails the test if goroutines of the proxy outlive what f does.
func noLeaks(t *testing.T, f func()) {
	t.Helper()
	f()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		if !bytes.Contains(buf, []byte("capture/proxy.(")) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("goroutines were left behind:\n%s", buf)
		}
	}
}
