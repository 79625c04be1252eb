package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offproof/offproof/harness/canary"
)

// A Typing is one act of typing a planted term. One term may be typed more than
// once.
type Typing struct {
	// Canary is the ID of the term.
	Canary string `json:"canary"`
	// At is when the typing was about to begin: apps may report each letter.
	At time.Time `json:"at"`
}

// Types records that a term is about to be typed: what leaves from now on may
// leave because of it.
func (a *Act) Types(c canary.Canary) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.Typings = append(a.obs.Typings, Typing{Canary: c.ID, At: a.now()})
}

// maxPairDraws bounds the search for two terms of one length; one in three pairs
// or so has it.
const maxPairDraws = 10_000

var errNoPair = errors.New("no two of the terms that were drawn have one length")

// CanaryPair mints two terms of one length for one field, so that no value that
// goes with the length tells them apart. The error is for a register that
// cannot be written.
func (a *Act) CanaryPair(field string) (first, second canary.Canary, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	first, firstSham := canary.Mint(a.rng, field)
	for range maxPairDraws {
		second, secondSham := canary.Mint(a.rng, field)
		if len(second.Term) != len(first.Term) || second.Term == first.Term {
			continue
		}
		if first, err = a.plant(first, firstSham); err != nil {
			return first, second, err
		}
		second, err = a.plant(second, secondSham)
		return first, second, err
	}
	return first, second, fmt.Errorf("harness: mint two canaries: %w", errNoPair)
}

// Draw returns a number from 0 up to n, n excluded, each equally likely and
// independent of every other draw.
func (a *Act) Draw(n int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rng.IntN(n)
}

// Settle waits as long as apps are known to wait before they send what they have
// queued. The error is the context's.
func (a *Act) Settle(ctx context.Context) error { return sleep(ctx, paced(settle, a.Pace)) }

// typed are the stretches in which something may have left because a term was
// typed: from each of its typings to the next of any term, or to the window's
// end. Where no typing was recorded it is the observation's whole stretch.
func (o *Observation) typed(id string) []Stretch {
	begin, end := o.span()
	var out []Stretch
	for i, t := range o.Typings {
		if t.Canary != id {
			continue
		}
		s := Stretch{t.At, end}
		if i+1 < len(o.Typings) {
			s.To = o.Typings[i+1].At.Add(-1)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		out = append(out, Stretch{begin, end})
	}
	return out
}

// lastTyped is when a term was typed last before a moment: zero where no typing
// of it was recorded.
func (o *Observation) lastTyped(id string, before time.Time) time.Time {
	var last time.Time
	for _, t := range o.Typings {
		if t.Canary == id && !t.At.After(before) && t.At.After(last) {
			last = t.At
		}
	}
	return last
}
