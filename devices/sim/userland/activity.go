package userland

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// cmdAm is am: start, force-stop, broadcast and a few questions.
func cmdAm(_ context.Context, p *proc, args []string) int {
	if !p.service("activity") {
		return noService
	}
	args = args[1:]
	if len(args) == 0 {
		p.printf("Activity manager (activity) commands:\n  help\n      Print this help text.\n")
		return 0
	}
	if !p.sys.pause(p.done, binderCall) {
		return 1
	}
	switch args[0] {
	case "start", "start-activity":
		return amStart(p, args[1:])
	case "force-stop", "kill":
		name := args[len(args)-1]
		if len(args) < 2 {
			p.errorf("Error: no package specified\n")
			return 255
		}
		p.sys.stopApp(name)
		p.sys.logf("I", "ActivityManager", 1387, "Force stopping %s appid=0 user=0: from pid %d", name, p.pid)
		return 0
	case "broadcast":
		in, _, err := parseIntent(args[1:])
		if err != nil {
			p.errorf("Error: %s\n", err)
			return 255
		}
		p.printf("Broadcasting: %s\nBroadcast completed: result=0\n", in)
		return 0
	case "get-current-user":
		p.printf("0\n")
		return 0
	case "stack", "task":
		for i, task := range p.sys.cfg.Screen.Tasks() {
			p.printf("Stack id=%d bounds=[0,0][1080,2340] displayId=0 userId=0\n", i+1)
			for _, c := range task {
				p.printf("  taskId=%d: %s bounds=[0,0][1080,2340] userId=0 visible=%t topActivity=ComponentInfo{%s}\n", 40+i, c, i == 0, c)
			}
		}
		return 0
	case "clear-debug-app", "set-debug-app", "idle-maintenance", "kill-all", "wait-for-broadcast-idle":
		return 0
	}
	p.errorf("Unknown command: %s\n", args[0])
	return 255
}

type startOptions struct {
	wait, stop bool
}

var errIntent = errors.New("bad intent")

// parseIntent reads the options of am start.
func parseIntent(args []string) (Intent, startOptions, error) {
	in := Intent{Extras: map[string]string{}}
	var o startOptions
	for i := 0; i < len(args); i++ {
		take := func(n int) ([]string, error) {
			if i+n >= len(args) {
				return nil, fmt.Errorf("%w: argument expected after \"%s\"", errIntent, args[i])
			}
			v := args[i+1 : i+1+n]
			i += n
			return v, nil
		}
		var v []string
		var err error
		switch a := args[i]; a {
		case "-W":
			o.wait = true
		case "-S":
			o.stop = true
		case "-D", "-N", "--grant-read-uri-permission", "--grant-write-uri-permission", "--activity-clear-top",
			"--activity-clear-task", "--activity-single-top", "--activity-no-history", "--activity-brought-to-front":
		case "-a", "-d", "-n", "-p", "-c", "-t", "-f", "--user", "--display", "-R", "-P", "--start-profiler":
			if v, err = take(1); err != nil {
				return in, o, err
			}
			switch a {
			case "-a":
				in.Action = v[0]
			case "-d":
				in.Data = v[0]
			case "-p":
				in.Package = v[0]
			case "-c":
				in.Categories = append(in.Categories, v[0])
			case "-n":
				if !strings.Contains(v[0], "/") {
					return in, o, fmt.Errorf("%w: Bad component name: %s", errIntent, v[0])
				}
				in.Component = v[0]
			}
		case "-e", "--es", "--ei", "--ez", "--el", "--ef", "--eu", "--ecn":
			if v, err = take(2); err != nil {
				return in, o, err
			}
			in.Extras[v[0]] = v[1]
		case "--esn":
			if v, err = take(1); err != nil {
				return in, o, err
			}
			in.Extras[v[0]] = ""
		default:
			switch {
			case strings.HasPrefix(a, "-"):
				return in, o, fmt.Errorf("%w: Unknown option: %s", errIntent, a)
			case strings.Contains(a, ":"):
				in.Data = a
			case strings.Contains(a, "/"):
				in.Component = a
			default:
				in.Package = a
			}
		}
	}
	if pkg, class, ok := strings.Cut(in.Component, "/"); ok && strings.HasPrefix(class, ".") {
		in.Component = pkg + "/" + pkg + class
	}
	if in.Action == "" && in.Data != "" {
		in.Action = "android.intent.action.VIEW"
	}
	return in, o, nil
}

// String is the intent as Android prints it, with a web address shortened.
func (in Intent) String() string {
	var b strings.Builder
	b.WriteString("Intent {")
	if in.Action != "" {
		b.WriteString(" act=" + in.Action)
	}
	if len(in.Categories) > 0 {
		b.WriteString(" cat=[" + strings.Join(in.Categories, ",") + "]")
	}
	if in.Data != "" {
		data := in.Data
		if u, err := url.Parse(data); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
			data = u.Scheme + "://" + u.Host + "/..."
		}
		b.WriteString(" dat=" + data)
	}
	if in.Package != "" {
		b.WriteString(" pkg=" + in.Package)
	}
	if in.Component != "" {
		pkg, class, _ := strings.Cut(in.Component, "/")
		b.WriteString(" cmp=" + pkg + "/" + strings.Replace(class, pkg+".", ".", 1))
	}
	if len(in.Extras) > 0 {
		b.WriteString(" (has extras)")
	}
	b.WriteString(" }")
	return b.String()
}

func amStart(p *proc, args []string) int {
	in, o, err := parseIntent(args)
	if err != nil {
		p.errorf("%s\n", strings.TrimPrefix(err.Error(), errIntent.Error()+": "))
		return 1
	}
	began := time.Now()
	p.printf("Starting: %s\n", in)
	target, rerr := p.sys.cfg.Screen.Resolve(in)
	pkg, _, _ := strings.Cut(target, "/")
	if o.stop && rerr == nil {
		p.printf("Stopping: %s\n", pkg)
		p.sys.stopApp(pkg)
	}
	component, delivered, err := p.sys.cfg.Screen.Start(in)
	say := p.errorf
	if o.wait {
		say = p.printf
	}
	if err != nil {
		if in.Component != "" {
			say("Error type 3\nError: Activity class {%s} does not exist.\n", in.Component)
		} else {
			say("Error: Activity not started, unable to resolve %s\n", strings.Replace(in.String(), " }", " flg=0x10000000 }", 1))
		}
		return 0 // as on Android 9
	}
	pkg, class, _ := strings.Cut(component, "/")
	pid := p.sys.appStarted(pkg)
	p.sys.logf("I", "ActivityManager", 1387, "START u0 {cmp=%s} from uid %d", component, p.uid)
	p.sys.logf("I", "ActivityManager", 1387, "Displayed %s: +%dms (pid %d)", component, time.Since(began).Milliseconds(), pid)
	if delivered {
		say("Warning: Activity not started, its current task has been brought to the front\n")
	}
	if o.wait {
		ms := time.Since(began).Milliseconds()
		short := pkg + "/" + strings.Replace(class, pkg+".", ".", 1)
		p.printf("Status: ok\nActivity: %s\nThisTime: %d\nTotalTime: %d\nWaitTime: %d\nComplete\n", short, ms, ms, ms+7)
	}
	return 0
}

// cmdMonkey is monkey -p PKG -c CATEGORY 1, as people use it to start an app.
func cmdMonkey(_ context.Context, p *proc, args []string) int {
	pkg := ""
	for i, a := range args {
		if a == "-p" && i+1 < len(args) {
			pkg = args[i+1]
		}
	}
	info := p.sys.pkg(pkg)
	if info == nil || info.Main == "" {
		p.printf("** No activities found to run, monkey aborted.\n")
		return 252
	}
	if _, _, err := p.sys.cfg.Screen.Start(Intent{Action: "android.intent.action.MAIN", Component: pkg + "/" + info.Main}); err != nil {
		p.printf("** No activities found to run, monkey aborted.\n")
		return 252
	}
	p.sys.appStarted(pkg)
	p.printf("Events injected: 1\n## Network stats: elapsed time=12ms (0ms mobile, 0ms wifi, 12ms not connected)\n")
	return 0
}
