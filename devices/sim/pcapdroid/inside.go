package pcapdroid

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

// The tunnel's addresses, and the resolvers that apps see in it.
var (
	tunnel4   = netip.AddrFrom4([4]byte{10, 215, 173, 1})
	resolver4 = netip.AddrFrom4([4]byte{10, 215, 173, 2})
	tunnel6   = netip.MustParseAddr("fd00:2:fd00:1:fd00:1:fd00:1")
	resolver6 = netip.MustParseAddr("2001:4860:4860::8888")
)

// Numbers of protocols over IP, and the port of DNS.
const (
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	portDNS     = 53
)

// inside is a packet of the wire as it is in the tunnel: without the link header,
// from the tunnel's address and to its resolver. False means that it did not go
// through the tunnel.
func (r *recording) inside(frame []byte) (packet []byte, out, ok bool) {
	if len(frame) < 14+20 {
		return nil, false, false
	}
	packet = bytes.Clone(frame[14:])
	out = bytes.Equal(frame[6:12], r.a.cfg.MAC)
	ends, is6 := [2]int{12, 16}, false
	size := 4
	switch {
	case packet[0]>>4 == 4 && r.set.four:
	case packet[0]>>4 == 6 && r.set.six && len(packet) >= 40:
		ends, is6, size = [2]int{8, 24}, true, 16
	default:
		return nil, false, false
	}
	mine, peer := ends[0], ends[1]
	if !out {
		mine, peer = peer, mine
	}
	addr := func(at int) netip.Addr {
		a, _ := netip.AddrFromSlice(packet[at : at+size])
		return a
	}
	if !r.own(addr(mine)) {
		return nil, false, false
	}
	header, proto := 40, packet[6]
	if !is6 {
		header, proto = int(packet[0]&15)*4, packet[9]
		if header < 20 || header > len(packet) {
			return nil, false, false
		}
	}
	put := func(at int, to netip.Addr) { copy(packet[at:], to.AsSlice()) }
	tunnel, resolver := tunnel4, resolver4
	if is6 {
		tunnel, resolver = tunnel6, resolver6
	}
	if whole := is6 || binary.BigEndian.Uint16(packet[6:])&0x1fff == 0; whole && (proto == protoTCP || proto == protoUDP) && len(packet) >= header+4 {
		port := header + 2
		if !out {
			port = header
		}
		if binary.BigEndian.Uint16(packet[port:]) == portDNS && r.asked(addr(peer)) {
			put(peer, resolver)
		}
	}
	put(mine, tunnel)
	seal(packet, header, proto, is6, size, ends)
	return packet, out, true
}

// takes says whether a packet of the phone's goes through the tunnel, by its
// version and its address on the phone: a link's own does not.
func (s settings) takes(packet []byte, out bool) bool {
	switch {
	case len(packet) >= 20 && packet[0]>>4 == 4:
		return s.four
	case len(packet) >= 40 && packet[0]>>4 == 6 && s.six:
		mine := packet[8:24]
		if !out {
			mine = packet[24:40]
		}
		a, _ := netip.AddrFromSlice(mine)
		return !a.IsLinkLocalUnicast()
	}
	return false
}

// own says whether an address is the phone's own, as it goes through the tunnel:
// what a link needs of its own does not.
func (r *recording) own(a netip.Addr) bool {
	for _, p := range r.a.cfg.Addrs() {
		if p.Addr() == a && !a.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

func (r *recording) asked(a netip.Addr) bool {
	for _, known := range r.a.cfg.Resolvers {
		if known == a {
			return true
		}
	}
	return false
}

// seal writes the checksums anew.
func seal(packet []byte, header int, proto byte, is6 bool, size int, ends [2]int) {
	if !is6 {
		binary.BigEndian.PutUint16(packet[10:], 0)
		binary.BigEndian.PutUint16(packet[10:], ^sum(0, packet[:header]))
		if binary.BigEndian.Uint16(packet[6:])&0x3fff != 0 {
			return // A fragment holds no whole checksum.
		}
	}
	at := map[byte]int{protoTCP: 16, protoUDP: 6, protoICMPv6: 2}[proto]
	body := packet[header:]
	if at == 0 || proto == protoICMPv6 && !is6 || len(body) < at+2 {
		return
	}
	binary.BigEndian.PutUint16(body[at:], 0)
	pseudo := sum(0, packet[ends[0]:ends[0]+size])
	pseudo = sum(pseudo, packet[ends[1]:ends[1]+size])
	pseudo = sum(pseudo, []byte{0, proto, byte(len(body) >> 8), byte(len(body))})
	total := ^sum(pseudo, body)
	if total == 0 && proto == protoUDP {
		total = 0xffff
	}
	binary.BigEndian.PutUint16(body[at:], total)
}

// sum is the internet's sum over bytes, from one that was begun.
func sum(begun uint16, b []byte) uint16 {
	n := uint32(begun)
	for ; len(b) >= 2; b = b[2:] {
		n += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint32(b[0]) << 8
	}
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}

// flowOf is what the packets of one conversation have in common, for as long as
// the kernel has forgotten the socket already.
func flowOf(packet []byte, out bool) string {
	header, from, to, size := 40, 8, 24, 16
	proto := packet[6]
	if packet[0]>>4 == 4 {
		header, from, to, size, proto = int(packet[0]&15)*4, 12, 16, 4, packet[9]
	}
	if proto != protoTCP && proto != protoUDP || len(packet) < header+4 {
		return ""
	}
	a := string(packet[from:from+size]) + string(packet[header:header+2])
	b := string(packet[to:to+size]) + string(packet[header+2:header+4])
	if !out {
		a, b = b, a
	}
	return string(proto) + a + b
}
