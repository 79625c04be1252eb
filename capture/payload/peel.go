package payload

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
)

// Peel opens a body. contentType is the Content-Type header, or empty: it is a
// hint only, since apps send anything under any type.
func Peel(body []byte, contentType string) *Node {
	return PeelEncoded(body, contentType, "")
}

// PeelEncoded is Peel for a body under a Content-Encoding header, such as
// "gzip" or "br". A header that does not fit the bytes is ignored, so a body
// that somebody else has already decoded is read as well.
func PeelEncoded(body []byte, contentType, contentEncoding string) *Node {
	p := newPeeler()
	defer p.done()
	return p.body(body, contentType, contentEncoding)
}

// A peeler holds what is left of the bounds while one message is opened.
type peeler struct {
	nodes  int
	output int
	// trial is what guesses that came to nothing may still produce: without it,
	// many small bombs that never come out whole would cost much and charge
	// nothing.
	trial int
	// looks is how many bytes the readers of binary formats may still examine.
	looks int
	*decoders
}

// decoders are the decompressors that nearly every binary value is tried with.
// They are far dearer to make than to use, so peelers hand them on.
type decoders struct {
	flate  io.ReadCloser
	zlib   io.ReadCloser
	brotli *brotli.Reader
	in     bytes.Reader
	// scratch takes the first bytes that come out.
	scratch [512]byte
}

var spare = sync.Pool{New: func() any { return new(decoders) }}

func newPeeler() *peeler {
	return &peeler{
		nodes: MaxNodes, output: MaxOutput, trial: MaxOutput, looks: 4 * MaxOutput,
		decoders: spare.Get().(*decoders),
	}
}

// done hands the decoders on. Nothing that they made is in use by them.
func (p *peeler) done() { spare.Put(p.decoders) }

func (p *peeler) body(body []byte, contentType, contentEncoding string) *Node {
	codings := strings.FieldsFunc(strings.ToLower(contentEncoding), func(r rune) bool { return r == ',' || r == ' ' })
	return p.coded("", body, contentType, codings, 0)
}

// coded opens b by the last of the content codings that were applied to it.
func (p *peeler) coded(step string, b []byte, contentType string, codings []string, depth int) *Node {
	if len(codings) == 0 || len(b) == 0 || depth >= MaxDepth {
		return p.peelAs(step, b, hintOf(contentType), depth)
	}
	last := codings[len(codings)-1]
	out, ok := p.decompress(b, last)
	if !ok {
		return p.peelAs(step, b, hintOf(contentType), depth)
	}
	n := p.node(step, b)
	p.attach(n, out, func(name string, content []byte) *Node {
		return p.coded(name, content, contentType, codings[:len(codings)-1], depth+1)
	})
	return n
}

// A hint is what a header or a parent says about the format.
type hint struct {
	form bool
	// boundary of multipart, empty when it is none.
	boundary string
	// plus is true for the value of a form field, in which a blank may have been
	// a plus sign of base64 that the sender forgot to escape.
	plus bool
}

func (p *peeler) peel(step string, b []byte, depth int) *Node {
	return p.peelAs(step, b, hint{}, depth)
}

func (p *peeler) node(step string, b []byte) *Node {
	p.nodes--
	p.output -= len(step)
	return &Node{Step: step, Value: b, Size: len(b), Entropy: Entropy(b)}
}

// spent is true when no more nodes or bytes may be made.
func (p *peeler) spent() bool { return p.nodes <= 0 || p.output <= 0 }

// cut is the leaf that stands for what a bound or damage ended.
func (p *peeler) cut(step string, size int) *Node {
	p.nodes--
	return &Node{Step: step, Kind: KindOpaque, Size: max(size, 1), Truncated: true}
}

func (p *peeler) peelAs(step string, b []byte, h hint, depth int) *Node {
	n := p.node(step, b)
	if len(b) == 0 {
		n.Kind = KindEmpty
		return n
	}
	if depth > MaxDepth || p.spent() {
		n.Kind, n.Truncated = KindOpaque, true
		return n
	}
	text, plain := textual(b)
	switch {
	case text:
		// What has control characters, or begins with a line break as the first
		// field of a message does, may be a binary format that holds texts.
		if plain && b[0] != '\n' || !p.schemaless(n, depth) {
			p.text(n, h, depth)
		}
	case p.inflated(n, depth):
	case h.boundary != "" && p.multipart(n, h.boundary, depth):
	case p.guessMultipart(n, b, depth):
	case p.json(n, trim(b), depth): // with a string that is no UTF-8
	case h.form && p.form(n, b, true, depth):
	case p.wide(n, depth):
	case p.container(n, depth):
	case p.schemaless(n, depth):
	case p.unbare(n, depth):
	case p.embedded(n, depth):
	case p.inBinary(n, depth):
	default:
		n.Kind = KindOpaque
	}
	return n
}

// inflated opens compressed bytes that can be told by themselves.
func (p *peeler) inflated(n *Node, depth int) bool {
	name := compression(n.Value)
	if name == "" {
		return false
	}
	out, ok := p.decompress(n.Value, name)
	if !ok {
		return false
	}
	p.attach(n, out, func(name string, content []byte) *Node { return p.peel(name, content, depth+1) })
	return true
}

// attach puts what a decompressor made below a node: the content, and what it
// left over.
func (p *peeler) attach(n *Node, out inflated, open func(name string, content []byte) *Node) {
	child := open(out.name, out.content)
	n.Children = append(n.Children, child)
	if out.cut {
		child.Truncated = true
		n.Children = append(n.Children, p.cut(out.name+"-rest", len(out.rest)))
		return
	}
	if out.comment != "" {
		n.Children = append(n.Children, open(out.name+"-header", []byte(out.comment)))
	}
	if len(out.rest) > 0 {
		n.Children = append(n.Children, open(out.name+"-trailer", out.rest))
	}
}

// embedded opens a gzip stream that begins a little way into binary bytes, as
// after the header of a private protocol. What stands before it stays opaque.
func (p *peeler) embedded(n *Node, depth int) bool {
	const reach = 64
	head := n.Value[:min(len(n.Value), reach)]
	at := bytes.Index(head, []byte{0x1f, 0x8b, 8})
	if at <= 0 || compression(n.Value[at:]) != "gzip" {
		return false
	}
	out, ok := p.decompress(n.Value[at:], "gzip")
	if !ok || out.cut {
		return false
	}
	before := p.node("prefix", n.Value[:at])
	before.Kind = KindOpaque
	n.Children = append(n.Children, before)
	p.attach(n, out, func(name string, content []byte) *Node { return p.peel(name, content, depth+1) })
	return true
}

// withMissing adds the leaf for bytes of a body that were never captured.
func withMissing(root *Node, missing int) *Node {
	rest := &Node{Step: "missing", Kind: KindOpaque, Size: missing, Truncated: true}
	if len(root.Children) == 0 {
		whole := *root
		whole.Step = "captured"
		root = &Node{Value: root.Value, Size: root.Size, Entropy: root.Entropy}
		if whole.Size > 0 {
			root.Children = []*Node{&whole}
		}
	}
	root.Truncated = true
	root.Children = append(root.Children, rest)
	return root
}
