package tcpdump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
	"github.com/offproof/offproof/capture/tcpdump"
)

// start begins a session that is stopped with the test.
func start(t *testing.T, p *fakePhone) capture.Session {
	t.Helper()
	s, err := tcpdump.New(p, tcpdump.Options{}).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { _, _ = s.Stop(context.WithoutCancel(t.Context())) })
	return s
}

func stop(t *testing.T, s capture.Session) capture.Trace {
	t.Helper()
	trace, err := s.Stop(t.Context())
	if err != nil {
		t.Fatalf("stop: %v", err)
	}
	return trace
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSessionRecordsEverything(t *testing.T) {
	for _, chunk := range []int{0, 1, 7, 100} {
		for _, root := range []string{"", "su -c ", "su 0 sh -c "} {
			t.Run(fmt.Sprintf("chunk %d root %q", chunk, root), func(t *testing.T) {
				p := newPhone()
				p.chunk, p.root = chunk, root
				s := start(t, p)
				p.send(dnsPacket("a.example"), dnsPacket("b.example"))
				b, err := s.Beacon(t.Context(), "abc123")
				if err != nil {
					t.Fatalf("beacon: %v", err)
				}
				if b.Name != "abc123.beacon.offproof.invalid" || b.Nonce != "abc123" || b.Seen.Before(b.Sent) || b.Sent.IsZero() {
					t.Errorf("beacon %+v", b)
				}
				read, err := s.Read(t.Context())
				if err != nil {
					t.Fatalf("read: %v", err)
				}
				if read.Health.Packets != 3 || read.Health.Truncated || read.Health.Dropped != nil || len(read.Beacons) != 1 {
					t.Errorf("read: %+v", read)
				}
				if !bytes.Equal(contents(t, read.Packets), p.stream) {
					t.Error("the copy is not what was sent before the beacon")
				}
				trace := stop(t, s)
				if !bytes.Equal(contents(t, trace.Packets), p.stream) {
					t.Error("the file is not what was sent")
				}
				if !bytes.Equal(contents(t, read.Packets), p.stream) {
					t.Error("the copy did not stay valid")
				}
				h := trace.Health
				if h.Packets != 3 || h.Dropped == nil || *h.Dropped != 0 || h.Truncated || !h.Died.IsZero() || len(h.Problems) != 0 {
					t.Errorf("health: %+v", h)
				}
				if info, err := os.Stat(trace.Packets); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("file: %v %v", info.Mode(), err)
				}
				if p.alive {
					t.Error("tcpdump was left running")
				}
				if again := stop(t, s); again.Health.Packets != 3 || again.End != trace.End {
					t.Errorf("a second stop answers %+v", again)
				}
			})
		}
	}
}

func TestReadIsSteadyWhilePacketsArrive(t *testing.T) {
	p := newPhone()
	s := start(t, p)
	p.send(dnsPacket("a.example"))
	if _, err := s.Beacon(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	first, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := contents(t, first.Packets)
	if _, err := s.Beacon(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(contents(t, first.Packets), before) {
		t.Error("the copy changed without a read")
	}
	second, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := contents(t, second.Packets)
	if !bytes.HasPrefix(after, before) || !bytes.Equal(after, p.stream) || len(second.Beacons) != 2 {
		t.Error("the second read does not extend the first")
	}
}

func TestProbe(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*fakePhone)
		o     tcpdump.Options
		words string // of the reason; empty when it can run
	}{
		{name: "can"},
		{name: "any", o: tcpdump.Options{Interface: "any"}},
		{name: "magisk", spoil: func(p *fakePhone) { p.root = "su -c " }},
		{name: "userdebug", spoil: func(p *fakePhone) { p.root = "su 0 sh -c " }},
		{name: "no root", spoil: func(p *fakePhone) { p.root = "never " }, words: "root it"},
		{name: "no tcpdump", spoil: func(p *fakePhone) { p.noDump = true }, words: "push a static build"},
		{name: "no interface", o: tcpdump.Options{Interface: "rmnet0"}, words: "it has lo, wlan0"},
		{name: "no word", o: tcpdump.Options{Interface: "wlan0; reboot"}, words: "not the name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone()
			if c.spoil != nil {
				c.spoil(p)
			}
			a, err := tcpdump.New(p, c.o).Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if a.OK != (c.words == "") || !strings.Contains(a.Reason, c.words) || a.OK == (a.Sees == "") {
				t.Errorf("ability %+v", a)
			}
			for _, s := range p.runs {
				if strings.Contains(s, "kill") {
					t.Errorf("the probe ran %q", s)
				}
			}
		})
	}
	p := newPhone()
	p.lostRuns = true
	if a, err := tcpdump.New(p, tcpdump.Options{}).Probe(t.Context()); !errors.Is(err, errLost) || a.OK {
		t.Errorf("a lost phone gives %+v, %v", a, err)
	}
}

func TestStartFails(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(*fakePhone)
		words string
	}{
		{"refused", func(p *fakePhone) { p.refuses = "tcpdump: wlan0: You don't have permission to capture" }, "permission"},
		{"silent", func(p *fakePhone) { p.silent = true }, "listening on"},
		{"no pid", func(p *fakePhone) { p.noPID = true }, "listening on"},
		{"no root", func(p *fakePhone) { p.root = "never " }, "no root"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				p := newPhone()
				c.spoil(p)
				_, err := tcpdump.New(p, tcpdump.Options{}).Start(t.Context(), dir)
				if err == nil || !strings.Contains(err.Error(), c.words) {
					t.Errorf("error %v", err)
				}
				if c.name != "no root" && !errors.Is(err, tcpdump.ErrNotReady) {
					t.Errorf("error %v is not ErrNotReady", err)
				}
				if p.alive && c.name != "no pid" {
					t.Error("tcpdump was left running")
				}
				if c.name == "no pid" && !errors.Is(err, tcpdump.ErrStillRuns) {
					t.Errorf("error %v hides that a process may still run", err)
				}
			})
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestStartHeedsItsContext(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPhone()
		p.silent = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := tcpdump.New(p, tcpdump.Options{}).Start(ctx, dir)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if p.alive {
			t.Error("tcpdump was left running")
		}
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

func TestSessionOutlivesTheStartsContext(t *testing.T) {
	p := newPhone()
	ctx, cancel := context.WithCancel(t.Context())
	s, err := tcpdump.New(p, tcpdump.Options{}).Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := s.Beacon(t.Context(), "still1"); err != nil {
		t.Errorf("beacon: %v", err)
	}
	stop(t, s)
}

func TestEarlyDeath(t *testing.T) {
	for _, c := range []struct {
		name  string
		die   func(*fakePhone)
		words string
	}{
		{"killed on the phone", func(p *fakePhone) { p.kill("KILL") }, "exit status 137"},
		{"interrupted by somebody else", func(p *fakePhone) { p.kill("INT") }, "ended by itself"},
		{"stream lost, process alive", func(p *fakePhone) { p.lose() }, "lost"},
		{"garbage", func(p *fakePhone) { p.write(bytes.Repeat([]byte{0xff}, 64)) }, "absurd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone()
			s := start(t, p)
			if _, err := s.Beacon(t.Context(), "before"); err != nil {
				t.Fatal(err)
			}
			c.die(p)
			<-s.Done()
			if _, err := s.Beacon(t.Context(), "after"); !errors.Is(err, packets.ErrEnded) {
				t.Errorf("beacon after the end: %v", err)
			}
			read, err := s.Read(t.Context())
			if err != nil || !read.Health.Truncated {
				t.Errorf("read: %+v %v", read, err)
			}
			trace := stop(t, s)
			h := trace.Health
			if !h.Truncated || h.Died.IsZero() || h.Packets != 1 {
				t.Errorf("health %+v", h)
			}
			if !strings.Contains(strings.Join(h.Problems, "\n"), c.words) {
				t.Errorf("problems %q", h.Problems)
			}
			if p.alive {
				t.Error("tcpdump was left running")
			}
		})
	}
}

func TestLostPhone(t *testing.T) {
	p := newPhone()
	s := start(t, p)
	p.mu.Lock()
	p.lostRuns = true
	p.mu.Unlock()
	p.lose()
	<-s.Done()
	trace, err := s.Stop(t.Context())
	if !errors.Is(err, errLost) {
		t.Errorf("stop: %v: nobody knows whether tcpdump still runs", err)
	}
	if !trace.Health.Truncated || trace.Health.Died.IsZero() {
		t.Errorf("health %+v", trace.Health)
	}
}

func TestFileEndsInsideARecord(t *testing.T) {
	p := newPhone()
	p.partial = true
	s := start(t, p)
	p.send(dnsPacket("a.example"), dnsPacket("b.example"), dnsPacket("c.example"))
	trace := stop(t, s)
	if !trace.Health.Truncated || trace.Health.Packets != 3 {
		t.Errorf("health %+v", trace.Health)
	}
	if !bytes.Equal(contents(t, trace.Packets), p.stream) {
		t.Error("the cut record's bytes are missing from the file")
	}
}

func TestStopIsStubborn(t *testing.T) {
	for _, c := range []struct {
		ignores   []string
		truncated bool
		runs      bool
	}{
		{[]string{"INT"}, false, false},
		{[]string{"INT", "TERM"}, true, false},
		{[]string{"INT", "TERM", "KILL", "9"}, true, true},
	} {
		t.Run(strings.Join(c.ignores, " "), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				p := newPhone()
				p.ignores = c.ignores
				s, err := tcpdump.New(p, tcpdump.Options{}).Start(t.Context(), dir)
				if err != nil {
					t.Fatal(err)
				}
				p.send(dnsPacket("a.example"), dnsPacket("b.example"), dnsPacket("c.example"))
				ctx, cancel := context.WithCancel(t.Context())
				cancel() // an ended context must not leave a process behind
				trace, err := s.Stop(ctx)
				if errors.Is(err, tcpdump.ErrStillRuns) != c.runs || (err != nil) != c.runs {
					t.Errorf("stop: %v", err)
				}
				if trace.Health.Truncated != c.truncated || trace.Health.Packets != 3 {
					t.Errorf("health %+v", trace.Health)
				}
				if p.alive != c.runs {
					t.Errorf("alive: %v", p.alive)
				}
			})
		})
	}
}

func TestAReusedProcessIDIsLeftAlone(t *testing.T) {
	p := newPhone()
	s := start(t, p)
	p.lose() // the process lives on, but the id names another program by now
	<-s.Done()
	p.cmdline = "com.android.systemui\x00"
	stop(t, s)
	if !p.alive || p.ran("kill -9") > 0 {
		t.Error("somebody else's process was killed")
	}
}

func TestCounters(t *testing.T) {
	for _, c := range []struct {
		name      string
		lastly    []string
		dropped   int64 // -1 for unknown
		truncated bool
		problems  int
	}{
		{"all said", []string{"1 packet captured", "1 packet received by filter", "5 packets dropped by kernel"}, 5, false, 0},
		{"interface", []string{
			"1 packet captured", "9 packets received by filter", "0 packets dropped by kernel", "2 packets dropped by interface",
		}, 0, false, 1},
		{"nothing said", nil, -1, false, 0},
		{"packets missing", []string{"7 packets captured", "7 packets received by filter", "0 packets dropped by kernel"}, 0, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPhone()
			p.lastly = c.lastly
			s := start(t, p)
			p.send(dnsPacket("a.example"))
			h := stop(t, s).Health
			got := int64(-1)
			if h.Dropped != nil {
				got = *h.Dropped
			}
			if got != c.dropped || h.Truncated != c.truncated || len(h.Problems) != c.problems {
				t.Errorf("health %+v", h)
			}
		})
	}
}

// TestLossesLieBetweenBeacons: with each beacon tcpdump says what it has dropped.
func TestLossesLieBetweenBeacons(t *testing.T) {
	p := newPhone()
	p.dropped = []int64{0, 4, 4}
	p.lastly = []string{"3 packets captured", "3 packets received by filter", "4 packets dropped by kernel"}
	s := start(t, p)
	var beacons []capture.Beacon
	for _, nonce := range []string{"one", "two", "three"} {
		b, err := s.Beacon(t.Context(), nonce)
		if err != nil {
			t.Fatal(err)
		}
		beacons = append(beacons, b)
	}
	h := stop(t, s).Health
	if h.Dropped == nil || *h.Dropped != 4 || h.Unplaced() != 0 || len(h.Losses) != 1 || len(h.Problems) > 0 {
		t.Fatalf("health %+v", h)
	}
	if l := h.Losses[0]; l.Packets != 4 || l.From.Before(beacons[0].Seen) || l.From.After(beacons[1].Sent) || l.To.Before(beacons[1].Seen) || l.To.After(beacons[2].Sent) {
		t.Errorf("the loss is %+v, the beacons %+v", l, beacons)
	}
}

// TestCountersAreNotForced: a tcpdump that would die of the signal, or does not
// answer it, is left alone, and its loss may lie anywhere since it was last known.
func TestCountersAreNotForced(t *testing.T) {
	for name, harm := range map[string]func(*fakePhone){
		"old": func(p *fakePhone) { p.old = true }, "slow": func(p *fakePhone) { p.slow = true },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPhone()
			harm(p)
			p.lastly = []string{"2 packets captured", "2 packets received by filter", "4 packets dropped by kernel"}
			s, err := tcpdump.New(p, tcpdump.Options{StopWait: 100 * time.Millisecond}).Start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			for _, nonce := range []string{"one", "two"} {
				if _, err := s.Beacon(t.Context(), nonce); err != nil {
					t.Fatal(err)
				}
			}
			if want := map[string]int{"old": 0, "slow": 1}[name]; p.ran("kill -USR1") != want {
				t.Errorf("it was asked %d times, want %d", p.ran("kill -USR1"), want)
			}
			trace := stop(t, s)
			if h := trace.Health; h.Truncated || *h.Dropped != 4 || len(h.Losses) != 1 || !h.Losses[0].From.Equal(trace.Start) || !h.Losses[0].To.Equal(trace.End) {
				t.Errorf("health %+v", h)
			}
		})
	}
}

func TestBeaconUnseen(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPhone()
		p.deaf = true
		s, err := tcpdump.New(p, tcpdump.Options{BeaconTries: 3}).Start(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		// The name as text, as a wireless ADB connection would carry it, and a
		// question for another nonce prove nothing.
		p.send([]byte("....ping -c 1 -W 1 lost1.beacon.offproof.invalid"), dnsPacket("lost.beacon.offproof.invalid"))
		_, err = s.Beacon(t.Context(), "lost1")
		if !errors.Is(err, packets.ErrBeaconUnseen) {
			t.Errorf("beacon: %v", err)
		}
		if n := p.ran("ping"); n != 3 {
			t.Errorf("asked %d times", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = s.Beacon(ctx, "lost2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("beacon with a limit: %v", err)
		}
		p.mu.Lock()
		p.lostRuns = true
		p.mu.Unlock()
		began := time.Now()
		if _, err = s.Beacon(t.Context(), "lost3"); !errors.Is(err, errLost) || !errors.Is(err, packets.ErrBeaconUnseen) {
			t.Errorf("beacon on a phone that is gone: %v", err)
		}
		if d := time.Since(began); d >= 3*time.Second {
			t.Errorf("a lost phone was waited for: %v", d)
		}
		p.mu.Lock()
		p.lostRuns = false
		p.mu.Unlock()
		if _, err = s.Beacon(t.Context(), "Not a nonce"); err == nil {
			t.Error("a nonce for the shell was accepted")
		}
		if trace, err := s.Stop(t.Context()); err != nil || len(trace.Beacons) != 0 {
			t.Errorf("stop: %+v %v", trace.Beacons, err)
		}
	})
}

func TestTwoSessionsShareAFolder(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for range 2 {
		p := newPhone()
		s, err := tcpdump.New(p, tcpdump.Options{}).Start(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, filepath.Base(stop(t, s).Packets))
	}
	if paths[0] != "tcpdump.pcap" || paths[1] != "tcpdump-2.pcap" {
		t.Errorf("files %q", paths)
	}
}

func FuzzInterfaces(f *testing.F) {
	f.Add("Inter-| Receive\n face |bytes\n    lo: 1 2\n wlan0: 3 4\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range tcpdump.Interfaces(text) {
			if len(name) > 15 || strings.ContainsAny(name, " ;'\"$`|&") {
				t.Fatalf("%q is no interface", name)
			}
		}
	})
}
