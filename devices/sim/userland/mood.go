package userland

import "time"

// A ScreenMood is a way in which uiautomator fails to see the screen.
type ScreenMood int

// The moods of uiautomator.
const (
	ScreenNeverIdle ScreenMood = iota + 1 // what is drawn moves all the time
	ScreenMoving                          // only the compressed form comes through what moves
	ScreenNoWindow                        // no window has the focus
	ScreenOneNode                         // a single empty node
	ScreenNoise                           // messages of MIUI around what it prints
	ScreenWedged                          // it starts and never answers
)

// idleWait is how long uiautomator waits for a screen that moves.
const idleWait = 10 * time.Second

// SetScreenMood begins a mood, or ends it.
func (s *System) SetScreenMood(m ScreenMood, on bool) {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	if s.moods == nil {
		s.moods = map[ScreenMood]bool{}
	}
	s.moods[m] = on
}

func (s *System) inMood(m ScreenMood) bool {
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	return s.moods[m]
}

// moody does what uiautomator does in its moods; done is true when it has come to
// its end.
func (p *proc) moody(compressed bool) (code int, done bool) {
	s := p.sys
	switch {
	case s.inMood(ScreenWedged):
		<-p.done
		return 1, true
	case s.inMood(ScreenNeverIdle), s.inMood(ScreenMoving) && !compressed:
		if !s.pause(p.done, idleWait) {
			return 1, true
		}
		p.printf("ERROR: could not get idle state.\n")
		return 0, true
	case s.inMood(ScreenNoWindow):
		p.errorf("ERROR: null root node returned by UiTestAutomationBridge.\n")
		return 0, true
	case s.inMood(ScreenNoise):
		p.printf("%s", javaNoise)
	}
	return 0, false
}

// oneNode is the tree of a screen of which uiautomator sees nothing.
const oneNode = `<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><hierarchy rotation="0">` +
	`<node index="0" text="" resource-id="" class="android.widget.FrameLayout" package="com.android.systemui" content-desc="" checkable="false" checked="false" ` +
	`clickable="false" enabled="true" focusable="false" focused="false" scrollable="false" long-clickable="false" password="false" selected="false" bounds="[0,0][1080,2340]" /></hierarchy>`
