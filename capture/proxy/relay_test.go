package proxy_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/proxy"
	"github.com/offproof/offproof/internal/peers"
)

// frame is a WebSocket frame; the phone's are masked.
func frame(payload string, mask []byte) []byte {
	b := []byte{0x81, 0}
	switch n := len(payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 1<<16:
		b[1] = 126
		b = append(b, byte(n>>8), byte(n))
	default:
		b[1] = 127
		b = append(b, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	if mask == nil {
		return append(b, payload...)
	}
	b[1] |= 0x80
	b = append(b, mask...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return b
}

func TestWebSocket(t *testing.T) {
	const upgrade = "GET /chat HTTP/1.1\r\nHost: ws.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	const accept = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	w := newWorld(t)
	serve := func(c net.Conn) {
		br := bufio.NewReader(c)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		_, _ = io.WriteString(c, accept)
		_, _ = c.Write(frame("welcome", nil))
		_, _ = io.Copy(c, br) // an echo, masks and all
	}
	w.raw("ws.test:443", w.tls("ws.test", "http/1.1"), serve)
	w.raw("ws.test:80", nil, serve)
	for _, scheme := range []string{"https", "http"} {
		t.Run(scheme, func(t *testing.T) {
			r := w.start(t, proxy.Options{})
			var c net.Conn
			if scheme == "https" {
				c = r.secure("ws.test:443", "http/1.1")
			} else {
				c = r.connect("ws.test:80")
			}
			_, _ = io.WriteString(c, upgrade)
			long := strings.Repeat("elephant ", 9000)
			sent := append(frame("purple", []byte{1, 2, 3, 4}), frame(long, []byte{9, 8, 7, 6})...)
			want := append([]byte(accept), frame("welcome", nil)...)
			want = append(want, sent...)
			go func() { _, _ = c.Write(sent) }()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%.200q %v", got, err)
			}
			_ = c.Close()
			xs := r.finished(2)
			if xs[0].Status != 101 || xs[0].Method != http.MethodGet || xs[0].URL != scheme+"://ws.test/chat" {
				t.Errorf("%s", show(xs))
			}
			if xs[1].Method != "WEBSOCKET" || string(xs[1].RequestBody) != "purple"+long || string(xs[1].ResponseBody) != "welcomepurple"+long {
				t.Errorf("%s %.100q", show(xs), xs[1].RequestBody)
			}
		})
	}
}

func TestWhatIsNotHTTP(t *testing.T) {
	w := newWorld(t)
	answer := func(c net.Conn) {
		b := make([]byte, 6)
		if _, err := io.ReadFull(c, b); err == nil {
			_, _ = c.Write([]byte("\x00re:" + string(b)))
		}
	}
	w.raw("odd.test:443", w.tls("odd.test", "mqtt"), answer)
	w.raw("odd.test:5222", nil, answer)
	w.raw("mail.test:25", nil, func(c net.Conn) {
		_, _ = io.WriteString(c, "220 mail")
		answer(c)
	})
	talk := func(t *testing.T, c net.Conn, want string) {
		t.Helper()
		_, _ = c.Write([]byte("\x01abcde"))
		b, err := io.ReadAll(c)
		if err != nil || string(b) != want {
			t.Errorf("%q %v", b, err)
		}
		_ = c.Close()
	}
	t.Run("in TLS", func(t *testing.T) {
		r := w.start(t, proxy.Options{})
		c := r.secure("odd.test:443", "mqtt", "x/1")
		if p := c.ConnectionState().NegotiatedProtocol; p != "mqtt" {
			t.Errorf("the protocol %q was agreed on", p)
		}
		talk(t, c, "\x00re:\x01abcde")
		x := r.exchange()
		if x.Method != "" || x.URL != "tls://odd.test:443/" || string(x.RequestBody) != "\x01abcde" || string(x.ResponseBody) != "\x00re:\x01abcde" {
			t.Errorf("%s %q", show([]capture.Exchange{x}), x.RequestBody)
		}
	})
	t.Run("in the clear", func(t *testing.T) {
		r := w.start(t, proxy.Options{})
		talk(t, r.connect("odd.test:5222"), "\x00re:\x01abcde")
		x := r.exchange()
		f := r.stop().Flows[0]
		if string(x.RequestBody) != "\x01abcde" || x.URL != "tcp://odd.test:5222/" || f.App != "" || f.Visibility != capture.Metadata ||
			f.Host != "odd.test" || f.HostFrom != capture.FromConnect || f.Failure != "" {
			t.Errorf("%s %+v", show([]capture.Exchange{x}), f)
		}
	})
	t.Run("the phone hesitates", func(t *testing.T) {
		r := w.start(t, proxy.Options{ServerFirst: time.Millisecond})
		c := r.connect("odd.test:443")
		r.until("the tunnel", func(capture.Trace) bool { return w.wasAsked("odd.test:443") >= 2 })
		tc := tls.Client(c, &tls.Config{ServerName: "odd.test", RootCAs: r.roots(), MinVersion: tls.VersionTLS12})
		talk(t, tc, "\x00re:\x01abcde")
		if x := r.exchange(); x.URL != "tls://odd.test:443/" || string(x.RequestBody) != "\x01abcde" {
			t.Errorf("%s", show([]capture.Exchange{x}))
		}
	})
	t.Run("the server speaks first", func(t *testing.T) {
		r := w.start(t, proxy.Options{ServerFirst: time.Millisecond})
		c := r.connect("mail.test:25")
		b := make([]byte, 8)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "220 mail" {
			t.Fatalf("%q %v", b, err)
		}
		talk(t, c, "\x00re:\x01abcde")
		if x := r.exchange(); string(x.ResponseBody) != "220 mail\x00re:\x01abcde" || string(x.RequestBody) != "\x01abcde" {
			t.Errorf("%s %q", show([]capture.Exchange{x}), x.ResponseBody)
		}
	})
	t.Run("unreachable", func(t *testing.T) {
		r := w.start(t, proxy.Options{})
		c := r.connect("nowhere.test:5222")
		_, _ = c.Write([]byte("\x01abcde"))
		_, _ = io.Copy(io.Discard, c)
		if f := r.failed(); !strings.Contains(f.Failure, "unreachable") {
			t.Errorf("%+v", f)
		}
	})
}

func TestOwnServicesAreRefused(t *testing.T) {
	ln := listen(t)
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	w := newWorld(t)
	for _, uplink := range []string{"", w.socks} {
		for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0"} {
			if uplink == "" && host == "localhost" {
				continue // the host's resolver is not part of this test
			}
			t.Run(host+" "+uplink, func(t *testing.T) {
				r := startProxy(t, proxy.Options{SOCKS5: uplink})
				client, _ := r.client(false)
				// Go's client bypasses its proxy for loopback, so it is asked bare.
				client.CloseIdleConnections()
				c := r.dial()
				fmt.Fprintf(c, "GET http://%s:%s/ HTTP/1.1\r\n\r\n", host, port)
				b, _ := io.ReadAll(c)
				if x := r.exchange(); !strings.Contains(x.Failure, "not for the phone") || !bytes.HasPrefix(b, []byte("HTTP/1.1 502 ")) {
					t.Errorf("%s %q", show([]capture.Exchange{x}), b)
				}
			})
		}
	}
}

func TestDirectUplink(t *testing.T) {
	w := newWorld(t)
	s := w.serve("direct.test:80", echo)
	_ = s
	addr := w.hosts["direct.test:80"]
	r := startProxy(t, proxy.Options{AllowLoopback: true})
	c := r.dial()
	fmt.Fprintf(c, "POST http://%s/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", addr)
	b, _ := io.ReadAll(c)
	if !bytes.HasSuffix(b, []byte("hi")) {
		t.Errorf("%q", b)
	}
	r.exchange()
	if f := r.stop().Flows[0]; f.Server.String() != addr || f.Client.String() != c.LocalAddr().String() {
		t.Errorf("flow %+v", f)
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	w.raw("hold.test:443", w.tls("hold.test", "http/1.1"), func(net.Conn) { <-hold })
	t.Run("connections", func(t *testing.T) {
		r := w.start(t, proxy.Options{MaxConns: 2})
		a, b := r.dial(), r.dial()
		r.until("two connections", func(tr capture.Trace) bool { return tr.Health.Packets == 2 })
		if n, err := r.dial().Read(make([]byte, 1)); err == nil {
			t.Errorf("the third got %d bytes", n)
		}
		tr := r.until("a loss", func(tr capture.Trace) bool { return *tr.Health.Dropped == 1 })
		if len(tr.Health.Problems) != 1 {
			t.Errorf("%+v", tr.Health)
		}
		_, _ = a.Close(), b.Close()
	})
	t.Run("slow header", func(t *testing.T) {
		r := w.start(t, proxy.Options{HeaderTimeout: 50 * time.Millisecond})
		c := r.dial()
		_, _ = io.WriteString(c, "GET http://a")
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it waits for ever")
		}
		if f := r.failed(); !strings.Contains(f.Failure, "too long") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("idle", func(t *testing.T) {
		r := w.start(t, proxy.Options{IdleTimeout: 50 * time.Millisecond})
		c := r.connect("hold.test:443")
		if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("it waits for ever")
		}
		r.failed()
	})
	t.Run("large header", func(t *testing.T) {
		r := w.start(t, proxy.Options{MaxHeader: 1000})
		c := r.dial()
		_, _ = io.WriteString(c, "GET http://a.test/ HTTP/1.1\r\nX: "+strings.Repeat("y", 2000)+"\r\n\r\n")
		b, _ := io.ReadAll(c)
		if f := r.failed(); !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) || !strings.Contains(f.Failure, "1000 bytes") {
			t.Errorf("%q %+v", b, f)
		}
	})
	t.Run("no proxy request", func(t *testing.T) {
		for _, text := range []string{
			"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "\x16\x03\x01\n\n", "CONNECT nowhere HTTP/1.1\r\n\r\n", "GET ftp://a.test/ HTTP/1.1\r\n\r\n",
			"CONNECT a.test:0 HTTP/1.1\r\n\r\n", "GET http:///x HTTP/1.1\r\n\r\n",
		} {
			r := w.start(t, proxy.Options{})
			c := r.dial()
			_, _ = io.WriteString(c, text)
			b, _ := io.ReadAll(c)
			if f := r.failed(); !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) || f.Failure == "" {
				t.Errorf("%q: %q %+v", text, b, f)
			}
			r.stop()
		}
	})
	t.Run("a body without a clear end", func(t *testing.T) {
		for _, header := range []string{"Content-Length: 1\r\nContent-Length: 2", "Content-Length: -1", "Transfer-Encoding: gzip"} {
			r := w.start(t, proxy.Options{})
			c := r.dial()
			_, _ = io.WriteString(c, "POST http://a.test/ HTTP/1.1\r\n"+header+"\r\n\r\n")
			b, _ := io.ReadAll(c)
			if x := r.exchange(); !bytes.HasPrefix(b, []byte("HTTP/1.1 400 ")) || x.Failure == "" {
				t.Errorf("%q: %q %s", header, b, show([]capture.Exchange{x}))
			}
			r.stop()
		}
	})
}

func TestReplies(t *testing.T) {
	w := newWorld(t)
	for i, c := range []struct {
		name, method, reply string
		status              int
		body                string
		again               bool // the connection carries a second exchange
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", true},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, "", true},
		{"no content", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		{"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", true},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n", 200, "abc", true},
		{"early hints", "GET", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", true},
		{"bare line feeds", "GET", "HTTP/1.1 200 OK\nContent-Length: 1\n\na", 200, "a", true},
		{"until close", "GET", "HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", false},
		{"close", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
		{"old", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", false},
		{"old, kept", "GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", 200, "a", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := fmt.Sprintf("r%d.test:80", i)
			w.raw(host, nil, func(conn net.Conn) {
				br := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(br); err != nil {
						return
					}
					_, _ = io.WriteString(conn, c.reply)
					if !c.again {
						return
					}
				}
			})
			r := w.start(t, proxy.Options{})
			conn := r.connect(host)
			n := 1
			if c.again {
				n = 2
			}
			for i := range n {
				fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: r\r\n\r\n", c.method)
				b := make([]byte, len(c.reply))
				if _, err := io.ReadFull(conn, b); err != nil || string(b) != c.reply {
					t.Fatalf("reply %d %q %v", i, b, err)
				}
			}
			if !c.again {
				if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
					t.Errorf("then %q %v", b, err)
				}
			}
			for _, x := range r.finished(n) {
				if x.Status != c.status || string(x.ResponseBody) != c.body || x.Failure != "" || x.End.IsZero() {
					t.Errorf("%s %q", show([]capture.Exchange{x}), x.ResponseBody)
				}
				if c.name == "chunked" && value(x.ResponseHeader, "x-t") != "1" {
					t.Errorf("trailers %v", x.ResponseHeader)
				}
			}
		})
	}
}

func TestContinue(t *testing.T) {
	w := newWorld(t)
	w.serve("site.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{})
	c := r.secure("site.test:443", "http/1.1")
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: 6\r\nExpect: 100-continue\r\n\r\n")
	b := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q %v", b, err)
	}
	_, _ = io.WriteString(c, "canary")
	if x := r.exchange(); x.Status != 200 || string(x.RequestBody) != "canary" || string(x.ResponseBody) != "canary" {
		t.Errorf("%s", show([]capture.Exchange{x}))
	}
}

func TestAnEarlyReply(t *testing.T) {
	w := newWorld(t)
	w.raw("early.test:80", nil, func(c net.Conn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	r := w.start(t, proxy.Options{})
	c := r.connect("early.test:80")
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: early.test\r\nContent-Length: 100000\r\n\r\nbegin")
	b, _ := io.ReadAll(c)
	if !bytes.HasPrefix(b, []byte("HTTP/1.1 413 ")) {
		t.Errorf("%q", b)
	}
	_ = c.Close()
	if x := r.exchange(); x.Status != 413 || x.End.IsZero() || string(x.RequestBody) != "begin" || !x.Sent.IsZero() {
		t.Errorf("%s", show([]capture.Exchange{x}))
	}
}

func TestAServerThatEndsAnIdleConnectionIsNoticed(t *testing.T) {
	w := newWorld(t)
	s := w.serve("idle.test:443", echo, "http/1.1")
	s.IdleTimeout = 30 * time.Millisecond
	r := w.start(t, proxy.Options{})
	c := r.secure("idle.test:443", "http/1.1")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: idle.test\r\n\r\n")
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the phone was not told: %v", err)
	}
	if x := r.exchange(); x.End.IsZero() {
		t.Errorf("%s", show([]capture.Exchange{x}))
	}
}

func TestCurl(t *testing.T) {
	curl := peers.Require(t, "curl")
	w := newWorld(t)
	w.serve("site.test:443", echo, "h2", "http/1.1")
	w.serve("site.test:80", echo)
	r := w.start(t, proxy.Options{})
	ca := filepath.Join(r.dir, "proxy-ca.pem")
	big := filepath.Join(t.TempDir(), "body")
	body := bytes.Repeat([]byte("the purple elephant\n"), 5000)
	if err := os.WriteFile(big, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, c := range [][]string{
		{"--http2", "--data-binary", "@" + big, "https://site.test/a"},
		{"--http1.1", "--data-binary", "@" + big, "https://site.test/b"},
		{"--http1.1", "-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big, "https://site.test/c"},
		{"--data-binary", "@" + big, "http://site.test/d"},
		{"--proxytunnel", "--data-binary", "@" + big, "http://site.test/e"},
		{"--http2-prior-knowledge", "--data-binary", "@" + big, "https://site.test/f"},
	} {
		args := append([]string{"-sS", "--noproxy", "", "-x", "http://" + r.phone.addr(), "--cacert", ca}, c...)
		out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
		if err != nil || !bytes.Equal(out, body) {
			t.Fatalf("curl %q: %v: %.300q", c, err, out)
		}
		xs := r.finished(i + 1)
		if x := xs[i]; !bytes.Equal(x.RequestBody, body) || x.URL != c[len(c)-1] || x.Status != 200 || (i == 0) != (x.Version == "HTTP/2.0" && i == 0) {
			t.Errorf("%s", show(xs[i:]))
		}
	}
	// One that trusts other authorities only.
	out, err := exec.CommandContext(t.Context(), curl, "-sS", "--noproxy", "", "-x", "http://"+r.phone.addr(), "https://site.test/").CombinedOutput()
	if err == nil {
		t.Fatalf("curl trusted a stranger: %q", out)
	}
	trace := r.until("a refusal", func(tr capture.Trace) bool { return tr.Flows[len(tr.Flows)-1].Failure != "" })
	if f := trace.Flows[len(trace.Flows)-1]; !strings.Contains(f.Failure, "unknown certificate authority") || f.SNI != "site.test" {
		t.Errorf("flow %+v", f)
	}
}
