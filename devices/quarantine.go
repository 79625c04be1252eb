package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Notice says why a phone was taken out of the farm.
type Notice struct {
	Format int       `json:"format"`
	Serial string    `json:"serial"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"` // zero where nobody noted it
}

func (n Notice) String() string {
	if n.Since.IsZero() {
		return fmt.Sprintf("phone %s is in quarantine: %s", n.Serial, n.Reason)
	}
	return fmt.Sprintf("phone %s is in quarantine since %s: %s", n.Serial, n.Since.Format(time.DateTime), n.Reason)
}

// Quarantine takes a phone out of the farm, for everybody who names the same
// folder, until Readmit. A later reason replaces an earlier one.
func Quarantine(dir, serial, reason string) error {
	reason = strings.Join(strings.Fields(reason), " ")
	if serial == "" || reason == "" {
		return errors.New("devices: quarantine phone: it needs a serial and a reason")
	}
	if err := makeDir(dir); err != nil {
		return fmt.Errorf("devices: quarantine phone %s: %w", serial, err)
	}
	b, err := json.Marshal(Notice{Format: 1, Serial: serial, Reason: reason, Since: time.Now().Round(time.Second)})
	if err != nil {
		return fmt.Errorf("devices: quarantine phone %s: %w", serial, err)
	}
	// Written beside and moved, so that nobody reads half a notice.
	file, err := os.CreateTemp(dir, "notice-*")
	if err != nil {
		return fmt.Errorf("devices: quarantine phone %s: %w", serial, err)
	}
	_, err = file.Write(append(b, '\n'))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(fmt.Errorf("devices: quarantine phone %s: %w", serial, err), os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), noticeFile(dir, serial)); err != nil {
		return errors.Join(fmt.Errorf("devices: quarantine phone %s: %w", serial, err), os.Remove(file.Name()))
	}
	return syncDir(dir)
}

func noticeFile(dir, serial string) string {
	return filepath.Join(dir, fileName(serial)+".json")
}

// Quarantined reads why a phone is in quarantine; nil when it is not. A notice
// that cannot be read is an error: the phone was taken out for some reason.
func Quarantined(dir, serial string) (*Notice, error) {
	path := noticeFile(dir, serial)
	file, err := os.Open(path) //nolint:gosec // fileName leaves no path in a serial.
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // No quarantine is no error.
	}
	if err != nil {
		return nil, fmt.Errorf("devices: read quarantine of %s: %w", serial, err)
	}
	defer func() { _ = file.Close() }()
	const most = 64 << 10
	var n Notice
	b, err := io.ReadAll(io.LimitReader(file, most))
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return nil, fmt.Errorf("devices: read quarantine of %s: %s: %w", serial, path, err)
	}
	n.Serial = serial
	return &n, nil
}

// Readmit ends a phone's quarantine. One that is in none is an error.
func Readmit(dir, serial string) error {
	err := os.Remove(noticeFile(dir, serial))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("devices: readmit phone %s: it is not in quarantine", serial)
	}
	if err != nil {
		return fmt.Errorf("devices: readmit phone %s: %w", serial, err)
	}
	return syncDir(dir)
}
