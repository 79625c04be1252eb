// Package payload opens what a phone sent, layer by layer, without being told
// the format, so that nothing readable stays hidden and nothing unreadable
// passes for clean.
//
// [Peel] turns a body into a tree: form fields, percent-encoding, JSON, XML,
// base64, hex, gzip, ZIP, protobuf, CBOR, MessagePack, frames and their like,
// each inside the other. Every byte of the
// input ends below a leaf, and every leaf has a [Kind]. The kind that matters
// is [KindOpaque]: a leaf that no decoder opens and that is not low-entropy
// text. Whoever counts opaque bytes as silence reports a false "nothing was
// collected", so every doubt here falls on the side of opaque.
//
// A format that any bytes could be, such as protobuf, is believed only where it
// describes the bytes in 24 bits fewer than they have: by chance, one random
// value in 16 million is.
//
// All work is bounded (see [MaxDepth], [MaxNodes], [MaxOutput]); what a bound
// cut off is itself an opaque leaf with Truncated set.
package payload

import (
	"iter"
	"math"
	"math/bits"
	"sort"
	"strings"
)

// The bounds of one Peel. They are constants so that two machines see the
// same leaves in the same bytes.
const (
	// MaxDepth is how many layers are opened, one inside the other.
	MaxDepth = 24
	// MaxNodes is how many nodes a tree may have.
	MaxNodes = 50_000
	// MaxOutput is how many bytes all decoders of one Peel may produce together.
	MaxOutput = 32 << 20
)

// Kind says what a leaf is. Only leaves have one: a node with children is
// explained by them and stays KindUnknown.
type Kind uint8

// The kinds of leaves.
const (
	// KindUnknown claims nothing; it is the kind of nodes with children.
	KindUnknown Kind = iota
	// KindText is readable: words, sentences, URLs, versions, dates.
	KindText
	// KindNumber is a number, a truth value or null.
	KindNumber
	// KindToken is random-looking and identifier-sized: less than 128 bits, or a
	// UUID. It cannot hold much, but it can tell a person apart, and it is not
	// readable: it is never clean by itself.
	KindToken
	// KindOpaque is 128 bits or more that nothing here could read: ciphertext,
	// hashes, unknown binary formats, or what a bound cut off.
	KindOpaque
	// KindEmpty has no bytes.
	KindEmpty
)

// String returns the word that reports use.
func (k Kind) String() string {
	switch k {
	case KindText:
		return "text"
	case KindNumber:
		return "number"
	case KindToken:
		return "token"
	case KindOpaque:
		return "opaque"
	case KindEmpty:
		return "empty"
	case KindUnknown:
		return "unknown"
	}
	return "unknown"
}

// A Node is one layer of a payload.
type Node struct {
	// Step says how the node was reached from its parent: "form:data_list",
	// "base64", "gzip", "json:/0/properties/search_word". The root's is empty.
	Step string
	// Value is the node's bytes, decoded as far as Step says. It may share
	// memory with its parent's: treat it as read-only.
	Value []byte
	// Kind is set on leaves only.
	Kind Kind
	// Size is len(Value), except for a leaf that stands for bytes that were cut
	// off: there it is how many encoded bytes are missing, at least 1.
	Size int
	// Entropy is Shannon's over the bytes of Value, in bits per byte, 0 to 8.
	Entropy float64
	// Truncated is true where a bound, damage or a short capture ended the node
	// before its end.
	Truncated bool
	Children  []*Node
}

// A Part is one place of a message that holds a value of its own.
type Part struct {
	// Where is "url", "header", "cookie", "body" or "dns".
	Where string
	// Name is the value's name there: "host", "path:0", "query:q", "method", a header's
	// or a cookie's name; empty for a body.
	Name string
	Root *Node
}

// A Leaf is a node together with where it was found. Leaves yields true leaves
// only, Walk every node.
type Leaf struct {
	Where string
	// Path joins the part's name and the steps by " > ", as in
	// "form:data_list > base64 > gzip > json:/0/properties/search_word".
	Path string
	*Node
}

// Leaves yields every leaf of the parts, in order.
func Leaves(parts []Part) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for leaf := range Walk(parts) {
			if len(leaf.Children) == 0 && !yield(leaf) {
				return
			}
		}
	}
}

// Walk yields every node of the parts, parents before their children.
func Walk(parts []Part) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		for _, part := range parts {
			if part.Root != nil && !walk(part.Where, part.Name, part.Root, yield) {
				return
			}
		}
	}
}

func walk(where, prefix string, n *Node, yield func(Leaf) bool) bool {
	path := joinPath(prefix, n.Step)
	if !yield(Leaf{Where: where, Path: path, Node: n}) {
		return false
	}
	for _, child := range n.Children {
		if !walk(where, path, child, yield) {
			return false
		}
	}
	return true
}

func joinPath(prefix, step string) string {
	switch {
	case prefix == "":
		return step
	case step == "":
		return prefix
	}
	var b strings.Builder
	b.Grow(len(prefix) + 3 + len(step))
	b.WriteString(prefix)
	b.WriteString(" > ")
	b.WriteString(step)
	return b.String()
}

// Share hands out total wire bytes over leaves in proportion to their sizes,
// by largest remainder, so that the shares always sum to exactly total. Leaves
// without bytes share equally when no leaf has any. A negative total, or no
// leaves, gives zero shares.
func Share(total int64, leaves []Leaf) []int64 {
	shares := make([]int64, len(leaves))
	if total <= 0 || len(leaves) == 0 {
		return shares
	}
	weights := make([]uint64, len(leaves))
	var sum uint64
	for i, leaf := range leaves {
		if leaf.Node != nil && leaf.Size > 0 {
			weights[i] = min(uint64(leaf.Size), math.MaxInt64/uint64(len(leaves))) //nolint:gosec // Size is positive here.
			sum += weights[i]
		}
	}
	if sum == 0 {
		for i := range weights {
			weights[i] = 1
		}
		sum = uint64(len(weights))
	}
	remainders := make([]uint64, len(leaves))
	left := total
	for i, w := range weights {
		hi, lo := bits.Mul64(uint64(total), w)
		quo, rem := bits.Div64(hi, lo, sum)
		shares[i], remainders[i] = int64(quo), rem //nolint:gosec // quo <= total, because w <= sum.
		left -= shares[i]
	}
	order := make([]int, len(leaves))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return remainders[order[a]] > remainders[order[b]] })
	for _, i := range order[:left] {
		shares[i]++
	}
	return shares
}
