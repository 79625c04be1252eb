package harness

import (
	"fmt"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

// A Keyed is a place in what left the phone whose value went with the term that
// was typed: the same for a term typed twice, another one for another term. It
// is a hash under a key that nobody knows, or an encryption without a nonce.
type Keyed struct {
	// Recipient is host and path, with places in lists as "*".
	Recipient string `json:"recipient"`
	Where     string `json:"where"`
	Path      string `json:"path"`
	// Windows is how many windows could have spoken against it and did not.
	Windows int `json:"windows"`
	// Chance is at most how probable it is that any such place is found where no
	// value depends on what is typed.
	Chance float64 `json:"chance"`
	// Off are the observations with the switch off in which the place carried a value
	// after each typing.
	Off []string `json:"off,omitempty"`
}

// keyedAlpha is how probable a false alarm may be in one trial.
const keyedAlpha = 0.05

// keyedTypings is what a window must have to tell such places: one term typed
// twice and another once.
const keyedTypings = 3

// String says what was found, in words.
func (k Keyed) String() string {
	return fmt.Sprintf("a value at %s (%s: %s) was the same for a term typed twice and different for another in %d windows: it depends on what was typed, readable or not (chance at most %.2g)",
		k.Recipient, k.Where, k.Path, k.Windows, k.Chance)
}

// findKeyed looks for such places over the windows of a trial, whatever the
// switch: with it on they may be lawful, and with it off they show what it is
// that nobody can read.
func (v *view) findKeyed() {
	var windows [][]canary.Typing
	byWindow := map[*Observation][]canary.Typing{}
	for _, o := range v.all {
		if w := v.typingWindow(o); w != nil {
			windows = append(windows, w)
			byWindow[o] = w
		}
	}
	found, err := canary.KeyedHashes(windows, keyedAlpha)
	if err != nil {
		// typingWindow lets no such window through.
		v.keyedFailed = fmt.Sprintf("what was sent after each typing could not be compared: %v", err)
		return
	}
	for _, place := range found {
		k := Keyed{Recipient: place.Recipient, Where: place.Where, Path: place.Path, Windows: place.Windows, Chance: place.Chance}
		for _, o := range v.all {
			if w := byWindow[o]; w != nil && o.Arm == Off && !slices.ContainsFunc(w, func(t canary.Typing) bool { return !carries(t, place) }) {
				k.Off = append(k.Off, o.ID)
			}
		}
		v.keyed = append(v.keyed, k)
	}
}

func carries(t canary.Typing, place canary.Keyed) bool {
	return slices.ContainsFunc(t.Leaves[place.Recipient], place.Holds)
}

// keyedDoubts are the values after each typing of a window with the switch off
// that go with what is typed. They accuse nobody by themselves: what they tell
// of it nobody can read.
func (v *view) keyedDoubts(o *Observation) []string {
	var out []string
	if o.Arm != Off {
		return nil
	}
	for _, k := range v.keyed {
		if slices.Contains(k.Off, o.ID) {
			out = append(out, k.String())
		}
	}
	if v.keyedFailed != "" && len(o.Typings) > 0 {
		out = append(out, v.keyedFailed)
	}
	return head(out, 5)
}

// typingWindow is what left after each typing of an observation, nil where they
// are not one term typed twice and another once.
func (v *view) typingWindow(o *Observation) []canary.Typing {
	if len(o.Typings) != keyedTypings {
		return nil
	}
	_, end := o.span()
	out := make([]canary.Typing, keyedTypings)
	different := map[string]int{}
	for i, t := range o.Typings {
		term := ""
		for _, c := range o.Canaries {
			if c.ID == t.Canary && !c.Sham {
				term = c.Term
			}
		}
		if term == "" || i > 0 && !t.At.After(o.Typings[i-1].At) {
			return nil
		}
		different[term]++
		out[i] = canary.Typing{Term: term, Leaves: map[string][]payload.Leaf{}}
	}
	if len(different) != keyedTypings-1 {
		return nil
	}
	for i := range v.messages {
		m := &v.messages[i]
		if m.instrument || m.page != "" || !v.decides(m, o) || m.from.After(end) || v.mayKnow(m, o) {
			continue
		}
		for j := keyedTypings - 1; j >= 0; j-- {
			if !m.from.Before(o.Typings[j].At) {
				to := recipientOf(m)
				out[j].Leaves[to] = append(out[j].Leaves[to], m.leaves...)
				break
			}
		}
	}
	return out
}

// mayKnow says whether a message went to a host for which a term was typed.
func (v *view) mayKnow(m *message, o *Observation) bool {
	return slices.ContainsFunc(o.Expected, func(e Expected) bool { return strings.EqualFold(e.Host, m.host) })
}

// recipientOf names the endpoint of a message, the same for every typing. A DNS
// question goes to whoever answers for the site.
func recipientOf(m *message) string {
	if m.lookup != nil {
		return "DNS of " + siteOf(m.host)
	}
	return m.host + anyPlace(m.path)
}
