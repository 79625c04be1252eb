package internet_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/internal/peers"
)

// A dump collects the frames of a tap.
type dump struct {
	mu     sync.Mutex
	times  []time.Time
	frames [][]byte
}

func (d *dump) add(at time.Time, frame []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, at)
	d.frames = append(d.frames, frame)
}

// pcap is the dump as a file of classic pcap with nanoseconds.
func (d *dump) pcap() []byte {
	var b bytes.Buffer
	le := binary.LittleEndian
	head := le.AppendUint32(nil, 0xa1b23c4d)
	head = le.AppendUint16(head, 2)
	head = le.AppendUint16(head, 4)
	head = append(head, make([]byte, 8)...)
	head = le.AppendUint32(head, 262144)
	head = le.AppendUint32(head, 1)
	b.Write(head)
	for i, f := range d.frames {
		rec := le.AppendUint32(nil, uint32(d.times[i].Unix()))
		rec = le.AppendUint32(rec, uint32(d.times[i].Nanosecond()))
		rec = le.AppendUint32(rec, uint32(len(f)))
		rec = le.AppendUint32(rec, uint32(len(f)))
		b.Write(rec)
		b.Write(f)
	}
	return b.Bytes()
}

// traffic makes a phone do some of everything.
func traffic(t *testing.T, n *internet.Internet, phone *internet.Stack) {
	t.Helper()
	for _, network := range []string{"tcp4", "tcp6"} {
		c := client(t, n, phone, network)
		for _, url := range []string{"http://site.example/", "https://site.example/"} {
			r, err := c.Post(url, "text/plain", strings.NewReader(strings.Repeat("up ", 30_000)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
		}
		c.CloseIdleConnections()
	}
	if _, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:9"); err == nil {
		t.Fatal("a closed port answered")
	}
	if _, err := phone.Resolve(t.Context(), appUID, "nonce.example"); err == nil {
		t.Fatal("an unknown name was found")
	}
	for _, host := range []string{"site.example", "2001:db8:43::1"} {
		if _, err := phone.Ping(t.Context(), host, 56); err != nil {
			t.Fatal(err)
		}
	}
}

func echoWorld(t *testing.T) (*internet.Internet, *internet.Stack) {
	t.Helper()
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Error(err)
		}
	})})
	return n, attach(t, n, "p")
}

// settle waits until no packet has passed for a moment: connections say their
// last words after their users have gone.
func settle(t *testing.T, phone *internet.Stack) {
	t.Helper()
	last, quiet := phone.Counters(), 0
	until(t, "the phone falls silent", func() bool {
		now := phone.Counters()
		if fmt.Sprint(now) != fmt.Sprint(last) {
			last, quiet = now, 0
			return false
		}
		quiet++
		return quiet > 50
	})
}

func TestCountersAreWhatTheTapShows(t *testing.T) {
	n, phone := echoWorld(t)
	var d dump
	tap := phone.OpenTap("wlan0", d.add)
	traffic(t, n, phone)
	settle(t, phone)
	tap.Stop()
	if tap.Dropped() != 0 || int(tap.Seen()) != len(d.frames) {
		t.Errorf("tap saw %d frames, dropped %d, showed %d", tap.Seen(), tap.Dropped(), len(d.frames))
	}
	mac := []byte(phone.MAC())
	var want internet.Counters
	for i, f := range d.frames {
		switch {
		case bytes.Equal(f[6:12], mac):
			want.TxPackets++
			want.TxBytes += uint64(len(f))
		case bytes.Equal(f[:6], mac):
			want.RxPackets++
			want.RxBytes += uint64(len(f))
		default:
			t.Errorf("frame %d is neither from nor to the phone", i)
		}
		if i > 0 && d.times[i].Before(d.times[i-1]) {
			t.Errorf("frame %d goes back in time", i)
		}
		if len(f) > 1514 {
			t.Errorf("frame %d has %d bytes", i, len(f))
		}
	}
	got := phone.Counters()["wlan0"]
	if got != want {
		t.Errorf("counters %+v, tap %+v", got, want)
	}
	if want.TxBytes < 360_000 || want.RxBytes < 360_000 {
		t.Errorf("the tap shows less than was sent: %+v", want)
	}
	var users internet.Counters
	for _, c := range phone.UIDCounters() {
		users.TxBytes += c.TxBytes + 14*c.TxPackets
		users.TxPackets += c.TxPackets
		users.RxBytes += c.RxBytes + 14*c.RxPackets
		users.RxPackets += c.RxPackets
	}
	if users != want {
		t.Errorf("the users' counters add up to %+v, want %+v", users, want)
	}
	if app := phone.UIDCounters()[appUID]; app.TxBytes < 360_000 {
		t.Errorf("the app's share: %+v", app)
	}
	if kernel := phone.UIDCounters()[0]; kernel.TxBytes != 0 {
		t.Errorf("bytes that left without an owner: %+v", kernel)
	}
}

func TestTapOfLoopbackAndUnknownInterface(t *testing.T) {
	_, phone := echoWorld(t)
	var lo, none dump
	stopLo, stopNone := phone.Tap("lo", lo.add), phone.Tap("rmnet0", none.add)
	if _, err := phone.Ping(t.Context(), "127.0.0.1", 56); err != nil {
		t.Fatal(err)
	}
	stopLo()
	stopNone()
	if len(lo.frames) != 2 || len(none.frames) != 0 {
		t.Errorf("a ping of itself made %d frames on lo and %d elsewhere", len(lo.frames), len(none.frames))
	}
}

func TestSlowTapCountsItsLoss(t *testing.T) {
	n, phone := echoWorld(t)
	release := make(chan struct{})
	var shown int
	tap := phone.OpenTap("wlan0", func(time.Time, []byte) {
		<-release
		shown++
	})
	c := client(t, n, phone, "tcp")
	chunk := bytes.Repeat([]byte{'x'}, 1<<20)
	for tap.Dropped() == 0 {
		r, err := c.Post("http://site.example/", "text/plain", bytes.NewReader(chunk))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.Copy(io.Discard, r.Body); err != nil || got != int64(len(chunk)) {
			t.Fatalf("a stuck tap cost the network: %d bytes, %v", got, err)
		}
		r.Body.Close()
	}
	close(release)
	tap.Stop()
	if uint64(shown)+tap.Dropped() != tap.Seen() {
		t.Errorf("seen %d, shown %d, dropped %d", tap.Seen(), shown, tap.Dropped())
	}
	if bytes := uint64(shown) * 1514; bytes < internet.TapLimit/2 {
		t.Errorf("only %d frames were kept", shown)
	}
}

func TestTsharkReadsTheTap(t *testing.T) {
	tshark := peers.Require(t, "tshark")
	n, phone := echoWorld(t)
	for _, iface := range []string{"wlan0", "lo"} {
		var d dump
		stop := phone.Tap(iface, d.add)
		if iface == "wlan0" {
			traffic(t, n, phone)
		} else {
			ln, err := phone.Listen(0, "tcp", "127.0.0.1:8080")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: hello(), ReadHeaderTimeout: limit}
			served := make(chan error)
			go func() { served <- server.Serve(ln) }()
			get(t, client(t, n, phone, "tcp"), "http://127.0.0.1:8080/")
			server.Close()
			<-served
		}
		settle(t, phone)
		stop()
		file := filepath.Join(t.TempDir(), iface+".pcap")
		if err := os.WriteFile(file, d.pcap(), 0o600); err != nil {
			t.Fatal(err)
		}
		check := []string{"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"}
		run := func(args ...string) string {
			cmd := exec.CommandContext(t.Context(), tshark, append(append([]string{"-n", "-r", file}, check...), args...)...)
			var errText strings.Builder
			cmd.Stderr = &errText
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("tshark: %v: %s", err, errText.String())
			}
			return strings.TrimSpace(string(out))
		}
		bad := `_ws.malformed || ip.checksum.status == "Bad" || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad" || icmp.checksum.status == "Bad" || icmpv6.checksum.status == "Bad" || tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment`
		if out := run("-Y", bad); out != "" {
			t.Errorf("%s: tshark objects to\n%s", iface, out)
		}
		if out := run("-Y", `tcp.checksum.status == "Good"`, "-T", "fields", "-e", "frame.number"); out == "" {
			t.Errorf("%s: tshark checked no checksum", iface)
		}
		frames := strings.Fields(run("-T", "fields", "-e", "frame.len"))
		total := 0
		for _, f := range frames {
			v, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			total += v
		}
		if len(frames) != len(d.frames) {
			t.Errorf("%s: tshark read %d frames of %d", iface, len(frames), len(d.frames))
		}
		if iface != "wlan0" {
			continue
		}
		if c := phone.Counters()["wlan0"]; uint64(total) != c.TxBytes+c.RxBytes {
			t.Errorf("tshark counts %d bytes, the phone %+v", total, c)
		}
		names := run("-Y", "tls.handshake.extensions_server_name", "-T", "fields", "-e", "tls.handshake.extensions_server_name")
		if names != "site.example\nsite.example" {
			t.Errorf("names in TLS: %q", names)
		}
		asked := run("-Y", "dns.flags.response == 1", "-T", "fields", "-e", "dns.qry.name", "-e", "dns.flags.rcode")
		if !strings.Contains(asked, "nonce.example\t3") || !strings.Contains(asked, "site.example\t0") {
			t.Errorf("names in DNS: %q", asked)
		}
	}
}

func TestMacsAndAddresses(t *testing.T) {
	n := newWorld(t)
	a, b := attach(t, n, "a"), attach(t, n, "b")
	if bytes.Equal(a.MAC(), b.MAC()) {
		t.Errorf("both phones have %s", a.MAC())
	}
	nets := []netip.Prefix{netip.MustParsePrefix("192.168.43.0/24"), netip.MustParsePrefix("2001:db8:43::/64"), netip.MustParsePrefix("fe80::/64")}
	for i, p := range a.Addrs("wlan0") {
		if p.Masked() != nets[i] || p == b.Addrs("wlan0")[i] {
			t.Errorf("addresses %s and %s", p, b.Addrs("wlan0")[i])
		}
	}
	if len(a.Addrs("lo")) != 2 || a.Addrs("rmnet0") != nil {
		t.Errorf("lo %v, rmnet0 %v", a.Addrs("lo"), a.Addrs("rmnet0"))
	}
	for i := range 240 {
		if _, err := n.Attach(internet.StackConfig{Name: strconv.Itoa(i)}); err != nil {
			if i < 200 || errors.Is(err, internet.ErrClosed) {
				t.Errorf("phone %d: %v", i, err)
			}
			return
		}
	}
}
