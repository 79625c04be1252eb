//go:build unix

package devices

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// errLocked means that somebody else has the lock.
var errLocked = errors.New("locked")

// lockFile locks without waiting. The lock belongs to the open file, so two
// leases in one process exclude each other too, and no child inherits it.
func lockFile(file *os.File) error {
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errLocked
		default:
			return &os.PathError{Op: "flock", Path: file.Name(), Err: err}
		}
	}
}

// syncDir makes a new or renamed file in the folder survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // The folder is the operator's own.
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
