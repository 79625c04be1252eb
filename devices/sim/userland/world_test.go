package userland_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/userland"
)

// fakeNetwork is a network in which everything listens on the host of the test.
type fakeNetwork struct {
	mu      sync.Mutex
	taps    map[*fakeTap]string
	up      bool
	sockets []userland.Socket
	uids    map[int]userland.Counters
	dial    func(address string) (net.Conn, error)
}

type fakeTap struct {
	n       *fakeNetwork
	deliver func(time.Time, []byte)
	dropped uint64
}

func (t *fakeTap) Stop() {
	t.n.mu.Lock()
	delete(t.n.taps, t)
	t.n.mu.Unlock()
}

func (t *fakeTap) Dropped() uint64 { return t.dropped }

func (n *fakeNetwork) Dial(_ context.Context, _ int, _, address string) (net.Conn, error) {
	if n.dial == nil {
		return nil, errors.New("connection refused")
	}
	return n.dial(address)
}

func (n *fakeNetwork) Listen(int, string, string) (net.Listener, error) {
	return nil, errors.New("not here")
}

func (n *fakeNetwork) Resolve(_ context.Context, _ int, name string) ([]netip.Addr, error) {
	if name == "www.example" {
		return []netip.Addr{netip.MustParseAddr("2001:db8::7"), netip.MustParseAddr("203.0.113.7")}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

func (n *fakeNetwork) Ping(ctx context.Context, _ int, to netip.Addr, _ int) (time.Duration, error) {
	if to.String() == "203.0.113.7" {
		return 1500 * time.Microsecond, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

var wlanMAC = net.HardwareAddr{2, 0, 0, 0, 0, 1}

func (n *fakeNetwork) Interfaces() []userland.Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	return []userland.Interface{
		{Name: "lo", Up: true, MAC: make(net.HardwareAddr, 6), Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}},
		{
			Name: "wlan0", Up: n.up, MAC: wlanMAC, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.43.10/24"), netip.MustParsePrefix("2001:db8:43::a/64")},
			Counters: userland.Counters{RxBytes: 1000, RxPackets: 10, TxBytes: 2000, TxPackets: 20},
		},
	}
}

func (n *fakeNetwork) UIDCounters() map[string]map[int]userland.Counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	uids := map[int]userland.Counters{10123: {RxBytes: 5, RxPackets: 1, TxBytes: 7, TxPackets: 2}}
	maps.Copy(uids, n.uids)
	return map[string]map[int]userland.Counters{"wlan0": uids}
}

// count sets the counters of a user.
func (n *fakeNetwork) count(uid int, c userland.Counters) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uids = map[int]userland.Counters{uid: c}
}

func (n *fakeNetwork) Sockets() []userland.Socket { return n.sockets }

func (n *fakeNetwork) Tap(iface string, deliver func(time.Time, []byte)) (userland.Tap, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &fakeTap{n: n, deliver: deliver}
	n.taps[t] = iface
	return t, nil
}

func (n *fakeNetwork) SetUp(up bool) {
	n.mu.Lock()
	n.up = up
	n.mu.Unlock()
}

// frame shows a frame to every tap of wlan0.
func (n *fakeNetwork) frame(b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for t, iface := range n.taps {
		if iface == "wlan0" {
			t.deliver(time.Unix(1600000000, 123456789), b)
		}
	}
}

func (n *fakeNetwork) tapped() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.taps)
}

// fakeScreen notes what was done to it.
type fakeScreen struct {
	mu     sync.Mutex
	acts   []string
	focus  string
	asleep bool
}

// turn switches the screen.
func (s *fakeScreen) turn(on bool) {
	s.mu.Lock()
	s.asleep = !on
	s.mu.Unlock()
}

// leave shows the home screen.
func (s *fakeScreen) leave() {
	s.mu.Lock()
	s.focus = "com.miui.home/com.miui.home.launcher.Launcher"
	s.mu.Unlock()
}

func (s *fakeScreen) note(act string) {
	s.mu.Lock()
	s.acts = append(s.acts, act)
	s.mu.Unlock()
}

func (s *fakeScreen) done() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.acts, "; ")
}

func (s *fakeScreen) Dump(compressed bool) []byte {
	if compressed {
		return []byte("<hierarchy short/>")
	}
	return []byte("<hierarchy/>")
}
func (s *fakeScreen) PNG() []byte { return []byte("\x89PNG\r\n\x1a\nrest") }

func (s *fakeScreen) Tap(x, y int) { s.note("tap " + at(x, y)) }

func (s *fakeScreen) Swipe(x1, y1, x2, y2 int, d time.Duration) {
	s.note("swipe " + at(x1, y1) + " " + at(x2, y2) + " " + d.String())
}

func (s *fakeScreen) Text(text string) error { s.note("text [" + text + "]"); return nil }
func (s *fakeScreen) Key(code int)           { s.note("key " + at(code, 0)) }

func (s *fakeScreen) Focus() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asleep {
		return ""
	}
	return s.focus
}

func (s *fakeScreen) Tasks() [][]string { return [][]string{{s.Focus()}} }
func (s *fakeScreen) Awake() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.asleep
}

func (s *fakeScreen) Start(in userland.Intent) (string, bool, error) {
	c, err := s.Resolve(in)
	if err != nil {
		return "", false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.focus == c
	s.focus = c
	return c, was, nil
}

func (s *fakeScreen) Resolve(in userland.Intent) (string, error) {
	if in.Component == "com.example.app/com.example.app.Main" || strings.HasPrefix(in.Data, "https:") {
		return "com.example.app/com.example.app.Main", nil
	}
	return "", userland.ErrNoActivity
}

func (s *fakeScreen) ForceStop(pkg string) bool { s.note("stop " + pkg); return true }
func (s *fakeScreen) Clear(pkg string) bool     { s.note("clear " + pkg); return true }

func at(x, y int) string { return strings.TrimSuffix(itoa(x)+","+itoa(y), ",0") }

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// identity is that of a phone of a model.
func identity(t testing.TB, model string) userland.Identity {
	t.Helper()
	id, err := userland.Make(model, "", "SIM1", "0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

type phone struct {
	*userland.System
	net    *fakeNetwork
	screen *fakeScreen
}

func newPhone(t testing.TB) *phone {
	t.Helper()
	n := &fakeNetwork{taps: map[*fakeTap]string{}, up: true}
	sc := &fakeScreen{focus: "com.miui.home/com.miui.home.launcher.Launcher"}
	s, err := userland.New(userland.Config{
		Identity: identity(t, ""), Network: n, Screen: sc, Pace: 0.001, Seed: 1,
		Packages: []userland.Package{{Name: "com.example.app", Version: "1.2.3", Code: 123, UID: 10200, Main: "com.example.app.Main"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return &phone{s, n, sc}
}

// run runs a script and returns what it wrote.
func (p *phone) run(t testing.TB, script string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	stdout, stderr, code, err := p.Run(ctx, script, "")
	if err != nil {
		t.Fatalf("%s: %v (stdout %q, stderr %q)", script, err, stdout, stderr)
	}
	return stdout, stderr, code
}
