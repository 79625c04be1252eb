package rig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/rig"
)

// Keys are read before any phone is leased; a mistake in them names the line and
// never shows it.
func TestDecoderKeys(t *testing.T) {
	t.Parallel()
	const key = "000102030405060708090a0b0c0d0e0f"
	for _, c := range []struct{ name, text, says string }{
		{"good", "# of the lab\n\n" + key + "\n" + key + key + "\n", ""},
		{"short", key + "\n" + key[:30] + "\n", "line 2 is no key"},
		{"no hex", "secret-words-of-thirty-two-digit\n", "line 1 is no key"},
		{"empty", "# nothing yet\n", "holds no key"},
		{"none", "", "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if c.name != "none" {
				if err := os.WriteFile(filepath.Join(dir, "keys.txt"), []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			farm, err := rig.Parse(filepath.Join(dir, "farm.yaml"), []byte("version: 1\nstate: state\ndecoders: [{name: lab key, keys: keys.txt}]\nphones: [{serial: a, capture: [proxy]}]\n"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = rig.New(farm)
			switch {
			case c.says == "" && err != nil, c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "lab key")):
				t.Errorf("got %v, want %q", err, c.says)
			case err != nil && (strings.Contains(err.Error(), key[:30]) || strings.Contains(err.Error(), "secret")):
				t.Errorf("it shows a key: %v", err)
			}
		})
	}
}
