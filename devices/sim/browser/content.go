package browser

import "github.com/offproof/offproof/devices/sim/screen"

// wall is the consent wall of the first run. The box is ticked beforehand, as
// in the genuine one.
func (m *mainScreen) wall() []*screen.View {
	title := screen.Text(id("privacy_title"), m.b.say("Welcome to Mi Browser"), screen.Style{TextSize: 24, Bold: true})
	title.Padding = screen.Edges{Left: 24, Top: 96, Right: 24, Bottom: 16}
	text := screen.Text(id("privacy_content"), "Before you begin, please read how Mi Browser handles your data. "+
		"You need to accept the User Agreement and the Privacy Policy to use this app.", screen.Style{})
	text.Padding = screen.Sides(24, 8)
	agree := screen.TextButton("android:id/button1", m.b.say("Agree"), nil)
	agree.Weight, agree.Style.Background, agree.Style.Color, agree.Style.Radius = 1, screen.RGB(0xff6900), screen.RGB(0xffffff), 24
	agree.Margin = screen.Edges{Left: 12}
	agree.Disabled = !m.ticked
	agree.OnClick = func(ui *screen.UI) {
		m.b.data.consent = true
		if m.wanted != "" {
			m.visit(m.wanted)
			m.wanted = ""
		}
		m.render(ui)
	}
	exit := screen.TextButton("android:id/button2", m.b.say("Exit"), func(ui *screen.UI) { ui.Finish(m.activity) })
	exit.Weight, exit.Style.Background, exit.Style.Color, exit.Style.Radius = 1, screen.RGB(0xe8eaed), screen.RGB(0x202124), 24
	box := &screen.View{
		Class: screen.ClassCheckBox, ID: id("cb_service"), Text: m.b.say("I have read and agree to the User Agreement and the Privacy Policy"),
		Width: screen.Match, Padding: screen.Sides(24, 16), Checkable: true, Checked: m.ticked, Style: screen.Style{TextSize: 14},
		OnToggle: func(_ *screen.UI, on bool) {
			m.ticked = on
			agree.Disabled = !on
		},
	}
	buttons := screen.Row(id("privacy_buttons"), exit, agree)
	buttons.Padding = screen.Sides(24, 24)
	return []*screen.View{title, text, {Class: screen.ClassView, Weight: 1, Width: screen.Match}, box, buttons}
}

// home is the home page of a tab.
func (m *mainScreen) home(t *tab) *screen.View {
	name, title, sub := "home_page", "Mi Browser", ""
	if t.incognito {
		name, title = "incognito_home", "You're in incognito mode"
		sub = "Pages you open in incognito tabs won't stay in your history or cookies once you close all incognito tabs."
	}
	list := screen.List(screen.ClassRecyclerView, id(name))
	list.Height = screen.Match
	heading := screen.Text(id("home_title"), title, screen.Style{TextSize: 26, Bold: true, Align: screen.GravityCenter})
	heading.Width, heading.Padding = screen.Match, screen.Edges{Top: 56, Bottom: 20, Left: 24, Right: 24}
	list.Add(heading)
	if sub != "" {
		note := screen.Text(id("incognito_note"), sub, screen.Style{TextSize: 14, Align: screen.GravityCenter, Color: screen.RGB(0xbdc1c6)})
		note.Width, note.Padding = screen.Match, screen.Edges{Left: 32, Right: 32, Bottom: 20}
		list.Add(note)
		list.Style.Background, heading.Style.Color = screen.RGB(0x303134), screen.RGB(0xffffff)
	}
	hint := screen.Text(id("search_hint"), m.bar.Hint, screen.Style{
		TextSize: 15, Color: screen.RGB(0x80868b), Background: screen.RGB(0xf1f3f4), Radius: 24, Icon: "search",
	})
	hint.Width, hint.Height, hint.Padding, hint.Margin = screen.Match, 48, screen.Edges{Left: 48, Right: 16}, screen.Sides(24, 8)
	hint.OnClick = func(ui *screen.UI) { ui.SetFocus(m.bar) }
	list.Add(hint)
	if t.incognito {
		return list
	}
	for _, item := range m.b.cfg.Feed {
		card := screen.Column(id("feed_item"),
			screen.Text(id("feed_title"), item.Title, screen.Style{Bold: true, MaxLines: 3}),
			screen.Text(id("feed_source"), item.Source, screen.Style{TextSize: 13, Color: screen.RGB(0x80868b)}))
		card.Padding, card.Margin = screen.All(12), screen.Sides(24, 8)
		card.MinHeight = 96
		card.Style = screen.Style{Background: screen.RGB(0xf8f9fa), Radius: 12}
		card.OnClick = func(ui *screen.UI) {
			m.open(m.tab(), item.URL)
			m.render(ui)
		}
		list.Add(card)
	}
	return list
}

// look finds the items of the feed that are in view.
func (m *mainScreen) look(*screen.UI) {
	t := m.tab()
	if m.showTabs || t.phase != atHome || t.incognito || !m.b.data.consent || len(m.b.cfg.Feed) == 0 {
		return
	}
	i := 0
	for _, card := range m.shown.Children {
		if card.ID != id("feed_item") {
			continue
		}
		item := m.b.cfg.Feed[i]
		i++
		if card.Bounds().Empty() || m.seen[item.URL] {
			continue
		}
		m.seen[item.URL] = true
		m.b.report(Act{Kind: ActFeedItem, URL: item.URL, Title: item.Title}, m.b.state())
	}
}

// web is the page of a tab, with its text as accessibility tells it.
func (m *mainScreen) web(t *tab) *screen.View {
	v := &screen.View{
		Class: screen.ClassWebView, Axis: screen.Down, Width: screen.Match, Height: screen.Match, Scrolls: true,
		Focusable: true, Text: t.title(), Padding: screen.Sides(16, 12),
	}
	if t.page == nil {
		v.Text = ""
		return v
	}
	for _, b := range t.page.blocks {
		line := &screen.View{Class: screen.ClassView, Text: b.text, Width: screen.Match, Padding: screen.Sides(0, 6)}
		line.Style.TextSize = 15
		switch {
		case b.field:
			line.Class = screen.ClassEditText
			line.Style.Background, line.Style.Radius = screen.RGB(0xf1f3f4), 8
			line.Padding, line.Disabled = screen.Sides(12, 10), true
		case b.heading:
			line.Style.Bold, line.Style.TextSize = true, 18
		}
		if b.href != "" {
			line.Style.Color = screen.RGB(0x1a0dab)
			line.OnClick = func(ui *screen.UI) {
				m.open(m.tab(), b.href)
				m.render(ui)
			}
		}
		v.Add(line)
	}
	return v
}

// failure is what a tab shows when its page did not come.
func (m *mainScreen) failure(t *tab) *screen.View {
	v := screen.Column(id("error_page"))
	v.Height, v.Padding = screen.Match, screen.Sides(32, 96)
	title := screen.Text(id("error_title"), "Network error", screen.Style{TextSize: 22, Bold: true})
	detail := screen.Text(id("error_detail"), "The web page at "+t.address+" could not be loaded.\n"+t.err, screen.Style{Color: screen.RGB(0x5f6368)})
	detail.Padding = screen.Sides(0, 12)
	retry := screen.TextButton(id("error_retry"), "Retry", func(ui *screen.UI) {
		m.reload()
		m.render(ui)
	})
	retry.Width = screen.Match
	retry.Style.Background, retry.Style.Radius = screen.RGB(0xe8f0fe), 24
	return v.Add(title, detail, retry)
}
