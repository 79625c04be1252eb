package userland

import (
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// pollEvery is how often tail -f looks at its file.
const pollEvery = 200 * time.Millisecond

func itoa(n int) string { return strconv.Itoa(n) }

func newTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// parseDuration reads what sleep and timeout take: seconds, fractions, units.
func parseDuration(s string) (time.Duration, bool) {
	unit := time.Second
	if s != "" {
		switch s[len(s)-1] {
		case 's':
			s = s[:len(s)-1]
		case 'm':
			unit, s = time.Minute, s[:len(s)-1]
		case 'h':
			unit, s = time.Hour, s[:len(s)-1]
		case 'd':
			unit, s = 24*time.Hour, s[:len(s)-1]
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e7 || f != f {
		return 0, false
	}
	return time.Duration(f * float64(unit)), true
}

// cmdSleep is sleep, and usleep in microseconds. It takes real time: a script
// that polls a real phone keeps its rhythm.
func cmdSleep(p *proc, args []string) int {
	name := path.Base(args[0])
	if len(args) < 2 {
		p.errorf("%s: Needs 1 argument (see \"%s --help\")\n", name, name)
		return 1
	}
	total := time.Duration(0)
	for _, a := range args[1:] {
		d, ok := parseDuration(a)
		if !ok {
			p.errorf("%s: Not a number '%s'\n", name, a)
			return 1
		}
		total += d
	}
	if name == "usleep" {
		total /= 1e6
	}
	t := newTimer(total)
	defer t.Stop()
	select {
	case <-t.C:
		return 0
	case <-p.done:
		return 1
	}
}

func kill(p *proc, args []string) int {
	args = args[1:]
	sig := syscall.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		p.printf("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM\n")
		return 0
	}
	if len(args) > 1 && args[0] == "-s" {
		s, ok := parseSignal(args[1])
		if !ok {
			p.errorf("kill: bad signal '%s'\n", args[1])
			return 1
		}
		sig, args = s, args[2:]
	} else if len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "--" {
		s, ok := parseSignal(args[0][1:])
		if !ok {
			p.errorf("kill: bad signal '%s'\n", args[0][1:])
			return 1
		}
		sig, args = s, args[1:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		p.errorf("kill: Needs 1 argument\n")
		return 1
	}
	code := 0
	for _, a := range args {
		pid, ok := atoi(a)
		if !ok {
			p.errorf("%s: kill: %s: arguments must be jobs or process IDs\n", shellPath, a)
			code = 1
			continue
		}
		if err := p.kill(pid, sig); err != nil {
			p.errorf("%s: kill: %s: %s\n", shellPath, a, strerror(err))
			code = 1
		}
	}
	return code
}

// cmdPkill is pkill, pgrep and killall.
func cmdPkill(p *proc, args []string) int {
	name := path.Base(args[0])
	sig := syscall.SIGTERM
	full, exact, list, quiet := false, name == "killall", name == "pgrep", false
	var patterns []string
	for i := 1; i < len(args); i++ {
		a := args[i]
		switch {
		case a == "-f":
			full = true
		case a == "-x":
			exact = true
		case a == "-q":
			quiet = true
		case a == "-l" || a == "-n" || a == "-o" || a == "-w" || a == "-i":
		case a == "-s" && i+1 < len(args) && name != "pgrep":
			i++
			if s, ok := parseSignal(args[i]); ok {
				sig = s
			}
		case strings.HasPrefix(a, "-") && len(a) > 1:
			s, ok := parseSignal(strings.TrimPrefix(a[1:], "-"))
			if !ok {
				p.errorf("%s: Unknown option %s (see \"%s --help\")\n", name, a[1:], name)
				return 2
			}
			sig = s
		default:
			patterns = append(patterns, a)
		}
	}
	if len(patterns) == 0 {
		p.errorf("%s: No pattern\n", name)
		return 2
	}
	found := false
	for _, pat := range patterns {
		rx, err := regexp.Compile(pat)
		if err != nil {
			p.errorf("%s: bad regex '%s'\n", name, pat)
			return 2
		}
		hit := false
		for _, e := range p.sys.processes() {
			text := e.name
			if full {
				text = strings.Join(e.args, " ")
			}
			if e.pid == p.pid || e.pid == p.ppid && full && name != "killall" {
				continue // itself, and the shell whose command line names it
			}
			if exact && text != pat || !exact && !rx.MatchString(text) {
				continue
			}
			hit = true
			if list {
				if !quiet {
					p.printf("%d\n", e.pid)
				}
				continue
			}
			if err := p.kill(e.pid, sig); err != nil {
				p.errorf("%s: %d: %s\n", name, e.pid, strerror(err))
			}
		}
		if !hit && name == "killall" {
			p.errorf("killall: %s: No such process\n", pat)
		}
		found = found || hit
	}
	return oneIf(!found)
}

func cmdPidof(p *proc, args []string) int {
	var pids []string
	for _, name := range args[1:] {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if strings.Contains(name, ".") {
			p.sys.noteFront(name) // the app in front runs, started by a tap or not
		}
		for _, e := range p.sys.processes() {
			if e.name == name && e.pid != p.pid {
				pids = append(pids, itoa(e.pid))
			}
		}
	}
	if len(pids) == 0 {
		return 1
	}
	p.printf("%s\n", strings.Join(pids, " "))
	return 0
}

func cmdPs(p *proc, args []string) int {
	all, columns := false, "USER,PID,PPID,VSZ,RSS,WCHAN,ADDR,S,NAME"
	only := -1
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-o" && i+1 < len(args):
			i++
			columns = args[i]
		case a == "-p" && i+1 < len(args):
			i++
			only, _ = atoi(args[i])
		case a == "-f" || a == "-ef":
			columns = "UID,PID,PPID,C,STIME,TTY,TIME,CMD"
			all = all || a == "-ef"
		case strings.HasPrefix(a, "-"):
			all = all || strings.ContainsAny(a, "Ae")
		default:
			if n, ok := atoi(a); ok {
				only = n
			}
		}
	}
	front, _, _ := strings.Cut(p.sys.cfg.Screen.Focus(), "/")
	p.sys.noteFront(front)
	cols := strings.Split(strings.ToUpper(columns), ",")
	width := map[string]int{"USER": -12, "UID": -14, "PID": 5, "PPID": 5, "VSZ": 7, "RSS": 6, "WCHAN": -20, "ADDR": 9, "S": 1, "TTY": -8, "TIME": 8, "STIME": 5, "C": 1}
	row := func(value func(col string) string) {
		var b strings.Builder
		for i, c := range cols {
			c = strings.TrimSuffix(c, "=")
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%*s", width[c], value(c))
		}
		p.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
	if !strings.Contains(columns, "=") {
		row(func(c string) string { return c })
	}
	found := only < 0
	for _, e := range p.sys.processes() {
		if only >= 0 && e.pid != only || only < 0 && !all && e.uid != p.uid {
			continue
		}
		found = true
		row(func(c string) string {
			switch c {
			case "USER", "UID":
				return ownerName(e.uid)
			case "PID":
				return itoa(e.pid)
			case "PPID":
				return itoa(e.ppid)
			case "VSZ":
				return "10640"
			case "RSS":
				return "3180"
			case "WCHAN", "ADDR", "C":
				return "0"
			case "S", "STAT":
				return e.state
			case "TTY":
				return "?"
			case "TIME":
				return "00:00:00"
			case "STIME":
				return e.started.UTC().Format("15:04")
			case "CMD", "ARGS", "CMDLINE":
				return strings.Join(e.args, " ")
			}
			return e.name
		})
	}
	return oneIf(!found)
}

func cmdWhoami(p *proc, _ []string) int { return cmdID(p, []string{"id", "-un"}) }

func cmdPwd(p *proc, _ []string) int {
	p.printf("%s\n", p.dir)
	return 0
}

func cmdHostname(p *proc, _ []string) int {
	p.printf("localhost\n")
	return 0
}

func cmdGetenforce(p *proc, args []string) int {
	if path.Base(args[0]) == "getenforce" {
		mode := "Permissive"
		if p.sys.enforcing() {
			mode = "Enforcing"
		}
		p.printf("%s\n", mode)
	}
	return 0
}

func cmdUname(p *proc, args []string) int {
	flags, _, ok := options(p, args, "asnrvmo", "")
	if !ok {
		return 1
	}
	parts := []struct {
		flag byte
		text string
	}{
		{'s', "Linux"},
		{'n', "localhost"},
		{'r', p.sys.cfg.Identity.Kernel},
		{'v', "#1 SMP PREEMPT Mon Mar 16 14:29:40 CST 2020"},
		{'m', "aarch64"},
	}
	var out []string
	for i, part := range parts {
		if flags['a'] != "" || flags[part.flag] != "" || len(flags) == 0 && i == 0 {
			out = append(out, part.text)
		}
	}
	if flags['o'] != "" {
		out = append(out, "Android")
	}
	p.printf("%s\n", strings.Join(out, " "))
	return 0
}

func cmdUptime(p *proc, _ []string) int {
	up := p.sys.uptime()
	p.printf(" %s up %d min,  0 users,  load average: 1.20, 1.31, 1.18\n", p.sys.Now().UTC().Format("15:04:05"), int(up.Minutes()))
	return 0
}

func cmdFree(p *proc, _ []string) int {
	p.printf("\t\ttotal        used        free      shared     buffers\nMem:      3780755456  3541385216   239370240    13406208    27586560\n")
	return 0
}

func cmdWhich(p *proc, args []string) int {
	code := 0
	for _, name := range args[1:] {
		full, err := p.sys.which(p, name, p.getenv("PATH"))
		if err != nil {
			code = 1
			continue
		}
		p.printf("%s\n", full)
	}
	return code
}

func cmdReboot(p *proc, _ []string) int {
	if p.sys.onReboot == nil {
		p.errorf("reboot: not permitted\n")
		return 1
	}
	p.sys.onReboot()
	<-p.done
	return 1
}

// cmdDate is date: the clock in the formats that scripts use. Setting it moves
// the phone's clock.
func cmdDate(p *proc, args []string) int {
	now := p.sys.Now()
	zone := time.UTC
	format := "+%a %b %e %H:%M:%S %Z %Y"
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-u":
		case (a == "-d" || a == "-D" || a == "-r") && i+1 < len(args):
			i++
			v := strings.TrimPrefix(args[i], "@")
			n, err := strconv.ParseInt(v, 10, 64)
			switch {
			case a == "-r":
				info, ferr := p.fs().Stat(p.abs(args[i]))
				if ferr != nil {
					p.errorf("date: %s: %s\n", args[i], strerror(ferr))
					return 1
				}
				now = info.ModTime()
			case err != nil:
				p.errorf("date: bad date '%s'\n", args[i])
				return 1
			default:
				now = time.Unix(n, 0)
			}
		case strings.HasPrefix(a, "+"):
			format = a
		case strings.HasPrefix(a, "@"):
			f, err := strconv.ParseFloat(a[1:], 64)
			if err != nil || f < 0 || f > 1e11 {
				p.errorf("date: bad date '%s'\n", a)
				return 1
			}
			if p.uid != rootUID {
				return p.notPermitted("date: cannot set date")
			}
			p.sys.JumpClock(time.Unix(0, int64(f*1e9)).Sub(now))
			return 0
		default:
			p.errorf("date: bad date '%s'\n", a)
			return 1
		}
	}
	p.printf("%s\n", strftime(format[1:], now.In(zone)))
	return 0
}

// strftime formats a time; %N is nanoseconds, %3N milliseconds.
func strftime(format string, t time.Time) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 >= len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		digits := 9
		if format[i] >= '1' && format[i] <= '9' && i+1 < len(format) && format[i+1] == 'N' {
			digits = int(format[i] - '0')
			i++
		}
		switch format[i] {
		case 'N':
			b.WriteString(fmt.Sprintf("%09d", t.Nanosecond())[:digits])
		case 's':
			fmt.Fprintf(&b, "%d", t.Unix())
		case 'Y':
			b.WriteString(t.Format("2006"))
		case 'y':
			b.WriteString(t.Format("06"))
		case 'm':
			b.WriteString(t.Format("01"))
		case 'd':
			b.WriteString(t.Format("02"))
		case 'e':
			b.WriteString(t.Format("_2"))
		case 'H':
			b.WriteString(t.Format("15"))
		case 'I':
			b.WriteString(t.Format("03"))
		case 'M':
			b.WriteString(t.Format("04"))
		case 'S':
			b.WriteString(t.Format("05"))
		case 'p':
			b.WriteString(t.Format("PM"))
		case 'a':
			b.WriteString(t.Format("Mon"))
		case 'A':
			b.WriteString(t.Format("Monday"))
		case 'b', 'h':
			b.WriteString(t.Format("Jan"))
		case 'B':
			b.WriteString(t.Format("January"))
		case 'j':
			b.WriteString(t.Format("002"))
		case 'Z':
			b.WriteString("GMT")
		case 'z':
			b.WriteString("+0000")
		case 'F':
			b.WriteString(t.Format("2006-01-02"))
		case 'T':
			b.WriteString(t.Format("15:04:05"))
		case 'D':
			b.WriteString(t.Format("01/02/06"))
		case 'R':
			b.WriteString(t.Format("15:04"))
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '%':
			b.WriteByte('%')
		default:
			b.WriteByte('%')
			b.WriteByte(format[i])
		}
	}
	return b.String()
}
