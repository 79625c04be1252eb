package harness

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/collector"
)

// JudgeTrial judges every observation of a trial and then the trial itself,
// and writes both into it.
func JudgeTrial(t *Trial, list *collector.List) {
	planned := len(t.Observations)
	t.Observations = slices.DeleteFunc(t.Observations, func(o *Observation) bool { return o == nil })
	missing := planned - len(t.Observations)
	v := newView(t.Observations, list)
	for _, o := range t.Observations {
		f := v.judge(o)
		o.Finding = &f
	}
	t.Finding = v.trial(t, missing)
	t.Finding.Links, t.Finding.Keyed = v.links(), v.keyed
}

// trial judges the trial as a whole; missing is how many of its observations
// are lost.
func (v *view) trial(t *Trial, missing int) TrialFinding {
	f := TrialFinding{Format: 1, Claim: t.Finding.Claim}
	by := map[Part][]*Observation{}
	var on, off []*Observation
	for _, o := range t.Observations {
		by[o.Part] = append(by[o.Part], o)
		if o.Part == Pair && o.Arm == On {
			on = append(on, o)
		}
		if o.Part == Pair && o.Arm == Off {
			off = append(off, o)
		}
	}
	positive := slices.Concat(by[Calibration], on, by[Closing])
	var lag time.Duration
	for _, o := range positive {
		lag = max(lag, longestLag(*o.Finding))
	}
	// A window shorter than three times the longest lag counts for nothing but
	// what leaked in it.
	long := slices.DeleteFunc(slices.Clone(off), func(o *Observation) bool { return o.Window.Wanted < 3*lag })
	f.Pairs = min(len(on), len(long))

	var leaks []Sighting
	for _, o := range t.Observations {
		if o.Arm != Off {
			continue
		}
		leaks = append(leaks, o.Finding.Sightings...)
	}
	if len(leaks) > 0 {
		f.Outcome = Continues
		for _, s := range leaks {
			f.Grade = max(f.Grade, s.Grade)
		}
		f.Because = append(f.Because, fmt.Sprintf("with the switch off, data was still transmitted: %d of %d OFF windows", countCollected(off), len(off)))
		f.Because = append(f.Because, summarise(leaks)...)
		return f
	}
	var doubts []string
	doubt := func(format string, args ...any) { doubts = append(doubts, fmt.Sprintf(format, args...)) }
	if missing > 0 || len(by[Calibration]) == 0 || len(on) == 0 || len(off) == 0 || len(on) != len(off) || len(by[Closing]) == 0 || len(by[Quiet]) == 0 {
		doubt("the trial was not run to its end: %s", partsRun(t))
	}
	doubts = append(doubts, v.unlike(t)...)
	for _, o := range slices.Concat(off, by[Quiet]) {
		if o.Finding.baseline {
			// The negative control explains only what it shows; what it cannot
			// explain is held against the OFF windows already.
			continue
		}
		if o.Finding.Verdict != NotCollected {
			for _, b := range o.Finding.Because {
				doubt("%s: %s", o.ID, b)
			}
		}
	}
	collected := 0
	for _, o := range positive {
		if len(o.Acts) == 0 {
			doubt("%s: the moment of its act was not recorded, so nobody knows how long its report took", o.ID)
		}
		switch o.Finding.Verdict {
		case Collected:
			collected++
		case Inconclusive:
			for _, b := range o.Finding.Because {
				doubt("%s: %s", o.ID, b)
			}
		case NotCollected:
		}
	}
	if len(off) > 0 && len(long) == 0 {
		doubt("a window with the switch on showed a lag of %s, so windows of %s are too short", lag.Round(time.Millisecond), t.Window.Round(time.Millisecond))
	}
	for _, d := range []string{v.configDiffers(), v.dependence(off)} {
		if d != "" {
			doubts = append(doubts, d)
		}
	}
	if len(doubts) == 0 && collected == 0 {
		f.Outcome, f.Grade = NeverCollected, NoGrade
		f.Because = []string{"no window collected anything, with the switch on or off; instruments were shown to hear the planted terms where they belong"}
		f.Because = append(f.Because, blindSpots(off[0].Health)...)
		f.Because = append(f.Because, v.probeWords()...)
		f.Because = append(f.Because, besideWords(off)...)
		f.Because = append(f.Because, v.hashWords()...)
		return f
	}
	shown := commonChannels(positive)
	if collected < len(positive) {
		if collected == 0 {
			doubts = append([]string{"there was no positive control: with the switch on nothing was collected either"}, doubts...)
		} else {
			doubts = append([]string{fmt.Sprintf("there was no steady positive control: %d of %d windows with the switch on were collected", collected, len(positive))}, doubts...)
		}
	} else if len(shown) == 0 {
		doubt("the windows with the switch on have no category, recipient and sender in common, so silence in OFF means nothing")
	}
	if len(doubts) > 0 {
		f.Because = head(doubts, 12)
		if f.Contact = contactOnly(t.Finding.Claim, positive, off); f.Contact != "" {
			f.Grade = ContactGrade
			f.Because = append([]string{f.Contact}, f.Because...)
		}
		return f
	}
	f.Outcome = Stops
	f.Grade = CanaryGrade
	for _, o := range positive {
		f.Grade = min(f.Grade, o.Finding.Grade)
	}
	n := float64(f.Pairs)
	f.P = math.Pow(2, -n)
	f.Bound = 1 - math.Pow(0.05, 1/n)
	smoke := ""
	if f.Pairs == 1 {
		smoke = "smoke (one pair): "
	}
	f.Because = []string{
		fmt.Sprintf("%snot observed in %d of %d OFF windows of %s; up to %.0f %% of such windows could still send (p = %.3g)",
			smoke, len(long), len(long), t.Window.Round(time.Millisecond), f.Bound*100, f.P),
		"silence counts for what ON showed, and no more: " + strings.Join(shown, "; "),
	}
	if slices.Contains(t.Instruments, "proxy") {
		f.Because = append(f.Because, "under instrumentation: the phone had a proxy and a certificate of the laboratory; a phone without them was not compared")
	}
	if v.tunnel() != nil {
		f.Because = append(f.Because, "under instrumentation: the phone had a VPN of the laboratory, which an app can notice")
	}
	f.Because = append(f.Because, blindSpots(off[0].Health)...)
	f.Because = append(f.Because, v.probeWords()...)
	f.Because = append(f.Because, besideWords(off)...)
	f.Because = append(f.Because, v.hashWords()...)
	f.Because = append(f.Because, pageWords(allPageBorne(off))...)
	return f
}

// unlike are reasons why the observations of a trial cannot be compared, or are
// not what a trial is made of.
func (v *view) unlike(t *Trial) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if t.Window <= 0 {
		say("the length of the trial's windows is unknown")
	}
	for _, name := range t.Instruments {
		for _, o := range t.Observations {
			if o.evidence == nil || !slices.ContainsFunc(o.evidence.Traces, func(tr capture.Trace) bool { return tr.Backend == name }) {
				say("%s is listed for this phone, and %s holds nothing of it", name, o.ID)
			}
		}
	}
	var mode Mode
	for i, o := range t.Observations {
		switch want := map[Part]Arm{Calibration: On, Closing: On, Quiet: Off, Pair: o.Arm}[o.Part]; {
		case o.Arm != On && o.Arm != Off:
			say("%s: nobody says in which position the switch was to be", o.ID)
		case want != o.Arm:
			say("%s is no part of a trial with the switch %s", o.ID, o.Arm)
		}
		if o.Part != Quiet {
			if mode != ModeUnknown && o.Mode != mode {
				say("%s ran in the mode %q, another in %q", o.ID, o.Mode, mode)
			}
			mode = o.Mode
		}
		if i == 0 {
			continue
		}
		first := t.Observations[0]
		if o.Serial != first.Serial || o.Build != first.Build || o.Scenario != first.Scenario || o.Setting != first.Setting || o.Claim.ID != first.Claim.ID {
			say("%s is of another phone, build, scenario, switch or claim than %s", o.ID, first.ID)
		}
		if o.Before != nil && first.Before != nil {
			if d := first.Before.program().Differs(o.Before.program()); d != "" {
				say("%s and %s are not alike: %s", first.ID, o.ID, d)
			}
		}
		if a, b := blindSpots(first.Health), blindSpots(o.Health); !slices.Equal(a, b) {
			say("%s and %s are not alike: %s, then %s", first.ID, o.ID, orNone(a), orNone(b))
		}
		if a, b := first.ClockBefore, o.ClockBefore; a != nil && b != nil && (a.Offset-b.Offset).Abs() > a.Uncertainty+b.Uncertainty+2*time.Second {
			say("the phone's clock jumped by %s between %s and %s", (b.Offset - a.Offset).Round(time.Millisecond), first.ID, o.ID)
		}
	}
	return out
}

// program is the part of a state that may not differ between the arms.
func (s State) program() State {
	return State{Consent: s.Consent, Account: s.Account, App: s.App, Version: s.Version, SHA256: s.SHA256}
}

// settled is the moment from which a window's length counts.
func (o *Observation) settled() time.Time {
	from := o.Window.Open
	if n := len(o.Acts); n > 0 {
		from = o.Acts[n-1]
	}
	if o.Settled.After(from) {
		return o.Settled
	}
	return from
}

// contactOnly says, where no content could be read, that every window with the
// switch on contacted a party of the claim and none with the switch off did.
func contactOnly(claim Claim, on, off []*Observation) string {
	if len(on) == 0 || len(off) == 0 {
		return ""
	}
	hosts := map[string]int{}
	for _, o := range on {
		here := map[string]bool{}
		for _, c := range o.Finding.Contacts {
			here[c.Host] = here[c.Host] || claim.Party(c.Organisation)
		}
		for h, party := range here {
			if party {
				hosts[h]++
			}
		}
	}
	for _, o := range off {
		if o.Finding.Verdict != NotCollected {
			return ""
		}
	}
	for h, n := range hosts {
		if n == len(on) {
			return fmt.Sprintf("the switch on contacted %s in %d of %d windows, off in 0 of %d; contents unread", h, n, n, len(off))
		}
	}
	return ""
}

func countCollected(all []*Observation) int {
	n := 0
	for _, o := range all {
		if o.Finding.Verdict == Collected {
			n++
		}
	}
	return n
}

func allPageBorne(all []*Observation) []Sighting {
	var out []Sighting
	for _, o := range all {
		out = append(out, o.Finding.PageBorne...)
	}
	return out
}

func partsRun(t *Trial) string {
	var ids []string
	for _, o := range t.Observations {
		ids = append(ids, o.ID)
	}
	if len(ids) == 0 {
		return "no window ran"
	}
	return strings.Join(ids, ", ") + " ran"
}

// commonChannels are category, recipient and sender that every collected
// observation shows.
func commonChannels(all []*Observation) []string {
	type channel struct{ what, sender string }
	var common []channel
	for i, o := range all {
		var here, both []channel
		for _, s := range o.Finding.Sightings {
			what := s.Field
			if what == "" {
				what = s.Term
			}
			if c := (channel{what + " to " + s.Host, s.Sender}); !slices.Contains(here, c) {
				here = append(here, c)
			}
		}
		if i == 0 {
			common = here
			continue
		}
		// A sender that one window does not know is whoever another one names.
		for _, c := range common {
			for _, h := range here {
				switch {
				case c.what != h.what:
					continue
				case c.sender == h.sender || unknownSender(h.sender):
					both = append(both, c)
				case unknownSender(c.sender):
					both = append(both, h)
				default:
					continue
				}
			}
		}
		common = both
	}
	var out []string
	for _, c := range common {
		out = append(out, c.what+" by "+c.sender)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
