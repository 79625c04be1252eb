package harness

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/spikes"
)

// A Recovery is what became of one spike.
type Recovery struct {
	Kind spikes.Kind `json:"kind"`
	// State is what the lab's page said of it; empty where it was not sent.
	State spikes.State `json:"state,omitempty"`
	// By are the backends in whose recording it was found, and Missing those that
	// had to have it and have not.
	By      []string `json:"by,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// recoveries looks for each spike in what was recorded.
func (v *view) recoveries(p *Probe) []Recovery {
	var terms []canary.Canary
	list := spikes.Make(p.Run)
	for _, s := range list {
		if s.Kind.Body() {
			terms = append(terms, s.Term)
		}
	}
	by := v.searchSpikes(p, canary.NewFinder(terms))
	var out []Recovery
	for _, s := range list {
		r := Recovery{Kind: s.Kind, State: p.States[s.Kind]}
		switch s.Kind {
		case spikes.UDP, spikes.UDP6:
			r.By, r.Missing = v.datagrams(p, s.Kind)
		case spikes.Plain, spikes.Packed, spikes.IPv6:
			r.By = keys(by[s.Term.ID])
		}
		out = append(out, r)
	}
	return out
}

// searchSpikes returns the backends in whose messages to the lab each whole term
// was read, by the terms' IDs.
func (v *view) searchSpikes(p *Probe, finder *canary.Finder) map[string]map[string]bool {
	hosts := []string{p.Lab.V4.String(), p.Lab.V6.String()}
	if u, err := url.Parse(p.Lab.Page); err == nil {
		hosts = append(hosts, strings.ToLower(u.Hostname()))
	}
	by := map[string]map[string]bool{}
	for i := range v.messages {
		m := &v.messages[i]
		if m.ex == nil || m.raw || !slices.Contains(hosts, m.host) {
			continue
		}
		for _, h := range finder.Find(m.parts) {
			if !h.Whole() || h.Where != "body" {
				continue
			}
			if by[h.Canary.ID] == nil {
				by[h.Canary.ID] = map[string]bool{}
			}
			by[h.Canary.ID][m.flow.Backend] = true
		}
	}
	return by
}

// datagrams says which packet captures have the lab's datagrams, and which not.
func (v *view) datagrams(p *Probe, k spikes.Kind) (by, missing []string) {
	to := p.Lab.V4
	if k == spikes.UDP6 {
		to = p.Lab.V6
	}
	for _, t := range v.all[0].evidence.Traces {
		if t.Packets == "" {
			continue
		}
		seen := false
		for _, list := range [][]flow{v.flows, v.copies} {
			for i := range list {
				f := &list[i]
				seen = seen || (f.packets && f.Backend == t.Backend && f.Proto == capture.UDP && f.Server.Port() == spikes.Port &&
					f.Server.Addr().Unmap() == to && f.BytesUp > 0 && !f.End.Before(p.Start))
			}
		}
		if seen {
			by = append(by, t.Backend)
		} else {
			missing = append(missing, t.Backend)
		}
	}
	return by, missing
}

// spikeDoubts are reasons of the probe why silence means nothing, and notes about
// ways that could not be tried.
func (v *view) spikeDoubts() (doubts, notes []string) {
	if len(v.all) == 0 || v.all[0].evidence == nil || v.all[0].evidence.Probe == nil {
		return nil, nil
	}
	p := v.all[0].evidence.Probe
	if p.Err != "" {
		doubts = append(doubts, "the lab's page did not do its work, so the instruments were not asked for known bodies: "+p.Err)
	}
	if p.Untried != "" {
		return doubts, []string{"the instruments were not asked for known bodies: " + p.Untried}
	}
	var found []string
	for _, r := range v.recoveries(p) {
		words := r.Kind.Words()
		required := r.Kind == spikes.Plain || r.Kind == spikes.Packed
		switch {
		case len(r.By) > 0 && len(r.Missing) == 0:
			found = append(found, words)
		case r.State == spikes.Arrived && len(r.By) == 0:
			doubts = append(doubts, fmt.Sprintf("%s that the lab's page sent arrived there and is in no recording, so what the app sends in this way would not be seen either", words))
		case len(r.By) > 0:
			doubts = append(doubts, fmt.Sprintf("%s has no trace of %s that the lab's page sent, and %s has: it does not record everything", strings.Join(r.Missing, ", "), words, strings.Join(r.By, ", ")))
		case required && p.Err == "":
			doubts = append(doubts, fmt.Sprintf("%s that the lab's page was to send did not arrive there and is in no recording, so the instruments were not asked for one", words))
		case r.State == spikes.Waiting:
			notes = append(notes, words+" had no answer: it may have left, and is in no recording")
		case r.State == spikes.Failed:
			notes = append(notes, words+" could not be tried: the phone did not reach the lab in this way")
		default:
			notes = append(notes, words+" was not tried: the lab's page did not send one")
		}
	}
	if len(found) > 0 {
		notes = append([]string{"known bodies that the browser sent to the lab were recovered from the recordings: " + strings.Join(found, ", ")}, notes...)
	}
	return doubts, notes
}

// floor is the size of the smallest packet that a capture could not have missed
// without the phone's counters showing it, by the probe's packets of known sizes:
// from it on, all of them would have been missed visibly. nil is unknown, and 0
// none of the sizes.
func (v *view) floor() *int64 {
	if len(v.all) == 0 || v.all[0].evidence == nil || v.all[0].evidence.Probe == nil || len(v.all[0].evidence.Probe.Pings) == 0 {
		return nil
	}
	pings := slices.Clone(v.all[0].evidence.Probe.Pings)
	slices.SortFunc(pings, func(a, b SizedPing) int { return int(b.Bytes - a.Bytes) })
	var least int64
	by, of := anyInterface, anyFlow
	if t := v.tunnel(); t != nil {
		by, of = t.is, t.took
	}
	for _, p := range pings {
		counted, ok := grown(p.Before.Sent, p.After.Sent, by)
		_, most := v.captured(p.Before, p.After, of)
		if !ok || most < p.Bytes {
			return nil // The capture did not have it, or nobody counted.
		}
		if counted <= most-p.Bytes {
			break
		}
		least = p.Bytes
	}
	return &least
}

// grown is by how much the counters of some interfaces grew between two readings;
// not ok where they cannot be compared.
func grown(before, after map[string]int64, by func(name string) bool) (int64, bool) {
	var sum int64
	for name, n := range after {
		was := before[name] // An interface that came up meanwhile sent all it has.
		if !by(name) {
			continue
		}
		if n < was {
			return 0, false
		}
		sum += n - was
	}
	for name := range before {
		if _, ok := after[name]; !ok && by(name) {
			return 0, false
		}
	}
	return sum, len(after) > 0
}

// captured is how many bytes the packet captures have between two readings of the
// counters, at least and at most: those near a reading may lie on either side.
func (v *view) captured(before, after Counters, of func(*flow) bool) (least, most int64) {
	for i := range v.flows {
		f := &v.flows[i]
		if !f.packets || !of(f) {
			continue
		}
		slack := burstSlack + v.stamps[f.Backend]
		n, _ := f.datedWithin(before.To.Add(slack), after.From.Add(-slack))
		least += n
		n, _ = f.sentWithin(before.From.Add(-slack), after.To.Add(slack))
		most += n
	}
	return least, most
}

// floorWords says what the floor is, empty where it is unknown.
func floorWords(floor *int64) string {
	switch {
	case floor == nil:
		return ""
	case *floor == 0:
		return fmt.Sprintf("not even a packet of %d bytes that the capture missed would have shown in the phone's counters", pingSizes()[len(pingSizes())-1]+28)
	}
	return fmt.Sprintf("a packet of %d bytes or more that the capture missed would have shown in the phone's counters (measured before the first window with packets of known sizes)", *floor)
}

// probeWords are what the probe showed, for a finding of silence.
func (v *view) probeWords() []string {
	_, notes := v.spikeDoubts()
	if len(v.all) > 0 && v.all[0].evidence != nil && v.all[0].evidence.Probe == nil {
		notes = append(notes, "the instruments were not tried with known bodies: the bench has no lab, or the app opens no pages")
	}
	return notes
}
