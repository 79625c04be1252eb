//go:build !race

package suite_test

import (
	"path/filepath"
	"strings"
	"testing"

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
	for _, at := range f.transports {
		// The server's first answer may be that it is not authenticated yet.
		for _, args := range [][]string{{"connect", at}, {"-s", at, "wait-for-device"}} {
			if out, err := server.Command(t.Context(), args...).CombinedOutput(); err != nil {
				t.Fatalf("adb %q: %v: %s", args, err, out)
			}
		}
	}
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
