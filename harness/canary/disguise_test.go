package canary_test

import (
	"compress/flate"
	"compress/zlib"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/offproof/offproof/harness/canary"
)

// A disguise is one of the known ways to send a text.
type disguise struct {
	name string
	// forms are what the finder may call it.
	forms []string
	send  func(t testing.TB, text string) string
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func percent(s string) string {
	var out strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&out, "%%%02X", c)
	}
	return out.String()
}

func deflated(t testing.TB, s string) string {
	return compress(t, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 9); return f }, s)
}

func brotlied(t testing.TB, s string) string {
	return compress(t, func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) }, s)
}

func document(t testing.TB, text string) string {
	return quote(t, map[string]any{"event": "search", "properties": map[string]any{"search_word": text, "n": 1}})
}

func xored(s string, key byte) string {
	b := []byte(s)
	for i := range b {
		b[i] ^= key
	}
	return string(b)
}

func bare(s string) string { return strings.NewReplacer("-", "", " ", "").Replace(s) }

// disguises are the encodings in which every canary must be found. raw needs
// a text of hex digits.
func disguises() []disguise {
	plain := []string{canary.Plain}
	pure := func(f func(string) string) func(testing.TB, string) string {
		return func(_ testing.TB, s string) string { return f(s) }
	}
	md := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	all := []disguise{
		{"plain", plain, pure(func(s string) string { return s })},
		{"another case", plain, pure(strings.ToUpper)},
	}
	for offset := range 3 {
		all = append(all, disguise{fmt.Sprintf("base64 at offset %d", offset), []string{canary.Plain, canary.Base64}, pure(func(s string) string { return b64("xyz"[:offset] + s) })})
	}
	return append(
		all,
		disguise{"base64url", []string{canary.Plain, canary.Base64}, pure(func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("??>" + s)) })},
		disguise{"URL", plain, pure(url.QueryEscape)},
		disguise{"URL twice", plain, pure(func(s string) string { return url.QueryEscape(percent(s)) })},
		disguise{"no dashes", plain, pure(bare)},
		disguise{"hex", []string{canary.Plain, canary.Hex}, pure(func(s string) string { return hex.EncodeToString([]byte(s)) })},
		disguise{"base64 twice", plain, pure(func(s string) string { return b64(b64("typed: " + s)) })},
		disguise{"gzip", plain, gzipped},
		disguise{"gzip and base64", plain, func(t testing.TB, s string) string { return b64(gzipped(t, s)) }},
		disguise{"Sensors form", plain, func(t testing.TB, s string) string {
			return "crc=1429032911&gzip=1&data_list=" + url.QueryEscape(b64(gzipped(t, "["+document(t, s)+"]")))
		}},
		disguise{"deflate and base64", plain, func(t testing.TB, s string) string { return b64(deflated(t, document(t, s))) }},
		disguise{"brotli and base64", plain, func(t testing.TB, s string) string { return b64(brotlied(t, document(t, s))) }},
		disguise{"MD5", []string{"md5-hex"}, pure(md)},
		disguise{"MD5 in upper case", []string{"md5-hex"}, pure(func(s string) string { return strings.ToUpper(md(s)) })},
		disguise{"SHA-1", []string{"sha1-hex"}, pure(func(s string) string { return fmt.Sprintf("%x", sha1.Sum([]byte(s))) })},
		disguise{"SHA-256", []string{"sha256-hex"}, pure(func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) })},
		disguise{"SHA-256 in base64", []string{"sha256-base64", "sha256-raw"}, pure(func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return b64(string(sum[:]))
		})},
		disguise{"MD5 of another normal form", []string{"md5-hex"}, pure(func(s string) string { return md(strings.ToUpper(bare(s))) })},
		disguise{"UTF-16", []string{canary.Plain, canary.UTF16}, pure(utf16le)},
		disguise{"reversed", []string{canary.Reversed}, pure(func(s string) string {
			b := []byte(s)
			slices.Reverse(b)
			return string(b)
		})},
		disguise{"JSON in JSON in JSON", plain, func(t testing.TB, s string) string {
			return document(t, document(t, document(t, s)))
		}},
		disguise{"XOR", []string{canary.XOR}, pure(func(s string) string { return xored(s, 0x5a) })},
		disguise{"raw bytes of a UUID", []string{canary.Raw, canary.Plain}, pure(func(s string) string {
			raw, err := hex.DecodeString(bare(s))
			if err != nil {
				return "" // no UUID
			}
			return string(raw)
		})},
	)
}

// outers are what a disguise is sent in: those of the random compositions, and
// the compressions that need no header.
func outers() []wrapper {
	pure := func(name string, f func(t testing.TB, s string) string) wrapper {
		return wrapper{name, false, func(t testing.TB, _ *rand.Rand, v string) string { return f(t, v) }, nil}
	}
	return append(
		slices.Clone(wrappers),
		pure("nothing", func(_ testing.TB, s string) string { return s }),
		pure("deflate", deflated),
		pure("zstd", func(t testing.TB, s string) string {
			return compress(t, func(w io.Writer) io.WriteCloser {
				z, err := zstd.NewWriter(w)
				if err != nil {
					t.Fatal(err)
				}
				return z
			}, s)
		}),
		pure("zlib and base64", func(t testing.TB, s string) string {
			return b64(compress(t, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }, s))
		}),
		pure("brotli and base64", func(t testing.TB, s string) string { return b64(brotlied(t, s)) }),
		pure("Sensors form", func(t testing.TB, s string) string { return "gzip=1&data_list=" + url.QueryEscape(b64(gzipped(t, s))) }),
		wrapper{"JSON in JSON", true, func(t testing.TB, _ *rand.Rand, s string) string { return document(t, document(t, s)) }, nil},
	)
}
