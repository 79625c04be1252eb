package internet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
)

func TestPing(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example"})
	addHost(t, n, internet.HostConfig{Name: "six.example", NoV4: true})
	phone := attach(t, n, "p")
	for _, host := range []string{"site.example", "six.example", "127.0.0.1", "192.168.43.1"} {
		pong, err := phone.Ping(t.Context(), host, 56)
		if err != nil || pong.Bytes != 64 {
			t.Errorf("ping %s: %+v, %v", host, pong, err)
		}
	}
	uids := phone.UIDCounters()
	if uids[2000].TxPackets == 0 || uids[0].TxPackets != 0 {
		t.Errorf("pings are not the shell's: %+v", uids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := phone.Ping(ctx, "192.0.2.9", 56); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping of nobody: %v", err)
	}
}

func TestLoopback(t *testing.T) {
	n := newWorld(t)
	phone := attach(t, n, "p")
	for _, addr := range []string{"127.0.0.1:8080", "[::1]:8080"} {
		ln, err := phone.Listen(0, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := phone.Listen(0, "tcp", addr); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listener on %s: %v", addr, err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := ln.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := io.Copy(c, c); err != nil {
				t.Error(err)
			}
		})
		c, err := phone.Dial(t.Context(), appUID, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("offproof"), 100_000)
		wg.Go(func() {
			if _, err := c.Write(want); err != nil {
				t.Error(err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes came back of %d: %v", addr, len(got), len(want), err)
		}
		wg.Wait()
		c.Close()
		ln.Close()
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after close: %v", err)
		}
		if _, err := phone.Dial(t.Context(), appUID, "tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial after close: %v", err)
		}
	}
	all := phone.Counters()
	if all["wlan0"] != (internet.Counters{}) {
		t.Errorf("loopback traffic on wlan0: %+v", all["wlan0"])
	}
	if all["lo"].TxBytes != all["lo"].RxBytes || all["lo"].TxBytes < 3_200_000 {
		t.Errorf("lo: %+v", all["lo"])
	}
}

func TestSocketsInKernelTerms(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello(), NoV6: true})
	phone := attach(t, n, "p")
	ln, err := phone.Listen(0, "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	app, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	shell, err := phone.Dial(t.Context(), 2000, "tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	dgram, err := phone.Dial(t.Context(), appUID, "udp", "192.168.43.1:53")
	if err != nil {
		t.Fatal(err)
	}
	sockets := phone.Sockets()
	if len(sockets) != 4 {
		t.Fatalf("sockets: %+v", sockets)
	}
	type line struct {
		proto  string
		state  uint8
		uid    int
		mapped bool
		remote string
	}
	want := []line{
		{"tcp", internet.StateListen, 0, false, "0.0.0.0:0"},
		{"tcp6", internet.StateEstablished, appUID, true, "[::ffff:203.0.113.1]:80"},
		{"tcp", internet.StateEstablished, 2000, false, "203.0.113.1:80"},
		{"udp6", internet.StateEstablished, appUID, true, "[::ffff:192.168.43.1]:53"},
	}
	inodes := map[uint64]bool{}
	for i, s := range sockets {
		got := line{s.Proto, s.State, s.UID, s.Local.Addr().Is4In6(), s.Remote.String()}
		if got != want[i] {
			t.Errorf("socket %d is %+v, want %+v", i, got, want[i])
		}
		inodes[s.Inode] = true
	}
	if len(inodes) != 4 || inodes[0] {
		t.Errorf("inodes: %v", inodes)
	}
	local := app.LocalAddr().(*net.TCPAddr).Port
	app.Close()
	dgram.Close()
	// The host closes its end when the client has, so the closer's end waits.
	until(t, "TIME_WAIT of nobody", func() bool {
		for _, s := range phone.Sockets() {
			if int(s.Local.Port()) == local {
				return s.State == internet.StateTimeWait && s.UID == 0 && s.Inode == 0
			}
		}
		return false
	})
	if got := phone.Sockets(); len(got) != 3 {
		t.Errorf("after closing two: %+v", got)
	}
	shell.Close()
}

func TestCloseWakesReader(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	phone := attach(t, n, "p")
	c, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 1))
		got <- err
	}()
	c.Close()
	if err := <-got; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed connection: %v", err)
	}
}
