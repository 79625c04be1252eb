package adbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// maxTunnelled is the most connections that one tunnel carries at a time.
const maxTunnelled = 2048

// A Dial connects to the far side of a tunnel.
type Dial func(ctx context.Context) (io.ReadWriteCloser, error)

// A Tunnel listens on one side and connects to the other: what `adb forward`
// and `adb reverse` make.
type Tunnel struct {
	listener net.Listener

	mu     sync.Mutex
	dial   Dial
	conns  map[io.Closer]struct{}
	closed bool
}

// NewTunnel makes a tunnel of a listener, which the tunnel closes.
func NewTunnel(listener net.Listener, dial Dial) *Tunnel {
	return &Tunnel{listener: listener, dial: dial, conns: map[io.Closer]struct{}{}}
}

// Run carries connections until the tunnel is closed.
func (t *Tunnel) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			return
		}
		if !t.keep(conn) {
			_ = conn.Close()
			continue
		}
		running.Go(func() { t.carry(ctx, conn) })
	}
}

func (t *Tunnel) carry(ctx context.Context, conn net.Conn) {
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

func (t *Tunnel) keep(c io.Closer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.conns) >= maxTunnelled {
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *Tunnel) drop(c io.Closer) {
	_ = c.Close()
	t.mu.Lock()
	delete(t.conns, c)
	t.mu.Unlock()
}

// Retarget makes later connections go elsewhere.
func (t *Tunnel) Retarget(dial Dial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dial = dial
}

// Close ends the tunnel and what it carries.
func (t *Tunnel) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	_ = t.listener.Close()
	for conn := range t.conns {
		_ = conn.Close()
	}
}

// splice carries bytes both ways until either side ends, and closes both, as
// ADB does: it knows no half-closed streams.
func splice(a, b io.ReadWriteCloser) {
	var wg sync.WaitGroup
	for _, pair := range [][2]io.ReadWriteCloser{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // its end is all that counts
			_ = a.Close()
			_ = b.Close()
		})
	}
	wg.Wait()
}

// Ports reads the ends of a tunnel, "tcp:A;tcp:B".
func Ports(spec string) (local, remote int, err error) {
	l, r, ok := strings.Cut(spec, ";")
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

// TCP names a port as tunnels do.
func TCP(port int) string { return "tcp:" + strconv.Itoa(port) }
