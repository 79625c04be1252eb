package internet

import (
	"sync"
	"time"
)

// tapBytes bounds what a tap holds for a slow reader, in bytes of frames.
const tapBytes = 32 << 20

// A Tap shows the frames of one interface to one function, in order. A reader
// that is too slow does not slow the network: frames that find no room are
// dropped and counted, like those of a packet socket.
type Tap struct {
	fn   func(at time.Time, frame []byte)
	wire *wire

	mu      sync.Mutex
	wake    sync.Cond
	frames  []tapped
	bytes   int
	seen    uint64
	dropped uint64
	closed  bool
	done    chan struct{}
}

type tapped struct {
	at    time.Time
	frame []byte
}

// put offers a frame. It never blocks.
func (t *Tap) put(at time.Time, frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.seen++
	if t.bytes+len(frame) > tapBytes {
		t.dropped++
		return
	}
	t.bytes += len(frame)
	t.frames = append(t.frames, tapped{at, frame})
	t.wake.Signal()
}

func (t *Tap) run() {
	defer close(t.done)
	var batch []tapped
	for {
		t.mu.Lock()
		for len(t.frames) == 0 && !t.closed {
			t.wake.Wait()
		}
		if len(t.frames) == 0 {
			t.mu.Unlock()
			return
		}
		batch, t.frames = t.frames, batch[:0]
		t.mu.Unlock()
		for i, f := range batch {
			t.fn(f.at, f.frame)
			batch[i] = tapped{}
			t.mu.Lock()
			t.bytes -= len(f.frame)
			t.mu.Unlock()
		}
	}
}

// finish ends the tap after what it holds has been shown.
func (t *Tap) finish() {
	t.mu.Lock()
	t.closed = true
	t.wake.Broadcast()
	t.mu.Unlock()
	<-t.done
}

// Seen returns how many frames passed the interface since the tap was opened,
// the dropped ones included.
func (t *Tap) Seen() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}

// Dropped returns how many frames were not shown because the reader was too
// slow.
func (t *Tap) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// Stop ends the tap. It returns when every frame that passed before has been
// shown, so it must not be called from the tap's own function.
func (t *Tap) Stop() {
	t.wire.mu.Lock()
	for i, other := range t.wire.taps {
		if other == t {
			t.wire.taps = append(t.wire.taps[:i:i], t.wire.taps[i+1:]...)
			break
		}
	}
	t.wire.mu.Unlock()
	t.finish()
}

func (w *wire) openTap(fn func(at time.Time, frame []byte)) *Tap {
	t := &Tap{fn: fn, wire: w, done: make(chan struct{})}
	t.wake.L = &t.mu
	w.mu.Lock()
	w.taps = append(w.taps[:len(w.taps):len(w.taps)], t)
	w.mu.Unlock()
	go t.run()
	return t
}
