package devices_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
)

// quick are limits for a simulated phone, which starts in a second.
func quick() devices.RepairLimits {
	return devices.RepairLimits{Ask: 2 * time.Second, Settle: 500 * time.Millisecond, Boot: 20 * time.Second, Total: 40 * time.Second}
}

// A ward is two simulated phones on one server, of which only the first is
// ours, with a record of every request that the server got.
type ward struct {
	w      *sim.World
	p      *sim.Phone
	other  *sim.Phone
	repair *devices.Repair

	mu       sync.Mutex
	requests []string
	log      strings.Builder
}

// Handle notes the services that the simulated server is asked for.
func (w *ward) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "adb request" && a.Key == "service" {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.requests = append(w.requests, a.Value.String())
		}
		return true
	})
	return nil
}

func (w *ward) Enabled(context.Context, slog.Level) bool { return true }
func (w *ward) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *ward) WithGroup(string) slog.Handler            { return w }

func newWard(t *testing.T) *ward {
	t.Helper()
	w := &ward{}
	world, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Phones: make([]sim.PhoneConfig, 2), Log: slog.New(w)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Error(err)
		}
	})
	w.w, w.p, w.other = world, world.Phones()[0], world.Phones()[1]
	journal, err := devices.OpenJournal(t.TempDir(), w.p.Serial())
	if err != nil {
		t.Fatal(err)
	}
	w.repair = &devices.Repair{
		Device: devices.Open(world.ADB(), w.p.Serial()), Journal: journal, Limits: quick(), Seen: true,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	return w
}

func (w *ward) fault(t *testing.T, name, arg string) {
	t.Helper()
	if err := w.p.Fault(within(t), name, arg); err != nil {
		t.Fatal(err)
	}
}

// untouched fails when the other phone was asked for anything, or changed.
func (w *ward) untouched(t *testing.T, before string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		for _, bad := range []string{w.other.Serial(), "host:transport-any", "host:reconnect", "host:kill", "host:disconnect"} {
			if strings.Contains(r, bad) {
				t.Errorf("the server was asked for %q", r)
			}
		}
	}
	if after := fmt.Sprint(w.other.Truth()); after != before {
		t.Errorf("the other phone was %s and is %s", before, after)
	}
}

func names(tried []devices.Attempt) []string {
	var out []string
	for _, a := range tried {
		out = append(out, a.Remedy)
	}
	return out
}

func TestRepair(t *testing.T) {
	// mend is what the bench can do from outside the phone.
	type bench struct {
		power, server bool
	}
	for name, c := range map[string]struct {
		fault, arg string
		bench      bench
		last       string // the remedy that helped; empty where none is needed
		never      []string
	}{
		"a healthy phone":                     {},
		"a connection that is dead":           {fault: "stale", last: "reconnect", bench: bench{power: true, server: true}, never: []string{"take the USB port's power", "restart the phone", "start the ADB server"}},
		"a phone that is back soon":           {fault: "unplug", arg: "15s", last: "wait for the phone", bench: bench{power: true}, never: []string{"take the USB port's power"}},
		"a phone that restarts":               {fault: "reboot", last: "wait for a restart", bench: bench{}},
		"a phone that hangs on its port":      {fault: "offline", last: "take the USB port's power", bench: bench{power: true, server: true}, never: []string{"restart the phone", "start the ADB server"}},
		"a phone that has gone from its port": {fault: "unplug", last: "take the USB port's power", bench: bench{power: true}},
		"an ADB server that is back soon":     {fault: "adb-down", arg: "25s", last: "wait for the ADB server", bench: bench{power: true}, never: []string{"take the USB port's power"}},
		"an ADB server that is gone":          {fault: "adb-down", last: "start the ADB server", bench: bench{power: true, server: true}, never: []string{"take the USB port's power"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			before := fmt.Sprint(w.other.Truth())
			if c.bench.power {
				w.repair.Power = func(ctx context.Context) error { return w.p.Fault(ctx, "replug", "") }
			}
			if c.bench.server {
				w.repair.Server = func(ctx context.Context, hung bool) error {
					if hung {
						t.Error("the server is gone, it does not hang")
					}
					return w.w.StartADB(ctx)
				}
			}
			if c.fault != "" {
				w.fault(t, c.fault, c.arg)
			}
			tried, err := w.repair.Run(within(t), errors.New("the window broke"))
			if err != nil {
				t.Fatal(err)
			}
			got := names(tried)
			if last := strings.Join(got[max(0, len(got)-1):], ""); last != c.last && !(c.fault == "reboot" && last == "wait for the phone") {
				t.Errorf("tried %v, wanted %q to help", got, c.last)
			}
			for _, n := range c.never {
				if slices.Contains(got, n) {
					t.Errorf("tried %q although something gentler helps: %v", n, got)
				}
			}
			if a, err := w.repair.Device.Look(within(t), 5*time.Second); a != devices.Healthy {
				t.Errorf("after the repair: %s, %v", a, err)
			}
			if len(tried) > 0 && !strings.Contains(w.log.String(), "the window broke") {
				t.Errorf("the log does not say why: %s", w.log.String())
			}
			w.untouched(t, before)
		})
	}
}

// TestRepairEnds breaks phones for good: each repair ends by itself, within its
// bounds, and says what is wrong, what was tried and what to do.
func TestRepairEnds(t *testing.T) {
	fail := errors.New("uhubctl: exit status 1")
	for name, c := range map[string]struct {
		fault   string
		ailment devices.Ailment
		tried   []string
		advice  string
	}{
		"unplugged":     {"unplug", devices.Unlisted, []string{"wait for the phone", "take the USB port's power", "take the USB port's power", "wait for a restart"}, "check cable"},
		"offline":       {"offline", devices.Cut, []string{"wait", "wait", "reconnect", "reconnect", "take the USB port's power", "take the USB port's power"}, "plug it in again"},
		"unauthorized":  {"unauthorized", devices.NeedsPerson, []string{"wait a moment"}, "Allow USB debugging"},
		"no ADB server": {"adb-down", devices.ServerGone, []string{"start the ADB server", "start the ADB server", "wait for the ADB server"}, "server: hook"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWard(t)
			before := w.other.Settings()
			w.repair.Limits.Settle, w.repair.Limits.Boot = 100*time.Millisecond, 300*time.Millisecond
			w.repair.Power = func(context.Context) error { return fail }
			w.repair.Server = func(context.Context, bool) error { return fail }
			w.fault(t, c.fault, "")
			_, err := w.repair.Run(within(t), nil)
			var repair *devices.RepairError
			if !errors.As(err, &repair) {
				t.Fatalf("got %v, want a *RepairError", err)
			}
			if repair.Ailment != c.ailment || !slices.Equal(names(repair.Tried), c.tried) || repair.Serial != w.p.Serial() {
				t.Errorf("got %q after %v", repair.Ailment, names(repair.Tried))
			}
			text := err.Error()
			for _, part := range append(c.tried, string(c.ailment), c.advice, w.p.Serial()) {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not say %q", text, part)
				}
			}
			if strings.Contains(text, "\n") {
				t.Errorf("%q is not one line", text)
			}
			if slices.Contains(c.tried, "start the ADB server") || slices.Contains(c.tried, "take the USB port's power") {
				if !strings.Contains(text, fail.Error()) {
					t.Errorf("%q does not say why a remedy could not be applied", text)
				}
			}
			if got := w.other.Settings(); fmt.Sprint(got) != fmt.Sprint(before) {
				t.Errorf("the other phone was changed: %v", got)
			}
		})
	}
}

// TestUnknownPhoneIsNotWaitedFor has a serial that was mistyped.
func TestUnknownPhoneIsNotWaitedFor(t *testing.T) {
	w := newWard(t)
	r := &devices.Repair{Device: devices.Open(w.w.ADB(), "R58M0000000")}
	_, err := r.Run(within(t), nil)
	var repair *devices.RepairError
	if !errors.As(err, &repair) || repair.Ailment != devices.Unlisted || len(repair.Tried) != 0 || !strings.Contains(err.Error(), "nothing that this program may do helps") {
		t.Errorf("got %v", err)
	}
}

// TestRepairIsBoundedInTime gives a repair remedies that never come back.
func TestRepairIsBoundedInTime(t *testing.T) {
	w := newWard(t)
	w.fault(t, "offline", "")
	w.repair.Limits.Total = time.Second
	w.repair.Limits.Settle = 10 * time.Millisecond
	w.repair.Power = func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	_, err := w.repair.Run(within(t), nil)
	var repair *devices.RepairError
	if !errors.As(err, &repair) || repair.Ailment != devices.Cut || !strings.Contains(err.Error(), "1s of a repair are over") {
		t.Errorf("got %v, want a *RepairError that says that its time is over", err)
	}
	if n := len(repair.Tried); n == 0 || repair.Tried[n-1].Err == nil {
		t.Errorf("tried %v", repair.Tried)
	}
}

// TestRepairThatIsInterrupted says nothing about the phone.
func TestRepairThatIsInterrupted(t *testing.T) {
	w := newWard(t)
	w.fault(t, "offline", "")
	ctx, cancel := context.WithCancel(within(t))
	w.repair.Power = func(context.Context) error {
		cancel()
		return nil
	}
	_, err := w.repair.Run(ctx, nil)
	var repair *devices.RepairError
	if !errors.Is(err, context.Canceled) || errors.As(err, &repair) {
		t.Errorf("got %v, want the context's error and no verdict on the phone", err)
	}
}

// TestHungServerIsNotTakenForOneThatIsGone tells the two apart, and a program
// that is no ADB server from both.
func TestHungServerIsNotTakenForOneThatIsGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	hung := make(chan bool, 10)
	d := devices.Open(ln.Addr().String(), "R58M0000000")
	r := &devices.Repair{
		Device: d, Limits: devices.RepairLimits{Ask: 200 * time.Millisecond, Settle: 100 * time.Millisecond, Boot: time.Second, Total: 20 * time.Second},
		Server: func(_ context.Context, h bool) error {
			hung <- h
			return errors.New("not mended")
		},
	}
	_, err = r.Run(within(t), nil)
	var repair *devices.RepairError
	if !errors.As(err, &repair) || repair.Ailment != devices.ServerSilent || len(hung) != 2 || !<-hung || !<-hung {
		t.Errorf("got %v, want two restarts of a server that hangs", err)
	}
	if want := []string{"wait", "wait"}; !slices.Equal(names(repair.Tried)[:2], want) {
		t.Errorf("a server that may only be slow was ended at once: %v", names(repair.Tried))
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	// The connections that were never accepted come first.
	for range 100 {
		if a, _ := d.Look(within(t), 2*time.Second); a == devices.ServerForeign {
			return
		}
	}
	t.Error("a web server was never recognised")
}
