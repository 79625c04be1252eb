package devices_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
)

const (
	helloAPK     = "testdata/helloworld.apk"
	helloPackage = "com.example.helloworld"
)

// An app is refused before anything is written down or done where that cannot be
// undone, and the phone's own refusal comes in words that say what to do.
func TestInstallThatIsRefused(t *testing.T) {
	t.Parallel()
	_, p, d := world(t)
	j, err := devices.OpenJournal(t.TempDir(), d.Serial())
	if err != nil {
		t.Fatal(err)
	}
	junk := filepath.Join(t.TempDir(), "junk.apk")
	if err := os.WriteFile(junk, []byte("no APK at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{junk: "no APK", filepath.Join(t.TempDir(), "none.apk"): "no such file"} {
		if err := j.Change(within(t), d, devices.InstallApp{Path: path}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
	if err := p.Fault(t.Context(), "no-install", ""); err != nil {
		t.Fatal(err)
	}
	var refused *devices.InstallError
	if err := j.Change(within(t), d, devices.InstallApp{Path: helloAPK}); !errors.As(err, &refused) || !strings.Contains(err.Error(), "Install via USB") {
		t.Errorf("a phone that takes no app: %v", err)
	}
	if err := j.Undo(within(t), d); err != nil || len(j.Pending()) != 0 {
		t.Errorf("undo of what was not done: %v, %v", err, j.Pending())
	}
	if err := p.Fault(t.Context(), "no-install", "off"); err != nil {
		t.Fatal(err)
	}
	if err := j.Change(within(t), d, devices.InstallApp{Path: helloAPK}); err != nil {
		t.Fatal(err)
	}
	if err := j.Change(within(t), d, devices.InstallApp{Path: helloAPK}); err == nil || !strings.Contains(err.Error(), "already") || len(j.Pending()) != 1 {
		t.Errorf("an app that is there already: %v, %v", err, j.Pending())
	}
	// Somebody puts another version in its place: it is theirs.
	other, err := d.Script(within(t), `f=$(pm path `+helloPackage+` | cut -d: -f2); su -c "echo more >> $f"`)
	if err != nil || other.Exit != 0 {
		t.Fatalf("%v %s", err, other.Stderr)
	}
	if err := j.Undo(within(t), d); err == nil || !strings.Contains(err.Error(), "by hand") || len(j.Pending()) != 1 {
		t.Errorf("an app of somebody else: %v, %v", err, j.Pending())
	}
	if _, err := d.Package(within(t), helloPackage); err != nil {
		t.Errorf("it was taken away: %v", err)
	}
	if _, err := d.Output(within(t), "pm", "uninstall", helloPackage); err != nil {
		t.Fatal(err)
	}
	if err := j.Undo(within(t), d); err != nil || len(j.Pending()) != 0 {
		t.Errorf("an app that is gone: %v, %v", err, j.Pending())
	}
}
