package dissect

import (
	"sort"
	"time"
)

const (
	// A hole in a stream is given up when the receiver has acknowledged the bytes
	// (so they arrived, and the capture missed them) and no late packet filled it
	// within patienceAcked or before maxBehind further segments came.
	patienceAcked = time.Second
	maxBehind     = 16
	// Without such an acknowledgement it is given up after patienceGap.
	patienceGap = time.Minute
	// maxPending bounds what waits behind a hole: bytes and segments of one
	// direction, and bytes of all streams together.
	maxPendingBytes  = 4 << 20
	maxPendingChunks = 4096
	maxPendingAll    = 64 << 20
)

// A chunk is a run of stream bytes.
type chunk struct {
	seq  uint32
	wire int // bytes of the stream that it stands for
	data []byte
	cut  int // bytes at its end that were on the wire and not captured
	at   time.Time
}

func (c chunk) end() uint32 { return c.seq + uint32(c.wire) } // #nosec G115 -- sequence numbers wrap

// from cuts n bytes off the front.
func (c chunk) from(n int) chunk {
	c.seq += uint32(n) // #nosec G115 -- sequence numbers wrap
	c.wire -= n
	have := min(n, len(c.data))
	c.data = c.data[have:]
	if c.cut > 0 {
		c.cut = c.wire - len(c.data)
	}
	return c
}

// to keeps the first n bytes.
func (c chunk) to(n int) chunk {
	if len(c.data) > n {
		c.data = c.data[:n]
	}
	if c.cut > 0 {
		c.cut = n - len(c.data)
	}
	c.wire = n
	return c
}

// A half is one direction of a TCP connection.
type half struct {
	// next is the sequence number of the next byte to hand on, once synced.
	next   uint32
	synced bool
	// isn is the number of the SYN, when one was seen.
	isn uint32
	syn bool
	fin bool
	rst bool
	// acked is the highest number that the other end has acknowledged.
	acked    uint32
	hasAcked bool

	// past are the last bytes before next, where keeps is set; blind is true where
	// nobody can say what they were.
	past         []byte
	keeps, blind bool

	pending      []chunk
	pendingBytes int
	since        time.Time // when the hole before pending opened
	handed       time.Time // of the last chunk that was handed on
	skipped      int64
}

// after says whether sequence number a lies after b.
func after(a, b uint32) bool { return int32(a-b) > 0 } // #nosec G115 -- sequence numbers wrap

// accept takes a run of stream bytes and hands on what has become contiguous.
// It returns the number of bytes that had not been seen before.
func (h *half) accept(c chunk, deliver func(chunk)) (fresh int) {
	if !h.synced {
		h.next, h.synced = c.seq, true
	}
	if c.wire == 0 {
		return 0
	}
	if after(h.next, c.seq) {
		old := int(h.next - c.seq)
		if old >= c.wire {
			return 0
		}
		c = c.from(old)
	}
	if c.seq == h.next && len(h.pending) == 0 {
		h.hand(c, deliver)
		return c.wire
	}
	if len(h.pending) == 0 {
		h.since = c.at
	}
	fresh = h.insert(c)
	h.drain(deliver)
	return fresh
}

func (h *half) hand(c chunk, deliver func(chunk)) {
	h.next, h.handed = c.end(), c.at
	h.skipped += int64(c.cut)
	deliver(c)
}

// insert keeps the pending chunks sorted and free of overlap; where two
// segments disagree, the first one counts.
func (h *half) insert(c chunk) (fresh int) {
	for c.wire > 0 {
		i := sort.Search(len(h.pending), func(i int) bool { return after(h.pending[i].end(), c.seq) })
		if i == len(h.pending) || !after(c.end(), h.pending[i].seq) {
			h.put(i, c)
			return fresh + c.wire
		}
		if after(h.pending[i].seq, c.seq) {
			head := c.to(int(h.pending[i].seq - c.seq))
			h.put(i, head)
			fresh += head.wire
			i++
		}
		over := int(h.pending[i].end() - c.seq)
		if over >= c.wire {
			return fresh
		}
		c = c.from(over)
	}
	return fresh
}

func (h *half) put(i int, c chunk) {
	c.data = append([]byte(nil), c.data...)
	h.pendingBytes += len(c.data)
	h.pending = append(h.pending, chunk{})
	copy(h.pending[i+1:], h.pending[i:])
	h.pending[i] = c
}

// drain hands on the pending chunks up to the next hole.
func (h *half) drain(deliver func(chunk)) {
	n := 0
	for n < len(h.pending) && h.pending[n].seq == h.next {
		c := h.pending[n]
		h.pendingBytes -= len(c.data)
		h.since = c.at
		h.hand(c, deliver)
		n++
	}
	if n > 0 {
		h.pending = append(h.pending[:0], h.pending[n:]...)
	}
	if len(h.pending) == 0 {
		h.pending = nil
	}
}

// due says whether the hole before the pending chunks will not be filled.
func (h *half) due(now time.Time) bool {
	if len(h.pending) == 0 {
		return false
	}
	waited := now.Sub(h.since)
	if h.hasAcked && !after(h.pending[0].seq, h.acked) && (len(h.pending) >= maxBehind || waited >= patienceAcked) {
		return true
	}
	return waited >= patienceGap || h.pendingBytes > maxPendingBytes || len(h.pending) > maxPendingChunks
}

// skip gives up the hole before the pending chunks, tells how long it was, and
// hands on what follows.
func (h *half) skip(gap func(int), deliver func(chunk)) {
	if len(h.pending) == 0 {
		return
	}
	lost := int(h.pending[0].seq - h.next)
	h.skipped += int64(lost)
	h.next = h.pending[0].seq
	gap(lost)
	h.drain(deliver)
}

// unseen is how many bytes the other end has acknowledged beyond what was seen,
// once nothing waits any more: the capture lost the end of the stream. The end
// itself counts as one, and is no loss.
func (h *half) unseen() int {
	if !h.synced || !h.hasAcked || !after(h.acked, h.next) {
		return 0
	}
	if n := int(h.acked - h.next); n > 1 && n < 1<<30 {
		if h.fin {
			n--
		}
		return n
	}
	return 0
}
