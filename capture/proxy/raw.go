package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"time"

	"github.com/offproof/offproof/capture"
)

// farewell is how long the phone may still send after the server has ended.
const farewell = 30 * time.Second

// A rawRelay is a conversation that is passed on without being understood. Its
// bytes are kept as the bodies of one exchange.
type rawRelay struct {
	phone    *bufio.Reader
	toPhone  side
	up       net.Conn
	upReader io.Reader    // what reads from up, up itself when nil
	server   []byte       // what the server has said already
	free     <-chan error // the phone's reader may be used after this
	url      string
	method   string // empty: not HTTP at all
	version  string
	frames   bool // WebSocket: the frames' contents are kept, unmasked
}

// pass relays both directions until both have ended.
func (c *conn) pass(r rawRelay) {
	now := c.s.o.Clock()
	x := c.s.rec.newExchange(capture.Exchange{
		Flow: c.flow.id(), Start: now, Method: r.method, URL: r.url, Version: r.version,
	})
	up, down := x.up, x.down
	if r.frames {
		up, down = (&frames{sink: up}).feed, (&frames{sink: down}).feed
	}
	from := r.upReader
	if from == nil {
		from = r.up
	}
	err := c.duplex(r, from, up, down)
	x.sent(c.s.o.Clock())
	if err != nil {
		x.fail(err.Error())
		return
	}
	x.finish(c.s.o.Clock())
}

// duplex copies both ways. Each chunk is shown to its sink before it goes on.
func (c *conn) duplex(r rawRelay, from io.Reader, up, down func([]byte)) error {
	sent := make(chan error, 1)
	c.s.work.Go(func() {
		var err error
		if r.free != nil {
			err = <-r.free
		}
		if err == nil {
			err = move(r.up, r.phone, up)
		}
		if err != nil && !errors.Is(err, errSilent) {
			c.close("") // broken, not ended: the other way ends too
		} else {
			closeWrite(r.up)
		}
		sent <- err
	})
	var err error
	if len(r.server) > 0 {
		down(r.server)
		_, err = r.toPhone.Write(r.server)
	}
	if err == nil {
		err = move(r.toPhone, from, down)
	}
	if err != nil {
		c.close("")
	} else {
		_ = r.toPhone.CloseWrite()
		c.phase(farewell)
	}
	return errors.Join(label("to the phone", err), label("from the phone", <-sent))
}

func label(way string, err error) error {
	if err == nil || errors.Is(err, errSilent) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("broke off %s: %w", way, err)
}

// move copies until the end. Unlike io.Copy it shows everything to a sink and
// never bypasses it.
func move(to io.Writer, from io.Reader, sink func([]byte)) error {
	buf := make([]byte, bufferSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			sink(buf[:n])
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		return
	}
	_ = conn.Close()
}

// frames takes the contents out of WebSocket frames and unmasks them: the mask
// would hide from any search what was sent.
type frames struct {
	sink func([]byte)
	head []byte // of the current frame, as far as it has come
	left int64  // of the current frame's payload
	mask [4]byte
	at   int
}

func (f *frames) feed(b []byte) {
	for len(b) > 0 {
		if f.left == 0 {
			f.head = append(f.head, b[0])
			b = b[1:]
			f.open()
			continue
		}
		n := int(min(f.left, int64(len(b))))
		plain := make([]byte, n)
		for i, c := range b[:n] {
			plain[i] = c ^ f.mask[f.at&3]
			f.at++
		}
		f.sink(plain)
		f.left -= int64(n)
		b = b[n:]
	}
}

// open reads the frame's header once it is whole.
func (f *frames) open() {
	if len(f.head) < 2 {
		return
	}
	size, length := 2, int64(f.head[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	extended := size
	masked := f.head[1]&0x80 != 0
	if masked {
		size += 4
	}
	if len(f.head) < size {
		return
	}
	if extended > 2 {
		length = 0
		for _, c := range f.head[2:extended] {
			length = length<<8&math.MaxInt64 | int64(c) // the highest bit is always 0
		}
	}
	f.mask, f.at = [4]byte{}, 0
	if masked {
		copy(f.mask[:], f.head[extended:])
	}
	f.left, f.head = length, f.head[:0]
}
