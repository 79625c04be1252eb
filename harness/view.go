package harness

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// A view is the evidence of a trial, read once for all its observations:
// flows with their owners, messages with their leaves and sightings.
type view struct {
	list  *collector.List
	all   []*Observation
	flows []flow
	// copies are further recordings of the same conversations.
	copies   []flow
	messages []message
	// unread are the conversations of which a part is no message that anybody reads.
	unread map[*flow]bool
	// asked are the conversations that ask for the time and say nothing else.
	asked map[*flow]bool
	// shams are the forms in which a term was seen that nobody typed.
	shams map[string]bool
	// unsalted is how many terms are searched for without salted hashes, the
	// earliest ones.
	unsalted int
	// keyed are the places whose values go with what is typed; keyedFailed says why
	// nobody could look for them.
	keyed       []Keyed
	keyedFailed string
	// handed are values that a site itself handed out, by kind, registrable
	// domain and value, with the start of the first exchange that brought them.
	handed map[[3]string]time.Time
	// asked are the addresses that a page told the browser to fetch.
	pages []page
	// proxied is true when a proxy ran.
	proxied bool
	// stamps is how well the clock is known that stamped a backend's packets, for
	// those that are not stamped by the phone.
	stamps map[string]time.Duration
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
	adb     bool // the instrument's own too: ADB over the network
	local   bool // never leaves the local link
	odd     bool // carries numbers that cannot be
	twice   bool // shares its number with another of the same record
	// undated is what was sent at times that nobody wrote down: it may have
	// left at any moment of the flow.
	undated capture.Burst
	// copy is true for a further recording of a conversation that is judged in
	// another.
	copy bool
}

// most bounds the bytes of one flow: more is no number but damage, and sums
// over it would overflow.
const most = 1 << 50

// settle makes the times and numbers of a flow safe to reckon with. What is
// unknown becomes as wide as it may be.
func (f *flow) settle() {
	if f.End.Before(f.Start) || f.End.IsZero() {
		f.End = forever()
	}
	impossible := func(n int64) bool { return n < 0 || n > most }
	f.odd = impossible(f.BytesUp) || impossible(f.PayloadUp)
	f.undated = capture.Burst{Bytes: f.BytesUp, Payload: f.PayloadUp}
	var dated []capture.Burst
	for _, s := range f.Sent {
		f.odd = f.odd || impossible(s.Bytes) || impossible(s.Payload)
		if f.odd {
			break
		}
		if !s.At.IsZero() {
			dated = append(dated, s)
			f.undated.Bytes -= s.Bytes
			f.undated.Payload -= s.Payload
		}
	}
	f.undated.Bytes, f.undated.Payload = max(0, f.undated.Bytes), max(0, f.undated.Payload)
	f.Sent = dated
	if f.odd {
		f.Sent, f.undated = nil, capture.Burst{}
	}
}

// forever is later than anything that is recorded.
func forever() time.Time { return time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }

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
	// instrument is true for a beacon, raw for the beginning of a conversation in a
	// protocol that nobody reads: it is searched, and its bytes stay unread.
	// greeting is true for raw words of a handshake, which leave nothing unread.
	instrument, raw, greeting bool
	// lost is true when the flow that carried it was not recorded, unsent when
	// nobody saw the request's end, so that to is only a bound.
	lost, unsent bool
	// fronted is true when the request names another host than the connection,
	// unnamed when only the request itself says whose address it went to.
	fronted, unnamed bool
	// page is how a page asked for this address, empty when none did; ownSite is
	// true when it went back to the site that the person opened.
	page    string
	ownSite bool
	// bytes is the wire bytes of each leaf.
	bytes []int64
}

// inScope says whether bytes of this sender to this organisation decide.
func (v *view) inScope(f *flow, claim Claim) bool {
	if f.beacon || f.adb {
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
	v := &view{list: list, all: all, shams: map[string]bool{}, unread: map[*flow]bool{}, asked: map[*flow]bool{}, stamps: map[string]time.Duration{}, handed: map[[3]string]time.Time{}}
	if len(all) == 0 || all[0].evidence == nil {
		return v
	}
	ev := all[0].evidence
	owners := map[string][]Owner{}
	for _, o := range ev.Owners {
		key := string(o.Proto) + " " + canonical(o.Local) + " " + canonical(o.Remote)
		owners[key] = append(owners[key], o)
		// A UDP socket that is not connected shows no peer, and only such a one
		// may speak to anybody.
		if o.Proto == capture.UDP && portOf(o.Remote) == "0" {
			key = string(o.Proto) + " from " + canonical(o.Local)
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
				if b.Name != "" {
					beacons[strings.ToLower(b.Name)] = true
				}
			}
		}
		for _, id := range o.Identifiers {
			if !slices.Contains(terms, id) {
				terms = append(terms, id)
			}
		}
	}
	terms = append(terms, earlierThan(all, ev.Known)...)
	finder := canary.NewFinder(terms, saltsOf(all)...)
	v.unsalted = finder.Unsalted()

	// What an instrument's own app sends on the wire is anybody's.
	carriers := map[int]bool{}
	for _, t := range ev.Traces {
		for uid, names := range ev.Apps {
			if t.Via != "" && slices.Contains(names, t.Via) {
				carriers[uid%perUser] = true
			}
		}
	}
	owned := func(uid int) sender {
		s := newSender(uid, uids)
		s.known = s.known && !carriers[uid%perUser]
		s.name = nameOf(ev.Apps, uid)
		return s
	}
	own := func(f capture.Flow) sender {
		if f.UID != nil {
			return owned(*f.UID)
		}
		client, server := canonical(f.Client.String()), canonical(f.Server.String())
		if uid, ok := ownerOf(owners[string(f.Proto)+" "+client+" "+server], f); ok {
			return owned(uid)
		}
		if f.Proto == capture.UDP && f.Client.IsValid() {
			port := ":" + strconv.Itoa(int(f.Client.Port()))
			seen := slices.Concat(owners["udp from "+client], owners["udp from [::]"+port])
			if f.Client.Addr().Unmap().Is4() {
				seen = append(seen, owners["udp from 0.0.0.0"+port]...)
			}
			if uid, ok := ownerOf(seen, f); ok {
				return owned(uid)
			}
		}
		return sender{}
	}
	type key struct {
		backend, id string
		packets     bool
	}
	index := map[key]int{}
	wireless := adbEnds(all[0].Serial, ev.Owners)
	add := func(backend string, f capture.Flow, packets bool) {
		x := flow{Flow: f, packets: packets, host: strings.ToLower(f.Host)}
		x.Backend = backend
		x.settle()
		if packets {
			x.sender = own(f)
			x.local = linkLocal(f) || f.Proto == capture.Link
			x.adb = f.Proto == capture.TCP && (wireless[[2]netip.AddrPort{end(f.Client), end(f.Server)}] || wireless[[2]netip.AddrPort{end(f.Server), end(f.Client)}])
		}
		switch {
		case x.host == "" && f.Server.IsValid():
			x.host = f.Server.Addr().String()
		case f.Proto == capture.Link:
			x.host = "the local link"
		}
		if ind, ok := list.Match(x.host, ""); ok {
			x.org, x.purpose = ind.Organisation, ind.Purpose
		}
		_, x.twice = index[key{backend, f.ID, packets}]
		index[key{backend, f.ID, packets}] = 0
		v.flows = append(v.flows, x)
	}
	for _, t := range ev.Traces {
		v.proxied = v.proxied || t.Packets == ""
		if t.Clock != nil {
			v.stamps[t.Backend] = t.Clock.Uncertainty
		}
		for _, f := range t.Flows {
			add(t.Backend, f, false)
		}
		if c := ev.Packets[t.Backend]; c != nil {
			for _, f := range c.Flows {
				add(t.Backend, f, true)
			}
		}
	}
	said := map[key]int{}
	for backend, c := range ev.Packets {
		for i := range c.Exchanges {
			said[key{backend, c.Exchanges[i].Flow, true}]++
		}
		for i := range c.Lookups {
			said[key{backend, c.Lookups[i].Flow, true}]++
		}
	}
	for _, t := range ev.Traces {
		for i, uid := range proxiedOwners(v.flows, t.Backend, t.Door, ev.Owners, ev.Unwatched) {
			v.flows[i].sender = owned(uid)
		}
	}
	v.flows, v.copies = findCopies(v.flows, func(f *flow) int { return said[key{f.Backend, f.ID, true}] })
	for i := range v.flows {
		index[key{v.flows[i].Backend, v.flows[i].ID, v.flows[i].packets}] = i
	}
	for i := range v.copies {
		v.copies[i].copy = true
		index[key{v.copies[i].Backend, v.copies[i].ID, true}] = -1 - i
	}
	find := func(backend, id string, packets bool) (f *flow, lost bool) {
		if i, ok := index[key{backend, id, packets}]; ok {
			if i < 0 {
				return &v.copies[-1-i], false
			}
			return &v.flows[i], false
		}
		return &flow{Flow: capture.Flow{ID: id, Backend: backend, End: forever()}}, true
	}
	resolved := map[[2]string]bool{} // names with the addresses that were answered for them
	exchange := func(at exchangeAt, read *capture.Exchange) {
		backend, packets := at.backend, at.packets
		whole := wholly(*read)
		ex := &whole
		m := message{ex: ex}
		m.flow, m.lost = find(backend, ex.Flow, packets)
		m.date()
		if u, err := url.Parse(ex.URL); err == nil && u.Hostname() != "" {
			m.host, m.path = strings.ToLower(u.Hostname()), u.EscapedPath()
		} else {
			m.host = m.flow.host
		}
		v.front(&m)
		// In the clear a request may name any host to any address.
		m.unnamed = packets && m.flow.HostFrom == capture.FromHeader && !resolved[[2]string{m.host, m.flow.Server.Addr().Unmap().String()}]
		m.parts, m.events = ev.readAt(at, *ex)
		v.message(m, finder, beacons)
		v.replies(ex, m.host)
		if packets {
			return // Their questions are among the lookups.
		}
		for _, l := range dissect.Lookups(*ex) {
			q := message{flow: m.flow, lookup: &l, raw: true, from: m.from, to: m.to, host: strings.ToLower(l.Name), parts: payload.Lookup(l)}
			v.message(q, finder, beacons)
		}
	}
	for _, c := range ev.Packets {
		for _, l := range c.Lookups {
			for _, answer := range l.Answers {
				resolved[[2]string{strings.ToLower(l.Name), answer}] = true
			}
		}
	}
	for _, t := range ev.Traces {
		for i := range t.Exchanges {
			exchange(exchangeAt{t.Backend, false, i}, &t.Exchanges[i])
		}
		c := ev.Packets[t.Backend]
		if c == nil {
			continue
		}
		for i := range c.Exchanges {
			exchange(exchangeAt{t.Backend, true, i}, &c.Exchanges[i])
		}
		for _, u := range c.Unread {
			m := message{raw: true}
			if m.flow, m.lost = find(t.Backend, u.Flow, true); m.lost || m.flow.adb {
				continue
			}
			m.host = m.flow.host
			m.ex = &capture.Exchange{
				ID: "raw-" + u.Flow, Flow: u.Flow, Start: m.flow.Start, Sent: m.flow.End, RequestBody: u.Data, BytesUp: int64(len(u.Data)), RequestTruncated: u.Truncated,
				URL: string(m.flow.Proto) + "://" + net.JoinHostPort(m.host, strconv.Itoa(int(m.flow.Server.Port()))) + "/",
			}
			m.date()
			m.parts = payload.Request(*m.ex)
			v.message(m, finder, beacons)
		}
		for _, u := range c.Greetings {
			m := message{raw: true, greeting: true}
			if m.flow, m.lost = find(t.Backend, u.Flow, true); m.lost || m.flow.adb {
				continue
			}
			m.host, m.from, m.to = m.flow.host, m.flow.Start, m.flow.Start
			m.lookup = &capture.Lookup{Flow: u.Flow, At: m.from}
			m.parts = []payload.Part{{Where: "handshake", Root: payload.Peel(u.Data, "")}}
			v.message(m, finder, beacons)
		}
		for i := range c.Lookups {
			l := &c.Lookups[i]
			m := message{lookup: l, host: strings.ToLower(l.Name), parts: payload.Lookup(*l)}
			m.flow, m.lost = find(t.Backend, l.Flow, true)
			m.date()
			v.message(m, finder, beacons)
		}
	}
	for _, g := range v.greetings() {
		v.message(g, finder, beacons)
	}
	v.searchCopies()
	for i := range v.messages {
		if m := &v.messages[i]; m.raw && !m.greeting {
			v.unread[m.flow] = true
			v.asked[m.flow] = m.ex != nil && m.flow.asksTime(m.ex.RequestBody)
		}
	}
	slices.SortStableFunc(v.messages, func(a, b message) int { return a.from.Compare(b.from) })
	v.findPages()
	v.shareBytes()
	v.findBeacons()
	v.findKeyed()
	return v
}

// date fills in when a message was sent. Where its own times are missing, the
// flow's are the bounds.
func (m *message) date() {
	if m.lookup != nil {
		m.from, m.to = m.lookup.At, m.lookup.At
	} else {
		m.from, m.to = m.ex.Start, m.ex.Sent
		m.unsent = m.ex.Sent.IsZero() && !m.ex.Start.IsZero()
		if m.to.IsZero() {
			m.to = m.ex.End
		}
	}
	if m.from.IsZero() {
		m.from = m.flow.Start
	}
	if m.to.IsZero() {
		m.to = m.flow.End
	}
	if m.to.Before(m.from) {
		m.to = m.from
	}
}

// front looks at whom the connection was made to. A request can name any host;
// who receives it is the end of the connection, so that one which names an
// unrelated host is the connection's. A neighbour's name lends no purpose.
func (v *view) front(m *message) {
	to := m.flow.host
	if m.flow.HostFrom != capture.FromSNI && m.flow.HostFrom != capture.FromConnect || to == "" || to == m.host {
		return
	}
	m.fronted = true
	if owner := v.list.Owner(to); siteOf(to) != siteOf(m.host) && (owner == "" || owner != v.list.Owner(m.host)) {
		m.host = to
	}
}

// findBeacons marks the flows that carry nothing but beacons.
func (v *view) findBeacons() {
	other := map[*flow]bool{}
	room := map[*flow]int64{}
	for i := range v.messages {
		m := &v.messages[i]
		if m.raw {
			continue
		}
		m.flow.beacon = m.flow.beacon || m.instrument
		other[m.flow] = other[m.flow] || !m.instrument
		room[m.flow] += m.room()
		for _, l := range m.leaves {
			room[m.flow] += int64(l.Size)
		}
	}
	for f := range other {
		up := int64(0)
		if !f.packets {
			up = f.BytesUp
			room[f] += connectionOverhead
		}
		// Whatever goes along with a beacon is no beacon.
		f.beacon = f.beacon && !other[f] && !f.odd && max(f.PayloadUp, up) <= room[f]
	}
}

func (v *view) message(m message, finder *canary.Finder, beacons map[string]bool) {
	if ind, ok := v.list.Match(m.host, m.path); ok {
		m.ind = ind
		if m.fronted && benign(ind.Purpose) {
			m.ind.Purpose = collector.PurposeUnknown
		}
	}
	m.leaves = slices.Collect(payload.Leaves(m.parts))
	// A beacon is known by its whole name: firmware that copies a nonce into an
	// address of its own hides nothing.
	name := m.url()
	if m.lookup != nil {
		name = m.lookup.Name
	}
	m.hits = finder.Find(m.parts)
	if m.flow.local {
		// DHCP tells a neighbour which phone it is, and that goes no further.
		m.hits = slices.DeleteFunc(m.hits, func(h canary.Sighting) bool { return strings.HasPrefix(h.Canary.ID, identifierPrefix) })
	}
	// A beacon carries its nonce and nothing else.
	m.instrument = beacons[strings.ToLower(name)] && len(m.hits) == 0 && !slices.ContainsFunc(m.leaves, func(l payload.Leaf) bool {
		return l.Where == "body" || l.Where == "cookie" || (l.Where == "header" && l.Kind != payload.KindText && l.Kind != payload.KindNumber && l.Kind != payload.KindEmpty)
	})
	for _, h := range m.hits {
		if h.Canary.Sham {
			v.shams[h.Form] = true
		}
	}
	v.messages = append(v.messages, m)
}

// room is the bytes that a message may need beyond its values.
func (m *message) room() int64 {
	if m.lookup == nil {
		return exchangeOverhead
	}
	// A header, a type and the usual option; a resolver asks three times.
	tries := int64(m.lookup.Asked)
	if tries <= 0 {
		tries = lookupTries
	}
	return tries * int64(len(m.lookup.Name)+lookupOverhead)
}

// replies remembers what a site handed out, because a browser that sends it
// back tells the site nothing new.
func (v *view) replies(ex *capture.Exchange, host string) {
	site := siteOf(host)
	hand := func(kind, value string) {
		key := [3]string{kind, site, value}
		if first, ok := v.handed[key]; value != "" && !ex.Start.IsZero() && (!ok || ex.Start.Before(first)) {
			v.handed[key] = ex.Start
		}
	}
	for _, h := range ex.ResponseHeader {
		switch strings.ToLower(h.Name) {
		case "set-cookie":
			_, rest, ok := strings.Cut(h.Value, "=")
			if !ok {
				continue
			}
			value, _, _ := strings.Cut(rest, ";")
			hand("cookie", strings.Trim(strings.TrimSpace(value), `"`))
		case "etag":
			hand("etag", h.Value)
		}
	}
}

// remember adds what sites handed out in an earlier recording: a browser keeps
// its cookies from one window to the next.
func (v *view) remember(ev *Evidence) {
	hear := func(all []capture.Exchange) {
		for i := range all {
			if u, err := url.Parse(all[i].URL); err == nil {
				v.replies(&all[i], strings.ToLower(u.Hostname()))
			}
		}
	}
	for _, t := range ev.Traces {
		hear(t.Exchanges)
		if c := ev.Packets[t.Backend]; c != nil {
			hear(c.Exchanges)
		}
	}
}

// gave says whether a message sends back what its site handed out before. A
// site that only repeats what it was told has handed out nothing.
func (v *view) gave(m *message, kind, value string) bool {
	first, ok := v.handed[[3]string{kind, siteOf(m.host), value}]
	return ok && first.Before(m.from)
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
		if m.raw {
			continue
		}
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
