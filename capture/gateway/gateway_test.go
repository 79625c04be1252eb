package gateway_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offproof/offproof/capture/gateway"
	"github.com/offproof/offproof/internal/peers"
)

// A phone answers scripts with words, and asks a name by what asks holds.
type phone struct {
	address string
	asks    func(ctx context.Context, name string)
	err     error
}

func (p *phone) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	if p.err != nil {
		return nil, nil, 0, p.err
	}
	if name, ok := strings.CutPrefix(script, "ping -c 1 -W 1 "); ok {
		if p.asks != nil {
			p.asks(ctx, name)
		}
		return nil, nil, 2, nil
	}
	return []byte(p.address), nil, 0, nil
}

const mac = "f4:60:e2:01:02:03"

// octal is bytes as printf of a shell takes them.
func octal(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\%03o`, c)
	}
	return s.String()
}

const fileHeader = "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00\x00"

// fakeGateway is a program that writes a packet with every name that is put into
// its pipe, and ends with its input.
func fakeGateway(t *testing.T, lastly string) (command []string, p *phone) {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "names")
	if out, err := exec.CommandContext(t.Context(), peers.Require(t, "mkfifo"), pipe).CombinedOutput(); err != nil { //nolint:gosec // The test's own folder.
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	script := `[ "$2" = ` + mac + ` ] || exit 9
printf '` + octal([]byte(fileHeader)) + `'
{ while :; do while IFS= read -r line; do printf "$line"; done <"$1"; done; } & p=$!
cat >/dev/null
kill $p
wait $p 2>/dev/null
` + lastly
	p = &phone{address: mac + "\n", asks: func(_ context.Context, name string) {
		wire := "............"
		for label := range strings.SplitSeq(name, ".") {
			wire += string(rune(len(label))) + label
		}
		now := time.Now()
		record := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))              //nolint:gosec // Until 2106.
		record = binary.LittleEndian.AppendUint32(record, uint32(now.Nanosecond()/1000)) //nolint:gosec // Below a million.
		record = append(record, byte(len(wire)), 0, 0, 0, byte(len(wire)), 0, 0, 0)
		f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = f.WriteString(octal(append(record, wire...)) + "\n")
		_ = f.Close()
	}}
	return []string{peers.Require(t, "bash"), "-c", script, "gateway", pipe, gateway.PlaceMAC}, p
}

// TestInputEndsTheRecording: a gateway that is interrupted over there says what
// it lost, and nothing that a beacon proved is missing.
func TestInputEndsTheRecording(t *testing.T) {
	command, p := fakeGateway(t, "echo '3 packets captured' >&2; echo '0 packets dropped by kernel' >&2")
	b := gateway.New(p, gateway.Options{Command: command})
	if a, err := b.Probe(t.Context()); err != nil || !a.OK || !strings.Contains(a.Sees, mac) {
		t.Fatalf("probe: %+v, %v", a, err)
	}
	s, err := b.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, nonce := range []string{"one", "two"} {
		if _, err := s.Beacon(t.Context(), nonce); err != nil {
			t.Fatal(err)
		}
	}
	trace, err := s.Stop(t.Context())
	h := trace.Health
	if err != nil || h.Truncated || h.Packets != 3 || h.Dropped == nil || *h.Dropped != 0 || len(h.Problems) > 0 || trace.Clock == nil {
		t.Errorf("trace %+v, %v", trace, err)
	}
	if again, err := s.Stop(t.Context()); err != nil || again.Packets != trace.Packets {
		t.Errorf("a second stop: %+v, %v", again, err)
	}
}

// What the gateway's interface lost is what the phone sent: there it is no matter
// of what was received.
func TestDropsOfTheInterface(t *testing.T) {
	command, p := fakeGateway(t, "echo '1 packet captured' >&2; echo '0 packets dropped by kernel' >&2; echo '7 packets dropped by interface' >&2")
	s, err := gateway.New(p, gateway.Options{Command: command}).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trace, err := s.Stop(t.Context())
	if err != nil || len(trace.Health.Problems) != 1 || !strings.Contains(trace.Health.Problems[0], "dropped 7 packets") {
		t.Errorf("health %+v, %v", trace.Health, err)
	}
}

// TestEarlyEnd: whatever ends the command before it was asked to is a recording
// that died.
func TestEarlyEnd(t *testing.T) {
	command, p := fakeGateway(t, "")
	dead := filepath.Join(t.TempDir(), "pid")
	command[2] = "echo $$ >" + dead + "\n" + command[2]
	s, err := gateway.New(p, gateway.Options{Command: command}).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(dead) //nolint:gosec // The test's own file.
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid < 2 {
		t.Fatalf("process %q", text)
	}
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	trace, err := s.Stop(t.Context())
	if h := trace.Health; err != nil || !h.Truncated || h.Died.IsZero() || !strings.Contains(strings.Join(h.Problems, " "), "ended by itself") {
		t.Errorf("health %+v, %v", h, err)
	}
}

func TestStartFails(t *testing.T) {
	quick := gateway.Options{StopWait: 200 * time.Millisecond, BeaconTries: 1, BeaconWait: 300 * time.Millisecond}
	header := "printf '" + octal([]byte(fileHeader)) + "'; "
	for _, c := range []struct {
		name    string
		command []string
		address string
		want    string
	}{
		{"says nothing of the phone", []string{"sh", "-c", header + "cat >/dev/null", gateway.PlaceMAC}, mac, "was not seen"},
		{"cannot log in", []string{"sh", "-c", "echo 'Permission denied (publickey).' >&2; exit 255", gateway.PlaceMAC}, mac, "Permission denied"},
		{"writes pcapng", []string{"sh", "-c", `printf '\012\015\015\012\034\000\000\000\115\074\053\032\001\000\000\000\377\377\377\377'; cat >/dev/null`, gateway.PlaceMAC}, mac, "dumpcap -P"},
		{"is not there", []string{"/nonexistent/ssh", gateway.PlaceMAC}, mac, "no such file"},
		{"records everybody", []string{"sh", "-c", "true"}, mac, "{mac}"},
		{"ignores signals and its input", []string{"sh", "-c", "trap '' INT TERM; " + header + "while :; do sleep 1; done", gateway.PlaceMAC}, mac, "was not seen"},
		{"an address that Android hides", []string{"sh", "-c", "true", gateway.PlaceMAC}, "02:00:00:00:00:00\n", "mac:"},
		{"no address", []string{"sh", "-c", "true", gateway.PlaceMAC}, "cat: Permission denied\n$(reboot)", "mac:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, o := t.TempDir(), quick
			o.Command = c.command
			s, err := gateway.New(&phone{address: c.address}, o).Start(t.Context(), dir)
			if err == nil {
				_, _ = s.Stop(t.Context())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	good := []string{"sh", "-c", "true", gateway.PlaceMAC}
	lost := errors.New("the phone is gone")
	for _, c := range []struct {
		name   string
		phone  phone
		o      gateway.Options
		reason string // empty for able
		err    error
	}{
		{"able", phone{address: mac + "\n"}, gateway.Options{Command: good}, "", nil},
		{"by ip", phone{address: "12: wlan0: <BROADCAST,UP> mtu 1500 qdisc mq state UP \\    link/ether F4:60:E2:01:02:03 brd ff:ff:ff:ff:ff:ff\n"}, gateway.Options{Command: good}, "", nil},
		{"by the bench", phone{}, gateway.Options{Command: good, MAC: "F4-60-E2-01-02-03"}, "", nil},
		{"by the bench, wrongly", phone{}, gateway.Options{Command: good, MAC: "f4:60; reboot"}, "no hardware address", nil},
		{"hidden", phone{address: "02:00:00:00:00:00"}, gateway.Options{Command: good}, "does not tell", nil},
		{"no program", phone{address: mac}, gateway.Options{Command: []string{"/nonexistent/ssh", gateway.PlaceMAC}}, "cannot be run", nil},
		{"no command", phone{address: mac}, gateway.Options{}, "names no program", nil},
		{"an interface that is none", phone{address: mac}, gateway.Options{Command: good, Interface: "a b"}, "not the name", nil},
		{"lost", phone{err: lost}, gateway.Options{Command: good}, "", lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, err := gateway.New(&c.phone, c.o).Probe(t.Context())
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("got %v", err)
			}
			if err == nil && (a.OK != (c.reason == "") || !strings.Contains(a.Reason, c.reason)) {
				t.Errorf("got %+v", a)
			}
		})
	}
}

// TestGenuineRecorders runs the programs that a gateway has, in a network of
// their own.
func TestGenuineRecorders(t *testing.T) {
	ns := peers.NewNamespace(t)
	for program, args := range map[string][]string{
		"tcpdump": {"-i", "lo", "-U", "-n", "-w", "-", "udp port 53 or ether host " + gateway.PlaceMAC},
		"dumpcap": {"-q", "-i", "lo", "-P", "-w", "-", "-f", "udp port 53 or ether host " + gateway.PlaceMAC},
	} {
		t.Run(program, func(t *testing.T) {
			command := ns.Command(t.Context(), peers.Require(t, program), args...).Args
			p := &phone{address: mac, asks: func(ctx context.Context, name string) {
				q := "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
				for label := range strings.SplitSeq(name, ".") {
					q += string(rune(len(label))) + label
				}
				send := ns.Command(ctx, peers.Require(t, "bash"), "-c", "printf '"+octal([]byte(q+"\x00\x00\x01\x00\x01"))+"' >/dev/udp/127.0.0.1/53")
				if out, err := send.CombinedOutput(); err != nil {
					t.Errorf("ask: %v: %s", err, out)
				}
			}}
			s, err := gateway.New(p, gateway.Options{Command: command, StopWait: 2 * time.Second}).Start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Beacon(t.Context(), "again"); err != nil {
				t.Error(err)
			}
			trace, err := s.Stop(t.Context())
			h := trace.Health
			if err != nil || h.Truncated || h.Packets < 2 || len(h.Problems) > 0 || h.Dropped == nil || *h.Dropped != 0 {
				t.Errorf("health %+v, %v", h, err)
			}
			if c := trace.Clock; c == nil || c.Ahead.Abs() > c.Uncertainty+time.Millisecond {
				t.Errorf("this host's own clock is taken for %+v", trace.Clock)
			}
		})
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("F4-60-E2-01-02-03")
	f.Add(mac + "\n")
	f.Add("f4:60:e2:01:02:03; reboot")
	f.Fuzz(func(t *testing.T, text string) {
		got := gateway.ParseMAC(text)
		if got == "" {
			return
		}
		if parsed, err := net.ParseMAC(got); err != nil || parsed.String() != got || strings.ContainsAny(got, " ;'\"$`|&\n") {
			t.Fatalf("%q out of %q", got, text)
		}
	})
}
