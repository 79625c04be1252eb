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
	// serverAsk is how long an ADB server has to answer before it is called hung.
	serverAsk = 10 * time.Second
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
	turn, err := devices.Acquire(ctx, filepath.Join(r.Farm.State, "servers"), []string{server})
	if err != nil {
		return fmt.Errorf("rig: mend ADB server %s: wait for whoever mends it already: %w", server, err)
	}
	defer turn.Release() //nolint:errcheck // The lock goes with the process.
	ask, cancel := context.WithTimeout(ctx, serverAsk)
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
	if host != "127.0.0.1" && host != "localhost" {
		return fmt.Errorf("rig: mend ADB server %s: it is not this host's: restart it there, or give farm.yaml a server: hook that does", server)
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

// startServer runs adb start-server. It would kill a server of another version
// that answers, so it is run only where nothing does.
func startServer(ctx context.Context, program, port string, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	out := &lineLog{log: log.With("program", "adb start-server")}
	cmd := exec.CommandContext(ctx, program, "-P", port, "start-server") //nolint:gosec // The host's adb.
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
	name, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return fmt.Errorf("read the name of process %d: %w", pid, err)
	}
	if got := strings.TrimSpace(string(name)); got != "adb" {
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
		text, err := os.ReadFile(table)
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
