package android_test

import (
	"testing"

	"github.com/offproof/offproof/devices/android"
)

func TestParseDisplay(t *testing.T) {
	for text, want := range map[string][2]string{
		"Physical size: 1080x2340\n":                              {"1080x2340", ""},
		"Physical size: 1080x2340\r\nOverride size: 720x1280\r\n": {"1080x2340", "720x1280"},
		"Physical density: 440\nOverride density: 320\n":          {"440", "320"},
		"Override size: 720x1280\n":                               {"", "720x1280"},
		"Physical size: null\n":                                   {"", ""},
		"cmd: Can't find service: window\n":                       {"", ""},
	} {
		physical, override, ok := android.ParseDisplay(text)
		if physical != want[0] || override != want[1] || ok != (want[0] != "") {
			t.Errorf("%q: %q, %q, %v", text, physical, override, ok)
		}
	}
}

func FuzzDisplay(f *testing.F) {
	f.Add("Physical size: 1080x2340\nOverride size: 720x1280\n")
	f.Fuzz(func(t *testing.T, text string) {
		if physical, override, ok := android.ParseDisplay(text); ok == (physical == "") || len(physical)+len(override) > len(text) {
			t.Errorf("%q: %q, %q, %v", text, physical, override, ok)
		}
	})
}
