package userland

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

func (sh *shell) unalias(words []*syntax.Word) []*syntax.Word {
	if len(words) == 0 || len(sh.aliases) == 0 {
		return words
	}
	body, ok := sh.aliases[words[0].Lit()]
	if !ok {
		return words
	}
	file, err := parse(body)
	if err != nil || len(file.Stmts) != 1 {
		return words
	}
	call, ok := file.Stmts[0].Cmd.(*syntax.CallExpr)
	if !ok {
		return words
	}
	return append(slices.Clone(call.Args), words[1:]...)
}

func (sh *shell) assignments(ctx context.Context, cm *syntax.CallExpr) {
	sh.last = 0
	for _, as := range cm.Assigns {
		if !sh.assignOne(ctx, as, false) {
			return
		}
	}
}

func (sh *shell) assignOne(ctx context.Context, as *syntax.Assign, export bool) bool {
	name := as.Name.Value
	v := sh.vars[name]
	switch {
	case as.Array != nil:
		v.List = nil
		for _, el := range as.Array.Elems {
			if el.Value == nil {
				continue
			}
			list, ok := sh.fields(ctx, []*syntax.Word{el.Value})
			if !ok {
				return false
			}
			v.List = append(v.List, list...)
		}
		v.Kind = expand.Indexed
	case as.Index != nil:
		i, ok := sh.arithm(ctx, as.Index)
		if !ok {
			return false
		}
		value, ok := sh.literal(ctx, as.Value)
		if !ok || i < 0 || i > maxVars {
			return false
		}
		list := slices.Clone(v.List)
		if v.Kind == expand.String && v.Set {
			list = []string{v.Str}
		}
		for len(list) <= i {
			list = append(list, "")
		}
		list[i] = value
		v.Kind, v.List = expand.Indexed, list
	default:
		value, ok := sh.literal(ctx, as.Value)
		if !ok {
			return false
		}
		if as.Append {
			value = v.Str + value
		}
		if len(value) > maxSubst {
			value = value[:maxSubst]
		}
		v.Kind, v.Str = expand.String, value
	}
	v.Set = true
	if export {
		v.Exported = true
	}
	if err := sh.assign(name, v); err != nil {
		sh.expandError(err)
		return false
	}
	return true
}

// invoke runs a function, a builtin or a program.
func (sh *shell) invoke(ctx context.Context, args []string, tail bool) {
	if body := sh.funcs[args[0]]; body != nil {
		sh.function(ctx, body, args)
		return
	}
	if b := sh.p.sys.builtins[args[0]]; b != nil {
		sh.last = b(ctx, sh, args)
		return
	}
	sh.program(ctx, args, tail)
}

func (sh *shell) function(ctx context.Context, body *syntax.Stmt, args []string) {
	if sh.depth >= maxNesting {
		sh.p.errorf("%s: %s: nested too deeply\n", sh.name, args[0])
		sh.last, sh.exiting = 1, true
		return
	}
	params := sh.params
	sh.params = args[1:]
	sh.depth++
	sh.inFunc++
	sh.locals = append(sh.locals, map[string]expand.Variable{})
	sh.last = 0
	sh.stmt(ctx, body)
	for name, v := range sh.locals[len(sh.locals)-1] {
		if v.Declared() {
			sh.vars[name] = v
		} else {
			delete(sh.vars, name)
		}
	}
	sh.locals = sh.locals[:len(sh.locals)-1]
	sh.inFunc--
	sh.depth--
	sh.returning = false
	sh.params = params
}

// program runs a command of the file system, in a child or in place of this
// process.
func (sh *shell) program(ctx context.Context, args []string, tail bool) {
	run, code := sh.find(args)
	if run == nil {
		sh.last = code
		if tail {
			sh.exiting = true
		}
		return
	}
	if tail {
		sh.export()
		sh.p.become(path.Base(args[0]), args)
		sh.last = run(ctx, sh.p, args)
		sh.exiting = true
		clear(sh.traps)
		return
	}
	sh.export()
	ctx, child, err := sh.p.sys.spawn(ctx, sh.p, path.Base(args[0]), args)
	if err != nil {
		sh.p.errorf("%s: %s\n", sh.name, err)
		sh.last = 126
		return
	}
	child.start(func() int { return run(ctx, child, args) })
	sh.last = sh.wait(child)
}

// find looks a command up and reports when there is none.
func (sh *shell) find(args []string) (program, int) {
	run, err := sh.p.sys.lookup(sh.p, args[0], sh.get("PATH"))
	switch {
	case err == nil:
		return run, 0
	case errors.Is(err, fs.ErrNotExist):
		sh.p.errorf("%s: %s: not found\n", sh.name, args[0])
		return nil, 127
	}
	sh.p.errorf("%s: %s: can't execute: %s\n", sh.name, args[0], strerror(err))
	return nil, 126
}

// which is the path of a command, empty when there is none.
func (s *System) which(p *proc, name, search string) (string, error) {
	if strings.Contains(name, "/") {
		full := p.abs(name)
		info, err := p.fs().Stat(full)
		switch {
		case err != nil:
			return "", err
		case info.IsDir():
			return "", pathErr("exec", name, syscall.EISDIR)
		case info.Mode()&0o111 == 0:
			return "", pathErr("exec", name, syscall.EACCES)
		}
		return full, nil
	}
	for dir := range strings.SplitSeq(search, ":") {
		full := path.Join(p.abs(dir), name)
		if info, err := p.fs().Stat(full); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", pathErr("exec", name, syscall.ENOENT)
}

// lookup is the program behind a command's name.
func (s *System) lookup(p *proc, name, search string) (program, error) {
	full, err := s.which(p, name, search)
	if err != nil {
		return nil, err
	}
	data, err := p.fs().ReadFile(full)
	if err != nil {
		return nil, err
	}
	if base, ok := strings.CutPrefix(string(data[:min(len(data), 64)]), programMagic); ok {
		if run := s.programs[strings.TrimSpace(base)]; run != nil {
			return run, nil
		}
	}
	if strings.HasPrefix(string(data[:min(len(data), 4)]), "\x7fELF") || len(data) > maxScript {
		return nil, pathErr("exec", name, syscall.ENOEXEC)
	}
	return func(ctx context.Context, p *proc, args []string) int {
		if strings.Contains(name, "/") {
			full = name // $0 is the name that was used
		}
		p.become("sh", append([]string{"sh", full}, args[1:]...))
		return shellMain(ctx, p, append([]string{"sh", full}, args[1:]...), false)
	}, nil
}

// declare is export, readonly, typeset and local.
func (sh *shell) declare(ctx context.Context, cm *syntax.DeclClause) {
	var exported, readOnly bool
	local := sh.inFunc > 0
	switch cm.Variant.Value {
	case "export":
		exported, local = true, false
	case "readonly":
		readOnly, local = true, false
	case "local", "typeset", "declare":
	default:
		sh.p.errorf("%s: %s is not supported\n", sh.name, cm.Variant.Value)
		sh.last = 1
		return
	}
	sh.last = 0
	for _, as := range cm.Args {
		if as.Naked && as.Name == nil { // an option, or words to expand
			list, ok := sh.fields(ctx, []*syntax.Word{as.Value})
			if !ok {
				return
			}
			for _, w := range list {
				switch {
				case strings.HasPrefix(w, "-"):
					exported = exported || strings.Contains(w, "x")
					readOnly = readOnly || strings.Contains(w, "r")
					local = local && !strings.Contains(w, "g")
				default:
					name, value, has := strings.Cut(w, "=")
					if !sh.declareOne(name, value, has, local, exported, readOnly) {
						return
					}
				}
			}
			continue
		}
		name := as.Name.Value
		if local {
			sh.makeLocal(name)
		}
		if !as.Naked && !sh.assignOne(ctx, as, exported) {
			return
		}
		sh.mark(name, exported, readOnly)
	}
}

func (sh *shell) declareOne(name, value string, has, local, exported, readOnly bool) bool {
	if !syntax.ValidName(name) {
		sh.p.errorf("%s: %s: is not an identifier\n", sh.name, name)
		sh.last = 1
		return false
	}
	if local {
		sh.makeLocal(name)
	}
	if has {
		sh.set(name, value)
	}
	sh.mark(name, exported, readOnly)
	return true
}

func (sh *shell) makeLocal(name string) {
	if len(sh.locals) == 0 {
		return
	}
	scope := sh.locals[len(sh.locals)-1]
	if _, done := scope[name]; !done {
		scope[name] = sh.vars[name]
		delete(sh.vars, name)
	}
}

func (sh *shell) mark(name string, exported, readOnly bool) {
	v := sh.vars[name]
	v.Exported = v.Exported || exported
	v.ReadOnly = v.ReadOnly || readOnly
	if v.Kind == expand.Unknown {
		v.Kind = expand.String
	}
	sh.vars[name] = v
}

func signalName(sig syscall.Signal) string {
	for name, s := range trapNames {
		if s == sig {
			return name
		}
	}
	return fmt.Sprint(int(sig))
}

var trapNames = map[string]syscall.Signal{
	"HUP": syscall.SIGHUP, "INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT, "TERM": syscall.SIGTERM,
	"PIPE": syscall.SIGPIPE, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "ALRM": syscall.SIGALRM,
}
