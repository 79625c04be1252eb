package sim

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/userland"
)

// stackNetwork is the phone's network as its userland sees it.
type stackNetwork struct {
	*internet.Stack
	// tunnel are the interfaces beside the stack's own.
	tunnel func() []userland.Interface
	// users are those of the tunnel.
	users func() map[int]userland.Counters
}

func (n stackNetwork) Interfaces() []userland.Interface {
	counters := n.Counters()
	out := []userland.Interface{{Name: "lo", Up: true}, {Name: "wlan0", MAC: n.MAC(), Up: n.Up()}}
	for i := range out {
		out[i].Prefixes = n.Addrs(out[i].Name)
		out[i].Counters = userland.Counters(counters[out[i].Name])
	}
	return append(out, n.tunnel()...)
}

func (n stackNetwork) Ping(ctx context.Context, _ int, to netip.Addr, payload int) (time.Duration, error) {
	pong, err := n.Stack.Ping(ctx, to.String(), payload)
	return pong.RTT, err
}

func (n stackNetwork) UIDCounters() map[string]map[int]userland.Counters {
	all := map[string]map[int]userland.Counters{}
	for iface, users := range map[string]map[int]internet.Counters{"wlan0": n.Stack.UIDCounters(), "lo": n.LoopbackCounters()} {
		all[iface] = map[int]userland.Counters{}
		for uid, c := range users {
			all[iface][uid] = userland.Counters(c)
		}
	}
	if inside := n.users(); len(inside) > 0 {
		all["tun0"] = inside
	}
	return all
}

func (n stackNetwork) Sockets() []userland.Socket {
	list := n.Stack.Sockets()
	out := make([]userland.Socket, 0, len(list))
	for _, s := range list {
		proto, v6 := strings.CutSuffix(s.Proto, "6")
		out = append(out, userland.Socket{
			Proto: proto, IPv6: v6, Local: s.Local, Remote: s.Remote, State: int(s.State), UID: s.UID, Inode: s.Inode,
		})
	}
	return out
}

func (n stackNetwork) Tap(iface string, deliver func(at time.Time, frame []byte)) (userland.Tap, error) {
	return n.OpenTap(iface, deliver), nil
}

// filtered is the network of an app behind the phone's packet filter.
type filtered struct {
	*internet.Stack
	phone *Phone
}

// Dial refuses datagrams that the packet filter rejects, as the kernel tells the
// app that sends one.
func (f filtered) Dial(ctx context.Context, uid int, network, address string) (net.Conn, error) {
	if proto := strings.TrimRight(network, "46"); proto == "udp" {
		host, port, err := net.SplitHostPort(address)
		addr, no := netip.ParseAddr(host)
		// What a name leads to is not known yet: either filter is enough.
		v4, v6 := f.phone.sys.Rejects(proto, port, false), f.phone.sys.Rejects(proto, port, true)
		if err == nil && (v6 && (no != nil || addr.Is6()) || v4 && (no != nil || addr.Is4())) {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
	}
	return f.Stack.Dial(ctx, uid, network, address)
}
