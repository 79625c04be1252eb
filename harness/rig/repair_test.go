package rig_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
)

// A bench is a simulated farm of two phones of which one is listed, with hooks
// that reach its control door as a command reaches a USB hub.
type bench struct {
	w        *sim.World
	ours     *sim.Phone
	second   *sim.Phone // listed too, where the test asks for it
	stranger *sim.Phone
	before   string
	rig      *rig.Rig

	mu       sync.Mutex
	requests []string
}

func (b *bench) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "adb request" && a.Key == "service" {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.requests = append(b.requests, a.Value.String())
		}
		return true
	})
	return nil
}
func (b *bench) Enabled(context.Context, slog.Level) bool { return true }
func (b *bench) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *bench) WithGroup(string) slog.Handler            { return b }

// newBench starts a farm whose hooks do what their urls say, {control} standing
// for the control door and {ours} for the listed phone.
func newBench(t *testing.T, addr string, hooks map[string][]string) *bench {
	t.Helper()
	return newBenchOf(t, addr, 1, hooks)
}

// newBenchOf is newBench with a number of listed phones.
func newBenchOf(t *testing.T, addr string, listed int, hooks map[string][]string) *bench {
	t.Helper()
	b := &bench{}
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), ADB: addr, Phones: make([]sim.PhoneConfig, listed+1), Log: slog.New(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.untouched(t)
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	b.w, b.ours, b.second, b.stranger = w, w.Phones()[0], w.Phones()[1], w.Phones()[listed]
	b.before = fmt.Sprint(b.stranger.Truth())
	text := fmt.Sprintf("version: 1\nadb: [{server: %q}]\npace: 0.02\nstate: state\nphones:\n", w.ADB())
	for _, p := range w.Phones()[:listed] {
		text += fmt.Sprintf("  - {serial: %q, note: shelf 2, capture: [tcpdump]}\n", p.Serial())
	}
	if len(hooks) > 0 {
		text += "hooks:\n"
	}
	for name, args := range hooks {
		words := hook(t, name, args...).Command
		for i := range words {
			words[i] = strings.NewReplacer("{control}", "http://"+w.Control(), "{ours}", b.ours.Serial()).Replace(words[i])
		}
		text += fmt.Sprintf("  %s: [%q", name, words[0])
		for _, word := range words[1:] {
			text += fmt.Sprintf(", %q", word)
		}
		text += "]\n"
	}
	b.rig = newRig(t, text)
	b.rig.Repair = true
	return b
}

// untouched fails when the phone that is not listed was asked for anything.
func (b *bench) untouched(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		for _, bad := range []string{b.stranger.Serial(), "host:transport-any", "host:reconnect", "host:kill", "host:disconnect"} {
			if strings.Contains(r, bad) {
				t.Errorf("the server was asked for %q", r)
			}
		}
	}
	if after := fmt.Sprint(b.stranger.Truth()); after != b.before {
		t.Errorf("the phone that is not listed was %s and is %s", b.before, after)
	}
}

func (b *bench) fault(t *testing.T, name, arg string) {
	t.Helper()
	if err := b.ours.Fault(t.Context(), name, arg); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) lease(t *testing.T) (*rig.Lease, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return b.rig.Lease(ctx, b.ours.Serial())
}

// runLog is what a run that begins now has in its log.
func runLog(t *testing.T, l *rig.Lease) string {
	t.Helper()
	run, err := evidence.Create(t.TempDir(), "run", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := l.Phone(run, rig.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

const (
	replug   = "{control}/phones/{serial}/faults/replug"
	startADB = "{control}/adb/start"
)

func TestLeaseMendsThePhoneItGets(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		addr  string // of the ADB server; what is not 127.0.0.1 is another host's
		fault string
		hooks map[string][]string
		says  []string // in the log of the run that follows
	}{
		"by the power of its USB port":      {fault: "unplug", hooks: map[string][]string{rig.HookPower: {"post", replug}}, says: []string{"take the USB port's power", "hook starts", "replug"}},
		"by a new connection":               {fault: "stale", says: []string{"reconnect"}},
		"by starting its server":            {fault: "adb-down", hooks: map[string][]string{rig.HookServer: {"post", startADB}}, says: []string{"start the ADB server"}},
		"by starting its server elsewhere":  {addr: "127.0.0.2:0", fault: "adb-down", hooks: map[string][]string{rig.HookServer: {"post", startADB}}, says: []string{"start the ADB server"}},
		"by waiting for it to have started": {fault: "reboot"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.addr, c.hooks)
			// A first lease makes the phone one that was seen here before.
			first, err := b.lease(t)
			if err != nil {
				t.Fatal(err)
			}
			if err := first.Release(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.fault(t, c.fault, "")
			l, err := b.lease(t)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := l.Device.Output(t.Context(), "getprop", "ro.product.device"); err != nil || out != "ginkgo" {
				t.Errorf("the leased phone says %q, %v", out, err)
			}
			log := runLog(t, l)
			for _, part := range c.says {
				if !strings.Contains(log, part) {
					t.Errorf("the run's log does not say %q:\n%s", part, log)
				}
			}
			if again := runLog(t, l); again != "" {
				t.Errorf("the next run's log repeats it: %s", again)
			}
			bench, err := os.ReadFile(filepath.Join(b.rig.Farm.State, "bench.jsonl"))
			if c.says != nil && (err != nil || !strings.Contains(string(bench), c.says[0])) {
				t.Errorf("the bench's log: %v: %s", err, bench)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReleaseMendsThePhoneToPutItBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", map[string][]string{rig.HookPower: {"post", replug}})
	l, err := b.lease(t)
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprint(b.ours.Settings())
	if err := l.Change(t.Context(), devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"}); err != nil {
		t.Fatal(err)
	}
	b.fault(t, "unplug", "")
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := fmt.Sprint(b.ours.Settings()); now != settings {
		t.Errorf("the settings were\n%s\nand are\n%s", settings, now)
	}
}

// TestLeaseThatCannotBeHad has repairs that cannot succeed.
func TestLeaseThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		addr, fault string
		hooks       map[string][]string
		says        []string
	}{
		"a hub that does not switch":   {fault: "offline", hooks: map[string][]string{rig.HookPower: {"fail"}}, says: []string{"wait", "reconnect", "take the USB port's power", "exit status 3", "Run with -h", "plug it in again"}},
		"a hook that lies":             {fault: "unplug", hooks: map[string][]string{rig.HookPower: {"post"}}, says: []string{"take the USB port's power", "check cable"}},
		"a server elsewhere, no hook":  {addr: "127.0.0.2:0", fault: "adb-down", says: []string{"it is not this host's", "server: hook"}},
		"a server that is no adb":      {fault: "adb-down", says: []string{"no adb was seen to listen there", "server: hook"}},
		"a server elsewhere, bad hook": {addr: "127.0.0.2:0", fault: "adb-down", hooks: map[string][]string{rig.HookServer: {"fail"}}, says: []string{"exit status 3"}},
		"a phone that wants a person":  {fault: "unauthorized", hooks: map[string][]string{rig.HookPower: {"post", replug}}, says: []string{"Allow USB debugging"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.addr, c.hooks)
			b.fault(t, c.fault, "")
			_, err := b.lease(t)
			var infra *harness.InfrastructureError
			var repair *devices.RepairError
			if !errors.As(err, &infra) || !errors.As(err, &repair) {
				t.Fatalf("got %v, want an *InfrastructureError around a *RepairError", err)
			}
			for _, part := range append(c.says, b.ours.Serial()) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line", err)
			}
			// The lock is free again.
			if lock, err := devices.Acquire(t.Context(), filepath.Join(b.rig.Farm.State, "locks"), []string{b.ours.Serial()}); err != nil {
				t.Error(err)
			} else if err := lock.Release(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBrokenPhoneIsTakenOut has a phone that dies for good while it is changed:
// another one takes its place now and later, and it is asked for nothing more
// until somebody has mended it.
func TestBrokenPhoneIsTakenOut(t *testing.T) {
	t.Parallel()
	b := newBenchOf(t, "", 2, nil)
	broken, sound := b.ours.Serial(), b.second.Serial()
	l, err := b.rig.Lease(t.Context(), broken)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprint(b.ours.Settings())
	if err := l.Change(t.Context(), devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"}); err != nil {
		t.Fatal(err)
	}
	b.fault(t, "unplug", "")
	err = l.Mend(t.Context(), errors.New("the window broke"))
	if !errors.As(err, new(*devices.RepairError)) || !strings.Contains(err.Error(), "offproof farm release "+broken) {
		t.Errorf("got %v", err)
	}
	var undo *devices.UndoError
	if err := l.Release(t.Context()); !errors.As(err, &undo) || len(undo.Left) != 1 || !strings.Contains(err.Error(), "http_proxy") {
		t.Errorf("the release of a phone that is gone, changed: %v", err)
	}
	notice, err := b.rig.Quarantined(broken)
	if err != nil || notice == nil || !strings.Contains(notice.Reason, "the phone is not attached") || !strings.Contains(notice.Reason, "wait for a restart") {
		t.Errorf("the notice is %v, %v", notice, err)
	}
	b.mu.Lock()
	b.requests = nil
	b.mu.Unlock()
	second, err := b.rig.Lease(t.Context(), broken, sound)
	if err != nil || second.Device.Serial() != sound {
		t.Fatalf("got %v, want the sound phone", err)
	}
	if err := second.Release(t.Context()); err != nil {
		t.Error(err)
	}
	b.mu.Lock()
	for _, r := range b.requests {
		if strings.Contains(r, broken) {
			t.Errorf("the server was asked for %q of a phone in quarantine", r)
		}
	}
	b.mu.Unlock()
	if _, err := b.rig.Lease(t.Context(), broken); err == nil || !strings.Contains(err.Error(), "in quarantine") {
		t.Errorf("got %v", err)
	}
	// Somebody mends it.
	b.fault(t, "replug", "")
	if err := b.rig.Readmit(broken); err != nil {
		t.Fatal(err)
	}
	if l, err = b.rig.Lease(t.Context(), broken); err != nil {
		t.Fatal(err)
	}
	if now := fmt.Sprint(b.ours.Settings()); now != before {
		t.Errorf("the settings were\n%s\nand are\n%s", before, now)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPhoneThatBreaksAtItsLeaseIsReplaced breaks the phone between two leases.
func TestPhoneThatBreaksAtItsLeaseIsReplaced(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault string
		seen  bool
		out   bool // whether it is taken out of the farm
	}{
		"one that is dead":            {"offline", true, true},
		"one that was never seen":     {"unplug", false, false},
		"one that waits for a person": {"unauthorized", true, false},
		"one that is in its recovery": {"recovery", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBenchOf(t, "", 2, nil)
			serials := []string{b.ours.Serial(), b.second.Serial()}
			if c.seen {
				l, err := b.rig.Lease(t.Context(), serials[0])
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			b.fault(t, c.fault, "")
			l, err := b.rig.Lease(t.Context(), serials...)
			if err != nil || l.Device.Serial() != serials[1] {
				t.Fatalf("got %v, want the other phone", err)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
			if notice, err := b.rig.Quarantined(serials[0]); err != nil || (notice != nil) != c.out {
				t.Errorf("in quarantine: %v, %v; want %v", notice, err, c.out)
			}
		})
	}
}

// TestInterruptionShowsNothing gives a repair up in its middle.
func TestInterruptionShowsNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", nil)
	l, err := b.lease(t)
	if err != nil {
		t.Fatal(err)
	}
	b.fault(t, "offline", "")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.Mend(ctx, errors.New("the window broke")); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(*devices.RepairError)) {
		t.Errorf("got %v", err)
	}
	if notice, err := b.rig.Quarantined(b.ours.Serial()); err != nil || notice != nil {
		t.Errorf("a repair that was given up took the phone out: %v, %v", notice, err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNoRepairUnlessAsked looks at a phone that is broken without mending it.
func TestNoRepairUnlessAsked(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", map[string][]string{rig.HookPower: {"post", replug}})
	b.rig.Repair = false
	b.fault(t, "unplug", "")
	_, err := b.lease(t)
	var infra *harness.InfrastructureError
	if !errors.As(err, &infra) || errors.As(err, new(*devices.RepairError)) {
		t.Errorf("got %v", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.requests, func(r string) bool {
		return !strings.HasPrefix(r, "host:version") && !strings.HasPrefix(r, "host:devices")
	}); i >= 0 {
		t.Errorf("the server was asked for %q", b.requests[i])
	}
}
