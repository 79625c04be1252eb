package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/internal/peers"
)

// An adbClient is the genuine adb, for one phone.
type adbClient struct {
	t       testing.TB
	command func(ctx context.Context, args ...string) *exec.Cmd
	serial  string
}

// genuine is the client at the simulated server.
func genuine(t testing.TB, w *sim.World, serial string) adbClient {
	t.Helper()
	program, home := peers.Require(t, "adb"), t.TempDir()
	host, port, err := net.SplitHostPort(w.ADB())
	if err != nil {
		t.Fatal(err)
	}
	return adbClient{t, func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, program, append([]string{"-H", host, "-P", port, "-s", serial}, args...)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "ADB_MDNS=0")
		return cmd
	}, serial}
}

// connected is the client at a genuine server that has connected to the phone,
// with its key allowed.
func connected(t testing.TB, server *peers.ADB, p *sim.Phone) adbClient {
	t.Helper()
	a := adbClient{t, func(ctx context.Context, args ...string) *exec.Cmd {
		return server.Command(ctx, append([]string{"-s", p.Transport()}, args...)...)
	}, p.Transport()}
	a.run("connect", p.Transport())
	a.run("wait-for-device")
	return a
}

// byBothDoors runs a test with the client at the simulated server, and at a
// genuine one that has connected to the phones.
func byBothDoors(t *testing.T, phones int, test func(t *testing.T, w *sim.World, p *sim.Phone, a adbClient)) {
	t.Helper()
	t.Run("simulated server", func(t *testing.T) {
		w := start(t, sim.Config{Phones: make([]sim.PhoneConfig, phones), Pace: 0.01})
		p := w.Phones()[phones-1]
		test(t, w, p, genuine(t, w, p.Serial()))
	})
	t.Run("genuine server", func(t *testing.T) {
		server := peers.NewADB(t)
		w := start(t, sim.Config{Phones: make([]sim.PhoneConfig, phones), Pace: 0.01, Transport: server.Addr})
		var a adbClient
		for _, p := range w.Phones() {
			a = connected(t, server, p)
		}
		test(t, w, w.Phones()[phones-1], a)
	})
}

// try runs adb and returns what it wrote and its exit status.
func (a adbClient) try(args ...string) (stdout, stderr string, code int) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	cmd := a.command(ctx, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		a.t.Fatalf("adb %q: %v: %s%s", args, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (a adbClient) run(args ...string) string {
	a.t.Helper()
	out, errs, code := a.try(args...)
	if code != 0 {
		a.t.Fatalf("adb %q: exit status %d: %s%s", args, code, out, errs)
	}
	return out
}

// TestGenuineADB drives a phone with the genuine client.
func TestGenuineADB(t *testing.T) { byBothDoors(t, 2, testADB) }

func testADB(t *testing.T, _ *sim.World, _ *sim.Phone, a adbClient) {
	if out := a.run("devices", "-l"); !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(a.serial) + ` +device (usb:1-2 )?product:ginkgo model:Redmi_Note_8 device:ginkgo transport_id:2$`).MatchString(out) {
		t.Errorf("devices -l:\n%s", out)
	}
	if out, errs, code := a.try("shell", "echo out; echo err >&2; exit 7"); out != "out\n" || errs != "err\n" || code != 7 {
		t.Errorf("shell: %q, %q, %d", out, errs, code)
	}
	for want, args := range map[string][]string{
		"device\n": {"get-state"}, a.serial + "\n": {"get-serialno"}, "shell_v2\n": {"features"}, "Redmi Note 8\n": {"shell", "getprop", "ro.product.model"},
		"adbd is already running as root\n": {"root"}, "": {"wait-for-device"}, "uid=0(root)": {"shell", "id"},
		"--------- beginning of main\n": {"logcat", "-d"}, "remount succeeded\n": {"remount"},
		"UI hierchary dumped to: /sdcard/window_dump.xml\n": {"shell", "uiautomator", "dump"},
	} {
		if out := a.run(args...); !strings.Contains(out, want) {
			t.Errorf("%q: %q, wanted %q", args, out, want)
		}
	}
	if out := a.run("shell", "settings get global x; settings put global x 'a b'; settings get global x; settings delete global x; settings get global x"); out != "null\na b\nDeleted 1 rows\nnull\n" {
		t.Errorf("settings: %q", out)
	}
	picture, err := png.Decode(strings.NewReader(a.run("exec-out", "screencap", "-p")))
	if err != nil || picture.Bounds().Dx() != 1080 || picture.Bounds().Dy() != 2340 {
		t.Errorf("screencap: %v", err)
	}
	if out := a.run("shell", "cat /sdcard/window_dump.xml"); !strings.Contains(out, "<hierarchy") {
		t.Errorf("dump: %.100q", out)
	}

	dir := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	for name, data := range map[string][]byte{"big": big, "empty": nil, "run.sh": []byte("#!/system/bin/sh\necho ran $1\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o700); err != nil { //nolint:gosec // A script of the test's own folder.
			t.Fatal(err)
		}
	}
	a.run("push", dir, "/data/local/tmp/deep/er")
	a.run("pull", "/data/local/tmp/deep/er", dir)
	if got, err := os.ReadFile(filepath.Join(dir, "er", "big")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("pulled %d bytes, %v", len(got), err)
	}
	if out := a.run("shell", "/data/local/tmp/deep/er/run.sh now"); out != "ran now\n" {
		t.Errorf("a pushed script: %q", out)
	}
	if out, errs, code := a.try("push", filepath.Join(dir, "big"), "/system/big"); code == 0 || !strings.Contains(out+errs, "Read-only file system") {
		t.Errorf("push to /system: %q %q %d", out, errs, code)
	}
	if out, errs, code := a.try("pull", "/nowhere", dir); code == 0 || !strings.Contains(out+errs, "No such file or directory") {
		t.Errorf("pull of nothing: %q %q %d", out, errs, code)
	}
	if out := a.run("ls", "/data/local/tmp/deep/er"); strings.Count(out, "\n") < 3 || !strings.Contains(out, "0009c400 ") {
		t.Errorf("ls: %q", out)
	}
}

// TestGenuineTunnels carries traffic through the genuine client's reverse and
// forward.
func TestGenuineTunnels(t *testing.T) { byBothDoors(t, 2, testTunnels) }

func testTunnels(t *testing.T, _ *sim.World, _ *sim.Phone, a adbClient) {
	host := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(rw, "host saw %s", r.URL.Path)
	}))
	defer host.Close()
	_, port, _ := net.SplitHostPort(host.Listener.Addr().String())
	if out := a.run("reverse", "tcp:8080", "tcp:"+port); out != "8080\n" {
		t.Errorf("reverse says %q", out)
	}
	if out := a.run("reverse", "--list"); !strings.Contains(out, "tcp:8080 tcp:"+port) {
		t.Errorf("reverse --list: %q", out)
	}
	// The blank keeps standard input open: ADB knows no half-closed streams.
	out := a.run("shell", `(printf 'GET /from/phone HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n'; sleep 0.3) | nc 127.0.0.1 8080`)
	if !strings.HasSuffix(out, "host saw /from/phone") {
		t.Errorf("through the reverse came %q", out)
	}
	local := strings.TrimSpace(a.run("forward", "tcp:0", "tcp:8080"))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+local+"/round/trip", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || string(b) != "host saw /round/trip" {
		t.Errorf("through the forward came %q, %v", b, err)
	}
	if out := a.run("forward", "--list"); !strings.Contains(out, a.serial+" tcp:"+local+" tcp:8080") {
		t.Errorf("forward --list: %q", out)
	}
	a.run("forward", "--remove", "tcp:"+local)
	a.run("reverse", "--remove", "tcp:8080")
	if out := a.run("forward", "--list") + a.run("reverse", "--list"); strings.Contains(out, "tcp:") {
		t.Errorf("tunnels are left: %q", out)
	}
	if _, errs, code := a.try("reverse", "--remove", "tcp:8080"); code == 0 || !strings.Contains(errs, "not found") {
		t.Errorf("removing twice: %q, %d", errs, code)
	}
}

// TestGenuineStates sees what the genuine client says of phones that are lost.
func TestGenuineStates(t *testing.T) {
	w := start(t, sim.Config{Pace: 0.01})
	p := w.Phones()[0]
	a := genuine(t, w, p.Serial())
	for fault, want := range map[string]string{"unauthorized": "device unauthorized", "offline": "device offline", "unplug": "not found"} {
		if err := p.Fault(t.Context(), fault, ""); err != nil {
			t.Fatal(err)
		}
		if _, errs, code := a.try("shell", "true"); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: adb says %q, status %d", fault, errs, code)
		}
		if out := a.run("devices"); fault != "unplug" != strings.Contains(out, p.Serial()+"\t"+fault) {
			t.Errorf("%s: devices says %q", fault, out)
		}
	}
	waiting := make(chan int, 1)
	go func() {
		_, _, code := a.try("wait-for-device", "shell", "exit 3")
		waiting <- code
	}()
	time.Sleep(50 * time.Millisecond)
	if err := p.Fault(t.Context(), "plug", ""); err != nil {
		t.Fatal(err)
	}
	if code := <-waiting; code != 3 {
		t.Errorf("wait-for-device ended with %d", code)
	}
	a.run("reboot")
	a.run("wait-for-device")
	until(t, "Android has started", func() bool { return a.run("shell", "getprop sys.boot_completed") == "1\n" })
	a.run("kill-server")
	until(t, "the server is gone", func() bool {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", w.ADB())
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	if err := w.StartADB(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := a.run("get-state"); out != "device\n" {
		t.Errorf("after the server's restart: %q", out)
	}
}

// TestGenuineCapture streams the phone's tcpdump through the genuine client
// while its browser searches, and has tshark judge the packets.
func TestGenuineCapture(t *testing.T) { byBothDoors(t, 1, testCapture) }

func testCapture(t *testing.T, w *sim.World, p *sim.Phone, a adbClient) {
	tshark := peers.Require(t, "tshark")
	file := filepath.Join(t.TempDir(), "phone.pcap")
	pcap, err := os.Create(file) //nolint:gosec // The test's own folder.
	if err != nil {
		t.Fatal(err)
	}
	defer pcap.Close() //nolint:errcheck // It is read by its name.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := a.command(ctx, "shell", "echo $$ >&2; exec tcpdump -i wlan0 -U -s 0 -n -w -")
	var said syncBuffer
	cmd.Stdout, cmd.Stderr = pcap, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "tcpdump listens", func() bool { return strings.Contains(said.String(), "listening on wlan0") })
	h := hand{t, w, p.Serial()}
	h.begin()
	h.search("captured words")
	until(t, "the collector is told", func() bool { return len(told(t, w, p.Serial())) > 0 })
	pid, _, _ := strings.Cut(said.String(), "\n")
	a.run("shell", "kill", "-INT", pid)
	if err := cmd.Wait(); err != nil {
		t.Errorf("tcpdump ended with %v", err)
	}
	m := regexp.MustCompile(`(\d+) packets captured\n(\d+) packets received by filter\n(0) packets dropped by kernel\n$`).FindStringSubmatch(said.String())
	if m == nil {
		t.Fatalf("tcpdump said %q", said.String())
	}
	read := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(ctx, tshark, append([]string{"-r", file, "-n"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if n := strings.Count(read(), "\n"); fmt.Sprint(n) != m[1] {
		t.Errorf("tshark reads %d packets, tcpdump captured %s", n, m[1])
	}
	bad := read("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-Y",
		"_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || udp.checksum.status == 0 || tcp.analysis.lost_segment")
	if bad != "" {
		t.Errorf("tshark finds fault with:\n%s", bad)
	}
	names := read("-Y", "tls.handshake.extensions_server_name", "-T", "fields", "-e", "tls.handshake.extensions_server_name")
	for _, want := range []string{"sa.api.intl.miui.com\n", "www.google.com\n"} {
		if !strings.Contains(names, want) {
			t.Errorf("no handshake with %q in %q", want, names)
		}
	}
}
