// Package canary mints unique terms to plant in a phone and finds them again
// in any disguise.
//
// A term is two made-up words that no page has by chance. [Mint] makes it
// together with a sham twin that nobody types: where the finder sees a sham,
// the form in which it saw it proves nothing (see [Qualify]).
package canary

import (
	"math/rand/v2"
	"time"

	"github.com/offproof/offproof/capture/payload"
)

// A Canary is one planted term.
type Canary struct {
	// ID is unique for all practical purposes: 16 hex digits.
	ID string `json:"id"`
	// Field names where the term is typed, such as "query".
	Field string `json:"field"`
	// Term is two words of seven to nine lower-case letters and one blank.
	Term        string    `json:"term"`
	Serial      string    `json:"serial,omitempty"`
	Observation string    `json:"observation,omitempty"`
	Minted      time.Time `json:"minted,omitzero"`
	// Sham is true for the twin that is never planted.
	Sham bool `json:"sham,omitempty"`
}

// Mint makes a canary for a field and its sham twin. Serial, Observation and
// Minted are the caller's to fill in, in both.
func Mint(r *rand.Rand, field string) (planted, sham Canary) {
	return Canary{Field: field}, Canary{Field: field, Sham: true}
}

// A Sighting is a canary found again.
type Sighting struct {
	Canary Canary
	// Where and Path say where in the message, as payload has it.
	Where string
	Path  string
	// Form is the disguise: "plain", "prefix", "word", "split", "reversed",
	// "base64", "hex", "md5", ...
	Form string
	// Chars is how many characters of the term were seen, blank included; the
	// whole term is len(Canary.Term).
	Chars int
	// Excerpt is the place itself with a little around it, as printable ASCII.
	Excerpt string
}

// Whole is true when the sighting shows the whole term.
func (s Sighting) Whole() bool { return s.Chars >= len(s.Canary.Term) }

// A Finder searches for many canaries at once. It is safe for concurrent use.
type Finder struct {
	canaries []Canary
}

// NewFinder prepares a search for the canaries, shams included.
func NewFinder(canaries []Canary) *Finder {
	return &Finder{canaries: canaries}
}

// Find returns what it sees in the parts of one message, shams included.
func (f *Finder) Find(parts []payload.Part) []Sighting {
	return nil
}

// FindRaw searches bytes as they are, for streams that nothing decoded.
func (f *Finder) FindRaw(b []byte) []Sighting {
	return nil
}

// Qualify keeps the sightings of planted canaries in forms in which no sham
// was seen, and returns the others, shams included, apart.
func Qualify(sightings []Sighting) (kept, disqualified []Sighting) {
	bad := map[string]bool{}
	for _, s := range sightings {
		if s.Canary.Sham {
			bad[s.Form] = true
		}
	}
	for _, s := range sightings {
		if s.Canary.Sham || bad[s.Form] {
			disqualified = append(disqualified, s)
		} else {
			kept = append(kept, s)
		}
	}
	return kept, disqualified
}
