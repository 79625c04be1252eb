package payload

import (
	"bytes"
	"strconv"
)

// A piece is a stretch of a text that is no text.
type piece struct {
	stretch
	kind  Kind
	opens bool // a decoder opens it
	alone bool // a UUID: never joined with its neighbours
}

// grow takes the next piece of b in. A piece that is opaque already stays so and
// is not read again, or many short ones in a row would each cost all before.
func (q *piece) grow(b []byte, next piece) {
	q.to, q.kind = next.to, max(q.kind, next.kind)
	if q.kind < KindOpaque {
		q.kind = max(q.kind, kindOfWord(b[q.from:q.to]))
	}
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
			last.grow(b, q)
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
		next := unnamed(b, random[0])
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
				last.grow(b, q)
				continue
			}
		}
		joined = append(joined, q)
	}
	for i := range joined {
		q := &joined[i]
		word := b[q.from:q.to]
		if !q.opens && !q.alone && (bytes.IndexByte(word, '\n') >= 0 || q.kind == KindOpaque && allHex(word)) {
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
			if word.to++; word.from <= s.from && word.to >= s.to {
				return nil // One word. Its end may be far, for many stretches.
			}
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
	for c.from > 0 && wordByte(b[c.from-1]) && !names(b, c.from) {
		c.from--
	}
	for c.to < len(b) && wordByte(b[c.to]) && !names(b, c.to) {
		c.to++
	}
	word := b[c.from:c.to]
	c.opens = p.opens(word)
	c.random = !c.opens && isBase64(bytes.TrimRight(word, "=")) && excessOf(word) > float64(len(word))/3
	return c
}

// unnamed is a stretch without a short name and its sign before a value.
func unnamed(b []byte, s stretch) stretch {
	for at := s.from + 1; at < s.to && at-s.from <= shortToken; at++ {
		if names(b, at) {
			return stretch{at, s.to}
		}
	}
	return s
}

// names is true where b[:at] ends with a name and the sign that its value follows.
func names(b []byte, at int) bool { return b[at-1] == '=' && at < len(b) && b[at] != '=' }

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

func isAlnum(c byte) bool { return alnumBytes[c] }

var alnumBytes = func() (is [256]bool) {
	for _, c := range []byte("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		is[c] = true
	}
	return is
}()

func alnums(b []byte) int {
	n := 0
	for _, c := range b {
		if isAlnum(c) {
			n++
		}
	}
	return n
}
