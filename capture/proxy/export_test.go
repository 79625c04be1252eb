package proxy

import (
	"bufio"
	"bytes"
	"net"

	"github.com/offproof/offproof/capture"
)

// Kill closes a session's listener, as a fault would.
func Kill(s capture.Session) {
	if s, ok := s.(*session); ok {
		_ = s.listener.Close()
	}
}

// Head reads the header of a message.
func Head(b []byte, limit int) (first [3]string, fields []capture.Header, raw []byte, rest int, err error) {
	br := bufio.NewReaderSize(bytes.NewReader(b), 16)
	h, err := readHead(br, limit)
	if h == nil {
		return first, nil, nil, 0, err
	}
	left, _ := br.Peek(br.Buffered())
	return h.first, h.fields, h.raw, len(left), err
}

// Body passes a chunked body and returns what went on and what was shown.
func Body(b []byte) (passed, shown []byte, trailers []capture.Header, err error) {
	var out bytes.Buffer
	p := passage{
		from: bufio.NewReaderSize(bytes.NewReader(b), 16), to: bufio.NewWriterSize(&out, 16), limit: 1000,
		sink:     func(b []byte) { shown = append(shown, b...) },
		trailers: func(f []capture.Header) { trailers = append(trailers, f...) },
	}
	err = p.body(chunked, 0)
	_ = p.to.Flush()
	return out.Bytes(), shown, trailers, err
}

// Frames unmasks WebSocket frames given in chunks.
func Frames(chunks ...[]byte) []byte {
	var out []byte
	f := frames{sink: func(b []byte) { out = append(out, b...) }}
	for _, c := range chunks {
		f.feed(c)
	}
	return out
}

// Tap reads the two directions of an HTTP/2 connection, alternating in chunks,
// and returns the trace.
func Tap(up, down []byte, size int) capture.Trace {
	o := Options{MaxHeader: 4 << 10, MaxMemory: 1 << 20}.withDefaults()
	r := newRecorder(o)
	s := &session{o: o, rec: r}
	c := newConn(s, discardConn{})
	t := newTap(c, "https")
	for len(up)+len(down) > 0 {
		n := min(size, len(up))
		t.up.feed(up[:n])
		up = up[n:]
		n = min(size, len(down))
		t.down.feed(down[:n])
		down = down[n:]
	}
	t.end("over")
	return r.trace(o.Clock())
}

type discardConn struct{ net.Conn }

func (discardConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
