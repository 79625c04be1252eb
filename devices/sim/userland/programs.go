package userland

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// simple makes a program of a function that needs no context.
func simple(f func(p *proc, args []string) int) program {
	return func(_ context.Context, p *proc, args []string) int { return f(p, args) }
}

// allPrograms are the commands of /system/bin and /system/xbin.
func allPrograms() map[string]program {
	return map[string]program{
		// Android.
		"am": cmdAm, "appops": cmdAppops, "cmd": cmdCmd, "dumpsys": cmdDumpsys, "getprop": cmdGetprop, "hid": cmdHid, "input": cmdInput, "log": cmdLog,
		"logcat": cmdLogcat, "monkey": cmdMonkey, "pm": cmdPm, "screencap": cmdScreencap, "setprop": cmdSetprop,
		"settings": cmdSettings, "svc": cmdSvc, "uiautomator": cmdUiautomator, "wm": cmdWm,
		"getenforce": simple(cmdGetenforce), "setenforce": simple(cmdGetenforce), "reboot": simple(cmdReboot),
		// The file system.
		"cat": simple(cmdCat), "chcon": simple(cmdChcon), "chgrp": simple(cmdChown), "chmod": simple(cmdChmod),
		"chown": simple(cmdChown), "cp": simple(cmdCp), "dd": simple(cmdDd), "df": simple(cmdDf), "du": simple(cmdDu),
		"find": simple(cmdFind), "ln": simple(cmdLn), "ls": simple(cmdLs), "md5sum": simple(cmdSum), "mkdir": simple(cmdMkdir),
		"mktemp": simple(cmdMktemp), "mount": simple(cmdMount), "mv": simple(cmdMv), "readlink": simple(cmdReadlink),
		"realpath": simple(cmdReadlink), "restorecon": simple(cmdRestorecon), "rm": simple(cmdRm), "rmdir": simple(cmdRmdir),
		"sha1sum": simple(cmdSum), "sha256sum": simple(cmdSum), "stat": simple(cmdStat), "sync": simple(cmdTrue),
		"touch": simple(cmdTouch), "truncate": simple(cmdTruncate), "umount": simple(cmdUmount),
		// Text.
		"base64": simple(cmdBase64), "basename": simple(cmdBasename), "cut": simple(cmdCut), "dirname": simple(cmdBasename),
		"echo": simple(echo), "egrep": simple(cmdGrep), "fgrep": simple(cmdGrep), "grep": simple(cmdGrep), "head": simple(cmdHead),
		"printf": simple(cmdPrintf), "sed": simple(cmdSed), "seq": simple(cmdSeq), "sort": simple(cmdSort), "tail": simple(cmdTail),
		"tee": simple(cmdTee), "tr": simple(cmdTr), "uniq": simple(cmdUniq), "wc": simple(cmdWc), "xxd": simple(cmdXxd),
		"yes": simple(cmdYes), "cmp": simple(cmdCmp),
		// Processes and the system.
		"[": simple(test), "date": simple(cmdDate), "env": cmdEnv, "false": simple(cmdFalse), "free": simple(cmdFree),
		"hostname": simple(cmdHostname), "id": simple(cmdID), "kill": simple(kill), "killall": simple(cmdPkill),
		"nohup": cmdNohup, "pgrep": simple(cmdPkill), "pidof": simple(cmdPidof), "pkill": simple(cmdPkill), "ps": simple(cmdPs),
		"pwd": simple(cmdPwd), "setsid": cmdSetsid, "sh": cmdSh, "sleep": simple(cmdSleep), "su": cmdSu, "test": simple(test),
		"timeout": cmdTimeout, "true": simple(cmdTrue), "uname": simple(cmdUname), "uptime": simple(cmdUptime),
		"usleep": simple(cmdSleep), "which": simple(cmdWhich), "whoami": simple(cmdWhoami), "xargs": cmdXargs,
		// The network.
		"ifconfig": simple(cmdIfconfig), "ip": simple(cmdIP), "nc": cmdNc, "netcat": cmdNc, "netstat": simple(cmdNetstat),
		"ip6tables": simple(cmdIptables), "iptables": simple(cmdIptables),
		"ping": cmdPing, "ping6": cmdPing, "tcpdump": cmdTcpdump,
	}
}

func cmdTrue(*proc, []string) int  { return 0 }
func cmdFalse(*proc, []string) int { return 1 }

// atoi reads a number that has digits only.
func atoi(s string) (int, bool) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// options splits arguments into flags and the rest, as getopt does. Letters in
// valued take a value, of which the last one counts. An unknown letter is
// reported in the way of toybox.
func options(p *proc, args []string, known, valued string) (flags map[byte]string, rest []string, ok bool) {
	flags = map[byte]string{}
	name := args[0]
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		name = name[i+1:]
	}
	for i := 1; i < len(args); i++ {
		a := args[i]
		if a == "--" {
			return flags, append(rest, args[i+1:]...), true
		}
		if len(a) < 2 || a[0] != '-' || strings.HasPrefix(a, "--") {
			rest = append(rest, a)
			continue
		}
		for j := 1; j < len(a); j++ {
			c := a[j]
			switch {
			case strings.IndexByte(valued, c) >= 0:
				v := a[j+1:]
				if v == "" {
					if i++; i >= len(args) {
						p.errorf("%s: Missing argument to -%c\n", name, c)
						return nil, nil, false
					}
					v = args[i]
				}
				flags[c] = v
				j = len(a)
			case strings.IndexByte(known, c) >= 0:
				flags[c] = "1"
			default:
				p.errorf("%s: Unknown option %c (see \"%s --help\")\n", name, c, name)
				return nil, nil, false
			}
		}
	}
	return flags, rest, true
}

// inputs calls f for each file named, or for standard input. Problems are
// reported, and make the status 1.
func inputs(p *proc, name string, files []string, f func(file string, r io.Reader) error) int {
	code := 0
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, file := range files {
		if p.dead() {
			return 1
		}
		var err error
		if file == "-" {
			err = f("-", p.in())
		} else {
			var h *Handle
			h, err = p.fs().OpenFile(p.abs(file), 0, 0)
			if err == nil {
				err = f(file, h)
				_ = h.Close()
			}
		}
		if err != nil {
			p.errorf("%s: %s: %s\n", name, file, strerror(err))
			code = 1
		}
	}
	return code
}

const maxText = 32 << 20 // bytes that a text tool reads of one input

// slurp reads an input whole, bounded.
func slurp(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, maxText))
}

// lines splits text at line feeds; the last line may lack one.
func lines(data []byte) []string {
	if len(data) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// childProgram runs another command within this process, as env and nohup do.
func childProgram(ctx context.Context, p *proc, args []string) int {
	run, err := p.sys.lookup(p, args[0], p.getenv("PATH"))
	if err != nil {
		p.errorf("%s: %s\n", args[0], strerror(err))
		return 127
	}
	p.become(args[0][strings.LastIndexByte(args[0], '/')+1:], args)
	return run(ctx, p, args)
}

func cmdSh(ctx context.Context, p *proc, args []string) int { return shellMain(ctx, p, args, false) }

func cmdNohup(ctx context.Context, p *proc, args []string) int {
	if len(args) < 2 {
		p.errorf("nohup: Needs 1 argument (see \"nohup --help\")\n")
		return 125
	}
	p.ignore(1)
	return childProgram(ctx, p, args[1:])
}

func cmdSetsid(ctx context.Context, p *proc, args []string) int {
	if len(args) < 2 {
		p.errorf("setsid: Needs 1 argument (see \"setsid --help\")\n")
		return 1
	}
	p.sys.procMu.Lock()
	p.sid = p.pid
	p.sys.procMu.Unlock()
	return childProgram(ctx, p, slices.DeleteFunc(slices.Clone(args[1:]), func(a string) bool { return a == "-d" || a == "-c" || a == "-w" }))
}

func cmdEnv(ctx context.Context, p *proc, args []string) int {
	args = args[1:]
	for len(args) > 0 {
		switch {
		case args[0] == "-i":
			p.env = nil
		case strings.Contains(args[0], "="):
			p.env = append(p.env, args[0])
		default:
			return childProgram(ctx, p, args)
		}
		args = args[1:]
	}
	for _, kv := range p.env {
		p.printf("%s\n", kv)
	}
	return 0
}

// spawnChild runs a command as a child and waits for it.
func spawnChild(ctx context.Context, p *proc, args []string, stdin *file) (*proc, error) {
	run, err := p.sys.lookup(p, args[0], p.getenv("PATH"))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", args[0], strerror(err))
	}
	ctx, child, err := p.sys.spawn(ctx, p, args[0], args)
	if err != nil {
		return nil, err
	}
	if stdin != nil {
		child.setFD(0, stdin)
	}
	child.start(func() int { return run(ctx, child, args) })
	return child, nil
}

func cmdTimeout(ctx context.Context, p *proc, args []string) int {
	sig, _ := parseSignal("TERM")
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		if (args[0] == "-s" || args[0] == "-k") && len(args) > 1 {
			if s, ok := parseSignal(args[1]); ok && args[0] == "-s" {
				sig = s
			}
			args = args[1:]
		}
		args = args[1:]
	}
	if len(args) < 2 {
		p.errorf("timeout: Needs 2 arguments (see \"timeout --help\")\n")
		return 125
	}
	d, ok := parseDuration(args[0])
	if !ok {
		p.errorf("timeout: Not a number '%s'\n", args[0])
		return 125
	}
	child, err := spawnChild(ctx, p, args[1:], nil)
	if err != nil {
		p.errorf("timeout: %s\n", err)
		return 127
	}
	t := newTimer(d)
	defer t.Stop()
	select {
	case <-child.exited:
		code, _ := child.status()
		return code
	case <-p.done:
		child.raise(sig)
		return 128
	case <-t.C:
	}
	child.raise(sig)
	select {
	case <-child.exited:
	case <-p.done:
	}
	return 124
}

func cmdXargs(ctx context.Context, p *proc, args []string) int {
	n, zero := 1000, false
	i := 1
	for ; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		switch {
		case args[i] == "-n" && i+1 < len(args):
			i++
			if v, ok := atoi(args[i]); ok && v > 0 {
				n = v
			}
		case args[i] == "-0":
			zero = true
		}
	}
	command := args[min(i, len(args)):]
	if len(command) == 0 {
		command = []string{"echo"}
	}
	data, err := slurp(p.in())
	if err != nil {
		return 1
	}
	words := strings.Fields(string(data))
	if zero {
		words = strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	code := 0
	for len(words) > 0 {
		take := min(n, len(words))
		child, err := spawnChild(ctx, p, append(slices.Clone(command), words[:take]...), p.sys.null())
		if err != nil {
			p.errorf("xargs: %s\n", err)
			return 127
		}
		words = words[take:]
		select {
		case <-child.exited:
		case <-p.done:
			return 128
		}
		if c, _ := child.status(); c != 0 {
			code = 123
		}
	}
	return code
}

// null is an end of /dev/null.
func (s *System) null() *file { return newFile(&bytesStream{}) }
