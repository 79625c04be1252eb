package screen_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/screen"
)

const pkg = "org.example.app"

// An app with one activity whose content a test gives it.
type app struct {
	root            *screen.View
	activity        *screen.Activity
	opened, stopped int
	paused, resumed int
	cleared         bool
	intents         []screen.Intent
	post            func(func(*screen.UI))
	second          *screen.View
	onBack          func(*screen.UI) bool
}

var _ screen.App = (*app)(nil)

func (a *app) Package() string                    { return pkg }
func (a *app) Label() string                      { return "Example" }
func (a *app) Attach(post func(func(*screen.UI))) { a.post = post }
func (a *app) Stop()                              { a.stopped++ }
func (a *app) Clear()                             { a.cleared = true }

func (a *app) Activities() []screen.ActivityInfo {
	return []screen.ActivityInfo{
		{Name: pkg + ".Main", Launcher: true, Actions: []string{screen.ActionMain, screen.ActionView}, Schemes: []string{"https"}},
		{Name: "org.example.lib.Second", Actions: []string{"org.example.SECOND"}},
	}
}

func (a *app) Open(_ *screen.UI, name string, in screen.Intent) *screen.Activity {
	a.opened++
	a.intents = append(a.intents, in)
	root := a.root
	if name != pkg+".Main" {
		root = a.second
	}
	a.activity = &screen.Activity{
		Root: root, OnBack: a.onBack,
		OnIntent: func(_ *screen.UI, in screen.Intent) { a.intents = append(a.intents, in) },
		OnPause:  func(*screen.UI) { a.paused++ },
		OnResume: func(*screen.UI) { a.resumed++ },
	}
	return a.activity
}

// show puts a tree on a new display.
func show(t testing.TB, root *screen.View) (*screen.Display, *app) {
	t.Helper()
	d := screen.New(func() time.Time { return time.Date(2020, 5, 4, 12, 34, 0, 0, time.UTC) })
	t.Cleanup(d.Close)
	a := &app{root: root, second: screen.Frame("")}
	d.Install(a)
	if err := d.Start(t.Context(), screen.Intent{Component: pkg + "/.Main"}); err != nil {
		t.Fatal(err)
	}
	return d, a
}

type node struct {
	Index, Text string
	Attrs       []xml.Attr `xml:",any,attr"`
	Nodes       []node     `xml:"node"`
	parent      *node
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) bounds(t testing.TB) image.Rectangle {
	t.Helper()
	var r image.Rectangle
	if _, err := fmt.Sscanf(n.attr("bounds"), "[%d,%d][%d,%d]", &r.Min.X, &r.Min.Y, &r.Max.X, &r.Max.Y); err != nil {
		t.Fatalf("bounds %q: %v", n.attr("bounds"), err)
	}
	return r
}

func (n *node) each(visit func(*node)) {
	visit(n)
	for i := range n.Nodes {
		n.Nodes[i].parent = n
		n.Nodes[i].each(visit)
	}
}

func dump(t testing.TB, d *screen.Display, compressed bool) *node {
	t.Helper()
	var root node
	if err := xml.Unmarshal(d.Dump(compressed), &root); err != nil {
		t.Fatalf("dump is no XML: %v\n%s", err, d.Dump(compressed))
	}
	return &root
}

func find(t testing.TB, d *screen.Display, attr, value string) *node {
	t.Helper()
	var found *node
	root := dump(t, d, false)
	root.each(func(n *node) {
		if found == nil && n.attr(attr) == value {
			found = n
		}
	})
	return found
}

func tap(t testing.TB, d *screen.Display, attr, value string) {
	t.Helper()
	n := find(t, d, attr, value)
	if n == nil {
		t.Fatalf("no node with %s %q:\n%s", attr, value, d.Dump(false))
	}
	r := n.bounds(t)
	d.Tap((r.Min.X+r.Max.X)/2, (r.Min.Y+r.Max.Y)/2)
}

func TestDumpHasTheShapeOfUiautomator(t *testing.T) {
	root := screen.Column("org.example.app:id/root",
		&screen.View{Class: screen.ClassTextView, Text: "a<b> & \"c\"\n\U0001f600\x01", Width: 100, Height: 40},
		&screen.View{Class: screen.ClassImageView, Width: 40, Height: 40, OnClick: func(*screen.UI) {}})
	root.Height = screen.Match
	d, _ := show(t, root)
	const want = `<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><hierarchy rotation="0">` +
		`<node index="0" text="" resource-id="" class="android.widget.FrameLayout" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,0][1080,2340]">` +
		`<node index="0" text="" resource-id="" class="android.widget.LinearLayout" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,0][1080,2340]">` +
		`<node index="0" text="" resource-id="android:id/content" class="android.widget.FrameLayout" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,82][1080,2210]">` +
		`<node index="0" text="" resource-id="org.example.app:id/root" class="android.widget.LinearLayout" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,82][1080,2210]">` +
		`<node index="0" text="a&lt;b&gt; &amp; &quot;c&quot;&#10;&#128512;." resource-id="" class="android.widget.TextView" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,82][275,192]" />` +
		`<node NAF="true" index="1" text="" resource-id="" class="android.widget.ImageView" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="true" enabled="true" focusable="true" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,192][110,302]" />` +
		`</node></node></node>` +
		`<node index="1" text="" resource-id="android:id/statusBarBackground" class="android.view.View" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,0][1080,82]" />` +
		`<node index="2" text="" resource-id="android:id/navigationBarBackground" class="android.view.View" package="org.example.app" content-desc="" checkable="false" checked="false" clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,2210][1080,2340]" />` +
		`</node></hierarchy>`
	if got := string(d.Dump(false)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	small := d.Dump(true)
	if bytes.Contains(small, []byte("id/root")) || !bytes.Contains(small, []byte("ImageView")) {
		t.Errorf("compressed: %s", small)
	}
}

// Whatever the tree, what the dump says can be tapped is hit by a tap in its
// middle, unless something above it is.
func TestDumpAgreesWithTaps(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var hits []string
		count := 0
		var grow func(depth int) *screen.View
		grow = func(depth int) *screen.View {
			count++
			name := fmt.Sprintf("v%d", count)
			v := &screen.View{Class: screen.ClassLinearLayout, Desc: name, Axis: screen.Axis(rng.IntN(3))}
			v.Width, v.Height = screen.Size(rng.IntN(3)-1), screen.Size(rng.IntN(3)-1)
			if v.Width > 0 {
				v.Width = screen.Size(10 + rng.IntN(300))
			}
			if v.Height > 0 {
				v.Height = screen.Size(10 + rng.IntN(300))
			}
			v.Padding, v.Margin = screen.All(rng.IntN(8)), screen.All(rng.IntN(8))
			v.Weight, v.Gravity = rng.IntN(2), screen.Gravity(rng.IntN(4))
			v.Hidden = rng.IntN(12) == 0
			v.Scrolls = v.Axis == screen.Down && rng.IntN(3) == 0
			if rng.IntN(2) == 0 {
				v.OnClick = func(*screen.UI) { hits = append(hits, name) }
			}
			if depth == 0 || rng.IntN(4) == 0 {
				v.Class, v.Text = screen.ClassTextView, strings.Repeat("word ", rng.IntN(20))
				return v
			}
			for range rng.IntN(5) {
				v.Add(grow(depth - 1))
			}
			return v
		}
		root := grow(4)
		root.Width, root.Height, root.Hidden = screen.Match, screen.Match, false
		d, _ := show(t, root)
		tree := dump(t, d, false)
		tree.each(func(n *node) {
			if n.parent != nil && n.parent.parent != nil && !n.bounds(t).In(n.parent.bounds(t)) && n.parent.attr("scrollable") == "true" {
				t.Errorf("seed %d: %s sticks out of a list", seed, n.attr("bounds"))
			}
			if n.attr("clickable") != "true" {
				return
			}
			r := n.bounds(t)
			if !r.In(image.Rect(0, 82, screen.Width, screen.Height-130)) {
				t.Errorf("seed %d: %v lies outside the window", seed, r)
			}
			at := image.Pt((r.Min.X+r.Max.X)/2, (r.Min.Y+r.Max.Y)/2)
			// The last clickable node at the point, in document order, is on top.
			top := n
			tree.each(func(o *node) {
				if o.attr("clickable") == "true" && at.In(o.bounds(t)) {
					top = o
				}
			})
			hits = nil
			d.Tap(at.X, at.Y)
			if len(hits) != 1 || hits[0] != top.attr("content-desc") {
				t.Errorf("seed %d: a tap on %s hit %v, want %s", seed, n.attr("content-desc"), hits, top.attr("content-desc"))
			}
		})
	}
}

func TestTypingAndFocus(t *testing.T) {
	var entered, heard string
	first := &screen.View{
		Class: screen.ClassEditText, ID: "a", Hint: "hint", Width: screen.Match, Height: 48,
		OnEnter: func(_ *screen.UI, s string) { entered = s }, OnText: func(_ *screen.UI, s string) { heard = s },
	}
	second := &screen.View{Class: screen.ClassEditText, ID: "b", Text: "old", Width: screen.Match, Height: 48, SelectOnFocus: true, Password: true}
	d, _ := show(t, screen.Column("", first, second))
	d.Text("lost")
	if got := find(t, d, "resource-id", "a").attr("text"); got != "hint" {
		t.Errorf("text without focus went into the field: %q", got)
	}
	tap(t, d, "resource-id", "a")
	if n := find(t, d, "resource-id", "a"); n.attr("focused") != "true" || n.attr("long-clickable") != "true" || !d.KeyboardShown() {
		t.Error("a tap does not focus a field")
	}
	if r := find(t, d, "resource-id", "android:id/content").bounds(t); r.Max.Y >= 2210 {
		t.Errorf("the window is not resized for the keyboard: %v", r)
	}
	d.Text("hello")
	d.Key(screen.KeySpace)
	d.Text("wörld")
	d.Key(screen.KeyDel)
	if heard != "hello wörl" {
		t.Errorf("the app heard %q", heard)
	}
	// The keys of the soft keyboard type too: the middle of the bottom row is
	// the blank.
	d.Tap(screen.Width/2, screen.Height-130-74)
	d.Key(screen.KeyEnter)
	if entered != "hello wörl " || d.KeyboardShown() {
		t.Errorf("entered %q, keyboard shown %v", entered, d.KeyboardShown())
	}
	d.Key(screen.KeyTab)
	if n := find(t, d, "resource-id", "b"); n.attr("focused") != "true" || n.attr("password") != "true" {
		t.Error("TAB does not go on to the next field")
	}
	d.Text("new")
	if got := find(t, d, "resource-id", "b").attr("text"); got != "new" {
		t.Errorf("selected text was not replaced: %q", got)
	}
	d.Text(strings.Repeat("x", 10_000))
	if n := len(find(t, d, "resource-id", "b").attr("text")); n > 4096 {
		t.Errorf("a field holds %d bytes", n)
	}
	d.Key(screen.KeyBack)
	if d.KeyboardShown() || find(t, d, "resource-id", "b") == nil {
		t.Error("the first BACK puts the keyboard away and nothing else")
	}
}

func TestScrolling(t *testing.T) {
	var clicked string
	list := screen.List(screen.ClassRecyclerView, "list")
	for i := range 40 {
		name := fmt.Sprintf("row %d", i)
		list.Add(screen.Preference(pkg, name, "", nil, func(*screen.UI) { clicked = name }))
	}
	root := screen.Column("", screen.TitleBar(pkg, "Title", nil), list)
	root.Height = screen.Match
	d, _ := show(t, root)
	if n := find(t, d, "resource-id", "list"); n.attr("scrollable") != "true" {
		t.Error("a long list is not scrollable")
	}
	if find(t, d, "text", "row 39") != nil {
		t.Fatal("all rows are in view at once")
	}
	before := find(t, d, "text", "row 5").bounds(t).Min.Y
	d.Swipe(540, 1500, 540, 1400, 300*time.Millisecond)
	if got := find(t, d, "text", "row 5").bounds(t).Min.Y; got != before-100 {
		t.Errorf("a swipe of 100 moved the list by %d", before-got)
	}
	if clicked != "" {
		t.Errorf("a swipe clicked %s", clicked)
	}
	for range 20 {
		d.Swipe(540, 2000, 540, 600, 100*time.Millisecond)
	}
	last := find(t, d, "text", "row 39")
	if last == nil || last.bounds(t).Max.Y > 2210 {
		t.Fatal("the end of the list cannot be reached")
	}
	tap(t, d, "text", "row 39")
	if clicked != "row 39" {
		t.Errorf("clicked %q", clicked)
	}
	d.Key(screen.KeyPageUp)
	if find(t, d, "text", "row 39") != nil && find(t, d, "text", "row 39").bounds(t) == last.bounds(t) {
		t.Error("PAGE_UP does not scroll")
	}
}

func TestLongPress(t *testing.T) {
	var got string
	d, _ := show(t, screen.Column("", &screen.View{
		Class: screen.ClassButton, Text: "b", Width: screen.Match, Height: 100,
		OnClick: func(*screen.UI) { got += "c" }, OnLongClick: func(*screen.UI) { got += "l" },
	}, &screen.View{
		Class: screen.ClassButton, Text: "off", Width: screen.Match, Height: 100, Disabled: true, OnClick: func(*screen.UI) { got += "x" },
	}))
	if find(t, d, "text", "b").attr("long-clickable") != "true" || find(t, d, "text", "off").attr("enabled") != "false" {
		t.Error("attributes")
	}
	d.Swipe(500, 200, 502, 201, 800*time.Millisecond)
	d.Swipe(500, 200, 502, 201, 50*time.Millisecond)
	tap(t, d, "text", "off")
	if got != "lc" {
		t.Errorf("got %q, want a long click and a click", got)
	}
}

func TestDialogs(t *testing.T) {
	var got []string
	below := 0
	d, a := show(t, screen.Column("", &screen.View{
		Class: screen.ClassButton, Text: "below", Width: screen.Match, Height: 700, OnClick: func(*screen.UI) { below++ },
	}))
	alert := func(strict bool) {
		dialog := screen.Alert("Title", "Message", screen.Choice{Text: "OK", Click: func(*screen.UI) { got = append(got, "ok") }},
			screen.Choice{Text: "Cancel", Click: func(*screen.UI) { got = append(got, "no") }})
		dialog.Strict = strict
		dialog.OnCancel = func(*screen.UI) { got = append(got, "cancelled") }
		a.post(func(ui *screen.UI) { ui.Show(a.activity, dialog) })
	}
	alert(false)
	if find(t, d, "text", "below") != nil {
		t.Error("the dump shows what lies below the dialog")
	}
	for id, text := range map[string]string{
		"android:id/alertTitle": "Title", "android:id/message": "Message", "android:id/button1": "OK", "android:id/button2": "Cancel",
	} {
		if n := find(t, d, "resource-id", id); n == nil || n.attr("text") != text {
			t.Errorf("%s is not %q", id, text)
		}
	}
	tap(t, d, "text", "OK")
	alert(false)
	d.Tap(540, 300)
	alert(false)
	d.Key(screen.KeyBack)
	alert(true)
	d.Tap(540, 300)
	d.Key(screen.KeyBack)
	tap(t, d, "text", "Cancel")
	if want := "[ok cancelled cancelled no]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if below != 0 {
		t.Error("a tap went through the dialog")
	}
	a.post(func(ui *screen.UI) {
		ui.Show(a.activity, screen.Choose("Engine", []string{"One", "Two"}, 1, func(_ *screen.UI, i int) { got = append(got, fmt.Sprint(i)) }))
	})
	if n := find(t, d, "text", "Two"); n.attr("checked") != "true" || n.attr("checkable") != "true" || n.attr("resource-id") != "android:id/text1" {
		t.Errorf("the current choice is %v", n.Attrs)
	}
	tap(t, d, "text", "One")
	if got[len(got)-1] != "0" || find(t, d, "text", "below") == nil {
		t.Error("a choice does not close the dialog")
	}
}

func TestTheSwitchOfARow(t *testing.T) {
	var told []bool
	row := screen.Preference(pkg, "Help", "More words", &screen.Toggle{On: true, Change: func(_ *screen.UI, on bool) { told = append(told, on) }}, nil)
	d, _ := show(t, screen.Column("", row))
	mark := find(t, d, "resource-id", "android:id/checkbox")
	if mark.attr("text") != "" || mark.attr("content-desc") != "Help More words" || mark.attr("checked") != "true" || mark.attr("checkable") != "true" {
		t.Errorf("switch is %v", mark.Attrs)
	}
	shade := func() [3]uint32 {
		img, err := png.Decode(bytes.NewReader(d.PNG()))
		if err != nil {
			t.Fatal(err)
		}
		r := mark.bounds(t)
		red, green, blue, _ := img.At((r.Min.X+r.Max.X)/2, (r.Min.Y+r.Max.Y)/2).RGBA()
		return [3]uint32{red >> 8, green >> 8, blue >> 8}
	}
	on := shade()
	tap(t, d, "resource-id", "android:id/checkbox")
	off := shade()
	tap(t, d, "resource-id", "android:id/title")
	if again := shade(); again != on || on == off {
		t.Errorf("drawn on as %v, off as %v, on again as %v", on, off, again)
	}
	if fmt.Sprint(told) != "[false true]" {
		t.Errorf("the app was told %v", told)
	}
}

func TestTasksAndKeys(t *testing.T) {
	const home = "com.miui.home/com.miui.home.launcher.Launcher"
	d, a := show(t, screen.Frame(""))
	if got := d.Focus(); got != pkg+"/"+pkg+".Main" {
		t.Fatalf("focus is %q", got)
	}
	r, err := d.Launch(screen.Intent{Action: screen.ActionView, Data: "HTTPS://a.example/"})
	if err != nil || !r.Delivered || len(a.intents) != 2 || a.intents[1].Data != "HTTPS://a.example/" {
		t.Errorf("a second intent: %+v, %v, %v", r, err, a.intents)
	}
	if err := d.Start(t.Context(), screen.Intent{Action: "org.example.SECOND", Package: pkg}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(d.Tasks()); got != "[[org.example.app/org.example.lib.Second org.example.app/org.example.app.Main] ["+home+"]]" {
		t.Errorf("tasks are %s", got)
	}
	d.Key(screen.KeyBack)
	if got := d.Focus(); got != pkg+"/"+pkg+".Main" {
		t.Errorf("focus after BACK is %q", got)
	}
	d.Key(screen.KeyHome)
	if d.Focus() != home {
		t.Errorf("focus after HOME is %q", d.Focus())
	}
	d.Key(screen.KeyAppSwitch)
	tap(t, d, "content-desc", "Example")
	if got := d.Focus(); got != pkg+"/"+pkg+".Main" || a.opened != 2 {
		t.Errorf("focus from the overview is %q, activities were made %d times", got, a.opened)
	}
	d.Key(screen.KeyBack)
	d.Key(screen.KeyBack)
	if d.Focus() != home || a.paused != a.resumed {
		t.Errorf("focus is %q; paused %d times, resumed %d times", d.Focus(), a.paused, a.resumed)
	}
	tap(t, d, "content-desc", "Settings")
	if got := d.Focus(); got != "com.android.settings/com.android.settings.MainSettings" {
		t.Errorf("focus is %q", got)
	}
	if err := d.Start(t.Context(), screen.Intent{Action: screen.ActionMain, Categories: []string{screen.CategoryHome}}); err != nil || d.Focus() != home {
		t.Errorf("the intent for the home screen: %v, focus %q", err, d.Focus())
	}

	for _, in := range []screen.Intent{{Component: "no.such/.App"}, {Component: pkg + "/.Nope"}, {Action: "no.such"}, {Action: screen.ActionView, Data: "ftp://x"}} {
		if err := d.Start(t.Context(), in); !errors.Is(err, screen.ErrNoActivity) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if name, err := d.Resolve(screen.Intent{Action: screen.ActionView, Data: "https://x"}); err != nil || name != pkg+"/"+pkg+".Main" {
		t.Errorf("resolved to %q, %v", name, err)
	}
	if d.ForceStop("no.such") || d.Clear("no.such") || !d.Clear(pkg) || !a.cleared || a.stopped == 0 {
		t.Error("stopping and clearing")
	}
}

func TestSleep(t *testing.T) {
	clicks := 0
	d, _ := show(t, &screen.View{Class: screen.ClassButton, Text: "b", Width: screen.Match, Height: screen.Match, OnClick: func(*screen.UI) { clicks++ }})
	d.Key(screen.KeyPower)
	if d.Awake() || d.Focus() != "" {
		t.Error("POWER does not switch the screen off")
	}
	nodes := 0
	dump(t, d, false).each(func(*node) { nodes++ })
	if nodes != 2 { // the hierarchy and one node
		t.Errorf("a sleeping screen has %d nodes", nodes-1)
	}
	d.Tap(540, 1000)
	d.Key(screen.KeyEnter)
	d.Text("x")
	d.Swipe(540, 1000, 540, 500, 0)
	img, err := png.Decode(bytes.NewReader(d.PNG()))
	if err != nil {
		t.Fatal(err)
	}
	if r, g, b, _ := img.At(540, 1000).RGBA(); r+g+b != 0 || img.Bounds() != image.Rect(0, 0, 1080, 2340) {
		t.Error("a sleeping screen is not black")
	}
	d.Key(screen.KeyWakeup)
	d.Key(screen.KeyWakeup)
	d.Tap(540, 1000)
	if clicks != 1 || !d.Awake() {
		t.Errorf("%d clicks", clicks)
	}
}

func TestBars(t *testing.T) {
	d, _ := show(t, screen.Frame(""))
	d.Tap(540, 2300) // the middle button
	if !strings.HasPrefix(d.Focus(), "com.miui.home/") {
		t.Errorf("focus is %q", d.Focus())
	}
	d.Tap(180, 2300)
	tap(t, d, "content-desc", "Example")
	d.Tap(900, 2300)
	if !strings.HasPrefix(d.Focus(), "com.miui.home/") {
		t.Errorf("focus is %q", d.Focus())
	}
}

// FuzzDump checks that no text makes a dump that is no XML, or breaks layout.
func FuzzDump(f *testing.F) {
	for _, s := range []string{"", "plain", "<&>\"'", "a\x00b\ufffe\uffff\U0001f600", "\xff\xfe", strings.Repeat("long ", 900), "\n\n\t"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, text, desc string) {
		v := &screen.View{Class: screen.ClassTextView, Text: text, Desc: desc, ID: text, Width: screen.Match}
		d, _ := show(t, screen.List(screen.ClassListView, "l", v))
		var root node
		if err := xml.Unmarshal(d.Dump(false), &root); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		d.Close()
	})
}

func BenchmarkDump(b *testing.B) {
	list := screen.List(screen.ClassListView, "l")
	for i := range 60 {
		list.Add(screen.Preference(pkg, fmt.Sprintf("row %d", i), "with a summary of some words", nil, nil))
	}
	d, _ := show(b, list)
	for b.Loop() {
		d.Dump(false)
	}
}

func BenchmarkPNG(b *testing.B) {
	list := screen.List(screen.ClassListView, "l")
	for i := range 60 {
		list.Add(screen.Preference(pkg, fmt.Sprintf("row %d", i), "with a summary of some words", nil, nil))
	}
	d, _ := show(b, list)
	for b.Loop() {
		d.PNG()
	}
}
