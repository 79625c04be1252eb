// Package internet is a small internet in one process: a TCP/IP stack for each
// simulated phone, a router, hosts with names, certificates and HTTP servers,
// a DNS resolver, and a ledger of what each host truly received.
//
// Every byte that a phone sends goes through a real TCP/IP stack as packets
// with correct checksums, so that a capture of it is a genuine capture. The
// ledger is written by the hosts themselves and shares no code with any
// instrument: it is the truth that instruments are compared with.
//
// No privileges and no sockets of the operating system are used, except for
// the SOCKS door when a caller hands in a listener.
package internet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Addresses of the simulated internet. They are documentation or private
// ranges, so a packet that escaped could reach nobody.
var (
	phoneNet4  = netip.MustParsePrefix("192.168.43.0/24")
	phoneNet6  = netip.MustParsePrefix("2001:db8:43::/64")
	hostNet4   = netip.MustParsePrefix("203.0.113.0/24")
	hostNet6   = netip.MustParsePrefix("2001:db8:203::/64")
	resolverV4 = netip.MustParseAddr("192.168.43.1")
	resolverV6 = netip.MustParseAddr("2001:db8:43::1")
	labV4      = netip.MustParsePrefix("198.51.100.2/24")
	labV6      = netip.MustParsePrefix("2001:db8:198::2/64")
)

const (
	nicWire     tcpip.NICID = 1
	nicLoopback tcpip.NICID = 2

	// firstPhone is the last byte of the first phone's IPv4 address; the
	// addresses below belong to the router.
	firstPhone = 10

	// maxInFlight bounds half-open connections at the hosts.
	maxInFlight = 4096
)

// ErrClosed is the error of operations on a closed Internet or Stack.
var ErrClosed = errors.New("internet: closed")

// Config is the configuration of an Internet. The zero value is usable.
type Config struct {
	// Seed decides hardware and network addresses. Keys are always random.
	Seed int64
	// MaxBody is how many bytes of one request body the ledger stores;
	// zero means 4 MiB.
	MaxBody int64
	// MaxBodies is how many bytes of bodies the ledger stores altogether;
	// zero means 256 MiB.
	MaxBodies int64
	// Log receives what hosts and doors have to complain about; nil discards it.
	Log *slog.Logger
}

// An Internet joins phones and hosts. It is safe for concurrent use.
type Internet struct {
	log    *slog.Logger
	ledger *Ledger
	pki    *authority
	router *router
	core   *stack.Stack
	server *http.Server
	accept *acceptor
	lab    *Stack

	ctx    context.Context //nolint:containedctx // The life of the world's servers, ended by Close.
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines of hosts

	mu       sync.RWMutex
	closed   bool
	rng      *rand.Rand
	byAddr   map[netip.Addr]*host
	byName   map[string]*host
	stacks   map[*Stack]struct{}
	resolver []io.Closer
	ends     []func() // ends what listens for datagrams
}

// New makes an internet with a resolver and no other host. It lives until
// Close, however long ctx does.
func New(ctx context.Context, cfg Config) (*Internet, error) {
	n := &Internet{
		log:    cfg.Log,
		ledger: newLedger(cfg.MaxBody, cfg.MaxBodies),
		rng:    rand.New(rand.NewPCG(uint64(cfg.Seed), 0x6f6666)), //nolint:gosec // Addresses, not keys.
		byAddr: map[netip.Addr]*host{},
		byName: map[string]*host{},
		stacks: map[*Stack]struct{}{},
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))

	var err error
	if n.pki, err = newAuthority(time.Now()); err != nil {
		return nil, err
	}

	n.router = newRouter()
	n.core = newStack()
	if err := toError(n.core.CreateNIC(nicWire, n.router.core)); err != nil {
		return nil, fmt.Errorf("internet: make router: %w", err)
	}
	n.core.SetRouteTable(defaultRoutes())
	forwarder := tcp.NewForwarder(n.core, 0, maxInFlight, n.incoming)
	n.core.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)

	n.accept = newAcceptor()
	n.server = &http.Server{
		Handler:           http.HandlerFunc(n.serveHTTP),
		ConnContext:       connContext,
		BaseContext:       func(net.Listener) context.Context { return n.ctx },
		ErrorLog:          log.New(slogWriter{n.log}, "", 0),
		ReadHeaderTimeout: time.Minute,
		IdleTimeout:       5 * time.Minute,
	}
	n.wg.Go(func() {
		// Serve ends only by Close, and then its error says just that.
		_ = n.server.Serve(n.accept)
	})

	if err := n.startResolver(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.lab, err = n.attach(StackConfig{Name: "lab", V4: labV4, V6: labV6})
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Close ends every connection, host and phone and waits for their goroutines.
// It may be called again.
func (n *Internet) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	stacks := make([]*Stack, 0, len(n.stacks))
	for s := range n.stacks {
		stacks = append(stacks, s)
	}
	resolver, ends := n.resolver, n.ends
	n.mu.Unlock()

	n.cancel()
	for _, s := range stacks {
		s.Close()
	}
	for _, c := range resolver {
		// A resolver socket has nothing to flush.
		_ = c.Close()
	}
	for _, end := range ends {
		end()
	}
	err := n.server.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	n.accept.shut()
	n.core.Close()
	n.router.close()
	n.wg.Wait()
	n.core.Wait()
	if err != nil {
		return fmt.Errorf("internet: close hosts: %w", err)
	}
	return nil
}

// Roots returns the certificate of the world's root authority as PEM.
func (n *Internet) Roots() []byte { return n.pki.pem() }

// Ledger returns the record of what the hosts truly received.
func (n *Internet) Ledger() *Ledger { return n.ledger }

// Unroutable counts packets that the router dropped because no host and no
// phone is at their destination, or because the host is out of reach.
func (n *Internet) Unroutable() uint64 { return n.router.unroutable.Load() }

// Attach adds a phone: its wlan0 with an IPv4 and an IPv6 address of its own,
// and its loopback interface. Close the stack to detach the phone.
func (n *Internet) Attach(cfg StackConfig) (*Stack, error) {
	return n.attach(cfg)
}

func (n *Internet) attach(cfg StackConfig) (*Stack, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if err := n.complete(&cfg); err != nil {
		return nil, err
	}
	s, err := newPhone(n, cfg)
	if err != nil {
		return nil, err
	}
	n.stacks[s] = struct{}{}
	return s, nil
}

// complete chooses what cfg leaves open and checks the rest. Callers hold mu.
func (n *Internet) complete(cfg *StackConfig) error {
	if len(cfg.MAC) == 0 {
		// f4:60:e2 is registered to Xiaomi.
		cfg.MAC = net.HardwareAddr{0xf4, 0x60, 0xe2, byte(n.rng.Uint32()), byte(n.rng.Uint32()), byte(n.rng.Uint32())}
	}
	if len(cfg.MAC) != 6 {
		return fmt.Errorf("internet: attach %q: hardware address %s has not six bytes", cfg.Name, cfg.MAC)
	}
	if !cfg.V4.IsValid() {
		addr := phoneNet4.Addr()
		for range firstPhone {
			addr = addr.Next()
		}
		for n.router.taken(addr) {
			addr = addr.Next()
		}
		if !phoneNet4.Contains(addr.Next()) {
			return fmt.Errorf("internet: attach %q: no address left in %s", cfg.Name, phoneNet4)
		}
		cfg.V4 = netip.PrefixFrom(addr, phoneNet4.Bits())
	}
	for !cfg.V6.IsValid() || n.router.taken(cfg.V6.Addr()) {
		raw := phoneNet6.Addr().As16()
		for i := 8; i < 16; i++ {
			raw[i] = byte(n.rng.Uint32())
		}
		cfg.V6 = netip.PrefixFrom(netip.AddrFrom16(raw), phoneNet6.Bits())
	}
	if n.router.taken(cfg.V4.Addr()) {
		return fmt.Errorf("internet: attach %q: address %s is taken", cfg.Name, cfg.V4.Addr())
	}
	return nil
}

func (n *Internet) detach(s *Stack) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.stacks, s)
}

// phoneAt names the phone that has an address, empty when there is none.
func (n *Internet) phoneAt(addr netip.Addr) string {
	if w := n.router.at(addr); w != nil {
		return w.name
	}
	return ""
}

// tlsConfig is the configuration of a host's TLS ports.
func tlsConfig(cert *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{*cert},
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

// slogWriter turns the lines of a log.Logger into debug records.
type slogWriter struct{ log *slog.Logger }

func (w slogWriter) Write(p []byte) (int, error) {
	w.log.Debug("simulated host", "message", string(p))
	return len(p), nil
}
