package packets_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/packets"
)

// asker is a phone whose questions reach a recorder as packets of a clock of
// their own.
type asker struct {
	rec   *packets.Recorder
	ahead time.Duration
	asked int
}

func (a *asker) Run(_ context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	a.asked++
	name := strings.TrimPrefix(script, "ping -c 1 -W 1 ")
	a.rec.Take(recordAt(dnsPacket(name), time.Now().Add(a.ahead)))
	return nil, []byte("ping: unknown host"), 2, nil
}

func recorder(t *testing.T, o packets.Options) (*packets.Recorder, *asker) {
	t.Helper()
	a := &asker{}
	o.Name, o.Where = "gateway", "the access point"
	rec, err := packets.Create(t.TempDir(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	a.rec = rec
	return rec, a
}

func finish(t *testing.T, rec *packets.Recorder, how packets.How) {
	t.Helper()
	rec.End(how)
	if _, err := rec.Close(func() error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestClockIsMeasuredByBeacons: every beacon narrows down by how much the
// stamps are ahead, and a clock that was set says so.
func TestClockIsMeasuredByBeacons(t *testing.T) {
	rec, phone := recorder(t, packets.Options{OwnClock: true})
	rec.Take(fileHeader())
	trace, err := rec.Read(t.Context())
	if err != nil || trace.Clock != nil {
		t.Fatalf("before any beacon the clock is %+v, %v", trace.Clock, err)
	}
	phone.ahead = 90 * time.Second
	for _, nonce := range []string{"one", "two", "three"} {
		if _, err := rec.Beacon(t.Context(), nonce); err != nil {
			t.Fatal(err)
		}
	}
	trace, err = rec.Read(t.Context())
	if err != nil || trace.Clock == nil {
		t.Fatalf("no clock: %v", err)
	}
	if off := (trace.Clock.Ahead - phone.ahead).Abs(); off > trace.Clock.Uncertainty+time.Microsecond {
		t.Errorf("the clock is %v ahead within %v, want 90s", trace.Clock.Ahead, trace.Clock.Uncertainty)
	}
	if len(trace.Health.Problems) != 0 {
		t.Errorf("problems %q", trace.Health.Problems)
	}
	phone.ahead = 30 * time.Second
	if _, err := rec.Beacon(t.Context(), "four"); err != nil {
		t.Fatal(err)
	}
	trace, err = rec.Read(t.Context())
	if err != nil || !strings.Contains(strings.Join(trace.Health.Problems, " "), "clock moved") || trace.Clock.Uncertainty < 29*time.Second {
		t.Errorf("a clock that was set: %+v %q %v", trace.Clock, trace.Health.Problems, err)
	}
	finish(t, rec, packets.How{})
}

func TestPhonesOwnStampsHaveNoClock(t *testing.T) {
	rec, _ := recorder(t, packets.Options{})
	rec.Take(fileHeader())
	if _, err := rec.Beacon(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if trace, err := rec.Read(t.Context()); err != nil || trace.Clock != nil || trace.Health.Packets != 1 {
		t.Errorf("got %+v, %v", trace, err)
	}
	finish(t, rec, packets.How{})
}

// TestHowAStreamEnds: each way of ending is told apart in the health.
func TestHowAStreamEnds(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		name            string
		chunks          [][]byte
		how             packets.How
		truncated, died bool
		problem         string
	}{
		{"well", [][]byte{fileHeader(), record([]byte("x"))}, packets.How{Dropped: number(0), Captured: number(1)}, false, false, ""},
		{"early", [][]byte{fileHeader()}, packets.How{Early: true, Doubt: "it went away"}, true, true, "it went away"},
		{"lost", [][]byte{fileHeader()}, packets.How{Lost: true}, true, false, ""},
		{"no header", nil, packets.How{}, true, false, "no pcap header"},
		{"inside a record", [][]byte{fileHeader(), record([]byte("abcdef"))[:18]}, packets.How{}, true, false, "inside a packet record"},
		{"packets missing", [][]byte{fileHeader(), record([]byte("x"))}, packets.How{Captured: number(3)}, true, false, "captured 3 packets, 1 arrived"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec, _ := recorder(t, packets.Options{})
			for _, chunk := range c.chunks {
				rec.Take(chunk)
			}
			rec.End(c.how)
			trace, err := rec.Close(func() error { return nil })
			h := trace.Health
			if err != nil || h.Truncated != c.truncated || h.Died.IsZero() == c.died || !strings.Contains(strings.Join(h.Problems, " "), c.problem) || (c.problem == "") != (len(h.Problems) == 0) {
				t.Errorf("health %+v, %v", h, err)
			}
			on, err := os.ReadFile(trace.Packets)
			if err != nil || !bytes.Equal(on, bytes.Join(c.chunks, nil)) {
				t.Errorf("the file holds %d bytes, %v", len(on), err)
			}
		})
	}
}

// TestLossesArePlaced: what a source says in the middle of its work tells when it
// dropped something.
func TestLossesArePlaced(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	rec, _ := recorder(t, packets.Options{})
	rec.Take(fileHeader())
	begin := time.Now()
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	rec.Lost(0, at(1), at(2))
	rec.Lost(5, at(11), at(12))
	rec.Lost(5, at(21), at(22))
	rec.End(packets.How{Dropped: number(8)})
	trace, err := rec.Close(func() error { return nil })
	h := trace.Health
	if err != nil || h.Dropped == nil || *h.Dropped != 8 || h.Unplaced() != 0 || len(h.Losses) != 2 || len(h.Problems) > 0 {
		t.Fatalf("health %+v, %v", h, err)
	}
	if a, b := h.Losses[0], h.Losses[1]; !a.From.Equal(at(1)) || !a.To.Equal(at(12)) || a.Packets != 5 || !b.From.Equal(at(21)) || !b.To.Equal(trace.End) || b.Packets != 3 {
		t.Errorf("losses %+v", h.Losses)
	}

	rec, _ = recorder(t, packets.Options{})
	rec.Take(fileHeader())
	rec.Lost(4, at(1), at(2))
	rec.Lost(3, at(3), at(4))
	rec.End(packets.How{Early: true})
	trace, err = rec.Close(func() error { return nil })
	h = trace.Health
	if err != nil || h.Dropped == nil || *h.Dropped != 4 || len(h.Losses) != 2 || h.Losses[1].Packets != 0 || !h.Losses[1].From.Equal(at(3)) {
		t.Errorf("one that died: %+v, %v", h, err)
	}
	if len(h.Problems) != 1 || !strings.Contains(h.Problems[0], "later that it dropped 3") {
		t.Errorf("a count that shrinks: %q", h.Problems)
	}

	rec, _ = recorder(t, packets.Options{})
	rec.Take(fileHeader())
	rec.End(packets.How{Dropped: number(2)})
	trace, _ = rec.Close(func() error { return nil })
	if l := trace.Health.Losses; len(l) != 1 || !l[0].From.Equal(trace.Start) || !l[0].To.Equal(trace.End) {
		t.Errorf("one that spoke at its end only: %+v", l)
	}
}

func TestInterimCounters(t *testing.T) {
	for line, want := range map[string]int64{
		"tcpdump: 3 packets captured, 4 packets received by filter, 0 packets dropped by kernel":                              0,
		"tcpdump: 1 packet captured, 1 packet received by filter, 1 packet dropped by kernel, 9 packets dropped by interface": 1,
		"tcpdump: listening on wlan0, link-type EN10MB (Ethernet), snapshot length 262144 bytes":                              -1,
		"tcpdump: 3 packets captured, and something else":                                                                     -1,
		"3 packets captured": -1,
		"tcpdump: 3 packets captured, 4 packets received by filter": -1,
		"": -1,
	} {
		c, ok := packets.Interim(line)
		if ok != (want >= 0) || ok && *c.DroppedKernel != want {
			t.Errorf("%q: %+v, %t", line, c, ok)
		}
	}
}

// TestPcapngIsToldApart: a technician whose command writes the other format is
// told how to make it write this one.
func TestPcapngIsToldApart(t *testing.T) {
	rec, _ := recorder(t, packets.Options{})
	if rec.Take([]byte("\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")) {
		t.Error("it goes on")
	}
	if words := rec.LastWords(); !strings.Contains(words, "dumpcap -P") {
		t.Errorf("it says %q", words)
	}
	finish(t, rec, packets.How{Early: true})
}

func TestAFileThatCannotBeWrittenIsSaid(t *testing.T) {
	rec, _ := recorder(t, packets.Options{})
	rec.Take(fileHeader())
	rec.CloseFile()
	if rec.Take(record([]byte("x"))) {
		t.Error("it goes on without a file")
	}
	rec.End(packets.How{Early: true})
	if _, err := rec.Beacon(t.Context(), "after"); !errors.Is(err, packets.ErrEnded) {
		t.Errorf("beacon: %v: what was not written was not recorded", err)
	}
	trace, err := rec.Close(func() error { return nil })
	if err == nil || !trace.Health.Truncated || !strings.Contains(strings.Join(trace.Health.Problems, " "), "writing the packets failed") {
		t.Errorf("health %+v, %v", trace.Health, err)
	}
}

func TestCounters(t *testing.T) {
	for _, c := range []struct {
		lines             []string
		captured, dropped int64
	}{
		{[]string{"12 packets captured", "13 packets received by filter", "1 packet dropped by kernel"}, 12, 1},
		{[]string{"Capturing on 'wlan0'", "Packets captured: 40", "Packets received/dropped on interface 'wlan0': 40/2 (pcap:2/dumpcap:0/flushed:0/ps_ifdrop:0) (95.2%)"}, 40, 2},
		{[]string{"Packets: 17", "tcpdump: listening on wlan0"}, -1, -1},
		{[]string{"-3 packets captured", "Packets captured: -3"}, -1, -1},
	} {
		var got packets.Counters
		for _, line := range c.lines {
			got.Read(line)
		}
		if value(got.Captured) != c.captured || value(got.DroppedKernel) != c.dropped {
			t.Errorf("%q: %d captured, %d dropped", c.lines, value(got.Captured), value(got.DroppedKernel))
		}
	}
}

func value(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// FuzzSplit: whatever the chunks, the records are the same, none is invented,
// and nothing is lost.
func FuzzSplit(f *testing.F) {
	good := append(fileHeader(), record(dnsPacket("a.example"))...)
	good = append(good, record([]byte("x"))...)
	f.Add(good, 3)
	f.Add(good[:len(good)-1], 16)
	f.Add([]byte{0xa1, 0xb2, 0xc3, 0xd4}, 1)
	f.Add(append(fileHeader(), bytes.Repeat([]byte{0xff}, 40)...), 5)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		size = max(1, size%4096)
		wholeA, packetsA, stampsA, restA, errA := packets.Split([][]byte{b})
		var chunks [][]byte
		for c := b; len(c) > 0; c = c[min(size, len(c)):] {
			chunks = append(chunks, c[:min(size, len(c))])
		}
		wholeB, packetsB, stampsB, _, errB := packets.Split(chunks)
		if !bytes.Equal(wholeA, wholeB) || len(packetsA) != len(packetsB) || (errA == nil) != (errB == nil) {
			t.Fatalf("chunks change the outcome: %d/%d bytes, %v/%v", len(wholeA), len(wholeB), errA, errB)
		}
		if !bytes.Equal(append(append([]byte(nil), wholeA...), restA...), b) {
			t.Fatal("bytes were lost or invented")
		}
		total := 0
		for i := range packetsA {
			total += 16 + len(packetsA[i])
			if !bytes.Equal(packetsA[i], packetsB[i]) || !stampsA[i].Equal(stampsB[i]) {
				t.Fatal("a packet changed")
			}
		}
		if len(wholeA) > 0 && total+24 != len(wholeA) {
			t.Fatalf("records of %d bytes in %d", total, len(wholeA))
		}
	})
}

// FuzzHolds compares the scanner with a slow and plain one.
func FuzzHolds(f *testing.F) {
	f.Add(dnsPacket("abc1.beacon.offproof.invalid"), "abc1")
	f.Add([]byte("\x04\x04abc1\x06beacon\x08offproof\x07invalid"), "abc1")
	f.Add([]byte{}, "z")
	f.Fuzz(func(t *testing.T, packet []byte, nonce string) {
		if !packets.ValidNonce(nonce) {
			return
		}
		pattern := packets.WireName(nonce)
		lower := bytes.Map(func(r rune) rune { return r }, nil)
		for _, c := range packet {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower = append(lower, c)
		}
		if got, want := packets.Holds(packet, pattern), bytes.Contains(lower, pattern); got != want {
			t.Fatalf("holds %v, want %v", got, want)
		}
		if !packets.Holds(append(packet, dnsPacket(nonce+".beacon.offproof.invalid")...), pattern) {
			t.Fatal("a beacon was missed")
		}
	})
}

func FuzzCounters(f *testing.F) {
	f.Add("12 packets captured")
	f.Add("1 packet dropped by kernel")
	f.Add("-1 packets captured")
	f.Add("Packets received/dropped on interface 'x': 1/2 (")
	f.Fuzz(func(t *testing.T, line string) {
		var c packets.Counters
		c.Read(line)
		for _, n := range []*int64{c.Captured, c.Received, c.DroppedKernel, c.DroppedInterface} {
			if n != nil && (*n < 0 || !strings.Contains(strings.ToLower(line), "packet")) {
				t.Fatalf("%d out of %q", *n, line)
			}
		}
	})
}

func TestSplitReadsBothByteOrders(t *testing.T) {
	b := binary.BigEndian.AppendUint32(nil, 0xa1b23c4d)
	b = append(b, make([]byte, 20)...)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3, 'a', 'b', 'c')
	_, all, stamps, rest, err := packets.Split([][]byte{b})
	if err != nil || len(rest) != 0 || len(all) != 1 || string(all[0]) != "abc" || !stamps[0].Equal(time.Unix(1, 2)) {
		t.Errorf("%q %v %q %v", all, stamps, rest, err)
	}
}

func recordAt(packet []byte, at time.Time) []byte {
	b := record(packet)
	binary.LittleEndian.PutUint32(b, uint32(at.Unix()))                //nolint:gosec // Until 2106.
	binary.LittleEndian.PutUint32(b[4:], uint32(at.Nanosecond()/1000)) //nolint:gosec // Below a million.
	return b
}

func fileHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 262144)
	return binary.LittleEndian.AppendUint32(b, 1)
}

func record(packet []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1_600_000_000)
	b = binary.LittleEndian.AppendUint32(b, 5)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	return append(b, packet...)
}

// dnsPacket is an Ethernet frame with a question, in the mixed case that some
// resolvers use.
func dnsPacket(name string) []byte {
	q := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for i, label := range strings.Split(name, ".") {
		if i%2 == 0 {
			label = strings.ToUpper(label)
		}
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)
	udp := binary.BigEndian.AppendUint16(nil, 40000)
	udp = binary.BigEndian.AppendUint16(udp, 53)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(q)))
	udp = append(append(udp, 0, 0), q...)
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1}
	eth := append(make([]byte, 12), 8, 0)
	return append(append(eth, ip...), udp...)
}
