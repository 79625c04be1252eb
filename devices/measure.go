package devices

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/android"
)

// ClockOffset says how far the phone's clock is ahead of this host's, and how
// far that may be wrong. It asks a few times and believes the quickest answer:
// the phone read its clock somewhere between question and answer.
func (d *Device) ClockOffset(ctx context.Context) (offset, uncertainty time.Duration, err error) {
	const samples = 5
	best := time.Duration(-1)
	for range samples {
		sent := time.Now()
		text, err := d.Output(ctx, "date", "+%s.%N")
		if err != nil {
			return 0, 0, err
		}
		took := time.Since(sent)
		at, grain, err := android.ParseClock(text)
		if err != nil {
			return 0, 0, fmt.Errorf("devices: phone %s: read clock: %w", d.serial, err)
		}
		wrong := (took + grain) / 2
		if best >= 0 && wrong >= best {
			continue
		}
		best = wrong
		// The monotonic part is dropped: the offset is between two wall clocks.
		offset = at.Add(grain / 2).Sub(sent.Round(0).Add(took / 2))
	}
	return offset, best, nil
}

// Counters are the interface counters of a phone between two looks at its clock.
type Counters struct {
	// Before and After are the phone's clock around the reading.
	Before, After time.Time
	// Interfaces are the counters since boot by interface, lo included.
	Interfaces map[string]android.NetDev
}

// Counters reads the counters of all interfaces with the phone's time before
// and after, in one command.
func (d *Device) Counters(ctx context.Context) (Counters, error) {
	result, err := d.Script(ctx, "date +%s.%N; cat /proc/net/dev; date +%s.%N")
	if err != nil {
		return Counters{}, err
	}
	if err := d.check(result, "cat", "/proc/net/dev"); err != nil {
		return Counters{}, err
	}
	c, err := parseCounters(string(result.Stdout))
	if err != nil {
		return Counters{}, fmt.Errorf("devices: phone %s: read counters: %w", d.serial, err)
	}
	return c, nil
}

func parseCounters(text string) (Counters, error) {
	text = strings.TrimSpace(text)
	first, rest, ok := strings.Cut(text, "\n")
	i := strings.LastIndexByte(rest, '\n')
	if !ok || i < 0 {
		return Counters{}, errors.New("the answer was cut short")
	}
	var c Counters
	var err error
	if c.Before, _, err = android.ParseClock(first); err != nil {
		return Counters{}, err
	}
	if c.After, _, err = android.ParseClock(rest[i+1:]); err != nil {
		return Counters{}, err
	}
	c.Interfaces, err = android.ParseNetDev(rest[:i])
	return c, err
}

// Identity reads what the phone says that it is.
func (d *Device) Identity(ctx context.Context) (android.Build, error) {
	text, err := d.Output(ctx, "getprop")
	if err != nil {
		return android.Build{}, err
	}
	props := android.Getprop(text)
	if len(props) == 0 {
		return android.Build{}, fmt.Errorf("devices: phone %s: read properties: getprop printed none", d.serial)
	}
	return android.ParseBuild(props), nil
}

// ErrNotInstalled means that the phone does not have a package.
var ErrNotInstalled = errors.New("package is not installed")

// Apps are the installed packages by user id, those of every Android user. An id
// that is shared has several.
func (d *Device) Apps(ctx context.Context) (map[int][]string, error) {
	list, err := d.Output(ctx, "cmd", "package", "list", "packages", "-U")
	if err != nil {
		return nil, err
	}
	apps := map[int][]string{}
	for _, p := range android.ParsePackages(list) {
		for _, uid := range p.UIDs {
			apps[uid] = append(apps[uid], p.Name)
		}
	}
	if len(apps) == 0 {
		return nil, fmt.Errorf("devices: phone %s: list packages: it named no user id: %s", d.serial, brief(list))
	}
	for _, names := range apps {
		slices.Sort(names)
	}
	return apps, nil
}

// Package reads version, user id, place and hash of an installed package. What
// the phone does not say stays unknown. A missing package is ErrNotInstalled.
func (d *Device) Package(ctx context.Context, name string) (android.Package, error) {
	if name == "" || strings.ContainsAny(name, " \t\r\n/") {
		return android.Package{}, fmt.Errorf("devices: phone %s: read package: %q is no package name", d.serial, name)
	}
	list, err := d.Output(ctx, "cmd", "package", "list", "packages", "-U", name)
	if err != nil {
		return android.Package{}, err
	}
	var listed *android.Installed
	for _, p := range android.ParsePackages(list) {
		if p.Name == name { // The phone matches parts of names.
			listed = &p
			break
		}
	}
	if listed == nil {
		return android.Package{}, fmt.Errorf("devices: phone %s: read package %s: %w", d.serial, name, ErrNotInstalled)
	}
	dump, err := d.Output(ctx, "dumpsys", "package", name)
	if err != nil {
		return android.Package{}, err
	}
	p, ok := android.ParseDumpsysPackage(name, dump)
	if !ok {
		return android.Package{}, fmt.Errorf("devices: phone %s: read package %s: dumpsys does not describe it", d.serial, name)
	}
	if len(listed.UIDs) > 0 {
		p.UID = &listed.UIDs[0]
	}
	path, err := d.Shell(ctx, "pm", "path", name)
	if err != nil {
		return android.Package{}, err
	}
	if apk, ok := android.ParsePath(string(path.Stdout)); ok {
		p.Path = apk
		sum, err := d.Shell(ctx, "sha256sum", apk)
		if err != nil {
			return android.Package{}, err
		}
		if sum.Exit == 0 {
			if p.SHA256, err = android.ParseSum(string(sum.Stdout)); err != nil {
				return android.Package{}, fmt.Errorf("devices: phone %s: read package %s: %w", d.serial, name, err)
			}
		}
	}
	return p, nil
}

// Focus is the component that has the focus, in full form (package/package.Class),
// or the name of a window that is no activity. Empty means that nothing has it.
func (d *Device) Focus(ctx context.Context) (string, error) {
	// The section moved from "windows" to "displays" in Android 10; the plain dump
	// has both.
	text, err := d.Output(ctx, "dumpsys", "window")
	if err != nil {
		return "", err
	}
	focus, ok := android.ParseFocus(text)
	if !ok {
		if text, err = d.Output(ctx, "dumpsys", "window", "windows"); err != nil {
			return "", err
		}
		focus, _ = android.ParseFocus(text)
	}
	return focus, nil
}
