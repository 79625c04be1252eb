package adbd_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/internal/fakephone"
)

const (
	cnxn = 0x4e584e43
	auth = 0x48545541
	open = 0x4e45504f
	okay = 0x59414b4f
	clse = 0x45534c43
	wrte = 0x45545257

	newest   = 0x01000001
	patience = 2 * time.Minute
)

// A message is a packet of the transport protocol, as the tests write it.
type message struct {
	command, arg0, arg1 uint32
	data                string
}

func (m message) String() string {
	name := binary.LittleEndian.AppendUint32(nil, m.command)
	return fmt.Sprintf("%s(%#x, %#x, %.80q)", name, m.arg0, m.arg1, m.data)
}

// bytes are the message on the wire, with its checksum.
func (m message) bytes() []byte {
	sum := uint32(0)
	for _, b := range []byte(m.data) {
		sum += uint32(b)
	}
	var b []byte
	for _, n := range []uint32{m.command, m.arg0, m.arg1, uint32(len(m.data)), sum, m.command ^ 0xffffffff} { //nolint:gosec // Short.
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, m.data...)
}

// A host speaks the protocol byte by byte with a phone.
type host struct {
	testing.TB

	conn net.Conn
	last uint32 // the checksum that the last message claimed
}

// serve opens the door of a fake phone.
func serve(t testing.TB, secure bool) (*fakephone.Phone, *adbd.Transport) {
	t.Helper()
	phone := fakephone.New("AAA")
	tr, err := adbd.New(phone, nil).Listen(t.Context(), adbd.TransportConfig{Addr: "127.0.0.1:0", Secure: secure})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return phone, tr
}

// dial connects without a word.
func dial(t testing.TB, tr *adbd.Transport) *host {
	t.Helper()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", tr.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &host{TB: t, conn: conn}
}

// connect connects and is let in.
func connect(t testing.TB, tr *adbd.Transport) *host {
	t.Helper()
	h := dial(t, tr)
	h.greet()
	h.expectBanner("device")
	return h
}

func (h *host) greet() { h.send(message{cnxn, newest, 1 << 20, "host::features=shell_v2,cmd"}) }

func (h *host) send(messages ...message) {
	h.Helper()
	for _, m := range messages {
		if _, err := h.conn.Write(m.bytes()); err != nil {
			h.Fatalf("send %v: %v", m, err)
		}
	}
}

// receive reads one message, or returns why there is none.
func (h *host) receive() (message, error) {
	var head [24]byte
	if _, err := io.ReadFull(h.conn, head[:]); err != nil {
		return message{}, err
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(head[4*i:]) }
	m := message{command: field(0), arg0: field(1), arg1: field(2)}
	if field(5) != m.command^0xffffffff || field(3) > 1<<20 {
		return m, fmt.Errorf("a header that is none: % x", head)
	}
	h.last = field(4)
	data := make([]byte, field(3))
	_, err := io.ReadFull(h.conn, data)
	m.data = string(data)
	return m, err
}

func (h *host) next() message {
	h.Helper()
	m, err := h.receive()
	if err != nil {
		h.Fatalf("no message: %v", err)
	}
	return m
}

func (h *host) expect(wanted ...message) {
	h.Helper()
	for _, want := range wanted {
		if got := h.next(); got != want {
			h.Fatalf("%v came, wanted %v", got, want)
		}
	}
}

func (h *host) expectBanner(state string) {
	h.Helper()
	h.expect(message{
		cnxn, newest, 1 << 20,
		state + "::ro.product.name=ginkgo;ro.product.model=Redmi Note 8;ro.product.device=ginkgo;features=shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir",
	})
}

// expectEnd waits for the phone to end the connection.
func (h *host) expectEnd() {
	h.Helper()
	m, err := h.receive()
	if err == nil {
		h.Fatalf("%v came, wanted the end", m)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		h.Fatal("the phone keeps the connection")
	}
}

// open opens a service as the stream of that number, and returns the phone's
// number for it.
func (h *host) open(id uint32, service string) uint32 {
	h.Helper()
	h.send(message{open, id, 0, service + "\x00"})
	m := h.next()
	if m.command != okay || m.arg0 == 0 || m.arg1 != id || m.data != "" {
		h.Fatalf("%s: %v came, wanted an OKAY", service, m)
	}
	return m.arg0
}

// drain reads a stream to its end, and takes each message.
func (h *host) drain(id, phone uint32) string {
	h.Helper()
	text := ""
	for {
		m := h.next()
		switch {
		case m.command == clse && m.arg0 == phone && m.arg1 == id:
			return text
		case m.command == wrte && m.arg0 == phone && m.arg1 == id:
			text += m.data
			h.send(message{okay, id, phone, ""})
		default:
			h.Fatalf("%v came, wanted more of stream %d", m, id)
		}
	}
}
