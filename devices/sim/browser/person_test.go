package browser_test

import (
	"context"
	"crypto/x509"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/web"
)

// patience bounds every wait; only a broken test uses it up.
const patience = 60 * time.Second

// A node is a node of the dump, as a driver of phones would read it.
type node struct {
	Text    string `xml:"text,attr"`
	ID      string `xml:"resource-id,attr"`
	Class   string `xml:"class,attr"`
	Package string `xml:"package,attr"`
	Desc    string `xml:"content-desc,attr"`
	Checked bool   `xml:"checked,attr"`
	Focused bool   `xml:"focused,attr"`
	Enabled bool   `xml:"enabled,attr"`
	Bounds  string `xml:"bounds,attr"`
	Nodes   []node `xml:"node"`
}

func (n *node) find(fits func(*node) bool) *node {
	if fits(n) {
		return n
	}
	for i := range n.Nodes {
		if found := n.Nodes[i].find(fits); found != nil {
			return found
		}
	}
	return nil
}

func byID(id string) func(*node) bool {
	if !strings.Contains(id, ":") {
		id = browser.Package + ":id/" + id
	}
	return func(n *node) bool { return n.ID == id }
}

func byText(text string) func(*node) bool { return func(n *node) bool { return n.Text == text } }

// beside finds the switch in the row of a title.
func beside(title string) func(*node) bool {
	return func(n *node) bool {
		return n.ID == "android:id/checkbox" && n.Text == "" && strings.HasPrefix(n.Desc, title)
	}
}

// A person uses the phone only by what a person has: a screen and a finger.
type person struct {
	t        testing.TB
	internet *internet.Internet
	stack    *internet.Stack
	events   *web.Events
	display  *screen.Display
	browser  *browser.Browser
	proxy    atomic.Pointer[string]
	roots    atomic.Pointer[x509.CertPool]
}

const pace = 0.005

// someone sits down before a new phone in a new world.
func someone(t testing.TB, p browser.Personality, change ...func(*browser.Config)) *person {
	t.Helper()
	n, err := internet.New(context.Background(), internet.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	events := &web.Events{}
	if err := web.Register(n, web.Options{Pace: pace, Events: events}); err != nil {
		t.Fatal(err)
	}
	who := someoneIn(t, n, p, change...)
	who.events = events
	return who
}

// someoneIn sits down before a new phone in a given world.
func someoneIn(t testing.TB, n *internet.Internet, p browser.Personality, change ...func(*browser.Config)) *person {
	t.Helper()
	stack, err := n.Attach(internet.StackConfig{Name: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	who := &person{t: t, internet: n, stack: stack, display: screen.New(nil)}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(n.Roots()) {
		t.Fatal("the world has no root certificate")
	}
	who.roots.Store(roots)
	who.proxy.Store(new(string))
	cfg := browser.Config{
		Network: stack, Roots: who.roots.Load, Proxy: func() string { return *who.proxy.Load() },
		Pace: pace, Personality: p, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	who.browser = browser.New(cfg)
	who.display.Install(who.browser)
	t.Cleanup(func() {
		who.browser.Close()
		who.display.Close()
	})
	return who
}

func (p *person) look() *node {
	p.t.Helper()
	var root node
	if err := xml.Unmarshal(p.display.Dump(false), &root); err != nil {
		p.t.Fatalf("dump is no XML: %v", err)
	}
	return &root
}

// see waits for something to be on the screen, and scrolls down a list of settings
// when it does not come.
func (p *person) see(fits func(*node) bool) *node {
	p.t.Helper()
	var found *node
	looks := 0
	if !p.wait(func() bool {
		root := p.look()
		found = root.find(fits)
		if looks++; found == nil && looks%10 == 0 && root.find(byID("recycler_view")) != nil {
			p.display.Swipe(540, 1700, 540, 1100, 300*time.Millisecond)
		}
		return found != nil
	}) {
		p.t.Fatalf("not on the screen; the screen is:\n%s", p.display.Dump(true))
	}
	return found
}

// wait polls until something is so.
func (p *person) wait(so func() bool) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

func (p *person) tap(fits func(*node) bool) {
	p.t.Helper()
	x, y := p.see(fits).middle(p.t)
	p.display.Tap(x, y)
}

func (n *node) middle(t testing.TB) (x, y int) {
	t.Helper()
	var x1, y1, x2, y2 int
	if _, err := fmt.Sscanf(n.Bounds, "[%d,%d][%d,%d]", &x1, &y1, &x2, &y2); err != nil {
		t.Fatalf("bounds %q: %v", n.Bounds, err)
	}
	return (x1 + x2) / 2, (y1 + y2) / 2
}

func (p *person) start(component string) {
	p.t.Helper()
	if err := p.display.Start(p.t.Context(), screen.Intent{Component: browser.Package + "/" + component}); err != nil {
		p.t.Fatal(err)
	}
}

// begin opens the browser and agrees to what it asks.
func (p *person) begin() {
	p.t.Helper()
	p.start(browser.MainActivity)
	p.tap(byID("android:id/button1"))
	p.see(byID("home_page"))
}

// set moves the switch by way of the settings, and looks again after leaving.
func (p *person) set(on bool) {
	p.t.Helper()
	p.start(browser.SettingsActivity)
	p.tap(byText("Privacy & security"))
	title := p.browser.Personality().Row.Title
	if p.see(beside(title)).Checked != on {
		p.tap(beside(title))
	}
	if got := p.see(beside(title)).Checked; got != on {
		p.t.Fatalf("switch reads %v after a tap, want %v", got, on)
	}
	p.display.Key(screen.KeyBack)
	p.display.Key(screen.KeyBack)
	p.see(byID("url"))
}

func (p *person) engine(name string) {
	p.t.Helper()
	p.start(browser.SettingsActivity)
	p.tap(byText("Search engine"))
	p.tap(byText(name))
	p.see(byText("Privacy & security"))
	p.display.Key(screen.KeyBack)
	p.see(byID("url"))
}

func (p *person) incognito() {
	p.t.Helper()
	p.tap(byID("action_my"))
	p.tap(byText("Incognito"))
	p.see(byID("incognito_mark"))
}

// enter types into the bar and waits for the page or the error.
func (p *person) enter(words string) {
	p.t.Helper()
	p.tap(byID("url"))
	p.display.Text(words)
	if got := p.see(byID("url")); got.Text != words || !got.Focused {
		p.t.Fatalf("bar holds %q (focused %v), want %q", got.Text, got.Focused, words)
	}
	p.display.Key(screen.KeyEnter)
	p.see(func(n *node) bool {
		return n.Class == screen.ClassWebView && n.Text != "" || n.ID == browser.Package+":id/error_page"
	})
	if !p.wait(func() bool { return p.look().find(byID("progress")) == nil }) {
		p.t.Fatal("the page never finished loading")
	}
}

// rest waits until the browser has sent what it has to send.
func (p *person) rest() {
	p.t.Helper()
	if !p.wait(p.browser.Quiet) {
		p.t.Fatal("the browser never came to rest")
	}
}
