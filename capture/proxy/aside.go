package proxy

import (
	"bytes"
	"regexp"

	"golang.org/x/net/http2"

	"github.com/offproof/offproof/capture"
)

// Frames of HTTP/2 pass from the phone to the server as they are, also those that
// belong to no exchange, and padding with them. What they say beyond what the
// protocol needs is kept aside, as the body of an exchange of its own, so that it
// is searched and counted like any other.

const (
	// maxSettings is how long a SETTINGS frame may be before its values are more than
	// settings, of 6 bytes each.
	maxSettings = 10 * 6
	// maxPings bounds the server's pings that wait for their answers.
	maxPings = 64
	// framePriorityUpdate is of RFC 9218, section 7.1: a stream, and a text.
	framePriorityUpdate = 0x10
)

// priority is what a priority's text says (RFC 9218, section 4).
var priority = regexp.MustCompile(`^(u=[0-7])?(, ?)?(i(=\?[01])?)?$`)

// keepAside keeps bytes of the phone's that belong to no exchange.
func (d *direction) keepAside(b []byte) {
	if !d.phone || len(b) == 0 {
		return
	}
	t := d.t
	if t.aside == nil {
		var host string
		t.c.flow.update(func(f *capture.Flow) { host = f.Host })
		t.aside = t.c.s.rec.newExchange(capture.Exchange{
			Flow: t.c.flow.id(), Start: t.c.s.o.Clock(), URL: t.scheme + "://" + host + "/", Version: "HTTP/2.0",
		})
	}
	t.aside.up(b)
}

func (t *tap) endAside() {
	if t.aside != nil {
		t.aside.sent(t.c.s.o.Clock())
		t.aside.finish(t.c.s.o.Clock())
	}
}

// content takes content of a DATA frame. That of a stream which nobody knows, or
// which the server has thrown away, was sent all the same.
func (d *direction) content(b []byte) {
	s := d.t.streams[d.id]
	switch {
	case len(b) == 0:
	case s == nil:
		d.keepAside(b)
	case d.phone:
		s.sink(b)
	default:
		s.down(b)
	}
}

// padding is to be zero (RFC 9113, section 6.1).
func (d *direction) padding(b []byte) {
	if len(bytes.Trim(b, "\x00")) > 0 {
		d.keepAside(b)
	}
}

// control takes a part of a frame that concerns the two ends only.
func (d *direction) control(b []byte) {
	switch {
	case len(d.payload)+len(b) <= maxControl:
		d.payload = append(d.payload, b...)
		return
	case !d.long: // No such frame needs more.
		d.keepAside(d.payload)
	}
	d.long = true
	d.keepAside(b)
}

// controlled looks at a whole frame that concerns the two ends only.
func (d *direction) controlled() {
	b := d.payload
	if d.long {
		return // It is kept already.
	}
	switch d.typ {
	case http2.FramePriority, http2.FrameWindowUpdate:
		const longest = 5
		b = b[min(longest, len(b)):]
	case http2.FrameSettings:
		if len(b) <= maxSettings {
			b = nil
		}
	case http2.FrameGoAway:
		const fixed = 8 // the last stream and the reason
		b = b[min(fixed, len(b)):]
	case framePriorityUpdate:
		const stream = 4
		if len(b) >= stream && priority.Match(b[stream:]) {
			b = nil
		}
	default:
	}
	d.keepAside(b)
}

// ping looks at a ping. The phone's answer repeats what the server said, and its
// own pings count.
func (d *direction) ping() {
	t := d.t
	b := string(d.payload)
	switch {
	case !d.phone && !d.flags.Has(http2.FlagPingAck) && len(t.pings) < maxPings:
		if t.pings == nil {
			t.pings = map[string]bool{}
		}
		t.pings[b] = true
	case d.phone && d.flags.Has(http2.FlagPingAck) && t.pings[b]:
		delete(t.pings, b)
	case d.phone && len(bytes.Trim(d.payload, "\x00")) > 4:
		d.keepAside(d.payload)
	}
}
