package ui

import (
	"fmt"
	"strings"
)

// A Selector says which nodes are meant, and can say so in words.
type Selector struct {
	words string
	match func(*Node) bool
}

// Match reports whether the node is meant. The zero Selector means none.
func (s Selector) Match(n *Node) bool { return s.match != nil && n != nil && s.match(n) }

// String says in words which nodes are meant.
func (s Selector) String() string {
	if s.words == "" {
		return "nothing"
	}
	return s.words
}

// ByID means nodes of a resource id, in full (android:id/title) or by its last
// part (title).
func ByID(id string) Selector {
	return Selector{"id " + id, func(n *Node) bool {
		if strings.Contains(id, ":") {
			return n.ID == id
		}
		_, name, ok := strings.Cut(n.ID, ":id/")
		return ok && name == id
	}}
}

// ByText means nodes that show exactly this text, letter case and blanks around
// it aside.
func ByText(text string) Selector {
	return Selector{fmt.Sprintf("text %q", text), func(n *Node) bool { return same(n.Text, text) }}
}

// ByTexts is ByText for any of several texts, such as one row in the languages of
// its app.
func ByTexts(texts ...string) Selector {
	all := make([]Selector, 0, len(texts))
	for _, t := range texts {
		all = append(all, ByText(t))
	}
	return Or(all...)
}

// ByTextPart means nodes whose text holds this one, letter case aside.
func ByTextPart(part string) Selector {
	low := strings.ToLower(part)
	return Selector{fmt.Sprintf("text with %q", part), func(n *Node) bool {
		return strings.Contains(strings.ToLower(n.Text), low)
	}}
}

// ByDesc means nodes of exactly this content description, letter case and
// blanks around it aside.
func ByDesc(desc string) Selector {
	return Selector{fmt.Sprintf("description %q", desc), func(n *Node) bool { return same(n.Desc, desc) }}
}

// ByDescPart means nodes whose content description holds this text.
func ByDescPart(part string) Selector {
	low := strings.ToLower(part)
	return Selector{fmt.Sprintf("description with %q", part), func(n *Node) bool {
		return strings.Contains(strings.ToLower(n.Desc), low)
	}}
}

// ByClass means nodes of a class, in full or by its last part (Switch).
func ByClass(class string) Selector {
	return Selector{"class " + class, func(n *Node) bool {
		return n.Class == class || !strings.Contains(class, ".") && strings.HasSuffix(n.Class, "."+class)
	}}
}

// ByPackage means nodes of an app.
func ByPackage(name string) Selector {
	return Selector{"package " + name, func(n *Node) bool { return n.Package == name }}
}

// Clickable means nodes that take taps.
func Clickable() Selector {
	return Selector{"clickable", func(n *Node) bool { return n.Clickable }}
}

// Checkable means switches, check boxes and the like.
func Checkable() Selector {
	return Selector{"checkable", func(n *Node) bool { return n.Checkable }}
}

// Checked means switches and check boxes that are on.
func Checked() Selector {
	return Selector{"checked", func(n *Node) bool { return n.Checked }}
}

// Focused means the node that takes the keys.
func Focused() Selector {
	return Selector{"focused", func(n *Node) bool { return n.Focused }}
}

// Scrollable means nodes that scroll.
func Scrollable() Selector {
	return Selector{"scrollable", func(n *Node) bool { return n.Scrollable }}
}

// And means nodes that fit all selectors; none at all is no node.
func And(all ...Selector) Selector {
	return Selector{join(all, " and "), func(n *Node) bool {
		for _, s := range all {
			if !s.Match(n) {
				return false
			}
		}
		return len(all) > 0
	}}
}

// Or means nodes that fit any of the selectors.
func Or(some ...Selector) Selector {
	return Selector{join(some, " or "), func(n *Node) bool {
		for _, s := range some {
			if s.Match(n) {
				return true
			}
		}
		return false
	}}
}

func join(all []Selector, word string) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = s.String()
	}
	return strings.Join(words, word)
}

func same(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
