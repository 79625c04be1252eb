package harness

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// A sender is who owns the socket, as far as it is known.
type sender struct {
	uid     int
	known   bool
	claimed bool
	name    string // of its packages, empty when unknown
}

// unknownSender says whether a sender's words name none.
func unknownSender(words string) bool { return strings.HasPrefix(words, sender{}.String()) }

func (s sender) String() string {
	switch {
	case !s.known && s.name != "":
		return fmt.Sprintf("unknown app, by %s (uid %d)", s.name, s.uid)
	case !s.known:
		return "unknown app"
	case s.claimed:
		return fmt.Sprintf("app of the claim (uid %d)", s.uid)
	case s.name != "":
		return fmt.Sprintf("%s (uid %d)", s.name, s.uid)
	default:
		return fmt.Sprintf("uid %d", s.uid)
	}
}

// Android gives the ids from firstAppUID up to apps that were installed, and
// from firstSandboxUID up, in the same order, to the sandboxes of their SDKs.
// Ids below belong to the system, those above to isolated processes of any app:
// either may send for anybody.
const (
	firstAppUID     = 10000
	firstSandboxUID = 20000
	endSandboxUID   = 30000
)

// perUser is the span of user ids that belong to one Android user.
const perUser = 100000

func newSender(uid int, claim []int) sender {
	app := uid % perUser
	sandbox := app >= firstSandboxUID && app < endSandboxUID
	for _, c := range claim {
		if app == c%perUser || (sandbox && app-firstSandboxUID+firstAppUID == c%perUser) {
			return sender{uid: uid, known: true, claimed: true}
		}
	}
	// A system process sends on behalf of others, so it names no owner.
	return sender{uid: uid, known: app >= firstAppUID && app < endSandboxUID}
}

// nameOf is the packages of a user id in words, empty when unknown.
func nameOf(apps map[int][]string, uid int) string {
	names, ok := apps[uid]
	if !ok {
		names = apps[uid%perUser]
	}
	name := strings.Join(head(names, 2), ", ")
	if user := uid / perUser; user > 0 && name != "" {
		name += fmt.Sprintf(" of user %d", user)
	}
	return name
}

// A flow may lie outside the time in which its socket was seen. The tables are
// read a few times a second and may be late to arrive, so that a socket is first
// seen up to lateOwner after its flow; one that was last seen earlyOwner before
// the flow began was another's.
const (
	lateOwner  = 5 * time.Second
	earlyOwner = time.Second
)

// ownerOf is the one user id that held a socket while a flow went on. Ports are
// used again, so two owners are none.
func ownerOf(seen []Owner, f capture.Flow) (uid int, ok bool) {
	for _, o := range seen {
		if f.Start.After(o.Last.Add(earlyOwner)) || f.End.Before(o.First.Add(-lateOwner)) {
			continue
		}
		if ok && uid != o.UID {
			return 0, false
		}
		uid, ok = o.UID, true
	}
	return uid, ok
}

// canonical writes an address as netip does, with IPv4 in IPv6 unmapped, as
// the kernel's tcp6 table shows sockets that speak IPv4.
func canonical(hostport string) string {
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return hostport
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
}

// adbEnds are the connections by which a phone is reached over the network, its
// own end first: those at the address that its serial names, whose socket is that
// of adbd. The port alone would let whoever sends from it pass for ADB.
func adbEnds(serial string, owners []Owner) map[[2]netip.AddrPort]bool {
	const root, shell = 0, 2000
	own, err := netip.ParseAddrPort(serial)
	if err != nil {
		return nil
	}
	ends := map[[2]netip.AddrPort]bool{}
	for _, o := range owners {
		local, localErr := netip.ParseAddrPort(o.Local)
		remote, remoteErr := netip.ParseAddrPort(o.Remote)
		if localErr == nil && remoteErr == nil && o.Proto == capture.TCP && (o.UID == root || o.UID == shell) && end(local) == end(own) {
			ends[[2]netip.AddrPort{end(local), end(remote)}] = true
		}
	}
	return ends
}

// end is an address with IPv4 in IPv6 unmapped.
func end(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

func portOf(hostport string) string {
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return ""
	}
	return port
}

// linkLocal says whether a flow cannot leave the local link: multicast and
// broadcast, neighbour discovery, and DHCP with a private address. A neighbour
// that is spoken to in any other way, such as a resolver, may pass it on.
func linkLocal(f capture.Flow) bool {
	a := f.Server.Addr()
	if !a.IsValid() {
		return false
	}
	a = a.Unmap()
	dhcp := f.Proto == capture.UDP && f.Server.Port() == 67 && a.IsPrivate()
	return a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast() || (a.IsLinkLocalUnicast() && f.Proto == capture.ICMP) ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || dhcp
}
