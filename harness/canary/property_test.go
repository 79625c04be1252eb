package canary_test

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

// A wrapper puts a value into an encoding, and says which steps payload takes
// to get it out again.
type wrapper struct {
	name string
	// text is true when the encoding holds only text, not any bytes.
	text bool
	wrap func(t testing.TB, r *rand.Rand, value string) string
	// steps are those that the path must end with, in order.
	steps []string
}

var wrappers = []wrapper{
	{"form", false, func(_ testing.TB, r *rand.Rand, v string) string {
		return fmt.Sprintf("crc=%d&value=%s&lang=en-GB", r.IntN(1000), url.QueryEscape(v))
	}, []string{"form:value"}},
	{"percent", false, func(_ testing.TB, _ *rand.Rand, v string) string {
		var b strings.Builder
		for _, c := range []byte(v) {
			fmt.Fprintf(&b, "%%%02X", c)
		}
		return b.String()
	}, []string{"percent"}},
	{"base64", false, func(_ testing.TB, _ *rand.Rand, v string) string {
		return base64.StdEncoding.EncodeToString([]byte(v))
	}, []string{"base64"}},
	{"base64url", false, func(_ testing.TB, _ *rand.Rand, v string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(v))
	}, []string{"base64"}},
	{"hex", false, func(_ testing.TB, _ *rand.Rand, v string) string { return hex.EncodeToString([]byte(v)) }, []string{"hex"}},
	{"gzip", false, func(t testing.TB, _ *rand.Rand, v string) string { return gzipped(t, v) }, []string{"gzip"}},
	{"zlib", false, func(t testing.TB, _ *rand.Rand, v string) string {
		return compress(t, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, v)
	}, []string{"zlib"}},
	{"JSON", true, func(t testing.TB, _ *rand.Rand, v string) string {
		return quote(t, map[string]any{"event": "search", "n": 1.5, "properties": map[string]any{"list": []any{true, v, nil}}})
	}, []string{"json:/properties/list/1"}},
	{"JSON lines", true, func(t testing.TB, _ *rand.Rand, v string) string {
		return "{\"a\":1}\n" + quote(t, map[string]any{"b": v}) + "\n"
	}, []string{"line:1", "json:/b"}},
	{"multipart", false, func(_ testing.TB, r *rand.Rand, v string) string {
		mark := fmt.Sprintf("--part%d", r.Uint64())
		return mark + "\r\nContent-Disposition: form-data; name=\"file\"\r\nContent-Type: application/octet-stream\r\n\r\n" + v + "\r\n" + mark + "--\r\n"
	}, []string{"multipart:file"}},
	{"UTF-16", true, func(_ testing.TB, _ *rand.Rand, v string) string { return "\xff\xfe" + utf16le(v) }, []string{"utf16"}},
}

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

// clean makes one message of traffic that holds no canary.
func clean(r *rand.Rand, words []string) capture.Exchange {
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(words[r.IntN(len(words))])
			b.WriteByte(" ,.\n&=/-_+"[r.IntN(10)])
		}
		return b.String()
	}
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	letters := func(n int) string {
		b := random(n)
		for i, c := range b {
			b[i] = 'a' + c%26
		}
		return string(b)
	}
	const size = 16 << 10
	body := ""
	switch r.IntN(8) {
	case 0:
		body = string(random(size))
	case 1:
		body = base64.StdEncoding.EncodeToString(random(size))
	case 2:
		body = hex.EncodeToString(random(size))
	case 3:
		body = text(size / 6)
	case 4:
		body = letters(size)
	case 5:
		body = fmt.Sprintf(`{"url":"https://%s.example/%s?q=%s","token":"%x","words":%q}`, letters(8), letters(20), letters(16), random(32), text(2000))
	case 6:
		body = "a=" + url.QueryEscape(text(1000)) + "&b=" + url.QueryEscape(base64.StdEncoding.EncodeToString(random(size/2)))
	case 7:
		var b strings.Builder
		for b.Len() < size {
			b.WriteString(letters(3+r.IntN(10)) + " ")
		}
		body = b.String()
	}
	return request(body, "User-Agent", "Mozilla/5.0 (Linux; Android 9)", "Referer", "https://"+letters(10)+".example/"+letters(7)+"?q="+letters(8)+"+"+letters(8))
}

// vocabulary is minted like canaries, so that clean text is as much like a
// term as text can be without being one.
func vocabulary(r *rand.Rand, n int) []string {
	words := strings.Fields(`the of and to in is that for it as was with be by on not he his but at are this have from or had an they
		which one you were all her she there would their we him been has when who will no more if out so up said what its about than
		into them can only other time new some could these two may first then do any like my now over such our man me even most made
		after also did many off before must well back through years where much your way down should because long each just state people
		search browser incognito settings privacy privacyaccept improve statistics collection aggregated network language duckduckgo google`)
	for range n {
		c, _ := canary.Mint(r, "query")
		words = append(words, strings.Fields(c.Term)...)
	}
	return words
}

func TestCleanTrafficShowsNothing(t *testing.T) {
	const total = 50 << 20
	r := source(21)
	var planted []canary.Canary
	for range 100 {
		c, sham := canary.Mint(r, "query")
		planted = append(planted, c, sham)
	}
	words := vocabulary(source(22), 500)
	finder := canary.NewFinder(planted)
	var searched int
	for searched < total {
		ex := clean(r, words)
		searched += len(ex.RequestBody)
		for _, s := range finder.Find(payload.Request(ex)) {
			t.Errorf("%s of %q at %s %q: %q", s.Form, s.Canary.Term, s.Where, s.Path, s.Excerpt)
		}
	}
	t.Logf("searched %d bytes for %d terms", searched, len(planted))
}

// Hostile text that is nearly a term everywhere must not cost much more than
// any other: the search would otherwise be a way to stop the tool.
func TestNearMissesAreCheap(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	cost := func(text string) time.Duration {
		best := time.Duration(1 << 62)
		for range 5 {
			start := time.Now()
			if got := finder.FindRaw([]byte(text)); len(got) > 0 {
				t.Fatalf("%+v", got)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	const size = 4 << 20
	near := cost(strings.Repeat("zuvkomx", size/7))
	other := cost(strings.Repeat("abcdefg", size/7))
	if near > 60*other {
		t.Errorf("near misses cost %v, other text %v", near, other)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("q=zuvkomi+tefralog"), "application/x-www-form-urlencoded")
	f.Add([]byte("%7a%75%76%6b%6f%6d%69%2520tefralog enV2a29taSB0ZWZyYWxvZw=="), "")
	f.Add([]byte("z\x00u\x00v\x00k\x00o\x00m\x00i\x00 \x00t\x00"), "")
	f.Add([]byte("7a75766b6f6d692074656672616c6f67 golarfet imokvuz zuvkom"), "")
	finder := canary.NewFinder([]canary.Canary{planted})
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		for _, s := range finder.FindRaw(body) {
			if s.Chars < 6 || s.Chars > len(term) || s.Form == "" {
				t.Errorf("%+v", s)
			}
		}
		whole := bytes.Contains(body, []byte(term))
		for _, s := range finder.Find(payload.Request(request(string(body), "Content-Type", contentType))) {
			whole = whole && !s.Whole()
		}
		if whole {
			t.Errorf("a plain term was missed in %q", body)
		}
	})
}

// BenchmarkFindRaw searches text as phones send it for many canaries; compare
// the bytes per second of the cases with one another.
func BenchmarkFindRaw(b *testing.B) {
	r := source(31)
	words := vocabulary(source(32), 100)
	var text bytes.Buffer
	for text.Len() < 8<<20 {
		text.Write(clean(r, words).RequestBody)
	}
	// A canary has about 150 patterns, so 60 canaries have some 9,000.
	for _, n := range []int{1, 10, 60, 8000} {
		var planted []canary.Canary
		for range n {
			c, _ := canary.Mint(r, "query")
			planted = append(planted, c)
		}
		finder := canary.NewFinder(planted)
		b.Run(fmt.Sprintf("%d canaries", n), func(b *testing.B) {
			b.SetBytes(int64(text.Len()))
			for b.Loop() {
				finder.FindRaw(text.Bytes())
			}
		})
	}
	b.Run("bytes.Contains of one", func(b *testing.B) {
		b.SetBytes(int64(text.Len()))
		for b.Loop() {
			if bytes.Contains(text.Bytes(), []byte(term)) {
				b.Fatal("found")
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	c, sham := canary.Mint(source(1), "query")
	finder := canary.NewFinder([]canary.Canary{c, sham})
	doc := strings.Repeat(`{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}},`, 200)
	body := "gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(compress(b, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 1); return f }, "["+doc+"{}]"))))
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		finder.Find(payload.Request(request(body)))
	}
}
