package userland

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// tester evaluates the arguments of test.
type tester struct {
	p     *proc
	args  []string
	err   string
	depth int
}

func (t *tester) peek(i int) string {
	if i < len(t.args) {
		return t.args[i]
	}
	return ""
}

func (t *tester) or() bool {
	ok := t.and()
	for len(t.args) > 0 && t.args[0] == "-o" && t.err == "" {
		t.args = t.args[1:]
		next := t.and()
		ok = ok || next
	}
	return ok
}

func (t *tester) and() bool {
	ok := t.term()
	for len(t.args) > 0 && t.args[0] == "-a" && t.err == "" {
		t.args = t.args[1:]
		next := t.term()
		ok = ok && next
	}
	return ok
}

func (t *tester) term() bool {
	t.depth++
	defer func() { t.depth-- }()
	switch {
	case t.depth > maxNesting:
		t.err = "nested too deeply"
		return false
	case len(t.args) == 0:
		return false
	case len(t.args) >= 3 && isBinaryTest(t.args[1]):
		ok, err := binaryTest(t.p, t.args[0], t.args[1], t.args[2])
		t.err = err
		t.args = t.args[3:]
		return ok
	case t.args[0] == "!" && len(t.args) > 1:
		t.args = t.args[1:]
		return !t.term()
	case t.args[0] == "(" && len(t.args) > 1:
		t.args = t.args[1:]
		ok := t.or()
		if t.peek(0) != ")" {
			t.err = "missing )"
			return false
		}
		t.args = t.args[1:]
		return ok
	case len(t.args) >= 2 && isUnaryTest(t.args[0]):
		ok := unaryTest(t.p, t.args[0], t.args[1])
		t.args = t.args[2:]
		return ok
	}
	ok := t.args[0] != ""
	t.args = t.args[1:]
	return ok
}

func isUnaryTest(op string) bool {
	return len(op) == 2 && op[0] == '-' && strings.IndexByte("bcdefghknoprstuwxzGLOS", op[1]) >= 0
}

func isBinaryTest(op string) bool {
	switch op {
	case "=", "==", "!=", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-nt", "-ot", "-ef":
		return true
	}
	return false
}

func unaryTest(p *proc, op, arg string) bool {
	switch op {
	case "-n":
		return arg != ""
	case "-z":
		return arg == ""
	case "-t":
		n, ok := atoi(arg)
		return ok && p.fds[n] != nil && p.fds[n].tty
	case "-o":
		return false
	}
	stat := p.fs().Stat
	if op == "-h" || op == "-L" {
		stat = p.fs().Lstat
	}
	info, err := stat(p.abs(arg))
	if err != nil {
		return false
	}
	mode := info.Mode()
	switch op {
	case "-d":
		return mode.IsDir()
	case "-f":
		return mode.IsRegular()
	case "-h", "-L":
		return mode&fs.ModeSymlink != 0
	case "-s":
		return info.Size() > 0
	case "-c":
		return mode&fs.ModeCharDevice != 0
	case "-b", "-p", "-S", "-g", "-k", "-u":
		return false
	case "-x":
		return mode.IsDir() || mode&0o111 != 0
	}
	return true // -e -r -w -G -O: root may do all
}

func binaryTest(p *proc, x, op, y string) (bool, string) {
	switch op {
	case "=", "==":
		return x == y, ""
	case "!=":
		return x != y, ""
	case "<":
		return x < y, ""
	case ">":
		return x > y, ""
	case "-nt", "-ot", "-ef":
		a, err1 := p.fs().Stat(p.abs(x))
		b, err2 := p.fs().Stat(p.abs(y))
		switch {
		case err1 != nil || err2 != nil:
			return op == "-nt" && err1 == nil || op == "-ot" && err2 == nil, ""
		case op == "-nt":
			return a.ModTime().After(b.ModTime()), ""
		case op == "-ot":
			return a.ModTime().Before(b.ModTime()), ""
		}
		return a.Ino == b.Ino, ""
	}
	a, err1 := strconv.ParseInt(strings.TrimSpace(x), 10, 64)
	b, err2 := strconv.ParseInt(strings.TrimSpace(y), 10, 64)
	if err1 != nil {
		return false, x + ": bad number"
	}
	if err2 != nil {
		return false, y + ": bad number"
	}
	switch op {
	case "-eq":
		return a == b, ""
	case "-ne":
		return a != b, ""
	case "-lt":
		return a < b, ""
	case "-le":
		return a <= b, ""
	case "-gt":
		return a > b, ""
	}
	return a >= b, ""
}

// testExpr evaluates what stands within [[ ]].
func (sh *shell) testExpr(ctx context.Context, e syntax.TestExpr) (bool, error) {
	switch e := e.(type) {
	case *syntax.Word:
		s, _ := sh.literal(ctx, e)
		return s != "", nil
	case *syntax.ParenTest:
		return sh.testExpr(ctx, e.X)
	case *syntax.UnaryTest:
		if e.Op == syntax.TsNot {
			ok, err := sh.testExpr(ctx, e.X)
			return !ok, err
		}
		w, isWord := e.X.(*syntax.Word)
		if !isWord {
			return false, fmt.Errorf("%s: bad operand", e.Op)
		}
		s, _ := sh.literal(ctx, w)
		return unaryTest(sh.p, e.Op.String(), s), nil
	case *syntax.BinaryTest:
		switch e.Op {
		case syntax.AndTest, syntax.OrTest:
			x, err := sh.testExpr(ctx, e.X)
			if err != nil || x == (e.Op == syntax.OrTest) {
				return x, err
			}
			return sh.testExpr(ctx, e.Y)
		}
		x, isX := e.X.(*syntax.Word)
		y, isY := e.Y.(*syntax.Word)
		if !isX || !isY {
			return false, fmt.Errorf("%s: bad operand", e.Op)
		}
		left, _ := sh.literal(ctx, x)
		switch e.Op.String() {
		case "=", "==", "!=":
			pat, err := expand.Pattern(sh.config(ctx), y)
			if err != nil {
				return false, err
			}
			return matchPattern(pat, left) == (e.Op.String() != "!="), nil
		}
		right, _ := sh.literal(ctx, y)
		ok, msg := binaryTest(sh.p, left, e.Op.String(), right)
		if msg != "" {
			return false, fmt.Errorf("%s", msg)
		}
		return ok, nil
	}
	return false, fmt.Errorf("this test is not supported")
}
