package userland_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim/userland"
)

// newModel is a phone of a model, with the browser cloned for user 999.
func newModel(t testing.TB, model string) *phone {
	t.Helper()
	n := &fakeNetwork{taps: map[*fakeTap]string{}, up: true}
	sc := &fakeScreen{focus: "com.example.app/com.example.app.Main"}
	s, err := userland.New(userland.Config{
		Identity: identity(t, model), Network: n, Screen: sc, Pace: 0.001, Seed: 1, DualApps: []string{"com.example.app"},
		Packages: []userland.Package{{Name: "com.example.app", Version: "1.2.3", Code: 123, UID: 10123, Main: "com.example.app.Main"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return &phone{s, n, sc}
}

// TestCondition asks for the state of a phone as a health check does, before
// and after it has changed.
func TestCondition(t *testing.T) {
	for _, model := range []string{"redmi-note-8", "mi-10"} {
		p := newModel(t, model)
		ten := model == "mi-10"
		says := func(script string, wants ...string) {
			t.Helper()
			out, errs, _ := p.run(t, script)
			for _, want := range wants {
				negative := strings.HasPrefix(want, "!")
				if regexp.MustCompile("(?m)"+strings.TrimPrefix(want, "!")).MatchString(out+errs) == negative {
					t.Errorf("%s: %s: wanted %q in\n%s%s", model, script, want, out, errs)
				}
			}
		}
		says("getprop sys.boot_completed; getprop init.svc.bootanim; getprop gsm.sim.state", `^1\nstopped\nABSENT,ABSENT\n$`)
		says("dumpsys battery", `^  level: 93$`, `^  temperature: 287$`, `^  USB powered: true$`, `^  status: 2$`)
		says("df -k /data", `^Filesystem +1K-blocks +Used +Available Use% Mounted on\n/dev/block/\S+ +54525952 +115\d+ +429\d+ +22% /data\n$`)
		says("dumpsys power", `^  mWakefulness=Awake$`, `^Display Power: state=ON$`, `^  mStayOn=true$`)
		says("dumpsys window policy", `^    KeyguardServiceDelegate\n      showing=false\n      showingAndNotOccluded=true$`, `^        mIsShowing=false$`, `!mCurrentFocus`)
		says("dumpsys window", `mIsShowing=false`, `mCurrentFocus=Window\{\S+ u0 com.example.app/com.example.app.Main\}`)
		// The focus moved from the windows to the displays.
		focus := map[bool]string{true: "mCurrentFocus", false: "!mCurrentFocus"}
		says("dumpsys window windows", focus[!ten])
		says("dumpsys window displays", focus[ten])
		says("dumpsys trust", `\(current\): trusted=0, trustManaged=0, deviceLocked=0,`)
		addrs := map[bool]string{
			false: `LinkAddresses: \[192.168.43.10/24,2001:db8:43::a/64,\]  Routes: \[.*\] DnsAddresses: \[192.168.43.1,\] Domains: null`,
			true:  `LinkAddresses: \[ 192.168.43.10/24,2001:db8:43::a/64 \] DnsAddresses: \[ /192.168.43.1 \] Domains: null`,
		}
		wifi := `^  NetworkAgentInfo\{ ni\{\[type: WIFI\[\], state: CONNECTED/CONNECTED, .*network\{100\}.*Transports: WIFI Capabilities: NOT_METERED&INTERNET\S*&VALIDATED`
		says("dumpsys connectivity", `^Active default network: 100$`, wifi, addrs[ten], `!PrivateDnsServerName`, `!HttpProxy`, `!CELLULAR`)
		says("settings get global private_dns_mode; settings get global private_dns_specifier; settings get global bluetooth_on", `^off\nnull\n0\n$`)
		says("settings get global airplane_mode_on; settings get global mobile_data; settings get global wifi_on", `^0\n0\n1\n$`)
		says("dumpsys bluetooth_manager", `^  enabled: false\n  state: OFF$`)
		says("dumpsys nfc", map[bool]string{true: `^mState=off$`, false: `^Can't find service: nfc$`}[ten])
		says("dumpsys telephony.registry", `^  Phone Id=0$`, `^    mUserMobileDataState= false$`, `^    mDataConnectionState=0$`, `OUT_OF_SERVICE`)
		says("pm list users", `^Users:\n\tUserInfo\{0:Owner:13\} running\n\tUserInfo\{999:XSpace:801010\} running\n$`)
		says("pm list packages -U com.example", `^package:com.example.app uid:10123,99910123\n$`)
		says("pm list packages --user 0 -U com.example; pm list packages --user 999 -U", `^package:com.example.app uid:10123\npackage:com.example.app uid:99910123\n$`)
		says("dumpsys jobscheduler", `^Registered 5 jobs:$`, `^  JOB #u0a63/12: \S+ com.miui.analytics/`, `PERIODIC: interval=\+1d0h0m0s0ms`,
			map[bool]string{true: `Required constraints: TIMING_DELAY DEADLINE CONNECTIVITY \[0xd0000000\]`, false: `Required constraints: TIMING_DELAY DEADLINE CONNECTIVITY$`}[ten])
		says("cmd jobscheduler run -f com.miui.analytics 12; cmd jobscheduler run -f com.miui.analytics 13", `^Running job \[FORCED\]\nCould not find job 13 in package com.miui.analytics / user 0\n$`)
		says("dumpsys alarm", `^  Pending alarm batches: 6$`, `^Batch\{`, `^    RTC #0: Alarm\{\S+ type 1 when \d+ android\}$`, `^      type=2 whenElapsed=\+\S+ when=\d{4}-`)

		p.Alter(func(c *userland.Condition) {
			*c = userland.Condition{Battery: 6, Temperature: 612, Bluetooth: true, NFC: true, SIM: true, NoInternet: true}
		})
		p.run(t, "settings put global private_dns_mode hostname; settings put global private_dns_specifier dns.example; settings put global http_proxy localhost:8080")
		says("dumpsys battery", `^  level: 6$`, `^  temperature: 612$`, `^  USB powered: false$`, `^  status: 3$`, `^  health: 3$`)
		says("cat /sys/class/power_supply/battery/capacity", `^6$`)
		says("dumpsys power", `^  mStayOn=false$`, `^  mPlugType=0$`)
		says("dumpsys connectivity", `!VALIDATED`, `^.*lastValidated\{false\}`, `UsePrivateDns: true PrivateDnsServerName: dns.example`, `HttpProxy: \[localhost\] 8080 xl=`)
		says("dumpsys bluetooth_manager; settings get global bluetooth_on", `^  enabled: true\n  state: ON$`, `^1$`)
		if ten {
			says("dumpsys nfc", `^mState=on$`)
		}
		says("dumpsys telephony.registry", `IN_SERVICE`)
		says("getprop gsm.sim.state", `^LOADED,ABSENT$`)
		p.screen.turn(false)
		says("dumpsys power", `^  mWakefulness=Asleep$`, `^Display Power: state=OFF$`)
		says("dumpsys window", `^      showing=true$`, `mDreamingLockscreen=true`, `mCurrentFocus=Window\{\S+ u0 StatusBar\}`)
		says("dumpsys trust", `deviceLocked=0`) // no secret is needed
		p.screen.turn(true)
		p.run(t, "svc wifi disable; svc bluetooth disable")
		says("dumpsys connectivity", `^Active default network: none$`, `!NetworkAgentInfo`)
		says("settings get global wifi_on; settings get global bluetooth_on; dumpsys bluetooth_manager", `^0\n0\n`, `enabled: false`)
	}
}

// TestNetstats reads what the statistics say of a user before and after a poll,
// in both sets.
func TestNetstats(t *testing.T) {
	p := newModel(t, "mi-10")
	sum := func(uid int) (rx, tx uint64, rows int) {
		t.Helper()
		out, _, _ := p.run(t, "dumpsys netstats detail")
		_, users, ok := strings.Cut(out, "\nUID stats:\n")
		users, _, tagged := strings.Cut(users, "\nUID tag stats:\n")
		if !ok || !tagged {
			t.Fatalf("sections are missing:\n%s", out)
		}
		mine := false
		for line := range strings.Lines(users) {
			if strings.Contains(line, "ident=") {
				mine = strings.Contains(line, fmt.Sprintf(" uid=%d ", uid))
			}
			var st, rb, rp, tb, tp uint64
			if n, _ := fmt.Sscanf(strings.TrimSpace(line), "st=%d rb=%d rp=%d tb=%d tp=%d op=0", &st, &rb, &rp, &tb, &tp); n == 5 && mine {
				rx, tx, rows = rx+rb, tx+tb, rows+1
			}
		}
		return rx, tx, rows
	}
	if out, _, _ := p.run(t, "dumpsys netd trafficcontroller"); !strings.Contains(out, "\n    mAppUidStatsMap::\n    uid rxBytes rxPackets txBytes txPackets\n    10123 5 1 7 2\n") {
		t.Errorf("netd says %q", out)
	}
	if out, _, _ := newModel(t, "redmi-note-8").run(t, "dumpsys netd trafficcontroller"); strings.Contains(out, "10123") {
		t.Errorf("netd of Android 9 without BPF says %q", out)
	}
	if _, _, rows := sum(10123); rows != 0 {
		t.Errorf("%d rows before the first poll", rows)
	}
	if out, _, _ := p.run(t, "dumpsys netstats --poll"); out != "Forced poll\n" {
		t.Errorf("a poll says %q", out)
	}
	if rx, tx, _ := sum(10123); rx != 5 || tx != 7 {
		t.Errorf("after a poll %d, %d", rx, tx)
	}
	p.net.count(10123, userland.Counters{RxBytes: 105, RxPackets: 3, TxBytes: 1007, TxPackets: 9})
	if rx, tx, _ := sum(10123); rx != 5 || tx != 7 {
		t.Errorf("without a poll %d, %d", rx, tx)
	}
	p.screen.leave() // from now on the app is in the background
	p.run(t, "dumpsys netstats --poll")
	p.net.count(10123, userland.Counters{RxBytes: 205, RxPackets: 4, TxBytes: 2007, TxPackets: 10})
	p.run(t, "dumpsys netstats --poll")
	out, _, _ := p.run(t, "dumpsys netstats detail")
	for _, set := range []string{"DEFAULT", "FOREGROUND"} {
		if !strings.Contains(out, `ident=[{type=WIFI, subType=COMBINED, networkId="lab", metered=false, defaultNetwork=true}] uid=10123 set=`+set+" tag=0x0") {
			t.Errorf("there is no set %s:\n%s", set, out)
		}
	}
	if rx, tx, rows := sum(10123); rx != 205 || tx != 2007 || rows < 2 {
		t.Errorf("in both sets %d, %d in %d rows", rx, tx, rows)
	}
	if !strings.Contains(out, "uid=-1 set=ALL") || strings.Contains(out, "iface=lo") {
		t.Errorf("the interfaces are wrong:\n%s", out)
	}
	if st := regexp.MustCompile(`st=(\d+)`).FindStringSubmatch(out); st != nil {
		if at, err := strconv.ParseInt(st[1], 10, 64); err != nil || at%3600 != 0 {
			t.Errorf("a bucket starts at %s", st[1])
		}
	}
}
