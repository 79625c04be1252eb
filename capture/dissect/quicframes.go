package dissect

import (
	"time"
)

// Frames of QUIC (RFC 9000, section 19; RFC 9221 for DATAGRAM; the drafts of
// ACK_FREQUENCY and RESET_STREAM_AT).
const (
	quicPadding       = 0x00
	quicPing          = 0x01
	quicAck           = 0x02
	quicAckECN        = 0x03
	quicReset         = 0x04
	quicStopSending   = 0x05
	quicCrypto        = 0x06
	quicNewToken      = 0x07
	quicStream        = 0x08 // to 0x0f
	quicMaxData       = 0x10
	quicMaxStreamData = 0x11
	quicMaxStreams    = 0x12 // and 0x13
	quicDataBlocked   = 0x14
	quicStreamBlocked = 0x15
	quicStreamsBlock  = 0x16 // and 0x17
	quicNewID         = 0x18
	quicRetireID      = 0x19
	quicChallenge     = 0x1a
	quicResponse      = 0x1b
	quicClose         = 0x1c
	quicCloseApp      = 0x1d
	quicDone          = 0x1e
	quicImmediateAck  = 0x1f
	quicResetAt       = 0x24
	quicDatagram      = 0x30 // and 0x31
	quicAckFrequency  = 0xaf
)

// maxAckRanges bounds the ranges of an acknowledgement that are looked at.
const maxAckRanges = 64

// frames reads the contents of a packet.
func (c *quicConn) frames(side, level int, b []byte, at time.Time) {
	f := fields{b, true}
	for len(f.b) > 0 {
		rest := f.b
		if f.b[0] == quicPadding {
			f.b = f.b[1:]
			continue
		}
		if !c.frame(side, level, &f, at) || !f.ok {
			// Nobody knows how long such a frame is.
			c.keep(side, rest)
			c.hide(side)
			return
		}
	}
}

// frame reads one frame. It returns false for a kind that is not known.
func (c *quicConn) frame(side, level int, f *fields, at time.Time) bool {
	kind := quicNumber(f)
	switch kind {
	case quicPing, quicDone, quicImmediateAck:
	case quicAck, quicAckECN:
		c.ack(side, level, f, kind == quicAckECN)
	case quicCrypto:
		offset := quicNumber(f)
		if data := quicBytes(f); f.ok {
			c.handshake(side, level, offset, data, at)
		}
	case quicNewToken:
		if token := quicBytes(f); side == 0 { // It is the server's to give.
			c.keep(side, token)
		}
	case quicReset, quicResetAt:
		id := quicNumber(f)
		quicNumber(f) // why
		quicNumber(f) // the final size
		if kind == quicResetAt {
			quicNumber(f)
		}
		if f.ok {
			c.streams.reset(side, id)
		}
	case quicMaxStreamData, quicStreamBlocked, quicStopSending:
		quicNumber(f)
		quicNumber(f)
	case quicMaxData, quicMaxStreams, quicMaxStreams + 1, quicDataBlocked, quicStreamsBlock, quicStreamsBlock + 1, quicRetireID:
		quicNumber(f)
	case quicNewID:
		quicNumber(f)
		quicNumber(f)
		id := f.vector(1)
		if f.take(16); f.ok && len(id) <= maxIDSize {
			c.learn(side, string(id))
		}
	case quicChallenge, quicResponse:
		f.take(8)
	case quicClose, quicCloseApp:
		c.close(side, level, f, kind == quicClose)
	case quicDatagram:
		c.message9221(side, f.take(len(f.b)))
	case quicDatagram + 1:
		c.message9221(side, quicBytes(f))
	case quicAckFrequency:
		for range 4 {
			quicNumber(f)
		}
	default:
		if kind < quicStream || kind > quicStream+7 {
			return false
		}
		c.stream(side, kind, f, at)
	}
	return true
}

// quicBytes reads bytes whose length stands before them.
func quicBytes(f *fields) []byte {
	n := quicNumber(f)
	if n > uint64(len(f.b)) {
		f.ok = false
		return nil
	}
	return f.take(int(n)) // #nosec G115 -- not more than there is
}

// ack reads an acknowledgement. Those of a server say what it received of its
// client, whether the capture holds it or not.
func (c *quicConn) ack(side, level int, f *fields, ecn bool) {
	high := quicNumber(f)
	quicNumber(f) // delay
	ranges, length := quicNumber(f), quicNumber(f)
	for i := uint64(0); ; i++ {
		if !f.ok || length > high {
			f.ok = false
			return
		}
		if side == 1 && level == levelApplication && i < maxAckRanges {
			c.ledger.acknowledged(high-length, high)
		}
		if i == ranges {
			break
		}
		gap := quicNumber(f)
		if !f.ok || gap+2 > high-length {
			f.ok = false
			return
		}
		high -= length + gap + 2
		length = quicNumber(f)
	}
	if ecn {
		for range 3 {
			quicNumber(f)
		}
	}
}

// close reads why an end closed the connection.
func (c *quicConn) close(side, level int, f *fields, transport bool) {
	code := quicNumber(f)
	if transport {
		quicNumber(f) // the frame that caused it
	}
	if why := quicBytes(f); f.ok && len(why) > 0 {
		c.keep(side, why)
	}
	if transport && f.ok && code>>8 == 1 && level != levelApplication {
		c.refusal[side] = alertName(byte(code)) // #nosec G115 -- the low byte is TLS's alert
	}
}

// message9221 takes a DATAGRAM frame, whose meaning nobody here knows.
func (c *quicConn) message9221(side int, b []byte) {
	if len(b) > 0 {
		c.keep(side, b)
	}
}

// stream reads a STREAM frame.
func (c *quicConn) stream(side int, kind uint64, f *fields, at time.Time) {
	id, offset := quicNumber(f), uint64(0)
	if kind&4 != 0 {
		offset = quicNumber(f)
	}
	var data []byte
	if kind&2 != 0 {
		data = quicBytes(f)
	} else {
		data = f.take(len(f.b))
	}
	if f.ok && offset < 1<<62 {
		c.streams.take(side, id, offset, data, kind&1 != 0, at)
	}
}
