package dissect

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// maxQuestions and maxRecords bound what one message may hold; resolvers
	// take one question.
	maxQuestions = 8
	maxRecords   = 256
	// maxLookups and maxLookupBytes bound what is kept of a whole file.
	maxLookups     = 1 << 18
	maxLookupBytes = 64 << 20
)

// A dnsMessage is what a DNS message says, as far as it can be read.
type dnsMessage struct {
	id        uint16
	reply     bool
	rcode     int
	questions []dnsQuestion
	answers   []string
	addresses []dnsAddress
	rest      []byte // what stands behind the questions
}

type dnsQuestion struct {
	name string
	kind uint16
}

type dnsAddress struct {
	name string
	addr netip.Addr
}

// parseDNS reads a message. It answers false when the header or a question
// cannot be read, because then it is hardly DNS. Damage further on ends the
// reading and keeps what came before.
func parseDNS(b []byte) (*dnsMessage, bool) {
	if len(b) < 12 {
		return nil, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	m := &dnsMessage{id: binary.BigEndian.Uint16(b), reply: flags&0x8000 != 0, rcode: int(flags & 15)}
	questions, answers := int(binary.BigEndian.Uint16(b[4:])), int(binary.BigEndian.Uint16(b[6:]))
	if opcode := flags >> 11 & 15; opcode > 6 || questions > maxQuestions {
		return nil, false
	}
	at := 12
	for range questions {
		name, next, ok := dnsName(b, at)
		if !ok || next+4 > len(b) {
			return nil, false
		}
		m.questions = append(m.questions, dnsQuestion{name, binary.BigEndian.Uint16(b[next:])})
		at = next + 4
	}
	m.rest = b[at:]
	for range min(answers, maxRecords) {
		name, next, ok := dnsName(b, at)
		if !ok || next+10 > len(b) {
			break
		}
		kind, size := binary.BigEndian.Uint16(b[next:]), int(binary.BigEndian.Uint16(b[next+8:]))
		at = next + 10
		if at+size > len(b) {
			break
		}
		m.record(b, at, size, name, kind)
		at += size
	}
	return m, true
}

// spare is what a question holds beside its questions and the usual option, which
// says how long an answer may be (RFC 6891) and may be padded (RFC 7830). Names are
// answered by servers: of a client's own answers all is spare.
func (m *dnsMessage) spare() []byte {
	const kindOption, padding = 41, 12
	f := fields{m.rest, true}
	for len(f.b) > 0 {
		root, kind := f.number(1), f.number(2)
		f.take(6) // how long, and flags
		options := fields{f.vector(2), f.ok}
		for len(options.b) > 0 && options.ok {
			if code, value := options.number(2), options.vector(2); code != padding || len(bytes.Trim(value, "\x00")) > 0 {
				return m.rest
			}
		}
		if !f.ok || !options.ok || root != 0 || kind != kindOption || m.reply {
			return m.rest
		}
	}
	return nil
}

// dnsName reads a name, following compression pointers, which may only point
// backwards. Dots and backslashes within a label are escaped.
func dnsName(b []byte, at int) (name string, next int, ok bool) {
	var s strings.Builder
	next = -1
	limit := at
	for {
		if at >= len(b) {
			return "", 0, false
		}
		n := int(b[at])
		switch n >> 6 {
		case 0:
			at++
			if n == 0 {
				if next < 0 {
					next = at
				}
				return s.String(), next, true
			}
			if at+n > len(b) || s.Len()+n > 1024 {
				return "", 0, false
			}
			if s.Len() > 0 {
				s.WriteByte('.')
			}
			for _, c := range b[at : at+n] {
				if c == '.' || c == '\\' {
					s.WriteByte('\\')
				}
				s.WriteByte(c)
			}
			at += n
		case 3:
			if at+2 > len(b) {
				return "", 0, false
			}
			if next < 0 {
				next = at + 2
			}
			to := int(binary.BigEndian.Uint16(b[at:]) & 0x3fff)
			if to >= limit {
				return "", 0, false
			}
			at, limit = to, to
		default:
			return "", 0, false
		}
	}
}

// dnsTypes are the types that occur.
var dnsTypes = map[uint16]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
	35: "NAPTR", 39: "DNAME", 41: "OPT", 43: "DS", 48: "DNSKEY", 64: "SVCB", 65: "HTTPS", 252: "AXFR", 255: "ANY", 257: "CAA",
}

func dnsType(n uint16) string {
	if s, ok := dnsTypes[n]; ok {
		return s
	}
	return "TYPE" + strconv.Itoa(int(n))
}

var dnsCodes = map[int]string{0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}

func dnsCode(n int) string {
	if s, ok := dnsCodes[n]; ok {
		return s
	}
	return "RCODE" + strconv.Itoa(n)
}

// record reads the data of one answer.
func (m *dnsMessage) record(b []byte, at, size int, name string, kind uint16) {
	v := b[at : at+size]
	switch kind {
	case 1, 28:
		addr, ok := netip.AddrFromSlice(v)
		if !ok || addr.Is4() != (kind == 1) {
			return
		}
		m.answers = append(m.answers, addr.String())
		m.addresses = append(m.addresses, dnsAddress{name, addr})
	case 2, 5, 12, 39:
		if s, _, ok := dnsName(b[:at+size], at); ok {
			m.answers = append(m.answers, s)
		}
	case 15:
		if s, _, ok := dnsName(b[:at+size], at+2); ok && size > 2 {
			m.answers = append(m.answers, fmt.Sprintf("%d %s", binary.BigEndian.Uint16(v), s))
		}
	case 33:
		if s, _, ok := dnsName(b[:at+size], at+6); ok && size > 6 {
			m.answers = append(m.answers, fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:]), binary.BigEndian.Uint16(v[4:]), s))
		}
	case 16:
		m.answers = append(m.answers, dnsText(v))
	case 64, 65:
		m.service(b, at, size, name)
	default:
		m.answers = append(m.answers, fmt.Sprintf("%s %s", dnsType(kind), hex.EncodeToString(v[:min(len(v), 256)])))
	}
}

func dnsText(v []byte) string {
	var s strings.Builder
	for len(v) > 0 {
		n := min(int(v[0]), len(v)-1)
		s.Write(v[1 : 1+n])
		v = v[1+n:]
	}
	return s.String()
}

// service reads an HTTPS or SVCB record, whose hints are addresses too.
func (m *dnsMessage) service(b []byte, at, size int, name string) {
	if size < 3 {
		return
	}
	end := at + size
	target, next, ok := dnsName(b[:end], at+2)
	if !ok || next > end {
		return
	}
	if target == "" {
		target = "."
	}
	words := []string{strconv.Itoa(int(binary.BigEndian.Uint16(b[at:]))), target}
	f := fields{b[next:end], true}
	for f.ok && len(f.b) > 0 {
		key, value := f.number(2), f.vector(2)
		if !f.ok {
			break
		}
		switch key {
		case 1:
			var all []string
			for p := (fields{value, true}); len(p.b) > 0 && p.ok; {
				all = append(all, string(p.vector(1)))
			}
			words = append(words, "alpn="+strings.Join(all, ","))
		case 4, 6:
			width, label := 4, "ipv4hint="
			if key == 6 {
				width, label = 16, "ipv6hint="
			}
			var all []string
			for ; len(value) >= width; value = value[width:] {
				addr, _ := netip.AddrFromSlice(value[:width])
				all = append(all, addr.String())
				m.addresses = append(m.addresses, dnsAddress{name, addr})
			}
			words = append(words, label+strings.Join(all, ","))
		case 5:
			words = append(words, "ech")
		}
	}
	m.answers = append(m.answers, strings.Join(words, " "))
}

// A lookupKey finds the question of an answer.
type lookupKey struct {
	flow int
	id   uint16
	kind uint16
	name string
}

// lookups gathers the questions of a file with their answers.
type lookups struct {
	all   []capture.Lookup
	open  map[lookupKey]int
	seen  []sighted
	bytes int
	full  bool
}

type sighted struct {
	addr netip.Addr
	name string
	at   time.Time
}

func (l *lookups) add(f *flow, m *dnsMessage, at time.Time) {
	if l.open == nil {
		l.open = map[lookupKey]int{}
	}
	for _, q := range m.questions {
		key := lookupKey{f.number, m.id, q.kind, strings.ToLower(q.name)}
		// A question that is repeated before its answer is one lookup.
		i, asked := l.open[key]
		if !asked {
			if i = l.put(f, q, at); i < 0 {
				return
			}
			if !m.reply {
				l.open[key] = i
			}
		}
		if !m.reply {
			l.all[i].Asked++
		}
		if m.reply {
			delete(l.open, key)
			look := &l.all[i]
			look.RCode = dnsCode(m.rcode)
			for _, a := range m.answers {
				if !l.room(len(a)) {
					break
				}
				look.Answers = append(look.Answers, a)
			}
		}
	}
	if !m.reply {
		return
	}
	for _, a := range m.addresses {
		name := a.name
		if len(m.questions) > 0 {
			name = m.questions[0].name
		}
		if name == "" || !l.room(len(name)) {
			continue
		}
		l.seen = append(l.seen, sighted{a.addr, name, at})
	}
}

func (l *lookups) put(f *flow, q dnsQuestion, at time.Time) int {
	if len(l.all) >= maxLookups || !l.room(len(q.name)) {
		l.full = true
		return -1
	}
	l.all = append(l.all, capture.Lookup{Flow: f.id(), Name: q.name, Type: dnsType(q.kind), At: at})
	return len(l.all) - 1
}

// room says whether n further bytes may be kept, with what goes around them.
func (l *lookups) room(n int) bool {
	if l.bytes+n+64 > maxLookupBytes {
		l.full = true
		return false
	}
	l.bytes += n + 64
	return true
}

// names knows which name was last given for an address.
type names struct {
	byAddr map[netip.Addr][]sighted
}

func (l *lookups) names() *names {
	n := &names{map[netip.Addr][]sighted{}}
	sort.SliceStable(l.seen, func(i, j int) bool { return l.seen[i].at.Before(l.seen[j].at) })
	for _, s := range l.seen {
		n.byAddr[s.addr] = append(n.byAddr[s.addr], s)
	}
	return n
}

// of is the name that was answered for an address last before a time.
func (n *names) of(addr netip.Addr, at time.Time) string {
	all := n.byAddr[addr.Unmap()]
	i := sort.Search(len(all), func(i int) bool { return all[i].at.After(at) })
	if i == 0 {
		return ""
	}
	return all[i-1].name
}

// A dnsTalk reads DNS over TCP.
type dnsTalk struct {
	engine *engine
	flow   *flow
	buf    [2][]byte
}

func (t *dnsTalk) data(dir int, b []byte, at time.Time) bool {
	t.buf[dir] = append(t.buf[dir], b...)
	for {
		all := t.buf[dir]
		if len(all) < 2 {
			return true
		}
		size := int(binary.BigEndian.Uint16(all))
		if len(all) < 2+size {
			return true
		}
		m, ok := parseDNS(all[2 : 2+size])
		if !ok {
			t.flow.keepUnread(t.engine, dir, all)
			t.buf[dir] = nil
			return false
		}
		t.engine.message(t.flow, dir, m, at)
		t.buf[dir] = append([]byte(nil), all[2+size:]...)
	}
}

func (t *dnsTalk) gap(dir, _ int) bool {
	t.buf[dir] = nil
	return false
}

func (t *dnsTalk) end() {}

// message takes a DNS message of a flow.
func (e *engine) message(f *flow, dir int, m *dnsMessage, at time.Time) {
	if f.app != appTLS { // What is inside TLS is still TLS on the wire.
		f.app = appDNS
	}
	f.visibility = capture.Plaintext
	if m.reply {
		f.ask(1 - dir)
	} else {
		f.ask(dir)
	}
	e.dns.add(f, m, at)
	f.keepSpare(e, dir, m.spare())
}

// recogniseDNS knows DNS over TCP by a plausible length and header.
func recogniseDNS(b []byte) kind {
	if len(b) < 14 {
		return kindMore
	}
	opcode, questions := b[4]>>3&15, int(b[6])<<8|int(b[7])
	if int(b[0])<<8|int(b[1]) < 12 || opcode > 6 || questions > maxQuestions {
		return kindUnknown
	}
	return kindDNS
}
