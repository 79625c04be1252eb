package canary_test

import (
	"net/mail"
	"net/url"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

// What is typed must be taken by the field as what it is, and hold the term.
func TestCanariesAreValidWhereTheyAreTyped(t *testing.T) {
	r := source(81)
	for range 500 {
		c, _ := canary.Mint(r, "x")
		for _, k := range []struct {
			kind  canary.Kind
			under string
			valid func(text string) bool
		}{
			{canary.Words, "", func(text string) bool { return text == c.Term }},
			{canary.Address, "https://pages.example/x", func(text string) bool {
				u, err := url.Parse(text)
				return err == nil && u.String() == text && u.Hostname() == "pages.example" && strings.HasPrefix(u.Path, "/x/")
			}},
			{canary.Host, "pages.example", func(text string) bool {
				u, err := url.Parse("https://" + text + "/")
				label, rest, _ := strings.Cut(text, ".")
				return err == nil && u.Hostname() == text && rest == "pages.example" && len(label) <= 63
			}},
			{canary.Mailbox, "pages.example", func(text string) bool {
				a, err := mail.ParseAddress(text)
				return err == nil && a.Address == text
			}},
		} {
			typed, err := c.As(k.kind, k.under)
			if err != nil {
				t.Fatal(err)
			}
			if !k.valid(typed.Text()) {
				t.Errorf("%q is no %s", typed.Text(), k.kind)
			}
			got := canary.NewFinder([]canary.Canary{typed}).Find(payload.Request(capture.Exchange{URL: "https://e.example/?u=" + url.QueryEscape(typed.Text())}))
			if len(got) != 1 || !got[0].Whole() || got[0].Form != canary.Plain || got[0].Canary != typed {
				t.Errorf("%s: %+v", typed.Text(), got)
			}
		}
	}
}

func TestAHostIsFoundInItsLookup(t *testing.T) {
	typed, err := planted.As(canary.Host, "pages.example")
	if err != nil {
		t.Fatal(err)
	}
	got := canary.NewFinder([]canary.Canary{typed}).Find(payload.Lookup(capture.Lookup{Name: typed.Text()}))
	if len(got) != 1 || !got[0].Whole() || got[0].Where != "dns" {
		t.Errorf("%+v", got)
	}
}

func TestWhatCannotBeTypedIsSaid(t *testing.T) {
	for _, c := range []struct {
		canary canary.Canary
		kind   canary.Kind
		under  string
	}{
		{planted, canary.Address, "ftp://x.example/"},
		{planted, canary.Address, "https://x.example/?q="},
		{planted, canary.Address, "pages.example"},
		{planted, canary.Host, ""},
		{planted, canary.Host, "a..b"},
		{planted, canary.Host, strings.Repeat("abcdefgh.", 27) + "example"},
		{planted, canary.Mailbox, "a b"},
		{planted, canary.Kind(9), "x"},
		{canary.Canary{Term: "oneword"}, canary.Words, ""},
	} {
		if got, err := c.canary.As(c.kind, c.under); err == nil {
			t.Errorf("%s under %q: %q", c.kind, c.under, got.Text())
		}
	}
}

func TestAShamIdentifierHasTheShapeOfTheTrueOne(t *testing.T) {
	r := source(82)
	for _, id := range []string{"9f3c1d2e4b5a6978", "867400022047199", "02:1a:4b:9c:3d:5e", "0B5C2A7E-6D1F-4A3C-9B5E-1F2D3C4B5A69", "SIMD2501701", "somebody@example.com", "+447700900123", "---"} {
		c := canary.Canary{ID: "identifier/x", Field: "x", Term: id}
		sham := canary.ShamOf(r, c)
		if !sham.Sham || sham.ID == c.ID || sham.Field != c.Field || len(sham.Term) != len(id) || sham.Term == id && id != "---" {
			t.Errorf("%q gives %+v", id, sham)
		}
		for i := range id {
			was, is := id[i], sham.Term[i]
			if (was < '0') != (is < '0') || was < '0' && was != is {
				t.Errorf("%q gives %q", id, sham.Term)
			}
		}
	}
}
