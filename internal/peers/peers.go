// Package peers finds the programs that tests compare offproof with (adb,
// tshark, tcpdump, curl, chromium) and makes the network namespaces in which
// they run. Only tests import it.
//
// A test whose peer is missing is skipped with a message that says what to
// install, so that a laptop without tshark still gets a useful test run. A test
// farm must not lose its comparisons in silence: with OFFPROOF_REQUIRE_PEERS=1
// in the environment the same test fails instead. This is the only place in the
// project where a test may skip.
package peers

import (
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// RequireVariable names the environment variable that turns the skips of this
// package into failures when it is "1".
const RequireVariable = "OFFPROOF_REQUIRE_PEERS"

// packages are the Debian packages of programs whose package has another name.
var packages = map[string]string{
	"ip":       "iproute2",
	"ping":     "iputils-ping",
	"nsenter":  "util-linux",
	"unshare":  "util-linux",
	"capinfos": "wireshark-common",
	"editcap":  "wireshark-common",
	"node":     "nodejs",
	"rg":       "ripgrep",
}

// Require returns the path of a program. Where there is none it skips the test,
// or fails it when OFFPROOF_REQUIRE_PEERS=1.
func Require(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		pkg, ok := packages[program]
		if !ok {
			pkg = program
		}
		missing(t, "%s is not installed, so nothing was compared with it: apt-get install %s", program, pkg)
	}
	return path
}

// RequireRoot returns when the test runs as root. Otherwise it skips the test,
// or fails it when OFFPROOF_REQUIRE_PEERS=1.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "this test needs root, to make a network namespace of its own")
	}
}

// A Namespace is a network namespace that holds a loopback interface and no
// way out, so that packets can be made and recorded without touching a network.
type Namespace struct {
	// Name is the name that "ip netns" knows it by.
	Name string

	ip string
}

// NewNamespace makes a network namespace with its loopback interface up, and
// removes it when the test ends. It needs root and the program ip; without
// them it skips the test, or fails it when OFFPROOF_REQUIRE_PEERS=1.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	RequireRoot(t)
	n := &Namespace{
		Name: "offproof-" + strings.ToLower(rand.Text()[:10]),
		ip:   Require(t, "ip"),
	}
	// An own limit, because a hanging ip would otherwise take the whole run
	// with it.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, n.ip, "netns", "add", n.Name).CombinedOutput(); err != nil {
		missing(t, "network namespaces cannot be made here: ip netns add: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// The test's context has ended by now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if out, err := exec.CommandContext(ctx, n.ip, "netns", "del", n.Name).CombinedOutput(); err != nil {
			t.Errorf("peers: remove namespace %s: %v: %s", n.Name, err, out)
		}
	})
	if out, err := n.Command(ctx, n.ip, "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("peers: raise lo in namespace %s: %v: %s", n.Name, err, out)
	}
	return n
}

// Command prepares a program to run inside the namespace until ctx ends. The
// process is the program itself, not a wrapper, so signals reach it.
func (n *Namespace) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, n.ip, append([]string{"netns", "exec", n.Name, program}, args...)...)
}

// missing skips the test, or fails it where peers are required.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(RequireVariable) == "1" {
		t.Fatalf(format+" ("+RequireVariable+"=1 makes this a failure)", args...)
	}
	t.Skipf(format, args...)
}
