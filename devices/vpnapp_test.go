package devices_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
)

const vpnPackage = "com.emanuelef.remote_capture"

// TestVPNAppIsEnded: an app that was left as the phone's VPN by a program that
// died is ended by the next one, which does not know its key.
func TestVPNAppIsEnded(t *testing.T) {
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7, Phones: []sim.PhoneConfig{{PCAPdroid: "1.8.7"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := w.Phones()[0]
	d := devices.Open(w.ADB(), p.Serial())
	dir := t.TempDir()
	j, err := devices.OpenJournal(dir, d.Serial())
	if err != nil {
		t.Fatal(err)
	}
	change := devices.RunVPNApp{
		Package: vpnPackage, File: "/sdcard/Download/PCAPdroid/t.pcap",
		Script: "am start -e action start -e api_key " + p.PCAPdroidKey() + " -e pcap_dump_mode pcap_file -e pcap_name t.pcap -n " + vpnPackage + "/.activities.CaptureCtrl",
	}
	other := devices.PutSetting{Namespace: "global", Key: "wifi_scan_always_enabled", Value: "0"}
	for _, c := range []devices.Undoable{other, change} {
		if err := j.Change(within(t), d, c); err != nil {
			t.Fatal(err)
		}
	}
	says := func(script string) string {
		t.Helper()
		res, err := d.Script(within(t), script)
		if err != nil {
			t.Fatal(err)
		}
		return string(res.Stdout) + string(res.Stderr)
	}
	says("while ! grep -q tun0 /proc/net/dev; do sleep 0.05; done")
	// Such a VPN makes a phone unfit, unless an instrument's is known to be there.
	for _, own := range [][]string{nil, {"tun1"}, {"tun0"}} {
		h, err := d.Health(within(t), own...)
		if err != nil {
			t.Fatal(err)
		}
		unfit := slices.ContainsFunc(h.Is(devices.Unfit), func(v devices.Vital) bool { return v.Name == "VPN" })
		if unfit == slices.Contains(own, "tun0") {
			t.Errorf("with %q of an instrument: %v", own, h)
		}
	}
	if err := j.Change(within(t), d, change); err == nil || !strings.Contains(err.Error(), "at work already") {
		t.Errorf("a second one: %v", err)
	}
	if j, err = devices.OpenJournal(dir, d.Serial()); err != nil || len(j.Pending()) != 2 {
		t.Fatalf("%+v, %v", j.Pending(), err)
	}
	for _, c := range j.Pending() {
		if strings.Contains(c.ByHand+c.What, p.PCAPdroidKey()) {
			t.Errorf("the key is written down: %+v", c)
		}
	}
	for range 2 { // An undo may be repeated.
		if err := j.UndoSome(within(t), d, devices.IsVPNApp); err != nil {
			t.Fatal(err)
		}
	}
	if left := says("cat /proc/net/dev; ls /sdcard/Download/PCAPdroid"); strings.Contains(left, "tun0") || strings.Contains(left, "t.pcap") {
		t.Errorf("left on the phone: %s", left)
	}
	if left := j.Pending(); len(left) != 1 || left[0].Kind != "setting" {
		t.Errorf("left in the journal: %+v", left)
	}
	if err := j.Undo(within(t), d); err != nil || len(j.Pending()) > 0 {
		t.Errorf("%+v, %v", j.Pending(), err)
	}
	for _, bad := range []devices.RunVPNApp{{Package: "x; reboot"}, {Package: vpnPackage, File: "x"}, {Package: vpnPackage, Script: "am start -n x.y/.z"}} {
		if err := j.Change(within(t), d, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}
