//go:build !race

package suite_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/offproof/offproof/internal/peers"
)

// TestSpecsThroughAGenuineADBServer runs the specs by a farm.yaml whose ADB
// server is Debian's, which has connected to simulated phones as to any others:
// an honest one, and one that collects although it is switched off.
func TestSpecsThroughAGenuineADBServer(t *testing.T) {
	t.Parallel()
	server := peers.NewADB(t)
	f := startFarm(t, "honest,deaf", "--transport="+server.Addr)
	f.file = filepath.Join(filepath.Dir(f.file), "farm-adb.yaml")
	if len(f.transports) != 2 {
		t.Fatalf("the simulated farm named the phones %q", f.transports)
	}
	before := f.settings(f.serials[0]) + f.settings(f.serials[1])
	f.connect(server)
	out, errs, exit := command(t, program(t, "offproof"), "doctor", "--farm", f.file)
	for _, at := range f.transports {
		if exit != 0 || !strings.Contains(out, at) {
			t.Errorf("doctor: exit %d, without %s: %s%s", exit, at, out, errs)
		}
	}
	r := start(t, f.env(), []string{"-p", "--label-filter=duckduckgo && incognito"}, nil)()
	for i, want := range []types.SpecState{types.SpecStatePassed, types.SpecStateFailed} {
		specs := r.specs(f.transports[i])
		if len(specs) != 1 || specs[0].State != want {
			t.Errorf("%s: %d specs, want 1 that is %s\n%s", f.transports[i], len(specs), want, r.output)
			continue
		}
		if msg := specs[0].Failure.Message; want == types.SpecStateFailed && !strings.HasPrefix(msg, "Collected:") {
			t.Errorf("a phone that collects: %s", msg)
		}
	}
	if after := f.settings(f.serials[0]) + f.settings(f.serials[1]); after != before {
		t.Errorf("the phones were left changed:\nbefore\n%safter\n%s", before, after)
	}
	if n := strings.Count(string(read(t, f.log)), `"msg":"adb request"`); n != 0 {
		t.Errorf("%d requests went to the simulation's own ADB server", n)
	}
}

// connect makes a genuine server connect to the phones, as a person would.
func (f *farm) connect(server *peers.ADB) {
	f.t.Helper()
	for _, at := range f.transports {
		// The server's first answer may be that it is not authenticated yet.
		for _, args := range [][]string{{"connect", at}, {"-s", at, "wait-for-device"}} {
			ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
			out, err := server.Command(ctx, args...).CombinedOutput()
			cancel()
			if err != nil {
				f.t.Fatalf("adb %q: %v: %s", args, err, out)
			}
		}
	}
}

// TestGenuineServerMustBeAllowed takes a phone's word back that this host may
// use it: doctor and specs say what a person must do, and do with the phone what
// they did before once it is done.
func TestGenuineServerMustBeAllowed(t *testing.T) {
	t.Parallel()
	server := peers.NewADB(t)
	f := startFarm(t, "honest", "--transport="+server.Addr)
	f.file = filepath.Join(filepath.Dir(f.file), "farm-adb.yaml")
	f.connect(server)
	const advice = "Allow USB debugging"
	doctor := func() (string, int) {
		out, errs, exit := command(t, program(t, "offproof"), "doctor", "--farm", f.file)
		return out + errs, exit
	}
	f.post("/phones/" + f.serials[0] + "/faults/unauthorized")
	// The server takes a moment to connect to it again.
	for end := time.Now().Add(time.Minute); ; pause(t, 50*time.Millisecond) {
		out, err := server.Command(t.Context(), "devices").CombinedOutput()
		if err == nil && strings.Contains(string(out), f.transports[0]+"\tunauthorized") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the server never found the phone unauthorized: %v: %s", err, out)
		}
	}
	if said, exit := doctor(); exit == 0 || !strings.Contains(said, advice) {
		t.Errorf("doctor about a phone that allows nobody: exit %d: %s", exit, said)
	}
	r := ginkgo(t, f.env(), []string{"--label-filter=duckduckgo && incognito"}, nil)
	if r.exit == 0 || !strings.Contains(r.output, advice) {
		t.Errorf("the specs on a phone that allows nobody: exit %d\n%s", r.exit, r.output)
	}
	f.post("/phones/" + f.serials[0] + "/faults/online")
	f.connect(server)
	if said, exit := doctor(); exit != 0 || strings.Contains(said, advice) {
		t.Errorf("doctor about a phone that allows this host again: exit %d: %s", exit, said)
	}
}

// TestGenuineServerIsKilled kills Debian's server in the middle of the OFF
// window: that window is no proof of silence, the rig starts the server anew and
// connects, and the phone is put back through it.
func TestGenuineServerIsKilled(t *testing.T) {
	t.Parallel()
	server := peers.NewADB(t)
	f := startFarm(t, "honest", "--transport="+server.Addr)
	f.file = filepath.Join(filepath.Dir(f.file), "farm-adb.yaml")
	before := f.settings(f.serials[0])
	f.connect(server)
	wait := start(t, append(server.Env(), f.env()...), []string{"--label-filter=duckduckgo && incognito"}, nil)
	f.windowOf("off")
	server.Kill(t)
	r := wait()
	specs := r.specs()
	if len(specs) != 1 {
		t.Fatalf("%d specs ran, want 1\n%s", len(specs), r.output)
	}
	msg := specs[0].Failure.Message
	if specs[0].State == types.SpecStatePassed || !strings.HasPrefix(msg, "Inconclusive:") && !strings.HasPrefix(msg, "Infrastructure:") {
		t.Errorf("%s: %s", specs[0].State, msg)
	}
	if after := f.settings(f.serials[0]); after != before {
		t.Errorf("the phone was left changed:\nbefore\n%safter\n%s\n%s", before, after, r.output)
	}
	out, err := server.Command(t.Context(), "-s", f.transports[0], "shell", "echo back").CombinedOutput()
	if err != nil || string(out) != "back\n" {
		t.Errorf("after the run the phone answers %q, %v", out, err)
	}
}
