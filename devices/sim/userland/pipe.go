package userland

import (
	"io"
	"sync"
	"sync/atomic"
	"syscall"
)

const pipeSize = 64 << 10 // bytes that a pipe holds, as in Linux

// A stream is one end of something that a file descriptor can name. done ends
// a call that waits: it is closed when the calling process is killed.
type stream interface {
	read(done <-chan struct{}, b []byte) (int, error)
	write(done <-chan struct{}, b []byte) (int, error)
	close()
}

// A file is an open file description, shared by the processes that inherited
// it and closed with the last of them.
type file struct {
	refs atomic.Int32
	s    stream
	tty  bool
}

func newFile(s stream) *file {
	f := &file{s: s}
	f.refs.Store(1)
	return f
}

func (f *file) dup() *file {
	f.refs.Add(1)
	return f
}

func (f *file) close() {
	if f.refs.Add(-1) == 0 {
		f.s.close()
	}
}

// A pipe is bounded, and wakes its waiting ends when anything changes.
type pipe struct {
	mu      sync.Mutex
	buf     []byte
	changed chan struct{}
	noRead  bool
	noWrite bool
}

func newPipe() (r, w *file) {
	p := &pipe{changed: make(chan struct{})}
	return newFile(pipeReader{p}), newFile(pipeWriter{p})
}

func (p *pipe) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

type pipeReader struct{ p *pipe }

func (r pipeReader) read(done <-chan struct{}, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		r.p.mu.Lock()
		if len(r.p.buf) > 0 {
			n := copy(b, r.p.buf)
			r.p.buf = r.p.buf[n:]
			if len(r.p.buf) == 0 {
				r.p.buf = nil
			}
			r.p.wake()
			r.p.mu.Unlock()
			return n, nil
		}
		if r.p.noWrite {
			r.p.mu.Unlock()
			return 0, io.EOF
		}
		changed := r.p.changed
		r.p.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return 0, syscall.EINTR
		}
	}
}

func (r pipeReader) write(<-chan struct{}, []byte) (int, error) { return 0, syscall.EBADF }

func (r pipeReader) close() {
	r.p.mu.Lock()
	r.p.noRead = true
	r.p.buf = nil
	r.p.wake()
	r.p.mu.Unlock()
}

type pipeWriter struct{ p *pipe }

func (w pipeWriter) read(<-chan struct{}, []byte) (int, error) { return 0, syscall.EBADF }

func (w pipeWriter) write(done <-chan struct{}, b []byte) (int, error) {
	total := 0
	for {
		w.p.mu.Lock()
		if w.p.noRead {
			w.p.mu.Unlock()
			return total, syscall.EPIPE
		}
		if room := pipeSize - len(w.p.buf); room > 0 {
			n := min(room, len(b))
			w.p.buf = append(w.p.buf, b[:n]...)
			b = b[n:]
			total += n
			w.p.wake()
		}
		if len(b) == 0 {
			w.p.mu.Unlock()
			return total, nil
		}
		changed := w.p.changed
		w.p.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return total, syscall.EINTR
		}
	}
}

func (w pipeWriter) close() {
	w.p.mu.Lock()
	w.p.noWrite = true
	w.p.wake()
	w.p.mu.Unlock()
}

// handleStream is a file of the file system behind a descriptor.
type handleStream struct {
	mu sync.Mutex
	h  *Handle
}

func (s *handleStream) read(_ <-chan struct{}, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.h.Read(b)
}

func (s *handleStream) write(_ <-chan struct{}, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.h.Write(b)
}

func (s *handleStream) close() { _ = s.h.Close() }

// bytesStream is a here-document.
type bytesStream struct {
	mu   sync.Mutex
	data []byte
}

func (s *bytesStream) read(_ <-chan struct{}, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *bytesStream) write(<-chan struct{}, []byte) (int, error) { return 0, syscall.EBADF }

func (s *bytesStream) close() {}

// captureStream is the output of a command substitution, bounded.
type captureStream struct {
	mu   sync.Mutex
	data []byte
	max  int
}

func (s *captureStream) read(<-chan struct{}, []byte) (int, error) { return 0, syscall.EBADF }

func (s *captureStream) write(_ <-chan struct{}, b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.data)+len(b) > s.max {
		return 0, syscall.ENOSPC
	}
	s.data = append(s.data, b...)
	return len(b), nil
}

func (s *captureStream) close() {}

func (s *captureStream) bytes() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.data...)
}
