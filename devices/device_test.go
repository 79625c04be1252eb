package devices_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

func TestShellQuotesItsArguments(t *testing.T) {
	d := newPhone(t).device()
	nasty := []string{"a b", "it's", `"$HOME"`, "$(reboot)", "; reboot", "\n", "*", "", "ü"}
	got, err := d.Shell(within(t), append([]string{"printf", `%s\n---\n`}, nasty...)...)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Join(nasty, "\n---\n") + "\n---\n"; string(got.Stdout) != want {
		t.Errorf("got %q, want %q", got.Stdout, want)
	}
}

func TestOutputAndItsErrors(t *testing.T) {
	p := newPhone(t)
	d := p.device()
	if got, err := d.Output(within(t), "echo", " x "); err != nil || got != "x" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := d.Output(within(t), "sh", "-c", "echo wrong >&2; exit 3")
	var exit *devices.ExitError
	if !errors.As(err, &exit) || exit.Exit != 3 || exit.Stderr != "wrong" {
		t.Errorf("got %v, want an *ExitError of 3", err)
	}
	p.during(func(_ int, after bool, _ string) bool { return !after })
	var lost *devices.LostError
	if got, err := d.Output(within(t), "echo", "plausible"); !errors.As(err, &lost) {
		t.Errorf("got %q, %v; want a *LostError", got, err)
	}
}

func TestGateErrorSaysWhatToDo(t *testing.T) {
	p := newPhone(t)
	p.flag("gate", true)
	j, err := devices.OpenJournal(t.TempDir(), p.serial)
	if err != nil {
		t.Fatal(err)
	}
	err = j.Change(within(t), p.device(), devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"})
	var gate *devices.GateError
	if !errors.As(err, &gate) || !strings.Contains(err.Error(), "USB debugging (Security settings)") {
		t.Errorf("got %v, want a *GateError", err)
	}
	// MIUI's input exits with 0 and says so on standard error.
	err = devices.Check("S", devices.Result{Stderr: []byte("java.lang.SecurityException: Injecting to another application requires INJECT_EVENTS permission\n\tat x\n")}, "input")
	if !errors.As(err, &gate) || strings.Contains(gate.Text, "\n") {
		t.Errorf("got %v, want a *GateError of one line", err)
	}
	// A page that merely quotes the words is no refusal.
	if err := devices.Check("S", devices.Result{Stdout: []byte("log: requires INJECT_EVENTS permission")}, "logcat"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestPushAndPull(t *testing.T) {
	d := newPhone(t).device()
	content := bytes.Repeat([]byte("0123456789"), 50_000)
	// A reader that returns data together with its end has lost chunks elsewhere.
	if err := d.Push(within(t), iotest.DataErrReader(bytes.NewReader(content)), "/file", 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.Pull(within(t), "/file", &b); err != nil || !bytes.Equal(b.Bytes(), content) {
		t.Errorf("got %d bytes of %d, %v", b.Len(), len(content), err)
	}
}

func TestInventory(t *testing.T) {
	p := newPhone(t)
	entries, err := devices.Inventory(within(t), []string{p.addr, "127.0.0.1:1"})
	if !errors.Is(err, adb.ErrNoServer) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want ErrNoServer for the second server only", err)
	}
	if len(entries) != 1 || entries[0].Serial != p.serial || entries[0].State != devices.StateDevice || entries[0].Model() != "Redmi_Note_8" || entries[0].Advice() != "" {
		t.Errorf("got %+v", entries)
	}
	if v, err := devices.ServerVersion(within(t), p.addr); err != nil || v != 41 {
		t.Errorf("got %d, %v", v, err)
	}
}

func TestEveryStateHasAdvice(t *testing.T) {
	for _, s := range []devices.State{
		devices.StateUnknown, devices.StateOffline, devices.StateUnauthorized, devices.StateAuthorizing, devices.StateConnecting,
		devices.StateNoPermissions, devices.StateRecovery, devices.StateSideload, devices.StateRescue, devices.StateBootloader,
		devices.StateHost, devices.StateDetached, devices.StateAbsent, "something new",
	} {
		if s.Usable() || s.Advice() == "" {
			t.Errorf("state %q: usable %v, advice %q", s, s.Usable(), s.Advice())
		}
	}
}

func TestClockOffset(t *testing.T) {
	p := newPhone(t)
	p.command("date", "#!/bin/sh\n/bin/date -d '1 hour' \"$@\"\n")
	offset, uncertainty, err := p.device().ClockOffset(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if wrong := (offset - time.Hour).Abs(); wrong > uncertainty || uncertainty <= 0 {
		t.Errorf("got %v ± %v, the truth is 1h", offset, uncertainty)
	}
	p.command("date", "#!/bin/sh\n/bin/date +%s.N\n") // A date that knows no %N.
	offset, uncertainty, err = p.device().ClockOffset(within(t))
	if err != nil || offset.Abs() > uncertainty || uncertainty < time.Second/2 {
		t.Errorf("got %v ± %v, %v; the truth is 0", offset, uncertainty, err)
	}
	p.command("date", "#!/bin/sh\necho bad format\n")
	if _, _, err := p.device().ClockOffset(within(t)); !errors.Is(err, android.ErrFormat) {
		t.Errorf("got %v, want ErrFormat", err)
	}
}

func TestCounters(t *testing.T) {
	p := newPhone(t)
	c, err := p.device().Counters(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Interfaces["lo"]; !ok || c.Before.IsZero() || c.After.Before(c.Before) {
		t.Errorf("got %+v", c)
	}
	p.command("cat", "#!/bin/sh\necho 'cat: denied' >&2; exit 1\n")
	if c, err := p.device().Counters(within(t)); err == nil {
		t.Errorf("counters out of nothing: %+v", c)
	}
}

func TestWatchSockets(t *testing.T) {
	p := newPhone(t)
	// This host's table, in which a busy host has more than any phone; those who
	// listen come first.
	p.command("cat", "#!/bin/sh\n/bin/cat \"$@\" | head -n 3000\n")
	ctx, cancel := context.WithCancel(within(t))
	var tables []android.SocketTable
	err := p.device().WatchSockets(ctx, time.Millisecond, func(table android.SocketTable) {
		if tables = append(tables, table); len(tables) == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
	for _, table := range tables {
		if table.Before.IsZero() || table.After.Before(table.Before) || !slices.Contains(table.Read, "tcp") {
			t.Errorf("half a look: %v to %v, read %v, problems %v", table.Before, table.After, table.Read, table.Problems)
		}
		_, port, _ := strings.Cut(p.addr, ":")
		found := false
		for _, s := range table.Sockets {
			found = found || s.Local.Port() > 0 && strings.HasSuffix(s.Local.String(), ":"+port)
		}
		if !found {
			t.Errorf("the server's own socket %s is not in the table", p.addr)
		}
	}
	p.during(func(_ int, after bool, _ string) bool { return !after })
	var lost *devices.LostError
	p.command("sleep", "#!/bin/sh\nkill $PPID\n")
	if err := p.device().WatchSockets(within(t), time.Millisecond, func(android.SocketTable) {}); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError", err)
	}
}

func TestAsRoot(t *testing.T) {
	p := newPhone(t)
	p.command("id", "#!/bin/sh\necho ${FAKE_UID:-2000}\n")
	p.command("su", "#!/bin/sh\n[ \"$1\" = -c ] || { echo 'su: bad option' >&2; exit 1; }\nFAKE_UID=0 sh -c \"$2\"\n")
	script, err := p.device().AsRoot(within(t), `echo "it's $(id -u)"`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.device().Script(within(t), script)
	if err != nil || string(got.Stdout) != "it's 0\n" {
		t.Errorf("su -c: got %q, %v", got.Stdout, err)
	}
	p.command("su", "#!/bin/sh\n[ \"$1\" = 0 ] || { echo 'su: invalid uid' >&2; exit 1; }\nshift\nFAKE_UID=0 \"$@\"\n")
	if script, err = p.device().AsRoot(within(t), `echo "it's $(id -u)"`); err != nil {
		t.Fatal(err)
	}
	if got, err = p.device().Script(within(t), script); err != nil || string(got.Stdout) != "it's 0\n" {
		t.Errorf("su 0: got %q, %v", got.Stdout, err)
	}
	p.command("su", "#!/bin/sh\necho 'su: not allowed' >&2; exit 1\n")
	var not *devices.NotRootError
	if _, err := p.device().AsRoot(within(t), "true"); !errors.As(err, &not) || !strings.Contains(err.Error(), "not allowed") {
		t.Errorf("got %v, want a *NotRootError", err)
	}
}
