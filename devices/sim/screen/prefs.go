package screen

// TitleBar makes the bar at the top of a screen of settings; back may be nil.
func TitleBar(pkg, title string, back func(*UI)) *View {
	bar := Row(pkg + ":id/action_bar")
	bar.Height, bar.Padding = 56, Sides(8, 0)
	if back != nil {
		bar.Add(Icon(pkg+":id/up", "Navigate up", "back", back))
	}
	heading := Text(pkg+":id/action_bar_title", title, Style{TextSize: 20, Bold: true})
	heading.Margin = Edges{Left: 12}
	return bar.Add(heading)
}

// A Toggle is the switch of a preference row.
type Toggle struct {
	On     bool
	Change func(*UI, bool)
}

// Preference makes a row of a settings screen with the resource names of the
// platform: the title and summary in one container and the switch in another
// beside it, with an empty text and both texts as its description. A tap
// anywhere on the row does what a tap on the switch does.
func Preference(pkg, title, summary string, toggle *Toggle, click func(*UI)) *View {
	words := &View{Class: ClassRelativeLayout, Axis: Down, Weight: 1, Padding: Sides(0, 12)}
	words.Add(Text("android:id/title", title, Style{TextSize: 16}))
	desc := title
	if summary != "" {
		words.Add(Text("android:id/summary", summary, Style{TextSize: 13, Color: RGB(0x70757a)}))
		desc += " " + summary
	}
	row := Row("", words)
	row.MinHeight, row.Padding = 64, Sides(20, 0)
	row.OnClick = click
	if toggle == nil {
		if click == nil {
			row.Focusable = true
		}
		return row
	}
	mark := &View{
		Class: ClassCheckBox, ID: "android:id/checkbox", Desc: desc, Checkable: true, Checked: toggle.On,
		Width: 52, Height: 32, OnToggle: toggle.Change, Style: Style{Icon: "switch"},
	}
	frame := &View{Class: ClassLinearLayout, ID: "android:id/widget_frame", Axis: Down, Padding: Edges{Left: 12}, Children: []*View{mark}}
	row.OnClick = func(ui *UI) {
		mark.Checked = !mark.Checked
		toggle.Change(ui, mark.Checked)
	}
	return row.Add(frame)
}

// SectionTitle makes the heading of a group of preferences.
func SectionTitle(title string) *View {
	v := Text("android:id/title", title, Style{TextSize: 13, Bold: true, Color: RGB(0x1a73e8)})
	v.Width, v.Padding = Match, Edges{Left: 20, Top: 16, Right: 20, Bottom: 4}
	return v
}
