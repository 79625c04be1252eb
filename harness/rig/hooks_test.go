package rig_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness/rig"
)

// helper is the word by which this test program knows that it is run as a
// hook: "helper WHAT ARG...".
const helper = "helper"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == helper {
		os.Exit(beHook(os.Args[2], os.Args[3:]))
	}
	// These tests mostly wait for a phone; -parallel says how many do at once.
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		_ = flag.Set("test.parallel", "4") // a number, which it takes
	}
	os.Exit(m.Run())
}

// beHook is what a command of the bench may do.
func beHook(what string, args []string) int {
	switch what {
	case "print": // its arguments, place and environment
		dir, _ := os.Getwd()
		_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"args": args, "dir": dir, "env": os.Environ()})
		fmt.Fprintln(os.Stderr, "done")
	case "post": // to the simulated farm's control door, as a hub is told to cut the power
		for _, url := range args {
			res, err := http.Post(url, "", nil) //nolint:gosec,noctx // The test's own server.
			if err != nil {
				fmt.Fprintln(os.Stdout, err)
				return 1
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode/100 != 2 {
				fmt.Fprintf(os.Stdout, "%s: %s", res.Status, body)
				return 1
			}
		}
	case "fail":
		fmt.Fprintln(os.Stdout, strings.Repeat("No compatible devices detected!\n", 100)+"Run with -h to get usage info.")
		return 3
	case "farm":
		phones, _ := strconv.Atoi(args[1])
		return beFarm(args[0], phones)
	case "holder":
		return beHolder(args[0], args[1], args[2])
	case "proxy":
		return beProxy(args[0], args[1])
	case "hang": // and leave a child that hangs too
		_ = os.WriteFile(args[0], fmt.Appendf(nil, "%d", os.Getpid()), 0o600)
		<-time.NewTimer(time.Hour).C // An empty select would be a deadlock, and end it, where there is no cgo.
	}
	return 0
}

// hook is a hook that runs this test program.
func hook(t *testing.T, name string, args ...string) rig.Hook {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return rig.Hook{Name: name, Command: append([]string{program, helper}, args...), Limit: time.Minute, Dir: t.TempDir()}
}

func TestHookGetsItsFactsAndLittleElse(t *testing.T) {
	t.Setenv("ANDROID_SERIAL", "somebody else's")
	t.Setenv("ADB_SERVER_SOCKET", "tcp:elsewhere:5037")
	h := hook(t, rig.HookFlash, "print", "-s", "{serial}", "--on={server}", "{note}, {serial}", "{build}", "{", "{\"a\": 1}", "$HOME; `id`")
	var log bytes.Buffer
	facts := rig.HookFacts{Serial: "R58M0000000", Server: "127.0.0.1:5037", Note: "shelf 2; {build}", Build: "V11.0.8.0"}
	if err := h.Run(t.Context(), facts, slog.New(slog.NewJSONHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	var said []string
	for line := range strings.Lines(log.String()) {
		var r struct{ Msg, Text, Hook string }
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Hook != rig.HookFlash {
			t.Errorf("log line %q: %v", line, err)
		}
		if r.Msg == "hook says" {
			said = append(said, r.Text)
		}
	}
	var got struct {
		Args, Env []string
		Dir       string
	}
	if len(said) != 2 || said[1] != "done" || json.Unmarshal([]byte(said[0]), &got) != nil {
		t.Fatalf("the log holds %q", said)
	}
	want := []string{"-s", "R58M0000000", "--on=127.0.0.1:5037", "shelf 2; {build}, R58M0000000", "V11.0.8.0", "{", "{\"a\": 1}", "$HOME; `id`"}
	if !slices.Equal(got.Args, want) {
		t.Errorf("arguments %q, want %q", got.Args, want)
	}
	if real, err := filepath.EvalSymlinks(h.Dir); err != nil || got.Dir != real && got.Dir != h.Dir {
		t.Errorf("it ran in %s, want %s", got.Dir, h.Dir)
	}
	for _, e := range got.Env {
		name, _, _ := strings.Cut(e, "=")
		if !slices.Contains([]string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "LC_ALL", "PWD"}, name) {
			t.Errorf("the environment holds %s", e)
		}
	}
}

func TestHookThatFailsShowsTheEndOfItsOutput(t *testing.T) {
	err := hook(t, rig.HookPower, "fail").Run(t.Context(), rig.HookFacts{}, slog.New(slog.DiscardHandler))
	var failed *rig.HookError
	if !errors.As(err, &failed) || failed.Name != rig.HookPower {
		t.Fatalf("got %v, want a *HookError", err)
	}
	text := err.Error()
	if !strings.Contains(text, "exit status 3") || !strings.HasSuffix(text, "Run with -h to get usage info.") || strings.Contains(text, "\n") || len(text) > 2000 {
		t.Errorf("%q does not end with what the hook said", text)
	}
	h := rig.Hook{Name: rig.HookPower, Command: []string{"./nowhere"}, Limit: time.Minute, Dir: t.TempDir()}
	if err := h.Run(t.Context(), rig.HookFacts{}, slog.New(slog.DiscardHandler)); !errors.As(err, &failed) || !strings.Contains(err.Error(), filepath.Join(h.Dir, "nowhere")) {
		t.Errorf("a program that is not there: %v", err)
	}
}

// TestHookIsEnded starts commands that would never end.
func TestHookIsEnded(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	h := hook(t, rig.HookServer, "hang", filepath.Join(t.TempDir(), "pid"))
	h.Limit = 300 * time.Millisecond
	err := h.Run(t.Context(), rig.HookFacts{}, quiet)
	if err == nil || !strings.Contains(err.Error(), "its time limit passed (300ms)") {
		t.Errorf("at its limit: %v", err)
	}
	if exists(h.Command[3]) { // It was ended before it could say who it is otherwise.
		gone(t, h.Command[3])
	}

	// A shell's child is of its group and ends with it.
	pid := filepath.Join(t.TempDir(), "pid")
	h = rig.Hook{Name: rig.HookServer, Limit: time.Minute, Dir: t.TempDir(), Command: append([]string{"/bin/sh", "-c", `"$0" "$@"; exit 1`}, hook(t, "", "hang", pid).Command...)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx, rig.HookFacts{}, quiet) }()
	for !exists(pid) {
		wait(t, 10*time.Millisecond)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("when its caller gives up: %v", err)
	}
	gone(t, pid)
}

func exists(path string) bool {
	b, err := os.ReadFile(path) //nolint:gosec // The test's own file.
	return err == nil && len(b) > 0
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal("the test ended")
	}
}

// gone fails unless the process whose number is in the file ends soon.
func gone(t *testing.T, pidFile string) {
	t.Helper()
	pid, err := os.ReadFile(pidFile) //nolint:gosec // The test's own file.
	if err != nil {
		t.Fatal(err)
	}
	for range 6000 {
		// An orphan that has ended may wait for its new parent as a zombie.
		stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		if errors.Is(err, os.ErrNotExist) || strings.Contains(string(stat), ") Z ") {
			return
		}
		wait(t, 10*time.Millisecond)
	}
	t.Errorf("process %s lives on", pid)
}
