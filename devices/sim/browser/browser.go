// Package browser is the browser of a simulated phone, made to be told from
// the real one only by those who know: Mi Browser with its consent wall, tabs,
// incognito mode, address bar, search engines and the settings row with the
// switch, over a real network with real telemetry.
//
// What it tells whom is decided by a Personality, a value that anybody can
// write, so that whoever judges a browser can be tested on one whose truth is
// known. The package knows nothing of those who judge.
package browser

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/screen"
)

// RuntimePermissions are what the browser asks a person for when a page wants it.
func RuntimePermissions() []string {
	return []string{
		"android.permission.ACCESS_FINE_LOCATION", "android.permission.CAMERA", "android.permission.RECORD_AUDIO",
		"android.permission.WRITE_EXTERNAL_STORAGE",
	}
}

// Names of the genuine browser.
const (
	Package          = "com.mi.globalbrowser"
	MainActivity     = "com.android.browser.BrowserActivity"
	SettingsActivity = "com.android.browser.BrowserSettingsActivity"
	ActionSettings   = "com.android.browser.OPEN_SETTINGS"

	// DelegatePackage is the system app that sends for others.
	DelegatePackage = "com.xiaomi.xmsf"
)

// A Network is a phone's way out: connections are made in the name of a user
// id, to a name or an address.
type Network interface {
	Dial(ctx context.Context, uid int, network, address string) (net.Conn, error)
}

// A Config says in which phone a browser lives.
type Config struct {
	// Network is the phone's; it is required.
	Network Network
	// UID is the browser's user id, DelegateUID that of DelegatePackage; 0 means
	// 10123 and 10052.
	UID, DelegateUID int
	// Roots are the certificates that the phone trusts at the moment of the
	// call. It is required.
	Roots func() *x509.CertPool
	// Keys is where the browser's TLS secrets are logged; nil for nowhere.
	Keys io.Writer
	// PinnedRoots are those that the phone was shipped with, for hosts that a
	// personality pins; nil means Roots at the start.
	PinnedRoots *x509.CertPool
	// Proxy is the phone's global HTTP proxy as "host:port" at the moment of the
	// call; "" and ":0" mean none. Nil means never one.
	Proxy func() string
	// Pace multiplies every delay; 0 means 1.
	Pace float64
	// Personality decides what is told whom.
	Personality Personality
	// Identity is what the browser knows about its phone.
	Identity Identity
	// Feed are the items of the news feed on the home page, delivered with the
	// browser; none means no feed.
	Feed []FeedItem
	// Now is the phone's clock; nil means the host's.
	Now func() time.Time
	// Log hears what the browser does; nil discards it.
	Log *slog.Logger
}

// A FeedItem is an entry of the news feed.
type FeedItem struct{ Title, Source, URL string }

// A Browser is the browser of one phone. It is a screen.App; once it is
// installed, everything happens by way of the display. Its fields belong to
// the UI thread, but for those that never change.
type Browser struct {
	cfg  Config
	crew *crew
	// The module that sends for others lives in another app, so that neither
	// Stop nor Clear reach it.
	delegate *module

	posting sync.Mutex
	post    func(func(*screen.UI))

	// data is kept when the process ends, and lost by Clear.
	data data
	// proc is nil while the browser does not run.
	proc *process
	main *mainScreen
}

// data is what a browser writes to its folder.
type data struct {
	consent    bool
	on         bool // the switch
	shareLinks bool
	cookies    bool
	doNotTrack bool
	engine     engine
	jar        *jar
	module     *module
}

var _ screen.App = (*Browser)(nil)

// New makes a browser that has never been started. Close frees what it uses.
func New(cfg Config) *Browser {
	if cfg.UID == 0 {
		cfg.UID = 10123
	}
	if cfg.DelegateUID == 0 {
		cfg.DelegateUID = 10052
	}
	if cfg.Pace <= 0 {
		cfg.Pace = 1
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Proxy == nil {
		cfg.Proxy = func() string { return "" }
	}
	if cfg.Roots == nil {
		cfg.Roots = x509.NewCertPool
	}
	if cfg.PinnedRoots == nil {
		cfg.PinnedRoots = cfg.Roots()
	}
	if cfg.Personality.Version == "" {
		cfg.Personality.Version = DefaultVersion
	}
	if cfg.Personality.Row == (Row{}) {
		cfg.Personality.Row = RowLater
	}
	cfg.Identity = cfg.Identity.complete()
	b := &Browser{cfg: cfg, crew: newCrew()}
	other := cfg.Identity
	other.DistinctID = randomUUID()
	b.delegate = newModule(&b.cfg, cfg.DelegateUID, other)
	b.Clear()
	return b
}

// complete fills in what is empty, as a Redmi Note 8 sold in Britain.
func (id Identity) complete() Identity {
	for _, f := range []struct {
		field *string
		value string
	}{
		{&id.Model, "Redmi Note 8"},
		{&id.Manufacturer, "Xiaomi"},
		{&id.OSVersion, "9"},
		{&id.Build, "PKQ1.190616.001"},
		{&id.MIUIVersion, "V11.0.8.0.PCOMIXM"},
		{&id.Region, "GB"},
		{&id.Language, "en"},
	} {
		if *f.field == "" {
			*f.field = f.value
		}
	}
	if id.AndroidID == "" {
		id.AndroidID = randomHex(8)
	}
	return id
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func randomUUID() string {
	h := []byte(randomHex(16))
	h[12], h[16] = '4', "89ab"[h[16]&3]
	s := string(h)
	return strings.Join([]string{s[:8], s[8:12], s[12:16], s[16:20], s[20:]}, "-")
}

// Version is the package's versionName.
func (b *Browser) Version() string { return b.cfg.Personality.Version }

// Personality is what decides what the browser tells whom.
func (b *Browser) Personality() Personality { return b.cfg.Personality }

// UID is the browser's user id.
func (b *Browser) UID() int { return b.cfg.UID }

// DelegateUID is the user id of the app that sends for others.
func (b *Browser) DelegateUID() int { return b.cfg.DelegateUID }

// State is the browser's state at this moment. It takes the UI thread.
func (b *Browser) State() State {
	var s State
	b.run(func(*screen.UI) { s = b.state() })
	return s
}

// Running reports whether the browser's process lives. It takes the UI thread.
func (b *Browser) Running() bool {
	alive := false
	b.run(func(*screen.UI) { alive = b.proc != nil })
	return alive
}

// Close ends the process and everything that works for it, and returns when
// it has ended. It may not be called on the UI thread.
func (b *Browser) Close() {
	b.run(func(*screen.UI) { b.Stop() })
	b.crew.close()
}

// run runs f on the UI thread, or right away when there is no display yet.
func (b *Browser) run(f func(*screen.UI)) {
	b.posting.Lock()
	post := b.post
	b.posting.Unlock()
	if post == nil {
		f(nil)
		return
	}
	post(f)
}

// Package implements screen.App.
func (b *Browser) Package() string { return Package }

// Label implements screen.App.
func (b *Browser) Label() string { return "Mi Browser" }

// Activities implements screen.App.
func (b *Browser) Activities() []screen.ActivityInfo {
	return []screen.ActivityInfo{
		{
			Name: MainActivity, Launcher: true, Actions: []string{screen.ActionMain, screen.ActionView},
			Schemes: []string{"http", "https"},
		},
		{Name: SettingsActivity, Actions: []string{ActionSettings}},
	}
}

// Attach implements screen.App.
func (b *Browser) Attach(post func(func(*screen.UI))) {
	b.posting.Lock()
	defer b.posting.Unlock()
	b.post = post
}

// Open implements screen.App.
func (b *Browser) Open(ui *screen.UI, name string, in screen.Intent) *screen.Activity {
	b.boot()
	if name == SettingsActivity {
		return b.openSettings()
	}
	b.main = newMainScreen(b)
	b.main.handle(ui, in)
	return b.main.activity
}

// boot starts the process if there is none.
func (b *Browser) boot() {
	if b.proc != nil {
		return
	}
	b.proc = b.crew.process()
	if !b.cfg.Personality.Mute {
		b.proc.spawn(b.data.module.run)
	}
}

// Stop implements screen.App.
func (b *Browser) Stop() {
	if b.proc == nil {
		return
	}
	if b.main != nil {
		b.main.end()
	}
	b.proc.stop()
	b.proc, b.main = nil, nil
}

// Clear implements screen.App. What identifies the phone stays, what
// identifies the installation is made anew.
func (b *Browser) Clear() {
	id := b.cfg.Identity
	if id.DistinctID == "" || b.data.module != nil {
		id.DistinctID = randomUUID()
	}
	b.data = data{
		on: !b.cfg.Personality.StartsOff, cookies: true, engine: google, jar: newJar(),
		module: newModule(&b.cfg, b.cfg.UID, id),
	}
}

// state is what reports and the screen go by.
func (b *Browser) state() State {
	s := State{Switch: b.data.on, Consent: b.data.consent, ShareLinks: b.data.shareLinks}
	if b.main != nil {
		s.Incognito = b.main.tab().incognito
	}
	return s
}

// report asks the personality what to tell of an act, and sends it on its way.
func (b *Browser) report(act Act, s State) {
	if b.cfg.Personality.Report == nil || b.proc == nil {
		return
	}
	act.At = b.cfg.Now()
	act.Phone = b.data.module.identity
	for _, u := range b.cfg.Personality.Report(act, s) {
		m, home := b.data.module, b.proc
		if u.Delegate {
			m, home = b.delegate, b.crew.machine
		}
		if u.Event != nil {
			if u.Delegate {
				b.crew.once(func() { home.spawn(m.run) })
			}
			m.add(*u.Event, u.Sealed)
		}
		if r := u.Request; r != nil {
			wait := b.paced(u.After)
			home.spawn(func(ctx context.Context) {
				if pause(ctx, wait) {
					m.raw(ctx, *r)
				}
			})
		}
	}
}

func (b *Browser) paced(d time.Duration) time.Duration {
	return time.Duration(float64(d) * b.cfg.Pace)
}
