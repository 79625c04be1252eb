package harness

import (
	"slices"
	"strings"
)

// A Claim is a promise about data collection, with its source, so that a
// finding can say whose words hold or fail. A promise counts as broken only
// against its own source's words.
type Claim struct {
	// ID is a short stable name, such as "maker-incognito".
	ID string `json:"id"`
	// Source is who made the promise, and where.
	Source string `json:"source"`
	// Date is when, as YYYY-MM-DD.
	Date string `json:"date"`
	// Wording is what was promised, in the words that the report prints.
	Wording string `json:"wording"`
	Scope   Scope  `json:"scope"`
}

// A Scope says what a claim speaks of.
type Scope struct {
	// Apps are the packages that promise; Delegates are packages that are known
	// to send for them. Both count in every user of the phone.
	Apps      []string `json:"apps,omitempty"`
	Delegates []string `json:"delegates,omitempty"`
	// Parties are organisations, spelled as in the collector list.
	Parties []string `json:"parties,omitempty"`
	// Modes are the browsing modes that the promise covers; empty means all.
	Modes []Mode `json:"modes,omitempty"`
}

// Covers says whether the claim speaks of a mode.
func (c Claim) Covers(m Mode) bool {
	return len(c.Scope.Modes) == 0 || slices.Contains(c.Scope.Modes, m)
}

// Party says whether an organisation is a party of the claim.
func (c Claim) Party(organisation string) bool {
	return organisation != "" && slices.ContainsFunc(c.Scope.Parties, func(p string) bool {
		return strings.EqualFold(p, organisation)
	})
}

// A Mode is the browsing mode in which a scenario runs.
type Mode string

// The modes that a browser offers.
const (
	ModeUnknown   Mode = ""
	ModeNormal    Mode = "normal"
	ModeIncognito Mode = "incognito"
)
