package proxy_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/proxy"
)

// echo answers with what it was sent.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Proto", r.Proto)
	_, _ = w.Write(b)
})

func TestRequestsAreRecordedAsTheyWere(t *testing.T) {
	for _, c := range []struct {
		name  string
		site  []string
		h2    bool
		proto string
	}{
		{"h1", []string{"http/1.1"}, false, "HTTP/1.1"},
		{"h1 where h2 is offered", []string{"h2", "http/1.1"}, false, "HTTP/1.1"},
		{"h2", []string{"h2", "http/1.1"}, true, "HTTP/2.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.serve("site.test:443", echo, c.site...)
			r := w.start(t, proxy.Options{})
			client, n := r.client(c.h2)
			body := strings.Repeat("q=purple elephant&", 1000)
			resp, got := do(t, client, "POST", "https://site.test/collect?x=a%20b&y=#frag", strings.NewReader(body),
				"X-Canary", "Purple", "Content-Type", "text/plain")
			if resp.StatusCode != http.StatusOK || string(got) != body || resp.Header.Get("X-Proto") != c.proto {
				t.Fatalf("reply %v", resp)
			}
			x := r.exchange()
			if x.Method != http.MethodPost || x.URL != "https://site.test/collect?x=a%20b&y=" || x.Version != c.proto || x.Status != 200 {
				t.Errorf("exchange %s %s", x.Version, show([]capture.Exchange{x}))
			}
			if string(x.RequestBody) != body || string(x.ResponseBody) != body || x.BytesUp != int64(len(body)) || x.BytesDown != x.BytesUp {
				t.Errorf("bodies of %d and %d bytes", x.BytesUp, x.BytesDown)
			}
			if value(x.RequestHeader, "x-canary") != "Purple" || value(x.ResponseHeader, "x-proto") != c.proto {
				t.Errorf("headers %v %v", x.RequestHeader, x.ResponseHeader)
			}
			if x.Start.IsZero() || x.Sent.Before(x.Start) || x.End.Before(x.Sent) || x.Failure != "" || x.RequestTruncated {
				t.Errorf("times %v %v %v, %q", x.Start, x.Sent, x.End, x.Failure)
			}
			r.until("all bytes", func(tr capture.Trace) bool { return tr.Flows[0].BytesUp == n.up.Load() })
			trace := r.stop()
			f := trace.Flows[0]
			if len(trace.Flows) != 1 || f.ID != x.Flow || f.App != "tls" || f.SNI != "site.test" || f.Host != "site.test" ||
				f.HostFrom != capture.FromSNI || f.Visibility != capture.Plaintext || f.Proto != capture.TCP || f.Failure != "" {
				t.Errorf("flow %+v", f)
			}
			if f.PayloadUp != f.BytesUp || f.PayloadDown != f.BytesDown {
				t.Errorf("flow %+v", f)
			}
			var burst int64
			for i, b := range f.Sent {
				burst += b.Bytes
				if i > 0 && b.At.Before(f.Sent[i-1].At) {
					t.Error("bursts out of order")
				}
			}
			if burst != f.BytesUp {
				t.Errorf("bursts add up to %d of %d", burst, f.BytesUp)
			}
			h := trace.Health
			if h.Packets != 1 || h.Dropped == nil || *h.Dropped != 0 || h.Truncated || len(h.Problems) > 0 {
				t.Errorf("health %+v", h)
			}
			if !slices.Equal(w.asked, []string{"site.test:443"}) {
				t.Errorf("the door was asked for %q", w.asked)
			}
		})
	}
}

func TestHeadersKeepOrderAndSpelling(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 1)
	reply := "HTTP/1.1 200 Fine\r\nserver: Odd\r\nContent-Length: 2\r\nX-b: 1\r\nX-a:2\r\n\r\nok"
	w.raw("odd.test:443", w.tls("odd.test", "http/1.1"), func(c net.Conn) {
		b := make([]byte, 4096)
		n, _ := c.Read(b)
		got <- string(b[:n])
		_, _ = io.WriteString(c, reply)
	})
	r := w.start(t, proxy.Options{})
	c := r.secure("odd.test:443", "http/1.1")
	request := "GET /A%2f?q=Purple%20Elephant HTTP/1.1\r\nhOST: odd.test\r\nx-Z:  1 \r\nX-y: a\r\n folded\r\nCookie: a=b\r\n\r\n"
	_, _ = io.WriteString(c, request)
	b := make([]byte, len(reply))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != reply {
		t.Errorf("reply %q %v", b, err)
	}
	if sent := <-got; sent != request {
		t.Errorf("the server got %q", sent)
	}
	x := r.exchange()
	want := []capture.Header{{Name: "hOST", Value: "odd.test"}, {Name: "x-Z", Value: "1"}, {Name: "X-y", Value: "a folded"}, {Name: "Cookie", Value: "a=b"}}
	if !slices.Equal(x.RequestHeader, want) || x.URL != "https://odd.test/A%2f?q=Purple%20Elephant" {
		t.Errorf("%s %q", x.URL, x.RequestHeader)
	}
	if x.ResponseHeader[0].Name != "server" || x.ResponseHeader[3] != (capture.Header{Name: "X-a", Value: "2"}) {
		t.Errorf("%q", x.ResponseHeader)
	}
}

func TestPlainRequests(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test:80", echo)
	w.serve("b.test:8081", echo)
	r := w.start(t, proxy.Options{})
	client, n := r.client(false)
	do(t, client, "POST", "http://a.test/one?q=1", strings.NewReader("canary"))
	do(t, client, "POST", "http://a.test/two", io.MultiReader(strings.NewReader("chunked"))) // of unknown length
	do(t, client, "HEAD", "http://b.test:8081/", nil)
	xs := r.finished(3)
	if xs[0].URL != "http://a.test/one?q=1" || string(xs[0].RequestBody) != "canary" || xs[1].BytesUp != 7 ||
		string(xs[1].ResponseBody) != "chunked" || xs[2].URL != "http://b.test:8081/" || xs[2].Status != 200 {
		t.Errorf("%s", show(xs))
	}
	if te := value(xs[1].RequestHeader, "Transfer-Encoding"); te != "chunked" {
		t.Errorf("transfer encoding %q", te)
	}
	trace := r.stop()
	var up, down int64
	for _, f := range trace.Flows {
		up += f.BytesUp
		down += f.BytesDown
		if f.App != "http" || f.HostFrom != capture.FromHeader || f.Host == "" || f.Visibility != capture.Plaintext {
			t.Errorf("flow %+v", f)
		}
	}
	if up != n.up.Load() || down != n.down.Load() {
		t.Errorf("counted %d up and %d down, the client %d and %d", up, down, n.up.Load(), n.down.Load())
	}
}

func TestOneConnectionManyServers(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test:80", echo)
	w.serve("b.test:80", echo)
	r := w.start(t, proxy.Options{})
	c := r.dial()
	for i := range 6 {
		host := []string{"a.test", "a.test", "b.test"}[i%3]
		body := fmt.Sprintf("body %d", i)
		fmt.Fprintf(c, "POST http://%s/%d HTTP/1.1\r\nHost: %s\r\nProxy-Connection: keep-alive\r\nContent-Length: %d\r\n\r\n%s",
			host, i, host, len(body), body)
		b := make([]byte, 4096)
		got := ""
		for !strings.HasSuffix(got, body) {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("request %d: %q %v", i, got, err)
			}
			got += string(b[:n])
		}
	}
	if xs := r.finished(6); xs[2].URL != "http://b.test/2" || xs[5].Flow != xs[0].Flow {
		t.Errorf("%s", show(xs))
	}
}

func TestAClientThatRefuses(t *testing.T) {
	w := newWorld(t)
	w.serve("pinned.test:443", echo, "h2", "http/1.1")
	for _, c := range []struct {
		name  string
		dial  func(*testing.T, *rig)
		words []string
	}{
		{"alert, tls 1.3", func(t *testing.T, r *rig) {
			tc := tls.Client(r.connect("pinned.test:443"), &tls.Config{ServerName: "pinned.test", RootCAs: w.roots, MinVersion: tls.VersionTLS13})
			if err := tc.HandshakeContext(t.Context()); err == nil {
				t.Error("the handshake did not fail")
			}
		}, []string{"alert", "bad certificate", "pinned.test"}},
		{"alert, tls 1.2", func(t *testing.T, r *rig) {
			tc := tls.Client(r.connect("pinned.test:443"), &tls.Config{ServerName: "pinned.test", RootCAs: w.roots, MaxVersion: tls.VersionTLS12})
			if err := tc.HandshakeContext(t.Context()); err == nil {
				t.Error("the handshake did not fail")
			}
		}, []string{"alert", "bad certificate", "pinned.test"}},
		{"goes away", func(t *testing.T, r *rig) {
			tc := tls.Client(&quitter{Conn: r.connect("pinned.test:443")}, &tls.Config{ServerName: "pinned.test", RootCAs: w.roots, MinVersion: tls.VersionTLS12})
			_ = tc.HandshakeContext(t.Context())
		}, []string{"closed the connection in the handshake", "pinned.test"}},
		{"goes away after the handshake", func(t *testing.T, r *rig) {
			_ = r.secure("pinned.test:443").Close()
		}, []string{"closed after the handshake without a request", "pinned.test"}},
		{"never says hello", func(t *testing.T, r *rig) {
			c := r.connect("pinned.test:443")
			_, _ = c.Write([]byte{0x16, 3, 1})
			_ = c.Close()
		}, []string{"no readable ClientHello"}},
		{"says nothing", func(t *testing.T, r *rig) {
			_ = r.connect("pinned.test:443").Close()
		}, []string{"without a byte"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.start(t, proxy.Options{})
			c.dial(t, r)
			f := r.failed()
			for _, word := range c.words {
				if !strings.Contains(f.Failure, word) {
					t.Errorf("failure %q does not say %q", f.Failure, word)
				}
			}
			if f.Visibility != capture.Metadata || f.Host != "pinned.test" {
				t.Errorf("flow %+v", f)
			}
			if f.SNI == "" && (strings.Contains(c.name, "alert") || strings.Contains(c.name, "goes")) {
				t.Error("the SNI was not kept")
			}
		})
	}
}

// A quitter closes instead of reading the server's answer.
type quitter struct{ net.Conn }

func (q *quitter) Read([]byte) (int, error) {
	_ = q.Conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, q.Conn)
	return 0, io.EOF
}

func TestAnUpstreamThatCannotBeTrustedOrReached(t *testing.T) {
	w := newWorld(t)
	stranger := newWorld(t) // another authority
	expired := w.tls("expired.test", "h2", "http/1.1")
	expired.Certificates[0] = w.certificate("expired.test", time.Now().Add(-time.Hour))
	idle := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	w.raw("stranger.test:443", stranger.tls("stranger.test", "h2", "http/1.1"), idle)
	w.raw("expired.test:443", expired, idle)
	w.raw("wrong.test:443", w.tls("other.test", "h2", "http/1.1"), idle)
	w.raw("garbage.test:443", nil, func(c net.Conn) { _, _ = io.WriteString(c, "220 ready\r\n"); idle(c) })
	for host, words := range map[string]string{
		"stranger.test": "not trusted", "expired.test": "expired", "wrong.test": "not wrong.test",
		"garbage.test": "handshake", "nowhere.test": "unreachable",
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s h2 %v", host, h2), func(t *testing.T) {
				r := w.start(t, proxy.Options{})
				client, _ := r.client(h2)
				resp, b := do(t, client, "POST", "https://"+host+"/collect", strings.NewReader("the canary"))
				if resp.StatusCode != http.StatusBadGateway || !strings.Contains(string(b), "offproof") {
					t.Errorf("reply %d %q", resp.StatusCode, b)
				}
				x := r.exchange()
				if x.Status != 0 || !x.End.IsZero() || !strings.Contains(x.Failure, words) || string(x.RequestBody) != "the canary" {
					t.Errorf("exchange %s %q", show([]capture.Exchange{x}), x.RequestBody)
				}
				if f := r.failed(); !strings.Contains(f.Failure, words) || f.Visibility != capture.Plaintext {
					t.Errorf("flow %+v", f)
				}
			})
		}
	}
	t.Run("plain", func(t *testing.T) {
		r := w.start(t, proxy.Options{})
		client, _ := r.client(false)
		resp, _ := do(t, client, "POST", "http://nowhere.test/collect", strings.NewReader("the canary"))
		x := r.exchange()
		if resp.StatusCode != http.StatusBadGateway || x.Failure == "" || string(x.RequestBody) != "the canary" {
			t.Errorf("%d %s", resp.StatusCode, show([]capture.Exchange{x}))
		}
	})
}

func TestStreaming(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2 %v", h2), func(t *testing.T) {
			w := newWorld(t)
			// It answers every line as it comes.
			w.serve("stream.test:443", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				_ = http.NewResponseController(rw).EnableFullDuplex()
				rw.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(rw).Flush()
				b := make([]byte, 100)
				for {
					n, err := req.Body.Read(b)
					_, _ = rw.Write(bytes.ToUpper(b[:n]))
					_ = http.NewResponseController(rw).Flush()
					if err != nil {
						return
					}
				}
			}), "h2", "http/1.1")
			r := w.start(t, proxy.Options{})
			client, _ := r.client(h2)
			pr, pw := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://stream.test/", pr)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			for i := range 5 {
				word := fmt.Sprintf("word%d", i)
				_, _ = io.WriteString(pw, word)
				b := make([]byte, len(word))
				if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != strings.ToUpper(word) {
					t.Fatalf("%q %v", b, err)
				}
			}
			// What went so far is known before the exchange is over.
			r.until("the unfinished body", func(tr capture.Trace) bool {
				x := tr.Exchanges[0]
				return string(x.RequestBody) == "word0word1word2word3word4" && x.Sent.IsZero() && x.End.IsZero() && x.Status == 200
			})
			_ = pw.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			if x := r.exchange(); string(x.ResponseBody) != "WORD0WORD1WORD2WORD3WORD4" || x.End.IsZero() || x.BytesUp != 25 {
				t.Errorf("%s", show([]capture.Exchange{x}))
			}
		})
	}
}

func TestBigBodiesPassAndAreCutInMemory(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2 %v", h2), func(t *testing.T) {
			w := newWorld(t)
			w.serve("big.test:443", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				n, _ := io.Copy(io.Discard, req.Body)
				rw.Header().Set("X-Got", fmt.Sprint(n))
				_, _ = io.CopyN(rw, zeros{}, 20<<20)
			}), "h2", "http/1.1")
			r := w.start(t, proxy.Options{MaxRequestBody: 1000, MaxResponseBody: 500})
			client, _ := r.client(h2)
			resp, b := do(t, client, "POST", "https://big.test/", io.LimitReader(zeros{}, 20<<20))
			if resp.Header.Get("X-Got") != fmt.Sprint(20<<20) || len(b) != 20<<20 {
				t.Errorf("%v, %d bytes", resp.Header, len(b))
			}
			x := r.exchange()
			if x.BytesUp != 20<<20 || x.BytesDown != 20<<20 || len(x.RequestBody) != 1000 || len(x.ResponseBody) != 500 ||
				!x.RequestTruncated || !x.ResponseTruncated {
				t.Errorf("%s, kept %d and %d", show([]capture.Exchange{x}), len(x.RequestBody), len(x.ResponseBody))
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestMemoryIsBounded(t *testing.T) {
	w := newWorld(t)
	w.serve("big.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{MaxMemory: 20 << 10})
	client, _ := r.client(false)
	for range 40 {
		do(t, client, "POST", "https://big.test/", io.LimitReader(zeros{}, 4000))
	}
	trace := r.stop()
	kept := 0
	for _, x := range trace.Exchanges {
		kept += len(x.RequestBody) + len(x.ResponseBody)
		if x.BytesUp != 4000 || (len(x.RequestBody) < 4000) != x.RequestTruncated {
			t.Errorf("%s", show([]capture.Exchange{x}))
		}
	}
	if kept > 20<<10 || len(trace.Exchanges) >= 40 || *trace.Health.Dropped != int64(40-len(trace.Exchanges)) || len(trace.Health.Problems) == 0 {
		t.Errorf("kept %d bytes in %d exchanges, health %+v", kept, len(trace.Exchanges), trace.Health)
	}
}

// TestRepliesLeaveRoom: an evening of videos is no doubt about what the phone sends
// after it.
func TestRepliesLeaveRoom(t *testing.T) {
	w := newWorld(t)
	w.serve("big.test:443", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.CopyN(rw, zeros{}, 20<<10)
	}), "http/1.1")
	r := w.start(t, proxy.Options{MaxMemory: 100 << 10})
	client, _ := r.client(false)
	for range 8 {
		do(t, client, "GET", "https://big.test/video", nil)
	}
	do(t, client, "POST", "https://big.test/report", io.LimitReader(zeros{}, 4000))
	trace := r.stop()
	last := trace.Exchanges[len(trace.Exchanges)-1]
	if len(trace.Exchanges) != 9 || len(last.RequestBody) != 4000 || last.RequestTruncated || !last.ResponseTruncated {
		t.Errorf("%s", show(trace.Exchanges))
	}
	if h := trace.Health; *h.Dropped != 0 || len(h.Problems) > 0 {
		t.Errorf("health %+v", h)
	}
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	w.serve("many.test:443", echo, "h2", "http/1.1")
	w.serve("many.test:80", echo)
	r := w.start(t, proxy.Options{})
	h1, n1 := r.client(false)
	h2, n2 := r.client(true)
	var wg sync.WaitGroup
	for i := range 200 {
		client, scheme := h1, "https"
		switch i % 3 {
		case 1:
			client = h2
		case 2:
			scheme = "http"
		}
		wg.Go(func() {
			body := strings.Repeat(fmt.Sprintf("%d ", i), 500)
			if _, b := do(t, client, "POST", fmt.Sprintf("%s://many.test/%d", scheme, i), strings.NewReader(body)); string(b) != body {
				t.Errorf("request %d came back changed", i)
			}
		})
	}
	wg.Wait()
	xs := r.finished(200)
	seen := make(map[string]bool)
	for _, x := range xs {
		i := x.URL[strings.LastIndexByte(x.URL, '/')+1:]
		if want := strings.Repeat(i+" ", 500); seen[i] || string(x.RequestBody) != want || string(x.ResponseBody) != want {
			t.Errorf("request %s was recorded wrongly", i)
		}
		seen[i] = true
	}
	r.until("all bytes", func(tr capture.Trace) bool {
		var up, down int64
		for _, f := range tr.Flows {
			up += f.BytesUp
			down += f.BytesDown
		}
		return up == n1.up.Load()+n2.up.Load() && down == n1.down.Load()+n2.down.Load()
	})
}

func TestAbruptEnds(t *testing.T) {
	w := newWorld(t)
	w.raw("half.test:443", w.tls("half.test", "http/1.1"), func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
	})
	w.raw("mute.test:443", w.tls("mute.test", "http/1.1"), func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) })
	w.raw("babble.test:443", w.tls("babble.test", "http/1.1"), func(c net.Conn) {
		_, _ = c.Read(make([]byte, 4096))
		_, _ = io.WriteString(c, "what?\r\n\r\n")
	})
	for host, words := range map[string]string{
		"half.test": "cut short", "mute.test": "without a reply", "babble.test": "could not be read",
	} {
		t.Run(host, func(t *testing.T) {
			r := w.start(t, proxy.Options{})
			c := r.secure(host+":443", "http/1.1")
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 6\r\n\r\ncanary")
			_, _ = io.Copy(io.Discard, c)
			if x := r.exchange(); !strings.Contains(x.Failure, words) || !x.End.IsZero() || string(x.RequestBody) != "canary" {
				t.Errorf("%s", show([]capture.Exchange{x}))
			}
		})
	}
	t.Run("the phone, in its request", func(t *testing.T) {
		r := w.start(t, proxy.Options{})
		c := r.secure("mute.test:443", "http/1.1")
		_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: mute.test\r\nContent-Length: 1000\r\n\r\ncanary")
		r.until("the half body", func(tr capture.Trace) bool {
			return len(tr.Exchanges) == 1 && string(tr.Exchanges[0].RequestBody) == "canary"
		})
		_ = c.NetConn().Close()
		if x := r.exchange(); x.Failure == "" || x.BytesUp != 6 || !x.Sent.IsZero() {
			t.Errorf("%s", show([]capture.Exchange{x}))
		}
	})
}

func TestByteCountsAreExact(t *testing.T) {
	w := newWorld(t)
	w.serve("count.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{})
	n := &counter{}
	raw := r.dial()
	counted := &countedConn{Conn: raw, n: n}
	_, _ = io.WriteString(counted, "CONNECT count.test:443 HTTP/1.1\r\n\r\n")
	_, _ = io.ReadFull(counted, make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n")))
	c := tls.Client(counted, &tls.Config{ServerName: "count.test", RootCAs: r.roots(), MinVersion: tls.VersionTLS12})
	for i := range 10 {
		_, _ = fmt.Fprintf(c, "POST /%d HTTP/1.1\r\nHost: count.test\r\nContent-Length: 3\r\nConnection: %s\r\n\r\nabc", i,
			map[bool]string{true: "close", false: "keep-alive"}[i == 9])
		if i < 9 {
			_, _ = io.ReadAtLeast(c, make([]byte, 4096), 10)
			r.finished(i + 1)
		}
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, counted) // what TLS has not read: the end
	f := r.until("closed", func(tr capture.Trace) bool { return tr.Flows[0].BytesDown >= n.down.Load() }).Flows[0]
	if f.BytesUp != n.up.Load() || f.BytesDown != n.down.Load() {
		t.Errorf("counted %d and %d, the client %d and %d", f.BytesUp, f.BytesDown, n.up.Load(), n.down.Load())
	}
}
