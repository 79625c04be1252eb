package peers

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// NPM installs what the package-lock.json in a folder pins, and returns a
// temporary folder with it and with the folder's other files. No script of a
// package is run to install it. Where npm or the registry is missing it skips
// the test, or fails it when OFFPROOF_REQUIRE_PEERS=1.
func NPM(t testing.TB, folder string) string {
	t.Helper()
	npm := Require(t, "npm")
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatalf("peers: copy %s: %v", folder, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, there := os.Stat(filepath.Join(dir, "node_modules")); err != nil || there != nil {
		missing(t, "the packages of %s could not be fetched, so nothing was compared with them: npm ci: %v: %s", folder, err, out)
	}
	return dir
}
