package devices

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

const kindRestart = "restart"

// downLimit is how long a phone may take to go down after it was told to.
const downLimit = time.Minute

// bootIDScript prints what is new with every start of the kernel.
const bootIDScript = "cat /proc/sys/kernel/random/boot_id"

// Restart is the change of a phone that is told to start anew. It takes tunnels
// and mounts away, which the journal must not take for its own doing; its undo
// is that Android has started again.
type Restart struct {
	// Why is the reason in words.
	Why string
	// Ask bounds each question to the phone; zero means 10 s.
	Ask time.Duration
}

var _ Undoable = Restart{}

// restartUndo waits for what a restart begins.
type restartUndo struct {
	Why string `json:"why"`
	// Boot is the kernel's mark before, empty when the phone did not say.
	Boot string `json:"boot,omitempty"`
}

func (r Restart) ask() time.Duration { return RepairLimits{Ask: r.Ask}.withDefaults().Ask }

// prepare reads the kernel's mark. A phone that no longer answers is restarted
// all the same.
func (r Restart) prepare(ctx context.Context, d *Device) (undo, error) {
	short, cancel := context.WithTimeout(ctx, r.ask())
	defer cancel()
	u := &restartUndo{Why: r.Why}
	if id, err := d.BootID(short); err == nil {
		u.Boot = id
	}
	return u, ctx.Err()
}

// BootID is the mark of the kernel that runs: another one after each restart.
// It is empty when the phone does not tell.
func (d *Device) BootID(ctx context.Context) (string, error) {
	result, err := d.Script(ctx, bootIDScript)
	if err != nil || result.Exit != 0 {
		return "", err
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// apply tells the phone to restart, and sees it go down and come back.
func (r Restart) apply(ctx context.Context, d *Device, u undo) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	down, watched := make(chan struct{}), make(chan error, 1)
	go func() {
		watched <- d.Watch(watch, func(s State) error {
			if s != StateDevice {
				close(down)
				return errDown
			}
			return nil
		})
	}()
	if err := d.client.Reboot(ctx, d.serial); err != nil {
		return err
	}
	timer := time.NewTimer(downLimit)
	defer timer.Stop()
	select {
	case <-down:
	case err := <-watched:
		if !errors.Is(err, errDown) {
			return fmt.Errorf("devices: restart phone %s: watch it go down: %w", d.serial, err)
		}
	case <-ctx.Done():
		return fmt.Errorf("devices: restart phone %s: %w", d.serial, ctx.Err())
	case <-timer.C:
		return fmt.Errorf("devices: restart phone %s: it took the request and did not go down within %v", d.serial, downLimit)
	}
	if err := d.WaitStarted(ctx, r.ask()); err != nil {
		return err
	}
	before := u.(*restartUndo).Boot
	after, err := d.BootID(ctx)
	if err != nil {
		return fmt.Errorf("devices: restart phone %s: read back: %w", d.serial, err)
	}
	if before != "" && before == after {
		return fmt.Errorf("devices: restart phone %s: read back: it was away and did not restart", d.serial)
	}
	return nil
}

// errDown ends the watch on a phone that has gone down.
var errDown = errors.New("down")

func (u *restartUndo) kind() string { return kindRestart }
func (u *restartUndo) note() string { return "" }
func (u *restartUndo) what() string { return "RESTART of the phone, because " + u.Why }

func (u *restartUndo) byHand(serial string) string {
	return adb.Quote("adb", "-s", serial, "wait-for-device") + " # and wait until it has started"
}

// revert waits until Android has started. There is nothing to take back.
func (u *restartUndo) revert(ctx context.Context, d *Device) error {
	if err := d.WaitStarted(ctx, RepairLimits{}.withDefaults().Ask); err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}
