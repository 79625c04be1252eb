package peers

import (
	"os"
	"path/filepath"
	"testing"
)

// trixie is the folder into which .ci/adbd unpacks Debian trixie's adbd and adb
// 34, with every library that they need.
type trixie string

// trixieFolder is the name of that folder in .ci/adbd too.
const trixieFolder = "offproof/trixie-adbd-34.0.5-12"

// requireTrixie returns the folder. Where it was not fetched it skips the test,
// or fails it when OFFPROOF_REQUIRE_PEERS=1.
func requireTrixie(t testing.TB) trixie {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		missing(t, "the user has no cache folder, where adbd would be: %v", err)
	}
	dir := filepath.Join(cache, trixieFolder)
	if _, err := os.Stat(filepath.Join(dir, "usr/lib/android-sdk/platform-tools/adbd")); err != nil {
		missing(t, "the genuine adbd is not in %s, so nothing was compared with it: run .ci/adbd", dir)
	}
	return trixie(dir)
}

// command runs a program of the folder by the folder's own loader, because this
// machine's libraries may be older. as is where the program sees the folder,
// empty for where it is.
func (d trixie) command(as, program string) []string {
	if as == "" {
		as = string(d)
	}
	libs := filepath.Join(as, "usr/lib/x86_64-linux-gnu")
	return []string{
		filepath.Join(libs, "ld-linux-x86-64.so.2"),
		"--library-path", libs + ":" + filepath.Join(libs, "android"),
		filepath.Join(as, program),
	}
}
