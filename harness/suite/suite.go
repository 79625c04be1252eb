// Package suite joins the rig and Ginkgo: a farm that hands phones to specs,
// prints the plan before the first one, and turns findings into report entries
// and failures.
//
//	var farm = suite.New()
//
//	func TestSpecs(t *testing.T) { farm.Run(t, "offproof") }
//
//	var _ = Describe("The switch", func() {
//		farm.Each(func(phone *suite.Phone) {
//			It("stops collection", func(ctx SpecContext) {
//				Expect(phone.Try(ctx, search, browser.AggregatedData)).To(StopCollecting())
//			})
//		})
//	})
//
// The phones come from farm.yaml; without one, and always under `go test`, they
// are simulated. The tree depends on that file and the flags alone, never on
// what is plugged in.
package suite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness/rig"
)

// Farm is the phones of a run, as specs see them.
type Farm struct {
	sim   *string
	pairs *int
	seed  *uint64

	plan  plan
	err   error
	ready bool
	// skipped says for each container that the plan rules out why.
	skipped []string
	// patience bounds one trial or observation. The wait for a phone is no part of
	// it.
	patience time.Duration

	rig   *rig.Rig
	world *rig.Simulation
	tree  string // the hash of this process's specs
	root  string
}

// New makes a farm and registers its flags: -sim, -pairs and -seed, which go
// after "--" on Ginkgo's command line. Call it once, for a package variable.
func New() *Farm {
	f := &Farm{
		sim:   flag.String("sim", "", "simulated phones to use instead of farm.yaml: PERSONALITY[:MODEL[:LOCALE]], separated by commas"),
		pairs: flag.Int("pairs", 1, "counted pairs of each trial; 5 are enough for p = 0.03"),
		seed:  flag.Uint64("seed", 0, "seed of the arms' order and of the canaries; 0 takes Ginkgo's"),
	}
	ginkgo.AddTreeConstructionNodeArgsTransformer(refuseSpecTimeout)
	flag.CommandLine.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "offproof: after -- stand only -sim, -pairs and -seed, such as `ginkgo ./specs -- -sim=deaf`; Ginkgo's own flags (-p, --label-filter, ...) go before ./specs: `ginkgo -p ./specs`")
	}
	return f
}

// Each builds one container for every phone of the plan, so that a claim is
// judged on each of them. The phone is leased before each spec of the container
// and given back after it. Where farm.yaml says already that a phone cannot meet
// the needs, its container is skipped with the reason; a need of which only the
// phone can tell, and which it does not meet, is an infrastructure failure. Call
// it inside a container.
func (f *Farm) Each(body func(phone *Phone), needs ...devices.Requirement) {
	if err := f.resolve(); err != nil {
		return // Run reports it.
	}
	for i, planned := range f.plan.Phones {
		ginkgo.Context(planned.Label, func() {
			body(f.leased(1, []int{i}, needs)[0])
		})
	}
}

// Phone is any phone of the farm that meets the needs, leased before each spec
// of the container and given back after it; see Phones.
func (f *Farm) Phone(needs ...devices.Requirement) *Phone { return f.Phones(1, needs...)[0] }

// Phones are n phones of the farm that meet the needs, leased all or none before
// each spec of the container and given back after it. Where farm.yaml says
// already that too few can meet them, the specs are skipped with the reason of
// each phone; needs of which only the phones can tell are looked at when they are
// leased, and then too few are an infrastructure failure.
func (f *Farm) Phones(n int, needs ...devices.Requirement) []*Phone {
	if err := f.resolve(); err != nil || n < 1 {
		n = max(1, n) // Run reports the error; the specs are not run.
	}
	var all []int
	for i := range f.plan.Phones {
		all = append(all, i)
	}
	return f.leased(n, all, needs)
}

// leased makes n phones of the places in the plan that are leased together.
func (f *Farm) leased(n int, places []int, needs []devices.Requirement) []*Phone {
	var fits []int
	var why []string
	for _, i := range places {
		p := f.plan.Phones[i]
		if reason := p.misfit(needs); reason != "" {
			why = append(why, p.Label+": "+reason)
			continue
		}
		fits = append(fits, i)
	}
	var phones []*Phone
	for range n {
		phones = append(phones, &Phone{farm: f, needs: needs, fits: fits, together: n > 1})
	}
	if len(fits) < n {
		reason := fmt.Sprintf("the farm has %d of %d phones that could fit: %s", len(fits), n, strings.Join(append(why, f.few(n)...), "; "))
		f.skipped = append(f.skipped, reason)
		ginkgo.BeforeEach(func() { ginkgo.Skip(reason) })
		return phones
	}
	ginkgo.BeforeEach(func(ctx context.Context) { lease(ctx, phones) })
	return phones
}

// few says that a farm lists fewer phones than are needed, if it does.
func (f *Farm) few(n int) []string {
	if len(f.plan.Phones) >= n {
		return nil
	}
	return []string{fmt.Sprintf("%d are listed in all", len(f.plan.Phones))}
}

// Run runs the specs. It prints the plan first, sets Ginkgo's time limits from
// it, starts the simulated farm where one is needed, and refuses to retry
// specs: a leak that is seen once is a leak.
func (f *Farm) Run(t *testing.T, description string) {
	t.Helper()
	if err := f.resolve(); err != nil {
		t.Fatalf("offproof: %v", err)
	}
	gomega.RegisterFailHandler(ginkgo.Fail)
	ginkgo.SynchronizedBeforeSuite(f.open, f.join)
	ginkgo.SynchronizedAfterSuite(func() {}, f.close)

	preview := ginkgo.PreviewSpecs(description)
	specs := runnable(preview)
	if err := refuseRetries(preview); err != nil {
		t.Fatalf("offproof: %v", err)
	}
	limits, estimate := f.limits(len(specs))
	suiteConfig, reporterConfig := ginkgo.GinkgoConfiguration()
	if suiteConfig.FlakeAttempts > 1 {
		t.Fatalf("offproof: --flake-attempts is refused: a leak that is seen once is a leak")
	}
	suiteConfig.Timeout, suiteConfig.GracePeriod = limits, gracePeriod
	if suiteConfig.PollProgressAfter == 0 {
		suiteConfig.PollProgressAfter = 3 * time.Minute
	}
	f.hash(specs)
	if suiteConfig.ParallelProcess == 1 {
		f.printPlan(len(specs), estimate)
	}
	ginkgo.RunSpecs(t, description, suiteConfig, reporterConfig)
}

// gracePeriod is what an interrupted spec has to put its phone back.
const gracePeriod = 2 * time.Minute

func runnable(r types.Report) []types.SpecReport {
	return slices.DeleteFunc(slices.Clone(r.SpecReports), func(s types.SpecReport) bool {
		return s.LeafNodeType != types.NodeTypeIt || s.State.Is(types.SpecStateSkipped|types.SpecStatePending)
	})
}

// errSpecTimeout refuses what would end a spec for waiting.
var errSpecTimeout = errors.New("SpecTimeout is refused: it counts the wait for a phone; put NodeTimeout on the It, or nothing: trials have limits of their own")

func refuseSpecTimeout(_ types.NodeType, _ ginkgo.Offset, text string, args []any) (string, []any, []error) {
	if slices.ContainsFunc(args, func(a any) bool { _, is := a.(ginkgo.SpecTimeout); return is }) {
		return text, args, []error{fmt.Errorf("offproof: the node %q: %w", text, errSpecTimeout)}
	}
	return text, args, nil
}

func refuseRetries(r types.Report) error {
	for _, s := range r.SpecReports {
		if s.MaxFlakeAttempts > 1 {
			return fmt.Errorf("the spec %q asks for FlakeAttempts, which is refused: a leak that is seen once is a leak", s.FullText())
		}
	}
	return nil
}

// errTree is what a process says whose tree is not that of process 1.
var errTree = errors.New("suite: this process built another tree of specs than process 1; flags or farm.yaml differ")

// shared is what process 1 tells the others.
type shared struct {
	Farm  string
	Tree  string
	Error string
}

func (f *Farm) hash(specs []types.SpecReport) {
	h := sha256.New()
	for _, s := range specs {
		fmt.Fprintln(h, s.FullText())
	}
	f.tree = hex.EncodeToString(h.Sum(nil))
}

// open starts the world in process 1 and says where it is.
func (f *Farm) open(ctx context.Context) []byte {
	s := shared{Farm: f.plan.Farm, Tree: f.tree}
	if f.plan.Farm == "" {
		var names []string
		for _, p := range f.plan.Phones {
			names = append(names, p.Personality)
		}
		world, err := rig.Simulate(ctx, names)
		if err != nil {
			ginkgo.Fail("Infrastructure: the simulated farm could not be started: " + err.Error())
		}
		f.world = world
		s.Farm = world.FarmFile()
	}
	b, err := json.Marshal(s)
	if err != nil {
		ginkgo.Fail("Infrastructure: " + err.Error())
	}
	return b
}

// join reads the farm in every process.
func (f *Farm) join(b []byte) {
	var s shared
	if err := json.Unmarshal(b, &s); err != nil {
		ginkgo.Fail("Infrastructure: " + err.Error())
	}
	if s.Tree != f.tree {
		ginkgo.Fail("Infrastructure: " + errTree.Error())
	}
	farm, err := rig.Load(s.Farm)
	if err != nil {
		ginkgo.Fail("Infrastructure: " + err.Error())
	}
	if f.plan.Farm == "" {
		// The world's own folder goes away with it; evidence stays.
		farm.Evidence = filepath.Join(f.root, "runs")
	}
	if f.rig, err = rig.New(farm); err != nil {
		ginkgo.Fail("Infrastructure: " + err.Error())
	}
	f.rig.Repair = true
	f.rig.Waiting = func(holders []devices.Holder) {
		for _, h := range holders {
			ginkgo.GinkgoWriter.Println("waiting: " + h.String())
		}
	}
}

func (f *Farm) close() {
	if f.world != nil {
		if err := f.world.Close(); err != nil {
			ginkgo.Fail("Infrastructure: close the simulated farm: " + err.Error())
		}
	}
}

// serials are the phones at places of the plan.
func (f *Farm) serials(places []int) []string {
	var out []string
	for _, i := range places {
		out = append(out, f.rig.Farm.Phones[i].Serial)
	}
	return out
}
