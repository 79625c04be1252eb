package userland_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/userland"
)

// udpFrame is an Ethernet frame with a UDP datagram over IPv4.
func udpFrame(srcPort, dstPort uint16, payload string) []byte {
	b := []byte{2, 0, 0, 0, 0, 9}
	b = append(b, wlanMAC...)
	b = append(b, 8, 0, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(28+len(payload))) //nolint:gosec // Short.
	b = append(b, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 43, 10, 203, 0, 113, 7)
	b = binary.BigEndian.AppendUint16(b, srcPort)
	b = binary.BigEndian.AppendUint16(b, dstPort)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload))) //nolint:gosec // Short.
	return append(append(b, 0, 0), payload...)
}

// A live is a command that runs while the test goes on.
type live struct {
	ses  *userland.Session
	mu   sync.Mutex
	out  bytes.Buffer
	errs bytes.Buffer
}

func start(t *testing.T, p *phone, script string) *live {
	t.Helper()
	l := &live{}
	into := func(b *bytes.Buffer) func([]byte) error {
		return func(data []byte) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			b.Write(data)
			return nil
		}
	}
	var err error
	l.ses, err = p.Open(t.Context(), script, userland.Separate, userland.StdIO{Out: into(&l.out), Err: into(&l.errs)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.ses.Close)
	return l
}

func (l *live) text() (out []byte, errs string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.out.Bytes()), l.errs.String()
}

// until waits for something to become true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// dump starts tcpdump as a harness does, and returns its pid.
func dump(t *testing.T, p *phone, args string) (l *live, pid string) {
	t.Helper()
	l = start(t, p, "echo $$ >&2; exec tcpdump "+args)
	until(t, "tcpdump listens", func() bool {
		_, errs := l.text()
		return strings.Contains(errs, "listening on")
	})
	_, errs := l.text()
	pid, _, _ = strings.Cut(errs, "\n")
	return l, pid
}

var summaryLine = regexp.MustCompile(`(\d+) packets? captured\n(\d+) packets? received by filter\n(\d+) packets? dropped by kernel\n$`)

// counts are the figures of tcpdump's summary.
func counts(t *testing.T, errs string) [3]int {
	t.Helper()
	m := summaryLine.FindStringSubmatch(errs)
	if m == nil {
		t.Fatalf("no summary in %q", errs)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1])
	}
	return n
}

func TestTcpdump(t *testing.T) {
	p := newPhone(t)
	l, pid := dump(t, p, "-i wlan0 -U -s 0 -n -w -")
	if _, errs := l.text(); !strings.HasSuffix(errs, "\ntcpdump: listening on wlan0, link-type EN10MB (Ethernet), capture size 262144 bytes\n") {
		t.Errorf("standard error %q", errs)
	}
	frame := udpFrame(1000, 53, "question")
	p.net.frame(frame)
	until(t, "the packet arrives", func() bool {
		out, _ := l.text()
		return len(out) >= 24+16+len(frame)
	})
	if out, _, _ := p.run(t, "grep SigCgt /proc/"+pid+"/status; kill -USR1 "+pid); out != "SigCgt:\t0000000000004203\n" {
		t.Errorf("it catches %q", out)
	}
	until(t, "the counters are said", func() bool {
		_, errs := l.text()
		return strings.HasSuffix(errs, "\ntcpdump: 1 packet captured, 1 packet received by filter, 0 packets dropped by kernel\n")
	})
	if out, _, code := p.run(t, "cat /proc/"+pid+"/cmdline | tr '\\000' ' '; kill -INT "+pid); out != "tcpdump -i wlan0 -U -s 0 -n -w - " || code != 0 {
		t.Errorf("pid %s is %q", pid, out)
	}
	if code, ok := l.ses.Wait(); code != 0 || !ok {
		t.Errorf("exit status %d", code)
	}
	out, errs := l.text()
	if n := counts(t, errs); n != [3]int{1, 1, 0} {
		t.Errorf("summary %v", n)
	}
	want := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	if !bytes.HasPrefix(out, want) {
		t.Errorf("header % x", out[:24])
	}
	record := out[24:]
	if sec, usec := binary.LittleEndian.Uint32(record), binary.LittleEndian.Uint32(record[4:]); sec != 1600000000 || usec != 123456 {
		t.Errorf("time %d.%06d", sec, usec)
	}
	if n := binary.LittleEndian.Uint32(record[8:]); int(n) != len(frame) || !bytes.Equal(record[16:], frame) {
		t.Errorf("record of %d bytes", n)
	}
	if p.net.tapped() != 0 {
		t.Error("the tap is left open")
	}
}

func TestTcpdumpKilled(t *testing.T) {
	p := newPhone(t)
	l, pid := dump(t, p, "-i wlan0 -w -")
	p.run(t, "kill -9 "+pid)
	if code, _ := l.ses.Wait(); code != 137 {
		t.Errorf("exit status %d", code)
	}
	if _, errs := l.text(); strings.Contains(errs, "captured") {
		t.Errorf("a killed tcpdump says %q", errs)
	}
	until(t, "the tap is closed", func() bool { return p.net.tapped() == 0 })
}

// TestTcpdumpBuffers sees what -U is for: without it, packets stay in a buffer
// until there are enough.
func TestTcpdumpBuffers(t *testing.T) {
	p := newPhone(t)
	l, pid := dump(t, p, "-i wlan0 -w -")
	p.net.frame(udpFrame(1, 2, "x"))
	time.Sleep(20 * time.Millisecond)
	if out, _ := l.text(); len(out) > 24 {
		t.Errorf("%d bytes came through without -U", len(out))
	}
	p.run(t, "kill -TERM "+pid)
	l.ses.Wait()
	if out, _ := l.text(); len(out) <= 24 {
		t.Error("the end does not flush")
	}
}

func TestTcpdumpFormats(t *testing.T) {
	p := newPhone(t)
	nano, npid := dump(t, p, "-i wlan0 --time-stamp-precision=nano -U -w -")
	anything, apid := dump(t, p, "-i any -U -w - udp port 53")
	line, lpid := dump(t, p, "-i wlan0 -n -c 2 'not port 99'")
	snap, spid := dump(t, p, "-s 40 -U -w -")
	for _, port := range []uint16{53, 99, 53} {
		p.net.frame(udpFrame(1000, port, "question"))
	}
	line.ses.Wait()
	p.run(t, "kill -INT "+strings.Join([]string{npid, apid, spid}, " "))
	_ = lpid
	for _, l := range []*live{nano, anything, snap} {
		l.ses.Wait()
	}
	out, _ := nano.text()
	if binary.LittleEndian.Uint32(out) != 0xa1b23c4d || binary.LittleEndian.Uint32(out[28:]) != 123456789 {
		t.Errorf("nanoseconds: % x", out[:40])
	}
	out, errs := anything.text()
	if !strings.Contains(errs, "link-type LINUX_SLL (Linux cooked)") || binary.LittleEndian.Uint32(out[20:]) != 113 || counts(t, errs) != [3]int{2, 2, 0} {
		t.Errorf("cooked: % x %q", out[:40], errs)
	}
	if cooked := out[40:56]; !bytes.Equal(cooked, []byte{0, 4, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0}) {
		t.Errorf("cooked header % x", cooked)
	}
	out, _ = line.text()
	if want := "12:26:40.123456 IP 192.168.43.10.1000 > 203.0.113.7.53: UDP, length 8\n"; string(out) != want+want {
		t.Errorf("lines %q", out)
	}
	out, _ = snap.text()
	if kept, whole := binary.LittleEndian.Uint32(out[32:]), binary.LittleEndian.Uint32(out[36:]); kept != 40 || whole != 50 {
		t.Errorf("kept %d of %d", kept, whole)
	}
}

func TestTcpdumpFaults(t *testing.T) {
	p := newPhone(t)
	p.SetDropEvery(3)
	p.JumpClock(time.Hour)
	l, pid := dump(t, p, "-i wlan0 -U -w -")
	for range 9 {
		p.net.frame(udpFrame(1, 2, "x"))
	}
	p.SetTapSilent(true)
	for range 5 {
		p.net.frame(udpFrame(1, 2, "x"))
	}
	p.run(t, "kill -INT "+pid)
	l.ses.Wait()
	out, errs := l.text()
	if n := counts(t, errs); n != [3]int{6, 9, 3} {
		t.Errorf("summary %v", n)
	}
	if sec := binary.LittleEndian.Uint32(out[24:]); sec != 1600003600 {
		t.Errorf("the packet's time %d does not follow the phone's clock", sec)
	}
}

// TestTcpdumpIsToldThatItsHostHasGone ends it by the signal that adbd sends.
func TestTcpdumpIsToldThatItsHostHasGone(t *testing.T) {
	p := newPhone(t)
	l, pid := dump(t, p, "-i wlan0 -U -w -")
	l.ses.Close()
	until(t, "tcpdump ends", func() bool { _, _, code := p.run(t, "kill -0 "+pid); return code != 0 })
}

// TestTcpdumpWithoutAReader ends as the genuine one does that ignores the signal
// of adbd: the pipe is broken at the next packet, and until then it lives on
// without its host.
func TestTcpdumpWithoutAReader(t *testing.T) {
	p := newPhone(t)
	l := start(t, p, "trap '' HUP; echo $$ >&2; exec tcpdump -i wlan0 -U -w -")
	until(t, "tcpdump listens", func() bool {
		_, errs := l.text()
		return strings.Contains(errs, "listening on")
	})
	_, errs := l.text()
	pid, _, _ := strings.Cut(errs, "\n")
	l.ses.Close()
	if _, ok := l.ses.Wait(); ok {
		t.Error("a closed session has an exit status")
	}
	if _, _, code := p.run(t, "kill -0 "+pid); code != 0 {
		t.Error("tcpdump did not outlive its connection")
	}
	p.net.frame(udpFrame(1, 2, "x"))
	until(t, "tcpdump dies of the broken pipe", func() bool { _, _, code := p.run(t, "kill -0 "+pid); return code != 0 })
}

func TestTerminal(t *testing.T) {
	p := newPhone(t)
	var mu sync.Mutex
	var seen bytes.Buffer
	text := func() string {
		mu.Lock()
		defer mu.Unlock()
		return seen.String()
	}
	ses, err := p.Open(t.Context(), "", userland.Terminal, userland.StdIO{Out: func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		seen.Write(b)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a prompt comes", func() bool { return strings.HasSuffix(text(), "ginkgo:/ # ") })
	if err := ses.Write([]byte("echo a\x7fb$((1+1))\rsleep 100\r")); err != nil {
		t.Fatal(err)
	}
	until(t, "sleep runs", func() bool { return len(p.SessionProcesses()) == 2 })
	if err := ses.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	until(t, "^C ends it", func() bool { return len(p.SessionProcesses()) == 1 })
	if got := text(); !strings.Contains(got, "\r\nb2\r\n") {
		t.Errorf("the terminal shows %q", got)
	}
	if err := ses.Write([]byte("sleep 100\r")); err != nil {
		t.Fatal(err)
	}
	until(t, "sleep runs", func() bool { return len(p.SessionProcesses()) == 2 })
	ses.Close()
	until(t, "the hangup ends all", func() bool { return len(p.SessionProcesses()) == 0 })
}

func TestSlowReaderIsWaitedFor(t *testing.T) {
	p := newPhone(t)
	var got int
	stop := errors.New("enough")
	ses, err := p.Open(t.Context(), "yes 0123456789", userland.Merged, userland.StdIO{Out: func(b []byte) error {
		if got += len(b); got > 1<<20 {
			return stop
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	<-ses.Exited()
	if got > 1<<20+64<<10 {
		t.Errorf("%d bytes were delivered", got)
	}
	if n := p.KillByName("yes", syscall.SIGKILL); n != 0 {
		t.Errorf("%d of yes are left", n)
	}
}
