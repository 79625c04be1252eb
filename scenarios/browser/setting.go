package browser

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
)

// delegates are system apps that are known to send data for others on MIUI.
func delegates() []string {
	return []string{"com.miui.analytics", "com.miui.msa.global", "com.xiaomi.xmsf", "com.miui.daemon"}
}

// MakersPromise is what the maker said of the switch: it speaks of incognito
// mode and of nothing else.
func MakersPromise() harness.Claim {
	return harness.Claim{
		ID: "maker-incognito", Date: "2020-05-04",
		Source:  "Xiaomi, statement on its blog with the release of Mi Browser 12.1.4 and Mint Browser 3.4.3",
		Wording: "A switch in incognito mode lets people turn the collection of aggregated data off.",
		Scope: harness.Scope{
			Apps: []string{Package}, Delegates: delegates(), Parties: []string{"Xiaomi"}, Modes: []harness.Mode{harness.ModeIncognito},
		},
	}
}

// PressReading is what newspapers made of it: off stops any collection, in
// every mode. It is another source than the maker's own words.
func PressReading() harness.Claim {
	return harness.Claim{
		ID: "press-any-mode", Date: "2020-05-04",
		Source:  "press reports on the update of May 2020",
		Wording: "Turning the switch off stops any collection of data.",
		Scope:   harness.Scope{Apps: []string{Package}, Delegates: delegates(), Parties: []string{"Xiaomi"}},
	}
}

// A row is how the switch appears in a build. In both known forms the checked
// widget means that statistics are sent; the words of the first read the other
// way round.
type row struct {
	// titles are its words in the languages that are known, English first.
	titles []string
	// checked is the arm that the checked widget means.
	checked harness.Arm
}

// rows are the forms of the switch, newest first.
func rows() []row {
	return []row{
		{titles: []string{"Help us improve Mi Browser", "Aidez nous à améliorer Mi Browser", "Помогите нам улучшить Браузер"}, checked: On},
		{titles: []string{"Enhanced incognito mode"}, checked: On},
	}
}

// switchScreen is the settings' row that leads to the switch.
func switchScreen() []string {
	return []string{"Privacy & security", "Vie privée et sécurité", "Конфиденциальность и безопасность"}
}

// spoken is a row's words for a person, whatever language the phone speaks.
func spoken(titles []string) string {
	said := fmt.Sprintf("%q", titles[0])
	if len(titles) > 1 {
		said += fmt.Sprintf(" (in other languages %s)", strings.Join(titles[1:], ", "))
	}
	return said
}

// AggregatedData is the switch that is said to stop the collection of
// aggregated data.
func AggregatedData(arm harness.Arm) harness.Setting {
	return harness.Setting{
		Name: "aggregated data", Arm: arm, Package: Package, Claim: MakersPromise(),
		Apply: func(ctx context.Context, act *harness.Act) error { return apply(ctx, act, arm) },
		Read:  read,
		Load:  load,
	}
}

// toSwitch opens the screen with the switch and returns its row's title, the
// widget, and the row's form.
func toSwitch(ctx context.Context, act *harness.Act) (title, widget *ui.Node, form row, err error) {
	if err := start(ctx, act, settingsActivity); err != nil {
		return nil, nil, row{}, err
	}
	wait, cancel := screenWait(ctx)
	defer cancel()
	forms := make([]ui.Selector, 0, len(rows()))
	for _, r := range rows() {
		forms = append(forms, ui.And(ui.ByID("android:id/title"), ui.ByTexts(r.titles...)))
	}
	root, err := act.Screen.Dump(wait)
	if err != nil {
		return nil, nil, row{}, fmt.Errorf("browser: read the settings: %w", err)
	}
	if root.First(ui.Or(forms...)) == nil {
		err := act.Perform(ctx, harness.Handling{
			Words: fmt.Sprintf("Open %s in the browser's settings and scroll until the switch %s, in old builds %s, can be seen; do not touch the switch", spoken(switchScreen()), spoken(rows()[0].titles), spoken(rows()[1].titles)),
			Do:    func(ctx context.Context) error { return showSwitch(ctx, act, ui.Or(forms...)) },
			Until: act.Showing(ui.Or(forms...)),
		})
		if err != nil {
			return nil, nil, row{}, fmt.Errorf("browser: this build shows no known form of the switch: %w", err)
		}
		if root, err = act.Screen.Dump(ctx); err != nil {
			return nil, nil, row{}, fmt.Errorf("browser: read the switch: %w", err)
		}
	}
	for i, r := range rows() {
		if title = root.First(forms[i]); title == nil {
			continue
		}
		if widget, err = ui.SwitchBeside(root, title.Text); err != nil {
			return nil, nil, row{}, fmt.Errorf("browser: read the switch: %w", err)
		}
		return title, widget, r, nil
	}
	return nil, nil, row{}, errors.New("browser: the switch was there and is gone")
}

// showSwitch goes from the settings to the switch.
func showSwitch(ctx context.Context, act *harness.Act, forms ui.Selector) error {
	wait, cancel := screenWait(ctx)
	defer cancel()
	entry := ui.And(ui.ByID("android:id/title"), ui.ByTexts(switchScreen()...))
	if _, err := act.Screen.ScrollTo(wait, entry); err != nil {
		return err
	}
	if err := act.Screen.TapOn(wait, entry); err != nil {
		return err
	}
	_, err := act.Screen.ScrollTo(wait, forms)
	return err
}

// leave goes back to the home screen, so that the next look is a new one.
func leave(ctx context.Context, act *harness.Act) error {
	err := act.Perform(ctx, harness.Handling{
		Words: "Leave the browser's settings with Back until they are closed, and go to the home screen",
		Do: func(ctx context.Context) error {
			for _, key := range []int{ui.KeyBack, ui.KeyBack, ui.KeyHome} {
				if err := act.Screen.Key(ctx, key); err != nil {
					return err
				}
			}
			return nil
		},
		Until: func(ctx context.Context) error { return act.Screen.WaitGone(ctx, ui.ByPackage(Package)) },
	})
	if err != nil {
		return fmt.Errorf("browser: leave the settings: %w", err)
	}
	return nil
}

func (r row) arm(checked bool) harness.Arm {
	if checked {
		return r.checked
	}
	if r.checked == On {
		return Off
	}
	return On
}

// apply sets the switch, leaves the screen, comes back and reads it.
func apply(ctx context.Context, act *harness.Act, arm harness.Arm) error {
	title, widget, form, err := toSwitch(ctx, act)
	if err != nil {
		return err
	}
	if form.arm(widget.Checked) != arm {
		err := act.Perform(ctx, harness.Handling{
			Words: fmt.Sprintf("Tap the switch %q, once", title.Text),
			Do:    func(ctx context.Context) error { return act.Screen.Tap(ctx, widget) },
		})
		if err != nil {
			return fmt.Errorf("browser: tap the switch: %w", err)
		}
	}
	if err := leave(ctx, act); err != nil {
		return err
	}
	title, widget, form, err = toSwitch(ctx, act)
	if err != nil {
		return err
	}
	got := form.arm(widget.Checked)
	act.ReadBack("switch \""+title.Text+"\" after leaving its screen and coming back", string(arm), string(got), got == arm)
	return leave(ctx, act)
}

// read reads the switch and the app without changing either.
func read(ctx context.Context, act *harness.Act) (harness.State, error) {
	title, widget, form, err := toSwitch(ctx, act)
	if err != nil {
		return harness.State{}, err
	}
	state := harness.State{
		Arm: form.arm(widget.Checked), Widget: map[bool]string{true: "checked", false: "unchecked"}[widget.Checked],
		Title: title.Text, Caption: summaryOf(title), Consent: "given", App: Package,
	}
	pkg, err := act.Device.Package(ctx, Package)
	if err != nil {
		return state, fmt.Errorf("browser: read the app: %w", err)
	}
	state.Version, state.SHA256 = pkg.VersionName, pkg.SHA256
	return state, leave(ctx, act)
}
