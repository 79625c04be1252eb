package devices_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offproof/offproof/devices"
)

var childLocks = flag.String("child-locks", "", "the folder in which this process leases a phone until it is killed")

// TestHolder does nothing unless this process was started to hold a lease.
func TestHolder(t *testing.T) {
	if *childLocks == "" {
		return
	}
	if _, err := devices.Acquire(t.Context(), *childLocks, []string{*childSerial}); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdout.WriteString("\nleased\n")
	_, _ = io.Copy(io.Discard, os.Stdin) // Until the parent is gone.
}

// holder starts another process that has the phone.
func holder(t *testing.T, locks, serial string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestHolder$", "-child-locks="+locks, "-child-serial="+serial) //nolint:gosec // This very program.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "leased" {
			return cmd
		}
	}
	t.Fatal("the other process got no lease")
	return nil
}

func TestLeaseExcludesOtherProcesses(t *testing.T) {
	locks := filepath.Join(t.TempDir(), "locks")
	other := holder(t, locks, "127.0.0.1:7001")

	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	_, err := devices.Acquire(ctx, locks, []string{"127.0.0.1:7001"})
	var busy *devices.BusyError
	if !errors.As(err, &busy) || !errors.Is(err, context.DeadlineExceeded) || busy.Holders[0].PID != other.Process.Pid {
		t.Fatalf("got %v, want a *BusyError that names process %d", err, other.Process.Pid)
	}
	if text := err.Error(); !strings.Contains(text, fmt.Sprint(other.Process.Pid)) || !strings.Contains(text, "since") {
		t.Errorf("the line does not say who: %s", text)
	}
	// Another phone is free.
	free, err := devices.Acquire(within(t), locks, []string{"127.0.0.1:7001", "127.0.0.1:7002"})
	if err != nil || free.Serial() != "127.0.0.1:7002" {
		t.Fatalf("got %v, %v", free, err)
	}
	if err := free.Release(); err != nil {
		t.Error(err)
	}
	// The kernel frees the lease of a process that was killed.
	told := make(chan []devices.Holder, 10)
	pool := &devices.Pool{Locks: locks, Waiting: func(h []devices.Holder) {
		told <- h
		_ = other.Process.Kill()
	}}
	leases, err := pool.Acquire(within(t), 1, []string{"127.0.0.1:7001"})
	if err != nil {
		t.Fatal(err)
	}
	lease := leases[0]
	if h := <-told; len(h) != 1 || h[0].PID != other.Process.Pid {
		t.Errorf("the wait was explained by %v", h)
	}
	if err := lease.Release(); err != nil {
		t.Error(err)
	}
	if err := lease.Release(); err != nil {
		t.Errorf("a second release: %v", err)
	}
}

// Within a process two leases of a phone exclude each other too.
func TestLeaseExcludesWithinAProcess(t *testing.T) {
	locks := t.TempDir()
	var inside, served atomic.Int32
	group, ctx := errgroup.WithContext(within(t))
	for range 8 {
		group.Go(func() error {
			lease, err := devices.Acquire(ctx, locks, []string{"S1"})
			if err != nil {
				return err
			}
			if inside.Add(1) != 1 {
				t.Error("two have the phone")
			}
			served.Add(1)
			inside.Add(-1)
			return lease.Release()
		})
	}
	if err := group.Wait(); err != nil || served.Load() != 8 {
		t.Errorf("served %d, %v", served.Load(), err)
	}
}

// Serials make file names that stay in the folder and do not meet.
func TestLeaseFileNames(t *testing.T) {
	locks := t.TempDir()
	serials := []string{"../../etc/passwd", "a:b", "a_b", "a/b", strings.Repeat("x", 300), strings.Repeat("x", 299), "emulator-5554", "ü"}
	for _, s := range serials {
		lease, err := devices.Acquire(within(t), locks, []string{s})
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		defer func() { _ = lease.Release() }()
	}
	files, err := os.ReadDir(locks)
	if err != nil || len(files) != len(serials) {
		t.Errorf("%d files for %d serials, %v", len(files), len(serials), err)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name()
	}
	if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "emulator-5554-") }) {
		t.Errorf("a person cannot tell whose files these are: %v", names)
	}
}

func TestAcquireNothing(t *testing.T) {
	if _, err := devices.Acquire(within(t), t.TempDir(), nil); err == nil {
		t.Error("a lease of no phone")
	}
}

func TestSeveralPhonesAreLeasedAllOrNone(t *testing.T) {
	pool := &devices.Pool{Locks: t.TempDir()}
	one, err := pool.Acquire(t.Context(), 1, []string{"b"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var busy *devices.BusyError
	if _, err := pool.Acquire(ctx, 3, []string{"a", "b", "c"}); !errors.As(err, &busy) || busy.Holders[0].Serial != "b" {
		t.Errorf("one of three is taken: %v", err)
	}
	// None of the others was kept, and they are enough for who wants any two.
	rest, err := pool.Acquire(within(t), 2, []string{"a", "b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range append(rest, one...) {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []struct {
		n       int
		serials []string
	}{{0, []string{"a"}}, {1, nil}, {2, []string{"a"}}, {2, []string{"a", "a"}}} {
		if _, err := pool.Acquire(within(t), bad.n, bad.serials); err == nil {
			t.Errorf("%v: leased", bad)
		}
	}
}

// Requests that overlap in any order must all come to their end.
func TestOverlappingRequestsDoNotWaitForEachOther(t *testing.T) {
	pool := &devices.Pool{Locks: t.TempDir()}
	var held [3]atomic.Int32
	serials := []string{"a", "b", "c"}
	var group errgroup.Group
	for _, want := range [][]int{{0, 1}, {1, 0}, {1, 2}, {2, 0}, {2, 1, 0}} {
		group.Go(func() error {
			for range 3 {
				var names []string
				for _, i := range want {
					names = append(names, serials[i])
				}
				leases, err := pool.Acquire(within(t), len(names), names)
				if err != nil {
					return err
				}
				for _, i := range want {
					if held[i].Add(1) != 1 {
						return fmt.Errorf("%s is leased twice", serials[i])
					}
				}
				for _, i := range want {
					held[i].Add(-1)
				}
				for _, l := range leases {
					if err := l.Release(); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
