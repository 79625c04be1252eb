package canary_test

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/canary"
)

// A search that looks at some places only must see a hash cut to eight bytes
// wherever it begins, and however little follows.
func TestAHashIsFoundAtEveryPlace(t *testing.T) {
	r := source(71)
	finder := canary.NewFinder([]canary.Canary{planted})
	sum := sumOf(hashes["sha256"], term)[:8]
	digits, code := hex.EncodeToString(sum), base64.RawStdEncoding.EncodeToString(sum)[:11]
	// Tokens have other digits around, and blobs are far longer.
	const most, blob = 40, 1200
	for before := range most {
		for after := range most {
			noise := randomBytes(r, 2*blob)
			hexNoise, codeNoise := hex.EncodeToString(noise), base64.RawStdEncoding.EncodeToString(noise)
			around := func(noise, text string) string { return noise[:before] + text + noise[before:before+after] }
			sightings := map[string]string{
				"sha256-raw":                     around(string(noise), string(sum)),
				"sha256-hex":                     around(hexNoise, digits),
				"sha256-hex upper":               around(strings.ToUpper(hexNoise), strings.ToUpper(digits)),
				"sha256-hex apart":               around(hexNoise, strings.Join([]string{digits[:4], digits[4:8], digits[8:]}, ":")),
				"sha256-hex end":                 strings.Repeat(".", before) + digits + strings.Repeat("_", after),
				"sha256-base64":                  around(codeNoise, code),
				"sha256-base64 in a longer text": strings.Repeat(".", 64) + around(codeNoise, code) + strings.Repeat(".", 64),
				"sha256-hex in a blob":           hexNoise[:2*before] + digits + hexNoise[:blob+2*after],
				"sha256-hex at a blob's end":     hexNoise[:blob+2*before] + digits + hexNoise[:2*after],
				"sha256-hex in bytes apart":      colons(noise[:before+blob/2]) + ":" + colons(sum) + ":" + colons(noise[:after+1]),
				"sha256-base64 in a blob":        codeNoise[:4*before] + code + "A" + codeNoise[:blob+after],
				"sha256-base64 at a blob's end":  codeNoise[:blob+4*before] + code + "A" + codeNoise[:after],
			}
			for name, text := range sightings {
				form, _, _ := strings.Cut(name, " ")
				if !slices.ContainsFunc(finder.FindRaw([]byte(text)), func(s canary.Sighting) bool { return s.Form == form && s.Canary == planted }) {
					t.Fatalf("%s with %d before and %d after was not seen", name, before, after)
				}
			}
		}
	}
}

// colons writes bytes as hex with a colon between.
func colons(b []byte) string {
	var parts []string
	for _, c := range b {
		parts = append(parts, hex.EncodeToString([]byte{c}))
	}
	return strings.Join(parts, ":")
}

// Text, and text under one byte, must be seen wherever it begins.
func TestATermIsFoundAtEveryPlace(t *testing.T) {
	r := source(72)
	finder := canary.NewFinder([]canary.Canary{planted})
	const most = 40
	for before := range most {
		for after := range most {
			noise := string(randomBytes(r, most))
			for name, text := range map[string]string{
				canary.Plain:    noise[:before] + term + noise[:after],
				canary.XOR:      noise[:before] + xored(term, byte(1+r.IntN(31))) + noise[:after],
				canary.Reversed: noise[:before] + "golarfet imokvuz" + noise[:after],
				canary.UTF16:    noise[:before] + utf16le(term) + noise[:after],
				canary.Hex:      noise[:before] + hex.EncodeToString([]byte(term)) + noise[:after],
				canary.Prefix:   strings.Repeat(".", before) + term[:6] + strings.Repeat(" ", after),
				canary.Word:     strings.Repeat(".", before) + second + strings.Repeat(" ", after),
			} {
				if !slices.ContainsFunc(finder.FindRaw([]byte(text)), func(s canary.Sighting) bool { return s.Form == name }) {
					t.Fatalf("%s with %d before and %d after was not seen in %q", name, before, after, text)
				}
			}
		}
	}
}
