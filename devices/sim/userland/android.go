package userland

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// How long the slow commands of a phone take, before pace.
const (
	binderCall = 120 * time.Millisecond  // app_process starting up for settings, pm, am
	inputCall  = 250 * time.Millisecond  // input
	dumpCall   = 1500 * time.Millisecond // uiautomator waiting for an idle screen
	pngCall    = 300 * time.Millisecond  // screencap encoding
)

func cmdGetprop(_ context.Context, p *proc, args []string) int {
	args = args[1:]
	if len(args) > 0 && (args[0] == "-T" || args[0] == "-Z") {
		args = args[1:]
	}
	if len(args) == 0 {
		p.sys.propMu.Lock()
		lines := make([]string, 0, len(p.sys.props))
		for k, v := range p.sys.props {
			lines = append(lines, fmt.Sprintf("[%s]: [%s]\n", k, v))
		}
		p.sys.propMu.Unlock()
		sort.Strings(lines)
		p.printf("%s", strings.Join(lines, ""))
		return 0
	}
	v := p.sys.property(args[0])
	if v == "" && len(args) > 1 {
		v = args[1]
	}
	p.printf("%s\n", v)
	return 0
}

func cmdSetprop(_ context.Context, p *proc, args []string) int {
	if len(args) != 3 {
		p.errorf("usage: setprop NAME VALUE\n")
		return 1
	}
	key, value := args[1], args[2]
	if p.uid != rootUID && !strings.HasPrefix(key, "debug.") && !strings.HasPrefix(key, "log.") {
		p.errorf("setprop: failed to set property '%s' to '%s'\n", key, value)
		return 1
	}
	p.sys.propMu.Lock()
	defer p.sys.propMu.Unlock()
	_, had := p.sys.props[key]
	if strings.HasPrefix(key, "ro.") && had || len(value) > 91 || !had && len(p.sys.props) > 2048 {
		p.errorf("setprop: failed to set property '%s' to '%s'\n", key, value)
		return 1
	}
	p.sys.props[key] = value
	return 0
}

func cmdPm(_ context.Context, p *proc, args []string) int {
	if !p.service("package") {
		return noService
	}
	if !p.sys.pause(p.done, binderCall) {
		return 1
	}
	return pm(p, args[1:])
}

func pm(p *proc, args []string) int {
	if len(args) == 0 {
		p.printf("Package manager (package) commands:\n  help\n    Print this help text.\n")
		return 0
	}
	verb, rest := args[0], args[1:]
	flags, user := map[string]bool{}, ""
	var names []string
	for i := 0; i < len(rest); i++ {
		switch {
		case rest[i] == "--user" && i+1 < len(rest):
			i++
			user = rest[i]
		case strings.HasPrefix(rest[i], "-"):
			flags[rest[i]] = true
		default:
			names = append(names, rest[i])
		}
	}
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	switch verb {
	case "list":
		return pmList(p, names, flags, user)
	case "path":
		info := p.sys.pkg(name)
		if info == nil {
			return 1
		}
		p.printf("package:%s\n", info.Path)
	case "dump":
		return dumpPackage(p, name)
	case "clear":
		if p.sys.pkg(name) == nil {
			p.printf("Failed\n")
			return 1
		}
		if p.gated() {
			return p.securityException(fmt.Sprintf("PID %d does not have permission android.permission.CLEAR_APP_USER_DATA to clear data of package %s", p.pid, name),
				"com.android.server.am.ActivityManagerService.clearApplicationUserData(ActivityManagerService.java:3837)")
		}
		p.sys.stopApp(name)
		p.sys.cfg.Screen.Clear(name)
		p.printf("Success\n")
	case "grant", "revoke":
		return pmGrant(p, names, verb == "grant")
	case "resolve-activity":
		return pmResolve(p, rest)
	case "install":
		return pmInstall(p, rest)
	case "uninstall":
		return pmUninstall(p, name)
	case "get-install-location":
		p.printf("0[auto]\n")
	case "list-users":
		p.printf("%s", p.sys.listUsers())
	default:
		p.errorf("Unknown command: %s\n", verb)
		return 255
	}
	return 0
}

func pmList(p *proc, names []string, flags map[string]bool, user string) int {
	if len(names) == 0 {
		p.errorf("Error: didn't specify type of data to list\n")
		return 255
	}
	switch names[0] {
	case "packages", "package":
		filter := ""
		if len(names) > 1 {
			filter = names[1]
		}
		for _, info := range p.sys.allPackages() {
			uids := p.sys.usersOf(&info, user)
			if !strings.Contains(info.Name, filter) || flags["-3"] && info.System || flags["-s"] && !info.System || len(uids) == 0 {
				continue
			}
			line := "package:"
			if flags["-f"] {
				line += info.Path + "="
			}
			line += info.Name
			if flags["--show-versioncode"] {
				line += fmt.Sprintf(" versionCode:%d", info.Code)
			}
			if flags["-U"] {
				line += " uid:" + strings.Join(uids, ",")
			}
			p.printf("%s\n", line)
		}
	case "users":
		p.printf("%s", p.sys.listUsers())
	case "features":
		p.printf("feature:android.hardware.wifi\nfeature:android.hardware.touchscreen\n")
	default:
		p.errorf("Error: unknown list type '%s'\n", names[0])
		return 255
	}
	return 0
}

func pmResolve(p *proc, args []string) int {
	brief := false
	var rest []string
	for _, a := range args {
		if a == "--brief" {
			brief = true
			continue
		}
		rest = append(rest, a)
	}
	in, _, err := parseIntent(rest)
	if err != nil {
		p.errorf("Error: %s\n", err)
		return 255
	}
	component, err := p.sys.cfg.Screen.Resolve(in)
	if err != nil {
		p.printf("No activity found\n")
		return 0
	}
	if brief {
		p.printf("priority=0 preferredOrder=0 match=0x108000 specificIndex=-1 isDefault=true\n")
	}
	p.printf("%s\n", component)
	return 0
}

func dumpPackage(p *proc, name string) int {
	if name == "" {
		for _, info := range p.sys.allPackages() {
			p.printf("%s", p.sys.describePackage(&info))
		}
		return 0
	}
	info := p.sys.pkg(name)
	if info == nil {
		p.printf("Unable to find package: %s\n", name)
		return 0
	}
	p.printf("%s", p.sys.describePackage(info))
	return 0
}

// noService is the exit status of cmd when there is no such service.
const noService = 20

// cmdCmd is cmd: services by name.
func cmdCmd(ctx context.Context, p *proc, args []string) int {
	if len(args) < 2 {
		p.errorf("cmd: No service specified; use -l to list all services\n")
		return 20
	}
	switch args[1] {
	case "-l":
		p.printf("Currently running services:\n")
		for _, name := range serviceNames {
			p.printf("  %s\n", name)
		}
		return 0
	case "package":
		return cmdPm(ctx, p, append([]string{"pm"}, args[2:]...))
	case "activity":
		return cmdAm(ctx, p, append([]string{"am"}, args[2:]...))
	case "settings":
		return cmdSettings(ctx, p, append([]string{"settings"}, args[2:]...))
	case "jobscheduler":
		return cmdJobscheduler(p, args[2:])
	case "appops":
		return cmdAppops(ctx, p, args[1:])
	case "window":
		return cmdWm(ctx, p, append([]string{"wm"}, args[2:]...))
	case "netpolicy":
		return cmdNetpolicy(p, args[2:])
	case "statusbar":
		return 0
	}
	p.errorf("cmd: Can't find service: %s\n", args[1])
	return noService
}

var serviceNames = []string{
	"SurfaceFlinger", "activity", "alarm", "appops", "battery", "bluetooth_manager", "connectivity", "deviceidle", "display", "input", "input_method",
	"jobscheduler", "netpolicy", "netstats", "package", "power", "settings", "statusbar", "telephony.registry", "trust", "uimode", "user",
	"wifi", "window",
}

const inputUsage = "Usage: input [<source>] <command> [<arg>...]\n"

// cmdInput is input.
func cmdInput(_ context.Context, p *proc, args []string) int {
	args = args[1:]
	if len(args) > 0 {
		switch args[0] {
		case "touchscreen", "keyboard", "mouse", "touchpad", "dpad", "trackball":
			args = args[1:]
		}
	}
	if len(args) == 0 {
		p.errorf("%s", inputUsage)
		return 255
	}
	if p.sys.property("persist.security.adbinput") != "1" && p.uid != 0 {
		p.errorf("java.lang.SecurityException: Injecting to another application requires INJECT_EVENTS permission\n")
		return 255
	}
	if !p.sys.pause(p.done, inputCall) {
		return 1
	}
	numbers := func(least, most int) ([]int, bool) {
		if len(args)-1 < least || len(args)-1 > most {
			p.errorf("Error: Invalid arguments for command: %s\n%s", args[0], inputUsage)
			return nil, false
		}
		var list []int
		for _, a := range args[1:] {
			f, err := strconv.ParseFloat(a, 64)
			if err != nil || f < -1e6 || f > 1e6 {
				p.errorf("Error: Invalid arguments for command: %s\n", args[0])
				return nil, false
			}
			list = append(list, int(f))
		}
		return list, true
	}
	switch args[0] {
	case "tap":
		n, ok := numbers(2, 2)
		if !ok {
			return 255
		}
		p.sys.cfg.Screen.Tap(n[0], n[1])
	case "swipe", "draganddrop":
		n, ok := numbers(4, 5)
		if !ok {
			return 255
		}
		d := 300 * time.Millisecond
		if len(n) == 5 {
			d = time.Duration(max(n[4], 0)) * time.Millisecond
		}
		if !p.sys.pause(p.done, d) {
			return 1
		}
		p.sys.cfg.Screen.Swipe(n[0], n[1], n[2], n[3], d)
	case "text":
		if len(args) != 2 {
			p.errorf("Error: Invalid arguments for command: text\n%s", inputUsage)
			return 255
		}
		for _, r := range args[1] {
			if r > 0x7e {
				p.errorf("java.lang.NullPointerException: Attempt to get length of null array\n" +
					"\tat com.android.commands.input.Input.sendText(Input.java:188)\n")
				return 255
			}
		}
		if err := p.sys.cfg.Screen.Text(strings.ReplaceAll(args[1], "%s", " ")); err != nil {
			p.errorf("%s\n", err)
			return 255
		}
	case "keyevent":
		for _, a := range args[1:] {
			if a == "--longpress" {
				continue
			}
			code, ok := keyCode(a)
			if !ok {
				p.errorf("Error: Invalid arguments for command: keyevent\n")
				return 255
			}
			p.sys.cfg.Screen.Key(code)
		}
	default:
		p.errorf("Error: Unknown command: %s\n%s", args[0], inputUsage)
		return 255
	}
	return 0
}

var keyNames = map[string]int{
	"HOME": 3, "BACK": 4, "DPAD_UP": 19, "DPAD_DOWN": 20, "DPAD_LEFT": 21, "DPAD_RIGHT": 22, "DPAD_CENTER": 23,
	"VOLUME_UP": 24, "VOLUME_DOWN": 25, "POWER": 26, "CAMERA": 27, "TAB": 61, "SPACE": 62, "ENTER": 66, "DEL": 67,
	"MENU": 82, "SEARCH": 84, "PAGE_UP": 92, "PAGE_DOWN": 93, "ESCAPE": 111, "FORWARD_DEL": 112, "MOVE_HOME": 122,
	"MOVE_END": 123, "APP_SWITCH": 187, "SLEEP": 223, "WAKEUP": 224, "CLEAR": 28,
}

func keyCode(word string) (int, bool) {
	if n, ok := atoi(word); ok {
		return n, n < 1000
	}
	n, ok := keyNames[strings.TrimPrefix(strings.ToUpper(word), "KEYCODE_")]
	return n, ok
}

// javaNoise is what MIUI's app_process prints before the work of uiautomator.
const javaNoise = "java.io.FileNotFoundException: /data/system/theme_config/theme_compatibility.xml: open failed: ENOENT (No such file or directory)\n" +
	"\tat libcore.io.IoBridge.open(IoBridge.java:496)\n" +
	"\tat java.io.FileInputStream.<init>(FileInputStream.java:159)\n" +
	"\tat android.content.res.MiuiThemeCompatibility.load(Unknown Source:12)\n"

// cmdUiautomator is uiautomator dump [--compressed] [FILE].
func cmdUiautomator(_ context.Context, p *proc, args []string) int {
	if len(args) < 2 || args[1] != "dump" {
		p.errorf("Usage: uiautomator <subcommand> [options]\n")
		return 1
	}
	compressed, to := false, "/sdcard/window_dump.xml"
	for _, a := range args[2:] {
		switch {
		case a == "--compressed":
			compressed = true
		case strings.HasPrefix(a, "-"):
		default:
			to = a
		}
	}
	if !p.sys.uiMu.TryLock() {
		p.errorf("java.lang.IllegalStateException: UiAutomationService android.accessibilityservice." +
			"IAccessibilityServiceClient$Stub$Proxy@2a8fa5c already registered!\nKilled \n")
		return 137
	}
	defer p.sys.uiMu.Unlock()
	if !p.sys.pause(p.done, dumpCall) {
		return 1
	}
	if code, done := p.moody(compressed); done {
		return code
	}
	xml := p.sys.cfg.Screen.Dump(compressed)
	if p.sys.inMood(ScreenOneNode) {
		xml = []byte(oneNode)
	}
	if len(xml) == 0 {
		p.printf("ERROR: could not get idle state.\n")
		return 0
	}
	if to == "/dev/tty" {
		p.printf("%s%sUI hierchary dumped to: %s\n", javaNoise, xml, to)
		return 0
	}
	if err := p.fs().WriteFile(p.abs(to), xml, 0o660); err != nil {
		p.errorf("ERROR: null root node returned by UiTestAutomationBridge.\n")
		return 0
	}
	p.printf("UI hierchary dumped to: %s\n", to)
	if p.sys.inMood(ScreenNoise) {
		p.printf("%s", javaNoise)
	}
	return 0
}

// cmdScreencap is screencap -p [FILE].
func cmdScreencap(_ context.Context, p *proc, args []string) int {
	png, to := false, ""
	for _, a := range args[1:] {
		switch {
		case a == "-p":
			png = true
		case strings.HasPrefix(a, "-"):
		default:
			to = a
			png = png || strings.HasSuffix(a, ".png")
		}
	}
	if !png {
		p.errorf("screencap: raw pixels are not supported, use -p\n")
		return 1
	}
	if !p.sys.pause(p.done, pngCall) {
		return 1
	}
	data := p.sys.cfg.Screen.PNG()
	if to != "" {
		if err := p.fs().WriteFile(p.abs(to), data, 0o660); err != nil {
			p.errorf("Error opening file: %s (%s)\n", to, strerror(err))
			return 1
		}
		return 0
	}
	if _, err := p.out().Write(data); err != nil {
		return 1
	}
	return 0
}

func cmdSvc(_ context.Context, p *proc, args []string) int {
	if len(args) < 3 {
		p.errorf("Available commands:\n    help\n    power\n    data\n    wifi\n    usb\n    nfc\n    bluetooth\n")
		return 1
	}
	on := args[2] == "enable"
	switch args[1] {
	case "wifi":
		p.sys.SetWifi(on)
	case "data":
		p.sys.settings.put("global", "mobile_data", strconv.Itoa(oneIf(on)))
	case "bluetooth":
		p.sys.Alter(func(c *Condition) { c.Bluetooth = on })
	case "nfc":
		p.sys.Alter(func(c *Condition) { c.NFC = on && p.sys.cfg.Identity.NFC })
	case "power", "usb":
	default:
		p.errorf("svc: unknown command %s\n", args[1])
		return 1
	}
	return 0
}
