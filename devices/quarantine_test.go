package devices_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
)

func TestQuarantine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "quarantine")
	const serial = "192.168.1.7:5555"
	if n, err := devices.Quarantined(dir, serial); n != nil || err != nil {
		t.Fatalf("before: %v, %v", n, err)
	}
	if err := devices.Quarantine(dir, serial, "battery\nswollen"); err != nil {
		t.Fatal(err)
	}
	if err := devices.Quarantine(dir, serial, "battery swollen, in the fire box"); err != nil {
		t.Fatal(err)
	}
	n, err := devices.Quarantined(dir, serial)
	if err != nil || n == nil || n.Serial != serial || !strings.Contains(n.String(), "fire box") || strings.Contains(n.String(), "\n") {
		t.Errorf("read back: %v, %v", n, err)
	}
	if n, err := devices.Quarantined(dir, "192.168.1.7_5555"); n != nil || err != nil {
		t.Errorf("another phone: %v, %v", n, err)
	}
	if err := devices.Readmit(dir, serial); err != nil {
		t.Error(err)
	}
	if err := devices.Readmit(dir, serial); err == nil {
		t.Error("a phone that is in no quarantine was readmitted")
	}
	for _, c := range [][2]string{{"", "why"}, {serial, ""}, {serial, " \n"}} {
		if err := devices.Quarantine(dir, c[0], c[1]); err == nil {
			t.Errorf("%q: taken", c)
		}
	}
}

// A notice that cannot be read keeps the phone out: it was there for a reason.
func TestDamagedNoticeIsNoAdmission(t *testing.T) {
	dir := t.TempDir()
	if err := devices.Quarantine(dir, "R58M", "x"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte(`{"serial":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := devices.Quarantined(dir, "R58M"); n != nil || err == nil {
		t.Errorf("got %v, %v", n, err)
	}
}
