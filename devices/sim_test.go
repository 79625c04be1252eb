package devices_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
	"github.com/offproof/offproof/devices/sim"
)

// world starts one simulated phone.
func world(t *testing.T) (*sim.World, *sim.Phone, *devices.Device) {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := w.Phones()[0]
	return w, p, devices.Open(w.ADB(), p.Serial())
}

func TestSimIdentity(t *testing.T) {
	w, p, d := world(t)
	entries, err := devices.Inventory(within(t), []string{w.ADB()})
	if err != nil || len(entries) != 1 || entries[0].Serial != p.Serial() || !entries[0].State.Usable() {
		t.Fatalf("got %+v, %v", entries, err)
	}
	build, err := d.Identity(within(t))
	if err != nil || build.Device != "ginkgo" || build.SDK == nil || *build.SDK != 28 || build.Booted == nil || !*build.Booted || build.InputGate == nil {
		t.Errorf("got %+v, %v", build, err)
	}
	pkg, err := d.Package(within(t), "com.mi.globalbrowser")
	if err != nil || pkg.UID == nil || *pkg.UID < 10000 || pkg.VersionName == "" || pkg.VersionCode == nil {
		t.Errorf("got %+v, %v", pkg, err)
	}
	if _, err := hex.DecodeString(pkg.SHA256); err != nil || len(pkg.SHA256) != 64 {
		t.Errorf("hash %q", pkg.SHA256)
	}
	if _, err := d.Package(within(t), "com.mi.globalbrow"); !errors.Is(err, devices.ErrNotInstalled) {
		t.Errorf("part of a name: got %v, want ErrNotInstalled", err)
	}
	if focus, err := d.Focus(within(t)); err != nil || focus == "" {
		t.Errorf("got %q, %v", focus, err)
	}
	if offset, uncertainty, err := d.ClockOffset(within(t)); err != nil || offset.Abs() > uncertainty {
		t.Errorf("got %v ± %v, %v; the phone runs on this host's clock", offset, uncertainty, err)
	}
	if c, err := d.Counters(within(t)); err != nil || c.After.Before(c.Before) {
		t.Errorf("got %+v, %v", c, err)
	} else if _, ok := c.Interfaces["wlan0"]; !ok {
		t.Errorf("got %+v", c)
	}
	if battery, err := d.Output(within(t), "dumpsys", "battery"); err != nil {
		t.Error(err)
	} else if _, ok := android.ParseBattery(battery).Percent(); !ok {
		t.Errorf("no charge in %q", battery)
	}
}

func TestSimSockets(t *testing.T) {
	_, _, d := world(t)
	ctx, cancel := context.WithCancel(within(t))
	looks := 0
	err := d.WatchSockets(ctx, 50*time.Millisecond, func(table android.SocketTable) {
		if !slices.Equal(table.Read, []string{"tcp", "tcp6", "udp", "udp6"}) {
			t.Errorf("read %v, problems %v", table.Read, table.Problems)
		}
		if looks++; looks == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSimFilesAndStreams(t *testing.T) {
	_, p, d := world(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	if err := d.Push(within(t), iotest.DataErrReader(bytes.NewReader(content)), "/data/local/tmp/a b", 0o644); err != nil {
		t.Fatal(err)
	}
	var back bytes.Buffer
	if err := d.Pull(within(t), "/data/local/tmp/a b", &back); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("got %d of %d bytes, %v", back.Len(), len(content), err)
	}
	if info, err := d.Stat(within(t), "/data/local/tmp/a b"); err != nil || info.Size != int64(len(content)) {
		t.Errorf("got %+v, %v", info, err)
	}
	got, err := d.ScriptInput(within(t), "cat; echo oops >&2; exit 9", strings.NewReader("input"))
	if err != nil || string(got.Stdout) != "input" || string(got.Stderr) != "oops\n" || got.Exit != 9 {
		t.Errorf("got %q, %q, %d, %v", got.Stdout, got.Stderr, got.Exit, err)
	}
	s, err := d.Stream(within(t), "while :; do echo tick; sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := io.ReadFull(s.Stdout, make([]byte, len("tick\ntick\n"))); err != nil {
		t.Error(err)
	}
	if err := p.Fault(within(t), "unplug", ""); err != nil {
		t.Fatal(err)
	}
	var lost *devices.LostError
	if _, err := io.Copy(io.Discard, s.Stdout); !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError when the cable is pulled", err)
	}
	if _, err := d.Output(within(t), "id"); !adb.Unreachable(err) {
		t.Errorf("got %v, want the phone to be unreachable", err)
	}
}

// The journal leaves the phone's settings, mounts and tunnels as they were.
func TestSimJournal(t *testing.T) {
	_, p, d := world(t)
	before, mounts := p.Settings(), p.Mounts()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	tcp, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no TCP address")
	}
	_, certPEM, _ := newCA(t, "offproof", true)
	dir := t.TempDir()
	j, err := devices.OpenJournal(dir, p.Serial())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []devices.Undoable{
		devices.AddReverse{DevicePort: 8080, HostPort: tcp.Port},
		devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"},
		devices.InstallCA{PEM: certPEM},
	} {
		if err := j.Change(within(t), d, c); err != nil {
			t.Fatal(err)
		}
	}
	if maps.Equal(p.Settings(), before) || len(p.Mounts()) == len(mounts) {
		t.Errorf("nothing was changed: %v, %v", p.Settings(), p.Mounts())
	}
	// A new program undoes what this one wrote down.
	if j, err = devices.OpenJournal(dir, p.Serial()); err != nil {
		t.Fatal(err)
	}
	if err := j.Undo(within(t), d); err != nil {
		t.Fatal(err)
	}
	if got := p.Settings(); !maps.Equal(got, before) {
		t.Errorf("settings were %v and are %v", before, got)
	}
	if got := p.Mounts(); !slices.Equal(got, mounts) {
		t.Errorf("mounts were %v and are %v", mounts, got)
	}
	if tunnels, err := d.ReverseList(within(t)); err != nil || len(tunnels) != 0 {
		t.Errorf("tunnels are %v, %v", tunnels, err)
	}
}

func TestSimFaults(t *testing.T) {
	_, p, d := world(t)
	if err := p.Fault(within(t), "clock-jump", "1h"); err != nil {
		t.Fatal(err)
	}
	if offset, uncertainty, err := d.ClockOffset(within(t)); err != nil || (offset-time.Hour).Abs() > uncertainty {
		t.Errorf("got %v ± %v, %v; the clock jumped by 1h", offset, uncertainty, err)
	}
	states := make(chan devices.State, 10)
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, func(s devices.State) error {
			states <- s
			return nil
		})
	}()
	next := func() devices.State {
		select {
		case s := <-states:
			return s
		case <-ctx.Done():
			return "none in time"
		}
	}
	if s := next(); s != devices.StateDevice {
		t.Fatalf("the first state is %q", s)
	}
	var (
		unauthorized *adb.UnauthorizedError
		offline      *adb.OfflineError
		unknown      *adb.UnknownError
	)
	for _, test := range []struct {
		fault string
		state devices.State
		want  any
	}{
		{"unauthorized", devices.StateUnauthorized, &unauthorized},
		{"offline", devices.StateOffline, &offline},
		{"unplug", devices.StateAbsent, &unknown},
	} {
		if err := p.Fault(within(t), test.fault, ""); err != nil {
			t.Fatal(err)
		}
		if s := next(); s != test.state {
			t.Errorf("%s: the watch says %q", test.fault, s)
		}
		if _, err := d.Output(within(t), "id"); !errors.As(err, test.want) {
			t.Errorf("%s: got %v, want %T", test.fault, err, test.want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

// Every model's own texts can be read, and say what the phone is.
func TestReadersOnEveryModel(t *testing.T) {
	cfg := sim.Config{Dir: t.TempDir(), Seed: 7}
	for _, m := range sim.Models() {
		cfg.Phones = append(cfg.Phones, sim.PhoneConfig{Model: m, DualApps: true})
	}
	w, err := sim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	const browser = "com.mi.globalbrowser"
	for _, p := range w.Phones() {
		t.Run(p.Model(), func(t *testing.T) {
			d := devices.Open(w.ADB(), p.Serial())
			ask := func(args ...string) string {
				t.Helper()
				text, err := d.Output(within(t), args...)
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
			pkg, ok := android.ParseDumpsysPackage(browser, ask("dumpsys", "package", browser))
			if !ok || len(pkg.Signers) == 0 || len(pkg.Users) != 2 || pkg.Users[1].ID != 999 || pkg.Users[0].Installed == nil || !*pkg.Users[0].Installed {
				t.Errorf("package %+v", pkg)
			}
			if jobs, ok := android.ParseJobs(ask("dumpsys", "jobscheduler")); !ok || !slices.ContainsFunc(jobs, func(j android.Job) bool { return j.Package == browser && j.Every != "" && j.Network != nil }) {
				t.Errorf("jobs %+v", jobs)
			}
			if alarms, ok := android.ParseAlarms(ask("dumpsys", "alarm")); !ok || len(alarms) == 0 || alarms[0].Tag == "" || alarms[0].When == "" {
				t.Errorf("alarms %+v", alarms)
			}
			ask("ping", "-c", "1", "-W", "2", "duckduckgo.com")
			ask("dumpsys", "netstats", "--poll")
			all, err := android.ParseNetstats(ask("dumpsys", "netstats", "detail"))
			if err != nil || !slices.ContainsFunc(all, func(h android.NetHistory) bool { return h.Network == "wifi" && len(h.Buckets) > 0 }) {
				t.Errorf("netstats %+v, %v", all, err)
			}
			if users := android.ParseUsers(ask("pm", "list", "users")); len(users) != 2 || !users[0].Running {
				t.Errorf("users %+v", users)
			}
			if list := android.ParseSettings(ask("settings", "list", "global")); list["stay_on_while_plugged_in"] != "7" {
				t.Errorf("settings %v", list)
			}
			if ops, ok := android.ParseAppOps(ask("appops", "get", browser)); !ok {
				t.Errorf("operations %+v", ops)
			}
			if text, err := d.Script(within(t), "cat /proc/net/xt_qtaguid/stats"); err != nil || text.Exit != 0 {
				t.Logf("this model has no xt_qtaguid: %v %s", err, text.Stderr)
			} else if rows, err := android.ParseQtaguid(string(text.Stdout)); err != nil || len(rows) == 0 {
				t.Errorf("counters %+v, %v", rows, err)
			}
		})
	}
}

// TestSilentCommand tells a command that the phone never ends from a caller who
// has no more time.
func TestSilentCommand(t *testing.T) {
	_, p, d := world(t)
	if err := p.Fault(t.Context(), "hang-shell", ""); err != nil {
		t.Fatal(err)
	}
	_, err := d.Within(within(t), 200*time.Millisecond, "getprop  ro.product.model")
	var silent *devices.SilentError
	if !errors.As(err, &silent) || silent.Serial != p.Serial() || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a SilentError that is not the caller's own deadline", err)
	} else if text := err.Error(); !strings.Contains(text, `200ms to "getprop ro.product.model"`) || !strings.Contains(text, "restart it") {
		t.Errorf("the message is %q", text)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := d.Script(short, "true"); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &silent) {
		t.Errorf("got %v, want the caller's own deadline", err)
	}
}
