package dissect_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"github.com/offproof/offproof/capture/dissect"
)

const spareWords = "korvandel mistruph"

// with changes the packet that was added last.
func (w *wire) with(change func(b []byte) []byte) {
	f := &w.frames[len(w.frames)-1]
	f.data = change(f.data)
}

// options4 puts options, a multiple of 4 bytes, into an IPv4 header.
func options4(options string) func(b []byte) []byte {
	return func(b []byte) []byte {
		out := append(append(append([]byte(nil), b[:20]...), options...), b[20:]...)
		out[0] += byte(len(options) / 4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		return out
	}
}

// optionsTCP puts options into the TCP header behind an IPv4 header.
func optionsTCP(options string) func(b []byte) []byte {
	return func(b []byte) []byte {
		out := append(append(append([]byte(nil), b[:40]...), options...), b[40:]...)
		out[32] += byte(len(options) / 4 << 4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		return out
	}
}

// extension6 puts an extension header, a multiple of 8 bytes without its first
// byte, into an IPv6 packet.
func extension6(kind byte, header string) func(b []byte) []byte {
	return func(b []byte) []byte {
		out := append(append(append(append([]byte(nil), b[:40]...), b[6]), header...), b[40:]...)
		out[6] = kind
		binary.BigEndian.PutUint16(out[4:], uint16(len(out)-40))
		return out
	}
}

// Whatever a packet has room for beside its payload is payload and is kept, and
// what every phone sends there is not.
func TestSpareRoomOfPackets(t *testing.T) {
	t.Parallel()
	const phone, server, phone6, server6 = "10.0.0.2:40000", "203.0.113.7:443", "[2001:db8::2]:40000", "[2001:db8:1::7]:443"
	const padded = spareWords + "\x00\x00" // 20 bytes
	fragments := func(w *wire, second string) {
		for _, part := range []struct {
			offset uint16
			more   uint16
			data   string
		}{{0, 0x2000, "\x9c\x40\x01\xbb\x00\x28\x00\x00" + strings.Repeat("a", 16)}, {1, 0x2000, second}, {3, 0, strings.Repeat("b", 16)}} {
			w.packet(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("203.0.113.7"), layers.IPProtocolUDP)
			w.with(func(b []byte) []byte {
				b = append(b, part.data...)
				binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
				binary.BigEndian.PutUint16(b[4:], 77)
				binary.BigEndian.PutUint16(b[6:], part.more|part.offset)
				return b
			})
		}
	}
	for _, c := range []struct {
		name    string
		do      func(w *wire)
		payload int64 // that was sent, 0 to take the words as a measure
		heard   bool
	}{
		{"an option of IPv4", func(w *wire) {
			w.udp(phone, server, []byte("x"))
			w.with(options4("\x5e\x14" + spareWords))
		}, 21, true},
		{"an option of TCP", func(w *wire) {
			k := w.dial(phone, server).open()
			k.segment(k.client, k.client.seq, "A", nil)
			w.with(optionsTCP("\xfd\x14" + spareWords))
		}, 20, true},
		{"a header option of IPv6", func(w *wire) {
			w.udp(phone6, server6, []byte("x"))
			w.with(extension6(60, "\x02\x1e\x14"+padded))
		}, 23, true},
		{"padding of IPv6", func(w *wire) {
			w.udp(phone6, server6, []byte("x"))
			w.with(extension6(0, "\x02\x01\x14"+padded))
		}, 23, true},
		{"a routing header", func(w *wire) {
			w.udp(phone6, server6, []byte("x"))
			w.with(extension6(43, "\x02\x04\x00"+padded))
		}, 23, true},
		{"behind the end of a datagram", func(w *wire) {
			w.udp(phone, server, []byte("x"+spareWords))
			w.with(func(b []byte) []byte { binary.BigEndian.PutUint16(b[24:], 9); return b })
		}, 19, true},
		{"in a reset", func(w *wire) {
			k := w.dial(phone, server).open()
			k.segment(k.client, k.client.seq, "RA", []byte(spareWords))
		}, 18, true},
		{"in a reset of nothing", func(w *wire) {
			k := w.dial(phone, server)
			k.segment(k.client, 77, "R", []byte(spareWords))
		}, 18, true},
		{"in place of bytes that were sent", func(w *wire) {
			k := w.dial(phone, server).open()
			k.up(strings.Repeat("\x00", 100))
			k.segment(k.client, k.client.seq-100, "PA", []byte(spareWords))
		}, 118, true},
		{"far before all that was sent", func(w *wire) {
			k := w.dial(phone, server).open()
			k.up("\x00\x01")
			k.segment(k.client, k.client.seq-100000, "PA", []byte(spareWords))
		}, 20, true},
		{"in place of bytes that wait behind a hole", func(w *wire) {
			k := w.dial(phone, server).open()
			k.segment(k.client, k.client.seq+10, "PA", []byte(strings.Repeat("\x00", 30)))
			k.segment(k.client, k.client.seq+14, "PA", []byte(spareWords))
			k.segment(k.client, k.client.seq, "PA", []byte(strings.Repeat("\x00", 10)))
			k.client.seq += 40
			k.segment(k.server, k.server.seq, "A", nil)
		}, 58, true},
		{"in place of a fragment", func(w *wire) { fragments(w, spareWords[2:]) }, 32 + 16, false},

		{"a repetition", func(w *wire) {
			k := w.dial(phone, server).open()
			k.up(spareWords)
			k.up(strings.Repeat("a", 100))
			k.segment(k.client, k.client.seq-118, "PA", []byte(spareWords+"aa"))
			k.segment(k.client, k.client.seq-50, "PA", []byte(strings.Repeat("a", 60)))
			k.client.seq += 10
			k.segment(k.server, k.server.seq, "A", nil)
		}, 128, true},
		{"what joins a group and keeps alive", func(w *wire) {
			w.packet(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("224.0.0.22"), layers.IPProtocolIGMP)
			w.with(options4("\x94\x04\x00\x00"))
			w.udp(phone6, server6, []byte("x"))
			w.with(extension6(0, "\x00\x05\x02\x00\x00\x01\x00"))
			k := w.dial(phone, server).open()
			w.with(optionsTCP("\x02\x04\x05\xb4\x04\x02\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00\x01\x03\x03\x09"))
			k.segment(k.client, k.client.seq-1, "A", nil)
			w.with(optionsTCP("\x01\x01\x08\x0a\x01\x02\x03\x04\x05\x06\x07\x08\x01\x01\x05\x0a\x01\x02\x03\x04\x05\x06\x07\x08"))
			k.close()
		}, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			c.do(w)
			read := read(t, w.pcap(), dissect.Options{Local: func(a netip.Addr) bool { return a.IsPrivate() || a == netip.MustParseAddr("2001:db8::2") }})
			var payload int64
			for _, f := range read.Flows {
				payload += f.PayloadUp
				checkSent(t, f)
			}
			var kept strings.Builder
			for _, u := range read.Unread {
				kept.Write(u.Data)
			}
			if payload != c.payload || strings.Contains(kept.String(), spareWords) != c.heard || read.Damaged {
				t.Errorf("%d bytes of payload, want %d; kept %q; %+v", payload, c.payload, kept.String(), read.Health)
			}
		})
	}
}

// A capture that begins or is cut in a conversation must not make a repetition of
// what nobody has seen into nothing.
func TestRepetitionOfWhatNobodySaw(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	k := w.dial("10.0.0.2:40000", "203.0.113.7:8883")
	k.client.seq += 1000
	k.up("\x00\x01\x02")
	k.segment(k.client, k.client.seq-500, "PA", []byte(spareWords))
	c := read(t, w.pcap(), dissect.Options{})
	if len(c.Flows) != 1 || c.Flows[0].PayloadUp != 21 || !c.Flows[0].Midstream {
		t.Errorf("%+v", c.Flows)
	}
	if len(c.Unread) != 1 || !strings.Contains(string(c.Unread[0].Data), spareWords) {
		t.Errorf("kept %+v", c.Unread)
	}
}

// Fragments that overlap and never come to an end hold bounded memory, and all of
// their bytes count.
func TestFragmentsAreBounded(t *testing.T) {
	t.Parallel()
	const each, size = 12, 30_000
	most, counted := dissect.FragmentsHeld(300, each, size)
	if most > 70<<20 {
		t.Errorf("%d bytes wait", most)
	}
	if want := each * size; counted < want-1000 || counted > want+1000 {
		t.Errorf("%d bytes are counted, want %d", counted, want)
	}
}
