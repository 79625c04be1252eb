package payload

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"unicode/utf8"
)

// cipherBlock is how many bytes of a decoded word are worth a leaf of their
// own when nothing can read them.
const cipherBlock = 16

// A wordCode is an encoding of bytes in letters.
type wordCode struct {
	name   string
	decode func(word []byte) ([]byte, bool)
}

var wordCodes = []wordCode{
	{"hex", decodeHex},
	{"base64", decodeBase64},
	{"base32", decodeBase32},
}

// encodedWord opens a text that is one encoded word from end to end, line
// breaks aside, and whose content can be read.
func (p *peeler) encodedWord(n *Node, b []byte, h hint, depth int) bool {
	for _, c := range b {
		if !wordByte(c) && c != '\n' && c != '\r' && (c != ' ' || !h.plus) {
			return false
		}
	}
	word := unbroken(b)
	if h.plus && bytes.IndexByte(word, ' ') >= 0 {
		word = bytes.ReplaceAll(word, []byte(" "), []byte("+"))
	}
	for _, code := range wordCodes {
		content, ok := code.decode(word)
		if ok && p.readable(content) {
			p.openAs(n, code.name, content, depth)
			return true
		}
	}
	if len(word) != len(b) && isBase64(word) && excessOf(word) > 0 {
		return p.openWord(n, word, depth)
	}
	return p.glued(n, word, depth)
}

// glued opens a word of base64 that has a few letters before it that do not
// belong to it, as where a stream was cut or a version was put in front.
func (p *peeler) glued(n *Node, word []byte, depth int) bool {
	from, content := p.glue(word)
	if from == 0 {
		return false
	}
	before := p.node("prefix", word[:from])
	before.Kind = KindText
	n.Children = append(n.Children, before)
	p.openAs(n, "base64", content, depth)
	return true
}

// glue returns how many letters stand before base64 that can be read, and what
// it says; 0 if there is none.
func (p *peeler) glue(word []byte) (from int, content []byte) {
	const least, sample, most = 24, 20, 4
	if len(word) < least {
		return 0, nil
	}
	for from = 1; from < most; from++ {
		// A sample of what random letters decode to is no text, and nearly always
		// no other format either.
		head, ok := decodeBase64(word[from : from+sample])
		if !ok || !isText(head) && !bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}) {
			continue
		}
		if content, ok := decodeBase64(word[from:]); ok && p.readable(content) {
			return from, content
		}
	}
	return 0, nil
}

// openWord opens a random word by the first decoder that fits: one that gives
// something to read, or base64 of a cipher block or more.
func (p *peeler) openWord(n *Node, word []byte, depth int) bool {
	for _, code := range wordCodes {
		if content, ok := code.decode(word); ok && p.readable(content) {
			p.openAs(n, code.name, content, depth)
			return true
		}
	}
	if p.glued(n, word, depth) {
		return true
	}
	if _, ok := decodeBase32(word); ok || allHex(word) {
		return false // base64 of a block or more has capitals and small letters
	}
	if content, ok := decodeBase64(word); ok && len(content) >= cipherBlock {
		p.openAs(n, "base64", content, depth)
		return true
	}
	return false
}

func (p *peeler) openAs(n *Node, name string, content []byte, depth int) {
	p.output -= len(content)
	n.Children = append(n.Children, p.peel(name, content, depth+1))
}

// opens is true when a decoder makes something readable of a word.
func (p *peeler) opens(word []byte) bool {
	for _, code := range wordCodes {
		if content, ok := code.decode(word); ok && p.readable(content) {
			return true
		}
	}
	from, _ := p.glue(word)
	return from > 0
}

// readable is true for bytes that are worth opening: text, or a format with a
// magic or with proof. Random bytes pass by chance about once in ten million.
func (p *peeler) readable(b []byte) bool {
	if p.certain(b) {
		return true
	}
	_, ok := p.wsMessages(b)
	return ok
}

// certain is readable without frames, whose own proof asks for it.
func (p *peeler) certain(b []byte) bool {
	const few, enough = 5, 12
	switch {
	case len(b) < few:
		return false
	case isText(b):
		if len(b) >= enough {
			return true
		}
		return isPlainWord(b)
	}
	switch name := compression(b); name {
	case "gzip", "zstd", "lz4", "bzip2", "xz", "snappy":
		return true
	case "zlib", "raw":
		before := p.output
		_, ok := p.decompress(b, name)
		p.trial -= before - p.output
		p.output = before
		if ok {
			return true
		}
	}
	if wideOrder(b) != nil || boundaryOf(b) != "" || isContainer(b) {
		return true
	}
	if _, ok := p.proven(b); ok {
		return true
	}
	before := p.output
	_, ok := p.bare(b)
	p.trial -= before - p.output
	p.output = before
	return ok
}

// isPlainWord is true for a short text without control characters that looks
// like words of some language, and not like chance.
func isPlainWord(b []byte) bool {
	letters := 0
	for _, c := range b {
		switch {
		case c < ' ' && c != '\n' && c != '\r' && c != '\t':
			return false
		case c >= utf8.RuneSelf || isAlnum(c):
			letters++
		}
	}
	return letters*3 >= len(b)*2 && excessOf(b) <= float64(len(b))/2
}

// decodesToText is true for hex digits that spell text.
func decodesToText(word []byte) bool {
	content, ok := decodeHex(word)
	return ok && isText(content)
}

func allHex(b []byte) bool {
	for _, c := range b {
		if !isHex(c) {
			return false
		}
	}
	return len(b) > 0
}

func decodeHex(word []byte) ([]byte, bool) {
	if len(word) < 10 || len(word)%2 != 0 || !allHex(word) {
		return nil, false
	}
	out := make([]byte, len(word)/2)
	if _, err := hex.Decode(out, word); err != nil {
		return nil, false
	}
	return out, true
}

// isBase64 is true for words of one of the two alphabets with a length that
// base64 can have, padded or not.
func isBase64(word []byte) bool {
	body := bytes.TrimRight(word, "=")
	pad := len(word) - len(body)
	if len(body) < 6 || len(body)%4 == 1 || pad > 2 || pad > 0 && len(word)%4 != 0 {
		return false
	}
	var std, url bool
	for _, c := range body {
		switch {
		case isAlnum(c):
		case c == '+' || c == '/':
			std = true
		case c == '-' || c == '_':
			url = true
		default:
			return false
		}
	}
	return !std || !url
}

// mostPadding is how many padding characters may end a word: base32 has six.
const mostPadding = 6

// isWord is true for words of letters, digits and the marks of base64.
func isWord(word []byte) bool {
	for _, c := range word {
		if !isAlnum(c) && c != '+' && c != '/' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// decodeBase64 decodes a word whose padding may be missing or wrong, and whose
// last letter may have been cut from others.
func decodeBase64(word []byte) ([]byte, bool) {
	body := bytes.TrimRight(word, "=")
	if len(word)-len(body) > mostPadding {
		return nil, false
	}
	if len(body)%4 == 1 {
		body = body[:len(body)-1]
	}
	if !isBase64(body) {
		return nil, false
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(body, "-_") {
		enc = base64.RawURLEncoding
	}
	out := make([]byte, enc.DecodedLen(len(body)))
	k, err := enc.Decode(out, body)
	return out[:k], err == nil
}

func decodeBase32(word []byte) ([]byte, bool) {
	body := bytes.TrimRight(word, "=")
	if len(body) < 10 || len(word)-len(body) > 6 {
		return nil, false
	}
	var lower, capital bool
	for _, c := range body {
		switch {
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= 'A' && c <= 'Z':
			capital = true
		case c < '2' || c > '7':
			return nil, false
		}
	}
	if lower && capital {
		return nil, false
	}
	upper := bytes.ToUpper(body)
	enc := base32.StdEncoding.WithPadding(base32.NoPadding)
	out := make([]byte, enc.DecodedLen(len(upper)))
	k, err := enc.Decode(out, upper)
	return out[:k], err == nil
}
