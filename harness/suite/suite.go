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
	"os"
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

	rig   *rig.Rig
	world *rig.Simulation
	tree  string // the hash of this process's specs
	root  string
}

// A plan is what the flags and farm.yaml say will be run. It is the same in
// every process.
type plan struct {
	// Farm is the path of the farm.yaml in use, empty for the simulated farm.
	Farm   string
	Phones []plannedPhone
}

type plannedPhone struct {
	// Label names the phone's container.
	Label string
	// Serial is empty for a simulated phone: its world chooses it.
	Serial string
	// Personality is PERSONALITY[:MODEL[:LOCALE]], empty for a phone of farm.yaml.
	Personality string
}

// New makes a farm and registers its flags: -sim, -pairs and -seed, which go
// after "--" on Ginkgo's command line. Call it once, for a package variable.
func New() *Farm {
	f := &Farm{
		sim:   flag.String("sim", "", "simulated phones to use instead of farm.yaml: PERSONALITY[:MODEL[:LOCALE]], separated by commas"),
		pairs: flag.Int("pairs", 1, "counted pairs of each trial; 5 are enough for p = 0.03"),
		seed:  flag.Uint64("seed", 0, "seed of the arms' order and of the canaries; 0 takes Ginkgo's"),
	}
	flag.CommandLine.Usage = func() {
		_, _ = fmt.Fprintln(flag.CommandLine.Output(), "offproof: after -- stand only -sim, -pairs and -seed, such as `ginkgo ./specs -- -sim=deaf`; Ginkgo's own flags (-p, --label-filter, ...) go before ./specs: `ginkgo -p ./specs`")
	}
	return f
}

// DefaultPersonalities are the phones of the simulated farm when no flag says
// otherwise.
func defaultPersonalities() []string { return []string{"honest", "honest"} }

// resolve reads flags and farm.yaml, once.
func (f *Farm) resolve() error {
	if f.ready {
		return f.err
	}
	f.ready = true
	f.err = f.read()
	return f.err
}

func (f *Farm) read() error {
	if rest := flag.Args(); len(rest) > 0 {
		return fmt.Errorf("%q is no flag: after -- stand only -sim, -pairs and -seed, such as -sim=%s; Ginkgo's own flags go before ./specs", rest[0], rest[0])
	}
	if *f.pairs < 1 || *f.pairs > 100 {
		return fmt.Errorf("-pairs=%d: a trial has 1 to 100 pairs", *f.pairs)
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("suite: %w", err)
	}
	f.root = moduleRoot(dir)
	path, err := rig.Find(dir)
	if err != nil {
		return err
	}
	if *f.sim == "" && path != "" && startedByGinkgo() {
		farm, err := rig.Load(path)
		if err != nil {
			return err
		}
		f.plan.Farm = path
		for _, p := range farm.Phones {
			label := "on " + p.Serial
			if p.Note != "" {
				label += ", " + p.Note
			}
			f.plan.Phones = append(f.plan.Phones, plannedPhone{Label: label, Serial: p.Serial})
		}
		return nil
	}
	names := defaultPersonalities()
	if *f.sim != "" {
		names = strings.Split(*f.sim, ",")
	}
	for i, name := range names {
		name = strings.TrimSpace(name)
		if _, err := rig.SimulatedPhone(name); err != nil {
			return fmt.Errorf("-sim=%s: %w", *f.sim, err)
		}
		f.plan.Phones = append(f.plan.Phones, plannedPhone{
			Label: fmt.Sprintf("on simulated phone %d, %s", i+1, name), Personality: name,
		})
	}
	return nil
}

// startedByGinkgo says whether the Ginkgo command runs this process: it always
// passes its seed. `go test` caches results and kills long runs, so it gets
// simulated phones only.
func startedByGinkgo() bool {
	found := false
	flag.Visit(func(fl *flag.Flag) { found = found || fl.Name == "ginkgo.seed" })
	return found
}

func moduleRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			return dir
		}
	}
}

// Each builds one container for every phone of the plan, so that a claim is
// judged on each of them. Call it inside a container.
func (f *Farm) Each(body func(phone *Phone)) {
	if err := f.resolve(); err != nil {
		return // Run reports it.
	}
	for i := range f.plan.Phones {
		ginkgo.Context(f.plan.Phones[i].Label, func() {
			p := &Phone{farm: f, fits: []int{i}}
			ginkgo.BeforeEach(p.lease)
			body(p)
		})
	}
}

// Phone is any phone of the farm, leased before each spec of the container and
// given back after it.
func (f *Farm) Phone() *Phone {
	p := &Phone{farm: f}
	ginkgo.BeforeEach(p.lease)
	return p
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

// serials are the phones that fit, by their place in the plan.
func (f *Farm) serials(fits []int) []string {
	var out []string
	for i, p := range f.rig.Farm.Phones {
		if fits == nil || slices.Contains(fits, i) {
			out = append(out, p.Serial)
		}
	}
	return out
}

// limits sets the suite's time limit from the plan: what the windows take, and
// a generous allowance for starting, steps and a busy host.
func (f *Farm) limits(specs int) (limit, estimate time.Duration) {
	pace, floor := rig.SimulatedPace, rig.SimulatedFloor
	if f.plan.Farm != "" {
		if farm, err := rig.Load(f.plan.Farm); err == nil {
			pace, floor = farm.Pace, farm.Floor
		}
	}
	windows := 3 + 2**f.pairs
	one := time.Duration(windows) * (time.Duration(float64(floor)*pace) + 5*time.Second)
	estimate = time.Duration(specs) * one / time.Duration(max(1, min(len(f.plan.Phones), parallel())))
	return 4*time.Duration(specs)*one + 30*time.Minute, estimate
}

func parallel() int {
	c, _ := ginkgo.GinkgoConfiguration()
	return c.ParallelTotal
}

func (f *Farm) printPlan(specs int, estimate time.Duration) {
	var b strings.Builder
	where := "the simulated farm (no phone is needed; it says nothing about a live phone)"
	if f.plan.Farm != "" {
		where = f.plan.Farm
	}
	fmt.Fprintf(&b, "offproof: %d specs, %d counted pair(s) each, about %s, on %s\n", specs, *f.pairs, estimate.Round(time.Second), where)
	for _, p := range f.plan.Phones {
		fmt.Fprintf(&b, "  %s\n", p.Label)
	}
	_, _ = os.Stdout.WriteString(b.String())
}
