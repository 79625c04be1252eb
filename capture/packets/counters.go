package packets

import (
	"regexp"
	"strconv"
	"strings"
)

// Counters are the last words of tcpdump or dumpcap; nil means that it did not
// say.
type Counters struct {
	Captured, Received, DroppedKernel, DroppedInterface *int64
}

// Read takes one line of standard error and says whether it was a counter.
func (c *Counters) Read(line string) bool {
	if c.dumpcap(line) {
		return true
	}
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
		c.Captured = &n
	case "packet received by filter":
		c.Received = &n
	case "packet dropped by kernel":
		c.DroppedKernel = &n
	case "packet dropped by interface":
		c.DroppedInterface = &n
	default:
		return false
	}
	return true
}

// Interim reads the line that tcpdump writes in the middle of its work when it gets
// SIGUSR1: the same counters in one line, "tcpdump: 3 packets captured, 4 packets
// received by filter, 0 packets dropped by kernel" (its manual page, and its
// function info). False for any other line.
func Interim(line string) (Counters, bool) {
	_, list, ok := strings.Cut(strings.TrimSpace(line), ": ")
	if !ok {
		return Counters{}, false
	}
	var c Counters
	for part := range strings.SplitSeq(list, ", ") {
		if !c.Read(part) {
			return Counters{}, false
		}
	}
	return c, c.Captured != nil && c.DroppedKernel != nil
}

// dumpcapLoss is how dumpcap says what one interface lost: what the kernel
// counted and what dumpcap's own buffers had no room for are one figure.
var dumpcapLoss = regexp.MustCompile(`^Packets received/dropped on interface .*: (\d+)/(\d+) `)

func (c *Counters) dumpcap(line string) bool {
	line = strings.TrimSpace(line) + " "
	if text, ok := strings.CutPrefix(line, "Packets captured: "); ok {
		if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && n >= 0 {
			c.Captured = &n
			return true
		}
		return false
	}
	m := dumpcapLoss.FindStringSubmatch(line)
	if m == nil {
		return false
	}
	received, err1 := strconv.ParseInt(m[1], 10, 64)
	dropped, err2 := strconv.ParseInt(m[2], 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	c.Received, c.DroppedKernel = &received, &dropped
	return true
}
