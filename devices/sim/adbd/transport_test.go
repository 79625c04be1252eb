package adbd_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

func TestServices(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	for service, want := range map[string]string{
		"shell,v2,TERM=xterm,raw:fail 7": "\x01\x02\x00\x00\x00o1" + "\x02\x01\x00\x00\x00e" + "\x03\x01\x00\x00\x00\x07",
		"shell,v2,pty:fail 0":            "\x01\x02\x00\x00\x00o2" + "\x02\x01\x00\x00\x00e" + "\x03\x01\x00\x00\x00\x00",
		"shell:fail 7":                   "o0e",
		"exec:fail 7":                    "o0e",
		"unroot:":                        "not restarting\n",
		"remount:":                       "no remount here\n",
		"tcpip:5555":                     "this phone does not change how it is connected\n",
		"usb:":                           "this phone does not change how it is connected\n",
		"reverse:list-forward":           "0000",
		"reverse:killforward:tcp:1":      "FAIL001alistener 'tcp:1' not found",
		"reverse:nonsense":               "FAIL0017unknown reverse service",
	} {
		phone := h.open(9, service)
		if got := h.drain(9, phone); got != want {
			t.Errorf("%s: %q, wanted %q", service, got, want)
		}
	}
	for _, service := range []string{"", "nonsense", "abb:x", "shell,v2,raw:full", "exec:full", "tcp:x", "tcp:1", "localabstract:x", "jdwp:1"} {
		h.send(message{open, 9, 0, service + "\x00"})
		h.expect(message{clse, 0, 9, ""})
	}
}

// TestInput feeds a command, whose answers are those of its input.
func TestInput(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	phone := h.open(1, "exec:cat")
	h.send(message{wrte, 1, phone, "first"})
	h.expect(message{okay, phone, 1, ""}, message{wrte, phone, 1, "first"})
	// The next two wait until the first has been taken, and then come as one.
	for _, text := range []string{"second", "third"} {
		h.send(message{wrte, 1, phone, text})
		h.expect(message{okay, phone, 1, ""})
	}
	other := h.open(2, "unroot:")
	h.expect(message{wrte, other, 2, "not restarting\n"}) // and nothing of the first stream before it
	h.send(message{okay, 1, phone, ""})
	h.expect(message{wrte, phone, 1, "secondthird"})
	// A server whose client has gone sends the rest at once. It is taken as one.
	h.send(message{wrte, 1, phone, "fourth"}, message{wrte, 1, phone, "fifth"})
	h.send(message{okay, 1, phone, ""})
	rest, oks := "", 0
	for rest != "fourthfifth" || oks == 0 {
		m := h.next()
		switch m.command {
		case okay:
			oks++
		case wrte:
			rest += m.data
			h.send(message{okay, 1, phone, ""})
		default:
			t.Fatalf("%v came", m)
		}
	}
	// An end of the host's is not answered; what the host wrote before it counts.
	h.send(message{clse, 1, phone, ""}, message{okay, 2, other, ""})
	for m := h.next(); m != (message{clse, other, 2, ""}); m = h.next() {
		if m != (message{okay, phone, 1, ""}) {
			t.Fatalf("%v came", m)
		}
	}
	// The number may be used again.
	again := h.open(1, "exec:cat")
	if again == phone {
		t.Errorf("stream %d twice", phone)
	}
	h.send(message{wrte, 1, again, "x"})
	h.expect(message{okay, again, 1, ""}, message{wrte, again, 1, "x"})
}

// TestSyncOverTransport writes a file, the host ending right after its last word.
func TestSyncOverTransport(t *testing.T) {
	p, tr := serve(t, false)
	h := connect(t, tr)
	phone := h.open(1, "sync:")
	h.send(message{wrte, 1, phone, "SEND\x08\x00\x00\x00/new,420DATA\x03\x00\x00\x00abc"})
	h.expect(message{okay, phone, 1, ""})
	h.send(message{wrte, 1, phone, "DONE\x01\x00\x00\x00"})
	h.expect(message{okay, phone, 1, ""}, message{wrte, phone, 1, "OKAY\x00\x00\x00\x00"})
	h.send(message{okay, 1, phone, ""}, message{wrte, 1, phone, "QUIT\x00\x00\x00\x00"})
	h.expect(message{okay, phone, 1, ""}, message{clse, phone, 1, ""})
	if got := p.File("/new"); got != "abc" {
		t.Errorf("stored %q", got)
	}
}

// TestOldHosts speaks the protocol's first version, with its sums and its small
// packets.
func TestOldHosts(t *testing.T) {
	_, tr := serve(t, false)
	h := dial(t, tr)
	h.send(message{cnxn, 0x01000000, 4096, "host::"})
	h.expectBanner("device")
	check := func(m message) {
		t.Helper()
		sum := uint32(0)
		for _, b := range []byte(m.data) {
			sum += uint32(b)
		}
		if h.last != sum {
			t.Errorf("%v claims the sum %d, and has %d", m, h.last, sum)
		}
	}
	h.send(message{open, 1, 0, "exec:cat\x00"})
	m := h.next()
	phone := m.arg0
	text := strings.Repeat("0123456789abcdef", 256)
	h.send(message{wrte, 1, phone, text})
	h.expect(message{okay, phone, 1, ""}, message{wrte, phone, 1, text})
	h.send(message{wrte, 1, phone, text})
	h.expect(message{okay, phone, 1, ""})
	h.send(message{wrte, 1, phone, "more"})
	h.expect(message{okay, phone, 1, ""})
	h.send(message{okay, 1, phone, ""})
	m = h.next()
	check(m)
	if m.data != text {
		t.Errorf("%d bytes in a packet, 4096 were agreed", len(m.data))
	}
	h.send(message{okay, 1, phone, ""})
	m = h.next()
	check(m)
	if m.data != "more" {
		t.Errorf("the rest is %.80q", m.data)
	}
	b := message{wrte, 1, phone, "forged"}.bytes()
	b[16]++
	if _, err := h.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	h.expectEnd()
}

// TestNewHostsSumNothing sends packets with a sum of 0, as hosts since 2016 do.
func TestNewHostsSumNothing(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	phone := h.open(1, "exec:cat")
	b := message{wrte, 1, phone, "text"}.bytes()
	copy(b[16:20], make([]byte, 4))
	if _, err := h.conn.Write(b); err != nil {
		t.Fatal(err)
	}
	h.expect(message{okay, phone, 1, ""}, message{wrte, phone, 1, "text"})
	if h.last != 0 {
		t.Errorf("the phone sums up %d for nobody", h.last)
	}
}

// TestWrongHosts breaks each rule; the phone ends the connection, and only it.
func TestWrongHosts(t *testing.T) {
	_, tr := serve(t, false)
	witness := connect(t, tr)
	oversize := message{wrte, 1, 1, ""}.bytes()
	copy(oversize[12:], "\x01\x00\x10\x00")
	magic := message{wrte, 1, 1, ""}.bytes()
	magic[20]++
	for name, break_ := range map[string]func() *host{
		"another protocol": func() *host {
			h := dial(t, tr)
			if _, err := h.conn.Write([]byte("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")); err != nil {
				t.Fatal(err)
			}
			return h
		},
		"a wrong magic": func() *host {
			h := connect(t, tr)
			_, _ = h.conn.Write(magic)
			return h
		},
		"a megabyte and a byte": func() *host {
			h := connect(t, tr)
			_, _ = h.conn.Write(oversize)
			return h
		},
		"much before being let in": func() *host {
			h := dial(t, tr)
			_, _ = h.conn.Write(message{cnxn, newest, 1 << 20, "host::" + strings.Repeat("x", 5000)}.bytes()[:24])
			return h
		},
		"an unknown command": func() *host {
			h := connect(t, tr)
			h.send(message{0x534c5453, 1, 1, ""}) // STLS, which was not offered
			return h
		},
		"connecting twice": func() *host {
			h := connect(t, tr)
			h.greet()
			return h
		},
		"not a host": func() *host {
			h := dial(t, tr)
			h.send(message{cnxn, newest, 1 << 20, "device::"})
			return h
		},
		"a version that never was": func() *host {
			h := dial(t, tr)
			h.send(message{cnxn, 1, 1 << 20, "host::"})
			return h
		},
		"a small mouth": func() *host {
			h := dial(t, tr)
			h.send(message{cnxn, newest, 100, "host::"})
			return h
		},
		"not waiting for OKAY": func() *host {
			h := connect(t, tr)
			phone := h.open(1, "reboot:") // It reads nothing.
			for range 5 {
				_, _ = h.conn.Write(message{wrte, 1, phone, strings.Repeat("x", 1<<20)}.bytes())
			}
			return h
		},
	} {
		t.Run(name, func(t *testing.T) { break_().expectEnd() })
	}
	if got := witness.drain(1, witness.open(1, "exec:fail 0")); got != "o0e" {
		t.Errorf("another host then hears %q", got)
	}
}

// TestIgnored sends what has no meaning (any more) and is not answered.
func TestIgnored(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	phone := h.open(1, "exec:cat")
	h.send(
		message{wrte, 1, phone + 7, "x"}, message{wrte, 5, phone, "x"}, message{clse, 5, phone, ""}, message{clse, 1, phone + 7, ""},
		message{okay, 1, phone + 7, ""}, message{okay, 5, phone, ""}, message{okay, 1, phone, ""}, message{open, 0, 0, "exec:fail 0\x00"},
		message{auth, 3, 0, "a key that nobody asked for"},
		message{wrte, 1, phone, ""}, // Nothing is data too.
		message{wrte, 1, phone, "still here"},
	)
	h.expect(message{okay, phone, 1, ""}, message{okay, phone, 1, ""}, message{wrte, phone, 1, "still here"})

	early := dial(t, tr)
	early.send(message{open, 1, 0, "exec:fail 0\x00"}, message{wrte, 1, 1, "x"})
	early.greet()
	early.expectBanner("device")
}

// TestAHostThatDoesNotListen asks for ever and takes no answer.
func TestAHostThatDoesNotListen(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	wrong := message{open, 1, 0, "nonsense\x00"}.bytes()
	for {
		if _, err := h.conn.Write(wrong); err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				t.Fatal("the phone keeps whoever does not listen")
			}
			return
		}
	}
}

func TestManyServices(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	id := uint32(1)
	for ; ; id++ {
		h.send(message{open, id, 0, "exec:cat\x00"})
		if m := h.next(); m.command == clse {
			break
		}
	}
	if id < 100 || id > 1000 {
		t.Errorf("%d services at once", id)
	}
}

func TestRootAndReboot(t *testing.T) {
	p, tr := serve(t, false)
	h := connect(t, tr)
	phone := h.open(1, "root:")
	h.expect(message{wrte, phone, 1, "restarting adbd as root\n"})
	select {
	case <-p.Restarts:
		t.Error("the daemon restarts before its answer was taken")
	default:
	}
	h.send(message{okay, 1, phone, ""})
	select {
	case <-p.Restarts:
	case <-time.After(patience):
		t.Error("the daemon does not restart")
	}
	h.expect(message{clse, phone, 1, ""})
	for _, into := range []string{"", "recovery", "bootloader"} {
		h.open(2, "reboot:"+into)
		select {
		case got := <-p.Reboots:
			if got != into {
				t.Errorf("reboots into %q, wanted %q", got, into)
			}
		case <-time.After(patience):
			t.Errorf("does not reboot into %q", into)
		}
	}
	tr.SetState(adbd.Absent)
	h.expectEnd()
}

// TestReverseOverTransport carries a connection of the phone to the host.
func TestReverseOverTransport(t *testing.T) {
	_, tr := serve(t, false)
	h := connect(t, tr)
	answer := h.drain(1, h.open(1, "reverse:forward:tcp:0;tcp:7"))
	if !strings.HasPrefix(answer, "OKAY000") {
		t.Fatalf("reverse: %q", answer)
	}
	port := answer[8:]
	if got := h.drain(1, h.open(1, "reverse:list-forward")); got[4:] != "host-1 tcp:"+port+" tcp:7\n" {
		t.Errorf("the list is %q", got)
	}
	call := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", "127.0.0.1:"+port) //nolint:noctx // A test.
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn
	}
	opened := func() uint32 {
		t.Helper()
		m := h.next()
		if m.command != open || m.arg0 == 0 || m.arg1 != 0 || m.data != "tcp:7\x00" {
			t.Fatalf("%v came, wanted an OPEN of tcp:7", m)
		}
		return m.arg0
	}

	conn := call()
	phone := opened()
	h.send(message{okay, 50, phone, ""})
	if _, err := conn.Write([]byte("from the phone")); err != nil {
		t.Fatal(err)
	}
	h.expect(message{wrte, phone, 50, "from the phone"})
	h.send(message{okay, 50, phone, ""}, message{wrte, 50, phone, "from the host"})
	h.expect(message{okay, phone, 50, ""})
	h.send(message{clse, 50, phone, ""})
	if got, err := io.ReadAll(conn); string(got) != "from the host" || err != nil {
		t.Errorf("the phone got %q, %v", got, err)
	}

	conn = call()
	h.send(message{clse, 0, opened(), ""}) // Nobody listens on the host.
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("a refused connection: %q, %v", got, err)
	}

	// The phone's own end is told.
	conn = call()
	phone = opened()
	h.send(message{okay, 51, phone, ""})
	_ = conn.Close()
	h.expect(message{clse, phone, 51, ""})

	// With the host its reverse connections go, though another is connected.
	connect(t, tr)
	_ = h.conn.Close()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port) //nolint:noctx // A test.
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(end) {
			t.Fatal("the reverse connection outlives its host")
		}
	}
}

// TestForwardOverTransport carries a connection of the host to the phone.
func TestForwardOverTransport(t *testing.T) {
	_, tr := serve(t, false)
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	h := connect(t, tr)
	phone := h.open(1, "tcp:"+port)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("0123456789abcdef", 60_000)
	go func() {
		_, _ = io.WriteString(conn, big)
		_ = conn.Close()
	}()
	if got := h.drain(1, phone); got != big {
		t.Errorf("%d bytes came, %d were sent", len(got), len(big))
	}
}

func TestPortsThatAreRefused(t *testing.T) {
	p, _ := serve(t, false)
	d := func(addr string) error {
		tr, err := adbd.New(p, nil).Listen(t.Context(), adbd.TransportConfig{Addr: addr})
		if err == nil {
			tr.Close()
		}
		return err
	}
	if err := d("0.0.0.0:0"); err == nil {
		t.Error("the daemon listens on every interface")
	}
	for port := 5555; port <= 5585; port += 10 {
		if err := d("127.0.0.1:" + strconv.Itoa(port)); err == nil {
			t.Errorf("the daemon listens on port %d, where a server looks for emulators", port)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	p, tr := serve(t, true)
	tr.Close()
	open, err := adbd.New(p, nil).Listen(t.Context(), adbd.TransportConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	h := connect(t, open)
	for i, service := range []string{"shell,v2,raw:cat", "exec:cat", "sync:", "reboot:"} {
		h.open(uint32(i+1), service) //nolint:gosec // Small.
	}
	h.drain(9, h.open(9, "reverse:forward:tcp:0;tcp:1"))
	dial(t, open)
	open.SetState(adbd.Absent)
	open.SetState(adbd.Offline)
	open.Close()
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
