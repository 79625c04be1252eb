package screen

import "image"

// Class names as the accessibility framework reports them.
const (
	ClassView           = "android.view.View"
	ClassFrameLayout    = "android.widget.FrameLayout"
	ClassLinearLayout   = "android.widget.LinearLayout"
	ClassRelativeLayout = "android.widget.RelativeLayout"
	ClassTextView       = "android.widget.TextView"
	ClassEditText       = "android.widget.EditText"
	ClassButton         = "android.widget.Button"
	ClassImageView      = "android.widget.ImageView"
	ClassImageButton    = "android.widget.ImageButton"
	ClassCheckBox       = "android.widget.CheckBox"
	ClassSwitch         = "android.widget.Switch"
	ClassRadio          = "android.widget.CheckedTextView"
	ClassProgressBar    = "android.widget.ProgressBar"
	ClassListView       = "android.widget.ListView"
	ClassScrollView     = "android.widget.ScrollView"
	ClassRecyclerView   = "androidx.recyclerview.widget.RecyclerView"
	ClassWebView        = "android.webkit.WebView"
)

// A Size is a length in density-independent pixels, or one of Wrap and Match.
type Size int

// The sizes that are no lengths.
const (
	// Wrap makes a view as large as what it holds; it is the zero value.
	Wrap Size = 0
	// Match makes a view as large as its parent allows.
	Match Size = -1
)

// An Axis says how a view places its children.
type Axis uint8

// The ways of placing children.
const (
	// Stacked lays children over one another, as a FrameLayout does.
	Stacked Axis = iota
	// Down lays children out one below the other.
	Down
	// Across lays children out side by side.
	Across
)

// A Gravity places what is smaller than its room.
type Gravity uint8

// The gravities. The zero value is the upper left corner, or, for a child of
// a row, its middle line.
const (
	GravityNone Gravity = iota
	GravityCenter
	GravityEnd
	GravityBottom
)

// Edges are four distances in density-independent pixels.
type Edges struct{ Left, Top, Right, Bottom int }

// All is the same distance on each side.
func All(dp int) Edges { return Edges{dp, dp, dp, dp} }

// Sides is one distance left and right and another above and below.
func Sides(horizontal, vertical int) Edges {
	return Edges{horizontal, vertical, horizontal, vertical}
}

// A Style says how a view is drawn. It has no influence on the dump, except
// that the size of the text decides the bounds of views that wrap it.
type Style struct {
	// TextSize is in scaled pixels; 0 means 16.
	TextSize int
	Bold     bool
	// Color and Background are 0xRRGGBB plus one, so that the zero value is
	// "as usual": RGB makes them.
	Color, Background Color
	// Radius rounds the corners of the background.
	Radius int
	// Icon names a drawn symbol: see drawIcon.
	Icon string
	// MaxLines cuts the text with an ellipsis; 0 means no limit.
	MaxLines int
	// Align places the text in its view.
	Align Gravity
}

// A Color is a colour with a usable zero value, which means "as usual".
type Color uint32

// RGB is the colour 0xRRGGBB.
func RGB(rgb uint32) Color { return Color(rgb&0xffffff) + 1 }

// A View is one widget of a window's tree. Views are retained: an app builds
// them once, changes their fields on the UI thread, and layout happens when
// someone looks. All fields belong to the UI thread: only the callbacks of the
// display and functions given to Display.Post may touch them.
type View struct {
	Class string
	// ID is the full resource name, such as "android:id/title".
	ID string
	// Package overrides the activity's package in the dump.
	Package string
	Text    string
	Hint    string
	Desc    string

	Checkable, Checked, Selected, Password bool
	// Disabled views take no taps, Hidden ones are not laid out at all.
	Disabled, Hidden bool
	// Focusable views can hold the input focus; clickable ones always can.
	Focusable bool
	// Clickable without a callback is for parents that only swallow taps.
	Clickable bool
	// Scrolls makes a view that places children downwards scrollable.
	Scrolls bool
	// SelectOnFocus selects the text when the focus comes, so that the next
	// character replaces it, as an address bar does.
	SelectOnFocus bool

	Width, Height   Size
	MinHeight       int
	Weight          int
	Padding, Margin Edges
	Axis            Axis
	// Gravity places the view in its parent.
	Gravity Gravity
	Style   Style

	Children []*View

	OnClick     func(*UI)
	OnLongClick func(*UI)
	// OnToggle is told the new position after a tap on a checkable view; a
	// checkable view without it ignores taps of its own.
	OnToggle func(*UI, bool)
	OnText   func(*UI, string)
	// OnEnter is told the text when ENTER is pressed in an EditText.
	OnEnter func(*UI, string)
	// OnFocus is told when the focus comes and goes.
	OnFocus func(*UI, bool)

	scroll   int
	reach    int  // the largest possible scroll
	allTaken bool // the text is selected: the next character replaces it
	w, h     int
	lines    []string
	// The system bars are measured in pixels.
	insetTop, insetBottom, exactH int

	frame  image.Rectangle // whole, may lie outside of the window
	shown  image.Rectangle // what the window and the scrolling parents leave
	parent *View
}

// Bounds is what is visible of the view, in pixels of the display, as of the
// last layout.
func (v *View) Bounds() image.Rectangle { return v.shown }

// Add appends children and returns the view.
func (v *View) Add(children ...*View) *View {
	v.Children = append(v.Children, children...)
	return v
}

// Find returns the first view in the tree that fits, in drawing order.
func (v *View) Find(fits func(*View) bool) *View {
	if v == nil {
		return nil
	}
	if fits(v) {
		return v
	}
	for _, c := range v.Children {
		if found := c.Find(fits); found != nil {
			return found
		}
	}
	return nil
}

// ScrollToTop shows the beginning of a scrolling view.
func (v *View) ScrollToTop() { v.scroll = 0 }

func (v *View) clickable() bool {
	return v.Clickable || v.OnClick != nil || (v.OnToggle != nil && v.Checkable) || v.isEdit()
}

func (v *View) focusable() bool { return v.Focusable || v.clickable() || v.scrollable() }

// scrollable reports what accessibility reports: that there is something to
// scroll, so it is right only after a layout.
func (v *View) scrollable() bool { return v.Scrolls && v.reach > 0 }

// pad is the padding in pixels.
func (v *View) pad() (left, top, right, bottom int) {
	left, top, right, bottom = v.Padding.px()
	return left, top + v.insetTop, right, bottom + v.insetBottom
}

func (v *View) isEdit() bool { return v.Class == ClassEditText }

// Text makes a TextView.
func Text(id, text string, style Style) *View {
	return &View{Class: ClassTextView, ID: id, Text: text, Style: style}
}

// Column makes a LinearLayout that places its children downwards over the
// whole width.
func Column(id string, children ...*View) *View {
	return &View{Class: ClassLinearLayout, ID: id, Axis: Down, Width: Match, Children: children}
}

// Row makes a LinearLayout that places its children side by side over the
// whole width.
func Row(id string, children ...*View) *View {
	return &View{Class: ClassLinearLayout, ID: id, Axis: Across, Width: Match, Children: children}
}

// Frame makes a FrameLayout that fills its parent.
func Frame(id string, children ...*View) *View {
	return &View{Class: ClassFrameLayout, ID: id, Axis: Stacked, Width: Match, Height: Match, Children: children}
}

// List makes a scrolling list that takes the room left over in a Column.
func List(class, id string, rows ...*View) *View {
	return &View{Class: class, ID: id, Axis: Down, Width: Match, Weight: 1, Scrolls: true, Focusable: true, Children: rows}
}

// Icon makes an ImageView; a callback makes it a button.
func Icon(id, desc, icon string, click func(*UI)) *View {
	return &View{
		Class: ClassImageView, ID: id, Desc: desc, Width: 48, Height: 48, OnClick: click,
		Style: Style{Icon: icon},
	}
}

// TextButton makes a Button.
func TextButton(id, text string, click func(*UI)) *View {
	return &View{
		Class: ClassButton, ID: id, Text: text, OnClick: click, Height: 48, Padding: Sides(16, 0),
		Style: Style{TextSize: 15, Bold: true, Color: RGB(0x1a73e8), Align: GravityCenter},
	}
}
