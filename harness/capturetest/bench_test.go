package capturetest_test

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
)

// atOnce is how many phones are observed at the same time: they mostly wait for
// windows to pass. -parallel says another number.
const atOnce = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		_ = flag.Set("test.parallel", atOnce) // a number, which it takes
	}
	os.Exit(m.Run())
}

// The moments of the OFF window at which something is done to the instruments.
const (
	before = "before"
	during = "during"
	never  = ""
)

// A bench is a world with one phone, leased.
type bench struct {
	t     *testing.T
	world *sim.World
	phone *sim.Phone
	rig   *rig.Rig
	lease *rig.Lease
}

func newBench(t *testing.T, phone sim.PhoneConfig) *bench {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{
		Dir: t.TempDir(), Pace: rig.SimulatedPace, Floor: rig.SimulatedFloor, Lab: rig.SimulatedLab(), Phones: []sim.PhoneConfig{phone},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	farm, err := rig.Load(w.FarmFile())
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(farm)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, world: w, phone: w.Phones()[0], rig: r}
	if b.lease, err = r.Lease(t.Context(), b.phone.Serial()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.lease.Release(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) observe(sc harness.Scenario, when string, harm func(ctx context.Context)) (o harness.Observation, err error) {
	run, err := evidence.Create(b.rig.Farm.Evidence, sc.Name, time.Now())
	if err != nil {
		return o, err
	}
	ctx := b.t.Context()
	var once sync.Once
	reached := func(phase string) {
		if phase == when && when != never {
			once.Do(func() { harm(ctx) })
		}
	}
	log := watch{slog.NewJSONHandler(run.Log(), nil), func(message string) {
		if message == "window open" {
			reached(during)
		}
	}}
	phone, err := b.lease.Phone(run, rig.Options{Seed: 1, Log: slog.New(log), Progress: func(said string) {
		if _, what, _ := strings.Cut(said, ": "); strings.HasPrefix(what, "letting the phone settle") {
			reached(before)
		}
	}})
	if err == nil {
		o, err = phone.Observe(ctx, sc)
	}
	if sealed := run.Seal(nil, time.Now()); sealed != nil {
		err = errors.Join(err, sealed)
	}
	return o, err
}

// A watch passes on what a log says, such as that a window is open.
type watch struct {
	slog.Handler
	says func(message string)
}

func (w watch) Handle(ctx context.Context, rec slog.Record) error {
	w.says(rec.Message)
	return w.Handler.Handle(ctx, rec)
}

func (w watch) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watch{w.Handler.WithAttrs(attrs), w.says}
}
