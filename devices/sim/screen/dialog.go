package screen

// A Dialog is a window above an activity. While it is open, the dump shows it
// alone, and nothing below it takes taps.
type Dialog struct {
	Root *View
	// Sheet puts the dialog at the lower edge over the whole width.
	Sheet bool
	// Strict dialogs do not go away by BACK or a tap beside them.
	Strict bool
	// OnCancel is told when BACK or a tap beside it closed the dialog.
	OnCancel func(*UI)

	focus *View
}

// A Choice is a button of an alert.
type Choice struct {
	Text string
	// Click is called after the dialog has been closed; it may be nil.
	Click func(*UI)
}

// Alert makes a dialog of a title, a message and up to three buttons, with
// the resource names of the platform's own: button1 is the positive one,
// button2 the negative, button3 the neutral.
func Alert(title, message string, choices ...Choice) *Dialog {
	d := &Dialog{}
	body := Column("android:id/contentPanel",
		Text("android:id/message", message, Style{TextSize: 16, Color: RGB(0x5f6368)}))
	body.Padding = Sides(24, 8)
	d.Root = d.panel(title, body, choices)
	return d
}

// Choose makes a dialog with a list of which one is taken. chosen is told the
// index after the dialog has been closed.
func Choose(title string, items []string, current int, chosen func(*UI, int)) *Dialog {
	d := &Dialog{}
	list := &View{
		Class: ClassListView, ID: "android:id/select_dialog_listview", Axis: Down, Width: Match, Scrolls: true,
		Focusable: true,
	}
	for i, item := range items {
		list.Add(&View{
			Class: ClassRadio, ID: "android:id/text1", Text: item, Width: Match, Height: 52, Padding: Sides(24, 0),
			Checkable: true, Checked: i == current, Style: Style{TextSize: 16},
			OnClick: func(ui *UI) {
				ui.Dismiss(d)
				chosen(ui, i)
			},
		})
	}
	d.Root = d.panel(title, list, []Choice{{}, {Text: "Cancel"}})
	return d
}

func (d *Dialog) panel(title string, body *View, choices []Choice) *View {
	panel := Column("android:id/parentPanel")
	panel.Style.Background, panel.Style.Radius = RGB(0xffffff), 12
	if title != "" {
		heading := Text("android:id/alertTitle", title, Style{TextSize: 20, Bold: true})
		heading.Padding = Edges{Left: 24, Top: 20, Right: 24, Bottom: 8}
		heading.Width = Match
		panel.Add(Column("android:id/topPanel", heading))
	}
	panel.Add(body)
	bar := Row("android:id/buttonPanel")
	bar.Padding = Sides(12, 6)
	bar.Add(&View{Class: ClassView, Weight: 1, Height: 1})
	// Drawn from left to right: neutral, negative, positive.
	for i := len(choices) - 1; i >= 0; i-- {
		choice := choices[i]
		if choice.Text == "" {
			continue
		}
		bar.Add(TextButton("android:id/button"+string(rune('1'+i)), choice.Text, func(ui *UI) {
			ui.Dismiss(d)
			if choice.Click != nil {
				choice.Click(ui)
			}
		}))
	}
	return panel.Add(bar)
}
