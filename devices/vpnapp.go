package devices

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

const kindVPNApp = "vpn-app"

// RunVPNApp is the change that has an app become the phone's VPN and write a
// file, by a script that starts it. The undo ends the app by force, if it is
// still at work, so that it needs none of the script's secrets, and removes the
// file.
type RunVPNApp struct {
	// Package is the app. Script starts it; it is not written down.
	Package, Script string
	// File is the path of what the app writes, empty for nothing.
	File string
}

var _ Undoable = RunVPNApp{}

// IsVPNApp says whether a change is a RunVPNApp.
func IsVPNApp(c Change) bool { return c.Kind == kindVPNApp }

// vpnAppUndo is what is to be ended and removed.
type vpnAppUndo struct {
	Package string `json:"package"`
	File    string `json:"file,omitempty"`
}

var packageName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)+$`)

func (r RunVPNApp) prepare(ctx context.Context, d *Device) (undo, error) {
	if !packageName.MatchString(r.Package) {
		return nil, fmt.Errorf("run a VPN app: %q is not the name of a package", r.Package)
	}
	if r.File != "" && !strings.HasPrefix(r.File, "/") {
		return nil, fmt.Errorf("run a VPN app: %q is not the path of a file", r.File)
	}
	u := &vpnAppUndo{Package: r.Package, File: r.File}
	at, err := u.atWork(ctx, d)
	if err != nil {
		return nil, err
	}
	if at {
		return nil, fmt.Errorf("run a VPN app: %s is at work already: end it on the phone", r.Package)
	}
	return u, nil
}

func (r RunVPNApp) apply(ctx context.Context, d *Device, _ undo) error {
	res, err := d.Script(ctx, r.Script)
	if err != nil {
		return err
	}
	said := string(res.Stdout) + string(res.Stderr)
	if i := strings.Index(said, "Error"); i >= 0 || res.Exit != 0 {
		return fmt.Errorf("start %s: exit status %d: %s", r.Package, res.Exit, strings.Join(strings.Fields(said[max(i, 0):]), " "))
	}
	return nil
}

// atWork says whether a service of the app runs. Its windows do not count.
func (u *vpnAppUndo) atWork(ctx context.Context, d *Device) (bool, error) {
	text, err := d.Output(ctx, "dumpsys", "activity", "services", u.Package)
	if err != nil {
		return false, err
	}
	if !strings.Contains(text, "dumpsys activity services") {
		return false, errors.New("the phone does not say which services run")
	}
	return strings.Contains(text, "ServiceRecord{"), nil
}

func (u *vpnAppUndo) kind() string { return kindVPNApp }
func (u *vpnAppUndo) note() string { return "" }
func (u *vpnAppUndo) what() string { return u.Package + " is the phone's VPN" }

func (u *vpnAppUndo) byHand(serial string) string {
	script := "am force-stop " + u.Package
	if u.File != "" {
		script += "; rm -f " + adb.Quote(u.File)
	}
	return adb.Quote("adb", "-s", serial, "shell", script)
}

// endingTries is how often an app that was ended is looked for.
const endingTries = 20

func (u *vpnAppUndo) revert(ctx context.Context, d *Device) error {
	for try := 0; ; try++ {
		at, err := u.atWork(ctx, d)
		if err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
		if !at {
			break
		}
		if try == endingTries {
			return fmt.Errorf("undo %s: read back: it is still at work", u.what())
		}
		if _, err := d.Shell(ctx, "am", "force-stop", u.Package); err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
	}
	if u.File == "" {
		return nil
	}
	res, err := d.Script(ctx, "rm -f "+adb.Quote(u.File)+"; [ ! -e "+adb.Quote(u.File)+" ]")
	if err != nil {
		return fmt.Errorf("undo %s: remove %s: %w", u.what(), u.File, err)
	}
	if res.Exit != 0 {
		return fmt.Errorf("undo %s: read back: %s is still there: %s", u.what(), u.File, strings.TrimSpace(string(res.Stderr)))
	}
	return nil
}
