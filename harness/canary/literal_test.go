package canary_test

import (
	"crypto/md5"  //nolint:gosec // What collectors hash with.
	"crypto/sha1" //nolint:gosec // As above.
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/canary"
)

// An identifier of a phone is no minted term, and must be found all the same.
func TestIdentifiersAreFound(t *testing.T) {
	for name, id := range map[string]string{
		"ANDROID_ID": "9f3c1d2e4b5a6978", "serial": "SIMD2501701", "MAC": "02:1a:4b:9c:3d:5e", "IMEI": "867400022047199",
		"UUID": "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69", "text with blanks": "a text that somebody typed", "six": "abc123",
	} {
		f := canary.NewFinder([]canary.Canary{{ID: "identifier/x", Field: name, Term: id}})
		bare := strings.NewReplacer("-", "", ":", "", " ", "").Replace(id)
		m, s, l := md5.Sum([]byte(id)), sha1.Sum([]byte(id)), sha256.Sum256([]byte(id)) //nolint:gosec // As above.
		reversed := []byte(id)
		slices.Reverse(reversed)
		var wide []byte
		for _, c := range []byte(id) {
			wide = append(wide, c, 0)
		}
		forms := map[string][]byte{
			"plain": []byte(id), "upper": []byte(strings.ToUpper(id)), "lower": []byte(strings.ToLower(id)), "bare": []byte(bare),
			"reversed": reversed, "hex": []byte(hex.EncodeToString([]byte(id))), "utf16": wide,
			"md5": []byte(hex.EncodeToString(m[:])), "md5 upper": []byte(strings.ToUpper(hex.EncodeToString(m[:]))), "md5 raw": m[:],
			"sha1": []byte(hex.EncodeToString(s[:])), "sha256": []byte(hex.EncodeToString(l[:])), "sha256 base64": []byte(base64.StdEncoding.EncodeToString(l[:])),
		}
		for offset := range 3 {
			forms[fmt.Sprintf("base64 at %d", offset)] = []byte(base64.StdEncoding.EncodeToString([]byte("xyz"[:offset] + id + "!")))
		}
		for form, text := range forms {
			body := slices.Concat([]byte("k=7&v=<"), text, []byte(">"))
			found := f.FindRaw(body)
			if len(found) == 0 || !found[0].Whole() || found[0].Canary.Field != name {
				t.Errorf("%s, %s: got %+v", name, form, found)
			}
		}
	}
}

// Many phones have a serial number of eight hex digits. Inside hashes and keys it
// turns up by chance; by itself it is the phone's.
func TestShortNumbersStandAlone(t *testing.T) {
	for id, c := range map[string]struct{ alone, inside []string }{
		"8b1e2f3a": {
			[]string{"8b1e2f3a", "serial=8B1E2F3A&x=1", "sn8b1e2f3a", "8b1e2f3a-1", `"8b1e2f3a"`, "a3f2e1b8"},
			[]string{"08b1e2f3a", "8b1e2f3a0", "c58b1e2f3ad7", "d1a3f2e1b8", "C58B1E2F3A"},
		},
		"+447700900123": {
			[]string{"+447700900123", "tel447700900123x", "00447700900123", "447700900123a"},
			[]string{"9447700900123", "4477009001230"},
		},
		"12345678901": {[]string{"x12345678901x"}, []string{"012345678901", "123456789012"}},
		// So many digits are no chance, and old SDKs put the time behind them.
		"867400022047199":  {[]string{"8674000220471991588300000000"}, nil},
		"9f3c1d2e4b5a6978": {[]string{"019f3c1d2e4b5a697801"}, nil},
	} {
		f := canary.NewFinder([]canary.Canary{{ID: "identifier/x", Field: "x", Term: id}})
		for _, text := range c.alone {
			if got := f.FindRaw([]byte("<" + text + ">")); len(got) != 1 {
				t.Errorf("%s in %q: %+v, want one sighting", id, text, got)
			}
		}
		for _, text := range c.inside {
			if got := f.FindRaw([]byte("<" + text + ">")); len(got) != 0 {
				t.Errorf("%s in %q: %+v, want none", id, text, got)
			}
		}
	}
}
