package dissect

import (
	"encoding/binary"

	"github.com/offproof/offproof/capture"
)

// Frames that are no IP packets, such as ARP, never leave the link. Those that the
// phone sent are flows without addresses, one for each type, so that its counters,
// which count them, can be compared with what was captured, and so that somebody
// reads them.

const (
	// maxLinks bounds the senders and types of frames that are told apart before it
	// is known which sender is the phone.
	maxLinks = 256
	// leastType is the lowest type of an Ethernet frame; what is lower is a length.
	leastType = 0x600
	// cookedSent is how Linux marks what a host sends (packet(7), PACKET_OUTGOING).
	cookedSent = 4
)

// A linkKey is who sent frames of one type; no address where the capture says
// itself that the phone did.
type linkKey struct {
	from [6]byte
	kind uint16
}

// linkFrame takes a frame that is no IP packet. Where nobody says which addresses
// are the phone's, nobody knows who sent it.
func (e *engine) linkFrame(rec *record, b []byte) {
	var key linkKey
	var body []byte
	switch {
	case e.o.Local == nil:
		return
	case rec.link == linkEthernet && len(b) >= 14:
		key.from = [6]byte(b[6:12])
		key.kind, body = binary.BigEndian.Uint16(b[12:]), b[14:]
	case rec.link == linkCooked && len(b) >= 16 && binary.BigEndian.Uint16(b) == cookedSent:
		key.kind, body = binary.BigEndian.Uint16(b[14:]), b[16:]
	case rec.link == linkCooked2 && len(b) >= 20 && b[10] == cookedSent:
		key.kind, body = binary.BigEndian.Uint16(b), b[20:]
	default:
		return
	}
	if key.kind < leastType {
		key.kind = 0
	}
	f := e.links[key]
	if f == nil {
		if len(e.links) >= maxLinks && !e.own[key.from] {
			return
		}
		if e.links == nil {
			e.links = map[linkKey]*flow{}
		}
		f = &flow{proto: capture.Link, start: rec.at, end: rec.at, asker: -1, opener: -1}
		e.links[key] = f
		e.linkOrder = append(e.linkOrder, key)
	}
	size := len(body) + max(0, rec.wire-len(rec.data))
	f.count(0, size, size, rec.at)
	f.keepUnread(e, 0, body)
}

// learn notes the hardware address from which the phone sends.
func (e *engine) learn(rec *record, p *packet) {
	if rec.link != linkEthernet || e.o.Local == nil || len(e.own) >= maxLinks || !e.o.Local(p.src) || len(rec.data) < 12 {
		return
	}
	if e.own == nil {
		e.own = map[[6]byte]bool{}
	}
	e.own[[6]byte(rec.data[6:12])] = true
}

// endLinks makes flows of the phone's frames, behind all others.
func (e *engine) endLinks() {
	for _, key := range e.linkOrder {
		if f := e.links[key]; key.from == [6]byte{} || e.own[key.from] {
			f.number = len(e.order) + 1
			e.order = append(e.order, f)
		}
	}
}
