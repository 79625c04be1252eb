// Each command of Android's is this very program, started anew, which takes the
// race detector most of a second.

//go:build !race

package adbdtest_test

import (
	"maps"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
)

// TestUserland sees that what the daemon runs acts on the simulated phone.
func TestUserland(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		id, err := b.Identity(t.Context())
		if err != nil || id.Model != b.sim.Model() {
			t.Errorf("identity %+v, %v; the phone is a %s", id, err, b.sim.Model())
		}
		// The genuine shell feeds one of Android's programs into a genuine one.
		if out, err := b.Script(t.Context(), "getprop | grep -c '^\\[ro\\.'; settings get global nothing; getprop ro.build.version.sdk >/data/local/tmp/sdk; cat /data/local/tmp/sdk"); err != nil || out.Exit != 0 || len(out.Stderr) > 0 {
			t.Errorf("in a pipe: %q %q %d, %v", out.Stdout, out.Stderr, out.Exit, err)
		}
		r, err := b.Shell(t.Context(), "pm", "path", "no.such.app")
		if err != nil || r.Exit == 0 {
			t.Errorf("a program's exit status was lost: %+v, %v", r, err)
		}
		if r, err := b.Script(t.Context(), "screencap -p"); err != nil || len(r.Stdout) < 8 || string(r.Stdout[:8]) != "\x89PNG\r\n\x1a\n" {
			t.Errorf("screencap: %d bytes, %v", len(r.Stdout), err)
		}
	})
}

// TestJournal changes settings through the genuine daemon and puts them back,
// with the cable pulled between change and undo.
func TestJournal(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		dir := t.TempDir()
		before := b.sim.Settings()
		j, err := devices.OpenJournal(dir, b.Serial())
		if err != nil {
			t.Fatal(err)
		}
		port := echoes(t)
		for _, c := range []devices.Undoable{
			devices.AddReverse{DevicePort: 8080, HostPort: port},
			devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"},
			devices.PutSetting{Namespace: "system", Key: "screen_off_timeout", Value: "1800000"},
			devices.PutSetting{Namespace: "secure", Key: "it_was_not_there", Value: "it's \"quoted\" $HOME"},
		} {
			if err := j.Change(t.Context(), b.Device, c); err != nil {
				t.Fatal(err)
			}
		}
		if now := b.sim.Settings(); maps.Equal(now, before) {
			t.Fatal("nothing was changed in the phone")
		}
		b.daemon.Cut()
		b.connect(t)
		// The next program knows only what stands in the file.
		if j, err = devices.OpenJournal(dir, b.Serial()); err != nil || len(j.Pending()) != 4 {
			t.Fatalf("%d changes are known, %v", len(j.Pending()), err)
		}
		j.Settle = time.Millisecond
		if err := j.Undo(t.Context(), b.Device); err != nil {
			t.Fatal(err)
		}
		if after := b.sim.Settings(); !maps.Equal(after, before) {
			t.Errorf("left changed: %v, were %v", after, before)
		}
		if list, err := b.ReverseList(t.Context()); err != nil || len(list) > 0 {
			t.Errorf("reverses that are left: %+v, %v", list, err)
		}
	})
}
