// Package pcapdroid is PCAPdroid on a simulated phone: the app that records
// other apps' packets as a VPN of the phone's own, without root.
//
// It is driven as the real one is, by intents for its activity CaptureCtrl, and
// tells what it does as the real one does: by the log, by its foreground
// service, by the interface tun0 and by the dump that it writes. What an intent
// is answered reaches only the app that asked for it; a shell hears nothing.
//
// Its packets are those of the phone's wire as an app behind a VPN would have
// sent them: from the tunnel's address, and to the tunnel's resolver. The wire
// itself is not changed by it.
package pcapdroid

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/screen"
)

// Names of the app and of Android's window that asks for a VPN.
const (
	Package        = "com.emanuelef.remote_capture"
	MainActivity   = Package + ".activities.MainActivity"
	CtrlActivity   = Package + ".activities.CaptureCtrl"
	Service        = Package + ".CaptureService"
	ConsentPackage = "com.android.vpndialogs"
	consentWindow  = ConsentPackage + ".ConfirmDialog"
	// UID is the app's user id, ConsentUID that of Android's window.
	UID        = 10144
	ConsentUID = 10033
	// ConsentOp is the operation that the window allows.
	ConsentOp = "ACTIVATE_VPN"
	// Folder is where dumps are written.
	Folder = "/sdcard/Download/PCAPdroid"
)

// A Config is what the app has of its phone.
type Config struct {
	// APIKey lets an intent do its work without asking the phone's owner.
	APIKey string
	// Pace multiplies every delay.
	Pace float64
	Now  func() time.Time
	// Tap shows the frames of wlan0 until stop.
	Tap func(fn func(at time.Time, frame []byte)) (stop func())
	// MAC and Addrs are those of wlan0, Resolvers where names are asked for.
	MAC       net.HardwareAddr
	Addrs     func() []netip.Prefix
	Resolvers []netip.Addr
	// Owner is the user whose packet it is, false where nobody knows.
	Owner func(packet []byte, out bool) (uid int, known bool)
	// AppName is the label of a user's app.
	AppName func(uid int) string
	// Create makes a file of the phone anew.
	Create func(path string) (io.WriteCloser, error)
	// Listen opens a port on all of the phone's addresses.
	Listen func(port int) (net.Listener, error)
	// Log writes a line to the phone's log.
	Log func(level, tag, text string)
	// Consented says whether the phone's owner allowed the app to be the VPN;
	// Consent notes that he did.
	Consented func() bool
	Consent   func()
}

// An App is the installed app. It is safe for concurrent use.
type App struct {
	cfg  Config
	post func(func(*screen.UI))

	mu      sync.Mutex
	running *recording
	past    stats         // of the recording that ended last
	users   map[int]stats // of all recordings that have ended
	closed  bool
	faults  faults
	work    sync.WaitGroup
	last    *settings // what waits for the owner's consent
}

// faults are what may be wrong with the app.
type faults struct {
	empty, gap bool
	past       map[int]bool // users whose packets do not go through the tunnel
}

// New makes the app. Windows are what is to be installed on the phone's display.
func New(cfg Config) *App { return &App{cfg: cfg} }

// Windows are the app's and Android's own.
func (a *App) Windows() []screen.App { return []screen.App{ctrl{a}, consent{a}} }

// SetEmpty makes the app write nothing into its dumps.
func (a *App) SetEmpty(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults.empty = on
}

// SetGap makes the app lose packets without counting them.
func (a *App) SetGap(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults.gap = on
}

// SetPast keeps a user's packets out of the tunnel, as the app's own list of
// exceptions does, and as the system does with sockets that are bound to a
// network.
func (a *App) SetPast(uid int, on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	past := map[int]bool{uid: on}
	for other, is := range a.faults.past {
		if other != uid {
			past[other] = is
		}
	}
	a.faults.past = past // Readers keep the one that they have.
}

// Charge is the user for whom a packet of the wire counts, from its IP header on,
// given the owner of its socket: what comes out of the tunnel is sent by the app.
func (a *App) Charge(packet []byte, uid int, out bool) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.running
	if r == nil {
		return uid
	}
	// Sockets are gone sooner than their packets are looked at.
	if flow := flowOf(packet, out); flow != "" && uid != 0 {
		r.owners[flow] = uid
	} else if known, ok := r.owners[flow]; ok && flow != "" {
		uid = known
	}
	if !a.faults.past[uid] && r.set.takes(packet, out) {
		return UID
	}
	return uid
}

// Users is what each user has sent into tunnels and got out of them.
func (a *App) Users() map[int]Use {
	a.mu.Lock()
	r, before := a.running, a.users
	a.mu.Unlock()
	users := map[int]Use{}
	count := func(m map[int]stats) {
		for uid, s := range m {
			u := users[uid]
			users[uid] = Use{u.SentBytes + s.sentBytes, u.SentPackets + s.sent, u.ReceivedBytes + s.receivedBytes, u.ReceivedPackets + s.received}
		}
	}
	count(before)
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		count(r.users)
	}
	return users
}

// A Use is what went through the tunnel: IP bytes and packets that apps sent into
// it, and that they got out of it.
type Use struct{ SentBytes, SentPackets, ReceivedBytes, ReceivedPackets uint64 }

// Running says whether the app records.
func (a *App) Running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running != nil
}

// An Interface is the tunnel while it is up.
type Interface struct {
	Prefixes []netip.Prefix
	// Sent is what apps sent into it, Received what they got out of it.
	SentBytes, SentPackets, ReceivedBytes, ReceivedPackets uint64
}

// Tunnel is tun0; false while there is none.
func (a *App) Tunnel() (Interface, bool) {
	a.mu.Lock()
	r := a.running
	a.mu.Unlock()
	if r == nil {
		return Interface{}, false
	}
	s := r.counted()
	return Interface{r.set.prefixes(), s.sentBytes, s.sent, s.receivedBytes, s.received}, true
}

// Stop ends the recording, as somebody does at the phone. It reports whether
// there was one.
func (a *App) Stop() bool {
	a.mu.Lock()
	r := a.running
	a.running = nil
	a.mu.Unlock()
	if r == nil {
		return false
	}
	s := r.stop()
	a.mu.Lock()
	a.past = s
	users := map[int]stats{}
	for _, m := range []map[int]stats{a.users, r.users} {
		for uid, more := range m {
			u := users[uid]
			u.add(more)
			users[uid] = u
		}
	}
	a.users = users
	a.mu.Unlock()
	a.logf("D", "CaptureCtrl", "notifyCaptureStopped: %d pkts", s.sent+s.received)
	return true
}

// Close is the end of the app with its phone.
func (a *App) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.Stop()
	a.work.Wait()
}

// run does work apart from the thread of the windows.
func (a *App) run(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.work.Go(f)
	}
}

func (a *App) logf(level, tag, format string, args ...any) {
	a.cfg.Log(level, tag, fmt.Sprintf(format, args...))
}

// settings are what an intent asks for.
type settings struct {
	mode    string // none, pcap_file, http_server
	name    string
	port    int
	snap    int
	trailer bool
	six     bool // the tunnel has an address of IPv6
	four    bool
}

// read takes the settings from an intent's extras, whose values are texts.
func read(extras map[string]string, now time.Time) settings {
	number := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(extras[key]); err == nil {
			return n
		}
		return otherwise
	}
	s := settings{
		mode: extras["pcap_dump_mode"], name: extras["pcap_name"], port: number("http_server_port", 8080), snap: number("snaplen", 0),
		trailer: extras["dump_extensions"] == "true" || extras["pcapdroid_trailer"] == "true",
		four:    true,
	}
	switch extras["ip_mode"] {
	case "both":
		s.six = true
	case "ipv6":
		s.six, s.four = true, false
	}
	if s.name == "" {
		s.name = "PCAPdroid_" + now.UTC().Format("02_Jan_15_04_05") + ".pcap"
	}
	if s.snap <= 0 {
		s.snap = 65535
	}
	return s
}

func (s settings) prefixes() []netip.Prefix {
	var all []netip.Prefix
	if s.four {
		all = append(all, netip.PrefixFrom(tunnel4, 30))
	}
	if s.six {
		all = append(all, netip.PrefixFrom(tunnel6, 128))
	}
	return all
}

// begin starts a recording; one that runs already ends.
func (a *App) begin(s settings) {
	a.Stop()
	a.logf("D", "CaptureService", "onStartCommand")
	r, err := a.record(s)
	if err != nil {
		a.logf("E", "CaptureService", "%v", err)
		return
	}
	a.mu.Lock()
	if a.closed || a.running != nil {
		a.mu.Unlock()
		r.stop()
		return
	}
	a.running = r
	a.mu.Unlock()
}
