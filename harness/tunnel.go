package harness

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// A capture that is the phone's VPN records what apps send into its tunnel. The
// same leaves once more by sockets of the VPN's app, in other packets, and beside
// it may leave what never was in the tunnel. So there are two sums: the tunnel's
// own counter and what was recorded there; and what the other interfaces sent and
// what the app's sockets sent. The second leaves no room for a guess: whatever the
// app did not send went past the tunnel.

// A Beside is what left a phone past the tunnel of a capture, in the stretch of an
// observation.
type Beside struct {
	// Bytes and Packets are what the interfaces but the tunnel sent and no socket of
	// the VPN's app did: IP bytes, or those of a frame behind its header.
	Bytes   int64 `json:"bytes"`
	Packets int64 `json:"packets"`
	// Room is how many bytes of contents these packets can have held at most: what
	// is left of them without the smallest header for each, that of a datagram over
	// IPv4, which is as large as a question of ARP.
	Room int64 `json:"room"`
	// By are IP bytes by the user id that sent them, where the phone says so.
	By map[int]int64 `json:"by,omitempty"`
}

const (
	// leastHeaders is the headers of the smallest packet that can hold anything: IPv4
	// without options (RFC 791) and UDP (RFC 768). ARP for IPv4 (RFC 826) has as
	// many bytes behind its frame's header.
	leastHeaders = 20 + 8
	// besideRoom is how many bytes of contents make what went past a tunnel a doubt:
	// those of the shortest value that would be recognised as a hash of a term.
	besideRoom = 4
)

// A tunnel is the VPN of a capture in the phone, as the judge needs it.
type tunnel struct {
	backend, name string
	inside        map[string]bool // backends that recorded in it
	wire          bool            // other backends recorded the wire
}

func (t *tunnel) is(name string) bool  { return name == t.name }
func (t *tunnel) not(name string) bool { return name != t.name }
func (t *tunnel) took(f *flow) bool    { return t.inside[f.Backend] }
func (t *tunnel) left(f *flow) bool    { return !t.inside[f.Backend] }

// tunnel is the VPN in which packets were recorded, nil where none was or where an
// older record does not name its interface.
func (v *view) tunnel() *tunnel {
	if len(v.all) == 0 || v.all[0].evidence == nil {
		return nil
	}
	var t *tunnel
	wire := false
	for _, trace := range v.all[0].evidence.Traces {
		switch {
		case trace.Inside && trace.Tunnel != "":
			if t == nil {
				t = &tunnel{backend: trace.Backend, name: trace.Tunnel, inside: map[string]bool{}}
			}
			t.inside[trace.Backend] = true
		case trace.Packets != "":
			wire = true
		}
	}
	if t != nil {
		t.wire = wire
	}
	return t
}

// throughTunnel compares the counters of a phone whose packets were recorded in a
// tunnel with what was recorded.
func (v *view) throughTunnel(o *Observation, t *tunnel, acc *Accounting) string {
	if _, ok := o.CountersAfter.Sent[t.name]; !ok {
		return fmt.Sprintf("%s: the phone has no counter of %s, in which it records", t.backend, t.name)
	}
	if d := v.compare(o, acc, t.is, t.took); d != "" {
		return d
	}
	if t.wire {
		return v.compare(o, acc, t.not, t.left)
	}
	b, d := v.beside(o, t)
	if d != "" {
		acc.Counted = nil // What left is not known.
		return d
	}
	sum := *acc.Counted + b.Bytes
	acc.Counted, acc.Beside = &sum, b
	if b.Room < besideRoom && len(b.By) == 0 {
		acc.add(ClassOverhead, b.Bytes, false, "the link")
		return ""
	}
	left := b.Bytes
	for _, uid := range slices.Sorted(maps.Keys(b.By)) {
		n := min(left, b.By[uid])
		left -= n
		acc.add(ClassUnexplained, n, true, fmt.Sprintf("unknown, past %s's VPN by %s", t.backend, v.user(uid)))
	}
	acc.add(ClassUnexplained, left, true, fmt.Sprintf("unknown, past %s's VPN", t.backend))
	return ""
}

// user names a user id.
func (v *view) user(uid int) string {
	s := newSender(uid, v.all[0].ClaimUIDs)
	s.known, s.name = true, nameOf(v.all[0].evidence.Apps, uid)
	return s.String()
}

// instead is what a bench can do whose phone does not tell what went past a VPN.
const instead = "record at the lab's access point instead (capture: [gateway, proxy])"

// beside reckons what went past a tunnel, or says why nobody can.
func (v *view) beside(o *Observation, t *tunnel) (b *Beside, doubt string) {
	undecided := func(format string, args ...any) (*Beside, string) {
		return nil, fmt.Sprintf("what left past %s's VPN cannot be told: %s; %s", t.backend, fmt.Sprintf(format, args...), instead)
	}
	before, after := o.CountersBefore.Carried, o.CountersAfter.Carried
	switch {
	case before == nil || after == nil:
		return undecided("nobody asked what its app's own sockets sent")
	case before.Why != "" || after.Why != "":
		return undecided("the phone does not say what its app's own sockets sent (%s)", cmp.Or(before.Why, after.Why))
	case before.Tunnel != t.name || after.Tunnel != t.name || before.UID != after.UID || before.Source != after.Source:
		return undecided("its app's counters at both ends of the window are not those of one app and tunnel")
	case !before.Steady || !after.Steady:
		return undecided("the phone never stopped sending while its counters were read, so that they do not speak of one moment")
	}
	// Totals hold what the app itself sends into its tunnel.
	if from, to := o.span(); before.Others == nil && slices.ContainsFunc(v.flows, func(f flow) bool {
		ip, _ := f.sentWithin(from, to)
		return t.took(&f) && f.UID != nil && *f.UID == after.UID && ip > 0
	}) {
		return undecided("its app sent something of its own into the tunnel, and the phone counts that with what it sent on")
	}
	sent, ok := grown(o.CountersBefore.Sent, o.CountersAfter.Sent, t.not)
	packets, both := grown(o.CountersBefore.Packets, o.CountersAfter.Packets, t.not)
	if !ok || !both {
		return undecided("its interface counters cannot be compared")
	}
	b = &Beside{Bytes: sent - (after.Bytes - before.Bytes), Packets: packets - (after.Packets - before.Packets)}
	if after.Bytes < before.Bytes || after.Packets < before.Packets {
		return undecided("its app's counter went backwards")
	}
	if b.Bytes < 0 || b.Packets < 0 {
		return undecided("its app's sockets sent %d bytes in %d packets, and the interfaces %d in %d: one of the two does not count everything",
			after.Bytes-before.Bytes, after.Packets-before.Packets, sent, packets)
	}
	b.Room = max(0, b.Bytes-leastHeaders*b.Packets)
	for uid, n := range after.Others {
		switch grew := n - before.Others[uid]; {
		case grew < 0:
			return undecided("the counter of user id %d went backwards", uid)
		case grew > 0 && (uid != 0 || b.Room >= besideRoom): // The kernel's own packets are counted for user 0.
			if b.By == nil {
				b.By = map[int]int64{}
			}
			b.By[uid] = grew
		}
	}
	var by int64
	for _, n := range b.By {
		by += n
	}
	if by > b.Bytes {
		return undecided("apps sent %d bytes past it by their own counters, and %d by the interfaces'", by, b.Bytes)
	}
	if _, err := netip.ParseAddrPort(o.Serial); err == nil && b.Room >= besideRoom {
		return undecided("%d bytes went past it, and ADB over the network may be among them (a cable keeps it apart)", b.Bytes)
	}
	return b, ""
}

// words say what went past a VPN without being a doubt.
func (b *Beside) words() []string {
	switch {
	case b == nil:
		return nil
	case b.Packets == 0 && b.Bytes == 0:
		return []string{"nothing left past the VPN in which packets were recorded: its app's sockets sent all that the interfaces did, to the byte"}
	}
	return []string{fmt.Sprintf("%d bytes in %d packets left past the VPN in which packets were recorded, with room for %d bytes of contents, so that no planted term and no hash of one was in them", b.Bytes, b.Packets, b.Room)}
}

// besideWords are those of the window in which most went past.
func besideWords(windows []*Observation) []string {
	var worst *Beside
	for _, o := range windows {
		if b := o.Finding.Accounting.Beside; b != nil && (worst == nil || b.Room > worst.Room || b.Room == worst.Room && b.Packets > worst.Packets) {
			worst = b
		}
	}
	return worst.words()
}

// besideFloor says what would have shown past a VPN.
func besideFloor() string {
	return fmt.Sprintf("past the VPN in which packets were recorded, packets with %d bytes of contents or more would have shown in the phone's counters", besideRoom)
}
