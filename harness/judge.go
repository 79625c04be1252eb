package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/collector"
)

// Judge says what can be said of one observation. all are the observations
// that share its evidence, itself included, in the order in which they ran. It
// is pure: the same values give the same finding.
func Judge(o *Observation, all []*Observation, list *collector.List) Finding {
	return newView(all, list).judge(o)
}

// JudgeAlone judges an observation that was made by hand. A lone OFF that
// stayed silent proves nothing: it needs a collected ON of the same scenario,
// phone and build.
func JudgeAlone(o *Observation, on *Observation, list *collector.List) Finding {
	v := newView([]*Observation{o}, list)
	if on != nil && on.evidence != nil {
		v.remember(on.evidence)
	}
	f := v.judge(o)
	if o.Arm != Off || f.Verdict != NotCollected {
		return f
	}
	if reason := proves(on, o); reason != "" {
		f.Verdict, f.Grade = Inconclusive, NoGrade
		f.Because = append([]string{reason}, f.Because...)
	}
	return f
}

// stale is the time between an ON and an OFF observation after which the one says
// nothing any more of what the other could have heard.
const stale = 24 * time.Hour

// proves says why an ON observation is no positive control for an OFF one.
func proves(on, off *Observation) string {
	switch {
	case on == nil:
		return "a lone OFF observation proves nothing: bind it to a collected ON observation with Against"
	case on.Finding == nil || on.Finding.Verdict != Collected || on.Arm != On:
		return "there was no positive control: the ON observation was not collected, so silence in OFF means nothing"
	case on.Setting != off.Setting || on.Claim.ID != off.Claim.ID:
		return "the ON observation is of another switch or claim"
	case len(on.Acts) == 0 || off.Window.Wanted <= 0:
		return "the moment of the act in ON or the length of the OFF window is unknown, so nobody knows whether it was long enough"
	case on.Scenario != off.Scenario || on.Serial != off.Serial || on.Build != off.Build || on.Mode != off.Mode:
		return "the ON observation is of another scenario, mode, phone or build"
	case on.Before == nil || off.Before == nil || on.Before.Version != off.Before.Version || on.Before.SHA256 != off.Before.SHA256:
		return "the ON observation is of another version of the app"
	case on.Before.program().Differs(off.Before.program()) != "":
		return "the ON observation is of another state of the app: " + on.Before.program().Differs(off.Before.program())
	case off.Window.Open.Sub(on.Window.Close).Abs() > stale:
		return fmt.Sprintf("the ON observation is of another day (%s): what the collector takes, or what the app is told to send, may have changed since", on.Window.Close.Format(time.DateTime))
	case on.Route != off.Route:
		return fmt.Sprintf("the ON observation was operated by another route: %q, and then %q", on.Route, off.Route)
	case !slices.Equal(blindSpots(on.Health), blindSpots(off.Health)):
		return fmt.Sprintf("the ON observation was made under other conditions: %s, and then %s", orNone(blindSpots(on.Health)), orNone(blindSpots(off.Health)))
	case off.Window.Wanted < 3*longestLag(*on.Finding):
		return "the OFF window was shorter than three times the lag that ON showed"
	}
	return ""
}

func (v *view) judge(o *Observation) Finding {
	f := Finding{Accounting: newAccounting()}
	doubts := v.instrumentDoubts(o)
	sightings, pageBorne := v.sightings(o)
	f.PageBorne = pageBorne
	v.account(o, &f, &doubts)
	f.Sightings, f.Sound = sightings, len(doubts) == 0

	if len(sightings) > 0 {
		if reason := unproven(o); reason != "" {
			f.Unproven, f.Sightings = sightings, nil
			f.Because = append([]string{"collected, but the setting is unproven, so it counts in neither arm: " + reason}, doubts...)
			for _, s := range sightings {
				f.Because = append(f.Because, s.words())
			}
			return f
		}
		f.Verdict = Collected
		for _, s := range sightings {
			f.Grade = max(f.Grade, s.Grade)
			if s.Field != "" && !slices.Contains(f.Categories, s.Field) {
				f.Categories = append(f.Categories, s.Field)
			}
		}
		f.Because = summarise(sightings)
		f.Because = append(f.Because, pageWords(pageBorne)...)
		return f
	}
	if reason := unproven(o); reason != "" {
		doubts = append([]string{reason}, doubts...)
	}
	doubts = append(doubts, v.strays(o)...)
	doubts = append(doubts, v.trafficDoubts(o, &f)...)
	doubts = append(doubts, v.hashDoubts(o, len(doubts) == 0)...)
	beyond := v.beyondControl(o)
	f.baseline = o.Part == Quiet && len(doubts) == 0 && len(beyond) > 0
	if len(beyond) > 0 {
		doubts = append(doubts, "readable values that no rule explains, beyond what the negative control shows: "+strings.Join(head(beyond, 5), "; "))
	}
	if len(doubts) > 0 {
		if len(f.Contacts) > 0 {
			f.Grade = ContactGrade
		}
		f.Because = doubts
		return f
	}
	f.Verdict = NotCollected
	f.Because = append([]string{"nothing that was planted, no identifier of the phone and no telemetry event left in this window, and every byte in scope is accounted for"}, pageWords(pageBorne)...)
	f.Because = append(f.Because, f.Accounting.Beside.words()...)
	f.Because = append(f.Because, v.hashWords()...)
	return f
}

// unproven says why the setting of an observation is not certain, or nothing.
func unproven(o *Observation) string {
	switch {
	case o.Arm != On && o.Arm != Off:
		return "nobody says in which position the switch was to be"
	case o.Before == nil:
		return "the setting was not read before the window"
	case o.After == nil:
		return "the setting was not read back after the window"
	case o.Before.Arm != o.Arm:
		return fmt.Sprintf("the switch was to be %s and read %s before the window", o.Arm, word(o.Before.Arm))
	}
	if reason := beyondClaim(o); reason != "" {
		return reason
	}
	if d := o.Before.Differs(*o.After); d != "" {
		return "the setting changed inside the window: " + d
	}
	return ""
}

// beyondClaim says why an observation's mode is not one of which the claim
// speaks: what is sent in another one breaks no promise.
func beyondClaim(o *Observation) string {
	switch {
	case o.Claim.Covers(o.Mode):
		return ""
	case o.Mode != ModeUnknown:
		return fmt.Sprintf("the claim %s does not speak of the mode %s", o.Claim.ID, o.Mode)
	case o.Part != Quiet:
		return fmt.Sprintf("the claim %s speaks of certain modes, and nobody read in which mode this was", o.Claim.ID)
	}
	return ""
}

func word(a Arm) string {
	if a == ArmUnknown {
		return "unknown"
	}
	return string(a)
}

// instrumentDoubts are reasons why silence would mean nothing: a window that
// broke, a read-back that failed, an instrument that was not whole, a planted
// term that was not heard where it belongs.
func (v *view) instrumentDoubts(o *Observation) []string {
	doubts := slices.Clone(o.Broken)
	if o.Err != "" && len(o.Broken) == 0 {
		doubts = append(doubts, o.Err)
	}
	for _, s := range o.Steps {
		if s.Err != "" {
			doubts = append(doubts, fmt.Sprintf("step %q: %s", s.Name, s.Err))
		}
	}
	doubts = append(doubts, windowDoubts(o)...)
	for _, r := range o.ReadBacks {
		if !r.OK {
			doubts = append(doubts, fmt.Sprintf("%s: wanted %q, the phone showed %q", r.What, r.Want, r.Got))
		}
	}
	if off, err := v.sdkDisabled(o); off {
		doubts = append(doubts, err)
	}
	if len(o.ClaimUIDs) == 0 && len(o.Claim.Scope.Apps) > 0 {
		doubts = append(doubts, "nobody read which user id the claim's apps have, so theirs cannot be told from others' traffic")
	}
	doubts = append(doubts, clockDoubts(o)...)
	if o.evidence == nil || len(o.evidence.Traces) == 0 {
		return append(doubts, "nothing was recorded")
	}
	if o.evidence != v.all[0].evidence {
		doubts = append(doubts, "it was recorded apart from the windows with which it is judged")
	}
	doubts = append(doubts, o.evidence.Notes...)
	recorded := map[string]bool{}
	for _, t := range o.evidence.Traces {
		recorded[t.Backend] = true
		doubts = append(doubts, traceDoubts(o, t)...)
	}
	for backend := range o.Beacons {
		if !recorded[backend] {
			doubts = append(doubts, backend+": it ran, and nothing of it was kept")
		}
	}
	doubts = append(doubts, v.recordDoubts(o)...)
	doubts = append(doubts, v.disagreements(o)...)
	for i := range v.flows {
		f := &v.flows[i]
		if n := missing(o, f); n > 0 {
			doubts = append(doubts, fmt.Sprintf("%s misses %d bytes of a conversation with %s", f.Backend, n, f.host))
		}
	}
	if len(v.shams) > 0 {
		doubts = append(doubts, "a term that nobody typed was seen too, so sightings in that disguise prove nothing: "+strings.Join(keys(v.shams), ", "))
	}
	probe, _ := v.spikeDoubts()
	return append(append(doubts, probe...), v.controlDoubts(o)...)
}

// windowDoubts are reasons why a window was no window.
func windowDoubts(o *Observation) []string {
	if !o.Completed() || o.Window.Close.Before(o.Window.Open) {
		return []string{"the window was not completed"}
	}
	if slices.ContainsFunc(o.Acts, func(act time.Time) bool { return !o.Window.Holds(act) }) {
		return []string{"an act lies outside the window"}
	}
	if len(o.Acts) == 0 && len(o.Canaries) > 0 {
		return []string{"a term was planted, and the moment was not recorded, so nobody knows how long its report may take"}
	}
	if got := o.Window.Close.Sub(o.settled()); got < o.Window.Wanted {
		return []string{fmt.Sprintf("the window was cut short: it was to last %s and lasted %s", o.Window.Wanted, got.Round(time.Millisecond))}
	}
	return nil
}

// missing is how many bytes of a conversation may have been sent in an observation
// and are not recorded.
func missing(o *Observation, f *flow) int64 {
	n, anywhen := int64(0), f.SkippedBytes
	for _, h := range f.Holes {
		anywhen -= h.Bytes
		if overlaps(o, h.From, h.To) {
			n += h.Bytes
		}
	}
	if anywhen > 0 && overlaps(o, f.Start, f.End) {
		n += anywhen
	}
	return n
}

// recordDoubts are records that contradict themselves, so that nothing can be
// reckoned from them.
func (v *view) recordDoubts(o *Observation) []string {
	var out []string
	skipped := map[string]int64{}
	for _, list := range [][]flow{v.flows, v.copies} {
		for i := range list {
			skipped[list[i].Backend] += list[i].SkippedBytes
		}
	}
	for _, t := range o.evidence.Traces {
		if n := t.Health.SkippedBytes - skipped[t.Backend]; n > 0 {
			out = append(out, fmt.Sprintf("%s: it misses %d bytes, and nobody knows of which conversation", t.Backend, n))
		}
	}
	for i := range v.flows {
		if f := &v.flows[i]; f.twice && overlaps(o, f.Start, f.End) {
			out = append(out, fmt.Sprintf("%s: two conversations have the number %s, so nobody knows which one carried what", f.Backend, f.ID))
		}
		if f := &v.flows[i]; f.odd && overlaps(o, f.Start, f.End) {
			out = append(out, fmt.Sprintf("%s: the number of bytes that it gives for %s cannot be", f.Backend, f.host))
		}
	}
	for i := range v.messages {
		if m := &v.messages[i]; m.lost && overlaps(o, m.from, m.to) {
			out = append(out, fmt.Sprintf("%s: what was sent to %s belongs to no recorded conversation", m.flow.Backend, m.host))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clockLimit is how uncertain a measured clock may be: beyond it nobody can say
// what lies in which window.
const clockLimit = 5 * time.Second

func clockDoubts(o *Observation) []string {
	switch {
	case o.ClockBefore == nil || o.ClockAfter == nil:
		return []string{"the phone's clock could not be measured at both ends of the window"}
	case max(o.ClockBefore.Uncertainty, o.ClockAfter.Uncertainty) > clockLimit || min(o.ClockBefore.Uncertainty, o.ClockAfter.Uncertainty) < 0:
		return []string{"the phone's clock could not be measured well enough to say what lies in the window"}
	case (o.ClockBefore.Offset - o.ClockAfter.Offset).Abs() > o.ClockBefore.Uncertainty+o.ClockAfter.Uncertainty+500*time.Millisecond:
		return []string{fmt.Sprintf("the phone's clock jumped by %s inside the window", (o.ClockAfter.Offset - o.ClockBefore.Offset).Round(time.Millisecond))}
	}
	return nil
}

// overlaps says whether a stretch touches the observation's.
func overlaps(o *Observation, from, to time.Time) bool {
	a, b := o.span()
	return !a.IsZero() && !to.Before(a) && !from.After(b)
}

func traceDoubts(o *Observation, t capture.Trace) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, t.Backend+": "+fmt.Sprintf(format, args...)) }
	h := t.Health
	_, end := o.span()
	switch {
	case !h.Died.IsZero() && h.Died.Before(end):
		say("recording died at %s, before the window was over", clockTime(h.Died))
	case h.Died.IsZero() && h.Truncated:
		say("the recording is cut short, and nobody knows where")
	}
	if !t.Start.IsZero() && t.Start.After(o.Window.Open) {
		say("recording began at %s, after the window opened", clockTime(t.Start))
	}
	if h.Died.IsZero() && !t.End.IsZero() && t.End.Before(end) {
		say("recording ended at %s, before the window was over", clockTime(t.End))
	}
	if t.Packets != "" && o.evidence.Packets[t.Backend] == nil {
		say("its packets were recorded, and could not be read")
	}
	if c := t.Clock; c != nil && (c.Uncertainty > clockLimit || c.Uncertainty < 0) {
		say("its clock could not be measured well enough to say what lies in the window")
	}
	for _, l := range h.Losses {
		if overlaps(o, l.From, l.To) {
			say("%s, at some time from %s to %s", l, clockTime(l.From), clockTime(l.To))
		}
	}
	if n := h.Unplaced(); n != 0 {
		say("%s, nobody knows when", capture.Loss{Packets: n, Why: "dropped"})
	}
	if h.Dropped == nil && t.Packets != "" {
		say("it did not say how many packets it dropped")
	}
	for _, p := range h.Problems {
		say("%s", p)
	}
	marks := slices.DeleteFunc(slices.Clone(o.Beacons[t.Backend]), func(b capture.Beacon) bool {
		return b.Sent.IsZero() || b.Seen.Before(b.Sent)
	})
	slices.SortFunc(marks, func(a, b capture.Beacon) int { return a.Sent.Compare(b.Sent) })
	if len(marks) < 2 || marks[0].Sent.After(o.Window.Open) || marks[len(marks)-1].Sent.Before(o.Window.Close) {
		say("it did not recognise its beacons at both ends of the window")
		return out
	}
	for i := 1; i < len(marks); i++ {
		if gap := marks[i].Sent.Sub(marks[i-1].Sent); gap > 3*o.BeaconPeriod+beaconLimit {
			say("no beacon was recognised for %s", gap.Round(time.Second))
		}
	}
	return out
}

// sdkDisabled says whether a remote configuration that arrived in the window,
// or the last one before it, turned the SDK off, which would make silence the
// server's doing.
func (v *view) sdkDisabled(o *Observation) (bool, string) {
	from, to := o.span()
	last := map[string]bool{}
	for i := range v.messages {
		m := &v.messages[i]
		off, ok := sensorsConfig(m)
		if !ok || m.from.After(to) {
			continue
		}
		place := m.host + m.path
		last[place] = off || (last[place] && !m.from.Before(from))
	}
	for place, off := range last {
		if off {
			return true, "the collector's remote configuration at " + place + " turned the SDK off"
		}
	}
	return false, ""
}

// trafficDoubts are reasons that lie in what left the phone.
func (v *view) trafficDoubts(o *Observation, f *Finding) []string {
	var out []string
	if n := len(f.Contacts); n > 0 {
		parties := map[string]bool{}
		var bytes int64
		for _, c := range f.Contacts {
			name := c.Host
			if c.Organisation != "" {
				name += " (" + c.Organisation + ")"
			}
			if c.Past != "" {
				name += ", past the proxy by " + c.Past
			}
			if c.Failure != "" {
				name += ", failed: " + c.Failure
			}
			parties[name] = true
			bytes += c.Bytes
		}
		out = append(out, fmt.Sprintf("contact: %d conversations or attempts whose content was not read, %d bytes, with %s", n, bytes, strings.Join(keys(parties), "; ")))
	}
	acc := f.Accounting
	for _, c := range []Class{ClassOpaquePayload, ClassOpaqueTransport, ClassUnexplained} {
		if n := acc.InScope[c]; n > 0 {
			out = append(out, fmt.Sprintf("%d bytes are %s: %s", n, c, sortedBytes(acc.To[c])))
		}
	}
	if dep := v.dependence([]*Observation{o}); dep != "" {
		out = append(out, dep)
	}
	return out
}

func head(s []string, n int) []string {
	if len(s) <= n {
		return s
	}
	return append(slices.Clone(s[:n]), fmt.Sprintf("and %d more", len(s)-n))
}

func keys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
