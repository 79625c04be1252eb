package userland

import (
	"context"
	"fmt"
	"strings"
)

// cmdDumpsys is dumpsys: the services that scripts ask.
func cmdDumpsys(_ context.Context, p *proc, args []string) int {
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if args[0] == "-l" {
			p.printf("Currently running services:\n")
			for _, name := range serviceNames {
				p.printf("  %s\n", name)
			}
			return 0
		}
		if args[0] == "-t" && len(args) > 1 {
			args = args[1:]
		}
		args = args[1:]
	}
	if !p.sys.pause(p.done, binderCall/2) {
		return 1
	}
	if len(args) == 0 {
		for _, name := range serviceNames {
			p.printf("-------------------------------------------------------------------------------\nDUMP OF SERVICE %s:\n", name)
			dumpService(p, name, nil)
		}
		return 0
	}
	if !dumpService(p, args[0], args[1:]) {
		p.errorf("Can't find service: %s\n", args[0])
	}
	return 0
}

func dumpService(p *proc, service string, args []string) bool {
	s := p.sys
	if s.isStarting() {
		return false
	}
	switch service {
	case "package":
		name := ""
		for _, a := range args {
			if !strings.HasPrefix(a, "-") {
				name = a
			}
		}
		dumpPackage(p, name)
	case "window":
		p.printf("%s", s.dumpWindow(args))
	case "activity":
		if len(args) > 0 && (args[0] == "services" || args[0] == "s") {
			p.printf("%s", s.dumpServices(args[1:]))
			break
		}
		p.printf("%s", s.dumpActivity())
	case "battery":
		p.printf("%s", s.dumpBattery())
	case "power":
		p.printf("%s", s.dumpPower())
	case "display":
		p.printf("DISPLAY MANAGER (dumpsys display)\n  mViewports=[DisplayViewport{valid=true, displayId=0, orientation=0, "+
			"logicalFrame=Rect(0, 0 - %d, %d)}]\n  mScreenState=%s\n", physicalSize.X, physicalSize.Y, onOff(s.cfg.Screen.Awake()))
	case "wifi":
		p.printf("%s", s.dumpWifi())
	case "deviceidle":
		dumpIdle(p, args)
	case "connectivity":
		p.printf("%s", s.dumpConnectivity())
	case "input_method":
		p.printf("Current Input Method Manager state:\n  mCurMethodId=com.android.inputmethod.latin/.LatinIME\n  mInputShown=false\n")
	case "trust":
		p.printf("%s", s.dumpTrust())
	case "bluetooth_manager":
		p.printf("%s", s.dumpBluetooth())
	case "nfc":
		text, ok := s.dumpNFC()
		p.printf("%s", text)
		return ok
	case "telephony.registry":
		p.printf("%s", s.dumpTelephony())
	case "netstats":
		p.printf("%s", s.dumpNetstats(args))
	case "netd":
		p.printf("%s", s.dumpNetd(args))
	case "jobscheduler":
		p.printf("%s", s.dumpJobs(args))
	case "alarm":
		p.printf("%s", s.dumpAlarms())
	case "user":
		p.printf("%s", s.dumpUsers())
	case "input":
		p.printf("%s", s.dumpInput())
	case "SurfaceFlinger", "settings", "statusbar", "uimode":
		p.printf("\n")
	default:
		return false
	}
	return true
}

func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

// short is a component as Android prints it: the class without the package.
func short(component string) string {
	pkg, class, _ := strings.Cut(component, "/")
	if rest, ok := strings.CutPrefix(class, pkg+"."); ok {
		class = "." + rest
	}
	return pkg + "/" + class
}

// dumpWindow is dumpsys window [policy|windows|displays]; without a word it is
// all of them. The focus moved from windows to displays in Android 10.
func (s *System) dumpWindow(args []string) string {
	part := ""
	if len(args) > 0 {
		part = args[0]
	}
	focus := s.dumpFocus()
	var b strings.Builder
	if part == "" {
		b.WriteString("WINDOW MANAGER LAST ANR (dumpsys window lastanr)\n  <no ANR has occurred since boot>\n\n")
	}
	if part == "" || part == "policy" || part == "p" {
		b.WriteString(s.dumpPolicy())
	}
	if part == "" || part == "displays" || part == "d" {
		fmt.Fprintf(&b, "WINDOW MANAGER DISPLAY CONTENTS (dumpsys window displays)\n  Display: mDisplayId=0\n"+
			"    init=%dx%d 440dpi cur=%dx%d app=1080x2210 rng=1080x998-2210x2128\n\n", physicalSize.X, physicalSize.Y, physicalSize.X, physicalSize.Y)
		if s.cfg.Identity.Ten() {
			b.WriteString(focus)
		}
	}
	if part == "" || part == "windows" || part == "w" {
		b.WriteString("WINDOW MANAGER WINDOWS (dumpsys window windows)\n")
		if !s.cfg.Identity.Ten() {
			b.WriteString(focus)
		}
	}
	return b.String()
}

func (s *System) dumpFocus() string {
	focus := s.cfg.Screen.Focus()
	locked, _ := s.locked()
	switch {
	case focus == "" && (locked || !s.cfg.Screen.Awake()):
		return "  mCurrentFocus=Window{7a33b5d u0 StatusBar}\n  mFocusedApp=null\n"
	case focus == "":
		return "  mCurrentFocus=null\n  mFocusedApp=null\n"
	}
	return fmt.Sprintf("  mCurrentFocus=Window{5d2f0c1 u0 %s}\n  mFocusedApp=AppWindowToken{c1b9a6e token=Token{2cf2e49 ActivityRecord{90d3d50 u0 %s t41}}}\n", focus, short(focus))
}

// dumpServices is dumpsys activity services, perhaps of one package or component.
func (s *System) dumpServices(of []string) string {
	var b strings.Builder
	b.WriteString("ACTIVITY MANAGER SERVICES (dumpsys activity services)\n")
	var all []string
	if s.cfg.Services != nil {
		all = s.cfg.Services()
	}
	none := true
	for i, c := range all {
		pkg, _, _ := strings.Cut(c, "/")
		if len(of) > 0 && of[0] != pkg && of[0] != short(c) && of[0] != c {
			continue
		}
		if none {
			b.WriteString("  User 0 active services:\n")
		}
		none = false
		fmt.Fprintf(&b, "  * ServiceRecord{5d1e7a%d u0 %s}\n    intent={cmp=%s}\n    packageName=%s\n    processName=%s\n    createTime=-41s217ms startingBgTimeout=--\n"+
			"    isForeground=true foregroundId=1 foregroundNoti=Notification(channel=VPNService pri=0 contentView=null vibrate=null sound=null defaults=0x0 flags=0x62 color=0x00000000 vis=PRIVATE)\n"+
			"    startRequested=true delayedStop=false stopIfKilled=false callStart=true lastStartId=1\n\n", i%10, short(c), short(c), pkg, pkg)
	}
	if none {
		b.WriteString("  (nothing)\n")
	}
	return b.String()
}

func (s *System) dumpActivity() string {
	var b strings.Builder
	b.WriteString("ACTIVITY MANAGER ACTIVITIES (dumpsys activity activities)\nDisplay #0 (activities from top to bottom):\n\n")
	top := ""
	for i, task := range s.cfg.Screen.Tasks() {
		fmt.Fprintf(&b, "  Stack #%d: type=standard mode=fullscreen\n  isSleeping=%t\n  mBounds=Rect(0, 0 - 0, 0)\n", i+1, !s.cfg.Screen.Awake())
		for j, c := range task {
			pkg, _, _ := strings.Cut(c, "/")
			if i == 0 && j == 0 {
				top = c
			}
			fmt.Fprintf(&b, "    Task id #%d\n      * Hist #%d: ActivityRecord{90d3d5%d u0 %s t%d}\n          packageName=%s processName=%s\n",
				41-i, len(task)-1-j, (i+j)%10, short(c), 41-i, pkg, pkg)
		}
	}
	if top != "" && s.cfg.Screen.Awake() {
		fmt.Fprintf(&b, "\n    mResumedActivity: ActivityRecord{90d3d50 u0 %s t41}\n\n  ResumedActivity: ActivityRecord{90d3d50 u0 %s t41}\n", short(top), short(top))
	}
	return b.String()
}
