package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrUnknownFault is returned for a fault that no phone knows.
var ErrUnknownFault = errors.New("sim: unknown fault")

// A fault is one thing that happens to phones on a bench. The faults are in the
// files of their kinds: what goes wrong with ADB, with the phone, with its
// networks, and on its screen.
type fault struct {
	about string
	// takes says what the value in the argument is; empty takes none.
	takes string
	// lasts is true for a fault that goes on until it is ended, false for an event.
	lasts bool
	// do makes it happen and returns what ends it, nil for an event. value is
	// what the argument says, perhaps nothing.
	do func(ctx context.Context, p *Phone, value string) (undo, error)
}

// An undo ends a fault. Ending one that was already mended in another way is no
// error.
type undo func(ctx context.Context) error

// event makes a fault's do of something that does not last.
func event(do func(ctx context.Context, p *Phone, value string) error) func(context.Context, *Phone, string) (undo, error) {
	return func(ctx context.Context, p *Phone, value string) (undo, error) { return nil, do(ctx, p, value) }
}

// toggle makes a fault's do of something that is set and taken back.
func toggle(set func(p *Phone, on bool)) func(context.Context, *Phone, string) (undo, error) {
	return func(_ context.Context, p *Phone, _ string) (undo, error) {
		set(p, true)
		return func(context.Context) error {
			set(p, false)
			return nil
		}, nil
	}
}

// faults are all faults by name.
func faults() map[string]fault {
	all := map[string]fault{}
	for _, kind := range []map[string]fault{transportFaults(), phoneFaults(), networkFaults(), vpnFaults(), screenFaults()} {
		maps.Copy(all, kind)
	}
	return all
}

// endings are names by which a fault is ended, beside its own with "off". Those
// that lead to unplug end whatever keeps the phone from its hosts.
func endings() map[string]string {
	return map[string]string{
		"plug": "unplug", "replug": "unplug", "online": "unplug", "network-up": "network-down", "reachable": "unreachable",
	}
}

// Faults are the names that Fault knows, each with what it does.
func Faults() map[string]string {
	m := map[string]string{}
	for name, f := range faults() {
		about := f.about
		switch {
		case f.takes != "" && f.lasts:
			about += fmt.Sprintf(" (argument: %s; then, after a comma, for how long; or off)", f.takes)
		case f.takes != "":
			about += fmt.Sprintf(" (argument: %s)", f.takes)
		case f.lasts:
			about += " (argument: for how long, or off)"
		}
		m[name] = about
	}
	return m
}

// A PlannedFault is a fault and its time.
type PlannedFault struct {
	Name, Arg string
	// After is counted from the phone's start, times the world's pace.
	After time.Duration
}

// ParseFault reads NAME[=ARG][@AFTER], such as unplug=5s@2s.
func ParseFault(text string) (PlannedFault, error) {
	text, after, timed := strings.Cut(text, "@")
	var f PlannedFault
	f.Name, f.Arg, _ = strings.Cut(text, "=")
	if timed {
		var err error
		if f.After, err = time.ParseDuration(after); err != nil || f.After < 0 {
			return PlannedFault{}, fmt.Errorf("sim: fault %q: after @ stands a time such as 2s", text)
		}
	}
	_, err := readFault(f.Name, f.Arg)
	return f, err
}

// A request is what somebody asks for by a fault's name and argument.
type request struct {
	name, value string
	fault       fault
	lasts       time.Duration // 0 means until it is ended
	off         bool
	plugged     bool // off, and the phone is back on its cable
}

func readFault(name, arg string) (request, error) {
	r := request{name: name, value: arg}
	if ended, ok := endings()[name]; ok {
		r.name, r.off, r.plugged = ended, true, ended == "unplug"
	}
	f, ok := faults()[r.name]
	if !ok {
		return r, fmt.Errorf("%w: %q; known are %s", ErrUnknownFault, name, strings.Join(slices.Sorted(maps.Keys(faults())), ", "))
	}
	r.fault = f
	if r.off {
		return r, nil
	}
	if arg == "off" {
		r.off = true
		if !f.lasts {
			return r, fmt.Errorf("sim: %s is an event: it has no end", name)
		}
		return r, nil
	}
	how := ""
	switch i := strings.LastIndexByte(arg, ','); {
	case !f.lasts:
	case f.takes == "":
		r.value, how = "", arg
	case i >= 0:
		r.value, how = arg[:i], arg[i+1:]
	}
	if f.takes == "" && !f.lasts && arg != "" {
		return r, fmt.Errorf("sim: %s takes no argument, not %q", name, arg)
	}
	if how != "" {
		var err error
		if r.lasts, err = time.ParseDuration(how); err != nil || r.lasts <= 0 {
			return r, fmt.Errorf("sim: %s takes a time such as 5s, or off, not %q", name, how)
		}
	}
	return r, nil
}

// A lasting fault is one that has begun and not ended.
type lasting struct {
	name, value string
	undo        undo
}

// Fault makes a fault of Faults happen. arg is empty, a value where the fault
// takes one, a time after which a lasting fault ends by itself, or value and
// time with a comma between; "off" ends it now. Times are multiplied by the
// world's pace; times that are values are not.
func (p *Phone) Fault(ctx context.Context, name, arg string) error {
	return p.FaultAfter(ctx, name, arg, 0)
}

// FaultAfter is Fault after a time, times the world's pace. What goes wrong only
// then is in the world's log.
func (p *Phone) FaultAfter(ctx context.Context, name, arg string, after time.Duration) error {
	r, err := readFault(name, arg)
	if err != nil {
		return err
	}
	if after > 0 {
		return p.later(after, func(ctx context.Context) { p.complain(ctx, r.name, p.apply(ctx, r)) })
	}
	return p.apply(ctx, r)
}

func (p *Phone) complain(ctx context.Context, name string, err error) {
	if err != nil && ctx.Err() == nil {
		p.w.cfg.Log.Error("fault", "phone", p.serial, "name", name, "err", err)
	}
}

// apply makes a fault happen, or ends it.
func (p *Phone) apply(ctx context.Context, r request) error {
	p.w.cfg.Log.Info("fault", "phone", p.serial, "name", r.name, "value", r.value, "lasts", r.lasts, "off", r.off)
	if r.plugged {
		err := p.endFaults(ctx, func(l *lasting) bool { return slices.Contains(cableFaults(), l.name) })
		p.back() // from what is no fault that lasts, too
		return err
	}
	if r.off {
		return p.endFaults(ctx, func(l *lasting) bool { return l.name == r.name })
	}
	end, err := r.fault.do(ctx, p, r.value)
	if err != nil || end == nil {
		return err
	}
	l := &lasting{name: r.name, value: r.value, undo: end}
	p.mu.Lock()
	p.faults = append(p.faults, l)
	p.mu.Unlock()
	if r.lasts == 0 {
		return nil
	}
	return p.later(r.lasts, func(ctx context.Context) {
		p.complain(ctx, r.name, p.endFaults(ctx, func(other *lasting) bool { return other == l }))
	})
}

// endFaults ends those of the lasting faults that which chooses, the latest
// first.
func (p *Phone) endFaults(ctx context.Context, which func(*lasting) bool) error {
	p.mu.Lock()
	var ended []*lasting
	p.faults = slices.DeleteFunc(p.faults, func(l *lasting) bool {
		if !which(l) {
			return false
		}
		ended = append(ended, l)
		return true
	})
	p.mu.Unlock()
	var errs []error
	for _, l := range slices.Backward(ended) {
		errs = append(errs, l.undo(ctx))
	}
	return errors.Join(errs...)
}

// Faulty names the faults that have begun and not ended, as NAME or NAME=VALUE.
func (p *Phone) Faulty() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	names := []string{}
	for _, l := range p.faults {
		name := l.name
		if l.value != "" {
			name += "=" + l.value
		}
		names = append(names, name)
	}
	return names
}

// later runs f after a time, times the world's pace, unless the world ends
// before.
func (p *Phone) later(d time.Duration, f func(ctx context.Context)) error {
	return p.run(func() {
		if p.wait(d) {
			f(p.life)
		}
	})
}

// run starts a goroutine of the phone, unless the world has ended.
func (p *Phone) run(f func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return p.life.Err()
	}
	p.running.Go(f)
	return nil
}

// wait waits a time, times the world's pace, and reports whether the world
// still goes on.
func (p *Phone) wait(d time.Duration) bool {
	t := time.NewTimer(p.paced(d))
	defer t.Stop()
	select {
	case <-p.life.Done():
		return false
	case <-t.C:
		return true
	}
}

func (p *Phone) paced(d time.Duration) time.Duration {
	return time.Duration(float64(d) * p.w.cfg.Pace)
}

// often does something again and again until it is undone: beat says how long
// to wait before the next time, times the world's pace.
func (p *Phone) often(beat time.Duration, f func()) (undo, error) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	err := p.run(func() {
		defer close(stopped)
		for {
			f()
			t := time.NewTimer(p.paced(beat))
			select {
			case <-t.C:
				continue
			case <-p.life.Done():
			case <-stop:
			}
			t.Stop()
			return
		}
	})
	if err != nil {
		return nil, err
	}
	return func(context.Context) error {
		close(stop)
		<-stopped
		return nil
	}, nil
}
