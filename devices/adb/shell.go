package adb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// A Result is what a command left behind when it ended.
type Result struct {
	// Stdout and Stderr are apart; on phones before Android 7 both are in Stdout.
	Stdout, Stderr []byte
	// Exit is the exit status, 0 to 255. A status other than 0 is no error.
	Exit int
}

// The packets of shell protocol version 2.
const (
	idStdin      = 0
	idStdout     = 1
	idStderr     = 2
	idExit       = 3
	idCloseStdin = 4

	packetHead = 5
	// stdinChunk is far below the least packet that any daemon accepts.
	stdinChunk = 4 << 10
	readBuffer = 64 << 10
)

// featureShellV2 is announced by every phone since Android 7.
const featureShellV2 = "shell_v2"

// Run runs a shell script on the phone and returns when it has ended. A nil
// stdin is an empty one; a stdin that blocks outlives the call until its next
// read returns, and on phones before Android 7 it is refused.
//
// The error is a *LostError when no exit status arrived, and then the Result
// holds what had arrived. A status other than 0 is no error.
func (c *Client) Run(ctx context.Context, serial, script string, stdin io.Reader) (Result, error) {
	v2, err := c.hasShellV2(ctx, serial)
	if err != nil {
		return Result{}, err
	}
	if !v2 {
		return c.runLegacy(ctx, serial, script, stdin)
	}
	cn, err := c.openShell(ctx, serial, script)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = cn.Close() }()

	fed := make(chan error, 1)
	if stdin == nil {
		_, err = cn.Write(packet(idCloseStdin, nil))
		// A command that ended at once no longer reads; its exit status says so.
		fed <- nil
	} else {
		go func() { fed <- feed(cn, stdin) }()
	}
	stdout, stderr := &capped{most: c.maxOutput()}, &capped{most: c.maxOutput()}
	exit, readErr := demux(bufio.NewReaderSize(cn, readBuffer), stdout, stderr)
	result := Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Exit: exit}
	if readErr != nil {
		if err != nil {
			readErr = err
		}
		return result, lost(serial, cn.wrap(readErr))
	}
	select {
	case feedErr := <-fed:
		if feedErr != nil {
			return result, fmt.Errorf("adb: phone %s: read the standard input to send: %w", serial, feedErr)
		}
	default: // The command ended without reading everything.
	}
	return result, nil
}

// openShell opens the shell service. The phone that refuses it although it
// announced the feature was changed or lost, so the announcement is forgotten.
func (c *Client) openShell(ctx context.Context, serial, script string) (*conn, error) {
	cn, err := c.service(ctx, serial, "shell,v2,raw:"+script)
	if err == nil {
		return cn, nil
	}
	c.mu.Lock()
	delete(c.shellV2, serial)
	c.mu.Unlock()
	var fail *FailError
	if errors.As(err, &fail) && fail.Message == "closed" {
		return nil, &LostError{Serial: serial, Err: fail}
	}
	return nil, err
}

// hasShellV2 asks for the phone's features, and remembers a yes.
func (c *Client) hasShellV2(ctx context.Context, serial string) (bool, error) {
	c.mu.Lock()
	known := c.shellV2[serial]
	c.mu.Unlock()
	if known {
		return true, nil
	}
	features, err := c.Features(ctx, serial)
	if err != nil {
		var fail *FailError
		if errors.As(err, &fail) { // A server so old that it knows no features.
			return false, nil
		}
		return false, err
	}
	if !slices.Contains(features, featureShellV2) {
		return false, nil
	}
	c.mu.Lock()
	if c.shellV2 == nil {
		c.shellV2 = map[string]bool{}
	}
	c.shellV2[serial] = true
	c.mu.Unlock()
	return true, nil
}

// packet frames data of at most stdinChunk bytes.
func packet(id byte, data []byte) []byte {
	p := make([]byte, packetHead, packetHead+len(data))
	p[0] = id
	binary.LittleEndian.PutUint32(p[1:], uint32(len(data))) //nolint:gosec // At most stdinChunk.
	return append(p, data...)
}

// feed sends r as standard input and closes it. It returns errors of r only:
// a command may end without reading, and then the connection is closed.
func feed(w io.Writer, r io.Reader) error {
	buf := make([]byte, stdinChunk)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, werr := w.Write(packet(idStdin, buf[:n])); werr != nil {
				return nil //nolint:nilerr // The reader of the answer reports a lost phone.
			}
		}
		if err != nil {
			_, _ = w.Write(packet(idCloseStdin, nil))
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// demux reads packets until the exit status. The end of the stream before it is
// an error, always.
func demux(r io.Reader, stdout, stderr io.Writer) (exit int, err error) {
	var head [packetHead]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return -1, err
		}
		n := int64(binary.LittleEndian.Uint32(head[1:]))
		switch head[0] {
		case idStdout:
			err = copyExactly(stdout, r, n)
		case idStderr:
			err = copyExactly(stderr, r, n)
		case idExit:
			if n != 1 {
				return -1, &ProtocolError{Want: "an exit status of one byte", Got: fmt.Sprintf("%d bytes", n)}
			}
			var status [1]byte
			if err := copyFull(r, status[:]); err != nil {
				return -1, err
			}
			return int(status[0]), nil
		default:
			return -1, &ProtocolError{Want: "a shell packet", Got: string(head[:])}
		}
		if err != nil {
			return -1, err
		}
	}
}

func copyFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// copyExactly copies n bytes without ever allocating n.
func copyExactly(w io.Writer, r io.Reader, n int64) error {
	_, err := io.CopyN(w, r, n)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A capped buffer refuses what passes its limit.
// Buffer is not embedded: its ReadFrom would pass the limit by.
type capped struct {
	buf  bytes.Buffer
	most int64
}

func (b *capped) Bytes() []byte { return b.buf.Bytes() }

func (b *capped) Write(p []byte) (int, error) {
	if int64(b.buf.Len())+int64(len(p)) > b.most {
		return 0, fmt.Errorf("adb: read output: %w: more than %d bytes", ErrTooLarge, b.most)
	}
	return b.buf.Write(p)
}

// errClosed is what a stream says after its own Close.
var errClosed = fmt.Errorf("adb: stream: %w", os.ErrClosed)
