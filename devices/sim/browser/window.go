package browser

import (
	"strconv"

	"github.com/offproof/offproof/devices/sim/screen"
)

// mainScreen is the browser's window with its tabs.
type mainScreen struct {
	b        *Browser
	activity *screen.Activity
	root     *screen.View

	tabs     []*tab
	current  int
	showTabs bool
	// wanted is the page that another app asked for before the wall was passed.
	wanted string
	seen   map[string]bool // items of the feed that were reported

	normal, private *client

	// The views that live as long as the window.
	mark, bar, clear, progress, content, count, shown *screen.View
	ticked                                            bool
}

func id(name string) string { return Package + ":id/" + name }

func newMainScreen(b *Browser) *mainScreen {
	m := &mainScreen{b: b, root: screen.Column(""), ticked: true, seen: map[string]bool{}}
	m.root.Height = screen.Match
	m.newTab(false)
	m.mark = screen.Text(id("incognito_mark"), m.b.say("Incognito"), screen.Style{TextSize: 12, Bold: true, Color: screen.RGB(0xffffff)})
	m.mark.Desc, m.mark.Margin = m.b.say("Incognito mode is on"), screen.Edges{Left: 12}
	m.bar = &screen.View{
		Class: screen.ClassEditText, ID: id("url"), Hint: m.b.say("Search or enter web address"), Weight: 1, Height: 40,
		Padding: screen.Sides(16, 0), Margin: screen.Sides(12, 0), SelectOnFocus: true,
		Style:   screen.Style{Background: screen.RGB(0xeef0f2), Radius: 20, TextSize: 15},
		OnEnter: m.enter,
		OnFocus: func(ui *screen.UI, on bool) { m.render(ui) },
		OnText:  func(ui *screen.UI, text string) { m.clear.Hidden = text == "" },
	}
	m.clear = screen.Icon(id("url_clear"), "Clear", "close", func(ui *screen.UI) {
		m.bar.Text = ""
		ui.SetFocus(m.bar)
		m.clear.Hidden = true
	})
	m.clear.Hidden = true
	m.progress = &screen.View{
		Class: screen.ClassProgressBar, ID: id("progress"), Width: screen.Match, Height: 3,
		Style: screen.Style{Color: screen.RGB(0xff6900)},
	}
	m.content = &screen.View{Class: screen.ClassFrameLayout, ID: id("content_view"), Axis: screen.Stacked, Width: screen.Match, Weight: 1}
	m.count = screen.Text(id("tab_switcher"), "1", screen.Style{TextSize: 13, Bold: true, Align: screen.GravityCenter, Icon: "box"})
	m.count.Width, m.count.Height, m.count.Gravity = 24, 24, screen.GravityCenter
	m.activity = &screen.Activity{
		Root: m.root, OnBack: m.back, OnIntent: m.handle, OnShow: m.look,
		OnResume: func(ui *screen.UI) { m.render(ui) },
	}
	return m
}

// end is the end of the process.
func (m *mainScreen) end() {
	for _, t := range m.tabs {
		t.abandon()
	}
	for _, c := range []*client{m.normal, m.private} {
		if c != nil {
			c.close()
		}
	}
}

// handle does what an intent asks for. A link from elsewhere opens in a normal
// tab, even while incognito is on.
func (m *mainScreen) handle(ui *screen.UI, in screen.Intent) {
	if in.Data != "" {
		if !m.b.data.consent {
			m.wanted = in.Data
		} else {
			m.visit(in.Data)
		}
	}
	m.render(ui)
}

func (m *mainScreen) visit(address string) {
	t := m.tab()
	if t.incognito || t.phase != atHome {
		t = m.newTab(false)
	}
	m.showTabs = false
	m.open(t, address)
}

// enter is ENTER in the address bar.
func (m *mainScreen) enter(ui *screen.UI, typed string) {
	ui.SetFocus(nil)
	t := m.tab()
	if address, ok := webAddress(typed); ok {
		m.open(t, address)
	} else if typed != "" {
		position := "homepage"
		if t.phase != atHome {
			position = "address_bar"
		}
		e := m.b.data.engine
		m.b.report(Act{
			Kind: ActSearch, Words: typed, Engine: engines[e].word, Position: position, Method: "enter", URL: e.address(typed),
		}, m.b.state())
		m.open(t, e.address(typed))
	}
	m.render(ui)
}

func (m *mainScreen) back(ui *screen.UI) bool {
	t := m.tab()
	switch {
	case !m.b.data.consent:
		return false
	case m.showTabs:
		m.showTabs = false
	case ui.Focused() == m.bar:
		ui.SetFocus(nil)
	case len(t.past) > 0:
		last := t.past[len(t.past)-1]
		t.past = t.past[:len(t.past)-1]
		t.phase = atHome // so that going back leaves nothing to go back to
		m.open(t, last)
	case t.phase != atHome:
		m.goHome(t)
	default:
		// The window stays in its task, as browsers leave it.
		ui.Home()
	}
	m.render(ui)
	return true
}

func (m *mainScreen) goHome(t *tab) {
	t.abandon()
	t.phase, t.address, t.page, t.err, t.past = atHome, "", nil, "", nil
}

// render makes the window's tree show the present state.
func (m *mainScreen) render(ui *screen.UI) {
	if !m.b.data.consent {
		if m.root.Find(func(v *screen.View) bool { return v.ID == id("privacy_title") }) == nil {
			m.root.Children = m.wall()
		}
		return
	}
	if m.showTabs {
		if ui != nil && ui.Focused() == m.bar {
			ui.SetFocus(nil)
		}
		m.root.Children = m.tabList()
		return
	}
	t := m.tab()
	editing := ui != nil && ui.Front() == m.activity && ui.Focused() == m.bar
	if !editing {
		m.bar.Text = t.address
	}
	m.clear.Hidden = !editing || m.bar.Text == ""
	m.mark.Hidden = !t.incognito
	m.progress.Hidden = t.phase != loading
	m.count.Text = strconv.Itoa(len(m.tabs))
	m.activity.Dark = t.incognito
	toolbar := screen.Row(id("toolbar"), m.mark, m.bar, m.clear)
	toolbar.Height = 56
	bottom := m.bottomBar()
	if t.incognito {
		toolbar.Style.Background, bottom.Style.Background = screen.RGB(0x202124), screen.RGB(0x202124)
		for _, v := range bottom.Children {
			v.Style.Color = screen.RGB(0xe8eaed)
		}
		m.count.Style.Color = screen.RGB(0xe8eaed)
	} else {
		m.count.Style.Color = 0
	}
	m.fillContent(t)
	m.root.Children = []*screen.View{toolbar, m.progress, m.content, bottom}
}

// fillContent keeps the scroll position as long as the same is shown.
func (m *mainScreen) fillContent(t *tab) {
	var v *screen.View
	switch {
	case t.phase == atHome:
		v = m.home(t)
	case t.phase == failed:
		v = m.failure(t)
	default:
		v = m.web(t)
	}
	if m.shown != nil && m.shown.ID == v.ID && m.shown.Text == v.Text && m.shown.Class == v.Class {
		m.shown.Children = v.Children
		v = m.shown
	}
	m.shown = v
	m.content.Children = []*screen.View{v}
}

func (m *mainScreen) bottomBar() *screen.View {
	tabs := &screen.View{
		Class: screen.ClassFrameLayout, ID: id("action_tabs"), Desc: "Tabs", Width: 48, Height: 48,
		OnClick: func(ui *screen.UI) {
			m.showTabs = true
			m.render(ui)
		},
		Children: []*screen.View{m.count},
	}
	bar := screen.Row(id("bottom_bar"),
		screen.Icon(id("action_back"), "Back", "back", func(ui *screen.UI) {
			if t := m.tab(); t.phase != atHome {
				m.back(ui)
			}
		}),
		spring(),
		screen.Icon(id("action_home"), "Homepage", "home", func(ui *screen.UI) {
			m.goHome(m.tab())
			m.render(ui)
		}),
		spring(), tabs, spring(),
		screen.Icon(id("action_my"), "Profile", "person", func(ui *screen.UI) { m.menu(ui) }))
	bar.Height, bar.Padding, bar.Style.Background = 56, screen.Sides(16, 0), screen.RGB(0xffffff)
	return bar
}

// menu is the profile sheet.
func (m *mainScreen) menu(ui *screen.UI) {
	d := &screen.Dialog{Sheet: true}
	panel := screen.Column(id("menu_panel"))
	panel.Padding = screen.Sides(0, 12)
	panel.Style = screen.Style{Background: screen.RGB(0xffffff), Radius: 16}
	row := func(name, title, icon string, click func(*screen.UI)) *screen.View {
		picture := &screen.View{Class: screen.ClassImageView, Width: 24, Height: 24, Style: screen.Style{Icon: icon}}
		text := screen.Text(id("menu_title"), title, screen.Style{})
		text.Weight, text.Margin = 1, screen.Edges{Left: 20}
		v := screen.Row(id(name), picture, text)
		v.Height, v.Padding = 56, screen.Sides(24, 0)
		v.OnClick = func(ui *screen.UI) {
			ui.Dismiss(d)
			click(ui)
			m.render(ui)
		}
		panel.Add(v)
		return v
	}
	private := m.tab().incognito
	v := row("menu_incognito", m.b.say("Incognito"), "mask", func(*screen.UI) {
		if private {
			m.closeTabs(func(t *tab) bool { return t.incognito })
		} else {
			m.newTab(true)
		}
	})
	v.Selected = private
	v.Desc = m.b.say("Incognito off")
	if private {
		v.Desc = m.b.say("Incognito on")
	}
	v.Add(screen.Text(id("menu_state"), m.b.say(map[bool]string{true: "On", false: "Off"}[private]), screen.Style{TextSize: 13, Color: screen.RGB(0x80868b)}))
	row("menu_new_tab", m.b.say("New tab"), "plus", func(*screen.UI) { m.newTab(private) })
	row("menu_refresh", m.b.say("Refresh"), "reload", func(*screen.UI) { m.reload() })
	row("menu_settings", m.b.say("Settings"), "gear", func(ui *screen.UI) {
		// The browser's own activity is always there.
		_ = ui.Start(screen.Intent{Component: Package + "/" + SettingsActivity})
	})
	row("menu_exit", m.b.say("Exit"), "close", func(ui *screen.UI) {
		m.closeTabs(func(*tab) bool { return true })
		ui.Home()
	})
	d.Root = panel
	ui.Show(m.activity, d)
}

func (m *mainScreen) reload() {
	if t := m.tab(); t.phase != atHome {
		m.open(t, t.address)
	}
}
