package devices

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

const (
	kindPermission = "permission"
	kindAppOp      = "app-op"
	// owner is the user whose phone it is.
	owner = "0"
)

// SetPermission is the change of a runtime permission of an app, for the phone's
// owner. Its undo gives back what was granted or not before. A permission that
// the app did not ask for cannot be changed.
type SetPermission struct {
	Package    string // such as com.mi.globalbrowser
	Permission string // such as android.permission.CAMERA
	Granted    bool
}

var _ Undoable = SetPermission{}

// permissionUndo is how a permission was before.
type permissionUndo struct {
	Package    string `json:"package"`
	Permission string `json:"permission"`
	Granted    bool   `json:"granted"` // what the change makes it
	Old        bool   `json:"old"`
}

// checkName refuses what is no name of a package, permission or operation.
func checkName(what, name string) error {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != "" {
		return fmt.Errorf("%s %q: a name has letters, digits, dots and underscores", what, name)
	}
	return nil
}

// permission reads whether an app has a runtime permission.
func (d *Device) permission(ctx context.Context, pkg, permission string) (bool, error) {
	dump, err := d.Output(ctx, "dumpsys", "package", pkg)
	if err != nil {
		return false, err
	}
	all, ok := android.ParseRuntimePermissions(pkg, owner, dump)
	if !ok {
		return false, fmt.Errorf("%s is not installed for the owner", pkg)
	}
	granted, ok := all[permission]
	if !ok {
		return false, fmt.Errorf("%s has no runtime permission %s", pkg, permission)
	}
	return granted, nil
}

// setPermission grants or revokes, and reads it back.
func (d *Device) setPermission(ctx context.Context, pkg, permission string, granted bool) error {
	verb := "revoke"
	if granted {
		verb = "grant"
	}
	if _, err := d.Output(ctx, "pm", verb, pkg, permission); err != nil {
		return err
	}
	now, err := d.permission(ctx, pkg, permission)
	if err == nil && now != granted {
		err = fmt.Errorf("read back: granted is %t", now)
	}
	return err
}

func (s SetPermission) prepare(ctx context.Context, d *Device) (undo, error) {
	if err := errors.Join(checkName("package", s.Package), checkName("permission", s.Permission)); err != nil {
		return nil, err
	}
	old, err := d.permission(ctx, s.Package, s.Permission)
	return &permissionUndo{Package: s.Package, Permission: s.Permission, Granted: s.Granted, Old: old}, err
}

func (s SetPermission) apply(ctx context.Context, d *Device, _ undo) error {
	return d.setPermission(ctx, s.Package, s.Permission, s.Granted)
}

func (u *permissionUndo) kind() string { return kindPermission }
func (u *permissionUndo) note() string { return "" }

func (u *permissionUndo) what() string {
	return fmt.Sprintf("permission %s of %s: granted = %t, it was %t", u.Permission, u.Package, u.Granted, u.Old)
}

func (u *permissionUndo) byHand(serial string) string {
	verb := "revoke"
	if u.Old {
		verb = "grant"
	}
	return adb.Quote("adb", "-s", serial, "shell", "pm", verb, u.Package, u.Permission)
}

// revert leaves an app alone that is no longer there: its permissions went with
// it.
func (u *permissionUndo) revert(ctx context.Context, d *Device) error {
	if _, err := d.Package(ctx, u.Package); errors.Is(err, ErrNotInstalled) {
		return nil
	}
	now, err := d.permission(ctx, u.Package, u.Permission)
	if err == nil && now != u.Old {
		err = d.setPermission(ctx, u.Package, u.Permission, u.Old)
	}
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}

// SetAppOp is the change of what an app may do by itself (`appops set`). Its undo
// gives the operation the mode that it had, or its own.
type SetAppOp struct {
	Package string
	Op      string // such as RUN_IN_BACKGROUND
	Mode    string // allow, ignore, deny, default or foreground
}

var _ Undoable = SetAppOp{}

// appOpUndo is the mode that an operation had before.
type appOpUndo struct {
	Package string `json:"package"`
	Op      string `json:"op"`
	Mode    string `json:"mode"` // what the change sets
	// Old is empty where no mode was set; Standard is the one that it has then.
	Old      string `json:"old,omitempty"`
	Standard string `json:"standard,omitempty"`
}

// appOp reads the mode of an operation, and the one that it has by itself.
func (d *Device) appOp(ctx context.Context, pkg, op string) (mode, standard string, err error) {
	text, err := d.Output(ctx, "cmd", "appops", "get", pkg, op)
	if err != nil {
		return "", "", err
	}
	mode, standard, ok := android.ParseAppOp(op, text)
	if !ok {
		return "", "", fmt.Errorf("appops get %s %s says %q", pkg, op, strings.TrimSpace(text))
	}
	return mode, standard, nil
}

// setAppOp gives an operation a mode and reads it back.
func (d *Device) setAppOp(ctx context.Context, pkg, op, mode string) error {
	if _, err := d.Output(ctx, "cmd", "appops", "set", pkg, op, mode); err != nil {
		return err
	}
	now, standard, err := d.appOp(ctx, pkg, op)
	// What an operation has by itself is not kept.
	if err == nil && now != mode && (now != "" || standard != "" && standard != mode) {
		err = fmt.Errorf("read back: the mode is %q", now)
	}
	return err
}

func (s SetAppOp) prepare(ctx context.Context, d *Device) (undo, error) {
	if err := errors.Join(checkName("package", s.Package), checkName("operation", s.Op), checkName("mode", s.Mode)); err != nil {
		return nil, err
	}
	old, standard, err := d.appOp(ctx, s.Package, s.Op)
	if err == nil && old == "" && standard == "" {
		err = errors.New("the phone does not tell the mode that the operation has by itself, so it could not be put back")
	}
	return &appOpUndo{Package: s.Package, Op: s.Op, Mode: s.Mode, Old: old, Standard: standard}, err
}

func (s SetAppOp) apply(ctx context.Context, d *Device, _ undo) error {
	return d.setAppOp(ctx, s.Package, s.Op, s.Mode)
}

func (u *appOpUndo) kind() string { return kindAppOp }
func (u *appOpUndo) note() string { return "" }

func (u *appOpUndo) what() string {
	was := "it had its own, " + u.Standard
	if u.Old != "" {
		was = "it was " + u.Old
	}
	return fmt.Sprintf("operation %s of %s = %s, %s", u.Op, u.Package, u.Mode, was)
}

// back is the mode to set.
func (u *appOpUndo) back() string {
	if u.Old != "" {
		return u.Old
	}
	return u.Standard
}

func (u *appOpUndo) byHand(serial string) string {
	return adb.Quote("adb", "-s", serial, "shell", "cmd", "appops", "set", u.Package, u.Op, u.back())
}

func (u *appOpUndo) revert(ctx context.Context, d *Device) error {
	if _, err := d.Package(ctx, u.Package); errors.Is(err, ErrNotInstalled) {
		return nil
	}
	now, _, err := d.appOp(ctx, u.Package, u.Op)
	if err == nil && now != u.Old && (u.Old != "" || now != u.Standard) {
		err = d.setAppOp(ctx, u.Package, u.Op, u.back())
	}
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}
