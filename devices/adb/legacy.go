package adb

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// Phones before Android 7 have no shell protocol with an exit packet. There the
// script is followed by a line with a nonce and the status: output without that
// line was cut short. The exec service keeps the bytes as they are, where the
// old shell service would send them through a terminal.

// legacyScript is the script with its trailer. The line breaks keep a comment
// at the end of the script from swallowing the bracket.
func legacyScript(script, nonce string) string {
	return "exec:(\n" + script + "\n) 2>&1 </dev/null; echo " + nonce + ":$?"
}

// openLegacy starts the script and returns the nonce that will end its output.
func (c *Client) openLegacy(ctx context.Context, serial, script string) (*conn, string, error) {
	nonce := rand.Text()
	cn, err := c.service(ctx, serial, legacyScript(script, nonce))
	return cn, nonce, err
}

func (c *Client) runLegacy(ctx context.Context, serial, script string, stdin io.Reader) (Result, error) {
	if stdin != nil {
		return Result{}, fmt.Errorf("adb: phone %s: send standard input: the phone has no shell_v2 (Android 7 or later is needed)", serial)
	}
	cn, nonce, err := c.openLegacy(ctx, serial, script)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = cn.Close() }()
	stdout := &capped{most: c.maxOutput()}
	exit, err := pumpTrailer(cn, stdout, nonce)
	result := Result{Stdout: stdout.Bytes(), Exit: exit}
	if err != nil {
		return result, lost(serial, cn.wrap(err))
	}
	return result, nil
}

func (c *Client) streamLegacy(ctx context.Context, serial, script string) (*Stream, error) {
	cn, nonce, err := c.openLegacy(ctx, serial, script)
	if err != nil {
		return nil, err
	}
	return startStream(cn, serial, func(r io.Reader, stdout, _ io.Writer) (int, error) {
		return pumpTrailer(r, stdout, nonce)
	}), nil
}

// pumpTrailer copies r to w up to the trailer at the very end, and returns the
// status that stands in it.
func pumpTrailer(r io.Reader, w io.Writer, nonce string) (exit int, err error) {
	// The longest trailer is the nonce, a colon, three digits, CR and LF.
	hold := len(nonce) + 6
	var (
		buf  = make([]byte, 0, readBuffer+hold)
		part = make([]byte, readBuffer)
	)
	for {
		n, err := r.Read(part)
		buf = append(buf, part[:n]...)
		if surplus := len(buf) - hold; surplus > 0 {
			if _, err := w.Write(buf[:surplus]); err != nil {
				return -1, err
			}
			buf = append(buf[:0], buf[surplus:]...)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			_, _ = w.Write(buf)
			return -1, err
		}
		rest, status, ok := cutTrailer(buf, nonce)
		if _, err := w.Write(rest); err != nil {
			return -1, err
		}
		if !ok {
			return -1, io.ErrUnexpectedEOF
		}
		return status, nil
	}
}

// cutTrailer splits the end of an output into the command's own bytes and the
// status.
func cutTrailer(b []byte, nonce string) (rest []byte, status int, ok bool) {
	i := bytes.LastIndex(b, []byte(nonce+":"))
	if i < 0 {
		return b, -1, false
	}
	digits, ended := bytes.CutSuffix(b[i+len(nonce)+1:], []byte("\n"))
	if !ended {
		return b, -1, false
	}
	digits = bytes.TrimSuffix(digits, []byte("\r"))
	n, err := strconv.ParseUint(string(digits), 10, 8)
	if err != nil {
		return b, -1, false
	}
	return b[:i], int(n), true
}
