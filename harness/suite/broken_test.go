//go:build !race

package suite_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// started waits until a trial has begun on a phone, and returns its serial.
func (f *farm) started() string {
	f.t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); pause(f.t, 20*time.Millisecond) {
		for _, serial := range f.serials {
			if logs, _ := filepath.Glob(filepath.Join(filepath.Dir(f.file), "runs", "*"+serial+"*", "log.jsonl")); len(logs) > 0 {
				return serial
			}
		}
	}
	f.t.Fatal("no trial began")
	return ""
}

// entries are the report entries of a name.
func entries(s types.SpecReport, name string) (texts []string) {
	for _, e := range s.ReportEntries {
		if e.Name == name {
			texts = append(texts, e.StringRepresentation())
		}
	}
	return texts
}

// TestPhoneThatDiesIsReplaced takes a phone off its cable for good before the
// first window of its trial: another phone is tried, the dead one is taken out
// of the farm, and what was changed on it is undone when it comes back.
func TestPhoneThatDiesIsReplaced(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest,honest")
	log := filepath.Join(t.TempDir(), "log")
	before := map[string]string{f.serials[0]: f.settings(f.serials[0]), f.serials[1]: f.settings(f.serials[1])}
	wait := f.farmSpecs(log, "trial")
	dead := f.started()
	// Something is changed on it already.
	for f.settings(dead) == before[dead] {
		pause(t, 20*time.Millisecond)
	}
	f.post("/phones/" + dead + "/faults/unplug")
	r := wait()
	specs := r.specs()
	if len(specs) != 1 || specs[0].State != types.SpecStatePassed {
		t.Fatalf("exit %d\n%s", r.exit, r.output)
	}
	if void := entries(specs[0], "void attempt"); len(void) != 1 || !strings.Contains(void[0], dead) {
		t.Errorf("the attempt on the phone that died is reported as %q", void)
	}
	for _, n := range notes(t, log) {
		if n.Serial == dead {
			t.Errorf("the trial ended on the phone that died: %+v", n)
		}
	}
	offproof := func(args ...string) (string, int) {
		t.Helper()
		out, errs, exit := command(t, program(t, "offproof"), append(args, "--farm", f.file)...)
		return out + errs, exit
	}
	if out, _ := offproof("doctor"); !strings.Contains(out, "quarantine") || !strings.Contains(out, dead) {
		t.Errorf("doctor does not show that %s is out of the farm:\n%s", dead, out)
	}
	f.post("/phones/" + dead + "/faults/replug")
	if out, exit := offproof("farm", "release", dead); exit != 0 {
		t.Fatal(out)
	}
	// Two phones at once: the one that died is among them.
	if r := f.farmSpecs(log, "two")(); r.exit != 0 {
		t.Fatalf("exit %d\n%s", r.exit, r.output)
	}
	for serial, was := range before {
		if is := f.settings(serial); is != was {
			t.Errorf("phone %s was left changed:\nbefore\n%safter\n%s", serial, was, is)
		}
	}
}

// TestSightingIsNotTriedAway takes a phone off its cable after it was seen to
// collect: another one, which might not, is not tried.
func TestSightingIsNotTriedAway(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "deaf,honest")
	log := filepath.Join(t.TempDir(), "log")
	wait := f.farmSpecs(log, "trial")
	if got := f.started(); got != f.serials[0] {
		t.Fatalf("the trial began on %s, want the first phone", got)
	}
	f.windowOf("off")
	f.post("/phones/" + f.serials[0] + "/faults/unplug")
	r := wait()
	specs := r.specs()
	if len(specs) != 1 || specs[0].State != types.SpecStateFailed {
		t.Fatalf("exit %d\n%s", r.exit, r.output)
	}
	if void := entries(specs[0], "void attempt"); len(void) != 0 {
		t.Errorf("it was tried again: %q", void)
	}
	if msg := specs[0].Failure.Message; strings.HasPrefix(msg, "Not collected:") {
		t.Errorf("got %s", msg)
	}
	if runs, _ := filepath.Glob(filepath.Join(filepath.Dir(f.file), "runs", "*"+f.serials[1]+"*")); len(runs) != 0 {
		t.Errorf("the second phone was used: %q", runs)
	}
}

// TestSpecsThatAreInterrupted ends a run in its window, by the signals of a person
// and of a system that shuts down: each phone is as it was.
func TestSpecsThatAreInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			f := startFarm(t, "honest")
			serial := f.serials[0]
			before := f.settings(serial)
			cmd := exec.Command(program(t, "ginkgo"), "--no-color", "--label-filter=duckduckgo && incognito", program(t, "specs.test")) //nolint:gosec,noctx // Our own program, ended below.
			cmd.Dir, cmd.Env = filepath.Join("..", "..", "specs"), append(os.Environ(), f.env()...)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			// A terminal, and a system that shuts down, signal all of a run's processes.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			f.windowOf("on")
			if f.settings(serial) == before {
				t.Error("nothing is changed on the phone inside a window")
			}
			if err := syscall.Kill(-cmd.Process.Pid, signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("an interrupted run has passed:\n%s", out.String())
			}
			if after := f.settings(serial); after != before {
				t.Errorf("the settings were\n%s\nand are\n%s\n%s", before, after, out.String())
			}
		})
	}
}
