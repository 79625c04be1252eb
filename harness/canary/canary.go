// Package canary mints unique terms to plant in a phone and finds them again
// in any disguise.
//
// A term is two made-up words that no page has by chance. [Mint] makes it
// together with a sham twin that nobody types: where the finder sees a sham,
// the form in which it saw it proves nothing (see [Qualify]). Values too short to
// prove anything are leads ([Finder.Leads]), and a hash under a key that nobody
// knows is told by typing one term twice ([KeyedHashes]).
package canary

import "time"

// A Canary is one planted term.
type Canary struct {
	// ID is unique for all practical purposes: 16 hex digits.
	ID string `json:"id"`
	// Field names where the term is typed, such as "query".
	Field string `json:"field"`
	// Term is two words of seven to nine lower-case letters and one blank.
	Term string `json:"term"`
	// Typed is what was typed where that is more than the term, such as the
	// whole address of a page; a collector may hash just that.
	Typed       string    `json:"typed,omitempty"`
	Serial      string    `json:"serial,omitempty"`
	Observation string    `json:"observation,omitempty"`
	Minted      time.Time `json:"minted,omitzero"`
	// Sham is true for the twin that is never planted.
	Sham bool `json:"sham,omitempty"`
}

// A Sighting is a canary found again.
type Sighting struct {
	Canary Canary
	// Where and Path say where in the message, as payload has it.
	Where string
	Path  string
	// Form is the disguise in which it was seen; see the constants.
	Form string
	// Chars is how many characters of the term were seen, blank included; the
	// whole term is len(Canary.Term).
	Chars int
	// Excerpt is the place itself with a little around it, as printable ASCII.
	Excerpt string
}

// The forms of a sighting. A hash is named by its function and its encoding:
// "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha512/224",
// "sha512/256" or "sha3-224" to "sha3-512", then "-hex", "-base64" or "-raw".
// It is seen by at least its first eight bytes. The last eight are the
// function's name and "-end"; eight from the middle of an MD5, as is customary in
// China, are "md5-middle", and a name-based UUID is "md5-uuid". With a salt it is
// the function and the salt's name, "sha256:hour", and where the salt is the key
// of an HMAC, "hmac-sha256:package".
const (
	// Plain is the term in any case, its words apart by anything or nothing.
	Plain = "plain"
	// Prefix is its beginning, six characters or more, as a word of its own: what
	// a search field sends while somebody types.
	Prefix = "prefix"
	// Word is its second word alone.
	Word = "word"
	// Split is the whole term in different places of one message: its two words
	// anywhere, or shorter pieces in the order in which they were sent.
	Split = "split"
	// Reversed and Rot13 are the whole term letter by letter.
	Reversed = "reversed"
	Rot13    = "rot13"
	// Spaced is the whole term with one and the same byte after each letter;
	// UTF16 where that byte is zero.
	Spaced = "spaced"
	UTF16  = "utf16"
	// Base64 and Hex are encodings inside bytes that payload did not open.
	Base64 = "base64"
	Hex    = "hex"
	// XOR is the whole term under one byte, whichever.
	XOR = "xor"
	// Raw is the bytes that an identifier's hex digits stand for.
	Raw = "raw"
)

// Whole is true when the sighting shows the whole term.
func (s Sighting) Whole() bool { return s.Chars >= len(s.Canary.Term) }

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
