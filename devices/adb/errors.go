package adb

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors to be matched with errors.Is.
var (
	// ErrNoServer means that nothing answers at the server's address.
	ErrNoServer = errors.New("no ADB server")
	// ErrTooLarge means that an output, an answer or a request passed its limit.
	ErrTooLarge = errors.New("too large")
)

// noServerError is ErrNoServer with the one line that a person needs.
type noServerError struct {
	addr string
	err  error
}

func (e *noServerError) Error() string {
	return fmt.Sprintf("adb: no ADB server at %s: start one with `adb start-server`, or correct the address: %v", e.addr, e.err)
}

// Is matches the sentinel only: a timeout of the dialler is not the caller's own.
func (e *noServerError) Is(target error) bool { return target == ErrNoServer }

// A LostError says that the phone, its cable or the server went away before an
// answer was complete. What had arrived proves nothing.
type LostError struct {
	Serial string
	Err    error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("adb: phone %s: lost before it had answered: %v", e.Serial, e.Err)
}

// Unwrap returns what broke.
func (e *LostError) Unwrap() error { return e.Err }

// An UnknownError says that the server has no phone of that serial.
type UnknownError struct{ Serial string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("adb: phone %s: not attached to this server: check the cable and the serial (`adb devices -l`)", e.Serial)
}

// An UnauthorizedError says that the phone has not accepted this host's key.
type UnauthorizedError struct{ Serial string }

func (e *UnauthorizedError) Error() string {
	return fmt.Sprintf("adb: phone %s: unauthorized: unlock it and accept \"Allow USB debugging?\" with \"Always allow\" ticked", e.Serial)
}

// An OfflineError says that the server knows the phone but cannot talk to it.
// State is the server's word: "offline", "connecting", "authorizing".
type OfflineError struct{ Serial, State string }

func (e *OfflineError) Error() string {
	return fmt.Sprintf("adb: phone %s: %s: wait a few seconds, then plug it in again or restart it", e.Serial, e.State)
}

// A PermissionError says that the host's user may not open the USB device.
type PermissionError struct{ Serial, Message string }

func (e *PermissionError) Error() string {
	return fmt.Sprintf("adb: phone %s: no permission to open the USB device: add a udev rule or join the group plugdev, then plug it in again", e.Serial)
}

// A FailError is a refusal by the server or the phone that has no type of its
// own.
type FailError struct{ Service, Message string }

func (e *FailError) Error() string {
	return fmt.Sprintf("adb: request %s: refused: %s", e.Service, oneLine(e.Message))
}

// A ProtocolError says that the peer does not speak the protocol: most often
// something else listens at the address.
type ProtocolError struct{ Addr, Want, Got string }

func (e *ProtocolError) Error() string {
	where := "peer"
	if e.Addr != "" {
		where = "server at " + e.Addr
	}
	return fmt.Sprintf("adb: %s does not speak the ADB protocol: wanted %s, got %q", where, e.Want, e.Got)
}

// Unreachable reports whether err says that the phone cannot be talked to at
// present, whatever the command was: a fault of the rig, never a finding about
// the phone.
func Unreachable(err error) bool {
	var (
		lost         *LostError
		unknown      *UnknownError
		unauthorized *UnauthorizedError
		offline      *OfflineError
		permission   *PermissionError
		protocol     *ProtocolError
	)
	return errors.Is(err, ErrNoServer) || errors.As(err, &lost) || errors.As(err, &unknown) ||
		errors.As(err, &unauthorized) || errors.As(err, &offline) || errors.As(err, &permission) ||
		errors.As(err, &protocol)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// transportError types the server's refusal to hand out a phone.
func transportError(serial string, err error) error {
	var fail *FailError
	if !errors.As(err, &fail) {
		return lost(serial, err)
	}
	if typed := failState(serial, fail.Message); typed != nil {
		return typed
	}
	return fail
}

// failState is the typed error for a FAIL message about a phone, nil when the
// message is none of the known ones. The words are those of adb 29 to 36.
func failState(serial, message string) error {
	m := strings.ToLower(message)
	switch {
	case strings.Contains(m, "not found"), strings.Contains(m, "no devices"), strings.Contains(m, "unknown device"):
		return &UnknownError{Serial: serial}
	case strings.Contains(m, "unauthorized"):
		return &UnauthorizedError{Serial: serial}
	case strings.Contains(m, "still authorizing"):
		return &OfflineError{Serial: serial, State: "authorizing"}
	case strings.Contains(m, "still connecting"):
		return &OfflineError{Serial: serial, State: "connecting"}
	case strings.Contains(m, "device offline"):
		return &OfflineError{Serial: serial, State: "offline"}
	case strings.Contains(m, "permissions"):
		return &PermissionError{Serial: serial, Message: oneLine(message)}
	}
	return nil
}

// serviceError types the refusal of a service on a phone that the server had
// just handed out: if it is offline now, it was lost in between.
func serviceError(serial string, err error) error {
	var fail *FailError
	if !errors.As(err, &fail) {
		return lost(serial, err)
	}
	m := strings.ToLower(fail.Message)
	if strings.HasPrefix(m, "device offline") || strings.HasPrefix(m, "device '") && strings.Contains(m, "not found") {
		return &LostError{Serial: serial, Err: fail}
	}
	return fail
}

// lost makes a *LostError of a broken conversation, unless the caller's own
// context or something that is no ADB server broke it.
func lost(serial string, err error) error {
	var (
		already  *LostError
		protocol *ProtocolError
	)
	switch {
	case err == nil, errors.As(err, &already), errors.As(err, &protocol), errors.Is(err, ErrTooLarge):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("adb: phone %s: %w", serial, err)
	}
	return &LostError{Serial: serial, Err: err}
}
