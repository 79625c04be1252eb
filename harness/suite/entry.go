package suite

import "github.com/offproof/offproof/harness"

// A TrialEntry is a trial as a report entry: words in the terminal, values in
// Ginkgo's JSON report.
type TrialEntry struct{ harness.Trial }

// String is what the terminal shows of a trial.
func (e TrialEntry) String() string { return e.Trial.Text() }

// An ObservationEntry is a single observation as a report entry.
type ObservationEntry struct {
	harness.Observation
	Dir string
}

// String is what the terminal shows of an observation.
func (e ObservationEntry) String() string { return e.Text(e.Dir) }
