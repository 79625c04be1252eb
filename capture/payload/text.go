package payload

import (
	"bytes"
	"net/netip"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// isText is true for UTF-8 that is meant to be read: at most one character in
// ten is a control character or a code point without a meaning of its own, at
// most one in four (and two) is an invisible mark, and none is NUL. A character that the
// end cuts in two is forgiven.
func isText(b []byte) bool {
	odd, invisible, n := 0, 0, 0
	for i := 0; i < len(b); n++ {
		c := b[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				if c == 0 {
					return false
				}
				if c != '\n' && c != '\r' && c != '\t' {
					odd++
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
			return false
		}
		switch {
		case unicode.Is(unicode.Cf, r):
			invisible++
		case !unicode.IsGraphic(r):
			odd++
		}
		i += size
	}
	return odd*10 <= n && invisible*4 <= n+8
}

// odd is true for bytes that are no text, or text with a control character in
// it, as the tags and lengths of a binary format are.
func odd(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return true
		}
	}
	return !utf8.Valid(b)
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

// A piece is a stretch of a text that is no text.
type piece struct {
	stretch
	kind  Kind
	opens bool // a decoder opens it
	alone bool // a UUID: never joined with its neighbours
}

// prose classifies text. Random words in it become children of their own, and
// so does the readable text between them.
func (p *peeler) prose(n *Node, depth int) {
	b := n.Value
	if kind := strangeScript(b); kind != KindText {
		n.Kind = kind
		return
	}
	pieces := p.pieces(b)
	if len(pieces) == 0 {
		n.Kind = KindText
		return
	}
	if first := pieces[0]; len(pieces) == 1 && len(trim(b)) == first.to-first.from {
		if first.alone || !p.openWord(n, b[first.from:first.to], depth) {
			n.Kind = first.kind
		}
		return
	}
	at := 0
	plain := func(to int) {
		if at < to {
			gap := p.node(textStep(at, to), b[at:to])
			gap.Kind = KindText
			n.Children = append(n.Children, gap)
		}
	}
	for _, piece := range pieces {
		if p.spent() {
			n.Children = append(n.Children, p.cut("text-rest", len(b)-at))
			return
		}
		plain(piece.from)
		word := p.node(textStep(piece.from, piece.to), b[piece.from:piece.to])
		if !piece.opens || !p.openWord(word, unbroken(word.Value), depth+1) {
			word.Kind = piece.kind
		}
		n.Children = append(n.Children, word)
		at = piece.to
	}
	plain(len(b))
}

func textStep(from, to int) string {
	return "text:" + strconv.Itoa(from) + "-" + strconv.Itoa(to)
}

// pieces finds the random words of a text, in order and apart.
func (p *peeler) pieces(b []byte) []piece {
	random := randomStretches(b)
	codes := codeRuns(b)
	var (
		all   []piece
		whole chunk // that of the last stretch
		done  int   // the end of the last word
	)
	add := func(q piece) {
		if k := len(all); k > 0 && q.from < all[k-1].to {
			last := &all[k-1]
			if last.alone || q.to <= last.to {
				return
			}
			last.to = q.to
			last.kind = max(last.kind, q.kind, kindOfWord(b[last.from:last.to]))
			return
		}
		all = append(all, q)
	}
	for len(random) > 0 || len(codes) > 0 {
		if len(codes) > 0 && (len(random) == 0 || codes[0].from <= random[0].from || codes[0].to > random[0].from) {
			add(codes[0])
			codes = codes[1:]
			continue
		}
		next := random[0]
		random = random[1:]
		if next.to <= done {
			continue // the word before holds it
		}
		if parts := p.split(b, next); parts != nil {
			for _, q := range parts {
				done = q.to
				add(q)
			}
			continue
		}
		if whole.to <= next.from || whole.to < next.to {
			whole = p.chunkAt(b, next)
		}
		q, ok := p.word(b, next, whole)
		done = q.to
		if ok {
			add(q)
		}
	}
	// Neighbours that nothing opens count together, or a cipher text chopped
	// into short words would pass as so many identifiers.
	joined := all[:0]
	for _, q := range all {
		if k := len(joined); k > 0 {
			last := &joined[k-1]
			if !last.alone && !q.alone && !last.opens && !q.opens && q.from-last.to <= 3 {
				last.to = q.to
				last.kind = max(last.kind, q.kind, kindOfWord(b[last.from:last.to]))
				continue
			}
		}
		joined = append(joined, q)
	}
	for i := range joined {
		q := &joined[i]
		if word := b[q.from:q.to]; !q.opens && !q.alone && bytes.IndexByte(word, '\n') >= 0 {
			q.opens = p.opens(unbroken(word))
		}
	}
	return joined
}

// unbroken is a word without the breaks between its lines.
func unbroken(word []byte) []byte {
	if bytes.IndexByte(word, '\n') < 0 {
		return word
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(word, []byte("\r"), nil), []byte("\n"), nil)
}

// split cuts a stretch at the words in it that can be opened, as those of a
// signed token between its dots. It returns nil where there is nothing to cut.
func (p *peeler) split(b []byte, s stretch) []piece {
	var parts []piece
	rest := s.from
	between := func(to int) {
		if rest < to && alnums(b[rest:to]) >= shortToken {
			parts = append(parts, piece{stretch: stretch{rest, to}, kind: kindOfWord(b[rest:to])})
		}
	}
	found := false
	for at := s.from; at < s.to; at++ {
		if !wordByte(b[at]) {
			continue
		}
		word := stretch{at, at}
		for word.from > rest && wordByte(b[word.from-1]) {
			word.from--
		}
		for word.to < len(b) && wordByte(b[word.to]) {
			word.to++
		}
		if word.from <= s.from && word.to >= s.to {
			return nil
		}
		if at = word.to; word.to-word.from < longWord || !p.opens(b[word.from:word.to]) {
			continue
		}
		found = true
		between(word.from)
		parts = append(parts, piece{stretch: word, kind: kindOfWord(b[word.from:word.to]), opens: true})
		rest = word.to
	}
	if !found {
		return nil
	}
	between(s.to)
	return parts
}

// A chunk is a run of the bytes of which encoded words are made, and what is
// known of it as a whole.
type chunk struct {
	stretch
	opens bool
	// random is true when it can be base64 from end to end, slashes included.
	random bool
}

func (p *peeler) chunkAt(b []byte, s stretch) chunk {
	c := chunk{stretch: s}
	for c.from > 0 && wordByte(b[c.from-1]) {
		c.from--
	}
	for c.to < len(b) && wordByte(b[c.to]) {
		c.to++
	}
	word := b[c.from:c.to]
	c.opens = p.opens(word)
	c.random = !c.opens && isBase64(bytes.TrimRight(word, "=")) && excessOf(word) > float64(len(word))/3
	return c
}

// word widens a random stretch to the word that holds it: all of its chunk, or
// the letters and digits around it.
func (p *peeler) word(b []byte, s stretch, c chunk) (piece, bool) {
	if c.opens || c.random {
		word := b[c.from:c.to]
		return piece{stretch: c.stretch, kind: kindOfWord(word), opens: c.opens}, c.opens || alnums(word) >= shortToken
	}
	from, to := s.from, s.to
	for from > 0 && isAlnum(b[from-1]) {
		from--
	}
	for to < len(b) && isAlnum(b[to]) {
		to++
	}
	for pad := 0; pad < mostPadding && to < len(b) && b[to] == '='; pad++ {
		to++
	}
	word := b[from:to]
	return piece{stretch: stretch{from, to}, kind: kindOfWord(word), opens: p.opens(word)}, alnums(word) >= shortToken
}

// shortToken is how many letters and digits a random word has at least: with
// fewer, a product code or an abbreviation cannot be told from it.
const shortToken = 10

// opaqueBits is where a random word stops being an identifier: one block of a
// block cipher, one MD5.
const opaqueBits = 128

// kindOfWord says what a random word is, by how many bits it can hold.
func kindOfWord(word []byte) Kind {
	var lower, upper, digits, marks int
	for _, c := range word {
		switch charClasses[c] {
		case classLower:
			lower++
		case classUpper:
			upper++
		case classDigit:
			digits++
		case classOther, classCommon, classRare:
			if c == '+' || c == '/' || c == '-' || c == '_' {
				marks++
			}
		}
	}
	// Bits of a letter or digit, by the size of the alphabet in use.
	var bits float64
	switch {
	case lower > 0 && upper > 0:
		bits = 6
	case lower+upper > 0 && digits > 0:
		bits = 5.17
	case lower+upper > 0:
		bits = 4.7
	default:
		bits = digitBits
	}
	if bits*float64(lower+upper+digits+marks) >= opaqueBits {
		return KindOpaque
	}
	return KindToken
}

// excessOf is the sum of excess over a word, without its punctuation.
func excessOf(word []byte) float64 {
	var m wordModel
	var sum float64
	for _, c := range word {
		e := m.excess(c)
		if isAlnum(c) {
			sum += e
		}
	}
	return sum
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func alnums(b []byte) int {
	n := 0
	for _, c := range b {
		if isAlnum(c) {
			n++
		}
	}
	return n
}

// The hex digits from which a run is a code: shorter ones are dates, colours
// and short commit names.
const (
	tokenHex  = 12
	gluedHex  = 16
	opaqueHex = 32
)

// codeRuns finds UUIDs, runs of hex digits (also in groups) and long decimal
// numbers, in order and apart.
func codeRuns(b []byte) []piece {
	var found []piece
	for i := 0; i < len(b); {
		if !isHex(b[i]) {
			i++
			continue
		}
		if isUUID(b[i:]) && (i == 0 || !isAlnum(b[i-1])) && (i+36 == len(b) || !isAlnum(b[i+36])) {
			found = append(found, piece{stretch{i, i + 36}, KindToken, false, true})
			i += 36
			continue
		}
		q, next := hexRun(b, i)
		if q.kind != KindUnknown {
			found = append(found, q)
		}
		i = next
	}
	return found
}

// hexRun reads the run of hex digits that begins at i, and returns where to
// go on.
func hexRun(b []byte, i int) (piece, int) {
	end := i
	for end < len(b) && isHex(b[end]) {
		end++
	}
	bounded := (i == 0 || !isAlnum(b[i-1])) && (end == len(b) || !isAlnum(b[end]))
	digits, letters, changes := countHex(b[i:end])
	switch {
	case letters == 0 && digits > maxDigits:
		return piece{stretch: stretch{i, end}, kind: kindOfDigits(digits)}, end
	case letters == 0 || digits == 0:
	case bounded && end-i >= tokenHex && !isNumber(b[i:end]), end-i >= gluedHex && changes >= 4:
		kind := KindToken
		if end-i >= opaqueHex {
			kind = KindOpaque
		}
		return piece{stretch{i, end}, kind, decodesToText(b[i:end]), false}, end
	}
	// Groups, as of a hardware address, a fingerprint or a hex dump.
	mark, size := byte(0), end-i
	if end < len(b) {
		mark = b[end]
	}
	if !isGroupMark(mark) || size < 2 || i > 0 && isAlnum(b[i-1]) {
		return piece{}, end
	}
	total, mixed, last := 0, 0, i
	for at := i; ; {
		stop := at
		for stop < len(b) && isHex(b[stop]) {
			stop++
		}
		if stop == at || stop-at != size && (stop-at < 2 || mark == ' ' || mark == '.') ||
			stop < len(b) && isAlnum(b[stop]) || at > i && stop-at >= tokenHex {
			break
		}
		if d, l, _ := countHex(b[at:stop]); d > 0 && l > 0 {
			mixed++
		}
		total += stop - at
		last = stop
		if stop == len(b) || b[stop] != mark {
			break
		}
		at = stop + 1
	}
	if total < tokenHex || mixed == 0 || mixed*6 < total/size {
		return piece{}, max(end, last)
	}
	if mark == ':' && size == 4 {
		if _, err := netip.ParseAddr(string(b[i:last])); err == nil {
			return piece{}, last
		}
	}
	kind := KindToken
	if total >= opaqueHex {
		kind = KindOpaque
	}
	return piece{stretch: stretch{i, last}, kind: kind}, last
}

func isGroupMark(c byte) bool { return c == '-' || c == ':' || c == '.' || c == ' ' || c == '_' }

func countHex(b []byte) (digits, letters, changes int) {
	before := false
	for i, c := range b {
		letter := c > '9'
		if letter {
			letters++
		} else {
			digits++
		}
		if i > 0 && letter != before {
			changes++
		}
		before = letter
	}
	return digits, letters, changes
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// isUUID is true when b begins with the 8-4-4-4-12 form.
func isUUID(b []byte) bool {
	if len(b) < 36 {
		return false
	}
	for i, c := range b[:36] {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isHex(c) {
				return false
			}
		}
	}
	return true
}
