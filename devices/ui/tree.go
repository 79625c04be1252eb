// Package ui reads and works a phone's screen: it dumps the view tree, finds
// nodes in it, waits for them, taps, types and scrolls.
//
// The tree is that of uiautomator, which prints errors with exit status 0,
// waits for screens that never rest, and on MIUI puts noise before its XML.
// Every wait ends with its context. A tree is text that an app chose: parsing
// is bounded in size and depth and never panics.
package ui

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"io"
	"strconv"
	"strings"
)

// Limits of a view tree.
const (
	maxDump  = 16 << 20
	maxDepth = 400
	maxNodes = 50_000
)

// ErrFormat means that a text holds no view tree.
var ErrFormat = errors.New("no view tree")

// A Node is one view on the screen.
type Node struct {
	// Class is the widget's class, such as android.widget.Switch.
	Class string
	// ID is the resource id in full, such as android:id/title; often empty.
	ID      string
	Text    string
	Desc    string // content description, read out to blind people
	Package string
	// Bounds is what is visible of the view, in pixels.
	Bounds image.Rectangle

	Checkable, Checked   bool
	Clickable, Enabled   bool
	Focusable, Focused   bool
	Scrollable, Selected bool
	Password             bool

	Parent   *Node // nil at the root
	Children []*Node
}

// Center is the middle of the visible part.
func (n *Node) Center() image.Point {
	return n.Bounds.Min.Add(n.Bounds.Max).Div(2)
}

// String names the node for messages.
func (n *Node) String() string {
	var b strings.Builder
	b.WriteString(n.Class[strings.LastIndexByte(n.Class, '.')+1:])
	if n.ID != "" {
		fmt.Fprintf(&b, " #%s", n.ID)
	}
	if n.Text != "" {
		fmt.Fprintf(&b, " %q", n.Text)
	}
	if n.Desc != "" {
		fmt.Fprintf(&b, " (%s)", n.Desc)
	}
	fmt.Fprintf(&b, " %v", n.Bounds)
	return b.String()
}

// All lists the nodes below n, and n itself, in the order of the tree, that fit
// the selector.
func (n *Node) All(s Selector) []*Node {
	var found []*Node
	n.walk(func(c *Node) bool {
		if s.Match(c) {
			found = append(found, c)
		}
		return true
	})
	return found
}

// First is the first of All, nil when there is none.
func (n *Node) First(s Selector) *Node {
	var first *Node
	n.walk(func(c *Node) bool {
		if s.Match(c) {
			first = c
		}
		return first == nil
	})
	return first
}

// walk visits the tree until visit says no.
func (n *Node) walk(visit func(*Node) bool) bool {
	if n == nil {
		return true
	}
	if !visit(n) {
		return false
	}
	for _, c := range n.Children {
		if !c.walk(visit) {
			return false
		}
	}
	return true
}

// Words lists the texts and descriptions on the screen, at most as many as
// asked for.
func (n *Node) Words(most int) []string {
	var words []string
	n.walk(func(c *Node) bool {
		if w := c.Text; w != "" && len(words) < most {
			words = append(words, w)
		} else if w := c.Desc; w != "" && len(words) < most {
			words = append(words, w)
		}
		return len(words) < most
	})
	return words
}

// Parse reads a view tree out of what uiautomator printed. Text before and
// after the XML is skipped. The root is a node of class "hierarchy".
func Parse(text []byte) (*Node, error) {
	if len(text) > maxDump {
		return nil, fmt.Errorf("ui: read view tree: %d bytes, the limit is %d: %w", len(text), maxDump, ErrFormat)
	}
	start := bytes.Index(text, []byte("<hierarchy"))
	end := bytes.LastIndex(text, []byte("</hierarchy>"))
	if start < 0 || end < start {
		return nil, fmt.Errorf("ui: read view tree: %q: %w", excerpt(text), ErrFormat)
	}
	decoder := xml.NewDecoder(bytes.NewReader(text[start : end+len("</hierarchy>")]))
	root := &Node{Class: "hierarchy", Enabled: true}
	at, depth, count := root, 0, 0
	for {
		token, err := decoder.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("ui: read view tree: %w: %w", ErrFormat, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			count++
			if depth > maxDepth || count > maxNodes {
				return nil, fmt.Errorf("ui: read view tree: deeper than %d or more than %d nodes: %w", maxDepth, maxNodes, ErrFormat)
			}
			if depth == 1 {
				if t.Name.Local != "hierarchy" {
					return nil, fmt.Errorf("ui: read view tree: root %q: %w", t.Name.Local, ErrFormat)
				}
				continue
			}
			n := newNode(t.Attr)
			n.Parent = at
			at.Children = append(at.Children, n)
			at = n
		case xml.EndElement:
			depth--
			if depth < 0 {
				return nil, fmt.Errorf("ui: read view tree: more ends than starts: %w", ErrFormat)
			}
			if at.Parent != nil {
				at = at.Parent
			}
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("ui: read view tree: cut short: %w", ErrFormat)
	}
	for _, c := range root.Children {
		root.Bounds = root.Bounds.Union(c.Bounds)
	}
	return root, nil
}

func newNode(attributes []xml.Attr) *Node {
	n := &Node{}
	for _, a := range attributes {
		yes := a.Value == "true"
		switch a.Name.Local {
		case "class":
			n.Class = a.Value
		case "resource-id":
			n.ID = a.Value
		case "text":
			n.Text = a.Value
		case "content-desc":
			n.Desc = a.Value
		case "package":
			n.Package = a.Value
		case "bounds":
			n.Bounds, _ = parseBounds(a.Value)
		case "checkable":
			n.Checkable = yes
		case "checked":
			n.Checked = yes
		case "clickable":
			n.Clickable = yes
		case "enabled":
			n.Enabled = yes
		case "focusable":
			n.Focusable = yes
		case "focused":
			n.Focused = yes
		case "scrollable":
			n.Scrollable = yes
		case "selected":
			n.Selected = yes
		case "password":
			n.Password = yes
		}
	}
	return n
}

// parseBounds reads [left,top][right,bottom]. Views that are scrolled out may
// have a negative size; theirs is empty.
func parseBounds(s string) (image.Rectangle, bool) {
	s, ok1 := strings.CutPrefix(s, "[")
	s, ok2 := strings.CutSuffix(s, "]")
	topLeft, bottomRight, ok3 := strings.Cut(s, "][")
	if !ok1 || !ok2 || !ok3 {
		return image.Rectangle{}, false
	}
	a, ok1 := parsePoint(topLeft)
	b, ok2 := parsePoint(bottomRight)
	if !ok1 || !ok2 || b.X < a.X || b.Y < a.Y {
		return image.Rectangle{}, false
	}
	return image.Rectangle{Min: a, Max: b}, true
}

func parsePoint(s string) (image.Point, bool) {
	xText, yText, ok := strings.Cut(s, ",")
	x, err1 := strconv.ParseInt(xText, 10, 24)
	y, err2 := strconv.ParseInt(yText, 10, 24)
	if !ok || err1 != nil || err2 != nil {
		return image.Point{}, false
	}
	return image.Pt(int(x), int(y)), true
}

// excerpt keeps an error on one readable line.
func excerpt(text []byte) string {
	const most = 160
	text = bytes.TrimSpace(text)
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(string(text), "?")
}
