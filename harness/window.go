package harness

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
)

// observe runs one window: apply the setting, read the conditions, open with
// beacons, do the steps, wait, read the conditions again, close with beacons.
// It always returns what was recorded.
func (b *bench) observe(ctx context.Context, sc Scenario, part Part, id string, wait time.Duration) *Observation {
	p, set := b.p, sc.setting
	claim := sc.Claim
	if claim.ID == "" {
		claim = set.Claim
	}
	o := &Observation{
		Format: 1, ID: id, Part: part, Scenario: sc.Name, Claim: claim, Setting: set.Name, Arm: set.Arm, Mode: sc.Mode,
		Serial: p.Device.Serial(), Build: b.build, Model: b.model, Identifiers: b.ids, Route: p.Screen.Route(),
		Window: Window{Wanted: wait}, Beacons: map[string][]capture.Beacon{},
		BeaconPeriod: paced(beaconPeriod, p.Pace),
	}
	act := &Act{
		Device: p.Device, Screen: p.Screen, Log: p.Log.With("observation", id), Pace: p.Pace,
		obs: o, now: time.Now, register: p.Register, person: p.Person,
		rng: rand.New(rand.NewPCG(p.Seed, hash(p.Device.Serial()+id+time.Now().String()))), //nolint:gosec // A canary must be unique, not secret.
	}
	p.say("%s: switch %s", id, set.Arm)
	if err := b.window(ctx, sc, act, o); err != nil {
		o.err, o.Err = err, err.Error()
		o.Broken = append(o.Broken, err.Error())
		p.Log.Error("window broke", "observation", id, "err", err)
	}
	return o
}

// window is the part of observe that can fail.
func (b *bench) window(ctx context.Context, sc Scenario, act *Act, o *Observation) error {
	p, set := b.p, sc.setting
	var err error
	if o.Health, err = p.examine(ctx, b.tunnels()...); err != nil {
		return err
	}
	if err := b.uids(ctx, o); err != nil {
		return err
	}
	if o.Boot, err = p.Device.BootID(ctx); err != nil {
		// It is missed only where values are compared across starts.
		p.Log.Warn("which start of the phone this is could not be read", "err", err)
	}
	for _, step := range sc.Start {
		if err := step.Do(ctx, act); err != nil {
			return fmt.Errorf("start state: step %q: %w", step.Name, err)
		}
	}
	if err := set.Apply(ctx, act); err != nil {
		return fmt.Errorf("set %s %s: %w", set.Name, set.Arm, err)
	}
	before, err := set.Read(ctx, act)
	if err != nil {
		return fmt.Errorf("read %s: %w", set.Name, err)
	}
	o.Before = &before
	if o.Part == Calibration || o.Part == Single {
		if err := b.probe(ctx, act, set); err != nil {
			return fmt.Errorf("ask the instruments for known bodies: %w", err)
		}
	}
	prepared := 0
	for prepared < len(sc.Steps) && sc.Steps[prepared].Prepares {
		prepared++
	}
	if err := b.steps(ctx, sc.Steps[:prepared], 0, act, o); err != nil {
		return fmt.Errorf("before the window: %w", err)
	}
	p.say("%s: letting the phone settle", o.ID)
	if err := sleep(ctx, paced(settle, p.Pace)); err != nil {
		return fmt.Errorf("let the phone settle: %w", err)
	}
	// What an instrument lost so far, it lost before the window.
	if err := b.beacons(ctx, o); err != nil {
		return fmt.Errorf("beacon before the window: %w", err)
	}
	if err := b.measure(ctx, &o.ClockBefore, &o.CountersBefore); err != nil {
		return err
	}
	if err := b.beacons(ctx, o); err != nil {
		return fmt.Errorf("opening beacon: %w", err)
	}
	o.Window.Open = time.Now()
	p.Log.Info("window open", "observation", o.ID, "arm", set.Arm)

	inside, abort := context.WithCancelCause(ctx)
	stopBeacons := b.beat(inside, o, abort)
	err = b.act(inside, sc, prepared, act, o)
	stopBeacons()
	if cause := context.Cause(inside); cause != nil && err != nil {
		err = cause
	}
	abort(nil)
	// The window closes where it broke, so that what was seen in it counts.
	o.Window.Close = time.Now()
	p.Log.Info("window closed", "observation", o.ID, "arm", set.Arm)
	if err != nil {
		return err
	}
	if err := b.beacons(ctx, o); err != nil {
		return fmt.Errorf("closing beacon: %w", err)
	}
	if err := b.measure(ctx, &o.ClockAfter, &o.CountersAfter); err != nil {
		return err
	}
	after, err := p.Device.Health(ctx, b.tunnels()...)
	if err != nil {
		return fmt.Errorf("examine the phone after the window: %w", err)
	}
	for _, v := range after.Worse(o.Health) {
		o.Broken = append(o.Broken, "the phone changed inside the window: "+v.String())
	}
	return nil
}

// settle is the time that passes between the preparations and the window's
// opening, before pace: twice what the SDKs are known to wait before they send
// what they have queued, so that it does not come inside.
const settle = 30 * time.Second

// steps does steps in order, of which the first has a place in the scenario.
func (b *bench) steps(ctx context.Context, steps []Step, place int, act *Act, o *Observation) error {
	for i, step := range steps {
		if o.Part == Quiet && !step.Quiet {
			continue
		}
		act.step = place + i
		b.p.say("%s: %s", o.ID, step.Name)
		rec := StepRecord{Name: step.Name, Start: time.Now()}
		err := step.Do(ctx, act)
		rec.End = time.Now()
		b.picture(ctx, o, place+i, &rec)
		if err != nil {
			rec.Err = err.Error()
		}
		o.Steps = append(o.Steps, rec)
		if err != nil {
			return fmt.Errorf("step %q: %w", step.Name, err)
		}
	}
	return nil
}

// act does the steps that are left, the flush trigger, the wait and the final
// read-back.
func (b *bench) act(ctx context.Context, sc Scenario, prepared int, act *Act, o *Observation) error {
	p := b.p
	if err := b.steps(ctx, sc.Steps[prepared:], prepared, act, o); err != nil {
		return err
	}
	if err := b.leave(ctx, act, o); err != nil {
		return fmt.Errorf("leave the app: %w", err)
	}
	p.say("%s: waiting out the window", o.ID)
	if err := sleep(ctx, time.Until(o.settled().Add(o.Window.Wanted))); err != nil {
		return fmt.Errorf("wait out the window: %w", err)
	}
	after, err := sc.setting.Read(ctx, act)
	if err != nil {
		return fmt.Errorf("read %s again: %w", sc.setting.Name, err)
	}
	o.After = &after
	return nil
}

// leave goes to the home screen. Leaving the app is the flush trigger that every
// arm gets: the SDKs send what they queued when their app is left.
func (b *bench) leave(ctx context.Context, act *Act, o *Observation) error {
	return act.Perform(ctx, Handling{
		Words: "Go to the home screen, with the key or the gesture for it",
		Do:    func(ctx context.Context) error { return b.p.Screen.Key(ctx, ui.KeyHome) },
		Until: func(ctx context.Context) error {
			for {
				front, err := b.p.Device.Focus(ctx)
				if err != nil {
					return err
				}
				if app, _, _ := strings.Cut(front, "/"); !slices.Contains(o.Claim.Scope.Apps, app) {
					return nil
				}
				if err := sleep(ctx, focusLook); err != nil {
					return fmt.Errorf("%s is still in front: %w", front, err)
				}
			}
		},
	})
}

// focusLook lies between two looks at which app is in front.
const focusLook = 100 * time.Millisecond

// picture keeps what the screen showed after a step. A screen that cannot be
// read is a note, not a failure: the step's own read-back decides.
func (b *bench) picture(ctx context.Context, o *Observation, i int, rec *StepRecord) {
	name := fmt.Sprintf("steps/%s-%d", o.ID, i+1)
	if png, err := b.p.Screen.Screenshot(ctx); err == nil {
		if b.p.Recorder.Write(name+".png", png) == nil {
			rec.Screenshot = name + ".png"
		}
	} else {
		b.p.Log.Warn("no screenshot", "observation", o.ID, "err", err)
	}
}

// uids reads who the claim's apps are on this phone now.
func (b *bench) uids(ctx context.Context, o *Observation) error {
	for _, list := range [][]string{o.Claim.Scope.Apps, o.Claim.Scope.Delegates} {
		for _, name := range list {
			pkg, err := b.p.Device.Package(ctx, name)
			switch {
			case errors.Is(err, devices.ErrNotInstalled):
				continue
			case err != nil:
				return fmt.Errorf("read the owner of %s: %w", name, err)
			case pkg.UID == nil:
				return fmt.Errorf("read the owner of %s: the phone does not say its user id", name)
			}
			o.ClaimUIDs = append(o.ClaimUIDs, *pkg.UID)
		}
		if len(o.ClaimUIDs) == 0 && len(list) > 0 {
			return fmt.Errorf("none of the claim's apps is installed: %s", strings.Join(list, ", "))
		}
	}
	return nil
}

func (b *bench) measure(ctx context.Context, clock **Clock, counters **Counters) error {
	offset, unc, err := b.p.Device.ClockOffset(ctx)
	if err != nil {
		return fmt.Errorf("measure the phone's clock: %w", err)
	}
	*clock = &Clock{offset, unc}
	*counters, err = b.counters(ctx, offset)
	return err
}

// beacons sends one nonce by every backend.
func (b *bench) beacons(ctx context.Context, o *Observation) error {
	for _, s := range b.sessions {
		one, cancel := context.WithTimeout(ctx, beaconLimit)
		mark, err := s.Beacon(one, nonce(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))) //nolint:gosec // A nonce must be unique, not secret.
		cancel()
		if err != nil {
			return fmt.Errorf("%s did not see its own beacon: %w", s.name, err)
		}
		o.Beacons[s.name] = append(o.Beacons[s.name], mark)
		select {
		case <-s.Done():
			return fmt.Errorf("%s ended by itself", s.name)
		default:
		}
	}
	return nil
}

// beat sends beacons through the window until the returned function is called.
// A beacon that is missed ends the window, with that as its cause: nothing
// that happens after it could be trusted.
func (b *bench) beat(ctx context.Context, o *Observation, missed context.CancelCauseFunc) func() {
	beat, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for sleep(beat, o.BeaconPeriod) == nil {
			// A beacon that was begun is finished, so that stopping the beat
			// cannot look like a missed one.
			if err := b.beacons(context.WithoutCancel(beat), o); err != nil {
				missed(fmt.Errorf("beacon in the window: %w", err))
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func paced(d time.Duration, pace float64) time.Duration {
	return time.Duration(float64(d) * pace)
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// hash is FNV-1a, which spreads names over seeds.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
