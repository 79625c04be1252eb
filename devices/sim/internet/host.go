package internet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// handshakeLimit bounds a TLS handshake at a host.
const handshakeLimit = 20 * time.Second

// HostConfig describes a host to be added.
type HostConfig struct {
	// Name is the host's name, Aliases further names with the same addresses;
	// an alias such as "*.example.org" answers for every name one label deeper.
	Name    string
	Aliases []string
	// V4 and V6 are the host's addresses, chosen when zero. NoV4 and NoV6 leave
	// one out.
	V4, V6     netip.Addr
	NoV4, NoV6 bool
	// TTL is how long phones may cache the addresses; zero means a minute.
	TTL time.Duration
	// TLSPorts and PlainPorts are the open TCP ports; nil means 443 and 80, an
	// empty list none. Any other port refuses.
	TLSPorts, PlainPorts []uint16
	// QUICPort is the UDP port on which the host speaks HTTP/3; 0 for none.
	QUICPort uint16
	// Datagrams answers what comes to a UDP port, by port; nil is no answer.
	Datagrams map[uint16]func(datagram []byte, from netip.AddrPort) []byte
	// Handler answers HTTP/1.1, HTTP/2 and HTTP/3 requests; each is in the ledger before
	// it is called. Nil answers 404.
	Handler http.Handler
	// Stream, when set, takes each connection instead of HTTP, after the TLS
	// handshake if there is one. The connection is closed when it returns; ctx
	// ends with the world.
	Stream func(ctx context.Context, conn net.Conn)
}

type host struct {
	HostConfig
	tls *tls.Config
}

// AddHost adds a host: its names to the resolver, its addresses to the router,
// and a certificate for its names issued by the world's root authority.
func (n *Internet) AddHost(cfg HostConfig) error {
	names := append([]string{cfg.Name}, cfg.Aliases...)
	for i, name := range names {
		names[i] = strings.ToLower(strings.TrimSuffix(name, "."))
		if names[i] == "" {
			return errors.New("internet: add host: empty name")
		}
	}
	if cfg.TTL == 0 {
		cfg.TTL = time.Minute
	}
	if cfg.TLSPorts == nil {
		cfg.TLSPorts = []uint16{443}
	}
	if cfg.PlainPorts == nil {
		cfg.PlainPorts = []uint16{80}
	}
	if cfg.Handler == nil {
		cfg.Handler = http.NotFoundHandler()
	}
	cfg.Name = names[0]
	cert, err := n.pki.issue(names)
	if err != nil {
		return err
	}
	h := &host{HostConfig: cfg, tls: tlsConfig(cert)}

	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	for _, name := range names {
		if n.byName[name] != nil {
			return fmt.Errorf("internet: add host %s: name %s is taken", cfg.Name, name)
		}
	}
	if h.V4, err = n.place(h.V4, h.NoV4, hostNet4); err != nil {
		return fmt.Errorf("internet: add host %s: %w", cfg.Name, err)
	}
	if h.V6, err = n.place(h.V6, h.NoV6, hostNet6); err != nil {
		return fmt.Errorf("internet: add host %s: %w", cfg.Name, err)
	}
	for _, a := range h.addrs() {
		if err := addAddress(n.core, nicWire, netip.PrefixFrom(a, a.BitLen())); err != nil {
			return fmt.Errorf("internet: add host %s: %w", cfg.Name, err)
		}
		n.byAddr[a] = h
	}
	if h.QUICPort != 0 {
		if err := n.openHTTP3(h); err != nil {
			return err
		}
	}
	for port, answer := range h.Datagrams {
		if err := n.openUDP(h, port, answer); err != nil {
			return err
		}
	}
	n.router.addHost(h.addrs()...)
	for _, name := range names {
		n.byName[name] = h
	}
	return nil
}

// SetReachable makes an address of a host, or its name's both addresses, answer
// or not. The router drops what is sent to a host out of reach, so that
// connections to it hang until somebody gives up; its name still resolves.
func (n *Internet) SetReachable(target string, reachable bool) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if addr, err := netip.ParseAddr(target); err == nil {
		if !n.router.taken(addr) {
			return fmt.Errorf("internet: reach %s: no such host", target)
		}
		n.router.block(addr, !reachable)
		return nil
	}
	h := n.byName[strings.ToLower(target)]
	if h == nil {
		return fmt.Errorf("internet: reach %s: no such host", target)
	}
	for _, addr := range h.addrs() {
		n.router.block(addr, !reachable)
	}
	return nil
}

// place chooses or checks an address. Callers hold mu.
func (n *Internet) place(addr netip.Addr, none bool, from netip.Prefix) (netip.Addr, error) {
	if none {
		return netip.Addr{}, nil
	}
	if addr.IsValid() {
		if n.router.taken(addr) {
			return netip.Addr{}, fmt.Errorf("address %s is taken", addr)
		}
		return addr, nil
	}
	for a := from.Addr().Next(); from.Contains(a.Next()); a = a.Next() {
		if !n.router.taken(a) {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no address left in %s", from)
}

func (h *host) addrs() []netip.Addr {
	var all []netip.Addr
	for _, a := range []netip.Addr{h.V4, h.V6} {
		if a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// incoming answers a SYN that reached a host. The stack calls it in a goroutine
// of its own.
func (n *Internet) incoming(r *tcp.ForwarderRequest) {
	id := r.ID()
	n.mu.RLock()
	if n.closed {
		n.mu.RUnlock()
		r.Complete(true)
		return
	}
	n.wg.Add(1)
	h := n.byAddr[fromTCPIP(id.LocalAddress.AsSlice())]
	n.mu.RUnlock()
	defer n.wg.Done()

	port := id.LocalPort
	if h == nil || !slices.Contains(h.TLSPorts, port) && !slices.Contains(h.PlainPorts, port) {
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	r.Complete(terr != nil)
	if terr != nil {
		n.log.Debug("simulated host", "host", h.Name, "handshake", terr.String())
		return
	}
	ep.SocketOptions().SetKeepAlive(true)
	c := &hostConn{Conn: gonet.NewTCPConn(&wq, ep), host: h}
	record := Connection{
		At: time.Now(), Host: h.Name, Remote: addrPort(c.RemoteAddr()), Port: port,
		TLS: slices.Contains(h.TLSPorts, port),
	}
	record.Phone = n.phoneAt(record.Remote.Addr())
	conn := net.Conn(c)
	if record.TLS {
		secure := tls.Server(c, n.helloConfig(h, c))
		ctx, cancel := context.WithTimeout(n.ctx, handshakeLimit)
		err := secure.HandshakeContext(ctx)
		cancel()
		record.SNI, record.Failure = c.sni(), errText(err)
		record.ALPN = secure.ConnectionState().NegotiatedProtocol
		if err != nil {
			n.ledger.connection(record)
			// The handshake's error is recorded; there is nothing to flush.
			_ = secure.Close()
			return
		}
		conn = secure
	}
	n.ledger.connection(record)
	if h.Stream != nil {
		stop := context.AfterFunc(n.ctx, func() { _ = conn.Close() })
		h.Stream(n.ctx, conn)
		stop()
		// The stream's function has sent what it wanted to send.
		_ = conn.Close()
		return
	}
	n.accept.put(conn)
}

// helloConfig is the TLS configuration of one connection, which notes the name
// that the client asks for, even when the handshake then fails.
func (n *Internet) helloConfig(h *host, c *hostConn) *tls.Config {
	cfg := h.tls
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			c.setSNI(hello.ServerName)
			if h.Stream != nil && len(hello.SupportedProtos) > 0 {
				plain := cfg.Clone()
				plain.NextProtos = nil
				return plain, nil
			}
			return cfg, nil
		},
	}
}

// A hostConn is a connection that a host accepted.
type hostConn struct {
	net.Conn // nil over QUIC
	host     *host
	remote   net.Addr // of a connection over QUIC

	mu   sync.Mutex
	name string
}

func (c *hostConn) setSNI(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = name
}

func (c *hostConn) sni() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// RemoteAddr is the phone's end.
func (c *hostConn) RemoteAddr() net.Addr {
	if c.Conn == nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// CloseWrite lets a TLS connection announce its end.
func (c *hostConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

type connKey struct{}

func connContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if h, ok := c.(*hostConn); ok {
		return context.WithValue(ctx, connKey{}, h)
	}
	return ctx
}

// serveHTTP records a request and hands it to its host.
func (n *Internet) serveHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*hostConn)
	if !ok {
		http.Error(w, "no such host", http.StatusMisdirectedRequest)
		return
	}
	n.mu.RLock()
	if n.closed {
		n.mu.RUnlock()
		return
	}
	n.wg.Add(1)
	n.mu.RUnlock()
	defer n.wg.Done()

	e := &Entry{
		At: time.Now(), Host: c.host.Name, Authority: r.Host, SNI: c.sni(),
		Remote: addrPort(c.RemoteAddr()), TLS: r.TLS != nil, Proto: r.Proto,
		Method: r.Method, RequestURI: r.RequestURI, Header: r.Header.Clone(),
	}
	e.Phone = n.phoneAt(e.Remote.Addr())
	u := *r.URL
	if u.Host == "" {
		u.Host, u.Scheme = r.Host, "http"
		if e.TLS {
			u.Scheme = "https"
		}
	}
	e.URL = u.String()
	finish := n.ledger.read(e, r)
	defer finish()
	c.host.Handler.ServeHTTP(w, r)
}

func fromTCPIP(raw []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(raw)
	return a
}

// An acceptor is the listener through which accepted connections reach the one
// HTTP server of all hosts.
type acceptor struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newAcceptor() *acceptor {
	return &acceptor{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (a *acceptor) put(c net.Conn) {
	select {
	case a.conns <- c:
	case <-a.done:
		// The world is ending and so does the connection.
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case c := <-a.conns:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

func (a *acceptor) shut() { a.once.Do(func() { close(a.done) }) }

// Close implements net.Listener.
func (a *acceptor) Close() error { a.shut(); return nil }

// Addr implements net.Listener.
func (a *acceptor) Addr() net.Addr { return &net.TCPAddr{} }
