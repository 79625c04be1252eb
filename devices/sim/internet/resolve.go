package internet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsPort = 53
	// dnsTry is how long one question waits for its answer; dnsTries such
	// questions are asked, as Android does with one server.
	dnsTry   = 2 * time.Second
	dnsTries = 3
	// cacheSize bounds the phone's cache of names.
	cacheSize = 512
)

// A nameCache remembers answers for as long as they may be.
type nameCache struct {
	mu    sync.Mutex
	names map[string]cached
}

type cached struct {
	addrs   []netip.Addr
	expires time.Time
}

func newNameCache() *nameCache { return &nameCache{names: map[string]cached{}} }

func (c *nameCache) get(name string) []netip.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.names[name]
	if !ok || time.Now().After(e.expires) {
		delete(c.names, name)
		return nil
	}
	return e.addrs
}

func (c *nameCache) put(name string, addrs []netip.Addr, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.names) >= cacheSize {
		clear(c.names)
	}
	c.names[name] = cached{addrs, time.Now().Add(ttl)}
}

func (c *nameCache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.names)
}

// Resolve looks a name up for a user, IPv6 addresses first: by an AAAA and an A
// question to the resolver, or from the cache while an earlier answer lives. An
// IP address and localhost need no question. The error is a *net.DNSError.
func (s *Stack) Resolve(ctx context.Context, uid int, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap().WithZone("")}, nil
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	switch name {
	case "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	case "ip6-localhost":
		return []netip.Addr{netip.IPv6Loopback()}, nil
	}
	if addrs := s.cache.get(name); addrs != nil {
		return addrs, nil
	}
	addrs, ttl, err := s.ask(ctx, uid, name)
	if err != nil {
		dns := &net.DNSError{Err: err.Error(), Name: name, Server: netip.AddrPortFrom(resolverV4, dnsPort).String(), UnwrapErr: err}
		dns.IsNotFound = errors.Is(err, errNoName)
		dns.IsTimeout = errors.Is(err, errNoAnswer) || errors.Is(err, context.DeadlineExceeded)
		return nil, dns
	}
	s.cache.put(name, addrs, ttl)
	return addrs, nil
}

var (
	errNoName   = errors.New("no such host")
	errNoAnswer = errors.New("no answer from the resolver")
	errBadName  = errors.New("not a host name")
)

// ask sends both questions from one socket and reads both answers.
func (s *Stack) ask(ctx context.Context, uid int, name string) ([]netip.Addr, time.Duration, error) {
	qname, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, 0, errBadName
	}
	conn, err := s.dialUDP(uid, "udp", netip.AddrPortFrom(resolverV4, dnsPort))
	if err != nil {
		return nil, 0, err
	}
	// A datagram socket has nothing to flush.
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	// The identifiers are those of the questions' order; the socket's port is
	// what tells one lookup from another.
	pending := map[uint16]dnsmessage.Type{}
	ids := map[dnsmessage.Type]uint16{}
	base := addrPort(conn.LocalAddr()).Port() * 31
	for i, t := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA} {
		ids[t] = base + uint16(i) //nolint:gosec // 0 or 1.
		pending[ids[t]] = t
	}
	var v4, v6 []netip.Addr
	ttl := time.Hour
	buf := make([]byte, 4096)
	for try := 0; try < dnsTries && len(pending) > 0; try++ {
		for _, t := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeA} {
			if _, ok := pending[ids[t]]; !ok {
				continue
			}
			question := dnsmessage.Message{
				Header:    dnsmessage.Header{ID: ids[t], RecursionDesired: true},
				Questions: []dnsmessage.Question{{Name: qname, Type: t, Class: dnsmessage.ClassINET}},
			}
			packed, err := question.Pack()
			if err != nil {
				return nil, 0, errBadName
			}
			if _, err := conn.Write(packed); err != nil {
				return nil, 0, err
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(dnsTry)); err != nil {
			return nil, 0, err
		}
		for len(pending) > 0 {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			n, err := conn.Read(buf)
			if err != nil {
				break
			}
			var reply dnsmessage.Message
			if reply.Unpack(buf[:n]) != nil || !reply.Response {
				continue
			}
			if _, ok := pending[reply.ID]; !ok {
				continue
			}
			delete(pending, reply.ID)
			for _, r := range reply.Answers {
				switch body := r.Body.(type) {
				case *dnsmessage.AResource:
					v4 = append(v4, netip.AddrFrom4(body.A))
				case *dnsmessage.AAAAResource:
					v6 = append(v6, netip.AddrFrom16(body.AAAA))
				default:
					continue
				}
				ttl = min(ttl, time.Duration(r.Header.TTL)*time.Second)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
	}
	addrs := append(v6, v4...)
	switch {
	case len(addrs) > 0:
		return addrs, ttl, nil
	case len(pending) > 0:
		return nil, 0, errNoAnswer
	default:
		return nil, 0, errNoName
	}
}
