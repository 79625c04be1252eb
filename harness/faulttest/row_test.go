//go:build !race

package faulttest_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

const (
	rowLimit     = 8 * time.Minute
	restoreLimit = 2 * time.Minute
	look         = 50 * time.Millisecond // how often the simulated phone is looked at
)

// What an observation can come to.
const (
	pass           = "pass" // not collected
	collected      = "collected"
	inconclusive   = "inconclusive"
	infrastructure = "infrastructure"
	failed         = "error" // of no kind that people could sort
)

// A result is what became of a row.
type result struct {
	row
	outcome string
	because string
	took    time.Duration
	// wrong are the ways in which it is not as it has to be.
	wrong []string
}

func (got result) String() string {
	s := fmt.Sprintf("%-58s %-14s %3.0f s  %s", got.row, got.outcome, got.took.Seconds(), brief(got.because, 160))
	for _, w := range got.wrong {
		s += "\n\tWRONG: " + w
	}
	return s
}

// run runs the row in a world of its own.
func (r row) run(ctx context.Context, dir string, seed uint64) (got result) {
	began := time.Now()
	got = result{row: r, outcome: failed}
	defer func() { got.took = time.Since(began) }()
	wrong := func(format string, args ...any) { got.wrong = append(got.wrong, fmt.Sprintf(format, args...)) }
	ctx, cancel := context.WithTimeout(ctx, rowLimit)
	defer cancel()
	h := fnv.New64a()
	_, _ = io.WriteString(h, r.String())
	seed ^= h.Sum64()

	w, err := sim.Start(ctx, sim.Config{
		Dir: dir, Seed: int64(seed>>1) | 1, Pace: rig.SimulatedPace, Floor: rig.SimulatedFloor, Lab: rig.SimulatedLab(), //nolint:gosec // The top bit is gone.
		Phones: []sim.PhoneConfig{{Personality: r.phone, Capture: r.kind.capture, PCAPdroid: "1.8.7"}},
	})
	if err != nil {
		wrong("%v", err)
		return got
	}
	defer func() {
		if err := w.Close(); err != nil {
			wrong("the world ended with %v", err)
		}
	}()
	p := w.Phones()[0]
	was := p.Truth()
	farm, err := rig.Load(w.FarmFile())
	if err != nil {
		wrong("%v", err)
		return got
	}
	bench, err := rig.New(farm)
	if err != nil {
		wrong("%v", err)
		return got
	}
	bench.Repair = true

	b := &broken{row: r, phone: p, bench: bench, seed: seed}
	off, err := b.observe(ctx)
	if b.ready != nil {
		wrong("before any fault: %v", b.ready)
		return got
	}
	got.outcome, got.because = verdict(off, err)
	got.wrong = append(got.wrong, r.judge(got)...)
	if !b.happened {
		wrong("the fault never came")
	}
	if b.failed != nil {
		wrong("the fault failed: %v", b.failed)
	}
	if err := b.restore(ctx, was); err != nil {
		wrong("%v", err)
	}
	return got
}

// verdict is what an observation comes to, and why.
func verdict(off harness.Observation, err error) (outcome, because string) {
	var rigs *harness.InfrastructureError
	switch {
	case errors.As(err, &rigs):
		return infrastructure, err.Error()
	case err != nil:
		return failed, err.Error()
	}
	because = strings.Join(off.Finding.Because, "; ")
	switch off.Finding.Verdict {
	case harness.NotCollected:
		return pass, because
	case harness.Collected:
		return collected, because
	case harness.Inconclusive:
	}
	return inconclusive, because
}

// judge says how the outcome of a row is not as it has to be.
func (r row) judge(got result) (wrong []string) {
	right := map[string]string{honest: pass, deaf: collected}[r.phone]
	void := slices.Contains([]string{inconclusive, infrastructure}, got.outcome)
	reason, broken := r.kind.void[r.phase]
	switch {
	case got.outcome != right && !void:
		wrong = append(wrong, "the outcome is false")
	case slices.Contains(r.kind.clear, r.phase) && got.outcome != right:
		wrong = append(wrong, fmt.Sprintf("it does no harm to the window, so it has to come to %s", right))
	case broken && got.outcome == pass:
		wrong = append(wrong, "silence of such a window means nothing, and it counts as a pass")
	// What was seen before a fault, or in spite of it, counts.
	case broken && got.outcome != right && !strings.Contains(got.because, reason):
		wrong = append(wrong, fmt.Sprintf("the reason does not mention %q", reason))
	}
	return wrong
}

// A broken phone is observed with the switch on, then with the switch off and
// its fault.
type broken struct {
	row
	phone *sim.Phone
	bench *rig.Rig
	seed  uint64

	once     sync.Once
	happened bool
	failed   error // of the fault
	ready    error // why the observation with the switch on did not come about
}

// observe makes both observations under one lease and returns the second.
func (b *broken) observe(ctx context.Context) (off harness.Observation, err error) {
	lease, err := b.bench.Lease(ctx, b.phone.Serial())
	if err != nil {
		b.ready = err
		return off, err
	}
	// What cannot be put back is the next lease's; restore looks.
	defer func() { _ = lease.Release(ctx) }()
	search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
	search.Claim = browser.MakersPromise()
	on, err := b.record(ctx, lease, search.With(browser.AggregatedData(harness.On)), func(string) {})
	if err == nil && on.Finding.Verdict != harness.Collected {
		err = fmt.Errorf("with the switch on it came to %s: %q", on.Finding.Verdict, on.Finding.Because)
	}
	if err != nil {
		b.ready = err
		return off, err
	}
	return b.record(ctx, lease, search.With(browser.AggregatedData(harness.Off)).Against(on), func(now string) {
		if now == b.phase {
			b.once.Do(func() {
				b.happened = true
				b.failed = b.phone.Fault(ctx, b.fault, b.kind.arg)
			})
		}
	})
}

// record makes one observation and tells when each of its phases begins.
func (b *broken) record(ctx context.Context, lease *rig.Lease, sc harness.Scenario, begins func(phase string)) (o harness.Observation, err error) {
	run, err := evidence.Create(b.bench.Farm.Evidence, sc.Name, time.Now())
	if err != nil {
		return o, err
	}
	phone, err := lease.Phone(run, rig.Options{
		Seed: b.seed, Log: slog.New(watch{slog.NewJSONHandler(run.Log(), nil), begins}),
		Progress: func(said string) {
			switch _, what, _ := strings.Cut(said, ": "); {
			case strings.HasPrefix(what, "switch "):
				begins(before)
			case strings.HasPrefix(what, "waiting out"):
				begins(waiting)
			}
		},
	})
	if err == nil {
		o, err = phone.Observe(ctx, sc)
	}
	if sealed := run.Seal(map[string]any{"fault": b.row.String()}, time.Now()); sealed != nil {
		err = errors.Join(err, sealed)
	}
	return o, err
}

// A watch reads in the log of an observation when its window opens and closes.
type watch struct {
	slog.Handler
	begins func(phase string)
}

func (w watch) Handle(ctx context.Context, rec slog.Record) error {
	switch rec.Message {
	case "window open":
		w.begins(during)
	case "window closed":
		w.begins(after)
	}
	return w.Handler.Handle(ctx, rec)
}

func (w watch) WithAttrs(attrs []slog.Attr) slog.Handler {
	return watch{w.Handler.WithAttrs(attrs), w.begins}
}

// restore ends the fault as a person at the bench would, leases the phone once
// more, and says how it then differs from what it was.
func (b *broken) restore(ctx context.Context, was sim.Truth) error {
	ctx, cancel := context.WithTimeout(ctx, restoreLimit)
	defer cancel()
	for _, name := range b.phone.Truth().Faults {
		name, _, _ = strings.Cut(name, "=")
		if err := b.phone.Fault(ctx, name, "off"); err != nil {
			return fmt.Errorf("the fault does not end: %w", err)
		}
	}
	if err := b.phone.Fault(ctx, "replug", ""); err != nil {
		return fmt.Errorf("the phone does not come back on its cable: %w", err)
	}
	if !until(ctx, func() bool { return b.phone.State() == "device" }) {
		return fmt.Errorf("the phone does not come back: its state is %q", b.phone.State())
	}
	notice, err := b.bench.Quarantined(b.phone.Serial())
	if err == nil && notice != nil {
		err = b.bench.Readmit(b.phone.Serial())
	}
	if err != nil {
		return fmt.Errorf("the phone does not come out of quarantine: %w", err)
	}
	lease, err := b.bench.Lease(ctx, b.phone.Serial())
	if err == nil {
		err = lease.Release(ctx)
	}
	if err != nil {
		return fmt.Errorf("the next lease fails: %w", err)
	}
	// What a lost connection left running ends a moment later.
	var left []string
	if !until(ctx, func() bool {
		left = differences(was, b.phone.Truth())
		return len(left) == 0
	}) {
		return fmt.Errorf("the phone was left changed: %s", strings.Join(left, "; "))
	}
	return nil
}

// differences are the ways in which a phone was left changed. The switch and
// what is in front are not among them: a person moves those as well.
func differences(was, is sim.Truth) (out []string) {
	for _, part := range []struct {
		name    string
		was, is any
	}{
		{"settings", was.Settings, is.Settings},
		{"mounts", was.Mounts, is.Mounts},
		{"reverses", was.Reverses, is.Reverses},
		{"firewall", was.Firewall, is.Firewall},
		{"grants", was.Grants, is.Grants},
		{"files", was.Files, is.Files},
		{"processes", was.Processes, is.Processes},
		{"faults", was.Faults, is.Faults},
	} {
		if reflect.ValueOf(part.was).Len()+reflect.ValueOf(part.is).Len() > 0 && !reflect.DeepEqual(part.was, part.is) {
			out = append(out, fmt.Sprintf("%s were %v and are %v", part.name, part.was, part.is))
		}
	}
	return out
}

// until looks until something is so, and says whether it came to be so in time.
func until(ctx context.Context, so func() bool) bool {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
