package sim

import (
	"context"

	"github.com/offproof/offproof/devices/sim/userland"
)

// networkFaults are what goes wrong with the phone's way to the internet.
func networkFaults() map[string]fault {
	return map[string]fault{
		"network-down": {about: "Wi-Fi is off", lasts: true, do: toggle(func(p *Phone, on bool) { p.sys.SetWifi(!on) })},
		"private-dns":  {about: "Private DNS is on", lasts: true, do: holdSetting("private_dns_mode", "hostname")},
		"no-internet": {about: "the access point leads nowhere, as Android's check finds", lasts: true, do: toggle(func(p *Phone, on bool) {
			p.sys.Alter(func(c *userland.Condition) { c.NoInternet = on })
		})},
		"bluetooth-on": {about: "Bluetooth is on", lasts: true, do: toggle(func(p *Phone, on bool) {
			p.sys.Alter(func(c *userland.Condition) { c.Bluetooth = on })
		})},
		"unreachable": {about: "a host takes packets and answers none", lasts: true, takes: "its name", do: func(_ context.Context, p *Phone, value string) (undo, error) {
			if err := p.w.net.SetReachable(value, false); err != nil {
				return nil, err
			}
			return func(context.Context) error { return p.w.net.SetReachable(value, true) }, nil
		}},
	}
}
