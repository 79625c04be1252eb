package harness

import (
	"context"
	"fmt"
	"strings"
)

// An Arm is a position of the switch under test. On always means "collection
// allowed", whatever the widget of a build looks like.
type Arm string

// The arms of a trial.
const (
	ArmUnknown Arm = ""
	On         Arm = "on"
	Off        Arm = "off"
)

// A Setting puts a phone into one arm, and can read back that it is in it.
type Setting struct {
	// Name is what is switched, such as "aggregated data".
	Name string
	Arm  Arm
	// Package is the app whose version, hash and owner are read with the state.
	Package string
	// Claim is the promise that is meant when the scenario names none.
	Claim Claim
	// Apply sets the switch, leaves the screen, comes back and reads it.
	Apply func(ctx context.Context, act *Act) error
	// Read reads the state without changing it.
	Read func(ctx context.Context, act *Act) (State, error)
	// Load opens a page of the lab in the app, waits until it is called title, and
	// returns the texts that the page shows; nil for an app that opens no pages.
	Load func(ctx context.Context, act *Act, address, title string) ([]string, error)
}

// A Switch makes the setting of either arm.
type Switch func(Arm) Setting

// A State is what was read of the experiment's conditions at one moment. Two
// readings that differ in any field make the setting unproven.
type State struct {
	// Arm is the position that the driver understood the widget to show.
	Arm Arm `json:"arm"`
	// Widget is what the widget itself showed, such as "checked".
	Widget string `json:"widget,omitempty"`
	// Title and Caption are the row's words.
	Title   string `json:"title,omitempty"`
	Caption string `json:"caption,omitempty"`
	Consent string `json:"consent,omitempty"`
	Account string `json:"account,omitempty"`
	// App, Version and SHA256 say which program was installed; UIDs who it and
	// its delegates are.
	App     string `json:"app,omitempty"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
}

// Differs names the fields in which two readings are not equal, with both
// values, or is empty. A caption may follow the switch and is not compared
// across arms; within an arm it must not change.
func (s State) Differs(t State) string {
	var out []string
	cmp := func(name, a, b string) {
		if a != b {
			out = append(out, fmt.Sprintf("%s was %q, then %q", name, a, b))
		}
	}
	cmp("switch", string(s.Arm), string(t.Arm))
	cmp("widget", s.Widget, t.Widget)
	cmp("title", s.Title, t.Title)
	cmp("caption", s.Caption, t.Caption)
	cmp("consent", s.Consent, t.Consent)
	cmp("account", s.Account, t.Account)
	cmp("app", s.App, t.App)
	cmp("version", s.Version, t.Version)
	cmp("app hash", s.SHA256, t.SHA256)
	return strings.Join(out, "; ")
}
