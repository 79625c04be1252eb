package tcpdump_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/tcpdump"
	"github.com/offproof/offproof/internal/peers"
)

// A shellPhone is this computer's own shell and its genuine tcpdump, inside a
// network namespace. Only ping is replaced: by a script that asks the question
// over loopback, because a namespace has no resolver.
type shellPhone struct {
	ns   *peers.Namespace
	path string
}

func (p *shellPhone) command(ctx context.Context, script string) *exec.Cmd {
	return p.ns.Command(ctx, "env", "PATH="+p.path+":"+os.Getenv("PATH"), "sh", "-c", script)
}

func (p *shellPhone) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	var out, words bytes.Buffer
	cmd := p.command(ctx, script)
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return out.Bytes(), words.Bytes(), failed.ExitCode(), nil
	}
	return out.Bytes(), words.Bytes(), 0, err
}

func (p *shellPhone) Stream(ctx context.Context, script string) (stdout, stderr io.ReadCloser, wait func() (int, error), err error) {
	cmd := p.command(ctx, script)
	if stdout, err = cmd.StdoutPipe(); err != nil {
		return nil, nil, nil, err
	}
	if stderr, err = cmd.StderrPipe(); err != nil {
		return nil, nil, nil, err
	}
	if err = cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	return stdout, stderr, func() (int, error) {
		err := cmd.Wait()
		var failed *exec.ExitError
		if errors.As(err, &failed) && failed.Exited() {
			return failed.ExitCode(), nil
		}
		return 0, err
	}, nil
}

const question = `#!/bin/bash
for last; do :; done
q=''
IFS=. read -ra labels <<<"$last"
for l in "${labels[@]}"; do q+=$(printf '\\x%02x' ${#l})$l; done
printf "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00$q\x00\x00\x01\x00\x01" >/dev/udp/127.0.0.1/53
exit 2
`

func TestGenuineTcpdump(t *testing.T) {
	peers.Require(t, "tcpdump")
	peers.Require(t, "bash")
	p := &shellPhone{ns: peers.NewNamespace(t), path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.path, "ping"), []byte(question), 0o700); err != nil {
		t.Fatal(err)
	}
	b := tcpdump.New(p, tcpdump.Options{Interface: "lo"})
	if a, err := b.Probe(t.Context()); err != nil || !a.OK {
		t.Fatalf("probe: %+v %v", a, err)
	}
	s, err := b.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	for _, nonce := range []string{"first1", "second2"} {
		if _, err := s.Beacon(t.Context(), nonce); err != nil {
			t.Errorf("beacon: %v", err)
		}
	}
	read, err := s.Read(t.Context())
	if err != nil || read.Health.Packets < 2 {
		t.Errorf("read: %+v %v", read, err)
	}
	trace, err := s.Stop(t.Context())
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
	h := trace.Health
	if h.Truncated || h.Dropped == nil || *h.Dropped != 0 || len(h.Problems) > 0 || h.Packets < 2 {
		t.Errorf("health %+v", h)
	}
	// The same program reads its file back: as many packets, no complaint.
	for _, path := range []string{read.Packets, trace.Packets} {
		out, err := exec.CommandContext(t.Context(), "tcpdump", "-n", "-r", path).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("second2.beacon.offproof.invalid")) {
			t.Errorf("reading back: %v: %s", err, out)
		}
	}
}

func TestGenuineTcpdumpRefuses(t *testing.T) {
	peers.Require(t, "tcpdump")
	p := &shellPhone{ns: peers.NewNamespace(t), path: t.TempDir()}
	dir := t.TempDir()
	_, err := tcpdump.New(p, tcpdump.Options{Interface: "wlan7"}).Start(t.Context(), dir)
	if !errors.Is(err, tcpdump.ErrNotReady) || !strings.Contains(err.Error(), "wlan7") {
		t.Errorf("start: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestGenuineTcpdumpKilled(t *testing.T) {
	peers.Require(t, "tcpdump")
	peers.Require(t, "bash")
	p := &shellPhone{ns: peers.NewNamespace(t), path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(p.path, "ping"), []byte(question), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := tcpdump.New(p, tcpdump.Options{Interface: "lo"}).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Beacon(t.Context(), "counted1"); err != nil {
		t.Fatal(err)
	}
	if _, _, exit, err := p.Run(t.Context(), "kill -9 "+tcpdump.PID(s)); err != nil || exit != 0 {
		t.Fatalf("kill: %d %v", exit, err)
	}
	<-s.Done()
	trace, err := s.Stop(t.Context())
	h := trace.Health
	if err != nil || !h.Truncated || h.Died.IsZero() {
		t.Errorf("health %+v, %v", h, err)
	}
	// It was asked with the beacon, and could not say what it dropped after that.
	if h.Dropped == nil || *h.Dropped != 0 || len(h.Losses) != 1 || h.Losses[0].From.Before(trace.Beacons[0].Seen) {
		t.Errorf("what it said of losses is not kept: %+v", h)
	}
}
