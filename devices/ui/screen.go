package ui

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices"
)

const (
	// look is the pause between two dumps while something is awaited.
	look = 150 * time.Millisecond
	// dumpAttempts bounds the dumps of a screen that does not come to rest; each
	// may take uiautomator ten seconds and more.
	dumpAttempts = 4
	// dumpLimit bounds one dump. uiautomator itself gives up after ten seconds on a
	// screen that moves, and takes a few to start.
	dumpLimit = 45 * time.Second
	// maxWords bounds what an error quotes of the screen.
	maxWords = 12
	// maxScrolls bounds the swipes in one direction.
	maxScrolls = 40
)

// A Phone is what a screen needs of a device.
type Phone interface {
	Serial() string
	Shell(ctx context.Context, args ...string) (devices.Result, error)
	Script(ctx context.Context, script string) (devices.Result, error)
}

var _ Phone = (*devices.Device)(nil)

// A Screen is the screen of one phone. It may be used by many goroutines;
// uiautomator serves one at a time, so dumps wait for each other.
type Screen struct {
	phone Phone
	hand  Hand
	file  string
	turn  sync.Mutex
	// moving is true while something moved at the last look through which only the
	// compressed form came; guarded by turn.
	moving bool
}

// treeFiles is where dumps are written on the phone; each screen has a name of
// its own.
const treeFiles = "/data/local/tmp/offproof-ui-"

// New returns the screen of a phone, operated by its input command.
func New(phone Phone) *Screen {
	var id [8]byte
	_, _ = rand.Read(id[:]) // It never fails.
	return &Screen{phone: phone, hand: shellHand{phone}, file: treeFiles + hex.EncodeToString(id[:]) + ".xml"}
}

// Use has the screen operated by another hand from now on. It must not be called
// while the screen is operated.
func (s *Screen) Use(h Hand) { s.hand = h }

// Route is the way by which the screen is operated.
func (s *Screen) Route() Route { return s.hand.Route() }

// Sweep removes the files of dumps that were cut off, whoever began them: a
// connection that is lost between a dump and its removal leaves one behind.
func Sweep(ctx context.Context, phone Phone) error {
	const script = "rm -f " + treeFiles + "*.xml"
	result, err := phone.Script(ctx, script)
	if err == nil {
		err = devices.Check(phone.Serial(), result, "rm", "-f", treeFiles+"*.xml")
	}
	if err != nil {
		return fmt.Errorf("ui: sweep view trees: %w", err)
	}
	return nil
}

// A NotFoundError says what was looked for and what was on the screen instead.
type NotFoundError struct {
	Want string
	Seen []string
	// Popup is the window of the system that was in front, nil when none was.
	Popup *Popup
	Err   error // why the wait ended, nil when there was none
}

func (e *NotFoundError) Error() string {
	seen := "an empty screen"
	if len(e.Seen) > 0 {
		seen = strings.Join(e.Seen, " | ")
	}
	if e.Popup != nil {
		seen = e.Popup.String()
	}
	if e.Err != nil {
		return fmt.Sprintf("ui: find %s: not on the screen, which shows: %s: %v", e.Want, seen, e.Err)
	}
	return fmt.Sprintf("ui: find %s: not on the screen, which shows: %s", e.Want, seen)
}

// Unwrap returns why the wait ended.
func (e *NotFoundError) Unwrap() error { return e.Err }

// A BusyError says that the screen never came to rest, so that uiautomator
// could not describe it.
type BusyError struct{ Text string }

func (e *BusyError) Error() string {
	return "ui: dump view tree: the screen does not come to rest: " + e.Text
}

// An EmptyError says that no window shows anything: the screen is off, or a
// window is on its way.
type EmptyError struct{ Text string }

func (e *EmptyError) Error() string {
	return "ui: dump view tree: no window shows anything (is the screen on and unlocked?): " + e.Text
}

// A WedgedError says that uiautomator did not answer in time, or that another
// one holds the screen and does not let go.
type WedgedError struct{ Text string }

func (e *WedgedError) Error() string {
	return "ui: dump view tree: uiautomator does not answer: end the other one, or restart the phone: " + e.Text
}

// passing says whether another look may show more.
func passing(err error) bool {
	return errors.As(err, new(*BusyError)) || errors.As(err, new(*EmptyError)) || errors.Is(err, ErrFormat)
}

// Dump reads the view tree. A screen that moves is tried again, in turns with
// uiautomator's compressed form, a bounded number of times. Where only that one
// came through, it is tried first the next time: the other one loses ten seconds.
func (s *Screen) Dump(ctx context.Context) (*Node, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	var last error
	first := s.moving
	for i := range dumpAttempts {
		compressed := (i%2 == 1) != first
		root, err := s.dump(ctx, compressed)
		if err == nil {
			s.moving = compressed && (first || errors.As(last, new(*BusyError)))
			return root, nil
		}
		if !passing(err) || ctx.Err() != nil {
			return nil, err
		}
		last = err
	}
	return nil, last
}

// lookWhole has the next look begin with the form that leaves nothing out.
func (s *Screen) lookWhole() {
	s.turn.Lock()
	s.moving = false
	s.turn.Unlock()
}

// dump runs uiautomator once. It writes to a file, because what it prints has
// messages of its own around the XML; the file is removed first, because an
// error leaves the old one in place and still exits with 0.
func (s *Screen) dump(ctx context.Context, compressed bool) (*Node, error) {
	option := ""
	if compressed {
		option = "--compressed "
	}
	nonce := rand.Text()
	script := fmt.Sprintf("rm -f %[1]s; uiautomator dump %[2]s%[1]s 2>&1; echo %[3]s; cat %[1]s; rm -f %[1]s", s.file, option, nonce)
	limited, cancel := context.WithTimeout(ctx, dumpLimit)
	defer cancel()
	result, err := s.phone.Script(limited, script)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, &WedgedError{Text: fmt.Sprintf("nothing came in %s", dumpLimit)}
	}
	if err != nil {
		return nil, fmt.Errorf("ui: dump view tree: %w", err)
	}
	said, tree, ok := bytes.Cut(result.Stdout, []byte(nonce))
	if !ok {
		return nil, fmt.Errorf("ui: dump view tree: %q: %w", excerpt(result.Stdout), ErrFormat)
	}
	if bytes.Contains(said, []byte("could not get idle state")) {
		return nil, &BusyError{Text: excerpt(said)}
	}
	if bytes.Contains(said, []byte("already registered")) {
		return nil, &WedgedError{Text: excerpt(said)}
	}
	root, err := Parse(tree)
	if err != nil && bytes.Contains(said, []byte("null root node")) {
		return nil, &EmptyError{Text: excerpt(said)}
	}
	if err != nil {
		return nil, fmt.Errorf("%w (uiautomator said %q)", err, excerpt(said))
	}
	if root.bare() {
		return nil, &EmptyError{Text: "the tree has one node, and it says nothing"}
	}
	return root, nil
}

// bare says whether a tree has no more than one node that says nothing, which is
// what uiautomator shows of a screen that is off.
func (n *Node) bare() bool {
	if len(n.Children) == 0 {
		return true
	}
	only := n.Children[0]
	return len(n.Children) == 1 && len(only.Children) == 0 && only.Text == "" && only.Desc == ""
}

// Find looks once for the first node that fits. A *NotFoundError says what was
// on the screen instead.
func (s *Screen) Find(ctx context.Context, sel Selector) (*Node, error) {
	root, err := s.Dump(ctx)
	if err != nil {
		return nil, err
	}
	if n := root.First(sel); n != nil {
		return n, nil
	}
	return nil, notFound(sel.String(), root, nil)
}

// notFound says what was on the screen instead; root may be nil.
func notFound(want string, root *Node, err error) *NotFoundError {
	e := &NotFoundError{Want: want, Seen: root.Words(maxWords), Err: err}
	if p, ok := PopupIn(root); ok {
		e.Popup = &p
	}
	return e
}

// WaitFor looks until a node fits or ctx ends.
func (s *Screen) WaitFor(ctx context.Context, sel Selector) (*Node, error) {
	var found *Node
	err := s.wait(ctx, sel.String(), func(root *Node) bool {
		found = root.First(sel)
		return found != nil
	})
	return found, err
}

// WaitGone looks until no node fits or ctx ends.
func (s *Screen) WaitGone(ctx context.Context, sel Selector) error {
	return s.wait(ctx, "screen without "+sel.String(), func(root *Node) bool { return root.First(sel) == nil })
}

// WaitUntil looks until ok accepts the tree or ctx ends. want says in words
// what is awaited.
func (s *Screen) WaitUntil(ctx context.Context, want string, ok func(root *Node) bool) error {
	return s.wait(ctx, want, ok)
}

func (s *Screen) wait(ctx context.Context, want string, ok func(*Node) bool) error {
	last := notFound(want, nil, nil)
	for {
		root, err := s.Dump(ctx)
		switch {
		case err == nil:
			if ok(root) {
				return nil
			}
			// The compressed form leaves views out; what is missing may be one of them.
			s.lookWhole()
			last = notFound(want, root, nil)
		case ctx.Err() != nil:
			last.Err = ctx.Err()
			return last
		case !passing(err):
			return err
		default:
			last = &NotFoundError{Want: want, Seen: []string{err.Error()}}
		}
		if last.Err = pause(ctx, look); last.Err != nil {
			return last
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Screenshot is the picture of the screen, a PNG.
func (s *Screen) Screenshot(ctx context.Context) ([]byte, error) {
	result, err := s.phone.Script(ctx, "screencap -p")
	if err != nil {
		return nil, fmt.Errorf("ui: take screenshot: %w", err)
	}
	if err := devices.Check(s.phone.Serial(), result, "screencap", "-p"); err != nil {
		return nil, fmt.Errorf("ui: take screenshot: %w", err)
	}
	return cutPNG(result.Stdout)
}

// cutPNG finds the picture behind the noise that some builds print first, and
// makes sure that it is whole.
func cutPNG(b []byte) ([]byte, error) {
	const noise = 4 << 10
	start := bytes.Index(b[:min(len(b), noise)], []byte("\x89PNG\r\n\x1a\n"))
	if start < 0 {
		return nil, fmt.Errorf("ui: take screenshot: no PNG: %q", excerpt(b))
	}
	b = b[start:]
	if _, err := png.DecodeConfig(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("ui: take screenshot: %w", err)
	}
	if !bytes.HasSuffix(b, []byte("IEND\xaeB`\x82")) {
		return nil, errors.New("ui: take screenshot: the PNG was cut short")
	}
	return b, nil
}

// Tap taps the middle of a node.
func (s *Screen) Tap(ctx context.Context, n *Node) error {
	if n == nil || n.Bounds.Empty() {
		return fmt.Errorf("ui: tap: %v is not visible", n)
	}
	return s.TapAt(ctx, n.Center())
}

// TapAt taps a point of the screen.
func (s *Screen) TapAt(ctx context.Context, at image.Point) error {
	return s.hand.Tap(ctx, at)
}

// TapOn waits for a node and taps it.
func (s *Screen) TapOn(ctx context.Context, sel Selector) error {
	n, err := s.WaitFor(ctx, sel)
	if err != nil {
		return err
	}
	return s.Tap(ctx, n)
}

// Type types text into the field that has the focus: printable ASCII, since
// neither route can type more. By the input command a literal %s is an error too,
// because the phone would type a blank for it.
func (s *Screen) Type(ctx context.Context, text string) error {
	return s.hand.Text(ctx, text)
}

// encode writes blanks in the way of the input command.
func encode(text string) (string, error) {
	if text == "" {
		return "", errors.New("ui: type: the text is empty")
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return "", fmt.Errorf("ui: type %q: only printable ASCII can be typed", text)
		}
	}
	if strings.Contains(text, "%s") {
		return "", fmt.Errorf("ui: type %q: the phone would type a blank for %%s", text)
	}
	encoded := strings.ReplaceAll(text, " ", "%s")
	// A percent sign before a blank or an s would become part of another %s.
	if strings.ReplaceAll(encoded, "%s", " ") != text {
		return "", fmt.Errorf("ui: type %q: the phone would type something else", text)
	}
	return encoded, nil
}

// Key codes of Android.
const (
	KeyHome      = 3
	KeyBack      = 4
	KeyPower     = 26
	KeyEnter     = 66
	KeyDelete    = 67
	KeyMenu      = 82
	KeyMoveHome  = 122
	KeyMoveEnd   = 123
	KeyAppSwitch = 187
	KeyWakeup    = 224
)

// Key presses one key.
func (s *Screen) Key(ctx context.Context, code int) error {
	return s.hand.Keys(ctx, code)
}

// Clear empties the field that has the focus, of which n is a dump.
func (s *Screen) Clear(ctx context.Context, n *Node) error {
	count := len([]rune(n.Text))
	if count == 0 {
		return nil
	}
	const most = 500
	if count > most {
		return fmt.Errorf("ui: clear field: %d characters are more than %d", count, most)
	}
	keys := []int{KeyMoveEnd}
	for range count {
		keys = append(keys, KeyDelete)
	}
	return s.hand.Keys(ctx, keys...)
}

// Swipe drags a finger from one point to another. Slow swipes scroll by exactly
// their length; quick ones go on rolling.
func (s *Screen) Swipe(ctx context.Context, from, to image.Point, d time.Duration) error {
	return s.hand.Swipe(ctx, from, to, d)
}

// ScrollTo finds a node, scrolling down to the end and then up to the beginning
// of the largest list on the screen until it is visible.
func (s *Screen) ScrollTo(ctx context.Context, sel Selector) (*Node, error) {
	root, err := s.Dump(ctx)
	if err != nil {
		return nil, err
	}
	for _, down := range []bool{true, false} {
		for range maxScrolls {
			if n := root.First(sel); n != nil {
				return n, nil
			}
			list := largest(root.All(Scrollable()))
			if list == nil {
				return nil, &NotFoundError{Want: sel.String(), Seen: root.Words(maxWords)}
			}
			if err := s.scroll(ctx, list, down); err != nil {
				return nil, err
			}
			next, err := s.Dump(ctx)
			if err != nil {
				return nil, err
			}
			if equal(root, next) {
				break // The end of the list.
			}
			root = next
		}
	}
	return nil, &NotFoundError{Want: sel.String(), Seen: root.Words(maxWords)}
}

// scroll moves a list by half its height, slowly, so that nothing is jumped.
func (s *Screen) scroll(ctx context.Context, list *Node, down bool) error {
	b := list.Bounds
	x, high, low := list.Center().X, b.Min.Y+b.Dy()/4, b.Max.Y-b.Dy()/4
	from, to := image.Pt(x, low), image.Pt(x, high)
	if !down {
		from, to = to, from
	}
	const slow = 600 * time.Millisecond
	return s.Swipe(ctx, from, to, slow)
}

func largest(nodes []*Node) *Node {
	var best *Node
	for _, n := range nodes {
		if n.Bounds.Empty() {
			continue
		}
		if best == nil || n.Bounds.Dx()*n.Bounds.Dy() > best.Bounds.Dx()*best.Bounds.Dy() {
			best = n
		}
	}
	return best
}

// equal reports whether two trees show the same.
func equal(a, b *Node) bool {
	if a.Class != b.Class || a.ID != b.ID || a.Text != b.Text || a.Desc != b.Desc || a.Bounds != b.Bounds ||
		a.Checked != b.Checked || len(a.Children) != len(b.Children) {
		return false
	}
	for i := range a.Children {
		if !equal(a.Children[i], b.Children[i]) {
			return false
		}
	}
	return true
}
