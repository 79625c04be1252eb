package dissect_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/offproof/offproof/capture/dissect"
)

// A quicTap is a client's socket of which a made capture shows the datagrams.
type quicTap struct {
	net.PacketConn
	rig   *quicRig
	phone string
}

// A quicRig is a server of HTTP/3 and clients of it, whose traffic goes to a made
// capture.
type quicRig struct {
	t      *testing.T
	w      *wire
	mu     sync.Mutex
	keys   bytes.Buffer
	server net.Addr
	// lose says of each datagram of the client (up) or the server what becomes of
	// it: whether the other end gets it, and whether the capture does. Nil for both.
	lose  func(up bool, n int) (arrives, seen bool)
	count [2]int
	// shuffle swaps neighbouring datagrams in the capture.
	shuffle bool
	held    [2][]byte
	random  *rand.Rand
}

func (c *quicTap) WriteTo(b []byte, addr net.Addr) (int, error) {
	if !c.rig.pass(true, c.phone, b) {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, addr)
}

func (c *quicTap) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(b)
		if err != nil || c.rig.pass(false, c.phone, b[:n]) {
			return n, addr, err
		}
	}
}

// pass shows a datagram to the capture and says whether it arrives.
func (r *quicRig) pass(up bool, phone string, b []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	side := 0
	if !up {
		side = 1
	}
	arrives, seen := true, true
	if r.lose != nil {
		arrives, seen = r.lose(up, r.count[side])
	}
	r.count[side]++
	if !seen {
		return arrives
	}
	b = bytes.Clone(b)
	if r.shuffle && r.held[side] == nil && r.random.IntN(4) == 0 {
		r.held[side] = b
		return arrives
	}
	r.show(up, phone, b)
	if r.held[side] != nil {
		r.show(up, phone, r.held[side])
		r.held[side] = nil
	}
	return arrives
}

func (r *quicRig) show(up bool, phone string, b []byte) {
	const host = "203.0.113.7:443"
	if up {
		r.w.udp(phone, host, b)
	} else {
		r.w.udp(host, phone, b)
	}
}

// newQUICRig starts a server that echoes what is posted.
func newQUICRig(t *testing.T, configure func(*quic.Transport, *quic.Config)) *quicRig {
	t.Helper()
	cert, err := world()
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	config := &quic.Config{Allow0RTT: true}
	if configure != nil {
		configure(tr, config)
	}
	ln, err := tr.ListenEarly(http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}), config)
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Path", r.URL.Path)
		w.Header().Set("Trailer", "X-Last")
		_, _ = fmt.Fprintf(w, "%s%s", body, strings.Repeat("a reply. ", 50))
		w.Header().Set("X-Last", "done")
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeListener(ln) // It ends with the test.
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = ln.Close()
		_ = tr.Close()
		_ = socket.Close()
		<-done
	})
	return &quicRig{t: t, w: newWire(t), server: socket.LocalAddr(), random: rand.New(rand.NewPCG(1, 2))} //nolint:gosec // It only shuffles.
}

// transport is a socket of a client.
func (r *quicRig) transport(phone string) *quic.Transport {
	r.t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		r.t.Fatal(err)
	}
	tr := &quic.Transport{Conn: &quicTap{socket, r, phone}}
	r.t.Cleanup(func() {
		_ = tr.Close()
		_ = socket.Close()
	})
	return tr
}

// client is an HTTP client over a socket. Each dialled connection is given to
// see, if that is not nil.
func (r *quicRig) client(tr *quic.Transport, config *quic.Config, cache tls.ClientSessionCache, see func(*quic.Conn)) *http3.Transport {
	h := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "secret.example", KeyLogWriter: &r.keys, ClientSessionCache: cache}, //nolint:gosec // The test's own server.
		QUICConfig:      config,
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			c, err := tr.DialEarly(ctx, r.server, tlsConfig, config)
			if err == nil && see != nil {
				see(c)
			}
			return c, err
		},
	}
	r.t.Cleanup(func() { _ = h.Close() })
	return h
}

// post sends a body and reads the reply.
func (r *quicRig) post(h http.RoundTripper, path, body string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://secret.example"+path, strings.NewReader(body))
	if err != nil {
		r.t.Error(err)
		return
	}
	req.Header.Set("X-Secret", strings.Repeat("v", len(path)*10))
	res, err := h.RoundTrip(req)
	if err != nil {
		r.t.Errorf("%s: %v", path, err)
		return
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		r.t.Errorf("%s: %v", path, err)
	}
}

// log is the key log so far.
func (r *quicRig) log() *dissect.KeyLog {
	r.t.Helper()
	k, err := dissect.ReadKeyLog(bytes.NewReader(r.keys.Bytes()))
	if err != nil {
		r.t.Fatal(err)
	}
	return k
}

// read reads the capture with the key log.
func (r *quicRig) read() *dissect.Capture {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for side, b := range r.held {
		if r.held[side] = nil; b != nil {
			r.show(side == 0, "10.0.0.2:40000", b)
		}
	}
	return read(r.t, r.w.pcap(), dissect.Options{KeyLog: r.log()})
}
