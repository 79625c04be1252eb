package internet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// timeWait is how long a closed connection stays in TIME_WAIT. Linux keeps a
// minute; a shorter time bounds memory when connections are made by the
// thousand.
const timeWait = 10 * time.Second

// StackConfig is the configuration of a phone's network.
type StackConfig struct {
	// Name is what the ledger calls the phone, such as its serial.
	Name string
	// MAC is the hardware address of wlan0, six bytes; chosen when empty.
	MAC net.HardwareAddr
	// V4 and V6 are the addresses of wlan0 with their prefixes; chosen when
	// they are zero.
	V4, V6 netip.Prefix
}

// A Stack is the network of one phone: wlan0 and lo. It is safe for concurrent
// use.
type Stack struct {
	net     *Internet
	name    string
	mac     net.HardwareAddr
	v4, v6  netip.Prefix
	local6  netip.Prefix
	stack   *stack.Stack
	wlan    *wire
	lo      *wire
	sockets *sockets
	cache   *nameCache

	closing chan struct{}
	once    sync.Once
}

// newStack makes a stack with the protocols that phones and hosts share.
func newStack() *stack.Stack {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
	})
	sack := tcpip.TCPSACKEnabled(true)
	linger := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	// Both options exist in every version of the stack, so they cannot fail.
	_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	_ = s.SetTransportProtocolOption(tcp.ProtocolNumber, &linger)
	return s
}

func defaultRoutes() []tcpip.Route {
	return []tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nicWire},
		{Destination: header.IPv6EmptySubnet, NIC: nicWire},
	}
}

// newPhone builds a stack and joins it to the router. Callers hold n.mu.
func newPhone(n *Internet, cfg StackConfig) (*Stack, error) {
	p := &Stack{
		net: n, name: cfg.Name, mac: cfg.MAC, v4: cfg.V4, v6: cfg.V6,
		local6: netip.PrefixFrom(linkLocal(cfg.MAC), 64),
		stack:  newStack(), sockets: newSockets(), cache: newNameCache(),
		closing: make(chan struct{}),
	}
	p.wlan = newWire(cfg.Name, "wlan0", cfg.MAC, routerMAC(), p.sockets)
	p.lo = newLoopback(cfg.Name, p.sockets)
	n.router.join(p.wlan, cfg.V4.Addr(), cfg.V6.Addr())

	err := errors.Join(
		toError(p.stack.CreateNICWithOptions(nicWire, p.wlan, stack.NICOptions{Name: "wlan0"})),
		toError(p.stack.CreateNICWithOptions(nicLoopback, p.lo, stack.NICOptions{Name: "lo"})),
		addAddress(p.stack, nicWire, p.v4),
		addAddress(p.stack, nicWire, p.v6),
		addAddress(p.stack, nicWire, p.local6),
		addAddress(p.stack, nicLoopback, netip.MustParsePrefix("127.0.0.1/8")),
		addAddress(p.stack, nicLoopback, netip.MustParsePrefix("::1/128")),
	)
	p.stack.SetRouteTable(append([]tcpip.Route{
		{Destination: header.IPv4LoopbackSubnet, NIC: nicLoopback},
		{Destination: header.IPv6Loopback.WithPrefix().Subnet(), NIC: nicLoopback},
	}, defaultRoutes()...))
	if err != nil {
		n.router.leave(p.wlan)
		p.stack.Destroy()
		return nil, fmt.Errorf("internet: attach %q: %w", cfg.Name, err)
	}
	return p, nil
}

func addAddress(s *stack.Stack, nic tcpip.NICID, prefix netip.Prefix) error {
	addr := tcpip.AddrFromSlice(prefix.Addr().AsSlice())
	return toError(s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          protocolOf(prefix.Addr()),
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: addr, PrefixLen: prefix.Bits()},
	}, stack.AddressProperties{}))
}

func protocolOf(addr netip.Addr) tcpip.NetworkProtocolNumber {
	if addr.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
}

func routerMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0x00, 0x5e, 0x43, 0x00, 0x01} }

// linkLocal is the address that SLAAC forms from a hardware address.
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0xfe, 0x80, 0, 0, 0, 0, 0, 0,
		mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5],
	})
}

// Name returns the name under which the ledger knows the phone.
func (s *Stack) Name() string { return s.name }

// MAC returns the hardware address of wlan0.
func (s *Stack) MAC() net.HardwareAddr { return s.mac }

// Addrs returns the addresses of an interface, "wlan0" or "lo", IPv4 first.
func (s *Stack) Addrs(iface string) []netip.Prefix {
	switch iface {
	case "wlan0":
		return []netip.Prefix{s.v4, s.v6, s.local6}
	case "lo":
		return []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}
	}
	return nil
}

// Gateway returns the router's addresses, which are also the resolver's.
func (s *Stack) Gateway() (v4, v6 netip.Addr) { return resolverV4, resolverV6 }

// Counters returns the counters of wlan0 and lo. The bytes of wlan0 include
// 14 bytes of Ethernet header a packet, those of lo do not, as in
// /proc/net/dev of a phone.
func (s *Stack) Counters() map[string]Counters {
	return map[string]Counters{"wlan0": s.wlan.counters(), "lo": s.lo.counters()}
}

// UIDCounters returns the traffic of wlan0 by the user that owned the socket,
// in IP bytes without Ethernet headers, as xt_qtaguid counts them. What belongs
// to no socket is user 0's.
func (s *Stack) UIDCounters() map[int]Counters { return s.wlan.uidCounters() }

// LoopbackCounters returns the traffic of lo in the same way.
func (s *Stack) LoopbackCounters() map[int]Counters { return s.lo.uidCounters() }

// Charge has the traffic of wlan0 counted for the user that a function names,
// given a packet from its IP header on and the owner of its socket: a VPN's app
// sends with its own sockets what others send into its tunnel. The function is
// called for every packet, and calls nothing of the stack.
func (s *Stack) Charge(to func(packet []byte, uid int, out bool) int) {
	s.wlan.mu.Lock()
	defer s.wlan.mu.Unlock()
	s.wlan.charge = to
}

// Owner returns the user whose socket a packet of the phone belongs to, from its
// IP header on; false where the kernel knows of none, perhaps no more. out is true
// for a packet that the phone sends.
func (s *Stack) Owner(packet []byte, out bool) (uid int, known bool) {
	uid = s.sockets.uidOf(packet, out)
	return uid, uid != 0
}

// Sockets returns the phone's socket table, oldest first.
func (s *Stack) Sockets() []Socket { return s.sockets.list() }

// Tap shows the Ethernet frames of an interface ("wlan0", "lo" or "any") to fn,
// both directions, in order, each with the time at which it passed. fn may keep
// the frame. stop returns when all frames that passed before have been shown;
// fn must not call it. An unknown interface has no frames. OpenTap returns a
// Tap that can also tell what was dropped.
func (s *Stack) Tap(iface string, fn func(at time.Time, frame []byte)) (stop func()) {
	switch iface {
	case "wlan0", "lo":
		return s.OpenTap(iface, fn).Stop
	case "any":
		var mu sync.Mutex
		both := func(at time.Time, frame []byte) {
			mu.Lock()
			defer mu.Unlock()
			fn(at, frame)
		}
		a, b := s.OpenTap("wlan0", both), s.OpenTap("lo", both)
		return func() { a.Stop(); b.Stop() }
	}
	return func() {}
}

// OpenTap is Tap for one interface: "lo", or else wlan0.
func (s *Stack) OpenTap(iface string, fn func(at time.Time, frame []byte)) *Tap {
	if iface == "lo" {
		return s.lo.openTap(fn)
	}
	return s.wlan.openTap(fn)
}

// SetUp switches wlan0 on or off. Switching it off resets every connection over
// it, as Android does when it loses a network.
func (s *Stack) SetUp(up bool) {
	if up {
		s.wlan.setUp(true)
		return
	}
	s.wlan.setUp(false)
	s.cache.flush()
	s.sockets.abort(func(a netip.Addr) bool { return !a.IsLoopback() })
}

// Up reports whether wlan0 is on.
func (s *Stack) Up() bool { return s.wlan.isUp() }

// Close detaches the phone and ends all its connections. It may be called
// again.
func (s *Stack) Close() {
	s.once.Do(func() {
		close(s.closing)
		s.stack.Close()
		s.net.router.leave(s.wlan)
		s.wlan.close()
		s.lo.close()
		s.stack.Wait()
		s.net.detach(s)
	})
}

func (s *Stack) isClosed() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// Dial connects to a name or address for a user. network is tcp, tcp4, tcp6,
// udp, udp4 or udp6. A name is resolved by DNS packets on the wire. With tcp,
// IPv6 is tried first, and IPv4 as well if there is no connection after a
// quarter of a second. Errors are *net.OpError, with the system's error
// numbers inside, and *net.DNSError.
func (s *Stack) Dial(ctx context.Context, uid int, network, address string) (net.Conn, error) {
	if s.isClosed() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: ErrClosed}
	}
	var want func(netip.Addr) bool
	switch network {
	case "tcp", "udp":
		want = func(netip.Addr) bool { return true }
	case "tcp4", "udp4":
		want = netip.Addr.Is4
	case "tcp6", "udp6":
		want = netip.Addr.Is6
	default:
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.UnknownNetworkError(network)}
	}
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "invalid port", Addr: address}}
	}
	addrs, err := s.Resolve(ctx, uid, host)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	targets := make([]netip.AddrPort, 0, len(addrs))
	for _, a := range addrs {
		if want(a) {
			targets = append(targets, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	if len(targets) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: &net.AddrError{Err: "no suitable address", Addr: host}}
	}
	if network[0] == 'u' {
		return s.dialUDP(uid, network, targets[0])
	}
	return race(ctx, targets, func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return s.dialTCP(ctx, uid, network, to)
	})
}
