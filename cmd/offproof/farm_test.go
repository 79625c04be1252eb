package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/rig"
)

// bench starts simulated phones.
func bench(t *testing.T, phones int) *sim.World {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Phones: make([]sim.PhoneConfig, phones)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func fault(t *testing.T, p *sim.Phone, name string) {
	t.Helper()
	if err := p.Fault(t.Context(), name, ""); err != nil {
		t.Fatal(err)
	}
}

func TestFarmInitListsWhatCanBeUsed(t *testing.T) {
	w := bench(t, 3)
	fault(t, w.Phones()[1], "unauthorized")
	fault(t, w.Phones()[2], "offline")
	path := filepath.Join(t.TempDir(), "farm.yaml")
	stdout, stderr, status := offproof(t, nil, "farm", "init", "--adb", w.ADB(), "--out", path)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, %q", status, stderr)
	}
	farm, err := rig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(farm.Phones) != 1 || farm.Phones[0].Serial != w.Phones()[0].Serial() || farm.Phones[0].Note != "Redmi Note 8" || farm.Servers[0] != w.ADB() {
		t.Errorf("it lists %+v of %v", farm.Phones, farm.Servers)
	}
	for _, want := range []string{"1 of 3", "Allow USB debugging", "does not answer", "doctor --farm"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it does not say %q:\n%s", want, stdout)
		}
	}
	before, err := os.ReadFile(path) //nolint:gosec // Our own file.
	if err != nil {
		t.Fatal(err)
	}
	_, stderr, status = offproof(t, nil, "farm", "init", "--adb", w.ADB(), "--out", path)
	after, _ := os.ReadFile(path) //nolint:gosec // Our own file.
	if status != 2 || !strings.Contains(stderr, "is there already") || string(after) != string(before) {
		t.Errorf("a file that is there: status %d, %q", status, stderr)
	}
}

func TestFarmInitWithoutPhones(t *testing.T) {
	w := bench(t, 1)
	path := filepath.Join(t.TempDir(), "farm.yaml")
	fault(t, w.Phones()[0], "unauthorized")
	stdout, _, status := offproof(t, nil, "farm", "init", "--adb", w.ADB(), "--out", path)
	if _, err := os.Stat(path); status != 1 || err == nil || !strings.Contains(stdout, "Allow USB debugging") {
		t.Errorf("status %d, %v: %s", status, err, stdout)
	}
	_, stderr, status := offproof(t, nil, "farm", "init", "--adb", "127.0.0.1:1", "--out", path)
	if status != 2 || !strings.Contains(stderr, "adb start-server") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("no server: status %d, %q", status, stderr)
	}
}

func TestDoctorSaysWhatIsUnfit(t *testing.T) {
	w := bench(t, 1)
	stdout, stderr, status := offproof(t, nil, "doctor", "--farm", w.FarmFile())
	if status != 0 {
		t.Fatalf("a phone that is well: status %d: %s%s", status, stdout, stderr)
	}
	d := devices.Open(w.ADB(), w.Phones()[0].Serial())
	if _, err := d.Output(t.Context(), "settings", "put", "global", "low_power", "1"); err != nil {
		t.Fatal(err)
	}
	before := w.Phones()[0].Truth()
	stdout, _, status = offproof(t, nil, "doctor", "--farm", w.FarmFile())
	if status != 1 || !strings.Contains(stdout, "UNFIT: on") || !strings.Contains(stdout, "turn the battery saver off") || !strings.Contains(stdout, "nothing until") {
		t.Errorf("status %d:\n%s", status, stdout)
	}
	after := w.Phones()[0].Truth()
	for key, value := range before.Settings {
		if after.Settings[key] != value {
			t.Errorf("doctor changed %s from %q to %q", key, value, after.Settings[key])
		}
	}
	if len(after.Settings) != len(before.Settings) {
		t.Errorf("doctor left %d settings of %d", len(after.Settings), len(before.Settings))
	}
}

func TestQuarantinedPhoneIsNotLeased(t *testing.T) {
	w := bench(t, 1)
	serial := w.Phones()[0].Serial()
	if _, stderr, status := offproof(t, nil, "farm", "quarantine", serial, "--farm", w.FarmFile()); status != 2 || !strings.Contains(stderr, "--reason") {
		t.Errorf("without a reason: status %d, %q", status, stderr)
	}
	if _, stderr, status := offproof(t, nil, "farm", "quarantine", "R58M", "--reason", "x", "--farm", w.FarmFile()); status != 2 || !strings.Contains(stderr, "is not in") {
		t.Errorf("an unlisted phone: status %d, %q", status, stderr)
	}
	if _, stderr, status := offproof(t, nil, "farm", "quarantine", serial, "--reason", "swollen battery", "--farm", w.FarmFile()); status != 0 {
		t.Fatalf("status %d, %q", status, stderr)
	}
	farm, err := rig.Load(w.FarmFile())
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(farm)
	if err != nil {
		t.Fatal(err)
	}
	if l, err := r.Lease(t.Context(), serial); err == nil || !strings.Contains(err.Error(), "swollen battery") || !strings.Contains(err.Error(), "farm release") {
		t.Errorf("leased %v, %v", l, err)
	}
	stdout, _, status := offproof(t, nil, "doctor", "--farm", w.FarmFile())
	if status != 1 || !strings.Contains(stdout, "swollen battery") {
		t.Errorf("doctor: status %d:\n%s", status, stdout)
	}
	if _, stderr, status := offproof(t, nil, "farm", "release", serial, "--farm", w.FarmFile()); status != 0 {
		t.Errorf("release: status %d, %q", status, stderr)
	}
	l, err := r.Lease(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestHoldKeepsAPhoneFromOthers(t *testing.T) {
	w := bench(t, 1)
	serial := w.Phones()[0].Serial()
	farm, err := rig.Load(w.FarmFile())
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(farm)
	if err != nil {
		t.Fatal(err)
	}
	l, err := r.Lease(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	hold := exec.CommandContext(t.Context(), path, "farm", "hold", serial, "--for", "100ms", "--farm", w.FarmFile())
	said, err := hold.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Start(); err != nil {
		t.Fatal(err)
	}
	// It says that it waits, and has no more to say until the phone is given back.
	lines := bufio.NewScanner(said)
	if !lines.Scan() || !strings.Contains(lines.Text(), "waiting: phone "+serial+" is leased by process") {
		t.Fatalf("it took a phone that another has: %q, %v", lines.Text(), lines.Err())
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rest strings.Builder
	for lines.Scan() {
		rest.WriteString(lines.Text() + "\n")
	}
	if err := hold.Wait(); err != nil || !strings.Contains(rest.String(), "-s "+serial+" shell") {
		t.Errorf("%v: %s", err, rest.String())
	}
}

// A proxy that leads nowhere, left by another host or by a run whose journal is
// gone, is named with the command that takes it away, by doctor and before a run.
func TestStrayProxyIsNamed(t *testing.T) {
	w := bench(t, 1)
	p := w.Phones()[0]
	d := devices.Open(w.ADB(), p.Serial())
	if _, err := d.Output(t.Context(), "settings", "put", "global", "http_proxy", "localhost:18080"); err != nil {
		t.Fatal(err)
	}
	const says = "settings put global http_proxy :0"
	if out, _, status := offproof(t, nil, "doctor", "--farm", w.FarmFile()); status != 1 || !strings.Contains(out, says) {
		t.Errorf("doctor, status %d:\n%s", status, out)
	}
	if _, talk, status := offproof(t, nil, "observe", "--farm", w.FarmFile(), "--arm", "on"); status != 2 || !strings.Contains(talk, says) {
		t.Errorf("observe, status %d:\n%s", status, talk)
	}
	for _, proxy := range []string{":0", "192.0.2.7:3128"} {
		if _, err := d.Output(t.Context(), "settings", "put", "global", "http_proxy", proxy); err != nil {
			t.Fatal(err)
		}
		if out, _, status := offproof(t, nil, "doctor", "--farm", w.FarmFile()); status != 0 || strings.Contains(out, says) {
			t.Errorf("%s: doctor, status %d:\n%s", proxy, status, out)
		}
	}
}
