package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

// unfolding prints the layers of one request, one inside the other, as a person
// would open them by hand.
type unfolding struct {
	out   bytes.Buffer
	paths map[*payload.Node]string
	// marks are what was found at a place, by where and path.
	marks map[[2]string][]seen
	// shown are the places that were printed.
	shown map[[2]string]bool
}

// unfold prints one exchange, or says which ones there are.
func (f *findings) unfold(w io.Writer, id string) error {
	for i := range f.Exchanges {
		if x := &f.Exchanges[i]; x.ID == id {
			u := f.unfolding(x)
			_, err := w.Write(u.out.Bytes())
			return err
		}
	}
	if len(f.Exchanges) == 0 {
		return fmt.Errorf("--exchange %s: the file holds no request that could be read", id)
	}
	return fmt.Errorf("--exchange %s: there is none of this number; the first is %s and the last %s, and the view without --exchange lists them", id, f.Exchanges[0].ID, f.Exchanges[len(f.Exchanges)-1].ID)
}

func (f *findings) unfolding(x *capture.Exchange) *unfolding {
	parts := telemetry.Open(*x, payload.Request(*x))
	u := &unfolding{paths: map[*payload.Node]string{}, marks: map[[2]string][]seen{}, shown: map[[2]string]bool{}}
	for l := range payload.Walk(parts) {
		u.paths[l.Node] = l.Path
	}
	for _, list := range [][]seen{f.sightings, f.expected} {
		for _, s := range list {
			if s.exchange == x.ID && s.flow == x.Flow {
				u.marks[[2]string{s.Where, s.Path}] = append(u.marks[[2]string{s.Where, s.Path}], s)
			}
		}
	}
	fmt.Fprintf(&u.out, "Request %s\n  %s %s\n", text(x.ID), text(x.Method), text(x.URL))
	status := "no reply seen"
	if x.Status != 0 {
		status = "status " + strconv.Itoa(x.Status)
	}
	fmt.Fprintf(&u.out, "  %s, %s sent and %s received in bodies\n", status, count64(x.BytesUp, "byte"), count64(x.BytesDown, "byte"))
	where := ""
	for _, p := range parts {
		if p.Where != where {
			where = p.Where
			fmt.Fprintf(&u.out, "\n%s\n", where)
		}
		name := strings.TrimPrefix(p.Name, "query:")
		if name == "" {
			name = "(whole)"
		}
		u.node(p.Where, visible(name), p.Root, 1)
	}
	u.apart()
	return u
}

// apart prints what was found at no single place, such as a term in pieces.
func (u *unfolding) apart() {
	var left [][2]string
	for place := range u.marks {
		if !u.shown[place] {
			left = append(left, place)
		}
	}
	slices.SortFunc(left, func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for i, place := range left {
		if i == 0 {
			u.out.WriteString("\nput together\n")
		}
		for _, m := range u.marks[place] {
			fmt.Fprintf(&u.out, "  %s: %s  <== %s\n", text(place[0]), visible(place[1]), found(m))
		}
	}
}

// node prints a layer below the name of its place. Layers that hold one other and
// nothing else stand on one line.
func (u *unfolding) node(where, name string, n *payload.Node, depth int) {
	var chain []string
	marks := u.at(where, n)
	for len(n.Children) == 1 && n.Children[0].Step != "" && !pointed(n.Children[0]) {
		n = n.Children[0]
		chain = append(chain, visible(n.Step))
		marks = append(marks, u.at(where, n)...)
	}
	line := strings.Repeat("  ", depth) + clip(name)
	if len(chain) > 0 {
		line += "  [" + strings.Join(chain, " > ") + "]"
	}
	if len(n.Children) == 0 {
		line += ": " + u.value(n, marks)
	} else {
		line += ": " + count(n.Size, "byte")
	}
	u.out.WriteString(line)
	for _, m := range marks {
		u.out.WriteString("  <== " + found(m))
	}
	u.out.WriteByte('\n')
	var above []string // the groups that are open, outermost first
	for _, c := range n.Children {
		if !pointed(c) {
			u.node(where, visible(c.Step), c, depth+1)
			above = nil
			continue
		}
		way := pointer(c.Step)
		same := 0
		for same < len(above) && same < len(way)-1 && above[same] == way[same] {
			same++
		}
		for i := same; i < len(way)-1; i++ {
			u.out.WriteString(strings.Repeat("  ", depth+1+i) + clip(visible(way[i])) + "\n")
		}
		above = way[:len(way)-1]
		u.node(where, visible(way[len(way)-1]), c, depth+len(way))
	}
}

// pointed says whether a layer was reached by a path inside its parent, which
// several others share.
func pointed(n *payload.Node) bool {
	_, path, ok := strings.Cut(n.Step, ":")
	return ok && strings.HasPrefix(path, "/") && len(pointer(n.Step)) > 0
}

// pointer is the path of a step such as json:/0/name.
func pointer(step string) []string {
	_, path, _ := strings.Cut(step, ":")
	way := strings.Split(strings.Trim(path, "/"), "/")
	for i, w := range way {
		way[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(w)
	}
	return way
}

func (u *unfolding) at(where string, n *payload.Node) []seen {
	place := [2]string{where, u.paths[n]}
	u.shown[place] = true
	return u.marks[place]
}

// value is a leaf as people read it, with what was found in it between brackets.
func (u *unfolding) value(n *payload.Node, marks []seen) string {
	cut := ""
	if n.Truncated {
		cut = ", cut short"
	}
	switch n.Kind {
	case payload.KindEmpty:
		return "(empty)"
	case payload.KindOpaque:
		return fmt.Sprintf("(opaque, %s, %.1f bits a byte%s)", count(n.Size, "byte"), n.Entropy, cut)
	case payload.KindNumber, payload.KindText, payload.KindToken, payload.KindUnknown:
	}
	out := visible(string(n.Value))
	for _, m := range marks {
		out = bracket(out, visible(m.Canary.Term))
	}
	out = clip(out)
	if n.Kind == payload.KindToken {
		out += "  (random-looking)"
	}
	if cut != "" {
		out += "  (cut short)"
	}
	return out
}

// bracket puts the places of a term between brackets, in whatever case.
func bracket(s, term string) string {
	if term == "" || len(strings.ToLower(s)) != len(s) || len(strings.ToLower(term)) != len(term) {
		return s // Another case has another length: the mark beside it must do.
	}
	low, want := strings.ToLower(s), strings.ToLower(term)
	var out strings.Builder
	for {
		i := strings.Index(low, want)
		if i < 0 {
			return out.String() + s
		}
		out.WriteString(s[:i] + ">>" + s[i:i+len(want)] + "<<")
		s, low = s[i+len(want):], low[i+len(want):]
	}
}

// found says what was found at a place.
func found(s seen) string {
	out := strconv.Quote(clip(visible(s.Canary.Term))) + ", " + text(s.Form)
	if !s.Whole() {
		out += fmt.Sprintf(", %d of %d characters", s.Chars, len(s.Canary.Term))
	}
	return out
}
