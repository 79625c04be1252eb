package devices_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/internal/peers"
)

// genuineServer starts the Debian package's ADB server on a port of its own,
// blind to USB and emulators, and returns its address.
func genuineServer(t *testing.T) string {
	t.Helper()
	program := peers.Require(t, "adb")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	// Without -a it listens on loopback only; version 29 takes no host in -L.
	cmd := exec.CommandContext(t.Context(), program, "-P", port, "nodaemon", "server") //nolint:gosec // A peer.
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "ADB_EMU=0", "ADB_USB=0", "ADB_MDNS=0")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx := within(t)
	client := &adb.Client{Addr: addr}
	for {
		if _, err := client.Version(ctx); err == nil {
			return addr
		} else if ctx.Err() != nil {
			t.Fatalf("the genuine server does not answer: %v", err)
		}
		wait(ctx, 20*time.Millisecond)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func TestGenuineServer(t *testing.T) {
	addr := genuineServer(t)
	client := &adb.Client{Addr: addr}

	if v, err := devices.ServerVersion(within(t), addr); err != nil || v < 40 {
		t.Errorf("version %d, %v", v, err)
	}
	if entries, err := devices.Inventory(within(t), []string{addr}); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v; want an empty list", entries, err)
	}
	d := devices.Open(addr, "R58M0000000")
	var unknown *adb.UnknownError
	if _, err := d.Shell(within(t), "id"); !errors.As(err, &unknown) || unknown.Serial != "R58M0000000" {
		t.Errorf("shell: got %v, want an *UnknownError", err)
	}
	if err := d.Pull(within(t), "/x", io.Discard); !errors.As(err, &unknown) {
		t.Errorf("pull: got %v, want an *UnknownError", err)
	}
	if _, err := d.Reverse(within(t), 8080, 9000); !errors.As(err, &unknown) {
		t.Errorf("reverse: got %v, want an *UnknownError", err)
	}
	if err := d.Forward(within(t), 9001, 8080); err == nil {
		t.Error("forward of an unknown phone succeeded")
	}
	if state, err := d.State(within(t)); err != nil || state != devices.StateAbsent {
		t.Errorf("state %q, %v", state, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := client.WaitDevice(ctx, "R58M0000000"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait: got %v, want the context's error", err)
	}

	// The table is followed until the server is killed.
	tables := make(chan int, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- client.Track(within(t), func(table []adb.Entry) error {
			tables <- len(table)
			return nil
		})
	}()
	if n := <-tables; n != 0 {
		t.Errorf("the first table has %d phones", n)
	}
	if err := client.Kill(within(t)); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, adb.ErrNoServer) {
		t.Errorf("track: got %v, want ErrNoServer", err)
	}
	if _, err := d.Shell(within(t), "id"); !errors.Is(err, adb.ErrNoServer) {
		t.Errorf("after the kill: got %v, want ErrNoServer", err)
	}
}

// A daemon is a phone that the genuine server can connect to: it asks for
// authorisation for ever, or never says a word.
func daemon(t *testing.T, silent bool) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = conn.Close() }()
				for {
					var head [24]byte
					if _, err := io.ReadFull(conn, head[:]); err != nil {
						return
					}
					n := binary.LittleEndian.Uint32(head[12:])
					if _, err := io.CopyN(io.Discard, conn, int64(n)); err != nil {
						return
					}
					if silent {
						continue
					}
					if _, err := conn.Write(authRequest()); err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr().String()
}

// authRequest is a packet AUTH with a token to be signed.
func authRequest() []byte {
	const auth, token, size = 0x48545541, 1, 20
	payload := make([]byte, size)
	var b []byte
	for _, word := range []uint32{auth, token, 0, size, 0, auth ^ 0xffffffff} {
		b = binary.LittleEndian.AppendUint32(b, word)
	}
	return append(b, payload...)
}

// Phones that cannot be used are listed with their true state by the genuine
// server, and every use of them says what to do.
func TestGenuineServerStates(t *testing.T) {
	t.Parallel()
	addr := genuineServer(t)
	locked := daemon(t, false)
	if d, err := devices.Connect(within(t), addr, locked); err == nil {
		t.Errorf("connected to a phone that asks for authorisation: %v", d)
	}
	var entries []devices.Entry
	ctx := within(t)
	for ctx.Err() == nil {
		var err error
		if entries, err = devices.Inventory(ctx, []string{addr}); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(entries, func(e devices.Entry) bool { return e.State == devices.StateUnauthorized }) {
			break
		}
		wait(ctx, 50*time.Millisecond)
	}
	if len(entries) != 1 || entries[0].Serial != locked || !strings.Contains(entries[0].Advice(), "Allow USB debugging") {
		t.Fatalf("got %+v", entries)
	}
	// The server asks the phone again from time to time, and says "authorizing"
	// meanwhile.
	var err error
	var unauthorized *adb.UnauthorizedError
	for ctx.Err() == nil && !errors.As(err, &unauthorized) {
		_, err = devices.Open(addr, locked).Shell(ctx, "id")
		wait(ctx, 50*time.Millisecond)
	}
	if !errors.As(err, &unauthorized) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want an *UnauthorizedError of one line", err)
	}
	if err := devices.Disconnect(within(t), addr, locked); err != nil {
		t.Error(err)
	}

	// The server waits for a silent phone, so it is connected in the background.
	silent := daemon(t, true)
	connected := make(chan error, 1)
	go func() {
		_, err := devices.Connect(within(t), addr, silent)
		connected <- err
	}()
	var state devices.State
	for ctx.Err() == nil {
		if state, err = devices.Open(addr, silent).State(ctx); err != nil {
			t.Fatal(err)
		}
		if state != devices.StateAbsent {
			break
		}
		wait(ctx, 50*time.Millisecond)
	}
	if state.Usable() || state.Advice() == "" {
		t.Errorf("state %q", state)
	}
	_, err = devices.Open(addr, silent).Shell(within(t), "id")
	var offline *adb.OfflineError
	if !errors.As(err, &offline) {
		t.Errorf("state %q: got %v, want an *OfflineError", state, err)
	}
	if err := <-connected; err == nil {
		t.Error("connected to a phone that never answered")
	}
}

// A server that lies must not end the program: gadb panics on such answers.
func TestGadbIsContained(t *testing.T) {
	for name, answer := range map[string]string{"negative length": "OKAY-fff", "not hexadecimal": "OKAYzzzz", "cut": "OKAY00ffx"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				// gadbClient's own question by the wire client is answered well.
				go func() {
					defer func() { _ = conn.Close() }()
					service, err := request(conn)
					if err != nil {
						return
					}
					reply := answer
					switch service {
					case "host:version":
						reply = "OKAY00040029"
					case "host:devices-l":
						reply = "OKAY0000"
					}
					_, _ = fmt.Fprint(conn, reply)
				}()
			}
		}()
		entries, err := devices.Inventory(within(t), []string{ln.Addr().String()})
		if err == nil {
			t.Errorf("%s: got %v without an error", name, entries)
		}
		_ = ln.Close()
	}
}
