package canary_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

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
