package screen

import "slices"

const (
	homePackage      = "com.miui.home"
	homeActivity     = "com.miui.home.launcher.Launcher"
	settingsPackage  = "com.android.settings"
	settingsActivity = "com.android.settings.MainSettings"
)

// The launcher is the home screen: an icon for every app that has one.
type launcher struct{ d *Display }

var (
	_ App = (*launcher)(nil)
	_ App = (*settings)(nil)
)

func newLauncher(d *Display) *launcher { return &launcher{d: d} }

func (l *launcher) Package() string        { return homePackage }
func (l *launcher) Label() string          { return "System launcher" }
func (l *launcher) Attach(func(func(*UI))) {}
func (l *launcher) Stop()                  {}
func (l *launcher) Clear()                 {}
func (l *launcher) Activities() []ActivityInfo {
	return []ActivityInfo{{Name: homeActivity, Actions: []string{ActionMain}, Home: true}}
}

func (l *launcher) Open(*UI, string, Intent) *Activity {
	grid := Column(homePackage + ":id/workspace")
	grid.Height, grid.Padding = Match, Sides(12, 40)
	a := &Activity{Root: grid, Dark: true}
	grid.Style.Background = RGB(0x35507a)
	a.OnResume = func(*UI) { grid.Children = l.icons() }
	return a
}

func (l *launcher) icons() []*View {
	var rows []*View
	var row *View
	n := 0
	for _, app := range l.d.apps {
		i := slices.IndexFunc(app.Activities(), func(info ActivityInfo) bool { return info.Launcher })
		if i < 0 {
			continue
		}
		if n%4 == 0 {
			row = Row(homePackage + ":id/cell_row")
			row.Height = 110
			rows = append(rows, row)
		}
		n++
		in := Intent{Action: ActionMain, Component: app.Package() + "/" + app.Activities()[i].Name}
		icon := &View{Class: ClassImageView, ID: homePackage + ":id/icon_icon", Width: 56, Height: 56, Gravity: GravityCenter, Style: Style{Icon: "app"}}
		title := Text(homePackage+":id/icon_title", app.Label(), Style{TextSize: 13, MaxLines: 1, Color: RGB(0xffffff), Align: GravityCenter})
		title.Gravity = GravityCenter
		row.Add(&View{
			Class: ClassRelativeLayout, ID: homePackage + ":id/cell", Desc: app.Label(), Axis: Down, Width: 92, Height: 100,
			OnClick: func(ui *UI) {
				// The app was there when the icon was drawn; if not, nothing opens.
				_ = ui.Start(in)
			},
			Children: []*View{icon, title},
		})
	}
	return rows
}

// recents is the overview of the tasks.
func (d *Display) recents() *View {
	root := Column(homePackage + ":id/recents_view")
	root.Height, root.Padding, root.Style.Background = Match, All(16), RGB(0x22304a)
	for i := len(d.tasks) - 1; i >= 0; i-- {
		t := d.tasks[i]
		app := d.app(t.pkg)
		if t.pkg == homePackage || app == nil {
			continue
		}
		title := Text(homePackage+":id/title", app.Label(), Style{Bold: true})
		card := &View{
			Class: ClassFrameLayout, ID: homePackage + ":id/task_view", Desc: app.Label(), Axis: Stacked, Width: Match, Height: 160,
			Padding: All(16), Margin: Edges{Bottom: 16}, Style: Style{Background: RGB(0xf1f3f4), Radius: 16},
			OnClick: func(*UI) {
				d.recent = false
				d.raise(t)
			},
		}
		root.Add(card.Add(title))
	}
	if len(root.Children) == 0 {
		root.Add(Text(homePackage+":id/empty", "No recent items", Style{Color: RGB(0xffffff)}))
	}
	return root
}

// The settings app is there so that there is a second app on the phone; its
// rows tell facts and change nothing.
type settings struct{}

func newSettings() *settings { return &settings{} }

func (*settings) Package() string        { return settingsPackage }
func (*settings) Label() string          { return "Settings" }
func (*settings) Attach(func(func(*UI))) {}
func (*settings) Stop()                  {}
func (*settings) Clear()                 {}
func (*settings) Activities() []ActivityInfo {
	return []ActivityInfo{{
		Name: settingsActivity, Launcher: true,
		Actions: []string{"android.settings.SETTINGS", ActionMain},
	}}
}

func (*settings) Open(*UI, string, Intent) *Activity {
	list := List(ClassRecyclerView, settingsPackage+":id/recycler_view")
	for _, row := range [][2]string{
		{"About phone", "MIUI Global"},
		{"Wi-Fi", "Connected"},
		{"Bluetooth", "Off"},
		{"SIM cards & mobile networks", "No SIM card"},
		{"Display", ""},
		{"Sound & vibration", ""},
		{"Notifications", ""},
		{"Home screen", ""},
		{"Passwords & security", ""},
		{"Privacy protection", ""},
		{"Battery & performance", ""},
		{"Apps", ""},
		{"Additional settings", ""},
	} {
		list.Add(Preference(settingsPackage, row[0], row[1], nil, nil))
	}
	root := Column("", TitleBar(settingsPackage, "Settings", nil), list)
	root.Height = Match
	return &Activity{Root: root}
}
