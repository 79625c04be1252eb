package canary_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

// A talker makes what one endpoint is sent for one typing; position counts the
// typings from the beginning.
type talker func(r *rand.Rand, term string, window, position int) string

func token(seed ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(seed...)))
	return hex.EncodeToString(sum[:16])
}

func secret(term string) string {
	mac := hmac.New(sha256.New, []byte("nobody told it"))
	mac.Write([]byte(term))
	return hex.EncodeToString(mac.Sum(nil))
}

// innocent are values that have nothing to do with the term.
var innocent = map[string]talker{
	"constant":   func(*rand.Rand, string, int, int) string { return token("phone") },
	"fresh":      func(r *rand.Rand, _ string, _, _ int) string { return token(r.Uint64()) },
	"session":    func(_ *rand.Rand, _ string, w, p int) string { return token("session", (3*w+p)/2) },
	"alternates": func(_ *rand.Rand, _ string, w, p int) string { return token("server", (3*w+p)%2) },
	"of three":   func(r *rand.Rand, _ string, _, _ int) string { return token("of three", r.IntN(3)) },
	"by place":   func(_ *rand.Rand, _ string, _, p int) string { return token("place", min(p, 1)) },
	"both ends":  func(_ *rand.Rand, _ string, _, p int) string { return token("ends", p%2) },
	"per window": func(_ *rand.Rand, _ string, w, p int) string { return token("window", w, p == w%3) },
}

// observe draws the order of the terms of each window, and sends what the
// talkers say.
func observe(r *rand.Rand, windows int, talkers map[string]talker) [][]canary.Typing {
	var out [][]canary.Typing
	for w := range windows {
		odd := r.IntN(3)
		var typings []canary.Typing
		for p := range 3 {
			typed := fmt.Sprintf("zuvkomi tefral%02da", w)
			if p == odd {
				typed = fmt.Sprintf("bendolk varizu%02db", w)
			}
			typing := canary.Typing{Term: typed, Leaves: map[string][]payload.Leaf{}}
			for _, name := range slices.Sorted(maps.Keys(talkers)) {
				value := talkers[name](r, typed, w, p)
				root := payload.Peel([]byte(value), "")
				typing.Leaves[name] = append(typing.Leaves[name], payload.Leaf{Where: "body", Path: fmt.Sprintf("json:/batch/%d/id", p), Node: root})
			}
			typings = append(typings, typing)
		}
		out = append(out, typings)
	}
	return out
}

func TestAHashUnderASecretKeyIsFoundByTypingTwice(t *testing.T) {
	talkers := map[string]talker{"hash": func(_ *rand.Rand, term string, _, _ int) string { return secret(term) }}
	for name, talk := range innocent {
		talkers[name] = talk
	}
	for seed := range uint64(20) {
		got, err := canary.KeyedHashes(observe(source(seed), 8, talkers), 0.05)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || got[0].Recipient != "hash" || got[0].Path != "json:/batch/*/id" || got[0].Where != "body" {
			t.Fatalf("seed %d: %+v", seed, got)
		}
		if got[0].Windows != 8 || got[0].Chance > 0.01 || len(got[0].Values) != 8 || len(got[0].Values[0]) != 64 {
			t.Errorf("seed %d: %+v", seed, got[0])
		}
	}
}

// The key may change with each window; the term's place in its batch may, too.
func TestAHashWithAKeyForEachWindowIsFound(t *testing.T) {
	talkers := map[string]talker{"hash": func(_ *rand.Rand, term string, w, _ int) string { return secret(fmt.Sprint(w, term)) }}
	got, err := canary.KeyedHashes(observe(source(1), 3, talkers), 0.05)
	if err != nil || len(got) != 1 || got[0].Windows != 3 || got[0].Chance > 1.0/27+1e-9 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := canary.KeyedHashes(observe(source(1), 2, talkers), 0.05); err != nil || len(got) > 0 {
		t.Errorf("two windows are enough for %+v, %v", got, err)
	}
}

func TestShortValuesAreNoKeyedHashes(t *testing.T) {
	talkers := map[string]talker{
		"length": func(_ *rand.Rand, term string, _, _ int) string { return fmt.Sprint(len(term)) },
		"crc":    func(_ *rand.Rand, term string, _, _ int) string { return secret(term)[:7] },
		"plain":  func(_ *rand.Rand, term string, _, _ int) string { return term },
	}
	if got, err := canary.KeyedHashes(observe(source(3), 6, talkers), 0.05); err != nil || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A value that was away in one window speaks neither for nor against it; one
// that did not go with the term speaks against it for good.
func TestAWindowWithoutTheValueTellsNothing(t *testing.T) {
	hash := func(_ *rand.Rand, term string, w, _ int) string {
		if w == 1 {
			return "none"
		}
		return secret(term)
	}
	got, err := canary.KeyedHashes(observe(source(4), 6, map[string]talker{"hash": hash}), 0.05)
	if err != nil || len(got) != 1 || got[0].Windows != 5 {
		t.Errorf("%+v, %v", got, err)
	}
	windows := observe(source(5), 6, map[string]talker{"hash": hash})
	// The third window's terms are told in another order than they were typed in.
	w := windows[2]
	w[0].Leaves, w[1].Leaves, w[2].Leaves = w[1].Leaves, w[2].Leaves, w[0].Leaves
	if got, err := canary.KeyedHashes(windows, 0.05); err != nil || len(got) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestKeyedHashesNeedATermTwiceAndAnotherOnce(t *testing.T) {
	typing := func(terms ...string) (w []canary.Typing) {
		for _, term := range terms {
			w = append(w, canary.Typing{Term: term})
		}
		return w
	}
	for _, w := range [][]canary.Typing{nil, typing("a", "a"), typing("a", "a", "a"), typing("a", "b", "c"), typing("a", "b", "a", "b"), typing("", "", "a")} {
		if _, err := canary.KeyedHashes([][]canary.Typing{typing("a", "b", "a"), w}, 0.05); err == nil {
			t.Errorf("%+v is taken", w)
		}
	}
}

func FuzzKeyedHashes(f *testing.F) {
	f.Add([]byte("0123456789abcdef0123456789abcdef"), []byte("fedcba9876543210fedcba9876543210"), "json:/0/id > a12")
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, []byte{}, "form:12")
	f.Fuzz(func(t *testing.T, same, other []byte, path string) {
		leaf := func(value []byte) map[string][]payload.Leaf {
			return map[string][]payload.Leaf{"x": {{Where: "body", Path: path, Node: payload.Peel(value, "")}, {Where: "body", Path: path}}}
		}
		var windows [][]canary.Typing
		for range 4 {
			windows = append(windows, []canary.Typing{{Term: "a", Leaves: leaf(same)}, {Term: "b", Leaves: leaf(other)}, {Term: "a", Leaves: leaf(same)}})
		}
		got, err := canary.KeyedHashes(windows, 0.05)
		if err != nil || len(got) > 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if len(got) == 1 && (len(same) < 8 || string(same) == string(other) || got[0].Chance > 0.05) {
			t.Errorf("%+v", got[0])
		}
	})
}
