package dissect_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// noon is when all made captures begin.
var noon = time.Date(2020, 5, 4, 12, 0, 0, 0, time.UTC)

// A frame is one packet of a made capture.
type frame struct {
	at   time.Time
	data []byte // from the IP header on
	link []byte // what stands before it, nil for Ethernet
	keep int    // bytes that the capture keeps of the whole, 0 for all
}

// A wire makes captures. The packets are written by gopacket, so that the
// reader and its tests share no code.
type wire struct {
	t      testing.TB
	now    time.Time
	frames []frame
	id     uint16
}

func newWire(t testing.TB) *wire { return &wire{t: t, now: noon} }

func (w *wire) after(d time.Duration) { w.now = w.now.Add(d) }

// packet adds one IP packet with the given layers inside.
func (w *wire) packet(src, dst netip.Addr, proto layers.IPProtocol, inner ...gopacket.SerializableLayer) {
	w.t.Helper()
	w.id++
	var network gopacket.SerializableLayer
	if src.Is4() {
		network = &layers.IPv4{Version: 4, TTL: 64, Id: w.id, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	} else {
		network = &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	for _, l := range inner {
		if c, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := c.SetNetworkLayerForChecksum(network.(gopacket.NetworkLayer)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append([]gopacket.SerializableLayer{network}, inner...)...); err != nil {
		w.t.Fatal(err)
	}
	w.frames = append(w.frames, frame{at: w.now, data: bytes.Clone(buf.Bytes())})
	w.after(time.Millisecond)
}

// udp adds a datagram.
func (w *wire) udp(from, to string, payload []byte) {
	w.t.Helper()
	a, b := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
	w.packet(a.Addr(), b.Addr(), layers.IPProtocolUDP,
		&layers.UDP{SrcPort: layers.UDPPort(a.Port()), DstPort: layers.UDPPort(b.Port())}, gopacket.Payload(payload))
}

// A talker is one end of a made TCP connection.
type talker struct {
	addr netip.AddrPort
	seq  uint32
}

// A conn is a made TCP connection.
type conn struct {
	w              *wire
	client, server *talker
	mss            int
}

// dial makes a connection without sending anything yet.
func (w *wire) dial(client, server string) *conn {
	return &conn{
		w: w, mss: 1400,
		client: &talker{netip.MustParseAddrPort(client), 0xfffffe00}, // wraps soon
		server: &talker{netip.MustParseAddrPort(server), 5000},
	}
}

// segment adds one segment with given sequence number.
func (c *conn) segment(from *talker, seq uint32, flags string, payload []byte) {
	c.w.t.Helper()
	to := c.server
	if from == c.server {
		to = c.client
	}
	tcp := &layers.TCP{SrcPort: layers.TCPPort(from.addr.Port()), DstPort: layers.TCPPort(to.addr.Port()), Seq: seq, Window: 65000}
	for _, f := range flags {
		switch f {
		case 'S':
			tcp.SYN = true
		case 'F':
			tcp.FIN = true
		case 'R':
			tcp.RST = true
		case 'P':
			tcp.PSH = true
		case 'A':
			tcp.ACK, tcp.Ack = true, to.seq
		}
	}
	c.w.packet(from.addr.Addr(), to.addr.Addr(), layers.IPProtocolTCP, tcp, gopacket.Payload(payload))
}

func (c *conn) open() *conn {
	c.w.t.Helper()
	c.segment(c.client, c.client.seq, "S", nil)
	c.client.seq++
	c.segment(c.server, c.server.seq, "SA", nil)
	c.server.seq++
	c.segment(c.client, c.client.seq, "A", nil)
	return c
}

// send adds data in segments of at most mss, each acknowledged.
func (c *conn) send(from *talker, data []byte) {
	c.w.t.Helper()
	to := c.server
	if from == c.server {
		to = c.client
	}
	for len(data) > 0 {
		n := min(c.mss, len(data))
		c.segment(from, from.seq, "PA", data[:n])
		from.seq += uint32(n)
		data = data[n:]
		c.segment(to, to.seq, "A", nil)
	}
}

func (c *conn) up(data string)   { c.w.t.Helper(); c.send(c.client, []byte(data)) }
func (c *conn) down(data string) { c.w.t.Helper(); c.send(c.server, []byte(data)) }

// close ends the connection in order, with a trailing acknowledgement.
func (c *conn) close() {
	c.w.t.Helper()
	c.segment(c.client, c.client.seq, "FA", nil)
	c.client.seq++
	c.segment(c.server, c.server.seq, "FA", nil)
	c.server.seq++
	c.segment(c.client, c.client.seq, "A", nil)
}

// ethernet is the link header of a packet.
func ethernet(ip []byte) []byte {
	kind := []byte{0x08, 0x00}
	if ip[0]>>4 == 6 {
		kind = []byte{0x86, 0xdd}
	}
	return append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, kind...)
}

func (f frame) bytes() []byte {
	link := f.link
	if link == nil {
		link = ethernet(f.data)
	}
	return append(bytes.Clone(link), f.data...)
}

func (f frame) kept() []byte {
	b := f.bytes()
	if f.keep > 0 {
		b = b[:min(len(b), f.keep)]
	}
	return b
}

// pcap is the capture as a classic file.
func (w *wire) pcap() []byte { return pcapOf(binary.LittleEndian, false, 1, w.frames) }

func pcapOf(order binary.AppendByteOrder, nano bool, link uint32, frames []frame) []byte {
	magic := uint32(0xa1b2c3d4)
	if nano {
		magic = 0xa1b23c4d
	}
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = order.AppendUint32(b, 262144)
	b = order.AppendUint32(b, link)
	for _, f := range frames {
		frac := uint32(f.at.Nanosecond())
		if !nano {
			frac /= 1000
		}
		b = order.AppendUint32(b, uint32(f.at.Unix()))
		b = order.AppendUint32(b, frac)
		b = order.AppendUint32(b, uint32(len(f.kept())))
		b = order.AppendUint32(b, uint32(len(f.bytes())))
		b = append(b, f.kept()...)
	}
	return b
}

// read reads a capture that must be a sound file.
func read(t testing.TB, file []byte, o dissect.Options) *dissect.Capture {
	t.Helper()
	c, err := dissect.Read(bytes.NewReader(file), o)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return c
}

// readClean is read for a capture that lacks nothing.
func readClean(t testing.TB, w *wire) *dissect.Capture {
	t.Helper()
	c := read(t, w.pcap(), dissect.Options{})
	if c.Damaged || c.Health.Truncated || len(c.Health.Doubts()) > 0 || c.Health.SkippedBytes > 0 || int(c.Health.Packets) != len(w.frames) {
		t.Fatalf("health of a sound capture of %d packets: %+v", len(w.frames), c.Health)
	}
	var total int64
	for _, f := range c.Flows {
		total += f.BytesUp + f.BytesDown
		checkSent(t, f)
	}
	var want int64
	for _, f := range w.frames {
		want += int64(len(f.data))
	}
	if total != want {
		t.Fatalf("flows hold %d IP bytes, the capture %d", total, want)
	}
	return c
}

// checkSent checks that the bursts of a flow add up to what its client sent.
func checkSent(t testing.TB, f capture.Flow) {
	t.Helper()
	var bytes, payload int64
	for _, b := range f.Sent {
		bytes, payload = bytes+b.Bytes, payload+b.Payload
	}
	if bytes != f.BytesUp || payload != f.PayloadUp {
		t.Errorf("flow %s: bursts of %d bytes and %d payload, flow of %d and %d", f.ID, bytes, payload, f.BytesUp, f.PayloadUp)
	}
}
