package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/pcapdroid"
	"github.com/offproof/offproof/devices/sim/userland"
)

// capturePCAPdroid is the instrument that needs the app, as farm.yaml calls it.
const capturePCAPdroid = "pcapdroid"

// pcapdroidVersion is that of a phone that is to have the app, whatever it is.
const pcapdroidVersion = "1.8.7"

// errNoPCAPdroid is that of a fault of an app that is not there.
var errNoPCAPdroid = errors.New("sim: PCAPdroid is not installed on this phone: list pcapdroid among its capture")

// installPCAPdroid makes the app and says which packages come with it.
func (p *Phone) installPCAPdroid(version string, rng *rand.Rand) []userland.Package {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	key := make([]byte, 32)
	for i := range key {
		key[i] = letters[rng.IntN(len(letters))]
	}
	p.vpnKey = string(key)
	v4, v6 := p.stack.Gateway()
	p.vpn = pcapdroid.New(pcapdroid.Config{
		APIKey: p.vpnKey, Pace: p.w.cfg.Pace, MAC: p.stack.MAC(), Resolvers: []netip.Addr{v4, v6},
		Now: func() time.Time { return p.sys.Now() },
		Tap: func(fn func(at time.Time, frame []byte)) (stop func()) {
			return p.stack.OpenTap("wlan0", func(at time.Time, frame []byte) { fn(p.sys.PhoneTime(at), frame) }).Stop
		},
		Addrs:   func() []netip.Prefix { return p.stack.Addrs("wlan0") },
		Owner:   p.stack.Owner,
		AppName: p.appName,
		Create: func(path string) (io.WriteCloser, error) {
			if err := p.sys.FS().MkdirAll(pcapdroid.Folder, 0o771); err != nil {
				return nil, err
			}
			return p.sys.FS().OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o660)
		},
		Listen: func(port int) (net.Listener, error) {
			return p.stack.Listen(pcapdroid.UID, "tcp", net.JoinHostPort("0.0.0.0", strconv.Itoa(port)))
		},
		Log:       func(level, tag, text string) { p.sys.LogApp(pcapdroid.Package, level, tag, text) },
		Consented: func() bool { return p.sys.AppOp(pcapdroid.Package, pcapdroid.ConsentOp) == "allow" },
		Consent:   func() { p.sys.SetAppOp(pcapdroid.Package, pcapdroid.ConsentOp, "allow") },
	})
	p.stack.Charge(p.vpn.Charge)
	return []userland.Package{
		{
			Name: pcapdroid.Package, Version: version, Code: versionCode(version) / 10000, UID: pcapdroid.UID, Main: pcapdroid.MainActivity,
			Permissions: []string{"android.permission.INTERNET", "android.permission.ACCESS_NETWORK_STATE", "android.permission.FOREGROUND_SERVICE"},
		},
		{Name: pcapdroid.ConsentPackage, Version: p.identity.Release, Code: 28, UID: pcapdroid.ConsentUID, System: true},
	}
}

// appName is the label of a user's app, as far as it matters here.
func (p *Phone) appName(uid int) string {
	switch uid {
	case p.browser.UID():
		return "Mi Browser"
	case p.browser.DelegateUID():
		return browser.DelegatePackage
	case 2000:
		return "shell"
	case 1000:
		return "system"
	}
	return p.sys.PackageOf(uid)
}

// PCAPdroidKey is the API key of the phone's PCAPdroid, empty without one.
func (p *Phone) PCAPdroidKey() string { return p.vpnKey }

// services are those of PCAPdroid while it records.
func (p *Phone) services() []string {
	if p.vpn == nil || !p.vpn.Running() {
		return nil
	}
	return []string{pcapdroid.Package + "/" + pcapdroid.Service}
}

// tunnel is tun0 while there is one.
func (p *Phone) tunnel() []userland.Interface {
	if p.vpn == nil {
		return nil
	}
	t, ok := p.vpn.Tunnel()
	if !ok {
		return nil
	}
	return []userland.Interface{{
		Name: "tun0", Up: true, Prefixes: t.Prefixes,
		Counters: userland.Counters{
			TxBytes: t.SentBytes, TxPackets: t.SentPackets, RxBytes: t.ReceivedBytes, RxPackets: t.ReceivedPackets,
		},
	}}
}

// tunnelUsers are the counters of tun0 by user id, as they stay when it has gone.
func (p *Phone) tunnelUsers() map[int]userland.Counters {
	if p.vpn == nil {
		return nil
	}
	users := map[int]userland.Counters{}
	for uid, u := range p.vpn.Users() {
		users[uid] = userland.Counters{
			TxBytes: u.SentBytes, TxPackets: u.SentPackets, RxBytes: u.ReceivedBytes, RxPackets: u.ReceivedPackets,
		}
	}
	return users
}

// vpnFaults are what goes wrong with PCAPdroid.
func vpnFaults() map[string]fault {
	app := func(do func(a *pcapdroid.App) undo) func(context.Context, *Phone, string) (undo, error) {
		return func(_ context.Context, p *Phone, _ string) (undo, error) {
			if p.vpn == nil {
				return nil, errNoPCAPdroid
			}
			return do(p.vpn), nil
		}
	}
	hold := func(set func(a *pcapdroid.App, on bool)) func(context.Context, *Phone, string) (undo, error) {
		return app(func(a *pcapdroid.App) undo {
			set(a, true)
			return func(context.Context) error {
				set(a, false)
				return nil
			}
		})
	}
	return map[string]fault{
		"pcapdroid-stops": {about: "PCAPdroid ends its capture, as when another app takes the VPN", do: app(func(a *pcapdroid.App) undo {
			a.Stop()
			return nil
		})},
		"pcapdroid-empty": {about: "PCAPdroid records and writes nothing", lasts: true, do: hold((*pcapdroid.App).SetEmpty)},
		"pcapdroid-gap":   {about: "PCAPdroid loses every third packet and does not count it", lasts: true, do: hold((*pcapdroid.App).SetGap)},
		"past-vpn": {
			about: "an app's packets go past PCAPdroid's VPN, as by its list of exceptions or a socket that is bound to the Wi-Fi",
			takes: "the app's package, the browser's when empty", lasts: true,
			do: func(_ context.Context, p *Phone, pkg string) (undo, error) {
				if p.vpn == nil {
					return nil, errNoPCAPdroid
				}
				uid := p.browser.UID()
				if pkg != "" {
					var ok bool
					if uid, ok = p.sys.UIDOf(pkg); !ok {
						return nil, fmt.Errorf("sim: %s is not installed", pkg)
					}
				}
				p.vpn.SetPast(uid, true)
				return func(context.Context) error {
					p.vpn.SetPast(uid, false)
					return nil
				}, nil
			},
		},
		"vpn-consent": {about: "nobody allowed PCAPdroid to be the phone's VPN: a window asks when it starts", lasts: true, do: func(_ context.Context, p *Phone, _ string) (undo, error) {
			if p.vpn == nil {
				return nil, errNoPCAPdroid
			}
			p.sys.SetAppOp(pcapdroid.Package, pcapdroid.ConsentOp, "ignore")
			return func(context.Context) error {
				p.sys.SetAppOp(pcapdroid.Package, pcapdroid.ConsentOp, "allow")
				return nil
			}, nil
		}},
	}
}
