package browser_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/offproof/offproof/devices/sim/browser"
)

// What a page says is bounded, whatever the page is.
func FuzzPage(f *testing.F) {
	for _, s := range []string{
		"", "<title>t</title><p>text", "<a href='/x'><h3>head</h3></a>", "<base href='https://b.example/'><img src=i><iframe src=f>",
		"<meta name=referrer content=origin>", strings.Repeat("<div>", 3000), strings.Repeat("<p>x", 500), "<a href='%zz'>x</a><img src='://'>",
		strings.Repeat("<img src=a>", 99), "<input value=v>", "\xff\xfe<\x00p>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, document string) {
		p, err := browser.ReadPage("https://a.example/dir/page?q=1#f", document)
		if err != nil {
			return
		}
		if len(p.Texts) > 120 || len(p.Resources) > 40 {
			t.Errorf("%d texts, %d resources", len(p.Texts), len(p.Resources))
		}
		for _, r := range p.Resources {
			if u, err := url.Parse(r); err != nil || u.Scheme != "http" && u.Scheme != "https" {
				t.Errorf("resource %q", r)
			}
		}
		if strings.Contains(p.Referer, "#") {
			t.Errorf("referer %q", p.Referer)
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"", "a.b", "two words", "http://[::1", "a.b:99999/x", "é.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		address, ok := browser.Address(typed)
		if !ok || !utf8.ValidString(typed) {
			return
		}
		if _, err := url.Parse(address); err != nil {
			t.Errorf("%q opens %q: %v", typed, address, err)
		}
	})
}

func TestPage(t *testing.T) {
	p, err := browser.ReadPage("https://a.example/dir/page?q=1#f", `<!DOCTYPE html><title> A
 title </title><link rel="shortcut icon" href="/i.ico"><link rel=canonical href=/no><style>p{}</style>
<script src="https://b.example/s.js#x">var hidden;</script><noscript>hidden</noscript>
<h1>Head</h1><p>One <b>two</b>
three</p><a href="/link">A link</a><a href="javascript:x">No link</a><img src="data:image/gif;base64,AA"><img src=p.png><input type=hidden value=h><input name=q value="v w">`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(p.Texts, "|"), "Head|One two three|A link|No link|v w"; got != want {
		t.Errorf("texts are %q, want %q", got, want)
	}
	if got, want := strings.Join(p.Resources, " "), "https://a.example/i.ico https://b.example/s.js https://a.example/dir/p.png"; got != want {
		t.Errorf("resources are %q, want %q", got, want)
	}
	if p.Title != "A title" || p.Referer != "https://a.example/dir/page?q=1" || p.Links != 1 {
		t.Errorf("page is %+v", p)
	}
}
