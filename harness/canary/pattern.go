package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
)

// A term is a canary's two words as the patterns need them.
type term struct{ first, second []byte }

func newTerm(s string) (term, bool) {
	first, second, ok := strings.Cut(s, " ")
	for _, w := range []string{first, second} {
		if len(w) < patternBytes {
			return term{}, false
		}
		for _, c := range []byte(w) {
			if c < 'a' || c > 'z' {
				return term{}, false
			}
		}
	}
	return term{[]byte(first), []byte(second)}, ok
}

func (t *term) length() int { return len(t.first) + 1 + len(t.second) }

type patternKind uint8

const (
	kindFirst patternKind = iota
	kindSecond
	kindReversed
	kindRot13
	kindSpaced
	kindBase64
	kindHex
	kindKey    // key as it is
	kindHexKey // key in any case
	kindLiteral
	kindXORTerm
	kindXORLiteral
)

// A pattern is one way in which a canary may begin.
type pattern struct {
	canary int32
	kind   patternKind
	// skip is, for base64, how many characters the first whole group of four is
	// away, and for hex, how many bytes lie before each pair of digits.
	skip uint8
	// lost is how many letters lie before that group.
	lost uint8
	// chars is how much of the term a key stands for.
	chars uint8
	// head is how many bytes of the key stand before what is looked up.
	head uint8
	// bounds is what may not stand beside a literal.
	bounds bounds
	form   string
	key    []byte
}

func reversed(b []byte) []byte {
	out := slices.Clone(b)
	slices.Reverse(out)
	return out
}

func rot13(b []byte) []byte {
	out := slices.Clone(b)
	for i, c := range out {
		out[i] = 'a' + (c-'a'+13)%26
	}
	return out
}

func title(b []byte) []byte {
	out := slices.Clone(b)
	out[0] -= 'a' - 'A'
	return out
}

// patterns returns every pattern of a term but those under XOR.
func (t *term) patterns(canary int32) []pattern {
	var all []pattern
	add := func(p pattern) {
		p.canary = canary
		all = append(all, p)
	}
	add(pattern{kind: kindFirst, form: Plain, key: t.first})
	add(pattern{kind: kindSecond, form: Word, key: t.second})
	add(pattern{kind: kindReversed, form: Reversed, key: reversed(t.second)})
	add(pattern{kind: kindRot13, form: Rot13, key: rot13(t.first)})
	for _, mark := range []byte{0, '.', '-', '_', ','} {
		var spaced []byte
		for _, c := range t.first {
			spaced = append(spaced, c, mark)
		}
		add(pattern{kind: kindSpaced, form: Spaced, key: spaced})
	}
	cases := [][]byte{t.first, title(t.first), bytes.ToUpper(t.first)}
	for _, first := range cases {
		for offset, cut := range []struct{ from, skip, lost uint8 }{{0, 0, 0}, {2, 2, 2}, {3, 1, 1}} {
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), first...))
			// The last characters depend on what follows.
			stable := (len(first) + offset) * 8 / 6
			add(pattern{kind: kindBase64, form: Base64, skip: cut.skip, lost: cut.lost, key: []byte(encoded[cut.from:stable])})
		}
		for _, before := range []string{"", "%", `\x`} {
			var digits []byte
			for i, c := range first {
				if i > 0 {
					digits = append(digits, before...)
				}
				digits = hex.AppendEncode(digits, []byte{c})
			}
			add(pattern{kind: kindHex, form: Hex, skip: uint8(len(before)), key: digits}) //nolint:gosec // At most 2.
		}
	}
	return all
}

// verify looks whether the pattern truly begins at b[i].
func (p *pattern) verify(t *term, b []byte, i int) (hit, bool) {
	switch p.kind {
	case kindFirst:
		return t.words(b, i)
	case kindSecond:
		n := matching(b[i:], t.second)
		if n < len(t.second) || !apart(b, i, i+n) || !oneCase(b[i:i+n]) {
			return hit{}, false
		}
		return hit{form: Word, chars: n, from: i, to: i + n}, true
	case kindReversed:
		return p.both(b, i, p.key, reversed(t.first))
	case kindRot13:
		return p.both(b, i, p.key, rot13(t.second))
	case kindSpaced:
		return t.spaced(b, i)
	case kindBase64:
		return p.inBase64(t, b, i)
	case kindHex:
		return p.inHex(t, b, i)
	case kindXORTerm:
		return p.xorTerm(t, b, i)
	case kindXORLiteral:
		return p.xorLiteral(b, i)
	case kindKey:
		if !bytes.HasPrefix(b[i:], p.key) {
			return hit{}, false
		}
	case kindHexKey, kindLiteral:
		if matching(b[i:], p.key) < len(p.key) || !p.bounds.hold(b, i, i+len(p.key)) {
			return hit{}, false
		}
	}
	return hit{form: p.form, chars: int(p.chars), from: i, to: i + len(p.key)}, true
}

// words reads the first word, or its beginning, and what follows of the second.
func (t *term) words(b []byte, i int) (hit, bool) {
	n := matching(b[i:], t.first)
	if n < patternBytes {
		return hit{}, false
	}
	end, chars := i+n, n
	if n == len(t.first) {
		next := skipMarks(b, end)
		m := matching(b[next:], t.second)
		if m == len(t.second) {
			return hit{form: Plain, chars: t.length(), from: i, to: next + m}, true
		}
		if m > 0 && next > end {
			end, chars = next+m, n+1+m
		}
	}
	// A part of a term is believed only as a word of its own.
	if !apart(b, i, end) || !oneCase(b[i:i+n]) {
		// The second word may have nothing to do with the first.
		if end == i+n || !apart(b, i, i+n) || !oneCase(b[i:i+n]) {
			return hit{}, false
		}
		end, chars = i+n, n
	}
	return hit{form: Prefix, chars: chars, from: i, to: end}, true
}

// both reads two words with anything or nothing between them.
func (p *pattern) both(b []byte, i int, first, second []byte) (hit, bool) {
	n := matching(b[i:], first)
	if n < len(first) {
		return hit{}, false
	}
	next := skipMarks(b, i+n)
	m := matching(b[next:], second)
	if m < len(second) {
		return hit{}, false
	}
	return hit{form: p.form, chars: len(first) + 1 + len(second), from: i, to: next + m}, true
}

// spaced reads the term with one and the same byte after each letter.
func (t *term) spaced(b []byte, i int) (hit, bool) {
	if i+2 > len(b) || isAlnum(b[i+1]) {
		return hit{}, false
	}
	mark := b[i+1]
	var letters [64]byte
	n := 0
	for at := i; at < len(b) && n < len(letters); at += 2 {
		letters[n] = b[at]
		n++
		if at+1 < len(b) && b[at+1] != mark {
			break
		}
	}
	h, ok := (&pattern{form: Spaced}).both(letters[:n], 0, t.first, t.second)
	if !ok {
		return hit{}, false
	}
	if mark == 0 {
		h.form = UTF16
	}
	h.from, h.to = i, min(i+2*h.to, len(b))
	return h, true
}

// inBase64 decodes from the first whole group on, and reads the words there.
func (p *pattern) inBase64(t *term, b []byte, i int) (hit, bool) {
	if !bytes.HasPrefix(b[i:], p.key) {
		return hit{}, false
	}
	from := i + int(p.skip)
	end := from
	for end < len(b) && end-from < 96 && (isAlnum(b[end]) || b[end] == '+' || b[end] == '/' || b[end] == '-' || b[end] == '_') {
		end++
	}
	word := b[from:end]
	if len(word)%4 == 1 {
		word = word[:len(word)-1]
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(word, "-_") {
		enc = base64.RawURLEncoding
	}
	out := make([]byte, enc.DecodedLen(len(word)))
	k, err := enc.Decode(out, word)
	if err != nil && k == 0 {
		return hit{}, false
	}
	h, ok := t.rest(out[:k], int(p.lost))
	if !ok {
		return hit{}, false
	}
	return hit{form: Base64, chars: h.chars, from: i, to: min(from+(h.to*4+2)/3, len(b))}, true
}

// rest reads the term without its first letters.
func (t *term) rest(b []byte, lost int) (hit, bool) {
	first := t.first[lost:]
	n := matching(b, first)
	if n < len(first) {
		return hit{}, false
	}
	next := skipMarks(b, n)
	if m := matching(b[next:], t.second); m == len(t.second) {
		return hit{chars: t.length(), to: next + m}, true
	}
	if n < len(b) && (isAlnum(b[n]) || b[n] < ' ' || b[n] > '~') {
		return hit{}, false
	}
	return hit{chars: len(t.first), to: n}, true
}

// inHex reads pairs of hex digits.
func (p *pattern) inHex(t *term, b []byte, i int) (hit, bool) {
	var out [64]byte
	stride := 2 + int(p.skip)
	n := 0
	for at := i; n < len(out) && at+2 <= len(b); at += stride {
		if _, err := hex.Decode(out[n:n+1], b[at:at+2]); err != nil {
			break
		}
		n++
	}
	h, ok := t.rest(out[:n], 0)
	if !ok {
		return hit{}, false
	}
	return hit{form: Hex, chars: h.chars, from: i, to: min(i+h.to*stride, len(b))}, true
}

// matching counts how many letters of word b begins with, in any case.
func matching(b, word []byte) int {
	n := 0
	for n < len(word) && n < len(b) && b[n]|0x20 == word[n]|0x20 && (b[n] == word[n] || isLetter(b[n])) {
		n++
	}
	return n
}

// foldCase writes the letters that matching does not tell apart in lower case.
func foldCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if isLetter(c) {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func isAlnum(c byte) bool { return isLetter(c) || c >= '0' && c <= '9' }

func isHexDigit(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

// skipMarks passes over what may stand between two words: punctuation, blanks,
// bytes beyond ASCII, escapes and tags.
func skipMarks(b []byte, i int) int {
	const most = 16
	from := i
	for i < len(b) && i-from < most {
		n := escapeLength(b[i:])
		if n == 0 {
			if isAlnum(b[i]) {
				return i
			}
			n = 1
		}
		i += n
	}
	return i
}

// escapeLength is the length of an escape that b begins with, 0 for none.
func escapeLength(b []byte) int {
	switch {
	case len(b) >= 3 && b[0] == '%' && isHexDigit(b[1]) && isHexDigit(b[2]):
		n := 3
		for b[1] == '2' && b[2] == '5' && len(b) >= n+2 && isHexDigit(b[n]) && isHexDigit(b[n+1]) {
			// %2520: an escape of an escape.
			if b[n] == '2' && b[n+1] == '5' {
				n += 2
				continue
			}
			return n + 2
		}
		return n
	case len(b) >= 6 && b[0] == '\\' && b[1] == 'u':
		return 6
	case len(b) >= 2 && b[0] == '\\' && (b[1] == 'n' || b[1] == 't' || b[1] == 'r'):
		return 2
	case len(b) >= 3 && b[0] == '=' && isHexDigit(b[1]) && isHexDigit(b[2]) && b[1] <= '2':
		return 3
	case b[0] == '&' || b[0] == '<':
		end := byte(';')
		if b[0] == '<' {
			end = '>'
		}
		if n := bytes.IndexByte(b[:min(len(b), 12)], end); n > 0 {
			return n + 1
		}
	}
	return 0
}

// apart is true when b[from:to] is a word of its own.
func apart(b []byte, from, to int) bool {
	if to < len(b) && isAlnum(b[to]) {
		return false
	}
	if from == 0 || !isAlnum(b[from-1]) {
		return true
	}
	// The end of an escape is no letter.
	for _, n := range []int{3, 6} {
		if from >= n && escapeLength(b[from-n:from]) == n {
			return true
		}
	}
	return false
}

// oneCase is true for letters all in lower or all in upper case, but for the
// first.
func oneCase(b []byte) bool {
	for _, c := range b[1:] {
		if c&0x20 != b[1]&0x20 {
			return false
		}
	}
	return true
}
