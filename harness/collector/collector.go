// Package collector knows who collects: hosts and paths that receive data
// from phones, each with its organisation, purpose, reason and source.
//
// The list never decides that something is a leak; a planted term at a host
// that no list knows is a leak all the same. It names parties and purposes.
//
// Lists of others (hosts files, filter lists, Exodus Privacy's trackers) can be
// added; they add, and never take away what the built-in list calls a collector.
package collector

// Purpose says what a host or path is for.
type Purpose string

// The purposes.
const (
	// PurposeUnknown claims nothing but who operates the host.
	PurposeUnknown Purpose = ""
	Collect        Purpose = "collect"
	Config         Purpose = "config"
	Consent        Purpose = "consent"
	Ads            Purpose = "ads"
	Connectivity   Purpose = "connectivity"
	Update         Purpose = "update"
	Push           Purpose = "push"
)

// An Indicator marks a host, and a path on it, as serving a purpose.
type Indicator struct {
	// Host matches itself and every name below it.
	Host string `json:"host"`
	// Path matches every path that begins with it at a segment's end; empty
	// matches all.
	Path         string  `json:"path,omitempty"`
	Organisation string  `json:"organisation"`
	Purpose      Purpose `json:"purpose,omitempty"`
	// Reason says why the entry is on the list, Source who says so.
	Reason string `json:"reason"`
	Source string `json:"source"`
}

// A List is a set of indicators. It is safe for concurrent use.
type List struct {
	indicators []Indicator
	// byHost holds them by their hosts, longest path first.
	byHost map[string][]Indicator
}
