package dissect_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/dissect"
)

// library finds the captures that come with the gopacket module.
func library(t testing.TB) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gopacket/gopacket").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []string
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, d os.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".pcap", ".pcapng", ".cap":
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) < 40 {
		t.Fatalf("found %d captures in the gopacket module: %v", len(all), err)
	}
	return all
}

func TestLibraryCaptures(t *testing.T) {
	for _, path := range library(t) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := dissect.Read(bytes.NewReader(b), dissect.Options{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		t.Logf("%s: %d flows %d ex %d dns %+v", filepath.Base(path), len(c.Flows), len(c.Exchanges), len(c.Lookups), c.Health)
	}
}
