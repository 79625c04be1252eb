package adbdtest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/electricbubble/gadb"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
)

// TestShell tells outputs, statuses and input apart, which the daemon's own
// shell made.
func TestShell(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		for script, want := range map[string]struct {
			out, errs string
			exit      int
		}{
			"echo out; echo err >&2; exit 7": {"out\n", "err\n", 7},
			"exit 255":                       {"", "", 255},
			"kill -9 $$":                     {"", "", 137},
			"printf 'a\\r\\nb\\000c'":        {"a\r\nb\x00c", "", 0},
			"# a comment":                    {"", "", 0},
			"readlink /proc/$PPID/exe >/dev/null && cat </dev/null && echo $ADBD_PORT | tr 0-9 n": {"nnnnn\n", "", 0},
		} {
			r, err := b.Script(t.Context(), script)
			if err != nil || string(r.Stdout) != want.out || string(r.Stderr) != want.errs || r.Exit != want.exit {
				t.Errorf("%s: %q %q %d, %v", script, r.Stdout, r.Stderr, r.Exit, err)
			}
		}
		odd := []string{"a b", "'", `"$HOME"`, "*", "\n", "\\", "-n", "ä"}
		r, err := b.Shell(t.Context(), append([]string{"printf", "%s|"}, odd...)...)
		if want := strings.Join(odd, "|") + "|"; err != nil || string(r.Stdout) != want {
			t.Errorf("arguments came as %q, %v", r.Stdout, err)
		}
		big := bytes.Repeat([]byte("\x00\xff\r\n line"), 200_000)
		r, err = b.ScriptInput(t.Context(), "cat; echo done >&2", bytes.NewReader(big))
		if err != nil || !bytes.Equal(r.Stdout, big) || string(r.Stderr) != "done\n" || r.Exit != 0 {
			t.Errorf("input came back as %d of %d bytes, %q, %d, %v", len(r.Stdout), len(big), r.Stderr, r.Exit, err)
		}
	})
}

// sum is what the phone's own sha256sum says of a file.
func (b *bench) sum(t *testing.T, path string) string {
	t.Helper()
	out, err := b.Output(t.Context(), "sha256sum", "--", path)
	if err != nil {
		t.Fatal(err)
	}
	// A name with a line break is told by a backslash before the sum.
	return strings.TrimPrefix(out, "\\")[:2*sha256.Size]
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// noise are bytes that no two places of which are alike.
func noise(n int) []byte {
	b := make([]byte, 0, n+sha256.Size)
	for i := 0; len(b) < n; i++ {
		sum := sha256.Sum256([]byte(strconv.Itoa(i)))
		b = append(b, sum[:]...)
	}
	return b[:n]
}

// TestFiles carries files of awkward sizes and names, and reads each back by the
// phone's own program.
func TestFiles(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		const dir = "/data/local/tmp/"
		for name, size := range map[string]int{
			"empty": 0, "one": 1, "a chunk": 64 << 10, "a chunk and one": 64<<10 + 1, "big": 32<<20 + 7,
			"it's \"quoted\" $(not run)": 100, "line\nbreak": 100, "-n": 100, "ä\u202e": 100, "made/on/the/way": 100,
			strings.Repeat("x", 255): 100, "comma,0644": 100,
		} {
			data := noise(size)
			if err := b.Push(t.Context(), bytes.NewReader(data), dir+name, 0o640); err != nil {
				t.Errorf("push %q: %v", name, err)
				continue
			}
			if got := b.sum(t, dir+name); got != sumOf(data) {
				t.Errorf("%q was pushed as other bytes", name)
			}
			info, err := b.Stat(t.Context(), dir+name)
			if err != nil || info.Size != int64(size) || !info.Mode.IsRegular() {
				t.Errorf("stat %q: %+v, %v", name, info, err)
			}
			var back bytes.Buffer
			if err := b.Pull(t.Context(), dir+name, &back); err != nil || !bytes.Equal(back.Bytes(), data) {
				t.Errorf("pull %q: %d of %d bytes, %v", name, back.Len(), size, err)
			}
		}
		if _, err := b.Stat(t.Context(), dir+"nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stat of nothing: %v", err)
		}
		if err := b.Pull(t.Context(), dir+"nothing", io.Discard); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("pull of nothing: %v", err)
		}
		if err := b.Push(t.Context(), strings.NewReader("x"), "/usr/bin/offproof", 0o644); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("push to where nothing can be written: %v", err)
		}
		if err := b.Push(t.Context(), strings.NewReader("x"), dir+strings.Repeat("x", 256), 0o644); err == nil {
			t.Error("a push to a name that is too long succeeded")
		}
		// A reader that gives its last bytes with the end is what gadb cuts short.
		data := noise(100_000)
		if err := b.Push(t.Context(), &lastWithEOF{data}, dir+"whole", 0o644); err != nil || b.sum(t, dir+"whole") != sumOf(data) {
			t.Errorf("a reader whose last bytes come with the end: %v", err)
		}
		// The genuine client streams as the wire client does.
		local := filepath.Join(t.TempDir(), "big")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		out, err := b.server.Command(ctx, "-s", b.Serial(), "exec-out", "cat "+dir+"big").Output()
		if err != nil || !bytes.Equal(out, noise(32<<20+7)) {
			t.Errorf("exec-out: %d bytes, %v", len(out), err)
		}
		if out, err := b.server.Command(ctx, "-s", b.Serial(), "pull", dir+"big", local).CombinedOutput(); err != nil {
			t.Errorf("adb pull: %v: %s", err, out)
		}
		if got, err := os.ReadFile(local); err != nil || !bytes.Equal(got, out) { //nolint:gosec // The test's own file.
			t.Errorf("adb pull gave %d bytes, %v", len(got), err)
		}
	})
}

// lastWithEOF returns all it has together with the end.
type lastWithEOF struct{ rest []byte }

func (r *lastWithEOF) Read(p []byte) (int, error) {
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// echoes answers each connection with its own bytes, on this machine's loopback.
func echoes(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

// echoed sends a line and reads it back.
func echoed(c net.Conn) error {
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "there and back\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && line != "there and back\n" {
		err = fmt.Errorf("%q came back", line)
	}
	return err
}

// TestTunnels leads connections both ways, and takes the ways back.
func TestTunnels(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		port := echoes(t)
		chosen, err := b.Reverse(t.Context(), 0, port)
		if err != nil || chosen == 0 {
			t.Fatalf("reverse: port %d, %v", chosen, err)
		}
		if fixed, err := b.Reverse(t.Context(), 18080, port); err != nil || fixed != 18080 {
			t.Errorf("reverse of a fixed port: %d, %v", fixed, err)
		}
		for _, p := range []int{chosen, 18080} {
			c, err := b.daemon.Dial(t.Context(), net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			if err != nil {
				t.Fatalf("port %d of the phone: %v", p, err)
			}
			if err := echoed(c); err != nil {
				t.Errorf("through port %d of the phone: %v", p, err)
			}
		}
		list, err := b.ReverseList(t.Context())
		if err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(r devices.Tunnel) bool { return r.DevicePort == 18080 && r.HostPort == port }) {
			t.Errorf("reverses: %+v, %v", list, err)
		}
		for _, p := range []int{chosen, 18080} {
			if err := b.ReverseRemove(t.Context(), p); err != nil {
				t.Errorf("remove: %v", err)
			}
		}
		var refused *adb.FailError
		if err := b.ReverseRemove(t.Context(), 18080); !errors.As(err, &refused) {
			t.Errorf("removing what is not there: %v", err)
		}
		if list, err := b.ReverseList(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("reverses that are left: %+v, %v", list, err)
		}

		var inside net.Listener
		if err := b.daemon.Do(func() (err error) {
			inside, err = net.Listen("tcp", "127.0.0.1:0")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = inside.Close() }()
		go func() {
			for {
				c, err := inside.Accept()
				if err != nil {
					return
				}
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}
		}()
		near := freePort(t)
		if err := b.Forward(t.Context(), near, inside.Addr().(*net.TCPAddr).Port); err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(near)))
		if err != nil {
			t.Fatal(err)
		}
		if err := echoed(c); err != nil {
			t.Errorf("through the forward: %v", err)
		}
		if err := b.ForwardRemove(t.Context(), near); err != nil {
			t.Error(err)
		}
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(near))); err == nil {
			_ = c.Close()
			t.Error("the forward is still there")
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}

// TestServices asks what a daemon on Linux has and what it has not: a service
// that is not there is a typed refusal, and leaves the phone as it was.
func TestServices(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		client := &adb.Client{Addr: b.server.Addr}
		features, err := client.Features(t.Context(), b.Serial())
		if err != nil || !slices.Contains(features, "shell_v2") || !slices.Contains(features, "stat_v2") {
			t.Errorf("features %q, %v", features, err)
		}
		table, err := client.Devices(t.Context())
		if err != nil || len(table) != 1 || table[0].Serial != b.Serial() || table[0].State != "device" {
			t.Errorf("devices: %+v, %v", table, err)
		}
		var refused *adb.FailError
		if err := client.Reboot(t.Context(), b.Serial()); !errors.As(err, &refused) {
			t.Errorf("reboot where there is none: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, service := range []string{"root", "unroot", "remount"} {
			out, err := b.server.Command(ctx, "-s", b.Serial(), service).CombinedOutput()
			if err == nil && service != "remount" {
				t.Errorf("adb %s: %s", service, out)
			}
		}
		if script, err := b.AsRoot(t.Context(), "id -u"); err != nil || script != "id -u" {
			t.Errorf("as root: %q, %v", script, err)
		}
		if state, err := b.State(t.Context()); err != nil || state != devices.StateDevice {
			t.Errorf("afterwards the phone is %s, %v", state, err)
		}
	})
}

// TestGadb does with gadb what devices leaves to it, and more.
func TestGadb(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		host, text, err := net.SplitHostPort(b.server.Addr)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		client, err := gadb.NewClientWith(host, port)
		if err != nil {
			t.Fatal(err)
		}
		list, err := client.DeviceList()
		if err != nil || len(list) != 1 || list[0].Serial() != b.Serial() {
			t.Fatalf("gadb lists %v, %v", list, err)
		}
		phone := list[0]
		if out, err := phone.RunShellCommand("getprop", "ro.product.model"); err != nil || strings.TrimSpace(out) != b.sim.Model() {
			t.Errorf("gadb: getprop says %q, %v; the phone is a %s", out, err, b.sim.Model())
		}
		data := noise(300_000)
		if err := phone.Push(bytes.NewReader(data), "/data/local/tmp/gadb", time.Now(), 0o644); err != nil || b.sum(t, "/data/local/tmp/gadb") != sumOf(data) {
			t.Errorf("gadb: push: %v", err)
		}
		var back bytes.Buffer
		if err := phone.Pull("/data/local/tmp/gadb", &back); err != nil || !bytes.Equal(back.Bytes(), data) {
			t.Errorf("gadb: pull: %d bytes, %v", back.Len(), err)
		}
		if v, err := devices.ServerVersion(t.Context(), b.server.Addr); err != nil || v != 41 {
			t.Errorf("server version %d, %v", v, err)
		}
		if err := devices.Disconnect(t.Context(), b.server.Addr, b.Serial()); err != nil {
			t.Error(err)
		}
		if state, err := b.State(t.Context()); err != nil || state != devices.StateAbsent {
			t.Errorf("disconnected, the phone is %s, %v", state, err)
		}
		again, err := devices.Connect(t.Context(), b.server.Addr, b.Serial())
		if err != nil {
			t.Fatal(err)
		}
		if out, err := again.Output(t.Context(), "echo", "back"); err != nil || out != "back" {
			t.Errorf("connected again: %q, %v", out, err)
		}
	})
}

// TestCableIsPulled breaks the connection under everything that can be under
// way. Nothing that was cut off may look like an end.
func TestCableIsPulled(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		var lost *devices.LostError
		watched := make(chan devices.State, 64)
		watch, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			_ = b.Watch(watch, func(s devices.State) error {
				watched <- s
				return nil
			})
		}()
		if s := <-watched; s != devices.StateDevice {
			t.Fatalf("the watch begins with %s", s)
		}
		stream, err := b.Stream(t.Context(), "echo begun; exec sleep 1000")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stream.Close() }()
		out := bufio.NewReader(stream.Stdout)
		if line, err := out.ReadString('\n'); err != nil || line != "begun\n" {
			t.Fatalf("%q, %v", line, err)
		}
		reader, writer := io.Pipe()
		pushed := make(chan error, 1)
		go func() { pushed <- b.Push(t.Context(), reader, "/data/local/tmp/cut", 0o644) }()
		if _, err := writer.Write(noise(1 << 20)); err != nil {
			t.Fatal(err)
		}
		b.daemon.Cut()
		if _, err := io.Copy(io.Discard, out); !errors.As(err, &lost) {
			t.Errorf("the output ends with %v", err)
		}
		if exit, err := stream.Wait(); !errors.As(err, &lost) {
			t.Errorf("the command ends with %d, %v", exit, err)
		}
		_, _ = writer.Write(noise(1 << 20)) // it may have been given up before
		_ = writer.Close()
		if err := <-pushed; !errors.As(err, &lost) {
			t.Errorf("the push ends with %v", err)
		}
		gone := false
		for !gone {
			select {
			case s := <-watched:
				gone = s != devices.StateDevice
			case <-time.After(patience):
				t.Fatal("the watch did not tell that the phone went")
			}
		}
		// The server connects again by itself; whoever does not wait for it tells it.
		b.connect(t)
		if err := b.WaitOnline(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out, err := b.Output(t.Context(), "echo", "back"); err != nil || out != "back" {
			t.Errorf("after the cable is in again: %q, %v", out, err)
		}
	})
}
