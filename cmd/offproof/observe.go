package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// The words for --arm.
const (
	armOn   = "on"
	armOff  = "off"
	armBoth = "both"
)

// An outlook is what observe was asked for.
type outlook struct {
	farm, phone, sim string
	engine, mode     string
	arm, against     string
	manual, json     bool
}

func observeCommand() *cobra.Command {
	o := &outlook{}
	cmd := &cobra.Command{
		Use:   "observe [SCENARIO] [--phone SERIAL] [--arm on|off|both] [--manual]",
		Short: "Run one scenario on one phone, with the switch on, off, or first on and then off",
		Long: `Observe runs one scenario on one phone of the farm, records what leaves the phone,
and says what one observation can bear. The scenarios are

  search         search for made-up words once; it is run when none is named
  keyed-search   search for some words twice and for others once, each time in a
                 tab of its own, so that values that depend on the words can be
                 told even where they are hashes under a secret key. That takes
                 three windows or more of one trial: one observation records what
                 was typed when, and cannot tell by itself

With --manual a person operates the phone: each thing to do is shown in words, and
the person answers

  done          when it was done
  cannot WHY    when it cannot be done; the observation ends there
  abort         to end it; what was recorded is kept

Everything else is as always: capture, beacons, and the reading back of what was
done, so that "done" for what was not done decides nothing.

Silence with the switch off means something only against an observation with the
switch on, of the same phone, build, app and scenario, in which collection was
seen. --arm both makes one first; --against names the directory of an earlier one.

With --sim the phone is a simulated one, and its screen can be used in a browser.
It says nothing about a live phone.

Exit status: 0 when every finding is conclusive, 1 when one is inconclusive, 2
when there is none.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := offers()[0].name
			if len(args) > 0 {
				name = args[0]
			}
			return o.run(cmd.Context(), name, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	farmFlag(cmd, &o.farm)
	flags := cmd.Flags()
	flags.StringVar(&o.phone, "phone", "", "the phone's serial; may be left out where the farm lists one phone")
	flags.StringVar(&o.sim, "sim", "", "use a simulated phone, PERSONALITY[:MODEL[:LOCALE]]; alone it means honest")
	flags.Lookup("sim").NoOptDefVal = "honest"
	flags.StringVar(&o.engine, "engine", browser.DuckDuckGo.Name, "the search engine")
	flags.StringVar(&o.mode, "mode", string(harness.ModeIncognito), "the browsing mode, normal or incognito")
	flags.StringVar(&o.arm, "arm", armBoth, "the switch: on, off, or both one after the other")
	flags.StringVar(&o.against, "against", "", "for --arm off: the directory of the observation with the switch on")
	flags.BoolVar(&o.manual, "manual", false, "a person operates the phone")
	flags.BoolVar(&o.json, "json", false, "print each observation as one JSON object per line")
	return cmd
}

// An offer is a scenario that can be observed.
type offer struct {
	name string
	of   func(browser.Engine, harness.Mode) harness.Scenario
}

// offers are all of them, first the one that is meant where none is named.
func offers() []offer {
	return []offer{{"search", scenarios.Search}, {"keyed-search", scenarios.KeyedSearch}}
}

// scenario is what is to be done.
func (o *outlook) scenario(name string) (harness.Scenario, error) {
	var names []string
	var build func(browser.Engine, harness.Mode) harness.Scenario
	for _, x := range offers() {
		names = append(names, x.name)
		if x.name == name {
			build = x.of
		}
	}
	if build == nil {
		return harness.Scenario{}, fmt.Errorf("observe: there is no scenario %q; there are: %s", name, strings.Join(names, ", "))
	}
	mode := harness.Mode(o.mode)
	if mode != harness.ModeNormal && mode != harness.ModeIncognito {
		return harness.Scenario{}, fmt.Errorf("observe: --mode %s: it is %s or %s", o.mode, harness.ModeNormal, harness.ModeIncognito)
	}
	var known []string
	for _, e := range browser.Engines() {
		if strings.EqualFold(e.Name, o.engine) {
			return build(e, mode), nil
		}
		known = append(known, e.Name)
	}
	return harness.Scenario{}, fmt.Errorf("observe: --engine %s is not known; known are %s", o.engine, strings.Join(known, ", "))
}

func (o *outlook) run(ctx context.Context, name string, in io.Reader, out, talk io.Writer) error {
	sc, err := o.scenario(name)
	if err != nil {
		return err
	}
	var arms []harness.Arm
	switch o.arm {
	case armOn:
		arms = []harness.Arm{harness.On}
	case armOff:
		arms = []harness.Arm{harness.Off}
	case armBoth:
		arms = []harness.Arm{harness.On, harness.Off}
	default:
		return fmt.Errorf("observe: --arm %s: it is %s, %s or %s", o.arm, armOn, armOff, armBoth)
	}
	if o.against != "" && o.arm != armOff {
		return errors.New("observe: --against belongs to --arm off")
	}
	var on *harness.Observation
	if o.against != "" {
		earlier, err := evidence.ReadObservation(o.against)
		if err != nil {
			return fmt.Errorf("observe: --against: %w", err)
		}
		on = &earlier
	}
	r, end, err := o.bench(ctx, talk)
	if err != nil {
		return err
	}
	return errors.Join(o.observe(ctx, r, sc, arms, on, in, out, talk), end())
}

// bench opens the farm, or a simulated one.
func (o *outlook) bench(ctx context.Context, talk io.Writer) (r *rig.Rig, end func() error, err error) {
	nothing := func() error { return nil }
	if o.sim == "" {
		r, err = openRig(o.farm)
		return r, nothing, err
	}
	if o.farm != "" {
		return nil, nil, errors.New("observe: --sim and --farm exclude each other")
	}
	world, err := rig.Simulate(ctx, []string{o.sim})
	if err != nil {
		return nil, nil, fmt.Errorf("observe: --sim: %w", err)
	}
	farm, err := rig.Load(world.FarmFile())
	if err == nil {
		// The world's own folder goes away with it; evidence stays.
		farm.Evidence, err = filepath.Abs("runs")
	}
	if err == nil {
		r, err = rig.New(farm)
	}
	if err != nil {
		return nil, nil, errors.Join(err, world.Close())
	}
	for serial, page := range world.Hands() {
		_, _ = fmt.Fprintf(talk, "simulated phone %s: %s\n", serial, page)
	}
	return r, world.Close, nil
}

// serial is the phone that was meant.
func (o *outlook) serial(farm *rig.Farm) (string, error) {
	if o.phone != "" {
		return o.phone, nil
	}
	var known []string
	for _, p := range farm.Phones {
		known = append(known, p.Serial)
	}
	if len(known) == 1 {
		return known[0], nil
	}
	return "", fmt.Errorf("observe: say which phone, with --phone: %s lists %s", farm.Path, strings.Join(known, ", "))
}

func (o *outlook) observe(ctx context.Context, r *rig.Rig, sc harness.Scenario, arms []harness.Arm, on *harness.Observation, in io.Reader, out, talk io.Writer) (err error) {
	serial, err := o.serial(r.Farm)
	if err != nil {
		return err
	}
	r.Waiting = func(holders []devices.Holder) {
		for _, h := range holders {
			_, _ = fmt.Fprintf(talk, "waiting: %s\n", visible(h.String()))
		}
	}
	lease, err := r.Lease(ctx, serial)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(ctx)) }()
	if err := lease.StayAwake(ctx); err != nil {
		return err
	}
	seed := rand.Uint64() //nolint:gosec // Canaries must be unique, not secret.
	opt := rig.Options{Pairs: 1, Seed: seed, Progress: func(msg string) { _, _ = fmt.Fprintf(talk, "%s %s\n", time.Now().Format(time.TimeOnly), visible(msg)) }}
	if o.manual {
		opt.Person = (&person{answers: lines(in), out: talk}).do
	}
	conclusive := true
	for _, arm := range arms {
		bound := sc.With(browser.AggregatedData(arm))
		if arm == harness.Off && on != nil {
			bound = bound.Against(*on)
		}
		seen, dir, err := one(ctx, lease, r, bound, arm, opt)
		if seen.Finding != nil {
			if perr := o.print(out, seen, dir); perr != nil {
				return errors.Join(err, perr)
			}
		}
		if err != nil {
			return err
		}
		conclusive = conclusive && seen.Finding.Verdict != harness.Inconclusive
		if strings.Contains(seen.Err, harness.ErrAborted.Error()) {
			break
		}
		on = &seen
	}
	if !conclusive {
		return &statusError{status: statusFound}
	}
	return nil
}

// one makes one observation, with evidence of its own.
func one(ctx context.Context, lease *rig.Lease, r *rig.Rig, sc harness.Scenario, arm harness.Arm, opt rig.Options) (seen harness.Observation, dir string, err error) {
	serial := lease.Device.Serial()
	run, err := evidence.Create(r.Farm.Evidence, fmt.Sprintf("%s-%s-%s", sc.Name, arm, serial), time.Now())
	if err != nil {
		return seen, "", err
	}
	opt.Log = slog.New(slog.NewJSONHandler(run.Log(), nil))
	phone, err := lease.Phone(run, opt)
	if err == nil {
		seen, err = phone.Observe(ctx, sc)
	}
	facts := map[string]any{
		"serial": serial, "farm": r.Farm.Path, "pace": r.Farm.Pace, "floor": r.Farm.Floor.String(), "command": "observe",
		"collectors": harness.CollectorsVersion(r.Collectors),
	}
	return seen, run.Dir(), errors.Join(err, run.Seal(facts, time.Now()))
}

func (o *outlook) print(out io.Writer, seen harness.Observation, dir string) error {
	if o.json {
		if err := json.NewEncoder(out).Encode(seen); err != nil {
			return fmt.Errorf("observe: %w", err)
		}
		return nil
	}
	for line := range strings.Lines(seen.Text(dir)) {
		if err := say(out, "%s\n", visible(strings.TrimRight(line, "\n"))); err != nil {
			return err
		}
	}
	return say(out, "  look      offproof inspect %s\n", filepath.Join(dir, "*.pcapng"))
}
