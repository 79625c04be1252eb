package harness

import (
	"context"
	"errors"
	"slices"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
)

// Sighted says whether any observation saw anything at all, whoever sent it:
// after a sighting nothing may be tried again.
func (t *Trial) Sighted() bool {
	return slices.ContainsFunc(t.Observations, func(o *Observation) bool {
		return o != nil && o.Finding != nil && len(o.Finding.Sightings)+len(o.Finding.Unproven)+len(o.Finding.PageBorne) > 0
	})
}

// NotAgain says why a trial that ended with err may not be run once more on
// another phone, empty when it may: only after an infrastructure failure and
// nothing else, at most once, never when anything was sighted (a leak that is
// seen once is a leak), never after an interruption. failures counts the
// attempts that failed, this one included.
func NotAgain(t Trial, err error, failures int) string {
	switch {
	case err == nil:
		return "nothing failed"
	case t.Sighted():
		return "something was sighted, and what is seen once counts"
	case errors.Is(err, context.Canceled):
		return "it was interrupted"
	case undoFailed(err):
		return "a change could not be undone on a phone that answers, so a person has to look first"
	case !rigOnly(err):
		return "not all that went wrong is the rig's fault"
	case failures > 1:
		return "it was tried twice already"
	}
	return ""
}

// rigOnly says whether every branch of err is an *InfrastructureError.
// errors.As would be content with one branch of a join, and a finding in
// another one would be tried again until it goes away.
func rigOnly(err error) bool {
	if _, ok := err.(*InfrastructureError); ok { //nolint:errorlint // Each layer is looked at by itself.
		return true
	}
	switch e := err.(type) { //nolint:errorlint // Each layer is looked at by itself.
	case interface{ Unwrap() []error }:
		branches := e.Unwrap()
		return len(branches) > 0 && !slices.ContainsFunc(branches, func(b error) bool { return !rigOnly(b) })
	case interface{ Unwrap() error }:
		return rigOnly(e.Unwrap())
	}
	return false
}

// undoFailed says whether err holds an undo that failed although the phone
// could be asked. A phone that is gone is another matter: its journal undoes
// the rest when it comes back, and another phone is no worse for it.
func undoFailed(err error) bool {
	switch e := err.(type) { //nolint:errorlint // Each layer is looked at by itself.
	case nil:
		return false
	case *devices.UndoError:
		return !goneOnly(e.Err)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), undoFailed)
	case interface{ Unwrap() error }:
		return undoFailed(e.Unwrap())
	}
	return false
}

// goneOnly says whether every branch of err is a phone that does not answer.
func goneOnly(err error) bool {
	if e, ok := err.(interface{ Unwrap() []error }); ok {
		branches := e.Unwrap()
		return len(branches) > 0 && !slices.ContainsFunc(branches, func(b error) bool { return !goneOnly(b) })
	}
	return adb.Unreachable(err) || errors.As(err, new(*devices.RepairError)) || errors.Is(err, context.DeadlineExceeded)
}
