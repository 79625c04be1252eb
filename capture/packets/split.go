package packets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// maxRecord bounds one packet of a stream. tcpdump's own largest snapshot
// length is 262144; a larger figure means that the stream is no longer read at
// a record's border.
const maxRecord = 1 << 20

const (
	fileHeaderLen   = 24
	recordHeaderLen = 16
)

// blockHeader begins a pcapng file.
const blockHeader = "\x0a\x0d\x0d\x0a"

var (
	errNotPcap = errors.New("pcap: stream does not begin with a pcap header")
	errPcapng  = errors.New("pcap: stream is pcapng: have it written as pcap, by `dumpcap -P` or `tcpdump`")
)

// A splitter cuts a pcap stream, which arrives in arbitrary chunks, into whole
// records. It holds at most one unfinished record.
type splitter struct {
	order   binary.ByteOrder // nil until the file header was read
	nano    bool             // the second half of a packet's time is nanoseconds
	rest    []byte           // the beginning of what is not whole yet
	records int64
}

// feed takes the next chunk. It returns the bytes that are whole records now
// (the file header included), valid until the next call, and calls each for
// every packet in them. After an error the stream cannot be followed further;
// whole holds what came before.
func (s *splitter) feed(chunk []byte, each func(packet []byte, at time.Time)) (whole []byte, err error) {
	s.rest = append(s.rest, chunk...)
	at := 0
	if s.order == nil {
		if bytes.HasPrefix(s.rest, []byte(blockHeader)) {
			return nil, errPcapng
		}
		if len(s.rest) < fileHeaderLen {
			return nil, nil
		}
		order, nano, ok := byteOrder(s.rest)
		if !ok {
			return nil, errNotPcap
		}
		s.order, s.nano, at = order, nano, fileHeaderLen
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
		fraction := time.Duration(s.order.Uint32(s.rest[at+4:])) * time.Microsecond
		if s.nano {
			fraction /= 1000
		}
		each(s.rest[at+recordHeaderLen:end], time.Unix(int64(s.order.Uint32(s.rest[at:])), 0).Add(fraction))
		s.records++
		at = end
	}
	whole = bytes.Clone(s.rest[:at])
	s.rest = s.rest[:copy(s.rest, s.rest[at:])]
	return whole, err
}

func byteOrder(header []byte) (order binary.ByteOrder, nano, ok bool) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(header) {
		case 0xa1b2c3d4:
			return order, false, true
		case 0xa1b23c4d:
			return order, true, true
		}
	}
	return nil, false, false
}
