package internet

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// wireMTU is the largest IP packet on the wire, in bytes.
	wireMTU = 1500
	// loopbackMTU is that of Linux's lo, less what an IPv4 packet cannot hold.
	loopbackMTU = 65535
	// queueLength bounds a queue in packets; a full queue drops and counts.
	queueLength = 8192
	// etherHeader is the size of an Ethernet header, which Linux counts in the
	// byte counters of wlan0 and not in those of lo.
	etherHeader = header.EthernetMinimumSize
)

// Counters are the counters of an interface or of a user, as Linux keeps them.
type Counters struct {
	RxBytes, RxPackets, RxDropped uint64
	TxBytes, TxPackets, TxDropped uint64
}

// A packet is one IP packet on its way.
type packet struct {
	proto tcpip.NetworkProtocolNumber
	view  *buffer.View
}

// A queue delivers packets in order to one function. It has a goroutine only
// while it holds packets, so an idle phone costs none.
type queue struct {
	deliver func(packet)

	mu      sync.Mutex
	idle    sync.Cond
	pending []packet
	spare   []packet
	running bool
	closed  bool
}

func newQueue(deliver func(packet)) *queue {
	q := &queue{deliver: deliver}
	q.idle.L = &q.mu
	return q
}

// push adds a packet and reports whether there was room for it.
func (q *queue) push(p packet) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.pending) >= queueLength {
		return false
	}
	q.pending = append(q.pending, p)
	if !q.running {
		q.running = true
		go q.run()
	}
	return true
}

func (q *queue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pending) > 0 {
		batch := q.pending
		q.pending, q.spare = q.spare[:0], nil
		q.mu.Unlock()
		for i, p := range batch {
			q.deliver(p)
			batch[i] = packet{}
		}
		q.mu.Lock()
		q.spare = batch[:0]
	}
	q.running = false
	q.idle.Broadcast()
}

// close refuses further packets and waits until those queued are delivered.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for q.running {
		q.idle.Wait()
	}
}

// A wire is a network interface of a phone together with its cable: the
// counters, the taps, and a queue in each direction.
type wire struct {
	endpoint
	name  string
	iface string
	// frame is the size of the link header that the byte counters include.
	frame    uint64
	mac, gw  net.HardwareAddr
	owners   *sockets
	up       *queue // from the phone; nil on lo
	down     *queue // to the phone
	loopback bool

	mu     sync.Mutex
	off    bool
	total  Counters
	uids   map[int]*Counters
	charge func(packet []byte, uid int, out bool) int
	taps   []*Tap
	lastAt time.Time
}

func newWire(name, iface string, mac, gw net.HardwareAddr, owners *sockets) *wire {
	w := &wire{
		name: name, iface: iface, mac: mac, gw: gw, owners: owners,
		frame: etherHeader, uids: map[int]*Counters{},
	}
	w.mtu, w.addr = wireMTU, tcpip.LinkAddress(mac)
	w.write = w.send
	w.down = newQueue(w.receive)
	return w
}

func newLoopback(name string, owners *sockets) *wire {
	zero := make(net.HardwareAddr, 6)
	w := newWire(name, "lo", zero, zero, owners)
	w.frame, w.loopback = 0, true
	w.mtu, w.addr = loopbackMTU, ""
	w.caps = stack.CapabilityLoopback
	return w
}

// send takes a packet from the phone's stack.
func (w *wire) send(p packet) bool {
	data := p.view.AsSlice()
	size := uint64(len(data))
	target := w.up
	if w.loopback {
		target = w.down
		seal(data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off || target == nil {
		w.total.TxDropped++
		p.view.Release()
		return false
	}
	// The packet is seen before it is queued, or its answer could be seen
	// first; so a full queue has to be known beforehand.
	if !target.room() {
		w.total.TxDropped++
		p.view.Release()
		return false
	}
	w.total.TxPackets++
	w.total.TxBytes += size + w.frame
	u := w.user(data, true)
	u.TxPackets++
	u.TxBytes += size
	if !w.loopback {
		w.tap(w.gw, w.mac, p.proto, data)
	}
	return target.push(p)
}

// receive hands a packet to the phone's stack.
func (w *wire) receive(p packet) {
	data := p.view.AsSlice()
	size := uint64(len(data))
	w.mu.Lock()
	if w.off {
		w.total.RxDropped++
		w.mu.Unlock()
		p.view.Release()
		return
	}
	w.total.RxPackets++
	w.total.RxBytes += size + w.frame
	u := w.user(data, false)
	u.RxPackets++
	u.RxBytes += size
	w.tap(w.mac, w.gw, p.proto, data)
	w.mu.Unlock()
	w.inject(p)
}

// user returns the counters of the user whose socket a packet belongs to; a
// packet that belongs to no socket is the kernel's, user 0. What goes through a
// tunnel is on the wire another's. Callers hold mu.
func (w *wire) user(data []byte, out bool) *Counters {
	uid := w.owners.uidOf(data, out)
	if w.charge != nil {
		uid = w.charge(data, uid, out)
	}
	u := w.uids[uid]
	if u == nil {
		u = &Counters{}
		w.uids[uid] = u
	}
	return u
}

// tap shows a packet to every tap as an Ethernet frame. Callers hold mu, which
// gives all taps one order and times that never go back.
func (w *wire) tap(dst, src net.HardwareAddr, proto tcpip.NetworkProtocolNumber, data []byte) {
	if len(w.taps) == 0 {
		return
	}
	now := time.Now()
	if now.Before(w.lastAt) {
		now = w.lastAt
	}
	w.lastAt = now
	frame := make([]byte, etherHeader+len(data))
	header.Ethernet(frame).Encode(&header.EthernetFields{
		SrcAddr: tcpip.LinkAddress(src), DstAddr: tcpip.LinkAddress(dst), Type: proto,
	})
	copy(frame[etherHeader:], data)
	for _, t := range w.taps {
		t.put(now, frame)
	}
}

func (w *wire) counters() Counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

func (w *wire) uidCounters() map[int]Counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := make(map[int]Counters, len(w.uids))
	for uid, c := range w.uids {
		m[uid] = *c
	}
	return m
}

func (w *wire) setUp(up bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = !up
}

func (w *wire) isUp() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.off
}

func (w *wire) close() {
	w.setUp(false)
	if w.up != nil {
		w.up.close()
	}
	w.down.close()
	w.mu.Lock()
	taps := w.taps
	w.taps = nil
	w.mu.Unlock()
	for _, t := range taps {
		t.finish()
	}
}

// room reports whether a packet would be accepted. It is exact as long as the
// caller is the only one who pushes.
func (q *queue) room() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.closed && len(q.pending) < queueLength
}

// A router carries packets between the phones and the hosts, which share one
// stack behind the endpoint core.
type router struct {
	core       *endpoint
	unroutable atomic.Uint64

	mu    sync.RWMutex
	wires map[netip.Addr]*wire
	hosts map[netip.Addr]struct{}
	// blocked are addresses of hosts whose packets are dropped.
	blocked map[netip.Addr]struct{}
}

func newRouter() *router {
	r := &router{wires: map[netip.Addr]*wire{}, hosts: map[netip.Addr]struct{}{}, blocked: map[netip.Addr]struct{}{}}
	r.core = &endpoint{mtu: wireMTU, write: r.fromHosts}
	return r
}

// join connects a phone.
func (r *router) join(w *wire, addrs ...netip.Addr) {
	w.up = newQueue(r.fromPhone)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range addrs {
		r.wires[a] = w
	}
}

func (r *router) leave(w *wire) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for a, other := range r.wires {
		if other == w {
			delete(r.wires, a)
		}
	}
}

func (r *router) addHost(addrs ...netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range addrs {
		r.hosts[a] = struct{}{}
	}
}

func (r *router) block(addr netip.Addr, blocked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if blocked {
		r.blocked[addr] = struct{}{}
	} else {
		delete(r.blocked, addr)
	}
}

func (r *router) at(addr netip.Addr) *wire {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.wires[addr]
}

func (r *router) taken(addr netip.Addr) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, host := r.hosts[addr]
	return host || r.wires[addr] != nil
}

// fromPhone delivers a phone's packet to the hosts. Phones cannot reach each
// other, as on an access point with client isolation.
func (r *router) fromPhone(p packet) {
	dst, ok := destination(p.view.AsSlice())
	r.mu.RLock()
	_, known := r.hosts[dst]
	_, blocked := r.blocked[dst]
	r.mu.RUnlock()
	if !ok || !known || blocked {
		r.unroutable.Add(1)
		p.view.Release()
		return
	}
	r.core.inject(p)
}

func (r *router) fromHosts(p packet) bool {
	dst, ok := destination(p.view.AsSlice())
	w := r.at(dst)
	if !ok || w == nil {
		r.unroutable.Add(1)
		p.view.Release()
		return false
	}
	if !w.down.push(p) {
		w.mu.Lock()
		w.total.RxDropped++
		w.mu.Unlock()
		p.view.Release()
		return false
	}
	return true
}

func (r *router) close() { r.core.Attach(nil) }
