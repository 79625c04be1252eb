package ui_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
)

// A phone answers dumps from a list, the last one for ever, and writes down the
// commands that it was given.
type phone struct {
	mu       sync.Mutex
	dumps    []string // an XML, or a message of uiautomator that has no XML
	scripts  []string
	commands []string
	answer   devices.Result
	err      error
	onDump   func()
}

func (p *phone) Serial() string { return "S1" }

func (p *phone) Shell(_ context.Context, args ...string) (devices.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commands = append(p.commands, strings.Join(args, " "))
	return p.answer, p.err
}

var nonce = regexp.MustCompile(`echo (\S+);`)

func (p *phone) Script(ctx context.Context, script string) (devices.Result, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || ctx.Err() != nil {
		return devices.Result{}, errors.Join(p.err, ctx.Err())
	}
	p.scripts = append(p.scripts, script)
	mark := nonce.FindStringSubmatch(script)
	if mark == nil {
		return p.answer, nil
	}
	if p.onDump != nil {
		p.onDump()
	}
	dump := p.dumps[0]
	if len(p.dumps) > 1 {
		p.dumps = p.dumps[1:]
	}
	if !strings.Contains(dump, "<hierarchy") {
		// The message is on standard output, cat has nothing to say, the status is 0.
		return devices.Result{Stdout: []byte(dump + "\n" + mark[1] + "\n"), Stderr: []byte("cat: no such file\n")}, nil
	}
	return devices.Result{Stdout: []byte("UI hierchary dumped to: /data/local/tmp/x.xml\n" + mark[1] + "\n" + dump)}, nil
}

const idle = "ERROR: could not get idle state."

func tree(nodes string) string { return `<hierarchy rotation="0">` + nodes + `</hierarchy>` }

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func parse(t *testing.T, text string) *ui.Node {
	t.Helper()
	root, err := ui.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestParse(t *testing.T) {
	noise := "java.lang.RuntimeException: Failed to read <theme>\n\tat android.x\n" + read(t, "settings.xml") + "UI hierchary dumped to: /dev/tty\n"
	root := parse(t, noise)
	title := root.First(ui.ByID("action_bar_title"))
	if title == nil || title.Text != "Privacy & security" || title.Center() != image.Pt(425, 140) || title.Package != "com.mi.globalbrowser" {
		t.Fatalf("got %v", title)
	}
	if n := root.First(ui.ByTextPart("INCOGNITO")); n == nil || !strings.Contains(n.Text, "Turn on") {
		t.Errorf("got %v", n)
	}
	if got := len(root.All(ui.Checkable())); got != 2 {
		t.Errorf("%d checkable nodes", got)
	}
	if got := root.First(ui.And(ui.ByClass("CheckBox"), ui.Checked())); got == nil || got.Parent.ID != "android:id/widget_frame" {
		t.Errorf("got %v", got)
	}
	if root.Bounds != image.Rect(0, 0, 1080, 2340) {
		t.Errorf("the screen is %v", root.Bounds)
	}
	for name, text := range map[string]string{
		"nothing": "", "message": idle, "cut": read(t, "settings.xml")[:2000], "unclosed": "<hierarchy><node></hierarchy>",
		"too deep": "<hierarchy>" + strings.Repeat("<node>", 1000) + strings.Repeat("</node>", 1000) + "</hierarchy>",
		"entity":   `<hierarchy><node text="&bomb;"/></hierarchy>`,
	} {
		if _, err := ui.Parse([]byte(text)); !errors.Is(err, ui.ErrFormat) {
			t.Errorf("%s: got %v, want ErrFormat", name, err)
		}
	}
}

func TestSelectors(t *testing.T) {
	root := parse(t, tree(`<node text="OK" resource-id="com.x:id/title" class="a.b.Button" content-desc="Accept all" clickable="true" package="com.x" focused="true" scrollable="true" bounds="[0,0][1,1]"/>`))
	for _, sel := range []ui.Selector{
		ui.ByID("title"), ui.ByID("com.x:id/title"), ui.ByText(" ok "), ui.ByTextPart("k"), ui.ByDesc("accept ALL"), ui.ByDescPart("cept"),
		ui.ByClass("Button"), ui.ByClass("a.b.Button"), ui.ByPackage("com.x"), ui.Clickable(), ui.Focused(), ui.Scrollable(),
		ui.And(ui.ByText("OK"), ui.Clickable()), ui.Or(ui.ByText("no"), ui.ByText("OK")),
	} {
		if n := root.First(sel); n == nil || n.Text != "OK" {
			t.Errorf("%v: found nothing", sel)
		}
	}
	for _, sel := range []ui.Selector{
		{}, ui.And(), ui.Or(), ui.ByID("itle"), ui.ByID("android:id/title"), ui.ByText("O"), ui.ByClass("utton"), ui.Checkable(), ui.Checked(),
	} {
		if n := root.First(sel); n != nil {
			t.Errorf("%v: found %v", sel, n)
		}
	}
	if got := ui.And(ui.ByText("OK"), ui.Clickable()).String(); got != `text "OK" and clickable` {
		t.Errorf("got %s", got)
	}
}

func TestSwitchBeside(t *testing.T) {
	for _, test := range []struct {
		file, title string
		checked     bool
	}{
		{"settings.xml", "Help us improve Mi Browser", true},
		{"settings.xml", "Incognito \nmode", false},
		{"compressed.xml", "Help us improve Mi Browser", false},
		{"compressed.xml", "Incognito mode", true},
	} {
		got, err := ui.SwitchBeside(parse(t, read(t, test.file)), test.title)
		if err != nil || !got.Checkable || got.Checked != test.checked {
			t.Errorf("%s, %s: got %v, %v", test.file, test.title, got, err)
		}
	}
	// A row without a switch has none, however near the others are.
	for _, file := range []string{"settings.xml", "compressed.xml"} {
		var not *ui.NotFoundError
		for _, title := range []string{"Performance ID", "No such row"} {
			if got, err := ui.SwitchBeside(parse(t, read(t, file)), title); !errors.As(err, &not) {
				t.Errorf("%s, %s: got %v, %v", file, title, got, err)
			}
		}
	}
	// Two rows of one title: neither is believed.
	row := `<node class="x" bounds="[0,%d][100,%d]"><node text="T" resource-id="android:id/title" bounds="[0,%[1]d][50,%[2]d]"/><node checkable="true" bounds="[60,%[1]d][100,%[2]d]"/></node>`
	twice := tree(`<node class="list" scrollable="true" bounds="[0,0][100,200]">` + fmt.Sprintf(row, 0, 20) + fmt.Sprintf(row, 100, 120) + `</node>`)
	if got, err := ui.SwitchBeside(parse(t, twice), "T"); err == nil {
		t.Errorf("got %v", got)
	}
	// A switch that carries the title itself.
	own := tree(`<node text="" content-desc="Share links Help us" checkable="true" checked="true" bounds="[0,0][9,9]"/>`)
	if got, err := ui.SwitchBeside(parse(t, own), "Share links"); err != nil || !got.Checked {
		t.Errorf("got %v, %v", got, err)
	}
	// A checkable row around its switch: the switch shows the state.
	nested := tree(`<node class="row" checkable="true" bounds="[0,0][100,20]"><node text="T" resource-id="android:id/title" bounds="[0,0][50,20]"/><node class="Switch" checkable="true" checked="true" bounds="[60,0][100,20]"/></node>`)
	if got, err := ui.SwitchBeside(parse(t, nested), "T"); err != nil || got.Class != "Switch" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestDumpOfAScreenThatMoves(t *testing.T) {
	p := &phone{dumps: []string{idle, idle, tree(`<node text="still"/>`)}}
	root, err := ui.New(p).Dump(within(t))
	if err != nil || root.First(ui.ByText("still")) == nil {
		t.Fatalf("got %v, %v", root, err)
	}
	compressed := 0
	for _, s := range p.scripts {
		if strings.Contains(s, "--compressed") {
			compressed++
		}
		if !strings.HasPrefix(s, "rm -f ") {
			t.Errorf("an old dump could be taken for a new one: %s", s)
		}
	}
	if len(p.scripts) != 3 || compressed != 1 {
		t.Errorf("%d dumps, %d of them compressed", len(p.scripts), compressed)
	}
	p = &phone{dumps: []string{idle}}
	var busy *ui.BusyError
	if _, err := ui.New(p).Dump(within(t)); !errors.As(err, &busy) || len(p.scripts) > 10 {
		t.Errorf("got %v after %d dumps, want a *BusyError after a few", err, len(p.scripts))
	}
	lost := &devices.LostError{Serial: "S1", Err: errors.New("cable")}
	p = &phone{err: lost, dumps: []string{""}}
	var target *devices.LostError
	if _, err := ui.New(p).Dump(within(t)); !errors.As(err, &target) {
		t.Errorf("got %v, want a *LostError at once", err)
	}
}

func TestWaits(t *testing.T) {
	p := &phone{dumps: []string{tree(`<node text="Loading"/>`), idle, tree(`<node text="Loading"/>`), tree(`<node text="Done" bounds="[10,20][30,40]"/>`)}}
	s := ui.New(p)
	if err := s.TapOn(within(t), ui.ByText("Done")); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(p.commands, []string{"input tap 20 30"}) {
		t.Errorf("got %v", p.commands)
	}
	if err := s.WaitGone(within(t), ui.ByText("Loading")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := s.WaitFor(ctx, ui.ByText("Loading"))
	var not *ui.NotFoundError
	if !errors.As(err, &not) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "Done") {
		t.Errorf("got %v, want a *NotFoundError that says what is on the screen", err)
	}
	if _, err := s.Find(within(t), ui.ByText("Loading")); !errors.As(err, &not) {
		t.Errorf("got %v", err)
	}
	if err := s.Tap(within(t), &ui.Node{}); err == nil {
		t.Error("a node without a place was tapped")
	}
	if err := s.Tap(within(t), nil); err == nil {
		t.Error("nothing was tapped")
	}
}

func TestType(t *testing.T) {
	p := &phone{}
	s := ui.New(p)
	if err := s.Type(within(t), `zofalu 100% "x" $y`); err != nil {
		t.Fatal(err)
	}
	if want := `input text zofalu%s100%%s"x"%s$y`; !slices.Equal(p.commands, []string{want}) {
		t.Errorf("got %v, want %s", p.commands, want)
	}
	for _, bad := range []string{"", "100%s", "ünïcode", "two\nlines", "a\x00b", "tab\t"} {
		if err := s.Type(within(t), bad); err == nil {
			t.Errorf("%q was typed as %v", bad, p.commands[len(p.commands)-1])
		}
	}
}

// The input command reports errors with exit status 0.
func TestInputErrors(t *testing.T) {
	p := &phone{answer: devices.Result{Stderr: []byte("java.lang.SecurityException: Injecting to another application requires INJECT_EVENTS permission\n")}}
	var gate *devices.GateError
	if err := ui.New(p).Key(within(t), ui.KeyBack); !errors.As(err, &gate) {
		t.Errorf("got %v, want a *GateError", err)
	}
	p.answer = devices.Result{Stdout: []byte("Error: Invalid arguments for command: tap\n")}
	if err := ui.New(p).TapAt(within(t), image.Pt(1, 2)); err == nil {
		t.Error("an error of input was overlooked")
	}
}

func TestClearAndSwipe(t *testing.T) {
	p := &phone{}
	s := ui.New(p)
	if err := errors.Join(s.Clear(within(t), &ui.Node{Text: "abc"}), s.Swipe(within(t), image.Pt(1, 2), image.Pt(3, 4), time.Second), s.Key(within(t), ui.KeyEnter)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"input keyevent 123 67 67 67", "input swipe 1 2 3 4 1000", "input keyevent 66"}; !slices.Equal(p.commands, want) {
		t.Errorf("got %v", p.commands)
	}
}

func TestScrollTo(t *testing.T) {
	page := func(words ...string) string {
		nodes := `<node class="List" scrollable="true" bounds="[0,100][1000,2100]">`
		for _, w := range words {
			nodes += `<node text="` + w + `"/>`
		}
		return tree(nodes + `</node>`)
	}
	p := &phone{dumps: []string{page("a", "b"), page("c", "d"), page("e", "f")}}
	if n, err := ui.New(p).ScrollTo(within(t), ui.ByText("f")); err != nil || n.Text != "f" {
		t.Errorf("got %v, %v", n, err)
	}
	if want := "input swipe 500 1600 500 600 600"; len(p.commands) != 2 || p.commands[0] != want {
		t.Errorf("got %v, want %s twice", p.commands, want)
	}
	// Above the place where the list stands: down to the end, then up.
	p = &phone{dumps: []string{page("c", "d"), page("e"), page("e"), page("c", "d"), page("a", "b")}}
	if n, err := ui.New(p).ScrollTo(within(t), ui.ByText("a")); err != nil || n.Text != "a" {
		t.Errorf("got %v, %v", n, err)
	}
	p = &phone{dumps: []string{page("a")}}
	var not *ui.NotFoundError
	if _, err := ui.New(p).ScrollTo(within(t), ui.ByText("z")); !errors.As(err, &not) {
		t.Errorf("got %v", err)
	}
	p = &phone{dumps: []string{tree(`<node text="a"/>`)}}
	if _, err := ui.New(p).ScrollTo(within(t), ui.ByText("z")); !errors.As(err, &not) || len(p.commands) != 0 {
		t.Errorf("got %v, commands %v", err, p.commands)
	}
}

func TestScreenshot(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 4))); err != nil {
		t.Fatal(err)
	}
	p := &phone{answer: devices.Result{Stdout: append([]byte("WARNING: linker noise\n"), b.Bytes()...)}}
	if got, err := ui.New(p).Screenshot(within(t)); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "text": []byte("error"), "cut": b.Bytes()[:b.Len()-4]} {
		p.answer.Stdout = bad
		if got, err := ui.New(p).Screenshot(within(t)); err == nil {
			t.Errorf("%s: got %d bytes", name, len(got))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"settings.xml", "compressed.xml"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`<hierarchy><node bounds="[-1,-2][3,4]"/></node></hierarchy>`))
	f.Add([]byte(`<hierarchy><a><hierarchy></a></hierarchy></hierarchy>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		root, err := ui.Parse(b)
		if err != nil {
			if !errors.Is(err, ui.ErrFormat) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		ui.PopupIn(root)
		for _, n := range root.All(ui.Or(ui.Clickable(), ui.Checkable(), ui.ByClass("x"))) {
			_ = n.String()
			if !n.Center().In(n.Bounds) && !n.Bounds.Empty() {
				t.Errorf("the middle of %v is outside", n)
			}
		}
		_, _ = ui.SwitchBeside(root, "Incognito mode")
	})
}
