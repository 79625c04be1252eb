package ui

import (
	"fmt"
	"slices"
	"strings"
)

// A PopupKind says what put a window in front of an app.
type PopupKind string

// The kinds of popups. PopupUnknown is none of the others.
const (
	PopupUnknown    PopupKind = ""
	PopupPermission PopupKind = "permission"  // an app asks for one
	PopupInstall    PopupKind = "install"     // MIUI asks whether ADB may install
	PopupUpdate     PopupKind = "update"      // a new build is offered
	PopupStuck      PopupKind = "not respond" // an app does not respond
	PopupCrash      PopupKind = "crash"       // an app has stopped
	PopupLock       PopupKind = "lock screen"
)

// A Popup is a window of the system in front of what was opened. Nothing here
// ever answers one: what a button promises is for a person to weigh.
type Popup struct {
	Kind PopupKind
	// Package is the program whose window it is.
	Package string
	// Title is what it says first, Buttons are its answers.
	Title   string
	Buttons []string
}

func (p Popup) String() string {
	kind := string(p.Kind)
	if kind == "" {
		kind = "dialog"
	}
	return fmt.Sprintf("a window of %s is in front (%s): %q, with the answers %s", p.Package, kind, p.Title, quoted(p.Buttons))
}

func quoted(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(out, ", ")
}

// popupPackages are the programs that put themselves in front of others, with
// what they ask. The names are those of Android 6 to 15 and of MIUI 10 to 14.
var popupPackages = map[string]PopupKind{
	"com.android.packageinstaller":            PopupPermission,
	"com.google.android.packageinstaller":     PopupPermission,
	"com.android.permissioncontroller":        PopupPermission,
	"com.google.android.permissioncontroller": PopupPermission,
	"com.lbe.security.miui":                   PopupPermission,
	"com.miui.securitycenter":                 PopupInstall,
	"com.miui.global.packageinstaller":        PopupInstall,
	"com.miui.packageinstaller":               PopupInstall,
	"com.android.updater":                     PopupUpdate,
	"com.android.systemui":                    PopupLock,
	"android":                                 PopupUnknown,
}

// PopupIn recognises a popup in the tree of the window in front. A person who
// works in one of these programs, such as the settings of the security centre,
// sees no popup: it has to have the shape of a question.
func PopupIn(root *Node) (Popup, bool) {
	if root == nil {
		return Popup{}, false
	}
	pkg := root.Package
	if pkg == "" && len(root.Children) > 0 {
		pkg = root.Children[0].Package
	}
	kind, known := popupPackages[pkg]
	if !known {
		return Popup{}, false
	}
	p := Popup{Kind: kind, Package: pkg}
	var title, text string
	root.walk(func(n *Node) bool {
		id := n.ID[strings.LastIndexByte(n.ID, '/')+1:]
		switch {
		case id == "aerr_wait":
			p.Kind = PopupStuck
		case id == "aerr_close" && p.Kind == PopupUnknown, id == "aerr_restart":
			p.Kind = PopupCrash
		}
		switch {
		case n.Clickable && n.Text != "" && strings.HasSuffix(n.Class, "Button"):
			p.Buttons = append(p.Buttons, n.Text)
		case n.Text == "":
		case slices.Contains([]string{"alertTitle", "permission_message", "title", "keyguard_message_area"}, id) && title == "":
			title = n.Text
		case text == "":
			text = n.Text
		}
		return true
	})
	if p.Title = title; title == "" {
		p.Title = text
	}
	if p.Kind == PopupLock {
		// The status bar and the volume are windows of the same program.
		return p, root.First(ByID("lock_icon")) != nil || root.First(ByID("keyguard_indication_area")) != nil
	}
	return p, len(p.Buttons) > 0
}
