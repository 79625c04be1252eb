package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// identifierPrefix marks canaries that are the phone's own identifiers.
const identifierPrefix = "identifier/"

// sightings returns what is charged to an observation: its own terms wherever
// and whenever they turned up, the phone's identifiers and decoded events in
// its window. What a page told its browser to send is returned apart.
func (v *view) sightings(o *Observation) (found, pageBorne []Sighting) {
	seen := map[string]bool{}
	for i := range v.messages {
		m := &v.messages[i]
		if m.instrument {
			continue
		}
		for _, h := range v.judgeHits(m) {
			if h.expected || !v.charged(m, h.Canary, o) {
				continue
			}
			s := v.sighting(m, o)
			s.Grade, s.Term, s.Field = CanaryGrade, h.Canary.Term, h.Canary.Field
			s.Where, s.Path, s.Form = h.Where, h.Path, h.Form
			if strings.HasPrefix(h.Canary.ID, identifierPrefix) {
				s.Grade, s.Term = IdentifierGrade, h.Canary.Field
			} else if !h.Whole() {
				s.Form += fmt.Sprintf(" (%d of %d characters)", h.Chars, len(h.Canary.Term))
			}
			key := strings.Join([]string{s.Term, s.Host, s.Exchange, s.Where, s.Path, fmt.Sprint(m.at())}, "\x00")
			if seen[key] {
				continue
			}
			seen[key] = true
			if v.pageBorne(m) {
				pageBorne = append(pageBorne, s)
			} else {
				found = append(found, s)
			}
		}
		for _, e := range m.events {
			if e.Opaque || !v.eventIn(m, e, o) {
				continue
			}
			s := v.sighting(m, o)
			s.Grade, s.Term = EventGrade, e.SDK+" event "+e.Name
			s.Where, s.Path, s.Form = e.Where, e.Path, "decoded event"
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b Sighting) int { return int(b.Grade) - int(a.Grade) })
	return found, pageBorne
}

// charged says whether a sighting belongs to this observation. A planted term
// belongs to the observation that planted it, however late it turns up.
func (v *view) charged(m *message, c canary.Canary, o *Observation) bool {
	if !strings.HasPrefix(c.ID, identifierPrefix) {
		return slices.ContainsFunc(o.Canaries, func(d canary.Canary) bool { return d.ID == c.ID })
	}
	return v.decides(m, o) && overlaps(o, m.from, m.to) && !v.earlier(m, o)
}

// decides says whether a message is in the scope of the observation's claim.
func (v *view) decides(m *message, o *Observation) bool {
	return v.inScope(m.flow, o.Claim) || o.Claim.Party(m.ind.Organisation)
}

// eventIn says whether an event of an SDK in scope belongs to the window by
// its own time; a record without one stays in the window in which it was sent.
func (v *view) eventIn(m *message, e telemetry.Event, o *Observation) bool {
	if !v.decides(m, o) || (m.ind.Purpose != collector.Collect && benign(m.ind.Purpose)) {
		return false
	}
	if e.Time.IsZero() {
		return overlaps(o, m.from, m.to)
	}
	return o.eventTime(e).After(o.Window.Open) && !o.eventTime(e).After(lastOf(o)) && !m.to.Before(o.Window.Open)
}

func lastOf(o *Observation) time.Time {
	_, end := o.span()
	return end
}

// eventTime is an event's own time on the host's clock.
func (o *Observation) eventTime(e telemetry.Event) time.Time {
	if o.ClockBefore != nil {
		return e.Time.Add(-o.ClockBefore.Offset)
	}
	return e.Time
}

// earlier says whether every record of a message says that it happened before
// this window: then it belongs to an earlier one.
func (v *view) earlier(m *message, o *Observation) bool {
	if len(m.events) == 0 {
		return false
	}
	for _, e := range m.events {
		if e.Opaque || e.Time.IsZero() || !o.eventTime(e).Before(o.Window.Open) {
			return false
		}
	}
	return true
}

func (v *view) sighting(m *message, o *Observation) Sighting {
	s := Sighting{
		Observation: o.ID, Host: m.host, Organisation: m.ind.Organisation, Purpose: string(m.ind.Purpose), Source: m.ind.Source,
		URL: m.url(), Sender: m.flow.sender.String(), Backend: m.flow.Backend, Flow: m.flow.ID, At: m.at(),
	}
	if m.ex != nil {
		s.Exchange = m.ex.ID
	}
	for _, act := range o.Acts {
		if !act.After(m.at()) {
			s.Lag = m.at().Sub(act)
		}
	}
	return s
}

// words says what was transmitted, to whom, and under which layers.
func (s Sighting) words() string {
	host := s.Host
	if s.Organisation != "" {
		host += " (operated by " + s.Organisation + "; " + s.Source + ")"
	} else {
		host += " (on no list of collectors)"
	}
	what := ""
	switch s.Grade {
	case CanaryGrade:
		what = fmt.Sprintf("%q, planted as %s in %s, was", s.Term, s.Field, s.Observation)
	case IdentifierGrade:
		what = "the phone's " + s.Term + " was"
	case EventGrade, ContactGrade, NoGrade:
		what = s.Term + " was"
	}
	path := s.Path
	if path == "" {
		path = "as it is"
	}
	out := fmt.Sprintf("%s transmitted to %s in the %s: %s", what, host, s.Where, path)
	if s.Form != "plain" && s.Form != "" {
		out += ", form " + s.Form
	}
	if s.Lag > 0 {
		out += fmt.Sprintf(", %s after the act", s.Lag.Round(time.Millisecond))
	}
	return out
}

// summarise puts sightings into at most a handful of sentences, strongest
// first, one for each term, recipient and place.
func summarise(all []Sighting) []string {
	var out []string
	seen := map[string]bool{}
	for _, s := range all {
		key := s.Term + "\x00" + s.Host + "\x00" + s.Where
		if seen[key] {
			continue
		}
		seen[key] = true
		out = append(out, s.words())
	}
	return head(out, 6)
}

func pageWords(all []Sighting) []string {
	hosts := map[string]bool{}
	for _, s := range all {
		hosts[s.Host] = true
	}
	if len(hosts) == 0 {
		return nil
	}
	return []string{"reported apart, because the page that was opened asked for it: the planted words also went to " + strings.Join(keys(hosts), ", ")}
}
