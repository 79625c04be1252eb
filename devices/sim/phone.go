package sim

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/apps"
	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/pcapdroid"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/userland"
)

// bootTime is how long a reboot takes, before the pace.
const bootTime = 30 * time.Second

// startTime is how long Android takes to start its services when adbd already
// answers, before the pace.
const startTime = 5 * time.Second

// noiseEvery is the time between records of the other app, before the pace.
const noiseEvery = 30 * time.Second

// A Phone is one simulated phone.
type Phone struct {
	w        *World
	serial   string
	identity userland.Identity
	stack    *internet.Stack
	display  *screen.Display
	browser  *browser.Browser
	sys      *userland.System
	daemon   *adbd.Daemon
	life     context.Context //nolint:containedctx // The phone's own life, which starts again its apps after a reboot.
	roots    *x509.CertPool
	keys     *keyLog        // nil where nobody logs
	console  *console       // nil where the phone is no emulator
	vpn      *pcapdroid.App // nil where it is not installed
	vpnKey   string

	transport *adbd.Transport // nil unless the world has been asked for it

	mu       sync.Mutex
	booting  bool
	boots    int
	next     *string    // what it was told to reboot into while it was booting
	rest     adbd.State // that in which it stands when nothing keeps it from its hosts
	noise    context.CancelFunc
	troubles troubles
	faults   []*lasting
	running  sync.WaitGroup
}

func (w *World) phone(life context.Context, pc PhoneConfig, serial string, rng *rand.Rand) (*Phone, error) {
	personality := pc.Behaviour
	if personality == nil {
		name := pc.Personality
		if name == "" {
			name = "honest"
		}
		found, ok := browser.Find(name)
		if !ok {
			return nil, fmt.Errorf("sim: no personality is named %q; known are %s", name, strings.Join(Personalities(), ", "))
		}
		personality = &found
	}
	id, err := userland.Make(pc.Model, pc.Locale, serial, fmt.Sprintf("%016x", rng.Uint64()))
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	p := &Phone{w: w, serial: serial, identity: id, life: life, roots: x509.NewCertPool(), rest: adbd.Device}
	p.roots.AppendCertsFromPEM(w.net.Roots())
	if pc.KeyLog {
		p.keys = &keyLog{name: "keys-" + serial + ".log"}
	}
	if p.stack, err = w.net.Attach(internet.StackConfig{Name: serial}); err != nil {
		return nil, fmt.Errorf("sim: attach %s: %w", serial, err)
	}
	now := func() time.Time {
		if p.sys == nil {
			return time.Now()
		}
		return p.sys.Now()
	}
	p.display = screen.New(now)
	p.browser = browser.New(browser.Config{
		Network: filtered{p.stack, p}, Pace: w.cfg.Pace, Personality: *personality, Now: now, Log: w.cfg.Log, PinnedRoots: p.roots, Keys: p.secrets(),
		Roots: func() *x509.CertPool { return p.sys.TrustedRoots() },
		Proxy: func() string { return p.sys.HTTPProxy() },
		Identity: browser.Identity{
			AndroidID: id.AndroidID, Model: id.Model, Manufacturer: id.Manufacturer, OSVersion: id.Release, Build: id.BuildID,
			MIUIVersion: id.Incremental, Region: id.Region, Language: id.Language(),
		},
	})
	var dual []string
	if pc.DualApps {
		dual = []string{browser.Package}
	}
	packages := []userland.Package{
		{Name: browser.Package, Version: p.browser.Version(), Code: versionCode(p.browser.Version()), UID: p.browser.UID(), Main: browser.MainActivity, Runtime: browser.RuntimePermissions()},
		{Name: browser.DelegatePackage, Version: "3.6.13", Code: 30613, UID: p.browser.DelegateUID(), System: true, Running: true},
		{Name: apps.WeatherPackage, Version: "4.1.0", Code: 410, UID: apps.WeatherUID, Running: true},
	}
	if pc.pcapdroid() != "" {
		packages = append(packages, p.installPCAPdroid(pc.pcapdroid(), rng)...)
	}
	p.sys, err = userland.New(userland.Config{
		DualApps: dual, Root: pc.Root,
		Identity: id, Network: stackNetwork{p.stack, p.tunnel, p.tunnelUsers}, Screen: displayScreen{p.display}, Roots: w.net.Roots(), Pace: w.cfg.Pace,
		Seed: int64(rng.Uint64() >> 1), Log: w.cfg.Log, //nolint:gosec // The top bit is gone.
		Packages: packages, Services: p.services,
	})
	if err != nil {
		return nil, fmt.Errorf("sim: boot %s: %w", serial, err)
	}
	p.display.Install(p.browser)
	for _, app := range apps.PopupApps() {
		p.display.Install(app)
	}
	if p.vpn != nil {
		p.sys.SetAppOp(pcapdroid.Package, pcapdroid.ConsentOp, "allow")
		for _, app := range p.vpn.Windows() {
			p.display.Install(app)
		}
	}
	p.sys.OnReboot(func() { p.reboot("") })
	p.daemon = adbd.New(daemonPhone{p}, w.cfg.Log)
	p.startNoise()
	return p, nil
}

// versionCode is a version's number as the browser's makers count: 12.2.6-g is
// 12020600.
func versionCode(version string) int {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); err != nil {
		return 1
	}
	return ((major*100+minor)*100 + patch) * 100
}

// Personalities are the names of the built-in personalities.
func Personalities() []string {
	var names []string
	for _, p := range browser.All() {
		names = append(names, p.Name)
	}
	return names
}

// Models are the names of the models that a phone can be, the default first.
func Models() []string { return userland.Models() }

// Locales are those that a phone can be sold for, the default first.
func Locales() []string { return userland.Locales() }

func (p *Phone) startNoise() {
	ctx, cancel := context.WithCancel(p.life)
	p.mu.Lock()
	p.noise = cancel
	p.mu.Unlock()
	p.running.Go(func() {
		apps.Push(ctx, apps.PushConfig{Network: p.stack, Roots: p.roots, Keys: p.secrets(), Every: noiseEvery, Pace: p.w.cfg.Pace, Now: p.sys.Now, Log: p.w.cfg.Log})
	})
}

// end is the end of the phone with its world.
func (p *Phone) end() {
	p.mu.Lock()
	p.booting = true // No reboot begins any more.
	noise := p.noise
	p.mu.Unlock()
	noise()
	if p.vpn != nil {
		p.vpn.Close()
	}
	p.browser.Close()
	p.display.Close()
	p.sys.Shutdown()
	p.running.Wait()
	p.stack.Close()
}

// Serial is the phone's ADB serial, with the world's id in it.
func (p *Phone) Serial() string { return p.serial }

// Transport is the address for `adb connect`, which is the phone's serial at the
// genuine ADB server that is connected to it. It is empty unless Config.Transport
// is set.
func (p *Phone) Transport() string {
	if p.transport == nil {
		return ""
	}
	return p.transport.Addr()
}

// Personality is the name of what the phone's browser does.
func (p *Phone) Personality() string { return p.browser.Personality().Name }

// Model is what people call the phone, such as "Redmi Note 8".
func (p *Phone) Model() string { return p.identity.Title }

// Locale is the phone's, such as "en-GB".
func (p *Phone) Locale() string { return p.identity.Locale }

// Browser is the phone's browser, whose state is the truth.
func (p *Phone) Browser() *browser.Browser { return p.browser }

// Settings is a copy of the settings as "namespace/key" to value.
func (p *Phone) Settings() map[string]string { return p.sys.Settings() }

// Mounts are the lines of the mounts made since boot.
func (p *Phone) Mounts() []string { return p.sys.Mounts() }

// Reverses are the reverse forwards as "tcp:8080 tcp:4000".
func (p *Phone) Reverses() []string { return p.daemon.Reverses() }

// State is the phone's ADB state, "" when it is unplugged.
func (p *Phone) State() string { return string(p.w.adb.StateOf(p.serial)) }

// setState changes how the phone stands to its hosts, at every door.
func (p *Phone) setState(to adbd.State) {
	p.w.adb.SetState(p.serial, to)
	if p.transport != nil {
		p.transport.SetState(to)
	}
}

// reboot takes the phone down and brings it up again after the boot time, as a
// real one: settings and files persist; processes, mounts and reverses do not.
// It comes up in recovery, in sideload or, when nothing is named, in Android;
// in a bootloader it stays away until the next reboot.
func (p *Phone) reboot(into string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life.Err() != nil {
		return
	}
	if p.booting {
		p.next = &into
		return
	}
	p.booting = true
	p.running.Go(func() {
		p.setState(adbd.Absent)
		p.noise()
		p.display.ForceStop(browser.Package)
		if p.vpn != nil {
			p.vpn.Stop()
		}
		p.display.Key(screen.KeyHome)
		p.sys.Shutdown()
		p.stack.SetUp(false)
		if !p.wait(bootTime) {
			return
		}
		if into == "" {
			p.sys.Boot()
			airplane, _ := p.sys.Setting("global", "airplane_mode_on")
			wifi, _ := p.sys.Setting("global", "wifi_on")
			if airplane != "1" && wifi != "0" {
				p.stack.SetUp(true)
			}
			p.startNoise()
		}
		rest := map[string]adbd.State{"": adbd.Device, "recovery": adbd.Recovery, "sideload": adbd.Sideload, "rescue": adbd.Rescue}[into]
		p.mu.Lock()
		p.booting, p.rest = false, rest
		p.boots++
		boot := p.boots
		next := p.next
		p.next = nil
		p.mu.Unlock()
		if next != nil {
			p.reboot(*next)
			return
		}
		p.setState(rest)
		if into != "" || !p.wait(startTime) {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.booting && p.boots == boot {
			p.sys.Started()
		}
	})
}

// daemonPhone is the phone as its daemon sees it.
type daemonPhone struct{ p *Phone }

func (d daemonPhone) Serial() string     { return d.p.serial }
func (d daemonPhone) Product() string    { return d.p.identity.Product }
func (d daemonPhone) Model() string      { return d.p.identity.Model }
func (d daemonPhone) Device() string     { return d.p.identity.Device }
func (d daemonPhone) Reboot(into string) { d.p.reboot(into) }

func (d daemonPhone) Remount() string {
	if !d.p.sys.ShellIsRoot() {
		return "Not running as root. Try \"adb root\" first.\n"
	}
	return "remount succeeded\n"
}

func (d daemonPhone) Root(on bool) (answer string, restart bool) { return d.p.sys.SetShellRoot(on) }

// Restart starts the daemon again, as it does to change its rights.
func (d daemonPhone) Restart() {
	d.p.setState(adbd.Absent)
	d.p.setState(adbd.Device)
}

func (d daemonPhone) Files() adbd.Files { return daemonFiles{d.p.sys.Shell()} }

func (d daemonPhone) Open(ctx context.Context, script string, mode adbd.Mode, out, errs func([]byte) error) (adbd.Session, error) {
	trouble := d.p.troubled()
	if err := trouble.delay(ctx); err != nil {
		return nil, fmt.Errorf("sim: open a shell on %s: %w", d.p.serial, err)
	}
	if trouble.hang > 0 {
		return newHung(), nil
	}
	cut := &cutter{on: trouble.cut, left: trouble.cutAfter}
	modes := map[adbd.Mode]userland.Mode{adbd.Merged: userland.Merged, adbd.Separate: userland.Separate, adbd.Terminal: userland.Terminal}
	s, err := d.p.sys.Open(ctx, script, modes[mode], userland.StdIO{Out: cut.through(out), Err: cut.through(errs)})
	if err != nil {
		return nil, fmt.Errorf("sim: open a shell on %s: %w", d.p.serial, err)
	}
	cut.attach(s)
	return broken{Session: s, loseExit: trouble.loseExit > 0, cut: cut}, nil
}

func (d daemonPhone) Dial(ctx context.Context, port int) (net.Conn, error) {
	return d.p.stack.Dial(ctx, 2000, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func (d daemonPhone) Listen(port int) (net.Listener, error) {
	return d.p.stack.Listen(2000, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

type daemonFiles struct{ fs *userland.FS }

func (f daemonFiles) Stat(name string) (adbd.Stat, error)  { return statOf(f.fs.Stat(name)) }
func (f daemonFiles) Lstat(name string) (adbd.Stat, error) { return statOf(f.fs.Lstat(name)) }

func (f daemonFiles) ReadDir(name string) ([]adbd.Stat, error) {
	list, err := f.fs.ReadDir(name)
	if err != nil {
		return nil, err
	}
	out := make([]adbd.Stat, 0, len(list))
	for _, i := range list {
		s, _ := statOf(i, nil)
		out = append(out, s)
	}
	return out, nil
}

func (f daemonFiles) Get(name string, w io.Writer) error { return f.fs.Get(name, w) }
func (f daemonFiles) Put(name string, r io.Reader, perm fs.FileMode) error {
	return f.fs.Put(name, r, perm)
}
func (f daemonFiles) Chtimes(name string, t time.Time) error { return f.fs.Chtimes(name, t) }
func (f daemonFiles) Symlink(target, name string) error      { return f.fs.Symlink(target, name) }

// statOf writes a file's description as Linux's struct stat has it.
func statOf(i *userland.FileInfo, err error) (adbd.Stat, error) {
	if err != nil {
		return adbd.Stat{}, err
	}
	mode := uint32(i.Mode().Perm())
	switch {
	case i.IsDir():
		mode |= syscall.S_IFDIR
	case i.Mode()&fs.ModeSymlink != 0:
		mode |= syscall.S_IFLNK
	case i.Mode()&fs.ModeCharDevice != 0:
		mode |= syscall.S_IFCHR
	default:
		mode |= syscall.S_IFREG
	}
	return adbd.Stat{
		Name: i.Name(), Mode: mode, UID: uint32(i.UID), GID: uint32(i.GID), Ino: i.Ino, Size: i.Size(), Mtime: i.ModTime(), //nolint:gosec // Small numbers.
	}, nil
}

// displayScreen is the phone's screen as its userland sees it.
type displayScreen struct{ *screen.Display }

func (d displayScreen) Text(text string) error {
	d.Display.Text(text)
	return nil
}

func (d displayScreen) Start(in userland.Intent) (component string, delivered bool, err error) {
	r, err := d.Launch(intent(in))
	if err != nil {
		return "", false, fmt.Errorf("%w: %w", userland.ErrNoActivity, err)
	}
	return r.Component, r.Delivered, nil
}

func (d displayScreen) Resolve(in userland.Intent) (string, error) {
	c, err := d.Display.Resolve(intent(in))
	if err != nil {
		return "", fmt.Errorf("%w: %w", userland.ErrNoActivity, err)
	}
	return c, nil
}

func intent(in userland.Intent) screen.Intent {
	return screen.Intent{Action: in.Action, Component: in.Component, Package: in.Package, Data: in.Data, Extras: in.Extras, Categories: in.Categories}
}
