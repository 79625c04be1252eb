package rig_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness/rig"
	"github.com/offproof/offproof/internal/peers"
)

// freePort is a port of loopback on which nothing listens.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

// genuineADB is the host's adb on a port of its own, blind to USB, emulators
// and the network, and its state folder.
func genuineADB(t *testing.T) (program, port string, r *rig.Rig) {
	t.Helper()
	program = peers.Require(t, "adb")
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"ADB_EMU", "ADB_USB", "ADB_MDNS"} {
		t.Setenv(name, "0")
	}
	port = freePort(t)
	t.Cleanup(func() {
		if pid := serverOf(port); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	r = newRig(t, "version: 1\npace: 0.02\nadb: [{server: \"127.0.0.1:"+port+"\"}]\nstate: state\nphones: [{serial: R58M0000000, capture: [proxy]}]\n")
	return program, port, r
}

// newRig is a rig of the farm with that text.
func newRig(t *testing.T, text string) *rig.Rig {
	t.Helper()
	farm, err := rig.Parse(filepath.Join(t.TempDir(), "farm.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(farm)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serverOf is the process of the ADB server on a port, by its command line.
func serverOf(port string) int {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0
	}
	for _, f := range lines {
		b, err := os.ReadFile(f) //nolint:gosec // A file of /proc.
		if err == nil && strings.Contains(string(b), "tcp:"+port+"\x00fork-server") {
			pid, _ := strconv.Atoi(strings.Split(f, "/")[2])
			return pid
		}
	}
	return 0
}

func TestGenuineServerIsStartedWhereOneListenedBefore(t *testing.T) {
	program, port, r := genuineADB(t)
	quiet := slog.New(slog.DiscardHandler)
	if err := r.MendServer(t.Context(), "127.0.0.1:"+port, nil, false, quiet); err == nil || !strings.Contains(err.Error(), "no adb was seen") || serverOf(port) != 0 {
		t.Errorf("a server was started where nobody knows who listens: %v", err)
	}
	for _, args := range [][]string{{"start-server"}, nil, {"kill-server"}} {
		if args == nil {
			if err := r.RecogniseServer("127.0.0.1:" + port); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if out, err := exec.CommandContext(t.Context(), program, append([]string{"-P", port}, args...)...).CombinedOutput(); err != nil { //nolint:gosec // A peer.
			t.Fatalf("%v: %s", err, out)
		}
	}
	for serverOf(port) != 0 {
		wait(t, 10*time.Millisecond)
	}
	// Several programs of the host find it gone at once; one starts it.
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := r.MendServer(t.Context(), "127.0.0.1:"+port, nil, false, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if v, err := devices.ServerVersion(t.Context(), "127.0.0.1:"+port); err != nil || v < 40 {
		t.Errorf("version %d, %v", v, err)
	}
	// A server that answers is never ended, whatever the caller believes.
	pid := serverOf(port)
	if err := r.MendServer(t.Context(), "127.0.0.1:"+port, nil, true, quiet); err != nil {
		t.Error(err)
	}
	if now := serverOf(port); now != pid || pid == 0 {
		t.Errorf("the server was process %d and is %d", pid, now)
	}
}

func TestGenuineServerThatHasHungIsEndedAndNoOther(t *testing.T) {
	program, port, r := genuineADB(t)
	other := freePort(t)
	for _, p := range []string{port, other} {
		if out, err := exec.CommandContext(t.Context(), program, "-P", p, "start-server").CombinedOutput(); err != nil { //nolint:gosec // A peer.
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := r.RecogniseServer("127.0.0.1:" + port); err != nil {
		t.Fatal(err)
	}
	neighbour := serverOf(other)
	t.Cleanup(func() { _ = syscall.Kill(neighbour, syscall.SIGKILL) })
	hung := serverOf(port)
	if hung == 0 || neighbour == 0 {
		t.Fatal("the servers are not found")
	}
	if err := syscall.Kill(hung, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d := devices.Open("127.0.0.1:"+port, "R58M0000000")
	if a, err := d.Look(t.Context(), 2*time.Second); a != devices.ServerSilent {
		t.Fatalf("a stopped server is taken for %q: %v", a, err)
	}
	var log bytes.Buffer
	if err := r.MendServer(t.Context(), "127.0.0.1:"+port, nil, true, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	if v, err := devices.ServerVersion(t.Context(), "127.0.0.1:"+port); err != nil || v < 40 {
		t.Errorf("version %d, %v", v, err)
	}
	if now := serverOf(port); now == hung || now == 0 {
		t.Errorf("the server was process %d and is %d", hung, now)
	}
	if serverOf(other) != neighbour {
		t.Error("another server of the host was ended")
	}
	if !strings.Contains(log.String(), "every phone of it is lost") {
		t.Errorf("the log does not say what that means for others: %s", log.String())
	}
}

// TestOnlyAnADBServerIsEnded has another program listen and say nothing.
func TestOnlyAnADBServerIsEnded(t *testing.T) {
	t.Parallel()
	peers.Require(t, "adb")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // The test ends.
	r := newRig(t, "version: 1\npace: 0.02\nstate: state\nphones: [{serial: R58M0000000, capture: [proxy]}]\n")
	if err := r.RecogniseServer(ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if err := r.MendServer(t.Context(), ln.Addr().String(), nil, true, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "no adb was seen") {
		t.Errorf("this program was taken for an adb: %v", err)
	}
	// An adb listened there once.
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := os.WriteFile(filepath.Join(r.Farm.State, "servers", "adb-on-"+port), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err = r.MendServer(t.Context(), ln.Addr().String(), nil, true, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "no adb:") {
		t.Errorf("got %v", err)
	}
}

func TestRemoteServerIsLeftToItsHook(t *testing.T) {
	t.Parallel()
	r := newRig(t, "version: 1\npace: 0.02\nstate: state\nphones: [{serial: R58M0000000, capture: [proxy]}]\n")
	const remote = "192.0.2.1:5037" // TEST-NET-1: nobody is there
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := r.MendServer(ctx, remote, nil, false, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "server: hook") {
		t.Errorf("without a hook: %v", err)
	}
	ran := errors.New("the hook ran")
	if err := r.MendServer(ctx, remote, func(context.Context) error { return ran }, false, slog.New(slog.DiscardHandler)); !errors.Is(err, ran) {
		t.Errorf("with a hook: %v", err)
	}
}
