package canary

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// A Typing is one act of typing a term, and what left the phone because of it.
type Typing struct {
	// Term is what was typed.
	Term string
	// Leaves are those of every message that began after this typing and before
	// the next, by recipient: host and path, or whatever the caller tells
	// endpoints apart by, the same for every typing.
	Leaves map[string][]payload.Leaf
}

// A Keyed is a place in which a value goes with the term that was typed:
// equal for one term typed twice, different for another. It is a hash of the term
// or its encryption without a nonce, under whatever key, readable or not.
type Keyed struct {
	Recipient string
	Where     string
	// Path is the leaf's, with each number in it as "*": the place of an event in
	// its batch is chance.
	Path string
	// Windows is how many windows could have spoken against it and did not.
	Windows int
	// Chance is at most how probable it is that any place at all is reported
	// if no value depends on what is typed.
	Chance float64
	// Values are the repeated values, one for each of the windows; shortened to
	// their first bytes where they are long.
	Values [][]byte
}

// The bounds of one search for keyed hashes.
const (
	// keyedBytes is how long a value must be: less than 64 bits may be equal
	// for many reasons, such as the term's length.
	keyedBytes = 8
	// maxKeyedLeaves bounds the leaves of one typing that are looked at.
	maxKeyedLeaves = 200_000
	// shownBytes is how much of a value is kept.
	shownBytes = 64
)

// typings is how many there are in a window: a term twice and another once.
const typings = 3

var errTypings = errors.New("not one term typed twice and another once")

// KeyedHashes finds the places in which a token or an opaque value of 64 bits or
// more was the same for a term typed twice and different for another.
//
// It needs windows of three typings in order of time, of which two are of one
// term and one of another of the same length, with fresh terms in each window.
// Which of the three is the other one must have been drawn at random, equally
// likely, independently for each window, after everything else was settled: all
// that is said of chance rests on that draw and on nothing else. An endpoint
// that may know the term, such as the search engine that was asked, is left out
// by the caller, or judged by it.
//
// Where nothing depends on the term, whatever session, clock or counter made
// two values equal and the third different fits the draw with a probability of a
// third in each window. Chance is that over all the windows, times the number of
// places that could be reported at all; only places with Chance up to alpha are
// returned, so the probability of a false alarm is at most alpha. One window
// shows nothing; three are the fewest for an alpha of 0.05, and for k places
// 3 + log3(k) windows.
//
// The error says which window has not these typings.
func KeyedHashes(windows [][]Typing, alpha float64) ([]Keyed, error) {
	places := map[place]*tally{}
	for n, w := range windows {
		odd, err := oddOne(w)
		if err != nil {
			return nil, fmt.Errorf("keyed hashes: read window %d: %w", n+1, err)
		}
		var values [typings]map[place]map[valueKey][]byte
		for i, typing := range w {
			values[i] = eligible(typing)
		}
		for at := range values[0] {
			if t := compareTypings(at, values, odd); t != nil {
				if places[at] == nil {
					places[at] = &tally{chance: 1}
				}
				places[at].add(t)
			}
		}
	}
	// Places are chosen by what does not depend on the draw: the smallest chance
	// that each could have had (Tarone, Biometrics 46 (1990) 515). k is how many of
	// them must be counted so that all of them together stay within alpha.
	k := 1
	for ; ; k++ {
		could := 0
		for _, t := range places {
			if t.chance*float64(k) <= alpha {
				could++
			}
		}
		if could <= k {
			break
		}
	}
	var out []Keyed
	for at, t := range places {
		if !t.refuted && t.chance*float64(k) <= alpha {
			out = append(out, Keyed{
				Recipient: at.recipient, Where: at.where, Path: at.path,
				Windows: t.windows, Chance: math.Min(t.chance*float64(k), 1), Values: t.values,
			})
		}
	}
	slices.SortFunc(out, func(a, b Keyed) int {
		return cmp.Or(cmp.Compare(a.Chance, b.Chance), cmp.Compare(a.Recipient, b.Recipient), cmp.Compare(a.Where, b.Where), cmp.Compare(a.Path, b.Path))
	})
	return out, nil
}

// oddOne is which of three typings is of the other term.
func oddOne(w []Typing) (int, error) {
	if len(w) != typings {
		return 0, errTypings
	}
	same := func(a, b int) bool { return w[a].Term == w[b].Term && w[a].Term != "" }
	switch {
	case same(0, 1) && same(1, 2):
	case same(0, 1):
		return 2, nil
	case same(0, 2):
		return 1, nil
	case same(1, 2):
		return 0, nil
	}
	return 0, errTypings
}

// A place is where a value is looked for in every typing.
type place struct{ recipient, where, path string }

type valueKey [16]byte

// eligible are the values of a typing that could be hashes, by place.
func eligible(t Typing) map[place]map[valueKey][]byte {
	out := map[place]map[valueKey][]byte{}
	recipients := make([]string, 0, len(t.Leaves))
	for r := range t.Leaves {
		recipients = append(recipients, r)
	}
	slices.Sort(recipients)
	left := maxKeyedLeaves
	for _, r := range recipients {
		for _, leaf := range t.Leaves[r] {
			if left--; left < 0 {
				return out
			}
			if !couldBeHash(leaf) {
				continue
			}
			at := place{r, leaf.Where, withoutNumbers(leaf.Path)}
			if out[at] == nil {
				out[at] = map[valueKey][]byte{}
			}
			sum := sha256.Sum256(leaf.Value)
			out[at][valueKey(sum[:16])] = leaf.Value
		}
	}
	return out
}

func couldBeHash(leaf payload.Leaf) bool {
	return leaf.Node != nil && len(leaf.Value) >= keyedBytes && !leaf.Truncated && (leaf.Kind == payload.KindToken || leaf.Kind == payload.KindOpaque)
}

// Holds says whether a leaf of the place's recipient is in the place, and could
// be a hash.
func (k Keyed) Holds(leaf payload.Leaf) bool {
	return couldBeHash(leaf) && leaf.Where == k.Where && withoutNumbers(leaf.Path) == k.Path
}

// withoutNumbers replaces each number between two marks of a path.
func withoutNumbers(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); {
		j := i
		for j < len(path) && path[j] >= '0' && path[j] <= '9' {
			j++
		}
		if j == i || i > 0 && isAlnum(path[i-1]) || j < len(path) && isAlnum(path[j]) {
			out.WriteString(path[i:max(j, i+1)])
			i = max(j, i+1)
			continue
		}
		out.WriteByte('*')
		i = j
	}
	return out.String()
}

// A tally is what the windows say of one place.
type tally struct {
	chance  float64
	windows int
	refuted bool
	values  [][]byte
}

func (t *tally) add(o *tally) {
	t.chance *= o.chance
	t.windows += o.windows
	t.refuted = t.refuted || o.refuted
	t.values = append(t.values, o.values...)
}

// compareTypings says what one window tells of a place: nil for nothing,
// because no draw would have made it look like a hash.
func compareTypings(at place, values [typings]map[place]map[valueKey][]byte, odd int) *tally {
	for _, v := range values {
		if len(v[at]) == 0 {
			return nil
		}
	}
	fits := func(odd int) []byte {
		a, b := values[(odd+1)%typings][at], values[(odd+2)%typings][at]
		var best []byte
		for key, value := range a {
			_, again := b[key]
			_, other := values[odd][at][key]
			if again && !other && (best == nil || string(value) < string(best)) {
				best = value
			}
		}
		return best
	}
	draws := 0
	for o := range typings {
		if fits(o) != nil {
			draws++
		}
	}
	switch value := fits(odd); {
	case draws == 0 || draws == typings:
		return nil
	case value == nil:
		return &tally{chance: float64(draws) / typings, refuted: true}
	default:
		return &tally{chance: float64(draws) / typings, windows: 1, values: [][]byte{value[:min(len(value), shownBytes)]}}
	}
}
