package screen

// keyguardPackage is the program that draws the lock screen.
const keyguardPackage = "com.android.systemui"

// SetLocked shows the lock screen in front of everything, or takes it away. Only
// the power key is taken while it is there.
func (d *Display) SetLocked(locked bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.locked, d.ime = locked, false
}

// Locked reports whether the lock screen is shown.
func (d *Display) Locked() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.locked || d.asleep
}

// deaf says whether nothing below the lock screen hears a touch or a key.
func (d *Display) deaf() bool { return d.asleep || d.locked || d.closed }

// keyguard is the lock screen.
func (d *Display) keyguard() *View {
	return Column("com.android.systemui:id/keyguard_status_area",
		Text("com.android.systemui:id/clock_view", d.clock().Format("15:04"), Style{TextSize: 48}),
		Text("com.android.systemui:id/keyguard_message_area", "Swipe up to unlock", Style{TextSize: 16}),
		&View{Class: ClassImageView, ID: "com.android.systemui:id/lock_icon", Desc: "Lock icon", Width: 48, Height: 48})
}
