package payload

import (
	"bytes"
	"html"
)

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
		case b[i] == '%' && i+1 < len(b) && b[i+1] == 'u':
			size := 0
			if out, size = appendUnit(out, b[i:]); size == 0 {
				out = append(out, b[i])
				continue
			}
			i += size - 1
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
		if c != '%' || i+2 >= len(n.Value) {
			continue
		}
		if _, ok := unit(n.Value[i:]); ok || isHex(n.Value[i+1]) && isHex(n.Value[i+2]) {
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
// that would have opened them, and text with several of \101 or =41 in a row.
func (p *peeler) escapes(n *Node, depth int) bool {
	const several = 4
	b := n.Value
	open := func(name string, out []byte) bool {
		p.openAs(n, name, out, depth)
		return true
	}
	switch {
	case inARow(b, '\\', isOctal, 4, several):
		return open("escapes", unoctal(b))
	case inARow(b, '=', isQuoted, 3, several):
		return open("quoted-printable", unquoted(b))
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
