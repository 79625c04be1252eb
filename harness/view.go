package harness

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// A view is the evidence of a trial, read once for all its observations:
// flows with their owners, messages with their leaves and sightings.
type view struct {
	list     *collector.List
	all      []*Observation
	flows    []flow
	messages []message
	// shams are the forms in which a term was seen that nobody typed.
	shams map[string]bool
	// cookies are values that a site itself handed out, by registrable domain.
	cookies map[string]map[string]bool
	etags   map[string]bool
	// asked are the addresses that a page told the browser to fetch.
	pages []page
}

// A flow is a conversation with what is known of its ends.
type flow struct {
	capture.Flow
	packets bool // from a packet capture, not from a proxy
	sender  sender
	host    string
	org     string
	purpose collector.Purpose
	beacon  bool // the instrument's own
	local   bool // never leaves the local link
}

// A sender is who owns the socket, as far as it is known.
type sender struct {
	uid     int
	known   bool
	claimed bool
}

func (s sender) String() string {
	switch {
	case !s.known:
		return "unknown app"
	case s.claimed:
		return fmt.Sprintf("app of the claim (uid %d)", s.uid)
	default:
		return fmt.Sprintf("uid %d", s.uid)
	}
}

// A message is a request or a DNS question that the phone sent.
type message struct {
	flow   *flow
	ex     *capture.Exchange // nil for a DNS question
	lookup *capture.Lookup
	from   time.Time
	to     time.Time
	host   string
	path   string
	ind    collector.Indicator
	parts  []payload.Part
	leaves []payload.Leaf
	events []telemetry.Event
	hits   []canary.Sighting
	// instrument is true for a beacon.
	instrument bool
	// page is how a page asked for this address, empty when none did; ownSite is
	// true when it went back to the site that the person opened.
	page    string
	ownSite bool
	// bytes is the wire bytes of each leaf.
	bytes []int64
}

// inScope says whether bytes of this sender to this organisation decide.
func (v *view) inScope(f *flow, claim Claim) bool {
	if f.beacon {
		return false
	}
	return !f.sender.known || f.sender.claimed || claim.Party(f.org)
}

func (m *message) at() time.Time { return m.from }

func (m *message) url() string {
	if m.ex != nil {
		return m.ex.URL
	}
	return ""
}

// newView reads the evidence that all these observations share.
func newView(all []*Observation, list *collector.List) *view {
	v := &view{list: list, all: all, shams: map[string]bool{}, cookies: map[string]map[string]bool{}, etags: map[string]bool{}}
	if len(all) == 0 || all[0].evidence == nil {
		return v
	}
	ev := all[0].evidence
	owners := map[string][]Owner{}
	for _, o := range ev.Owners {
		key := string(o.Proto) + " " + canonical(o.Local) + " " + canonical(o.Remote)
		owners[key] = append(owners[key], o)
		// A UDP socket that is not connected shows no peer.
		if o.Proto == capture.UDP {
			key = string(o.Proto) + " port " + portOf(o.Local)
			owners[key] = append(owners[key], o)
		}
	}
	var uids []int
	beacons := map[string]bool{} // exact names and addresses of the instruments' own
	var terms []canary.Canary
	for _, o := range all {
		uids = append(uids, o.ClaimUIDs...)
		terms = append(terms, o.Canaries...)
		for _, marks := range o.Beacons {
			for _, b := range marks {
				beacons[strings.ToLower(b.Name)] = true
			}
		}
	}
	terms = append(terms, all[0].Identifiers...)
	terms = append(terms, all[0].known...)
	finder := canary.NewFinder(terms)

	own := func(f capture.Flow) sender {
		if f.UID != nil {
			return newSender(*f.UID, uids)
		}
		if uid, ok := ownerOf(owners[string(f.Proto)+" "+f.Client.String()+" "+f.Server.String()], f); ok {
			return newSender(uid, uids)
		}
		if uid, ok := ownerOf(owners[string(f.Proto)+" port "+strconv.Itoa(int(f.Client.Port()))], f); ok && f.Proto == capture.UDP {
			return newSender(uid, uids)
		}
		return sender{}
	}
	type key struct{ backend, id string }
	index := map[key]int{}
	add := func(backend string, f capture.Flow, packets bool) {
		x := flow{Flow: f, packets: packets, host: strings.ToLower(f.Host)}
		x.Backend = backend
		if len(x.Sent) == 0 && x.BytesUp > 0 {
			x.Sent = []capture.Burst{{At: x.Start, Bytes: x.BytesUp, Payload: x.PayloadUp}}
		}
		if packets {
			x.sender = own(f)
			x.local = linkLocal(f)
		}
		if x.host == "" && f.Server.IsValid() {
			x.host = f.Server.Addr().String()
		}
		if ind, ok := list.Match(x.host, ""); ok {
			x.org, x.purpose = ind.Organisation, ind.Purpose
		}
		index[key{backend, f.ID}] = len(v.flows)
		v.flows = append(v.flows, x)
	}
	for _, t := range ev.Traces {
		for _, f := range t.Flows {
			add(t.Backend, f, false)
		}
		if c := ev.Packets[t.Backend]; c != nil {
			for _, f := range c.Flows {
				add(t.Backend, f, true)
			}
		}
	}
	find := func(backend, id string) *flow {
		if i, ok := index[key{backend, id}]; ok {
			return &v.flows[i]
		}
		return &flow{Flow: capture.Flow{ID: id, Backend: backend}}
	}
	exchange := func(backend string, ex *capture.Exchange) {
		m := message{flow: find(backend, ex.Flow), ex: ex, from: ex.Start, to: ex.Sent}
		if m.to.Before(m.from) {
			m.to = m.from
		}
		if u, err := url.Parse(ex.URL); err == nil {
			m.host, m.path = strings.ToLower(u.Hostname()), u.EscapedPath()
		} else {
			m.host = m.flow.host
		}
		m.parts = payload.Request(*ex)
		m.events = telemetry.Decode(*ex, m.parts)
		v.message(m, finder, beacons)
		v.replies(ex, m.host)
	}
	for _, t := range ev.Traces {
		for i := range t.Exchanges {
			exchange(t.Backend, &t.Exchanges[i])
		}
		c := ev.Packets[t.Backend]
		if c == nil {
			continue
		}
		for i := range c.Exchanges {
			exchange(t.Backend, &c.Exchanges[i])
		}
		for i := range c.Lookups {
			l := &c.Lookups[i]
			v.message(message{
				flow: find(t.Backend, l.Flow), lookup: l, from: l.At, to: l.At,
				host: strings.ToLower(l.Name), parts: payload.Lookup(*l),
			}, finder, beacons)
		}
	}
	slices.SortStableFunc(v.messages, func(a, b message) int { return a.from.Compare(b.from) })
	v.findPages()
	v.shareBytes()
	v.findBeacons()
	return v
}

// findBeacons marks the flows that carry nothing but beacons.
func (v *view) findBeacons() {
	other := map[*flow]bool{}
	for i := range v.messages {
		m := &v.messages[i]
		m.flow.beacon = m.flow.beacon || m.instrument
		other[m.flow] = other[m.flow] || !m.instrument
	}
	for f := range other {
		f.beacon = f.beacon && !other[f]
	}
}

func (v *view) message(m message, finder *canary.Finder, beacons map[string]bool) {
	if ind, ok := v.list.Match(m.host, m.path); ok {
		m.ind = ind
	}
	m.leaves = slices.Collect(payload.Leaves(m.parts))
	// A beacon is known by its whole name: firmware that copies a nonce into an
	// address of its own hides nothing.
	name := m.url()
	if m.lookup != nil {
		name = m.lookup.Name
	}
	m.instrument = beacons[strings.ToLower(name)]
	if !m.instrument {
		m.hits = finder.Find(m.parts)
		for _, h := range m.hits {
			if h.Canary.Sham {
				v.shams[h.Form] = true
			}
		}
	}
	v.messages = append(v.messages, m)
}

// replies remembers what a site handed out, because a browser that sends it
// back tells the site nothing new.
func (v *view) replies(ex *capture.Exchange, host string) {
	site := siteOf(host)
	for _, h := range ex.ResponseHeader {
		switch strings.ToLower(h.Name) {
		case "set-cookie":
			_, rest, ok := strings.Cut(h.Value, "=")
			if !ok {
				continue
			}
			value, _, _ := strings.Cut(rest, ";")
			if v.cookies[site] == nil {
				v.cookies[site] = map[string]bool{}
			}
			v.cookies[site][strings.Trim(strings.TrimSpace(value), `"`)] = true
		case "etag":
			v.etags[h.Value] = true
		}
	}
}

// shareBytes gives every leaf its part of the bytes on the wire. The body's
// bytes are shared over the body's leaves; what stands in the head counts as
// long as it is written there. A head that a compressor made smaller than its
// words is scaled down to what the flow really sent.
func (v *view) shareBytes() {
	perFlow := map[*flow]int64{}
	for i := range v.messages {
		m := &v.messages[i]
		m.bytes = make([]int64, len(m.leaves))
		var body []int
		for j, l := range m.leaves {
			if l.Where == "body" {
				body = append(body, j)
				continue
			}
			m.bytes[j] = int64(l.Size)
		}
		if m.ex != nil && len(body) > 0 {
			leaves := make([]payload.Leaf, len(body))
			for k, j := range body {
				leaves[k] = m.leaves[j]
			}
			for k, n := range payload.Share(m.ex.BytesUp, leaves) {
				m.bytes[body[k]] = n
			}
		}
		for _, n := range m.bytes {
			perFlow[m.flow] += n
		}
	}
	for i := range v.messages {
		m := &v.messages[i]
		have, want := m.flow.BytesUp, perFlow[m.flow]
		if want > have && want > 0 {
			for j := range m.bytes {
				m.bytes[j] = m.bytes[j] * have / want
			}
		}
	}
}

// firstAppUID is the first user id that Android gives to an app that was
// installed; ids below it belong to the system, which may send for anybody.
const firstAppUID = 10000

// perUser is the span of user ids that belong to one Android user.
const perUser = 100000

func newSender(uid int, claim []int) sender {
	for _, c := range claim {
		if uid%perUser == c%perUser {
			return sender{uid: uid, known: true, claimed: true}
		}
	}
	// A system process sends on behalf of others, so it names no owner.
	return sender{uid: uid, known: uid%perUser >= firstAppUID}
}

// ownerSlack is how far a flow may lie outside the time in which its socket was
// seen: the tables are read a few times a second, and a flow ends when its last
// packet was seen.
const ownerSlack = 5 * time.Second

// ownerOf is the one user id that held a socket while a flow went on. Ports are
// used again, so two owners are none.
func ownerOf(seen []Owner, f capture.Flow) (uid int, ok bool) {
	for _, o := range seen {
		if f.Start.After(o.Last.Add(ownerSlack)) || f.End.Before(o.First.Add(-ownerSlack)) {
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

func portOf(hostport string) string {
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return ""
	}
	return port
}

// linkLocal says whether a flow cannot leave the local link: multicast,
// link-local neighbours and broadcast, and DHCP with a private address.
func linkLocal(f capture.Flow) bool {
	a := f.Server.Addr()
	if !a.IsValid() {
		return false
	}
	a = a.Unmap()
	dhcp := f.Proto == capture.UDP && f.Server.Port() == 67 && a.IsPrivate()
	return a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast() || a.IsLinkLocalUnicast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || dhcp
}
