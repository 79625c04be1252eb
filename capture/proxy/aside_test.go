package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/proxy"
)

// said is everything of what the phone sent that was recorded.
func said(trace capture.Trace) string {
	var all strings.Builder
	for _, x := range trace.Exchanges {
		all.WriteString(x.URL + "\n")
		for _, h := range x.RequestHeader {
			all.WriteString(h.Name + ": " + h.Value + "\n")
		}
		all.Write(x.RequestBody)
		all.WriteString("\n")
	}
	return all.String()
}

// Whatever of HTTP/2 passes to the server and has room for words is recorded, and
// what every honest client sends makes nothing of its own.
func TestNothingOfHTTP2PassesUnread(t *testing.T) {
	t.Parallel()
	const words = "korvandel mistruph"
	fields := func(all ...string) []byte {
		var b bytes.Buffer
		enc := hpack.NewEncoder(&b)
		for i := 0; i < len(all); i += 2 {
			_ = enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
		}
		return b.Bytes()
	}
	request := fields(":method", "POST", ":scheme", "https", ":authority", "a.test", ":path", "/x")
	open := func(f *http2.Framer) {
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: request, EndHeaders: true})
	}
	for _, c := range []struct {
		name  string
		up    func(f *http2.Framer)
		down  func(f *http2.Framer)
		heard bool // the words are there
	}{
		{"a frame that nobody knows", func(f *http2.Framer) { open(f); _ = f.WriteRawFrame(0xfa, 0, 0, []byte(words)) }, nil, true},
		{"a long frame that nobody knows", func(f *http2.Framer) {
			open(f)
			_ = f.WriteRawFrame(0xfa, 0, 0, []byte(strings.Repeat("-", 100)+words))
		}, nil, true},
		{"a farewell", func(f *http2.Framer) { open(f); _ = f.WriteGoAway(1, http2.ErrCodeNo, []byte(words)) }, nil, true},
		{"a priority in words", func(f *http2.Framer) { open(f); _ = f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01"+words)) }, nil, true},
		{"settings that are none", func(f *http2.Framer) {
			open(f)
			_ = f.WriteRawFrame(http2.FrameSettings, 0, 0, []byte(strings.Repeat("-", 72-len(words))+words))
		}, nil, true},
		{"padding of content", func(f *http2.Framer) {
			open(f)
			_ = f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte("\x12"+"body"+words))
		}, nil, true},
		{"padding of a header", func(f *http2.Framer) {
			_ = f.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersPadded|http2.FlagHeadersEndHeaders, 1, append(append([]byte{byte(len(words))}, request...), words...))
		}, nil, true},
		{"content of a stream that was never opened", func(f *http2.Framer) { open(f); _ = f.WriteData(7, true, []byte(words)) }, nil, true},
		{"content behind the server's reset", func(f *http2.Framer) {
			open(f)
			_ = f.WriteRawFrame(0xfa, 0, 0, nil)
			_ = f.WriteData(1, true, []byte(words))
		}, func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeCancel) }, true},
		{"a first line's field that nobody knows", func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: fields(":method", "GET", ":words", words, ":path", "/")})
		}, nil, true},
		{"a first line's field that stands twice", func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: fields(":method", "GET", ":path", "/"+words, ":path", "/")})
		}, nil, true},
		{"a trailer in the form of a first line", func(f *http2.Framer) {
			open(f)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: fields(":path", words)})
		}, nil, true},
		{"pings of the phone's own", func(f *http2.Framer) {
			open(f)
			_ = f.WritePing(false, [8]byte([]byte(words[:8])))
			_ = f.WritePing(true, [8]byte([]byte(words[8:16])))
			_ = f.WritePing(false, [8]byte([]byte(words[10:18])))
		}, nil, false},
		{"what honest clients send", func(f *http2.Framer) {
			_ = f.WriteSettings(http2.Setting{ID: 1, Val: 65536}, http2.Setting{ID: 4, Val: 6291456}, http2.Setting{ID: 0x5a5a, Val: 123456789})
			_ = f.WriteWindowUpdate(0, 15663105)
			open(f)
			_ = f.WritePriority(1, http2.PriorityParam{StreamDep: 0x7fffffff, Weight: 255})
			_ = f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=3, i"))
			_ = f.WritePing(false, [8]byte{7: 9})
			_ = f.WriteSettingsAck()
			_ = f.WriteDataPadded(1, true, []byte("body"), make([]byte, 9))
			_ = f.WriteGoAway(0x7fffffff, http2.ErrCodeEnhanceYourCalm, nil)
		}, nil, false},
		{"an answer to the server's ping", func(f *http2.Framer) {
			open(f)
			_ = f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=3"))
			_ = f.WritePing(true, [8]byte([]byte(words[:8])))
		}, func(f *http2.Framer) { _ = f.WritePing(false, [8]byte([]byte(words[:8]))) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var up, down bytes.Buffer
			up.WriteString(http2.ClientPreface)
			c.up(http2.NewFramer(&up, nil))
			if c.down != nil {
				c.down(http2.NewFramer(&down, nil))
			}
			// The server's frames come right behind the phone's first ones.
			trace := proxy.Tap(up.Bytes(), down.Bytes(), len(http2.ClientPreface)+9+len(request))
			if got := said(trace); strings.Contains(got, words) != c.heard || len(trace.Health.Problems) > 0 {
				t.Errorf("recorded %q %v", got, trace.Health.Problems)
			}
			if c.name == "pings of the phone's own" {
				if got := said(trace); !strings.Contains(got, words[:16]+words[10:]) {
					t.Errorf("recorded %q", got)
				}
			} else if want := 1; !c.heard && len(trace.Exchanges) != want {
				t.Errorf("%d exchanges, want %d: %q", len(trace.Exchanges), want, said(trace))
			}
		})
	}
}

// Whatever of HTTP/1 passes to the server and has room for words is recorded.
func TestNothingOfHTTP1PassesUnread(t *testing.T) {
	w := newWorld(t)
	got := make(chan string, 8)
	w.raw("odd.test:443", w.tls("odd.test", "http/1.1"), func(c net.Conn) {
		br := bufio.NewReader(c)
		var all bytes.Buffer
		r, err := http.ReadRequest(bufio.NewReader(io.TeeReader(br, &all)))
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		got <- all.String()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	const words = "korvandel-mistruph"
	for name, request := range map[string]string{
		"an extension of a chunk":    "POST /x HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: chunked\r\n\r\n3;q=" + words + "\r\nabc\r\n0\r\n\r\n",
		"one of the last chunk":      "POST /x HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0;" + words + "\r\n\r\n",
		"a trailer":                  "POST /x HTTP/1.1\r\nHost: odd.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Q: " + words + "\r\n\r\n",
		"a user's name in a target":  "GET https://" + words + "@odd.test/ HTTP/1.1\r\nHost: odd.test\r\n\r\n",
		"a field that is continued":  "GET / HTTP/1.1\r\nHost: odd.test\r\nX-Q: a\r\n " + words + "\r\n\r\n",
		"a request without a body's": "GET / HTTP/1.1\r\nHost: odd.test\r\nContent-Length: 18\r\n\r\n" + words,
	} {
		t.Run(name, func(t *testing.T) {
			r := w.start(t, proxy.Options{})
			c := r.secure("odd.test:443", "http/1.1")
			_, _ = io.WriteString(c, request)
			_, _ = io.ReadAll(c)
			_ = c.Close()
			if heard := <-got; !strings.Contains(heard, words) {
				t.Fatalf("the server heard %q", heard)
			}
			if trace := r.stop(); !strings.Contains(said(trace), words) {
				t.Errorf("the record is %q", said(trace))
			}
		})
	}
}
