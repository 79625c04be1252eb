package userland

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxProcesses = 512 // processes that sessions may have at once
	maxPID       = 32768
)

// A proc is a process: a shell, or a program that a shell started.
type proc struct {
	sys            *System
	pid, ppid, sid int
	uid            int
	started        time.Time

	done   <-chan struct{} // closed when the process is killed
	cancel context.CancelFunc
	exited chan struct{} // closed when the process is gone
	sigs   chan syscall.Signal

	mu      sync.Mutex
	name    string
	args    []string
	caught  map[syscall.Signal]bool
	ignored map[syscall.Signal]bool
	killed  syscall.Signal
	code    int

	fds   map[int]*file // used by the process's own goroutine only
	dir   string
	env   []string
	umask uint32
}

// A program is what a process runs. It returns the exit status.
type program func(ctx context.Context, p *proc, args []string) int

var errNoProcess = errors.New("can't fork - try again")

// spawn makes a process; the caller then starts it with start. The process
// lives until it returns or is killed: ctx gives values only.
func (s *System) spawn(ctx context.Context, parent *proc, name string, args []string) (context.Context, *proc, error) {
	s.procMu.Lock()
	defer s.procMu.Unlock()
	if !s.up || len(s.procs) >= maxProcesses {
		return nil, nil, errNoProcess
	}
	for {
		s.lastPID++
		if s.lastPID >= maxPID {
			s.lastPID = 3000
		}
		if s.procs[s.lastPID] == nil && s.fixed[s.lastPID] == nil {
			break
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &proc{
		sys: s, pid: s.lastPID, ppid: s.adbd, started: s.Now(), done: ctx.Done(), cancel: cancel,
		exited: make(chan struct{}), sigs: make(chan syscall.Signal, 16), name: name, args: args,
		caught: map[syscall.Signal]bool{}, ignored: map[syscall.Signal]bool{}, fds: map[int]*file{},
		dir: "/", umask: 0o022, uid: s.adbUID(),
	}
	p.env = s.environ(p.uid)
	p.sid = p.pid
	if parent != nil {
		p.ppid, p.sid, p.uid, p.dir, p.umask = parent.pid, parent.sid, parent.uid, parent.dir, parent.umask
		p.env = slices.Clone(parent.env)
		parent.mu.Lock()
		maps.Copy(p.ignored, parent.ignored)
		parent.mu.Unlock()
		for n, f := range parent.fds {
			p.fds[n] = f.dup()
		}
	}
	s.procs[p.pid] = p
	s.running.Add(1)
	return ctx, p, nil
}

// start runs body as the process in a goroutine of its own.
func (p *proc) start(body func() int) {
	go func() {
		code := 2
		defer func() {
			// The expansion library may panic on hostile scripts; a crash of one
			// process must not take the phone with it.
			if r := recover(); r != nil {
				code = 128 + int(syscall.SIGSEGV)
			}
			p.exit(code)
		}()
		code = body()
	}()
}

func (p *proc) exit(code int) {
	for _, f := range p.fds {
		f.close()
	}
	p.fds = nil
	p.mu.Lock()
	if p.killed != 0 {
		code = 128 + int(p.killed)
	}
	p.code = code & 0xff
	p.mu.Unlock()
	p.cancel()
	p.sys.procMu.Lock()
	delete(p.sys.procs, p.pid)
	p.sys.procMu.Unlock()
	close(p.exited)
	p.sys.running.Done()
}

// status is the exit status of a process that is gone.
func (p *proc) status() (code int, sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code, p.killed
}

// become is exec(2): the process runs another program under the same pid.
func (p *proc) become(name string, args []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.args = name, args
	clear(p.caught)
}

// catch makes the process receive the signals in p.sigs instead of dying.
func (p *proc) catch(sigs ...syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sig := range sigs {
		p.caught[sig] = true
	}
}

// catches is the mask of the signals that are caught: bit 0 is signal 1.
func (p *proc) catches() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var mask uint64
	for sig := range p.caught {
		mask |= 1 << (sig - 1)
	}
	return mask
}

func (p *proc) release(sigs ...syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sig := range sigs {
		delete(p.caught, sig)
		delete(p.ignored, sig)
	}
}

func (p *proc) ignore(sigs ...syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sig := range sigs {
		p.ignored[sig] = true
	}
}

// raise delivers a signal.
func (p *proc) raise(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case sig == 0, sig == syscall.SIGCHLD, sig == syscall.SIGCONT, sig == syscall.SIGURG, sig == syscall.SIGWINCH,
		sig == syscall.SIGSTOP, sig == syscall.SIGTSTP, sig == syscall.SIGTTIN, sig == syscall.SIGTTOU:
		return
	case sig != syscall.SIGKILL && p.ignored[sig]:
		return
	case sig != syscall.SIGKILL && p.caught[sig]:
		select {
		case p.sigs <- sig:
		default: // signals are not queued without bound
		}
		return
	}
	if p.killed == 0 {
		p.killed = sig
	}
	p.cancel()
}

func (p *proc) title() (name string, args []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name, p.args
}

func (p *proc) user() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.uid
}

// kill delivers a signal to another process, where the process may.
func (p *proc) kill(pid int, sig syscall.Signal) error {
	p.sys.procMu.Lock()
	other, app := p.sys.procs[pid], p.sys.fixed[pid]
	p.sys.procMu.Unlock()
	if p.uid != rootUID && (other != nil && other.user() != p.uid || app != nil && app.uid != p.uid) {
		return syscall.EPERM
	}
	return p.sys.kill(pid, sig)
}

// kill delivers a signal to a process of a session, or to an app.
func (s *System) kill(pid int, sig syscall.Signal) error {
	if pid <= 0 {
		return syscall.EPERM
	}
	s.procMu.Lock()
	p, app := s.procs[pid], s.fixed[pid]
	s.procMu.Unlock()
	switch {
	case p != nil:
		p.raise(sig)
		return nil
	case app != nil && sig == 0:
		return nil
	case app != nil && app.pkg != "":
		s.stopApp(app.pkg)
		return nil
	case app != nil:
		return syscall.EPERM // nobody here restarts a daemon of the system
	}
	return syscall.ESRCH
}

// killAll ends every process of every session, as a reboot does.
func (s *System) killAll() {
	s.procMu.Lock()
	list := slices.Collect(maps.Values(s.procs))
	s.procMu.Unlock()
	for _, p := range list {
		p.raise(syscall.SIGKILL)
	}
}

// hangup is what closing a terminal does to the processes of its session.
func (s *System) hangup(sid int) {
	s.procMu.Lock()
	var list []*proc
	for _, p := range s.procs {
		if p.sid == sid {
			list = append(list, p)
		}
	}
	s.procMu.Unlock()
	for _, p := range list {
		p.raise(syscall.SIGHUP)
	}
}

// An entry is a line of ps.
type entry struct {
	pid, ppid int
	uid       int
	name      string
	args      []string
	state     string
	started   time.Time
	caught    uint64 // signals that it handles, as in /proc/PID/status
}

func (s *System) processes() []entry {
	s.procMu.Lock()
	var list []entry
	for pid, f := range s.fixed {
		list = append(list, entry{pid: pid, ppid: f.ppid, uid: f.uid, name: f.name, args: []string{f.name}, state: "S", started: f.started})
	}
	procs := slices.Collect(maps.Values(s.procs))
	s.procMu.Unlock()
	for _, p := range procs {
		name, args := p.title()
		list = append(list, entry{pid: p.pid, ppid: p.ppid, uid: p.user(), name: name, args: args, state: "S", started: p.started, caught: p.catches()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].pid < list[j].pid })
	return list
}

// boundFile is a descriptor as an ordinary reader and writer of one process.
type boundFile struct {
	p *proc
	f *file
}

func (b boundFile) Read(buf []byte) (int, error) {
	if b.f == nil {
		return 0, syscall.EBADF
	}
	return b.f.s.read(b.p.done, buf)
}

// A limitedFile is a file that is read until a channel is closed.
type limitedFile struct {
	boundFile
	done <-chan struct{}
}

func (l limitedFile) Read(buf []byte) (int, error) {
	if l.f == nil {
		return 0, syscall.EBADF
	}
	return l.f.s.read(l.done, buf)
}

// limit is a channel that is closed with the process, or after a time.
func (p *proc) limit(d time.Duration) (done <-chan struct{}, cancel func()) {
	ended, stop := make(chan struct{}), make(chan struct{})
	t := time.NewTimer(d)
	go func() {
		defer close(ended)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.done:
		case <-stop:
		}
	}()
	return ended, func() { close(stop) }
}

func (b boundFile) Write(buf []byte) (int, error) {
	if b.f == nil {
		return 0, syscall.EBADF
	}
	n, err := b.f.s.write(b.p.done, buf)
	if errors.Is(err, syscall.EPIPE) {
		b.p.raise(syscall.SIGPIPE)
	}
	return n, err
}

func (p *proc) in() io.Reader  { return boundFile{p, p.fds[0]} }
func (p *proc) out() io.Writer { return boundFile{p, p.fds[1]} }
func (p *proc) err() io.Writer { return boundFile{p, p.fds[2]} }

func (p *proc) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out(), format, args...)
}

func (p *proc) errorf(format string, args ...any) {
	_, _ = fmt.Fprintf(p.err(), format, args...)
}

// setFD puts f at a descriptor number, closing what was there.
func (p *proc) setFD(n int, f *file) {
	if old := p.fds[n]; old != nil {
		old.close()
	}
	if f == nil {
		delete(p.fds, n)
		return
	}
	p.fds[n] = f
}

func (p *proc) dead() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// abs is a path of the process as an absolute one.
func (p *proc) abs(name string) string {
	if name == "" || strings.HasPrefix(name, "/") {
		return name
	}
	if p.dir == "/" {
		return "/" + name
	}
	return p.dir + "/" + name
}

func (p *proc) getenv(key string) string {
	for _, kv := range slices.Backward(p.env) {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			return v
		}
	}
	return ""
}

// parseSignal reads a signal's name or number: "INT", "SIGINT", "2".
func parseSignal(word string) (syscall.Signal, bool) {
	if word == "" {
		return 0, false
	}
	if n, ok := atoi(word); ok {
		return syscall.Signal(n), n >= 0 && n < 65
	}
	name := strings.ToUpper(word)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	sig := unix.SignalNum(name)
	return sig, sig != 0
}

// SessionProcesses are the processes that sessions have started and that still
// run, as "PID command line".
func (s *System) SessionProcesses() []string {
	lines := []string{}
	for _, e := range s.processes() {
		s.procMu.Lock()
		mine := s.procs[e.pid] != nil
		s.procMu.Unlock()
		if mine {
			lines = append(lines, itoa(e.pid)+" "+strings.Join(e.args, " "))
		}
	}
	return lines
}
