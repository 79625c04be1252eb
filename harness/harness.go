// Package harness observes scenarios on a phone while its traffic is recorded,
// accounts for every byte that left, and judges whether collection stops when
// a switch is off.
//
// A scenario is a list of steps; a setting puts the phone into one arm of the
// switch; an observation is one run of a scenario under one setting; a trial
// is observations in both arms with a calibration, a negative control and a
// closing run around them:
//
//	search := harness.Scenario{
//		Name:  "incognito-duckduckgo",
//		Steps: []harness.Step{browser.Incognito(), browser.Search(browser.DuckDuckGo)},
//	}
//	trial, err := phone.Try(ctx, search, browser.AggregatedData)
//
// Phone runs things and does I/O; Judge and JudgeTrial are pure functions of
// recorded values, so that old evidence can be judged again. The zero value of
// every verdict is "inconclusive": silence is called absence only beside
// presence that the same instruments proved they could hear.
package harness

import (
	"fmt"
)

// An InfrastructureError is the rig's fault, never the phone's: no window was
// completed, so nothing can be said about collection.
type InfrastructureError struct {
	// Stage is what was being done, such as "start proxy".
	Stage string
	// Device is the phone's serial.
	Device string
	// Advice says what a person at the bench can do.
	Advice string
	Err    error
}

// Error is one line: stage, device, cause and advice.
func (e *InfrastructureError) Error() string {
	s := fmt.Sprintf("%s on %s: %v", e.Stage, e.Device, e.Err)
	if e.Advice != "" {
		s += " (" + e.Advice + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *InfrastructureError) Unwrap() error { return e.Err }
