package adbd

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	greeting = 30 * time.Second // for a host that connects and says nothing
	// maxServices is the most services that one host runs at a time.
	maxServices = 256
	// maxQueue is the most packets that wait for a host: each service has one of
	// data and a few without at a time.
	maxQueue = 8 * maxServices
)

// A connection is one host's over TCP. Its lock may be taken by who holds the
// transport's, not the other way round.
type connection struct {
	t    *Transport
	nc   net.Conn
	name string

	// Under the transport's lock:
	greeted  bool           // the host's CNXN has come
	token    []byte         // the challenge that waits for its answer
	allowed  bool           // the host's key is
	offered  *rsa.PublicKey // the key that the host asks to be allowed
	attempts int

	mu       sync.Mutex
	link     *Link // nil until the host is let in
	checked  bool  // the host checks sums
	payload  uint32
	ended    bool
	queue    []packet
	queued   chan struct{} // capacity 1
	writing  bool
	written  sync.Cond // the queue was empty, or the connection has ended
	gone     chan struct{}
	streams  map[uint32]*stream // by our number
	last     uint32
	services int
}

func newConnection(t *Transport, nc net.Conn, name string) *connection {
	c := &connection{
		t: t, nc: nc, name: name, payload: maxPayload,
		queued: make(chan struct{}, 1), gone: make(chan struct{}), streams: map[uint32]*stream{},
	}
	c.written.L = &c.mu
	return c
}

// run serves the connection until it ends.
func (c *connection) run(ctx context.Context) {
	var writer sync.WaitGroup
	writer.Go(c.write)
	if err := c.read(ctx); err != nil && !errors.Is(err, io.EOF) {
		c.t.d.log.Debug("adb transport", "phone", c.t.d.phone.Serial(), "host", c.name, "err", err)
	}
	c.end()
	writer.Wait()
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	if link != nil {
		link.Wait()
	}
}

// end cuts the connection and everything that goes over it.
func (c *connection) end() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.ended = true
	close(c.gone)
	c.written.Broadcast()
	for _, s := range c.streams {
		s.over = true
		s.change.Broadcast()
	}
	clear(c.streams)
	link := c.link
	c.mu.Unlock()
	_ = c.nc.Close()
	if link != nil {
		link.Close()
	}
}

// send queues a packet. Callers hold the lock.
func (c *connection) send(p packet) {
	if c.ended {
		return
	}
	c.queue = append(c.queue, p)
	c.wake()
}

// write sends what is queued.
func (c *connection) write() {
	for {
		select {
		case <-c.gone:
			return
		case <-c.queued:
		}
		c.mu.Lock()
		queue, checked := c.queue, c.checked
		c.queue = nil
		c.writing = len(queue) > 0
		if !c.writing {
			c.written.Broadcast()
		}
		c.mu.Unlock()
		if len(queue) == 0 {
			continue
		}
		var buffers net.Buffers
		for _, p := range queue {
			// Until a host has said which version it speaks, it may check sums.
			buffers = append(buffers, p.head(checked || p.command == cmdConnect || p.command == cmdAuth))
			if len(p.data) > 0 {
				buffers = append(buffers, p.data)
			}
		}
		if _, err := buffers.WriteTo(c.nc); err != nil {
			_ = c.nc.Close() // the reader ends the rest
			return
		}
		c.wake()
	}
}

// wake has the writer look at the queue. Callers need not hold the lock.
func (c *connection) wake() {
	select {
	case c.queued <- struct{}{}:
	default:
	}
}

func (c *connection) read(ctx context.Context) error {
	r := bufio.NewReaderSize(c.nc, 64<<10)
	_ = c.nc.SetReadDeadline(time.Now().Add(greeting)) // a closed connection says so when read
	for {
		// Nobody has a reason to send much before being let in.
		limit := uint32(minPayload)
		c.mu.Lock()
		if c.link != nil {
			limit = c.payload
		}
		checked, full := c.checked, len(c.queue) > maxQueue
		c.mu.Unlock()
		if full {
			return errors.New("the host does not take its answers")
		}
		p, claimed, err := readPacket(r, limit)
		if err != nil {
			return err
		}
		if (checked || p.command == cmdConnect && p.arg0 < versionUnchecked) && claimed != sum(p.data) {
			return errors.New("packet: the sum does not fit the payload")
		}
		if err := c.packet(ctx, p); err != nil {
			return err
		}
	}
}

func (c *connection) packet(ctx context.Context, p packet) error {
	switch p.command {
	case cmdConnect:
		return c.greet(p)
	case cmdAuth:
		return c.authenticate(p)
	case cmdOpen, cmdOkay, cmdClose, cmdWrite:
	default:
		return fmt.Errorf("packet: unknown command %#x", p.command)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil {
		return nil // a host that was not let in has nothing to say
	}
	switch p.command {
	case cmdOpen:
		c.serve(ctx, p)
	case cmdOkay:
		c.okay(p)
	case cmdClose:
		c.closed(p)
	case cmdWrite:
		return c.wrote(p)
	}
	return nil
}

// greet hears a host's CNXN.
func (c *connection) greet(p packet) error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	switch {
	case c.greeted:
		return errors.New("CNXN: the host was connected already")
	case p.arg0 < versionChecked:
		return fmt.Errorf("CNXN: version %#x", p.arg0)
	case p.arg1 < minPayload:
		return fmt.Errorf("CNXN: a host that takes %d bytes only", p.arg1)
	case !strings.HasPrefix(string(p.data), "host:"):
		return errors.New("CNXN: not from a host")
	}
	_ = c.nc.SetReadDeadline(time.Time{}) // a closed connection says so when read
	c.mu.Lock()
	c.checked, c.payload = p.arg0 < versionUnchecked, min(p.arg1, maxPayload)
	c.mu.Unlock()
	c.greeted = true
	c.t.advance(c)
	return nil
}

// authenticate hears a host's answer to a challenge.
func (c *connection) authenticate(p packet) error {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.token == nil {
		return nil // nothing was asked
	}
	switch p.arg0 {
	case authSignature:
		if c.attempts++; c.attempts > maxAttempts {
			return errors.New("AUTH: too many attempts")
		}
		for _, key := range c.t.keys {
			c.allowed = c.allowed || signed(key, c.token, p.data)
		}
		c.token = nil // each is used once
	case authPublicKey:
		key, err := parseKey(p.data)
		if err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
		c.offered = key
	default:
		return fmt.Errorf("AUTH: unknown kind %d", p.arg0)
	}
	c.t.advance(c)
	return nil
}

// waits reports whether the host has not been let in.
func (c *connection) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link == nil
}

// advance takes a host as far as the phone's state lets it. Callers hold the
// transport's lock.
func (t *Transport) advance(c *connection) {
	switch {
	case !c.greeted || !t.state.Online() && t.state != Unauthorized:
	case t.state != Unauthorized && (!t.secure || c.allowed):
		c.admit(t.state)
	case t.state != Unauthorized && c.offered != nil:
		if len(t.keys) < maxKeys {
			t.keys = append(t.keys, c.offered)
		}
		c.admit(t.state)
	case c.token == nil:
		c.token = make([]byte, tokenSize)
		_, _ = rand.Read(c.token) // never fails
		c.mu.Lock()
		c.send(packet{cmdAuth, authToken, 0, c.token})
		c.mu.Unlock()
	}
}

// admit lets the host in, and says what the phone is.
func (c *connection) admit(state State) {
	d := c.t.d
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.link != nil {
		return
	}
	c.link = d.Link(c.name, state, c.open)
	banner := fmt.Sprintf("%s::ro.product.name=%s;ro.product.model=%s;ro.product.device=%s;features=%s",
		state, d.phone.Product(), d.phone.Model(), d.phone.Device(), Features)
	c.send(packet{cmdConnect, versionUnchecked, maxPayload, []byte(banner)})
}
