package android

import "strings"

// An AppOpEntry is one line of `appops get PACKAGE`.
type AppOpEntry struct {
	Op   string `json:"op"`   // such as COARSE_LOCATION
	Mode string `json:"mode"` // allow, ignore, deny, default, foreground
	// Of is "uid" for what is set for the user id of the package, "package" for what
	// is set for the package itself, and empty where the phone does not say: it
	// marks the first line of the former only.
	Of string `json:"of,omitempty"`
	// Last is when it was last used, in the phone's words, empty when not said.
	Last string `json:"last,omitempty"`
}

// ParseAppOps reads all operations of a package from `appops get PACKAGE`. ok is
// false when the text is not an answer of that command.
func ParseAppOps(text string) (ops []AppOpEntry, ok bool) {
	const uid, pkg = "uid", "package"
	of, marked := pkg, map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "No operations." {
			ok = true
			continue
		}
		rest, first := strings.CutPrefix(line, "Uid mode: ")
		op, value, found := strings.Cut(rest, ": ")
		mode, detail, detailed := strings.Cut(value, ";")
		if !found || !isOp(op) || !isMode(mode) || len(ops) >= maxEntries {
			continue
		}
		ok = true
		e := AppOpEntry{Op: op, Mode: mode}
		for part := range strings.SplitSeq(detail, ";") {
			if when, is := strings.CutPrefix(strings.TrimSpace(part), "time="); is {
				e.Last = when
			}
		}
		switch {
		case first:
			of, e.Of = "", uid
		// A user id has each operation once and no times: what has them is the
		// package's, and so is all that follows.
		case of == "" && (marked[op] || detailed):
			of, e.Of = pkg, pkg
		default:
			e.Of = of
		}
		marked[op] = true
		ops = append(ops, e)
	}
	return ops, ok
}

func isOp(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_():") == ""
}

func isMode(s string) bool {
	switch s {
	case "allow", "ignore", "deny", "default", "foreground":
		return true
	}
	return false
}
