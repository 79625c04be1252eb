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
	tab, place := browser.Normal(), "a normal tab"
	if mode == harness.ModeIncognito {
		tab, place = browser.Incognito(), "an incognito tab"
	}
	return harness.Scenario{
		Name:    "search-" + strings.ToLower(e.Name) + "-" + string(mode),
		Summary: "Searches " + e.Name + " for a canary in " + place + ".",
		Start:   []harness.Step{browser.Consented(), browser.Uses(e)},
		Steps:   []harness.Step{tab, browser.Search(e)},
		Mode:    mode,
	}
}
