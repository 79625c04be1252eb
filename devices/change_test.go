package devices_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
)

const browserPackage = "com.mi.globalbrowser"

// TestChangesOfEveryKind makes each change on a simulated phone, and undoes it
// by a journal that is read again from the disk, as after a crash.
func TestChangesOfEveryKind(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcde\n"), 20000)
	for name, c := range map[string]struct {
		before string // what a script does first
		change devices.Undoable
		made   string // what look says then
		look   string
	}{
		"a display's size":             {"", devices.OverrideDisplay{Side: "size", Value: "720x1280"}, "Override size: 720x1280", "wm size"},
		"a size that was changed":      {"wm size 1080x1920", devices.OverrideDisplay{Side: "size", Value: "720x1280"}, "Override size: 720x1280", "wm size"},
		"the display's own size":       {"", devices.OverrideDisplay{Side: "size", Value: "1080x2340"}, "Physical size: 1080x2340", "wm size"},
		"a display's density":          {"", devices.OverrideDisplay{Side: "density", Value: "320"}, "Override density: 320", "wm density"},
		"a density once reset":         {"wm density 300; wm density reset", devices.OverrideDisplay{Side: "density", Value: "320"}, "Override density: 320", "wm density"},
		"a permission that is granted": {"", devices.SetPermission{Package: browserPackage, Permission: "android.permission.CAMERA", Granted: true}, "CAMERA: granted=true", "dumpsys package " + browserPackage},
		"a permission that is revoked": {
			"pm grant " + browserPackage + " android.permission.CAMERA",
			devices.SetPermission{Package: browserPackage, Permission: "android.permission.CAMERA"},
			"CAMERA: granted=false", "dumpsys package " + browserPackage,
		},
		"an operation":              {"", devices.SetAppOp{Package: browserPackage, Op: "RUN_IN_BACKGROUND", Mode: "ignore"}, "RUN_IN_BACKGROUND: ignore", "appops get " + browserPackage},
		"an operation that was set": {"appops set " + browserPackage + " CAMERA deny", devices.SetAppOp{Package: browserPackage, Op: "CAMERA", Mode: "allow"}, "No operations.", "appops get " + browserPackage + " CAMERA"},
		"an app":                    {"", devices.InstallApp{Path: "testdata/helloworld.apk"}, "package:com.example.helloworld", "pm list packages helloworld"},
		"a new file":                {"", devices.PutFile{Path: "/data/local/tmp/new file", Content: []byte("x\x00y"), Mode: 0o600}, "-rw-------", "ls -l '/data/local/tmp/new file'"},
		"a file that is replaced":   {"echo old > /data/local/tmp/f; chmod 640 /data/local/tmp/f", devices.PutFile{Path: "/data/local/tmp/f", Content: big, Mode: 0o600}, "0123456789abcde", "head -n 1 /data/local/tmp/f"},
		"an empty file":             {": > /sdcard/empty", devices.PutFile{Path: "/sdcard/empty", Content: []byte("full"), Mode: 0o644}, "full", "cat /sdcard/empty"},
	} {
		for _, again := range []string{"at once", "after a restart"} {
			t.Run(name+", "+again, func(t *testing.T) {
				t.Parallel()
				_, p, d := world(t)
				script := func(text string) string {
					t.Helper()
					res, err := d.Script(t.Context(), text)
					if err != nil {
						t.Fatal(err)
					}
					return string(res.Stdout) + string(res.Stderr)
				}
				script(c.before)
				look := c.look + "; ls -ln /data/local/tmp /sdcard; cat /data/local/tmp/f /sdcard/empty"
				was, settings := script(look), fmt.Sprint(p.Settings(), p.Truth().Grants)
				dir := t.TempDir()
				j, err := devices.OpenJournal(dir, d.Serial())
				if err != nil {
					t.Fatal(err)
				}
				if err := j.Change(t.Context(), d, c.change); err != nil {
					t.Fatal(err)
				}
				if made := script(c.look); !strings.Contains(made, c.made) {
					t.Errorf("after the change: %q, want %q in it", made, c.made)
				}
				if again != "at once" {
					restart(t, p, d)
				}
				if j, err = devices.OpenJournal(dir, d.Serial()); err != nil || len(j.Pending()) != 1 {
					t.Fatalf("%v, %v", j.Pending(), err)
				}
				for range 2 { // An undo may be repeated.
					if err := j.Undo(t.Context(), d); err != nil {
						t.Fatal(err)
					}
				}
				if is := script(look); is != was && dateless(is) != dateless(was) {
					t.Errorf("it was\n%s\nand is\n%s", was, is)
				}
				if is := fmt.Sprint(p.Settings(), p.Truth().Grants); is != settings {
					t.Errorf("the settings were\n%s\nand are\n%s", settings, is)
				}
			})
		}
	}
}

// restart restarts the phone and waits until Android has started.
func restart(t *testing.T, p *sim.Phone, d *devices.Device) {
	t.Helper()
	boot, err := d.BootID(t.Context())
	if err == nil {
		err = p.Fault(t.Context(), "reboot", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		now, err := d.BootID(t.Context())
		if err == nil && now != boot {
			if up, err := d.Output(t.Context(), "getprop", "sys.boot_completed"); err == nil && up == "1" {
				return
			}
		}
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// dateless leaves out when files were written.
func dateless(list string) string {
	var b strings.Builder
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) > 7 && len(fields[0]) == len("-rw-------") {
			fields = append(fields[:5], fields[7:]...)
		}
		fmt.Fprintln(&b, strings.Join(fields, " "))
	}
	return b.String()
}

func TestChangesThatAreRefused(t *testing.T) {
	_, _, d := world(t)
	if _, err := d.Script(t.Context(), "mkdir /data/local/tmp/folder; head -c 600000 /dev/zero > /data/local/tmp/big"); err != nil {
		t.Fatal(err)
	}
	j, err := devices.OpenJournal(t.TempDir(), d.Serial())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change devices.Undoable
		want   string
	}{
		"a size that is none":     {devices.OverrideDisplay{Side: "size", Value: "big"}, "720x1280"},
		"a side that is none":     {devices.OverrideDisplay{Side: "colour", Value: "1"}, "720x1280"},
		"a permission of nobody":  {devices.SetPermission{Package: "com.nobody", Permission: "android.permission.CAMERA"}, "not installed"},
		"a permission not asked":  {devices.SetPermission{Package: browserPackage, Permission: "android.permission.READ_SMS"}, "no runtime permission"},
		"an operation of no name": {devices.SetAppOp{Package: browserPackage, Op: "CAMERO", Mode: "deny"}, "Unknown operation"},
		"a mode with a blank":     {devices.SetAppOp{Package: browserPackage, Op: "CAMERA", Mode: "deny it"}, "letters"},
		"a relative path":         {devices.PutFile{Path: "sdcard/x"}, "absolute"},
		"a path with detours":     {devices.PutFile{Path: "/sdcard/../x"}, "absolute"},
		"a folder":                {devices.PutFile{Path: "/data/local/tmp/folder"}, "folder"},
		"a file too big to keep":  {devices.PutFile{Path: "/data/local/tmp/big"}, "600000"},
	} {
		if err := j.Change(t.Context(), d, c.change); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	if left := j.Pending(); len(left) != 0 {
		t.Errorf("the journal holds %v", left)
	}
}
