package canary_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

func TestXORByAnyByteIsFound(t *testing.T) {
	imei := canary.Canary{ID: "identifier/IMEI", Field: "IMEI", Term: "867400022047199"}
	mac := canary.Canary{ID: "identifier/MAC", Field: "MAC", Term: "02:1a:4b:9c:3d:5e"}
	finder := canary.NewFinder([]canary.Canary{planted, imei, mac})
	for key := 1; key < 256; key++ {
		for offset := range 4 {
			for text, want := range map[string]canary.Canary{
				term: planted, strings.ToUpper(term): planted, "Zuvkomi Tefralog": planted, first + "+" + second: planted, first + second: planted,
				imei.Term: imei, mac.Term: mac, "021A4B9C3D5E": mac,
			} {
				body := []byte(xored(strings.Repeat("?", offset)+text+strings.Repeat("!", offset), byte(key)))
				got := finder.FindRaw(body)
				if len(got) != 1 || !got[0].Whole() || got[0].Canary != want {
					t.Fatalf("%q under %#x at %d: %+v", text, key, offset, got)
				}
				// The other case of a letter is a bit, so one key gives the text itself.
				form := canary.XOR
				if got[0].Form == canary.Plain && key == 0x20 {
					form = canary.Plain
				}
				if got[0].Form != form {
					t.Fatalf("%q under %#x is called %s", text, key, got[0].Form)
				}
			}
		}
	}
}

func TestXORIsFoundBelowOtherLayers(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for key := 1; key < 256; key++ {
		body := "data=" + strings.NewReplacer("+", "%2B", "/", "%2F").Replace(b64(xored(`{"search_word":"`+term+`"}`, byte(key))))
		got := finder.Find(payload.Request(request(body)))
		form := canary.XOR
		if key == 0x20 { // the other case
			form = canary.Plain
		}
		if !slices.ContainsFunc(got, func(s canary.Sighting) bool { return s.Form == form && s.Whole() }) {
			t.Errorf("under %#x: %+v", key, got)
		}
	}
}

// Words with the same differences are the only ones that a key can turn into
// the term; nearly the same is not the same.
func TestNearlyTheTermUnderXORIsNoSighting(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted, {ID: "identifier/x", Term: "9f3c1d2e4b5a6978"}})
	for _, text := range []string{first + " tefralof", first, second, "zuvkoma " + second, "9f3c1d2e4b5a697"} {
		for key := 1; key < 256; key++ {
			if got := finder.FindRaw([]byte(xored("ab "+text+" cd", byte(key)))); key != 0x20 && len(got) > 0 {
				t.Errorf("%q under %#x: %+v", text, key, got)
			}
		}
	}
}

func TestTheTextItselfIsNotCalledXOR(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted, {ID: "identifier/x", Term: "abcdefabcdef"}})
	for _, text := range []string{term, strings.ToUpper(term), "zUVKOMI tEFRALOG", "abcdefabcdef", "ABCDEFABCDEF"} {
		for _, s := range finder.FindRaw([]byte(fmt.Sprintf("say %s now", text))) {
			if s.Form == canary.XOR {
				t.Errorf("%q: %+v", text, s)
			}
		}
	}
}
