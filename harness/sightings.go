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
			} else {
				s.Lag = o.lag(h.Canary, m.at())
			}
			if s.Grade == CanaryGrade && !h.Whole() {
				s.Form += fmt.Sprintf(" (%d of %d characters)", h.Chars, len(h.Canary.Term))
			}
			key := strings.Join([]string{s.Term, s.Host, s.Exchange, s.Where, s.Path, fmt.Sprint(m.at())}, "\x00")
			if seen[key] {
				continue
			}
			seen[key] = true
			if v.pageBorne(m, h) {
				pageBorne = append(pageBorne, s)
			} else {
				found = append(found, s)
			}
		}
		for _, e := range m.events {
			// A page's script reports for the page: to others than the parties of the
			// claim it shows nothing of the app, and what it hides stays a doubt.
			if !e.Reports() || !v.eventIn(m, e, o) || e.Web && !v.pageSpeaks(m) && !o.Claim.Party(m.ind.Organisation) {
				continue
			}
			s := v.sighting(m, o)
			s.Grade, s.Term = EventGrade, e.SDK+" event "+e.Name
			s.Where, s.Path, s.Form = e.Where, e.Path, "decoded event"
			if !e.Time.IsZero() {
				s.Lag = max(s.Lag, m.at().Sub(o.eventTime(e)))
			}
			if v.pageSpeaks(m) {
				pageBorne = append(pageBorne, s)
			} else {
				found = append(found, s)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Sighting) int { return int(b.Grade) - int(a.Grade) })
	return found, pageBorne
}

// saltsOf are what hashes in these observations may be made with: the claim's
// apps, the phone's identifiers, and every hour and day from the first window to
// the last.
func saltsOf(all []*Observation) []canary.Salt {
	var facts canary.Facts
	for _, o := range all {
		for _, app := range slices.Concat(o.Claim.Scope.Apps, o.Claim.Scope.Delegates) {
			if !slices.Contains(facts.Packages, app) {
				facts.Packages = append(facts.Packages, app)
			}
		}
		for _, id := range o.Identifiers {
			if !id.Sham && !slices.Contains(facts.Devices, id.Term) {
				facts.Devices = append(facts.Devices, id.Term)
			}
		}
		from, to := o.span()
		if !from.IsZero() && (facts.From.IsZero() || from.Before(facts.From)) {
			facts.From = from
		}
		if to.After(facts.To) {
			facts.To = to
		}
	}
	return canary.Salts(facts)
}

// charged says whether a sighting belongs to this observation. A planted term
// belongs to the observation that planted it, however late it turns up.
func (v *view) charged(m *message, c canary.Canary, o *Observation) bool {
	if !strings.HasPrefix(c.ID, identifierPrefix) {
		return slices.ContainsFunc(o.Canaries, func(d canary.Canary) bool { return d.ID == c.ID })
	}
	return v.decides(m, o) && v.sentIn(m, o) && !o.backdated(m)
}

// sentIn says whether a message was sent in an observation's stretch, or after
// it while the switch stayed off until the next one. A request whose end nobody
// saw is charged to where it began.
func (v *view) sentIn(m *message, o *Observation) bool {
	to := m.to
	if m.unsent {
		to = m.from
	}
	if overlaps(o, m.from, to) {
		return true
	}
	if o.Arm != Off || unproven(o) != "" {
		return false
	}
	var next *Observation
	begin, end := o.span()
	for _, x := range v.all {
		if x.Window.Open.After(o.Window.Open) && (next == nil || x.Window.Open.Before(next.Window.Open)) {
			next = x
		}
	}
	if next == nil || next.Arm != Off || unproven(next) != "" {
		return false
	}
	until, _ := next.span()
	return !begin.IsZero() && m.from.After(end) && to.Before(until)
}

// strays are reasons why a sighting that is not charged to an observation
// speaks against silence in it all the same.
func (v *view) strays(o *Observation) []string {
	ours := map[string]bool{}
	for _, x := range v.all {
		for _, c := range x.Canaries {
			ours[c.ID] = true
		}
	}
	reasons := map[string]bool{}
	for i := range v.messages {
		m := &v.messages[i]
		if !overlaps(o, m.from, m.to) {
			continue
		}
		for _, h := range v.judgeHits(m) {
			identifier := strings.HasPrefix(h.Canary.ID, identifierPrefix)
			switch {
			case h.expected || ours[h.Canary.ID] || v.pageBorne(m, h) || v.charged(m, h.Canary, o):
			case !identifier:
				reasons[fmt.Sprintf("%q, planted in an earlier run, was transmitted to %s in this window; it is charged to that run", h.Canary.Term, m.host)] = true
			case v.decides(m, o) && !v.earlier(m, o):
				reasons[fmt.Sprintf("the phone's %s was transmitted to %s, and it is not certain that it was in this window", h.Canary.Field, m.host)] = true
			}
		}
	}
	for i := range v.messages {
		m := &v.messages[i]
		if m.instrument || !v.decides(m, o) || m.ind.Purpose != collector.Collect && benign(m.ind.Purpose) {
			continue
		}
		for _, e := range m.events {
			if e.Reports() && !e.Time.IsZero() && !o.eventTime(e).After(m.to.Add(clockLimit)) && v.placed(m, e, o) == bySome {
				reasons[fmt.Sprintf("the phone's clock changed, so it is not certain whether the %s event %q, which was transmitted to %s, is of this window", e.SDK, e.Name, m.host)] = true
			}
		}
	}
	return keys(reasons)
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
	// What was sent before it happened carries no time that can be believed.
	if e.Time.IsZero() || o.eventTime(e).After(m.to.Add(clockLimit)) {
		return v.sentIn(m, o)
	}
	return v.placed(m, e, o) == byAll
}

// certainty says whether something is so by all, by some or by none of several
// measurements.
type certainty int

const (
	byNone certainty = iota
	bySome
	byAll
)

// placed says whether an event's own time lies in the window, by every
// measurement of the phone's clock from the window's opening until the event was
// sent. A clock that was set or that drifts moves what happened in a later window
// into this one, or out of it.
func (v *view) placed(m *message, e telemetry.Event, o *Observation) certainty {
	if m.to.Before(o.Window.Open) {
		return byNone
	}
	in, out := false, false
	try := func(c *Clock) {
		at := e.Time
		if c != nil && e.Age == 0 {
			at = at.Add(-c.Offset)
		}
		if at.Before(o.opened()) || at.After(lastOf(o)) {
			out = true
		} else {
			in = true
		}
	}
	try(o.ClockBefore)
	for _, x := range v.all {
		if x.Window.Open.Before(o.Window.Open) {
			continue
		}
		if x != o && x.ClockBefore != nil && !x.Window.Open.After(m.to) {
			try(x.ClockBefore)
		}
		if x.ClockAfter != nil && !x.Window.Close.IsZero() && !x.Window.Close.After(m.from) {
			try(x.ClockAfter)
		}
	}
	switch {
	case in && out:
		return bySome
	case in:
		return byAll
	}
	return byNone
}

// opened is the window's beginning as events tell time, in milliseconds.
func (o *Observation) opened() time.Time { return o.Window.Open.Truncate(time.Millisecond) }

func lastOf(o *Observation) time.Time {
	_, end := o.span()
	return end
}

// eventTime is an event's own time on the host's clock.
func (o *Observation) eventTime(e telemetry.Event) time.Time {
	if o.ClockBefore != nil && e.Age == 0 {
		return e.Time.Add(-o.ClockBefore.Offset)
	}
	return e.Time
}

// backdated says whether every record of a message says that it happened before
// this window.
func (o *Observation) backdated(m *message) bool {
	return len(m.events) > 0 && !slices.ContainsFunc(m.events, func(e telemetry.Event) bool {
		return e.Opaque || e.Time.IsZero() || !o.eventTime(e).Before(o.opened())
	})
}

// earlier says whether a message belongs to an earlier window of the same
// trial. A record that claims to be older than all of them has no such window
// to be charged to: its age excuses nothing.
func (v *view) earlier(m *message, o *Observation) bool {
	return o.backdated(m) && !slices.ContainsFunc(m.events, func(e telemetry.Event) bool {
		return !slices.ContainsFunc(v.all, func(x *Observation) bool {
			return !x.Window.Open.IsZero() && !x.eventTime(e).Before(x.opened())
		})
	})
}

// lag is the time from the act that typed a term to a moment. The act is the
// first one after the term was typed last, or was minted; a later act may have
// typed another term. Where a term that is typed twice is reported so late that
// its second typing passes for the cause, the one that is typed once tells.
func (o *Observation) lag(c canary.Canary, at time.Time) time.Duration {
	typed := o.lastTyped(c.ID, at)
	for _, act := range o.Acts {
		if !act.Before(c.Minted) && !act.Before(typed) && !act.After(at) {
			return at.Sub(act)
		}
	}
	return 0
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
