// Memory is measured here of one goroutine that reads, and the race detector's own
// would be counted with it.

//go:build !race

package dissect_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/dissect"
)

// TestMemoryIsBounded reads hostile files that claim much, and a long stream.
func TestMemoryIsBounded(t *testing.T) {
	o := binary.LittleEndian
	w := newWire(t)
	x := w.dial(phone4, host4).open()
	for i := range 20_000 { // behind a hole that is never filled
		x.segment(x.client, x.client.seq+uint32(i)*1400+7, "PA", make([]byte, 1400))
	}
	holes := w.pcap()
	w.frames = nil
	for i := range 20_000 { // first fragments only
		w.udp("10.0.0.2:40000", "203.0.113.7:9999", make([]byte, 1400))
		w.frames[i].data = fragment4(w.frames[i].data, 0, 1400)
	}
	fragments := w.pcap()
	claim := append(section(o), describe(o, 1)...)
	for range 1000 {
		claim = append(claim, block(o, 6, append(make([]byte, 12), 0xf0, 0xff, 0x0f, 0, 0xf0, 0xff, 0x0f, 0))...)
	}
	for name, file := range map[string][]byte{"holes": holes, "fragments": fragments, "claims": claim} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		peak := uint64(0)
		r := &watcher{r: bytes.NewReader(file), f: func() {
			runtime.GC()
			runtime.ReadMemStats(&after)
			peak = max(peak, after.HeapAlloc-min(after.HeapAlloc, before.HeapAlloc))
		}}
		if _, err := dissect.Read(r, dissect.Options{}); err != nil {
			t.Fatal(err)
		}
		if peak > 16<<20 {
			t.Errorf("%s: the heap grew by %d MB over a file of %d MB", name, peak>>20, len(file)>>20)
		}
	}
}

type watcher struct {
	r io.Reader
	n int
	f func()
}

func (w *watcher) Read(b []byte) (int, error) {
	if w.n++; w.n%64 == 0 {
		w.f()
	}
	return w.r.Read(b)
}

// TestHARValueIsBounded has one text that never ends.
func TestHARValueIsBounded(t *testing.T) {
	r := &endless{head: strings.NewReader(`{"log":{"entries":[{"request":{"url":"`)}
	got, err := dissect.ReadHAR(r)
	if err != nil || !got.Health.Truncated || r.n > 80<<20 {
		t.Errorf("%v after %d bytes: %+v", err, r.n, got)
	}
}

type endless struct {
	head *strings.Reader
	n    int
}

func (e *endless) Read(b []byte) (int, error) {
	if e.head.Len() > 0 {
		return e.head.Read(b)
	}
	for i := range b {
		b[i] = 'a'
	}
	e.n += len(b)
	return len(b), nil
}
