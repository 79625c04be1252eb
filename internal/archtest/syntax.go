package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Reasons for the rules about what a file contains.
const (
	whyInit    = "what happens at import happens unasked, in an order that nobody reads"
	whySleep   = "a sleep is either too short on a busy bench or wasted on an idle one; wait on a channel or poll with a context"
	whyContext = "work that nobody can cancel outlives the trial that it belongs to; clean-up uses context.WithoutCancel with a limit of its own"
	whyFlake   = "a leak that was seen once is a leak, and a second try must not unsee it"
	whyFocus   = "a focused or pending spec leaves the other claims unjudged while the run is green"
	whySkip    = "a skip looks like a pass; internal/peers gives the reason and fails where peers are required"
)

const ginkgoPath = "github.com/onsi/ginkgo/v2"

// focused are Ginkgo's words that run some specs and leave others out.
var focused = []string{
	"Focus", "FDescribe", "FContext", "FWhen", "FIt", "FSpecify", "FDescribeTable", "FDescribeTableSubtree", "FEntry",
	"Pending", "PDescribe", "PContext", "PWhen", "PIt", "PSpecify", "PDescribeTable", "PDescribeTableSubtree", "PEntry",
	"XDescribe", "XContext", "XWhen", "XIt", "XSpecify", "XDescribeTable", "XDescribeTableSubtree", "XEntry",
}

// syntax applies the rules about what a Go file says.
func (c *check) syntax(f *file) {
	names := imported(f.ast)
	ginkgo, dotGinkgo := names[ginkgoPath], names[ginkgoPath] == "."
	tests := testingParams(f.ast, names["testing"])

	// fromGinkgo gives the word of Ginkgo's that an expression is, or "".
	fromGinkgo := func(e ast.Expr) string {
		switch e := e.(type) {
		case *ast.Ident:
			if dotGinkgo {
				return e.Name
			}
		case *ast.SelectorExpr:
			if x, ok := e.X.(*ast.Ident); ok && ginkgo != "" && x.Name == ginkgo {
				return e.Sel.Name
			}
		}
		return ""
	}

	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				c.at(f, n.Pos(), "no init function", whyInit)
			}
		case *ast.SelectorExpr:
			c.selector(f, n, names)
		case *ast.CallExpr:
			c.call(f, n, fromGinkgo(n.Fun), tests)
			for _, arg := range n.Args {
				if word := fromGinkgo(arg); word == "Focus" || word == "Pending" {
					c.at(f, arg.Pos(), "no focused or pending spec: "+word, whyFocus)
				}
			}
		case *ast.AssignStmt:
			for _, left := range n.Lhs {
				if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "FlakeAttempts" {
					c.at(f, left.Pos(), "no FlakeAttempts", whyFlake)
				}
			}
		case *ast.KeyValueExpr:
			if k, ok := n.Key.(*ast.Ident); ok && k.Name == "FlakeAttempts" {
				c.at(f, n.Pos(), "no FlakeAttempts", whyFlake)
			}
		}
		return true
	})
}

// selector applies the rules about functions of the standard library.
func (c *check) selector(f *file, s *ast.SelectorExpr, names map[string]string) {
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return
	}
	switch {
	case x.Name == names["time"] && s.Sel.Name == "Sleep" && !within(f.dir, simDir):
		c.at(f, s.Pos(), "no time.Sleep outside "+simDir, whySleep)
	case x.Name == names["context"] && (s.Sel.Name == "Background" || s.Sel.Name == "TODO") && !f.test && f.ast.Name.Name != "main":
		c.at(f, s.Pos(), "no context."+s.Sel.Name+" outside tests and package main", whyContext)
	case x.Name == names["os/exec"] && s.Sel.Name == "LookPath" && f.test && !within(f.dir, peersDir):
		c.at(f, s.Pos(), "no exec.LookPath in tests: call internal/peers", whySkip)
	case x.Name == names["testing"] && s.Sel.Name == "Short":
		c.at(f, s.Pos(), "no testing.Short", whySkip)
	}
}

// call applies the rules about Ginkgo's words and about skipping.
func (c *check) call(f *file, call *ast.CallExpr, word string, tests []string) {
	switch {
	case word == "FlakeAttempts":
		c.at(f, call.Pos(), "no FlakeAttempts", whyFlake)
	case word == "Skip" && !within(f.dir, "harness/suite"):
		c.at(f, call.Pos(), "no Skip outside harness/suite, which alone knows what the plan ruled out beforehand", whySkip)
	case slices.Contains(focused, word):
		c.at(f, call.Pos(), "no focused or pending spec: "+word, whyFocus)
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, s.Sel.Name) || within(f.dir, peersDir) {
		return
	}
	skips := false
	switch x := s.X.(type) {
	case *ast.Ident:
		skips = slices.Contains(tests, x.Name)
	case *ast.CallExpr:
		name := x.Fun
		if sel, ok := name.(*ast.SelectorExpr); ok {
			name = sel.Sel
		}
		id, ok := name.(*ast.Ident)
		skips = ok && (id.Name == "GinkgoT" || id.Name == "GinkgoTB")
	}
	if skips {
		c.at(f, call.Pos(), "no skipped test: call internal/peers", whySkip)
	}
}

// imported gives the local name of each import, "." for a dot import.
func imported(f *ast.File) map[string]string {
	names := make(map[string]string, len(f.Imports))
	for _, spec := range f.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		local := path.Base(name)
		if name == ginkgoPath {
			local = "ginkgo"
		}
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[name] = local
	}
	return names
}

// testingParams names every parameter of the file that is a *testing.T, B or F
// or a testing.TB.
func testingParams(f *ast.File, local string) []string {
	if local == "" {
		return nil
	}
	var names []string
	ast.Inspect(f, func(n ast.Node) bool {
		fn, ok := n.(*ast.FuncType)
		if !ok {
			return true
		}
		for _, field := range fn.Params.List {
			typ := field.Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			s, ok := typ.(*ast.SelectorExpr)
			if !ok {
				continue
			}
			if x, ok := s.X.(*ast.Ident); !ok || x.Name != local || !slices.Contains([]string{"T", "B", "F", "TB"}, s.Sel.Name) {
				continue
			}
			for _, name := range field.Names {
				names = append(names, name.Name)
			}
		}
		return true
	})
	return names
}

// packageComments asks each package for one comment that says what it is for,
// and for a place in the plan.
func (c *check) packageComments(files []*file) {
	byDir := map[string][]*file{}
	for _, f := range files {
		byDir[f.dir] = append(byDir[f.dir], f)
	}
	for dir, files := range byDir {
		if !placed(dir) {
			c.add(dir, 0, "the package has no place in the tiers: give it one, with its reason, in internal/archtest",
				"a package that nobody planned for may be imported by anybody")
		}
		c.packageComment(dir, files)
	}
}

func (c *check) packageComment(dir string, files []*file) {
	const why = "a package whose comment cannot say what it is for is too large, or two packages"
	var documented []*file
	for _, f := range files {
		// A program that makes the package's tables stands beside it and is no
		// part of it.
		if f.ast.Name.Name == "main" && !within(dir, "cmd") {
			continue
		}
		if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
			documented = append(documented, f)
		}
	}
	switch len(documented) {
	case 0:
		c.add(dir, 0, "no comment says what the package is for", why)
		return
	case 1:
	default:
		c.at(documented[1], documented[1].ast.Package, "a second package comment, beside that of "+documented[0].path, why)
	}
	f := documented[0]
	name := strings.TrimSuffix(f.ast.Name.Name, "_test")
	start := "Package " + name + " "
	if name == "main" {
		start = "Command " + path.Base(dir) + " "
	}
	sentence, _, found := strings.Cut(strings.Join(strings.Fields(f.ast.Doc.Text()), " ")+" ", ". ")
	// A package of tests alone is known by either name.
	named := strings.HasPrefix(sentence, start) || strings.HasPrefix(sentence, "Package "+f.ast.Name.Name+" ")
	if !named || !found || len(strings.Fields(sentence)) < 5 {
		c.at(f, f.ast.Package, fmt.Sprintf("the package comment does not begin with a sentence %q that says what it is for", start+"..."), why)
	}
}

// line counts are of whole files, so that one glance finds a thing.
const (
	maxLines = 700
	maxBytes = 1 << 20
)

// size applies the limits on the length of files.
func (c *check) size(name string, src []byte) {
	if len(src) > maxBytes {
		c.add(name, 0, fmt.Sprintf("%d bytes, more than %d", len(src), maxBytes), "a repository that is cloned onto every bench carries no captures and no binaries")
	}
	if path.Ext(name) != ".go" {
		return
	}
	if lines := strings.Count(string(src), "\n"); lines > maxLines {
		c.add(name, 0, fmt.Sprintf("%d lines, more than %d", lines, maxLines), "a file that long holds more than one thing")
	}
}

// retryFlags keeps the command lines of scripts and workflows from retrying.
func (c *check) retryFlags(name string, src []byte) {
	switch path.Ext(name) {
	case ".go", ".md":
		return // Go code is checked by its syntax; a page may say why there are none
	}
	for i, line := range strings.Split(string(src), "\n") {
		if strings.Contains(line, "-flake-attempts") {
			c.add(name, i+1, "no FlakeAttempts on a command line", whyFlake)
		}
	}
}
