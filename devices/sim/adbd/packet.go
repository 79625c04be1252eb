package adbd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The commands of the transport protocol, as their four letters read in little
// endian. Source: protocol.txt of AOSP's adb.
const (
	cmdConnect = 0x4e584e43 // CNXN
	cmdAuth    = 0x48545541 // AUTH
	cmdOpen    = 0x4e45504f // OPEN
	cmdOkay    = 0x59414b4f // OKAY
	cmdClose   = 0x45534c43 // CLSE
	cmdWrite   = 0x45545257 // WRTE
)

const (
	headSize = 24

	// versionChecked is the first version of the protocol, whose peers check
	// every packet's sum; from versionUnchecked on nobody does.
	versionChecked   = 0x01000000
	versionUnchecked = 0x01000001

	// maxPayload is the longest payload that the daemon takes, and minPayload what
	// every peer takes.
	maxPayload = 1 << 20
	minPayload = 4 << 10
)

// A packet is one message of the transport protocol.
type packet struct {
	command, arg0, arg1 uint32
	data                []byte
}

// errMagic means that the peer speaks another protocol, or has lost its place.
var errMagic = errors.New("packet: the magic does not fit the command")

// sum is the checksum of a payload.
func sum(data []byte) uint32 {
	var n uint32
	for _, b := range data {
		n += uint32(b)
	}
	return n
}

// head is the packet's header, with a checksum or without.
func (p packet) head(checked bool) []byte {
	check := uint32(0)
	if checked {
		check = sum(p.data)
	}
	b := make([]byte, 0, headSize)
	for _, n := range []uint32{p.command, p.arg0, p.arg1, uint32(len(p.data)), check, ^p.command} { //nolint:gosec // At most maxPayload.
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// readPacket reads a packet of at most limit bytes of payload, and the sum that
// its header claims.
func readPacket(r io.Reader, limit uint32) (p packet, claimed uint32, err error) {
	var head [headSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return packet{}, 0, err
	}
	field := func(i int) uint32 { return binary.LittleEndian.Uint32(head[4*i:]) }
	p = packet{command: field(0), arg0: field(1), arg1: field(2)}
	if field(5) != ^p.command {
		return packet{}, 0, errMagic
	}
	n := field(3)
	if n > limit {
		return packet{}, 0, fmt.Errorf("packet: %d bytes of payload, %d were agreed", n, limit)
	}
	p.data = make([]byte, n)
	if _, err := io.ReadFull(r, p.data); err != nil {
		return packet{}, 0, unexpected(err)
	}
	return p, field(4), nil
}
