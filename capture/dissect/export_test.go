package dissect

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/offproof/offproof/capture"
)

// Hello is what tests see of a ClientHello.
type Hello struct {
	ServerName, JA4 string
	Protocols       []string
	Ciphers         []uint16
	Extensions      []uint16
	Signatures      []uint16
}

// ParseHello reads the body of a ClientHello.
func ParseHello(b []byte) (Hello, bool) {
	h, ok := parseHello(b, 't')
	if !ok {
		return Hello{}, false
	}
	return Hello{h.serverName, h.ja4, h.protocols, h.ciphers, h.extensions, h.signatures}, true
}

// InitialKeys derives the client's keys for QUIC Initial packets.
func InitialKeys(dcid string, version uint32) (iv []byte, mask func(sample []byte) [5]byte) {
	k := initialKeys(dcid, version, 0)
	return k.iv, k.mask
}

// A QUICSealer protects the packets of one side at one level.
type QUICSealer struct{ keys *quicKeys }

// NewQUICSealer makes one of a traffic secret.
func NewQUICSealer(suite uint16, secret []byte, version uint32) QUICSealer {
	return QUICSealer{newQUICKeys(suites[suite], secret, version)}
}

// InitialSealer is that of Initial packets.
func InitialSealer(dcid string, version uint32, side int) QUICSealer {
	return QUICSealer{initialKeys(dcid, version, side)}
}

// Updated is the sealer after a key update.
func (s QUICSealer) Updated() QUICSealer { return QUICSealer{s.keys.updated()} }

// Seal protects a packet. header ends with the lowest n bytes of the packet
// number.
func (s QUICSealer) Seal(header []byte, number uint64, n int, payload []byte) []byte {
	k := s.keys
	head := append([]byte(nil), header...)
	if head[0]&0x80 == 0 {
		head[0] = head[0]&^4 | k.phase<<2
	}
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], number)
	for i, b := range k.iv {
		nonce[i] ^= b
	}
	packet := k.aead.Seal(append([]byte(nil), head...), nonce[:], payload, head)
	start := len(head) - n
	mask := k.mask(packet[start+4:])
	if packet[0]&0x80 != 0 {
		packet[0] ^= mask[0] & 0x0f
	} else {
		packet[0] ^= mask[0] & 0x1f
	}
	for i := range n {
		packet[start+i] ^= mask[1+i]
	}
	return packet
}

// OpenQUIC opens a packet, whose number begins at an offset.
func (s QUICSealer) OpenQUIC(b []byte, at int, expected uint64) (plain []byte, number uint64, ok bool) {
	_, plain, number, ok = s.keys.generation(&quicPacket{b: b, number: at}, expected)
	return plain, number, ok
}

// FullNumber is the packet number behind its lowest n bytes.
func FullNumber(expected, short uint64, n int) uint64 { return fullNumber(expected, short, n) }

// ParseDNS says whether a message can be read, and its questions and answers.
func ParseDNS(b []byte) (questions, answers []string, ok bool) {
	m, ok := parseDNS(b)
	if !ok {
		return nil, nil, false
	}
	for _, q := range m.questions {
		questions = append(questions, q.name+" "+dnsType(q.kind))
	}
	return questions, m.answers, true
}

// A QPACKTable is the table of one side's header compression.
type QPACKTable struct{ t qpackTable }

// NewQPACKTable makes one of which the other side allows a capacity.
func NewQPACKTable(limit uint64) *QPACKTable {
	return &QPACKTable{qpackTable{limit: limit, settled: true}}
}

// Instruct takes bytes of the encoder stream.
func (q *QPACKTable) Instruct(b []byte) bool { return q.t.instructions(b) }

// Entries are those of the table, and how many there ever were.
func (q *QPACKTable) Entries() ([]capture.Header, uint64) { return q.t.entries, q.t.inserted() }

// Header decodes a header: read is false where it must wait or cannot be read.
func (q *QPACKTable) Header(b []byte) (all []capture.Header, need uint64, read, waits bool) {
	all, need, answer := q.t.header(b)
	return all, need, answer == qpackRead, answer == qpackWaits
}

// FragmentsHeld is how many bytes wait at most while fragments come that overlap
// and never end, and how many are counted of the first datagram that is given up.
func FragmentsHeld(datagrams, each, size int) (most, counted int) {
	var f fragments
	for i := range datagrams {
		for j := range each {
			for d := f.expired(time.Time{}); d != nil; d = f.expired(time.Time{}) {
				if p := d.packet(); counted == 0 {
					counted = len(p.payload) + p.missing + len(p.spare) + p.more
				}
			}
			f.add(&packet{fragment: true, follow: true, id: uint32(i), offset: j & 7, payload: bytes.Repeat([]byte{byte(j)}, size)}, time.Time{})
			most = max(most, f.held)
		}
	}
	return most, counted
}
