package payload

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Programs write bytes as text in ways that belong to no format: as a list of
// numbers or of hex digits, in the octal escapes of C and protobuf, and in the
// quoted-printable of mail (RFC 2045, section 6.7).

// listed opens a text that is from end to end a list of codes of bytes, if these
// can be read or look random. Whatever stands between them is the same
// everywhere, line breaks and blanks aside: addresses, versions and dates in a
// row are no such list.
func (p *peeler) listed(n *Node, b []byte, depth int) bool {
	if len(b) < 2*manyBytes-1 || b[0] == '[' {
		return false // an array of JSON is one already
	}
	if last := len(b) - 1; b[0] == '{' && b[last] == '}' || b[0] == '(' && b[last] == ')' {
		b = b[1:last]
	}
	for _, read := range []func([]byte) (byte, int){decimalCode, hexCode} {
		if out := codes(b, read); len(out) >= manyBytes && p.spells(out) {
			p.openAs(n, "bytes", out, depth)
			return true
		}
	}
	return false
}

// codes reads a list with read, which returns a byte and how many characters it
// took, none where there is no code; nil where b is no such list.
func codes(b []byte, read func([]byte) (byte, int)) []byte {
	const longest = 4 // of what stands between two codes, without blanks
	var out []byte
	var mark byte
	for at, first := 0, true; ; first = false {
		blanks := 0
		for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\r' || b[at] == '\n' || !first && b[at] == mark && mark != 0) {
			blanks++
			at++
		}
		if at == len(b) {
			return out
		}
		if !first && mark == 0 && isListMark(b[at]) {
			// What follows the first code is between all.
			if len(out) > 1 {
				return nil
			}
			mark = b[at]
			continue
		}
		if !first && blanks == 0 && mark == 0 || blanks > 64*longest {
			return nil
		}
		c, size := read(b[at:])
		if size == 0 {
			return nil
		}
		out = append(out, c)
		at += size
		if at < len(b) && isAlnum(b[at]) {
			return nil
		}
	}
}

func isListMark(c byte) bool {
	return c == ',' || c == ';' || c == ':' || c == '|' || c == '-' || c == '.' || c == '/' || c == '_'
}

// decimalCode reads a number from -128 to 255, as Java and others write bytes.
func decimalCode(b []byte) (byte, int) {
	const most, least = 255, 128
	at, value := 0, 0
	negative := b[0] == '-'
	if negative {
		at++
	}
	from := at
	for at < len(b) && at-from < 3 && b[at] >= '0' && b[at] <= '9' {
		value = value*10 + int(b[at]-'0')
		at++
	}
	switch {
	case at == from, value > most, negative && value > least:
		return 0, 0
	case negative:
		value = -value
	}
	return byte(value), at
}

// hexCode reads two hex digits, with or without 0x before them.
func hexCode(b []byte) (byte, int) {
	at := 0
	if len(b) > 2 && b[0] == '0' && b[1]|0x20 == 'x' {
		at = 2
	}
	if len(b) < at+2 || !isHex(b[at]) || !isHex(b[at+1]) {
		return 0, 0
	}
	return unhex(b[at])<<4 | unhex(b[at+1]), at + 2
}

// isOctal is true for b that begins with an escape of C for a byte.
func isOctal(b []byte) bool {
	return len(b) >= 4 && b[0] == '\\' && b[1] >= '0' && b[1] <= '3' && b[2] >= '0' && b[2] <= '7' && b[3] >= '0' && b[3] <= '7'
}

// isQuoted is true for b that begins with a byte in quoted-printable.
func isQuoted(b []byte) bool { return len(b) >= 3 && b[0] == '=' && isHex(b[1]) && isHex(b[2]) }

// inARow is true where several escapes stand in a row, one behind the other.
func inARow(b []byte, mark byte, is func([]byte) bool, size, several int) bool {
	for run := 0; ; {
		i := bytes.IndexByte(b, mark)
		if i < 0 {
			return false
		}
		if i > 0 {
			run = 0
		}
		if b = b[i:]; !is(b) {
			run, b = 0, b[1:]
			continue
		}
		if run++; run >= several {
			return true
		}
		b = b[size:]
	}
}

// unoctal undoes octal escapes.
func unoctal(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if isOctal(b[i:]) {
			out = append(out, (b[i+1]-'0')<<6|(b[i+2]-'0')<<3|(b[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, b[i])
	}
	return out
}

// unquoted undoes quoted-printable, line breaks that it put in included.
func unquoted(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case isQuoted(b[i:]):
			out = append(out, unhex(b[i+1])<<4|unhex(b[i+2]))
			i += 2
		case bytes.HasPrefix(b[i:], []byte("=\r\n")):
			i += 2
		case bytes.HasPrefix(b[i:], []byte("=\n")):
			i++
		default:
			out = append(out, b[i])
		}
	}
	return out
}

// unit reads one %u0041, as JavaScript's escape function writes characters.
func unit(b []byte) (rune, bool) {
	const size = 6
	if len(b) < size || b[0] != '%' || b[1] != 'u' || !allHex(b[2:size]) {
		return 0, false
	}
	return rune(unhex(b[2]))<<12 | rune(unhex(b[3]))<<8 | rune(unhex(b[4]))<<4 | rune(unhex(b[5])), true
}

// appendUnit appends the character that b begins with, and returns how many bytes
// of b say it; 0 where there is none.
func appendUnit(out, b []byte) ([]byte, int) {
	const size = 6
	r, ok := unit(b)
	if !ok {
		return out, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := unit(b[size:]); ok {
			return utf8.AppendRune(out, utf16.DecodeRune(r, low)), 2 * size
		}
	}
	return utf8.AppendRune(out, r), size
}

// inBinary opens the longest word in a binary format that nobody knows, such as a
// string of Java or of ASN.1, where the word holds something. What stands around
// it stays opaque.
func (p *peeler) inBinary(n *Node, depth int) bool {
	const least = 24
	b := n.Value
	var longest stretch
	for at := 0; at+least <= len(b); {
		// Look at where a word of least would end first, and so pass over most.
		from := at + least
		for from > at && wordByte(b[from-1]) {
			from--
		}
		if from > at {
			at = from
			continue
		}
		to := at + least
		for to < len(b) && wordByte(b[to]) {
			to++
		}
		if to-at > longest.to-longest.from {
			longest = stretch{at, to}
		}
		at = to
	}
	from, to := longest.from, longest.to
	if from == to || !p.look(2*(to-from)) {
		return false
	}
	if !p.opens(b[from:to]) {
		// Its length may stand before it, and be a letter.
		if from++; !p.opens(b[from:to]) {
			return false
		}
	}
	around := func(step string, b []byte) {
		if len(b) > 0 {
			child := p.node(step, b)
			child.Kind = KindOpaque
			n.Children = append(n.Children, child)
		}
	}
	around("prefix", b[:from])
	word := p.node(textStep(from, to), b[from:to])
	if !p.openWord(word, word.Value, depth+1) {
		word.Kind = kindOfWord(word.Value)
	}
	n.Children = append(n.Children, word)
	around("suffix", b[to:])
	return true
}
