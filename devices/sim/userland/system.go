// Package userland is the inside of a simulated phone as a shell sees it: a
// file system in memory, processes with pids and signals, a POSIX shell, and
// Android's commands with the texts, noise and exit statuses of the real ones.
//
// Nothing in it reaches the host: files live in an FS, processes are entries
// of a table that run as goroutines, and network and screen are whatever the
// phone's maker puts behind the small interfaces Network and Screen. Every
// buffer, file, script and process table has a bound.
package userland

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"image"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Counters are an interface's or a user's traffic counters.
type Counters struct {
	RxBytes, RxPackets, RxDropped uint64
	TxBytes, TxPackets, TxDropped uint64
}

// An Interface is a network interface and its addresses.
type Interface struct {
	Name     string
	MAC      net.HardwareAddr
	Prefixes []netip.Prefix
	Up       bool
	Counters Counters
}

// A Socket is a line of /proc/net/tcp and its siblings.
type Socket struct {
	// Proto is "tcp" or "udp". IPv6 says in which table the socket is listed:
	// those of apps are IPv6 sockets that carry IPv4 with mapped addresses.
	Proto         string
	IPv6          bool
	Local, Remote netip.AddrPort
	// State is the kernel's number: 1 established, 7 closed, 10 listening.
	State int
	UID   int
	Inode uint64
}

// A Tap shows frames of an interface until it is stopped.
type Tap interface {
	Stop()
	// Dropped counts the frames that were not shown because the reader was too
	// slow.
	Dropped() uint64
}

// A Network is the phone's TCP/IP stack.
type Network interface {
	Dial(ctx context.Context, uid int, network, address string) (net.Conn, error)
	Listen(uid int, network, address string) (net.Listener, error)
	Resolve(ctx context.Context, uid int, name string) ([]netip.Addr, error)
	Ping(ctx context.Context, uid int, to netip.Addr, payload int) (time.Duration, error)
	Interfaces() []Interface
	UIDCounters() map[string]map[int]Counters // by interface, then by user id
	Sockets() []Socket
	// Tap calls deliver for every Ethernet frame of the interface, in order.
	Tap(iface string, deliver func(at time.Time, frame []byte)) (Tap, error)
	SetUp(up bool)
}

// An Intent asks for an activity.
type Intent struct {
	Action, Component, Package, Data string
	Categories                       []string
	Extras                           map[string]string
}

// ErrNoActivity means that nothing answers an intent.
var ErrNoActivity = errors.New("userland: no activity answers the intent")

// A Screen is the phone's display and its activity manager.
type Screen interface {
	Dump(compressed bool) []byte
	PNG() []byte
	Tap(x, y int)
	Swipe(x1, y1, x2, y2 int, d time.Duration)
	// Text types; it may refuse what no key produces.
	Text(text string) error
	Key(code int)
	Focus() string
	// Tasks are the components of each task, the task in front first.
	Tasks() [][]string
	Awake() bool
	// Start opens an activity. delivered is true when it was on top already.
	Start(in Intent) (component string, delivered bool, err error)
	Resolve(in Intent) (string, error)
	ForceStop(pkg string) bool
	Clear(pkg string) bool
}

// A Config is what a phone is made of.
type Config struct {
	Identity Identity
	Network  Network
	Screen   Screen
	// Packages are the installed packages beside those of the system.
	Packages []Package
	// DualApps are the packages that a second user has as well: MIUI's Dual apps.
	DualApps []string
	// Root says how the phone's owner can be root; empty means RootADBD.
	Root Root
	// Roots are the PEM certificates of the system's trust store.
	Roots []byte
	// Services are the components of the foreground services that run now; nil
	// means that there are none.
	Services func() []string
	// Pace multiplies the time that slow commands take; 0 means 1.
	Pace float64
	// Seed makes pids and noise repeatable.
	Seed int64
	Log  *slog.Logger
}

// A System is a phone's userland while the phone exists. It is safe for
// concurrent use.
type System struct {
	cfg      Config
	fs       *FS
	firewall *firewall
	settings *settings
	log      *slog.Logger

	clockMu sync.Mutex
	skew    time.Duration
	drift   float64   // what the clock gains, as a part of the time that passes
	drifts  time.Time // since then, by the host's clock
	booted  time.Time
	bootID  []byte

	procMu  sync.Mutex
	up      bool
	procs   map[int]*proc
	fixed   map[int]*fixedProc
	lastPID int
	adbd    int
	running sync.WaitGroup

	propMu sync.Mutex
	props  map[string]string

	rightsMu    sync.Mutex
	rights      rights
	conditionMu sync.Mutex
	condition   Condition
	starting    bool // Android's services do not run yet
	stuck       bool // and will not
	netstats    *netstats

	packageMu   sync.Mutex // held while the list is replaced
	packageList atomic.Pointer[[]Package]
	grants      *grants
	logs        *logBuffer
	programs    map[string]program
	builtins    map[string]builtin

	uiMu    sync.Mutex // one uiautomator at a time
	faultMu sync.Mutex
	faults  tapFaults
	moods   map[ScreenMood]bool
	// The input devices that processes made, and whether they may.
	hids      []*hidDevice
	hidDenied bool

	trustMu   sync.Mutex
	trust     *x509.CertPool
	trustAt   uint64
	trustDone bool

	onReboot func()
	rng      *rand.Rand
}

// New makes a phone's userland and boots it.
func New(cfg Config) (*System, error) {
	if cfg.Network == nil || cfg.Screen == nil {
		return nil, errors.New("userland: make a system: network and screen are needed")
	}
	if cfg.Pace <= 0 {
		cfg.Pace = 1
	}
	switch cfg.Root {
	case "":
		cfg.Root = RootADBD
	case RootADBD, RootSU, RootNone:
	default:
		return nil, fmt.Errorf("userland: make a system: no way to be root is named %q; known are %s, %s, %s", cfg.Root, RootADBD, RootSU, RootNone)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &System{
		cfg: cfg, log: cfg.Log, settings: newSettings(cfg.Identity), firewall: newFirewall(), logs: newLogBuffer(), condition: conditionAtFirst(), netstats: newNetstats(),
		rights: rights{kind: cfg.Root},
		rng:    rand.New(rand.NewPCG(uint64(cfg.Seed), 0x9e3779b97f4a7c15)), //nolint:gosec // Noise, not secrets.
	}
	s.fs = NewFS(s.Now)
	s.programs = allPrograms()
	s.builtins = allBuiltins()
	packages := systemPackages(cfg.Identity, cfg.Packages)
	s.packageList.Store(&packages)
	s.grants = newGrants(packages)
	if err := s.populate(); err != nil {
		return nil, fmt.Errorf("userland: make the file system: %w", err)
	}
	s.Boot()
	s.Started()
	return s, nil
}

// Boot starts the phone after New or Shutdown: what a reboot does not keep is
// gone. Its services run when Started has been called.
func (s *System) Boot() {
	id := s.procUUID()
	s.clockMu.Lock()
	s.booted, s.bootID = time.Now(), id
	s.clockMu.Unlock()
	s.rightsMu.Lock()
	s.rights.unroot = false
	s.rightsMu.Unlock()
	sim := simState(s.Condition().SIM)
	s.propMu.Lock()
	kept := map[string]string{}
	for k, v := range s.props {
		if isPersistent(k) {
			kept[k] = v
		}
	}
	s.props = s.cfg.Identity.properties()
	maps.Copy(s.props, kept)
	s.props["gsm.sim.state"] = sim
	maps.Copy(s.props, rootProperties(s.cfg.Root))
	s.propMu.Unlock()
	s.logs.clear()
	s.procMu.Lock()
	s.procs = map[int]*proc{}
	s.lastPID = 4000 + s.rng.IntN(2000)
	s.fixed, s.adbd = bootProcesses(s.allPackages(), s.Now())
	s.up = true
	s.procMu.Unlock()
	s.setStarting(func() { s.starting = true })
	s.logf("I", "boot_progress_enable_screen", s.adbd, "boot completed")
}

// Shutdown ends every process and takes away the mounts made since boot. It
// returns when the processes are gone.
func (s *System) Shutdown() {
	s.procMu.Lock()
	s.up = false
	s.procMu.Unlock()
	s.killAll()
	s.running.Wait()
	s.fs.Reboot()
	s.firewall.clear()
}

// OnReboot registers what a reboot asked for on the phone itself calls.
func (s *System) OnReboot(f func()) { s.onReboot = f }

// Now is the phone's clock.
func (s *System) Now() time.Time { return s.phoneTime(time.Now()) }

// JumpClock moves the phone's clock.
func (s *System) JumpClock(by time.Duration) {
	s.clockMu.Lock()
	s.skew += by
	s.clockMu.Unlock()
}

// DriftClock makes the phone's clock gain a part of the time that passes, until
// it is called with 0. Then the network sets the clock right.
func (s *System) DriftClock(part float64) {
	s.clockMu.Lock()
	s.drift, s.drifts = part, time.Now()
	s.clockMu.Unlock()
}

// PhoneTime is a time of the host's clock as the phone's clock shows it.
func (s *System) PhoneTime(at time.Time) time.Time { return s.phoneTime(at) }

// PackageOf is a package of a user id, empty for none.
func (s *System) PackageOf(uid int) string {
	for _, p := range s.allPackages() {
		if p.UID == uid {
			return p.Name
		}
	}
	return ""
}

// UIDOf is the user id of an installed package.
func (s *System) UIDOf(name string) (uid int, ok bool) {
	for _, p := range s.allPackages() {
		if p.Name == name {
			return p.UID, true
		}
	}
	return 0, false
}

// phoneTime is a time of the host's clock as the phone's clock shows it.
func (s *System) phoneTime(at time.Time) time.Time {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	gained := time.Duration(0)
	if s.drift != 0 && at.After(s.drifts) {
		gained = time.Duration(float64(at.Sub(s.drifts)) * s.drift)
	}
	return at.Add(s.skew + gained)
}

func (s *System) uptime() time.Duration {
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	return time.Since(s.booted) + 73*time.Second
}

// pause waits d times pace, unless done is closed before.
func (s *System) pause(done <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(time.Duration(float64(d) * s.cfg.Pace))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}

// FS is the phone's file system.
func (s *System) FS() *FS { return s.fs }

// Network is the phone's network stack.
func (s *System) Network() Network { return s.cfg.Network }

// Setting reads a setting; ok is false when it is not set.
func (s *System) Setting(namespace, key string) (value string, ok bool) {
	return s.settings.get(namespace, key)
}

// SetSetting gives a setting a value, as Android itself does.
func (s *System) SetSetting(namespace, key, value string) { s.settings.put(namespace, key, value) }

// DeleteSetting removes a setting.
func (s *System) DeleteSetting(namespace, key string) { s.settings.delete(namespace, key) }

// Settings is a copy of all settings as "namespace/key" to value.
func (s *System) Settings() map[string]string { return s.settings.all() }

// HTTPProxy is the phone's proxy as host:port, empty when there is none.
func (s *System) HTTPProxy() string {
	v, ok := s.settings.get("global", "http_proxy")
	if !ok || v == "null" {
		return ""
	}
	host, port, err := net.SplitHostPort(v)
	if err != nil || host == "" || port == "" || port == "0" {
		return ""
	}
	return v
}

// TrustedRoots are the certificates that the phone's TLS clients trust: those
// visible now in the system's trust store, through whatever is mounted there.
func (s *System) TrustedRoots() *x509.CertPool {
	s.trustMu.Lock()
	defer s.trustMu.Unlock()
	at := s.fs.Changes()
	if s.trustDone && at == s.trustAt {
		return s.trust
	}
	pool := x509.NewCertPool()
	list, err := s.fs.ReadDir(CertificateDir)
	if err == nil {
		for _, info := range list {
			data, err := s.fs.ReadFile(CertificateDir + "/" + info.Name())
			if err == nil {
				pool.AppendCertsFromPEM(data)
			}
		}
	}
	s.trust, s.trustAt, s.trustDone = pool, at, true
	return pool
}

// Mounts are the mounts made since boot, as lines of /proc/mounts.
func (s *System) Mounts() []string { return s.fs.MountTable(true) }

// LogApp writes a line of an app to the phone's log.
func (s *System) LogApp(pkg, level, tag, text string) {
	pid := 1
	s.procMu.Lock()
	for n, p := range s.fixed {
		if p.pkg == pkg {
			pid = n
		}
	}
	s.procMu.Unlock()
	s.logf(level, tag, pid, "%s", text)
}

// Logf writes a line to the phone's log.
func (s *System) Logf(tag, format string, args ...any) {
	s.logf("I", tag, 1, format, args...)
}

// StdIO is where a session's output goes. Each function is called from one
// goroutine; when one of them fails, the process gets EPIPE. Err is used in
// the Separate mode only.
type StdIO struct {
	Out, Err func([]byte) error
}

// physicalSize is the display's, in pixels.
var physicalSize = image.Pt(1080, 2340)
