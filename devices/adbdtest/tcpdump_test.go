package adbdtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
	"github.com/offproof/offproof/capture/tcpdump"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/internal/peers"
)

// A recorded phone is one in the words of the backend.
type recorded struct{ d *devices.Device }

func (r recorded) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	res, err := r.d.Script(ctx, script)
	return res.Stdout, res.Stderr, res.Exit, err
}

func (r recorded) Stream(ctx context.Context, script string) (stdout, stderr io.ReadCloser, wait func() (int, error), err error) {
	s, err := r.d.Stream(ctx, script)
	if err != nil {
		return nil, nil, nil, err
	}
	type half struct {
		io.Reader
		io.Closer
	}
	return half{s.Stdout, s}, half{s.Stderr, s}, s.Wait, nil
}

// record starts the system's tcpdump through the genuine daemon.
func (b *bench) record(t *testing.T) (capture.Session, *tcpdump.Backend) {
	t.Helper()
	peers.Require(t, "tcpdump")
	peers.Require(t, "ping")
	peers.Require(t, "curl")
	backend := tcpdump.New(recorded{b.Device}, tcpdump.Options{Interface: phoneInterface})
	if a, err := backend.Probe(t.Context()); err != nil || !a.OK {
		t.Fatalf("probe: %+v, %v", a, err)
	}
	s, err := backend.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s, backend
}

// dumping lists the phone's processes that are a tcpdump.
func (b *bench) dumping(t *testing.T) string {
	t.Helper()
	r, err := b.Script(t.Context(), "for p in /proc/[0-9]*; do case $(tr '\\0' ' ' <$p/cmdline 2>/dev/null) in tcpdump*) echo ${p#/proc/};; esac; done")
	if err != nil || r.Exit != 0 {
		t.Fatalf("look for processes: %+v, %v", r, err)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// readPackets is what the system's tcpdump reads in a file of ours.
func readPackets(t *testing.T, file string, filter ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), peers.Require(t, "tcpdump"), append([]string{"-n", "-A", "-r", file}, filter...)...) //nolint:gosec // The test's own file.
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tcpdump -r: %v: %s", err, errs.String())
	}
	return out.String()
}

// TestCapture records what a phone's programs really send, from the first packet
// after the start to the last one before the stop.
func TestCapture(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		s, _ := b.record(t)
		first, err := b.Output(t.Context(), "curl", "-sS", "--max-time", "30", "http://first.example/planted-one")
		if err != nil || first+"\n" != page {
			t.Fatalf("curl: %q, %v", first, err)
		}
		if beacon, err := s.Beacon(t.Context(), "nonce1"); err != nil || beacon.Seen.IsZero() {
			t.Errorf("beacon: %+v, %v", beacon, err)
		}
		read, err := s.Read(t.Context())
		if err != nil || !strings.Contains(readPackets(t, read.Packets), "/planted-one") {
			t.Errorf("what was sent before the beacon is not in what is read after it: %+v, %v", read.Health, err)
		}
		if _, err := b.Output(t.Context(), "ping", "-c", "3", "-i", "0.2", worldAddress); err != nil {
			t.Errorf("ping: %v", err)
		}
		if _, err := b.Output(t.Context(), "curl", "-sS", "--max-time", "30", "http://last.example/planted-two"); err != nil {
			t.Errorf("curl: %v", err)
		}
		if _, err := s.Beacon(t.Context(), "nonce2"); err != nil {
			t.Errorf("beacon: %v", err)
		}
		trace, err := s.Stop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := trace.Health
		if h.Truncated || h.Dropped == nil || *h.Dropped != 0 || len(h.Problems) > 0 || !h.Died.IsZero() {
			t.Errorf("health %+v", h)
		}
		if left := b.dumping(t); left != "" {
			t.Errorf("tcpdump still runs as %s", left)
		}
		text := readPackets(t, trace.Packets)
		for _, part := range []string{"first.example", "/planted-one", "last.example", "/planted-two", "nonce1.beacon.offproof.invalid", "nonce2.beacon.offproof.invalid"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s is not in the packets", part)
			}
		}
		if n := strings.Count(readPackets(t, trace.Packets, "icmp[icmptype]=icmp-echo"), "ICMP echo request"); n != 3 {
			t.Errorf("%d of 3 echo requests are in the packets", n)
		}
		if all := strings.Count(readPackets(t, trace.Packets, "not", "net", "10.77.0.0/24", "and", "not", "ip6", "and", "not", "arp"), "\nIP "); all != 0 {
			t.Errorf("%d packets are of another network", all)
		}
	})
}

// TestCaptureIsKilled ends tcpdump in the phone, as a phone that is short of
// memory does.
func TestCaptureIsKilled(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		s, _ := b.record(t)
		if _, err := b.Output(t.Context(), "kill", "-9", b.dumping(t)); err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if _, err := s.Beacon(t.Context(), "toolate"); !errors.Is(err, packets.ErrEnded) {
			t.Errorf("a beacon after the end: %v", err)
		}
		trace, err := s.Stop(t.Context())
		if err != nil || !trace.Health.Truncated || trace.Health.Died.IsZero() {
			t.Errorf("health %+v, %v", trace.Health, err)
		}
	})
}

// TestCaptureLosesItsPhone pulls the cable under a recording: what it has says
// that it is not whole, and the process in the phone is ended when the phone is
// back.
func TestCaptureLosesItsPhone(t *testing.T) {
	eachServer(t, func(t *testing.T, b *bench) {
		s, _ := b.record(t)
		if _, err := s.Beacon(t.Context(), "before"); err != nil {
			t.Fatal(err)
		}
		b.daemon.Cut()
		<-s.Done()
		b.connect(t)
		trace, err := s.Stop(t.Context())
		h := trace.Health
		if err != nil || !h.Truncated || h.Died.IsZero() {
			t.Errorf("health %+v, %v", h, err)
		}
		// What it counted with the beacon still holds; what it dropped since then nobody
		// knows, and that has to be said.
		if h.Dropped != nil && (len(h.Losses) == 0 || h.Losses[len(h.Losses)-1].Packets != 0) {
			t.Errorf("%d packets were dropped in all, and %v were lost, as if it had said so at its end", *h.Dropped, h.Losses)
		}
		if left := b.dumping(t); left != "" {
			t.Errorf("tcpdump still runs as %s", left)
		}
		if _, err := os.Stat(trace.Packets); err != nil || !strings.Contains(readPackets(t, trace.Packets), "before.beacon.offproof.invalid") {
			t.Errorf("what came before the end is gone: %v", err)
		}
	})
}
