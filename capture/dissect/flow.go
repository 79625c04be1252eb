package dissect

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// burstGap is how close packets may be to be one burst.
	burstGap = 10 * time.Millisecond
	// maxBursts bounds the bursts of one flow: beyond it, neighbours are merged
	// and later bursts are as coarse as they are.
	maxBursts = 1 << 14
	// maxGreeting bounds what is kept of the handshakes of one connection, and maxGreetings
	// that of a file. A ClientHello with post-quantum keys has about 2 KiB.
	maxGreeting  = 8 << 10
	maxGreetings = 64 << 20
)

// A flow is one conversation while it is being read. Its two directions are
// numbered: 0 is from the end that was seen first.
type flow struct {
	number int
	proto  capture.Proto
	ends   [2]netip.AddrPort
	start  time.Time
	end    time.Time

	bytes, payload [2]int64
	bursts         [2][]capture.Burst
	grain          time.Duration

	// client is the direction in which the phone sends, when its address tells;
	// opener is the one that sent the SYN; asker is the one whose words were
	// those of a client. Each is -1 when unknown.
	client, opener, asker int

	app        string
	visibility capture.Visibility
	hello      *hello
	// certificate are the names in the server's, where it was seen.
	certificate []string
	sealed      bool // a part of it could not be decrypted after all
	service     string
	connect     string // target of the CONNECT that came first
	header      string // host of the first HTTP request
	refusal     string // what a router or an alert said
	skipped     int64
	holes       []capture.Hole
	tcp         *connection
	udp         *datagrams
	kept        [2]*keptBytes
	greeting    [2][]byte
	owner       owner
}

// A connection is what TCP adds to a flow.
type connection struct {
	half    [2]half
	talk    talk
	flushed bool
}

// keptBytes is the beginning of what one end sent in an unknown protocol.
type keptBytes struct {
	data      []byte
	truncated bool
}

type unreadOf struct {
	flow *flow
	dir  int
	side *keptBytes
}

func (f *flow) id() string { return strconv.Itoa(f.number) }

// count adds a packet: size bytes on the wire, of which fresh are payload that
// was not sent before.
func (f *flow) count(dir, size, fresh int, at time.Time) {
	if at.Before(f.start) {
		f.start = at
	}
	if at.After(f.end) {
		f.end = at
	}
	f.bytes[dir] += int64(size)
	f.payload[dir] += int64(fresh)
	if c := f.certain(); c >= 0 && c != dir {
		return
	}
	all := f.bursts[dir]
	if n := len(all); n > 0 {
		if d := at.Sub(all[n-1].At); d < max(burstGap, f.grain) && d > -burstGap {
			all[n-1].Bytes += int64(size)
			all[n-1].Payload += int64(fresh)
			return
		}
	}
	if len(all) >= maxBursts {
		all = f.coarser(all)
	}
	f.bursts[dir] = append(all, capture.Burst{At: at, Bytes: int64(size), Payload: int64(fresh)})
}

// coarser merges neighbouring bursts, so that a long flow keeps its shape in
// bounded memory.
func (f *flow) coarser(all []capture.Burst) []capture.Burst {
	span := all[len(all)-1].At.Sub(all[0].At)
	f.grain = max(2*f.grain, 2*burstGap, 2*span/maxBursts)
	kept := all[:0]
	for i := 0; i+1 < len(all); i += 2 {
		b := all[i]
		b.Bytes += all[i+1].Bytes
		b.Payload += all[i+1].Payload
		kept = append(kept, b)
	}
	return kept
}

// certain is the direction of the client where nothing that follows can change
// it, -1 before.
func (f *flow) certain() int {
	if f.client >= 0 {
		return f.client
	}
	return f.opener
}

// clientDir is the best answer to who opened the flow.
func (f *flow) clientDir() int {
	if c := f.certain(); c >= 0 {
		return c
	}
	if f.asker >= 0 {
		return f.asker
	}
	a, b := f.ends[0], f.ends[1]
	switch {
	case b.Addr().IsMulticast() || isBroadcast(b.Addr()):
		return 0
	case a.Port() >= 1024 && b.Port() < 1024:
		return 0
	case a.Port() < 1024 && b.Port() >= 1024:
		return 1
	case inside(a.Addr()) && !inside(b.Addr()):
		return 0
	case !inside(a.Addr()) && inside(b.Addr()):
		return 1
	case a.Port() >= 32768 && b.Port() < 32768:
		return 0
	case a.Port() < 32768 && b.Port() >= 32768:
		return 1
	}
	return 0
}

func inside(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
}

func isBroadcast(a netip.Addr) bool {
	return a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// reopened says whether a SYN on known sockets begins another connection,
// rather than repeating the first SYN.
func (f *flow) reopened(dir int, s *segment) bool {
	if f.tcp == nil || s.flags&flagSYN == 0 || s.flags&flagRST != 0 {
		return false
	}
	h, peer := &f.tcp.half[dir], &f.tcp.half[1-dir]
	if s.flags&flagACK != 0 && peer.syn && s.ack == peer.isn+1 {
		return false // another answer to the same SYN
	}
	if h.syn {
		return h.isn != s.seq
	}
	if s.flags&flagACK != 0 {
		// The answer to a SYN that nobody saw must be the first thing of its side.
		return !peer.syn && h.synced
	}
	// The capture may hold the answer before the question.
	if peer.syn && h.hasAcked && h.acked == s.seq+1 {
		return false
	}
	return h.synced || peer.synced
}

// lost counts the stream bytes that are known to be missing.
func (f *flow) lost() int64 {
	n := f.skipped
	if f.tcp != nil {
		n += f.tcp.half[0].skipped + f.tcp.half[1].skipped
	}
	return n
}

// maxHoles is how many stretches of one flow are told apart; the last one takes
// what comes after.
const maxHoles = 1000

// hole notes when bytes were sent that are missing.
func (f *flow) hole(from, to time.Time, n int) {
	if to.Before(from) { // The packets of a file need not be in order.
		from, to = to, from
	}
	switch last := len(f.holes) - 1; {
	case n <= 0:
	case last+1 < maxHoles:
		f.holes = append(f.holes, capture.Hole{From: from, To: to, Bytes: int64(n)})
	default:
		h := &f.holes[last]
		h.Bytes += int64(n)
		if from.Before(h.From) {
			h.From = from
		}
		if to.After(h.To) {
			h.To = to
		}
	}
}

// ask notes that the words of direction dir are a client's.
func (f *flow) ask(dir int) {
	if f.asker < 0 {
		f.asker = dir
	}
}

// keepUnread keeps the beginning of a payload that no parser knows.
func (f *flow) keepUnread(e *engine, dir int, b []byte) {
	if c := f.certain(); len(b) == 0 || c >= 0 && c != dir {
		return
	}
	k := f.kept[dir]
	if k == nil {
		f.begins(b)
		k = &keptBytes{}
		f.kept[dir] = k
		e.unread = append(e.unread, unreadOf{f, dir, k})
	}
	n := e.room(len(k.data), len(b))
	k.data = append(k.data, b[:n]...)
	k.truncated = k.truncated || n < len(b)
}

// keepSpare keeps what the client's end wrote where nothing belongs, and returns
// how many bytes that is.
func (f *flow) keepSpare(e *engine, dir int, b []byte) int {
	if c := f.certain(); len(b) == 0 || c >= 0 && c != dir {
		return 0
	}
	f.keepUnread(e, dir, b)
	return len(b)
}

// spareOf is keepSpare for what a packet's headers hold.
func (f *flow) spareOf(e *engine, dir int, p *packet) int {
	n := f.keepSpare(e, dir, p.spare)
	if n > 0 && p.more > 0 {
		n += p.more
		f.kept[dir].truncated = true
	}
	return n
}

// greet keeps what the client's end says in clear in a handshake. What is longer
// than handshakes are is kept as something that nobody reads.
func (f *flow) greet(e *engine, dir int, b []byte) {
	if c := f.certain(); len(b) == 0 || c >= 0 && c != dir {
		return
	}
	limit := maxGreeting
	if f.udp != nil {
		limit *= max(1, len(f.udp.conns))
	}
	n := min(len(b), limit-len(f.greeting[dir]))
	f.keepUnread(e, dir, b[n:])
	if e.greeted+n > maxGreetings {
		e.muted = e.muted || n > 0
		return
	}
	e.greeted += n
	f.greeting[dir] = append(f.greeting[dir], b[:n]...)
}

// result is the flow as the caller gets it.
func (f *flow) result(names *names) capture.Flow {
	up := f.clientDir()
	down := 1 - up
	out := capture.Flow{
		ID: f.id(), Proto: f.proto, App: f.app,
		Client: f.ends[up], Server: f.ends[down],
		Start: f.start, End: f.end,
		BytesUp: f.bytes[up], BytesDown: f.bytes[down],
		PayloadUp: f.payload[up], PayloadDown: f.payload[down],
		Sent:         f.bursts[up],
		Visibility:   f.visibility,
		SkippedBytes: f.lost(),
		Holes:        f.holes,
		Failure:      f.failure(up),
	}
	if out.Visibility == capture.VisibilityUnknown {
		out.Visibility = capture.Metadata
	}
	if f.owner.known {
		uid := f.owner.uid
		out.UID, out.AppName = &uid, f.owner.name
	}
	if f.hello != nil {
		out.SNI, out.ALPN, out.JA4, out.ECH = f.hello.serverName, f.hello.protocols, f.hello.ja4, f.hello.ech
	}
	switch {
	case out.SNI != "":
		out.Host, out.HostFrom = hostName(out.SNI), capture.FromSNI
	case f.connect != "":
		out.Host, out.HostFrom = hostName(f.connect), capture.FromConnect
	case f.header != "":
		out.Host, out.HostFrom = hostName(f.header), capture.FromHeader
	default:
		if name := names.of(out.Server.Addr(), f.start); name != "" {
			out.Host, out.HostFrom = hostName(name), capture.FromDNS
		} else if len(f.certificate) > 0 {
			out.Host, out.HostFrom = hostName(strings.TrimPrefix(f.certificate[0], "*.")), capture.FromCertificate
		}
	}
	if f.sealed {
		out.Visibility = capture.Metadata
	}
	out.Service = f.serves(down)
	if f.tcp != nil {
		out.Midstream = !f.tcp.half[0].syn && !f.tcp.half[1].syn
	}
	return out
}

// failure says why the conversation came to nothing.
func (f *flow) failure(up int) string {
	down := 1 - up
	if f.tcp == nil {
		if f.bytes[down] == 0 && f.refusal != "" {
			return f.refusal
		}
		if f.app == appQUIC && f.bytes[down] == 0 {
			return "no answer"
		}
		if f.udp != nil {
			return f.udp.refused()
		}
		return ""
	}
	client, server := &f.tcp.half[up], &f.tcp.half[down]
	switch {
	case client.syn && !server.syn && server.rst:
		return "connection refused"
	case client.syn && f.bytes[down] == 0 && f.refusal != "":
		return f.refusal
	case client.syn && f.bytes[down] == 0:
		return "no answer"
	}
	return f.tcp.talk.failure(up)
}

// hostName brings a name to the form in which names are compared: lower case,
// without port, brackets and final dot.
func hostName(s string) string {
	s = strings.TrimSpace(s)
	switch {
	case strings.HasPrefix(s, "["):
		if i := strings.IndexByte(s, ']'); i > 0 {
			s = s[1:i]
		}
	case strings.Count(s, ":") == 1:
		s = s[:strings.IndexByte(s, ':')]
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}
