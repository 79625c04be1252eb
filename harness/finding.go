package harness

import (
	"time"
)

// A Verdict is what can be said of one observation. The zero value cannot tell.
type Verdict string

// The verdicts.
const (
	Inconclusive Verdict = ""
	NotCollected Verdict = "not collected"
	Collected    Verdict = "collected"
)

// String returns the verdict in words.
func (v Verdict) String() string {
	if v == Inconclusive {
		return "inconclusive"
	}
	return string(v)
}

// MarshalText writes the verdict in words.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads a verdict; an unknown word is inconclusive.
func (v *Verdict) UnmarshalText(b []byte) error {
	switch Verdict(b) {
	case NotCollected, Collected:
		*v = Verdict(b)
	case Inconclusive:
		*v = Inconclusive
	default:
		*v = Inconclusive
	}
	return nil
}

// An Outcome is what can be said of a trial. The zero value cannot tell.
type Outcome string

// The outcomes.
const (
	OutcomeInconclusive Outcome = ""
	Stops               Outcome = "stops"
	Continues           Outcome = "continues"
	NeverCollected      Outcome = "never collected"
)

// String returns the outcome in words.
func (o Outcome) String() string {
	if o == OutcomeInconclusive {
		return "inconclusive"
	}
	return string(o)
}

// MarshalText writes the outcome in words.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome; an unknown word is inconclusive.
func (o *Outcome) UnmarshalText(b []byte) error {
	switch Outcome(b) {
	case Stops, Continues, NeverCollected:
		*o = Outcome(b)
	case OutcomeInconclusive:
		*o = OutcomeInconclusive
	default:
		*o = OutcomeInconclusive
	}
	return nil
}

// A Grade is the strength of evidence, weakest first.
type Grade int

// The grades. Contact is never enough for "stops" unless a spec asks for it.
const (
	NoGrade Grade = iota
	ContactGrade
	EventGrade
	IdentifierGrade
	CanaryGrade
)

// String returns the grade in a word.
func (g Grade) String() string {
	switch g {
	case ContactGrade:
		return "contact"
	case EventGrade:
		return "event"
	case IdentifierGrade:
		return "identifier"
	case CanaryGrade:
		return "canary"
	case NoGrade:
		return "none"
	}
	return "none"
}

// MarshalText writes the grade in a word.
func (g Grade) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads a grade; an unknown word is none.
func (g *Grade) UnmarshalText(b []byte) error {
	*g = NoGrade
	for _, k := range []Grade{ContactGrade, EventGrade, IdentifierGrade, CanaryGrade} {
		if k.String() == string(b) {
			*g = k
		}
	}
	return nil
}

// A Sighting is a canary, a unique identifier or a decoded event found in what
// left the phone.
type Sighting struct {
	Grade Grade `json:"grade"`
	// Observation is the ID of the observation to which it is charged.
	Observation string `json:"observation"`
	// Term is the canary's words, the identifier's name, or the event's name.
	Term  string `json:"term"`
	Field string `json:"field,omitempty"`
	// Host is the recipient; Organisation, Purpose and Source are what the
	// collector list says of it, empty when no list knows it.
	Host         string `json:"host"`
	Organisation string `json:"organisation,omitempty"`
	Purpose      string `json:"purpose,omitempty"`
	Source       string `json:"source,omitempty"`
	URL          string `json:"url,omitempty"`
	// Where, Path and Form say under which layers it was found.
	Where string `json:"where"`
	Path  string `json:"path"`
	Form  string `json:"form"`
	// Sender says who sent it as far as is known, such as "uid 10123".
	Sender   string    `json:"sender"`
	Backend  string    `json:"backend"`
	Flow     string    `json:"flow"`
	Exchange string    `json:"exchange,omitempty"`
	At       time.Time `json:"at"`
	// Lag is the time since the last act before it.
	Lag time.Duration `json:"lag,omitempty"`
}

// A Contact is a conversation with a party whose content was not read, or an
// attempt at one that failed.
type Contact struct {
	Host         string    `json:"host"`
	Organisation string    `json:"organisation,omitempty"`
	Sender       string    `json:"sender"`
	Backend      string    `json:"backend"`
	Flow         string    `json:"flow"`
	Bytes        int64     `json:"bytes"`
	Failure      string    `json:"failure,omitempty"`
	At           time.Time `json:"at"`
	// Past says in words how it went past a proxy that ran, empty when it did not.
	Past string `json:"past,omitempty"`
}

// A Finding is a verdict on one observation, with the reasons in words.
type Finding struct {
	Verdict Verdict  `json:"verdict"`
	Grade   Grade    `json:"grade"`
	Because []string `json:"because"`
	// Categories are the fields that were sighted, such as "search words".
	Categories []string   `json:"categories,omitempty"`
	Sightings  []Sighting `json:"sightings,omitempty"`
	// Unproven are sightings in a window whose setting was not proven; they
	// count in neither arm.
	Unproven []Sighting `json:"unproven,omitempty"`
	// PageBorne were sent at the word of the page that the person opened.
	PageBorne []Sighting `json:"page_borne,omitempty"`
	Contacts  []Contact  `json:"contacts,omitempty"`
	// Recipients are all to whom something was sent, and CountriesBy names the
	// database from which their countries are.
	Recipients  []Recipient `json:"recipients,omitempty"`
	CountriesBy string      `json:"countries_by,omitempty"`
	// Elsewhere lists out-of-scope uploads in words; they never decide.
	Elsewhere  []string   `json:"elsewhere,omitempty"`
	Accounting Accounting `json:"accounting"`
	// Sound is true when every instrument was whole, heard its beacons and the
	// planted terms, and every effect was read back.
	Sound bool `json:"sound"`

	// baseline is true for a negative control against which nothing speaks but
	// readable values that it is there to show.
	baseline bool
}

// A TrialFinding is the outcome of a trial.
type TrialFinding struct {
	Format  int      `json:"format"`
	Outcome Outcome  `json:"outcome"`
	Grade   Grade    `json:"grade"`
	Because []string `json:"because"`
	Claim   Claim    `json:"claim"`
	// Pairs is how many pairs were counted; P is the exact p of the sign test
	// over them and Bound the 95 % upper bound on the share of OFF windows that
	// could still send, when the outcome is "stops".
	Pairs int     `json:"pairs"`
	P     float64 `json:"p,omitempty"`
	Bound float64 `json:"bound,omitempty"`
	// Contact says, when the outcome is inconclusive only because contents were
	// unread, that contacts stopped with the switch off; empty otherwise.
	Contact string `json:"contact,omitempty"`
	// Links are the values by which records of the phone can be tied together.
	Links []Link `json:"links,omitempty"`
	// Keyed are the places whose values went with what was typed, unreadable as
	// they are; only a scenario that types a term twice can show them.
	Keyed []Keyed `json:"keyed,omitempty"`
}

// Heading is the word that heads a spec's message for the outcome.
func (f TrialFinding) Heading() string {
	switch f.Outcome {
	case Continues:
		return "Collected:"
	case Stops, NeverCollected:
		return "Not collected:"
	case OutcomeInconclusive:
		return "Inconclusive:"
	}
	return "Inconclusive:"
}

// Heading is the word that heads a spec's message for the verdict.
func (f Finding) Heading() string {
	switch f.Verdict {
	case Collected:
		return "Collected:"
	case NotCollected:
		return "Not collected:"
	case Inconclusive:
		return "Inconclusive:"
	}
	return "Inconclusive:"
}
