// Nothing here has two goroutines meet, and the race detector would make minutes
// of it: TestFinderInSeveralGoroutines is what it runs instead.

//go:build !race

package canary_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

const (
	cleanVariable     = "OFFPROOF_CLEAN"      // all, to search all of the clean traffic
	cleanSeedVariable = "OFFPROOF_CLEAN_SEED" // a number, that of the day unless given
)

// Whatever the order in which encodings are put around a term, the finder
// finds it, as plain, by exactly the path that undoes them.
func TestRandomCompositionsAreFound(t *testing.T) {
	r := source(11)
	const rounds, deepest = 3000, 6
	for round := range rounds {
		c, sham := canary.Mint(r, "query")
		value := "typed in the bar: " + c.Term
		if r.IntN(2) == 0 {
			value = c.Term
		}
		var steps, names []string
		last := ""
		for range 1 + r.IntN(deepest) {
			w := wrappers[r.IntN(len(wrappers))]
			// An encoding in itself twice is covered by name elsewhere; percent
			// within percent is peeled together with a form's own.
			if w.text && !utf8.ValidString(value) || w.name == last || len(value) > 1<<16 {
				continue
			}
			last = w.name
			value = w.wrap(t, r, value)
			steps = append(slices.Clone(w.steps), steps...)
			names = append(names, w.name)
		}
		path := strings.Join(steps, " > ")
		found := false
		var seen []string
		for _, s := range canary.NewFinder([]canary.Canary{sham, c}).Find(payload.Request(request(value))) {
			if s.Canary != c {
				t.Fatalf("round %d: a sham was seen: %+v", round, s)
			}
			found = found || s.Form == canary.Plain && s.Where == "body" && s.Path == path
			seen = append(seen, s.Form+" at "+s.Path)
		}
		if !found {
			t.Errorf("round %d: %q in %q: not at %q, seen %q\n%.300q", round, c.Term, names, path, seen, value)
			if t.Failed() && round > 200 {
				return
			}
		}
	}
}

// unproven are compressions that begin with no mark, of what is no readable text
// of some length: nothing proves that they were opened as they were made.
var unproven = []string{
	"no dashes in deflate", "gzip in deflate", "UTF-16 in deflate", "raw bytes of a UUID in deflate", "UTF-16 in brotli and base64",
}

// unread is true when something in the body could not be read, so that it
// cannot pass for clean.
func unread(parts []payload.Part) bool {
	for leaf := range payload.Leaves(parts) {
		if leaf.Where == "body" && (leaf.Kind == payload.KindOpaque || leaf.Kind == payload.KindToken) {
			return true
		}
	}
	return false
}

// Each known encoding is found by itself and inside each outer one, in a request
// that was opened as the judge opens it.
func TestEveryDisguiseIsFoundInEveryOther(t *testing.T) {
	r := source(61)
	uuid := canary.Canary{ID: "identifier/uuid", Field: "uuid", Term: "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}
	_, shamTerm := canary.Mint(r, "query")
	finder := canary.NewFinder([]canary.Canary{planted, uuid, shamTerm, canary.ShamOf(r, uuid)})
	for _, c := range []canary.Canary{planted, uuid} {
		known, left := 0, 0
		for _, inner := range disguises() {
			value := inner.send(t, c.Term)
			if value == "" {
				continue
			}
			known++
			for _, outer := range outers() {
				// Nothing sends bytes as text, or UTF-16 as if it were text.
				if outer.text && (!utf8.ValidString(value) || inner.name == outer.name) {
					continue
				}
				body := outer.wrap(t, r, value)
				var seen []string
				found := false
				parts := payload.Request(request(body))
				for _, s := range finder.Find(parts) {
					if s.Canary.ID != c.ID {
						t.Errorf("%s in %s: sighting of %q", inner.name, outer.name, s.Canary.Term)
					}
					found = found || s.Whole() && slices.Contains(inner.forms, s.Form)
					seen = append(seen, s.Form+" at "+s.Path)
				}
				if !found && slices.Contains(unproven, inner.name+" in "+outer.name) && unread(parts) {
					left++
					continue
				}
				if !found {
					t.Errorf("%s of %q in %s: seen %q\n%.200q", inner.name, c.Term, outer.name, seen, body)
				}
			}
		}
		t.Logf("%d encodings of %q in %d others; %d without a mark stay opaque", known, c.Term, len(outers()), left)
	}
}

// Whatever innocent values do, a false alarm comes at most as often as alpha
// says. The draws are repeated for each trial; nothing else is random but the
// values that are.
func TestFalseAlarmsOfKeyedHashesAreBounded(t *testing.T) {
	const trials = 400
	for _, c := range []struct {
		alpha   float64
		windows int
	}{{0.05, 3}, {0.05, 5}, {0.2, 2}, {0.2, 4}} {
		alarms := 0
		for trial := range uint64(trials) {
			got, err := canary.KeyedHashes(observe(source(1000+trial), c.windows, innocent), c.alpha)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) > 0 {
				alarms++
			}
		}
		// Four standard deviations above the bound.
		bound := c.alpha*trials + 4*math.Sqrt(c.alpha*(1-c.alpha)*trials)
		t.Logf("alpha %.2f, %d windows: %d false alarms in %d trials", c.alpha, c.windows, alarms, trials)
		if float64(alarms) > bound {
			t.Errorf("alpha %.2f, %d windows: %d false alarms in %d trials, at most %.0f", c.alpha, c.windows, alarms, trials, bound)
		}
	}
}

// The chance that is told is about what blind numbers give.
func TestLeadsComeAsOftenByChanceAsIsSaid(t *testing.T) {
	r := source(91)
	var all []canary.Canary
	for range 2000 {
		c, sham := canary.Mint(r, "query")
		all = append(all, c, sham)
	}
	finder := canary.NewFinder(all)
	found, expected := 0, 0.0
	for range 40 {
		var body strings.Builder
		body.WriteString("[0")
		for range 20_000 {
			fmt.Fprintf(&body, ",%d", r.Uint32()|1<<31)
		}
		leads, chance := finder.Leads(payload.Request(capture.Exchange{RequestBody: []byte(body.String() + "]")}))
		found += len(leads)
		expected += chance
	}
	t.Logf("%d leads by chance, %.1f expected", found, expected)
	if float64(found) > 2*expected+5 || float64(found) < expected/2-5 {
		t.Errorf("%d leads by chance, %.1f expected", found, expected)
	}
}

func TestIdentifiersAreNotFoundByChance(t *testing.T) {
	f := canary.NewFinder([]canary.Canary{{ID: "a", Term: "9f3c1d2e4b5a6978"}, {ID: "b", Term: "867400022047199"}, {ID: "c", Term: "02:1a:4b:9c:3d:5e"}})
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // Repeatable.
	noise := make([]byte, 8<<20)
	for i := range noise {
		noise[i] = byte(rng.UintN(256))
	}
	for name, b := range map[string][]byte{
		"random": noise, "hex": []byte(hex.EncodeToString(noise[:4<<20])), "base64": []byte(base64.StdEncoding.EncodeToString(noise[:4<<20])),
		"digits": bytes.Map(func(r rune) rune { return '0' + r%10 }, []byte(hex.EncodeToString(noise[:1<<20]))),
	} {
		if found := f.FindRaw(b); len(found) > 0 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// A gigabyte of traffic without a canary shows none, whole or in part.
func TestCleanTrafficShowsNothing(t *testing.T) {
	seed, err := strconv.ParseUint(time.Now().UTC().Format("20060102"), 10, 64)
	if text := os.Getenv(cleanSeedVariable); text != "" {
		seed, err = strconv.ParseUint(text, 10, 64)
	}
	if err != nil {
		t.Fatalf("%s: %v", cleanSeedVariable, err)
	}
	blocks := rand.New(rand.NewPCG(seed, 0)).Perm(cleanBlocks)
	if os.Getenv(cleanVariable) != "all" {
		blocks = blocks[:cleanSample]
		t.Logf("%d of %d blocks, by %s=%d; all by %s=all", len(blocks), cleanBlocks, cleanSeedVariable, seed, cleanVariable)
	}
	words := vocabulary(source(22), 500)
	finder := cleanFinder(t, 8000)
	searched := 0
	for n, block := range blocks {
		b := clean(rand.New(rand.NewPCG(uint64(block), 23)), words)
		searched += len(b)
		found := finder.FindRaw(b)
		// Opening a block takes thirty times as long as searching it.
		if n%8 == 0 {
			found = append(found, finder.Find(payload.Request(request(string(b), "User-Agent", "Mozilla/5.0 (Linux; Android 9)")))...)
		}
		for _, s := range found {
			t.Errorf("block %d: %s of %q at %s %q: %q", block, s.Form, s.Canary.Term, s.Where, s.Path, s.Excerpt)
		}
	}
	t.Logf("searched %d MB", searched>>20)
}
