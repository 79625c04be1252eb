// Package scenarios is what a person does with the phone, ready to be tried in
// both arms of a switch: each scenario is a start state and steps in order.
package scenarios

import (
	"strings"

	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios/browser"
)

// Search searches an engine for a canary in a tab of the mode. The engine is
// chosen, and the browser's terms are agreed to, before the first window.
func Search(e browser.Engine, mode harness.Mode) harness.Scenario {
	tab, place := tabOf(mode)
	return harness.Scenario{
		Name:    "search-" + strings.ToLower(e.Name) + "-" + string(mode),
		Summary: "Searches " + e.Name + " for a canary in " + place + ".",
		Start:   []harness.Step{browser.Consented(), browser.Uses(e)},
		Steps:   []harness.Step{tab, browser.Search(e)},
		Mode:    mode,
	}
}

// KeyedSearch searches an engine for one canary twice and for another once in
// each window, in tabs of the mode, so that a hash of the words is told by what
// it does, under whatever key. It takes three pairs or more to say so of what is
// sent with the switch off alone.
func KeyedSearch(e browser.Engine, mode harness.Mode) harness.Scenario {
	tab, place := tabOf(mode)
	return harness.Scenario{
		Name:    "keyed-search-" + strings.ToLower(e.Name) + "-" + string(mode),
		Summary: "Searches " + e.Name + " for one canary twice and for another once, in " + place + " each.",
		Start:   []harness.Step{browser.Consented(), browser.Uses(e)},
		Steps:   []harness.Step{tab, browser.SearchThrice(e)},
		Mode:    mode,
	}
}

// tabOf is the step that opens a tab of a mode, and the tab in words.
func tabOf(mode harness.Mode) (tab harness.Step, place string) {
	if mode == harness.ModeIncognito {
		return browser.Incognito(), "an incognito tab"
	}
	return browser.Normal(), "a normal tab"
}
