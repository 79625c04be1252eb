package userland

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

const (
	shellPath  = "/system/bin/sh"
	maxScript  = 128 << 10 // bytes of a script, the kernel's bound on one argument
	maxNesting = 64        // functions, substitutions and evals within each other
	maxParens  = 4096      // brackets in a script, which bounds the parser's recursion
	maxSubst   = 4 << 20   // bytes of a command substitution
	maxVars    = 4096      // variables of a shell
)

// A shell interprets scripts within a process. The parser and the expansion of
// words are those of mvdan.cc/sh; running is done here, because every subshell,
// pipeline element and background job is a process of its own with a pid that
// signals reach, and because directories and permissions are those of the FS.
type shell struct {
	p       *proc
	pid     int // $$: that of the outermost shell
	name    string
	params  []string
	vars    map[string]expand.Variable
	funcs   map[string]*syntax.Stmt
	aliases map[string]string
	traps   map[string]string // by signal name, or EXIT
	jobs    []*proc           // children in the background
	lastJob int
	last    int // $?
	depth   int
	inFunc  int
	locals  []map[string]expand.Variable
	getopt  int // offset within the argument that getopts reads

	errexit, nounset, noglob, xtrace, pipefail, noexec, allexport bool

	breaks, continues int
	returning         bool
	exiting           bool
	condition         int // >0 while a failure does not end an errexit shell
	inTrap            bool
}

func newShell(p *proc, name string) *shell {
	sh := &shell{
		p: p, pid: p.pid, name: name,
		vars: map[string]expand.Variable{}, funcs: map[string]*syntax.Stmt{},
		aliases: map[string]string{}, traps: map[string]string{},
	}
	for _, kv := range p.env {
		k, v, _ := strings.Cut(kv, "=")
		sh.vars[k] = expand.Variable{Set: true, Exported: true, Kind: expand.String, Str: v}
	}
	sh.set("PWD", p.dir)
	sh.set("IFS", " \t\n")
	sh.set("OPTIND", "1")
	return sh
}

// shellMain is the program sh.
func shellMain(ctx context.Context, p *proc, args []string, interactive bool) int {
	sh := newShell(p, shellPath)
	i := 1
	command, isCommand := "", false
	for ; i < len(args) && strings.HasPrefix(args[i], "-") && args[i] != "-" && args[i] != "--"; i++ {
		for _, c := range args[i][1:] {
			switch c {
			case 'c':
				isCommand = true
			case 'i':
				interactive = true
			case 'l', 's', 'm', 'b':
			default:
				if !sh.setFlag(c, true) {
					p.errorf("%s: -%c: unknown option\n", shellPath, c)
					return 1
				}
			}
		}
	}
	if i < len(args) && (args[i] == "-" || args[i] == "--") {
		i++
	}
	rest := args[min(i, len(args)):]
	switch {
	case isCommand:
		if len(rest) == 0 {
			p.errorf("%s: -c requires an argument\n", shellPath)
			return 1
		}
		command = rest[0]
		if len(rest) > 1 {
			sh.name, sh.params = rest[1], rest[2:]
		}
		return sh.finish(ctx, sh.source(ctx, command))
	case len(rest) > 0:
		data, err := p.fs().ReadFile(p.abs(rest[0]))
		if err != nil {
			p.errorf("%s: %s: %s\n", shellPath, rest[0], strerror(err))
			return 127
		}
		sh.name, sh.params = rest[0], rest[1:]
		return sh.finish(ctx, sh.source(ctx, string(data)))
	}
	return sh.interact(ctx, interactive)
}

// interact reads commands from standard input, one complete command at a time.
func (sh *shell) interact(ctx context.Context, prompt bool) int {
	ps1 := func() {
		if prompt {
			sign := "#"
			if sh.p.uid != rootUID {
				sign = "$"
			}
			_, _ = fmt.Fprintf(sh.p.err(), "%s:%s %s ", sh.p.sys.cfg.Identity.Device, sh.p.dir, sign)
		}
	}
	ps1()
	var pending strings.Builder
	buf := make([]byte, 1)
	for !sh.exiting && !sh.p.dead() {
		n, err := sh.p.in().Read(buf)
		if n == 1 {
			pending.WriteByte(buf[0])
			if buf[0] != '\n' {
				if pending.Len() > maxScript {
					sh.p.errorf("%s: line too long\n", shellPath)
					return 1
				}
				continue
			}
		}
		if pending.Len() > 0 {
			file, perr := parse(pending.String())
			switch {
			case perr != nil && err == nil && syntax.IsIncomplete(perr):
				continue
			case perr != nil:
				sh.syntaxError(perr)
				sh.last = 1
			default:
				sh.stmts(ctx, file.Stmts)
			}
			pending.Reset()
		}
		if err != nil {
			break
		}
		if !sh.exiting {
			ps1()
		}
	}
	return sh.finish(ctx, sh.last)
}

func parse(src string) (*syntax.File, error) {
	if len(src) > maxScript {
		return nil, errors.New("argument list too long")
	}
	if strings.Count(src, "(")+strings.Count(src, "{")+strings.Count(src, "`")+strings.Count(src, "[") > maxParens {
		return nil, errors.New("nested too deeply")
	}
	return syntax.NewParser(syntax.Variant(syntax.LangMirBSDKorn)).Parse(strings.NewReader(src), "")
}

func (sh *shell) syntaxError(err error) {
	msg := err.Error()
	var pe syntax.ParseError
	if errors.As(err, &pe) {
		msg = pe.Text
	}
	sh.p.errorf("%s: syntax error: %s\n", sh.name, msg)
}

// source runs a script's text in this shell.
func (sh *shell) source(ctx context.Context, src string) int {
	if sh.depth >= maxNesting {
		sh.p.errorf("%s: nested too deeply\n", sh.name)
		return 1
	}
	file, err := parse(src)
	if err != nil {
		sh.syntaxError(err)
		return 1
	}
	sh.depth++
	sh.stmts(ctx, file.Stmts)
	sh.depth--
	return sh.last
}

// finish runs the EXIT trap.
func (sh *shell) finish(ctx context.Context, code int) int {
	if body := sh.traps["EXIT"]; body != "" && !sh.p.dead() {
		delete(sh.traps, "EXIT")
		sh.exiting, sh.returning, sh.breaks, sh.continues = false, false, 0, 0
		sh.last = code
		sh.source(ctx, body)
		if sh.exiting {
			code = sh.last
		}
	}
	return code
}

func (sh *shell) set(name, value string) {
	v := sh.vars[name]
	v.Set, v.Kind, v.Str = true, expand.String, value
	_ = sh.assign(name, v) // a read-only name of the shell's own is not changed
}

func (sh *shell) get(name string) string { return sh.lookup(name).String() }

var errReadOnly = errors.New("is read only")

func (sh *shell) assign(name string, v expand.Variable) error {
	old, had := sh.vars[name]
	if had && old.ReadOnly && !v.ReadOnly {
		return fmt.Errorf("%s: %w", name, errReadOnly)
	}
	if !had && len(sh.vars) >= maxVars {
		return fmt.Errorf("%s: %w", name, syscall.ENOMEM)
	}
	v.Exported = v.Exported || old.Exported || sh.allexport
	sh.vars[name] = v
	return nil
}

func (sh *shell) lookup(name string) expand.Variable {
	str := func(s string) expand.Variable {
		return expand.Variable{Set: true, Kind: expand.String, Str: s}
	}
	switch name {
	case "#":
		return str(fmt.Sprint(len(sh.params)))
	case "@", "*":
		list := sh.params
		if list == nil {
			list = []string{}
		}
		return expand.Variable{Set: true, Kind: expand.Indexed, List: append([]string(nil), list...)}
	case "?":
		return str(fmt.Sprint(sh.last))
	case "$":
		return str(fmt.Sprint(sh.pid))
	case "!":
		if sh.lastJob == 0 {
			return expand.Variable{}
		}
		return str(fmt.Sprint(sh.lastJob))
	case "PPID":
		return str(fmt.Sprint(sh.p.ppid))
	case "0":
		return str(sh.name)
	case "-":
		return str("")
	case "RANDOM":
		return str(fmt.Sprint(sh.p.sys.random() & 0x7fff))
	case "SECONDS":
		return str(fmt.Sprint(int(sh.p.sys.Now().Sub(sh.p.started).Seconds())))
	case "EPOCHREALTIME":
		now := sh.p.sys.Now()
		return str(fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000))
	}
	if n, ok := atoi(name); ok {
		if n >= 1 && n <= len(sh.params) {
			return str(sh.params[n-1])
		}
		return expand.Variable{}
	}
	if user, ok := strings.CutPrefix(name, "HOME "); ok {
		return str("~" + user) // there are no other users' homes
	}
	return sh.vars[name]
}

// environ is the shell's variables as the expansion library wants them.
type environ struct{ sh *shell }

var _ expand.WriteEnviron = environ{}

func (e environ) Get(name string) expand.Variable { return e.sh.lookup(name) }

func (e environ) Set(name string, v expand.Variable) error { return e.sh.assign(name, v) }

func (e environ) Each(f func(string, expand.Variable) bool) {
	for name, v := range e.sh.vars {
		if !f(name, v) {
			return
		}
	}
}

func (sh *shell) config(ctx context.Context) *expand.Config {
	cfg := &expand.Config{
		Env: environ{sh},
		CmdSubst: func(w io.Writer, cs *syntax.CmdSubst) error {
			out, err := sh.substitute(ctx, cs.Stmts)
			if err != nil {
				return err
			}
			_, err = w.Write(out)
			return err
		},
		ProcSubst: func(*syntax.ProcSubst) (string, error) {
			return "", errors.New("process substitution is not supported")
		},
		NoUnset: sh.nounset,
	}
	if !sh.noglob {
		cfg.ReadDir2 = func(dir string) ([]fs.DirEntry, error) {
			list, err := sh.p.fs().ReadDir(sh.p.abs(dir))
			if err != nil {
				return nil, err
			}
			entries := make([]fs.DirEntry, len(list))
			for i, info := range list {
				entries[i] = fs.FileInfoToDirEntry(info)
			}
			return entries, nil
		}
	}
	return cfg
}

// expandError reports a failed expansion, which ends a script.
func (sh *shell) expandError(err error) {
	sh.p.errorf("%s: %s\n", sh.name, err)
	sh.last, sh.exiting = 1, true
}

func (sh *shell) fields(ctx context.Context, words []*syntax.Word) ([]string, bool) {
	if !bracesAreSmall(words) {
		sh.p.errorf("%s: argument list too long\n", sh.name)
		sh.last = 1
		return nil, false
	}
	list, err := expand.Fields(sh.config(ctx), words...)
	if err != nil {
		sh.expandError(err)
		return nil, false
	}
	return list, true
}

// bracesAreSmall bounds what brace expansion makes of the words.
func bracesAreSmall(words []*syntax.Word) bool {
	total := 1
	for _, w := range words {
		for _, part := range w.Parts {
			lit, ok := part.(*syntax.Lit)
			if !ok || !strings.Contains(lit.Value, "{") {
				continue
			}
			if strings.Contains(lit.Value, "..") {
				return false // mksh has no sequences either
			}
			total *= 1 + strings.Count(lit.Value, ",")
			if total > 1024 || strings.Count(lit.Value, "{") > 8 {
				return false
			}
		}
	}
	return true
}

func (sh *shell) literal(ctx context.Context, w *syntax.Word) (string, bool) {
	s, err := expand.Literal(sh.config(ctx), w)
	if err != nil {
		sh.expandError(err)
		return "", false
	}
	return s, true
}

func (sh *shell) arithm(ctx context.Context, e syntax.ArithmExpr) (int, bool) {
	n, err := expand.Arithm(sh.config(ctx), e)
	if err != nil {
		sh.expandError(err)
		return 0, false
	}
	return n, true
}

// substitute runs $(...) as a process and returns its output.
func (sh *shell) substitute(ctx context.Context, stmts []*syntax.Stmt) ([]byte, error) {
	if sh.depth >= maxNesting {
		return nil, errors.New("nested too deeply")
	}
	out := &captureStream{max: maxSubst}
	f := newFile(out)
	child, err := sh.fork(ctx, func(ctx context.Context, sub *shell) int {
		if len(stmts) == 1 && stmts[0].Cmd == nil && len(stmts[0].Redirs) == 1 && stmts[0].Redirs[0].Op == syntax.RdrIn {
			if !sub.redirect(ctx, stmts[0].Redirs) {
				return 1
			}
			_, _ = io.Copy(sub.p.out(), sub.p.in()) // $(<file); a full buffer ends it
			return 0
		}
		sub.stmts(ctx, stmts)
		return sub.finish(ctx, sub.last)
	}, map[int]*file{1: f})
	if err != nil {
		return nil, err
	}
	sh.last = sh.wait(child)
	return out.bytes(), nil
}

// fork starts a subshell as a process of its own. fds replaces descriptors; the
// child takes them over.
func (sh *shell) fork(ctx context.Context, body func(context.Context, *shell) int, fds map[int]*file) (*proc, error) {
	name, args := sh.p.title()
	sh.export()
	ctx, child, err := sh.p.sys.spawn(ctx, sh.p, name, args)
	if err != nil {
		for _, f := range fds {
			if f != nil {
				f.close()
			}
		}
		return nil, err
	}
	for n, f := range fds {
		child.setFD(n, f)
	}
	sub := sh.copy(child)
	child.start(func() int { return body(ctx, sub) })
	return child, nil
}

// copy is the shell as a subshell inherits it.
func (sh *shell) copy(p *proc) *shell {
	sub := *sh
	sub.p = p
	sub.params = append([]string(nil), sh.params...)
	sub.vars = make(map[string]expand.Variable, len(sh.vars))
	for k, v := range sh.vars {
		sub.vars[k] = v
	}
	sub.funcs = make(map[string]*syntax.Stmt, len(sh.funcs))
	for k, v := range sh.funcs {
		sub.funcs[k] = v
	}
	sub.aliases = make(map[string]string, len(sh.aliases))
	for k, v := range sh.aliases {
		sub.aliases[k] = v
	}
	sub.traps = map[string]string{}
	sub.jobs = nil
	sub.locals = nil
	sub.depth++
	return &sub
}

// export brings the process's environment up to date for a child.
func (sh *shell) export() {
	env := make([]string, 0, len(sh.p.env))
	for name, v := range sh.vars {
		if v.Exported && v.IsSet() && v.Kind == expand.String {
			env = append(env, name+"="+v.Str)
		}
	}
	sh.p.env = env
}

// wait waits for a child, or until this process is killed.
func (sh *shell) wait(child *proc) int {
	select {
	case <-child.exited:
	case <-sh.p.done:
		return 128
	}
	code, sig := child.status()
	switch sig {
	case 0, syscall.SIGINT, syscall.SIGPIPE:
	case syscall.SIGKILL:
		sh.p.errorf("Killed \n")
	case syscall.SIGTERM:
		sh.p.errorf("Terminated \n")
	case syscall.SIGHUP:
		sh.p.errorf("Hangup \n")
	default:
	}
	return code
}
