package tcpdump

import (
	"strconv"

	"github.com/offproof/offproof/capture"
)

// What the fuzz tests reach into.
var (
	Interfaces = interfaces
	Quote      = quote
)

// PID is the process that a session started on the phone.
func PID(s capture.Session) string {
	if s, ok := s.(*session); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strconv.Itoa(s.pid)
	}
	return ""
}
