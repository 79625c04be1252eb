package internet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// fallback is how long an address may take before the next is tried as
	// well (RFC 8305 recommends a quarter of a second).
	fallback = 250 * time.Millisecond
	// backlog bounds the connections that a listener has not accepted yet.
	backlog = 128
)

// errnos are the system's numbers for the errors of the stack.
var errnos = map[string]syscall.Errno{
	(&tcpip.ErrConnectionRefused{}).String():  syscall.ECONNREFUSED,
	(&tcpip.ErrConnectionReset{}).String():    syscall.ECONNRESET,
	(&tcpip.ErrConnectionAborted{}).String():  syscall.ECONNABORTED,
	(&tcpip.ErrAborted{}).String():            syscall.ECONNABORTED,
	(&tcpip.ErrTimeout{}).String():            syscall.ETIMEDOUT,
	(&tcpip.ErrNetworkUnreachable{}).String(): syscall.ENETUNREACH,
	(&tcpip.ErrHostUnreachable{}).String():    syscall.EHOSTUNREACH,
	(&tcpip.ErrPortInUse{}).String():          syscall.EADDRINUSE,
	(&tcpip.ErrBadLocalAddress{}).String():    syscall.EADDRNOTAVAIL,
	(&tcpip.ErrNoBufferSpace{}).String():      syscall.ENOBUFS,
	(&tcpip.ErrClosedForSend{}).String():      syscall.EPIPE,
}

// toError turns an error of the stack into one of the system.
func toError(err tcpip.Error) error {
	if err == nil {
		return nil
	}
	if errno, ok := errnos[err.String()]; ok {
		return errno
	}
	return errors.New(err.String())
}

// A conn is a socket of the phone.
type conn struct {
	net.Conn
	table  *sockets
	record *record
	closed atomic.Bool
}

// A tcpConn can also close one direction.
type tcpConn struct {
	conn
	tcp *gonet.TCPConn
}

// CloseWrite sends a FIN and leaves the other direction open.
func (c *tcpConn) CloseWrite() error { return c.fix(c.tcp.CloseWrite()) }

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, c.fix(err)
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.fix(err)
}

// Close closes the socket and wakes whoever waits on it.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.table.orphan(c.record)
	// A deadline in the past wakes readers, which the stack does not do for a
	// connection that goes on to exchange its last packets.
	_ = c.SetDeadline(time.Unix(1, 0))
	return c.Conn.Close()
}

// fix gives an error of the stack the system's number, so that errors.Is works
// as it does with real sockets.
func (c *conn) fix(err error) error {
	if err == nil || errors.Is(err, io.EOF) && !c.closed.Load() {
		return err
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		op = &net.OpError{Op: "use", Net: "ip", Err: err}
	}
	if c.closed.Load() {
		op.Err = net.ErrClosed
	} else if errno, ok := errnos[op.Err.Error()]; ok {
		op.Err = errno
	}
	return op
}

// race tries addresses one after the other, each a quarter of a second after
// the one before, and returns the first connection.
func race(ctx context.Context, to []netip.AddrPort, dial func(context.Context, netip.AddrPort) (net.Conn, error)) (net.Conn, error) {
	if len(to) == 1 {
		return dial(ctx, to[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failed []error
	next, running := 0, 0
	for {
		select {
		case <-timer.C:
			addr := to[next]
			next++
			running++
			go func() {
				c, err := dial(ctx, addr)
				select {
				case results <- result{c, err}:
				case <-ctx.Done():
					if err == nil {
						// Another address won the race.
						_ = c.Close()
					}
				}
			}()
			if next < len(to) {
				timer.Reset(fallback)
			}
		case r := <-results:
			running--
			if r.err == nil {
				return r.conn, nil
			}
			failed = append(failed, r.err)
			if next < len(to) {
				timer.Reset(0)
			} else if running == 0 {
				return nil, failed[0]
			}
		case <-ctx.Done():
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}
	}
}

func full(ap netip.AddrPort) tcpip.FullAddress {
	f := tcpip.FullAddress{Port: ap.Port()}
	if !ap.Addr().IsUnspecified() {
		f.Addr = tcpip.AddrFromSlice(ap.Addr().AsSlice())
	}
	return f
}

// source chooses the local address and checks that there is a route.
func (s *Stack) source(to netip.Addr) (netip.Addr, error) {
	if s.isClosed() {
		return netip.Addr{}, ErrClosed
	}
	switch {
	case to.IsLoopback() && to.Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	case to.IsLoopback():
		return netip.IPv6Loopback(), nil
	case !s.wlan.isUp():
		return netip.Addr{}, syscall.ENETUNREACH
	case to.Is4():
		return s.v4.Addr(), nil
	default:
		return s.v6.Addr(), nil
	}
}

// open makes a socket bound to a local port and notes its owner, before its
// first packet can leave.
func (s *Stack) open(uid int, proto uint8, local, remote netip.AddrPort, wq *waiter.Queue) (tcpip.Endpoint, *record, error) {
	transport := tcp.ProtocolNumber
	if proto == protoUDP {
		transport = udp.ProtocolNumber
	}
	ep, terr := s.stack.NewEndpoint(transport, protocolOf(local.Addr()), wq)
	if terr != nil {
		return nil, nil, toError(terr)
	}
	if proto == protoTCP && !remote.IsValid() {
		// As every daemon does: a port whose old connections are still dying may
		// be listened on again.
		ep.SocketOptions().SetReuseAddress(true)
	}
	if terr := ep.Bind(full(local)); terr != nil {
		ep.Close()
		return nil, nil, toError(terr)
	}
	bound, terr := ep.GetLocalAddress()
	if terr != nil {
		ep.Close()
		return nil, nil, toError(terr)
	}
	local = netip.AddrPortFrom(local.Addr(), bound.Port)
	return ep, s.sockets.add(flowKey{proto, local, remote}, uid, ep), nil
}

func (s *Stack) dialTCP(ctx context.Context, uid int, network string, to netip.AddrPort) (net.Conn, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, fail(err)
	}
	from, err := s.source(to.Addr())
	if err != nil {
		return nil, fail(err)
	}
	var wq waiter.Queue
	ep, rec, err := s.open(uid, protoTCP, netip.AddrPortFrom(from, 0), to, &wq)
	if err != nil {
		return nil, fail(err)
	}
	entry, ready := waiter.NewChannelEntry(waiter.WritableEvents | waiter.EventErr | waiter.EventHUp)
	wq.EventRegister(&entry)
	defer wq.EventUnregister(&entry)
	terr := ep.Connect(full(to))
	if _, started := terr.(*tcpip.ErrConnectStarted); started {
		select {
		case <-ctx.Done():
			s.sockets.orphan(rec)
			ep.Close()
			return nil, fail(ctx.Err())
		case <-s.closing:
			s.sockets.orphan(rec)
			ep.Close()
			return nil, fail(ErrClosed)
		case <-ready:
		}
		terr = ep.LastError()
	}
	if terr != nil {
		s.sockets.orphan(rec)
		ep.Close()
		return nil, fail(toError(terr))
	}
	c := gonet.NewTCPConn(&wq, ep)
	return &tcpConn{conn{Conn: c, table: s.sockets, record: rec}, c}, nil
}

func (s *Stack) dialUDP(uid int, network string, to netip.AddrPort) (net.Conn, error) {
	from, err := s.source(to.Addr())
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	var wq waiter.Queue
	ep, rec, err := s.open(uid, protoUDP, netip.AddrPortFrom(from, 0), to, &wq)
	if err == nil {
		if terr := ep.Connect(full(to)); terr != nil {
			s.sockets.orphan(rec)
			ep.Close()
			err = toError(terr)
		}
	}
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	return &conn{Conn: gonet.NewUDPConn(&wq, ep), table: s.sockets, record: rec}, nil
}

// A listener accepts connections for a user.
type listener struct {
	stack  *Stack
	uid    int
	ep     tcpip.Endpoint
	wq     *waiter.Queue
	record *record
	addr   *net.TCPAddr
	done   chan struct{}
	once   sync.Once
}

// Listen opens a TCP port on the phone for a user. address is an IP address, or
// empty or "localhost", and a port; port 0 chooses one.
func (s *Stack) Listen(uid int, network, address string) (net.Listener, error) {
	fail := func(err error) error {
		return &net.OpError{Op: "listen", Net: network, Err: err}
	}
	if s.isClosed() {
		return nil, fail(ErrClosed)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fail(err)
	}
	switch {
	case network != "tcp" && network != "tcp4" && network != "tcp6":
		return nil, fail(net.UnknownNetworkError(network))
	case host == "localhost" && network == "tcp6", host == "ip6-localhost":
		host = "::1"
	case host == "localhost":
		host = "127.0.0.1"
	case host == "" && network == "tcp6":
		host = "::"
	case host == "":
		host = "0.0.0.0"
	}
	local, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return nil, fail(err)
	}
	var wq waiter.Queue
	ep, rec, err := s.open(uid, protoTCP, local, netip.AddrPort{}, &wq)
	if err != nil {
		return nil, fail(err)
	}
	if terr := ep.Listen(backlog); terr != nil {
		s.sockets.orphan(rec)
		ep.Close()
		return nil, fail(toError(terr))
	}
	return &listener{
		stack: s, uid: uid, ep: ep, wq: &wq, record: rec,
		addr: net.TCPAddrFromAddrPort(rec.key.local), done: make(chan struct{}),
	}, nil
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents | waiter.EventHUp)
	l.wq.EventRegister(&entry)
	defer l.wq.EventUnregister(&entry)
	for {
		var peer tcpip.FullAddress
		ep, wq, terr := l.ep.Accept(&peer)
		if terr == nil {
			c := gonet.NewTCPConn(wq, ep)
			key := flowKey{protoTCP, addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())}
			return &tcpConn{conn{Conn: c, table: l.stack.sockets, record: l.stack.sockets.add(key, l.uid, ep)}, c}, nil
		}
		if _, wait := terr.(*tcpip.ErrWouldBlock); !wait {
			err := toError(terr)
			select {
			case <-l.done:
				err = net.ErrClosed
			default:
			}
			return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
		}
		select {
		case <-l.done:
		case <-l.stack.closing:
		case <-ready:
			continue
		}
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close closes the port and wakes Accept.
func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.stack.sockets.orphan(l.record)
		l.ep.Close()
	})
	return nil
}

// Addr is the address that the listener is bound to.
func (l *listener) Addr() net.Addr { return l.addr }

// addrPort reads the address of a conn of the stack.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
