package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
)

// leaseLimit bounds the wait for a phone that other specs use.
const leaseLimit = 12 * time.Hour

// A Phone is a leased phone inside a spec. Its methods fail the spec on an
// infrastructure error, headed "Infrastructure:"; package harness beneath it
// returns errors.
type Phone struct {
	farm  *Farm
	needs []devices.Requirement
	fits  []int // places in the plan
	// together is true for a phone that is leased with others.
	together bool
	held     *rig.Lease
	tried    []string
}

// Serial is the ADB serial of the phone that the spec holds.
func (p *Phone) Serial() string {
	if p.held == nil {
		return ""
	}
	return p.held.Device.Serial()
}

// lease takes phones that fit, all or none, and gives them back after the spec.
func lease(ctx context.Context, phones []*Phone) {
	for _, p := range phones {
		p.tried = nil
		ginkgo.DeferCleanup(p.release)
	}
	if err := take(ctx, phones, phones[0].farm.serials(phones[0].fits)); err != nil {
		fail(err)
	}
}

func take(ctx context.Context, phones []*Phone, serials []string) error {
	wait, cancel := context.WithTimeout(ctx, leaseLimit)
	defer cancel()
	leases, err := phones[0].farm.rig.LeaseSome(wait, len(phones), phones[0].needs, serials...)
	if err != nil {
		return err
	}
	for i, l := range leases {
		phones[i].held = l
	}
	return nil
}

func (p *Phone) release(ctx context.Context) {
	if p.held == nil {
		return
	}
	if err := p.giveBack(ctx); err != nil {
		fail(err)
	}
}

// giveBack ends the lease. What it could not undo is an error of the rig's.
func (p *Phone) giveBack(ctx context.Context) error {
	held := p.held
	p.held = nil
	if err := held.Release(ctx); err != nil {
		return &harness.InfrastructureError{
			Stage: "put the phone back as it was", Device: held.Device.Serial(),
			Advice: "the journal keeps what is left and the next lease undoes it", Err: err,
		}
	}
	return nil
}

// errPatience is why a trial or an observation was given up.
var errPatience = errors.New("it took many times as long as planned")

// Observe runs a scenario once under the setting that it is bound to.
func (p *Phone) Observe(ctx context.Context, sc harness.Scenario) harness.Observation {
	ginkgo.GinkgoHelper()
	run, phone := p.open(ctx, sc.Name)
	ctx, cancel := context.WithTimeoutCause(ctx, p.farm.patience, errPatience)
	defer cancel()
	o, err := phone.Observe(ctx, sc)
	err = errors.Join(err, p.seal(run))
	if err != nil && o.Finding == nil {
		fail(err)
	}
	ginkgo.AddReportEntry("observation", ObservationEntry{o, run.Dir()}, ginkgo.ReportEntryVisibilityAlways)
	if err != nil {
		fail(err)
	}
	return o
}

// Try runs a trial. After an infrastructure failure it is tried once more on
// another phone that fits, unless anything was sighted; the void attempt stays
// in the report.
func (p *Phone) Try(ctx context.Context, sc harness.Scenario, sw harness.Switch) harness.Trial {
	ginkgo.GinkgoHelper()
	var void []string
	for {
		run, phone := p.open(ctx, sc.Name)
		work, cancel := context.WithTimeoutCause(ctx, p.farm.patience, errPatience)
		t, err := phone.Try(work, sc, sw)
		cancel()
		t.Void = void
		err = errors.Join(err, p.seal(run))
		if err == nil {
			ginkgo.AddReportEntry("trial", TrialEntry{t}, ginkgo.ReportEntryVisibilityAlways)
			return t
		}
		p.tried = append(p.tried, p.Serial())
		// What cannot be put back belongs to what went wrong: a phone that is gone
		// does not stop another one from being tried, one that was left changed does.
		err = errors.Join(err, p.giveBack(ctx))
		void = append(void, fmt.Sprintf("%s: %v", p.tried[len(p.tried)-1], err))
		others := slices.DeleteFunc(p.farm.serials(p.fits), func(s string) bool { return slices.Contains(p.tried, s) })
		if p.together {
			others = nil // Who has phones and waits for one more may wait for ever.
		}
		if harness.NotAgain(t, err, len(void)) != "" || len(others) == 0 || ctx.Err() != nil {
			t.Void = void
			ginkgo.AddReportEntry("trial", TrialEntry{t}, ginkgo.ReportEntryVisibilityAlways)
			fail(err)
		}
		ginkgo.AddReportEntry("void attempt", void[len(void)-1], ginkgo.ReportEntryVisibilityAlways)
		if err := take(ctx, []*Phone{p}, others); err != nil {
			fail(err)
		}
	}
}

// open makes the run directory and the phone that writes into it.
func (p *Phone) open(ctx context.Context, name string) (*evidence.Run, *harness.Phone) {
	ginkgo.GinkgoHelper()
	if p.held == nil {
		ginkgo.Fail("Infrastructure: no phone is held here: use the phone inside a spec")
	}
	if err := p.held.StayAwake(ctx); err != nil {
		fail(err)
	}
	run, err := evidence.Create(p.farm.rig.Farm.Evidence, name+"-"+p.Serial(), time.Now())
	if err != nil {
		fail(err)
	}
	seed := *p.farm.seed
	if seed == 0 {
		seed = uint64(ginkgo.GinkgoRandomSeed()) //nolint:gosec // Any 64 bits do.
	}
	phone, err := p.held.Phone(run, rig.Options{
		Pairs: *p.farm.pairs, Seed: seed, Log: slog.New(slog.NewJSONHandler(run.Log(), nil)),
		Progress: func(msg string) { ginkgo.GinkgoWriter.Println(time.Now().Format("15:04:05 ") + msg) },
	})
	if err != nil {
		fail(err)
	}
	return run, phone
}

// seal closes the evidence with what made it.
func (p *Phone) seal(run *evidence.Run) error {
	farm := p.farm.rig.Farm
	report := ginkgo.CurrentSpecReport()
	facts := map[string]any{
		"serial": p.Serial(), "farm": farm.Path, "pace": farm.Pace, "floor": farm.Floor.String(),
		"simulated": p.farm.plan.Farm == "", "spec": report.FullText(), "collectors": harness.CollectorsVersion(p.farm.rig.Collectors),
	}
	if err := run.Seal(facts, time.Now()); err != nil {
		return &harness.InfrastructureError{Stage: "seal the evidence", Device: p.Serial(), Advice: "check the disk", Err: err}
	}
	return nil
}

// fail ends the spec for a reason of the rig's.
func fail(err error) {
	ginkgo.GinkgoHelper()
	ginkgo.Fail("Infrastructure: " + strings.TrimPrefix(err.Error(), "Infrastructure: "))
}
