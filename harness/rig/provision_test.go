package rig_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness/rig"
)

func TestPhoneStaysAwakeForTheLease(t *testing.T) {
	b := newBench(t, "", nil)
	d := devices.Open(b.w.ADB(), b.ours.Serial())
	const key = "stay_on_while_plugged_in"
	for was, want := range map[string]string{"0": "7", "3": "3"} {
		if _, err := d.Output(t.Context(), "settings", "put", "global", key, was); err != nil {
			t.Fatal(err)
		}
		l, err := b.lease(t)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.StayAwake(t.Context()); err != nil {
			t.Fatal(err)
		}
		if is := b.ours.Settings()["global/"+key]; is != want {
			t.Errorf("it was %s and is %s in the lease, want %s", was, is, want)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if is := b.ours.Settings()["global/"+key]; is != was {
			t.Errorf("it was %s and is %s after the lease", was, is)
		}
	}
	b.fault(t, "gate-closed", "")
	if _, err := d.Output(t.Context(), "settings", "put", "global", key, "0"); err == nil {
		t.Fatal("the gate is open")
	}
}

// TestProvisionWaitsForThePhone has a hook that restarts the phone, as putting a
// build onto it does.
func TestProvisionWaitsForThePhone(t *testing.T) {
	const reboot = "{control}/phones/{ours}/faults/reboot"
	b := newBench(t, "", map[string][]string{rig.HookFlash: {"post", reboot}, rig.HookProvision: {"print", "{serial}", "{build}"}})
	l, err := b.lease(t)
	if err != nil {
		t.Fatal(err)
	}
	// What is mounted by hand is gone after a restart.
	if _, err := l.Device.Script(t.Context(), "mount -t tmpfs x /sdcard"); err != nil || len(b.ours.Truth().Mounts) != 1 {
		t.Fatal(err, b.ours.Truth().Mounts)
	}
	before, after, err := l.Provision(t.Context(), "V12.0.1.0")
	if err != nil || before.Fingerprint == "" || after.Fingerprint != before.Fingerprint {
		t.Errorf("got %q, %q, %v", before.Fingerprint, after.Fingerprint, err)
	}
	if left := b.ours.Truth().Mounts; len(left) > 0 {
		t.Errorf("the phone did not restart: %q is mounted", left)
	}
	if log := runLog(t, l); !strings.Contains(log, "V12.0.1.0") || !strings.Contains(log, b.ours.Serial()) {
		t.Errorf("the log does not tell what the hooks did: %s", log)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestProvisionSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		hooks map[string][]string
		build string
		want  string
	}{
		"no hook at all": {nil, "", "nothing to do"},
		"no flash":       {map[string][]string{rig.HookProvision: {"print"}}, "V12", "no hook flash"},
		"a hook fails":   {map[string][]string{rig.HookProvision: {"fail"}}, "", "No compatible devices"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "", c.hooks)
			l, err := b.lease(t)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := l.Provision(t.Context(), c.build); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
