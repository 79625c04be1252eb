package payload

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// isText is true for UTF-8 that is meant to be read: at most one character in
// ten is a control character or a code point without a meaning of its own, at
// most one in four (and two) is an invisible mark, and none is NUL. A character that the
// end cuts in two is forgiven.
func isText(b []byte) bool {
	text, _ := textual(b)
	return text
}

// textual is isText, and whether there is no control character in the text.
func textual(b []byte) (text, plain bool) {
	odd, controls, invisible, n := 0, 0, 0, 0
	for i := 0; i < len(b); n++ {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				if c == 0 {
					return false, false
				}
				if c != '\n' && c != '\r' && c != '\t' {
					controls++
				}
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			if len(b) > 4*utf8.UTFMax && !utf8.FullRune(b[i:]) {
				break
			}
			return false, false
		}
		switch {
		case unicode.Is(unicode.Cf, r):
			invisible++
		case !unicode.IsGraphic(r):
			odd++
		}
		i += size
	}
	return (odd+controls)*10 <= n && invisible*4 <= n+8, controls == 0
}

// text opens bytes that are text: the formats that announce themselves first,
// those that must be guessed last.
func (p *peeler) text(n *Node, h hint, depth int) {
	b := trim(n.Value)
	if len(b) == 0 {
		n.Kind = KindText
		return
	}
	switch {
	case p.listed(n, b, depth):
	case p.json(n, b, depth):
	case isNumber(b) && (len(b) <= maxDigits || !p.encodedWord(n, b, h, depth)):
		n.Kind = kindOfNumber(b)
	case len(n.Children) > 0: // hex without a letter
	case h.boundary != "" && p.multipart(n, h.boundary, depth):
	case p.guessMultipart(n, b, depth):
	case p.url(n, b, depth):
	case p.jwt(n, b, depth):
	case b[0] == '<' && p.xml(n, b, depth):
	case h.form && p.form(n, b, true, depth):
	case p.encodedWord(n, b, h, depth):
	case p.form(n, b, false, depth):
	case p.percent(n, depth):
	case p.escapes(n, depth):
	case p.shapes(n, depth):
	default:
		p.prose(n, depth)
	}
}

var byteOrderMark = []byte("\ufeff")

func trim(b []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(b, byteOrderMark))
}

// isNumber is true for decimal numbers and for the words true, false and null.
func isNumber(b []byte) bool {
	switch string(b) {
	case "true", "false", "null":
		return true
	}
	digits, dots := 0, 0
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			dots++
		case (c == '-' || c == '+') && (i == 0 || b[i-1]|0x20 == 'e'):
		case c|0x20 == 'e' && digits > 0 && i+1 < len(b):
		default:
			return false
		}
	}
	if digits == 0 || dots > 1 {
		return false
	}
	if digits < len(b) {
		_, err := strconv.ParseFloat(string(b), 64)
		return err == nil
	}
	return true
}

// The digits up to which a number is a number: a float64 in decimal has 17 and
// a uint64 has 20. Beyond, it is a code written in digits, and from 32 on it
// may be a block of 128 bits.
const (
	maxDigits    = 20
	opaqueDigits = 32
)

func kindOfNumber(b []byte) Kind {
	// A whole number as large as a random one tells a phone apart; the largest of
	// a type stand for none.
	if n, err := strconv.ParseUint(string(bytes.TrimLeft(b, "+-")), 10, 64); err == nil && !plausible(n) && n != math.MaxUint64 && n != math.MaxInt64 {
		return KindToken
	}
	digits := 0
	for _, c := range b {
		if c >= '0' && c <= '9' && (digits > 0 || c != '0') {
			digits++
		}
	}
	return kindOfDigits(digits)
}

func kindOfDigits(digits int) Kind {
	switch {
	case digits <= maxDigits:
		return KindNumber
	case digits < opaqueDigits:
		return KindToken
	}
	return KindOpaque
}
