package harness_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness"
)

func TestOnlyTheRigsOwnFailuresAreTriedAgain(t *testing.T) {
	infra := &harness.InfrastructureError{Stage: "start tcpdump", Device: "R58M", Err: errors.New("gone")}
	lost := &devices.LostError{Serial: "R58M", Err: errors.New("end of file")}
	with := func(f harness.Finding) harness.Trial {
		return harness.Trial{Observations: []*harness.Observation{nil, {}, {Finding: &f}}}
	}
	sighting := []harness.Sighting{{Term: "green tea"}}
	undo := func(err error) error {
		return &harness.InfrastructureError{Stage: "put the phone back", Err: &devices.UndoError{Serial: "R58M", Err: err}}
	}
	for name, c := range map[string]struct {
		t        harness.Trial
		err      error
		failures int
		why      string // empty where it may be tried again
	}{
		"a first failure":                               {err: infra},
		"a first failure in more words":                 {err: fmt.Errorf("try: %w", infra)},
		"two failures of the rig at once":               {err: errors.Join(infra, fmt.Errorf("seal: %w", infra))},
		"a phone that is gone with its changes":         {err: errors.Join(infra, undo(fmt.Errorf("undo: %w", lost)))},
		"a limit of the rig's own that passed":          {err: &harness.InfrastructureError{Err: context.DeadlineExceeded}},
		"observations without anything seen":            {t: with(harness.Finding{Contacts: []harness.Contact{{Host: "x"}}}), err: infra},
		"a second failure":                              {err: infra, failures: 2, why: "twice"},
		"a sighting":                                    {t: with(harness.Finding{Sightings: sighting}), err: infra, why: "sighted"},
		"a sighting under an unproven setting":          {t: with(harness.Finding{Unproven: sighting}), err: infra, why: "sighted"},
		"a sighting that a page asked for":              {t: with(harness.Finding{PageBorne: sighting}), err: infra, why: "sighted"},
		"no error":                                      {why: "nothing failed"},
		"a finding":                                     {err: errors.New("collected"), why: "rig's fault"},
		"a finding joined to a failure":                 {err: errors.Join(infra, errors.New("collected")), why: "rig's fault"},
		"a failure joined to a finding":                 {err: errors.Join(errors.New("collected"), infra), why: "rig's fault"},
		"a finding beside a failure in one line":        {err: fmt.Errorf("%w, and %w", infra, errors.New("collected")), why: "rig's fault"},
		"a finding deep in a join":                      {err: fmt.Errorf("try: %w", errors.Join(infra, fmt.Errorf("x: %w", errors.Join(infra, errors.New("collected"))))), why: "rig's fault"},
		"an empty join":                                 {err: emptyJoin{}, why: "rig's fault"},
		"Ctrl-C":                                        {err: &harness.InfrastructureError{Err: fmt.Errorf("wait: %w", context.Canceled)}, why: "interrupted"},
		"Ctrl-C beside a failure":                       {err: errors.Join(infra, &harness.InfrastructureError{Err: context.Canceled}), why: "interrupted"},
		"an undo that failed on a phone that answers":   {err: undo(errors.New("read back: http_proxy is localhost:8080")), why: "undone"},
		"the same beside a failure":                     {err: errors.Join(infra, undo(errors.New("read back"))), why: "undone"},
		"an undo that failed before the phone was gone": {err: undo(errors.Join(errors.New("read back"), lost)), why: "undone"},
		"a phone that could not be mended":              {err: errors.Join(infra, undo(&devices.RepairError{Serial: "R58M", Ailment: devices.Unlisted, Err: errors.New("its ADB state is absent")}))},
		"a phone that no longer answers":                {err: undo(fmt.Errorf("undo: %w", context.DeadlineExceeded))},
		"an undo that failed, one phone being gone":     {err: errors.Join(undo(lost), undo(errors.New("read back"))), why: "undone"},
	} {
		t.Run(name, func(t *testing.T) {
			why := harness.NotAgain(c.t, c.err, max(1, c.failures))
			if c.why == "" && why != "" || !strings.Contains(why, c.why) {
				t.Errorf("got %q, want %q", why, c.why)
			}
		})
	}
}

type emptyJoin struct{}

func (emptyJoin) Error() string   { return "nothing" }
func (emptyJoin) Unwrap() []error { return nil }
