package userland

import (
	"context"
	"fmt"
	"strings"
)

// A Root says how a phone's owner can be root on it.
type Root string

// The kinds of phones; the zero value is RootADBD.
const (
	RootADBD Root = "adbd" // the daemon runs as root, and su works when it does not
	RootSU   Root = "su"   // the shell is the shell user; Magisk's su makes it root
	RootNone Root = "none" // a locked retail phone
)

// The users that adbd may run as.
const (
	rootUID  = 0
	shellUID = 2000
)

// shellGroups are the groups of the shell user.
var shellGroups = []int{1004, 1007, 1011, 1015, 1028, 3001, 3002, 3003, 3006, 3009, 3011}

// rights are what is left of root on a phone.
type rights struct {
	kind       Root
	unroot     bool // until the next boot
	lost, gate bool // root was taken away; MIUI's gate is closed
}

// LoseRoot takes root away, over reboots too, or gives it back: adbd runs as
// the shell user, and su is denied.
func (s *System) LoseRoot(lost bool) {
	s.rightsMu.Lock()
	s.rights.lost = lost
	s.rightsMu.Unlock()
}

// CloseGate closes MIUI's ADB gate, "USB debugging (Security settings)", or
// opens it. The gate is the shell user's, so adbd is no longer root behind a
// closed one; su works as before.
func (s *System) CloseGate(closed bool) {
	s.rightsMu.Lock()
	s.rights.gate = closed
	s.rightsMu.Unlock()
	s.setProperty("persist.security.adbinput", itoa(oneIf(!closed)))
}

// CloseInstall turns MIUI's "Install via USB" off, or on.
func (s *System) CloseInstall(closed bool) {
	s.setProperty("persist.security.adbinstall", itoa(oneIf(!closed)))
}

// SetShellRoot is `adb root` and `adb unroot`: what adbd answers, and whether
// it starts again with other rights.
func (s *System) SetShellRoot(on bool) (answer string, restart bool) {
	is := s.adbUID() == rootUID
	s.rightsMu.Lock()
	defer s.rightsMu.Unlock()
	switch {
	case on && is:
		return "adbd is already running as root\n", false
	case on && (s.rights.kind != RootADBD || s.rights.lost || s.rights.gate):
		return "adbd cannot run as root in production builds\n", false
	case on:
		s.rights.unroot = false
		return "restarting adbd as root\n", true
	case !is:
		return "adbd not running as root\n", false
	}
	s.rights.unroot = true
	return "restarting adbd as non root\n", true
}

// adbUID is the user that adbd, and so a shell, runs as.
func (s *System) adbUID() int {
	s.rightsMu.Lock()
	defer s.rightsMu.Unlock()
	if s.rights.kind == RootADBD && !s.rights.unroot && !s.rights.lost && !s.rights.gate {
		return rootUID
	}
	return shellUID
}

// ShellIsRoot says whether adbd, and so a shell, runs as root.
func (s *System) ShellIsRoot() bool { return s.adbUID() == rootUID }

// enforcing says whether SELinux does more than complain.
func (s *System) enforcing() bool {
	s.rightsMu.Lock()
	defer s.rightsMu.Unlock()
	return s.rights.kind != RootADBD
}

// Shell is the file system with the rights of whoever adbd runs as.
func (s *System) Shell() *FS { return s.fs.As(s.adbUID()) }

// fs is the file system with the process's rights.
func (p *proc) fs() *FS { return p.sys.fs.As(p.uid) }

// gated says whether MIUI denies the process what it denies the shell user
// while "USB debugging (Security settings)" is off, whatever `dumpsys package
// com.android.shell` says that it is granted.
func (p *proc) gated() bool {
	return p.uid == shellUID && p.sys.property("persist.security.adbinput") != "1"
}

// securityException writes what a command of the system prints of one, as
// Android 9 and 10 do, and is its exit status.
func (p *proc) securityException(text, at string) int {
	p.errorf("Security exception: %s\n\njava.lang.SecurityException: %s\n\tat %s\n", text, text, at)
	return 255
}

// notPermitted says that only root may do what a command is for.
func (p *proc) notPermitted(format string, args ...any) int {
	p.errorf("%s: Operation not permitted\n", fmt.Sprintf(format, args...))
	return 1
}

// setUID gives the process another user.
func (p *proc) setUID(uid int) {
	p.mu.Lock()
	p.uid = uid
	p.mu.Unlock()
	p.env = p.sys.environ(uid)
}

// cmdSu is Magisk's su, or that of a build whose adbd can be root.
func cmdSu(ctx context.Context, p *proc, args []string) int {
	p.sys.rightsMu.Lock()
	denied := p.sys.rights.lost
	p.sys.rightsMu.Unlock()
	if p.uid != rootUID && denied {
		p.errorf("Permission denied\n")
		return 13
	}
	p.setUID(rootUID)
	rest := args[1:]
	if len(rest) > 0 && (rest[0] == "root" || rest[0] == "0") {
		rest = rest[1:]
		if len(rest) > 0 && rest[0] != "-c" && !strings.HasPrefix(rest[0], "-") {
			return childProgram(ctx, p, rest)
		}
	}
	for i, a := range rest {
		if a == "-c" && i+1 < len(rest) {
			script := strings.Join(rest[i+1:], " ")
			p.become("sh", []string{"sh", "-c", script})
			return shellMain(ctx, p, []string{"sh", "-c", script}, false)
		}
	}
	p.become("sh", []string{"sh"})
	return shellMain(ctx, p, []string{"sh"}, false)
}

func cmdID(p *proc, args []string) int {
	flags, _, ok := options(p, args, "ugnGrZ", "")
	name, label := "root", "u:r:su:s0"
	switch {
	case p.uid == shellUID:
		name, label = "shell", "u:r:shell:s0"
	case p.sys.enforcing():
		label = "u:r:magisk:s0"
	}
	switch {
	case !ok:
		return 1
	case flags['Z'] != "":
		p.printf("context=%s\n", label)
	case flags['n'] != "":
		p.printf("%s\n", name)
	case flags['u'] != "" || flags['g'] != "":
		p.printf("%d\n", p.uid)
	default:
		groups := []string{fmt.Sprintf("%d(%s)", p.uid, name)}
		for _, g := range shellGroups {
			groups = append(groups, fmt.Sprintf("%d(%s)", g, ownerName(g)))
		}
		p.printf("uid=%[1]d(%[2]s) gid=%[1]d(%[2]s) groups=%[3]s context=%[4]s\n", p.uid, name, strings.Join(groups, ","), label)
	}
	return 0
}
