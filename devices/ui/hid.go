package ui

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/android"
)

const (
	// hidLimit bounds the wait until Android uses the devices that were made.
	hidLimit = 15 * time.Second
	// hidLook lies between two looks whether it does.
	hidLook = 200 * time.Millisecond
	// hidHold is how long a key is held, a finger rests, and both are let go.
	hidHold = 20 * time.Millisecond
	hidTap  = 80 * time.Millisecond
	// hidSlack is added to what a sequence takes, before it counts as done.
	hidSlack = 150 * time.Millisecond
	// hidStep lies between two places of a moving finger.
	hidStep = 20 * time.Millisecond
	// maxHID bounds one sequence of typed keys.
	maxHID = 2000
)

// The numbers under which hid knows the two devices.
const (
	hidKeyboard = 1
	hidScreen   = 2
)

// HID is a keyboard and a touch screen that the phone's own hid command makes out
// of /dev/uhid: the events come from the kernel, as those of a plugged-in
// keyboard do, so that MIUI's gate does not hold them up. The shell user may do so
// on Android 6 and later where the build left the command in. It types with the
// layout of the United States, which is Android's own unless somebody chose
// another one: what is typed has to be read back.
type HID struct {
	serial string
	stream *devices.Stream
	feed   *io.PipeWriter
	size   image.Point

	mu   sync.Mutex
	once sync.Once
}

var _ Hand = (*HID)(nil)

// A NoHIDError says why a phone cannot be operated by HID devices.
type NoHIDError struct {
	Serial, Text string
	Err          error
}

func (e *NoHIDError) Error() string {
	text := fmt.Sprintf("ui: phone %s: operate by hid: %s", e.Serial, e.Text)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the cause, if there is one.
func (e *NoHIDError) Unwrap() error { return e.Err }

// OpenHID makes the devices and returns when Android uses them. They go with
// Close, with the connection and with this process. The error is a *NoHIDError.
func OpenHID(ctx context.Context, d *devices.Device) (*HID, error) {
	fail := func(text string, err error) (*HID, error) {
		return nil, &NoHIDError{Serial: d.Serial(), Text: text, Err: err}
	}
	size, err := displaySize(ctx, d)
	if err != nil {
		return fail("the size of its display is unknown", err)
	}
	input, feed := io.Pipe()
	stream, err := d.StreamInput(context.WithoutCancel(ctx), "hid -", input)
	if err != nil {
		return fail("start the command", err)
	}
	h := &HID{serial: d.Serial(), stream: stream, feed: feed, size: size}
	said := make(chan []byte, 1)
	go func() {
		// It has to be read to its end; the first words say why it ended.
		first, _ := io.ReadAll(io.LimitReader(stream.Stdout, 1<<10))
		_, _ = io.Copy(io.Discard, stream.Stdout)
		<-stream.Done()
		_ = feed.CloseWithError(errors.New("the phone's hid command has ended"))
		more, _ := io.ReadAll(io.LimitReader(stream.Stderr, 1<<10))
		said <- append(first, more...)
	}()
	var id [4]byte
	_, _ = rand.Read(id[:]) // It never fails.
	names := []string{"offproof keyboard " + hex.EncodeToString(id[:]), "offproof touch screen " + hex.EncodeToString(id[:])}
	err = h.write(
		hidEvent{ID: hidKeyboard, Command: "register", Name: names[0], Vendor: hidVendor, Product: hidKeyboard, Descriptor: ints(keyboardDescriptor())},
		hidEvent{ID: hidScreen, Command: "register", Name: names[1], Vendor: hidVendor, Product: hidScreen, Descriptor: ints(touchDescriptor(size))})
	if err == nil {
		err = h.await(ctx, d, names)
	}
	if err != nil {
		ended := false
		select {
		case <-stream.Done():
			ended = true
		default:
		}
		_ = h.Close()
		if text := strings.TrimSpace(string(<-said)); ended {
			return fail("its hid command ended at once: "+excerpt([]byte(text)), nil)
		}
		return fail("its hid command makes no device that Android uses; the build may deny the shell /dev/uhid", err)
	}
	return h, nil
}

func displaySize(ctx context.Context, d *devices.Device) (image.Point, error) {
	physical, override, err := d.Display(ctx, devices.DisplaySize)
	if err != nil {
		return image.Point{}, err
	}
	if override != "" {
		physical = override
	}
	size, ok := android.ParseSize(physical)
	if !ok {
		return image.Point{}, fmt.Errorf("%q is no size such as 1080x2340", physical)
	}
	return size, nil
}

// await looks until Android's own list of input devices has the names.
func (h *HID) await(ctx context.Context, d *devices.Device, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, hidLimit)
	defer cancel()
	for {
		text, err := d.Output(ctx, "dumpsys", "input")
		if err == nil && strings.Contains(text, names[0]) && strings.Contains(text, names[1]) {
			return nil
		}
		select {
		case <-h.stream.Done():
			return errors.New("the command has ended")
		default:
		}
		if perr := pause(ctx, hidLook); perr != nil {
			if err != nil {
				return fmt.Errorf("%w; the last look: %w", perr, err)
			}
			return perr
		}
	}
}

// Route is RouteHID.
func (*HID) Route() Route { return RouteHID }

// Close takes the devices away. It may be called again.
func (h *HID) Close() error {
	var err error
	h.once.Do(func() {
		_ = h.feed.Close() // The command ends with its input, and the devices with it.
		late := time.AfterFunc(hidLimit, func() { _ = h.stream.Close() })
		<-h.stream.Done()
		if !late.Stop() {
			err = fmt.Errorf("ui: phone %s: close hid: the command did not end in %s", h.serial, hidLimit)
		}
		_ = h.stream.Close()
	})
	return err
}

// hidEvent is one event of the hid command's input, as its README has it. The
// numbers are decimal, because old and new builds read those.
type hidEvent struct {
	ID         int    `json:"id"`
	Command    string `json:"command"`
	Name       string `json:"name,omitempty"`
	Vendor     int    `json:"vid,omitempty"`
	Product    int    `json:"pid,omitempty"`
	Descriptor []int  `json:"descriptor,omitempty"`
	Report     []int  `json:"report,omitempty"`
	Duration   int    `json:"duration,omitempty"` // in milliseconds
}

// hidVendor is Google's number, under which the documentation of the command
// makes its devices.
const hidVendor = 0x18d1

func (h *HID) write(events ...hidEvent) error {
	var b bytes.Buffer
	words := json.NewEncoder(&b)
	for _, e := range events {
		if err := words.Encode(e); err != nil {
			return fmt.Errorf("ui: phone %s: write to hid: %w", h.serial, err)
		}
	}
	if _, err := h.feed.Write(b.Bytes()); err != nil {
		return fmt.Errorf("ui: phone %s: write to hid: %w", h.serial, err)
	}
	return nil
}

// perform hands a sequence over and waits as long as it takes.
func (h *HID) perform(ctx context.Context, events []hidEvent) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := h.write(events...); err != nil {
		return err
	}
	took := hidSlack
	for _, e := range events {
		took += time.Duration(e.Duration) * time.Millisecond
	}
	return pause(ctx, took)
}

func report(id int, data ...byte) hidEvent {
	return hidEvent{ID: id, Command: "report", Report: ints(data)}
}

func wait(id int, d time.Duration) hidEvent {
	return hidEvent{ID: id, Command: "delay", Duration: int(max(d.Milliseconds(), 1))}
}

func ints(b []byte) []int {
	out := make([]int, len(b))
	for i, v := range b {
		out[i] = int(v)
	}
	return out
}

// Tap puts a finger onto the screen for a moment.
func (h *HID) Tap(ctx context.Context, at image.Point) error {
	return h.perform(ctx, []hidEvent{h.finger(true, at), wait(hidScreen, hidTap), h.finger(false, at), wait(hidScreen, hidHold)})
}

// Swipe moves a finger in a straight line.
func (h *HID) Swipe(ctx context.Context, from, to image.Point, d time.Duration) error {
	steps := max(2, int(d/hidStep))
	var events []hidEvent
	for i := range steps + 1 {
		at := from.Add(to.Sub(from).Mul(i).Div(steps))
		events = append(events, h.finger(true, at), wait(hidScreen, d/time.Duration(steps)))
	}
	// A finger that rests before it leaves does not throw the list on.
	return h.perform(ctx, append(events, wait(hidScreen, hidTap), h.finger(false, to), wait(hidScreen, hidHold)))
}

func (h *HID) finger(down bool, at image.Point) hidEvent {
	tip := byte(0)
	if down {
		tip = 1
	}
	x, y := min(max(at.X, 0), h.size.X-1), min(max(at.Y, 0), h.size.Y-1)
	return report(hidScreen, tip, 1, byte(x), byte(x>>8), byte(y), byte(y>>8), 1)
}

// Text types printable ASCII, each character by its key.
func (h *HID) Text(ctx context.Context, text string) error {
	if text == "" || len(text) > maxHID {
		return fmt.Errorf("ui: type: a text of %d characters: 1 to %d can be typed", len(text), maxHID)
	}
	var events []hidEvent
	for i := range len(text) {
		k, ok := charKey(text[i])
		if !ok {
			return fmt.Errorf("ui: type %q: only printable ASCII can be typed", text)
		}
		events = append(events, k.press()...)
	}
	return h.perform(ctx, events)
}

// Keys presses keys one after the other.
func (h *HID) Keys(ctx context.Context, codes ...int) error {
	var events []hidEvent
	for _, c := range codes {
		k, ok := codeKeys[c]
		if !ok {
			return fmt.Errorf("ui: press key %d: the HID keyboard has no such key", c)
		}
		events = append(events, k.press()...)
	}
	return h.perform(ctx, events)
}
