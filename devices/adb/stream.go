package adb

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxStderr bounds what a stream keeps of standard error for its reader.
const maxStderr = 1 << 20

// A Stream is a command while it runs on the phone.
type Stream struct {
	// Stdout must be read: the phone's command waits for its reader. It ends with
	// io.EOF only after an exit status; a lost phone is a *LostError.
	Stdout io.Reader
	// Stderr may be left unread; at most 1 MiB is kept, and what was dropped shows
	// as ErrTooLarge in place of io.EOF.
	Stderr io.Reader

	cn     *conn
	out    *io.PipeWriter
	done   chan struct{}
	once   sync.Once
	closed chan struct{}
	exit   int
	err    error
}

// Stream starts a shell script with an empty standard input and returns while
// it runs. The end of ctx ends the stream. After Close the process may live on
// in the phone until it next writes: a script that must end should be ended by
// its pid.
func (c *Client) Stream(ctx context.Context, serial, script string) (*Stream, error) {
	return c.StreamInput(ctx, serial, script, nil)
}

// StreamInput is Stream with a standard input, which the script reads as it
// comes; nil is an empty one. What is written after the script has ended is lost.
// It needs the shell protocol (Android 7 and later) where stdin is not nil.
func (c *Client) StreamInput(ctx context.Context, serial, script string, stdin io.Reader) (*Stream, error) {
	v2, err := c.hasShellV2(ctx, serial)
	if err != nil {
		return nil, err
	}
	switch {
	case !v2 && stdin != nil:
		return nil, fmt.Errorf("adb: phone %s: this Android has no shell protocol that takes an input", serial)
	case !v2:
		return c.streamLegacy(ctx, serial, script)
	}
	cn, err := c.openShell(ctx, serial, script)
	if err != nil {
		return nil, err
	}
	if stdin == nil {
		if _, err := cn.Write(packet(idCloseStdin, nil)); err != nil {
			_ = cn.Close()
			return nil, lost(serial, cn.wrap(err))
		}
	} else {
		go func() { _ = feed(cn, stdin) }() // its failure shows as the stream's end
	}
	return startStream(cn, serial, func(r io.Reader, stdout, stderr io.Writer) (int, error) {
		return demux(r, stdout, stderr)
	}), nil
}

// startStream reads the connection by pump until it ends.
func startStream(cn *conn, serial string, pump func(r io.Reader, stdout, stderr io.Writer) (int, error)) *Stream {
	outR, outW := io.Pipe()
	errQ := newQueue(maxStderr)
	s := &Stream{
		Stdout: outR, Stderr: errQ,
		cn: cn, out: outW, done: make(chan struct{}), closed: make(chan struct{}), exit: -1,
	}
	go func() {
		defer close(s.done)
		exit, err := pump(bufio.NewReaderSize(cn, readBuffer), outW, errQ)
		if err != nil {
			select {
			case <-s.closed:
				err = errClosed
			default:
				err = lost(serial, cn.wrap(err))
			}
		}
		s.exit, s.err = exit, err
		_ = cn.Close()
		_ = outW.CloseWithError(err) // A nil error reads as io.EOF.
		errQ.end(err)
	}()
	return s
}

// Wait returns the exit status when the command has ended and Stdout has been
// read to its end. The error is a *LostError when there was no exit status.
func (s *Stream) Wait() (exit int, err error) {
	<-s.done
	return s.exit, s.err
}

// Done is closed when the stream has ended, for whatever reason.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Close ends the stream and frees its connection. It may be called again.
func (s *Stream) Close() error {
	s.once.Do(func() {
		close(s.closed)
		_ = s.cn.Close()
		_ = s.out.CloseWithError(errClosed)
	})
	<-s.done
	return nil
}

// A queue is a pipe that never makes its writer wait: what passes its limit is
// dropped and reported at the end.
type queue struct {
	mu      sync.Mutex
	more    sync.Cond
	buf     []byte
	most    int
	dropped bool
	ended   bool
	err     error
}

func newQueue(most int) *queue {
	q := &queue{most: most}
	q.more.L = &q.mu
	return q
}

func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	room := min(q.most-len(q.buf), len(p))
	if room < len(p) {
		q.dropped = true
	}
	q.buf = append(q.buf, p[:room]...)
	q.more.Broadcast()
	return len(p), nil
}

func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.err = true, err
	q.more.Broadcast()
}

// Read waits for data or the end.
func (q *queue) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) == 0 && !q.ended {
		q.more.Wait()
	}
	if len(q.buf) > 0 {
		n := copy(p, q.buf)
		q.buf = q.buf[n:]
		if len(q.buf) == 0 {
			q.buf = nil
		}
		return n, nil
	}
	switch {
	case q.err != nil && !errors.Is(q.err, io.EOF):
		return 0, q.err
	case q.dropped:
		return 0, ErrTooLarge
	}
	return 0, io.EOF
}
