package ui_test

import (
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/ui"
)

// The whole way through the browser's consent wall to the switch, and back, on
// a simulated phone.
func TestSimSwitch(t *testing.T) {
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}()
	d := devices.Open(w.ADB(), w.Phones()[0].Serial())
	s := ui.New(d)
	start := func(args ...string) {
		t.Helper()
		if _, err := d.Output(within(t), append([]string{"am", "start", "-W"}, args...)...); err != nil {
			t.Fatal(err)
		}
	}
	start("-n", "com.mi.globalbrowser/com.android.browser.BrowserActivity")
	wall, err := s.WaitFor(within(t), ui.ByID("cb_service"))
	if err != nil {
		t.Fatal(err)
	}
	if !wall.Checked {
		t.Error("the wall's box is ticked beforehand, and reads as not ticked")
	}
	if err := s.TapOn(within(t), ui.ByID("android:id/button1")); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitGone(within(t), ui.ByID("cb_service")); err != nil {
		t.Fatal(err)
	}
	picture, err := s.Screenshot(within(t))
	if err != nil || len(picture) < 1000 {
		t.Errorf("a picture of %d bytes, %v", len(picture), err)
	}
	const title = "Help us improve Mi Browser"
	find := func() *ui.Node {
		t.Helper()
		start("-a", "com.android.browser.OPEN_SETTINGS", "-p", "com.mi.globalbrowser")
		if err := s.TapOn(within(t), ui.ByText("Privacy & security")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.WaitFor(within(t), ui.ByText("Enable cookies")); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ScrollTo(within(t), ui.ByText(title)); err != nil {
			t.Fatal(err)
		}
		root, err := s.Dump(within(t))
		if err != nil {
			t.Fatal(err)
		}
		found, err := ui.SwitchBeside(root, title)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	leave := func() {
		t.Helper()
		for range 2 {
			if err := s.Key(within(t), ui.KeyBack); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.WaitGone(within(t), ui.ByText("Privacy & security")); err != nil {
			t.Fatal(err)
		}
	}
	want := find().Checked
	leave()
	for range 2 {
		if err := s.Tap(within(t), find()); err != nil {
			t.Fatal(err)
		}
		leave()
		want = !want
		if got := find().Checked; got != want {
			t.Errorf("after leaving and entering again the switch is %v, want %v", got, want)
		}
		leave()
	}
}
