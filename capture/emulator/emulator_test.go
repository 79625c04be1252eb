package emulator_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/emulator"
	"github.com/offproof/offproof/capture/packets"
)

const token = "s3cretT0ken"

// A machine is a scripted emulator: its console, and the file that it writes.
type machine struct {
	t      *testing.T
	serial string
	// start is what the console says to a capture's start, OK when empty; closed
	// makes it hang up instead.
	start  string
	closed bool
	// buffer is how many bytes of packets wait before any is written.
	buffer int

	mu    sync.Mutex
	conns []net.Conn
	file  *os.File
	held  []byte
	said  []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	m := &machine{t: t, serial: "emulator-" + port}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns = append(m.conns, conn)
			m.mu.Unlock()
			go m.talk(conn)
		}
	}()
	return m
}

func (m *machine) talk(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // The test's own.
	say := func(s string) { _, _ = conn.Write([]byte(s + "\r\n")) }
	say("Android Console: Authentication required\r\nOK")
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		line := lines.Text()
		m.mu.Lock()
		m.said = append(m.said, line)
		m.mu.Unlock()
		path, starts := strings.CutPrefix(line, "network capture start ")
		switch {
		case line == "auth "+token, line == "network capture stop":
			if line == "network capture stop" {
				m.flush()
			}
			say("OK")
		case strings.HasPrefix(line, "auth "):
			say("KO: authentication token does not match ~/.emulator_console_auth_token")
		case starts && m.closed:
			return
		case starts && m.start != "":
			say(m.start)
		case starts:
			m.begin(path)
			say("OK")
		default:
			say("KO: unknown command, try 'help'")
		}
	}
}

func (m *machine) begin(path string) {
	f, err := os.Create(path) //nolint:gosec // The test's own folder.
	if err != nil {
		m.t.Error(err)
		return
	}
	m.mu.Lock()
	m.file = f
	m.mu.Unlock()
	m.write([]byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00"))
}

func (m *machine) write(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = append(m.held, b...)
	if m.file != nil && len(m.held) >= m.buffer {
		_, _ = m.file.Write(m.held)
		m.held = nil
	}
}

func (m *machine) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file != nil {
		_, _ = m.file.Write(m.held)
		m.held = nil
	}
}

// Run is the emulator's shell: a ping asks for its name on the wire.
func (m *machine) Run(_ context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	name := strings.TrimPrefix(script, "ping -c 1 -W 1 ")
	wire := "............"
	for label := range strings.SplitSeq(name, ".") {
		wire += string(rune(len(label))) + label
	}
	now := time.Now()
	b := binary.LittleEndian.AppendUint32(nil, uint32(now.Unix()))         //nolint:gosec // Until 2106.
	b = binary.LittleEndian.AppendUint32(b, uint32(now.Nanosecond()/1000)) //nolint:gosec // Below a million.
	b = append(b, byte(len(wire)), 0, 0, 0, byte(len(wire)), 0, 0, 0)
	m.write(append(b, wire...))
	return nil, nil, 2, nil
}

func (m *machine) options(t *testing.T) emulator.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return emulator.Options{Serial: m.serial, Token: path, BeaconWait: 100 * time.Millisecond}
}

// TestBufferedFile: a question that waits in the emulator's buffer is asked until
// it comes to light, and nothing is missing when the capture has been stopped.
func TestBufferedFile(t *testing.T) {
	m := newMachine(t)
	m.buffer = 600
	b := emulator.New(m, m.options(t))
	if a, err := b.Probe(t.Context()); err != nil || !a.OK {
		t.Fatalf("probe: %+v, %v", a, err)
	}
	dir := t.TempDir()
	s, err := b.Start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Beacon(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	m.write(nil)
	_, _, _, _ = m.Run(t.Context(), "ping -c 1 -W 1 last.example")
	trace, err := s.Stop(t.Context())
	h := trace.Health
	if err != nil || h.Truncated || len(h.Problems) > 0 || h.Dropped == nil || *h.Dropped != 0 {
		t.Errorf("health %+v, %v", h, err)
	}
	kept, err := os.ReadFile(trace.Packets)
	if err != nil || !strings.Contains(string(kept), "\x04last\x07example") {
		t.Errorf("the last packet is missing from %d bytes, %v", len(kept), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.said, "network capture stop") {
		t.Errorf("the console heard %q", m.said)
	}
}

func TestStartFails(t *testing.T) {
	for _, c := range []struct {
		name string
		with func(m *machine, o *emulator.Options)
		want string
	}{
		{"another token", func(_ *machine, o *emulator.Options) { _ = os.WriteFile(o.Token, []byte("wrong"), 0o600) }, "takes another token"},
		{"no token", func(_ *machine, o *emulator.Options) { o.Token += ".none" }, "emulator: {token: FILE}"},
		{"a refusal", func(m *machine, _ *emulator.Options) { m.start = "KO: can't start capture: Permission denied" }, "Permission denied"},
		{"an old console", func(m *machine, _ *emulator.Options) { m.start = "KO: unknown command, try 'help'" }, "unknown command"},
		{"a console that hangs up", func(m *machine, _ *emulator.Options) { m.closed = true }, "went away"},
		{"no emulator", func(_ *machine, o *emulator.Options) { o.Serial = "R58M0000000" }, "is no emulator"},
		{"nobody there", func(_ *machine, o *emulator.Options) { o.Serial = "emulator-1" }, "is the emulator running"},
		{"nothing is written", func(m *machine, o *emulator.Options) { m.buffer, o.BeaconTries = 1<<20, 2 }, "was not seen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, dir := newMachine(t), t.TempDir()
			o := m.options(t)
			c.with(m, &o)
			s, err := emulator.New(m, o).Start(t.Context(), dir)
			if err == nil {
				_, _ = s.Stop(t.Context())
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
				t.Errorf("got %v, want %q in it, and no token", err, c.want)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

// TestItEnds: whatever happens to the emulator or to its file is a recording that
// died.
func TestItEnds(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(m *machine)
		want string
	}{
		"the emulator ends": {func(m *machine) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, conn := range m.conns {
				_ = conn.Close()
			}
		}, "console went away"},
		"the file becomes shorter": {func(m *machine) { _ = m.file.Truncate(10) }, "became shorter"},
		"the file is replaced":     {func(m *machine) { _ = os.Rename(m.file.Name(), m.file.Name()+".old") }, "no longer where it was"},
		"the file is no pcap any more": {func(m *machine) {
			m.write([]byte(strings.Repeat("\xff", 64)))
		}, "absurd"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			s, err := emulator.New(m, m.options(t)).Start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			c.harm(m)
			<-s.Done()
			trace, _ := s.Stop(t.Context())
			if h := trace.Health; !h.Truncated || h.Died.IsZero() || !strings.Contains(strings.Join(h.Problems, " "), c.want) {
				t.Errorf("health %+v", h)
			}
			if _, err := s.Beacon(t.Context(), "after"); !errors.Is(err, packets.ErrEnded) {
				t.Errorf("beacon: %v", err)
			}
		})
	}
}

// TestFileOfAnEmulator follows what an emulator writes since it was started, and
// leaves it where it is.
func TestFileOfAnEmulator(t *testing.T) {
	m := newMachine(t)
	path := filepath.Join(t.TempDir(), "since-boot.pcap")
	o := emulator.Options{Serial: "anything", File: path}
	if a, err := emulator.New(m, o).Probe(t.Context()); err != nil || a.OK || !strings.Contains(a.Reason, "-tcpdump") {
		t.Errorf("probe without the file: %+v, %v", a, err)
	}
	m.begin(path)
	b := emulator.New(m, o)
	if a, err := b.Probe(t.Context()); err != nil || !a.OK {
		t.Errorf("probe: %+v, %v", a, err)
	}
	s, err := b.Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trace, err := s.Stop(t.Context())
	if err != nil || trace.Health.Truncated || trace.Health.Packets == 0 {
		t.Errorf("%+v, %v", trace.Health, err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the emulator's own file: %v", err)
	}
}

func TestConsoleOf(t *testing.T) {
	for serial, want := range map[string]string{
		"emulator-5554": "127.0.0.1:5554", "emulator-0": "", "emulator-70000": "", "emulator-": "", "emulator-+5": "", "R58M0000000": "", "emulator-05554": "",
	} {
		if got, ok := emulator.ConsoleOf(serial); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", serial, got, ok)
		}
	}
}

func FuzzReadAnswer(f *testing.F) {
	f.Add("hello\r\nOK\r\n")
	f.Add("KO: no\n")
	f.Add("KO\nOK\n")
	f.Fuzz(func(t *testing.T, text string) {
		said, err := emulator.ReadAnswer(bufio.NewReader(strings.NewReader(text)), "x")
		if err == nil && (len(said) > len(text) || !strings.Contains(text, "OK")) {
			t.Fatalf("%q out of %q", said, text)
		}
		if err != nil && strings.ContainsAny(fmt.Sprint(err), "\n\r") {
			t.Fatalf("more than a line: %q", err)
		}
	})
}
