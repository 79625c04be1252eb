package dissect_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// clientHello is the first flight of crypto/tls.
func clientHello(t testing.TB, name string, protocols ...string) []byte {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan []byte)
	go func() {
		buf := make([]byte, 1<<16)
		n, _ := there.Read(buf)
		_ = there.Close()
		done <- buf[:n]
	}()
	err := tls.Client(here, &tls.Config{ServerName: name, NextProtos: protocols, InsecureSkipVerify: name == ""}).HandshakeContext(t.Context()) // #nosec G402 -- nobody answers
	if err == nil {
		t.Fatal("a handshake with nobody succeeded")
	}
	return <-done
}

// records wraps a handshake message in records of at most size bytes.
func records(message []byte, size int) []byte {
	var out []byte
	for len(message) > 0 {
		n := min(size, len(message))
		out = append(out, 22, 3, 1, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

func TestClientHello(t *testing.T) {
	hello := clientHello(t, "sa.api.intl.miui.com", "h2", "http/1.1")
	if len(hello) < 1200 {
		t.Fatalf("a ClientHello of %d bytes, want one with post-quantum keys", len(hello))
	}
	for _, size := range []int{1 << 14, 600, 10} {
		for _, mss := range []int{3, 100, 1400} {
			w := newWire(t)
			x := w.dial("10.0.0.2:40000", "203.0.113.7:443").open()
			x.mss = mss
			x.send(x.client, records(hello[5:], size))
			c := readClean(t, w)
			f := only(t, c)
			if f.App != "tls" || f.SNI != "sa.api.intl.miui.com" || f.Host != f.SNI || f.HostFrom != capture.FromSNI || !slices.Equal(f.ALPN, []string{"h2", "http/1.1"}) || !strings.HasPrefix(f.JA4, "t13d") || f.Visibility != capture.Metadata {
				t.Errorf("records of %d, segments of %d: %+v", size, mss, f)
			}
			if len(c.Unread) > 0 {
				t.Errorf("TLS was kept as unread: %d bytes", len(c.Unread[0].Data))
			}
		}
	}
}

// TestParserAgreesWithCryptoTLS gives the same ClientHellos to crypto/tls.
func TestParserAgreesWithCryptoTLS(t *testing.T) {
	for _, conf := range []*tls.Config{
		{ServerName: "a.example"},
		{ServerName: "b.example", NextProtos: []string{"h3", "http/0.9"}, MinVersion: tls.VersionTLS13},
		{ServerName: "c.example", MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
		{InsecureSkipVerify: true}, // #nosec G402 -- nobody answers
	} {
		here, there := net.Pipe()
		var sent bytes.Buffer
		got := make(chan *tls.ClientHelloInfo, 1)
		go func() {
			server := tls.Server(teed{there, io.TeeReader(there, &sent)}, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) { // #nosec G402 -- it never comes to that
				got <- h
				return nil, errors.New("enough")
			}})
			_ = server.HandshakeContext(context.WithoutCancel(t.Context()))
			_ = there.Close()
		}()
		_ = tls.Client(here, conf).HandshakeContext(t.Context())
		want := <-got
		h, ok := dissect.ParseHello(sent.Bytes()[9:])
		if !ok {
			t.Fatal("not parsed")
		}
		if h.ServerName != want.ServerName || !slices.Equal(h.Protocols, want.SupportedProtos) || !slices.Equal(h.Ciphers, want.CipherSuites) || !slices.Equal(h.Extensions, want.Extensions) {
			t.Errorf("parsed %+v, crypto/tls says %+v", h, want)
		}
		for i, s := range want.SignatureSchemes {
			if h.Signatures[i] != uint16(s) {
				t.Errorf("signature schemes %v, crypto/tls says %v", h.Signatures, want.SignatureSchemes)
			}
		}
	}
}

// teed is a connection that is read through another reader.
type teed struct {
	net.Conn
	r io.Reader
}

func (c teed) Read(b []byte) (int, error) { return c.r.Read(b) }

// TestJA4 is the example in the description of JA4.
func TestJA4(t *testing.T) {
	ciphers := []uint16{0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035}
	u16 := func(all ...uint16) []byte {
		var b []byte
		for _, v := range all {
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	vec := func(b []byte) []byte { return append(u16(uint16(len(b))), b...) }
	var ext []byte
	add := func(kind uint16, value []byte) { ext = append(append(ext, u16(kind)...), vec(value)...) }
	add(0x2a2a, nil)
	add(0, vec(append([]byte{0}, vec([]byte("example.com"))...)))
	for _, kind := range []uint16{0x001b, 0x0017, 0xff01, 0x000a, 0x000b, 0x0023, 0x0005, 0x0012, 0x0033, 0x002d, 0x4469, 0x0015} {
		add(kind, nil)
	}
	add(0x10, vec([]byte("\x02h2\x08http/1.1")))
	add(0x0d, vec(u16(0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601)))
	add(0x2b, append([]byte{6}, u16(0x3a3a, 0x0304, 0x0303)...))
	body := append(u16(0x0303), make([]byte, 32)...)
	body = append(body, 0)
	body = append(body, vec(u16(append([]uint16{0x4a4a}, ciphers...)...))...)
	body = append(body, 1, 0)
	body = append(body, vec(ext)...)
	h, ok := dissect.ParseHello(body)
	if !ok || h.JA4 != "t13d1516h2_8daaf6152771_e5627efa2ab1" {
		t.Errorf("JA4 is %s (parsed: %v)", h.JA4, ok)
	}
}

// world is a certificate for a test server.
var world = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"pinned.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// flight is what one end of a recorded connection wrote at once.
type flight struct {
	up   bool
	data []byte
}

// recorder notes what is written to a pipe.
type recorder struct {
	net.Conn
	up  bool
	mu  *sync.Mutex
	all *[]flight
}

func (r recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	*r.all = append(*r.all, flight{r.up, bytes.Clone(b)})
	r.mu.Unlock()
	return r.Conn.Write(b)
}

// handshake records a TLS connection in which the client says a few words after
// a handshake that succeeds.
func handshake(t testing.TB, client, server *tls.Config) []flight {
	t.Helper()
	cert, err := world()
	if err != nil {
		t.Fatal(err)
	}
	server.Certificates = []tls.Certificate{cert}
	// TCP, because both ends write at once and net.Pipe would lock.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	var mu sync.Mutex
	var all []flight
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = raw.Close() }()
		s := tls.Server(recorder{raw, false, &mu, &all}, server)
		if s.HandshakeContext(context.WithoutCancel(t.Context())) != nil {
			return
		}
		buf := make([]byte, 100)
		for range 3 {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			_, _ = s.Write(buf[:n])
		}
	}()
	raw, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(recorder{raw, true, &mu, &all}, client)
	if c.HandshakeContext(t.Context()) == nil {
		buf := make([]byte, 100)
		for range 3 {
			_, _ = c.Write([]byte("some words"))
			_, _ = c.Read(buf)
		}
	}
	_ = raw.Close()
	<-done
	return all
}

func TestHandshakeFailures(t *testing.T) {
	trusting := func(v uint16) *tls.Config {
		return &tls.Config{ServerName: "pinned.example", InsecureSkipVerify: true, MaxVersion: v} // #nosec G402 -- a test's server
	}
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		want           string
	}{
		{"1.3 succeeds", trusting(tls.VersionTLS13), &tls.Config{}, ""},                                                                                             // #nosec G402 -- old versions are what is tested
		{"1.2 succeeds", trusting(tls.VersionTLS12), &tls.Config{}, ""},                                                                                             // #nosec G402 -- as above
		{"1.3 pinned", &tls.Config{ServerName: "pinned.example"}, &tls.Config{}, "the client refused the handshake: encrypted alert"},                               // #nosec G402 -- as above
		{"1.2 pinned", &tls.Config{ServerName: "pinned.example", MaxVersion: tls.VersionTLS12}, &tls.Config{}, "the client refused the handshake: bad_certificate"}, // #nosec G402 -- as above
		{"no version", trusting(tls.VersionTLS12), &tls.Config{MinVersion: tls.VersionTLS13}, "the server refused the handshake: protocol_version"},                 // #nosec G402 -- as above
	} {
		w := newWire(t)
		x := w.dial("10.0.0.2:40000", "203.0.113.7:443").open()
		for _, f := range handshake(t, c.client, c.server) {
			if f.up {
				x.send(x.client, f.data)
			} else {
				x.send(x.server, f.data)
			}
		}
		x.close()
		got := readClean(t, w)
		if f := only(t, got); f.Failure != c.want || f.SNI != "pinned.example" || len(got.Unread) > 0 {
			t.Errorf("%s: failure %q, want %q", c.name, f.Failure, c.want)
		}
	}
	for _, c := range []struct{ flags, want string }{
		{"R", "the server reset the connection during the handshake"},
		{"FA", "the server closed the connection during the handshake"},
	} {
		w := newWire(t)
		x := w.dial("10.0.0.2:40000", "203.0.113.7:443").open()
		x.send(x.client, clientHello(t, "pinned.example"))
		x.segment(x.server, x.server.seq, c.flags, nil)
		if f := only(t, readClean(t, w)); f.Failure != c.want {
			t.Errorf("failure %q, want %q", f.Failure, c.want)
		}
	}
}

func TestHoleInTLSHidesNothingElse(t *testing.T) {
	w := newWire(t)
	x := w.dial("10.0.0.2:40000", "203.0.113.7:443").open()
	x.send(x.client, clientHello(t, "a.example"))
	x.client.seq += 500
	x.send(x.client, bytes.Repeat([]byte{23, 3, 3, 0, 1}, 600))
	w.after(2 * time.Second)
	x.close()
	c := read(t, w.pcap(), dissect.Options{})
	if f := only(t, c); f.SkippedBytes != 500 || f.SNI != "a.example" || len(c.Unread) > 0 {
		t.Errorf("flow %+v, unread %d", f, len(c.Unread))
	}
}
