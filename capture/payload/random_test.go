// Nothing here has two goroutines meet, and the race detector would make minutes
// of it: TestPeelFromSeveralGoroutines is what it runs instead.

//go:build !race

package payload_test

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// worst returns the kind of the least readable leaf.
func worst(value string) payload.Kind {
	kind := payload.KindUnknown
	for leaf := range payload.Leaves([]payload.Part{{Root: payload.Peel([]byte(value), "")}}) {
		if leaf.Kind == payload.KindToken || leaf.Kind == payload.KindOpaque {
			kind = max(kind, leaf.Kind)
		}
	}
	return kind
}

// Random bytes must be seen through every spelling of them: how many samples
// of all may pass as text is stated here for each.
func TestRandomBytesInLetters(t *testing.T) {
	const samples = 2000
	r := rand.New(rand.NewPCG(1, 2))
	spell := func(alphabet string, n int) string {
		var b strings.Builder
		for range n {
			b.WriteByte(alphabet[r.IntN(len(alphabet))])
		}
		return b.String()
	}
	const lower = "abcdefghijklmnopqrstuvwxyz"
	low32 := base32.StdEncoding.WithPadding(base32.NoPadding)
	spellings := []struct {
		name    string
		spell   func([]byte) string
		allowed int // of samples
	}{
		{"base64", base64.StdEncoding.EncodeToString, 2},
		{"base64url", base64.RawURLEncoding.EncodeToString, 2},
		{"hex", hex.EncodeToString, 0},
		{"base32", base32.StdEncoding.EncodeToString, 4},
		{"lower-case base32", func(b []byte) string { return strings.ToLower(low32.EncodeToString(b)) }, 4},
		{"base36", func(b []byte) string { return spell(lower+"0123456789", len(b)*25/16) }, 4},
		{"base62", func(b []byte) string { return spell(lower+strings.ToUpper(lower)+"0123456789", len(b)*22/16) }, 2},
		{"letters", func(b []byte) string { return spell(lower, len(b)*28/16) }, 60},
		{"decimal", func(b []byte) string { return spell("0123456789", len(b)*39/16) }, 0},
		{"in a sentence", func(b []byte) string { return "The answer is " + base64.StdEncoding.EncodeToString(b) + ", is it not?" }, 2},
		{"in JSON", func(b []byte) string { return `{"a":"b","c":["` + base64.StdEncoding.EncodeToString(b) + `"]}` }, 2},
		{"in a path", func(b []byte) string {
			return "https://www.example.com/static/" + base64.RawURLEncoding.EncodeToString(b) + "/index.html"
		}, 2},
		{"in a host", func(b []byte) string { return strings.ToLower(low32.EncodeToString(b)) + ".cdn.example.com" }, 4},
		{"in words of eight", func(b []byte) string {
			s := base64.RawURLEncoding.EncodeToString(append(b, b...))
			return s[:8] + " " + s[8:16] + " " + s[16:24] + " " + s[24:32] + " " + s[32:]
		}, 20},
	}
	for _, s := range spellings {
		t.Run(s.name, func(t *testing.T) {
			missed, small := 0, 0
			var example string
			for range samples {
				b := make([]byte, 16)
				for i := range b {
					b[i] = byte(r.Uint32())
				}
				text := s.spell(b)
				switch worst(text) {
				case payload.KindOpaque:
				case payload.KindToken:
					small++
				case payload.KindUnknown, payload.KindText, payload.KindNumber, payload.KindEmpty:
					missed++
					example = text
				}
			}
			t.Logf("%d of %d pass as text, %d as an identifier", missed, samples, small)
			if missed > s.allowed {
				t.Errorf("%d of %d pass as text, for example %q; at most %d may", missed, samples, example, s.allowed)
			}
		})
	}
}
