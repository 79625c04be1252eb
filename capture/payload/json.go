package payload

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxNesting is how deep one JSON text is walked; what lies deeper is opened
// as a text of its own, one layer further down.
const maxNesting = 32

// manyBytes is how many small integers in a row are taken for bytes: two short
// words and a blank.
const manyBytes = 15

// json opens a JSON object or array, or several of them in a row, and a JSON
// string that has escapes.
func (p *peeler) json(n *Node, b []byte, depth int) bool {
	b = bytes.TrimSpace(bytes.TrimPrefix(b, []byte(")]}'")))
	if len(b) < 2 {
		return false
	}
	switch {
	case b[0] == '{' || b[0] == '[':
	case b[0] == '"' && bytes.IndexByte(b, '\\') > 0:
	default:
		return false
	}
	if json.Valid(b) {
		w := walker{p: p, b: b, into: n, depth: depth}
		w.value(0)
		return true
	}
	return b[0] != '"' && p.jsonLines(n, b, depth)
}

// jsonLines opens JSON texts that follow one another, as in JSON lines.
func (p *peeler) jsonLines(n *Node, b []byte, depth int) bool {
	in := json.NewDecoder(bytes.NewReader(b))
	at := 0
	var docs [][]byte
	for {
		var doc json.RawMessage
		if in.Decode(&doc) != nil {
			break
		}
		end := int(in.InputOffset())
		docs = append(docs, bytes.TrimSpace(b[at:end]))
		at = end
	}
	rest := bytes.TrimSpace(b[at:])
	if len(docs) == 0 || len(rest) > 0 && rest[0] != '{' && rest[0] != '[' {
		return false
	}
	for i, doc := range docs {
		if p.spent() {
			n.Children = append(n.Children, p.cut("json-rest", len(b)))
			return true
		}
		n.Children = append(n.Children, p.peel("line:"+strconv.Itoa(i), doc, depth+1))
	}
	if len(rest) > 0 {
		n.Children = append(n.Children, p.peel("json-rest", rest, depth+1))
	}
	return true
}

// A walker goes through a JSON text that is known to be valid, and makes a
// node of each value that is no object and no array. encoding/json would lose
// what matters here: members of the same name, and bytes that are no UTF-8.
type walker struct {
	p       *peeler
	b       []byte
	at      int
	into    *Node
	depth   int
	pointer []byte
}

func (w *walker) space() {
	for w.at < len(w.b) {
		switch w.b[w.at] {
		case ' ', '\t', '\r', '\n':
			w.at++
		default:
			return
		}
	}
}

// spent ends the walk when the bounds are reached, with one leaf for the rest.
func (w *walker) spent() bool {
	if !w.p.spent() {
		return false
	}
	if w.at < len(w.b) {
		w.into.Children = append(w.into.Children, w.p.cut("json-rest", len(w.b)-w.at))
		w.at = len(w.b)
	}
	return true
}

func (w *walker) value(nesting int) {
	if w.space(); w.at >= len(w.b) || w.spent() {
		return
	}
	switch w.b[w.at] {
	case '{', '[':
		switch {
		case nesting >= maxNesting:
			from := w.at
			w.skip()
			w.leaf("json:", w.b[from:w.at])
		case w.b[w.at] == '{':
			w.object(nesting)
		default:
			w.array(nesting)
		}
	case '"':
		w.leaf("json:", w.p.unquoted(w.str()))
	default:
		from := w.at
		for w.at < len(w.b) && !endsScalar(w.b[w.at]) {
			w.at++
		}
		n := w.p.node("json:"+string(w.pointer), w.b[from:w.at])
		n.Kind = KindNumber
		if isNumber(n.Value) {
			n.Kind = kindOfNumber(n.Value)
		}
		w.into.Children = append(w.into.Children, n)
	}
}

// endsScalar is true for what stands behind a number or a word.
func endsScalar(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

func (w *walker) leaf(prefix string, value []byte) {
	w.into.Children = append(w.into.Children, w.p.peel(prefix+string(w.pointer), value, w.depth+1))
}

func (w *walker) empty() {
	n := w.p.node("json:"+string(w.pointer), nil)
	n.Kind = KindEmpty
	w.into.Children = append(w.into.Children, n)
}

func (w *walker) object(nesting int) {
	w.at++
	length := len(w.pointer)
	for first := true; ; first = false {
		w.space()
		if w.at >= len(w.b) {
			return
		}
		if w.b[w.at] == '}' {
			w.at++
			if first {
				w.empty()
			}
			return
		}
		if w.b[w.at] == ',' {
			w.at++
			w.space()
		}
		if w.at >= len(w.b) || w.b[w.at] != '"' {
			w.at = len(w.b)
			return
		}
		key := w.p.unquoted(w.str())
		if !isPlainName(key) {
			w.leaf("json-key:", key)
		}
		w.pointer = appendToken(append(w.pointer, '/'), stepName(key))
		w.space()
		w.at++ // the colon
		w.value(nesting + 1)
		w.pointer = w.pointer[:length]
	}
}

func (w *walker) array(nesting int) {
	if w.bytes() {
		return
	}
	w.at++
	length := len(w.pointer)
	first := len(w.into.Children)
	for i := 0; ; i++ {
		w.space()
		if w.at >= len(w.b) {
			return
		}
		if w.b[w.at] == ']' {
			w.at++
			if i == 0 {
				w.empty()
			}
			w.scatter(w.into.Children[first:], i)
			return
		}
		if w.b[w.at] == ',' {
			w.at++
		}
		w.pointer = strconv.AppendInt(append(w.pointer, '/'), int64(i), 10)
		w.value(nesting + 1)
		w.pointer = w.pointer[:length]
	}
}

// scatter makes the numbers of an array opaque where they look random.
func (w *walker) scatter(list []*Node, length int) {
	if len(list) != length || slices.ContainsFunc(list, func(n *Node) bool { return n.Kind != KindNumber && n.Kind != KindToken }) || !scattered(list) {
		return
	}
	for _, n := range list {
		n.Kind = KindOpaque
	}
}

// bytes opens an array of many small integers as the bytes that they spell, if
// these can be read or look random.
func (w *walker) bytes() bool {
	from := w.at
	var out []byte
	number, digits, negative := 0, 0, false
	at := w.at + 1
scan:
	for ; at < len(w.b); at++ {
		c := w.b[at]
		switch {
		case c >= '0' && c <= '9' && digits < 3:
			number = number*10 + int(c-'0')
			digits++
		case c == '-' && digits == 0:
			negative = true
		case c == ',' || c == ']':
			if digits == 0 || number > 255 || negative && number > 128 {
				return false
			}
			if negative {
				number = 256 - number
			}
			out = append(out, byte(number))
			number, digits, negative = 0, 0, false
			if c == ']' {
				break scan
			}
		case c == ' ' || c == '\n' || c == '\r' || c == '\t':
		default:
			return false
		}
	}
	if len(out) < manyBytes {
		return false
	}
	if !w.p.spells(out) {
		return false
	}
	w.at = at + 1
	n := w.p.node("json:"+string(w.pointer), w.b[from:w.at])
	w.p.openAs(n, "bytes", out, w.depth+1)
	w.into.Children = append(w.into.Children, n)
	return true
}

// spells is true for numbers that are bytes of something: what can be read, or
// what looks random.
func (p *peeler) spells(out []byte) bool {
	high := false
	for _, c := range out {
		high = high || c > 127
	}
	// Counts and sizes repeat themselves; cipher text nearly never does.
	return high && Entropy(out) > 0.85*Entropy(distinct[:min(len(out), 256)]) || p.readable(out)
}

var distinct = func() (all [256]byte) {
	for i := range all {
		all[i] = byte(i)
	}
	return all
}()

// skip moves behind an object or array.
func (w *walker) skip() {
	nesting := 0
	for w.at < len(w.b) {
		switch w.b[w.at] {
		case '"':
			w.str()
			continue
		case '{', '[':
			nesting++
		case '}', ']':
			nesting--
		}
		w.at++
		if nesting == 0 {
			return
		}
	}
}

// str reads a string and returns what is between its quotes.
func (w *walker) str() []byte {
	w.at++
	from := w.at
	for w.at < len(w.b) && w.b[w.at] != '"' {
		if w.b[w.at] == '\\' {
			w.at++
		}
		w.at++
	}
	end := min(w.at, len(w.b))
	w.at = min(w.at+1, len(w.b))
	return w.b[from:end]
}

// unquoted undoes the escapes of a JSON string.
func (p *peeler) unquoted(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw
	}
	out := unquote(raw)
	p.output -= len(out)
	return out
}

// unquote undoes backslash escapes. What is none stays as it is.
func unquote(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' || i+1 == len(raw) {
			out = append(out, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case '"', '\\', '/':
			out = append(out, raw[i])
		case 'x':
			if v, ok := hexUnit(raw[i+1:], 2); ok {
				out = utf8.AppendRune(out, v)
				i += 2
				continue
			}
			out = append(out, '\\', 'x')
		case 'u':
			r, ok := hexUnit(raw[i+1:], 4)
			if !ok {
				out = append(out, '\\', 'u')
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) && i+2 < len(raw) && raw[i+1] == '\\' && raw[i+2] == 'u' {
				if low, ok := hexUnit(raw[i+3:], 4); ok {
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						r = pair
						i += 6
					}
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, '\\', raw[i])
		}
	}
	return out
}

func hexUnit(b []byte, digits int) (rune, bool) {
	if len(b) < digits || !allHex(b[:digits]) {
		return 0, false
	}
	var v rune
	for _, c := range b[:digits] {
		v = v<<4 | rune(unhex(c))
	}
	return v, true
}

// appendToken adds a member's name to a JSON pointer.
func appendToken(pointer []byte, name string) []byte {
	for i := range len(name) {
		switch name[i] {
		case '~':
			pointer = append(pointer, "~0"...)
		case '/':
			pointer = append(pointer, "~1"...)
		default:
			pointer = append(pointer, name[i])
		}
	}
	return pointer
}
