package userland_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim/userland"
)

// newRooted is a phone that was opened in a way.
func newRooted(t testing.TB, root userland.Root) *phone {
	t.Helper()
	n := &fakeNetwork{taps: map[*fakeTap]string{}, up: true}
	sc := &fakeScreen{focus: "com.example.app/com.example.app.Main"}
	s, err := userland.New(userland.Config{
		Identity: identity(t, "mi-10"), Network: n, Screen: sc, Pace: 0.001, Seed: 1, Root: root,
		Packages: []userland.Package{{Name: "com.example.app", Version: "1.2.3", Code: 123, UID: 10123, Main: "com.example.app.Main"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return &phone{s, n, sc}
}

type said struct{ out, errs string }

// check runs scripts whose output, or a part of it, is known.
func (p *phone) check(t testing.TB, what string, scripts map[string]said) {
	t.Helper()
	for script, want := range scripts {
		out, errs, _ := p.run(t, script)
		if !strings.Contains(out, want.out) || !strings.Contains(errs, want.errs) || want.errs == "" && errs != "" {
			t.Errorf("%s: %s: %q, %q; wanted %q, %q", what, script, out, errs, want.out, want.errs)
		}
	}
}

func TestRootVariants(t *testing.T) {
	asShell := map[string]said{
		"id -u; whoami; id":                               {out: "2000\nshell\nuid=2000(shell) gid=2000(shell) groups=2000(shell),1004(input)"},
		"mount -t tmpfs x /system/etc/security/cacerts":   {errs: "Operation not permitted"},
		"tcpdump -i wlan0 -w -":                           {errs: "You don't have permission to capture on that device"},
		"ls /data/data/com.example.app":                   {errs: "Permission denied"},
		"ls /data/app":                                    {errs: "Permission denied"},
		"echo x > /data/x":                                {errs: "Permission denied"},
		"date @0":                                         {errs: "Operation not permitted"},
		"kill 1":                                          {errs: "Operation not permitted"},
		"setprop persist.security.adbinput 1":             {errs: "failed to set property"},
		"setprop debug.x 1; getprop debug.x":              {out: "1\n"},
		"sha256sum $(pm path com.example.app | cut -c9-)": {out: "/base.apk\n"},
		"settings put global x 1; settings get global x":  {out: "1\n"},
		"wc -l < /proc/net/dev":                           {out: "7"},
		"rm -rf /system/etc/security/cacerts":             {errs: "Read-only file system"},
		"chown root /data/local/tmp":                      {errs: "Operation not permitted"},
		"echo a > /data/local/tmp/f; stat -c %U /data/local/tmp/f; cat /data/local/tmp/f; rm /data/local/tmp/f": {out: "shell\na\n"},
		"mkdir /sdcard/d; echo b > /sdcard/d/f; stat -c '%U %G %a' /sdcard/d/f; rm -r /sdcard/d":                {out: "root sdcard_rw 660\n"},
		"ps -A -o NAME | grep adbd": {out: "adbd\n"},
	}
	asRoot := map[string]said{
		"mount -t tmpfs mine /data/local/tmp; umount /data/local/tmp": {},
		"ls /data/data/com.example.app":                               {},
		"id -u":                                                       {out: "0\n"},
	}
	su := func(scripts map[string]said) map[string]said {
		wrapped := map[string]said{}
		for script, want := range scripts {
			wrapped["su -c '"+script+"'"] = want
			wrapped["su 0 sh -c '"+script+"'"] = want
		}
		return wrapped
	}
	p := newRooted(t, userland.RootADBD)
	p.check(t, "adbd", asRoot)
	p.check(t, "adbd", map[string]said{"getenforce; getprop ro.boot.verifiedbootstate": {out: "Permissive\norange\n"}})
	if answer, restart := p.SetShellRoot(true); answer != "adbd is already running as root\n" || restart {
		t.Errorf("adb root: %q, %t", answer, restart)
	}
	if answer, restart := p.SetShellRoot(false); answer != "restarting adbd as non root\n" || !restart {
		t.Errorf("adb unroot: %q, %t", answer, restart)
	}
	p.check(t, "adbd, unrooted", asShell)
	p.check(t, "adbd, unrooted", su(asRoot))
	if answer, restart := p.SetShellRoot(true); answer != "restarting adbd as root\n" || !restart {
		t.Errorf("adb root: %q, %t", answer, restart)
	}
	p.check(t, "adbd, rooted again", asRoot)

	p = newRooted(t, userland.RootSU)
	p.check(t, "su", asShell)
	p.check(t, "su", su(asRoot))
	p.check(t, "su", map[string]said{
		"getenforce; getprop ro.boot.verifiedbootstate; getprop service.adb.root": {out: "Enforcing\norange\n0\n"},
		"su -c id": {out: "context=u:r:magisk:s0\n"},
	})
	if answer, restart := p.SetShellRoot(true); answer != "adbd cannot run as root in production builds\n" || restart {
		t.Errorf("adb root: %q, %t", answer, restart)
	}
	p.LoseRoot(true)
	p.check(t, "su, lost", map[string]said{"su -c id; echo $?": {out: "13\n", errs: "Permission denied"}})
	p.LoseRoot(false)
	p.check(t, "su, found", su(asRoot))

	p = newRooted(t, userland.RootNone)
	p.check(t, "none", asShell)
	p.check(t, "none", map[string]said{
		"su -c id; echo $?": {out: "127\n", errs: "su"},
		"getprop ro.boot.flash.locked; getprop ro.boot.verifiedbootstate": {out: "1\ngreen\n"},
	})

	if _, err := userland.New(userland.Config{Network: p.net, Screen: p.screen, Root: "sudo"}); err == nil || !strings.Contains(err.Error(), "known are adbd, su, none") {
		t.Errorf("an unknown way to be root: %v", err)
	}
}

// TestGate closes MIUI's ADB gate: what it forbids is refused in the words of
// the system, and all else works.
func TestGate(t *testing.T) {
	for _, root := range []userland.Root{userland.RootADBD, userland.RootSU, userland.RootNone} {
		p := newRooted(t, root)
		p.CloseGate(true)
		what := "gate, " + string(root)
		p.check(t, what, map[string]said{
			"getprop persist.security.adbinput":           {out: "0\n"},
			"settings put global http_proxy h:1; echo $?": {out: "255\n", errs: "requires:android.permission.WRITE_SECURE_SETTINGS"},
			"settings put secure x 1; echo $?":            {out: "255\n", errs: "java.lang.SecurityException: Permission denial"},
			"settings delete global device_name; echo $?": {out: "255\n", errs: "java.lang.SecurityException"},
			"settings put system font_scale 2.0; echo $?": {out: "255\n", errs: "was not granted WRITE_SETTINGS"},
			"settings get global http_proxy":              {out: "null\n"},
			"settings get system font_scale":              {out: "1.0\n"},
			"pm clear com.example.app; echo $?":           {out: "255\n", errs: "does not have permission android.permission.CLEAR_APP_USER_DATA to clear data of package com.example.app"},
			"am start -n com.example.app/.Main 2>&1":      {out: "Starting"},
			"pm list packages com.example":                {out: "package:com.example.app\n"},
			"dumpsys battery":                             {out: "level: 93"},
			"logcat -d":                                   {out: "--------- beginning"},
			"screencap -p | head -c 4 | xxd -p":           {out: "89504e47"},
		})
		if strings.Contains(p.screen.done(), "clear") {
			t.Errorf("%s: the data was cleared", what)
		}
		if root != userland.RootNone {
			p.check(t, what, map[string]said{"su -c 'settings put global x 1; settings get global x'": {out: "1\n"}})
		}
		p.Shutdown()
		p.Boot()
		p.check(t, what+", starting", map[string]said{
			"getprop sys.boot_completed; getprop init.svc.bootanim":    {out: "\nrunning\n"},
			"pm path android; echo $?":                                 {out: "20\n", errs: "cmd: Can't find service: package"},
			"settings get global x; am start -n x/.y; dumpsys battery": {errs: "Can't find service: battery"},
		})
		p.Started()
		p.check(t, what+", after a reboot", map[string]said{"settings put global y 1": {errs: "SecurityException"}})
		p.CloseGate(false)
		p.check(t, what+", opened", map[string]said{"settings put global y 1; settings get global y": {out: "1\n"}, "pm clear com.example.app": {out: "Success\n"}})
	}
}
