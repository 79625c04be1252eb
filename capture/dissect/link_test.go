package dissect_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// Frames that are no IP packets are flows where the phone sent them, whichever way
// the capture tells, and nothing where others did.
func TestFramesOfTheLink(t *testing.T) {
	t.Parallel()
	const arp = "\x00\x01\x08\x00\x06\x04\x00\x01\x02\x00\x00\x00\x00\x02\x0a\x00\x00\x02\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x01"
	phone, peer := "\x02\x00\x00\x00\x00\x02", "\x02\x00\x00\x00\x00\x01"
	local := func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.2") }
	for _, c := range []struct {
		name  string
		link  uint32
		ip    string // the link header of an IP packet of the phone's
		sent  string
		heard string // of a neighbour's frame
	}{
		{"Ethernet", 1, peer + phone + "\x08\x00", peer + phone + "\x08\x06", phone + peer + "\x08\x06"},
		{
			"Linux cooked", 113, "\x00\x04\x00\x01\x00\x06" + phone + "\x00\x00\x08\x00",
			"\x00\x04\x00\x01\x00\x06" + phone + "\x00\x00\x08\x06", "\x00\x01\x00\x01\x00\x06" + peer + "\x00\x00\x08\x06",
		},
		{
			"Linux cooked v2", 276, "\x08\x00\x00\x00\x00\x00\x00\x02\x00\x01\x04\x06" + phone + "\x00\x00",
			"\x08\x06\x00\x00\x00\x00\x00\x02\x00\x01\x04\x06" + phone + "\x00\x00", "\x08\x06\x00\x00\x00\x00\x00\x02\x00\x01\x01\x06" + peer + "\x00\x00",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			w.udp("10.0.0.2:40000", "203.0.113.7:9999", []byte("x"))
			w.frames[0].link = []byte(c.ip)
			for range 2 {
				w.frames = append(w.frames, frame{at: w.now, data: []byte(arp), link: []byte(c.sent)}, frame{at: w.now, data: []byte(arp), link: []byte(c.heard)})
			}
			file := pcapOf(binary.LittleEndian, false, c.link, w.frames)
			got := read(t, file, dissect.Options{Local: local})
			if len(got.Flows) != 2 || got.Damaged || len(got.Health.Problems) > 0 {
				t.Fatalf("flows %+v, %+v", got.Flows, got.Health)
			}
			f := got.Flows[1]
			checkSent(t, f)
			if f.Proto != capture.Link || f.BytesUp != 2*28 || f.PayloadUp != 2*28 || f.BytesDown != 0 {
				t.Errorf("flow %+v", f)
			}
			if kept := keptOf(got); kept != "x"+strings.Repeat(arp, 2) {
				t.Errorf("kept %q", kept)
			}
			if got := read(t, file, dissect.Options{}); len(got.Flows) != 1 {
				t.Errorf("where nobody knows the phone: flows %+v", got.Flows)
			}
		})
	}
}
