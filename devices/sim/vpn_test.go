package sim_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/internal/peers"
)

const ctrl = "com.emanuelef.remote_capture/.activities.CaptureCtrl"

// dump is where the tests have PCAPdroid write.
const dump = "/sdcard/Download/PCAPdroid/t.pcap"

func withPCAPdroid() sim.PhoneConfig { return sim.PhoneConfig{Capture: []string{"pcapdroid"}} }

// control sends PCAPdroid an intent with the phone's key.
func (b bench) control(extras string) string {
	return b.says("am start -e api_key " + b.p.PCAPdroidKey() + " " + extras + " -n " + ctrl)
}

func (b bench) record(extras string) {
	b.t.Helper()
	b.control("-e action start -e pcap_dump_mode pcap_file -e pcap_name t.pcap -e dump_extensions true " + extras)
	until(b.t, "PCAPdroid records", func() bool { return strings.Contains(b.says("cat /proc/net/dev"), "tun0:") })
}

// dial connects to a port of the phone through the ADB server.
func (b bench) dial(port int) net.Conn {
	b.t.Helper()
	conn, err := net.DialTimeout("tcp", b.w.ADB(), patience) //nolint:noctx // A test.
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = conn.Close() })
	for _, request := range []string{"host:transport:" + b.serial, fmt.Sprintf("tcp:%d", port)} {
		answer := make([]byte, 4)
		if _, err = fmt.Fprintf(conn, "%04x%s", len(request), request); err == nil {
			_, err = io.ReadFull(conn, answer)
		}
		if err != nil || string(answer) != "OKAY" {
			b.t.Fatalf("%s: %q, %v", request, answer, err)
		}
	}
	return conn
}

// TestPCAPdroidRecords follows a capture as the shell sees it.
func TestPCAPdroidRecords(t *testing.T) {
	b := newBench(t, withPCAPdroid())
	if got := b.says("dumpsys activity services com.emanuelef.remote_capture"); !strings.Contains(got, "(nothing)") {
		t.Errorf("before: %s", got)
	}
	said := b.control("-e action get_status")
	if strings.Contains(said, "running") || !strings.HasPrefix(said, "Starting: Intent { cmp="+ctrl+" (has extras) }") {
		t.Errorf("a shell is answered %q", said)
	}
	until(t, "the log shows the question", func() bool { return strings.Contains(b.says("logcat -d -s CaptureCtrl:D"), "Returning status") })
	b.record("-e ip_mode both")
	for script, want := range map[string]string{
		"dumpsys activity services com.emanuelef.remote_capture": "isForeground=true",
		"ip -o -4 addr show tun0":                                "tun0    inet 10.215.173.1/30 scope global tun0",
		"ip addr show tun0":                                      "<POINTOPOINT,UP,LOWER_UP> mtu 10000",
		"dumpsys connectivity":                                   "type: VPN[]",
		"appops get com.emanuelef.remote_capture ACTIVATE_VPN":   "ACTIVATE_VPN: allow",
	} {
		if got := b.says(script); !strings.Contains(got, want) {
			t.Errorf("%s says %q; wanted %q", script, got, want)
		}
	}
	b.says("ping -c 1 -W 1 abc.beacon.invalid; ping -c 1 duckduckgo.com")
	until(t, "packets are in the dump", func() bool { return strings.Contains(b.says("cat "+dump), "\x06beacon\x07invalid") })
	b.control("-e action stop")
	until(t, "PCAPdroid has stopped", func() bool { return !strings.Contains(b.says("cat /proc/net/dev"), "tun0:") })
	until(t, "the log says so", func() bool { return strings.Contains(b.says("logcat -d -s CaptureCtrl:D"), "notifyCaptureStopped: ") })
	// A reader that was written by others understands the dump.
	file := filepath.Join(t.TempDir(), "t.pcap")
	if err := os.WriteFile(file, []byte(b.says("cat "+dump)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), peers.Require(t, "tshark"), "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", //nolint:gosec // The test's own file.
		"-T", "fields", "-e", "ip.src", "-e", "ip.dst", "-e", "udp.dstport", "-e", "ip.checksum.status", "-e", "udp.checksum.status", "-e", "dns.qry.name").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "10.215.173.1\t10.215.173.2\t53\t1\t1\tabc.beacon.invalid"; !bytes.Contains(out, []byte(want)) {
		t.Errorf("tshark sees no %q in\n%s", want, out)
	}
	if bytes.Contains(out, []byte("\t0\t")) {
		t.Errorf("a checksum is wrong:\n%s", out)
	}
}

// TestPCAPdroidNeedsItsKey: without it a window asks the phone's owner.
func TestPCAPdroidNeedsItsKey(t *testing.T) {
	b := newBench(t, withPCAPdroid())
	for _, key := range []string{"", "-e api_key wrong "} {
		b.says("am start " + key + "-e action start -e pcap_dump_mode pcap_file -e pcap_name t.pcap -n " + ctrl)
		if got := b.says("dumpsys activity activities"); !strings.Contains(got, "mResumedActivity: ActivityRecord{90d3d50 u0 "+ctrl) {
			t.Errorf("no window asks: %s", got)
		}
		if strings.Contains(b.says("cat /proc/net/dev"), "tun0:") {
			t.Error("it records without the key")
		}
		b.says("input keyevent 4")
		if got := b.says("dumpsys activity activities"); strings.Contains(got, "mResumedActivity: ActivityRecord{90d3d50 u0 "+ctrl) {
			t.Error("BACK does not refuse")
		}
	}
}

// TestPCAPdroidServesItsDump: whoever asks for it reads it as it grows.
func TestPCAPdroidServesItsDump(t *testing.T) {
	b := newBench(t, withPCAPdroid())
	b.control("-e action start -e pcap_dump_mode http_server -e http_server_port 8099")
	until(t, "PCAPdroid records", func() bool { return strings.Contains(b.says("cat /proc/net/dev"), "tun0:") })
	conn := b.dial(8099)
	if _, err := fmt.Fprintf(conn, "GET /x.pcap HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte, 1)
	answered := make(chan struct{}) // once the dump is served, what comes later is in it
	go func() {
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := conn.Read(buf)
			if all == nil {
				close(answered)
			}
			all = append(all, buf[:n]...)
			if err != nil {
				got <- all
				return
			}
		}
	}()
	select {
	case <-answered:
	case <-time.After(patience):
		t.Fatal("the dump is not served")
	}
	b.says("ping -c 1 -W 1 abc.beacon.invalid")
	b.control("-e action stop")
	select {
	case all := <-got:
		if !bytes.Contains(all, []byte("\xd4\xc3\xb2\xa1")) || !bytes.Contains(all, []byte("\x06beacon\x07invalid")) || !bytes.HasSuffix(all, []byte("0\r\n\r\n")) {
			t.Errorf("%q", all)
		}
	case <-time.After(patience):
		t.Fatal("the stream does not end")
	}
}

// vpnCases are the faults of PCAPdroid.
func vpnCases() map[string]faultCase {
	const asks = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do ping -c 1 -W 1 n$i.gap.invalid >/dev/null 2>&1; done; "
	// missed counts the packets that passed the tunnel and are not in the dump.
	missed := func(t *testing.T, b bench) int {
		t.Helper()
		b.control("-e action stop")
		until(t, "PCAPdroid has stopped", func() bool { return !strings.Contains(b.says("cat /proc/net/dev"), "tun0:") })
		b.record("")
		b.says(asks)
		time.Sleep(30 * time.Millisecond)
		var rx, tx int
		for line := range strings.Lines(b.says("cat /proc/net/dev")) {
			var skip int
			if _, err := fmt.Sscanf(strings.TrimSpace(line), "tun0: %d %d %d %d %d %d %d %d %d %d", &skip, &rx, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &tx); err == nil {
				break
			}
		}
		b.control("-e action stop")
		until(t, "PCAPdroid has stopped", func() bool { return !strings.Contains(b.says("cat /proc/net/dev"), "tun0:") })
		return rx + tx - strings.Count(b.says("cat "+dump), "\x01\x07\x20\x21")
	}
	// sent is what an app's sockets sent by an interface, by the kernel's count.
	sent := func(t *testing.T, b bench, iface string, uid int) (bytes int) {
		t.Helper()
		for line := range strings.Lines(b.says("cat /proc/net/xt_qtaguid/stats")) {
			f := strings.Fields(line)
			if len(f) > 8 && f[1] == iface && f[3] == strconv.Itoa(uid) {
				n, _ := strconv.Atoi(f[7])
				bytes += n
			}
		}
		return bytes
	}
	const shell, app = 2000, 10144
	return map[string]faultCase{
		"past-vpn": {
			pc: sim.PhoneConfig{Capture: []string{"pcapdroid"}, Root: sim.RootNone}, arg: "com.android.shell",
			before: func(t *testing.T, b bench) {
				b.record("")
				b.says(asks)
				until(t, "the tunnel carries it", func() bool { return sent(t, b, "tun0", shell) > 0 })
				if n := sent(t, b, "wlan0", app); n == 0 {
					t.Error("the app sends nothing of it")
				}
			},
			during: func(t *testing.T, b bench) {
				inside, beside := sent(t, b, "tun0", shell), sent(t, b, "wlan0", shell)
				b.says(asks)
				if n := sent(t, b, "wlan0", shell); n <= beside {
					t.Errorf("nothing went past the tunnel: %d bytes and then %d", beside, n)
				}
				if n := sent(t, b, "tun0", shell); n != inside {
					t.Errorf("the tunnel had %d bytes and has %d", inside, n)
				}
			},
			after: func(t *testing.T, b bench) {
				beside, carried := sent(t, b, "wlan0", shell), sent(t, b, "wlan0", app)
				b.says(asks)
				if n := sent(t, b, "wlan0", shell); n != beside {
					t.Errorf("%d bytes went past the tunnel", n-beside)
				}
				if n := sent(t, b, "wlan0", app); n <= carried {
					t.Error("the app sends nothing of it")
				}
			},
		},
		"pcapdroid-stops": {
			pc: withPCAPdroid(), before: func(_ *testing.T, b bench) { b.record("") },
			during: both(lacks("cat /proc/net/dev", "tun0:"), sees("dumpsys activity services com.emanuelef.remote_capture", "(nothing)")),
		},
		"pcapdroid-empty": {
			pc: withPCAPdroid(),
			during: func(t *testing.T, b bench) {
				b.record("")
				b.says(asks)
				time.Sleep(30 * time.Millisecond)
				if got := b.says("wc -c < " + dump); strings.TrimSpace(got) != "0" {
					t.Errorf("the dump has %s bytes", got)
				}
			},
			after: func(t *testing.T, b bench) {
				until(t, "packets are in the dump", func() bool {
					return !strings.Contains(b.says(asks+"wc -c < "+dump), "0\n") || !strings.HasPrefix(b.says("wc -c < "+dump), "0")
				})
			},
		},
		"pcapdroid-gap": {
			pc: withPCAPdroid(),
			during: func(t *testing.T, b bench) {
				b.record("")
				if n := missed(t, b); n < 6 {
					t.Errorf("%d packets are missing", n)
				}
			},
			after: func(t *testing.T, b bench) {
				b.record("")
				if n := missed(t, b); n > 0 {
					t.Errorf("%d packets are missing", n)
				}
			},
		},
		"vpn-consent": {
			pc: withPCAPdroid(),
			during: func(t *testing.T, b bench) {
				sees("appops get com.emanuelef.remote_capture ACTIVATE_VPN", "Default mode: ignore")(t, b)
				b.control("-e action start -e pcap_dump_mode pcap_file -e pcap_name t.pcap")
				until(t, "Android asks", func() bool {
					return strings.Contains(b.says("dumpsys activity activities"), "mResumedActivity: ActivityRecord{90d3d50 u0 com.android.vpndialogs/.ConfirmDialog")
				})
				lacks("cat /proc/net/dev", "tun0:")(t, b)
				b.says("input keyevent 4")
			},
			after: func(_ *testing.T, b bench) { b.record("") },
		},
	}
}
