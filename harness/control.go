package harness

import (
	"fmt"
	"slices"

	"github.com/offproof/offproof/harness/canary"
)

// controlDoubts asks for the positive control inside the window: every planted
// term, read in plaintext at the recipient for which it was typed.
func (v *view) controlDoubts(o *Observation) []string {
	if o.Part == Quiet {
		return nil
	}
	planted := 0
	var out []string
	for _, c := range o.Canaries {
		if c.Sham {
			continue
		}
		planted++
		expected := slices.ContainsFunc(o.Expected, func(e Expected) bool { return e.Canary == c.ID && !e.AsTyped })
		// A term that is typed twice must be heard twice.
		unheard := slices.ContainsFunc(o.typed(c.ID), func(s Stretch) bool { return !v.heard(o, c, s) })
		if !expected {
			out = append(out, fmt.Sprintf("%q was typed, and no step said who should receive it", c.Term))
		} else if unheard {
			out = append(out, fmt.Sprintf("%q was typed as %s and was not read at its expected recipient with a good reply, so the instruments were not shown to hear it", c.Term, c.Field))
		}
	}
	if planted == 0 {
		out = append(out, "nothing was planted in this window")
	}
	return out
}

// heard says whether a term was read in plaintext at its expected recipient, with
// a good reply, in a stretch of an observation.
func (v *view) heard(o *Observation, c canary.Canary, s Stretch) bool {
	for i := range v.messages {
		m := &v.messages[i]
		if m.ex == nil || m.ex.Status < 200 || m.ex.Status >= 400 || !overlaps(o, m.from, m.to) || m.from.After(s.To) || len(o.Typings) > 0 && m.from.Before(s.From) {
			continue
		}
		whole := slices.ContainsFunc(m.hits, func(h canary.Sighting) bool { return h.Canary.ID == c.ID && h.Whole() })
		if got, ok := v.expectedExchange(m); ok && !got.AsTyped && got.Canary == c.ID && whole {
			return true
		}
	}
	return false
}
