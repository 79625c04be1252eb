package suite

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness/rig"
)

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
	// Facts are what is known of the phone before it is asked.
	Facts devices.Facts
	// Quarantine is why farm.yaml keeps the phone out, empty if it does not.
	Quarantine string
	// Person is true for a phone that only a person can operate.
	Person bool
}

// misfit says why the plan rules a phone out for a spec with needs, empty if it
// does not.
func (p plannedPhone) misfit(needs []devices.Requirement) string {
	if p.Quarantine != "" {
		return "in quarantine: " + p.Quarantine
	}
	if p.Person {
		return "operated by a person (input: person in farm.yaml): use offproof observe --manual"
	}
	return devices.Misfit(needs, p.Facts, false)
}

// defaultPersonalities are the phones of the simulated farm when no flag says
// otherwise. `go test` has one process, which tries one phone after the other: a
// second one of the same kind would show nothing new and take as long again.
func defaultPersonalities() []string {
	if !startedByGinkgo() {
		return []string{"honest"}
	}
	return []string{"honest", "honest"}
}

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
			f.plan.Phones = append(f.plan.Phones, plannedPhone{Label: label, Serial: p.Serial, Facts: p.Facts(), Quarantine: p.Quarantine, Person: p.Input == ui.RoutePerson})
		}
		if !slices.ContainsFunc(f.plan.Phones, func(p plannedPhone) bool { return p.Quarantine == "" && !p.Person }) {
			return fmt.Errorf("%s: every phone is in quarantine or operated by a person: nothing can be shown", path)
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
			Facts: devices.Facts{Capture: []string{rig.CaptureTCPDump, rig.CaptureProxy}},
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

// limits sets the time limits from the plan: what the windows take, and a
// generous allowance for starting, steps and a busy host. The suite's own limit
// holds all waits for phones as well, because Ginkgo cannot leave them out.
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
	f.patience = 8*one + 30*time.Minute
	return time.Duration(specs)*(2*f.patience+leaseLimit) + time.Hour, estimate
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
	for _, why := range slices.Compact(slices.Sorted(slices.Values(f.skipped))) {
		fmt.Fprintf(&b, "  skipped: %s\n", why)
	}
	_, _ = os.Stdout.WriteString(b.String())
}
