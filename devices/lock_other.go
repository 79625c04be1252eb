//go:build !unix

package devices

import (
	"errors"
	"os"
)

// errLocked means that somebody else has the lock.
var errLocked = errors.New("locked")

// lockFile refuses: a lease that does not exclude would be worse than none.
func lockFile(*os.File) error {
	return errors.New("leases need file locks, which this system's build does not have: use Linux or macOS")
}

// syncDir does nothing where folders cannot be synced.
func syncDir(string) error { return nil }
