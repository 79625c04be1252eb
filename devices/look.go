package devices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

// An Ailment is what keeps a phone from being used, in words. It is found by
// looking, from the server towards the phone, and names the first thing in the
// way.
type Ailment string

// The ailments. The zero value claims nothing.
const (
	AilmentUnknown Ailment = ""
	// Healthy means that Android has started and answers.
	Healthy Ailment = "healthy"
	// ServerGone means that nothing listens at the ADB server's address.
	ServerGone Ailment = "the ADB server is gone"
	// ServerSilent means that something listens there and says nothing.
	ServerSilent Ailment = "the ADB server does not answer"
	// ServerForeign means that something answers there that is no ADB server.
	ServerForeign Ailment = "what listens at the ADB server's address is no ADB server"
	// Unlisted means that the server does not know the phone: no cable, no power,
	// or a restart.
	Unlisted Ailment = "the phone is not attached"
	// Cut means that the server knows the phone and cannot talk to it.
	Cut Ailment = "the connection to the phone is dead"
	// NeedsPerson means that the phone or the host refuses until somebody allows.
	NeedsPerson Ailment = "the phone cannot be used until a person allows it"
	// Elsewhere means that the phone runs its recovery or bootloader.
	Elsewhere Ailment = "the phone has not started Android"
	// Starting means that Android is starting, or has hung in it.
	Starting Ailment = "Android has not finished starting"
	// Mute means that the phone is attached and commands do not come back.
	Mute Ailment = "the phone does not answer"
	// ScreenStuck means that the screen can no longer be read.
	ScreenStuck Ailment = "the screen cannot be read"
)

// A sight is what one look at a phone saw.
type sight struct {
	ailment Ailment
	state   State
	err     error // what was seen, nil when healthy
}

// startedScript asks init for the end of the start, and the system's own
// process for a setting: a phone whose system has hung still answers the first.
const startedScript = "getprop sys.boot_completed && settings get global adb_enabled >/dev/null"

// Look says what keeps a phone from being used, Healthy when nothing does. Each
// question waits for its answer no longer than ask. The error is what was seen.
func (d *Device) Look(ctx context.Context, ask time.Duration) (Ailment, error) {
	s := d.look(ctx, ask)
	return s.ailment, s.err
}

func (d *Device) look(ctx context.Context, ask time.Duration) sight {
	if s := d.lookAtServer(ctx, ask); s.ailment != Healthy {
		return s
	}
	short, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	state, err := d.State(short)
	switch {
	case over(ctx) != nil:
		return sight{AilmentUnknown, StateUnknown, over(ctx)}
	case err != nil: // It answered a moment ago.
		return sight{ServerSilent, StateUnknown, err}
	case state != StateDevice:
		return sight{ailmentOf(state), state, fmt.Errorf("its ADB state is %q", state)}
	}
	return d.lookAtAndroid(ctx, ask)
}

// ailmentOf is what a state other than device means for whoever wants to mend.
func ailmentOf(s State) Ailment {
	switch s {
	case StateDevice:
		return Healthy
	case StateAbsent:
		return Unlisted
	case StateUnauthorized, StateNoPermissions:
		return NeedsPerson
	case StateRecovery, StateSideload, StateRescue, StateBootloader:
		return Elsewhere
	case StateOffline, StateAuthorizing, StateConnecting, StateDetached, StateHost, StateUnknown:
		return Cut
	}
	return Cut
}

// lookAtServer tells a server that is gone from one that has hung: the first
// can be started by anybody, the second has to be ended before.
func (d *Device) lookAtServer(ctx context.Context, ask time.Duration) sight {
	short, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	_, err := d.client.Version(short)
	if err == nil {
		return sight{ailment: Healthy}
	}
	if err := over(ctx); err != nil {
		return sight{AilmentUnknown, StateUnknown, err}
	}
	var foreign *adb.ProtocolError
	if errors.As(err, &foreign) {
		return sight{ServerForeign, StateUnknown, err}
	}
	again, stop := context.WithTimeout(ctx, ask)
	defer stop()
	conn, dialErr := (&net.Dialer{}).DialContext(again, "tcp", d.server)
	if dialErr == nil {
		_ = conn.Close()
	}
	switch {
	case over(ctx) != nil: // It may be what made the dial fail.
		return sight{AilmentUnknown, StateUnknown, over(ctx)}
	case dialErr != nil:
		return sight{ServerGone, StateUnknown, err}
	}
	return sight{ServerSilent, StateUnknown, err}
}

func (d *Device) lookAtAndroid(ctx context.Context, ask time.Duration) sight {
	short, cancel := context.WithTimeout(ctx, ask)
	defer cancel()
	result, err := d.Script(short, startedScript)
	if err != nil {
		switch {
		case over(ctx) != nil:
			return sight{AilmentUnknown, StateDevice, over(ctx)}
		case over(short) != nil:
			return sight{Mute, StateDevice, fmt.Errorf("no answer within %v", ask)}
		}
		return sight{Cut, StateDevice, err}
	}
	if said := strings.TrimSpace(string(result.Stdout)); said != "1" || result.Exit != 0 {
		return sight{Starting, StateDevice, fmt.Errorf("sys.boot_completed is %q, exit status %d: %s", said, result.Exit, excerpt(result))}
	}
	return sight{Healthy, StateDevice, nil}
}

// over is the context's error. A dial may fail by the context's deadline a
// moment before the context says so itself.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// WaitStarted waits until Android has started and answers. When ctx ends before,
// the error says what was in the way at last.
func (d *Device) WaitStarted(ctx context.Context, ask time.Duration) error {
	s := d.await(ctx, ask)
	if s.ailment == Healthy {
		return nil
	}
	return fmt.Errorf("devices: phone %s: wait until Android has started: %s: %s: %w", d.serial, s.ailment, s.advice(), s.err)
}

// WaitRestarted waits until Android has started from another kernel than the one
// with that mark; an empty mark is none. When ctx ends before, the error says
// what was in the way at last.
func (d *Device) WaitRestarted(ctx context.Context, mark string, ask time.Duration) error {
	for {
		if err := d.WaitStarted(ctx, ask); err != nil {
			return err
		}
		now, err := d.BootID(ctx)
		if err == nil && (mark == "" || now != mark) {
			return nil
		}
		if err := pause(ctx, retryPause); err != nil {
			return fmt.Errorf("devices: phone %s: wait until it has restarted: it has not: %w", d.serial, err)
		}
	}
}

// await looks again and again until the phone is healthy or ctx ends, and
// returns the last look that saw something.
func (d *Device) await(ctx context.Context, ask time.Duration) sight {
	last := sight{AilmentUnknown, StateUnknown, ctx.Err()}
	for {
		s := d.look(ctx, ask)
		if s.ailment != AilmentUnknown {
			last = s
		} else if last.err == nil {
			last.err = s.err
		}
		if s.ailment == Healthy {
			return last
		}
		if err := pause(ctx, retryPause); err != nil {
			return last
		}
	}
}
