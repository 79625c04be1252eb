package sim

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/offproof/offproof/devices/sim/userland"
)

// phoneFaults are what goes wrong with the phone itself and with what runs on it.
func phoneFaults() map[string]fault {
	return map[string]fault{
		"kill-tcpdump":   {about: "kills every tcpdump on the phone", takes: "a signal, KILL unless given", do: event(killTCPDump)},
		"tcpdump-silent": {about: "tcpdump runs and shows nothing more", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.SetTapSilent(on) })},
		"hide-packets": {about: "the kernel keeps the packets of a port from tcpdump", lasts: true, takes: "the port, 5222 unless given", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			port, err := number(value, 5222, 1, 65535)
			if err != nil {
				return nil, fmt.Errorf("sim: hide-packets: %w", err)
			}
			return func(context.Context) error { return p.sys.SetTapHides("") }, p.sys.SetTapHides("port " + strconv.Itoa(port))
		}},
		"drop-packets": {about: "tcpdump loses every n-th packet, and says so", lasts: true, takes: "n, 0 ends it", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("sim: drop-packets needs a number, not %q", value)
			}
			p.sys.SetDropEvery(n)
			if n == 0 {
				return nil, nil
			}
			return func(context.Context) error {
				p.sys.SetDropEvery(0)
				return nil
			}, nil
		}},
		"full-data": {about: "the storage is full: nothing more can be written", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.FS().SetFull(on) })},
		"low-battery": {about: "the battery is nearly empty, and nothing charges it", lasts: true, takes: "percent, 4 unless given", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			percent, err := number(value, 4, 0, 100)
			if err != nil {
				return nil, fmt.Errorf("sim: low-battery: %w", err)
			}
			return p.alter(func(c *userland.Condition) { c.Battery, c.Charging = percent, false },
				func(c *userland.Condition, was userland.Condition) { c.Battery, c.Charging = was.Battery, was.Charging }), nil
		}},
		"hot-battery": {about: "the battery is hot", lasts: true, takes: "degrees Celsius, 49 unless given", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			degrees, err := number(value, 49, -20, 90)
			if err != nil {
				return nil, fmt.Errorf("sim: hot-battery: %w", err)
			}
			return p.alter(func(c *userland.Condition) { c.Temperature = degrees * 10 },
				func(c *userland.Condition, was userland.Condition) { c.Temperature = was.Temperature }), nil
		}},
		"data-saver": {about: "Data Saver keeps apps in the background from the network", lasts: true, do: toggle(func(p *Phone, on bool) {
			p.sys.Alter(func(c *userland.Condition) { c.DataSaver = on })
		})},
		"doze": {about: "the phone sleeps, because nobody used it", lasts: true, do: toggle(func(p *Phone, on bool) {
			p.sys.Alter(func(c *userland.Condition) { c.Dozing = on })
		})},
		"battery-saver": {about: "the battery saver is on", lasts: true, do: holdSetting("low_power", "1")},
		"gate-closed":   {about: "MIUI's ADB gate, USB debugging (Security settings), is off, and the shell is the shell user's", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.CloseGate(on) })},
		"no-hid":        {about: "the shell may not make input devices: its hid command has no effect", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.DenyHID(on) })},
		"no-install":    {about: "MIUI's Install via USB is off: the shell may not install apps", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.CloseInstall(on) })},
		"root-lost":     {about: "nobody is root any more: adbd runs as the shell user, and su is denied", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.LoseRoot(on) })},
		"clock-jump": {about: "moves the phone's clock", lasts: true, takes: "a time such as 1h or -90s", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("sim: clock-jump needs a time such as 1h: %w", err)
			}
			p.sys.JumpClock(d)
			return func(context.Context) error {
				p.sys.JumpClock(-d)
				return nil
			}, nil
		}},
		"clock-drift": {about: "the phone's clock runs fast", lasts: true, takes: "percent, negative for slow, 1 unless given", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			percent := 1.0
			if value != "" {
				var err error
				if percent, err = strconv.ParseFloat(value, 64); err != nil || percent <= -50 || percent > 50 {
					return nil, fmt.Errorf("sim: clock-drift takes a percentage such as 1 or -0.5, not %q", value)
				}
			}
			p.sys.DriftClock(percent / 100)
			return func(context.Context) error {
				p.sys.DriftClock(0)
				return nil
			}, nil
		}},
		"ca-gone": {about: "a certificate store that was mounted over the system's is no longer there", do: event(func(_ context.Context, p *Phone, _ string) error {
			gone := false
			for p.sys.FS().Unmount(userland.CertificateDir) == nil {
				gone = true
			}
			if !gone {
				return fmt.Errorf("sim: nothing is mounted over the certificates of %s", p.serial)
			}
			return nil
		})},
		"boot-stuck": {about: "Android does not finish starting: ADB works and no service of the system does", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.StickBoot(on) })},
	}
}

// number reads a whole number, or says what is meant when there is none.
func number(value string, otherwise, least, most int) (int, error) {
	if value == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("the argument is a number from %d to %d, not %q", least, most, value)
	}
	return n, nil
}

// alter changes the phone's condition until it is undone.
func (p *Phone) alter(begin func(*userland.Condition), end func(c *userland.Condition, was userland.Condition)) undo {
	var was userland.Condition
	p.sys.Alter(func(c *userland.Condition) {
		was = *c
		begin(c)
	})
	return func(context.Context) error {
		p.sys.Alter(func(c *userland.Condition) { end(c, was) })
		return nil
	}
}

// holdSetting gives a setting of the namespace global another value, until it is
// undone.
func holdSetting(key, value string) func(context.Context, *Phone, string) (undo, error) {
	return func(_ context.Context, p *Phone, _ string) (undo, error) {
		was, had := p.sys.Setting("global", key)
		p.sys.SetSetting("global", key, value)
		return func(context.Context) error {
			if !had {
				p.sys.DeleteSetting("global", key)
				return nil
			}
			p.sys.SetSetting("global", key, was)
			return nil
		}, nil
	}
}

func killTCPDump(_ context.Context, p *Phone, value string) error {
	sig, ok := map[string]syscall.Signal{
		"": syscall.SIGKILL, "KILL": syscall.SIGKILL, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT,
	}[strings.TrimPrefix(strings.ToUpper(value), "SIG")]
	if !ok {
		return fmt.Errorf("sim: kill-tcpdump knows KILL, TERM and INT, not %q", value)
	}
	if p.sys.KillByName("tcpdump", sig) == 0 {
		return fmt.Errorf("sim: no tcpdump runs on %s", p.serial)
	}
	return nil
}
