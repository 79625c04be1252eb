package userland_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/userland"
	"github.com/offproof/offproof/internal/peers"
)

// TestCommands compares texts, noise and statuses with those of a phone. A
// wanted text that begins with ~ is a regular expression.
func TestCommands(t *testing.T) {
	p := newPhone(t)
	for _, c := range []struct {
		script, out, errs string
		code              int
	}{
		{script: "getprop ro.product.model", out: "Redmi Note 8\n"},
		{script: "getprop ro.build.fingerprint", out: "xiaomi/ginkgo/ginkgo:9/PKQ1.190616.001/V11.0.8.0.PCOMIXM:user/release-keys\n"},
		{script: "getprop nope; getprop nope default", out: "\ndefault\n"},
		{script: "getprop | grep -F '[ro.build.version.sdk]'", out: "[ro.build.version.sdk]: [28]\n"},
		{script: "setprop debug.x 1; getprop debug.x; setprop ro.product.model y; getprop ro.product.model", out: "1\nRedmi Note 8\n", errs: "setprop: failed to set property 'ro.product.model' to 'y'\n"},
		{script: "settings get global nope", out: "null\n"},
		{script: "settings put global http_proxy h:1; settings get global http_proxy; settings list global | grep proxy; settings delete global http_proxy; settings delete global http_proxy; settings get global http_proxy", out: "h:1\nhttp_proxy=h:1\nDeleted 1 rows\nDeleted 0 rows\nnull\n"},
		{script: "settings --user 0 get x", errs: "Invalid command: --user\n", code: 255},
		{script: "settings get --user 0 secure android_id", out: "0123456789abcdef\n"},
		{script: "settings get nowhere x", errs: "Invalid namespace 'nowhere'\n", code: 255},
		{script: "pm list packages example", out: "package:com.example.app\n"},
		{script: "cmd package list packages -U com.example.app", out: "package:com.example.app uid:10200\n"},
		{script: "pm list packages -f -3", out: "package:/data/app/com.example.app-O4_suT-RkdmcAyJ6LW3aOg==/base.apk=com.example.app\n"},
		{script: "pm path com.example.app", out: "package:/data/app/com.example.app-O4_suT-RkdmcAyJ6LW3aOg==/base.apk\n"},
		{script: "pm path com.nope", code: 1},
		{script: "dumpsys package com.example.app | grep -E 'userId|versionName|versionCode'", out: "    userId=10200\n    versionCode=123 minSdk=21 targetSdk=28\n    versionName=1.2.3\n"},
		{script: "dumpsys package com.nope", out: "Unable to find package: com.nope\n"},
		{script: "dumpsys window | grep mCurrentFocus", out: "  mCurrentFocus=Window{5d2f0c1 u0 com.miui.home/com.miui.home.launcher.Launcher}\n"},
		{script: "dumpsys battery | grep level; dumpsys power | grep mWakefulness=; dumpsys wifi | head -n 1", out: "  level: 93\n  mWakefulness=Awake\nWi-Fi is enabled\n"},
		{script: "dumpsys nope", errs: "Can't find service: nope\n"},
		{script: "am start -W -n com.example.app/.Main", out: "~^Starting: Intent { cmp=com.example.app/.Main }\nStatus: ok\nActivity: com.example.app/.Main\nThisTime: \\d+\nTotalTime: \\d+\nWaitTime: \\d+\nComplete\n$"},
		{script: "am start -W -n com.example.app/.Main", out: "~Warning: Activity not started, its current task has been brought to the front\nStatus: ok\n"},
		{script: "am start -a android.intent.action.VIEW -d 'https://h.example/secret?a=b&c'", out: "Starting: Intent { act=android.intent.action.VIEW dat=https://h.example/... }\n", errs: "Warning: Activity not started, its current task has been brought to the front\n"},
		{script: "am start -n com.nope/.X", out: "Starting: Intent { cmp=com.nope/.X }\n", errs: "Error type 3\nError: Activity class {com.nope/com.nope.X} does not exist.\n"},
		{script: "am start -a nope", out: "Starting: Intent { act=nope }\n", errs: "Error: Activity not started, unable to resolve Intent { act=nope flg=0x10000000 }\n"},
		{script: "pidof com.example.app >/dev/null; echo $?; am force-stop com.example.app; pidof com.nope; echo $?", out: "0\n1\n"},
		{script: "wm size; wm density", out: "Physical size: 1080x2340\nPhysical density: 440\n"},
		{script: "uiautomator dump", out: "UI hierchary dumped to: /sdcard/window_dump.xml\n"},
		{script: "uiautomator dump --compressed /sdcard/x.xml; cat /sdcard/x.xml", out: "UI hierchary dumped to: /sdcard/x.xml\n<hierarchy short/>"},
		{script: "uiautomator dump /dev/tty | tail -n 1", out: "<hierarchy/>UI hierchary dumped to: /dev/tty\n"},
		{script: "screencap -p | head -c 4 | xxd -p", out: "89504e47\n"},
		{script: "screencap -p /sdcard/s.png; wc -c < /sdcard/s.png", out: "12\n"},
		{script: "input tap x y", errs: "Error: Invalid arguments for command: tap\n", code: 255},
		{script: "input text é", errs: "java.lang.NullPointerException", code: 255},
		{script: "logcat -c; log -t mine hello; logcat -d", out: "~^--------- beginning of main\n\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d\\.\\d{3} +\\d+ +\\d+ I mine    : hello\n$"},
		{script: "date +%s%3N; date +%s.%N; date +%s", out: "~^\\d{13}\n\\d{10}\\.\\d{9}\n\\d{10}\n$"},
		{script: "id; whoami; id -u", out: "~^uid=0\\(root\\) gid=0\\(root\\) .*context=u:r:su:s0\nroot\n0\n$"},
		{script: "su -c 'id -u'; su 0 id -u; su root -c id | head -c 5", out: "0\n0\nuid=0"},
		{script: "uname -sm", out: "Linux aarch64\n"},
		{script: "sleep 30 >/dev/null 2>&1 & sleep 0.01; ps -A -o NAME | grep -c sleep; pkill -x sleep; echo $?; sleep 0.1; pgrep sleep; echo $?", out: "1\n0\n1\n"},
		{script: "ps -A | head -n 2", out: "USER           PID  PPID     VSZ    RSS WCHAN                     ADDR S NAME\nroot             1     0   10640   3180 0                            0 S init\n"},
		{script: "kill -0 $$; echo $?; kill 32001; kill -9 1", out: "0\n", errs: "No such process", code: 1},
		{script: "ping -c 1 -W 1 www.example", out: "~^PING www.example \\(203.0.113.7\\) 56\\(84\\) bytes of data.\n64 bytes from 203.0.113.7: icmp_seq=1 ttl=63 time=1.5 ms\n\n--- www.example ping statistics ---\n1 packets transmitted, 1 received, 0% packet loss, time \\d+ms\nrtt min/avg/max/mdev = 1.500/1.500/1.500/0.000 ms\n$"},
		{script: "ping -c 1 -W 0.05 203.0.113.9 | grep received", out: "1 packets transmitted, 0 received, 100% packet loss, time "},
		{script: "ping -c 1 n0nce.example", errs: "ping: unknown host n0nce.example\n", code: 2},
		{script: "nc 127.0.0.1 9", errs: "nc: connect: Connection refused\n", code: 1},
		{script: "ip -4 addr show wlan0 | grep inet; ip route", out: "    inet 192.168.43.10/24 brd 192.168.43.255 scope global wlan0\n192.168.43.0/24 dev wlan0 proto kernel scope link src 192.168.43.10 \n"},
		{script: "ip addr show eth7", errs: "Device \"eth7\" does not exist.\n", code: 1},
		{script: "cat /proc/net/dev | grep wlan0", out: " wlan0:    1000      10    0    0    0     0          0         0     2000      20    0    0    0     0       0          0\n"},
		{script: "grep wlan0 /proc/net/xt_qtaguid/stats | head -n 1", out: "2 wlan0 0x0 10123 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"},
		{script: "cat /proc/uptime", out: "~^\\d+\\.\\d\\d \\d+\\.\\d\\d\n$"},
		{script: "cat /proc/$$/comm; cat /proc/999999/comm", out: "sh\n", errs: "No such file or directory", code: 1},
		{script: "cd /data/local/tmp; printf abc > m; sha256sum m; md5sum < m; wc m", out: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  m\n900150983cd24fb0d6963f7d28e17f72  -\n0 1 3 m\n"},
		{script: "cd /data/local/tmp; mkdir -p d/e; touch d/e/f; cp -r d d2; mv d2/e/f d2/g; find d2; rm -r d d2; ls d", out: "d2\nd2/e\nd2/g\n", errs: "ls: d: No such file or directory\n", code: 1},
		{script: "cd /data/local/tmp; touch p; chmod 640 p; chown shell:inet p; chcon u:object_r:x:s0 p; stat -c '%a %U %G %C' p; ls -l p | cut -c 1-24", out: "640 shell inet u:object_r:x:s0\n-rw-r----- 1 shell inet \n"},
		{script: "rm /nope; rm -f /nope; mkdir /data; rmdir /data/local", errs: "~rm: /nope: No such file or directory\nmkdir: '/data': File exists\nrmdir: '/data/local': Directory not empty\n", code: 1},
		{script: "touch /system/x; mkdir /vendor/y", errs: "touch: '/system/x': Read-only file system\nmkdir: '/vendor/y': Read-only file system\n", code: 1},
		{script: "mount -o rw,remount /system && touch /system/x && rm /system/x && mount -o ro,remount /system; touch /system/x", errs: "touch: '/system/x': Read-only file system\n", code: 1},
		{script: "printf 'a1\\nb2\\nc3\\n' | sed -n -e '2,$s/[0-9]/<&>/p'; echo aXbX | sed 's/X/-/g;s/^a/&&/'; printf '1\\n2\\n3\\n' | sed 2d; echo k=v | sed -E 's/(.)=(.)/\\2=\\1/'", out: "b<2>\nc<3>\naa-b-\n1\n3\nv=k\n"},
		{script: "printf 'one\\ntwo\\nthree\\n' | grep -n t; echo x | grep -q y; echo $?; printf 'a.b\\naxb\\n' | grep -F a.b; printf 'ab\\ncd\\n' | grep -v a; echo foo123 | grep -oE '[0-9]+'", out: "2:two\n3:three\n1\na.b\ncd\n123\n"},
		{script: "printf 'a:b:c\\n' | cut -d : -f 2-; printf '3\\n10\\n2\\n' | sort -n; printf 'x\\nx\\ny\\n' | uniq -c; seq 3 | tail -n 1; seq 2 | tee /data/local/tmp/t | wc -l; echo hi | base64; echo aGkK | base64 -d", out: "b:c\n2\n3\n10\n      2 x\n      1 y\n3\n2\naGkK\nhi\n"},
		{script: "echo one > /data/local/tmp/q; dd if=/data/local/tmp/q of=/data/local/tmp/r bs=2 count=1 2>/dev/null; cat /data/local/tmp/r", out: "on"},
		{script: "env | grep ANDROID_DATA; which tcpdump; basename /a/b.c .c; dirname /a/b", out: "ANDROID_DATA=/data\n/system/xbin/tcpdump\nb\n/a\n"},
		{script: "tcpdump -i nope0 -w -", errs: "tcpdump: nope0: No such device exists\n", code: 1},
		{script: "tcpdump -i wlan0 -w - 'port and'", errs: "tcpdump: syntax error\n", code: 1},
	} {
		t.Run(c.script, func(t *testing.T) {
			out, errs, code := p.run(t, c.script)
			if !matches(c.out, out, false) || !matches(c.errs, errs, true) || code != c.code {
				t.Errorf("stdout %q, stderr %q, status %d; wanted %q, %q, %d", out, errs, code, c.out, c.errs, c.code)
			}
		})
	}
}

func matches(want, got string, part bool) bool {
	switch {
	case want == "":
		return got == ""
	case want[0] == '~':
		return regexp.MustCompile(want[1:]).MatchString(got)
	case part || strings.HasSuffix(want, " "):
		return strings.Contains(got, strings.TrimSuffix(want, " "))
	}
	return got == want
}

func TestInputReachesTheScreen(t *testing.T) {
	p := newPhone(t)
	p.run(t, "input tap 10 20; input swipe 1 2 3 4 50; input text 'two%swords'; input keyevent KEYCODE_BACK 66; input keyevent 3; pm clear com.example.app")
	want := "tap 10,20; swipe 1,2 3,4 50ms; text [two words]; key 4; key 66; key 3; stop com.example.app; clear com.example.app"
	if got := p.screen.done(); got != want {
		t.Errorf("the screen got %q, wanted %q", got, want)
	}
}

func TestOneUIAutomatorAtATime(t *testing.T) {
	p := newPhone(t)
	out, errs, _ := p.run(t, "i=0; while [ $i -lt 6 ]; do uiautomator dump /sdcard/$i.xml & i=$((i+1)); done; wait")
	if strings.Count(out, "hierchary") == 0 || strings.Count(out, "hierchary")+strings.Count(errs, "already registered!") != 6 {
		t.Errorf("six dumps at once: %q %q", out, errs)
	}
}

func TestProxySetting(t *testing.T) {
	p := newPhone(t)
	for _, c := range []struct{ set, want string }{
		{"settings put global http_proxy localhost:8080", "localhost:8080"},
		{"settings put global http_proxy :0", ""},
		{"settings put global http_proxy null", ""},
		{"settings put global http_proxy nonsense", ""},
		{"settings put global http_proxy 10.0.0.1:3128", "10.0.0.1:3128"},
		{"settings delete global http_proxy", ""},
	} {
		p.run(t, c.set)
		if got := p.HTTPProxy(); got != c.want {
			t.Errorf("%s: proxy %q, wanted %q", c.set, got, c.want)
		}
	}
}

func TestSocketTables(t *testing.T) {
	p := newPhone(t)
	p.net.sockets = []userland.Socket{
		{Proto: "tcp", Local: netip.MustParseAddrPort("127.0.0.1:8080"), State: 10, UID: 2000, Inode: 7},
		{Proto: "tcp", IPv6: true, Local: netip.MustParseAddrPort("[::ffff:192.168.43.10]:43210"), Remote: netip.MustParseAddrPort("[::ffff:203.0.113.7]:443"), State: 1, UID: 10123, Inode: 20001},
		{Proto: "udp", Local: netip.MustParseAddrPort("192.168.43.10:53211"), Remote: netip.MustParseAddrPort("192.168.43.1:53"), State: 1, UID: 0, Inode: 9},
	}
	for file, want := range map[string]string{
		"tcp":  "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  2000        0 7 1 0000000000000000",
		"tcp6": "   0: 0000000000000000FFFF00000A2BA8C0:A8CA 0000000000000000FFFF0000077100CB:01BB 01 00000000:00000000 00:00000000 00000000 10123        0 20001 1 ",
		"udp":  ": 0A2BA8C0:CFDB 012BA8C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 9 2 0000000000000000 0",
	} {
		out, _, _ := p.run(t, "cat /proc/net/"+file)
		lines := strings.Split(out, "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], want) {
			t.Errorf("/proc/net/%s:\n%s\nwanted %q", file, out, want)
		}
	}
}

// certificate makes a root certificate with that name.
func certificate(t *testing.T, name string) (*x509.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{"A lab", "of two"}, Country: []string{"LT"}},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestSubjectHashIsOpenSSLs(t *testing.T) {
	openssl := peers.Require(t, "openssl")
	cert, encoded := certificate(t, "Hash Me")
	file := filepath.Join(t.TempDir(), "c.pem")
	if err := os.WriteFile(file, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), openssl, "x509", "-in", file, "-noout", "-subject_hash_old").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := userland.SubjectHashOld(cert); got != strings.TrimSpace(string(out)) {
		t.Errorf("hash %s, openssl says %s", got, out)
	}
}

// TestTrustFollowsTheStore installs a certificate as a rooted phone's owner
// would, and takes it away by unmounting and by a reboot.
func TestTrustFollowsTheStore(t *testing.T) {
	shipped, encoded := certificate(t, "Shipped")
	added, addedPEM := certificate(t, "Added")
	n := &fakeNetwork{taps: map[*fakeTap]string{}, up: true}
	s, err := userland.New(userland.Config{Identity: identity(t, ""), Network: n, Screen: &fakeScreen{}, Roots: encoded, Pace: 0.001})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	p := &phone{System: s, net: n}
	trusts := func(c *x509.Certificate) bool {
		_, err := c.Verify(x509.VerifyOptions{Roots: s.TrustedRoots(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err == nil
	}
	if !trusts(shipped) || trusts(added) {
		t.Fatal("the store is not as shipped")
	}
	if err := s.FS().Put("/data/local/tmp/added.0", bytes.NewReader(addedPEM), 0o644); err != nil {
		t.Fatal(err)
	}
	install := `set -e; S=/system/etc/security/cacerts; T=/data/local/tmp/store; rm -rf $T; mkdir $T; cp $S/* $T/
mount -t tmpfs mine $S; cp $T/* $S/; cp /data/local/tmp/added.0 $S/; chmod 644 $S/*; chcon u:object_r:system_file:s0 $S/*; ls $S | wc -l`
	if out, errs, code := p.run(t, install); out != "2\n" || code != 0 {
		t.Fatalf("install: %q %q %d", out, errs, code)
	}
	if !trusts(shipped) || !trusts(added) {
		t.Error("the added certificate is not trusted")
	}
	if m := s.Mounts(); len(m) != 1 || !strings.HasPrefix(m[0], "mine /system/etc/security/cacerts tmpfs ") {
		t.Errorf("mounts %q", m)
	}
	p.run(t, "umount -l /system/etc/security/cacerts")
	if trusts(added) || !trusts(shipped) || len(s.Mounts()) != 0 {
		t.Error("unmounting does not bring the store back")
	}
	p.run(t, install)
	p.run(t, "settings put global kept 1; sleep 100 >/dev/null 2>&1 &")
	s.Shutdown()
	s.Boot()
	s.Started()
	if trusts(added) || len(s.Mounts()) != 0 || len(s.SessionProcesses()) != 0 {
		t.Error("a mount or a process outlived the reboot")
	}
	if out, _, _ := p.run(t, "settings get global kept; ls /data/local/tmp/added.0"); out != "1\n/data/local/tmp/added.0\n" {
		t.Errorf("settings or files did not outlive the reboot: %q", out)
	}
}

func TestFileSystemIsBounded(t *testing.T) {
	now := time.Now()
	f := userland.NewFS(func() time.Time { return now })
	if err := f.MkdirAll("/a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.Symlink("/a/loop", "/a/loop"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stat("/a/loop/x"); err == nil {
		t.Error("a loop of links was followed to an end")
	}
	if err := f.Rename("/a", "/a/b/c"); err == nil {
		t.Error("a directory was moved below itself")
	}
	if err := f.Mount("t", "/a/b", "tmpfs", "rw", false); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveAll("/a"); err == nil {
		t.Error("a directory with a mount below it was removed")
	}
	if err := f.WriteFile("/a/b/f", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Unmount("/a/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadFile("/a/b/f"); err == nil {
		t.Error("a file outlived its mount")
	}
	full := error(nil)
	for i := 0; i < 1<<17 && full == nil; i++ {
		full = f.WriteFile("/a/"+itoa(i), nil, 0o644)
	}
	if full == nil {
		t.Error("there is no end of files")
	}
}

func FuzzPaths(f *testing.F) {
	f.Add("/a/../b", "/x//y/.", "l")
	f.Add("", "/", "..")
	f.Add("/d/l/l", "d", "/d/l")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		now := time.Now()
		v := userland.NewFS(func() time.Time { return now })
		for _, err := range []error{
			v.MkdirAll("/d", 0o755), v.Symlink(a, "/d/l"), v.MkdirAll(a, 0o755), v.WriteFile(b, []byte(a), 0o600),
			v.Mount("m", b, "tmpfs", "rw", false), v.Mount(a, c, "", "", true), v.Rename(a, c), v.Symlink(b, c),
			v.Remove(b), v.Unmount(b), v.RemoveAll(a),
		} {
			_ = err // any answer will do
		}
		if _, err := v.Stat("/"); err != nil {
			t.Errorf("the root is gone: %v", err)
		}
		if list, err := v.ReadDir("/d"); err == nil {
			for _, info := range list {
				if info.Mode()&fs.ModeType&^(fs.ModeDir|fs.ModeSymlink) != 0 {
					t.Errorf("a file of mode %v", info.Mode())
				}
			}
		}
	})
}
