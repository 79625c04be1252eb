package tcpdump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxRecord bounds one packet of a stream. tcpdump's own largest snapshot
// length is 262144; a larger figure means that the stream is no longer read at
// a record's border.
const maxRecord = 1 << 20

const (
	fileHeaderLen   = 24
	recordHeaderLen = 16
)

var errNotPcap = errors.New("pcap: stream does not begin with a pcap header")

// A splitter cuts a pcap stream, which arrives in arbitrary chunks, into whole
// records. It holds at most one unfinished record.
type splitter struct {
	order   binary.ByteOrder // nil until the file header was read
	rest    []byte           // the beginning of what is not whole yet
	records int64
}

// feed takes the next chunk. It returns the bytes that are whole records now
// (the file header included), valid until the next call, and calls each for
// every packet in them. After an error the stream cannot be followed further;
// whole holds what came before.
func (s *splitter) feed(chunk []byte, each func(packet []byte)) (whole []byte, err error) {
	s.rest = append(s.rest, chunk...)
	at := 0
	if s.order == nil {
		if len(s.rest) < fileHeaderLen {
			return nil, nil
		}
		order, ok := byteOrder(s.rest)
		if !ok {
			return nil, errNotPcap
		}
		s.order, at = order, fileHeaderLen
	}
	for len(s.rest)-at >= recordHeaderLen {
		size := s.order.Uint32(s.rest[at+8:])
		if size > maxRecord {
			err = fmt.Errorf("pcap: record %d: length %d is absurd", s.records+1, size)
			break
		}
		end := at + recordHeaderLen + int(size)
		if len(s.rest) < end {
			break
		}
		each(s.rest[at+recordHeaderLen : end])
		s.records++
		at = end
	}
	whole = bytes.Clone(s.rest[:at])
	s.rest = s.rest[:copy(s.rest, s.rest[at:])]
	return whole, err
}

func byteOrder(header []byte) (binary.ByteOrder, bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(header) {
		case 0xa1b2c3d4, 0xa1b23c4d: // microseconds, nanoseconds
			return order, true
		}
	}
	return nil, false
}

// wireName is how a nonce's name stands in a DNS question: labels behind their
// lengths. Looking for this form and not for the text keeps a wireless ADB
// connection, which carries the beacon's command, from being taken for its
// effect.
func wireName(nonce string) []byte {
	var b []byte
	for _, label := range strings.Split(nonce+"."+beaconZone, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return b
}

// holds says whether a packet holds a name in wire form. Letters are compared
// without case, because resolvers randomise it. pattern must be in lower case.
func holds(packet, pattern []byte) bool {
	for len(pattern) > 0 && len(packet) >= len(pattern) {
		i := bytes.IndexByte(packet[:len(packet)-len(pattern)+1], pattern[0])
		if i < 0 {
			return false
		}
		if equalFold(packet[i:i+len(pattern)], pattern) {
			return true
		}
		packet = packet[i+1:]
	}
	return false
}

func equalFold(a, lower []byte) bool {
	for i, c := range lower {
		x := a[i]
		if 'A' <= x && x <= 'Z' {
			x |= 0x20
		}
		if x != c {
			return false
		}
	}
	return true
}

// validNonce keeps to what a DNS label and a shell both take as it is.
func validNonce(nonce string) bool {
	if nonce == "" || len(nonce) > 40 {
		return false
	}
	for _, c := range []byte(nonce) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// counters are tcpdump's own last words; nil means that it did not say.
type counters struct {
	captured, received, droppedKernel, droppedInterface *int64
}

// read takes one line of standard error and says whether it was a counter.
func (c *counters) read(line string) bool {
	number, words, ok := strings.Cut(strings.TrimSpace(line), " ")
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 {
		return false
	}
	switch strings.Replace(strings.TrimSpace(words), "packets ", "packet ", 1) {
	case "packet captured":
		c.captured = &n
	case "packet received by filter":
		c.received = &n
	case "packet dropped by kernel":
		c.droppedKernel = &n
	case "packet dropped by interface":
		c.droppedInterface = &n
	default:
		return false
	}
	return true
}
