// Package archtest holds the rules of the house as code: which package may
// import which, where each library is confined, and what no file may contain.
//
// Every rule has a reason, and a finding prints it beside the file and the
// rule, so that whoever trips over one learns what it protects. The rules are
// checked on the syntax alone: no build, no network, every operating system's
// files at once.
package archtest

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the import path that all packages of the project begin with.
const Module = "github.com/offproof/offproof"

// A Finding is one place where a rule is broken.
type Finding struct {
	// File is relative to the root, and a folder where the rule is about one.
	File string
	// Line is 0 where the whole file is meant.
	Line int
	// Rule says what is not allowed, or what is missing.
	Rule string
	// Reason says why there is such a rule.
	Reason string
}

// String gives the finding as one line: file, rule, reason.
func (f Finding) String() string {
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	return fmt.Sprintf("%s: %s (because %s)", at, f.Rule, f.Reason)
}

// A file is one Go file with its syntax.
type file struct {
	path string // relative to the root, with slashes
	dir  string // the package's folder, "." at the root
	test bool   // named _test.go
	src  []byte
	set  *token.FileSet
	ast  *ast.File
}

// A check collects findings over a tree.
type check struct {
	found []Finding
}

func (c *check) add(file string, line int, rule, reason string) {
	c.found = append(c.found, Finding{File: file, Line: line, Rule: rule, Reason: reason})
}

// at adds a finding about a place in a Go file.
func (c *check) at(f *file, pos token.Pos, rule, reason string) {
	c.add(f.path, f.set.Position(pos).Line, rule, reason)
}

// Check applies every rule to the tree, whose root is the root of the module,
// and returns what breaks them, ordered by file. The error is for a tree that
// could not be read or a Go file that could not be parsed.
func Check(tree fs.FS) ([]Finding, error) {
	c := &check{}
	var files []*file
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			// Others may work in the tree meanwhile; what is gone breaks no rule.
			if errors.Is(err, fs.ErrNotExist) && name != "." {
				return nil
			}
			return err
		}
		if generated(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		f, err := c.file(tree, name)
		if f != nil {
			files = append(files, f)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("archtest: read tree: %w", err)
	}

	if err := c.topLevel(tree); err != nil {
		return nil, fmt.Errorf("archtest: read root: %w", err)
	}
	for _, f := range files {
		c.imports(f)
		c.syntax(f)
	}
	c.packageComments(files)

	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return c.found, nil
}

// generated says whether .gitignore keeps the path out of the repository.
func generated(name string) bool {
	switch name {
	case ".git", "runs", "bin", "offproof", "offproof-sim":
		return true
	}
	return strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".out")
}

// file applies the rules about any file, and parses it if it is a Go file that
// a build would see.
func (c *check) file(tree fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(tree, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.size(name, src)
	c.links(tree, name, src)
	c.retryFlags(name, src)

	if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
		return nil, nil
	}
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	return &file{
		path: name,
		dir:  path.Dir(name),
		test: strings.HasSuffix(name, "_test.go"),
		src:  src,
		set:  set,
		ast:  syntax,
	}, nil
}
