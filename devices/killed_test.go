// Who is killed here is a process of its own, which the race detector of this one
// does not see.

//go:build !race

package devices_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// runAndKill runs the child and kills it at the given command of the phone,
// before or after it was carried out. It reports whether the child got so far.
func runAndKill(t *testing.T, p *phone, do, dir string, at int, after bool) (killed bool) {
	t.Helper()
	cmd := exec.CommandContext(within(t), os.Args[0], "-test.run=^TestChild$", //nolint:gosec // This very program.
		"-child-do="+do, "-child-addr="+p.addr, "-child-dir="+dir, "-child-serial="+p.serial)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan struct{})
	var once sync.Once
	kills := make(chan struct{}, 1)
	p.during(func(n int, isAfter bool, _ string) bool {
		if n != at || isAfter != after {
			return true
		}
		<-started // The child may ask before its parent knows that it runs.
		once.Do(func() {
			kills <- struct{}{}
			_ = cmd.Process.Kill()
		})
		return false
	})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	err := cmd.Wait()
	p.during(nil)
	select {
	case <-kills:
		killed = true
	default:
	}
	if err != nil && !killed {
		t.Fatalf("the child failed by itself: %v\n%s", err, out.String())
	}
	return killed
}

// Whenever the program is killed while it changes the phone, the next one puts
// everything back.
func TestKilledWhileChanging(t *testing.T) {
	t.Parallel()
	before := map[string]string{"system/screen_off_timeout": "60000"}
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				p, dir := newPhone(t), t.TempDir()
				p.set("system", "screen_off_timeout", "60000")
				killed := runAndKill(t, p, "change", dir, at, after)
				j := open(t, dir, p)
				if err := j.Undo(within(t), p.device()); err != nil {
					t.Errorf("killed at %d, after %v: %v", at, after, err)
				}
				if got := present(p); !maps.Equal(got, before) {
					t.Errorf("killed at %d, after %v: settings are %v", at, after, got)
				}
				if got := p.tunnels(); len(got) != 0 {
					t.Errorf("killed at %d, after %v: tunnels are %v", at, after, got)
				}
				if left := open(t, dir, p).Pending(); len(left) != 0 {
					t.Errorf("killed at %d, after %v: pending %v", at, after, left)
				}
				if !killed {
					const least = 12 // The changes take more commands than that.
					if at <= least {
						t.Errorf("only %d places to be killed at", at-1)
					}
					break
				}
			}
		})
	}
}

// Whenever the program is killed while it undoes, undoing again is right.
func TestKilledWhileUndoing(t *testing.T) {
	t.Parallel()
	before := map[string]string{
		"system/screen_off_timeout": "60000", "global/http_proxy": "proxy.lab:3128",
		"global/global_http_proxy_host": "proxy.lab", "global/global_http_proxy_port": "3128",
		"global/global_http_proxy_exclusion_list": "",
	}
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				p, dir := newPhone(t), t.TempDir()
				for key, value := range before {
					namespace, name, _ := strings.Cut(key, "/")
					p.set(namespace, name, value)
				}
				j := open(t, dir, p)
				for _, c := range changes {
					if err := j.Change(within(t), p.device(), c); err != nil {
						t.Fatal(err)
					}
				}
				killed := runAndKill(t, p, "undo", dir, at, after)
				if err := open(t, dir, p).Undo(within(t), p.device()); err != nil {
					t.Errorf("killed at %d, after %v: %v", at, after, err)
				}
				if got := p.settings(); !maps.Equal(got, before) {
					t.Errorf("killed at %d, after %v: settings are %v", at, after, got)
				}
				if got := p.tunnels(); len(got) != 0 {
					t.Errorf("killed at %d, after %v: tunnels are %v", at, after, got)
				}
				if !killed {
					break
				}
			}
		})
	}
}
