// Package screen gives a simulated phone something to look at and to tap: a
// retained tree of widgets with layout, focus, text entry and scrolling, a
// window manager with activities, a back stack and dialogs, a dump of the tree
// in uiautomator's form, and a drawn picture.
//
// A Display is the screen of one phone. Apps register with Install and build
// an Activity with a tree of Views when an Intent asks for one. Everything an
// app does with views happens on the UI thread, which is the display's lock:
// callbacks get a *UI that proves they hold it, and goroutines of an app take
// it with Display.Post. There are no animations, so that what a dump shows can
// be tapped a moment later, but a view that the app changes in between moves.
package screen

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync"
	"time"
)

// The display of the simulated phones, in pixels and dots per inch.
const (
	Width   = 1080
	Height  = 2340
	Density = 440

	statusBar = 82
	navBar    = 130
)

// ErrNoActivity means that no installed app answers an intent.
var ErrNoActivity = errors.New("screen: no activity answers the intent")

// An Intent asks for an activity, as am start does.
type Intent struct {
	Action string
	// Component is "package/class"; a class may be abbreviated by a leading dot.
	Component string
	// Package restricts an intent without a component to one app.
	Package string
	Data    string
	Extras  map[string]string
	// Categories narrow an intent down; CategoryHome asks for the home screen.
	Categories []string
}

// The actions that the display itself knows.
const (
	ActionMain = "android.intent.action.MAIN"
	ActionView = "android.intent.action.VIEW"

	CategoryHome = "android.intent.category.HOME"
)

// An ActivityInfo is what an app's manifest says of an activity.
type ActivityInfo struct {
	// Name is the full class name.
	Name string
	// Actions are the actions of intents that the activity answers.
	Actions []string
	// Schemes are the URL schemes of VIEW intents that it answers.
	Schemes []string
	// Launcher puts the activity on the home screen.
	Launcher bool
	// Home marks the home screen itself.
	Home bool
}

// An App is a program with a user interface. All methods but Package, Label
// and Activities are called on the UI thread; none may wait for a goroutine
// that posts.
type App interface {
	Package() string
	// Label is the name on the home screen.
	Label() string
	Activities() []ActivityInfo
	// Attach is called once, when the app is installed. post is Display.Post.
	Attach(post func(func(*UI)))
	// Open makes the activity of that name. It is not called when the activity
	// on top has that name already: that one gets OnIntent.
	Open(ui *UI, name string, in Intent) *Activity
	// Stop is the end of the app's process: what it keeps in memory is lost.
	Stop()
	// Clear deletes the app's data. The app has been stopped before.
	Clear()
}

// An Activity is one screen of an app.
type Activity struct {
	Root *View
	// Dark draws the system bars dark.
	Dark bool
	// OnIntent is told of an intent that found the activity on top.
	OnIntent func(*UI, Intent)
	// OnBack answers whether it has dealt with the BACK key.
	OnBack func(*UI) bool
	// OnResume and OnPause are told when the activity comes to the top and when
	// it leaves it, by whatever way.
	OnResume, OnPause func(*UI)
	// OnShow is told after a layout made for a dump, a picture or a tap.
	OnShow func(*UI)

	pkg, name string
	focus     *View
	dialogs   []*Dialog
}

// Component is "package/class".
func (a *Activity) Component() string { return a.pkg + "/" + a.name }

// A StartResult says what starting an activity did.
type StartResult struct {
	Component string
	// Delivered is true when the activity was on top already and was only told.
	Delivered bool
}

type task struct {
	pkg   string
	stack []*Activity
}

func (t *task) top() *Activity { return t.stack[len(t.stack)-1] }

// A Display is the screen of one phone, safe for concurrent use.
type Display struct {
	mu     sync.Mutex
	ui     UI
	apps   []App
	tasks  []*task // the last one is in front
	front  *Activity
	asleep bool
	locked bool
	ime    bool
	recent bool
	closed bool
	clock  func() time.Time
	fonts  *fontBook
}

// UI is the proof of being on the UI thread, and what can be done there.
type UI struct{ d *Display }

// New makes a display that shows the home screen. The clock is drawn in the
// status bar; nil is the host's.
func New(clock func() time.Time) *Display {
	if clock == nil {
		clock = time.Now
	}
	d := &Display{clock: clock, fonts: newFontBook()}
	d.ui.d = d
	d.Install(newLauncher(d))
	d.Install(newSettings())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.goHome()
	return d
}

// Install makes an app known and puts it on the home screen.
func (d *Display) Install(app App) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apps = append(d.apps, app)
	app.Attach(d.Post)
	if t := d.taskOf(homePackage); t != nil && t.top().OnResume != nil {
		t.top().OnResume(&d.ui)
	}
}

// Post runs f on the UI thread, and returns when it has run.
func (d *Display) Post(f func(*UI)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		f(&d.ui)
	}
}

// Close stops every app. Posted functions are dropped from then on.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	for _, app := range d.apps {
		d.stop(app.Package())
	}
	d.closed = true
}

// Start opens the activity that an intent asks for.
func (d *Display) Start(ctx context.Context, in Intent) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("screen: start %s: %w", in.Component, err)
	}
	_, err := d.Launch(in)
	return err
}

// Launch opens the activity that an intent asks for and says what that did.
func (d *Display) Launch(in Intent) (StartResult, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.start(in)
}

// Resolve says which component an intent would open, as "package/class".
func (d *Display) Resolve(in Intent) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	app, info, err := d.resolve(in)
	if err != nil {
		return "", err
	}
	return app.Package() + "/" + info.Name, nil
}

// ForceStop ends an app's process and closes its activities. It reports
// whether there is such an app.
func (d *Display) ForceStop(pkg string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stop(pkg)
}

// Clear ends an app's process and deletes its data. It reports whether there
// is such an app.
func (d *Display) Clear(pkg string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stop(pkg) {
		return false
	}
	d.app(pkg).Clear()
	return true
}

// Focus is the component that has the input focus, as "package/class", or ""
// when the screen is off.
func (d *Display) Focus() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.asleep || d.front == nil {
		return ""
	}
	if d.locked {
		return keyguardPackage + "/com.android.systemui.statusbar.phone.StatusBar"
	}
	return d.front.Component()
}

// Tasks lists the components of each task, the task in front first and the
// top activity of each first.
func (d *Display) Tasks() [][]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all [][]string
	for _, t := range slices.Backward(d.tasks) {
		var names []string
		for _, a := range slices.Backward(t.stack) {
			names = append(names, a.Component())
		}
		all = append(all, names)
	}
	return all
}

// Awake reports whether the screen is on.
func (d *Display) Awake() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.asleep
}

// KeyboardShown reports whether the soft keyboard covers the lower part.
func (d *Display) KeyboardShown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ime && !d.asleep
}

func (d *Display) app(pkg string) App {
	for _, app := range d.apps {
		if app.Package() == pkg {
			return app
		}
	}
	return nil
}

func (d *Display) resolve(in Intent) (App, ActivityInfo, error) {
	if in.Component != "" {
		pkg, class, _ := strings.Cut(in.Component, "/")
		if strings.HasPrefix(class, ".") {
			class = pkg + class
		}
		if app := d.app(pkg); app != nil {
			for _, info := range app.Activities() {
				if info.Name == class {
					return app, info, nil
				}
			}
		}
		return nil, ActivityInfo{}, fmt.Errorf("%w: no component %s", ErrNoActivity, in.Component)
	}
	home := slices.Contains(in.Categories, CategoryHome)
	scheme, _, _ := strings.Cut(in.Data, ":")
	for _, app := range d.apps {
		if in.Package != "" && app.Package() != in.Package {
			continue
		}
		for _, info := range app.Activities() {
			if !slices.Contains(info.Actions, in.Action) || home != info.Home {
				continue
			}
			if in.Data != "" && !slices.Contains(info.Schemes, strings.ToLower(scheme)) {
				continue
			}
			return app, info, nil
		}
	}
	return nil, ActivityInfo{}, fmt.Errorf("%w: action %q, package %q, data %q", ErrNoActivity, in.Action, in.Package, in.Data)
}

func (d *Display) start(in Intent) (StartResult, error) {
	if d.closed {
		return StartResult{}, fmt.Errorf("%w: display is closed", ErrNoActivity)
	}
	app, info, err := d.resolve(in)
	if err != nil {
		return StartResult{}, err
	}
	result := StartResult{Component: app.Package() + "/" + info.Name}
	if info.Home {
		d.goHome()
		return result, nil
	}
	t := d.taskOf(app.Package())
	if t == nil {
		t = &task{pkg: app.Package()}
	}
	d.recent = false
	// An activity that is in the stack already is told, and what lies above it
	// is closed: browsers declare their activities singleTask.
	for i, a := range t.stack {
		if a.name != info.Name {
			continue
		}
		result.Delivered = true
		dropped := t.stack[i+1:]
		t.stack = t.stack[:i+1]
		for _, gone := range dropped {
			d.leave(gone)
		}
		d.raise(t)
		if a.OnIntent != nil {
			a.OnIntent(&d.ui, in)
		}
		return result, nil
	}
	a := app.Open(&d.ui, info.Name, in)
	a.pkg, a.name = app.Package(), info.Name
	t.stack = append(t.stack, a)
	d.raise(t)
	return result, nil
}

func (d *Display) taskOf(pkg string) *task {
	for _, t := range d.tasks {
		if t.pkg == pkg {
			return t
		}
	}
	return nil
}

// raise brings a task to the front and tells the activities concerned.
func (d *Display) raise(t *task) {
	d.tasks = slices.DeleteFunc(d.tasks, func(other *task) bool { return other == t })
	d.tasks = append(d.tasks, t)
	d.settle()
}

// settle makes the activity that is now on top the front one.
func (d *Display) settle() {
	var top *Activity
	if len(d.tasks) > 0 {
		top = d.tasks[len(d.tasks)-1].top()
	}
	if top == d.front {
		return
	}
	d.ime = false
	old := d.front
	d.front = top
	if old != nil && old.OnPause != nil {
		old.OnPause(&d.ui)
	}
	if d.front == top && top != nil && top.OnResume != nil {
		top.OnResume(&d.ui)
	}
}

// leave tells an activity that goes away without having come to the front
// again; the front one is told by settle.
func (d *Display) leave(a *Activity) {
	a.dialogs = nil
	if a != d.front {
		return
	}
	d.front = nil
	d.ime = false
	if a.OnPause != nil {
		a.OnPause(&d.ui)
	}
}

func (d *Display) goHome() {
	d.recent = false
	t := d.taskOf(homePackage)
	if t == nil {
		app := d.app(homePackage)
		a := app.Open(&d.ui, homeActivity, Intent{Action: ActionMain})
		a.pkg, a.name = homePackage, homeActivity
		t = &task{pkg: homePackage, stack: []*Activity{a}}
	}
	d.raise(t)
}

// finish closes the top activity of the front task.
func (d *Display) finish(a *Activity) {
	for _, t := range d.tasks {
		i := slices.Index(t.stack, a)
		if i < 0 {
			continue
		}
		t.stack = slices.Delete(t.stack, i, i+1)
		d.leave(a)
		if len(t.stack) == 0 {
			d.tasks = slices.DeleteFunc(d.tasks, func(other *task) bool { return other == t })
		}
		break
	}
	if len(d.tasks) == 0 {
		d.goHome()
		return
	}
	d.settle()
}

func (d *Display) stop(pkg string) bool {
	app := d.app(pkg)
	if app == nil {
		return false
	}
	for _, t := range slices.Clone(d.tasks) {
		if t.pkg != pkg {
			continue
		}
		d.tasks = slices.DeleteFunc(d.tasks, func(other *task) bool { return other == t })
		// A killed process hears nothing, so the activities are not told.
		if slices.Contains(t.stack, d.front) {
			d.front = nil
			d.ime = false
		}
	}
	app.Stop()
	if len(d.tasks) == 0 && !d.closed {
		d.goHome()
	}
	d.settle()
	return true
}

func (d *Display) wake()  { d.asleep = false }
func (d *Display) sleep() { d.asleep, d.ime = true, false }

// Start opens another activity.
func (ui *UI) Start(in Intent) error {
	_, err := ui.d.start(in)
	return err
}

// Finish closes an activity.
func (ui *UI) Finish(a *Activity) { ui.d.finish(a) }

// Home shows the home screen.
func (ui *UI) Home() { ui.d.goHome() }

// Front is the activity that has the focus.
func (ui *UI) Front() *Activity { return ui.d.front }

// Now is the time of the phone's clock.
func (ui *UI) Now() time.Time { return ui.d.clock() }

// SetFocus gives a view of the front activity the input focus, and shows the
// soft keyboard where it is a text field; nil takes the focus away.
func (ui *UI) SetFocus(v *View) { ui.d.setFocus(v) }

// HideKeyboard puts the soft keyboard away; the focus stays.
func (ui *UI) HideKeyboard() { ui.d.ime = false }

// Focused is the view of the front activity that has the input focus, or nil.
func (ui *UI) Focused() *View { return ui.d.focused() }

// Show opens a dialog above an activity.
func (ui *UI) Show(a *Activity, dialog *Dialog) {
	ui.d.ime = false
	a.dialogs = append(a.dialogs, dialog)
}

// Dismiss closes a dialog.
func (ui *UI) Dismiss(dialog *Dialog) {
	for _, t := range ui.d.tasks {
		for _, a := range t.stack {
			a.dialogs = slices.DeleteFunc(a.dialogs, func(other *Dialog) bool { return other == dialog })
		}
	}
	ui.d.ime = false
}

// visibleArea is where windows of apps lie: all but the system bars and the
// keyboard.
func (d *Display) visibleArea() image.Rectangle {
	r := image.Rect(0, statusBar, Width, Height-navBar)
	if d.ime {
		r.Max.Y -= keyboardHeight
	}
	return r
}
