package adbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

const (
	// maxUnsent is how much a service may write ahead of its host.
	maxUnsent = 256 << 10
	// maxUnread is how much a host may write ahead of a service.
	maxUnread = 4 * maxPayload
)

// A stream is one service over a connection. At most one packet of data is on
// its way in each direction. Its fields are under the connection's lock.
type stream struct {
	c      *connection
	id     uint32
	peer   uint32    // the host's number; 0 until it has answered our OPEN
	change sync.Cond // of anything below

	in   []byte // what has come and was not read; OKAY is due when it has been
	owed bool
	out  []byte // what was written and not sent
	sent bool   // a packet is on its way

	accepted bool
	closing  bool // the service is done
	over     bool // so is the host, or the connection
}

var errGone = errors.New("adbd: the host has gone")

// newStream makes a stream. Callers hold the lock.
func (c *connection) newStream(peer uint32) *stream {
	for c.last++; c.last == 0 || c.streams[c.last] != nil; c.last++ {
	}
	s := &stream{c: c, id: c.last, peer: peer}
	s.change.L = &c.mu
	c.streams[s.id] = s
	return s
}

// find is the stream that a packet of the host is about, nil when it has ended.
// Callers hold the lock.
func (c *connection) find(p packet) *stream {
	s := c.streams[p.arg1]
	if s == nil || s.peer != 0 && p.arg0 != s.peer && (p.command != cmdClose || p.arg0 != 0) {
		return nil
	}
	return s
}

// serve hears an OPEN.
func (c *connection) serve(ctx context.Context, p packet) {
	service, _, _ := strings.Cut(string(p.data), "\x00")
	switch {
	case p.arg0 == 0:
		return // nobody could be answered
	case service == "" || c.services >= maxServices:
		c.send(packet{cmdClose, 0, p.arg0, nil})
		return
	}
	s := c.newStream(p.arg0)
	c.services++
	link := c.link
	started := link.run(func() {
		link.Serve(ctx, service, s)
		c.mu.Lock()
		c.services--
		c.mu.Unlock()
	})
	if !started {
		delete(c.streams, s.id)
	}
}

// okay hears that the host has taken a packet, or our OPEN.
func (c *connection) okay(p packet) {
	s := c.find(p)
	switch {
	case s == nil:
		return
	case s.peer == 0:
		s.peer = p.arg0
	default:
		s.sent = false
	}
	s.pump()
	s.change.Broadcast()
}

// closed hears the host's end of a stream, which is not answered.
func (c *connection) closed(p packet) {
	if s := c.find(p); s != nil {
		s.over = true
		delete(c.streams, s.id)
		s.change.Broadcast()
	}
}

// wrote hears data. What is for a stream that has ended is lost.
func (c *connection) wrote(p packet) error {
	s := c.find(p)
	switch {
	case s == nil || s.closing || s.peer == 0:
		return nil
	case len(s.in)+len(p.data) > maxUnread:
		return fmt.Errorf("WRTE: the host does not wait for the OKAY of stream %d", s.id)
	case len(s.in) == 0:
		s.in = p.data
	default: // A genuine server does not wait when its client has gone.
		s.in = append(s.in, p.data...)
	}
	s.owed = true
	s.take()
	s.change.Broadcast()
	return nil
}

// take says that data was read, when it was. Callers hold the lock.
func (s *stream) take() {
	if s.owed && len(s.in) == 0 {
		s.in, s.owed = nil, false
		if !s.over {
			s.c.send(packet{cmdOkay, s.id, s.peer, nil})
		}
	}
}

// pump sends the next packet, or the stream's end after the last. Callers hold
// the lock.
func (s *stream) pump() {
	switch {
	case s.over || s.sent || s.peer == 0:
	case len(s.out) > 0:
		n := min(len(s.out), int(s.c.payload))
		data := s.out[:n:n]
		if s.out = s.out[n:]; len(s.out) == 0 {
			s.out = nil // the packet has it now
		}
		s.sent = true
		s.c.send(packet{cmdWrite, s.id, s.peer, data})
	case s.closing:
		id := s.id
		if !s.accepted {
			id = 0
		}
		s.over = true
		delete(s.c.streams, s.id)
		s.c.send(packet{cmdClose, id, s.peer, nil})
	}
}

// Accept answers the host's OPEN.
func (s *stream) Accept() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.over {
		return errGone
	}
	s.accepted = true
	s.c.send(packet{cmdOkay, s.id, s.peer, nil})
	return nil
}

// Refuse answers it by saying that there is no such service.
func (s *stream) Refuse() error { return s.Close() }

// Read reads what the host wrote.
func (s *stream) Read(b []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for {
		switch {
		case s.closing:
			return 0, io.ErrClosedPipe
		case len(s.in) > 0:
			n := copy(b, s.in)
			s.in = s.in[n:]
			s.take()
			return n, nil
		case s.over:
			return 0, io.EOF
		}
		s.change.Wait()
	}
}

// Write sends to the host, and waits while much is unsent.
func (s *stream) Write(b []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	written := 0
	for written < len(b) {
		switch room := maxUnsent - len(s.out); {
		case s.over || s.closing:
			return written, errGone
		case room > 0:
			n := min(room, len(b)-written)
			s.out = append(s.out, b[written:written+n]...)
			written += n
			s.pump()
		default:
			s.change.Wait()
		}
	}
	return written, nil
}

// Flush waits until the host has taken what was written, and everything that is
// said without waiting for it has been sent.
func (s *stream) Flush() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.sent || len(s.out) > 0 {
		if s.over {
			return errGone
		}
		s.change.Wait()
	}
	for (s.c.writing || len(s.c.queue) > 0) && !s.c.ended {
		s.c.written.Wait()
	}
	return nil
}

// Close ends the stream after what was written. It waits for nothing.
func (s *stream) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.closing, s.in = true, nil
	s.pump()
	s.change.Broadcast()
	return nil
}

// open opens a service of the host, which only a reverse connection does: a
// server drops a phone that opens what it was not asked to.
func (c *connection) open(ctx context.Context, service string) (io.ReadWriteCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, errGone
	}
	s := c.newStream(0)
	s.accepted = true
	c.send(packet{cmdOpen, s.id, 0, []byte(service + "\x00")})
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.change.Broadcast()
	})
	defer stop()
	for s.peer == 0 {
		if s.over || ctx.Err() != nil {
			s.closing = true // an answer that comes yet is answered
			return nil, errors.Join(fmt.Errorf("adbd: the host does not open %s", service), ctx.Err())
		}
		s.change.Wait()
	}
	return s, nil
}
