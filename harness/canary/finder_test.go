package canary_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
)

const (
	term   = "zuvkomi tefralog"
	first  = "zuvkomi"
	second = "tefralog"
)

var planted = canary.Canary{ID: "00000000000000ff", Field: "query", Term: term}

func compress(t testing.TB, open func(io.Writer) io.WriteCloser, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := open(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipped(t testing.TB, text string) string {
	return compress(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, text)
}

func quote(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func utf16le(text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

func request(body string, header ...string) capture.Exchange {
	ex := capture.Exchange{Method: "POST", URL: "https://t.example/x", RequestBody: []byte(body)}
	for i := 0; i+1 < len(header); i += 2 {
		ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: header[i], Value: header[i+1]})
	}
	return ex
}

// Every way to send a term that is known, with what the finder must call it
// and where it must say it is.
func TestFindInEveryDisguise(t *testing.T) {
	cipher := "\x01\x93\xfe\x80\x12\x00\x7f" // binary that nothing opens
	sum := func(b []byte) string { return hex.EncodeToString(b) }
	m, s1, s2 := md5.Sum([]byte(term)), sha1.Sum([]byte(term)), sha256.Sum256([]byte(term))
	b64 := base64.StdEncoding.EncodeToString
	doc := `{"event":"search","properties":{"search_word":"` + term + `","n":1}}`
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, form, where, path string
		ex                      capture.Exchange
	}{
		{"plain", "plain", "body", "", request("they typed " + term + " again")},
		{"upper case", "plain", "body", "", request(strings.ToUpper(term))},
		{"underscore", "plain", "body", "", request("last:" + first + "_" + second)},
		{"joined", "plain", "body", "", request("x" + first + second + "y")},
		{"in tags", "plain", "body", "", request("<b>" + first + "</b> <i>" + second + "</i>")},
		{"query", "plain", "url", "query:q", capture.Exchange{URL: "https://x.example/s?a=1&q=" + url.QueryEscape(term)}},
		{"query with %20", "plain", "url", "query:q", capture.Exchange{URL: "https://x.example/s?q=" + url.PathEscape(term)}},
		{"path", "plain", "url", "path:1", capture.Exchange{URL: "https://x.example/s/" + first + "-" + second + "/1"}},
		{"query's name", "plain", "url", "query:" + term, capture.Exchange{URL: "https://x.example/s?" + url.QueryEscape(term) + "=1"}},
		{"referer", "plain", "header", "Referer > url:query:q", request("", "Referer", "https://x.example/?q="+url.QueryEscape(term))},
		{"referer in a query", "plain", "url", "query:u > url:query:q", capture.Exchange{URL: "https://x.example/c?u=" + url.QueryEscape("https://e.example/?q="+url.QueryEscape(term))}},
		{"cookie", "plain", "cookie", "last > percent", request("", "Cookie", "a=b; last="+url.PathEscape(term))},
		{"form", "plain", "body", "form:q", request("a=1&q="+url.QueryEscape(term), "Content-Type", "application/x-www-form-urlencoded")},
		{"percent twice", "plain", "body", "form:q > percent", request("a=1&q=" + url.PathEscape(url.PathEscape(term)))},
		{"JSON", "plain", "body", "json:/properties/search_word", request(doc)},
		{"JSON in JSON", "plain", "body", "json:/d > json:/properties/search_word", request(quote(t, map[string]string{"d": doc}))},
		{"JSON escapes", "plain", "body", "json:/w", request(`{"w":"` + strings.ReplaceAll(strings.ReplaceAll(term, "z", `\u007a`), " ", `\u0020`) + `"}`)},
		{"JSON key", "plain", "body", "json:/" + term, request(`{"` + term + `":3}`)},
		{"JSON lines", "plain", "body", "line:1 > json:/properties/search_word", request("{\"a\":1}\n" + doc + "\n")},
		{"base64", "plain", "body", "base64 > json:/properties/search_word", request(b64([]byte(doc)))},
		{"base64url without padding", "plain", "body", "base64 > json:/properties/search_word", request(base64.RawURLEncoding.EncodeToString([]byte(doc)))},
		{"base64 in a form", "plain", "body", "form:data > base64 > json:/properties/search_word", request("data=" + url.QueryEscape(b64([]byte(doc))) + "&gzip=0")},
		{"Sensors", "plain", "body", "form:data_list > base64 > gzip > json:/0/properties/search_word", request("crc=1&gzip=1&data_list=" + url.QueryEscape(b64([]byte(gzipped(t, "["+doc+"]")))))},
		{"plus signs not escaped", "plain", "body", "form:data_list > base64 > gzip > json:/0/properties/search_word", request("gzip=1&data_list=" + b64([]byte(gzipped(t, "["+doc+"]"))) + "&crc=1")},
		{"gzip", "plain", "body", "gzip > json:/properties/search_word", request(gzipped(t, doc))},
		{"gzip twice", "plain", "body", "gzip > gzip > json:/properties/search_word", request(gzipped(t, gzipped(t, doc)))},
		{"gzip behind a header", "plain", "body", "gzip > json:/properties/search_word", request("\x00\x01\x02\x90" + gzipped(t, doc))},
		{"zlib", "plain", "body", "zlib > json:/properties/search_word", request(compress(t, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, doc))},
		{"deflate", "plain", "body", "deflate > json:/properties/search_word", request(compress(t, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 9); return f }, doc))},
		{"zstd", "plain", "body", "zstd > json:/properties/search_word", request(string(z.EncodeAll([]byte(doc), nil)))},
		{"brotli by header", "plain", "body", "brotli > json:/properties/search_word", request(compress(t, func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }, doc), "Content-Encoding", "br")},
		{"hex", "plain", "body", "hex", request(hex.EncodeToString([]byte(term)))},
		{"hex of JSON", "plain", "body", "form:p > hex > json:/properties/search_word", request("a=1&p=" + strings.ToUpper(hex.EncodeToString([]byte(doc))))},
		{"base32", "plain", "body", "base32", request(base32.StdEncoding.EncodeToString([]byte("typed " + term)))},
		{"UTF-16", "plain", "body", "utf16", request(utf16le("typed " + term))},
		{"array of bytes", "plain", "body", "json:/b > bytes", request(`{"b":` + strings.ReplaceAll(fmt.Sprint([]byte(term)), " ", ",") + `}`)},
		{"multipart", "plain", "body", "multipart:q", request("--xyz\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n"+term+"\r\n--xyz--\r\n", "Content-Type", "multipart/form-data; boundary=xyz")},
		{"file name", "plain", "body", "multipart-header:f", request("--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" + term + ".jpg\"\r\n\r\n\xff\xd8\x00\r\n--xyz--\r\n")},
		{"entities", "plain", "body", "xml:/p", request("<p>&#122;&#117;&#118;&#107;&#111;&#109;&#105;&#32;tefralog</p>")},
		{"reversed", "reversed", "body", "json:/w", request(`{"w":"golarfet imokvuz"}`)},
		{"rot13", "rot13", "body", "json:/w", request(`{"w":"mhixbzv grsenybt"}`)},
		{"spaced", "spaced", "body", "json:/w", request(`{"w":"` + strings.Join(strings.Split(term, ""), ".") + `"}`)},
		{"MD5", "md5-hex", "body", "json:/w", request(`{"w":"` + sum(m[:]) + `"}`)},
		{"middle of MD5", "md5-middle", "body", "json:/w", request(`{"w":"` + sum(m[:])[8:24] + `"}`)},
		{"SHA-1 in upper case", "sha1-hex", "body", "json:/w", request(`{"w":"` + strings.ToUpper(sum(s1[:])) + `"}`)},
		{"SHA-256", "sha256-hex", "body", "json:/w", request(`{"w":"` + sum(s2[:]) + `"}`)},
		{"SHA-256 cut to eight bytes", "sha256-hex", "body", "json:/w", request(`{"w":"` + sum(s2[:8]) + `"}`)},
		{"SHA-256 in base64", "sha256-raw", "body", "json:/w > base64", request(`{"w":"` + b64(s2[:]) + `"}`)},
		{"SHA-256 cut, in base64", "sha256-base64", "body", "json:/w", request(`{"w":"` + b64(s2[:9]) + `"}`)},
		{"SHA-256 in binary", "sha256-raw", "body", "", request(cipher + string(s2[:]) + cipher)},
		{"MD5 of another spelling", "md5-hex", "body", "json:/w", request(fmt.Sprintf(`{"w":"%x"}`, md5.Sum([]byte(first+"+"+second))))},
		{"plain in binary", "plain", "body", "", request(cipher + term + cipher)},
		{"base64 in binary", "plain", "body", "text:7-31 > base64", request(cipher + b64([]byte("a"+term)) + cipher)},
		{"hex in binary", "plain", "body", "text:7-39 > hex", request(cipher + hex.EncodeToString([]byte(term)) + cipher)},
		{"UTF-16 in binary", "utf16", "body", "", request(cipher + utf16le(term) + cipher + "\xff")},
		{"two leaves", "split", "body", "json:/a + json:/c", request(`{"a":"` + first + `","b":2,"c":"` + second + `"}`)},
		{"three leaves", "split", "body", "json:/a + json:/b + json:/c", request(fmt.Sprintf(`{"a":%q,"b":%q,"c":%q}`, term[:5], term[5:9], term[9:]))},
		{
			"numbered pieces", "split", "body", "json:/0/c + json:/1/c + json:/2/c + … + json:/4/c",
			request(fmt.Sprintf(`[{"i":0,"c":%q},{"i":1,"c":%q},{"i":2,"c":%q},{"i":3,"c":%q},{"i":4,"c":%q}]`, term[:4], term[4:7], term[7:10], term[10:13], term[13:])),
		},
		{"letter by letter", "split", "url", "query:c + query:c + query:c + … + query:c", capture.Exchange{URL: "https://x.example/?c=" + strings.Join(strings.Split(first+second, ""), "&c=")}},
		{"first letters", "prefix", "url", "query:q", capture.Exchange{URL: "https://x.example/ac?q=" + url.QueryEscape(term[:10])}},
		{"six letters", "prefix", "url", "query:q", capture.Exchange{URL: "https://x.example/ac?q=" + term[:6]}},
		{"second word", "word", "body", "json:/w", request(`{"w":"` + second + `"}`)},
	}
	if len(cases) < 27 {
		t.Fatalf("only %d disguises", len(cases))
	}
	_, sham := canary.Mint(source(5), "query")
	finder := canary.NewFinder([]canary.Canary{sham, planted})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var seen []string
			for _, s := range finder.Find(payload.Request(c.ex)) {
				if s.Canary != planted {
					t.Errorf("sighting of %q, which is not there", s.Canary.Term)
				}
				if s.Form == c.form && s.Where == c.where && s.Path == c.path {
					if whole := c.form != canary.Prefix && c.form != canary.Word; s.Whole() != whole {
						t.Errorf("whole is %v with %d characters", s.Whole(), s.Chars)
					}
					return
				}
				seen = append(seen, fmt.Sprintf("%s at %s %q", s.Form, s.Where, s.Path))
			}
			t.Errorf("no %s at %s %q; seen: %q", c.form, c.where, c.path, seen)
		})
	}
}

// Base64 must be found at each of its three offsets in bytes that nothing
// decodes, in each case of the letters.
func TestFindRawBase64AtEveryOffset(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for _, text := range []string{term, strings.ToUpper(term), "Zuvkomi Tefralog", first + "+" + second, first + "%20" + second, first + second} {
		for offset := range 3 {
			for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
				raw := "\x00\xff" + enc.EncodeToString([]byte(strings.Repeat("?", offset)+text+"???")) + "\x00"
				got := finder.FindRaw([]byte(raw))
				if len(got) != 1 || got[0].Form != canary.Base64 || !got[0].Whole() {
					t.Errorf("%q at offset %d: %+v", text, offset, got)
				}
			}
		}
	}
}

func TestPrefixSaysHowManyCharacters(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for n := range len(term) {
		typed := term[:n]
		got := finder.Find(payload.Request(capture.Exchange{URL: "https://x.example/ac?client=a&q=" + url.QueryEscape(typed) + "&cp=3"}))
		want := len(strings.TrimRight(typed, " "))
		switch {
		case n < 6:
			if len(got) != 0 {
				t.Errorf("%q: %+v, want nothing", typed, got)
			}
		case len(got) != 1 || got[0].Form != canary.Prefix || got[0].Chars != want || got[0].Whole():
			t.Errorf("%q: %+v, want a prefix of %d characters", typed, got, want)
		}
	}
}

func TestAPartInsideALongerWordIsNoSighting(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for _, text := range []string{"xzuvkomi", "zuvkomix", "azuvkomb", "zUvKoMi", "tefralogs", "zuvko mi", "tefralo", "9zuvkomi"} {
		if got := finder.FindRaw([]byte("some " + text + " text")); len(got) > 0 {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestNearMissesAreNoSightings(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	for _, text := range nearMisses(1 << 16) {
		if got := finder.FindRaw(text); len(got) > 0 {
			t.Errorf("%.20q: %+v", text, got)
		}
	}
}

func TestTheDeepestLayerIsReportedOnce(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	got := finder.Find(payload.Request(request(`{"a":{"b":"` + term + `"},"c":"` + term + `"}`)))
	if len(got) != 2 || got[0].Path != "json:/a/b" || got[1].Path != "json:/c" {
		t.Errorf("got %+v, want one sighting at each of two leaves", got)
	}
}

func TestLookupIsSearched(t *testing.T) {
	finder := canary.NewFinder([]canary.Canary{planted})
	code := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte("q=" + term)))
	long := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(`{"event":"search","search_word":"` + term + `"}`)))
	for name, path := range map[string]string{
		first + "-" + second + ".example.com":           "label:0",
		first + "." + second + ".example.com":           "",
		code + ".t.example.com":                         "label:0 > base32",
		long[:63] + "." + long[63:] + ".t.example.com":  "label:0-1 > base32 > json:/search_word",
		hex.EncodeToString([]byte(term)) + ".x.example": "label:0 > hex",
	} {
		got := finder.Find(payload.Lookup(capture.Lookup{Name: name}))
		if len(got) != 1 || got[0].Path != path || got[0].Where != "dns" || !got[0].Whole() {
			t.Errorf("%s: %+v, want one sighting at %q", name, got, path)
		}
	}
}

func TestSaltsAreTried(t *testing.T) {
	const salt = "com.mi.globalbrowser"
	body := request(fmt.Sprintf(`{"h":"%x"}`, sha256.Sum256([]byte(salt+term))))
	if got := canary.NewFinder([]canary.Canary{planted}).Find(payload.Request(body)); len(got) != 0 {
		t.Errorf("without the salt: %+v", got)
	}
	if got := canary.NewFinder([]canary.Canary{planted}, canary.Salt{Name: "package", Value: salt}).Find(payload.Request(body)); len(got) != 1 || got[0].Form != "sha256:package" {
		t.Errorf("with the salt: %+v", got)
	}
}

func TestTermsThatCannotBeFoundAreLeftOut(t *testing.T) {
	for _, term := range []string{"", "a", "short"} {
		if got := canary.NewFinder([]canary.Canary{{Term: term}}).FindRaw([]byte("text with " + term)); len(got) > 0 {
			t.Errorf("%q: %+v", term, got)
		}
	}
}

// Observations of several phones are searched at once with one finder: each
// search finds what it finds alone, and the table of leads is made once.
func TestFinderInSeveralGoroutines(t *testing.T) {
	t.Parallel()
	finder := canary.NewFinder([]canary.Canary{planted})
	var all [][]payload.Part
	for _, d := range disguises() {
		if value := d.send(t, planted.Term); value != "" {
			all = append(all, payload.Request(request(value)))
		}
	}
	sum := crc32.ChecksumIEEE([]byte(term))
	all = append(all, payload.Request(request(fmt.Sprintf(`{"h":%d}`, sum))))
	search := func(finder *canary.Finder, parts []payload.Part) string {
		leads, chance := finder.Leads(parts)
		return fmt.Sprint(finder.Find(parts), leads, chance)
	}
	var alone []string
	for _, parts := range all {
		alone = append(alone, search(canary.NewFinder([]canary.Canary{planted}), parts))
	}
	var group sync.WaitGroup
	for from := range 4 {
		group.Go(func() {
			for i := range all {
				at := (i + from*len(all)/4) % len(all)
				if got := search(finder, all[at]); got != alone[at] {
					t.Errorf("body %d, beside others: %s; alone: %s", at, got, alone[at])
				}
			}
		})
	}
	group.Wait()
}
