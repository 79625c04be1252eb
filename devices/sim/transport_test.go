package sim_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/internal/peers"
)

// attach starts a genuine server and a world whose phones it has connected to.
func attach(t testing.TB, cfg sim.Config) (*peers.ADB, *sim.World, []adbClient) {
	t.Helper()
	server := peers.NewADB(t)
	cfg.Transport = server.Addr
	w := start(t, cfg)
	var clients []adbClient
	for _, p := range w.Phones() {
		clients = append(clients, connected(t, server, p))
	}
	return server, w, clients
}

// listed waits until the genuine server says of the phone what is wanted.
func (a adbClient) listed(state string) {
	a.t.Helper()
	line := a.serial + "\t" + state + "\n"
	until(a.t, "the server lists "+a.serial+" as "+state, func() bool {
		out := a.run("devices")
		return strings.Contains(out, line) || state == "" && !strings.Contains(out, a.serial)
	})
}

// reconnect is what somebody does who will not wait for the server's next try,
// which comes 10 s after one that failed.
func (a adbClient) reconnect() {
	a.t.Helper()
	until(a.t, "the server connects to "+a.serial, func() bool {
		_, _, _ = a.try("disconnect", a.serial)
		return strings.HasPrefix(a.run("connect", a.serial), "connected to")
	})
}

// TestGenuineServerSeesStates breaks a phone, whose every state the server tells
// and the daemon means.
func TestGenuineServerSeesStates(t *testing.T) {
	_, w, clients := attach(t, sim.Config{Phones: make([]sim.PhoneConfig, 2), Pace: 0.01})
	p, a, other := w.Phones()[0], clients[0], clients[1]
	fault := func(name string) {
		t.Helper()
		if err := p.Fault(t.Context(), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"unauthorized": "device unauthorized", "offline": "device offline"} {
		fault(name)
		a.listed(name)
		if _, errs, code := a.try("shell", "true"); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%s: adb says %q, status %d", name, errs, code)
		}
		fault("online")
		a.listed("device")
		if out := a.run("shell", "echo back"); out != "back\n" {
			t.Errorf("after %s: %q", name, out)
		}
	}
	// What runs when the phone goes is cut off.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	running := a.command(ctx, "shell", "echo begun; sleep 1000")
	var said syncBuffer
	running.Stdout = &said
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the command runs", func() bool { return said.String() == "begun\n" })
	a.run("reverse", "tcp:8080", "tcp:9")
	fault("unplug")
	// The genuine client takes a lost phone for success, so only its end counts.
	if err := running.Wait(); ctx.Err() != nil {
		t.Errorf("a command on a phone that was unplugged goes on: %v", err)
	}
	if r := p.Reverses(); len(r) > 0 {
		t.Errorf("reverses %q are left", r)
	}
	a.listed("offline")
	fault("plug")
	a.reconnect()
	a.listed("device")

	a.run("reboot", "recovery")
	until(t, "the phone is in recovery", func() bool { return p.State() == "recovery" })
	a.reconnect()
	a.listed("recovery")
	if _, errs, code := a.try("shell", "true"); code == 0 {
		t.Errorf("a shell in recovery: %q", errs)
	}
	a.run("reboot")
	until(t, "the phone is back", func() bool { return p.State() == "device" })
	a.reconnect()
	a.listed("device")
	until(t, "Android has started", func() bool { return a.run("shell", "getprop sys.boot_completed") == "1\n" })
	other.listed("device")
}

// TestGenuineServerReconnects sees a phone that rebooted come back by itself.
func TestGenuineServerReconnects(t *testing.T) {
	t.Parallel()
	_, w, clients := attach(t, sim.Config{Pace: 0.01})
	a := clients[0]
	a.run("shell", "settings put global kept yes; mkdir /data/local/tmp/kept")
	a.run("reverse", "tcp:8080", "tcp:9")
	begun := time.Now()
	a.run("reboot")
	a.listed("offline")
	a.listed("device")
	t.Logf("back after %v", time.Since(begun).Round(time.Millisecond))
	until(t, "Android has started", func() bool { return a.run("shell", "getprop sys.boot_completed") == "1\n" })
	if out := a.run("shell", "settings get global kept; ls -d /data/local/tmp/kept"); out != "yes\n/data/local/tmp/kept\n" {
		t.Errorf("after the reboot: %q", out)
	}
	if out := a.run("reverse", "--list"); strings.Contains(out, "tcp:") || len(w.Phones()[0].Reverses()) > 0 {
		t.Errorf("a reverse connection outlived the reboot: %q", out)
	}
}

// TestBothDoorsAreOnePhone uses one phone by both servers at a time.
func TestBothDoorsAreOnePhone(t *testing.T) {
	_, w, clients := attach(t, sim.Config{Pace: 0.01})
	p, far := w.Phones()[0], clients[0]
	near := genuine(t, w, p.Serial())
	far.run("shell", "settings put global x 1")
	if out := near.run("shell", "settings get global x"); out != "1\n" {
		t.Errorf("the other door reads %q", out)
	}
	far.run("reverse", "tcp:8080", "tcp:9")
	if out := near.run("reverse", "--list"); !strings.Contains(out, "tcp:8080 tcp:9") {
		t.Errorf("the other door lists %q", out)
	}
	near.run("reverse", "tcp:8081", "tcp:9")
	far.run("disconnect", far.serial)
	until(t, "the connection's reverse is gone", func() bool { return strings.Join(p.Reverses(), ",") == "tcp:8081 tcp:9" })
	if out := near.run("get-state"); out != "device\n" {
		t.Errorf("at the other door the phone is %q", out)
	}
}

// TestBytesThroughGenuineServer carries files and streams of many bytes in both
// directions, which stay what they are.
func TestBytesThroughGenuineServer(t *testing.T) {
	t.Parallel()
	_, _, clients := attach(t, sim.Config{Pace: 0.01})
	a := clients[0]
	data := make([]byte, 8<<20)
	_, _ = rand.Read(data) // never fails
	sum := sha256.Sum256(data)
	want := hex.EncodeToString(sum[:])
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	onPhone := func(name string) string {
		t.Helper()
		hash, _, _ := strings.Cut(a.run("shell", "sha256sum", name), " ")
		return hash
	}
	a.run("push", file, "/data/local/tmp/pushed")
	if got := onPhone("/data/local/tmp/pushed"); got != want {
		t.Errorf("pushed: %s, wanted %s", got, want)
	}
	a.run("pull", "/data/local/tmp/pushed", file+".back")
	if got, err := os.ReadFile(file + ".back"); err != nil || !bytes.Equal(got, data) {
		t.Errorf("pulled %d other bytes, %v", len(got), err)
	}
	for _, how := range []string{"exec-out", "shell"} {
		if got := a.run(how, "cat", "/data/local/tmp/pushed"); got != string(data) {
			t.Errorf("%s: %d bytes, which are not those pushed", how, len(got))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	in := a.command(ctx, "exec-in", "cat > /data/local/tmp/streamed; echo > /data/local/tmp/done")
	in.Stdin = bytes.NewReader(data)
	if out, err := in.CombinedOutput(); err != nil {
		t.Fatalf("exec-in: %v: %s", err, out)
	}
	until(t, "the phone has read everything", func() bool {
		_, _, code := a.try("shell", "test -e /data/local/tmp/done")
		return code == 0
	})
	if got := onPhone("/data/local/tmp/streamed"); got != want {
		t.Errorf("streamed in: %s, wanted %s", got, want)
	}
	// An app is streamed too, and what is none is refused.
	if out, errs, code := a.try("install", withSuffix(t, file, ".apk")); code == 0 || !strings.Contains(out+errs, "INSTALL_PARSE_FAILED") {
		t.Errorf("install: %q %q %d", out, errs, code)
	}
	if out := a.run("install", "../testdata/helloworld.apk"); !strings.Contains(out, "Success") {
		t.Errorf("install: %q", out)
	}
	if out := a.run("shell", "pm", "list", "packages", "helloworld"); out != "package:com.example.helloworld\n" {
		t.Errorf("installed: %q", out)
	}
	if out := a.run("uninstall", "com.example.helloworld"); !strings.Contains(out, "Success") {
		t.Errorf("uninstall: %q", out)
	}
	if out := a.run("shell", "pm", "list", "packages", "helloworld"); out != "" {
		t.Errorf("uninstalled: %q", out)
	}
	// A person's shell: input comes as it is typed, and the status at its end.
	person := a.command(ctx, "shell", "-tt")
	person.Stdin = strings.NewReader("echo $((6*7))\nexit 5\n")
	out, err := person.Output()
	if person.ProcessState.ExitCode() != 5 || !strings.Contains(string(out), "42") {
		t.Errorf("an interactive shell: %q, %v", out, err)
	}
}

func withSuffix(t testing.TB, file, suffix string) string {
	t.Helper()
	if err := os.Link(file, file+suffix); err != nil {
		t.Fatal(err)
	}
	return file + suffix
}

// BenchmarkGenuineServer streams out of a phone through a genuine server.
func BenchmarkGenuineServer(b *testing.B) {
	_, _, clients := attach(b, sim.Config{Pace: 0.01})
	const size = 32 << 20
	clients[0].run("shell", "dd if=/dev/zero of=/data/local/tmp/big bs=1048576 count=32")
	b.SetBytes(size)
	for b.Loop() {
		if n := len(clients[0].run("exec-out", "cat", "/data/local/tmp/big")); n != size {
			b.Fatalf("%d bytes, wanted %d", n, size)
		}
	}
}
