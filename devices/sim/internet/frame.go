package internet

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// Protocol numbers of IP.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// A flowKey names a socket's conversation, seen from the phone.
type flowKey struct {
	proto         uint8
	local, remote netip.AddrPort
}

// destination reads the destination address of an IP packet.
func destination(b []byte) (netip.Addr, bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[16:20])), true
	case len(b) >= 40 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[24:40])), true
	}
	return netip.Addr{}, false
}

// conversation reads the addresses and ports of an IP packet. For an echo
// request or reply the identifier stands for the local port.
func conversation(b []byte, out bool) (flowKey, bool) {
	var src, dst netip.Addr
	var proto uint8
	var rest []byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		src, dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		head := int(b[0]&15) * 4
		if head < 20 || head > len(b) || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return flowKey{}, false
		}
		proto, rest = b[9], b[head:]
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		// The phones' stacks send no extension headers but in fragments of
		// large datagrams, which are then counted as the kernel's.
		proto, rest = b[6], b[40:]
	default:
		return flowKey{}, false
	}
	if len(rest) < 8 {
		return flowKey{}, false
	}
	key := flowKey{proto: proto}
	var sport, dport uint16
	switch proto {
	case protoTCP, protoUDP:
		sport, dport = binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	case protoICMP, protoICMPv6:
		key.proto = protoICMP
		id := binary.BigEndian.Uint16(rest[4:])
		if out {
			sport = id
		} else {
			dport = id
		}
	default:
		return flowKey{}, false
	}
	key.local, key.remote = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	if !out {
		key.local, key.remote = key.remote, key.local
	}
	return key, true
}

// seal writes the checksum of a TCP or UDP packet, which the stack leaves out
// on its loopback interface. A packet that is neither, or a fragment, stays as
// it is.
func seal(b []byte) {
	key, ok := conversation(b, true)
	if !ok || key.proto == protoICMP {
		return
	}
	head := 40
	if b[0]>>4 == 4 {
		head = int(b[0]&15) * 4
		if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
			return
		}
	}
	segment := b[head:]
	src, dst := tcpip.AddrFromSlice(key.local.Addr().AsSlice()), tcpip.AddrFromSlice(key.remote.Addr().AsSlice())
	partial := func(proto tcpip.TransportProtocolNumber) uint16 {
		sum := header.PseudoHeaderChecksum(proto, src, dst, uint16(len(segment))) //nolint:gosec // An IP packet has at most 65535 bytes.
		return checksum.Checksum(segment, sum)
	}
	switch {
	case key.proto == protoTCP && len(segment) >= header.TCPMinimumSize:
		tcp := header.TCP(segment)
		tcp.SetChecksum(0)
		tcp.SetChecksum(^partial(header.TCPProtocolNumber))
	case key.proto == protoUDP:
		udp := header.UDP(segment)
		udp.SetChecksum(0)
		sum := ^partial(header.UDPProtocolNumber)
		if sum == 0 {
			sum = 0xffff
		}
		udp.SetChecksum(sum)
	}
}
