package adbdtest_test

import (
	"bytes"
	"strings"
	"testing"
)

// TestShell tells outputs, statuses and input apart, which the daemon's own
// shell made.
func TestShell(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		for script, want := range map[string]struct {
			out, errs string
			exit      int
		}{
			"echo out; echo err >&2; exit 7": {"out\n", "err\n", 7},
			"exit 255":                       {"", "", 255},
			"kill -9 $$":                     {"", "", 137},
			"printf 'a\\r\\nb\\000c'":        {"a\r\nb\x00c", "", 0},
			"# a comment":                    {"", "", 0},
			"readlink /proc/$PPID/exe >/dev/null && cat </dev/null && echo $ADBD_PORT | tr 0-9 n": {"nnnnn\n", "", 0},
		} {
			r, err := b.Script(t.Context(), script)
			if err != nil || string(r.Stdout) != want.out || string(r.Stderr) != want.errs || r.Exit != want.exit {
				t.Errorf("%s: %q %q %d, %v", script, r.Stdout, r.Stderr, r.Exit, err)
			}
		}
		odd := []string{"a b", "'", `"$HOME"`, "*", "\n", "\\", "-n", "ä"}
		r, err := b.Shell(t.Context(), append([]string{"printf", "%s|"}, odd...)...)
		if want := strings.Join(odd, "|") + "|"; err != nil || string(r.Stdout) != want {
			t.Errorf("arguments came as %q, %v", r.Stdout, err)
		}
		big := bytes.Repeat([]byte("\x00\xff\r\n line"), 200_000)
		r, err = b.ScriptInput(t.Context(), "cat; echo done >&2", bytes.NewReader(big))
		if err != nil || !bytes.Equal(r.Stdout, big) || string(r.Stderr) != "done\n" || r.Exit != 0 {
			t.Errorf("input came back as %d of %d bytes, %q, %d, %v", len(r.Stdout), len(big), r.Stderr, r.Exit, err)
		}
	})
}
