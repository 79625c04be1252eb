package screen

import (
	"bytes"
	"fmt"
	"image"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Dump is the tree of the active window as uiautomator writes it: nodes that
// are visible, attributes in its order, and NAF on nodes that are clickable
// but say nothing. compressed leaves out layouts that carry no meaning, as its
// --compressed does. While the screen is off there is a single empty node.
func (d *Display) Dump(compressed bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b bytes.Buffer
	b.WriteString(`<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><hierarchy rotation="0">`)
	root, pkg := d.window()
	dumper{&b, pkg, compressed, d.focused()}.write(root, 0, 0)
	b.WriteString("</hierarchy>")
	return b.Bytes()
}

// window lays out the active window and returns its tree.
func (d *Display) window() (root *View, pkg string) {
	full := image.Rect(0, 0, Width, Height)
	if d.asleep || d.front == nil {
		root = &View{Class: ClassFrameLayout}
		root.w, root.h = Width, Height
		d.place(root, nil, full.Min, full)
		return root, "com.android.systemui"
	}
	if d.locked {
		root = decor(d.keyguard(), false)
		d.layout(root, full, false)
		return root, keyguardPackage
	}
	a := d.front
	if d.recent {
		root = decor(d.recents(), false)
		d.layout(root, full, false)
		return root, homePackage
	}
	if n := len(a.dialogs); n > 0 {
		dialog := a.dialogs[n-1]
		root = &View{Class: ClassFrameLayout, Axis: Stacked, Width: Match, Children: []*View{
			{Class: ClassFrameLayout, ID: "android:id/content", Axis: Stacked, Width: Match, Children: []*View{dialog.Root}},
		}}
		area := d.visibleArea()
		if !dialog.Sheet {
			area = area.Inset(px(24))
		}
		d.layout(root, area, true)
		y := area.Min.Y + (area.Dy()-root.h)/2
		if dialog.Sheet {
			y = area.Max.Y - root.h
		}
		d.place(root, nil, image.Pt(area.Min.X, y), area)
		return root, a.pkg
	}
	root = decor(a.Root, d.ime)
	d.layout(root, full, false)
	if a.OnShow != nil {
		a.OnShow(&d.ui)
		root = decor(a.Root, d.ime)
		d.layout(root, full, false)
	}
	return root, a.pkg
}

// decor is what the platform puts around an activity's content.
func decor(content *View, keyboard bool) *View {
	bottom := navBar
	if keyboard {
		bottom += keyboardHeight
	}
	return &View{Class: ClassFrameLayout, Axis: Stacked, Width: Match, Height: Match, Children: []*View{
		{
			Class: ClassLinearLayout, Axis: Down, Width: Match, Height: Match, insetTop: statusBar, insetBottom: bottom,
			Children: []*View{{
				Class: ClassFrameLayout, ID: "android:id/content", Axis: Stacked, Width: Match, Height: Match,
				Children: []*View{content},
			}},
		},
		{Class: ClassView, ID: "android:id/statusBarBackground", Width: Match, exactH: statusBar},
		{Class: ClassView, ID: "android:id/navigationBarBackground", Width: Match, exactH: navBar, Gravity: GravityBottom},
	}}
}

type dumper struct {
	*bytes.Buffer
	pkg        string
	compressed bool
	focus      *View
}

func (w dumper) write(v *View, index, depth int) {
	if v.Hidden || v.shown.Empty() || depth > maxDepth {
		return
	}
	if w.compressed && depth > 0 && !important(v) {
		for i, c := range v.Children {
			w.write(c, index+i, depth+1)
		}
		return
	}
	w.WriteString("<node")
	if !naf(v) {
		w.attr("NAF", "true")
	}
	pkg := v.Package
	if pkg == "" {
		pkg = w.pkg
	}
	text := v.Text
	if text == "" && v.isEdit() {
		text = v.Hint
	}
	w.attr("index", strconv.Itoa(index))
	w.attr("text", text)
	w.attr("resource-id", v.ID)
	w.attr("class", v.Class)
	w.attr("package", pkg)
	w.attr("content-desc", v.Desc)
	w.flag("checkable", v.Checkable)
	w.flag("checked", v.Checkable && v.Checked)
	w.flag("clickable", v.clickable())
	w.flag("enabled", !v.Disabled)
	w.flag("focusable", v.focusable())
	w.flag("focused", v == w.focus)
	w.flag("scrollable", v.scrollable())
	w.flag("long-clickable", v.OnLongClick != nil || v.isEdit())
	w.flag("password", v.Password)
	w.flag("selected", v.Selected)
	r := v.shown
	w.attr("bounds", fmt.Sprintf("[%d,%d][%d,%d]", r.Min.X, r.Min.Y, r.Max.X, r.Max.Y))
	if !slices.ContainsFunc(v.Children, func(c *View) bool { return !c.Hidden && !c.shown.Empty() }) {
		w.WriteString(" />")
		return
	}
	w.WriteString(">")
	for i, c := range v.Children {
		w.write(c, i, depth+1)
	}
	w.WriteString("</node>")
}

// important is the framework's rule for views that the compressed dump keeps.
func important(v *View) bool {
	return v.Text != "" || v.Desc != "" || v.Checkable || v.clickable() || v.focusable() || v.OnLongClick != nil ||
		v.isEdit() || v.Class == ClassWebView
}

// naf reports whether a node is friendly to accessibility by the rule of
// uiautomator: it is not clickable, or it or something in it has a text.
func naf(v *View) bool {
	switch v.Class {
	case ClassListView, "android.widget.GridView", "android.widget.GridLayout", "android.widget.TableLayout":
		return true
	}
	if !v.clickable() || v.Disabled {
		return true
	}
	return v.Find(func(c *View) bool { return !c.Hidden && (c.Text != "" || c.Desc != "" || c.isEdit() && c.Hint != "") }) != nil
}

func (w dumper) flag(name string, value bool) { w.attr(name, strconv.FormatBool(value)) }

// attr writes an attribute with the escapes of the platform's serializer.
func (w dumper) attr(name, value string) {
	w.WriteString(" " + name + `="`)
	for _, r := range value {
		switch {
		case r == '&':
			w.WriteString("&amp;")
		case r == '<':
			w.WriteString("&lt;")
		case r == '>':
			w.WriteString("&gt;")
		case r == '"':
			w.WriteString("&quot;")
		case r == '\n' || r == '\r' || r == '\t':
			w.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		case r < 0x20, r == utf8.RuneError, r == 0xfffe, r == 0xffff:
			// Characters that XML has no place for are written as a dot.
			w.WriteByte('.')
		case r > 0xffff:
			w.WriteString("&#" + strconv.Itoa(int(r)) + ";")
		default:
			w.WriteRune(r)
		}
	}
	w.WriteByte('"')
}
