package ui

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"strconv"
	"time"

	"github.com/offproof/offproof/devices"
)

// A Route is the way by which a phone is operated.
type Route string

// The routes. RouteInput is Android's input command, which MIUI denies ADB
// while "USB debugging (Security settings)" is off; RouteHID is a keyboard and a
// touch screen of ours, made by the phone's hid command; RoutePerson is somebody
// who holds the phone.
const (
	RouteUnknown Route = ""
	RouteInput   Route = "input"
	RouteHID     Route = "hid"
	RoutePerson  Route = "person"
)

// A Hand operates a phone by one route. Places are in pixels of the display,
// key codes are Android's. That it returns no error says that the phone was told
// and not that it obeyed: whoever acts reads back.
type Hand interface {
	Route() Route
	Tap(ctx context.Context, at image.Point) error
	Swipe(ctx context.Context, from, to image.Point, d time.Duration) error
	// Text types printable ASCII; other text is an error.
	Text(ctx context.Context, text string) error
	Keys(ctx context.Context, codes ...int) error
	Close() error
}

// shellHand is the phone's input command.
type shellHand struct{ phone Phone }

func (shellHand) Route() Route { return RouteInput }

func (shellHand) Close() error { return nil }

func (h shellHand) Tap(ctx context.Context, at image.Point) error {
	return h.input(ctx, "tap", strconv.Itoa(at.X), strconv.Itoa(at.Y))
}

func (h shellHand) Swipe(ctx context.Context, from, to image.Point, d time.Duration) error {
	return h.input(ctx, "swipe", strconv.Itoa(from.X), strconv.Itoa(from.Y), strconv.Itoa(to.X), strconv.Itoa(to.Y),
		strconv.FormatInt(max(d.Milliseconds(), 1), 10))
}

func (h shellHand) Text(ctx context.Context, text string) error {
	encoded, err := encode(text)
	if err != nil {
		return err
	}
	return h.input(ctx, "text", encoded)
}

func (h shellHand) Keys(ctx context.Context, codes ...int) error {
	args := []string{"keyevent"}
	for _, c := range codes {
		args = append(args, strconv.Itoa(c))
	}
	return h.input(ctx, args...)
}

// input runs the phone's input command, which reports many errors with exit
// status 0.
func (h shellHand) input(ctx context.Context, args ...string) error {
	args = append([]string{"input"}, args...)
	result, err := h.phone.Shell(ctx, args...)
	if err != nil {
		return fmt.Errorf("ui: %s: %w", args[1], err)
	}
	if err := devices.Check(h.phone.Serial(), result, args...); err != nil {
		return fmt.Errorf("ui: %s: %w", args[1], err)
	}
	said := bytes.TrimSpace(append(bytes.Clone(result.Stdout), result.Stderr...))
	for _, mark := range []string{"Error", "Exception", "Usage:"} {
		if bytes.Contains(said, []byte(mark)) {
			return fmt.Errorf("ui: %s: %s", args[1], excerpt(said))
		}
	}
	return nil
}

// A HandsOffError says that a program tried to operate a phone that is operated
// by a person.
type HandsOffError struct{ Act string }

func (e *HandsOffError) Error() string {
	return "ui: " + e.Act + ": this phone is operated by a person: a step has to say in words what is to be done (harness.Act.Perform)"
}

// Nobody refuses every act: it is the hand of a phone that a person operates.
type Nobody struct{}

var _ Hand = Nobody{}

// Route is the person's.
func (Nobody) Route() Route { return RoutePerson }

// Tap is a *HandsOffError.
func (Nobody) Tap(context.Context, image.Point) error { return &HandsOffError{"tap"} }

// Swipe is a *HandsOffError.
func (Nobody) Swipe(context.Context, image.Point, image.Point, time.Duration) error {
	return &HandsOffError{"swipe"}
}

// Text is a *HandsOffError.
func (Nobody) Text(context.Context, string) error { return &HandsOffError{"type"} }

// Keys is a *HandsOffError.
func (Nobody) Keys(context.Context, ...int) error { return &HandsOffError{"press keys"} }

// Close does nothing.
func (Nobody) Close() error { return nil }
