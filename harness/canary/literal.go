package canary

import (
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ShortestText is how many bytes a text must have to be searched: a shorter
// one is found by chance.
const ShortestText = patternBytes

// withoutMarks is a text without the marks that normal forms differ by.
func withoutMarks(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -:_.+()", r) {
			return -1
		}
		return r
	}, text)
}

var (
	isMAC  = regexp.MustCompile(`^[0-9A-Fa-f]{2}([:-]?)(?:[0-9A-Fa-f]{2}[:-]?){4}[0-9A-Fa-f]{2}$`)
	isUUID = regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)
	isID64 = regexp.MustCompile(`^[0-9A-Fa-f]{16}$`)
	isIMEI = regexp.MustCompile(`^[0-9]{15}$`)
)

// normalForms are the ways in which an identifier of a phone is written, each
// also in lower and in upper case: with and without marks, a MAC address with
// colons, dashes or Cisco's dots, a UUID with dashes (RFC 9562), a number of 64
// bits in decimal, a telephone number with + or 00.
func normalForms(text string) []string {
	bare := withoutMarks(text)
	forms := []string{text, bare}
	every := func(n int, mark string) string {
		var parts []string
		for at := 0; at < len(bare); at += n {
			parts = append(parts, bare[at:min(at+n, len(bare))])
		}
		return strings.Join(parts, mark)
	}
	switch {
	case len(bare) == 12 && isMAC.MatchString(text):
		forms = append(forms, every(2, ":"), every(2, "-"), every(4, "."))
	case isUUID.MatchString(bare):
		forms = append(forms, strings.Join([]string{bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]}, "-"))
	case isID64.MatchString(bare):
		if n, err := strconv.ParseUint(bare, 16, 64); err == nil && n >= 1e12 {
			forms = append(forms, strconv.FormatUint(n, 10), strconv.FormatInt(int64(n), 10)) //nolint:gosec // The sign is what Java makes of it.
		}
	case strings.HasPrefix(text, "+"):
		forms = append(forms, "00"+bare, "+"+bare)
	}
	var out []string
	for _, form := range forms {
		for _, s := range []string{form, strings.ToLower(form), strings.ToUpper(form)} {
			if len(s) >= ShortestText && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

// bounds says which digits may not stand beside a short number, because it would
// then be a part of another.
type bounds uint8

const (
	boundless bounds = iota
	noDigits
	noHexDigits
)

// boundsOf are those of a form of an identifier. So few digits that they hold less
// than 48 bits, as in many a serial number of eight hex digits, turn up by chance
// inside hashes and keys.
func boundsOf(form string) bounds {
	const fewDigits, fewHexDigits = 15, 12
	bare := strings.TrimPrefix(form, "+")
	switch {
	case len(bare) < fewDigits && strings.Trim(bare, "0123456789") == "":
		return noDigits
	case len(bare) < fewHexDigits && strings.Trim(bare, "0123456789abcdefABCDEF") == "":
		return noHexDigits
	}
	return boundless
}

// hold says whether b[from:to] stands by itself.
func (x bounds) hold(b []byte, from, to int) bool {
	beside := func(at int) bool {
		if at < 0 || at >= len(b) {
			return false
		}
		c := b[at]
		return c >= '0' && c <= '9' || x == noHexDigits && isHexDigit(c)
	}
	return x == boundless || !beside(from-1) && !beside(to)
}

// hashedForms are the texts and bytes that an identifier's hashes are made of.
func hashedForms(text string) []spelling {
	var out []spelling
	for _, form := range normalForms(text) {
		out = append(out, spelling{form, len(text)})
	}
	bare := withoutMarks(text)
	if raw := rawForms(bare); raw != nil {
		out = append(out, spelling{string(raw), len(text)})
	}
	if isIMEI.MatchString(bare) {
		// Without its check digit.
		out = append(out, spelling{bare[:14], len(text)})
	}
	return out
}

// literal returns the patterns of a text that is no minted term, such as a
// phone's identifier: in each of its normal forms as it is in any case,
// reversed, in base64 at the three offsets, in hex, in UTF-16, and under XOR;
// and the bytes that its hex digits stand for. The hashes are made apart.
func literal(text string, canary int32) []pattern {
	if len(text) < ShortestText {
		return nil
	}
	var all []pattern
	add := func(p pattern) {
		if len(p.key) < patternBytes {
			return
		}
		p.canary = canary
		p.chars = uint8(min(len(text), 255)) //nolint:gosec // Bounded here.
		all = append(all, p)
	}
	seen := map[string]bool{}
	for _, form := range normalForms(text) {
		b := []byte(form)
		// These two are found in any case, so one case of them is enough.
		if folded := foldCase(form); !seen[folded] {
			seen[folded] = true
			add(pattern{kind: kindLiteral, form: Plain, key: b, bounds: boundsOf(form)})
			add(pattern{kind: kindLiteral, form: Reversed, key: reversed(b), bounds: boundsOf(form)})
		}
		add(pattern{kind: kindHexKey, form: Hex, key: []byte(hex.EncodeToString(b))})
		var wide []byte
		for _, c := range b {
			wide = append(wide, c, 0)
		}
		add(pattern{kind: kindKey, form: UTF16, key: wide[:len(wide)-1]})
		for offset := range 3 {
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), b...))
			// The characters at the edges depend on the neighbours.
			stable := encoded[(offset*8+5)/6 : (offset+len(b))*8/6]
			add(pattern{kind: kindKey, form: Base64, key: []byte(stable)})
			if web := strings.NewReplacer("+", "-", "/", "_").Replace(stable); web != stable {
				add(pattern{kind: kindKey, form: Base64, key: []byte(web)})
			}
		}
	}
	// Fewer than 64 bits would be found by chance.
	if raw := rawForms(withoutMarks(text)); len(raw) >= digestBytes {
		add(pattern{kind: kindKey, form: Raw, key: raw})
		if len(raw) == digestBytes {
			add(pattern{kind: kindKey, form: Raw, key: reversed(raw)}) // A number of 64 bits, little-endian.
		}
	}
	return all
}

// literalXORs are the patterns of a text's normal forms under XOR.
func literalXORs(text string, canary int32) []pattern {
	var all []pattern
	for _, form := range normalForms(text) {
		all = append(all, literalXOR([]byte(form), canary, len(text))...)
	}
	return all
}
