package sim

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/sim/apps"
	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/userland"
)

// screenFaults are what goes wrong with what is seen and with the browser.
func screenFaults() map[string]fault {
	return map[string]fault{
		"screen-off": {about: "the screen goes dark", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			p.display.Key(screen.KeySleep)
			return func(context.Context) error {
				p.display.Key(screen.KeyWakeup)
				return nil
			}, nil
		}},
		"popup": {
			about: "a window of the system comes in front and asks something", lasts: true,
			takes: "its kind, permission unless given: " + strings.Join(apps.PopupKinds(), ", "),
			do: func(_ context.Context, p *Phone, value string) (undo, error) {
				in, pkg, ok := apps.Popup(cmp.Or(value, "permission"))
				if !ok {
					return nil, fmt.Errorf("sim: popup takes one of %s, not %q", strings.Join(apps.PopupKinds(), ", "), value)
				}
				_, err := p.display.Launch(in)
				return func(context.Context) error {
					p.display.ForceStop(pkg)
					return nil
				}, err
			},
		},
		"never-idle":        {about: "the screen never comes to rest, as a feed that plays videos", lasts: true, do: mood(userland.ScreenNeverIdle)},
		"moving-screen":     {about: "something moves on the screen, through which only uiautomator's compressed form comes", lasts: true, do: mood(userland.ScreenMoving)},
		"no-window":         {about: "no window has the focus: uiautomator finds nothing", lasts: true, do: mood(userland.ScreenNoWindow)},
		"one-node":          {about: "uiautomator shows a single empty node", lasts: true, do: mood(userland.ScreenOneNode)},
		"ui-noise":          {about: "MIUI's messages stand before and after what uiautomator prints", lasts: true, do: mood(userland.ScreenNoise)},
		"wedge-uiautomator": {about: "uiautomator starts and never answers", lasts: true, do: mood(userland.ScreenWedged)},
		"lock": {about: "the phone is locked", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			p.display.SetLocked(true)
			return func(context.Context) error {
				p.display.SetLocked(false)
				return nil
			}, nil
		}},
		"crash-browser": {about: "the browser's process dies", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.display.ForceStop(browser.Package)
			return nil
		})},
		"data-cleared": {about: "the browser's data is deleted", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.display.Clear(browser.Package)
			return nil
		})},
	}
}

// mood has uiautomator see the screen in a way, until it is undone.
func mood(m userland.ScreenMood) func(context.Context, *Phone, string) (undo, error) {
	return toggle(func(p *Phone, on bool) { p.sys.SetScreenMood(m, on) })
}
