package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// A tunnel listens on one side and connects to the other.
type tunnel struct {
	serial        string
	local, remote string
	listener      net.Listener
	dial          func(ctx context.Context) (net.Conn, error)

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func tunnelLines(tunnels map[string]*tunnel, prefix string) []string {
	lines := make([]string, 0, len(tunnels))
	for _, t := range tunnels {
		t.mu.Lock()
		lines = append(lines, prefix+t.local+" "+t.remote)
		t.mu.Unlock()
	}
	sort.Strings(lines)
	return lines
}

// run accepts until the tunnel is closed.
func (t *tunnel) run(ctx context.Context, running *sync.WaitGroup) {
	defer running.Done()
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		if !t.keep(conn) {
			_ = conn.Close()
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			t.carry(ctx, conn)
		}()
	}
}

func (t *tunnel) carry(ctx context.Context, conn net.Conn) {
	defer t.drop(conn)
	t.mu.Lock()
	dial := t.dial
	t.mu.Unlock()
	other, err := dial(ctx)
	if err != nil {
		return
	}
	if !t.keep(other) {
		_ = other.Close()
		return
	}
	defer t.drop(other)
	splice(conn, other)
}

func (t *tunnel) keep(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.conns) >= maxConnections {
		return false
	}
	t.conns[conn] = struct{}{}
	return true
}

func (t *tunnel) drop(conn net.Conn) {
	_ = conn.Close()
	t.mu.Lock()
	delete(t.conns, conn)
	t.mu.Unlock()
}

func (t *tunnel) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	_ = t.listener.Close()
	for conn := range t.conns {
		_ = conn.Close()
	}
}

// rules reads "tcp:A;tcp:B".
func rules(text string) (local, remote int, err error) {
	l, r, ok := strings.Cut(text, ";")
	if !ok {
		return 0, 0, errors.New("bad forward: missing destination")
	}
	port := func(spec string) (int, error) {
		number, ok := strings.CutPrefix(spec, "tcp:")
		n, err := strconv.ParseUint(number, 10, 16)
		if !ok || err != nil {
			return 0, fmt.Errorf("unknown socket specification '%s'", spec)
		}
		return int(n), nil
	}
	if local, err = port(l); err != nil {
		return 0, 0, err
	}
	remote, err = port(r)
	return local, remote, err
}

func hostDial(port int) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
}

// reverse is the service reverse:.
func (c *client) reverse(ctx context.Context, arg string) error {
	verb, rest, _ := strings.Cut(arg, ":")
	if err := c.okay(); err != nil {
		return err
	}
	switch verb {
	case "forward":
		spec, noRebind := strings.CutPrefix(rest, "norebind:")
		port, err := c.addReverse(ctx, spec, noRebind)
		if err != nil {
			return c.fail("%s", err)
		}
		return errors.Join(c.okay(), c.block(strconv.Itoa(port)))
	case "killforward":
		c.s.mu.Lock()
		t := c.link.reverses[rest]
		delete(c.link.reverses, rest)
		c.s.mu.Unlock()
		if t == nil {
			return c.fail("listener '%s' not found", rest)
		}
		t.close()
		return c.okay()
	case "killforward-all":
		c.s.mu.Lock()
		for _, t := range c.link.reverses {
			t.close()
		}
		clear(c.link.reverses)
		c.s.mu.Unlock()
		return c.okay()
	case "list-forward":
		c.s.mu.Lock()
		lines := tunnelLines(c.link.reverses, "UsbFfs ")
		c.s.mu.Unlock()
		return c.block(joinLines(lines))
	}
	return c.fail("unknown reverse service")
}

func joinLines(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func (c *client) addReverse(ctx context.Context, spec string, noRebind bool) (int, error) {
	local, remote, err := rules(spec)
	if err != nil {
		return 0, err
	}
	name := "tcp:" + strconv.Itoa(local)
	target := "tcp:" + strconv.Itoa(remote)
	c.s.mu.Lock()
	old := c.link.reverses[name]
	c.s.mu.Unlock()
	if old != nil {
		if noRebind {
			return 0, errors.New("cannot rebind existing socket")
		}
		old.mu.Lock()
		old.remote, old.dial = target, hostDial(remote)
		old.mu.Unlock()
		return local, nil
	}
	ln, err := c.phone.Listen(local)
	if err != nil {
		return 0, fmt.Errorf("cannot bind listener: %w", err)
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		local = addr.Port
	}
	name = "tcp:" + strconv.Itoa(local)
	t := &tunnel{serial: c.phone.Serial(), local: name, remote: target, listener: ln, dial: hostDial(remote), conns: map[net.Conn]struct{}{}}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	select {
	case <-c.link.done:
		_ = ln.Close()
		return 0, errors.New("device offline")
	default:
	}
	c.link.reverses[name] = t
	c.s.running.Add(1)
	go t.run(ctx, c.s.running)
	return local, nil
}

// forward is host:forward:.
func (c *client) forward(ctx context.Context, want chosen, arg string) error {
	spec, noRebind := strings.CutPrefix(arg, "norebind:")
	local, remote, err := rules(spec)
	if err != nil {
		return c.fail("%s", err)
	}
	c.s.mu.Lock()
	e, err := c.s.choose(want)
	if err == nil && c.s.forwards["tcp:"+strconv.Itoa(local)] != nil && noRebind {
		err = errors.New("cannot rebind existing socket")
	}
	c.s.mu.Unlock()
	if err != nil {
		return c.fail("%s", err)
	}
	phone := e.phone
	c.s.killForwards("tcp:" + strconv.Itoa(local))
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(local)))
	if err != nil {
		return c.fail("cannot bind listener: %s", err)
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		local = addr.Port
	}
	t := &tunnel{
		serial: phone.Serial(), local: "tcp:" + strconv.Itoa(local), remote: "tcp:" + strconv.Itoa(remote), listener: ln,
		conns: map[net.Conn]struct{}{},
		dial: func(ctx context.Context) (net.Conn, error) {
			if c.s.StateOf(phone.Serial()) != Device {
				return nil, errors.New("device offline")
			}
			return phone.Dial(ctx, remote)
		},
	}
	c.s.mu.Lock()
	if c.s.listener == nil {
		c.s.mu.Unlock()
		return errors.Join(errEnd, ln.Close())
	}
	c.s.forwards[t.local] = t
	c.s.running.Add(1)
	running := c.s.running
	c.s.mu.Unlock()
	go t.run(ctx, running)
	return errors.Join(c.okay(), c.okay(), c.block(strconv.Itoa(local)), errEnd)
}

func (s *Server) listForward() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, t := range s.forwards {
		lines = append(lines, t.serial+" "+t.local+" "+t.remote)
	}
	sort.Strings(lines)
	return joinLines(lines)
}

// killForwards takes away one forward, or all of them for the empty name.
func (s *Server) killForwards(local string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for name, t := range s.forwards {
		if local == "" || name == local {
			t.close()
			delete(s.forwards, name)
			found = true
		}
	}
	return found
}
