package userland

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// A builtin runs inside the shell's own process.
type builtin func(ctx context.Context, sh *shell, args []string) int

func allBuiltins() map[string]builtin {
	return map[string]builtin{
		":":        func(context.Context, *shell, []string) int { return 0 },
		"true":     func(context.Context, *shell, []string) int { return 0 },
		"false":    func(context.Context, *shell, []string) int { return 1 },
		"echo":     func(_ context.Context, sh *shell, args []string) int { return echo(sh.p, args) },
		"print":    func(_ context.Context, sh *shell, args []string) int { return echo(sh.p, args) },
		"pwd":      biPwd,
		"cd":       biCd,
		"exit":     biExit,
		"return":   biReturn,
		"break":    biBreak,
		"continue": biBreak,
		"set":      biSet,
		"shift":    biShift,
		"unset":    biUnset,
		"eval":     biEval,
		".":        biSource,
		"source":   biSource,
		"exec":     biExec,
		"command":  biCommand,
		"builtin":  biCommand,
		"type":     biType,
		"whence":   biType,
		"read":     biRead,
		"wait":     biWait,
		"jobs":     biJobs,
		"trap":     biTrap,
		"kill":     func(_ context.Context, sh *shell, args []string) int { return kill(sh.p, args) },
		"umask":    biUmask,
		"alias":    biAlias,
		"unalias":  biUnalias,
		"getopts":  biGetopts,
		"test":     biTest,
		"[":        biTest,
		"ulimit":   biUlimit,
		"times":    biTimes,
		"let":      biLet,
	}
}

func (sh *shell) fail(code int, format string, args ...any) int {
	sh.p.errorf("%s: %s\n", sh.name, fmt.Sprintf(format, args...))
	return code
}

// echo is mksh's: it interprets backslashes unless told not to.
func echo(p *proc, args []string) int {
	newline, escapes := true, true
	rest := args[1:]
	for len(rest) > 0 && len(rest[0]) > 1 && rest[0][0] == '-' && strings.Trim(rest[0][1:], "neEr") == "" {
		for _, c := range rest[0][1:] {
			switch c {
			case 'n':
				newline = false
			case 'e':
				escapes = true
			case 'E', 'r':
				escapes = false
			}
		}
		rest = rest[1:]
	}
	text := strings.Join(rest, " ")
	if escapes {
		var stop bool
		text, stop = unescape(text, true)
		newline = newline && !stop
	}
	if newline {
		text += "\n"
	}
	if _, err := p.out().Write([]byte(text)); err != nil {
		if !errors.Is(err, syscall.EPIPE) {
			p.errorf("%s: echo: %s\n", shellPath, strerror(err))
		}
		return 1
	}
	return 0
}

// unescape interprets backslashes; stop is true when \c ended the text. With
// zero, octal numbers start with 0, as in echo.
func unescape(s string, zero bool) (text string, stop bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		simple := strings.IndexByte("abefnrtv\\\"'", s[i])
		switch {
		case s[i] == 'c':
			return b.String(), true
		case simple >= 0:
			b.WriteByte("\a\b\x1b\f\n\r\t\v\\\"'"[simple])
		case s[i] == 'x':
			n, used := digits(s[i+1:], 2, 16)
			if used == 0 {
				b.WriteString(`\x`)
				continue
			}
			b.WriteByte(byte(n))
			i += used
		case s[i] >= '0' && s[i] <= '7':
			from := i
			if zero && s[i] == '0' {
				from++
			}
			n, used := digits(s[from:], 3, 8)
			b.WriteByte(byte(n))
			i = from + used - 1
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
		}
	}
	return b.String(), false
}

func digits(s string, most, base int) (n uint64, used int) {
	for used < most && used < len(s) {
		if _, err := strconv.ParseUint(s[used:used+1], base, 8); err != nil {
			break
		}
		used++
	}
	n, _ = strconv.ParseUint(s[:used], base, 64) // the digits were checked
	return n, used
}

func biPwd(_ context.Context, sh *shell, _ []string) int {
	sh.p.printf("%s\n", sh.p.dir)
	return 0
}

func biCd(_ context.Context, sh *shell, args []string) int {
	to := sh.get("HOME")
	if len(args) > 1 {
		to = args[len(args)-1]
	}
	if to == "-" {
		to = sh.get("OLDPWD")
		sh.p.printf("%s\n", to)
	}
	full := path.Clean(sh.p.abs(to))
	info, err := sh.p.fs().Stat(full)
	if err == nil && !info.IsDir() {
		err = pathErr("cd", to, syscall.ENOTDIR)
	}
	if to == "" || err != nil {
		if err == nil {
			return sh.fail(2, "cd: no home directory")
		}
		return sh.fail(2, "cd: %s: %s", full, strerror(err))
	}
	sh.set("OLDPWD", sh.p.dir)
	sh.p.dir = full
	sh.set("PWD", full)
	return 0
}

func biExit(_ context.Context, sh *shell, args []string) int {
	sh.exiting = true
	return sh.number(args, sh.last) & 0xff
}

func biReturn(_ context.Context, sh *shell, args []string) int {
	sh.returning = true
	if sh.inFunc == 0 {
		sh.exiting = true
	}
	return sh.number(args, sh.last) & 0xff
}

func (sh *shell) number(args []string, otherwise int) int {
	if len(args) < 2 {
		return otherwise
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return sh.fail(1, "%s: %s: bad number", args[0], args[1])
	}
	return n
}

func biBreak(_ context.Context, sh *shell, args []string) int {
	n := max(sh.number(args, 1), 1)
	if args[0] == "break" {
		sh.breaks = n
	} else {
		sh.continues = n
	}
	return 0
}

func (sh *shell) setFlag(c rune, on bool) bool {
	switch c {
	case 'e':
		sh.errexit = on
	case 'u':
		sh.nounset = on
	case 'f':
		sh.noglob = on
	case 'x':
		sh.xtrace = on
	case 'a':
		sh.allexport = on
	case 'n':
		sh.noexec = on
	case 'm', 'b', 'h', 'C', 'v', 'p':
	default:
		return false
	}
	return true
}

func biSet(_ context.Context, sh *shell, args []string) int {
	args = args[1:]
	if len(args) == 0 {
		names := make([]string, 0, len(sh.vars))
		for name, v := range sh.vars {
			names = append(names, name+"="+v.String())
		}
		sort.Strings(names)
		for _, line := range names {
			sh.p.printf("%s\n", line)
		}
		return 0
	}
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			sh.params = slices.Clone(args[1:])
			return 0
		}
		if len(arg) < 2 || arg[0] != '-' && arg[0] != '+' {
			sh.params = slices.Clone(args)
			return 0
		}
		on := arg[0] == '-'
		args = args[1:]
		if arg[1:] == "o" {
			if len(args) == 0 {
				return 0
			}
			flag, known := map[string]rune{
				"errexit": 'e', "nounset": 'u', "noglob": 'f', "xtrace": 'x', "allexport": 'a', "noexec": 'n',
				"monitor": 'm', "posix": 'h',
			}[args[0]]
			switch {
			case args[0] == "pipefail":
				sh.pipefail = on
			case known:
				sh.setFlag(flag, on)
			default:
				return sh.fail(1, "set: %s: bad option", args[0])
			}
			args = args[1:]
			continue
		}
		for _, c := range arg[1:] {
			if !sh.setFlag(c, on) {
				return sh.fail(1, "set: %s: unknown option", arg)
			}
		}
	}
	return 0
}

func biShift(_ context.Context, sh *shell, args []string) int {
	n := sh.number(args, 1)
	if n < 0 || n > len(sh.params) {
		return sh.fail(1, "shift: nothing to shift")
	}
	sh.params = sh.params[n:]
	return 0
}

func biUnset(_ context.Context, sh *shell, args []string) int {
	functions := false
	for _, arg := range args[1:] {
		switch {
		case arg == "-f":
			functions = true
		case arg == "-v":
		case functions:
			delete(sh.funcs, arg)
		case sh.vars[arg].ReadOnly:
			return sh.fail(1, "%s: is read only", arg)
		default:
			delete(sh.vars, arg)
		}
	}
	return 0
}

func biEval(ctx context.Context, sh *shell, args []string) int {
	sh.last = 0
	return sh.source(ctx, strings.Join(args[1:], " "))
}

func biSource(ctx context.Context, sh *shell, args []string) int {
	if len(args) < 2 {
		return sh.fail(1, ".: missing argument")
	}
	data, err := sh.p.fs().ReadFile(sh.p.abs(args[1]))
	if err != nil {
		return sh.fail(1, ".: %s: %s", args[1], strerror(err))
	}
	params := sh.params
	if len(args) > 2 {
		sh.params = args[2:]
	}
	code := sh.source(ctx, string(data))
	sh.params = params
	sh.returning = false
	return code
}

func biExec(ctx context.Context, sh *shell, args []string) int {
	if len(args) == 1 {
		return 0
	}
	sh.exiting = true
	run, code := sh.find(args[1:])
	if run == nil {
		return code
	}
	sh.export()
	clear(sh.traps)
	sh.p.become(path.Base(args[1]), args[1:])
	return run(ctx, sh.p, args[1:])
}

func biCommand(ctx context.Context, sh *shell, args []string) int {
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-v":
			return describe(sh, args[1:], false)
		case "-V":
			return describe(sh, args[1:], true)
		case "-p", "--":
			args = args[1:]
		default:
			return sh.fail(1, "command: %s: unknown option", args[0])
		}
	}
	if len(args) == 0 {
		return 0
	}
	if b := sh.p.sys.builtins[args[0]]; b != nil {
		return b(ctx, sh, args)
	}
	sh.program(ctx, args, false)
	return sh.last
}

func biType(_ context.Context, sh *shell, args []string) int {
	return describe(sh, args[1:], args[0] == "type")
}

func describe(sh *shell, names []string, long bool) int {
	code := 0
	for _, name := range names {
		what, short := "", name
		switch {
		case syntax.IsKeyword(name):
			what = "is a reserved word"
		case sh.aliases[name] != "":
			what, short = "is an alias for '"+sh.aliases[name]+"'", "alias "+name+"='"+sh.aliases[name]+"'"
		case sh.funcs[name] != nil:
			what = "is a function"
		case sh.p.sys.builtins[name] != nil:
			what = "is a shell builtin"
		default:
			full, err := sh.p.sys.which(sh.p, name, sh.get("PATH"))
			if err != nil {
				if long {
					sh.p.printf("%s not found\n", name)
				}
				code = 1
				continue
			}
			what, short = "is "+full, full
		}
		if long {
			sh.p.printf("%s %s\n", name, what)
		} else {
			sh.p.printf("%s\n", short)
		}
	}
	return code
}

func biRead(ctx context.Context, sh *shell, args []string) int {
	raw := false
	fd := 0
	done := sh.p.done
	args = args[1:]
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		opt := args[0]
		args = args[1:]
		switch {
		case opt == "-r":
			raw = true
		case strings.HasPrefix(opt, "-u"):
			n := opt[2:]
			if n == "" && len(args) > 0 {
				n, args = args[0], args[1:]
			}
			fd, _ = atoi(n)
		case opt == "-t" && len(args) > 0:
			seconds, err := strconv.ParseFloat(args[0], 64)
			if err != nil || seconds < 0 {
				return sh.fail(2, "read: %s: bad number", args[0])
			}
			args = args[1:]
			limit, cancel := sh.p.limit(time.Duration(seconds * float64(time.Second)))
			defer cancel()
			done = limit
		case opt == "-s", opt == "-t", opt == "-p", opt == "-n":
			if opt != "-s" && len(args) > 0 {
				args = args[1:]
			}
		default:
			return sh.fail(2, "read: %s: unknown option", opt)
		}
	}
	line, ended := readLine(limitedFile{boundFile{sh.p, sh.p.fds[fd]}, done}, raw)
	names := args
	if len(names) == 0 {
		names = []string{"REPLY"}
	}
	values := expand.ReadFields(sh.config(ctx), line, len(names), raw)
	for i, name := range names {
		value := ""
		if i < len(values) {
			value = values[i]
		}
		if !syntax.ValidName(name) {
			return sh.fail(1, "read: %s: is not an identifier", name)
		}
		sh.set(name, value)
	}
	return oneIf(ended)
}

// readLine reads byte by byte, so that the rest stays for the next command.
func readLine(r io.Reader, raw bool) (line string, ended bool) {
	var b strings.Builder
	one := make([]byte, 1)
	escaped := false
	for b.Len() < maxScript {
		n, err := r.Read(one)
		if n == 0 || err != nil {
			return b.String(), true
		}
		switch {
		case !raw && escaped && one[0] == '\n':
			text := b.String()
			b.Reset()
			b.WriteString(text[:len(text)-1])
			escaped = false
			continue
		case one[0] == '\n':
			return b.String(), false
		case !raw && one[0] == '\\':
			escaped = !escaped
		default:
			escaped = false
		}
		b.WriteByte(one[0])
	}
	return b.String(), false
}

func biWait(_ context.Context, sh *shell, args []string) int {
	jobs := sh.jobs
	if len(args) > 1 {
		jobs = nil
		for _, arg := range args[1:] {
			pid, ok := atoi(strings.TrimPrefix(arg, "%"))
			if strings.HasPrefix(arg, "%") && ok && pid >= 1 && pid <= len(sh.jobs) {
				jobs = append(jobs, sh.jobs[pid-1])
				continue
			}
			i := slices.IndexFunc(sh.jobs, func(p *proc) bool { return p.pid == pid })
			if !ok || i < 0 {
				return 127
			}
			jobs = append(jobs, sh.jobs[i])
		}
	}
	code := 0
	for _, job := range jobs {
		for waiting := true; waiting; {
			select {
			case <-job.exited:
				waiting = false
			case <-sh.p.done:
				return 128
			case sig := <-sh.p.sigs:
				// A trapped signal ends wait, as POSIX says; the trap runs next.
				select {
				case sh.p.sigs <- sig:
				default:
				}
				return 128 + int(sig)
			}
		}
		code, _ = job.status()
	}
	if len(args) == 1 {
		sh.jobs = nil
		return 0
	}
	return code
}

func biJobs(_ context.Context, sh *shell, _ []string) int {
	for i, job := range sh.jobs {
		select {
		case <-job.exited:
		default:
			_, args := job.title()
			sh.p.printf("[%d] + Running              %s\n", i+1, strings.Join(args, " "))
		}
	}
	return 0
}

func biTrap(_ context.Context, sh *shell, args []string) int {
	args = args[1:]
	if len(args) == 0 {
		for name, body := range sh.traps {
			sh.p.printf("trap -- '%s' %s\n", body, name)
		}
		return 0
	}
	if args[0] == "--" {
		args = args[1:]
	}
	body := "-"
	if len(args) > 1 {
		body, args = args[0], args[1:]
	}
	for _, word := range args {
		name := strings.TrimPrefix(strings.ToUpper(word), "SIG")
		if name == "0" {
			name = "EXIT"
		}
		sig, known := trapNames[name]
		if n, ok := atoi(name); ok && n > 0 {
			sig = syscall.Signal(n)
			name = signalName(sig)
			_, known = trapNames[name]
		}
		switch {
		case name == "EXIT" && body == "-":
			delete(sh.traps, name)
		case name == "EXIT":
			sh.traps[name] = body
		case name == "ERR" || name == "DEBUG" || name == "KILL":
		case !known:
			return sh.fail(1, "trap: bad signal '%s'", word)
		case body == "-":
			delete(sh.traps, name)
			sh.p.release(sig)
		case body == "":
			delete(sh.traps, name)
			sh.p.ignore(sig)
		default:
			sh.traps[name] = body
			sh.p.release(sig)
			sh.p.catch(sig)
		}
	}
	return 0
}

func biUmask(_ context.Context, sh *shell, args []string) int {
	if len(args) < 2 {
		sh.p.printf("%03o\n", sh.p.umask)
		return 0
	}
	n, err := strconv.ParseUint(args[1], 8, 12)
	if err != nil {
		return sh.fail(1, "umask: %s: bad number", args[1])
	}
	sh.p.umask = uint32(n)
	return 0
}

func biAlias(_ context.Context, sh *shell, args []string) int {
	code := 0
	for _, arg := range args[1:] {
		name, body, has := strings.Cut(arg, "=")
		switch {
		case has && len(sh.aliases) < 256:
			sh.aliases[name] = body
		case sh.aliases[name] != "":
			sh.p.printf("%s='%s'\n", name, sh.aliases[name])
		default:
			code = sh.fail(1, "alias: %s: not found", name)
		}
	}
	return code
}

func biUnalias(_ context.Context, sh *shell, args []string) int {
	for _, name := range args[1:] {
		delete(sh.aliases, name)
	}
	return 0
}
