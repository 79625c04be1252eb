package harness

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/canary"
)

// Two packet captures of one phone, such as its own and the access point's, see
// the same conversations. Each is judged once, in the fuller of its recordings,
// so that no byte is counted twice; and what one capture has and the other lacks
// is a doubt about the one that lacks it.

// A line is the two ends of conversations over one transport protocol.
type line struct {
	proto     capture.Proto
	low, high netip.AddrPort
}

func lineOf(f capture.Flow) line {
	a, b := netip.AddrPortFrom(f.Client.Addr().Unmap(), f.Client.Port()), netip.AddrPortFrom(f.Server.Addr().Unmap(), f.Server.Port())
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return line{f.Proto, a, b}
}

// copySlack is how far apart two recordings of one conversation may begin or
// end.
const copySlack = 2 * time.Second

// findCopies divides flows into those that are judged and copies of them. said
// is how many requests and questions were read in a flow.
func findCopies(flows []flow, said func(*flow) int) (own, copies []flow) {
	lines := map[line][]int{}
	for i := range flows {
		// Frames of the link have no ends, and each capture has them once.
		if f := &flows[i]; f.packets && (f.Client.IsValid() && f.Server.IsValid() || f.Proto == capture.Link) {
			lines[lineOf(f.Flow)] = append(lines[lineOf(f.Flow)], i)
		}
	}
	copied := map[int]bool{}
	for _, all := range lines {
		// The fullest first: what is known of the others is known of it too.
		slices.SortStableFunc(all, func(a, b int) int { return fuller(&flows[b], &flows[a], said) })
		for n, i := range all {
			if copied[i] {
				continue
			}
			// One conversation has at most one copy in each other capture.
			// Sockets are used again, so it is the one that began with it.
			nearest := map[string]int{}
			for _, j := range all[n+1:] {
				f := &flows[j]
				if copied[j] || f.Backend == flows[i].Backend || !together(&flows[i], f) {
					continue
				}
				if k, ok := nearest[f.Backend]; !ok || apart(&flows[i], f) < apart(&flows[i], &flows[k]) {
					nearest[f.Backend] = j
				}
			}
			for _, j := range nearest {
				copied[j] = true
			}
		}
	}
	for i := range flows {
		if copied[i] {
			copies = append(copies, flows[i])
		} else {
			own = append(own, flows[i])
		}
	}
	return own, copies
}

// fuller orders recordings of one conversation by how much can be read in them.
func fuller(a, b *flow, said func(*flow) int) int {
	for _, d := range []int64{
		int64(said(a) - said(b)),
		(a.PayloadUp - a.SkippedBytes) - (b.PayloadUp - b.SkippedBytes),
		a.BytesUp - b.BytesUp,
	} {
		if d != 0 {
			return int(min(max(d, -1), 1))
		}
	}
	return 0
}

// apart is how far from each other two recordings begin.
func apart(a, b *flow) time.Duration { return a.Start.Sub(b.Start).Abs() }

func together(a, b *flow) bool {
	return !a.Start.After(b.End.Add(copySlack)) && !b.Start.After(a.End.Add(copySlack))
}

// searchCopies keeps of the copies' messages those that hold a term which the
// original does not, as what was found and no more: another capture may have
// missed just that part. The others say nothing new.
func (v *view) searchCopies() {
	type hit struct {
		host, canary, form string
	}
	at := map[hit][]time.Time{}
	for i := range v.messages {
		if m := &v.messages[i]; !m.flow.copy {
			for _, h := range m.hits {
				at[hit{m.host, h.Canary.ID, h.Form}] = append(at[hit{m.host, h.Canary.ID, h.Form}], m.from)
			}
		}
	}
	v.messages = slices.DeleteFunc(v.messages, func(m message) bool {
		return m.flow.copy && !slices.ContainsFunc(m.hits, func(h canary.Sighting) bool {
			return !slices.ContainsFunc(at[hit{m.host, h.Canary.ID, h.Form}], func(t time.Time) bool { return t.Sub(m.from).Abs() <= copySlack })
		})
	})
	for i := range v.messages {
		if m := &v.messages[i]; m.flow.copy {
			m.raw = true
		}
	}
}

// lossTolerance is how many bytes of payload, and a fiftieth, one capture may
// have more of a conversation than another before that one is in doubt: a packet
// can be lost between the two places. A whole conversation is not lost.
const lossTolerance = 600

// disagreements says what one packet capture recorded of the observation's
// stretch and another, which should have seen it too, did not.
func (v *view) disagreements(o *Observation) []string {
	// Only while all of them recorded can they be compared.
	from, to := o.Window.Open, o.Window.Close
	slack, inside := map[string]time.Duration{}, map[string]bool{}
	var names []string
	for _, t := range o.evidence.Traces {
		// What is recorded inside a tunnel has other ends than on the wire.
		if o.evidence.Packets[t.Backend] == nil || t.Inside {
			inside[t.Backend] = t.Inside
			continue
		}
		names = append(names, t.Backend)
		slack[t.Backend] = burstSlack + o.uncertainty()
		if t.Clock != nil {
			slack[t.Backend] = burstSlack + t.Clock.Uncertainty
		}
		if t.Start.After(from) {
			from = t.Start
		}
		if !t.End.IsZero() && t.End.Before(to) {
			to = t.End
		}
	}
	if len(names) < 2 || !to.After(from) {
		return nil
	}
	type recorded struct {
		least, most int64
		host        string
	}
	lines := map[line]map[string]recorded{}
	for _, list := range [][]flow{v.flows, v.copies} {
		for i := range list {
			f := &list[i]
			if !f.packets || inside[f.Backend] || f.local || f.adb || !f.Server.IsValid() || f.Server.Addr().IsLoopback() || f.Proto != capture.TCP && f.Proto != capture.UDP {
				continue
			}
			s := 2 * slack[f.Backend]
			_, least := f.datedWithin(from.Add(s), to.Add(-s))
			_, most := f.sentWithin(from.Add(-s), to.Add(s))
			if lines[lineOf(f.Flow)] == nil {
				lines[lineOf(f.Flow)] = map[string]recorded{}
			}
			r := lines[lineOf(f.Flow)][f.Backend]
			lines[lineOf(f.Flow)][f.Backend] = recorded{r.least + least, r.most + most, f.host}
		}
	}
	missing := map[string]int64{}
	for _, by := range lines {
		for a, has := range by {
			for _, b := range names {
				lacks, tolerance := by[b], has.least/50+lossTolerance
				if lacks.most == 0 {
					tolerance = 0
				}
				if a != b && has.least > lacks.most+tolerance {
					missing[fmt.Sprintf("%s and %s disagree: to %s the one recorded %d bytes and the other %d", a, b, has.host, has.least, lacks.most)]++
				}
			}
		}
	}
	out := keysOf(missing)
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more such conversations", len(out)-5))
	}
	return out
}

// uncertainty is how well the phone's clock is known.
func (o *Observation) uncertainty() time.Duration {
	var worst time.Duration
	for _, c := range []*Clock{o.ClockBefore, o.ClockAfter} {
		if c == nil {
			return clockLimit
		}
		worst = max(worst, c.Uncertainty)
	}
	return worst
}
