package dissect_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// A line is what one end says.
type line struct {
	up   bool
	text string
}

// speak makes a capture of a conversation, in segments of the given size.
func speak(t testing.TB, mss int, lines ...line) *wire {
	t.Helper()
	w := newWire(t)
	x := w.dial(phone4, host4).open()
	x.mss = mss
	for _, l := range lines {
		if l.up {
			x.up(l.text)
		} else {
			x.down(l.text)
		}
	}
	x.close()
	return w
}

func TestHTTP(t *testing.T) {
	var zip bytes.Buffer
	z := gzip.NewWriter(&zip)
	_, _ = z.Write([]byte("compressed"))
	_ = z.Close()
	chunked := "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
	for _, c := range []struct {
		name  string
		lines []line
		want  []capture.Exchange // method, URL, status, bodies, failure, truncated
	}{
		{"pipelined", []line{
			{true, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyzGET /3 HTTP/1.1\r\nHost: b\r\n\r\n"},
			{false, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n2HTTP/1.1 204 No\r\n\r\n"},
		}, []capture.Exchange{
			{Method: "GET", URL: "http://a/1", Status: 200, ResponseBody: []byte("1")},
			{Method: "POST", URL: "http://a/2", Status: 404, RequestBody: []byte("xyz"), ResponseBody: []byte("2")},
			{Method: "GET", URL: "http://b/3", Status: 204},
		}},
		{"chunked both ways", []line{
			{true, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked},
			{false, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked},
			{true, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"},
		}, []capture.Exchange{
			{Method: "POST", URL: "http://a/", Status: 200, RequestBody: []byte("hello world"), ResponseBody: []byte("hello world")},
			{Method: "GET", URL: "http://a/next", Failure: "no reply"},
		}},
		{"a compressed body stays as it was sent", []line{
			{true, "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: " + itoa(zip.Len()) + "\r\n\r\n" + zip.String()},
		}, []capture.Exchange{{Method: "POST", URL: "http://a/", RequestBody: zip.Bytes(), Failure: "no reply"}}},
		{"interim reply and HEAD", []line{
			{true, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"},
			{false, "HTTP/1.1 100 Continue\r\n\r\n"},
			{true, "ok"},
			{false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
			{true, "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n"},
			{false, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"},
			{true, "GET /g HTTP/1.1\r\nHost: a\r\n\r\n"},
			{false, "HTTP/1.1 304 Not Modified\r\nContent-Length: 999\r\n\r\n"},
		}, []capture.Exchange{
			{Method: "POST", URL: "http://a/", Status: 200, RequestBody: []byte("ok")},
			{Method: "HEAD", URL: "http://a/h", Status: 200},
			{Method: "GET", URL: "http://a/g", Status: 304},
		}},
		{"a reply until the end, bare line feeds, a folded field", []line{
			{true, "GET / HTTP/1.0\nHost: a\nX-Long: one\n two\n\n"},
			{false, "HTTP/1.0 200 OK\n\nall the rest"},
		}, []capture.Exchange{{Method: "GET", URL: "http://a/", Status: 200, ResponseBody: []byte("all the rest")}}},
		{"a request whose head never ends", []line{
			{true, "POST /leak?x=1 HTTP/1.1\r\nHost: a\r\nContent-Length: secret\r\nand more of it\r\n"},
		}, []capture.Exchange{{Method: "POST", URL: "http://a/leak?x=1", Failure: "the request was never completed", RequestTruncated: true}}},
		{"a request whose body never ends", []line{
			{true, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"},
		}, []capture.Exchange{{Method: "POST", URL: "http://a/", RequestBody: []byte("half"), Failure: "the request was never completed", RequestTruncated: true}}},
		{"no host, absolute form, odd method", []line{
			{true, "REPORT /x HTTP/1.1\r\n\r\nGET http://other.example/y HTTP/1.1\r\nHost: other.example\r\n\r\nM-SEARCH * HTTP/1.1\r\nHost: z\r\n\r\n"},
		}, []capture.Exchange{
			{Method: "REPORT", URL: "http://203.0.113.7:80/x", Failure: "no reply"},
			{Method: "GET", URL: "http://other.example/y", Failure: "no reply"},
			{Method: "M-SEARCH", URL: "http://z/*", Failure: "no reply"},
		}},
	} {
		for _, mss := range []int{1, 7, 1400} {
			got := readClean(t, speak(t, mss, c.lines...)).Exchanges
			if len(got) != len(c.want) {
				t.Errorf("%s, segments of %d: %d exchanges, want %d: %+v", c.name, mss, len(got), len(c.want), got)
				continue
			}
			for i, w := range c.want {
				g := got[i]
				if g.Method != w.Method || g.URL != w.URL || g.Status != w.Status || !bytes.Equal(g.RequestBody, w.RequestBody) || !bytes.Equal(g.ResponseBody, w.ResponseBody) ||
					g.Failure != w.Failure || g.RequestTruncated != w.RequestTruncated || g.BytesUp != int64(len(w.RequestBody)) || g.BytesDown != int64(len(w.ResponseBody)) {
					t.Errorf("%s, segments of %d: exchange %d\n got %+v\nwant %+v", c.name, mss, i, g, w)
				}
				if g.Status != 0 && (g.End.IsZero() || g.Sent.IsZero() || g.End.Before(g.Sent)) || g.Start.IsZero() {
					t.Errorf("%s: times of exchange %d: %v %v %v", c.name, i, g.Start, g.Sent, g.End)
				}
			}
		}
	}
}

func TestHTTPHeadersAsSent(t *testing.T) {
	c := readClean(t, speak(t, 1400, line{true, "GET / HTTP/1.1\r\nhOsT: a\r\nX-A: 1\r\nX-A:2 \r\nX-Long: one\r\n  two\r\nno colon here\r\n\r\n"}))
	want := []capture.Header{{Name: "hOsT", Value: "a"}, {Name: "X-A", Value: "1"}, {Name: "X-A", Value: "2"}, {Name: "X-Long", Value: "one two"}, {Name: "", Value: "no colon here"}}
	got := c.Exchanges[0].RequestHeader
	if len(got) != len(want) {
		t.Fatalf("header %q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("field %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func TestBodiesAreBounded(t *testing.T) {
	body := strings.Repeat("b", 10_000)
	w := speak(t, 1400, line{true, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n" + body}, line{false, "HTTP/1.1 200 OK\r\n\r\n" + body})
	for _, o := range []dissect.Options{{MaxBody: 100}, {MaxBodies: 150}} {
		c := read(t, w.pcap(), o)
		x := c.Exchanges[0]
		if kept := len(x.RequestBody) + len(x.ResponseBody); kept == 0 || kept > 200 || !x.RequestTruncated || !x.ResponseTruncated || x.BytesUp != 10_000 || x.BytesDown != 10_000 {
			t.Errorf("%+v: kept %d, exchange %+v", o, kept, x)
		}
		if c.Damaged != (o.MaxBodies > 0) {
			t.Errorf("%+v: health %+v", o, c.Health)
		}
	}
}

// TestRepliesLeaveRoom: what the phone fetched does not crowd out what it sends.
func TestRepliesLeaveRoom(t *testing.T) {
	video, report := strings.Repeat("v", 10_000), strings.Repeat("r", 90)
	w := speak(
		t, 1400,
		line{true, "GET /video HTTP/1.1\r\nHost: a\r\n\r\n"}, line{false, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + video},
		line{true, "POST /report HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n" + report}, line{false, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"},
	)
	c := read(t, w.pcap(), dissect.Options{MaxBodies: 200})
	if len(c.Exchanges) != 2 {
		t.Fatalf("%d exchanges", len(c.Exchanges))
	}
	get, post := c.Exchanges[0], c.Exchanges[1]
	if len(get.ResponseBody) != 100 || !get.ResponseTruncated || get.BytesDown != 10_000 {
		t.Errorf("the video: kept %d of %d bytes, truncated %t", len(get.ResponseBody), get.BytesDown, get.ResponseTruncated)
	}
	if string(post.RequestBody) != report || post.RequestTruncated || c.Damaged {
		t.Errorf("the report: kept %d bytes, truncated %t; %+v", len(post.RequestBody), post.RequestTruncated, c.Health)
	}
}

func TestConnectNamesTheFlow(t *testing.T) {
	hello := clientHello(t, "inner.example", "h2")
	w := speak(t, 200, line{true, "CONNECT inner.example:443 HTTP/1.1\r\nHost: inner.example:443\r\n\r\n"}, line{false, "HTTP/1.1 200 Connection established\r\n\r\n"}, line{true, string(hello)})
	c := readClean(t, w)
	f := only(t, c)
	if f.App != "tls" || f.SNI != "inner.example" || f.Visibility != capture.Metadata || len(c.Unread) != 0 {
		t.Errorf("flow %+v", f)
	}
	if len(c.Exchanges) != 1 || c.Exchanges[0].Method != http.MethodConnect || c.Exchanges[0].Status != 200 || c.Exchanges[0].URL != "connect://inner.example:443" {
		t.Errorf("exchanges %+v", c.Exchanges)
	}
	w = speak(t, 200, line{true, "CONNECT inner.example:5222 HTTP/1.1\r\n\r\n"}, line{false, "HTTP/1.1 200 OK\r\n\r\nbanner"}, line{true, "\xc2\xfe secret words"})
	c = readClean(t, w)
	if f := only(t, c); f.Host != "inner.example" || f.HostFrom != capture.FromConnect {
		t.Errorf("flow %+v", f)
	}
	if len(c.Unread) != 1 || string(c.Unread[0].Data) != "\xc2\xfe secret words" {
		t.Errorf("unread %+v", c.Unread)
	}
}

func TestUnknownProtocolIsKept(t *testing.T) {
	secret := "\xc2\xfe\x00\x05 secret words"
	c := readClean(t, speak(t, 5, line{true, secret}, line{false, "a reply"}))
	f := only(t, c)
	if f.App != "" || f.Visibility != capture.Metadata || len(c.Unread) != 1 || string(c.Unread[0].Data) != secret || c.Unread[0].Flow != f.ID || c.Unread[0].Truncated {
		t.Errorf("flow %+v, unread %+v", f, c.Unread)
	}
	c = read(t, speak(t, 5, line{true, secret}).pcap(), dissect.Options{MaxBody: 4})
	if len(c.Unread) != 1 || len(c.Unread[0].Data) != 4 || !c.Unread[0].Truncated {
		t.Errorf("unread %+v", c.Unread)
	}
}

func TestUpgradeIsKept(t *testing.T) {
	c := readClean(t, speak(t, 1400,
		line{true, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"},
		line{false, "HTTP/1.1 101 Switching Protocols\r\n\r\n"},
		line{true, "\x81\x05hello"}))
	if f := only(t, c); f.Host != "a" || len(c.Exchanges) != 1 || c.Exchanges[0].Status != 101 || len(c.Unread) != 1 || string(c.Unread[0].Data) != "\x81\x05hello" {
		t.Errorf("flow %+v, unread %+v", f, c.Unread)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

// TestNothingSentIsForgotten has requests in which the protocol goes wrong: what
// was sent must turn up somewhere.
func TestNothingSentIsForgotten(t *testing.T) {
	for name, text := range map[string]string{
		"behind a request":       "GET / HTTP/1.1\r\nHost: a\r\n\r\n\x00\x01 canary in junk",
		"as a second request":    "GET / HTTP/1.1\r\nHost: a\r\n\r\ncanary is no request line\r\n\r\n",
		"as a size of a chunk":   "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\ncanary\r\n",
		"behind the last chunk":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\ncanary\r\nand\r\n",
		"where a chunk ends":     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxcanary\r\nand\r\n",
		"in a trailer":           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: canary\r\n\r\n",
		"before a reply":         "CONNECT a:1 HTTP/1.1\r\n\r\n\x01canary",
		"in an endless line":     "GET /" + strings.Repeat("a", 70_000) + "canary",
		"in an endless field":    "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 300_000) + "canary\r\n",
		"in a field without end": "GET / HTTP/1.1\r\nHost: a\r\nX: canary",
		"behind a chunk's size":  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;canary\r\nx\r\n0\r\n\r\n",
		"as HTTP/2":              "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncanary",
	} {
		for _, mss := range []int{1, 9, 1400} {
			if mss*1000 < len(text) {
				continue // a packet for each byte of a long text proves nothing more
			}
			lines := []line{{true, text}}
			if name == "before a reply" {
				lines = append(lines, line{false, "HTTP/1.1 200 OK\r\n\r\n"})
			}
			c := readClean(t, speak(t, mss, lines...))
			var all strings.Builder
			for _, x := range c.Exchanges {
				all.WriteString(x.URL)
				all.Write(x.RequestBody)
				for _, h := range x.RequestHeader {
					all.WriteString(h.Value)
				}
			}
			for _, u := range c.Unread {
				all.Write(u.Data)
			}
			if !strings.Contains(all.String(), "canary") {
				t.Errorf("%s, segments of %d: the canary is lost: exchanges %d, unread %d", name, mss, len(c.Exchanges), len(c.Unread))
			}
		}
	}
}
