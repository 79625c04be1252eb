package userland

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A packetFilter says whether tcpdump wants an Ethernet frame.
type packetFilter func(frame []byte) bool

// packetFacts is what filters and lines of text need of a frame.
type packetFacts struct {
	ether            uint16
	srcMAC, dstMAC   string
	v6               bool
	proto            int
	src, dst         netip.Addr
	srcPort, dstPort int // -1 where there is none
	size, payload    int
	tcpFlags         byte
}

func factsOf(frame []byte, cooked bool) packetFacts {
	f := packetFacts{srcPort: -1, dstPort: -1, proto: -1, size: len(frame)}
	header := 14
	if cooked {
		header = cookedHeader
	}
	if len(frame) < header {
		return f
	}
	f.ether = binary.BigEndian.Uint16(frame[header-2:])
	if !cooked {
		f.dstMAC, f.srcMAC = net.HardwareAddr(frame[:6]).String(), net.HardwareAddr(frame[6:12]).String()
	}
	ip := frame[header:]
	var rest []byte
	switch {
	case f.ether == 0x0800 && len(ip) >= 20:
		n := int(ip[0]&15) * 4
		f.proto = int(ip[9])
		f.src, f.dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		if n < 20 || len(ip) < n {
			return f
		}
		rest = ip[n:]
	case f.ether == 0x86dd && len(ip) >= 40:
		f.v6 = true
		f.proto = int(ip[6])
		f.src, f.dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		rest = ip[40:]
	default:
		return f
	}
	if (f.proto == 6 || f.proto == 17) && len(rest) >= 8 {
		f.srcPort, f.dstPort = int(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		f.payload = len(rest) - 8
		if f.proto == 6 && len(rest) >= 20 {
			f.tcpFlags = rest[13]
			f.payload = len(rest) - int(rest[12]>>4)*4
		}
	}
	return f
}

var errFilter = errors.New("syntax error")

// parseFilter reads the part of the filter language that people use: ip, ip6,
// tcp, udp, icmp, icmp6, arp, [src|dst] host, port and net, ether host, with
// not, and, or and brackets. An empty filter wants everything.
func parseFilter(text string, cooked bool) (packetFilter, error) {
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ", "!", " not ", "&&", " and ", "||", " or ").Replace(text))
	if len(words) == 0 {
		return nil, nil
	}
	if len(words) > 512 {
		return nil, errFilter
	}
	fp := &filterParser{words: words}
	match, err := fp.or()
	if err == nil && len(fp.words) > 0 {
		err = errFilter
	}
	if err != nil {
		return nil, err
	}
	return func(frame []byte) bool { return match(factsOf(frame, cooked)) }, nil
}

type factTest func(packetFacts) bool

type filterParser struct {
	words []string
	depth int
}

func (p *filterParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *filterParser) accept(words ...string) bool {
	if len(p.words) > 0 && slices.Contains(words, p.words[0]) {
		p.words = p.words[1:]
		return true
	}
	return false
}

func (p *filterParser) or() (factTest, error) {
	x, err := p.and()
	for err == nil && p.accept("or") {
		var y factTest
		left := x
		if y, err = p.and(); err == nil {
			x = func(f packetFacts) bool { return left(f) || y(f) }
		}
	}
	return x, err
}

func (p *filterParser) and() (factTest, error) {
	x, err := p.term()
	for err == nil && p.accept("and") {
		var y factTest
		left := x
		if y, err = p.term(); err == nil {
			x = func(f packetFacts) bool { return left(f) && y(f) }
		}
	}
	return x, err
}

func (p *filterParser) term() (factTest, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, errFilter
	}
	defer func() { p.depth-- }()
	if p.accept("not") {
		x, err := p.term()
		if err != nil {
			return nil, err
		}
		return func(f packetFacts) bool { return !x(f) }, nil
	}
	if p.accept("(") {
		x, err := p.or()
		if err == nil && !p.accept(")") {
			err = errFilter
		}
		return x, err
	}
	return p.primitive()
}

var filterProtocols = map[string]factTest{
	"ip":    func(f packetFacts) bool { return f.ether == 0x0800 },
	"ip6":   func(f packetFacts) bool { return f.ether == 0x86dd },
	"arp":   func(f packetFacts) bool { return f.ether == 0x0806 },
	"tcp":   func(f packetFacts) bool { return f.proto == 6 },
	"udp":   func(f packetFacts) bool { return f.proto == 17 },
	"icmp":  func(f packetFacts) bool { return f.proto == 1 && !f.v6 },
	"icmp6": func(f packetFacts) bool { return f.proto == 58 && f.v6 },
}

func (p *filterParser) primitive() (factTest, error) {
	w := p.next()
	if test := filterProtocols[w]; test != nil {
		if len(p.words) > 0 && slices.Contains([]string{"port", "host", "src", "dst", "net"}, p.words[0]) {
			rest, err := p.primitive()
			if err != nil {
				return nil, err
			}
			return func(f packetFacts) bool { return test(f) && rest(f) }, nil
		}
		return test, nil
	}
	if w == "ether" {
		side := "both"
		if p.accept("host") {
			side = "host"
		} else if p.accept("src") {
			side = "src"
		} else if p.accept("dst") {
			side = "dst"
		}
		mac, err := net.ParseMAC(p.next())
		if err != nil {
			return nil, errFilter
		}
		want := mac.String()
		return func(f packetFacts) bool {
			return side != "dst" && f.srcMAC == want || side != "src" && f.dstMAC == want
		}, nil
	}
	src, dst := true, true
	switch w {
	case "src":
		dst = false
		w = p.next()
	case "dst":
		src = false
		w = p.next()
	}
	switch w {
	case "port":
		word := p.next()
		n, ok := atoi(word)
		if names := map[string]int{"http": 80, "https": 443, "domain": 53}; !ok {
			n, ok = names[word]
		}
		if !ok {
			return nil, errFilter
		}
		return func(f packetFacts) bool { return src && f.srcPort == n || dst && f.dstPort == n }, nil
	case "net":
		prefix, err := netip.ParsePrefix(p.next())
		if err != nil {
			return nil, errFilter
		}
		return func(f packetFacts) bool { return src && prefix.Contains(f.src) || dst && prefix.Contains(f.dst) }, nil
	case "host":
		w = p.next()
	}
	addr, err := netip.ParseAddr(w)
	if err != nil {
		return nil, errFilter
	}
	return func(f packetFacts) bool { return src && f.src == addr || dst && f.dst == addr }, nil
}

// describeFrame is a line of tcpdump -n.
func describeFrame(at time.Time, frame []byte, cooked bool) string {
	f := factsOf(frame, cooked)
	stamp := at.UTC().Format("15:04:05.000000")
	family := "IP"
	if f.v6 {
		family = "IP6"
	}
	end := func(a netip.Addr, port int) string {
		if port < 0 {
			return a.String()
		}
		return fmt.Sprintf("%s.%d", a, port)
	}
	switch f.proto {
	case 6:
		flags := ""
		for i, c := range "FSRP.U" {
			if f.tcpFlags&(1<<i) != 0 {
				flags += string(c)
			}
		}
		return fmt.Sprintf("%s %s %s > %s: Flags [%s], length %d\n", stamp, family, end(f.src, f.srcPort), end(f.dst, f.dstPort), flags, f.payload)
	case 17:
		return fmt.Sprintf("%s %s %s > %s: UDP, length %d\n", stamp, family, end(f.src, f.srcPort), end(f.dst, f.dstPort), f.payload)
	case -1:
		return fmt.Sprintf("%s ethertype 0x%04x, length %d\n", stamp, f.ether, f.size)
	}
	return fmt.Sprintf("%s %s %s > %s: ip-proto-%d, length %d\n", stamp, family, f.src, f.dst, f.proto, f.size)
}
