package payload

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"html"
	"strings"
	"unicode/utf16"
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

// form opens name=value pairs. Without a header that says so, every pair must
// look like one.
func (p *peeler) form(n *Node, b []byte, declared bool, depth int) bool {
	if bytes.IndexByte(b, '=') < 0 {
		return false
	}
	if word := bytes.TrimRight(b, "="); bytes.IndexByte(word, '=') < 0 && isWord(word) && !isPlainName(word) {
		return false // padding, not a name without a value
	}
	pairs := bytes.Split(b, []byte("&"))
	if !declared {
		for _, pair := range pairs {
			name, value, ok := bytes.Cut(pair, []byte("="))
			if len(pair) == 0 {
				continue
			}
			if !ok || !isFormName(name) || bytes.ContainsAny(value, " \t\r\n\"<>{}") {
				return false
			}
		}
	}
	for i, pair := range pairs {
		if p.spent() {
			n.Children = append(n.Children, p.cut("form-rest", pairBytes(pairs[i:])))
			break
		}
		if len(pair) == 0 {
			continue
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		n.Children = append(n.Children, p.field("form:", name, value, depth+1)...)
	}
	if len(n.Children) == 0 {
		n.Kind = KindText
	}
	return true
}

func pairBytes(pairs [][]byte) int {
	sum := len(pairs) - 1
	for _, pair := range pairs {
		sum += len(pair)
	}
	return sum
}

// field opens one name and value of a form or a query. A name that is not
// plain gets a leaf of its own.
func (p *peeler) field(prefix string, rawName, rawValue []byte, depth int) []*Node {
	name, value := p.unescape(rawName, true), p.unescape(rawValue, true)
	var nodes []*Node
	if !isPlainName(name) {
		nodes = append(nodes, p.peel(strings.TrimSuffix(prefix, ":")+"-name", name, depth))
	}
	return append(nodes, p.peelAs(prefix+stepName(name), value, hint{plus: bytes.IndexByte(rawValue, '+') >= 0}, depth))
}

func isFormName(name []byte) bool {
	if len(name) == 0 || len(name) > 128 {
		return false
	}
	for _, c := range name {
		if !isAlnum(c) && strings.IndexByte("_$.-[]%~:@+", c) < 0 {
			return false
		}
	}
	return true
}

// maxName is how many bytes of a name a step shows.
const maxName = 64

// isPlainName is true for names that a person chose: short and not random.
func isPlainName(name []byte) bool {
	return len(name) <= maxName && isText(name) && len(randomStretches(name)) == 0 && len(codeRuns(name)) == 0
}

func stepName(name []byte) string {
	if len(name) > maxName {
		return string(name[:maxName]) + "..."
	}
	return string(name)
}

// unescape undoes percent-encoding, and plus signs if asked. Escapes that are
// none stay as they are.
func (p *peeler) unescape(b []byte, plus bool) []byte {
	if bytes.IndexByte(b, '%') < 0 && (!plus || bytes.IndexByte(b, '+') < 0) {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '%' && i+2 < len(b) && isHex(b[i+1]) && isHex(b[i+2]):
			out = append(out, unhex(b[i+1])<<4|unhex(b[i+2]))
			i += 2
		case b[i] == '+' && plus:
			out = append(out, ' ')
		default:
			out = append(out, b[i])
		}
	}
	p.output -= len(out)
	return out
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

// percent opens percent-encoded text. In running text a lone escape may be
// part of the language, so what comes out must be readable too.
func (p *peeler) percent(n *Node, depth int) bool {
	escapes := 0
	for i, c := range n.Value {
		if c == '%' && i+2 < len(n.Value) && isHex(n.Value[i+1]) && isHex(n.Value[i+2]) {
			escapes++
		}
	}
	if escapes == 0 {
		return false
	}
	out := p.unescape(n.Value, false)
	if !isText(out) && escapes*8 < len(n.Value) && !p.readable(out) {
		return false
	}
	n.Children = append(n.Children, p.peel("percent", out, depth+1))
	return true
}

// escapes opens text full of \u0041, \x41, &#65; or &quot; outside of any format
// that would have opened them.
func (p *peeler) escapes(n *Node, depth int) bool {
	const several = 4
	b := n.Value
	switch {
	case bytes.Count(b, []byte(`\u`))+bytes.Count(b, []byte(`\x`)) >= several:
		out := unquote(b)
		p.output -= len(out)
		if bytes.Equal(out, b) {
			return false
		}
		n.Children = append(n.Children, p.peel("escapes", out, depth+1))
		return true
	case hasEntities(b, several):
		out := html.UnescapeString(string(b))
		p.output -= len(out)
		if out == string(b) {
			return false
		}
		n.Children = append(n.Children, p.peel("entities", []byte(out), depth+1))
		return true
	}
	return false
}

// shortEntity is how many bytes of a text one entity stands for when there are
// few of them.
const shortEntity = 24

// hasEntities is true for text with several character references, or with one
// where the text is short.
func hasEntities(b []byte, several int) bool {
	count := entities(b)
	return count >= several || count > 0 && count*shortEntity >= len(b)
}

// entities counts the character references of HTML in b.
func entities(b []byte) int {
	const longest = 10
	count := 0
	for {
		i := bytes.IndexByte(b, '&')
		if i < 0 || i+2 >= len(b) {
			return count
		}
		b = b[i+1:]
		end := bytes.IndexByte(b[:min(len(b), longest)], ';')
		if end < 2 {
			continue
		}
		name := b[:end]
		if name[0] == '#' {
			name = name[1:]
		}
		if alnums(name) == len(name) {
			count++
		}
	}
}

// wide opens UTF-16.
func (p *peeler) wide(n *Node, depth int) bool {
	order := wideOrder(n.Value)
	if order == nil {
		return false
	}
	units := make([]uint16, len(n.Value)/2)
	for i := range units {
		units[i] = order(n.Value[2*i:])
	}
	out := bytes.TrimPrefix([]byte(string(utf16.Decode(units))), byteOrderMark)
	p.output -= len(out)
	n.Children = append(n.Children, p.peel("utf16", out, depth+1))
	if len(n.Value)%2 == 1 {
		odd := p.node("utf16-trailer", n.Value[len(n.Value)-1:])
		odd.Kind = KindOpaque
		n.Children = append(n.Children, odd)
	}
	return true
}

// wideOrder returns the byte order of UTF-16, nil for anything else: there
// must be a byte order mark, or a zero in most places where letters of Europe
// have one. What comes out must be text.
func wideOrder(b []byte) func([]byte) uint16 {
	if len(b) < 8 {
		return nil
	}
	little := func(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }
	big := func(b []byte) uint16 { return uint16(b[1]) | uint16(b[0])<<8 }
	var zeros [2]int
	for i := range len(b) / 2 * 2 {
		if b[i] == 0 {
			zeros[i%2]++
		}
	}
	pairs := len(b) / 2
	var order func([]byte) uint16
	switch {
	case b[0] == 0xff && b[1] == 0xfe:
		order = little
	case b[0] == 0xfe && b[1] == 0xff:
		order = big
	case zeros[1]*4 >= pairs*3 && zeros[0] == 0:
		order = little
	case zeros[0]*4 >= pairs*3 && zeros[1] == 0:
		order = big
	default:
		return nil
	}
	units := make([]uint16, min(pairs, 64))
	for i := range units {
		units[i] = order(b[2*i:])
	}
	text := string(utf16.Decode(units))
	if !isText([]byte(text)) || !familiar(text) {
		return nil
	}
	return order
}

// familiar is true where a quarter of the characters, and three of them, are
// ASCII, kana, frequent ones of Chinese or Korean, or of one block of 256 that
// is not one of theirs. Random pairs of bytes are letters more often than not.
func familiar(text string) bool {
	const fewest = 3
	var usual, count int
	blocks := map[rune]int{}
	for _, r := range text {
		count++
		switch {
		case r < utf8.RuneSelf, r >= 0x3000 && r <= 0x30ff, usualHanSet[r], usualHangulSet[r]:
			usual++
		case r < 0x2e80:
			blocks[r>>8]++
		}
	}
	most := 0
	for _, n := range blocks {
		most = max(most, n)
	}
	return usual+most >= max(fewest, count/4)
}
