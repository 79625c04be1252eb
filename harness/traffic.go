package harness

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness/collector"
)

// What a connection may cost beyond the values that were read from it, before
// the excess counts as unread: the CONNECT line, a TLS handshake with
// post-quantum keys, record and frame headers, names of header fields.
const (
	connectionOverhead = 6 << 10
	exchangeOverhead   = 1 << 10
	// keptOverhead is what a connection that an earlier stretch opened needs:
	// frames that keep it alive and close it.
	keptOverhead = 512
	// quicHeaders is how much a packet of QUIC may cost for each byte of its IP and
	// UDP headers, these included: its own header, its seal, and what it
	// acknowledges.
	quicHeaders = 3
	// lookupOverhead is a DNS question without its name, lookupTries how often
	// it may be repeated before it is answered.
	lookupOverhead = 32
	lookupTries    = 3
)

// account puts every byte of the observation's stretch into a class, and notes
// contacts and what is out of scope.
func (v *view) account(o *Observation, f *Finding, doubts *[]string) {
	acc := &f.Accounting
	acc.Floor = v.floor()
	from, to := o.span()
	if from.IsZero() {
		return
	}
	byFlow := map[*flow][]*message{}
	for i := range v.messages {
		if m := &v.messages[i]; !m.raw {
			byFlow[m.flow] = append(byFlow[m.flow], m)
		}
	}
	elsewhere := map[string]int64{}
	for i := range v.flows {
		fl := &v.flows[i]
		ip, sent := fl.sentWithin(from, to)
		if !fl.packets {
			acc.Tunnel += ip
		}
		if ip == 0 && !overlaps(o, fl.Start, fl.End) {
			continue
		}
		if hidden := v.accountFlow(o, f, fl, byFlow[fl], ip, sent); len(hidden) > 0 {
			*doubts = append(*doubts, fmt.Sprintf("opaque payload went to %s at a time when its conversation shows no bytes: %s", fl.host, strings.Join(head(hidden, 3), "; ")))
		}
		if !v.flowDecides(fl, byFlow[fl], o) && !fl.beacon && !fl.adb && ip > 0 {
			elsewhere[fl.sender.String()+" to "+fl.host] += ip
		}
	}
	for _, k := range keysOf(elsewhere) {
		f.Elsewhere = append(f.Elsewhere, fmt.Sprintf("%s: %d bytes", k, elsewhere[k]))
	}
	f.Recipients = v.recipients(o, func(fl *flow) bool { return v.flowDecides(fl, byFlow[fl], o) })
	f.CountriesBy = collector.CountrySource()
	if d := v.unexplained(o, acc); d != "" {
		*doubts = append(*doubts, d)
	}
}

// opened says whether everything that a conversation under TLS or QUIC carried was
// opened and understood as messages, so that what is left of it is its own
// framing: handshakes, seals, acknowledgements.
func (v *view) opened(fl *flow) bool {
	return fl.Visibility == capture.Plaintext && (fl.App == "tls" || fl.App == "quic") && fl.SkippedBytes == 0 && !fl.Midstream && !v.unread[fl]
}

func keysOf(m map[string]int64) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (v *view) flowDecides(fl *flow, ms []*message, o *Observation) bool {
	return v.inScope(fl, o.Claim) || slices.ContainsFunc(ms, func(m *message) bool { return o.Claim.Party(m.ind.Organisation) })
}

// accountFlow puts a flow's bytes into classes. It returns the places of values
// in scope that nobody can read and for which the flow has no bytes.
func (v *view) accountFlow(o *Observation, f *Finding, fl *flow, ms []*message, ip, sent int64) (hidden []string) {
	acc := &f.Accounting
	scope := v.flowDecides(fl, ms, o)
	switch {
	case fl.beacon || fl.adb:
		acc.add(ClassInstrument, ip, false, fl.host)
		return nil
	case fl.local:
		acc.add(ClassOverhead, ip, scope, fl.host)
		return nil
	case v.asked[fl] && !fl.sender.claimed:
		acc.add(ClassUnderstood, ip, scope, fl.host)
		return nil
	}
	left, read, exchanges, room := ip, int64(0), int64(0), int64(0)
	upgraded := false
	for _, m := range ms {
		// A tunnel inside the connection is such a change too.
		upgraded = upgraded || (m.ex != nil && (m.ex.Status == 101 || (m.ex.Method == http.MethodConnect && m.ex.Status/100 == 2)))
		if !overlaps(o, m.from, m.to) {
			continue
		}
		exchanges++
		room += m.room()
		classes := v.classify(m)
		late := v.earlier(m, o)
		for j, c := range classes {
			n := max(0, min(m.bytes[j], left))
			left -= n
			read += n
			if late && (c == ClassNotUnderstood || (c == ClassOpaquePayload && v.shownByOn(m, m.leaves[j]))) {
				c = ClassUnderstood // Records of an earlier window, charged there.
			}
			if c == ClassOpaquePayload && n == 0 && v.decides(m, o) {
				hidden = append(hidden, m.leaves[j].Where+" "+m.leaves[j].Path)
			}
			acc.add(c, n, v.decides(m, o), m.host)
		}
		if m.lookup != nil && v.decides(m, o) && o.Claim.Party(m.ind.Organisation) && !benign(m.ind.Purpose) {
			f.Contacts = append(f.Contacts, v.contact(m.flow, m.host, m.ind.Organisation, 0, "only its address was asked for", m.at()))
		}
	}
	// A conversation that could be read, and in which nothing ever was, is unread.
	unread := exchanges == 0 && ((fl.Visibility != capture.Plaintext && fl.App != "dns") || (!fl.packets && len(ms) == 0))
	connection := int64(connectionOverhead)
	if begin, _ := o.span(); fl.Start.Before(begin) && !fl.Start.IsZero() {
		connection = keptOverhead
	}
	var overhead int64
	switch {
	case unread:
		overhead = max(0, left-sent)
	case upgraded:
		// What follows a change of protocol was not read.
		overhead = min(left, max(0, ip-sent))
	case fl.packets && exchanges > 0 && v.opened(fl):
		// IP and TCP headers are never payload; an acknowledgement of QUIC is.
		headers := max(0, ip-sent)
		if fl.App == "quic" {
			headers *= quicHeaders
		}
		overhead = min(left, headers+connection+room+read/8)
	case fl.packets:
		overhead = min(left, max(0, ip-sent)+room)
	default:
		overhead = min(left, connection+room+read/8)
	}
	acc.add(ClassOverhead, overhead, scope, fl.host)
	acc.add(ClassOpaqueTransport, left-overhead, scope, fl.host)
	attempt := o.Claim.Party(fl.org) && ip > 0 && overlaps(o, fl.Start, fl.Start)
	if scope && unread && (sent > 0 || fl.Failure != "" || attempt) && startedBefore(fl, o) {
		f.Contacts = append(f.Contacts, v.contact(fl, fl.host, fl.org, sent, fl.Failure, fl.Start))
	}
	return hidden
}

// shownByOn says whether a value that nobody can read was sent to the same
// place, in the same field, while the switch was on: a record that comes late
// carries the SDK's identifier of then.
func (v *view) shownByOn(m *message, l payload.Leaf) bool {
	for _, o := range v.all {
		if o.Arm != On {
			continue
		}
		for i := range v.messages {
			n := &v.messages[i]
			if n == m || n.host != m.host || n.path != m.path || !overlaps(o, n.from, n.to) {
				continue
			}
			for _, k := range n.leaves {
				if k.Where == l.Where && lastStep(k.Path) == lastStep(l.Path) && string(k.Value) == string(l.Value) {
					return true
				}
			}
		}
	}
	return false
}

// lastStep is the name of the innermost field, without its place in a list.
func lastStep(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}

// startedBefore says whether an unread flow has anything to do with the
// observation: it sent something in it or failed in it.
func startedBefore(fl *flow, o *Observation) bool {
	from, to := o.span()
	ip, _ := fl.sentWithin(from, to)
	return ip > 0 || fl.Start.IsZero() || (!fl.Start.Before(from) && !fl.Start.After(to))
}

func (v *view) contact(fl *flow, host, org string, bytes int64, failure string, at time.Time) Contact {
	return Contact{
		Host: host, Organisation: org, Sender: fl.sender.String(), Backend: fl.Backend, Flow: fl.ID,
		Bytes: bytes, Failure: failure, At: at, Past: v.past(fl),
	}
}

// beyondControl lists readable values in scope that no rule explains, where
// the negative control of the same trial does not show as many at the same
// place.
func (v *view) beyondControl(o *Observation) []string {
	in := func(m *message, x *Observation) bool {
		return !m.raw && overlaps(x, m.from, m.to) && v.decides(m, x) && !v.earlier(m, x)
	}
	// A value is shown by its beginning, and is what it is by all of it.
	type value struct{ place, text string }
	count := func(x *Observation) map[value]int {
		out := map[value]int{}
		for i := range v.messages {
			m := &v.messages[i]
			if !in(m, x) {
				continue
			}
			for j, c := range v.classify(m) {
				if c != ClassNotUnderstood {
					continue
				}
				l := m.leaves[j]
				at := value{place: fmt.Sprintf("%s %s%s, %s %s", m.flow.sender, m.host, m.path, l.Where, l.Path)}
				// Numbers count up and tell times; words say something else when
				// they differ.
				if l.Kind == payload.KindText {
					at.text = string(l.Value)
				}
				out[at]++
			}
		}
		return out
	}
	control := map[value]int{}
	var quiet *Observation
	for _, x := range v.all {
		if x.Part == Quiet && x != o && x.Arm == Off && x.Completed() && len(x.Broken) == 0 && unproven(x) == "" {
			control, quiet = count(x), x
		}
	}
	var out []string
	for at, n := range count(o) {
		if n <= control[at] {
			continue
		}
		if at.text != "" {
			at.place += fmt.Sprintf(" %.60q", at.text)
		}
		out = append(out, at.place)
	}
	if quiet != nil {
		out = append(out, v.hiddenNumbers(in, o, quiet)...)
	}
	slices.Sort(out)
	return out
}

// permutations is how many random shifts the test of dependence tries.
const permutations = 2000

// dependence tests whether uploads to recipients that nobody expected follow
// the acts in time: in each window all uploads to a recipient are shifted by
// one random amount, around the window's end, and as many uploads within a
// tenth of a window after an act as were seen must be rarer than 1 in 20,
// corrected for the number of recipients.
func (v *view) dependence(windows []*Observation) string {
	uploads := map[string][]upload{}
	for i, o := range windows {
		if len(o.Acts) == 0 || !o.Completed() {
			return ""
		}
		from, _ := o.span()
		for j := range v.messages {
			m := &v.messages[j]
			if m.ex == nil || m.raw || m.instrument || m.page != "" || !v.decides(m, o) || !overlaps(o, m.from, m.to) || v.earlier(m, o) {
				continue
			}
			if _, ok := v.expectedExchange(m); ok {
				continue
			}
			uploads[m.host] = append(uploads[m.host], upload{i, m.from.Sub(from)})
		}
	}
	near := func(u upload, shift time.Duration) bool {
		o := windows[u.window]
		from, to := o.span()
		length := max(1, to.Sub(from))
		at := (u.at + shift) % length
		return slices.ContainsFunc(o.Acts, func(act time.Time) bool {
			d := at - act.Sub(from)
			return d >= 0 && d < length/10
		})
	}
	for _, host := range hostsOf(uploads) {
		count := func(shifts []time.Duration) int {
			n := 0
			for _, u := range uploads[host] {
				if near(u, shifts[u.window]) {
					n++
				}
			}
			return n
		}
		shifts := make([]time.Duration, len(windows))
		seen, asMany := count(shifts), 1
		rng := rand.New(rand.NewPCG(1, hash(host))) //nolint:gosec // The test must be repeatable.
		for range permutations {
			for i, o := range windows {
				from, to := o.span()
				shifts[i] = time.Duration(rng.Int64N(max(1, int64(to.Sub(from)))))
			}
			if count(shifts) >= seen {
				asMany++
			}
		}
		if p := float64(asMany) / (permutations + 1) * float64(len(uploads)); seen > 0 && p < 0.05 {
			return fmt.Sprintf("traffic depends on the acts: %d of %d uploads to %s came right after one (corrected p = %.3f)", seen, len(uploads[host]), host, p)
		}
	}
	return ""
}

// An upload is the time of one request since its window began.
type upload struct {
	window int
	at     time.Duration
}

func hostsOf(m map[string][]upload) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// configDiffers says whether a remote configuration that both arms fetched was
// not the same in both.
func (v *view) configDiffers() string {
	got := map[string]map[Arm]map[string]bool{}
	for _, o := range v.all {
		for i := range v.messages {
			m := &v.messages[i]
			// What was fetched since the window before holds in this one.
			if m.ex == nil || !(overlaps(o, m.from, m.to) || v.since(o, m.from)) {
				continue
			}
			if _, ok := sensorsConfig(m); !ok {
				continue
			}
			place := m.host + m.path
			if got[place] == nil {
				got[place] = map[Arm]map[string]bool{On: {}, Off: {}}
			}
			if got[place][o.Arm] != nil {
				got[place][o.Arm][string(m.ex.ResponseBody)] = true
			}
		}
	}
	for place, arms := range got {
		on, off := keys(arms[On]), keys(arms[Off])
		if len(on) > 0 && len(off) > 0 && !slices.Equal(on, off) {
			return "the remote configuration at " + place + " was not the same with the switch on and off"
		}
	}
	return ""
}

// since says whether a time lies between an observation and the one before.
func (v *view) since(o *Observation, at time.Time) bool {
	begin, _ := o.span()
	if !at.Before(begin) {
		return false
	}
	for _, x := range v.all {
		if other, end := x.span(); other.Before(begin) && !at.After(end) {
			return false
		}
	}
	return true
}

func sensorsConfig(m *message) (off, ok bool) {
	if m.ex == nil {
		return false, false
	}
	return telemetry.SensorsConfig(*m.ex)
}

// Bars draws the accounting as one line for each class that has bytes.
func (a Accounting) Bars(width int) string {
	total := max(1, a.Total())
	var b strings.Builder
	for _, c := range Classes() {
		n := a.Bytes[c]
		if n == 0 {
			continue
		}
		bar := int(n * int64(width) / total)
		fmt.Fprintf(&b, "%-17s %9d B  %s\n", c, n, strings.Repeat("█", max(1, bar)))
	}
	return b.String()
}
