package userland

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// physicalDensity is the display's, in dots per inch.
const physicalDensity = 440

// The settings in which Android keeps what overrides the display: they survive a
// restart, and a reset leaves an empty one behind.
const (
	sizeForced    = "display_size_forced"    // global, "720,1280"
	densityForced = "display_density_forced" // secure, "320"
)

// displayOverride is what overrides one side of the display, empty for nothing.
func (s *System) displayOverride(side string) string {
	if side == "density" {
		value, _ := s.settings.get("secure", densityForced)
		return value
	}
	value, _ := s.settings.get("global", sizeForced)
	return strings.ReplaceAll(value, ",", "x")
}

// cmdWm is wm. What is drawn keeps the display's own pixels: only what the
// commands tell of it changes.
func cmdWm(_ context.Context, p *proc, args []string) int {
	if !p.service("window") {
		return noService
	}
	if len(args) < 2 {
		p.errorf("Window manager (window) commands:\n")
		return 255
	}
	side, rest := args[1], args[2:]
	switch side {
	case "size", "density":
	case "dismiss-keyguard":
		return 0
	default:
		p.errorf("Unknown command: %s\n", side)
		return 255
	}
	own := fmt.Sprintf("%dx%d", physicalSize.X, physicalSize.Y)
	if side == "density" {
		own = strconv.Itoa(physicalDensity)
	}
	if len(rest) == 0 {
		p.printf("Physical %s: %s\n", side, own)
		if o := p.sys.displayOverride(side); o != "" {
			p.printf("Override %s: %s\n", side, o)
		}
		return 0
	}
	value := rest[0]
	if value == "reset" || value == own {
		value = ""
	} else if text := badDisplay(side, value); text != "" {
		p.errorf("%s\n", text)
		return 255
	}
	if p.gated() {
		return p.securityException("Must hold permission android.permission.WRITE_SECURE_SETTINGS",
			"com.android.server.wm.WindowManagerService.setForcedDisplaySize(WindowManagerService.java:5157)")
	}
	if side == "density" {
		p.sys.settings.put("secure", densityForced, value)
	} else {
		p.sys.settings.put("global", sizeForced, strings.ReplaceAll(value, "x", ","))
	}
	return 0
}

// badDisplay says what wm says of a value that it cannot take.
func badDisplay(side, value string) string {
	if side == "density" {
		n, err := strconv.Atoi(value)
		switch {
		case err != nil:
			return "Error: bad number " + value
		case n < 72:
			return "Error: density must be >= 72"
		}
		return ""
	}
	w, h, ok := strings.Cut(value, "x")
	x, err1 := strconv.Atoi(w)
	y, err2 := strconv.Atoi(h)
	if !ok || err1 != nil || err2 != nil || x < 1 || y < 1 {
		return "Error: bad size " + value
	}
	return ""
}
