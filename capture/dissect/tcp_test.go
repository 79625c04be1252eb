package dissect_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

const (
	phone4, host4 = "10.0.0.2:40000", "203.0.113.7:80"
	phone6, host6 = "[2001:db8::2]:40000", "[2001:db8:1::7]:80"
)

// only returns the single flow of a capture.
func only(t *testing.T, c *dissect.Capture) capture.Flow {
	t.Helper()
	if len(c.Flows) != 1 {
		t.Fatalf("%d flows, want 1: %+v", len(c.Flows), c.Flows)
	}
	return c.Flows[0]
}

const posted = "POST /sa?project=x HTTP/1.1\r\nHost: sa.example\r\nContent-Length: 5\r\n\r\nhello"

const answered = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestFlowCountsEveryByteOnce(t *testing.T) {
	for _, c := range []struct{ name, client, server string }{{"v4", phone4, host4}, {"v6", phone6, host6}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWire(t)
			x := w.dial(c.client, c.server).open()
			x.mss = 20
			x.up(posted)
			x.down(answered)
			x.close()
			got := readClean(t, w)
			f := only(t, got)
			var up, down int64
			for _, p := range w.frames {
				if srcOf(p.data) == netip.MustParseAddrPort(c.client).Addr() {
					up += int64(len(p.data))
				} else {
					down += int64(len(p.data))
				}
			}
			if f.BytesUp != up || f.BytesDown != down || f.PayloadUp != int64(len(posted)) || f.PayloadDown != int64(len(answered)) {
				t.Errorf("up %d down %d payload %d %d, want %d %d %d %d", f.BytesUp, f.BytesDown, f.PayloadUp, f.PayloadDown, up, down, len(posted), len(answered))
			}
			if f.Client.String() != c.client || f.Server.String() != c.server || f.Host != "sa.example" || f.HostFrom != capture.FromHeader || f.App != "http" || f.Visibility != capture.Plaintext {
				t.Errorf("flow %+v", f)
			}
			if f.Midstream || f.Failure != "" || !f.Start.Equal(noon) || !f.End.After(f.Start) {
				t.Errorf("flow %+v", f)
			}
			if len(got.Exchanges) != 1 || string(got.Exchanges[0].RequestBody) != "hello" || string(got.Exchanges[0].ResponseBody) != "ok" {
				t.Errorf("exchanges %+v", got.Exchanges)
			}
		})
	}
}

func srcOf(ip []byte) netip.Addr {
	if ip[0]>>4 == 4 {
		return netip.AddrFrom4([4]byte(ip[12:16]))
	}
	return netip.AddrFrom16([16]byte(ip[8:24]))
}

// TestDisorderedSegments sends a request in three segments, in every order and
// with every segment repeated, and wants the same exchange each time.
func TestDisorderedSegments(t *testing.T) {
	cuts := []string{posted[:30], posted[30:70], posted[70:]}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {2, 1, 0}, {2, 0, 1}, {1, 2, 0}, {0, 0, 1, 1, 2, 2}, {2, 2, 1, 0, 0, 1}} {
		w := newWire(t)
		x := w.dial(phone4, host4).open()
		start := x.client.seq
		at := []uint32{start, start + 30, start + 70}
		for _, i := range order {
			x.segment(x.client, at[i], "PA", []byte(cuts[i]))
		}
		// A repetition that overlaps both of its neighbours.
		x.segment(x.client, start+20, "PA", []byte(posted[20:72]))
		x.client.seq = start + uint32(len(posted))
		x.down(answered)
		x.close()
		c := readClean(t, w)
		f := only(t, c)
		if f.PayloadUp != int64(len(posted)) || len(c.Exchanges) != 1 || string(c.Exchanges[0].RequestBody) != "hello" || c.Exchanges[0].Status != 200 {
			t.Errorf("order %v: payload %d of %d, exchanges %+v", order, f.PayloadUp, len(posted), c.Exchanges)
		}
	}
}

// TestOverlap repeats the end of what was sent together with what follows it, as
// a sender does that could not send more before.
func TestOverlap(t *testing.T) {
	for _, held := range []bool{false, true} { // the second one waits behind a hole
		w := newWire(t)
		x := w.dial(phone4, host4).open()
		start := x.client.seq
		parts := [][2]int{{0, 30}, {20, 60}, {10, len(posted)}}
		if held {
			parts = [][2]int{{40, 60}, {20, 50}, {30, len(posted)}, {0, 30}}
		}
		for _, p := range parts {
			x.segment(x.client, start+uint32(p[0]), "PA", []byte(posted[p[0]:p[1]]))
		}
		x.client.seq = start + uint32(len(posted))
		x.close()
		c := readClean(t, w)
		if f := only(t, c); f.PayloadUp != int64(len(posted)) || len(c.Exchanges) != 1 || string(c.Exchanges[0].RequestBody) != "hello" {
			t.Errorf("payload %d of %d, exchanges %+v", f.PayloadUp, len(posted), c.Exchanges)
		}
	}
}

func TestLostSegmentIsReported(t *testing.T) {
	body := strings.Repeat("x", 100)
	w := newWire(t)
	x := w.dial(phone4, host4).open()
	x.up("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 300\r\n\r\n" + body)
	before := w.now
	w.after(time.Second)
	x.client.seq += 100 // the capture missed it, the server did not
	x.up(body)
	w.after(2 * time.Second)
	x.down(answered)
	by := w.now
	w.after(time.Hour)
	x.up(posted)
	x.down(answered)
	x.close()
	c := read(t, w.pcap(), dissect.Options{})
	f := only(t, c)
	if f.SkippedBytes != 100 || c.Health.SkippedBytes != 100 || c.Damaged {
		t.Errorf("skipped %d and %d bytes, want 100; health %+v", f.SkippedBytes, c.Health.SkippedBytes, c.Health)
	}
	if len(f.Holes) != 1 || f.Holes[0].Bytes != 100 || before.Sub(f.Holes[0].From).Abs() > 10*time.Millisecond || by.Sub(f.Holes[0].To).Abs() > 10*time.Millisecond {
		t.Errorf("holes %+v, want 100 bytes between %s and %s", f.Holes, before, by)
	}
	if len(c.Exchanges) != 2 || !c.Exchanges[0].RequestTruncated || c.Exchanges[0].BytesUp != 300 || len(c.Exchanges[0].RequestBody) != 200 {
		t.Fatalf("exchanges %+v", c.Exchanges)
	}
	if c.Exchanges[1].Status != 200 || string(c.Exchanges[1].RequestBody) != "hello" || c.Exchanges[1].RequestTruncated {
		t.Errorf("the exchange after the hole: %+v", c.Exchanges[1])
	}
	checkSent(t, f)
}

func TestLostHeadDoesNotHideTheNextRequest(t *testing.T) {
	w := newWire(t)
	x := w.dial(phone4, host4).open()
	x.up("GET /one HTTP/1.1\r\nHost: a.example\r\n")
	x.client.seq += 50
	w.after(time.Second)
	x.up(posted)
	w.after(2 * time.Second)
	x.down(answered)
	x.close()
	c := read(t, w.pcap(), dissect.Options{})
	if len(c.Exchanges) != 2 || c.Exchanges[0].URL != "http://a.example/one" || !c.Exchanges[0].RequestTruncated || c.Exchanges[1].URL != "http://sa.example/sa?project=x" {
		t.Errorf("exchanges %+v", c.Exchanges)
	}
}

// TestReusedPorts has two connections between the same sockets: the second one
// must not vanish in the first.
func TestReusedPorts(t *testing.T) {
	for _, end := range []string{"in order", "reset", "not seen"} {
		w := newWire(t)
		x := w.dial(phone4, host4).open()
		x.up(posted)
		x.down(answered)
		switch end {
		case "in order":
			x.close()
		case "reset":
			x.segment(x.server, x.server.seq, "R", nil)
		}
		w.after(time.Second)
		y := w.dial(phone4, host4)
		y.client.seq, y.server.seq = 77, 88
		y.open()
		y.up(strings.Replace(posted, "hello", "again", 1))
		y.down(answered)
		y.close()
		y.segment(y.client, y.client.seq, "A", nil) // an acknowledgement that trails
		c := readClean(t, w)
		if len(c.Flows) != 2 || len(c.Exchanges) != 2 || string(c.Exchanges[1].RequestBody) != "again" || c.Exchanges[0].Flow == c.Exchanges[1].Flow {
			t.Errorf("first ended %s: %d flows, exchanges %+v", end, len(c.Flows), c.Exchanges)
		}
	}
}

func TestRepeatedSYNIsOneConnection(t *testing.T) {
	w := newWire(t)
	x := w.dial(phone4, host4)
	x.segment(x.client, x.client.seq, "S", nil)
	w.after(time.Second)
	x.open()
	x.up(posted)
	x.close()
	only(t, readClean(t, w))
}

func TestAnswerBeforeQuestion(t *testing.T) {
	w := newWire(t)
	x := w.dial(phone4, host4).open()
	x.up(posted)
	x.down(answered)
	x.close()
	// The capture's two directions came from different queues.
	w.frames[0], w.frames[1] = w.frames[1], w.frames[0]
	f := only(t, readClean(t, w))
	if f.Client.String() != phone4 || f.Midstream {
		t.Errorf("flow %+v", f)
	}
}

func TestMidstream(t *testing.T) {
	w := newWire(t)
	x := w.dial(host4, phone4) // the first packet goes down
	x.up("tail of a reply\r\n")
	x.down(posted)
	x.up(answered)
	c := readClean(t, w)
	f := only(t, c)
	if !f.Midstream || f.Client.String() != phone4 || len(c.Exchanges) != 1 || c.Exchanges[0].Status != 200 {
		t.Errorf("flow %+v, exchanges %+v", f, c.Exchanges)
	}
}

func TestOrientation(t *testing.T) {
	local := func(a netip.Addr) bool { return a == netip.MustParseAddr("203.0.113.7") }
	for _, c := range []struct {
		name, first, second string
		o                   dissect.Options
		want                string
	}{
		{"well-known port", "203.0.113.7:443", "10.0.0.2:40000", dissect.Options{}, "10.0.0.2:40000"},
		{"private address", "203.0.113.7:50000", "10.0.0.2:40000", dissect.Options{}, "10.0.0.2:40000"},
		{"high port", "203.0.113.7:5222", "198.51.100.2:40000", dissect.Options{}, "198.51.100.2:40000"},
		{"first sender", "203.0.113.7:50000", "198.51.100.2:40000", dissect.Options{}, "203.0.113.7:50000"},
		{"the phone's own address", "10.0.0.2:40000", "203.0.113.7:443", dissect.Options{Local: local}, "203.0.113.7:443"},
		{"multicast", "10.0.0.2:80", "239.255.255.250:1900", dissect.Options{}, "10.0.0.2:80"},
	} {
		w := newWire(t)
		w.udp(c.first, c.second, []byte("some datagram"))
		w.udp(c.first, c.second, []byte("some datagram"))
		f := only(t, read(t, w.pcap(), c.o))
		if f.Client.String() != c.want {
			t.Errorf("%s: client %v, want %s", c.name, f.Client, c.want)
		}
		checkSent(t, f)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(w *wire, x *conn)
		want string
	}{
		{"refused", func(_ *wire, x *conn) {
			x.segment(x.client, x.client.seq, "S", nil)
			x.server.seq = 0
			x.segment(x.server, 0, "RA", nil)
		}, "connection refused"},
		{"no answer", func(w *wire, x *conn) {
			x.segment(x.client, x.client.seq, "S", nil)
			w.after(time.Second)
			x.segment(x.client, x.client.seq, "S", nil)
		}, "no answer"},
		{"unreachable", func(w *wire, x *conn) {
			x.segment(x.client, x.client.seq, "S", nil)
			quoted := w.frames[0].data[:28]
			w.packet(netip.MustParseAddr("10.0.0.1"), x.client.addr.Addr(), layers.IPProtocolICMPv4,
				&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}, gopacket.Payload(quoted))
		}, "unreachable, said 10.0.0.1"},
		{"fine", func(_ *wire, x *conn) {
			x.open()
			x.up(posted)
			x.close()
		}, ""},
	} {
		w := newWire(t)
		c.make(w, w.dial(phone4, host4))
		if f := readClean(t, w).Flows[0]; f.Failure != c.want {
			t.Errorf("%s: failure %q, want %q", c.name, f.Failure, c.want)
		}
	}
}

func TestFragments(t *testing.T) {
	payload := []byte(strings.Repeat("fragmented ", 300))
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}, {0, 1, 1, 2}} {
		w := newWire(t)
		w.udp("10.0.0.2:40000", "203.0.113.7:9999", payload)
		whole := w.frames[0].data
		w.frames = nil
		for _, i := range order {
			w.frames = append(w.frames, frame{at: noon, data: fragment4(whole, i*1208, min(len(whole)-20, (i+1)*1208))})
		}
		c := readClean(t, w)
		f := only(t, c)
		if f.Client.Port() != 40000 || f.PayloadUp != int64(len(payload)) || len(c.Unread) != 1 || string(c.Unread[0].Data) != string(payload) {
			t.Errorf("order %v: flow %+v, unread %d", order, f, len(c.Unread))
		}
	}
}

// fragment4 cuts a fragment out of an IPv4 packet.
func fragment4(ip []byte, from, to int) []byte {
	b := append([]byte(nil), ip[:20]...)
	b = append(b, ip[20+from:20+to]...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	field := uint16(from / 8)
	if to < len(ip)-20 {
		field |= 0x2000
	}
	binary.BigEndian.PutUint16(b[6:], field)
	return b
}

func TestFragments6(t *testing.T) {
	payload := []byte(strings.Repeat("fragmented ", 300))
	w := newWire(t)
	w.udp("[2001:db8::2]:40000", "[2001:db8:1::7]:9999", payload)
	whole := w.frames[0].data
	w.frames = nil
	for _, cut := range [][2]int{{1208, 2416}, {0, 1208}, {2416, len(whole) - 40}} {
		b := append([]byte(nil), whole[:40]...)
		b[6] = 44
		field := uint16(cut[0])
		if cut[1] < len(whole)-40 {
			field |= 1
		}
		b = append(b, 17, 0, byte(field>>8), byte(field), 0, 0, 0, 9)
		b = append(b, whole[40+cut[0]:40+cut[1]]...)
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		w.frames = append(w.frames, frame{at: noon, data: b})
	}
	c := readClean(t, w)
	if f := only(t, c); f.PayloadUp != int64(len(payload)) || f.Proto != capture.UDP {
		t.Errorf("flow %+v", f)
	}
}

func TestMissingFragmentIsAProblem(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40000", "203.0.113.7:9999", make([]byte, 3000))
	whole := w.frames[0].data
	w.frames = []frame{{at: noon, data: fragment4(whole, 0, 1208)}}
	c := read(t, w.pcap(), dissect.Options{})
	f := only(t, c)
	if f.Client.Port() != 40000 || f.BytesUp != 1228 || len(c.Health.Doubts()) != 1 || !strings.Contains(c.Health.Doubts()[0], "fragments") || c.Damaged {
		t.Errorf("flow %+v, health %+v", f, c.Health)
	}
	if l := c.Health.Losses; len(l) != 1 || l[0].Packets != 1 || l[0].Dropped || !l[0].From.Equal(noon) || !l[0].To.Equal(noon) {
		t.Errorf("losses %+v", c.Health.Losses)
	}
}

// TestLossesAreStretches: packets that cannot be read are told by their times, and
// however many there are, in a bounded number of stretches.
func TestLossesAreStretches(t *testing.T) {
	w := newWire(t)
	for i := range 5000 {
		if i == 1000 {
			w.after(time.Hour)
		}
		if i >= 1000 {
			w.after(2 * time.Second)
		}
		w.frames = append(w.frames, frame{at: w.now, data: []byte{0x45, 0, 0, 0}})
	}
	first, last := w.frames[0].at, w.now
	h := read(t, w.pcap(), dissect.Options{}).Health
	var all int64
	for _, l := range h.Losses {
		all += l.Packets
	}
	if all != 5000 || len(h.Losses) < 2 || len(h.Losses) > 1000 || h.Losses[0].Packets != 1000 || !h.Losses[0].From.Equal(first) || !h.Losses[0].To.Equal(first) {
		t.Errorf("%d packets in %d stretches, the first %+v", all, len(h.Losses), h.Losses[0])
	}
	if end := h.Losses[len(h.Losses)-1]; !end.To.Equal(last) || end.Packets < 3000 {
		t.Errorf("the last stretch is %+v, want one that reaches %s", end, last)
	}
}

func TestExtensionHeaders(t *testing.T) {
	w := newWire(t)
	w.udp("[2001:db8::2]:40000", "[2001:db8:1::7]:9999", []byte("behind headers"))
	plain := w.frames[0].data
	b := append([]byte(nil), plain[:40]...)
	b[6] = 0                                           // hop by hop
	b = append(b, 60, 0, 1, 4, 0, 0, 0, 0)             // then destination options
	b = append(b, 51, 1, 1, 12, 0, 0, 0, 0)            // of 16 bytes, then authentication
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)              //
	b = append(b, 44, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1) // of 12 bytes, then an atomic fragment
	b = append(b, 17, 0, 0, 0, 0, 0, 0, 7)             // of 8 bytes, then UDP
	b = append(b, plain[40:]...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	w.frames[0].data = b
	c := readClean(t, w)
	// Phones authenticate no packets, so the 10 bytes of that header are as good as payload.
	if f := only(t, c); f.Proto != capture.UDP || f.Server.Port() != 9999 || f.PayloadUp != 14+10 {
		t.Errorf("flow %+v", f)
	}
}

func TestICMP(t *testing.T) {
	w := newWire(t)
	w.packet(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("203.0.113.7"), layers.IPProtocolICMPv4,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1, Seq: 1}, gopacket.Payload("pattern in a ping"))
	w.packet(netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("10.0.0.2"), layers.IPProtocolICMPv4,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: 1, Seq: 1}, gopacket.Payload("pattern in a ping"))
	c := readClean(t, w)
	f := only(t, c)
	if f.Proto != capture.ICMP || f.BytesUp != 45 || f.BytesDown != 45 || f.Client.String() != "10.0.0.2:0" {
		t.Errorf("flow %+v", f)
	}
	if len(c.Unread) != 1 || string(c.Unread[0].Data) != "pattern in a ping" {
		t.Errorf("unread %+v", c.Unread)
	}
}

func TestBurstsStayBounded(t *testing.T) {
	w := newWire(t)
	for range 40_000 {
		w.udp("10.0.0.2:40000", "203.0.113.7:9999", []byte("x"))
		w.after(20 * time.Millisecond)
	}
	f := only(t, readClean(t, w))
	if len(f.Sent) > 1<<14 || len(f.Sent) < 1000 {
		t.Errorf("%d bursts", len(f.Sent))
	}
}

func TestBurstsFollowTime(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40000", "203.0.113.7:9999", []byte("x"))
	w.udp("10.0.0.2:40000", "203.0.113.7:9999", []byte("x")) // 1 ms later
	w.after(time.Minute)
	w.udp("10.0.0.2:40000", "203.0.113.7:9999", []byte("x"))
	f := only(t, readClean(t, w))
	if len(f.Sent) != 2 || f.Sent[0].Payload != 2 || f.Sent[1].Payload != 1 || f.Sent[1].At.Sub(f.Sent[0].At) < time.Minute {
		t.Errorf("bursts %+v", f.Sent)
	}
}

func TestTooManyFlowsKeepTheirBytes(t *testing.T) {
	w := newWire(t)
	for port := range 50 {
		w.udp(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.2"), uint16(40000+port)).String(), "203.0.113.7:9999", []byte("x"))
	}
	c := read(t, w.pcap(), dissect.Options{MaxFlows: 10})
	var total int64
	for _, f := range c.Flows {
		total += f.BytesUp
	}
	if len(c.Flows) != 11 || total != 50*29 || !c.Damaged {
		t.Errorf("%d flows with %d bytes, health %+v", len(c.Flows), total, c.Health)
	}
}
