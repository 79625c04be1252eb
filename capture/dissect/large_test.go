package dissect_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// largeBytes is the length of the capture that BenchmarkLarge makes.
const largeBytes = 2 << 30

// largeVariable names the file that TestReadLarge reads, in a process of its own.
const largeVariable = "OFFPROOF_TEST_LARGE"

// TestReadLarge is the reader of BenchmarkLarge.
func TestReadLarge(t *testing.T) {
	path := os.Getenv(largeVariable)
	if path == "" {
		return
	}
	f, err := os.Open(path) //nolint:gosec // The benchmark's own file.
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	c, err := dissect.Read(f, dissect.Options{})
	if err != nil || c.Damaged || c.Health.SkippedBytes > 0 {
		t.Fatalf("%v: %+v", err, c.Health)
	}
	t.Logf("flows %d exchanges %d lookups %d", len(c.Flows), len(c.Exchanges), len(c.Lookups))
}

// large writes a capture of at least so many bytes: the same browsing over and
// over, each time later and by another phone.
func large(b *testing.B, path string, size int64) (rounds int) {
	b.Helper()
	const each = 300
	one := browsing(b, each)
	f, err := os.Create(path) //nolint:gosec // The benchmark's own file.
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(one[:24]); err != nil {
		b.Fatal(err)
	}
	records := bytes.Clone(one[24:])
	for written := int64(24); written < size; written += int64(len(records)) {
		if _, err := w.Write(records); err != nil {
			b.Fatal(err)
		}
		for at := 0; at < len(records); {
			binary.LittleEndian.PutUint32(records[at:], binary.LittleEndian.Uint32(records[at:])+600)
			// Another phone each time: the same sockets would be the same conversation.
			for _, end := range []int{at + 16 + 14 + 12, at + 16 + 14 + 16} {
				if bytes.HasPrefix(records[end:], []byte{10, 0}) && records[end+3] == 2 {
					records[end+2]++
				}
			}
			at += 16 + int(binary.LittleEndian.Uint32(records[at+8:]))
		}
		rounds += each
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return rounds
}

// peak runs a command and returns how long it took and the most memory that it
// held, in bytes, as the kernel tells while it runs. What it tells afterwards is
// at least what this process held when it started the command.
func peak(b *testing.B, cmd *exec.Cmd) (time.Duration, int64) {
	b.Helper()
	var said bytes.Buffer
	cmd.Stderr = &said
	start := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended, most := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var held int64
		for {
			if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
				for line := range strings.Lines(string(status)) {
					var kib int64
					if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
						held = kib << 10
					}
				}
			}
			select {
			case <-ended:
				most <- held
				return
			case <-tick.C:
			}
		}
	}()
	err := cmd.Wait()
	took := time.Since(start)
	close(ended)
	held := <-most
	if err != nil {
		b.Fatalf("%s: %v: %s%s", cmd.Args[0], err, said.String(), cmd.Stdout)
	}
	return took, held
}

// BenchmarkLarge reads two gigabytes in a process of its own, as tshark does, and
// prints both times and the most memory that each held.
func BenchmarkLarge(b *testing.B) {
	program := peers.Require(b, "tshark")
	path := filepath.Join(b.TempDir(), "large.pcap")
	rounds := large(b, path, largeBytes)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	theirs := exec.CommandContext(b.Context(), program, "-n", "-r", path, "-T", "fields", "-e", "tcp.stream", "-e", "ip.len", "-e", "dns.qry.name", "-e", "tls.handshake.extensions_server_name", "-e", "http.host", "-e", "http.request.full_uri")
	theirs.Stdout = io.Discard
	peerTook, peerHeld := peak(b, theirs)
	b.SetBytes(info.Size())
	var took time.Duration
	var held int64
	for b.Loop() {
		ours := exec.CommandContext(b.Context(), os.Args[0], "-test.run=^TestReadLarge$", "-test.v") //nolint:gosec // This program.
		ours.Env = append(os.Environ(), largeVariable+"="+path)
		var out bytes.Buffer
		ours.Stdout = &out
		took, held = peak(b, ours)
		if want := fmt.Sprintf("flows %d exchanges %d lookups %d", 3*rounds, rounds, rounds); !bytes.Contains(out.Bytes(), []byte(want)) {
			b.Fatalf("it read %q, want %q", out.String(), want)
		}
	}
	b.ReportMetric(peerTook.Seconds()/took.Seconds(), "x-tshark")
	b.ReportMetric(float64(held)/(1<<20), "MiB")
	b.ReportMetric(float64(peerHeld)/(1<<20), "MiB-tshark")
	b.Logf("%d MiB: here %v and %d MiB, tshark %v and %d MiB", info.Size()>>20, took.Round(time.Millisecond), held>>20, peerTook.Round(time.Millisecond), peerHeld>>20)
}
