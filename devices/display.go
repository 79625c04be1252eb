package devices

import (
	"context"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

const kindDisplay = "display"

// The sides of a display that can be overridden.
const (
	DisplaySize    = "size"    // such as 720x1280, in pixels
	DisplayDensity = "density" // such as 320, in dots per inch
)

// displayRecords are the settings in which Android keeps the overrides: an empty
// one stays behind when an override is reset.
var displayRecords = map[string][2]string{
	DisplaySize:    {"global", "display_size_forced"},
	DisplayDensity: {"secure", "display_density_forced"},
}

// OverrideDisplay is the change of the display's size or density (`wm size`,
// `wm density`). Its undo sets the override that was there before, or none.
type OverrideDisplay struct{ Side, Value string }

var _ Undoable = OverrideDisplay{}

// displayUndo is how the display was overridden before, empty for not at all.
type displayUndo struct {
	Side  string `json:"side"`
	Value string `json:"value"` // what the change sets
	Old   string `json:"old,omitempty"`
	// Record is what Android's own record of the override held, nil for none.
	Record *string `json:"record"`
}

// Display reads the display's size or density: its own, and what overrides it,
// empty where nothing does.
func (d *Device) Display(ctx context.Context, side string) (physical, override string, err error) {
	text, err := d.Output(ctx, "wm", side)
	if err != nil {
		return "", "", err
	}
	physical, override, ok := android.ParseDisplay(text)
	if !ok {
		return "", "", fmt.Errorf("devices: phone %s: read display: wm %s says %q", d.serial, side, strings.TrimSpace(text))
	}
	return physical, override, nil
}

func (o OverrideDisplay) prepare(ctx context.Context, d *Device) (undo, error) {
	record, known := displayRecords[o.Side]
	if !known || o.Value == "" || strings.Trim(o.Value, "0123456789x") != "" {
		return nil, fmt.Errorf("display %s %q: a size such as 720x1280 or a density such as 320 is wanted", o.Side, o.Value)
	}
	_, old, err := d.Display(ctx, o.Side)
	if err != nil {
		return nil, err
	}
	u := &displayUndo{Side: o.Side, Value: o.Value, Old: old}
	value, ok, err := d.Setting(ctx, record[0], record[1])
	if ok {
		u.Record = &value
	}
	return u, err
}

func (o OverrideDisplay) apply(ctx context.Context, d *Device, _ undo) error {
	if _, err := d.Output(ctx, "wm", o.Side, o.Value); err != nil {
		return err
	}
	physical, now, err := d.Display(ctx, o.Side)
	if err != nil {
		return err
	}
	// What equals the display's own is no override.
	if now != o.Value && (now != "" || physical != o.Value) {
		return fmt.Errorf("read back %q: the display did not take it", now)
	}
	return nil
}

func (u *displayUndo) kind() string { return kindDisplay }
func (u *displayUndo) note() string { return "" }

func (u *displayUndo) what() string {
	was := "it had its own"
	if u.Old != "" {
		was = "it was " + u.Old
	}
	return fmt.Sprintf("display %s = %s, %s", u.Side, u.Value, was)
}

// command is what puts the override back.
func (u *displayUndo) command() []string {
	if u.Old == "" {
		return []string{"wm", u.Side, "reset"}
	}
	return []string{"wm", u.Side, u.Old}
}

func (u *displayUndo) byHand(serial string) string {
	return adb.Quote(append([]string{"adb", "-s", serial, "shell"}, u.command()...)...)
}

func (u *displayUndo) revert(ctx context.Context, d *Device) error {
	record, known := displayRecords[u.Side]
	if !known {
		return fmt.Errorf("undo %s: no side of a display", u.what())
	}
	_, now, err := d.Display(ctx, u.Side)
	if err == nil && now != u.Old {
		if _, err = d.Output(ctx, u.command()...); err == nil {
			_, now, err = d.Display(ctx, u.Side)
		}
	}
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	if now != u.Old {
		return fmt.Errorf("undo %s: read back: it is %q", u.what(), now)
	}
	if u.Record != nil || u.Old != "" {
		return nil
	}
	if _, left, err := d.Setting(ctx, record[0], record[1]); err != nil || !left {
		return err
	}
	if err := d.deleteSetting(ctx, record[0], record[1]); err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}
