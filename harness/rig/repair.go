package rig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/android"
	"github.com/offproof/offproof/harness"
)

// benchLog is the name, in the state folder, of the log of what was done to
// phones outside of runs: repairs, hooks, builds.
const benchLog = "bench.jsonl"

// repairLimits are what a repair may take here. Waiting for a phone follows the
// farm's pace; the least is for a busy host.
func (r *Rig) repairLimits() devices.RepairLimits {
	paced := func(d, least time.Duration) time.Duration {
		return max(time.Duration(float64(d)*r.Farm.Pace), least)
	}
	return devices.RepairLimits{
		Ask: paced(10*time.Second, 5*time.Second), Settle: paced(15*time.Second, 2*time.Second),
		Boot: paced(4*time.Minute, 15*time.Second), Total: paced(12*time.Minute, 2*time.Minute),
	}
}

// newLease is the lease of a locked phone before anybody has looked at it.
func (r *Rig) newLease(ctx context.Context, lock *devices.Lease) (*Lease, error) {
	config, err := r.phone(lock.Serial())
	if err != nil {
		return nil, err
	}
	journal, err := devices.OpenJournal(r.journals(), lock.Serial())
	if err != nil {
		return nil, fmt.Errorf("rig: open journal: %w", err)
	}
	known, err := devices.ReadKnown(r.known(), lock.Serial())
	if err != nil {
		return nil, fmt.Errorf("rig: lease phone: %w", err)
	}
	l := &Lease{rig: r, config: config, lock: lock, journal: journal, known: known, done: newMemory()}
	l.Device = devices.Open(r.home(ctx, known), lock.Serial())
	l.log = slog.New(slog.NewMultiHandler(slog.NewJSONHandler(appendTo(filepath.Join(r.Farm.State, benchLog)), nil), l.done))
	return l, nil
}

// home is the ADB server on which a phone is to be looked for: the one that
// lists it, else the one that listed it last, else one that does not answer,
// since it may be there.
func (r *Rig) home(ctx context.Context, known devices.Known) string {
	down, servers := "", r.serversOf(known.Serial)
	for _, server := range servers {
		ask, cancel := context.WithTimeout(ctx, r.repairLimits().Ask)
		entries, err := devices.Inventory(ask, []string{server})
		cancel()
		for _, e := range entries {
			if e.Serial == known.Serial {
				return server
			}
		}
		if err != nil && down == "" {
			down = server
		}
	}
	switch {
	case slices.Contains(servers, known.Server):
		return known.Server
	case down != "":
		return down
	}
	return servers[0]
}

// recognise notes that the phone was seen, and with which build. by is what put
// that build there, empty when nobody knows.
func (l *Lease) recognise(ctx context.Context, by string) (android.Build, error) {
	build, err := l.Device.Identity(ctx)
	if err != nil {
		return build, &harness.InfrastructureError{Stage: "read the build", Device: l.Device.Serial(), Advice: "check the cable and `adb devices`", Err: err}
	}
	first := len(l.known.Builds) == 0
	if l.known.Saw(l.Device.Server(), build.Fingerprint, by, time.Now()) && !first {
		l.log.Info("the phone has another build than before", "serial", l.Device.Serial(), "build", build.Fingerprint, "by", by)
	}
	if err := errors.Join(l.known.Write(l.rig.known()), l.rig.recogniseServer(l.Device.Server())); err != nil {
		return build, &harness.InfrastructureError{Stage: "remember the build", Device: l.Device.Serial(), Advice: "check the disk of " + l.rig.known(), Err: err}
	}
	return build, nil
}

// Facts are what belongs into the provenance of a run with the leased phone:
// the builds that were seen on it, the last two, and the repairs under this
// lease.
func (l *Lease) Facts() map[string]any {
	builds := l.known.Builds[max(0, len(l.known.Builds)-2):]
	return map[string]any{"builds": builds, "repairs": slices.Clone(l.repairs)}
}

// Mend looks at the leased phone after why, and makes it usable again where it
// is not, within the bounds of the farm. It must not be called while the phone
// is observed. A phone that was mended is to be examined from the start: it may
// have restarted.
func (l *Lease) Mend(ctx context.Context, why error) error {
	limits := l.rig.repairLimits()
	l.Device = devices.Open(l.rig.home(ctx, l.known), l.Device.Serial())
	repair := &devices.Repair{
		Device: l.Device, Journal: l.journal, Limits: limits, Log: l.log, Seen: !l.known.Seen.IsZero(),
		Server: func(ctx context.Context, hung bool) error {
			return l.rig.mendServer(ctx, l.Device.Server(), l.hook(HookServer), hung, l.log)
		},
		Power: l.hook(HookPower),
	}
	tried, err := repair.Run(ctx, why)
	for _, a := range tried {
		l.repairs = append(l.repairs, fmt.Sprintf("against %q: %s", a.Against, a))
	}
	if err == nil {
		return nil
	}
	failed := &harness.InfrastructureError{Stage: "repair", Device: l.Device.Serial(), Err: err}
	if errors.As(err, new(*devices.RepairError)) {
		failed.Advice = "what was done is in " + filepath.Join(l.rig.Farm.State, benchLog)
	}
	l.lost = l.takeOut(ctx, failed)
	return l.lost
}

// takeOut puts the phone into quarantine where err shows that it is the phone
// which is broken, or was left changed, and returns err with what became of it.
// A server that is gone is no phone's fault; a phone that waits for a person's
// word is kept out by its state, and comes back with the word; one that was
// never seen here may be a slip of the pen; and an interruption shows nothing.
func (l *Lease) takeOut(ctx context.Context, err error) error {
	var repair *devices.RepairError
	var undo *devices.UndoError
	switch {
	case !l.rig.Repair || ctx.Err() != nil:
		return err
	case errors.As(err, &repair):
		switch repair.Ailment {
		case devices.Unlisted, devices.Cut, devices.Elsewhere, devices.Starting, devices.Mute, devices.ScreenStuck:
		case devices.AilmentUnknown, devices.Healthy, devices.ServerGone, devices.ServerSilent, devices.ServerForeign, devices.NeedsPerson:
			return err
		}
		if l.known.Seen.IsZero() {
			return err
		}
	case !errors.As(err, &undo):
		return err
	}
	serial := l.Device.Serial()
	l.log.Error("the phone is taken out of the farm", "serial", serial, "reason", err)
	out := &harness.InfrastructureError{Stage: "put the phone back as it was", Device: serial, Err: err}
	if inner, ok := err.(*harness.InfrastructureError); ok { //nolint:errorlint // Only the outermost layer is replaced.
		*out = *inner
	}
	out.Advice = "the phone is in quarantine; when it is mended, run `offproof farm release " + serial + "`"
	if qerr := l.rig.Quarantine(serial, err.Error()); qerr != nil {
		return errors.Join(err, qerr)
	}
	return out
}

// hook is one of the phone's hooks as a function, nil where farm.yaml has none.
func (l *Lease) hook(name string) func(context.Context) error {
	h, ok := l.config.Hooks[name]
	if !ok {
		return nil
	}
	return func(ctx context.Context) error {
		return h.Run(ctx, HookFacts{Serial: l.config.Serial, Server: l.Device.Server(), Note: l.config.Note}, l.log)
	}
}
