package canary_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

func TestMintMakesTwoWordsThatNobodyWrites(t *testing.T) {
	r := source(1)
	ids, words := map[string]bool{}, map[string]int{}
	const rounds = 3000
	for range rounds {
		planted, sham := canary.Mint(r, "query")
		if planted.Sham || !sham.Sham {
			t.Fatalf("planted %+v, sham %+v", planted, sham)
		}
		if planted.Field != "query" || sham.Field != "query" {
			t.Fatalf("fields %q and %q, want query", planted.Field, sham.Field)
		}
		for _, c := range []canary.Canary{planted, sham} {
			if ids[c.ID] || len(c.ID) != 16 {
				t.Fatalf("id %q is used twice or has not 16 digits", c.ID)
			}
			ids[c.ID] = true
			parts := strings.Split(c.Term, " ")
			if len(parts) != 2 {
				t.Fatalf("term %q has %d words", c.Term, len(parts))
			}
			for _, w := range parts {
				if len(w) < 7 || len(w) > 9 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
					t.Fatalf("word %q is not of seven to nine lower-case letters", w)
				}
				words[w]++
			}
			if kind := payload.Peel([]byte(c.Term), "").Kind; kind != payload.KindText {
				t.Errorf("term %q looks like %v to payload: a planted term must not look like a token", c.Term, kind)
			}
		}
		p, s := strings.Fields(planted.Term), strings.Fields(sham.Term)
		if len(p[0]) != len(s[0]) || len(p[1]) != len(s[1]) {
			t.Fatalf("sham %q has another shape than %q", sham.Term, planted.Term)
		}
	}
	if twice := 4*rounds - len(words); twice > 20 {
		t.Errorf("%d of %d words were minted before", twice, 4*rounds)
	}
}

func TestMintIsTheSameFromTheSameSeed(t *testing.T) {
	a, shamA := canary.Mint(source(7), "query")
	b, shamB := canary.Mint(source(7), "query")
	c, _ := canary.Mint(source(8), "query")
	if a != b || shamA != shamB {
		t.Errorf("%+v and %+v from one seed", a, b)
	}
	if a.Term == c.Term {
		t.Errorf("two seeds both give %q", a.Term)
	}
}

func TestRegisterKeepsEveryCanary(t *testing.T) {
	r := source(2)
	var file bytes.Buffer
	var want []canary.Canary
	for range 5 {
		planted, sham := canary.Mint(r, "query")
		planted.Serial, planted.Observation, planted.Minted = "SIM1", "o-1", time.Date(2020, 5, 4, 12, 0, 0, 123456789, time.UTC)
		want = append(want, planted, sham)
		if err := canary.AppendRegister(&file, planted, sham); err != nil {
			t.Fatal(err)
		}
	}
	got, err := canary.ReadRegister(&file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("read %d canaries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d: %+v, want %+v", i+1, got[i], want[i])
		}
	}
}

func TestRegisterNamesTheLineThatCannotBeRead(t *testing.T) {
	good := `{"format":1,"id":"1","field":"query","term":"zuvkomi tefralo"}`
	for name, c := range map[string]struct {
		text, message string
		left          int
	}{
		"cut short":    {good + "\n" + good + "\n" + good[:30], "line 3", 2},
		"not JSON":     {good + "\nhello\n" + good, "line 2", 2},
		"no term":      {`{"format":1,"id":"1"}` + "\n" + good, "line 1", 1},
		"other format": {good + "\n" + `{"format":2,"term":"a b"}`, "format is 2", 1},
		"endless line": {good + "\n" + strings.Repeat("x", 1<<17), "after line 1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := canary.ReadRegister(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("error %v, want one with %q", err, c.message)
			}
			if len(got) != c.left {
				t.Errorf("%d canaries are left, want %d", len(got), c.left)
			}
		})
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestRegisterSaysThatItCouldNotWrite(t *testing.T) {
	c, _ := canary.Mint(source(1), "query")
	if err := canary.AppendRegister(broken{}, c); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v, want a short write", err)
	}
}

func TestQualifyDropsFormsInWhichAShamWasSeen(t *testing.T) {
	planted, sham := canary.Mint(source(3), "query")
	kept, dropped := canary.Qualify([]canary.Sighting{
		{Canary: planted, Form: canary.Plain},
		{Canary: planted, Form: canary.Prefix},
		{Canary: sham, Form: canary.Prefix},
	})
	if len(kept) != 1 || kept[0].Form != canary.Plain {
		t.Errorf("kept %+v, want the plain one only", kept)
	}
	if len(dropped) != 2 {
		t.Errorf("dropped %+v, want both prefixes", dropped)
	}
}

func FuzzReadRegister(f *testing.F) {
	f.Add([]byte(`{"format":1,"id":"1","field":"query","term":"zuvkomi tefralo"}` + "\n{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := canary.ReadRegister(bytes.NewReader(b))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := canary.AppendRegister(&again, got...); err != nil {
			t.Fatal(err)
		}
		reread, err := canary.ReadRegister(&again)
		if err != nil || len(reread) != len(got) {
			t.Fatalf("%d canaries became %d: %v", len(got), len(reread), err)
		}
	})
}
