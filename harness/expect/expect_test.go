package expect_test

import (
	"strings"
	"testing"

	"github.com/onsi/gomega/types"

	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/expect"
)

func trial(o harness.Outcome) harness.Trial {
	t := harness.Trial{Scenario: "search", Serial: "R58M", Dir: "runs/x"}
	t.Finding = harness.TrialFinding{Outcome: o, Grade: harness.CanaryGrade, Because: []string{"the reason"}, Claim: harness.Claim{Source: "the maker", Wording: "off stops it"}}
	return t
}

func contactTrial() harness.Trial {
	t := trial(harness.OutcomeInconclusive)
	t.Finding.Contact, t.Finding.Grade = "ON contacted X", harness.ContactGrade
	return t
}

func observation(v harness.Verdict, categories ...string) harness.Observation {
	return harness.Observation{ID: "off-1", Scenario: "search", Finding: &harness.Finding{Verdict: v, Categories: categories, Because: []string{"the reason"}}}
}

// Each matcher under each outcome: whether To passes, whether NotTo passes,
// and what heads the message where it does not.
func TestMatchers(t *testing.T) {
	const collected, not, unclear = "Collected:", "Not collected:", "Inconclusive:"
	for name, c := range map[string]struct {
		matcher       func() types.GomegaMatcher
		actual        any
		to, notTo     bool
		head, negHead string
	}{
		"stop: stops":             {func() types.GomegaMatcher { return expect.StopCollecting() }, trial(harness.Stops), true, false, "", not},
		"stop: continues":         {func() types.GomegaMatcher { return expect.StopCollecting() }, trial(harness.Continues), false, true, collected, ""},
		"stop: never":             {func() types.GomegaMatcher { return expect.StopCollecting() }, trial(harness.NeverCollected), false, false, unclear, unclear},
		"stop: inconclusive":      {func() types.GomegaMatcher { return expect.StopCollecting() }, trial(harness.OutcomeInconclusive), false, false, unclear, unclear},
		"stop: contact":           {func() types.GomegaMatcher { return expect.StopCollecting() }, contactTrial(), false, false, unclear, unclear},
		"stop at contact":         {func() types.GomegaMatcher { return expect.StopCollecting(expect.AtLeast(harness.ContactGrade)) }, contactTrial(), true, false, "", unclear},
		"never: never":            {expect.NeverCollect, trial(harness.NeverCollected), true, false, "", not},
		"never: stops":            {expect.NeverCollect, trial(harness.Stops), false, true, not, ""},
		"never: inconclusive":     {expect.NeverCollect, trial(harness.OutcomeInconclusive), false, false, unclear, unclear},
		"off: stops":              {expect.CollectNothingWhenOff, trial(harness.Stops), true, false, "", not},
		"off: never":              {expect.CollectNothingWhenOff, trial(harness.NeverCollected), true, false, "", not},
		"off: continues":          {expect.CollectNothingWhenOff, trial(harness.Continues), false, true, collected, ""},
		"off: inconclusive":       {expect.CollectNothingWhenOff, trial(harness.OutcomeInconclusive), false, false, unclear, unclear},
		"collected: yes":          {func() types.GomegaMatcher { return expect.BeCollected() }, observation(harness.Collected), true, false, "", collected},
		"collected: no":           {func() types.GomegaMatcher { return expect.BeCollected() }, observation(harness.NotCollected), false, true, not, ""},
		"collected: who knows":    {func() types.GomegaMatcher { return expect.BeCollected() }, observation(harness.Inconclusive), false, false, unclear, unclear},
		"category: seen":          {func() types.GomegaMatcher { return expect.BeCollected("search words") }, observation(harness.Collected, "search words"), true, false, "", collected},
		"category: not seen":      {func() types.GomegaMatcher { return expect.BeCollected("address") }, observation(harness.Collected, "search words"), false, true, collected, ""},
		"a pointer":               {expect.NeverCollect, func() any { x := trial(harness.NeverCollected); return &x }(), true, false, "", not},
		"wrong type":              {func() types.GomegaMatcher { return expect.StopCollecting() }, "trial", false, false, "expected a harness.Trial", "expected a harness.Trial"},
		"observation for a trial": {func() types.GomegaMatcher { return expect.StopCollecting() }, observation(harness.Collected), false, false, "expected a harness.Trial", "expected a harness.Trial"},
		"never judged":            {func() types.GomegaMatcher { return expect.BeCollected() }, harness.Observation{}, false, false, "the observation was never judged", "the observation was never judged"},
		"nil trial":               {expect.NeverCollect, (*harness.Trial)(nil), false, false, "expected a trial, got a nil", "expected a trial, got a nil"},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.matcher()
			ok, err := m.Match(c.actual)
			if to := ok && err == nil; to != c.to {
				t.Errorf("To: %v, want %v (%v)", to, c.to, err)
			}
			if notTo := !ok && err == nil; notTo != c.notTo {
				t.Errorf("NotTo: %v, want %v (%v)", notTo, c.notTo, err)
			}
			message, negated := m.FailureMessage(c.actual), m.NegatedFailureMessage(c.actual)
			if err != nil {
				message, negated = err.Error(), err.Error()
			}
			if !c.to && !strings.HasPrefix(message, c.head) {
				t.Errorf("To says %q, want it headed %q", message, c.head)
			}
			if !c.notTo && !strings.HasPrefix(negated, c.negHead) {
				t.Errorf("NotTo says %q, want it headed %q", negated, c.negHead)
			}
		})
	}
}

func TestMessageNamesReasonPromiseAndEvidence(t *testing.T) {
	m := expect.StopCollecting()
	if _, err := m.Match(trial(harness.Continues)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"search on R58M", "the reason", "the maker", "off stops it", "runs/x", "wanted: collection to stop"} {
		if got := m.FailureMessage(nil); !strings.Contains(got, part) {
			t.Errorf("%q is not in %q", part, got)
		}
	}
}

func TestBeComplete(t *testing.T) {
	broken := trial(harness.OutcomeInconclusive)
	o := observation(harness.Inconclusive)
	broken.Observations = []*harness.Observation{&o}
	if ok, err := expect.BeComplete().Match(broken); ok || err != nil {
		t.Errorf("a window that never closed is complete: %v %v", ok, err)
	}
	if ok, _ := expect.BeComplete().Match(harness.Trial{}); ok {
		t.Error("a trial without observations is complete")
	}
}
