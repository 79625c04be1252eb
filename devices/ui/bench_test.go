package ui_test

import (
	"context"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/ui"
)

// BenchmarkSwitchOnMovingScreen reads the switch on a screen on which something
// moves, and on one that is still, at a real phone's pace, and prints the ratio.
// What a real uiautomator takes to start is not in it.
func BenchmarkSwitchOnMovingScreen(b *testing.B) {
	w, err := sim.Start(b.Context(), sim.Config{Dir: b.TempDir(), Seed: 7, Pace: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close() //nolint:errcheck // The world's end is another test's.
	p := w.Phones()[0]
	d := devices.Open(w.ADB(), p.Serial())
	s := ui.New(d)
	start := func(component string) {
		if _, err := d.Output(b.Context(), "am", "start", "-W", "-n", component); err != nil {
			b.Fatal(err)
		}
	}
	start("com.mi.globalbrowser/com.android.browser.BrowserActivity")
	if err := s.TapOn(b.Context(), ui.ByID("android:id/button1")); err != nil {
		b.Fatal(err)
	}
	start("com.mi.globalbrowser/com.android.browser.BrowserSettingsActivity")
	if err := s.TapOn(b.Context(), ui.ByText("Privacy & security")); err != nil {
		b.Fatal(err)
	}
	if _, err := s.WaitFor(b.Context(), ui.ByText("Enable cookies")); err != nil {
		b.Fatal(err)
	}
	if _, err := s.ScrollTo(b.Context(), ui.ByText("Help us improve Mi Browser")); err != nil {
		b.Fatal(err)
	}
	read := func(ctx context.Context) time.Duration {
		began := time.Now()
		root, err := s.Dump(ctx)
		if err == nil {
			_, err = ui.SwitchBeside(root, "Help us improve Mi Browser")
		}
		if err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	var still, moving time.Duration
	const looks = 5
	for b.Loop() {
		still, moving = 0, 0
		for range looks {
			still += read(b.Context())
		}
		if err := p.Fault(b.Context(), "moving-screen", ""); err != nil {
			b.Fatal(err)
		}
		first := read(b.Context()) // It finds out, and loses uiautomator's ten seconds.
		for range looks {
			moving += read(b.Context())
		}
		if err := p.Fault(b.Context(), "moving-screen", "off"); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(first.Seconds(), "s-first-look")
	}
	b.ReportMetric(moving.Seconds()/looks, "s-moving")
	b.ReportMetric(still.Seconds()/looks, "s-still")
	b.ReportMetric(moving.Seconds()/still.Seconds(), "ratio")
}
