package ui_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/ui"
)

// TestMoodsOfUIAutomator has uiautomator fail in each of its ways.
func TestMoodsOfUIAutomator(t *testing.T) {
	busy, empty := func(err error) bool { return errors.As(err, new(*ui.BusyError)) }, func(err error) bool { return errors.As(err, new(*ui.EmptyError)) }
	for fault, is := range map[string]func(error) bool{
		"never-idle": busy,
		"no-window":  empty,
		"one-node":   empty,
		"screen-off": empty,
		"ui-noise":   func(err error) bool { return err == nil },
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			p, s := phoneAndScreen(t)
			if _, err := s.Dump(t.Context()); err != nil {
				t.Fatalf("before: %v", err)
			}
			if err := p.Fault(t.Context(), fault, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Dump(t.Context()); !is(err) {
				t.Errorf("got %v", err)
			}
			if err := p.Fault(t.Context(), fault, "off"); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Dump(t.Context()); err != nil {
				t.Errorf("after: %v", err)
			}
		})
	}
}

// TestWaitOutlastsAMood has the screen come to rest while something is awaited.
func TestWaitOutlastsAMood(t *testing.T) {
	p, s := phoneAndScreen(t)
	if err := p.Fault(t.Context(), "never-idle", "30s"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.WaitFor(ctx, ui.ByText("Settings")); err != nil {
		t.Error(err)
	}
}

func TestPopupsAreReportedAndNeverAnswered(t *testing.T) {
	for kind, want := range map[string]ui.Popup{
		"permission": {Kind: ui.PopupPermission, Package: "com.lbe.security.miui", Title: "Allow Mi Browser to access this device's location?", Buttons: []string{"Deny", "Allow"}},
		"install":    {Kind: ui.PopupInstall, Package: "com.miui.securitycenter", Title: "Install via USB", Buttons: []string{"Deny", "Install"}},
		"update":     {Kind: ui.PopupUpdate, Package: "com.android.updater", Title: "System update", Buttons: []string{"Later", "Update"}},
		"anr":        {Kind: ui.PopupStuck, Package: "android", Title: "Mi Browser isn't responding", Buttons: []string{"Close app", "Wait"}},
		"crash":      {Kind: ui.PopupCrash, Package: "android", Title: "Mi Browser has stopped", Buttons: []string{"Close app"}},
		"lock":       {Kind: ui.PopupLock, Package: "com.android.systemui", Title: "Swipe up to unlock"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p, s := phoneAndScreen(t)
			root, err := s.Dump(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := ui.PopupIn(root); ok {
				t.Errorf("the home screen is taken for %v", got)
			}
			name, arg := "popup", kind
			if kind == "lock" {
				name, arg = "lock", ""
			}
			if err := p.Fault(t.Context(), name, arg); err != nil {
				t.Fatal(err)
			}
			if root, err = s.Dump(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, ok := ui.PopupIn(root)
			if !ok || got.String() != want.String() || got.Kind != want.Kind {
				t.Errorf("got %v, %v; want %v", got, ok, want)
			}
			_, err = s.Find(t.Context(), ui.ByText("Chrome of nobody"))
			if err == nil || !strings.Contains(err.Error(), "a window of "+want.Package+" is in front") || !strings.Contains(err.Error(), want.Title) {
				t.Errorf("got %v", err)
			}
			if focus := p.Truth().Focus; !strings.HasPrefix(focus, want.Package+"/") {
				t.Errorf("the popup was answered: in front is %s", focus)
			}
		})
	}
}

func phoneAndScreen(t *testing.T) (*sim.Phone, *ui.Screen) {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Pace: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	p := w.Phones()[0]
	return p, ui.New(devices.Open(w.ADB(), p.Serial()))
}
