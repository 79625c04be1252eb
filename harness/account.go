package harness

import (
	"fmt"
	"slices"
	"time"
)

// A Class says what is known of bytes that left the phone. The zero value
// claims nothing and is not used for counted bytes.
type Class string

// The classes of uploaded bytes.
const (
	ClassUnknown Class = ""
	// ClassExpected went where a step typed it, in that role.
	ClassExpected Class = "expected"
	// ClassUnderstood is explained by a schema or a reviewed rule.
	ClassUnderstood Class = "understood"
	// ClassSighted holds a canary or a unique identifier.
	ClassSighted Class = "sighted"
	// ClassNotUnderstood is readable, and no rule explains it.
	ClassNotUnderstood Class = "not understood"
	// ClassOpaquePayload is a leaf that no decoder opens.
	ClassOpaquePayload Class = "opaque payload"
	// ClassOpaqueTransport is a flow that could not be read at all.
	ClassOpaqueTransport Class = "opaque transport"
	// ClassOverhead is headers, handshakes and acknowledgements.
	ClassOverhead Class = "overhead"
	// ClassInstrument is the rig's own, by exact name or 5-tuple.
	ClassInstrument Class = "instrument"
	// ClassUnexplained left by a counter's word, and no backend saw it.
	ClassUnexplained Class = "unexplained"
)

// Classes lists every class in the order of the report's bars.
func Classes() []Class {
	return []Class{
		ClassExpected, ClassUnderstood, ClassSighted, ClassNotUnderstood, ClassOpaquePayload, ClassOpaqueTransport,
		ClassOverhead, ClassInstrument, ClassUnexplained,
	}
}

// An Accounting puts every byte that left in a window into one class. Total is
// what left by the phone's counters plus what the proxy's listener read; Bytes
// sums to it, within Tolerance.
type Accounting struct {
	// Counted is IP bytes by the kernel's counters of all interfaces but
	// loopback; nil when they could not be read. Where packets are recorded in a
	// VPN of the phone's own, what its app sends on is not counted again.
	Counted *int64 `json:"counted,omitempty"`
	// Tunnel is bytes read at the proxy's listener.
	Tunnel int64 `json:"tunnel"`
	// Captured is IP bytes in the packet capture over the same stretch.
	Captured int64 `json:"captured"`
	// Tolerance is the bytes of packets so close to a reading of the counters
	// that they may lie on either side of it.
	Tolerance int64 `json:"tolerance"`
	// Floor is the size in IP bytes of the smallest packet that, if the capture had
	// missed it, the phone's counters would have shown, by packets of known sizes;
	// 0 where none of them would, nil where it was not measured.
	Floor *int64 `json:"floor,omitempty"`
	// Beside is what left past the VPN of a capture in the phone; nil without such
	// a capture, where the wire was recorded too, and where nobody could count it.
	Beside *Beside         `json:"beside,omitempty"`
	Bytes  map[Class]int64 `json:"bytes"`
	// InScope is the part of Bytes that decides.
	InScope map[Class]int64 `json:"in_scope"`
	// To says who received what decides, for classes that speak against
	// absence: bytes by class and recipient.
	To map[Class]map[string]int64 `json:"to,omitempty"`
}

func newAccounting() Accounting {
	return Accounting{Bytes: map[Class]int64{}, InScope: map[Class]int64{}, To: map[Class]map[string]int64{}}
}

func (a *Accounting) add(c Class, bytes int64, inScope bool, to string) {
	if bytes <= 0 {
		return
	}
	a.Bytes[c] += bytes
	if !inScope {
		return
	}
	a.InScope[c] += bytes
	switch c {
	case ClassSighted, ClassNotUnderstood, ClassOpaquePayload, ClassOpaqueTransport, ClassUnexplained:
		if a.To[c] == nil {
			a.To[c] = map[string]int64{}
		}
		a.To[c][to] += bytes
	case ClassUnknown, ClassExpected, ClassUnderstood, ClassOverhead, ClassInstrument:
	}
}

// Missing is how many bytes at most can have left by the phone's counters without
// being in the packet captures: packets so close to a reading that they may lie
// on either side of it could stand for others. It is 0 where nothing was counted.
func (a Accounting) Missing() int64 {
	if a.Counted == nil {
		return 0
	}
	return max(0, *a.Counted-a.Captured+a.Tolerance)
}

// Total is the sum of all classes.
func (a Accounting) Total() int64 {
	var sum int64
	for _, n := range a.Bytes {
		sum += n
	}
	return sum
}

// span is the stretch over which an observation's bytes are accounted: from
// the reading of the counters before the window to the one after it, so that
// read-backs and closing beacons are inside.
func (o *Observation) span() (from, to time.Time) {
	from, to = o.Window.Open, o.Window.Close
	if o.CountersBefore != nil && (from.IsZero() || o.CountersBefore.From.Before(from)) {
		from = o.CountersBefore.From
	}
	if o.CountersAfter != nil && o.CountersAfter.To.After(to) {
		to = o.CountersAfter.To
	}
	return from, to
}

// burstSlack is how far a packet's time may be from its burst's.
const burstSlack = 15 * time.Millisecond

// sentWithin is what a flow's client sent in a stretch, or may have sent: IP
// bytes and payload.
func (f *flow) sentWithin(from, to time.Time) (ip, payload int64) {
	ip, payload = f.datedWithin(from, to)
	if !f.End.Before(from) && !f.Start.After(to) {
		ip += f.undated.Bytes
		payload += f.undated.Payload
	}
	return ip, payload
}

// datedWithin is the part of it that is known to lie in the stretch.
func (f *flow) datedWithin(from, to time.Time) (ip, payload int64) {
	for _, s := range f.Sent {
		if !s.At.Before(from) && !s.At.After(to) {
			ip += s.Bytes
			payload += s.Payload
		}
	}
	return ip, payload
}

// countersSlack is how many bytes, and a tenth, the counters may fall behind the
// capture: a driver that takes off a link header that is not there does so.
const countersSlack = 2000

// clockSlack is how far the phone's clock and the host's may be apart when one
// moment is read on both.
func (o *Observation) clockSlack() time.Duration {
	slack := time.Second
	for _, c := range []*Clock{o.ClockBefore, o.ClockAfter} {
		if c != nil {
			slack = max(slack, min(c.Uncertainty, clockLimit))
		}
	}
	return slack
}

// unexplained compares the phone's counters with the packet capture.
func (v *view) unexplained(o *Observation, acc *Accounting) string {
	before, after := o.CountersBefore, o.CountersAfter
	if before == nil || after == nil {
		return "the phone's interface counters could not be read at both ends of the window"
	}
	for name, n := range after.Sent {
		if n < before.Sent[name] {
			return fmt.Sprintf("the counter of %s went backwards", name)
		}
	}
	if len(after.Sent) == 0 {
		return "the phone's interface counters name no interface"
	}
	if slack := o.clockSlack(); before.To.After(o.Window.Open.Add(slack)) || after.From.Before(o.Window.Close.Add(-slack)) {
		return "the phone's interface counters were read inside the window, so they do not span it"
	}
	for name := range before.Sent {
		if _, ok := after.Sent[name]; !ok {
			return fmt.Sprintf("the interface %s went away inside the window, with its counter", name)
		}
	}
	if t := v.tunnel(); t != nil {
		return v.throughTunnel(o, t, acc)
	}
	return v.compare(o, acc, anyInterface, anyFlow)
}

func anyInterface(string) bool { return true }
func anyFlow(*flow) bool       { return true }

// compare adds to an accounting what left by some interfaces and what was recorded
// of it.
func (v *view) compare(o *Observation, acc *Accounting, by func(name string) bool, of func(*flow) bool) string {
	counted, _ := grown(o.CountersBefore.Sent, o.CountersAfter.Sent, by)
	least, most := v.captured(*o.CountersBefore, *o.CountersAfter, of)
	sum := counted
	if acc.Counted != nil {
		sum += *acc.Counted
	}
	acc.Counted = &sum
	acc.Captured += most
	acc.Tolerance += most - least
	if counted < least-least/10-countersSlack {
		return fmt.Sprintf("the phone's interface counters say that %d bytes left, and the capture holds %d: they do not count everything", counted, least)
	}
	if counted > most {
		acc.add(ClassUnexplained, counted-most, true, "unknown")
	}
	return ""
}

// sortedBytes renders "N bytes to A, M bytes to B", largest first.
func sortedBytes(to map[string]int64) string {
	type row struct {
		name string
		n    int64
	}
	rows := make([]row, 0, len(to))
	for name, n := range to {
		rows = append(rows, row{name, n})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.n != b.n {
			return int(min(max(b.n-a.n, -1), 1))
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	out := ""
	for i, r := range rows {
		if i == 5 {
			return out + fmt.Sprintf(" and %d more", len(rows)-i)
		}
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%d bytes to %s", r.n, r.name)
	}
	return out
}
