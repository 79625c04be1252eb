package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/android"
	"github.com/offproof/offproof/harness"
)

// The key that keeps a phone's screen on while it charges, and the sum of its
// bits for every way of charging.
const (
	stayAwakeKey = "stay_on_while_plugged_in"
	stayAwake    = "7"
)

// StayAwake has the phone keep its screen on while power comes over the cable,
// until the lease ends: a phone that goes to sleep in a window postpones what it
// sends. A phone that stays awake already is not changed.
func (l *Lease) StayAwake(ctx context.Context) error {
	value, ok, err := l.Device.Setting(ctx, "global", stayAwakeKey)
	if err == nil && (!ok || value == "0" || value == "") {
		err = l.journal.Change(ctx, l.Device, devices.PutSetting{Namespace: "global", Key: stayAwakeKey, Value: stayAwake})
	}
	if err != nil {
		return &harness.InfrastructureError{
			Stage: "keep the screen on", Device: l.Device.Serial(), Advice: "turn on \"Stay awake\" in Developer options by hand, and look at what the phone says", Err: err,
		}
	}
	return nil
}

// Provision puts a build onto the phone by the bench's hook flash, where one is
// named, and makes it ready by the hook provision. It waits until the phone has
// started again, and returns which build was on it before and after. What
// was still to be undone on it is undone before.
func (l *Lease) Provision(ctx context.Context, build string) (before, after android.Build, err error) {
	fail := func(stage string, err error) error {
		return &harness.InfrastructureError{Stage: stage, Device: l.Device.Serial(), Advice: "look at the phone's screen; what was done is in " + benchLog + " in " + l.rig.Farm.State, Err: err}
	}
	if before, err = l.Device.Identity(ctx); err != nil {
		return before, after, fail("read the build", err)
	}
	names := []string{HookProvision}
	if build != "" {
		names = []string{HookFlash, HookProvision}
	}
	ran := ""
	for _, name := range names {
		h, ok := l.config.Hooks[name]
		if !ok {
			if name == HookFlash {
				return before, after, fail("flash", fmt.Errorf("farm.yaml has no hook %s for it: write hooks: {%s: [program, \"{serial}\", \"{build}\"]}", name, name))
			}
			continue
		}
		l.log.Info("a hook begins", "hook", name, "serial", l.Device.Serial(), "build", build)
		if err := h.Run(ctx, HookFacts{Serial: l.config.Serial, Server: l.Device.Server(), Note: l.config.Note, Build: build}, l.log); err != nil {
			return before, after, fail(name, err)
		}
		ran = name
		// It may have restarted the phone, and the next step needs one that answers.
		if err := l.Mend(ctx, fmt.Errorf("the hook %s ran", name)); err != nil {
			return before, after, err
		}
	}
	if ran == "" {
		return before, after, fail("provision", errors.New("farm.yaml has neither a hook provision nor was a build named: there is nothing to do"))
	}
	if after, err = l.recognise(ctx, ran+" "+build); err != nil {
		return before, after, err
	}
	l.log.Info("the phone was provisioned", "serial", l.Device.Serial(), "before", before.Fingerprint, "after", after.Fingerprint, "at", time.Now())
	return before, after, nil
}
