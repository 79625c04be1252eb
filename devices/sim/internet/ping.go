package internet

import (
	"context"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	// shellUID is the user of a command given over ADB.
	shellUID = 2000
	// hops is the time to live that every stack here sends; the router, being
	// the hosts' own, takes nothing off it.
	hops = 64
	// maxPing is the longest payload that is not cut into fragments.
	maxPing = wireMTU - header.IPv6MinimumSize - header.ICMPv6EchoMinimumSize
)

// A Pong is the answer to a ping.
type Pong struct {
	Addr netip.Addr
	RTT  time.Duration
	// Bytes is the size of the ICMP message.
	Bytes int
	TTL   int
}

// Ping sends one echo request from the shell user, with a payload of so many
// bytes, and waits for its answer. A host that has both kinds of address is asked
// over IPv4, as ping does. A payload that does not fit into one packet is
// shortened.
func (s *Stack) Ping(ctx context.Context, host string, payload int) (Pong, error) {
	addrs, err := s.Resolve(ctx, shellUID, host)
	if err != nil {
		return Pong{}, err
	}
	to := addrs[0]
	for _, a := range addrs {
		if a.Is4() {
			to = a
			break
		}
	}
	fail := func(err error) error {
		return &net.OpError{Op: "ping", Net: "ip", Addr: &net.IPAddr{IP: to.AsSlice()}, Err: err}
	}
	from, err := s.source(to)
	if err != nil {
		return Pong{}, fail(err)
	}
	transport := icmp.ProtocolNumber4
	if to.Is6() {
		transport = icmp.ProtocolNumber6
	}
	var wq waiter.Queue
	ep, terr := s.stack.NewEndpoint(transport, protocolOf(to), &wq)
	if terr != nil {
		return Pong{}, fail(toError(terr))
	}
	if terr := ep.Bind(full(netip.AddrPortFrom(from, 0))); terr != nil {
		ep.Close()
		return Pong{}, fail(toError(terr))
	}
	local, terr := ep.GetLocalAddress()
	if terr != nil {
		ep.Close()
		return Pong{}, fail(toError(terr))
	}
	id := local.Port
	key := flowKey{protoICMP, netip.AddrPortFrom(from, id), netip.AddrPort{}}
	rec := s.sockets.add(key, shellUID, ep)
	c := &conn{table: s.sockets, record: rec, Conn: gonet.NewUDPConn(&wq, ep)}
	// A ping socket has nothing to flush.
	defer func() { _ = c.Close() }()
	if terr := ep.Connect(full(netip.AddrPortFrom(to, 0))); terr != nil {
		return Pong{}, fail(toError(terr))
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	request := make([]byte, header.ICMPv4MinimumSize+max(0, min(payload, maxPing)))
	for i := header.ICMPv4MinimumSize; i < len(request); i++ {
		request[i] = byte(i)
	}
	if to.Is4() {
		h := header.ICMPv4(request)
		h.SetType(header.ICMPv4Echo)
		h.SetIdent(id)
		h.SetSequence(1)
	} else {
		h := header.ICMPv6(request)
		h.SetType(header.ICMPv6EchoRequest)
		h.SetIdent(id)
		h.SetSequence(1)
	}
	start := time.Now()
	if _, err := c.Write(request); err != nil {
		return Pong{}, fail(err)
	}
	reply := make([]byte, wireMTU)
	n, err := c.Read(reply)
	if ctx.Err() != nil {
		return Pong{}, fail(ctx.Err())
	}
	if err != nil {
		return Pong{}, fail(err)
	}
	return Pong{Addr: to, RTT: time.Since(start), Bytes: n, TTL: hops}, nil
}
