package canary

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// ShortestText is how many bytes a text must have to be searched: a shorter
// one is found by chance.
const ShortestText = windowBytes

// literal returns the patterns of a text that is no minted term, such as a
// phone's identifier: as it is in any case, without its separators, reversed,
// in base64 at the three offsets, in hex, in UTF-16, and hashed.
func literal(text string, canary int32) []pattern {
	if len(text) < ShortestText {
		return nil
	}
	var all []pattern
	add := func(p pattern) {
		if len(p.key) < windowBytes {
			return
		}
		p.canary, p.window = canary, windowOf(p.key)
		p.chars = uint8(min(len(text), 255)) //nolint:gosec // Bounded here.
		all = append(all, p)
	}
	bare := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -:_.+", r) {
			return -1
		}
		return r
	}, text)
	forms := []string{text, strings.ToLower(text), strings.ToUpper(text)}
	if bare != text && len(bare) >= ShortestText {
		forms = append(forms, bare, strings.ToLower(bare), strings.ToUpper(bare))
	}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	for _, form := range forms {
		b := []byte(form)
		add(pattern{kind: kindLiteral, form: Plain, key: b})
		add(pattern{kind: kindLiteral, form: Reversed, key: reversed(b)})
		add(pattern{kind: kindHashHex, form: Hex, key: []byte(hex.EncodeToString(b))})
		var wide []byte
		for _, c := range b {
			wide = append(wide, c, 0)
		}
		add(pattern{kind: kindHash, form: UTF16, key: wide[:len(wide)-1]})
		for offset := range 3 {
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), b...))
			// The characters at the edges depend on the neighbours.
			stable := encoded[(offset*8+5)/6 : (offset+len(b))*8/6]
			add(pattern{kind: kindHash, form: Base64, key: []byte(stable)})
			if web := strings.NewReplacer("+", "-", "/", "_").Replace(stable); web != stable {
				add(pattern{kind: kindHash, form: Base64, key: []byte(web)})
			}
		}
		addHashes(form, len(text), add)
	}
	return all
}
