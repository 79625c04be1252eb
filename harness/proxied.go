package harness

import (
	"net/netip"
	"time"

	"github.com/offproof/offproof/capture"
)

// An app's connection to the proxy ends at the phone's own door, and what the
// proxy sees begins at the host: nothing on the way says which belongs to which.
// The phone's socket tables say when each socket of an app at that door was seen,
// and the proxy says when each of its connections began and last moved. Only the
// beginnings tell for certain: a socket may stay open long after its connection
// fell silent, and be closed long before. A connection belongs to an app where
// every socket that may have begun it is of that app, as many sockets as
// connections began at the time, and one of them fits to its end as well.

const (
	// doorSlack is how far a socket's times and its connection's may be apart
	// besides the time between two looks: ADB carries one to the other, and a busy
	// host is late with both.
	doorSlack = time.Second
	// lookSpan is the longest time between two looks at the socket tables that
	// still counts as none being missed.
	lookSpan = 4 * socketPeriod
	// doorHold is how long ADB may hold a connection back that an app has already
	// begun: the phone accepts it at once.
	doorHold = 5 * time.Second
)

// A Stretch is a piece of time.
type Stretch struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// proxiedOwners finds the user ids of a proxy's connections, by their index in
// flows. door is the address on the phone at which apps reach the proxy.
func proxiedOwners(flows []flow, backend, door string, owners []Owner, gaps []Stretch) map[int]int {
	at, err := netip.ParseAddrPort(door)
	if err != nil {
		return nil
	}
	var sockets []Owner
	var last time.Time // the last look
	for _, o := range owners {
		if o.Last.After(last) {
			last = o.Last
		}
		if remote, err := netip.ParseAddrPort(o.Remote); err == nil && o.Proto == capture.TCP && (end(remote) == end(at) || (remote.Addr().Unmap().IsLoopback() && remote.Port() == at.Port())) {
			sockets = append(sockets, o)
		}
	}
	type span struct{ from, to time.Time }
	spans := map[int]span{}
	for i := range flows {
		if f := &flows[i]; !f.packets && f.Backend == backend && !f.Start.IsZero() {
			s := span{f.Start, f.End}
			if s.to.After(last) {
				s.to = last
			}
			spans[i] = s
		}
	}
	near := func(a, b time.Time, by time.Duration) bool { return a.Sub(b).Abs() <= by }
	blind := func(t time.Time) bool {
		for _, g := range gaps {
			if t.After(g.From.Add(-doorSlack)) && t.Before(g.To.Add(doorSlack)) {
				return true
			}
		}
		return false
	}
	out := map[int]int{}
	for i, s := range spans {
		// A connection that was over before two looks may have had a socket that
		// nobody saw.
		if s.to.Sub(s.from) < 2*lookSpan || blind(s.from) || blind(s.to) {
			continue
		}
		alike := 0
		for _, other := range spans {
			if near(other.from, s.from, 2*(doorSlack+lookSpan)) {
				alike++
			}
		}
		uids := map[int]bool{}
		begun, uid, fits := 0, 0, false
		for _, o := range sockets {
			if o.First.After(s.from.Add(doorSlack+lookSpan)) || o.First.Before(s.from.Add(-doorHold)) {
				continue
			}
			uid = o.UID
			uids[uid] = true
			if near(o.First, s.from, doorSlack+lookSpan) {
				begun++
				fits = fits || near(o.Last, s.to, doorSlack+lookSpan)
			}
		}
		if len(uids) == 1 && fits && begun >= alike {
			out[i] = uid
		}
	}
	return out
}
