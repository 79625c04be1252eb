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
		p.printf("%s", s.dumpWindow())
	case "activity":
		p.printf("%s", s.dumpActivity())
	case "battery":
		p.printf("Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  Wireless powered: false\n" +
			"  Max charging current: 500000\n  Max charging voltage: 5000000\n  Charge counter: 3906000\n  status: 2\n" +
			"  health: 2\n  present: true\n  level: 93\n  scale: 100\n  voltage: 4271\n  temperature: 287\n  technology: Li-poly\n")
	case "power":
		p.printf("%s", s.dumpPower())
	case "display":
		p.printf("DISPLAY MANAGER (dumpsys display)\n  mViewports=[DisplayViewport{valid=true, displayId=0, orientation=0, "+
			"logicalFrame=Rect(0, 0 - %d, %d)}]\n  mScreenState=%s\n", physicalSize.X, physicalSize.Y, onOff(s.cfg.Screen.Awake()))
	case "wifi":
		p.printf("%s", s.dumpWifi())
	case "connectivity":
		p.printf("%s", s.dumpConnectivity())
	case "input_method":
		p.printf("Current Input Method Manager state:\n  mCurMethodId=com.android.inputmethod.latin/.LatinIME\n  mInputShown=false\n")
	case "SurfaceFlinger", "alarm", "input", "netstats", "settings", "statusbar", "uimode", "user":
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

func (s *System) dumpWindow() string {
	var b strings.Builder
	b.WriteString("WINDOW MANAGER LAST ANR (dumpsys window lastanr)\n  <no ANR has occurred since boot>\n\n")
	b.WriteString("WINDOW MANAGER POLICY STATE (dumpsys window policy)\n")
	awake := s.cfg.Screen.Awake()
	fmt.Fprintf(&b, "    mAwake=%t mScreenOnEarly=%t mScreenOnFully=%t\n    mShowingDream=false mDreamingLockscreen=false\n"+
		"    mShowingLockscreen=%t mInputRestricted=false\n\n", awake, awake, awake, !awake)
	fmt.Fprintf(&b, "WINDOW MANAGER DISPLAY CONTENTS (dumpsys window displays)\n  Display: mDisplayId=0\n"+
		"    init=%dx%d 440dpi cur=%dx%d app=1080x2210 rng=1080x998-2210x2128\n\n", physicalSize.X, physicalSize.Y, physicalSize.X, physicalSize.Y)
	b.WriteString("WINDOW MANAGER WINDOWS (dumpsys window windows)\n")
	focus := s.cfg.Screen.Focus()
	switch {
	case focus == "" && !awake:
		b.WriteString("  mCurrentFocus=Window{7a33b5d u0 StatusBar}\n  mFocusedApp=null\n")
	case focus == "":
		b.WriteString("  mCurrentFocus=null\n  mFocusedApp=null\n")
	default:
		fmt.Fprintf(&b, "  mCurrentFocus=Window{5d2f0c1 u0 %s}\n", focus)
		fmt.Fprintf(&b, "  mFocusedApp=AppWindowToken{c1b9a6e token=Token{2cf2e49 ActivityRecord{90d3d50 u0 %s t41}}}\n", short(focus))
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

func (s *System) dumpPower() string {
	state := "Awake"
	if !s.cfg.Screen.Awake() {
		state = "Asleep"
	}
	return fmt.Sprintf("POWER MANAGER (dumpsys power)\n\nPower Manager State:\n  mDirty=0x0\n  mWakefulness=%s\n"+
		"  mWakefulnessChanging=false\n  mIsPowered=true\n  mPlugType=2\n  mBatteryLevel=93\n  mStayOn=true\n"+
		"  mProximityPositive=false\n  mBootCompleted=true\n  mSystemReady=true\n\nDisplay Power: state=%s\n", state, onOff(s.cfg.Screen.Awake()))
}

func (s *System) dumpWifi() string {
	for _, i := range s.cfg.Network.Interfaces() {
		if i.Name != "wlan0" {
			continue
		}
		state, supplicant := "enabled", "COMPLETED"
		if !i.Up {
			state, supplicant = "disabled", "DISCONNECTED"
		}
		return fmt.Sprintf("Wi-Fi is %s\nStay-awake conditions: 7\nmInIdleMode false\nmScanPending false\n"+
			"mWifiInfo SSID: lab, BSSID: 02:00:5e:10:00:01, MAC: %s, Supplicant state: %s, RSSI: -48, Link speed: 433Mbps, "+
			"Frequency: 5180MHz, Net ID: 0, Metered hint: false, score: 60\n", state, i.MAC, supplicant)
	}
	return "Wi-Fi is disabled\n"
}

func (s *System) dumpConnectivity() string {
	var b strings.Builder
	b.WriteString("NetworkFactories for:\n\nActive default network: 100\n\nCurrent Networks:\n")
	for _, i := range s.cfg.Network.Interfaces() {
		if i.Name != "wlan0" || !i.Up {
			continue
		}
		var addrs []string
		for _, prefix := range i.Prefixes {
			addrs = append(addrs, prefix.String())
		}
		proxy := ""
		if v := s.HTTPProxy(); v != "" {
			host, port, _ := strings.Cut(v, ":")
			proxy = fmt.Sprintf(" HttpProxy: [%s] %s xl= ", host, port)
		}
		fmt.Fprintf(&b, "  NetworkAgentInfo{ ni{[type: WIFI[], state: CONNECTED/CONNECTED, reason: (unspecified), extra: \"lab\"]}  network{100}  "+
			"lp{{InterfaceName: wlan0 LinkAddresses: [%s]%s}}  nc{[ Transports: WIFI Capabilities: NOT_METERED&INTERNET&NOT_RESTRICTED&TRUSTED&NOT_VPN&VALIDATED ]}  }\n",
			strings.Join(addrs, ","), proxy)
	}
	b.WriteString("\nPrivate DNS:\n  mode: off\n")
	return b.String()
}
