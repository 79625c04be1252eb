package rig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/devices"
)

const (
	// serverStart bounds adb start-server, which waits for the phones.
	serverStart = time.Minute
	// serverEnd is how long a killed server may take to go.
	serverEnd = 5 * time.Second
)

// mendServer starts the ADB server of a phone, ending it first if it has hung:
// by the bench's hook, or by this host's adb where the server is this host's. A
// server that answers is left alone, because it may serve anybody. Programs of
// this host that find the same server gone do it one after the other.
func (r *Rig) mendServer(ctx context.Context, server string, hook func(context.Context) error, hung bool, log *slog.Logger) error {
	turn, err := devices.Acquire(ctx, r.servers(), []string{server})
	if err != nil {
		return fmt.Errorf("rig: mend ADB server %s: wait for whoever mends it already: %w", server, err)
	}
	defer turn.Release() //nolint:errcheck // The lock goes with the process.
	ask, cancel := context.WithTimeout(ctx, r.repairLimits().Ask)
	_, err = devices.ServerVersion(ask, server)
	cancel()
	if err == nil {
		log.Info("the ADB server answers again", "server", server)
		return nil
	}
	if hook != nil {
		return hook(ctx)
	}
	host, port, err := net.SplitHostPort(server)
	if err != nil {
		return fmt.Errorf("rig: mend ADB server %s: %w", server, err)
	}
	if !ownHost(host) {
		return fmt.Errorf("rig: mend ADB server %s: it is not this host's: restart it there, or give farm.yaml a server: hook that does", server)
	}
	if !r.startsServer(port) {
		return fmt.Errorf("rig: mend ADB server %s: no adb was seen to listen there before, and one that is started on another port than %s takes the USB phones from the host's own: start it by hand, or give farm.yaml a server: hook that does", server, defaultPort)
	}
	program, err := exec.LookPath("adb")
	if err != nil {
		return fmt.Errorf("rig: mend ADB server %s: this host has no adb to start it with: install it, or give farm.yaml a server: hook: %w", server, err)
	}
	if hung {
		if err := endServer(ctx, port, log); err != nil {
			return fmt.Errorf("rig: mend ADB server %s: %w", server, err)
		}
	}
	return startServer(ctx, program, port, log)
}

// defaultPort is where a host's own ADB server listens.
const defaultPort = "5037"

func (r *Rig) servers() string            { return filepath.Join(r.Farm.State, "servers") }
func (r *Rig) adbMark(port string) string { return filepath.Join(r.servers(), "adb-on-"+port) }

// startsServer says whether an adb may be started on a port of this host.
func (r *Rig) startsServer(port string) bool {
	return port == defaultPort || exists(r.adbMark(port))
}

// recogniseServer notes, once for each server, that an adb of this host listens
// there. What listens may as well be a simulation, or a tunnel to another host,
// in whose place no adb must ever be started.
func (r *Rig) recogniseServer(server string) error {
	host, port, err := net.SplitHostPort(server)
	if err != nil || !ownHost(host) || port == defaultPort {
		return nil //nolint:nilerr // An address that is none is nobody's server.
	}
	if _, before := r.recognised.LoadOrStore(port, true); before || exists(r.adbMark(port)) {
		return nil
	}
	if pid, err := listener(port); err != nil || commOf(pid) != "adb" {
		return nil //nolint:nilerr // Another user's, another host's, or no adb.
	}
	if err := os.MkdirAll(r.servers(), 0o700); err != nil {
		return fmt.Errorf("rig: remember ADB server %s: %w", server, err)
	}
	if err := os.WriteFile(r.adbMark(port), nil, 0o600); err != nil {
		return fmt.Errorf("rig: remember ADB server %s: %w", server, err)
	}
	return nil
}

// ownHost says whether adb -P reaches a server there.
func ownHost(host string) bool { return host == "127.0.0.1" || host == "localhost" }

// commOf is the name of a process, empty when it has gone.
func commOf(pid int) string {
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}

// startServer runs adb start-server. It would kill a server of another version
// that answers, so it is run only where nothing does.
func startServer(ctx context.Context, program, port string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	out := &lineLog{log: log.With("program", "adb start-server")}
	cmd := exec.CommandContext(ctx, program, "-P", port, "start-server")
	cmd.Stdout, cmd.Stderr = out, out
	log.Info("starting the ADB server", "program", program, "port", port)
	err := runGroup(cmd, hookGrace)
	out.flush()
	if err != nil {
		return fmt.Errorf("rig: run %s -P %s start-server: %w: it said: %s", program, port, err, strings.Join(strings.Fields(out.end()), " "))
	}
	return nil
}

// endServer kills the adb process of this user that listens on a loopback port.
// Neither adb kill-server nor adb start-server comes back from a server that
// has hung, so it is found by its socket.
func endServer(ctx context.Context, port string, log *slog.Logger) error {
	pid, err := listener(port)
	if err != nil {
		return fmt.Errorf("find the process that has hung: %w (end it by hand)", err)
	}
	process, err := os.FindProcess(pid) // From here on the number means this process.
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	defer process.Release() //nolint:errcheck // A handle.
	if again, err := listener(port); err != nil || again != pid {
		return fmt.Errorf("another process than %d listens now", pid)
	}
	if got := commOf(pid); got != "adb" {
		return fmt.Errorf("process %d, which listens there and does not answer, is %q and no adb: correct adb: in farm.yaml, or end it by hand", pid, got)
	}
	log.Warn("killing an ADB server that has hung: every phone of it is lost until it has started again", "pid", pid, "port", port)
	if err := process.Kill(); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, serverEnd)
	defer cancel()
	for {
		if _, err := listener(port); errors.Is(err, errNoListener) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d still listens after it was killed: %w", pid, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// errNoListener means that nothing listens on a port.
var errNoListener = errors.New("nothing listens there")

// listener is the process that listens on a port of this host, as /proc tells;
// other systems than Linux do not.
func listener(port string) (int, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("port %q: %w", port, err)
	}
	inodes := map[string]bool{}
	read := false
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table) //nolint:gosec // One of two files of the kernel.
		if err != nil {
			continue
		}
		read = true
		for line := range strings.Lines(string(text)) {
			const local, state, inode, listen = 1, 3, 9, "0A"
			f := strings.Fields(line)
			if len(f) > inode && f[state] == listen && strings.HasSuffix(f[local], fmt.Sprintf(":%04X", n)) {
				inodes["socket:["+f[inode]+"]"] = true
			}
		}
	}
	switch {
	case !read:
		return 0, errors.New("this system does not tell who listens")
	case len(inodes) == 0:
		return 0, errNoListener
	}
	handles, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, fmt.Errorf("look through /proc: %w", err)
	}
	for _, h := range handles {
		if to, err := os.Readlink(h); err == nil && inodes[to] {
			return strconv.Atoi(strings.Split(h, "/")[2])
		}
	}
	return 0, errors.New("it is another user's process")
}
