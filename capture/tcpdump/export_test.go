package tcpdump

import (
	"strconv"

	"github.com/offproof/offproof/capture"
)

// What the fuzz tests reach into.
var (
	Holds      = holds
	WireName   = wireName
	ValidNonce = validNonce
	Interfaces = interfaces
	Quote      = quote
)

// CloseFile makes every later write of a session fail.
func CloseFile(s capture.Session) {
	if s, ok := s.(*session); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.file.Close()
	}
}

// Split cuts a pcap stream given in chunks, and returns the whole records'
// bytes, the packets, and what is left over.
func Split(chunks [][]byte) (whole []byte, packets [][]byte, rest []byte, err error) {
	var s splitter
	for _, c := range chunks {
		var w []byte
		w, err = s.feed(c, func(p []byte) { packets = append(packets, append([]byte(nil), p...)) })
		whole = append(whole, w...)
		if err != nil {
			break
		}
	}
	return whole, packets, s.rest, err
}

// Counters reads lines of standard error; -1 is a number that was not said.
func Counters(lines ...string) (captured, received, kernel, iface int64) {
	var c counters
	for _, l := range lines {
		c.read(l)
	}
	value := func(p *int64) int64 {
		if p == nil {
			return -1
		}
		return *p
	}
	return value(c.captured), value(c.received), value(c.droppedKernel), value(c.droppedInterface)
}

// PID is the process that a session started on the phone.
func PID(s capture.Session) string {
	if s, ok := s.(*session); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strconv.Itoa(s.pid)
	}
	return ""
}
