package pcapdroid

import "github.com/offproof/offproof/devices/sim/screen"

// ctrl is the app on the screen.
type ctrl struct{ a *App }

func (c ctrl) Package() string { return Package }
func (c ctrl) Label() string   { return "PCAPdroid" }

func (c ctrl) Activities() []screen.ActivityInfo {
	return []screen.ActivityInfo{
		{Name: MainActivity, Actions: []string{screen.ActionMain}, Launcher: true},
		{Name: CtrlActivity},
	}
}

func (c ctrl) Attach(post func(func(*screen.UI))) { c.a.post = post }

// Stop is called on the thread of the windows, and the end of a recording may
// take a while.
func (c ctrl) Stop()  { c.a.run(func() { c.a.Stop() }) }
func (c ctrl) Clear() {}

func (c ctrl) Open(_ *screen.UI, name string, in screen.Intent) *screen.Activity {
	act := &screen.Activity{}
	if name == MainActivity {
		act.Root = screen.Column("android:id/content",
			screen.Text(Package+":id/status", "Ready", screen.Style{TextSize: 24}),
			screen.TextButton(Package+":id/action_start", "Start", func(*screen.UI) {
				c.a.run(func() { c.a.start(settings{mode: "none", four: true, snap: 65535}) })
			}))
		return act
	}
	act.Root = screen.Column(Package + ":id/ctrl_consent")
	act.OnIntent = func(_ *screen.UI, in screen.Intent) { c.take(act, in) }
	c.take(act, in)
	return act
}

// take does what an intent asks for, if it has the key, and else asks the phone's
// owner.
func (c ctrl) take(act *screen.Activity, in screen.Intent) {
	a := c.a
	action := in.Extras["action"]
	finish := func() { a.run(func() { a.post(func(ui *screen.UI) { ui.Finish(act) }) }) }
	if action == "" {
		a.logf("E", "CaptureCtrl", "no action provided")
		finish()
		return
	}
	do := func() {
		a.run(func() {
			a.process(action, in.Extras)
			a.post(func(ui *screen.UI) { ui.Finish(act) })
		})
	}
	if key := in.Extras["api_key"]; key != "" && key == a.cfg.APIKey {
		do()
		return
	}
	act.Root = screen.Column(Package+":id/ctrl_consent",
		screen.Text(Package+":id/title", "PCAPdroid control request", screen.Style{TextSize: 20, Bold: true}),
		screen.Text(Package+":id/message", "An app wants to control the capture. Do you want to allow this?", screen.Style{TextSize: 16}),
		screen.TextButton(Package+":id/deny_btn", "Deny", func(ui *screen.UI) { ui.Finish(act) }),
		screen.TextButton(Package+":id/allow_btn", "Allow", func(*screen.UI) { do() }))
}

// process is what an intent that is allowed does.
func (a *App) process(action string, extras map[string]string) {
	switch action {
	case "start":
		a.logf("D", "CaptureCtrl", "Starting capture, caller=null")
		a.start(read(extras, a.cfg.Now()))
	case "stop":
		a.logf("D", "CaptureCtrl", "Stopping capture")
		a.Stop()
	case "get_status":
		// Its answer goes to the app that asked. A shell is none.
		a.logf("D", "CaptureCtrl", "Returning status")
	default:
		a.logf("E", "CaptureCtrl", "unknown action: %s", action)
	}
}

// start begins a recording, once the phone's owner has allowed the VPN.
func (a *App) start(s settings) {
	if a.cfg.Consented() {
		a.begin(s)
		return
	}
	a.mu.Lock()
	a.last = &s
	a.mu.Unlock()
	a.logf("D", "CaptureHelper", "VPN consent required")
	a.post(func(ui *screen.UI) {
		_ = ui.Start(screen.Intent{Component: ConsentPackage + "/" + consentWindow}) // It is installed with the app.
	})
}

// consent is Android's window that asks whether an app may be the VPN.
type consent struct{ a *App }

func (c consent) Package() string { return ConsentPackage }
func (c consent) Label() string   { return "VpnDialogs" }
func (c consent) Activities() []screen.ActivityInfo {
	return []screen.ActivityInfo{{Name: consentWindow}}
}
func (c consent) Attach(func(func(*screen.UI))) {}
func (c consent) Stop()                         {}
func (c consent) Clear()                        {}

func (c consent) Open(*screen.UI, string, screen.Intent) *screen.Activity {
	act := &screen.Activity{}
	answer := func(yes bool) func(*screen.UI) {
		return func(ui *screen.UI) {
			ui.Finish(act)
			c.a.mu.Lock()
			s := c.a.last
			c.a.last = nil
			c.a.mu.Unlock()
			if !yes || s == nil {
				return
			}
			c.a.cfg.Consent()
			c.a.run(func() { c.a.begin(*s) })
		}
	}
	act.Root = screen.Column("android:id/parentPanel",
		screen.Text("android:id/alertTitle", "Connection request", screen.Style{TextSize: 20, Bold: true}),
		screen.Text(ConsentPackage+":id/warning", "PCAPdroid wants to set up a VPN connection that allows it to monitor network traffic. "+
			"Only accept if you trust the source.", screen.Style{TextSize: 16}),
		screen.TextButton("android:id/button2", "Cancel", answer(false)),
		screen.TextButton("android:id/button1", "OK", answer(true)))
	return act
}
