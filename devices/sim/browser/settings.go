package browser

import "github.com/offproof/offproof/devices/sim/screen"

// settingsScreen is the browser's settings, one page above the other.
type settingsScreen struct {
	b        *Browser
	activity *screen.Activity
	root     *screen.View
	list     *screen.View
	privacy  bool
}

func (b *Browser) openSettings() *screen.Activity {
	s := &settingsScreen{b: b, root: screen.Column("")}
	s.root.Height = screen.Match
	s.activity = &screen.Activity{
		Root: s.root, OnBack: s.back,
		OnPause: func(*screen.UI) { s.left() },
		OnResume: func(*screen.UI) {
			s.render()
		},
	}
	s.turn(false)
	return s.activity
}

// turn shows another page from its beginning.
func (s *settingsScreen) turn(privacy bool) {
	s.privacy = privacy
	s.list = nil
	s.render()
}

// left is told when the screen with the switch has been left.
func (s *settingsScreen) left() {
	if again := s.b.cfg.Personality.OnLeave; s.privacy && again != nil {
		s.b.data.on = again(s.b.data.on)
	}
}

func (s *settingsScreen) back(*screen.UI) bool {
	if !s.privacy {
		return false
	}
	s.left()
	s.turn(false)
	return true
}

func (s *settingsScreen) render() {
	title, rows := s.b.say("Settings"), s.general
	if s.privacy {
		title, rows = s.b.say("Privacy & security"), s.privacyRows
	}
	if s.list == nil {
		s.list = screen.List(screen.ClassRecyclerView, Package+":id/recycler_view")
	}
	s.list.Children = rows()
	s.root.Children = []*screen.View{
		screen.TitleBar(Package, title, func(ui *screen.UI) {
			if !s.back(ui) {
				ui.Finish(s.activity)
			}
		}),
		s.list,
	}
}

func (s *settingsScreen) general() []*screen.View {
	d := &s.b.data
	return []*screen.View{
		screen.SectionTitle(s.b.say("General")),
		screen.Preference(Package, s.b.say("Search engine"), engines[d.engine].label, nil, s.chooseEngine),
		screen.Preference(Package, s.b.say("Privacy & security"), "", nil, func(*screen.UI) { s.turn(true) }),
		screen.SectionTitle(s.b.say("Data")),
		screen.Preference(Package, s.b.say("Clear data"), s.b.say("Cookies of normal tabs"), nil, s.clearCookies),
		screen.SectionTitle(s.b.say("About")),
		screen.Preference(Package, s.b.say("Version"), s.b.Version(), nil, nil),
	}
}

func (s *settingsScreen) chooseEngine(ui *screen.UI) {
	var labels []string
	for _, e := range engines {
		labels = append(labels, e.label)
	}
	ui.Show(s.activity, screen.Choose(s.b.say("Search engine"), labels, int(s.b.data.engine), func(_ *screen.UI, i int) {
		s.b.data.engine = engine(i)
		s.render()
	}))
}

func (s *settingsScreen) clearCookies(ui *screen.UI) {
	ui.Show(s.activity, screen.Alert(s.b.say("Clear data"), "Cookies of normal tabs will be deleted.",
		screen.Choice{Text: "Clear", Click: func(*screen.UI) {
			s.b.data.jar = newJar()
			s.b.renew()
		}}, screen.Choice{Text: "Cancel"}))
}

func (s *settingsScreen) privacyRows() []*screen.View {
	d := &s.b.data
	row := s.b.cfg.Personality.Row
	summary := row.Off
	if d.on {
		summary = row.On
	}
	flip := func(field *bool, after func()) *screen.Toggle {
		return &screen.Toggle{On: *field, Change: func(_ *screen.UI, on bool) {
			*field = on
			if after != nil {
				after()
			}
			s.render()
		}}
	}
	rows := []*screen.View{
		screen.SectionTitle(s.b.say("Privacy")),
		screen.Preference(Package, s.b.say("Enable cookies"), "", flip(&d.cookies, s.b.renew), nil),
		screen.Preference(Package, s.b.say("Do not track"), s.b.say("Ask sites not to track you"), flip(&d.doNotTrack, nil), nil),
	}
	// The genuine page is longer than the screen, and what is looked for is at its end.
	for _, name := range []string{"Site settings", "Location", "Camera", "Microphone", "Notifications", "Pop-ups", "Saved passwords", "Autofill", "Safe browsing"} {
		rows = append(rows, screen.Preference(Package, name, "", nil, nil))
	}
	return append(rows,
		screen.SectionTitle(s.b.say("Improvement")),
		screen.Preference(Package, s.b.say("Improve search & browsing experience"), s.b.say("Share links of sites you visit with Xiaomi"), flip(&d.shareLinks, nil), nil),
		screen.Preference(Package, s.b.say(row.Title), s.b.say(summary), flip(&d.on, nil), nil),
	)
}

// renew makes both modes keep cookies as the settings now say.
func (b *Browser) renew() {
	if b.main == nil {
		return
	}
	normal, private := b.data.jar, newJar()
	if !b.data.cookies {
		normal, private = nil, nil
	}
	if c := b.main.normal; c != nil {
		c.keep(normal)
	}
	if c := b.main.private; c != nil {
		c.keep(private)
	}
}
