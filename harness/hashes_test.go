package harness_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
)

// inHead sends a value in a header whose readable values are understood, to a
// host whose requests are.
func (w *world) inHead(at time.Time, value string) {
	ex := w.send(at, "GET", "https://connect.rom.miui.com/generate_204", "", nil)
	ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Accept-Language", Value: value})
}

func (w *world) want(outcome harness.Outcome, because string) {
	w.t.Helper()
	f := w.judge()
	if f.Outcome != outcome || !strings.Contains(strings.Join(f.Because, "\n"), because) {
		for _, o := range w.trial.Observations {
			w.t.Logf("%s: %s %q", o.ID, o.Finding.Verdict, o.Finding.Because)
		}
		w.t.Errorf("outcome %s because %q, want %s because of %q", f.Outcome, f.Because, outcome, because)
	}
}

// TestLeads: a hash of 32 bits proves nothing, and silence with one in it is no
// silence, unless chance explains it.
func TestLeads(t *testing.T) {
	crc := func(s string) string { return fmt.Sprint(crc32.ChecksumIEEE([]byte(s))) }
	for name, c := range map[string]struct {
		happens func(w *world, off *harness.Observation, at time.Time)
		want    harness.Outcome
		because string
	}{
		"the CRC32 of the words": {func(w *world, off *harness.Observation, at time.Time) {
			w.inHead(at, crc(off.Canaries[0].Term))
		}, harness.OutcomeInconclusive, "a value that is the CRC32 of the planted words was transmitted to connect.rom.miui.com"},
		"the CRC32 of an identifier": {func(w *world, off *harness.Observation, at time.Time) {
			w.inHead(at, crc(off.Identifiers[0].Term))
		}, harness.OutcomeInconclusive, "a value that is the CRC32 of the phone's ANDROID_ID"},
		"the CRC32 of a sham": {func(w *world, off *harness.Observation, at time.Time) {
			w.inHead(at, crc(off.Canaries[1].Term))
		}, harness.Stops, ""},
		"the CRC32 of the words and of a sham": {func(w *world, off *harness.Observation, at time.Time) {
			w.inHead(at, crc(off.Canaries[0].Term))
			w.inHead(at, crc(off.Canaries[1].Term))
		}, harness.Stops, ""},
		"a number": {func(w *world, _ *harness.Observation, at time.Time) { w.inHead(at, "1234567890") }, harness.Stops, ""},
		"the CRC32 of the words while the switch is on": {func(w *world, _ *harness.Observation, _ time.Time) {
			on := w.get("on-1")
			w.inHead(on.Acts[0].Add(time.Second), crc(on.Canaries[0].Term))
		}, harness.Stops, ""},
		"among so many numbers that chance explains it": {func(w *world, off *harness.Observation, at time.Time) {
			w.inHead(at, crc(off.Canaries[0].Term))
			r := rand.New(rand.NewPCG(1, 2))
			for range 12 {
				ex := w.send(at, "GET", "https://connect.rom.miui.com/generate_204", "", nil)
				for range 40_000 {
					ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Range", Value: fmt.Sprint(10_000_000 + r.IntN(80_000_000))})
				}
				w.lastFlow().BytesUp += 8 * 40_000
				w.lastFlow().PayloadUp += 8 * 40_000
			}
		}, harness.Stops, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			off := w.get("off-1")
			c.happens(w, off, off.Acts[0].Add(2*time.Second))
			w.want(c.want, c.because)
		})
	}
}

// TestShamIdentifiers: a sham twin of an identifier accuses nobody. Where one is
// seen, the disguise is worth nothing.
func TestShamIdentifiers(t *testing.T) {
	sham := func(w *world) (id, twin canary.Canary) {
		id = w.get("off-1").Identifiers[0]
		twin = canary.ShamOf(rand.New(rand.NewPCG(1, 1)), id)
		for _, o := range w.trial.Observations {
			o.Identifiers = append(o.Identifiers, twin)
		}
		return id, twin
	}
	for name, c := range map[string]struct {
		sends   func(id, twin canary.Canary) string
		want    harness.Outcome
		because string
	}{
		"neither":                 {func(canary.Canary, canary.Canary) string { return "en" }, harness.Stops, ""},
		"the identifier":          {func(id, _ canary.Canary) string { return id.Term }, harness.Continues, "ANDROID_ID"},
		"the sham":                {func(_, twin canary.Canary) string { return twin.Term }, harness.OutcomeInconclusive, "nobody typed"},
		"the identifier and sham": {func(id, twin canary.Canary) string { return id.Term + "&" + twin.Term }, harness.OutcomeInconclusive, "nobody typed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id, twin := sham(w)
			off := w.get("off-1")
			w.inHead(off.Acts[0].Add(time.Second), c.sends(id, twin))
			if c.want == harness.OutcomeInconclusive {
				w.withoutReports() // The disguise that the sham takes is the events' too.
			}
			w.want(c.want, c.because)
			for _, o := range w.trial.Observations {
				for _, s := range o.Finding.Sightings {
					if s.Term == twin.Field && c.want != harness.Continues {
						t.Errorf("%s: %+v is a sighting", o.ID, s)
					}
				}
			}
		})
	}
	t.Run("is no salt, and is kept", func(t *testing.T) {
		w := newWorld(t)
		_, twin := sham(w)
		text, err := json.Marshal(w.get("off-1"))
		if err != nil {
			t.Fatal(err)
		}
		var again harness.Observation
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if kept := again.Identifiers[len(again.Identifiers)-1]; kept != twin || !kept.Sham {
			t.Errorf("from disk %+v, want %+v", kept, twin)
		}
	})
}

// minted gives the terms of the trial the times at which real ones are minted.
func (w *world) minted() {
	for _, o := range w.trial.Observations {
		for i := range o.Canaries {
			o.Canaries[i].Minted = o.Window.Open
		}
	}
}

// TestUnsalted: terms of this run that were searched for without salted hashes
// void silence; those of earlier runs are named, and void nothing.
func TestUnsalted(t *testing.T) {
	t.Run("earlier runs", func(t *testing.T) {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(3, 4))
		for range 300 {
			planted, _ := canary.Mint(r, "search words")
			planted.Minted = w.start.AddDate(0, 0, -3)
			w.ev.Known = append(w.ev.Known, planted)
		}
		w.minted()
		w.want(harness.Stops, "terms of earlier runs were searched for without salted hashes")
	})
	t.Run("earlier runs by a clock that was ahead", func(t *testing.T) {
		w := newWorld(t)
		r := rand.New(rand.NewPCG(3, 4))
		for range 1800 {
			planted, _ := canary.Mint(r, "search words")
			planted.Minted = w.start.AddDate(1, 0, 0)
			w.ev.Known = append(w.ev.Known, planted)
		}
		w.minted()
		off := w.get("off-1")
		salted := sha256.Sum256([]byte("com.mi.globalbrowser" + off.Canaries[0].Term))
		w.inHead(off.Acts[0].Add(time.Second), hex.EncodeToString(salted[:]))
		w.want(harness.Continues, "sha256:package")
	})
	t.Run("this run", func(t *testing.T) {
		w := newWorld(t)
		for _, o := range w.trial.Observations {
			for i := range 1500 {
				o.Claim.Scope.Apps = append(o.Claim.Scope.Apps, fmt.Sprintf("com.example.app%d", i))
			}
		}
		w.want(harness.OutcomeInconclusive, "of this very run were not searched for in salted hashes")
	})
}
