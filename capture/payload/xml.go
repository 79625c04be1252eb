package payload

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// xml opens a document that is well-formed from end to end; anything less, as
// nearly every page in HTML is, stays a text. Texts are at steps such as
// "xml:/map/string", attributes at "xml:/map/string@name". The decoder of the
// standard library reads no definitions of entities, so none can grow.
func (p *peeler) xml(n *Node, b []byte, depth int) bool {
	const least = 7 // <a>b</a> has one more
	if len(b) < least || b[len(b)-1] != '>' || isHTML(b) || !p.look(len(b)) {
		return false
	}
	w := xmlWalk{p: p, into: n, depth: depth, in: xml.NewDecoder(bytes.NewReader(b))}
	w.in.Entity = xml.HTMLEntity
	// Bytes were read as UTF-8 before they came here.
	w.in.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	before, nodes := p.output, p.nodes
	if !w.walk(b) {
		n.Children = nil
		p.trial -= before - p.output
		p.output, p.nodes = before, nodes
		return false
	}
	return len(n.Children) > 0
}

// isHTML is true for pages, which are not worth a try.
func isHTML(b []byte) bool {
	const reach = 15
	head := strings.ToLower(string(b[:min(len(b), reach)]))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html")
}

// An xmlWalk goes through a document.
type xmlWalk struct {
	p     *peeler
	into  *Node
	depth int
	in    *xml.Decoder
	path  []byte
	ends  []int // the lengths of path at each open element
	text  []byte
}

// walk reads all of b, and is false where it is not well-formed.
func (w *xmlWalk) walk(b []byte) bool {
	elements := 0
	for {
		token, err := w.in.Token()
		if errors.Is(err, io.EOF) {
			return elements > 0
		}
		if err != nil {
			return false
		}
		if w.p.spent() {
			w.into.Children = append(w.into.Children, w.p.cut("xml-rest", len(b)-int(w.in.InputOffset())))
			return true
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(w.ends) == 0 && elements > 0 {
				return false // a second document
			}
			elements++
			w.flush()
			w.open(token)
		case xml.EndElement:
			w.flush()
			w.path = w.path[:w.ends[len(w.ends)-1]]
			w.ends = w.ends[:len(w.ends)-1]
		case xml.CharData:
			if len(w.ends) == 0 && len(bytes.TrimSpace(token)) > 0 {
				return false // text around the document
			}
			w.text = append(w.text, token...)
		case xml.Comment:
			w.leaf("xml-comment:"+string(w.path), token)
		case xml.ProcInst:
			switch {
			case token.Target != "xml":
				w.name(token.Target)
				w.leaf("xml-instruction:"+stepName([]byte(token.Target)), token.Inst)
			case !usualDeclaration(token.Inst):
				w.leaf("xml-declaration", token.Inst)
			}
		case xml.Directive:
			w.leaf("xml-directive", token)
		}
	}
}

// usualDeclaration is true for version, encoding and standalone, which say
// nothing.
func usualDeclaration(inst []byte) bool {
	const usual = 60
	return len(inst) <= usual && len(randomStretches(inst)) == 0 && len(codeRuns(inst)) == 0
}

// leaf opens a copy of a token, which lives only until the next.
func (w *xmlWalk) leaf(step string, b []byte) {
	if len(bytes.TrimSpace(b)) == 0 {
		return
	}
	w.p.output -= len(b)
	w.into.Children = append(w.into.Children, w.p.peel(step, bytes.Clone(b), w.depth+1))
}

// flush opens the text that was gathered since the last tag.
func (w *xmlWalk) flush() {
	if len(w.text) > 0 {
		w.leaf("xml:"+string(w.path), w.text)
		w.text = w.text[:0]
	}
}

func (w *xmlWalk) open(e xml.StartElement) {
	w.ends = append(w.ends, len(w.path))
	// Deeper elements share a path, or the paths would grow with the square of
	// the document.
	if len(w.ends) <= maxNesting {
		w.path = append(append(w.path, '/'), stepName([]byte(e.Name.Local))...)
	}
	w.name(e.Name.Local)
	w.name(e.Name.Space)
	for _, a := range e.Attr {
		if w.p.spent() {
			return // walk says so at the next token
		}
		w.name(a.Name.Local)
		w.name(a.Name.Space)
		w.leaf("xml:"+string(w.path)+"@"+stepName([]byte(a.Name.Local)), []byte(a.Value))
	}
}

// name gives a name, or the prefix of one, that is not plain a leaf of its own.
// What has a colon is the address that an attribute gave a prefix, and that has
// its leaf.
func (w *xmlWalk) name(name string) {
	if !strings.Contains(name, ":") && !isPlainName([]byte(name)) {
		w.leaf("xml-name", []byte(name))
	}
}
