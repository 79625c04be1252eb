package proxy_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture/proxy"
)

// conversation is an HTTP/2 connection with one exchange, both directions.
func conversation(f interface{ Fatal(...any) }) (up, down []byte) {
	var block, u, d bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "a.test"},
		{Name: ":path", Value: "/x"},
		{Name: "x-b", Value: "1"},
		{Name: "x-a", Value: "2"},
	} {
		if err := enc.WriteField(h); err != nil {
			f.Fatal(err)
		}
	}
	u.WriteString(http2.ClientPreface)
	fu := http2.NewFramer(&u, nil)
	b := block.Bytes()
	err := fu.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 65536})
	if err == nil {
		err = fu.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3], PadLength: 5, Priority: http2.PriorityParam{Weight: 3}})
	}
	if err == nil {
		err = fu.WriteContinuation(1, true, b[3:])
	}
	if err == nil {
		err = fu.WriteDataPadded(1, false, []byte("the can"), make([]byte, 9))
	}
	if err == nil {
		err = fu.WriteData(1, true, []byte("ary"))
	}
	if err != nil {
		f.Fatal(err)
	}
	block.Reset()
	enc = hpack.NewEncoder(&block)
	_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	_ = enc.WriteField(hpack.HeaderField{Name: "server", Value: "odd"})
	fd := http2.NewFramer(&d, nil)
	err = fd.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	if err == nil {
		err = fd.WriteData(1, true, []byte("thanks"))
	}
	if err != nil {
		f.Fatal(err)
	}
	return u.Bytes(), d.Bytes()
}

func TestTapReadsAnyChunks(t *testing.T) {
	up, down := conversation(t)
	for _, size := range []int{1, 2, 7, 10, 1000} {
		// The request comes whole before the reply: chunks alternate.
		trace := proxy.Tap(append(up, make([]byte, 0)...), append(frames(size, len(up)), down...), size)
		if len(trace.Exchanges) != 1 {
			t.Fatalf("size %d: %d exchanges, %+v", size, len(trace.Exchanges), trace.Health)
		}
		x := trace.Exchanges[0]
		if x.URL != "https://a.test/x" || x.Method != http.MethodPost || string(x.RequestBody) != "the canary" || string(x.ResponseBody) != "thanks" ||
			x.Status != 200 || x.Failure != "" || x.End.IsZero() || len(x.RequestHeader) != 2 || x.RequestHeader[0].Name != "x-b" {
			t.Errorf("size %d: %+v", size, x)
		}
	}
}

// frames is at least n bytes of frames without a meaning, to keep one direction
// behind the other.
func frames(_, n int) []byte {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	for b.Len() < n {
		_ = f.WriteWindowUpdate(0, 1)
	}
	return b.Bytes()
}

// FuzzTap: no input makes the reader fail, hold much memory, or report more
// body bytes than were there.
func FuzzTap(f *testing.F) {
	up, down := conversation(f)
	f.Add(up, down, 3)
	f.Add(up[:len(up)-5], down, 1000)
	f.Add([]byte(http2.ClientPreface+"\x00\x00\x01\x00\x08\x00\x00\x00\x01\xff"), []byte{}, 2)
	f.Fuzz(func(t *testing.T, up, down []byte, size int) {
		size = 1 + (size&0x7fffffff)%5000
		trace := proxy.Tap(up, down, size)
		var sum int64
		kept := 0
		for _, x := range trace.Exchanges {
			sum += x.BytesUp + x.BytesDown
			kept += len(x.RequestBody) + len(x.ResponseBody)
			for _, h := range x.RequestHeader {
				kept += len(h.Name) + len(h.Value)
			}
			if x.End.IsZero() && x.Failure == "" {
				t.Fatal("an exchange is neither finished nor failed")
			}
		}
		if sum > int64(len(up)+len(down)) || kept > 1<<20 {
			t.Fatalf("%d body bytes, %d kept, out of %d", sum, kept, len(up)+len(down))
		}
	})
}

func TestTapSurvivesAHeaderBomb(t *testing.T) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	_ = enc.WriteField(hpack.HeaderField{Name: "x", Value: strings.Repeat("y", 3000)})
	b := append(block.Bytes(), bytes.Repeat([]byte{0xbe}, 900)...) // the same field again and again
	var u bytes.Buffer
	u.WriteString(http2.ClientPreface)
	_ = http2.NewFramer(&u, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b, EndHeaders: true})
	trace := proxy.Tap(u.Bytes(), nil, 100)
	if len(trace.Exchanges) != 0 || len(trace.Health.Problems) != 1 || !strings.Contains(trace.Health.Problems[0], "absurd") {
		t.Errorf("%+v", trace.Health)
	}
}

// FuzzHead: whatever was read is a part of what there was, and what is not a
// message is an error.
func FuzzHead(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nhOST: a\r\nX:  b \r\n\tc\r\n\r\nbody"))
	f.Add([]byte("\r\n\r\nHTTP/1.1 200\n\n"))
	f.Add([]byte("POST http://a/ HTTP/1.0\nContent-Length: 1\n\nx"))
	f.Add([]byte(" \n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, fields, raw, _, err := proxy.Head(b, 2000)
		if !bytes.Contains(b, raw) || len(raw) > 2000 {
			t.Fatal("the header was not read as it is")
		}
		if err != nil {
			return
		}
		if first[0] == "" || !bytes.HasSuffix(raw, []byte("\n")) {
			t.Fatalf("%q out of %q", first, raw)
		}
		for _, h := range fields {
			if h.Name == "" || strings.ContainsAny(h.Name+h.Value, "\n") || !bytes.Contains(raw, []byte(h.Name)) {
				t.Fatalf("field %q", h)
			}
		}
		// What was read reads the same again.
		again, fieldsAgain, _, rest, err := proxy.Head(raw, 2000)
		if err != nil || again != first || len(fieldsAgain) != len(fields) || rest != 0 {
			t.Fatalf("read again: %q %v", again, err)
		}
	})
}

// FuzzBody: a chunked body goes on as it came, and shows no more than that.
func FuzzBody(f *testing.F) {
	f.Add([]byte("3\r\nabc\r\n0\r\n\r\n"))
	f.Add([]byte("2;x=y\r\nab\r\n1\nc\r\n0\r\nX-T: 1\r\n\r\n"))
	f.Add([]byte("ffffffffffffffff\r\n"))
	f.Add([]byte("0\r\n:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		passed, shown, _, err := proxy.Body(b)
		if !bytes.HasPrefix(b, passed) || len(shown) > len(b) {
			t.Fatalf("%q became %q", b, passed)
		}
		if err == nil && !bytes.HasSuffix(passed, []byte("\n")) {
			t.Fatalf("%q is no whole body", passed)
		}
	})
}

// FuzzFrames: chunks do not matter, and a frame comes back as it was.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("hello"), []byte("mask"), 1)
	f.Add(bytes.Repeat([]byte("x"), 70000), []byte{1, 2, 3, 4}, 1000)
	f.Add([]byte{}, []byte{}, 3)
	f.Fuzz(func(t *testing.T, payload, mask []byte, size int) {
		proxy.Frames(payload, mask) // garbage
		if len(mask) < 4 {
			mask = nil
		} else {
			mask = mask[:4]
		}
		size = 1 + (size&0x7fffffff)%5000
		b := append(frame(string(payload), mask), frame("end", nil)...)
		var chunks [][]byte
		for len(b) > 0 {
			n := min(size, len(b))
			chunks = append(chunks, b[:n])
			b = b[n:]
		}
		if got := proxy.Frames(chunks...); string(got) != string(payload)+"end" {
			t.Fatalf("%d bytes became %d", len(payload), len(got))
		}
		huge := binary.BigEndian.AppendUint64([]byte{0x81, 127}, 1<<63-1)
		if got := proxy.Frames(huge, []byte("x")); string(got) != "x" {
			t.Fatalf("%q", got)
		}
	})
}
