package dissect

import (
	"bytes"
	"net/netip"
	"time"
)

const (
	// maxDatagrams bounds the datagrams that wait for fragments at one time, and
	// maxParts the fragments of one.
	maxDatagrams = 256
	maxParts     = 1024
	// maxHeld bounds the bytes that wait in all of them, and maxSpare what is kept of
	// one beside its parts.
	maxHeld  = 64 << 20
	maxSpare = 64 << 10
	// patienceFragment is how long a datagram waits for its fragments, in the
	// file's time; it is the limit that Linux has too.
	patienceFragment = 30 * time.Second
)

type fragmentKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

type part struct {
	offset  int
	data    []byte
	missing int
}

// A datagram is one that came in fragments, as far as it has come.
type datagram struct {
	key   fragmentKey
	at    time.Time
	last  time.Time
	parts []part
	size  int
	total int // bytes of payload, -1 until the last fragment has come
	owner owner
	spare []byte // in the headers of the fragments, and what repeats a place otherwise
	more  int    // bytes of it that were not kept
	held  int
}

// fragments puts datagrams together, oldest first.
type fragments struct {
	byKey map[fragmentKey]*datagram
	queue []*datagram
	held  int
}

// add takes a fragment. It returns the whole datagram when this was the last
// piece of it.
func (f *fragments) add(p *packet, at time.Time) (whole *datagram) {
	key := fragmentKey{p.src, p.dst, p.id, p.proto}
	d := f.byKey[key]
	if d == nil {
		if f.byKey == nil {
			f.byKey = map[fragmentKey]*datagram{}
		}
		d = &datagram{key: key, at: at, total: -1}
		f.byKey[key] = d
		f.queue = append(f.queue, d)
	}
	d.last = at
	d.size += p.size
	d.owner.merge(p.owner)
	before := d.held
	d.addSpare(p.spare)
	d.insert(part{p.offset, append([]byte(nil), p.payload...), p.missing})
	f.held += d.held - before
	if !p.follow && d.total < 0 {
		d.total = p.offset + len(p.payload) + p.missing
	}
	if !d.complete() {
		return nil
	}
	f.remove(d)
	return d
}

// insert keeps the parts in order. A part whose offset is known already is a
// repetition, and the first one counts.
func (d *datagram) insert(p part) {
	if len(d.parts) >= maxParts || p.offset+len(p.data) > 1<<16 {
		d.addSpare(p.data)
		return
	}
	i := len(d.parts)
	for i > 0 && d.parts[i-1].offset >= p.offset {
		if first := d.parts[i-1].data; d.parts[i-1].offset == p.offset {
			if n := min(len(first), len(p.data)); !bytes.Equal(first[:n], p.data[:n]) || n < len(p.data) {
				d.addSpare(p.data)
			}
			return
		}
		i--
	}
	d.held += len(p.data)
	d.parts = append(d.parts, part{})
	copy(d.parts[i+1:], d.parts[i:])
	d.parts[i] = p
}

// addSpare keeps bytes that are no part of the datagram.
func (d *datagram) addSpare(b []byte) {
	n := min(len(b), maxSpare-len(d.spare))
	d.spare = append(d.spare, b[:n]...)
	d.held, d.more = d.held+n, d.more+len(b)-n
}

func (d *datagram) complete() bool {
	at := 0
	for _, p := range d.parts {
		if p.offset > at {
			return false
		}
		at = max(at, p.offset+len(p.data)+p.missing)
	}
	return d.total >= 0 && at >= d.total
}

func (f *fragments) remove(d *datagram) {
	delete(f.byKey, d.key)
	f.held -= d.held
	for i, q := range f.queue {
		if q == d {
			f.queue = append(f.queue[:i], f.queue[i+1:]...)
			return
		}
	}
}

// expired removes and returns a datagram that will not be whole any more: one
// that waited too long, or the oldest of too many.
func (f *fragments) expired(now time.Time) *datagram {
	if len(f.queue) == 0 {
		return nil
	}
	d := f.queue[0]
	if len(f.queue) <= maxDatagrams && f.held <= maxHeld && now.Sub(d.last) < patienceFragment {
		return nil
	}
	f.remove(d)
	return d
}

// packet joins the parts, up to the first byte that is not there.
func (d *datagram) packet() packet {
	p := packet{src: d.key.src, dst: d.key.dst, proto: d.key.proto, size: d.size, owner: d.owner, spare: d.spare, more: d.more}
	whole, wire, at := true, 0, 0
	for _, part := range d.parts {
		end := part.offset + len(part.data) + part.missing
		wire += max(0, end-max(at, part.offset)) // They may overlap.
		at = max(at, end)
		from := len(p.payload) - part.offset
		if !whole || from < 0 {
			whole = false
			continue
		}
		if n := min(from, len(part.data)); !bytes.Equal(part.data[:n], p.payload[part.offset:part.offset+n]) {
			p.spare = append(p.spare[:len(p.spare):len(p.spare)], part.data[:n]...)
		}
		if from < len(part.data) {
			p.payload = append(p.payload, part.data[from:]...)
		}
		whole = part.missing == 0
	}
	if d.total >= 0 {
		p.payload = p.payload[:min(len(p.payload), d.total)]
		wire = min(wire, d.total)
	}
	p.missing = max(0, wire-len(p.payload))
	return p
}
