package android

import (
	"image"
	"strconv"
	"strings"
)

// ParseDisplay reads `wm size` or `wm density`: what the display has by itself,
// such as 1080x2340 or 440, and what it was told to have instead, empty where
// nothing was. ok is false when the phone does not say.
func ParseDisplay(text string) (physical, override string, ok bool) {
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found || value == "" || len(value) > len("1234567890x1234567890") || strings.Trim(value, "0123456789x") != "" {
			continue
		}
		switch key {
		case "Physical size", "Physical density":
			physical = value
		case "Override size", "Override density":
			override = value
		}
	}
	return physical, override, physical != ""
}

// maxSide bounds the sides of a display, in pixels.
const maxSide = 1 << 15

// ParseSize reads a size such as 1080x2340, in pixels. ok is false for anything
// else.
func ParseSize(text string) (size image.Point, ok bool) {
	w, h, found := strings.Cut(text, "x")
	x, err := strconv.ParseUint(w, 10, 16)
	y, err2 := strconv.ParseUint(h, 10, 16)
	if !found || err != nil || err2 != nil || x < 1 || y < 1 || x > maxSide || y > maxSide {
		return image.Point{}, false
	}
	return image.Pt(int(x), int(y)), true
}
