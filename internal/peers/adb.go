package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// An ADB is a genuine ADB server of the test's own, and the client that goes
// with it. It sees no phone but those that it is told to connect to.
type ADB struct {
	// Addr is host:port of the server.
	Addr string

	program []string // with the arguments that come before any other
	port    string
	env     []string
	own     []string // of env, what differs from the test's own
	process *os.Process
	ended   chan struct{} // closed when the process has ended
}

// NewADB starts a server, and ends it when the test ends. Where adb is missing
// it skips the test, or fails it when OFFPROOF_REQUIRE_PEERS=1.
func NewADB(t testing.TB) *ADB {
	t.Helper()
	return newADB(t, []string{Require(t, "adb")})
}

// NewTrixieADB is NewADB with the adb 34 of Debian trixie, which .ci/adbd
// fetches.
func NewTrixieADB(t testing.TB) *ADB {
	t.Helper()
	return newADB(t, requireTrixie(t).command("", "usr/lib/android-sdk/platform-tools/adb"))
}

func newADB(t testing.TB, program []string) *ADB {
	t.Helper()
	a := &ADB{program: program}
	// A home of its own, because the server keeps its key there; no phones on
	// USB, no emulators and no network, because they are somebody's.
	a.own = []string{"HOME=" + t.TempDir(), "ADB_USB=0", "ADB_EMU=0", "ADB_MDNS=0", "ADB_TRACE="}
	a.env = append(os.Environ(), a.own...)
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A port that is free now.
	if err != nil {
		t.Fatal(err)
	}
	a.Addr = ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, a.port, err = net.SplitHostPort(a.Addr); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	return a
}

// start runs the server as a child, so that nothing of it outlives the test.
func (a *ADB) start(t testing.TB) {
	t.Helper()
	// Without -a it listens on loopback only; version 29 takes no address in -L.
	cmd := a.Command(context.WithoutCancel(t.Context()), "nodaemon", "server")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var failure error
	ended := make(chan struct{})
	a.process, a.ended = cmd.Process, ended
	go func() {
		failure = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		_ = a.Command(ctx, "kill-server").Run() // it may have been ended before
		select {
		case <-ended:
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-ended
			t.Errorf("the ADB server on port %s did not end when asked to", a.port)
		}
		if t.Failed() && said.Len() > 0 {
			t.Logf("the ADB server said:\n%s", said.String())
		}
	})
	for end := time.Now().Add(30 * time.Second); !answers(t.Context(), a.Addr); {
		select {
		case <-ended:
			t.Fatalf("the ADB server ended: %v: %s", failure, said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatal("the ADB server does not answer")
		}
	}
}

// answers reports whether an ADB server says its version.
func answers(ctx context.Context, addr string) bool {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // Nothing more is said.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	const request = "host:version"
	if _, err := fmt.Fprintf(conn, "%04x%s", len(request), request); err != nil {
		return false
	}
	var answer [4]byte
	_, err = io.ReadFull(conn, answer[:])
	return err == nil && string(answer[:]) == "OKAY"
}

// Env is what a program needs in its environment so that an ADB server that it
// starts is as private as this one.
func (a *ADB) Env() []string { return slices.Clone(a.own) }

// Kill ends the server without a word to anybody, and returns when it has gone.
// One that somebody starts in its place is ended with the test.
func (a *ADB) Kill(t testing.TB) {
	t.Helper()
	if err := a.process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-a.ended
}

// Command is the client with arguments, such as "-s", serial, "shell", "id". It
// asks this server and no other.
func (a *ADB) Command(ctx context.Context, args ...string) *exec.Cmd {
	args = slices.Concat(a.program[1:], []string{"-P", a.port}, args)
	cmd := exec.CommandContext(ctx, a.program[0], args...)
	cmd.Env = a.env
	return cmd
}
