package collector

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Notes say what the reader of somebody else's list made of it. What it did not
// understand is in Left: nothing is left out in silence.
type Notes struct {
	// Format is one of the formats below.
	Format Format
	// Read is how many rules the list had, Taken how many of them became
	// indicators. One rule may become several.
	Read, Taken int
	Left        []Left
}

// Left counts rules that were left out for one reason.
type Left struct {
	Why   string
	Count int
	// Line is where the first of them stands, 0 in a list without lines; First is
	// its beginning, as text that is safe to show.
	Line  int
	First string
}

// leave notes a rule that was left out.
func (n *Notes) leave(why string, line int, rule string) {
	for i := range n.Left {
		if n.Left[i].Why == why {
			n.Left[i].Count++
			return
		}
	}
	n.Left = append(n.Left, Left{Why: why, Count: 1, Line: line, First: shown(rule)})
}

// shown is the beginning of a text, quoted.
func shown(s string) string {
	const longest = 80
	if len(s) > longest {
		s = s[:longest]
		for !utf8.ValidString(s) && len(s) > longest-utf8.UTFMax {
			s = s[:len(s)-1]
		}
		return strconv.Quote(s) + "..."
	}
	return strconv.Quote(s)
}

// Lines are the notes in words, one line for each reason.
func (n Notes) Lines() []string {
	all := []string{fmt.Sprintf("%d of %d rules were taken, in the format of %s", n.Taken, n.Read, n.Format)}
	for _, l := range n.Left {
		at := ""
		if l.Line > 0 {
			at = "line " + strconv.Itoa(l.Line) + ": "
		}
		all = append(all, fmt.Sprintf("%d left out: %s, such as %s%s", l.Count, l.Why, at, l.First))
	}
	return all
}
