package screen

import (
	"image"
	"time"
	"unicode/utf8"
)

// The key codes that the display knows; others are ignored.
const (
	KeyHome       = 3
	KeyBack       = 4
	KeyDpadUp     = 19
	KeyDpadDown   = 20
	KeyDpadCenter = 23
	KeyPower      = 26
	KeyTab        = 61
	KeySpace      = 62
	KeyEnter      = 66
	KeyDel        = 67
	KeyMenu       = 82
	KeyPageUp     = 92
	KeyPageDown   = 93
	KeyEscape     = 111
	KeyForwardDel = 112
	KeyMoveHome   = 122
	KeyMoveEnd    = 123
	KeyNumpadEnt  = 160
	KeyAppSwitch  = 187
	KeySleep      = 223
	KeyWakeup     = 224
)

// maxText bounds what a text field holds.
const maxText = 4096

// Gestures: a touch that moves less than slop is a tap, and a tap that rests
// as long as longPress is a long one.
const longPress = 500 * time.Millisecond

var slop = px(8)

// Tap touches a point for a moment.
func (d *Display) Tap(x, y int) { d.touch(x, y, false) }

// Swipe moves a finger over the screen. Where it hardly moves it is a tap, or
// a long press if it takes half a second. What scrolls follows the finger
// exactly, without a fling.
func (d *Display) Swipe(x1, y1, x2, y2 int, took time.Duration) {
	if dx, dy := x2-x1, y2-y1; dx*dx+dy*dy < slop*slop {
		d.touch(x1, y1, took >= longPress)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf() {
		return
	}
	root, _ := d.window()
	scrollAt(root, image.Pt(x1, y1), y1-y2)
}

// scrollAt moves the innermost list under a point that can still move.
func scrollAt(v *View, at image.Point, by int) bool {
	if v.Hidden || !at.In(v.shown) {
		return false
	}
	for i := len(v.Children) - 1; i >= 0; i-- {
		if scrollAt(v.Children[i], at, by) {
			return true
		}
	}
	if !v.scrollable() {
		return false
	}
	to := min(max(v.scroll+by, 0), v.reach)
	moved := to != v.scroll
	v.scroll = to
	return moved
}

func (d *Display) touch(x, y int, long bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deaf() || d.front == nil {
		return
	}
	at := image.Pt(x, y)
	if !at.In(image.Rect(0, statusBar, Width, Height)) {
		return
	}
	if y >= Height-navBar {
		d.navigate(x)
		return
	}
	if d.ime && y >= Height-navBar-keyboardHeight {
		if k, ok := keyAt(at); ok {
			d.press(k)
		}
		return
	}
	root, _ := d.window()
	if n := len(d.front.dialogs); n > 0 && !d.recent && !at.In(root.shown) {
		d.cancel(d.front.dialogs[n-1])
		return
	}
	v := hit(root, at)
	if v == nil || v.Disabled {
		return
	}
	if long && v.OnLongClick != nil {
		v.OnLongClick(&d.ui)
		return
	}
	d.click(v)
}

// hit finds what takes a touch: the topmost clickable view under the point.
func hit(v *View, at image.Point) *View {
	if v.Hidden || !at.In(v.shown) {
		return nil
	}
	for i := len(v.Children) - 1; i >= 0; i-- {
		if found := hit(v.Children[i], at); found != nil {
			return found
		}
	}
	if v.clickable() {
		return v
	}
	return nil
}

func (d *Display) click(v *View) {
	if v.isEdit() {
		d.setFocus(v)
	}
	if v.Checkable && v.OnToggle != nil {
		v.Checked = !v.Checked
		v.OnToggle(&d.ui, v.Checked)
	}
	if v.OnClick != nil {
		v.OnClick(&d.ui)
	}
}

// navigate is a tap on the bar of three buttons: recents, home, back.
func (d *Display) navigate(x int) {
	switch {
	case x < Width/3:
		d.key(KeyAppSwitch)
	case x < 2*Width/3:
		d.key(KeyHome)
	default:
		d.key(KeyBack)
	}
}

func (d *Display) cancel(dialog *Dialog) {
	if dialog.Strict {
		return
	}
	d.ui.Dismiss(dialog)
	if dialog.OnCancel != nil {
		dialog.OnCancel(&d.ui)
	}
}

// Text types characters into the focused text field, as a keyboard would;
// without one they are lost.
func (d *Display) Text(s string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.deaf() {
		d.insert(s)
	}
}

func (d *Display) insert(s string) {
	v := d.focused()
	if v == nil || !v.isEdit() || v.Disabled {
		return
	}
	if v.allTaken {
		v.Text, v.allTaken = "", false
	}
	if len(v.Text)+len(s) > maxText {
		s = s[:max(0, maxText-len(v.Text))]
	}
	v.Text += s
	if v.OnText != nil {
		v.OnText(&d.ui, v.Text)
	}
}

// Key presses and releases a key.
func (d *Display) Key(code int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.key(code)
	}
}

func (d *Display) key(code int) {
	switch code {
	case KeyPower:
		if d.asleep {
			d.wake()
		} else {
			d.sleep()
		}
		return
	case KeyWakeup:
		d.wake()
		return
	case KeySleep:
		d.sleep()
		return
	}
	if d.asleep || d.locked {
		return
	}
	switch code {
	case KeyHome:
		d.goHome()
	case KeyAppSwitch:
		d.recent = !d.recent
		d.ime = false
	case KeyBack, KeyEscape:
		d.back()
	case KeyEnter, KeyNumpadEnt, KeyDpadCenter:
		d.enter()
	case KeySpace:
		d.insert(" ")
	case KeyDel, KeyForwardDel:
		d.erase()
	case KeyTab, KeyDpadDown:
		d.moveFocus(1)
	case KeyDpadUp:
		d.moveFocus(-1)
	case KeyPageDown, KeyPageUp:
		root, _ := d.window()
		by := (Height - statusBar - navBar) / 2
		if code == KeyPageUp {
			by = -by
		}
		scrollAt(root, image.Pt(Width/2, Height/2), by)
	case KeyMoveEnd, KeyMoveHome:
		// The cursor is always at the end; this only takes the selection away.
		if v := d.focused(); v != nil {
			v.allTaken = false
		}
	}
}

func (d *Display) back() {
	switch a := d.front; {
	case d.recent:
		d.recent = false
	case a == nil:
	case d.ime:
		d.ime = false
	case len(a.dialogs) > 0:
		d.cancel(a.dialogs[len(a.dialogs)-1])
	case a.OnBack != nil && a.OnBack(&d.ui):
	case a.pkg == homePackage:
	default:
		d.finish(a)
	}
}

func (d *Display) enter() {
	v := d.focused()
	if v == nil || v.Disabled {
		return
	}
	if !v.isEdit() {
		d.click(v)
		return
	}
	if v.OnEnter != nil {
		d.ime = false
		v.OnEnter(&d.ui, v.Text)
	}
}

func (d *Display) erase() {
	v := d.focused()
	if v == nil || !v.isEdit() || v.Text == "" {
		return
	}
	if v.allTaken {
		v.Text, v.allTaken = "", false
	} else {
		_, size := utf8.DecodeLastRuneInString(v.Text)
		v.Text = v.Text[:len(v.Text)-size]
	}
	if v.OnText != nil {
		v.OnText(&d.ui, v.Text)
	}
}

// focused is the focused view of the active window, as long as it is there.
func (d *Display) focused() *View {
	if d.front == nil || d.asleep || d.recent {
		return nil
	}
	if n := len(d.front.dialogs); n > 0 {
		return d.front.dialogs[n-1].focus
	}
	return d.front.focus
}

func (d *Display) setFocus(v *View) {
	if d.front == nil {
		return
	}
	slot := &d.front.focus
	if n := len(d.front.dialogs); n > 0 {
		slot = &d.front.dialogs[n-1].focus
	}
	old := *slot
	*slot = v
	d.ime = v != nil && v.isEdit()
	if old == v {
		return
	}
	if old != nil {
		old.allTaken = false
		if old.OnFocus != nil {
			old.OnFocus(&d.ui, false)
		}
	}
	if v != nil {
		v.allTaken = v.SelectOnFocus && v.Text != ""
		if v.OnFocus != nil {
			v.OnFocus(&d.ui, true)
		}
	}
}

// moveFocus goes to the next or previous focusable view of the window.
func (d *Display) moveFocus(by int) {
	root, _ := d.window()
	var all []*View
	current := d.focused()
	at := -1
	root.Find(func(v *View) bool {
		if v.clickable() && !v.Hidden && !v.Disabled && !v.shown.Empty() {
			if v == current {
				at = len(all)
			}
			all = append(all, v)
		}
		return false
	})
	if len(all) == 0 {
		return
	}
	if at < 0 && by < 0 {
		at = 0
	}
	d.setFocus(all[(at+by+len(all))%len(all)])
}
