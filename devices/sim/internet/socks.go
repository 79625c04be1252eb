package internet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"
)

// SOCKS serves SOCKS5 on ln until ctx ends or the internet is closed, and then
// returns nil. Through this door programs of the host reach the simulated
// internet, and nothing else: CONNECT only, names are resolved inside, and
// connections come from a laboratory address that is no phone's. ln and all
// connections are closed when it returns.
func (n *Internet) SOCKS(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	door := &trackedListener{Listener: ln, conns: map[*trackedConn]struct{}{}}
	defer context.AfterFunc(ctx, door.shut)()

	server := socks5.NewServer(
		socks5.WithRule(socks5.NewPermitConnAndAss()),
		socks5.WithResolver(keepNames{}),
		socks5.WithDialAndRequest(func(_ context.Context, _, _ string, r *socks5.Request) (net.Conn, error) {
			host := r.RawDestAddr.FQDN
			if host == "" {
				host = r.RawDestAddr.IP.String()
			}
			// The library's context never ends; the door's does.
			return n.lab.Dial(ctx, 0, "tcp", net.JoinHostPort(host, strconv.Itoa(r.RawDestAddr.Port)))
		}),
		socks5.WithAssociateHandle(func(_ context.Context, w io.Writer, _ *socks5.Request) error {
			return socks5.SendReply(w, statute.RepCommandNotSupported, nil)
		}),
	)
	err := server.Serve(door)
	door.shut()
	door.wg.Wait()
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("internet: serve socks: %w", err)
}

// keepNames leaves names to the dialer, which resolves them on the wire.
type keepNames struct{}

// Resolve implements socks5.NameResolver.
func (keepNames) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, nil, nil
}

// A trackedListener can close what it has accepted, which the library cannot.
type trackedListener struct {
	net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  map[*trackedConn]struct{}
}

type trackedConn struct {
	net.Conn
	from *trackedListener
	once sync.Once
}

// Accept implements net.Listener.
func (l *trackedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		// The door is shut: who came in meanwhile is turned away.
		_ = c.Close()
		return nil, net.ErrClosed
	}
	t := &trackedConn{Conn: c, from: l}
	l.conns[t] = struct{}{}
	l.wg.Add(1)
	return t, nil
}

func (l *trackedListener) shut() {
	l.mu.Lock()
	l.closed = true
	conns := make([]*trackedConn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	_ = l.Listener.Close()
	for _, c := range conns {
		_ = c.Conn.Close()
	}
}

// Close is called once by the goroutine that serves the connection.
func (c *trackedConn) Close() error {
	c.once.Do(func() {
		c.from.mu.Lock()
		delete(c.from.conns, c)
		c.from.mu.Unlock()
		c.from.wg.Done()
	})
	return c.Conn.Close()
}

// CloseWrite passes the end of the other side on.
func (c *trackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}
