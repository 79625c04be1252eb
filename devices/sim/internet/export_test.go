package internet

import "net/netip"

// Inspect runs everything that reads raw bytes of a packet.
func Inspect(b []byte) (netip.Addr, bool) {
	newSockets().uidOf(b, true)
	newSockets().uidOf(b, false)
	dst, ok := destination(b)
	seal(append([]byte(nil), b...))
	return dst, ok
}

// Answer makes the resolver's reply to a packet.
func (n *Internet) Answer(packed []byte) ([]byte, Question, bool) { return n.answer(packed) }

// TapLimit is the size of a tap's buffer in bytes of frames.
const TapLimit = tapBytes
