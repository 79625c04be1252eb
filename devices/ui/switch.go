package ui

import (
	"fmt"
	"slices"
	"strings"
)

// Limits on what a hostile tree can cost.
const (
	maxTitles = 16
	maxPairs  = 100_000
)

// titleID is the id of the title in every preference row of Android.
const titleID = "android:id/title"

// SwitchBeside finds the switch or check box of the settings row with a title.
// Such a row is a title, perhaps a summary, and in a container beside them the
// switch, which often has no text of its own. A compressed tree lacks the row,
// and then the place on the screen decides. Two rows of one title are an error:
// the wrong switch would be believed.
func SwitchBeside(root *Node, title string) (*Node, error) {
	titles := root.All(And(ByText(title), ByID(titleID)))
	if len(titles) == 0 { // Rows that are no preferences have other ids.
		titles = root.All(And(ByText(title), Selector{"no switch", func(n *Node) bool { return !n.Checkable }}))
	}
	if len(titles) == 0 {
		// A switch may carry the title itself, as its text or its description.
		own := root.All(And(Checkable(), Or(ByText(title), ByDesc(title), Selector{
			"description that begins with the title",
			func(n *Node) bool { return strings.HasPrefix(n.Desc, title+" ") },
		})))
		return single(own, title, root)
	}
	if len(titles) > maxTitles {
		return nil, fmt.Errorf("ui: find switch beside %q: %d nodes have this text", title, len(titles))
	}
	var found []*Node
	for _, t := range titles {
		if s := beside(root, t); s != nil {
			found = append(found, s)
		}
	}
	return single(found, title, root)
}

func single(found []*Node, title string, root *Node) (*Node, error) {
	switch len(found) {
	case 0:
		return nil, &NotFoundError{Want: fmt.Sprintf("switch beside %q", title), Seen: root.Words(maxWords)}
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("ui: find switch beside %q: %d switches fit", title, len(found))
}

// beside finds the switch of a title's row, nil when it has none.
func beside(root, title *Node) *Node {
	for row := title.Parent; row != nil; row = row.Parent {
		if row.Scrollable || row.Parent == nil || len(rowTitles(row)) > 1 {
			break // The list of rows has been reached.
		}
		switches := row.All(Checkable())
		if len(switches) == 0 {
			continue
		}
		// A checkable row may hold its own switch: the innermost shows the state.
		inner := switches[len(switches)-1]
		if (len(switches) == 1 || inside(inner, switches[0])) && near(title, inner) {
			return inner
		}
		break
	}
	return level(root, title)
}

// inside reports whether n is below top in the tree.
func inside(n, top *Node) bool {
	for ; n != nil; n = n.Parent {
		if n == top {
			return true
		}
	}
	return false
}

// near reports whether a switch can belong to the row of a title: its middle is
// at most a title and a summary of two lines away.
func near(title, s *Node) bool {
	const lines = 3
	return distance(title, s.Center().Y) <= lines*max(title.Bounds.Dy(), 1)
}

// rowTitles are the titles of the rows below n.
func rowTitles(n *Node) []*Node { return n.All(ByID(titleID)) }

// level finds the one switch at the height of the title, where the tree does
// not tell rows apart: of all titles, this one must be the nearest to it.
func level(root, title *Node) *Node {
	switches, titles := root.All(Checkable()), rowTitles(root)
	if len(switches)*len(titles) > maxPairs {
		return nil // No screen shows so many; a hostile tree may claim to.
	}
	var best *Node
	for _, s := range switches {
		if s == title || s.Bounds.Empty() || !near(title, s) {
			continue
		}
		middle := s.Center().Y
		if slices.ContainsFunc(titles, func(other *Node) bool { return distance(other, middle) < distance(title, middle) }) {
			continue
		}
		if best == nil || distance(title, middle) < distance(title, best.Center().Y) {
			best = s
		}
	}
	return best
}

// distance is how far the middle of a node is from a height.
func distance(n *Node, y int) int {
	d := n.Center().Y - y
	if d < 0 {
		return -d
	}
	return d
}
