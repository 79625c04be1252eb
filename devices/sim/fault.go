package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/browser"
)

// ErrUnknownFault is returned for a fault that no phone knows.
var ErrUnknownFault = errors.New("sim: unknown fault")

// A fault is one way to break a phone.
type fault struct {
	about string
	do    func(ctx context.Context, p *Phone, arg string) error
	// mend undoes it. Where it is set, the argument is a time after which the
	// fault mends itself.
	mend func(ctx context.Context, p *Phone) error
}

// turn puts the phone in another state; adbd.Device means the one in which it
// stands by itself.
func turn(to adbd.State) func(context.Context, *Phone, string) error {
	return func(_ context.Context, p *Phone, _ string) error {
		p.mu.Lock()
		booting, rest := p.booting, p.rest
		p.mu.Unlock()
		switch {
		case to != adbd.Device:
			p.setState(to)
		case !booting: // Otherwise it comes back by itself.
			p.setState(rest)
		}
		return nil
	}
}

func online(ctx context.Context, p *Phone) error { return turn(adbd.Device)(ctx, p, "") }

// radio switches Wi-Fi.
func radio(up bool) func(context.Context, *Phone, string) error {
	return func(_ context.Context, p *Phone, _ string) error {
		p.sys.SetWifi(up)
		return nil
	}
}

func radioOn(_ context.Context, p *Phone) error {
	p.sys.SetWifi(true)
	return nil
}

func hear(_ context.Context, p *Phone) error {
	p.sys.SetTapSilent(false)
	return nil
}

// reach makes a host answer or not.
func reach(answers bool) func(context.Context, *Phone, string) error {
	return func(_ context.Context, p *Phone, arg string) error { return p.w.net.SetReachable(arg, answers) }
}

func faults() map[string]fault {
	return map[string]fault{
		"reboot": {about: "restarts the phone", do: func(_ context.Context, p *Phone, _ string) error {
			p.reboot("")
			return nil
		}},
		"unplug":       {"takes the phone off its cable (argument: for how long)", turn(adbd.Absent), online},
		"unauthorized": {"makes the phone forget this computer (argument: for how long)", turn(adbd.Unauthorized), online},
		"offline":      {"makes adbd not answer (argument: for how long)", turn(adbd.Offline), online},
		"stale": {about: "kills the connection to the phone: it is offline until somebody reconnects it", do: func(_ context.Context, p *Phone, _ string) error {
			p.w.adb.Stale(p.serial)
			return nil
		}},
		"plug":   {about: "puts the phone back on its cable", do: turn(adbd.Device)},
		"replug": {about: "is plug", do: turn(adbd.Device)},
		"online": {about: "ends unauthorized and offline", do: turn(adbd.Device)},
		"adb-down": {"stops the ADB server of all phones (argument: for how long)", func(_ context.Context, p *Phone, _ string) error {
			p.w.StopADB()
			return nil
		}, func(ctx context.Context, p *Phone) error { return p.w.StartADB(ctx) }},
		"cut-reverse": {about: "removes the phone's reverse connections", do: func(_ context.Context, p *Phone, _ string) error {
			p.daemon.CutReverses()
			return nil
		}},
		"kill-tcpdump": {about: "kills every tcpdump on the phone (argument: a signal, KILL unless given)", do: killTCPDump},
		"tcpdump-silent": {"tcpdump runs and shows nothing more (argument: for how long, or off to end it)", func(_ context.Context, p *Phone, arg string) error {
			p.sys.SetTapSilent(arg != "off")
			return nil
		}, hear},
		"drop-packets": {about: "loses every n-th packet, and says so (argument n, 0 ends it)", do: func(_ context.Context, p *Phone, arg string) error {
			n, err := strconv.Atoi(arg)
			if err != nil || n < 0 {
				return fmt.Errorf("sim: drop-packets needs a number, not %q", arg)
			}
			p.sys.SetDropEvery(n)
			return nil
		}},
		"clock-jump": {about: "moves the phone's clock by a time (argument such as 1h or -90s, never times the pace)", do: func(_ context.Context, p *Phone, arg string) error {
			d, err := time.ParseDuration(arg)
			if err != nil {
				return fmt.Errorf("sim: clock-jump needs a time such as 1h: %w", err)
			}
			p.sys.JumpClock(d)
			return nil
		}},
		"network-down": {"turns Wi-Fi off (argument: for how long)", radio(false), radioOn},
		"network-up":   {about: "turns it on again", do: radio(true)},
		"unreachable":  {about: "a host takes packets and answers none (argument: its name)", do: reach(false)},
		"reachable":    {about: "the host answers again (argument: its name)", do: reach(true)},
		"crash-browser": {about: "the browser's process dies", do: func(_ context.Context, p *Phone, _ string) error {
			p.display.ForceStop(browser.Package)
			return nil
		}},
	}
}

func killTCPDump(_ context.Context, p *Phone, arg string) error {
	sig, ok := map[string]syscall.Signal{
		"": syscall.SIGKILL, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
	}[strings.TrimPrefix(strings.ToUpper(arg), "SIG")]
	if !ok {
		return fmt.Errorf("sim: kill-tcpdump knows KILL, TERM and INT, not %q", arg)
	}
	if p.sys.KillByName("tcpdump", sig) == 0 {
		return fmt.Errorf("sim: no tcpdump runs on %s", p.serial)
	}
	return nil
}

// Faults are the names that Fault knows, each with what it does.
func Faults() map[string]string {
	m := map[string]string{}
	for name, f := range faults() {
		m[name] = f.about
	}
	return m
}

// Fault makes a fault of Faults happen. arg is a number, a name or a time where
// the fault takes one, and may be empty. A fault that takes a time lasts until
// it is ended when there is none, and else mends itself after that time, times
// the world's pace.
func (p *Phone) Fault(ctx context.Context, name, arg string) error {
	f, ok := faults()[name]
	if !ok {
		return fmt.Errorf("%w: %q; known are %s", ErrUnknownFault, name, strings.Join(slices.Sorted(maps.Keys(faults())), ", "))
	}
	var lasts time.Duration
	if f.mend != nil && arg != "" && arg != "off" {
		var err error
		if lasts, err = time.ParseDuration(arg); err != nil || lasts <= 0 {
			return fmt.Errorf("sim: %s takes a time such as 5s, not %q", name, arg)
		}
	}
	p.w.cfg.Log.Info("fault", "phone", p.serial, "name", name, "arg", arg)
	if err := f.do(ctx, p, arg); err != nil || lasts == 0 {
		return err
	}
	return p.later(time.Duration(float64(lasts)*p.w.cfg.Pace), func(ctx context.Context) {
		if err := f.mend(ctx, p); err != nil && ctx.Err() == nil {
			p.w.cfg.Log.Error("fault: mend", "phone", p.serial, "name", name, "err", err)
		}
	})
}

// later runs f after a time, unless the world ends before.
func (p *Phone) later(d time.Duration, f func(ctx context.Context)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return p.life.Err()
	}
	p.running.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-p.life.Done():
		case <-t.C:
			f(p.life)
		}
	})
	return nil
}
