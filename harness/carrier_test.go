package harness_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/harness"
)

// unread adds a datagram of a protocol that nobody reads to the packet capture.
func (w *world) unread(at time.Time, server string, data []byte) {
	f := w.datagrams(at, capture.Flow{
		Proto: capture.UDP, Server: netip.MustParseAddrPort(server), BytesUp: int64(len(data)) + 28, PayloadUp: int64(len(data)), Visibility: capture.Metadata,
	})
	c := w.ev.Packets["tcpdump"]
	c.Unread = append(c.Unread, dissect.Unread{Flow: f.ID, Data: data})
}

// link adds a frame that is no IP packet to the packet capture.
func (w *world) link(at time.Time, data string) {
	f := w.datagrams(at, capture.Flow{Proto: capture.Link, BytesUp: int64(len(data)), PayloadUp: int64(len(data)), Visibility: capture.Metadata})
	f.Client = netip.AddrPort{}
	c := w.ev.Packets["tcpdump"]
	c.Unread = append(c.Unread, dissect.Unread{Flow: f.ID, Data: []byte(data)})
}

// sntp is the question of a client that asks for the time, as Android's does.
func sntp(stamp string) []byte {
	b := make([]byte, 48)
	b[0] = 0x1b
	copy(b[40:], stamp)
	return b
}

// TestCarriers are places of a packet or of a handshake in which words can ride.
func TestCarriers(t *testing.T) {
	t.Parallel()
	off := func(w *world) *harness.Observation { return w.get("off-1") }
	in := func(w *world) time.Time { return off(w).Acts[0].Add(2 * time.Second) }
	words := func(w *world) string { return strings.ReplaceAll(off(w).Canaries[0].Term, " ", "-") }
	hello := func(w *world, uid int) *capture.Flow {
		w.packets(in(w), "tls", "cdn.example", 900, uid)
		c := w.ev.Packets["tcpdump"]
		return &c.Flows[len(c.Flows)-1]
	}
	for _, c := range []struct {
		name    string
		happens func(w *world)
		want    harness.Outcome
		because string
	}{
		{"another app speaks to somebody", func(w *world) { hello(w, noiseUID) }, harness.Stops, "not observed"},
		{"the words in the name that a handshake asks for", func(w *world) {
			hello(w, noiseUID).SNI = words(w) + ".example"
		}, harness.Continues, "in the sni"},
		{"an identifier in that name", func(w *world) {
			hello(w, claimUID).SNI = "9f3c1d2e4b5a6978.cdn.example"
		}, harness.Continues, "ANDROID_ID"},
		{"the words in the name of a protocol", func(w *world) {
			hello(w, noiseUID).ALPN = []string{"h2", words(w)}
		}, harness.Continues, "in the alpn"},
		{"the words elsewhere in a handshake", func(w *world) {
			c, f := w.ev.Packets["tcpdump"], hello(w, noiseUID)
			c.Greetings = append(c.Greetings, dissect.Unread{Flow: f.ID, Data: []byte("\x01\x00\x00\x20" + words(w))})
		}, harness.Continues, "in the handshake"},
		{"a handshake with nothing in it", func(w *world) {
			c, f := w.ev.Packets["tcpdump"], hello(w, noiseUID)
			c.Greetings = append(c.Greetings, dissect.Unread{Flow: f.ID, Data: []byte("\x01\x00\x00\x04\x03\x03\x9e\x11")})
		}, harness.Stops, "not observed"},
		{"the words in the name of a handshake that failed at the proxy", func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", SNI: words(w) + ".example", Host: words(w) + ".example", HostFrom: capture.FromSNI, Start: in(w), End: in(w), BytesUp: 300, PayloadUp: 300,
				Visibility: capture.Metadata, Failure: "the client refused the handshake: unknown_ca",
			})
		}, harness.Continues, "korvandel"},
		{"the words in the name that a tunnel was asked for", func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", Host: words(w) + ".example", HostFrom: capture.FromConnect, Start: in(w), End: in(w), BytesUp: 300, PayloadUp: 300,
				Visibility: capture.Metadata, Failure: "no answer",
			})
		}, harness.Continues, "korvandel"},

		{"a question for a name that was sent again", func(w *world) {
			w.lookup(in(w), "192.168.43.1:53", "cdn.example", 2*(29+11))
			c := w.ev.Packets["tcpdump"]
			c.Lookups[len(c.Lookups)-1].Asked = 2
		}, harness.Stops, "not observed"},
		{"something short beside a question for a name", func(w *world) {
			w.lookup(in(w), "192.168.43.1:53", "cdn.example", 29+11+30)
			c := w.ev.Packets["tcpdump"]
			c.Lookups[len(c.Lookups)-1].Asked = 1
		}, harness.OutcomeInconclusive, "opaque transport"},
		{"a question for the time", func(w *world) { w.unread(in(w), "203.0.113.123:123", sntp("\xec\xb1\x02\x03\x04\x05\x06\x07")) }, harness.Stops, "not observed"},
		{"a question for the time with something in its fields", func(w *world) {
			w.unread(in(w), "203.0.113.123:123", append(append(sntp("")[:16:16], "\x9e\x11\xf4\x5c\x03\xd8\x77\x8a\xb1\x2c\xee\x60\x95\x4f\xa3\x1d\x7b\xc2\x38\xe9\x56\x0d\xf1\x84"...), 1, 2, 3, 4, 5, 6, 7, 8))
		}, harness.OutcomeInconclusive, "opaque transport"},
		{"a question for the time whose bytes were not kept", func(w *world) {
			w.unread(in(w), "203.0.113.123:123", sntp("")[:20])
			c := w.ev.Packets["tcpdump"]
			f := &c.Flows[len(c.Flows)-1]
			f.PayloadUp, f.Sent[0].Payload = 48, 48
		}, harness.OutcomeInconclusive, "opaque transport"},

		{"words to everybody on the link", func(w *world) {
			w.unread(in(w), "239.255.255.250:1900", []byte("M-SEARCH * HTTP/1.1\r\nST: "+words(w)+"\r\n\r\n"))
		}, harness.Continues, "korvandel"},
		{"words to everybody on the link who knows the way", func(w *world) {
			w.unread(in(w), "224.0.0.251:5353", []byte("\x00\x01words "+words(w)))
		}, harness.Continues, "korvandel"},
		{"a question for an address on the link", func(w *world) {
			w.link(in(w), "\x00\x01\x08\x00\x06\x04\x00\x01 9f3c1d2e4b5a6978")
		}, harness.Stops, "not observed"},
		{"words in such a question", func(w *world) { w.link(in(w), words(w)) }, harness.Continues, "the local link"},
		{"the phone's own address where DHCP has it", func(w *world) {
			w.unread(in(w), "255.255.255.255:67", append(bytes.Repeat([]byte{0}, 40), "9f3c1d2e4b5a6978"...))
		}, harness.Stops, "not observed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.happens(w)
			f := w.judge()
			if f.Outcome != c.want || !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("outcome %s because %q, want %s and %q; %+v", f.Outcome, f.Because, c.want, c.because, off(w).Finding.Accounting.InScope)
			}
		})
	}
}
