package payload

import (
	"unicode/utf8"
)

// Peel opens a body. contentType is the Content-Type header, or empty: it is a
// hint only, since apps send anything under any type.
func Peel(body []byte, contentType string) *Node {
	return PeelEncoded(body, contentType, "")
}

// PeelEncoded is Peel for a body under a Content-Encoding header, such as
// "gzip" or "br". A header that does not fit the bytes is ignored.
func PeelEncoded(body []byte, contentType, contentEncoding string) *Node {
	return newPeeler().peel("", body, 0)
}

type peeler struct{}

func newPeeler() *peeler { return &peeler{} }

func (p *peeler) peel(step string, b []byte, depth int) *Node {
	n := &Node{Step: step, Value: b, Size: len(b), Entropy: Entropy(b), Kind: KindOpaque}
	switch {
	case len(b) == 0:
		n.Kind = KindEmpty
	case utf8.Valid(b) && n.Entropy < 5.5:
		n.Kind = KindText
	}
	return n
}

func withMissing(root *Node, missing int) *Node {
	rest := &Node{Step: "missing", Kind: KindOpaque, Size: missing, Truncated: true}
	if len(root.Children) == 0 {
		whole := *root
		whole.Step = "captured"
		root = &Node{Value: root.Value, Size: root.Size, Entropy: root.Entropy, Children: []*Node{&whole}}
	}
	root.Truncated = true
	root.Children = append(root.Children, rest)
	return root
}
