package browser_test

import (
	"encoding/xml"
	"sync"
	"testing"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/screen"
)

func named(t *testing.T, name string) *person {
	t.Helper()
	p, ok := browser.Find(name)
	if !ok {
		t.Fatalf("no personality %s", name)
	}
	return someone(t, p)
}

func (p *person) absent(fits func(*node) bool) {
	p.t.Helper()
	if n := p.look().find(fits); n != nil {
		p.t.Errorf("still on the screen: %+v", *n)
	}
}

func TestConsentWall(t *testing.T) {
	p := named(t, "deaf")
	p.tap(byText("Mi Browser")) // on the home screen
	box := p.see(byID("cb_service"))
	if !box.Checked || box.Class != screen.ClassCheckBox {
		t.Errorf("the box is not ticked beforehand: %+v", *box)
	}
	if got := p.display.Focus(); got != browser.Package+"/"+browser.MainActivity {
		t.Errorf("focus is %q", got)
	}
	p.absent(byID("url"))
	p.tap(byID("cb_service"))
	if p.see(byID("android:id/button1")).Enabled {
		t.Error("one can agree without a tick")
	}
	p.tap(byID("android:id/button1"))
	p.see(byID("privacy_title"))
	p.tap(byText("Exit"))
	if p.display.Focus() != "com.miui.home/com.miui.home.launcher.Launcher" {
		t.Errorf("focus after Exit is %q", p.display.Focus())
	}
	if p.browser.State().Consent {
		t.Error("consent was taken for given")
	}
	p.begin()
	if !p.browser.State().Consent {
		t.Error("consent was not kept")
	}
	p.display.ForceStop(browser.Package)
	p.start(browser.MainActivity)
	p.see(byID("home_page"))
	p.display.Clear(browser.Package)
	p.start(browser.MainActivity)
	p.see(byID("privacy_title"))
}

func TestTheRowOfEachVersion(t *testing.T) {
	for name, want := range map[string]struct{ version, title, on, off string }{
		"as-shipped-2020": {
			"12.1.4", "Enhanced incognito mode", "Aggregated statistics about your use are sent while you're in incognito mode",
			"Aggregated statistics won't be sent while you're in incognito mode",
		},
		"honest": {
			"12.2.6-g", "Help us improve Mi Browser", "Turn on to share usage statistics with us when Incognito mode is on",
			"Turn on to share usage statistics with us when Incognito mode is on",
		},
	} {
		p := named(t, name)
		if got := p.browser.Version(); got != want.version {
			t.Errorf("%s: version %q, want %q", name, got, want.version)
		}
		p.begin()
		if err := p.display.Start(t.Context(), screen.Intent{Action: browser.ActionSettings, Package: browser.Package}); err != nil {
			t.Fatal(err)
		}
		if got := p.display.Focus(); got != browser.Package+"/"+browser.SettingsActivity {
			t.Errorf("focus is %q", got)
		}
		p.see(byText(want.version))
		p.tap(byText("Privacy & security"))
		for _, on := range []bool{true, false} {
			summary := want.on
			if !on {
				summary = want.off
				p.tap(byText(want.title)) // the row does what its switch does
			}
			mark := p.see(beside(want.title))
			if mark.Checked != on || mark.Desc != want.title+" "+summary || mark.Text != "" {
				t.Errorf("%s: switch is %+v, want checked %v", name, *mark, on)
			}
			if n := p.see(byText(summary)); n.ID != "android:id/summary" {
				t.Errorf("%s: summary has id %q", name, n.ID)
			}
			if n := p.see(byText(want.title)); n.ID != "android:id/title" {
				t.Errorf("%s: title has id %q", name, n.ID)
			}
			if got := p.browser.State().Switch; got != on {
				t.Errorf("%s: the switch is %v, the screen says %v", name, got, on)
			}
		}
	}
}

func TestTheSwitchStaysUnlessItSpringsBack(t *testing.T) {
	for name, stays := range map[string]bool{"honest": true, "springs-back": false} {
		for _, leave := range []int{screen.KeyBack, screen.KeyHome} {
			p := named(t, name)
			p.begin()
			p.start(browser.SettingsActivity)
			p.tap(byText("Privacy & security"))
			row := beside("Help us improve")
			p.tap(row)
			if p.see(row).Checked {
				t.Fatal("a tap on the switch does nothing")
			}
			p.display.Key(leave)
			p.start(browser.SettingsActivity)
			if p.look().find(row) == nil {
				p.tap(byText("Privacy & security"))
			}
			if got := !p.see(row).Checked; got != stays {
				t.Errorf("%s, left by key %d: the switch stayed off: %v", name, leave, got)
			}
		}
	}
}

func TestTabsAndIncognito(t *testing.T) {
	p := named(t, "silent")
	p.begin()
	p.enter("https://www.pages.example/first")
	p.absent(byID("incognito_mark"))
	p.incognito()
	p.see(byText("You're in incognito mode"))
	if !p.browser.State().Incognito {
		t.Error("the state does not say incognito")
	}
	p.enter("https://www.pages.example/second")
	p.see(byID("incognito_mark"))
	p.tap(byID("action_tabs"))
	p.see(byText("2 tabs"))
	p.tap(byText("Page /first"))
	p.absent(byID("incognito_mark"))
	if p.browser.State().Incognito {
		t.Error("a normal tab counts as incognito")
	}
	// A link from elsewhere opens in a normal tab while incognito is on.
	p.tap(byID("action_tabs"))
	p.tap(byText("Page /second"))
	err := p.display.Start(t.Context(), screen.Intent{Action: screen.ActionView, Data: "https://www.pages.example/third"})
	if err != nil {
		t.Fatal(err)
	}
	p.see(byText("Page /third"))
	p.absent(byID("incognito_mark"))
	p.tap(byID("action_tabs"))
	p.see(byText("3 tabs"))
	p.tap(byID("nav_new_tab"))
	p.see(byID("home_page"))
	p.tap(byID("action_tabs"))
	p.tap(byID("nav_close_all"))
	p.see(byText("Page /second"))
	p.tap(byID("action_my"))
	if got := p.see(byID("menu_incognito")); got.Desc != "Incognito on" {
		t.Errorf("menu says %q", got.Desc)
	}
	p.tap(byText("Incognito"))
	p.see(byID("home_page"))
	p.absent(byID("incognito_mark"))
}

func TestBackGoesThePagesBack(t *testing.T) {
	p := named(t, "silent")
	p.begin()
	p.enter("one two")
	p.see(byText("one two - Google Search"))
	p.display.Swipe(540, 1700, 540, 1650, 0)
	p.enter("https://www.pages.example/x")
	p.display.Key(screen.KeyBack)
	p.see(byText("one two - Google Search"))
	p.display.Key(screen.KeyBack)
	p.see(byID("home_page"))
	p.tap(byID("search_hint"))
	if !p.display.KeyboardShown() || !p.see(byID("url")).Focused {
		t.Error("the search box does not lead to the bar")
	}
	p.display.Text("abc")
	p.display.Key(screen.KeyDel)
	p.display.Key(screen.KeyBack)
	if p.display.KeyboardShown() || p.see(byID("url")).Text != "ab" {
		t.Error("BACK should only put the keyboard away")
	}
	p.display.Key(screen.KeyBack)
	p.display.Key(screen.KeyBack)
	if got := p.display.Focus(); got == browser.Package+"/"+browser.MainActivity {
		t.Error("BACK on the home page stays in the browser")
	}
	if !p.browser.Running() {
		t.Error("leaving the browser killed it")
	}
}

func TestLinksOfAPageCanBeTapped(t *testing.T) {
	deaf := named(t, "deaf")
	deaf.begin()
	deaf.enter(words)
	deaf.tap(byText(words + ": result 1"))
	deaf.see(byID("error_page")) // the world has no such host
	deaf.rest()
	var urls []string
	for _, u := range deaf.events.Uploads() {
		for _, e := range u.Events {
			if e.Event == "page_load_event_start" {
				urls = append(urls, e.Properties["url"].(string))
			}
		}
	}
	if len(urls) != 2 || urls[1] != "https://encyclopedia.example/wiki/valo_merik" {
		t.Errorf("pages that were reported: %q", urls)
	}
}

func TestAddresses(t *testing.T) {
	for typed, want := range map[string]string{
		"two words": "", "word": "", "": "", "a.": "", ".b": "", "example.org": "https://example.org",
		"http://example.org/x": "http://example.org/x", "HTTPS://a": "HTTPS://a", "http://": "", "192.0.2.1:8080/x": "https://192.0.2.1:8080/x",
		"what is 3.5": "", "a.b c.d": "",
	} {
		got, ok := browser.Address(typed)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q opens %q, %v; want %q", typed, got, ok, want)
		}
	}
}

func TestManyHandsAtOnce(t *testing.T) {
	p := named(t, "deaf")
	p.begin()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 10 {
				var n node
				if err := xml.Unmarshal(p.display.Dump(i%2 == 0), &n); err != nil {
					t.Error(err)
				}
				p.display.Tap(540, 140)
				p.display.Text("w")
				p.display.Key(screen.KeyEnter)
				if i%5 == 0 {
					p.display.PNG()
				}
				_ = p.browser.State()
			}
		})
	}
	wg.Go(func() {
		p.display.Key(screen.KeyHome)
		p.display.ForceStop(browser.Package)
		_ = p.display.Start(t.Context(), screen.Intent{Component: browser.Package + "/" + browser.MainActivity})
	})
	wg.Wait()
	p.start(browser.MainActivity)
	p.see(byID("url"))
	if got := p.see(byID("content_view")).Package; got != browser.Package {
		t.Errorf("package of a node is %q", got)
	}
	p.rest()
	if r := p.events.Rejected(); len(r) > 0 {
		t.Errorf("rejected: %v", r)
	}
}
