package adb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestDevicesKeepsEveryState(t *testing.T) {
	c := server(t, ">> host:devices-l\n< OKAY\n<< "+escape(
		"R58M0000000            device usb:1-1.4:1.0 product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:3\n"+
			"R58M0000001            unauthorized usb:1-1.2 transport_id:4\n"+
			"R58M0000002            offline\n"+
			"R58M0000003            no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html] usb:1-1.3 transport_id:5\n"+
			"127.0.0.1:7001         recovery product:x model:y device:z transport_id:9\n"+
			"broken\n"))
	got, err := c.Devices(within(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []adb.Entry{
		{Serial: "R58M0000000", State: "device", Props: map[string]string{"usb": "1-1.4:1.0", "product": "ginkgo", "model": "Redmi_Note_8", "device": "ginkgo", "transport_id": "3"}},
		{Serial: "R58M0000001", State: "unauthorized", Props: map[string]string{"usb": "1-1.2", "transport_id": "4"}},
		{Serial: "R58M0000002", State: "offline", Props: map[string]string{}},
		{Serial: "R58M0000003", State: "no permissions", Props: map[string]string{"usb": "1-1.3", "transport_id": "5"}},
		{Serial: "127.0.0.1:7001", State: "recovery", Props: map[string]string{"product": "x", "model": "y", "device": "z", "transport_id": "9"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestRunKeepsStreamsAndStatusApart(t *testing.T) {
	c := server(t, modern, v2("id; exit 7")+out(1, "uid=2000\n")+out(2, "oops\n")+out(1, "more")+out(3, "\x07"))
	got, err := c.Run(within(t), "S1", "id; exit 7", nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Stdout) != "uid=2000\nmore" || string(got.Stderr) != "oops\n" || got.Exit != 7 {
		t.Errorf("got %q, %q, %d", got.Stdout, got.Stderr, got.Exit)
	}
}

// Packets that are cut anywhere arrive whole.
func TestRunReadsPacketsInPieces(t *testing.T) {
	var script strings.Builder
	script.WriteString(v2("x"))
	for _, b := range []byte("\x01\x03\x00\x00\x00abc\x03\x01\x00\x00\x00\x00") {
		script.WriteString("< " + escape(string([]byte{b})) + "\n")
	}
	c := server(t, modern, strings.ReplaceAll(script.String(), "\u0080", ""))
	got, err := c.Run(within(t), "S1", "x", nil)
	if err != nil || string(got.Stdout) != "abc" || got.Exit != 0 {
		t.Errorf("got %q, %d, %v", got.Stdout, got.Exit, err)
	}
}

func TestRunSendsStandardInput(t *testing.T) {
	c := server(t, modern,
		">> host:transport:S1\n< OKAY\n>> shell,v2,raw:cat\n< OKAY\n> \\x00\\x05\\x00\\x00\\x00hello\n> \\x04\\x00\\x00\\x00\\x00\n"+
			out(1, "hello")+out(3, "\x00"))
	got, err := c.Run(within(t), "S1", "cat", strings.NewReader("hello"))
	if err != nil || string(got.Stdout) != "hello" {
		t.Errorf("got %q, %v", got.Stdout, err)
	}
}

// However plausible the output, no exit packet is a lost phone.
func TestRunWithoutExitPacketIsLost(t *testing.T) {
	for name, end := range map[string]string{
		"nothing":            "",
		"whole output":       out(1, "uid=2000\n"),
		"half a packet":      "< \\x01\\x09\\x00\\x00\\x00uid",
		"half a header":      "< \\x01\\x09",
		"exit without value": "< \\x03\\x01\\x00\\x00\\x00",
		"reset":              out(1, "uid=2000\n") + "reset",
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, modern, v2("id")+end)
			got, err := c.Run(within(t), "S1", "id", nil)
			var lost *adb.LostError
			if !errors.As(err, &lost) || lost.Serial != "S1" {
				t.Fatalf("got %q, %v; want a *LostError", got.Stdout, err)
			}
			if !adb.Unreachable(err) {
				t.Error("a lost phone must be unreachable")
			}
			if strings.Contains(name, "whole") && string(got.Stdout) != "uid=2000\n" {
				t.Errorf("what had arrived is missing: %q", got.Stdout)
			}
		})
	}
}

func TestRunLostBeforeTheService(t *testing.T) {
	c := server(t, modern, ">> host:transport:S1\n< OKAY\n>> shell,v2,raw:id\n")
	var lost *adb.LostError
	if _, err := c.Run(within(t), "S1", "id", nil); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
	c = server(t, modern, ">> host:transport:S1\n< OKAY\n>> shell,v2,raw:id\n< FAIL\n<< closed")
	if _, err := c.Run(within(t), "S1", "id", nil); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
	c = server(t, modern, ">> host:transport:S1\n< OKAY\n>> shell,v2,raw:id\n< FAIL\n<< device offline (transport offline)")
	if _, err := c.Run(within(t), "S1", "id", nil); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
}

func TestGarbageIsAProtocolError(t *testing.T) {
	for name, script := range map[string]string{
		"http server":      ">> host:version\n< HTTP/1.1 400 Bad Request\\r\\n",
		"no length":        ">> host:version\n< OKAYzzzz",
		"negative length":  ">> host:version\n< OKAY-fff",
		"no hexadecimal":   ">> host:version\n< OKAY\n<< 41.x",
		"fail without end": ">> host:version\n< FAIL\\x00\\x00\\x00\\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, script)
			_, err := c.Version(within(t))
			var garbage *adb.ProtocolError
			if !errors.As(err, &garbage) || garbage.Addr != c.Addr {
				t.Errorf("got %v, want a *ProtocolError of %s", err, c.Addr)
			}
		})
	}
	for name, packet := range map[string]string{
		"unknown packet":   "< \\x09\\x00\\x00\\x00\\x00",
		"exit of 4 GiB":    "< \\x03\\xff\\xff\\xff\\xff",
		"exit without one": "< \\x03\\x00\\x00\\x00\\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := server(t, modern, v2("id")+packet)
			_, err := c.Run(within(t), "S1", "id", nil)
			var garbage *adb.ProtocolError
			if !errors.As(err, &garbage) {
				t.Errorf("got %v, want a *ProtocolError", err)
			}
		})
	}
}

func TestRunBoundsItsOutput(t *testing.T) {
	c := server(t, modern, v2("yes")+out(1, strings.Repeat("y", 100))+"stall")
	c.MaxOutput = 64
	if _, err := c.Run(within(t), "S1", "yes", nil); !errors.Is(err, adb.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
	if _, err := c.Run(within(t), "S1", strings.Repeat("x", 70000), nil); !errors.Is(err, adb.ErrTooLarge) {
		t.Errorf("a script of 70,000 bytes: got %v, want ErrTooLarge", err)
	}
}

func TestNoServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	c := &adb.Client{Addr: addr}
	_, err = c.Devices(within(t))
	if !errors.Is(err, adb.ErrNoServer) || !adb.Unreachable(err) {
		t.Fatalf("got %v, want ErrNoServer", err)
	}
	if text := err.Error(); strings.Contains(text, "\n") || !strings.Contains(text, addr) || !strings.Contains(text, "adb start-server") {
		t.Errorf("the line does not say what to do: %s", text)
	}
	c = server(t, "") // It accepts and hangs up.
	if _, err := c.Version(within(t)); !errors.Is(err, adb.ErrNoServer) {
		t.Errorf("a server that says nothing: got %v, want ErrNoServer", err)
	}
}

func TestFailuresHaveTypes(t *testing.T) {
	refuse := func(message string) string {
		return ">> host:transport:S1\n< FAIL\n<< " + escape(message)
	}
	tests := []struct {
		message string
		want    any
		says    string
	}{
		{"device 'S1' not found", new(*adb.UnknownError), "adb devices -l"},
		{"device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device.", new(*adb.UnauthorizedError), "Allow USB debugging"},
		{"device offline", new(*adb.OfflineError), "offline"},
		{"device still connecting", new(*adb.OfflineError), "connecting"},
		{"device still authorizing", new(*adb.OfflineError), "authorizing"},
		{"insufficient permissions for device: user in plugdev group; are your udev rules wrong?", new(*adb.PermissionError), "udev"},
		{"something new\nin two lines", new(*adb.FailError), "something new in two lines"},
	}
	for _, test := range tests {
		t.Run(test.message, func(t *testing.T) {
			c := server(t, refuse(test.message))
			err := c.Pull(within(t), "S1", "/x", io.Discard)
			if !errors.As(err, test.want) {
				t.Fatalf("got %T %v, want %T", err, err, test.want)
			}
			if strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("not one clear line: %q", err)
			}
		})
	}
}

func TestContextEndsEveryCall(t *testing.T) {
	stalled := map[string]struct {
		scripts []string
		call    func(ctx context.Context, c *adb.Client) error
	}{
		"before the first answer": {[]string{"stall"}, func(ctx context.Context, c *adb.Client) error {
			_, err := c.Devices(ctx)
			return err
		}},
		"in a block": {[]string{">> host:version\n< OKAY00"}, func(ctx context.Context, c *adb.Client) error {
			_, err := c.Version(ctx)
			return err
		}},
		"in a command": {[]string{modern, v2("sleep 9") + out(1, "zzz") + "stall"}, func(ctx context.Context, c *adb.Client) error {
			_, err := c.Run(ctx, "S1", "sleep 9", nil)
			return err
		}},
		"in a pull": {[]string{">> host:transport:S1\n< OKAY\n>> sync:\n< OKAY\nstall"}, func(ctx context.Context, c *adb.Client) error {
			return c.Pull(ctx, "S1", "/x", io.Discard)
		}},
		"while tracking": {[]string{">> host:track-devices-l\n< OKAY0000\nstall"}, func(ctx context.Context, c *adb.Client) error {
			return c.Track(ctx, func([]adb.Entry) error { return nil })
		}},
	}
	for name, test := range stalled {
		t.Run(name, func(t *testing.T) {
			for i, s := range test.scripts {
				if !strings.HasSuffix(s, "stall") && i == len(test.scripts)-1 {
					test.scripts[i] += "\nstall"
				}
			}
			c := server(t, test.scripts...)
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			err := test.call(ctx, c)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's error", err)
			}
			var lost *adb.LostError
			if errors.As(err, &lost) {
				t.Errorf("the caller's own limit is taken for a lost phone: %v", err)
			}
		})
	}
}

func TestSlowServerMeetsTheAnswerLimit(t *testing.T) {
	c := server(t, "stall")
	c.AnswerTimeout = 50 * time.Millisecond
	if _, err := c.Version(within(t)); !errors.Is(err, adb.ErrNoServer) {
		t.Errorf("got %v, want ErrNoServer", err)
	}
	c = server(t, modern, ">> host:transport:S1\n< OKAY\nstall")
	if _, err := c.Features(within(t), "S1"); err != nil {
		t.Fatal(err)
	}
	// Long enough for a busy host to take the two lines before the silence.
	c.AnswerTimeout = time.Second
	var lost *adb.LostError
	if err := c.Pull(within(t), "S1", "/x", io.Discard); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
}

func TestTrackFollowsTheTable(t *testing.T) {
	c := server(t, ">> host:track-devices-l\n< OKAY0000\n<< "+escape("S1 device product:x\n")+"\n<< "+escape("S1 offline\n")+"\n<< \n")
	var states []string
	err := c.Track(within(t), func(table []adb.Entry) error {
		state := "absent"
		for _, e := range table {
			state = e.State
		}
		states = append(states, state)
		return nil
	})
	if !errors.Is(err, adb.ErrNoServer) {
		t.Errorf("got %v, want ErrNoServer when the server goes away", err)
	}
	if want := []string{"absent", "device", "offline", "absent"}; !reflect.DeepEqual(states, want) {
		t.Errorf("got %v, want %v", states, want)
	}
	enough := errors.New("enough")
	c = server(t, ">> host:track-devices-l\n< OKAY0000\nstall")
	if err := c.Track(within(t), func([]adb.Entry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("got %v, want the caller's own error", err)
	}
}

func TestStream(t *testing.T) {
	c := server(t, modern, v2("tcpdump")+out(2, "listening on wlan0\n")+out(1, "packet 1, ")+out(1, "packet 2")+out(3, "\x00"))
	s, err := c.Stream(within(t), "S1", "tcpdump")
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := io.ReadAll(s.Stdout)
	if err != nil || string(stdout) != "packet 1, packet 2" {
		t.Errorf("got %q, %v", stdout, err)
	}
	stderr, err := io.ReadAll(s.Stderr)
	if err != nil || string(stderr) != "listening on wlan0\n" {
		t.Errorf("got %q, %v", stderr, err)
	}
	if exit, err := s.Wait(); exit != 0 || err != nil {
		t.Errorf("got %d, %v", exit, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStreamThatIsLostIsNoEnd(t *testing.T) {
	c := server(t, modern, v2("tcpdump")+out(1, "packet 1"))
	s, err := c.Stream(within(t), "S1", "tcpdump")
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := io.ReadAll(s.Stdout)
	var lost *adb.LostError
	if string(stdout) != "packet 1" || !errors.As(err, &lost) {
		t.Errorf("got %q, %v; want what came and a *LostError", stdout, err)
	}
	if _, err := io.ReadAll(s.Stderr); !errors.As(err, &lost) {
		t.Errorf("standard error: got %v, want a *LostError", err)
	}
	if _, err := s.Wait(); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
}

func TestStreamCloseFreesItsReaders(t *testing.T) {
	c := server(t, modern, v2("tcpdump")+out(1, "packet 1")+"stall")
	s, err := c.Stream(within(t), "S1", "tcpdump")
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 2)
	go func() {
		_, err := io.Copy(io.Discard, s.Stdout)
		read <- err
	}()
	go func() {
		_, err := io.Copy(io.Discard, s.Stderr)
		read <- err
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-read; !errors.Is(err, fs.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
	if _, err := s.Wait(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	// A stream that nobody reads can be closed too.
	c = server(t, modern, v2("tcpdump")+out(1, "packet 1")+"stall")
	if s, err = c.Stream(within(t), "S1", "tcpdump"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestOldPhone(t *testing.T) {
	// The nonce is the client's, so the conversation is played by hand.
	phone := func(t *testing.T, answer func(nonce string) string) *adb.Client {
		t.Helper()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_ = play(conn, old)
			if conn, err = ln.Accept(); err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			head := make([]byte, len("0011host:transport:S1"))
			_, _ = io.ReadFull(conn, head)
			_, _ = conn.Write([]byte("OKAY"))
			service := make([]byte, 4096)
			n, _ := conn.Read(service)
			text := string(service[4:n])
			if !strings.HasPrefix(text, "exec:(\nid\n) 2>&1 </dev/null; echo ") {
				t.Errorf("client asked for %q", text)
			}
			nonce := strings.TrimSuffix(text[strings.LastIndexByte(text, ' ')+1:], ":$?")
			_, _ = conn.Write([]byte("OKAY" + answer(nonce)))
		}()
		return &adb.Client{Addr: ln.Addr().String()}
	}
	c := phone(t, func(nonce string) string { return "uid=2000\n" + nonce + ":3\n" })
	got, err := c.Run(within(t), "S1", "id", nil)
	if err != nil || string(got.Stdout) != "uid=2000\n" || got.Exit != 3 {
		t.Errorf("got %q, %d, %v", got.Stdout, got.Exit, err)
	}
	for name, answer := range map[string]func(string) string{
		"no trailer":    func(string) string { return "uid=2000\n" },
		"half of it":    func(n string) string { return "uid=2000\n" + n + ":" },
		"cut status":    func(n string) string { return "uid=2000\n" + n + ":12" },
		"another nonce": func(string) string { return "uid=2000\nABC:0\n" },
		"in the middle": func(n string) string { return n + ":0\nand more" },
	} {
		t.Run(name, func(t *testing.T) {
			var lost *adb.LostError
			if _, err := phone(t, answer).Run(within(t), "S1", "id", nil); !errors.As(err, &lost) {
				t.Errorf("got %v, want a *LostError", err)
			}
		})
	}
	t.Run("stream", func(t *testing.T) {
		long := strings.Repeat("0123456789", 30_000)
		s, err := phone(t, func(nonce string) string { return long + nonce + ":0\r\n" }).Stream(within(t), "S1", "id")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(s.Stdout); err != nil || string(b) != long {
			t.Errorf("got %d bytes, %v", len(b), err)
		}
		if exit, err := s.Wait(); exit != 0 || err != nil {
			t.Errorf("got %d, %v", exit, err)
		}
	})
	c = server(t, old)
	if _, err := c.Run(within(t), "S1", "cat", strings.NewReader("x")); err == nil {
		t.Error("standard input was silently dropped")
	}
}

func TestReverse(t *testing.T) {
	transport := ">> host:transport:S1\n< OKAY\n"
	c := server(t, transport+">> reverse:forward:tcp:0;tcp:9000\n< OKAY\n< OKAY\n<< 38081\n")
	if port, err := c.Reverse(within(t), "S1", 0, 9000); err != nil || port != 38081 {
		t.Errorf("got %d, %v", port, err)
	}
	c = server(t, transport+">> reverse:forward:tcp:8080;tcp:9000\n< OKAY\n< OKAY\n")
	if port, err := c.Reverse(within(t), "S1", 8080, 9000); err != nil || port != 8080 {
		t.Errorf("got %d, %v", port, err)
	}
	var fail *adb.FailError
	c = server(t, transport+">> reverse:forward:tcp:8080;tcp:9000\n< OKAY\n< FAIL\n<< cannot bind listener: Address already in use")
	if _, err := c.Reverse(within(t), "S1", 8080, 9000); !errors.As(err, &fail) {
		t.Errorf("got %v, want a *FailError", err)
	}
	var lost *adb.LostError
	c = server(t, transport+">> reverse:forward:tcp:8080;tcp:9000\n< OKAY\n")
	if _, err := c.Reverse(within(t), "S1", 8080, 9000); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
	c = server(t, transport+">> reverse:forward:tcp:0;tcp:9000\n< OKAY\n< OKAY\n")
	if _, err := c.Reverse(within(t), "S1", 0, 9000); !errors.As(err, &lost) {
		t.Errorf("a port that was not told: got %v, want a *LostError", err)
	}
	c = server(t, transport+">> reverse:list-forward\n< OKAY\n<< "+escape("UsbFfs tcp:8080 tcp:9000\nUsbFfs localabstract:x tcp:1\n"))
	tunnels, err := c.ReverseList(within(t), "S1")
	want := []adb.Tunnel{{Device: "tcp:8080", Host: "tcp:9000", DevicePort: 8080, HostPort: 9000}, {Device: "localabstract:x", Host: "tcp:1", HostPort: 1}}
	if err != nil || !reflect.DeepEqual(tunnels, want) {
		t.Errorf("got %v, %v", tunnels, err)
	}
	c = server(t, transport+">> reverse:killforward:tcp:8080\n< OKAY\n< OKAY\n")
	if err := c.ReverseRemove(within(t), "S1", 8080); err != nil {
		t.Error(err)
	}
	c = server(t, transport+">> reverse:killforward:tcp:8080\n< OKAY\n< FAIL\n<< listener 'tcp:8080' not found")
	if err := c.ReverseRemove(within(t), "S1", 8080); !errors.As(err, &fail) {
		t.Errorf("got %v, want a *FailError", err)
	}
	if _, err := c.Reverse(within(t), "S1", 8080, 0); err == nil {
		t.Error("a host port of 0 was accepted")
	}
}

func TestSync(t *testing.T) {
	sync := ">> host:transport:S1\n< OKAY\n>> sync:\n< OKAY\n"
	le := func(n uint32) string { return string([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}) }
	var lost *adb.LostError

	t.Run("push", func(t *testing.T) {
		target := "/sdcard/a b,33188"
		c := server(t, sync+"> "+escape("SEND"+le(uint32(len(target)))+target+"DATA"+le(5)+"hello"+"DONE")+"\nstall")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if err := c.Push(ctx, "S1", strings.NewReader("hello"), "/sdcard/a b", 0o644); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a push without an answer: got %v", err)
		}
		// The request with its path and mode, one chunk, the end with its time.
		sent := fmt.Sprintf("skip %d\n", 8+len("/sdcard/a,33188")+8+len("hello")+8)
		c = server(t, sync+sent+"< OKAY"+escape(le(0)))
		if err := c.Push(within(t), "S1", strings.NewReader("hello"), "/sdcard/a", 0o644); err != nil {
			t.Error(err)
		}
		c = server(t, sync+"< FAIL"+escape(le(17)+"Permission denied"))
		if err := c.Push(within(t), "S1", strings.NewReader("hello"), "/system/a", 0o644); !errors.Is(err, fs.ErrPermission) || errors.As(err, &lost) {
			t.Errorf("got %v, want ErrPermission", err)
		}
		c = server(t, sync+sent)
		if err := c.Push(within(t), "S1", strings.NewReader("hello"), "/sdcard/a", 0o644); !errors.As(err, &lost) {
			t.Errorf("got %v, want a *LostError", err)
		}
		broken := errors.New("disk on fire")
		c = server(t, sync+"stall")
		if err := c.Push(within(t), "S1", io.MultiReader(strings.NewReader("x"), failing{broken}), "/sdcard/a", 0o644); !errors.Is(err, broken) || errors.As(err, &lost) {
			t.Errorf("got %v, want the reader's own error", err)
		}
	})
	t.Run("pull", func(t *testing.T) {
		recv := sync + "> " + escape("RECV"+le(2)+"/x") + "\n"
		c := server(t, recv+"< "+escape("DATA"+le(3)+"abc"+"DATA"+le(2)+"de"+"DONE"+le(0)))
		var b bytes.Buffer
		if err := c.Pull(within(t), "S1", "/x", &b); err != nil || b.String() != "abcde" {
			t.Errorf("got %q, %v", b.String(), err)
		}
		for name, script := range map[string]string{
			"cut before DONE": "DATA" + le(3) + "abc",
			"cut in a chunk":  "DATA" + le(3) + "a",
			"cut in a head":   "DAT",
		} {
			c = server(t, recv+"< "+escape(script))
			if err := c.Pull(within(t), "S1", "/x", io.Discard); !errors.As(err, &lost) {
				t.Errorf("%s: got %v, want a *LostError", name, err)
			}
		}
		for name, script := range map[string]string{
			"chunk of 4 GiB":  "DATA" + le(0xffffffff),
			"reason of 4 GiB": "FAIL" + le(0xffffffff),
			"unknown word":    "WHAT" + le(0),
		} {
			c = server(t, recv+"< "+escape(script)+"\nstall")
			var garbage *adb.ProtocolError
			if err := c.Pull(within(t), "S1", "/x", io.Discard); !errors.As(err, &garbage) {
				t.Errorf("%s: got %v, want a *ProtocolError", name, err)
			}
		}
		c = server(t, recv+"< "+escape("FAIL"+le(25)+"No such file or directory"))
		if err := c.Pull(within(t), "S1", "/x", io.Discard); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
		c = server(t, recv+"< "+escape("DATA"+le(3)+"abc")+"\nstall")
		full := errors.New("disk full")
		if err := c.Pull(within(t), "S1", "/x", failing{full}); !errors.Is(err, full) || errors.As(err, &lost) {
			t.Errorf("got %v, want the writer's own error", err)
		}
	})
	t.Run("stat", func(t *testing.T) {
		stat2 := func(errno, mode uint32, size, mtime uint64) string {
			le8 := func(n uint64) string { return le(uint32(n)) + le(uint32(n>>32)) }
			return "STA2" + le(errno) + le8(1) + le8(2) + le(mode) + le(1) + le(0) + le(0) + le8(size) + le8(0) + le8(mtime) + le8(0)
		}
		ask := sync + "> " + escape("STA2"+le(2)+"/x") + "\n< "
		c := server(t, modern, ask+escape(stat2(0, 0o100640, 5<<32, 1600000000)))
		info, err := c.Stat(within(t), "S1", "/x")
		if err != nil || info.Mode != 0o640 || info.Size != 5<<32 || info.ModTime.Unix() != 1600000000 {
			t.Errorf("got %+v, %v", info, err)
		}
		c = server(t, modern, ask+escape(stat2(2, 0, 0, 0)))
		if _, err := c.Stat(within(t), "S1", "/x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
		c = server(t, modern, ask+"STA2")
		if _, err := c.Stat(within(t), "S1", "/x"); !errors.As(err, &lost) {
			t.Errorf("got %v, want a *LostError", err)
		}
		v1 := sync + "> " + escape("STAT"+le(2)+"/x") + "\n< "
		c = server(t, old, v1+escape("STAT"+le(0o040755)+le(4096)+le(1600000000)))
		if info, err := c.Stat(within(t), "S1", "/x"); err != nil || !info.Mode.IsDir() || info.Size != 4096 {
			t.Errorf("got %+v, %v", info, err)
		}
		c = server(t, old, v1+escape("STAT"+le(0)+le(0)+le(0)))
		if _, err := c.Stat(within(t), "S1", "/x"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want ErrNotExist", err)
		}
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestKillAndWait(t *testing.T) {
	c := server(t, ">> host:kill\n< OKAY")
	if err := c.Kill(within(t)); err != nil {
		t.Error(err)
	}
	c = server(t, ">> host-serial:S1:wait-for-any-device\n< OKAY\n< OKAY")
	if err := c.WaitDevice(within(t), "S1"); err != nil {
		t.Error(err)
	}
	c = server(t, ">> host-serial:S1:wait-for-any-device\n< OKAY\n")
	var lost *adb.LostError
	if err := c.WaitDevice(within(t), "S1"); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
}

func TestWrongSerials(t *testing.T) {
	c := &adb.Client{Addr: "127.0.0.1:1"}
	for _, serial := range []string{"", "a b", "a\nb"} {
		if _, err := c.Run(within(t), serial, "id", nil); err == nil || errors.Is(err, adb.ErrNoServer) {
			t.Errorf("serial %q: got %v, want a refusal before the server is asked", serial, err)
		}
	}
	c = server(t, modern)
	if _, err := c.Run(within(t), "S1", "a\x00b", nil); err == nil {
		t.Error("a script with a NUL byte was accepted")
	}
}
