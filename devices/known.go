package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// mostBuilds bounds the builds that are remembered of a phone.
const mostBuilds = 50

// Known is what this host remembers of a phone from its earlier leases.
type Known struct {
	Format int    `json:"format"`
	Serial string `json:"serial"`
	// Server is where it was seen last, and Seen when.
	Server string    `json:"server"`
	Seen   time.Time `json:"seen"`
	// Builds are those that were seen on it, oldest first.
	Builds []KnownBuild `json:"builds,omitempty"`
}

// A KnownBuild is a firmware build that was seen on a phone.
type KnownBuild struct {
	Fingerprint string    `json:"fingerprint"`
	Since       time.Time `json:"since"`
	// By says what put it there, empty when nobody knows: it changed by itself, or
	// by other hands.
	By string `json:"by,omitempty"`
}

// ReadKnown reads what is remembered of a phone in dir. A phone that was never
// seen has a zero Seen.
func ReadKnown(dir, serial string) (Known, error) {
	none := Known{Format: 1, Serial: serial}
	b, err := os.ReadFile(filepath.Join(dir, fileName(serial)+".json")) //nolint:gosec // fileName leaves no path in a serial.
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("devices: read what is known of phone %s: %w", serial, err)
	}
	var k Known
	if err := json.Unmarshal(b, &k); err != nil {
		return none, fmt.Errorf("devices: read what is known of phone %s: %w (remove the file %s)", serial, err, filepath.Join(dir, fileName(serial)+".json"))
	}
	k.Serial = serial
	return k, nil
}

// Saw notes that the phone was seen on a server with a build, and says whether
// the build is another one than before. by is what put it there, empty when
// nobody knows.
func (k *Known) Saw(server, fingerprint, by string, now time.Time) (changed bool) {
	k.Server, k.Seen = server, now
	last := len(k.Builds) - 1
	if fingerprint == "" || last >= 0 && k.Builds[last].Fingerprint == fingerprint && by == "" {
		return false
	}
	changed = last < 0 || k.Builds[last].Fingerprint != fingerprint
	k.Builds = append(k.Builds, KnownBuild{Fingerprint: fingerprint, Since: now, By: by})
	k.Builds = slices.Delete(k.Builds, 0, max(0, len(k.Builds)-mostBuilds))
	return changed
}

// Write puts it into dir, whole or not at all.
func (k *Known) Write(dir string) error {
	if err := k.write(dir); err != nil {
		return fmt.Errorf("devices: remember phone %s: %w", k.Serial, err)
	}
	return nil
}

func (k *Known) write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".known-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // It has another name by then.
	if _, err := temp.Write(append(b, '\n')); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := errors.Join(temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), filepath.Join(dir, fileName(k.Serial)+".json"))
}
