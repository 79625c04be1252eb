// Package expect is for saying in a spec what a phone should have sent: Gomega
// matchers over observations and trials.
//
//	Expect(trial).To(StopCollecting())
//	Expect(on).To(BeCollected("search words"))
//	Expect(off).NotTo(BeCollected())
//
// An inconclusive finding satisfies neither To nor NotTo: Match returns an
// error that says what was missing. Messages are headed "Collected:", "Not
// collected:" or "Inconclusive:".
package expect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"github.com/offproof/offproof/harness"
)

// matcher is a GomegaMatcher over one kind of finding.
type matcher struct {
	wants string
	match func(actual any) (ok bool, message string, err error)

	message string
}

var _ types.GomegaMatcher = (*matcher)(nil)

func (m *matcher) Match(actual any) (bool, error) {
	ok, message, err := m.match(actual)
	m.message = message
	return ok, err
}

func (m *matcher) FailureMessage(any) string {
	return m.message + "\nwanted: " + m.wants
}

func (m *matcher) NegatedFailureMessage(any) string {
	return m.message + "\nwanted: not " + m.wants
}

// BeCollected succeeds for an observation in which data was collected, and,
// where categories are named, all of them (such as "search words").
func BeCollected(categories ...string) types.GomegaMatcher {
	wants := "to be collected"
	if len(categories) > 0 {
		wants += ": " + strings.Join(categories, ", ")
	}
	return &matcher{wants: wants, match: func(actual any) (bool, string, error) {
		o, err := observation(actual)
		if err != nil {
			return false, "", err
		}
		message := describe(o.Finding.Heading(), o.Scenario+", "+o.ID, o.Finding.Because)
		switch o.Finding.Verdict {
		case harness.Inconclusive:
			return false, message, errors.New(message)
		case harness.Collected:
			for _, c := range categories {
				if !slices.Contains(o.Finding.Categories, c) {
					return false, message, nil
				}
			}
			return true, message, nil
		case harness.NotCollected:
			return false, message, nil
		}
		return false, message, errors.New(message)
	}}
}

// An Option changes what StopCollecting asks for.
type Option func(*options)

type options struct{ grade harness.Grade }

// AtLeast accepts weaker evidence. Only harness.ContactGrade is weaker than
// what StopCollecting asks for by itself: contacts with a party stop, and
// their contents were never read.
func AtLeast(g harness.Grade) Option {
	return func(o *options) { o.grade = g }
}

// StopCollecting succeeds for a trial in which collection was shown with the
// switch on and stops with the switch off. A trial without a positive control
// is inconclusive.
func StopCollecting(opts ...Option) types.GomegaMatcher {
	want := options{grade: harness.EventGrade}
	for _, o := range opts {
		o(&want)
	}
	return &matcher{wants: "collection to stop when the switch is off", match: func(actual any) (bool, string, error) {
		t, err := trial(actual)
		if err != nil {
			return false, "", err
		}
		message := message(t)
		switch t.Finding.Outcome {
		case harness.Stops:
			return t.Finding.Grade >= want.grade, message, nil
		case harness.Continues:
			return false, message, nil
		case harness.NeverCollected:
			return false, message, errors.New(describe("Inconclusive:", title(t), append(
				[]string{"there was no positive control: with the switch on nothing was collected either"}, t.Finding.Because...)))
		case harness.OutcomeInconclusive:
			if want.grade == harness.ContactGrade && t.Finding.Contact != "" {
				return true, message, nil
			}
		}
		return false, message, errors.New(message)
	}}
}

// NeverCollect succeeds for a trial in which neither arm collected anything.
func NeverCollect() types.GomegaMatcher {
	return outcomes("nothing to be collected, with the switch on or off", harness.NeverCollected)
}

// CollectNothingWhenOff succeeds for a trial in which the switch off means no
// collection, whether or not the switch on means some.
func CollectNothingWhenOff() types.GomegaMatcher {
	return outcomes("nothing to be collected when the switch is off", harness.Stops, harness.NeverCollected)
}

func outcomes(wants string, good ...harness.Outcome) types.GomegaMatcher {
	return &matcher{wants: wants, match: func(actual any) (bool, string, error) {
		t, err := trial(actual)
		if err != nil {
			return false, "", err
		}
		m := message(t)
		if t.Finding.Outcome == harness.OutcomeInconclusive {
			return false, m, errors.New(m)
		}
		return slices.Contains(good, t.Finding.Outcome), m, nil
	}}
}

// BeComplete succeeds when every instrument was whole and every window ran to
// its end, whatever was found.
func BeComplete() types.GomegaMatcher {
	return &matcher{wants: "to be complete", match: func(actual any) (bool, string, error) {
		if t, err := trial(actual); err == nil {
			var missing []string
			for _, o := range t.Observations {
				missing = append(missing, incomplete(*o)...)
			}
			return len(missing) == 0 && len(t.Observations) > 0, describe("Inconclusive:", title(t), missing), nil
		}
		o, err := observation(actual)
		if err != nil {
			return false, "", err
		}
		missing := incomplete(o)
		return len(missing) == 0, describe("Inconclusive:", o.Scenario+", "+o.ID, missing), nil
	}}
}

func incomplete(o harness.Observation) []string {
	var out []string
	if !o.Completed() {
		out = append(out, o.ID+": the window was not completed")
	}
	if o.Finding != nil && !o.Finding.Sound {
		for _, b := range o.Finding.Because {
			out = append(out, o.ID+": "+b)
		}
	}
	return out
}

func observation(actual any) (harness.Observation, error) {
	var o harness.Observation
	switch x := actual.(type) {
	case harness.Observation:
		o = x
	case *harness.Observation:
		if x == nil {
			return o, errors.New("expected an observation, got a nil *harness.Observation")
		}
		o = *x
	default:
		return o, fmt.Errorf("expected a harness.Observation, got %T", actual)
	}
	if o.Finding == nil {
		return o, errors.New("the observation was never judged")
	}
	return o, nil
}

func trial(actual any) (harness.Trial, error) {
	switch x := actual.(type) {
	case harness.Trial:
		return x, nil
	case *harness.Trial:
		if x == nil {
			return harness.Trial{}, errors.New("expected a trial, got a nil *harness.Trial")
		}
		return *x, nil
	default:
		return harness.Trial{}, fmt.Errorf("expected a harness.Trial, got %T", actual)
	}
}

func message(t harness.Trial) string {
	lines := slices.Clone(t.Finding.Because)
	lines = append(lines, fmt.Sprintf("promise judged: %s (%s)", t.Finding.Claim.Wording, t.Finding.Claim.Source))
	if t.Dir != "" {
		lines = append(lines, "evidence: "+t.Dir)
	}
	return describe(t.Finding.Heading(), title(t), lines)
}

func title(t harness.Trial) string { return t.Scenario + " on " + t.Serial }

func describe(heading, what string, lines []string) string {
	return heading + " " + what + "\n  - " + strings.Join(lines, "\n  - ")
}
