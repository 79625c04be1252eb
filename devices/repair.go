package devices

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RepairLimits bound a repair. Zero fields have the values beside them.
type RepairLimits struct {
	// Ask is how long one question to server or phone may take: 10 s.
	Ask time.Duration
	// Settle is how long a remedy has to show its effect: 15 s.
	Settle time.Duration
	// Boot is how long a phone may take to start: 4 min.
	Boot time.Duration
	// Total ends the repair, whatever is being tried: 12 min.
	Total time.Duration
}

func (l RepairLimits) withDefaults() RepairLimits {
	for field, value := range map[*time.Duration]time.Duration{
		&l.Ask: 10 * time.Second, &l.Settle: 15 * time.Second, &l.Boot: 4 * time.Minute, &l.Total: 12 * time.Minute,
	} {
		if *field <= 0 {
			*field = value
		}
	}
	return l
}

// A Repair makes one phone usable again: by what can be asked of the ADB
// server, of the phone, and of the bench, from gentle to rough, each a bounded
// number of times. It asks for services of this phone only, and must run under
// its lease, never while the phone is observed.
type Repair struct {
	Device *Device
	// Journal is where a restart of the phone is written down before it is made;
	// without one the phone is never restarted.
	Journal *Journal
	// Server starts the phone's ADB server, and ends it first when it has hung; nil
	// where nobody may.
	Server func(ctx context.Context, hung bool) error
	// Power takes the power off the phone's USB port and gives it back, as a hub
	// can; nil where none can.
	Power func(ctx context.Context) error
	// Seen is true where the phone was attached before: then one that is not
	// attached may be on its way back, and is waited for.
	Seen bool
	// Screen reads the screen once; nil where the screen is not in doubt.
	Screen func(ctx context.Context) error

	Limits RepairLimits
	// Log hears each remedy with its reason; nil for nobody.
	Log *slog.Logger
}

// An Attempt is one remedy that was tried.
type Attempt struct {
	// Against is what was wrong.
	Against Ailment
	// Remedy is what was done, such as "reconnect".
	Remedy string
	Took   time.Duration
	// Err is what kept the remedy from being applied, nil when it was; whether it
	// helped shows in the next attempt's Against.
	Err error
}

// String is the remedy in a few words.
func (a Attempt) String() string {
	s := fmt.Sprintf("%s (%v", a.Remedy, a.Took.Round(time.Millisecond))
	if a.Err != nil {
		s += ": " + a.Err.Error()
	}
	return s + ")"
}

// A RepairError says that a phone could not be made usable within the bounds.
type RepairError struct {
	Serial string
	// Ailment is what is wrong at last.
	Ailment Ailment
	// Advice is what a person can do.
	Advice string
	Tried  []Attempt
	Err    error
}

func (e *RepairError) Error() string {
	tried := "nothing that this program may do helps against that"
	if len(e.Tried) > 0 {
		words := make([]string, len(e.Tried))
		for i, a := range e.Tried {
			words[i] = a.String()
		}
		tried = "tried " + strings.Join(words, ", ")
	}
	return fmt.Sprintf("devices: repair phone %s: %s: %s; %s: %v", e.Serial, e.Ailment, tried, e.Advice, e.Err)
}

// Unwrap returns what was seen at last.
func (e *RepairError) Unwrap() error { return e.Err }

// A remedy is one way to mend.
type remedy struct {
	name    string
	against []Ailment
	most    int
	// do applies it; nil only waits.
	do func(ctx context.Context, s sight) error
	// limit bounds do, settle the wait for its effect.
	limit, settle time.Duration
}

// remedies are those at hand for this phone, gentle ones first.
func (r *Repair) remedies(l RepairLimits) []remedy {
	list := []remedy{
		{name: "wait", against: []Ailment{Cut, Mute, ServerSilent}, most: 2, settle: l.Settle},
		// Old servers call a phone unauthorized for as long as the keys are tried.
		{name: "wait a moment", against: []Ailment{NeedsPerson}, most: 1, settle: l.Settle / 5},
		{name: "wait for Android", against: []Ailment{Starting, Elsewhere}, most: 2, settle: l.Boot},
	}
	add := func(have bool, m remedy) {
		if have {
			list = append(list, m)
		}
	}
	add(r.Seen, remedy{name: "wait for the phone", against: []Ailment{Unlisted}, most: 1, settle: l.Settle})
	add(r.Server != nil, remedy{
		name: "start the ADB server", against: []Ailment{ServerGone}, most: 2, limit: l.Boot, settle: l.Settle,
		do: func(ctx context.Context, _ sight) error { return r.Server(ctx, false) },
	})
	// Somebody else may start it, as an administrator of another host does.
	add(r.Seen, remedy{name: "wait for the ADB server", against: []Ailment{ServerGone}, most: 1, settle: l.Boot / 2})
	add(r.Server != nil, remedy{
		name: "restart the ADB server that has hung", against: []Ailment{ServerSilent}, most: 2, limit: l.Boot, settle: l.Settle,
		do: func(ctx context.Context, _ sight) error { return r.Server(ctx, true) },
	})
	add(true, remedy{
		name: "reconnect", against: []Ailment{Cut, Mute}, most: 2, limit: l.Ask, settle: l.Settle,
		do: func(ctx context.Context, _ sight) error { return r.Device.client.Reconnect(ctx, r.Device.serial) },
	})
	add(isAddress(r.Device.serial), remedy{
		name: "connect over TCP", against: []Ailment{Unlisted, Cut, Mute}, most: 2, limit: 2 * l.Ask, settle: l.Settle, do: r.connect,
	})
	add(true, remedy{
		name: "end uiautomator", against: []Ailment{ScreenStuck}, most: 2, limit: 2 * l.Ask, settle: l.Settle,
		do: func(ctx context.Context, _ sight) error {
			_, err := r.Device.EndUIAutomator(ctx)
			return err
		},
	})
	add(r.Power != nil, remedy{
		name: "take the USB port's power", against: []Ailment{Unlisted, Cut, Mute}, most: 2, limit: l.Boot, settle: 2 * l.Settle,
		do: func(ctx context.Context, _ sight) error { return r.Power(ctx) },
	})
	add(r.Seen, remedy{name: "wait for a restart", against: []Ailment{Unlisted}, most: 1, settle: l.Boot})
	add(r.Journal != nil, remedy{
		name: "restart the phone", against: []Ailment{Mute, Starting, ScreenStuck}, most: 1, limit: l.Boot, settle: l.Settle,
		do: func(ctx context.Context, s sight) error {
			return r.Journal.Change(ctx, r.Device, Restart{Why: string(s.ailment), Ask: l.Ask})
		},
	})
	return list
}

// isAddress says whether a serial is that of a phone over TCP, host:port.
func isAddress(serial string) bool {
	host, port, err := net.SplitHostPort(serial)
	if err != nil || host == "" {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// connect makes the server connect to a phone over TCP, letting go of a dead
// connection first: the server would call the phone "already connected".
func (r *Repair) connect(ctx context.Context, s sight) error {
	if s.ailment != Unlisted {
		if err := Disconnect(ctx, r.Device.server, r.Device.serial); err != nil {
			return err
		}
	}
	_, err := Connect(ctx, r.Device.server, r.Device.serial)
	return err
}

// Run mends until the phone is healthy, and returns what was tried. why is
// what gave rise to it, for the log. The error is a *RepairError when nothing
// is left to try or the time is up, and the context's own when ctx ended: then
// nobody knows whether the phone could have been mended.
func (r *Repair) Run(ctx context.Context, why error) ([]Attempt, error) {
	limits := r.Limits.withDefaults()
	log := r.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("serial", r.Device.serial)
	bound, cancel := context.WithTimeout(ctx, limits.Total)
	defer cancel()
	list := r.remedies(limits)
	used := map[string]int{}
	var tried []Attempt
	now := r.look(bound, limits.Ask)
	for now.ailment != Healthy {
		i := slices.IndexFunc(list, func(m remedy) bool {
			return slices.Contains(m.against, now.ailment) && used[m.name] < m.most
		})
		if i < 0 || bound.Err() != nil {
			if ctx.Err() != nil {
				return tried, fmt.Errorf("devices: repair phone %s: %w", r.Device.serial, ctx.Err())
			}
			err := &RepairError{Serial: r.Device.serial, Ailment: now.ailment, Advice: now.advice(), Tried: tried, Err: now.err}
			if i >= 0 {
				err.Err = fmt.Errorf("the %v of a repair are over: %w", limits.Total, now.err)
			}
			log.Error("repair failed", "ailment", now.ailment, "err", err)
			return tried, err
		}
		used[list[i].name]++
		log.Info("repair", "remedy", list[i].name, "against", now.ailment, "seen", now.err, "why", why)
		var a Attempt
		a, now = r.try(bound, list[i], now, limits)
		log.Info("repair: remedy tried", "remedy", a.Remedy, "took", a.Took, "err", a.Err, "now", now.ailment)
		tried = append(tried, a)
	}
	return tried, nil
}

// try applies one remedy and looks what came of it.
func (r *Repair) try(ctx context.Context, m remedy, before sight, l RepairLimits) (Attempt, sight) {
	start := time.Now()
	a := Attempt{Against: before.ailment, Remedy: m.name}
	if m.do != nil {
		limited, cancel := context.WithTimeout(ctx, m.limit)
		a.Err = m.do(limited, before)
		cancel()
	}
	now := before
	if a.Err != nil {
		now = r.look(ctx, l.Ask)
	} else {
		settle, cancel := context.WithTimeout(ctx, m.settle)
		now = r.Device.await(settle, l.Ask)
		cancel()
		// A look at the screen may take a minute, so there is one for each remedy.
		if now.ailment == Healthy && r.Screen != nil {
			now = r.look(ctx, l.Ask)
		}
	}
	if now.ailment == AilmentUnknown {
		now = sight{before.ailment, before.state, now.err}
	}
	a.Took = time.Since(start)
	return a, now
}

// look is the device's look, and one at the screen where that is in doubt.
func (r *Repair) look(ctx context.Context, ask time.Duration) sight {
	s := r.Device.look(ctx, ask)
	if s.ailment != Healthy || r.Screen == nil {
		return s
	}
	if err := r.Screen(ctx); err != nil {
		if ctx.Err() != nil {
			return sight{AilmentUnknown, s.state, ctx.Err()}
		}
		return sight{ScreenStuck, s.state, err}
	}
	return s
}

// advice is what a person can do about what was seen.
func (s sight) advice() string {
	switch s.ailment {
	case ServerGone:
		return "start the ADB server, or give farm.yaml a server: hook that does"
	case ServerSilent:
		return "end the ADB server's process and start it again"
	case ServerForeign:
		return "correct adb: in farm.yaml, or end what listens there"
	case Unlisted, Cut, NeedsPerson, Elsewhere:
		return s.state.Advice()
	case Starting:
		return "look at the phone's screen: if it does not go on, hold the power button until it restarts"
	case Mute:
		return "look at the phone's screen, then hold the power button until it restarts"
	case ScreenStuck:
		return "restart the phone; an accessibility service or another test program may hold uiautomator"
	case Healthy, AilmentUnknown:
	}
	return "look at the phone"
}
