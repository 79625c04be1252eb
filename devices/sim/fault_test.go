package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
)

// A bench is a world of one phone, and what a test does to it.
type bench struct {
	hand
	p *sim.Phone
}

func newBench(t testing.TB, pc sim.PhoneConfig) bench {
	t.Helper()
	w := start(t, sim.Config{Phones: []sim.PhoneConfig{pc}, Pace: 0.01, Seed: 3})
	return bench{hand{t, w, w.Phones()[0].Serial()}, w.Phones()[0]}
}

func (b bench) fault(name, arg string) {
	b.t.Helper()
	if err := b.p.Fault(b.t.Context(), name, arg); err != nil {
		b.t.Fatalf("%s=%s: %v", name, arg, err)
	}
}

// try runs a script and says how it ended.
func (b bench) try(script string) (stdout, stderr string, code int, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	return shell(ctx, b.w, b.serial, script)
}

// says is what a script says on both streams, whatever its status.
func (b bench) says(script string) string {
	b.t.Helper()
	out, errs, _, err := b.try(script)
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return out + errs
}

// asked is the ADB server's answer to a request.
func (b bench) asked(request string) string {
	b.t.Helper()
	conn, err := net.DialTimeout("tcp", b.w.ADB(), patience) //nolint:noctx // A test.
	if err != nil {
		b.t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // Nothing more is said.
	if _, err := fmt.Fprintf(conn, "%04x%s", len(request), request); err != nil {
		b.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(answer)
}

func (b bench) works() bool {
	out, _, _, err := b.try("getprop sys.boot_completed")
	return err == nil && out == "1\n"
}

// A faultCase is what can be seen of a fault while it lasts and when it has ended.
type faultCase struct {
	arg string
	pc  sim.PhoneConfig
	// before makes ready; during and after look.
	before, during, after func(t *testing.T, b bench)
}

// sees makes a look of a script's answer.
func sees(script, want string) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		if got := b.says(script); !strings.Contains(got, want) {
			t.Errorf("%s says %q; wanted %q", script, got, want)
		}
	}
}

func lacks(script, unwanted string) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		if got := b.says(script); strings.Contains(got, unwanted) {
			t.Errorf("%s says %q; unwanted: %q", script, got, unwanted)
		}
	}
}

func both(looks ...func(*testing.T, bench)) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		for _, look := range looks {
			look(t, b)
		}
	}
}

// refused says with which words the server refuses the phone, and what it lists.
func refused(state, words string) func(*testing.T, bench) {
	return func(t *testing.T, b bench) {
		t.Helper()
		until(t, "the phone is "+state, func() bool { return b.p.State() == state })
		if _, _, _, err := b.try("true"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the server says %v; wanted %q", err, words)
		}
		if list := b.asked("host:devices"); strings.Contains(list, b.serial+"\t"+state+"\n") != (state != "") {
			t.Errorf("the server lists %q", list)
		}
	}
}

func works(t *testing.T, b bench) {
	t.Helper()
	until(t, "the phone works", b.works)
}

// TestEachFault makes every fault happen and end, and looks at the phone through
// the doors that everybody uses. A fault without a row fails.
func TestEachFault(t *testing.T) {
	cases := map[string]faultCase{}
	for _, kind := range []map[string]faultCase{transportCases(), phoneCases(), networkCases(), vpnCases(), screenCases()} {
		for name, c := range kind {
			cases[name] = c
		}
	}
	lasting := 0
	for name, about := range sim.Faults() {
		if _, ok := cases[name]; !ok {
			t.Errorf("no test shows %s: %s", name, about)
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			about, ok := sim.Faults()[name]
			if !ok {
				t.Fatal("there is no such fault")
			}
			b := newBench(t, c.pc)
			b.t = t
			if c.before != nil {
				c.before(t, b)
			}
			b.fault(name, c.arg)
			c.during(t, b)
			if !strings.Contains(about, "off)") {
				if err := b.p.Fault(t.Context(), name, "off"); err == nil || !strings.Contains(err.Error(), "event") {
					t.Errorf("an event could be ended: %v", err)
				}
				if c.after != nil {
					c.after(t, b)
				}
				return
			}
			want := name
			if c.arg != "" {
				want += "=" + c.arg
			}
			if got := b.p.Truth().Faults; !slices.Equal(got, []string{want}) {
				t.Errorf("the truth says that %q are wrong", got)
			}
			b.fault(name, "off")
			if c.after == nil {
				t.Fatal("nothing looks at its end")
			}
			c.after(t, b)
			if got := b.p.Truth().Faults; len(got) != 0 {
				t.Errorf("after its end %q are wrong", got)
			}
		})
	}
	for _, about := range sim.Faults() {
		if strings.Contains(about, "off)") {
			lasting++
		}
	}
	if n := len(sim.Faults()); n < 35 {
		t.Errorf("there are %d faults, %d of them lasting", n, lasting)
	}
}

func transportCases() map[string]faultCase {
	lost := func(t *testing.T, b bench) {
		t.Helper()
		if _, _, _, err := b.try("echo all of it; sleep 0.05"); !errors.Is(err, errLost) {
			t.Errorf("a command ended with %v", err)
		}
	}
	// took is how long an echo takes.
	took := func(b bench) time.Duration {
		began := time.Now()
		b.run("echo")
		return time.Since(began)
	}
	return map[string]faultCase{
		"reboot": {
			before: func(_ *testing.T, b bench) { b.run("settings put global kept 1; mount -t tmpfs x /sdcard") },
			during: func(t *testing.T, b bench) {
				until(t, "the phone is away", func() bool { return b.p.State() == "" })
				works(t, b)
				if got := b.run("settings get global kept"); got != "1\n" || len(b.p.Mounts()) != 0 {
					t.Errorf("after the reboot %q, %q", got, b.p.Mounts())
				}
			},
		},
		"unplug":       {during: refused("", "not found"), after: works},
		"unauthorized": {during: refused("unauthorized", "device unauthorized"), after: works},
		"authorizing":  {during: refused("authorizing", "device still authorizing"), after: works},
		"offline":      {during: refused("offline", "device offline"), after: works},
		"stale":        {during: refused("offline", "device offline")},
		"no-permissions": {
			during: refused("no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html]", "insufficient permissions"), after: works,
		},
		"recovery": {
			during: func(t *testing.T, b bench) {
				until(t, "the phone is in recovery", func() bool { return b.p.State() == "recovery" })
				if _, _, _, err := b.try("getprop"); err == nil {
					t.Error("recovery runs a shell")
				}
			}, after: works,
		},
		"sideload": {
			during: func(t *testing.T, b bench) {
				until(t, "the phone is in sideload", func() bool { return strings.Contains(b.asked("host:devices"), b.serial+"\tsideload\n") })
			}, after: works,
		},
		"bootloader": {
			during: func(t *testing.T, b bench) {
				until(t, "the phone is away", func() bool { return b.p.State() == "" })
				time.Sleep(time.Second) // a reboot takes a third of that
				if b.p.State() != "" {
					t.Errorf("the bootloader speaks ADB: %q", b.p.State())
				}
			}, after: works,
		},
		"flaky-cable": {
			during: func(t *testing.T, b bench) {
				for range 3 {
					until(t, "the phone goes away", func() bool { return b.p.State() == "" })
					until(t, "the phone comes back", func() bool { return b.p.State() == "device" })
				}
			}, after: works,
		},
		"adb-down": {
			during: func(t *testing.T, b bench) {
				if _, err := net.DialTimeout("tcp", b.w.ADB(), patience); err == nil { //nolint:noctx // A test.
					t.Error("the server listens")
				}
			}, after: works,
		},
		"adb-restart": {
			before: func(_ *testing.T, b bench) { b.run("mkdir /data/local/tmp/kept") },
			during: both(works, sees("ls /data/local/tmp", "kept")),
		},
		"slow-adb": {
			arg: "400ms",
			during: func(t *testing.T, b bench) {
				if d := took(b); d < 400*time.Millisecond {
					t.Errorf("an echo took %v", d)
				}
			},
			after: func(t *testing.T, b bench) { // Slower than that is a busy host.
				until(t, "an echo is quick", func() bool { return took(b) < 400*time.Millisecond })
			},
		},
		"hang-shell": {
			during: func(t *testing.T, b bench) {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				if out, _, _, err := shell(ctx, b.w, b.serial, "echo"); out != "" || err == nil || ctx.Err() == nil {
					t.Errorf("a shell answered %q, %v", out, err)
				}
			}, after: works,
		},
		"lose-exit": {
			during: both(lost, func(t *testing.T, b bench) {
				if out, _, _, _ := b.try("echo all of it"); out != "all of it\n" {
					t.Errorf("the output is %q", out)
				}
			}), after: works,
		},
		"cut-output": {
			arg: "6",
			during: both(lost, func(t *testing.T, b bench) {
				if out, _, _, _ := b.try("echo all of it; sleep 100"); out != "all of" {
					t.Errorf("the output is %q", out)
				}
			}), after: works,
		},
		"cut-reverse": {
			before: func(t *testing.T, b bench) {
				b.reverse(t, 8080, 4000)
				if len(b.p.Reverses()) != 1 {
					t.Fatal("there is no reverse")
				}
			},
			during: func(t *testing.T, b bench) {
				if r := b.p.Reverses(); len(r) != 0 {
					t.Errorf("reverses %q", r)
				}
			},
		},
	}
}

// reverse opens a reverse forward.
func (b bench) reverse(t *testing.T, phone, host int) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", b.w.ADB(), patience) //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // Nothing more is said.
	for _, request := range []string{"host:transport:" + b.serial, fmt.Sprintf("reverse:forward:tcp:%d;tcp:%d", phone, host)} {
		if _, err := fmt.Fprintf(conn, "%04x%s", len(request), request); err != nil {
			t.Fatal(err)
		}
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err != nil || string(word[:]) != "OKAY" {
			t.Fatalf("%s: %q, %v", request, word, err)
		}
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
}

// capture starts tcpdump and returns its session's end and what it has said.
func (b bench) capture(t *testing.T, script string) (ended <-chan error, said func() string) {
	t.Helper()
	done := make(chan error, 1)
	file := "/data/local/tmp/dump" + strconv.Itoa(len(b.p.Truth().Processes))
	go func() {
		_, _, _, err := shell(t.Context(), b.w, b.serial, "exec "+script+" 2>"+file)
		done <- err
	}()
	until(t, "tcpdump listens", func() bool { return strings.Contains(b.says("cat "+file), "listening on") })
	return done, func() string { return b.says("cat " + file) }
}

func phoneCases() map[string]faultCase {
	clock := func(b bench) time.Time {
		b.t.Helper()
		n, err := strconv.ParseFloat(strings.TrimSpace(b.run("date +%s.%N")), 64)
		if err != nil {
			b.t.Fatal(err)
		}
		return time.Unix(0, int64(n*1e9))
	}
	ahead := func(least, most time.Duration) func(*testing.T, bench) {
		return func(t *testing.T, b bench) {
			t.Helper()
			if d := time.Until(clock(b)); d < least || d > most {
				t.Errorf("the phone's clock is ahead by %v", d)
			}
		}
	}
	packets := func(b bench, filter string) string {
		return b.run("tcpdump -c 1 -i wlan0 -w /data/local/tmp/one " + filter + " 2>/data/local/tmp/said & sleep 0.1; ping -c 8 -i 0.01 duckduckgo.com >/dev/null; kill -TERM $!; wait $!; cat /data/local/tmp/said")
	}
	asked := func(b bench, name string) string {
		return b.run("tcpdump -i wlan0 -w /data/local/tmp/one udp port 53 2>/data/local/tmp/said & sleep 0.1; ping -c 1 -W 1 " + name + ".offproof.invalid; kill -TERM $!; wait $!; cat /data/local/tmp/said")
	}
	return map[string]faultCase{
		"kill-tcpdump": {
			before: func(t *testing.T, b bench) { b.capture(t, "tcpdump -i wlan0 -U -w /data/local/tmp/f") },
			during: func(t *testing.T, b bench) {
				until(t, "tcpdump is gone", func() bool { return !strings.Contains(b.says("ps -A"), "tcpdump") })
			},
		},
		"tcpdump-silent": {
			during: func(t *testing.T, b bench) {
				if said := packets(b, "icmp"); !strings.Contains(said, "0 packets captured") || !strings.Contains(said, "0 packets dropped by kernel") {
					t.Errorf("tcpdump says %q", said)
				}
			},
			after: func(t *testing.T, b bench) {
				if said := packets(b, "icmp"); !strings.Contains(said, "1 packet captured") {
					t.Errorf("tcpdump says %q", said)
				}
			},
		},
		"hide-packets": {
			arg: "53",
			during: func(t *testing.T, b bench) {
				if said := asked(b, "hidden"); !strings.Contains(said, "0 packets captured") {
					t.Errorf("tcpdump says %q", said)
				}
				if said := packets(b, "icmp"); !strings.Contains(said, "1 packet captured") {
					t.Errorf("of others tcpdump says %q", said)
				}
			},
			after: func(t *testing.T, b bench) {
				if said := asked(b, "shown"); strings.Contains(said, "0 packets captured") {
					t.Errorf("tcpdump says %q", said)
				}
			},
		},
		"drop-packets": {
			arg: "2",
			during: func(t *testing.T, b bench) {
				said := b.run("tcpdump -i wlan0 -w /data/local/tmp/one icmp 2>/data/local/tmp/said & sleep 0.1; ping -c 8 -i 0.01 duckduckgo.com >/dev/null; kill -TERM $!; wait $!; cat /data/local/tmp/said")
				if strings.Contains(said, "\n0 packets dropped") || !strings.Contains(said, "dropped by kernel") {
					t.Errorf("tcpdump says %q", said)
				}
			},
			after: func(t *testing.T, b bench) {
				said := b.run("tcpdump -i wlan0 -w /data/local/tmp/one icmp 2>/data/local/tmp/said & sleep 0.1; ping -c 8 -i 0.01 duckduckgo.com >/dev/null; kill -TERM $!; wait $!; cat /data/local/tmp/said")
				if !strings.Contains(said, "\n0 packets dropped") {
					t.Errorf("tcpdump says %q", said)
				}
			},
		},
		"full-data": {
			before: func(_ *testing.T, b bench) { b.run("echo old > /sdcard/old") },
			during: both(
				sees("echo x > /data/local/tmp/x", "No space left on device"), sees("echo more >> /sdcard/old; cat /sdcard/old", "No space left on device"),
				sees("df -k /data", "100% /data"), sees("cat /sdcard/old", "old\n"),
			),
			after: both(sees("echo x > /data/local/tmp/x; cat /data/local/tmp/x", "x\n"), sees("df -k /data", "22% /data")),
		},
		"low-battery":   {arg: "3", during: sees("dumpsys battery", "USB powered: false"), after: sees("dumpsys battery | grep -E 'level|USB'", "USB powered: true\n  level: 93\n")},
		"hot-battery":   {during: sees("dumpsys battery", "temperature: 490"), after: sees("dumpsys battery", "temperature: 287")},
		"data-saver":    {during: sees("cmd netpolicy get restrict-background", ": enabled"), after: sees("cmd netpolicy get restrict-background", ": disabled")},
		"doze":          {during: sees("dumpsys deviceidle get deep", "IDLE"), after: sees("dumpsys deviceidle get deep", "ACTIVE")},
		"battery-saver": {during: sees("settings get global low_power", "1"), after: sees("settings get global low_power", "null")},
		"gate-closed": {
			during: both(
				sees("settings put global http_proxy h:1", "WRITE_SECURE_SETTINGS"), sees("input tap 1 1", "INJECT_EVENTS"),
				sees("getprop persist.security.adbinput", "0"), sees("id -u", "2000"), sees("su -c 'id -u'", "0\n"),
			),
			after: both(sees("settings put global x 1; settings get global x", "1\n"), sees("id -u", "0\n")),
		},
		"no-hid":     {during: sees(makeKeyboard, "found 0\n"), after: sees(makeKeyboard, "found 1\n")},
		"no-install": {during: sees("echo 1 | pm install -S 2", "INSTALL_FAILED_USER_RESTRICTED"), after: sees("echo 1 | pm install -S 2", "INSTALL_PARSE_FAILED_NOT_APK")},
		"root-lost": {
			pc:     sim.PhoneConfig{Root: sim.RootSU},
			during: both(sees("su -c id", "Permission denied"), sees("id -u", "2000")), after: sees("su -c 'id -u'", "0\n"),
		},
		"clock-jump": {arg: "-2h", during: ahead(-2*time.Hour-time.Minute, -2*time.Hour+time.Minute), after: ahead(-time.Minute, time.Minute)},
		"clock-drift": {
			arg: "50",
			during: func(t *testing.T, b bench) {
				first := time.Until(clock(b))
				until(t, "the clock runs away", func() bool { return time.Until(clock(b)) > first+100*time.Millisecond })
			},
			after: func(t *testing.T, b bench) {
				first := time.Until(clock(b))
				b.run("sleep 0.2")
				if d := time.Until(clock(b)) - first; d > 90*time.Millisecond {
					t.Errorf("the clock still runs away: %v", d)
				}
			},
		},
		"ca-gone": {
			before: func(_ *testing.T, b bench) { b.run("mount -t tmpfs mine /system/etc/security/cacerts") },
			during: func(t *testing.T, b bench) {
				if m := b.p.Mounts(); len(m) != 0 {
					t.Errorf("mounts %q", m)
				}
			},
		},
		"boot-stuck": {
			during: both(sees("getprop init.svc.bootanim; getprop sys.boot_completed", "running\n\n"), sees("pm path android", "cmd: Can't find service: package"), sees("ls /sdcard", "Download")),
			after:  sees("getprop sys.boot_completed; pm path android", "1\npackage:"),
		},
	}
}

func networkCases() map[string]faultCase {
	pings := func(want bool) func(*testing.T, bench) {
		return func(t *testing.T, b bench) {
			t.Helper()
			if _, _, code, err := b.try("ping -c 1 -W 0.2 duckduckgo.com"); (code == 0) != want || err != nil {
				t.Errorf("ping ends with %d, %v", code, err)
			}
		}
	}
	return map[string]faultCase{
		"network-down": {during: both(pings(false), sees("settings get global wifi_on; dumpsys wifi", "0\nWi-Fi is disabled")), after: both(pings(true), sees("settings get global wifi_on", "1"))},
		"unreachable":  {arg: "duckduckgo.com", during: pings(false), after: pings(true)},
		"private-dns":  {during: sees("settings get global private_dns_mode", "hostname"), after: sees("settings get global private_dns_mode", "off")},
		"no-internet":  {during: lacks("dumpsys connectivity", "VALIDATED"), after: sees("dumpsys connectivity", "VALIDATED")},
		"bluetooth-on": {during: sees("settings get global bluetooth_on", "1"), after: sees("settings get global bluetooth_on", "0")},
	}
}

func screenCases() map[string]faultCase {
	return map[string]faultCase{
		"popup": {
			arg: "update", during: both(sees("dumpsys window | grep mCurrentFocus", "com.android.updater/"), sees("uiautomator dump /sdcard/x.xml >/dev/null; cat /sdcard/x.xml", "MIUI 11.0.9.0 can be installed")),
			after: lacks("dumpsys window | grep mCurrentFocus", "com.android.updater"),
		},
		"moving-screen": {
			during: both(sees("uiautomator dump", "ERROR: could not get idle state."), sees("uiautomator dump --compressed", "UI hierchary dumped")), after: sees("uiautomator dump", "UI hierchary dumped"),
		},
		"never-idle": {during: sees("uiautomator dump", "ERROR: could not get idle state."), after: sees("uiautomator dump", "UI hierchary dumped")},
		"no-window":  {during: sees("uiautomator dump 2>&1", "ERROR: null root node"), after: sees("uiautomator dump", "UI hierchary dumped")},
		"one-node": {
			during: sees("uiautomator dump /sdcard/x.xml >/dev/null; grep -c '<node' /sdcard/x.xml; tr -cd '<' < /sdcard/x.xml | wc -c", "4"),
			after:  lacks("uiautomator dump /sdcard/x.xml >/dev/null; tr -cd '<' < /sdcard/x.xml | wc -c", "4\n"),
		},
		"ui-noise":          {during: sees("uiautomator dump", "FileNotFoundException"), after: lacks("uiautomator dump", "FileNotFoundException")},
		"wedge-uiautomator": {during: lacks("timeout 0.3 uiautomator dump; echo ended", "dumped"), after: sees("uiautomator dump", "UI hierchary dumped")},
		"lock": {
			during: both(sees("dumpsys window policy", "showing=true"), sees("uiautomator dump /sdcard/x.xml >/dev/null; cat /sdcard/x.xml", "keyguard_message_area")),
			after:  both(sees("dumpsys window policy", "showing=false"), lacks("uiautomator dump /sdcard/x.xml >/dev/null; cat /sdcard/x.xml", "keyguard_message_area")),
		},
		"screen-off": {during: sees("dumpsys power", "mWakefulness=Asleep"), after: sees("dumpsys power", "mWakefulness=Awake")},
		"crash-browser": {
			before: func(t *testing.T, b bench) {
				b.begin()
				if !b.p.Browser().Running() {
					t.Fatal("the browser does not run")
				}
			},
			during: func(t *testing.T, b bench) {
				if b.p.Browser().Running() || !b.p.Browser().State().Consent {
					t.Error("the browser's process lives, or its data is gone")
				}
			},
		},
		"data-cleared": {
			before: func(_ *testing.T, b bench) { b.begin() },
			during: func(t *testing.T, b bench) {
				if b.p.Browser().State().Consent {
					t.Error("the browser's data is there")
				}
			},
		},
	}
}

func TestFaultsByTime(t *testing.T) {
	w := start(t, sim.Config{Pace: 0.01, Phones: []sim.PhoneConfig{{}, {Faults: []sim.PlannedFault{
		{Name: "low-battery", Arg: "7"}, {Name: "unplug", Arg: "20s", After: 30 * time.Second},
	}}}})
	p := w.Phones()[1]
	h := hand{t, w, p.Serial()}
	if out := h.run("dumpsys battery"); !strings.Contains(out, "level: 7\n") {
		t.Errorf("a fault from the start: %q", out)
	}
	until(t, "it is unplugged", func() bool { return p.State() == "" })
	until(t, "it is plugged in", func() bool { return p.State() == "device" })
	p = w.Phones()[0]
	if err := p.FaultAfter(t.Context(), "hot-battery", "60,20s", 20*time.Second); err != nil {
		t.Fatal(err)
	}
	h = hand{t, w, p.Serial()}
	until(t, "it is hot", func() bool { return strings.Contains(h.run("dumpsys battery"), "temperature: 600") })
	until(t, "it has cooled", func() bool { return strings.Contains(h.run("dumpsys battery"), "temperature: 287") })

	// Two of a kind end together, and each by its own time.
	for _, arg := range []string{"", "500ms"} {
		if err := p.Fault(t.Context(), "hang-shell", arg); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "one has ended", func() bool { return len(p.Truth().Faults) == 1 })
	if err := p.Fault(t.Context(), "hang-shell", "off"); err != nil {
		t.Fatal(err)
	}
	h.run("true")

	for text, want := range map[string]sim.PlannedFault{
		"reboot": {Name: "reboot"}, "unplug=5s@2s": {Name: "unplug", Arg: "5s", After: 2 * time.Second}, "low-battery=5,10s": {Name: "low-battery", Arg: "5,10s"},
		"unplug@1m": {Name: "unplug", After: time.Minute},
	} {
		if got, err := sim.ParseFault(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "nonsense", "unplug@soon", "unplug=x", "unplug=-5s", "reboot=5s", "reboot=off", "low-battery=5,x", "unplug@-5s", "slow-adb=1s,off"} {
		if _, err := sim.ParseFault(text); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := sim.Start(t.Context(), sim.Config{Phones: []sim.PhoneConfig{{Faults: []sim.PlannedFault{{Name: "nonsense"}}}}}); !errors.Is(err, sim.ErrUnknownFault) {
		t.Errorf("a world with an unknown fault: %v", err)
	}
}

// makeKeyboard makes an input device and says whether Android uses it.
const makeKeyboard = `(echo '{"id":1,"command":"register","name":"a keyboard","descriptor":[5,1,9,6,161,1,5,7,25,0,41,101,21,0,37,101,117,8,149,6,129,0,192]}'; sleep 2) | hid - &
sleep 1; echo found $(dumpsys input | grep -c "a keyboard"); wait`
