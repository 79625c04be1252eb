package dissect

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// Packets have room for words beside their payload: options of IP and TCP, behind
// a datagram's stated end, in a reset, and in a segment that repeats the place of
// an earlier one with other bytes, which its receiver throws away and whoever
// listens on the way reads. What of it no honest sender writes is spare: it counts
// as payload and is kept as unread. Numbers in headers, such as that of a packet
// or a time, are not looked at.

const (
	// maxPast bounds the bytes of one direction that are kept to compare repetitions
	// with, and maxPastAll those of all.
	maxPast    = 256 << 10
	maxPastAll = 64 << 20
)

// Options of IPv4 (RFC 791, RFC 2113), and the options of IPv6 (RFC 8200, 2711,
// 2675).
const (
	optionEnd      = 0
	optionNop      = 1
	optionAlert    = 0x94
	option6Pad     = 0
	option6PadMany = 1
	option6Alert   = 5
	option6Jumbo   = 0xc2
	lengthAlert    = 4
	lengthAlert6   = 2
	lengthJumbo    = 4
	tcpSegmentSize = 2
	tcpWindow      = 3
	tcpSelective   = 4
	tcpAcknowledge = 5
	tcpTime        = 8
)

// plainOptions cuts the options off that any sender sets, by known, and returns the
// rest from the first other one on.
func plainOptions(b []byte, known func(kind byte, value []byte) bool) []byte {
	for len(b) > 0 {
		switch b[0] {
		case optionEnd:
			if len(bytes.Trim(b, "\x00")) == 0 {
				return nil
			}
			return b
		case optionNop:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) || !known(b[0], b[2:b[1]]) {
			return b
		}
		b = b[b[1]:]
	}
	return nil
}

// spare4 is what the options of an IPv4 header hold beside the router alert, with
// which a phone joins a group.
func spare4(b []byte) []byte {
	return plainOptions(b, func(kind byte, value []byte) bool {
		return kind == optionAlert && len(value) == lengthAlert-2 && value[0]|value[1] == 0
	})
}

// spareTCP is what the options of a TCP header hold beside those that Linux sets.
func spareTCP(b []byte) []byte {
	return plainOptions(b, func(kind byte, value []byte) bool {
		switch kind {
		case tcpSegmentSize:
			return len(value) == 2
		case tcpWindow:
			return len(value) == 1
		case tcpSelective:
			return len(value) == 0
		case tcpAcknowledge:
			return len(value)%8 == 0
		case tcpTime:
			return len(value) == 8
		}
		return false
	})
}

// spare6 is what an extension header of IPv6 holds beside padding and the router
// alert. b is the header without its first two bytes.
func spare6(kind uint8, b []byte) []byte {
	if kind != protoHop && kind != protoDest {
		return b // Phones send no other ones.
	}
	all := b
	for len(b) > 0 {
		if b[0] == option6Pad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || 2+int(b[1]) > len(b) {
			return all
		}
		value := b[2 : 2+int(b[1])]
		switch {
		case b[0] == option6PadMany && len(bytes.Trim(value, "\x00")) == 0,
			b[0] == option6Alert && len(value) == lengthAlert6 && binary.BigEndian.Uint16(value) <= 2,
			b[0] == option6Jumbo && len(value) == lengthJumbo:
		default:
			return all
		}
		b = b[2+len(value):]
	}
	return nil
}

// writes notes bytes that have become part of the stream.
func (h *half) writes(e *engine, c chunk) {
	switch {
	case !h.keeps:
	case len(c.data) < c.wire:
		h.forget(e)
		h.blind = true // The capture was cut short, and says so.
	default:
		before := len(h.past)
		h.past = append(h.past, c.data...)
		if len(h.past) > 2*maxPast {
			h.past = append([]byte(nil), h.past[len(h.past)-maxPast:]...)
		}
		e.past += len(h.past) - before
	}
}

// forget drops what was kept to compare with.
func (h *half) forget(e *engine) {
	e.past -= len(h.past)
	h.past = nil
}

// repeats returns the bytes of a segment that stand at a place of the stream
// where others stood before, or where nobody knows what stood.
func (h *half) repeats(seq uint32, data []byte) []byte {
	if !h.synced || h.blind || len(data) == 0 {
		return nil
	}
	var odd []byte
	old := int(int32(h.next - seq)) // #nosec G115 -- sequence numbers wrap
	if old > 0 {
		n := min(old, len(data))
		at := len(h.past) - old
		unknown := min(n, max(0, -at))
		if known := data[unknown:n]; unknown > 0 || !bytes.Equal(known, h.past[at+unknown:at+n]) {
			odd = append(odd, data[:n]...)
		}
		seq, data = h.next, data[n:]
	}
	// Pieces that wait behind a hole are in order.
	i := sort.Search(len(h.pending), func(i int) bool { return after(h.pending[i].end(), seq) })
	for ; i < len(h.pending) && len(data) > 0; i++ {
		p := &h.pending[i]
		mine, its := 0, 0
		if after(p.seq, seq) {
			mine = int(p.seq - seq)
		} else {
			its = int(seq - p.seq)
		}
		if mine >= len(data) || its >= len(p.data) {
			break
		}
		if n := min(len(data)-mine, len(p.data)-its); !bytes.Equal(data[mine:mine+n], p.data[its:its+n]) {
			odd = append(odd, data[mine:mine+n]...)
		}
	}
	return odd
}

// forgetIdle drops what was kept of connections that have been silent, and of all
// where that is not enough.
func (e *engine) forgetIdle(recent func(*flow) bool) {
	for _, all := range []bool{false, true} {
		for _, f := range e.order {
			if f.tcp == nil || !all && recent(f) {
				continue
			}
			for dir := range f.tcp.half {
				f.tcp.half[dir].forget(e)
			}
		}
		if e.past <= maxPastAll/2 {
			return
		}
	}
}
