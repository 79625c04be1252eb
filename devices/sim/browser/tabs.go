package browser

import (
	"context"
	"strconv"

	"github.com/offproof/offproof/devices/sim/screen"
)

// phase is what a tab shows.
type phase uint8

const (
	atHome phase = iota
	loading
	loaded
	failed
)

// A tab is one page with those before it.
type tab struct {
	incognito bool
	phase     phase
	// visit tells answers for the present page from those for an earlier one.
	visit   int
	address string
	page    *page
	err     string
	past    []string
	cancel  context.CancelFunc
}

func (t *tab) title() string {
	switch {
	case t.phase == atHome && t.incognito:
		return "Incognito"
	case t.phase == atHome:
		return "Homepage"
	case t.page != nil && t.page.title != "":
		return t.page.title
	}
	return t.address
}

// abandon gives up what the tab is loading.
func (t *tab) abandon() {
	t.visit++
	if t.cancel != nil {
		t.cancel()
		t.cancel = nil
	}
}

// open loads an address in a tab.
func (m *mainScreen) open(t *tab, address string) {
	b := m.b
	if t.phase != atHome && t.address != address {
		t.past = append(t.past, t.address)
	}
	t.abandon()
	t.phase, t.address, t.page, t.err = loading, address, nil, ""
	visit := t.visit
	state := b.state()
	state.Incognito = t.incognito
	b.report(Act{Kind: ActPageStart, URL: address}, state)

	c := m.client(t.incognito)
	dnt := b.data.doNotTrack
	lost := b.cfg.Personality.Load
	ended := make(chan struct{})
	t.cancel = func() { close(ended) }
	b.proc.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() {
			select {
			case <-ended:
				cancel()
			case <-ctx.Done():
			}
		}()
		var p *page
		var err error
		if lost != nil {
			err = lost(address)
		}
		if err == nil {
			p, err = c.load(ctx, address, "", dnt)
		}
		show := func(f func(*screen.UI)) {
			b.run(func(ui *screen.UI) {
				if t.visit == visit && b.main == m {
					f(ui)
					m.render(ui)
				}
			})
		}
		if err != nil {
			b.cfg.Log.Debug("browser: load page", "err", err)
			show(func(*screen.UI) { t.phase, t.err = failed, netError(err) })
			return
		}
		show(func(*screen.UI) { t.page, t.address = p, p.url.String() })
		c.fill(ctx, p, dnt, 0)
		if len(p.sends) > 0 {
			states := c.send(ctx, p)
			show(func(*screen.UI) { p.answered(states) })
		}
		show(func(*screen.UI) {
			t.phase = loaded
			state := b.state()
			state.Incognito = t.incognito
			b.report(Act{Kind: ActPageFinish, URL: t.address}, state)
		})
	})
}

// client makes the requests of a mode. That of incognito, with its cookies, is
// forgotten with the last incognito tab.
func (m *mainScreen) client(incognito bool) *client {
	slot, cookies := &m.normal, m.b.data.jar
	if incognito {
		slot, cookies = &m.private, newJar()
	}
	if !m.b.data.cookies {
		cookies = nil
	}
	if *slot == nil {
		*slot = newClient(&m.b.cfg, m.b.cfg.UID, cookies)
	}
	return *slot
}

func (m *mainScreen) tab() *tab { return m.tabs[m.current] }

func (m *mainScreen) newTab(incognito bool) *tab {
	t := &tab{incognito: incognito}
	m.tabs = append(m.tabs, t)
	m.current = len(m.tabs) - 1
	return t
}

// closeTabs closes the tabs that fit, and leaves at least one.
func (m *mainScreen) closeTabs(fits func(*tab) bool) {
	current := m.tab()
	var kept []*tab
	private := false
	for _, t := range m.tabs {
		if fits(t) {
			t.abandon()
			continue
		}
		kept = append(kept, t)
		private = private || t.incognito
	}
	m.tabs, m.current = kept, len(kept)-1
	if len(kept) == 0 {
		m.newTab(false)
	}
	for i, t := range m.tabs {
		if t == current {
			m.current = i
		}
	}
	if !private && m.private != nil {
		m.private.close()
		m.private = nil
	}
}

// tabList is the screen of all tabs.
func (m *mainScreen) tabList() []*screen.View {
	list := screen.List(screen.ClassRecyclerView, id("tab_list"))
	for i, t := range m.tabs {
		title := screen.Text(id("tab_title"), t.title(), screen.Style{Bold: true, MaxLines: 1})
		title.Weight = 1
		head := screen.Row("", title, screen.Icon(id("tab_close"), "Close tab", "close", func(ui *screen.UI) {
			m.closeTabs(func(other *tab) bool { return other == t })
			m.render(ui)
		}))
		card := screen.Column(id("tab_card"), head)
		card.Desc, card.Selected = t.title(), i == m.current
		card.Padding, card.Margin = screen.All(12), screen.Sides(16, 8)
		card.Style = screen.Style{Background: screen.RGB(0xeef1f4), Radius: 12}
		if t.incognito {
			card.Add(screen.Text(id("tab_mode"), "Incognito", screen.Style{TextSize: 13, Color: screen.RGB(0x9aa0a6)}))
			card.Style.Background, title.Style.Color = screen.RGB(0x3c4043), screen.RGB(0xffffff)
		}
		if t.phase != atHome {
			card.Add(screen.Text(id("tab_url"), t.address, screen.Style{TextSize: 13, MaxLines: 1, Color: screen.RGB(0x80868b)}))
		}
		card.OnClick = func(ui *screen.UI) {
			m.current, m.showTabs = i, false
			m.render(ui)
		}
		list.Add(card)
	}
	bar := screen.Row(id("tab_bar"),
		screen.Icon(id("nav_close_all"), "Close all tabs", "trash", func(ui *screen.UI) {
			private := m.tab().incognito
			m.closeTabs(func(t *tab) bool { return t.incognito == private })
			m.showTabs = false
			m.render(ui)
		}),
		spring(),
		screen.Icon(id("nav_new_tab"), "New tab", "plus", func(ui *screen.UI) {
			m.newTab(m.tab().incognito)
			m.showTabs = false
			m.render(ui)
		}),
		spring(),
		screen.Icon(id("nav_done"), "Back to the page", "back", func(ui *screen.UI) {
			m.showTabs = false
			m.render(ui)
		}))
	bar.Height, bar.Padding = 56, screen.Sides(24, 0)
	heading := screen.Text(id("tab_count"), strconv.Itoa(len(m.tabs))+" tabs", screen.Style{TextSize: 20, Bold: true})
	heading.Padding = screen.All(16)
	return []*screen.View{heading, list, bar}
}

func spring() *screen.View { return &screen.View{Class: screen.ClassView, Weight: 1, Height: 1} }
