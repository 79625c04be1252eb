package dissect_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/http2"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// A tapped connection shows what is written to it to a made capture, in order.
type tapped struct {
	net.Conn
	mu   *sync.Mutex
	show func(string)
}

func (c tapped) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.show(string(b))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// pair is a connection over loopback.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // It has done its work.
	if a, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		b, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// secret makes a TLS conversation in a made capture: serve and ask are its two
// ends. It returns the key log.
func secret(t *testing.T, w *wire, server string, o *tls.Config, serve, ask func(*tls.Conn) error) *dissect.KeyLog {
	t.Helper()
	cert, err := world()
	if err != nil {
		t.Fatal(err)
	}
	var keys bytes.Buffer
	x := w.dial("10.0.0.2:41000", server).open()
	a, b := pair(t)
	var mu sync.Mutex
	theirs := o.Clone()
	theirs.Certificates = []tls.Certificate{cert, rsaCertificate(t)}
	ours := o.Clone()
	ours.InsecureSkipVerify, ours.ServerName, ours.KeyLogWriter = true, "secret.example", &keys
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(tapped{b, &mu, x.down}, theirs)
		err := conn.HandshakeContext(t.Context())
		if err == nil {
			err = serve(conn)
		}
		done <- errors.Join(err, conn.Close())
	}()
	conn := tls.Client(tapped{a, &mu, x.up}, ours)
	if err := ask(conn); err != nil {
		t.Errorf("ask: %v", err)
	}
	_ = a.Close()
	if err := <-done; err != nil {
		t.Logf("serve: %v", err) // The client has gone.
	}
	x.close()
	log, err := dissect.ReadKeyLog(&keys)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// rsaCertificate is a certificate with a key of the kind that older cipher suites
// need.
func rsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"secret.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// once answers one request of HTTP/1, and asksOnce makes it.
func once(conn *tls.Conn) error {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	return err
}

func asksOnce(conn *tls.Conn) error {
	body := strings.Repeat("planted words ", 5000)
	if _, err := fmt.Fprintf(conn, "POST /track?a=b HTTP/1.1\r\nHost: collector.example\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// TestDecryption reads every version of TLS and every cipher suite that Go
// speaks, by the key log of a conversation.
func TestDecryption(t *testing.T) {
	type kind struct {
		version uint16
		suite   uint16
	}
	kinds := []kind{{tls.VersionTLS13, 0}}
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		for _, v := range s.SupportedVersions {
			// RC4 and 3DES are not read: nobody has offered them for years.
			if v != tls.VersionTLS13 && !strings.Contains(s.Name, "RC4") && !strings.Contains(s.Name, "3DES") {
				kinds = append(kinds, kind{v, s.ID})
			}
		}
	}
	read := 0
	for _, k := range kinds {
		name := fmt.Sprintf("%s %s", tls.VersionName(k.version), tls.CipherSuiteName(k.suite))
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			o := &tls.Config{MinVersion: k.version, MaxVersion: k.version} //nolint:gosec // Old versions are what is tested.
			if k.suite != 0 {
				o.CipherSuites = []uint16{k.suite}
			}
			met := false
			log := secret(t, w, "203.0.113.7:443", o, once, func(conn *tls.Conn) error {
				if err := conn.HandshakeContext(t.Context()); err != nil {
					return nil //nolint:nilerr // This certificate does not go with the suite; counted below.
				}
				met = true
				return asksOnce(conn)
			})
			if !met {
				return
			}
			read++
			c, err := dissect.Read(bytes.NewReader(w.pcap()), dissect.Options{KeyLog: log})
			if err != nil || c.Damaged || len(c.Health.Doubts()) > 0 {
				t.Fatalf("health %+v, %v", c.Health, err)
			}
			if len(c.Exchanges) != 1 || len(c.Flows) != 1 {
				t.Fatalf("%d exchanges, %d flows", len(c.Exchanges), len(c.Flows))
			}
			x, f := c.Exchanges[0], c.Flows[0]
			if x.URL != "https://collector.example/track?a=b" || x.Status != 200 || len(x.RequestBody) != 70000 || !bytes.Equal(x.RequestBody, x.ResponseBody) || x.Failure != "" {
				t.Errorf("exchange %s, status %d, %d and %d bytes, %s", x.URL, x.Status, len(x.RequestBody), len(x.ResponseBody), x.Failure)
			}
			if f.App != "tls" || f.Visibility != capture.Plaintext || f.Host != "secret.example" || f.Failure != "" {
				t.Errorf("flow %+v", f)
			}
			// Without the keys, and with a key that was damaged, it stays closed.
			closed := readClean(t, w)
			if len(closed.Exchanges) != 0 || closed.Flows[0].Visibility != capture.Metadata {
				t.Errorf("without keys: %d exchanges, %s", len(closed.Exchanges), closed.Flows[0].Visibility)
			}
		})
	}
	if read < 20 {
		t.Errorf("%d kinds of conversations were read, which is too few", read)
	}
}

// TestKeysThatDoNotFit: a key log of another conversation that claims this one's
// random number is said not to fit, and nothing is made up.
func TestKeysThatDoNotFit(t *testing.T) {
	w := newWire(t)
	o := &tls.Config{MinVersion: tls.VersionTLS13}
	log := secret(t, w, "203.0.113.7:443", o, once, asksOnce)
	if log.Len() < 4 {
		t.Fatalf("%d secrets", log.Len())
	}
	random := w.frames[3].data[20+20+5+4+2:][:32]
	var bad strings.Builder
	for _, label := range []string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} {
		fmt.Fprintf(&bad, "%s %x %s\n", label, random, strings.Repeat("ab", 32))
	}
	wrong, err := dissect.ReadKeyLog(strings.NewReader(bad.String()))
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, w.pcap(), dissect.Options{KeyLog: wrong})
	if len(c.Exchanges) != 0 || len(c.Unread) != 0 || c.Flows[0].Visibility != capture.Metadata || !strings.Contains(strings.Join(c.Health.Doubts(), " "), "does not open") {
		t.Errorf("%d exchanges, flow %s, %q", len(c.Exchanges), c.Flows[0].Visibility, c.Health.Doubts())
	}
}

// TestHoleInDecryption: what follows a hole cannot be read, and the flow does not
// claim that it was.
func TestHoleInDecryption(t *testing.T) {
	w := newWire(t)
	log := secret(t, w, "203.0.113.7:443", &tls.Config{MinVersion: tls.VersionTLS12}, once, asksOnce)
	n := len(w.frames) / 2
	w.frames = append(w.frames[:n:n], w.frames[n+4:]...)
	c := read(t, w.pcap(), dissect.Options{KeyLog: log})
	if c.Health.SkippedBytes == 0 || len(c.Exchanges) != 1 || !c.Exchanges[0].RequestTruncated {
		t.Errorf("health %+v, exchanges %+v", c.Health, len(c.Exchanges))
	}
}

// TestHTTP2 reads what the library's client and server say to each other, inside
// TLS and in clear.
func TestHTTP2(t *testing.T) {
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("X-Path", r.URL.Path)
		rw.Header().Set("Trailer", "X-Last")
		_, _ = rw.Write(bytes.Repeat(body, 3))
		rw.Header().Set("X-Last", "done")
	})
	ask := func(conn net.Conn) error {
		cc, err := (&http2.Transport{AllowHTTP: true}).NewClientConn(conn) //nolint:staticcheck // As with the server below.
		if err != nil {
			return err
		}
		for i := range 5 {
			body := strings.Repeat(fmt.Sprintf("planted %d ", i), 4000*i)
			req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, fmt.Sprintf("https://two.example/p%d?q=1", i), strings.NewReader(body))
			if err != nil {
				return err
			}
			req.Header.Set("X-Secret", strings.Repeat("v", 100*i))
			res, err := cc.RoundTrip(req)
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				return err
			}
		}
		return cc.Close()
	}
	check := func(t *testing.T, c *dissect.Capture) {
		t.Helper()
		if len(c.Exchanges) != 5 || c.Damaged || len(c.Unread) != 0 {
			t.Fatalf("%d exchanges, %d unread, %+v", len(c.Exchanges), len(c.Unread), c.Health)
		}
		for i, x := range c.Exchanges {
			want := strings.Repeat(fmt.Sprintf("planted %d ", i), 4000*i)
			secret := ""
			for _, h := range x.RequestHeader {
				if h.Name == "x-secret" {
					secret = h.Value
				}
			}
			if x.URL != fmt.Sprintf("https://two.example/p%d?q=1", i) || string(x.RequestBody) != want || len(x.ResponseBody) != 3*len(want) || x.Status != 200 ||
				len(secret) != 100*i || x.Version != "HTTP/2.0" || x.Sent.IsZero() || x.End.IsZero() || x.RequestTruncated || x.ResponseTruncated || x.Failure != "" {
				t.Errorf("exchange %d: %s, status %d, %d and %d bytes, %q, truncated %v %v", i, x.URL, x.Status, len(x.RequestBody), len(x.ResponseBody), x.Failure, x.RequestTruncated, x.ResponseTruncated)
			}
			if last := x.ResponseHeader[len(x.ResponseHeader)-1]; last.Name != "x-last" || last.Value != "done" {
				t.Errorf("the trailer is %+v", last)
			}
		}
	}
	t.Run("inside TLS", func(t *testing.T) {
		w := newWire(t)
		log := secret(t, w, "203.0.113.7:443", &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}, func(conn *tls.Conn) error {
			(&http2.Server{}).ServeConn(conn, &http2.ServeConnOpts{Handler: handler}) //nolint:staticcheck // Its successor takes no connection that is open already.
			return nil
		}, func(conn *tls.Conn) error { return ask(conn) })
		c := read(t, w.pcap(), dissect.Options{KeyLog: log})
		check(t, c)
		if c.Flows[0].App != "tls" || c.Flows[0].Visibility != capture.Plaintext {
			t.Errorf("flow %+v", c.Flows[0])
		}
	})
	t.Run("in clear", func(t *testing.T) {
		w := newWire(t)
		x := w.dial("10.0.0.2:41000", "203.0.113.7:80").open()
		a, b := pair(t)
		var mu sync.Mutex
		done := make(chan struct{})
		go func() {
			defer close(done)
			(&http2.Server{}).ServeConn(tapped{b, &mu, x.down}, &http2.ServeConnOpts{Handler: handler}) //nolint:staticcheck // As above.
		}()
		if err := ask(tapped{a, &mu, x.up}); err != nil {
			t.Error(err)
		}
		_ = a.Close()
		<-done
		x.close()
		c := readClean(t, w)
		check(t, c)
		if c.Flows[0].App != "http" || c.Flows[0].Host != "two.example" || c.Flows[0].HostFrom != capture.FromHeader {
			t.Errorf("flow %+v", c.Flows[0])
		}
		// Without its beginning nothing can be followed, and nothing is forgotten.
		w.frames = w.frames[6:]
		late := read(t, w.pcap(), dissect.Options{})
		found := false
		for _, u := range late.Unread {
			found = found || bytes.Contains(u.Data, []byte("planted 4"))
		}
		if !found {
			t.Error("what was sent after a late start is not kept to be searched")
		}
	})
}

// webSocketFrame is a frame of a client, masked, or of a server.
func webSocketFrame(code byte, packed, masked bool, payload []byte) string {
	b := []byte{0x80 | code, 0}
	if packed {
		b[0] |= 0x40
	}
	if len(payload) < 126 {
		b[1] = byte(len(payload))
	} else {
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	if masked {
		b[1] |= 0x80
		mask := []byte{0xde, 0xad, 0xbe, 0xef}
		b = append(b, mask...)
		for i, c := range payload {
			b = append(b, c^mask[i&3])
		}
		return string(b)
	}
	return string(append(b, payload...))
}

func TestWebSocket(t *testing.T) {
	const request = "GET /live HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	reply := func(extensions string) string {
		return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nSec-WebSocket-Extensions: " + extensions + "\r\n\r\n"
	}
	t.Run("plain", func(t *testing.T) {
		w := newWire(t)
		x := w.dial(phone4, "203.0.113.7:80").open()
		x.mss = 7
		x.up(request)
		x.down(reply(""))
		x.up(webSocketFrame(1, false, true, []byte("planted words")) + webSocketFrame(9, false, true, []byte("ping")) + webSocketFrame(2, false, true, bytes.Repeat([]byte("z"), 300)))
		x.down(webSocketFrame(1, false, false, []byte("heard")))
		x.close()
		c := readClean(t, w)
		if len(c.Exchanges) != 2 || len(c.Unread) != 0 {
			t.Fatalf("%d exchanges, %d unread", len(c.Exchanges), len(c.Unread))
		}
		ws := c.Exchanges[1]
		if ws.Method != "WEBSOCKET" || ws.URL != "ws://ws.example/live" || string(ws.RequestBody) != "planted words"+"ping"+strings.Repeat("z", 300) || string(ws.ResponseBody) != "heard" || ws.RequestTruncated {
			t.Errorf("got %+v", ws)
		}
	})
	t.Run("compressed", func(t *testing.T) {
		w := newWire(t)
		x := w.dial(phone4, "203.0.113.7:80").open()
		x.up(request)
		x.down(reply("permessage-deflate"))
		var out bytes.Buffer
		z, err := flate.NewWriter(&out, flate.BestCompression)
		if err != nil {
			t.Fatal(err)
		}
		var want string
		for i := range 20 {
			text := fmt.Sprintf("planted words %d, and the same words again", i%3)
			want += text
			out.Reset()
			if _, err := io.WriteString(z, text); err != nil {
				t.Fatal(err)
			}
			if err := z.Flush(); err != nil {
				t.Fatal(err)
			}
			x.up(webSocketFrame(1, true, true, bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))))
		}
		x.close()
		c := readClean(t, w)
		if ws := c.Exchanges[1]; string(ws.RequestBody) != want || ws.RequestTruncated || ws.BytesUp >= int64(len(want)) {
			t.Errorf("%d bytes out of %d, want %d", len(ws.RequestBody), ws.BytesUp, len(want))
		}
	})
	t.Run("no frames", func(t *testing.T) {
		w := newWire(t)
		x := w.dial(phone4, "203.0.113.7:80").open()
		x.up(request)
		x.down(reply(""))
		x.up("planted words that are no frame")
		x.close()
		c := readClean(t, w)
		if len(c.Unread) != 1 || !bytes.Contains(c.Unread[0].Data, []byte("planted words")) {
			t.Errorf("unread %+v", c.Unread)
		}
	})
}

// TestQuestionsInsideTLS: DNS over TLS and over HTTPS are told, and where the
// keys are there, what was asked.
func TestQuestionsInsideTLS(t *testing.T) {
	q := question(t, 7, "planted.example", dnsmessage.TypeA)
	reply := answer(t, 7, "planted.example", dnsmessage.TypeA, []dnsmessage.ResourceBody{a(203, 0, 113, 9)})
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	t.Run("over TLS", func(t *testing.T) {
		w := newWire(t)
		log := secret(t, w, "203.0.113.7:853", &tls.Config{MinVersion: tls.VersionTLS13}, func(conn *tls.Conn) error {
			if _, err := io.ReadFull(conn, make([]byte, len(q)+2)); err != nil {
				return err
			}
			_, err := conn.Write(framed(reply))
			return err
		}, func(conn *tls.Conn) error {
			if _, err := conn.Write(framed(q)); err != nil {
				return err
			}
			_, err := io.ReadFull(conn, make([]byte, len(reply)+2))
			return err
		})
		for _, o := range []dissect.Options{{}, {KeyLog: log}} {
			c := read(t, w.pcap(), o)
			if f := c.Flows[0]; f.Service != "dot" || f.App != "tls" {
				t.Errorf("flow %+v", f)
			}
			if asked := len(c.Lookups) == 1 && c.Lookups[0].Name == "planted.example" && c.Lookups[0].Answers[0] == "203.0.113.9"; asked != (o.KeyLog != nil) {
				t.Errorf("lookups %+v", c.Lookups)
			}
		}
	})
	for name, request := range map[string]string{
		"by GET":  "GET /dns-query?dns=" + base64.RawURLEncoding.EncodeToString(q) + " HTTP/1.1\r\nHost: dns.google\r\nAccept: application/dns-message\r\n\r\n",
		"by POST": fmt.Sprintf("POST /dns-query HTTP/1.1\r\nHost: dns.google\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(q), q),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			x := w.dial(phone4, "203.0.113.7:80").open()
			x.up(request)
			x.down(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/dns-message\r\nContent-Length: %d\r\n\r\n%s", len(reply), reply))
			x.close()
			c := readClean(t, w)
			if len(c.Lookups) != 1 || c.Lookups[0].Name != "planted.example" || len(c.Lookups[0].Answers) != 1 || c.Lookups[0].RCode != "NOERROR" {
				t.Errorf("lookups %+v", c.Lookups)
			}
		})
	}
	w := newWire(t)
	x := w.dial(phone4, "203.0.113.7:443").open()
	x.send(x.client, clientHello(t, "mozilla.cloudflare-dns.com", "h2"))
	x.close()
	x = w.dial("10.0.0.2:40001", "203.0.113.8:5222").open()
	x.up("\xc2\xfe\x00\x05\x00\x00\x00\x04\x12\x02K2")
	x.close()
	w.udp("10.0.0.2:123", "203.0.113.8:123", make([]byte, 48))
	c := readClean(t, w)
	if c.Flows[0].Service != "doh" || c.Flows[1].Service != "xmpush" || c.Flows[2].Service != "ntp" {
		t.Errorf("services %q, %q, %q", c.Flows[0].Service, c.Flows[1].Service, c.Flows[2].Service)
	}
}

// TestCertificateNamesTheFlow: where nothing else does, and the certificate is
// not hidden.
func TestCertificateNamesTheFlow(t *testing.T) {
	w := newWire(t)
	log := secret(t, w, "203.0.113.7:443", &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}, once, asksOnce)
	c := read(t, w.pcap(), dissect.Options{})
	if c.Flows[0].HostFrom != capture.FromSNI {
		t.Errorf("a name that was asked for is better: %+v", c.Flows[0])
	}
	hidden := newWire(t)
	for i := range w.frames {
		w.frames[i].data = bytes.ReplaceAll(w.frames[i].data, []byte("\x00\x00\x00\x13\x00\x11\x00\x00\x0esecret.example"), []byte("\xaa\xaa\x00\x13\x00\x11\x00\x00\x0esecret.example"))
	}
	hidden.frames = w.frames
	c = read(t, hidden.pcap(), dissect.Options{KeyLog: log})
	if f := c.Flows[0]; f.SNI != "" || f.HostFrom != capture.FromCertificate && f.HostFrom != capture.FromHeader || f.Host == "" {
		t.Errorf("flow %+v", f)
	}
}

// TestSecretsInTheFile: a copy with the key log inside is read without any other,
// here and by tshark.
func TestSecretsInTheFile(t *testing.T) {
	w := newWire(t)
	var keys bytes.Buffer
	secret(t, w, "203.0.113.7:443", &tls.Config{MinVersion: tls.VersionTLS13, KeyLogWriter: &keys}, once, asksOnce)
	var out bytes.Buffer
	// The two ends log the same secrets: the server's are as good.
	if err := dissect.WritePcapng(&out, bytes.NewReader(w.pcap()), dissect.Notes{Secrets: keys.Bytes()}); err != nil {
		t.Fatal(err)
	}
	c := read(t, out.Bytes(), dissect.Options{})
	if len(c.Exchanges) != 1 || len(c.Exchanges[0].RequestBody) != 70000 {
		t.Fatalf("%d exchanges", len(c.Exchanges))
	}
	path := filepath.Join(t.TempDir(), "with-keys.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := tshark(t, path, "http.request", "http.request.full_uri", "http.file_data")
	if len(rows) != 1 || rows[0][0] != "https://collector.example/track?a=b" {
		t.Errorf("tshark reads %.200q", rows)
	}
}

func TestReadKeyLog(t *testing.T) {
	line := "CLIENT_RANDOM " + strings.Repeat("0f", 32) + " " + strings.Repeat("aa", 48) + "\n"
	for _, c := range []struct {
		name, text string
		n          int
		bad        bool
	}{
		{"good", "# a comment\n\n" + line, 1, false},
		{"empty", "", 0, false},
		{"being written", line + "CLIENT_RANDOM 00", 1, false},
		{"of another kind", "RSA 12345678 abcd\n" + line, 1, false},
		{"no key log", "hello\nworld\n", 0, true},
		{"binary", "\x00\xff\x00" + strings.Repeat("\xfe", 5000), 0, true},
	} {
		k, err := dissect.ReadKeyLog(strings.NewReader(c.text))
		if k.Len() != c.n || errors.Is(err, dissect.ErrKeyLog) != c.bad || (err != nil) != c.bad {
			t.Errorf("%s: %d secrets, %v", c.name, k.Len(), err)
		}
	}
}

// FuzzDecryption changes bytes of a conversation and of its key log.
func FuzzDecryption(f *testing.F) {
	w := newWire(f)
	x := w.dial(phone4, host4).open()
	x.send(x.client, clientHello(f, "a.example", "h2"))
	f.Add(w.pcap(), "CLIENT_HANDSHAKE_TRAFFIC_SECRET "+strings.Repeat("00", 32)+" "+strings.Repeat("11", 32))
	f.Fuzz(func(t *testing.T, b []byte, keys string) {
		log, err := dissect.ReadKeyLog(strings.NewReader(keys))
		if err != nil {
			return
		}
		c, err := dissect.Read(bytes.NewReader(b), dissect.Options{KeyLog: log})
		if err == nil {
			sane(t, c, len(b))
		}
	})
}
