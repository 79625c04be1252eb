package dissect

import (
	"encoding/binary"
	"net/netip"
)

// Link types, by their numbers at tcpdump.org.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw12    = 12
	linkRaw14    = 14
	linkRaw      = 101
	linkLoop     = 108
	linkCooked   = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkCooked2  = 276
)

// Types of Ethernet frames.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
)

// Numbers of protocols over IP.
const (
	protoHop      = 0
	protoICMP     = 1
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMP6    = 58
	protoDest     = 60
	protoMobility = 135
	protoHIP      = 139
	protoShim6    = 140
)

// A packet is one IP packet, or one that was put together from fragments.
type packet struct {
	src, dst netip.Addr
	proto    uint8
	// size is the number of bytes on the wire from the IP header on.
	size int
	// payload is what follows the IP headers, as far as it was captured; missing
	// counts the bytes that were on the wire and are not in it.
	payload []byte
	missing int
	// spare is what stands in its headers and no honest sender writes there.
	spare []byte
	more  int // bytes of it that were not kept
	// Fragments: id, offset in bytes, whether others follow.
	fragment bool
	id       uint32
	offset   int
	follow   bool
	// owner is whose packet it is, as far as the file says.
	owner owner
}

// An oddity is a reason for which a packet could not be read, empty when it
// could. The reasons are few, so that they can be counted.
type oddity string

const (
	notIP       oddity = "-" // a frame that is rightly no IP packet, such as ARP
	oddLink     oddity = "of a link type that is not known"
	oddFrame    oddity = "too short for the header of its link"
	oddIP       oddity = "with a damaged IP header"
	oddExt      oddity = "with damaged or too many IPv6 extension headers"
	oddTCP      oddity = "with a damaged TCP header"
	oddUDP      oddity = "with a damaged UDP header"
	oddFragment oddity = "that are fragments without the rest of their datagram"
)

// network strips the link layer from a frame.
func network(link uint16, b []byte) ([]byte, oddity) {
	switch link {
	case linkEthernet:
		if len(b) < 14 {
			return nil, oddFrame
		}
		kind := binary.BigEndian.Uint16(b[12:])
		b = b[14:]
		// VLAN tags may be nested; more than a few are none that a bridge made.
		for range 4 {
			if kind != 0x8100 && kind != 0x88a8 && kind != 0x9100 {
				break
			}
			if len(b) < 4 {
				return nil, oddFrame
			}
			kind = binary.BigEndian.Uint16(b[2:])
			b = b[4:]
		}
		return byType(kind, b)
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		return b, ""
	case linkCooked:
		if len(b) < 16 {
			return nil, oddFrame
		}
		return byType(binary.BigEndian.Uint16(b[14:]), b[16:])
	case linkCooked2:
		if len(b) < 20 {
			return nil, oddFrame
		}
		return byType(binary.BigEndian.Uint16(b), b[20:])
	case linkNull, linkLoop:
		// The address family is in the byte order of the host that captured, and
		// its number for IPv6 differs among systems: the packet's own version
		// tells more surely. Families are below 256, so that one byte is set.
		if len(b) < 4 {
			return nil, oddFrame
		}
		switch b[0] | b[3] {
		case 2, 24, 28, 30, 10:
			return b[4:], ""
		}
		return nil, notIP
	}
	return nil, oddLink
}

func byType(kind uint16, b []byte) ([]byte, oddity) {
	if kind != etherIPv4 && kind != etherIPv6 {
		return nil, notIP
	}
	return b, ""
}

// internet reads the IP headers of b. beyond counts the bytes of the frame that
// were on the wire but not captured.
func internet(b []byte, beyond int, p *packet) oddity {
	*p = packet{}
	if len(b) == 0 {
		return oddIP
	}
	switch b[0] >> 4 {
	case 4:
		return internet4(b, beyond, p)
	case 6:
		return internet6(b, beyond, p)
	}
	return oddIP
}

func internet4(b []byte, beyond int, p *packet) oddity {
	if len(b) < 20 {
		return oddIP
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 {
		// Segmentation offload leaves the length to the network card.
		total = len(b) + beyond
	}
	if header < 20 || total < header || len(b) < header {
		return oddIP
	}
	p.size = total
	p.src, p.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	p.proto = b[9]
	p.spare = spare4(b[20:header])
	p.trim(b, header, total)
	flags := binary.BigEndian.Uint16(b[6:])
	p.follow, p.offset = flags&0x2000 != 0, int(flags&0x1fff)*8
	p.fragment = p.follow || p.offset > 0
	p.id = uint32(binary.BigEndian.Uint16(b[4:]))
	return ""
}

// trim sets the payload: without what a link padded, and with a count of what
// the capture cut off.
func (p *packet) trim(b []byte, header, total int) {
	p.payload = b[header:min(len(b), total)]
	p.missing = total - header - len(p.payload)
}

func internet6(b []byte, beyond int, p *packet) oddity {
	if len(b) < 40 {
		return oddIP
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	next := b[6]
	if total == 40 && next != 59 {
		// A jumbogram, or segmentation offload: the frame tells the length.
		total = len(b) + beyond
	}
	p.size = total
	p.src, p.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	return p.extensions(b, 40, total, next)
}

// extensions steps over the IPv6 extension headers of b from at on, and sets
// protocol and payload. It stops at a fragment, whose bytes are no headers.
func (p *packet) extensions(b []byte, at, total int, next uint8) oddity {
	limit := min(len(b), total)
	for range 16 {
		size := 0
		switch next {
		case protoHop, protoRouting, protoDest, protoMobility, protoHIP, protoShim6, protoAH, protoFragment:
			if at+8 > limit {
				return oddExt
			}
			size = (int(b[at+1]) + 1) * 8
		default:
			p.proto = next
			p.trim(b, at, total)
			return ""
		}
		switch next {
		case protoAH:
			size = (int(b[at+1]) + 2) * 4
		case protoFragment:
			size = 8
			field := binary.BigEndian.Uint16(b[at+2:])
			p.follow, p.offset = field&1 != 0, int(field&^7)
			p.id = binary.BigEndian.Uint32(b[at+4:])
			if p.follow || p.offset > 0 {
				p.fragment, p.proto = true, b[at]
				p.trim(b, at+8, total)
				return ""
			}
		}
		kind := next
		next = b[at]
		at += size
		if at > limit {
			return oddExt
		}
		if more := spare6(kind, b[at-size+2:at]); kind != protoFragment && len(more) > 0 {
			p.spare = append(p.spare[:len(p.spare):len(p.spare)], more...)
		}
	}
	return oddExt
}

// A segment is the part of a TCP header that reassembly needs.
type segment struct {
	src, dst uint16
	seq, ack uint32
	flags    uint8
	options  []byte
	data     []byte
}

// Flags of TCP.
const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

func transport(b []byte, s *segment) oddity {
	if len(b) < 20 {
		return oddTCP
	}
	header := int(b[12]>>4) * 4
	if header < 20 || header > len(b) {
		return oddTCP
	}
	s.src, s.dst = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	s.seq, s.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	s.flags = b[13]
	s.options, s.data = b[20:header], b[header:]
	return ""
}
