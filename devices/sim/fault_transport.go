package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// transportFaults are what goes wrong between a host and the phone's services.
func transportFaults() map[string]fault {
	return map[string]fault{
		"reboot": {about: "restarts the phone", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.reboot("")
			return nil
		})},
		"unplug":         {about: "takes the phone off its cable", lasts: true, do: turn(adbd.Absent)},
		"flaky-cable":    {about: "the cable loses contact for a moment, again and again", lasts: true, do: flaky},
		"unauthorized":   {about: "the phone has forgotten this computer", lasts: true, do: turn(adbd.Unauthorized)},
		"authorizing":    {about: "the phone has not yet answered whether it knows this computer", lasts: true, do: turn(adbd.Authorizing)},
		"offline":        {about: "adbd does not answer", lasts: true, do: turn(adbd.Offline)},
		"no-permissions": {about: "the host's user may not open the phone's USB device", lasts: true, do: turn(adbd.NoPermissions)},
		"recovery":       {about: "the phone is in recovery", lasts: true, do: rebootInto("recovery")},
		"sideload":       {about: "the phone is in recovery and waits for an update", lasts: true, do: rebootInto("sideload")},
		"bootloader":     {about: "the phone is in its bootloader, where ADB does not see it", lasts: true, do: rebootInto("bootloader")},
		"stale": {about: "kills the connection to the phone: it is offline until somebody reconnects it", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.w.adb.Stale(p.serial)
			return nil
		})},
		"adb-down": {about: "the ADB server of all phones is gone", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			p.w.StopADB()
			return p.w.StartADB, nil
		}},
		"adb-restart": {about: "somebody restarts the ADB server of all phones", do: event(func(ctx context.Context, p *Phone, _ string) error {
			p.w.StopADB()
			return p.w.StartADB(ctx)
		})},
		"slow-adb": {
			about: "every service of the phone takes longer to begin", lasts: true, takes: "how much longer, 2s unless given",
			do: func(_ context.Context, p *Phone, value string) (undo, error) {
				if value == "" {
					value = "2s"
				}
				d, err := time.ParseDuration(value)
				if err != nil || d <= 0 {
					return nil, fmt.Errorf("sim: slow-adb takes a time such as 2s, not %q", value)
				}
				return p.trouble(func(t *troubles) { t.slow += d }, func(t *troubles) { t.slow -= d }), nil
			},
		},
		"hang-shell": {about: "shells are accepted and never answer", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			return p.trouble(func(t *troubles) { t.hang++ }, func(t *troubles) { t.hang-- }), nil
		}},
		"lose-exit": {about: "the connection of every command drops before its exit status", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			return p.trouble(func(t *troubles) { t.loseExit++ }, func(t *troubles) { t.loseExit-- }), nil
		}},
		"cut-output": {
			about: "the connection of every command drops in the middle of its output", lasts: true, takes: "after how many bytes, half of the first ones unless given",
			do: func(_ context.Context, p *Phone, value string) (undo, error) {
				after := 0
				if value != "" {
					var err error
					if after, err = strconv.Atoi(value); err != nil || after <= 0 {
						return nil, fmt.Errorf("sim: cut-output takes a number of bytes, not %q", value)
					}
				}
				return p.trouble(func(t *troubles) { t.cut, t.cutAfter = true, after }, func(t *troubles) { t.cut = false }), nil
			},
		},
		"cut-reverse": {about: "removes the phone's reverse connections", do: event(func(_ context.Context, p *Phone, _ string) error {
			p.daemon.CutReverses()
			return nil
		})},
	}
}

// cableFaults are those that turn the phone's state.
func cableFaults() []string {
	return []string{"unplug", "flaky-cable", "unauthorized", "authorizing", "offline", "no-permissions"}
}

// turn puts the phone in another state for its hosts, until it is undone.
func turn(to adbd.State) func(context.Context, *Phone, string) (undo, error) {
	return func(_ context.Context, p *Phone, _ string) (undo, error) {
		p.setState(to)
		return func(context.Context) error {
			p.back()
			return nil
		}, nil
	}
}

// back puts the phone in the state in which it stands by itself.
func (p *Phone) back() {
	p.mu.Lock()
	booting, rest := p.booting, p.rest
	p.mu.Unlock()
	if !booting { // Otherwise it comes back by itself.
		p.setState(rest)
	}
}

func rebootInto(mode string) func(context.Context, *Phone, string) (undo, error) {
	return func(_ context.Context, p *Phone, _ string) (undo, error) {
		p.reboot(mode)
		return func(context.Context) error {
			p.reboot("")
			return nil
		}, nil
	}
}

// flaky unplugs the phone for half a second every few seconds.
func flaky(_ context.Context, p *Phone, _ string) (undo, error) {
	stop, err := p.often(4*time.Second, func() {
		p.setState(adbd.Absent)
		if p.wait(500 * time.Millisecond) {
			p.back()
		}
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		err := stop(ctx)
		p.back()
		return err
	}, nil
}

// troubles are what is wrong with the phone's services.
type troubles struct {
	slow           time.Duration
	hang, loseExit int // counts of the faults that ask for it
	cut            bool
	cutAfter       int // bytes; 0 is half of the first ones
}

// trouble changes what is wrong with the services until it is undone.
func (p *Phone) trouble(begin, end func(*troubles)) undo {
	change := func(f func(*troubles)) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f(&p.troubles)
	}
	change(begin)
	return func(context.Context) error {
		change(end)
		return nil
	}
}

func (p *Phone) troubled() troubles {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.troubles
}

// delay is what a service waits for before it begins.
func (t troubles) delay(ctx context.Context) error {
	if t.slow <= 0 {
		return nil
	}
	timer := time.NewTimer(t.slow)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A hung session is a command that was accepted and never answers: it takes its
// input and ends only with its connection.
type hung struct {
	once   sync.Once
	closed chan struct{}
}

var _ adbd.Session = (*hung)(nil)

func newHung() *hung { return &hung{closed: make(chan struct{})} }

func (h *hung) Write([]byte) error { return nil }
func (h *hung) CloseInput()        {}
func (h *hung) Close()             { h.once.Do(func() { close(h.closed) }) }

func (h *hung) Wait() (code int, ok bool) {
	<-h.closed
	return 0, false
}

// A broken session loses its connection, before its exit status or in the middle
// of its output.
type broken struct {
	adbd.Session
	loseExit bool
	cut      *cutter
}

func (b broken) Wait() (code int, ok bool) {
	code, ok = b.Session.Wait()
	return code, ok && !b.loseExit && !b.cut.isGone()
}

// A cutter lets so many bytes of a session's output pass and then closes it.
type cutter struct {
	mu      sync.Mutex
	on      bool
	left    int // 0 is half of what comes next
	gone    bool
	session adbd.Session // nil until it has begun
}

var errCut = errors.New("sim: the connection was cut")

// attach tells which session to close.
func (c *cutter) attach(s adbd.Session) {
	c.mu.Lock()
	c.session = s
	gone := c.gone
	c.mu.Unlock()
	if gone {
		s.Close()
	}
}

func (c *cutter) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// take says how many of n bytes still pass, and what to close after them.
func (c *cutter) take(n int) (pass int, ends bool, session adbd.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return 0, true, c.session
	case !c.on:
		return n, false, nil
	case c.left == 0:
		c.left = max(n/2, 1)
	}
	if n < c.left {
		c.left -= n
		return n, false, nil
	}
	c.gone = true
	return c.left, true, c.session
}

// through is an output that the cutter watches.
func (c *cutter) through(sink func([]byte) error) func([]byte) error {
	return func(b []byte) error {
		pass, ends, session := c.take(len(b))
		var err error
		if pass > 0 {
			err = sink(b[:pass])
		}
		if !ends {
			return err
		}
		if session != nil {
			session.Close()
		}
		return errors.Join(err, errCut)
	}
}
