package internet

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Socket states as the kernel numbers them in /proc/net.
const (
	StateEstablished uint8 = iota + 1
	StateSynSent
	StateSynRecv
	StateFinWait1
	StateFinWait2
	StateTimeWait
	StateClose
	StateCloseWait
	StateLastAck
	StateListen
	StateClosing
)

// A Socket is one line of /proc/net/tcp, tcp6, udp or udp6.
//
// As on a phone, the sockets of apps (user 10000 and up) are dual-stack: their
// IPv4 conversations are listed in tcp6 and udp6, with IPv4-mapped addresses
// (::ffff:a.b.c.d). A socket whose process has closed it has inode 0, and one
// in TIME_WAIT user 0 as well.
type Socket struct {
	// Proto is the file's name: "tcp", "tcp6", "udp" or "udp6".
	Proto         string
	Local, Remote netip.AddrPort
	State         uint8
	UID           int
	Inode         uint64
}

// firstAppUID is Android's FIRST_APPLICATION_UID.
const firstAppUID = 10000

// A record is what the phone's kernel knows of one socket.
type record struct {
	key   flowKey
	uid   int
	inode uint64
	ep    tcpip.Endpoint
	// orphan is true when the process has closed the socket.
	orphan bool
}

// over reports whether the kernel would have forgotten the socket.
func (r *record) over() bool {
	if !r.orphan {
		return false
	}
	if r.key.proto != protoTCP {
		return true
	}
	switch stateOf(r.ep) {
	case tcp.StateClose, tcp.StateError, tcp.StateInitial, tcp.StateBound:
		return true
	default:
		return false
	}
}

// sockets is the socket table of a phone.
type sockets struct {
	mu    sync.RWMutex
	byKey map[flowKey]*record
	inode uint64
	sweep int // size at which forgotten records are looked for
}

func newSockets() *sockets {
	return &sockets{byKey: map[flowKey]*record{}, inode: 20000, sweep: 64}
}

// add notes a socket before its first packet is sent.
func (t *sockets) add(key flowKey, uid int, ep tcpip.Endpoint) *record {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byKey) >= t.sweep {
		t.prune()
		t.sweep = max(64, 2*len(t.byKey))
	}
	t.inode++
	r := &record{key: key, uid: uid, inode: t.inode, ep: ep}
	t.byKey[key] = r
	return r
}

// orphan notes that the process has closed a socket.
func (t *sockets) orphan(r *record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.orphan = true
	if r.key.proto != protoTCP && t.byKey[r.key] == r {
		delete(t.byKey, r.key)
	}
}

// prune drops records that are over. Callers hold mu.
func (t *sockets) prune() {
	for key, r := range t.byKey {
		if r.over() {
			delete(t.byKey, key)
		}
	}
}

// uidOf returns the user whose socket a packet belongs to, 0 for none.
func (t *sockets) uidOf(data []byte, out bool) int {
	key, ok := conversation(data, out)
	if !ok {
		return 0
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if r := t.byKey[key]; r != nil {
		return r.uid
	}
	// A listener or an unconnected socket has no remote end, and may have no
	// local address either.
	key.remote = netip.AddrPort{}
	if r := t.byKey[key]; r != nil {
		return r.uid
	}
	key.local = netip.AddrPortFrom(unspecified(key.local.Addr()), key.local.Port())
	if r := t.byKey[key]; r != nil {
		return r.uid
	}
	return 0
}

// abort resets every connection over the given interface addresses.
func (t *sockets) abort(match func(netip.Addr) bool) {
	t.mu.RLock()
	var eps []tcpip.Endpoint
	for _, r := range t.byKey {
		if r.key.proto == protoTCP && r.key.remote.IsValid() && match(r.key.local.Addr()) {
			eps = append(eps, r.ep)
		}
	}
	t.mu.RUnlock()
	for _, ep := range eps {
		ep.Abort()
	}
}

// list returns the table in kernel terms, oldest first.
func (t *sockets) list() []Socket {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prune()
	records := make([]*record, 0, len(t.byKey))
	for _, r := range t.byKey {
		// Ping sockets are in files of their own, which nobody reads here.
		if r.key.proto != protoICMP {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b *record) int { return cmp.Compare(a.inode, b.inode) })
	all := make([]Socket, 0, len(records))
	for _, r := range records {
		all = append(all, r.socket())
	}
	return all
}

// socket describes a record in kernel terms.
func (r *record) socket() Socket {
	s := Socket{
		Proto: "tcp", Local: r.key.local, Remote: r.key.remote,
		State: linuxState(r), UID: r.uid, Inode: r.inode,
	}
	if r.key.proto == protoUDP {
		s.Proto = "udp"
	}
	if !s.Remote.IsValid() {
		s.Remote = netip.AddrPortFrom(unspecified(s.Local.Addr()), 0)
	}
	if s.Local.Addr().Is6() || r.uid >= firstAppUID {
		s.Proto += "6"
		s.Local, s.Remote = mapped(s.Local), mapped(s.Remote)
	}
	if r.orphan {
		s.Inode = 0
	}
	if s.State == StateTimeWait {
		s.UID, s.Inode = 0, 0
	}
	return s
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func mapped(ap netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(ap.Addr().As16()), ap.Port())
}

func linuxState(r *record) uint8 {
	if r.key.proto == protoUDP {
		if r.key.remote.IsValid() {
			return StateEstablished
		}
		return StateClose
	}
	switch stateOf(r.ep) {
	case tcp.StateEstablished:
		return StateEstablished
	case tcp.StateConnecting, tcp.StateSynSent:
		return StateSynSent
	case tcp.StateSynRecv:
		return StateSynRecv
	case tcp.StateFinWait1:
		return StateFinWait1
	case tcp.StateFinWait2:
		return StateFinWait2
	case tcp.StateTimeWait:
		return StateTimeWait
	case tcp.StateCloseWait:
		return StateCloseWait
	case tcp.StateLastAck:
		return StateLastAck
	case tcp.StateListen:
		return StateListen
	case tcp.StateClosing:
		return StateClosing
	default:
		return StateClose
	}
}

// stateOf reads the state of a TCP socket.
func stateOf(ep tcpip.Endpoint) tcp.EndpointState {
	return tcp.EndpointState(ep.State()) //nolint:gosec // The stack widens its own eight bits.
}
