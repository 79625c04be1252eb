package ui_test

import (
	"errors"
	"image"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/ui"
)

// printable is every character that can be typed.
func printable() string {
	var b strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}

// A phone whose gate is closed refuses the input command and obeys a keyboard and
// a touch screen: taps, swipes, every character and every key.
func TestHIDOperatesLockedPhone(t *testing.T) {
	t.Parallel()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7, Pace: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // The world's end is another test's.
	p := w.Phones()[0]
	if err := p.Fault(t.Context(), "gate-closed", ""); err != nil {
		t.Fatal(err)
	}
	d := devices.Open(w.ADB(), p.Serial())
	s := ui.New(d)
	var gate *devices.GateError
	if err := s.Key(within(t), ui.KeyHome); !errors.As(err, &gate) {
		t.Fatalf("a closed gate lets a key through: %v", err)
	}
	h, err := ui.OpenHID(within(t), d)
	if err != nil {
		t.Fatal(err)
	}
	s.Use(h)
	if s.Route() != ui.RouteHID {
		t.Errorf("the route is %q", s.Route())
	}
	if _, err := d.Output(within(t), "am", "start", "-W", "-n", "com.mi.globalbrowser/com.android.browser.BrowserActivity"); err != nil {
		t.Fatal(err)
	}
	if err := s.TapOn(within(t), ui.ByID("android:id/button1")); err != nil {
		t.Fatal(err)
	}
	bar := ui.ByID("com.mi.globalbrowser:id/url")
	if err := s.TapOn(within(t), bar); err != nil {
		t.Fatal(err)
	}
	field, err := s.WaitFor(within(t), ui.And(bar, ui.Focused()))
	if err != nil {
		t.Fatal(err)
	}
	if field.Text != "" {
		if err := s.Clear(within(t), field); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Type(within(t), printable()); err != nil {
		t.Fatal(err)
	}
	if field, err = s.Find(within(t), bar); err != nil || field.Text != printable() {
		t.Fatalf("the field holds %v, %v", field, err)
	}
	if err := s.Clear(within(t), field); err != nil {
		t.Fatal(err)
	}
	if field, err = s.Find(within(t), ui.And(bar, ui.Focused())); err != nil || field.Text == printable() {
		t.Errorf("the cleared field holds %v, %v", field, err)
	}
	if err := s.Type(within(t), "naïve"); err == nil {
		t.Error("a character without a key was typed")
	}
	if err := s.Type(within(t), "two words"); err != nil {
		t.Fatal(err)
	}
	if err := s.Key(within(t), ui.KeyEnter); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WaitFor(within(t), ui.ByText("two words")); err != nil {
		t.Error(err)
	}
	// A finger that moves far is no tap on where it began.
	menu, err := s.WaitFor(within(t), ui.ByID("com.mi.globalbrowser:id/action_my"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Swipe(within(t), menu.Center(), menu.Center().Sub(image.Pt(0, 900)), 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	row := ui.ByID("com.mi.globalbrowser:id/menu_new_tab")
	if n, err := s.Find(within(t), row); err == nil {
		t.Errorf("a swipe was taken for a tap: %v", n)
	}
	if err := s.Tap(within(t), menu); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WaitFor(within(t), row); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Key(within(t), ui.KeyBack); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Key(within(t), ui.KeyHome); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitGone(within(t), bar); err != nil {
		t.Errorf("the key of home does nothing: %v", err)
	}
	if err := s.Key(within(t), ui.KeyPower); err != nil {
		t.Fatal(err)
	}
	awake := func() bool {
		t.Helper()
		text, err := d.Output(within(t), "dumpsys", "power")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(text, "mWakefulness=Awake")
	}
	if awake() {
		t.Error("the key of power leaves the screen on")
	}
	if err := s.Key(within(t), ui.KeyWakeup); err != nil {
		t.Fatal(err)
	}
	if !awake() {
		t.Error("the key that wakes up does not")
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Key(within(t), ui.KeyHome); err == nil {
		t.Error("a closed keyboard types")
	}
	if text, err := d.Output(within(t), "dumpsys", "input"); err != nil || strings.Contains(text, "offproof") {
		t.Errorf("a device stays behind: %s, %v", text, err)
	}
}

func TestHIDThatThePhoneRefuses(t *testing.T) {
	t.Parallel()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7, Pace: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // The world's end is another test's.
	p := w.Phones()[0]
	d := devices.Open(w.ADB(), p.Serial())
	if err := p.Fault(t.Context(), "no-hid", ""); err != nil {
		t.Fatal(err)
	}
	var none *ui.NoHIDError
	if _, err := ui.OpenHID(within(t), d); !errors.As(err, &none) || !strings.Contains(err.Error(), "/dev/uhid") {
		t.Errorf("without /dev/uhid: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := d.Script(within(t), "until pkill hid; do sleep 0.1; done")
		ended <- err
	}()
	if _, err := ui.OpenHID(within(t), d); !errors.As(err, &none) || !strings.Contains(err.Error(), "ended at once") {
		t.Errorf("a command that ends: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
