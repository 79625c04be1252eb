package userland

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"syscall"
)

// A Session is a command that the host has run on the phone over ADB.
type Session struct {
	mode  Mode
	p     *proc
	stdin *file
	tty   *tty
	out   sync.WaitGroup

	closeIn sync.Once
	closeUp sync.Once
	closed  chan struct{}
	ends    []*file // our ends of the output pipes
}

// A Mode says how the streams of a session are connected.
type Mode uint8

// The ways to connect a session.
const (
	Merged   Mode = iota // one stream for standard output and standard error
	Separate             // one each
	Terminal             // a terminal, whose end hangs up
)

// Open runs a script as adbd does: /system/bin/sh -c SCRIPT, or an interactive
// shell when the script is empty. Close says what becomes of the processes of a
// session whose host has gone.
func (s *System) Open(ctx context.Context, script string, mode Mode, io StdIO) (*Session, error) {
	args := []string{"sh", "-c", script}
	if script == "" {
		args = []string{"sh", "-"}
	}
	ctx, p, err := s.spawn(ctx, nil, "sh", args)
	if err != nil {
		return nil, err
	}
	ses := &Session{p: p, closed: make(chan struct{})}
	inR, inW := newPipe()
	outR, outW := newPipe()
	p.fds[0], p.fds[1] = inR, outW
	ses.stdin = inW
	outSink := io.Out
	ses.mode = mode
	switch mode {
	case Terminal:
		ses.tty = newTTY(p, inW, io.Out)
		outSink = ses.tty.output
		p.fds[2] = outW.dup()
		inR.tty, outW.tty = true, true
	case Merged:
		p.fds[2] = outW.dup()
	case Separate:
		errR, errW := newPipe()
		p.fds[2] = errW
		ses.pump(errR, io.Err)
	}
	ses.pump(outR, outSink)
	p.start(func() int { return shellMain(ctx, p, args, script == "" && mode == Terminal) })
	return ses, nil
}

// pump carries what a pipe holds to the host. The file's end is closed when the
// host takes no more, which is what gives the process EPIPE.
func (ses *Session) pump(r *file, sink func([]byte) error) {
	ses.ends = append(ses.ends, r)
	ses.out.Add(1)
	go func() {
		defer ses.out.Done()
		defer r.close()
		buf := make([]byte, 32<<10)
		for {
			n, err := r.s.read(nil, buf)
			if n > 0 && sink(buf[:n]) != nil {
				return
			}
			if err != nil {
				return
			}
		}
	}()
}

// Write feeds the process's standard input.
func (ses *Session) Write(b []byte) error {
	if ses.tty != nil {
		return ses.tty.input(b)
	}
	_, err := ses.stdin.s.write(ses.p.exited, b)
	return err
}

// CloseInput is the end of standard input.
func (ses *Session) CloseInput() {
	ses.closeIn.Do(func() { ses.stdin.close() })
}

// Wait returns the exit status when the process is gone and everything that it
// and its children wrote has been delivered. ok is false when the session was
// closed before.
func (ses *Session) Wait() (code int, ok bool) {
	select {
	case <-ses.p.exited:
	case <-ses.closed:
		ses.out.Wait()
		return 0, false
	}
	ses.out.Wait()
	ses.CloseInput()
	select {
	case <-ses.closed:
		return 0, false
	default:
	}
	code, _ = ses.p.status()
	return code, true
}

// Close is the host's end of the connection. The pipes break. With a terminal
// the processes of the session get SIGHUP. With streams of their own, which is the
// shell protocol, adbd sends it to the first process alone, and what that one
// started lives on; with one stream nobody is told. It waits for nothing.
func (ses *Session) Close() {
	ses.closeUp.Do(func() { close(ses.closed) })
	ses.CloseInput()
	if ses.tty != nil {
		ses.p.sys.hangup(ses.p.sid)
	} else if ses.mode == Separate {
		ses.p.raise(syscall.SIGHUP)
	}
	for _, end := range ses.ends {
		if r, ok := end.s.(pipeReader); ok {
			r.close()
			r.p.mu.Lock()
			r.p.noWrite = true // frees the pump, whoever else holds the pipe
			r.p.wake()
			r.p.mu.Unlock()
		}
	}
}

// PID is the process id of the session's shell.
func (ses *Session) PID() int { return ses.p.pid }

// Exited is closed when the session's shell is gone.
func (ses *Session) Exited() <-chan struct{} { return ses.p.exited }

// A tty is a terminal's line discipline, as far as a person needs it.
type tty struct {
	p    *proc
	in   *file
	sink func([]byte) error
	mu   sync.Mutex
	line []byte
}

func newTTY(p *proc, in *file, sink func([]byte) error) *tty {
	return &tty{p: p, in: in, sink: sink}
}

// output turns line feeds into carriage return and line feed.
func (t *tty) output(b []byte) error {
	return t.sink(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
}

// input echoes, edits and delivers whole lines.
func (t *tty) input(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range b {
		var err error
		switch {
		case c == 3: // ^C
			t.line = nil
			err = t.output([]byte("^C\n"))
			t.interrupt()
		case c == 4 && len(t.line) == 0: // ^D
			t.in.close()
			return nil
		case c == 8, c == 127:
			if len(t.line) > 0 {
				t.line = t.line[:len(t.line)-1]
				err = t.sink([]byte("\b \b"))
			}
		case c == '\r', c == '\n':
			err = t.output([]byte("\n"))
			line := append(t.line, '\n')
			t.line = nil
			if _, werr := t.in.s.write(t.p.exited, line); werr != nil {
				return werr
			}
		case len(t.line) < 4096:
			t.line = append(t.line, c)
			err = t.sink([]byte{c})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// interrupt sends SIGINT to what runs in the foreground: every process of the
// session but the shell.
func (t *tty) interrupt() {
	s := t.p.sys
	s.procMu.Lock()
	var list []*proc
	for _, p := range s.procs {
		if p.sid == t.p.sid && p != t.p {
			list = append(list, p)
		}
	}
	s.procMu.Unlock()
	for _, p := range list {
		p.raise(syscall.SIGINT)
	}
}

// Run runs a script to its end and returns what it wrote; for tests and for
// the phone's own services.
func (s *System) Run(ctx context.Context, script, stdin string) (stdout, stderr string, code int, err error) {
	var mu sync.Mutex
	var out, errs bytes.Buffer
	keep := func(to *bytes.Buffer) func([]byte) error {
		return func(b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			if to.Len()+len(b) > maxFile {
				return syscall.EPIPE
			}
			to.Write(b)
			return nil
		}
	}
	ses, err := s.Open(ctx, script, Separate, StdIO{Out: keep(&out), Err: keep(&errs)})
	if err != nil {
		return "", "", 0, err
	}
	stop := context.AfterFunc(ctx, func() {
		s.hangup(ses.p.sid)
		ses.Close()
	})
	defer stop()
	go func() {
		_ = ses.Write([]byte(stdin)) // a process that does not read is no failure
		ses.CloseInput()
	}()
	code, _ = ses.Wait() // a closed session shows in ctx
	mu.Lock()
	defer mu.Unlock()
	if ctx.Err() != nil {
		return out.String(), errs.String(), code, errors.Join(errors.New("userland: run a script"), ctx.Err())
	}
	return out.String(), errs.String(), code, nil
}
