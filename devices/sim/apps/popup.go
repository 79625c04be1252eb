package apps

import (
	"slices"

	"github.com/offproof/offproof/devices/sim/screen"
)

// A popup is a window of the system that asks something.
type popup struct {
	pkg, activity string
	title, text   string
	// ids and words are the answers, the one that refuses first.
	ids, words []string
}

// popups are the windows that come in front of other apps, by kind.
var popups = map[string]popup{
	"permission": {
		"com.lbe.security.miui", "com.android.packageinstaller.permission.ui.GrantPermissionsActivity",
		"Allow Mi Browser to access this device's location?", "",
		[]string{"com.android.packageinstaller:id/permission_deny_button", "com.android.packageinstaller:id/permission_allow_button"},
		[]string{"Deny", "Allow"},
	},
	"install": {
		"com.miui.securitycenter", "com.miui.permcenter.install.AdbInstallActivity",
		"Install via USB", "Another device wants to install an app on this one.",
		[]string{"android:id/button2", "android:id/button1"},
		[]string{"Deny", "Install"},
	},
	"update": {
		"com.android.updater", "com.android.updater.UpdateDialogActivity",
		"System update", "MIUI 11.0.9.0 can be installed. It takes about ten minutes.",
		[]string{"android:id/button2", "android:id/button1"},
		[]string{"Later", "Update"},
	},
	"anr": {
		"android", "com.android.server.am.AppNotRespondingDialog",
		"Mi Browser isn't responding", "",
		[]string{"android:id/aerr_close", "android:id/aerr_wait"},
		[]string{"Close app", "Wait"},
	},
	"crash": {
		"android", "com.android.server.am.AppErrorDialog",
		"Mi Browser has stopped", "",
		[]string{"android:id/aerr_close"},
		[]string{"Close app"},
	},
}

// PopupKinds are the kinds that Popup knows.
func PopupKinds() []string { return []string{"permission", "install", "update", "anr", "crash"} }

// PopupApps are the programs that show popups, to be installed once.
func PopupApps() []screen.App {
	var apps []screen.App
	for _, kind := range PopupKinds() {
		pkg := popups[kind].pkg
		if !slices.ContainsFunc(apps, func(a screen.App) bool { return a.Package() == pkg }) {
			apps = append(apps, popupApp{pkg})
		}
	}
	return apps
}

// Popup is the intent that shows a popup of a kind, and the program that does.
func Popup(kind string) (in screen.Intent, pkg string, ok bool) {
	p, ok := popups[kind]
	return screen.Intent{Component: p.pkg + "/" + p.activity}, p.pkg, ok
}

// popupApp is one of the system's programs, as far as its popups go.
type popupApp struct{ pkg string }

func (p popupApp) Package() string               { return p.pkg }
func (p popupApp) Label() string                 { return p.pkg }
func (p popupApp) Attach(func(func(*screen.UI))) {}
func (p popupApp) Stop()                         {}
func (p popupApp) Clear()                        {}

func (p popupApp) Activities() []screen.ActivityInfo {
	var all []screen.ActivityInfo
	for _, kind := range PopupKinds() {
		if popups[kind].pkg == p.pkg {
			all = append(all, screen.ActivityInfo{Name: popups[kind].activity})
		}
	}
	return all
}

func (p popupApp) Open(_ *screen.UI, name string, _ screen.Intent) *screen.Activity {
	for _, kind := range PopupKinds() {
		if w := popups[kind]; w.pkg == p.pkg && w.activity == name {
			return w.open()
		}
	}
	return nil
}

// open makes the window. Neither BACK nor a tap beside it answers the question.
func (w popup) open() *screen.Activity {
	a := &screen.Activity{OnBack: func(*screen.UI) bool { return true }}
	panel := screen.Column("android:id/parentPanel",
		screen.Text("android:id/alertTitle", w.title, screen.Style{TextSize: 18, Bold: true}))
	if w.text != "" {
		panel.Add(screen.Text("android:id/message", w.text, screen.Style{TextSize: 16}))
	}
	row := screen.Row("android:id/buttonPanel")
	for i, word := range w.words {
		row.Add(screen.TextButton(w.ids[i], word, func(ui *screen.UI) { ui.Finish(a) }))
	}
	panel.Add(row)
	panel.Padding = screen.Sides(24, 24)
	a.Root = panel
	return a
}
