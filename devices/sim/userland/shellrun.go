package userland

import (
	"context"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

func (sh *shell) stopped() bool {
	return sh.exiting || sh.returning || sh.breaks > 0 || sh.continues > 0 || sh.noexec || sh.p.dead()
}

func (sh *shell) stmts(ctx context.Context, list []*syntax.Stmt) {
	for _, st := range list {
		sh.runTraps(ctx)
		if sh.stopped() {
			return
		}
		sh.stmt(ctx, st)
	}
	sh.runTraps(ctx)
}

// runTraps runs the actions of signals that arrived.
func (sh *shell) runTraps(ctx context.Context) {
	for !sh.inTrap {
		select {
		case sig := <-sh.p.sigs:
			body := sh.traps[signalName(sig)]
			if body == "" {
				continue
			}
			last := sh.last
			sh.inTrap = true
			sh.source(ctx, body)
			sh.inTrap = false
			if !sh.exiting {
				sh.last = last
			}
		default:
			return
		}
	}
}

func (sh *shell) stmt(ctx context.Context, st *syntax.Stmt) {
	if sh.stopped() {
		return
	}
	if st.Background {
		sh.background(ctx, st)
		return
	}
	if st.Coprocess {
		sh.p.errorf("%s: coprocesses are not supported\n", sh.name)
		sh.last = 1
		return
	}
	if st.Negated {
		sh.condition++
	}
	saved, ok := sh.saveRedirect(ctx, st)
	switch {
	case !ok:
		sh.last = 1
	case st.Cmd != nil:
		sh.command(ctx, st.Cmd)
	default:
		sh.last = 0
	}
	sh.restore(saved)
	if st.Negated {
		sh.condition--
		if !sh.exiting {
			sh.last = oneIf(sh.last == 0)
		}
		return
	}
	if b, isBinary := st.Cmd.(*syntax.BinaryCmd); isBinary && b.Op != syntax.Pipe && b.Op != syntax.PipeAll {
		return // its parts have been looked at
	}
	if sh.last != 0 && sh.errexit && sh.condition == 0 {
		sh.exiting = true
	}
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// saveRedirect applies the redirections of a statement and returns what they
// replaced. `exec` without a command keeps them.
func (sh *shell) saveRedirect(ctx context.Context, st *syntax.Stmt) (map[int]*file, bool) {
	if len(st.Redirs) == 0 {
		return nil, true
	}
	if call, ok := st.Cmd.(*syntax.CallExpr); ok && len(call.Args) == 1 && call.Args[0].Lit() == "exec" {
		return nil, sh.redirect(ctx, st.Redirs)
	}
	saved := make(map[int]*file, len(sh.p.fds))
	for n, f := range sh.p.fds {
		saved[n] = f.dup()
	}
	return saved, sh.redirect(ctx, st.Redirs)
}

func (sh *shell) restore(saved map[int]*file) {
	if saved == nil {
		return
	}
	for _, f := range sh.p.fds {
		f.close()
	}
	sh.p.fds = saved
}

// redirect changes the process's descriptors.
func (sh *shell) redirect(ctx context.Context, redirs []*syntax.Redirect) bool {
	for _, r := range redirs {
		if !sh.redirectOne(ctx, r) {
			return false
		}
	}
	return true
}

func (sh *shell) redirectOne(ctx context.Context, r *syntax.Redirect) bool {
	fd := -1
	if r.N != nil {
		n, ok := atoi(r.N.Value)
		if !ok || n > 255 {
			sh.p.errorf("%s: %s: bad file descriptor\n", sh.name, r.N.Value)
			return false
		}
		fd = n
	}
	or := func(n int) int {
		if fd < 0 {
			return n
		}
		return fd
	}
	if r.Op == syntax.Hdoc || r.Op == syntax.DashHdoc {
		body, err := expand.Document(sh.config(ctx), r.Hdoc)
		if err != nil {
			sh.expandError(err)
			return false
		}
		if r.Op == syntax.DashHdoc {
			lines := strings.Split(body, "\n")
			for i := range lines {
				lines[i] = strings.TrimLeft(lines[i], "\t")
			}
			body = strings.Join(lines, "\n")
		}
		sh.p.setFD(or(0), newFile(&bytesStream{data: []byte(body)}))
		return true
	}
	arg, ok := sh.literal(ctx, r.Word)
	if !ok {
		return false
	}
	switch r.Op {
	case syntax.WordHdoc:
		sh.p.setFD(or(0), newFile(&bytesStream{data: []byte(arg + "\n")}))
		return true
	case syntax.DplIn, syntax.DplOut:
		to := or(1)
		if r.Op == syntax.DplIn {
			to = or(0)
		}
		if arg == "-" {
			sh.p.setFD(to, nil)
			return true
		}
		from, isNumber := atoi(arg)
		f := sh.p.fds[from]
		if !isNumber || f == nil {
			sh.p.errorf("%s: %s: bad file descriptor\n", sh.name, arg)
			return false
		}
		if from != to {
			sh.p.setFD(to, f.dup())
		}
		return true
	case syntax.RdrIn:
		return sh.open(or(0), arg, syscall.O_RDONLY)
	case syntax.RdrInOut:
		return sh.open(or(0), arg, syscall.O_RDWR|syscall.O_CREAT)
	case syntax.RdrOut, syntax.ClbOut:
		return sh.open(or(1), arg, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC)
	case syntax.AppOut:
		return sh.open(or(1), arg, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_APPEND)
	case syntax.RdrAll, syntax.AppAll:
		flags := syscall.O_WRONLY | syscall.O_CREAT | syscall.O_TRUNC
		if r.Op == syntax.AppAll {
			flags = syscall.O_WRONLY | syscall.O_CREAT | syscall.O_APPEND
		}
		if !sh.open(1, arg, flags) {
			return false
		}
		sh.p.setFD(2, sh.p.fds[1].dup())
		return true
	default:
		sh.p.errorf("%s: %s is not supported\n", sh.name, r.Op)
		return false
	}
}

func (sh *shell) open(fd int, name string, flags int) bool {
	verb := "open"
	if flags&syscall.O_CREAT != 0 {
		verb = "create"
	}
	if name == "/dev/tty" && sh.p.fds[1] != nil {
		sh.p.setFD(fd, sh.p.fds[1].dup())
		return true
	}
	h, err := sh.p.fs().OpenFile(sh.p.abs(name), flags, fs.FileMode(0o666&^sh.p.umask))
	if err != nil {
		sh.p.errorf("%s: can't %s %s: %s\n", sh.name, verb, name, strerror(err))
		return false
	}
	sh.p.setFD(fd, newFile(&handleStream{h: h}))
	return true
}

func (sh *shell) background(ctx context.Context, st *syntax.Stmt) {
	inner := *st
	inner.Background = false
	child, err := sh.fork(ctx, func(ctx context.Context, sub *shell) int {
		sub.p.ignore(syscall.SIGINT, syscall.SIGQUIT) // as POSIX has it without job control
		return sub.tail(ctx, &inner)
	}, map[int]*file{0: sh.nullFile()})
	if err != nil {
		sh.p.errorf("%s: %s\n", sh.name, err)
		sh.last = 1
		return
	}
	sh.jobs = append(sh.jobs, child)
	if len(sh.jobs) > maxProcesses {
		sh.jobs = sh.jobs[1:]
	}
	sh.lastJob = child.pid
	sh.last = 0
}

func (sh *shell) nullFile() *file {
	h, err := sh.p.fs().OpenFile("/dev/null", syscall.O_RDWR, 0)
	if err != nil {
		return newFile(&bytesStream{})
	}
	return newFile(&handleStream{h: h})
}

// tail runs the only statement of a process, so that a simple command takes
// over the process and its pid.
func (sh *shell) tail(ctx context.Context, st *syntax.Stmt) int {
	call, ok := st.Cmd.(*syntax.CallExpr)
	if !ok || st.Negated || st.Background || st.Coprocess || len(call.Args) == 0 {
		sh.stmts(ctx, []*syntax.Stmt{st})
		return sh.finish(ctx, sh.last)
	}
	if !sh.redirect(ctx, st.Redirs) {
		return 1
	}
	sh.call(ctx, call, true)
	return sh.finish(ctx, sh.last)
}

func (sh *shell) command(ctx context.Context, cm syntax.Command) {
	if sh.depth > maxNesting {
		sh.p.errorf("%s: nested too deeply\n", sh.name)
		sh.last, sh.exiting = 1, true
		return
	}
	switch cm := cm.(type) {
	case *syntax.CallExpr:
		sh.call(ctx, cm, false)
	case *syntax.Block:
		sh.stmts(ctx, cm.Stmts)
	case *syntax.Subshell:
		sh.subshell(ctx, cm.Stmts)
	case *syntax.BinaryCmd:
		sh.binary(ctx, cm)
	case *syntax.IfClause:
		sh.ifClause(ctx, cm)
	case *syntax.WhileClause:
		sh.loop(ctx, cm)
	case *syntax.ForClause:
		sh.forClause(ctx, cm)
	case *syntax.CaseClause:
		sh.caseClause(ctx, cm)
	case *syntax.FuncDecl:
		sh.funcs[cm.Name.Value] = cm.Body
		sh.last = 0
	case *syntax.ArithmCmd:
		n, ok := sh.arithm(ctx, cm.X)
		sh.last = oneIf(!ok || n == 0)
	case *syntax.LetClause:
		for _, e := range cm.Exprs {
			n, ok := sh.arithm(ctx, e)
			sh.last = oneIf(!ok || n == 0)
		}
	case *syntax.TestClause:
		ok, err := sh.testExpr(ctx, cm.X)
		sh.last = oneIf(!ok)
		if err != nil {
			sh.p.errorf("%s: [[: %s\n", sh.name, err)
			sh.last = 2
		}
	case *syntax.DeclClause:
		sh.declare(ctx, cm)
	case *syntax.TimeClause:
		start := sh.p.sys.Now()
		if cm.Stmt != nil {
			sh.stmt(ctx, cm.Stmt)
		}
		real := sh.p.sys.Now().Sub(start)
		sh.p.errorf("    0m%.2fs real     0m0.00s user     0m0.00s system\n", real.Seconds())
	default:
		sh.p.errorf("%s: this command is not supported\n", sh.name)
		sh.last = 1
	}
}

func (sh *shell) subshell(ctx context.Context, list []*syntax.Stmt) {
	child, err := sh.fork(ctx, func(ctx context.Context, sub *shell) int {
		sub.stmts(ctx, list)
		return sub.finish(ctx, sub.last)
	}, nil)
	if err != nil {
		sh.p.errorf("%s: %s\n", sh.name, err)
		sh.last = 1
		return
	}
	sh.last = sh.wait(child)
}

func (sh *shell) binary(ctx context.Context, cm *syntax.BinaryCmd) {
	switch cm.Op {
	case syntax.AndStmt, syntax.OrStmt:
		sh.condition++
		sh.stmt(ctx, cm.X)
		sh.condition--
		if !sh.stopped() && (sh.last == 0) == (cm.Op == syntax.AndStmt) {
			sh.stmt(ctx, cm.Y)
		}
	case syntax.Pipe, syntax.PipeAll:
		sh.pipeline(ctx, cm)
	default:
		sh.p.errorf("%s: %s is not supported\n", sh.name, cm.Op)
		sh.last = 1
	}
}

// pipeline runs every element as a process of its own, like mksh.
func (sh *shell) pipeline(ctx context.Context, cm *syntax.BinaryCmd) {
	var parts []*syntax.Stmt
	var both []bool
	var flatten func(st *syntax.Stmt, all bool)
	flatten = func(st *syntax.Stmt, all bool) {
		if b, ok := st.Cmd.(*syntax.BinaryCmd); ok && (b.Op == syntax.Pipe || b.Op == syntax.PipeAll) &&
			!st.Negated && len(st.Redirs) == 0 {
			flatten(b.X, b.Op == syntax.PipeAll)
			flatten(b.Y, all)
			return
		}
		parts = append(parts, st)
		both = append(both, all)
	}
	flatten(&syntax.Stmt{Cmd: cm}, false)
	var in *file
	children := make([]*proc, 0, len(parts))
	for i, st := range parts {
		fds := map[int]*file{}
		if in != nil {
			fds[0] = in
			in = nil
		}
		if i < len(parts)-1 {
			r, w := newPipe()
			in = r
			fds[1] = w
			if both[i] {
				fds[2] = w.dup()
			}
		}
		child, err := sh.fork(ctx, func(ctx context.Context, sub *shell) int { return sub.tail(ctx, st) }, fds)
		if err != nil {
			sh.p.errorf("%s: %s\n", sh.name, err)
			break
		}
		children = append(children, child)
	}
	if in != nil {
		in.close()
	}
	failed := 0
	for i, child := range children {
		code := sh.wait(child)
		if code != 0 {
			failed = code
		}
		if i == len(parts)-1 {
			sh.last = code
		}
	}
	if len(children) < len(parts) {
		sh.last = 1
	}
	if sh.pipefail && sh.last == 0 {
		sh.last = failed
	}
}

func (sh *shell) ifClause(ctx context.Context, cm *syntax.IfClause) {
	for cm != nil {
		if len(cm.Cond) == 0 { // else
			sh.stmts(ctx, cm.Then)
			return
		}
		sh.condition++
		sh.stmts(ctx, cm.Cond)
		sh.condition--
		if sh.stopped() {
			return
		}
		if sh.last == 0 {
			sh.stmts(ctx, cm.Then)
			return
		}
		sh.last = 0
		cm = cm.Else
	}
}

// body runs a loop's body once and says whether the loop goes on.
func (sh *shell) body(ctx context.Context, list []*syntax.Stmt) bool {
	sh.stmts(ctx, list)
	if sh.continues > 0 {
		sh.continues--
		return sh.continues == 0
	}
	if sh.breaks > 0 {
		sh.breaks--
		return false
	}
	return !sh.stopped()
}

func (sh *shell) loop(ctx context.Context, cm *syntax.WhileClause) {
	status := 0
	for {
		sh.condition++
		sh.stmts(ctx, cm.Cond)
		sh.condition--
		if sh.stopped() {
			return
		}
		if (sh.last == 0) == cm.Until {
			break
		}
		more := sh.body(ctx, cm.Do)
		status = sh.last
		if !more {
			break
		}
	}
	if !sh.exiting && !sh.returning {
		sh.last = status
	}
}

func (sh *shell) forClause(ctx context.Context, cm *syntax.ForClause) {
	switch it := cm.Loop.(type) {
	case *syntax.WordIter:
		items := sh.params
		if it.InPos.IsValid() {
			var ok bool
			if items, ok = sh.fields(ctx, it.Items); !ok {
				return
			}
		}
		if cm.Select {
			sh.p.errorf("%s: select is not supported\n", sh.name)
			sh.last = 1
			return
		}
		sh.last = 0
		for _, item := range slices.Clone(items) {
			sh.set(it.Name.Value, item)
			if !sh.body(ctx, cm.Do) {
				return
			}
		}
	case *syntax.CStyleLoop:
		if it.Init != nil {
			if _, ok := sh.arithm(ctx, it.Init); !ok {
				return
			}
		}
		for {
			if it.Cond != nil {
				if n, ok := sh.arithm(ctx, it.Cond); !ok || n == 0 {
					return
				}
			}
			if !sh.body(ctx, cm.Do) {
				return
			}
			if it.Post != nil {
				if _, ok := sh.arithm(ctx, it.Post); !ok {
					return
				}
			}
		}
	}
}

func (sh *shell) caseClause(ctx context.Context, cm *syntax.CaseClause) {
	word, ok := sh.literal(ctx, cm.Word)
	if !ok {
		return
	}
	sh.last = 0
	fall := false
	for _, item := range cm.Items {
		hit := fall
		for _, p := range item.Patterns {
			if hit {
				break
			}
			pat, err := expand.Pattern(sh.config(ctx), p)
			if err != nil {
				sh.expandError(err)
				return
			}
			hit = matchPattern(pat, word)
		}
		if !hit {
			continue
		}
		sh.stmts(ctx, item.Stmts)
		if item.Op != syntax.Fallthrough || sh.stopped() {
			return
		}
		fall = true
	}
}

// matchPattern matches a shell pattern against the whole of s.
func matchPattern(pat, s string) bool {
	expr, err := pattern.Regexp(pat, pattern.EntireString)
	if err != nil {
		return pat == s
	}
	rx, err := regexp.Compile(expr)
	return err == nil && rx.MatchString(s)
}

// call runs a simple command. With tail, a program takes over this process.
func (sh *shell) call(ctx context.Context, cm *syntax.CallExpr, tail bool) {
	args, ok := sh.fields(ctx, sh.unalias(cm.Args))
	if !ok {
		return
	}
	if len(args) == 0 {
		sh.assignments(ctx, cm)
		return
	}
	if sh.xtrace {
		sh.p.errorf("+ %s\n", strings.Join(args, " "))
	}
	if len(cm.Assigns) == 0 {
		sh.invoke(ctx, args, tail)
		return
	}
	saved := map[string]expand.Variable{}
	for _, as := range cm.Assigns {
		name := as.Name.Value
		if _, done := saved[name]; !done {
			saved[name] = sh.vars[name]
		}
		if !sh.assignOne(ctx, as, true) {
			return
		}
	}
	sh.invoke(ctx, args, tail)
	for name, v := range saved {
		if v.IsSet() {
			sh.vars[name] = v
		} else {
			delete(sh.vars, name)
		}
	}
}
