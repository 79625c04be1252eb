package adbd

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

const (
	maxHosts = 16
	maxKeys  = 64
	// relisten lies between two tries for a port that somebody else took while the
	// phone was away.
	relisten = 50 * time.Millisecond
)

// A TransportConfig says how a phone can be reached over TCP.
type TransportConfig struct {
	// Addr is the loopback host:port to listen on; port 0 takes a free one.
	Addr string
	// Secure makes the daemon ask a host for its key, as a retail phone's does. A
	// key is allowed when it is first offered, unless the phone is Unauthorized.
	Secure bool
}

// A Transport is a daemon's door on TCP, for `adb connect`. It is safe for
// concurrent use.
type Transport struct {
	d      *Daemon
	secure bool
	addr   string

	mu       sync.Mutex
	state    State
	listener net.Listener  // nil while the phone is Absent
	changed  chan struct{} // closed when state or closed change
	conns    map[*connection]struct{}
	count    int
	keys     []*rsa.PublicKey // those allowed
	closed   bool
	running  sync.WaitGroup
}

// Listen opens a door to the daemon, for a phone in the state Device, until
// Close. ctx bounds the start only.
func (d *Daemon) Listen(ctx context.Context, cfg TransportConfig) (*Transport, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("adbd: listen on %s: %w", cfg.Addr, err)
	}
	tcp, ok := ln.Addr().(*net.TCPAddr)
	switch {
	case !ok || !tcp.IP.IsLoopback():
		return nil, errors.Join(fmt.Errorf("adbd: listen on %s: not a loopback address", cfg.Addr), ln.Close())
	case tcp.Port >= 5555 && tcp.Port <= 5585 && tcp.Port%2 == 1:
		return nil, errors.Join(fmt.Errorf("adbd: listen on %s: an ADB server takes the odd ports from 5555 to 5585 for emulators", cfg.Addr), ln.Close())
	}
	t := &Transport{d: d, secure: cfg.Secure, addr: ln.Addr().String(), state: Device, listener: ln, changed: make(chan struct{}), conns: map[*connection]struct{}{}}
	ctx = context.WithoutCancel(ctx)
	t.running.Go(func() { t.accept(ctx, ln) })
	t.running.Go(func() { t.keep(ctx) })
	return t, nil
}

// Addr is the address of the door, which is the phone's serial at an ADB server
// that is connected to it.
func (t *Transport) Addr() string { return t.addr }

func (t *Transport) accept(ctx context.Context, ln net.Listener) {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		if !t.greet(ctx, ln, nc) {
			_ = nc.Close()
		}
	}
}

// greet begins a connection, unless the phone has gone meanwhile.
func (t *Transport) greet(ctx context.Context, ln net.Listener, nc net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.listener != ln || len(t.conns) >= maxHosts {
		return false
	}
	t.count++
	c := newConnection(t, nc, "host-"+strconv.Itoa(t.count))
	t.conns[c] = struct{}{}
	t.running.Go(func() {
		c.run(ctx)
		t.mu.Lock()
		delete(t.conns, c)
		t.mu.Unlock()
	})
	return true
}

// SetState changes what a host finds. Services are cut before it returns. An
// Absent phone refuses connections; an Offline one takes them and says nothing;
// an Unauthorized one has forgotten every key and allows none. Whoever was kept
// waiting is let in when the phone comes back.
func (t *Transport) SetState(state State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.state == state {
		return
	}
	was := t.state
	t.state = state
	if state == Unauthorized {
		t.keys = nil
	}
	if state == Absent {
		_ = t.listener.Close()
		t.listener = nil
	}
	for c := range t.conns {
		c.allowed = c.allowed && state != Unauthorized
		if was.Online() || !c.waits() || state == Absent {
			c.end()
			continue
		}
		t.advance(c)
	}
	t.notify()
}

func (t *Transport) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// keep listens again when the phone has come back.
func (t *Transport) keep(ctx context.Context) {
	for {
		t.mu.Lock()
		closed, changed := t.closed, t.changed
		var again <-chan time.Time
		if !closed && t.state != Absent && t.listener == nil {
			var lc net.ListenConfig
			if ln, err := lc.Listen(ctx, "tcp", t.addr); err == nil {
				t.listener = ln
				t.running.Go(func() { t.accept(ctx, ln) })
			} else {
				again = time.After(relisten)
			}
		}
		t.mu.Unlock()
		if closed {
			return
		}
		select {
		case <-changed:
		case <-again:
		}
	}
}

// Close ends the door and every connection, and waits for them.
func (t *Transport) Close() {
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		if t.listener != nil {
			_ = t.listener.Close()
			t.listener = nil
		}
		for c := range t.conns {
			c.end()
		}
		t.notify()
	}
	t.mu.Unlock()
	t.running.Wait()
}
