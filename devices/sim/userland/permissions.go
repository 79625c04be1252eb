package userland

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// grants are what people and commands decided about what apps may do. They
// survive a restart.
type grants struct {
	mu sync.Mutex
	// runtime are the runtime permissions by package; modes the operations that
	// have another mode than their own.
	runtime map[string]map[string]bool
	modes   map[string]map[string]string
}

func newGrants(packages []Package) *grants {
	g := &grants{runtime: map[string]map[string]bool{}, modes: map[string]map[string]string{}}
	for _, p := range packages {
		g.add(p)
	}
	return g
}

// add is a package that was installed.
func (g *grants) add(p Package) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runtime[p.Name] = map[string]bool{}
	for _, perm := range p.Runtime {
		g.runtime[p.Name][perm] = false
	}
}

// remove is a package that was uninstalled.
func (g *grants) remove(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.runtime, name)
	delete(g.modes, name)
}

// Grants are the runtime permissions that are granted and the operations whose
// mode was changed, as "package permission" and "package OPERATION: mode".
func (s *System) Grants() []string {
	s.grants.mu.Lock()
	defer s.grants.mu.Unlock()
	out := []string{}
	for pkg, perms := range s.grants.runtime {
		for perm, granted := range perms {
			if granted {
				out = append(out, pkg+" "+perm)
			}
		}
	}
	for pkg, modes := range s.grants.modes {
		for op, mode := range modes {
			out = append(out, pkg+" "+op+": "+mode)
		}
	}
	slices.Sort(out)
	return out
}

// runtimeOf is the list of a package's runtime permissions in dumpsys package.
func (s *System) runtimeOf(pkg string) string {
	s.grants.mu.Lock()
	defer s.grants.mu.Unlock()
	var b strings.Builder
	for _, perm := range slices.Sorted(maps.Keys(s.grants.runtime[pkg])) {
		granted := s.grants.runtime[pkg][perm]
		flags := ""
		if granted {
			flags = " USER_SET"
		}
		fmt.Fprintf(&b, "        %s: granted=%t, flags=[%s ]\n", perm, granted, flags)
	}
	return b.String()
}

// pmGrant is pm grant and pm revoke.
func pmGrant(p *proc, names []string, granted bool) int {
	refuse := func(format string, args ...any) int {
		p.errorf("\nException occurred while executing:\n"+format+"\n\tat com.android.server.pm.permission.PermissionManagerService.grantRuntimePermission(PermissionManagerService.java:1383)\n", args...)
		return 255
	}
	verb := "revokeRuntimePermission"
	if granted {
		verb = "grantRuntimePermission"
	}
	if len(names) < 2 {
		p.errorf("Error: no permission specified\n")
		return 1
	}
	if p.gated() {
		return refuse("java.lang.SecurityException: %s: Neither user 2000 nor current process has android.permission.GRANT_RUNTIME_PERMISSIONS.", verb)
	}
	info := p.sys.pkg(names[0])
	if info == nil {
		return refuse("java.lang.IllegalArgumentException: Unknown package: %s", names[0])
	}
	if slices.Contains(info.Permissions, names[1]) {
		return refuse("java.lang.SecurityException: Permission %s is not a changeable permission type", names[1])
	}
	g := p.sys.grants
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, asked := g.runtime[info.Name][names[1]]; !asked {
		return refuse("java.lang.SecurityException: Package %s has not requested permission %s", names[0], names[1])
	}
	g.runtime[info.Name][names[1]] = granted
	return 0
}

// appOps are the operations that are known here. Unless somebody decides
// otherwise, ACTIVATE_VPN is ignored and all others are allowed.
var appOps = []string{
	"COARSE_LOCATION", "FINE_LOCATION", "READ_CONTACTS", "CAMERA", "RECORD_AUDIO", "POST_NOTIFICATION", "READ_CLIPBOARD",
	"RUN_IN_BACKGROUND", "RUN_ANY_IN_BACKGROUND", "WAKE_LOCK", "READ_EXTERNAL_STORAGE", "WRITE_EXTERNAL_STORAGE",
	opVPN,
}

// opVPN is the operation by which an app becomes the phone's VPN without asking.
const opVPN = "ACTIVATE_VPN"

// usualMode is the mode of an operation of which nobody decided.
func usualMode(op string) string {
	if op == opVPN {
		return "ignore"
	}
	return "allow"
}

// AppOp is the mode of an app's operation.
func (s *System) AppOp(pkg, op string) string {
	s.grants.mu.Lock()
	defer s.grants.mu.Unlock()
	if mode, ok := s.grants.modes[pkg][op]; ok {
		return mode
	}
	return usualMode(op)
}

// SetAppOp gives an app's operation a mode, as Android itself does.
func (s *System) SetAppOp(pkg, op, mode string) {
	s.grants.mu.Lock()
	defer s.grants.mu.Unlock()
	s.grants.set(pkg, op, mode)
}

// set gives an operation a mode. Its own mode leaves nothing behind. The caller
// holds the lock.
func (g *grants) set(pkg, op, mode string) {
	if mode == usualMode(op) {
		delete(g.modes[pkg], op)
		return
	}
	if g.modes[pkg] == nil {
		g.modes[pkg] = map[string]string{}
	}
	g.modes[pkg][op] = mode
}

// appOpModes are the modes that an operation can have.
var appOpModes = []string{"allow", "ignore", "deny", "default", "foreground"}

// cmdAppops is appops and cmd appops.
func cmdAppops(_ context.Context, p *proc, args []string) int {
	if !p.service("appops") {
		return noService
	}
	args = args[1:]
	if len(args) > 2 && args[1] == "--user" {
		args = append(args[:1], args[3:]...)
	}
	if len(args) < 2 {
		p.printf("AppOps service (appops) commands:\n  help\n    Print this help text.\n")
		return 255
	}
	info := p.sys.pkg(args[1])
	if info == nil {
		p.errorf("Error: No UID for %s in user 0\n", args[1])
		return 255
	}
	op := ""
	if len(args) > 2 {
		if op = strings.TrimPrefix(args[2], "android:"); !slices.Contains(appOps, op) {
			p.errorf("Error: Unknown operation string: %s\n", args[2])
			return 255
		}
	}
	g := p.sys.grants
	g.mu.Lock()
	defer g.mu.Unlock()
	switch args[0] {
	case "get":
		found := false
		for _, known := range slices.Sorted(maps.Keys(g.modes[info.Name])) {
			if op == "" || op == known {
				found = true
				p.printf("%s: %s\n", known, g.modes[info.Name][known])
			}
		}
		if !found {
			p.printf("No operations.\n")
			if op != "" {
				p.printf("Default mode: %s\n", usualMode(op))
			}
		}
		return 0
	case "set":
		return setAppOp(p, info.Name, op, args)
	case "reset":
		delete(g.modes, info.Name)
		return 0
	}
	p.errorf("Unknown command: %s\n", args[0])
	return 255
}

// setAppOp is appops set. The caller holds the lock.
func setAppOp(p *proc, pkg, op string, args []string) int {
	switch {
	case op == "":
		p.errorf("Error: Operation not specified\n")
		return 255
	case len(args) < 4 || !slices.Contains(appOpModes, args[3]):
		p.errorf("Error: Mode %s is not valid\n", strings.Join(args[3:], ""))
		return 255
	case p.gated():
		return p.securityException("uid 2000 does not have android.permission.MANAGE_APP_OPS_MODES.", "android.app.ContextImpl.enforce(ContextImpl.java:1866)")
	}
	p.sys.grants.set(pkg, op, args[3])
	return 0
}
