// Package browser is for driving Mi Browser the way a person does: pass the
// consent wall, choose a search engine, open an incognito tab, search, and set
// the switch that is said to stop the collection of aggregated data.
//
// A step types a canary and reads back what the field really holds and whether
// the results page came; a setting is read back after leaving its screen and
// coming back. Words and view ids come from public descriptions of the builds
// of 2020 to 2022; no physical phone has confirmed them yet.
package browser

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
)

// Package is the browser that is driven.
const Package = "com.mi.globalbrowser"

const (
	mainActivity     = Package + "/com.android.browser.BrowserActivity"
	settingsActivity = Package + "/com.android.browser.BrowserSettingsActivity"
)

// The arms of the switch: On means that collection is allowed, whatever the
// widget of the build looks like.
const (
	On  = harness.On
	Off = harness.Off
)

// Limits of one wait on the screen. They are not multiplied by the pace: they
// end a wait for something that will not come.
const (
	screenLimit = 45 * time.Second
	pageLimit   = 60 * time.Second
)

// screenWait bounds one wait.
func screenWait(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, screenLimit)
}

// start brings an activity to the front and waits until it shows.
func start(ctx context.Context, act *harness.Act, component string) error {
	wait, cancel := screenWait(ctx)
	defer cancel()
	res, err := act.Device.Shell(wait, "am", "start", "-W", "-n", component)
	if err != nil {
		return fmt.Errorf("browser: start %s: %w", component, err)
	}
	if out := string(res.Stdout) + string(res.Stderr); res.Exit != 0 || strings.Contains(out, "Error") {
		return fmt.Errorf("browser: start %s: %s", component, strings.TrimSpace(out))
	}
	if _, err := act.Screen.WaitFor(wait, ui.ByPackage(Package)); err != nil {
		return fmt.Errorf("browser: start %s: it does not show: %w", component, err)
	}
	return nil
}

var wall = ui.ByID(Package + ":id/privacy_title")

// Consented opens the browser and, where the first-run wall is up, agrees to
// it. It is a step of its own, because agreeing changes the experiment: it is
// named in the scenario, and what was found is recorded. Without it a wall ends
// the observation.
func Consented() harness.Step {
	return harness.Step{Name: "agree to the browser's terms", Quiet: true, Do: func(ctx context.Context, act *harness.Act) error {
		if err := start(ctx, act, mainActivity); err != nil {
			return err
		}
		root, err := act.Screen.Dump(ctx)
		if err != nil {
			return fmt.Errorf("browser: look for the consent wall: %w", err)
		}
		if root.First(wall) == nil {
			act.Factor("consent wall", "not shown")
			return nil
		}
		box := root.First(ui.ByID(Package + ":id/cb_service"))
		if box != nil {
			act.Factor("consent box", map[bool]string{true: "ticked beforehand", false: "not ticked beforehand"}[box.Checked])
		}
		act.Factor("consent wall", "shown; agreed to by this scenario")
		err = act.Perform(ctx, harness.Handling{
			Words: "Agree to the browser's terms, as they are shown",
			Do: func(ctx context.Context) error {
				if box != nil && !box.Checked {
					if err := act.Screen.Tap(ctx, box); err != nil {
						return err
					}
				}
				return act.Screen.TapOn(ctx, ui.ByID("android:id/button1"))
			},
			Until: func(ctx context.Context) error { return act.Screen.WaitGone(ctx, wall) },
		})
		if err != nil {
			return fmt.Errorf("browser: agree: %w", err)
		}
		return nil
	}}
}

// open brings the browser's window to the front; a consent wall is an error,
// since nothing is accepted on a person's behalf.
func open(ctx context.Context, act *harness.Act) error {
	if err := start(ctx, act, mainActivity); err != nil {
		return err
	}
	root, err := act.Screen.Dump(ctx)
	if err != nil {
		return fmt.Errorf("browser: open: %w", err)
	}
	if root.First(wall) != nil {
		return errors.New("browser: the consent wall is up: accept or decline it by hand, or name the step browser.Consented in the scenario")
	}
	return nil
}

// Incognito opens an incognito tab and reads back that it is one.
func Incognito() harness.Step { return tabStep("open an incognito tab", harness.ModeIncognito) }

// Normal opens a normal tab and reads back that it is one.
func Normal() harness.Step { return tabStep("open a normal tab", harness.ModeNormal) }

var incognitoMark = ui.Or(ui.ByID(Package+":id/incognito_mark"), ui.ByID(Package+":id/incognito_home"))

func tabStep(name string, mode harness.Mode) harness.Step {
	return harness.Step{Name: name, Quiet: true, Prepares: true, Do: func(ctx context.Context, act *harness.Act) error {
		return newTab(ctx, act, mode)
	}}
}

// newTab opens a tab of a mode and reads back that it is one.
func newTab(ctx context.Context, act *harness.Act, mode harness.Mode) error {
	if err := open(ctx, act); err != nil {
		return err
	}
	is := harness.ModeNormal
	root, err := act.Screen.Dump(ctx)
	if err != nil {
		return fmt.Errorf("browser: read the mode: %w", err)
	}
	if root.First(incognitoMark) != nil {
		is = harness.ModeIncognito
	}
	row, words := Package+":id/menu_new_tab", fmt.Sprintf("Open a new tab in the browser, by its menu; it is in %s mode already", mode)
	if is != mode {
		// The same row of the menu turns incognito on and off.
		row, words = Package+":id/menu_incognito", fmt.Sprintf("Turn incognito mode %s in the browser's menu, so that %s tab opens", map[bool]string{true: "on", false: "off"}[mode == harness.ModeIncognito], article(mode))
	}
	err = act.Perform(ctx, harness.Handling{
		Words: words,
		Do: func(ctx context.Context) error {
			wait, cancel := screenWait(ctx)
			defer cancel()
			if err := act.Screen.TapOn(wait, ui.ByID(Package+":id/action_my")); err != nil {
				return fmt.Errorf("open the menu: %w", err)
			}
			return act.Screen.TapOn(wait, ui.ByID(row))
		},
		Until: act.Showing(ui.ByID(Package + ":id/url")),
	})
	if err != nil {
		return fmt.Errorf("browser: choose the tab's mode: %w", err)
	}
	got, err := readMode(ctx, act)
	if err != nil {
		return err
	}
	act.ReadBack("browsing mode", string(mode), string(got), got == mode)
	act.Mode(got)
	return nil
}

// home goes to the home screen, and leaves the app as it is.
func home(ctx context.Context, act *harness.Act) error {
	return act.Perform(ctx, harness.Handling{
		Words: "Go to the home screen",
		Do:    func(ctx context.Context) error { return act.Screen.Key(ctx, ui.KeyHome) },
		Until: func(ctx context.Context) error { return act.Screen.WaitGone(ctx, ui.ByPackage(Package)) },
	})
}

// article is a mode with the word before it.
func article(mode harness.Mode) string {
	if mode == harness.ModeIncognito {
		return "an incognito"
	}
	return "a " + string(mode)
}

// stillIn reads back that the mode is the one that was brought about.
func stillIn(ctx context.Context, act *harness.Act, when string) error {
	got, err := readMode(ctx, act)
	if err != nil {
		return err
	}
	want := act.CurrentMode()
	act.ReadBack("browsing mode "+when, string(want), string(got), got == want || want == harness.ModeUnknown)
	act.Mode(got)
	return nil
}

func readMode(ctx context.Context, act *harness.Act) (harness.Mode, error) {
	root, err := act.Screen.Dump(ctx)
	if err != nil {
		return harness.ModeUnknown, fmt.Errorf("browser: read the mode: %w", err)
	}
	if root.First(incognitoMark) != nil {
		return harness.ModeIncognito, nil
	}
	return harness.ModeNormal, nil
}
