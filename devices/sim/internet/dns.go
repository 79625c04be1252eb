package internet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// startResolver opens the resolver's sockets at the router's addresses.
func (n *Internet) startResolver() error {
	for _, addr := range []netip.Addr{resolverV4, resolverV6} {
		if err := addAddress(n.core, nicWire, netip.PrefixFrom(addr, addr.BitLen())); err != nil {
			return fmt.Errorf("internet: start resolver: %w", err)
		}
		local := full(netip.AddrPortFrom(addr, dnsPort))
		conn, err := gonet.DialUDP(n.core, &local, nil, protocolOf(addr))
		if err != nil {
			return fmt.Errorf("internet: start resolver: %w", err)
		}
		n.router.addHost(addr)
		n.resolver = append(n.resolver, conn)
		n.wg.Go(func() { n.resolve(conn) })
	}
	return nil
}

// resolve answers questions until the socket is closed.
func (n *Internet) resolve(conn *gonet.UDPConn) {
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFrom(buf)
		if err != nil {
			if n.ctx.Err() != nil {
				return
			}
			continue
		}
		at := time.Now()
		reply, q, ok := n.answer(buf[:size])
		if !ok {
			continue
		}
		q.At, q.Remote = at, addrPort(from)
		q.Phone = n.phoneAt(q.Remote.Addr())
		n.ledger.question(q)
		if _, err := conn.WriteTo(reply, from); err != nil {
			n.log.Debug("resolver", "to", q.Remote, "error", err)
		}
	}
}

// answer makes the reply to one question. What is no question gets none.
func (n *Internet) answer(packed []byte) ([]byte, Question, bool) {
	var p dnsmessage.Parser
	head, err := p.Start(packed)
	if err != nil || head.Response {
		return nil, Question{}, false
	}
	asked, err := p.Question()
	if err != nil {
		return nil, Question{}, false
	}
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: head.ID, Response: true, OpCode: head.OpCode,
			RecursionDesired: head.RecursionDesired, RecursionAvailable: true,
		},
		Questions: []dnsmessage.Question{asked},
	}
	q := Question{Name: strings.TrimSuffix(asked.Name.String(), "."), Type: typeName(asked.Type)}
	h := n.named(q.Name)
	switch {
	case h == nil:
		reply.RCode = dnsmessage.RCodeNameError
	case asked.Type == dnsmessage.TypeA && h.V4.IsValid():
		q.Answers = []netip.Addr{h.V4}
		reply.Answers = []dnsmessage.Resource{{
			Header: answerHeader(asked, h.TTL), Body: &dnsmessage.AResource{A: h.V4.As4()},
		}}
	case asked.Type == dnsmessage.TypeAAAA && h.V6.IsValid():
		q.Answers = []netip.Addr{h.V6}
		reply.Answers = []dnsmessage.Resource{{
			Header: answerHeader(asked, h.TTL), Body: &dnsmessage.AAAAResource{AAAA: h.V6.As16()},
		}}
	}
	q.RCode = int(reply.RCode)
	raw, err := reply.Pack()
	if err != nil {
		n.log.Debug("resolver", "name", q.Name, "error", err)
		return nil, Question{}, false
	}
	return raw, q, true
}

func answerHeader(q dnsmessage.Question, ttl time.Duration) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: uint32(ttl / time.Second)} //nolint:gosec // A few minutes.
}

// named finds the host of a name, or of the wildcard above it.
func (n *Internet) named(name string) *host {
	name = strings.ToLower(name)
	n.mu.RLock()
	defer n.mu.RUnlock()
	if h := n.byName[name]; h != nil {
		return h
	}
	if _, parent, ok := strings.Cut(name, "."); ok {
		return n.byName["*."+parent]
	}
	return nil
}

func typeName(t dnsmessage.Type) string {
	switch t {
	case dnsmessage.TypeA:
		return "A"
	case dnsmessage.TypeAAAA:
		return "AAAA"
	default:
		return strconv.Itoa(int(t))
	}
}
