// Package adb talks to an ADB server, so that what a phone answered can be
// told apart from what was lost on the way.
//
// It speaks the server's smart-socket protocol with the standard library only,
// and covers what could change a finding: exit statuses, standard error apart
// from standard output, endless streams, file transfer, reverse connections,
// the watch on the table of phones. Each call opens one connection of its own,
// so a Client is safe for concurrent use.
//
// The rule of the package: silence is never success. A command that ends
// without an exit status is a *LostError, however plausible its output looks.
// All lengths that a peer announces are bounded before anything is allocated.
package adb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits and defaults.
const (
	// DefaultAddr is where an ADB server listens unless it is told otherwise.
	DefaultAddr = "127.0.0.1:5037"

	defaultDialTimeout   = 3 * time.Second
	defaultAnswerTimeout = 30 * time.Second
	defaultMaxOutput     = 64 << 20

	// maxService is the longest request that four hexadecimal digits can announce.
	maxService = 0xffff
)

// A Client is one ADB server. The zero value talks to DefaultAddr.
type Client struct {
	// Addr is host:port of the server; empty means DefaultAddr.
	Addr string
	// DialTimeout bounds the connection to the server; zero means 3 s.
	DialTimeout time.Duration
	// AnswerTimeout bounds the wait for the server's OKAY or FAIL to a request,
	// not the service that follows; zero means 30 s.
	AnswerTimeout time.Duration
	// MaxOutput bounds each of stdout and stderr that Run keeps, in bytes; zero
	// means 64 MiB. A command that writes more fails with ErrTooLarge.
	MaxOutput int64

	mu      sync.Mutex
	shellV2 map[string]bool // serials that have announced shell_v2
}

func (c *Client) addr() string {
	if c.Addr == "" {
		return DefaultAddr
	}
	return c.Addr
}

func (c *Client) maxOutput() int64 {
	if c.MaxOutput <= 0 {
		return defaultMaxOutput
	}
	return c.MaxOutput
}

// A conn is one connection to the server, closed when its context ends.
type conn struct {
	net.Conn
	ctx    func() error // the context's error, nil while it lives
	stop   func() bool
	answer time.Duration
	addr   string
}

// dial connects to the server. The connection is closed when ctx ends, so that
// no read or write outlives it.
func (c *Client) dial(ctx context.Context) (*conn, error) {
	limit := c.DialTimeout
	if limit <= 0 {
		limit = defaultDialTimeout
	}
	dialer := net.Dialer{Timeout: limit}
	nc, err := dialer.DialContext(ctx, "tcp", c.addr())
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("adb: connect to %s: %w", c.addr(), ended(ctx))
		}
		return nil, &noServerError{addr: c.addr(), err: err}
	}
	answer := c.AnswerTimeout
	if answer <= 0 {
		answer = defaultAnswerTimeout
	}
	return &conn{
		Conn:   nc,
		ctx:    func() error { return ended(ctx) },
		stop:   context.AfterFunc(ctx, func() { _ = nc.Close() }),
		answer: answer,
		addr:   c.addr(),
	}, nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// ended is the context's error with its cause, nil while the context lives.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// wrap explains an error of reading or writing: the end of the context is the
// better reason where both happened.
func (c *conn) wrap(err error) error {
	if err == nil {
		return nil
	}
	if ctxErr := c.ctx(); ctxErr != nil {
		return ctxErr
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// request sends one service name and reads OKAY or FAIL.
func (c *conn) request(service string) error {
	// The two limits are set on the socket because the context may have none.
	if err := c.SetDeadline(time.Now().Add(c.answer)); err != nil {
		return c.wrap(err)
	}
	if _, err := fmt.Fprintf(c.Conn, "%04x%s", len(service), service); err != nil {
		return c.wrap(err)
	}
	if err := c.status(service); err != nil {
		return err
	}
	return c.wrap(c.SetDeadline(time.Time{}))
}

// status reads OKAY, or FAIL with its message as a *FailError.
func (c *conn) status(service string) error {
	message, err := readStatus(c.Conn)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("no answer to %s within %v: %w", shorten(service), c.answer, err)
		}
		var garbage *ProtocolError
		if errors.As(err, &garbage) && c.ctx() == nil {
			garbage.Addr = c.addr
			return garbage
		}
		return c.wrap(err)
	}
	if message != nil {
		return &FailError{Service: shorten(service), Message: *message}
	}
	return nil
}

// soon bounds the next answer, for services whose answer is due at once.
func (c *conn) soon() { _ = c.SetDeadline(time.Now().Add(c.answer)) }

// block reads a block announced by four hexadecimal digits.
func (c *conn) block() ([]byte, error) {
	b, err := readBlock(c.Conn)
	if err != nil {
		var garbage *ProtocolError
		if errors.As(err, &garbage) && c.ctx() == nil {
			garbage.Addr = c.addr
			return nil, garbage
		}
		return nil, c.wrap(err)
	}
	return b, nil
}

// readStatus reads an answer. The message is nil for OKAY.
func readStatus(r io.Reader) (*string, error) {
	var word [4]byte
	if n, err := io.ReadFull(r, word[:]); err != nil {
		if n > 0 && errors.Is(err, io.ErrUnexpectedEOF) && !prefixOf(word[:n], "OKAY", "FAIL") {
			return nil, &ProtocolError{Want: "OKAY or FAIL", Got: string(word[:n])}
		}
		return nil, err
	}
	switch string(word[:]) {
	case "OKAY":
		return nil, nil
	case "FAIL":
		b, err := readBlock(r)
		if err != nil {
			return nil, err
		}
		message := string(b)
		return &message, nil
	default:
		return nil, &ProtocolError{Want: "OKAY or FAIL", Got: string(word[:])}
	}
}

func prefixOf(b []byte, words ...string) bool {
	for _, w := range words {
		if len(b) <= len(w) && w[:len(b)] == string(b) {
			return true
		}
	}
	return false
}

// readBlock reads four hexadecimal digits and as many bytes, 65535 at most.
func readBlock(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(string(head[:]), 16, 16)
	if err != nil {
		return nil, &ProtocolError{Want: "a length in four hexadecimal digits", Got: string(head[:])}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// shorten keeps an error on one readable line.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// host asks the server itself, and returns the connection after its OKAY.
func (c *Client) host(ctx context.Context, service string) (*conn, error) {
	cn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := cn.request(service); err != nil {
		_ = cn.Close()
		return nil, c.silent(ctx, err)
	}
	return cn, nil
}

// silent says that there is no server where the peer answered nothing at all.
func (c *Client) silent(ctx context.Context, err error) error {
	var (
		fail     *FailError
		protocol *ProtocolError
	)
	if ctx.Err() != nil || errors.As(err, &fail) || errors.As(err, &protocol) || errors.Is(err, ErrTooLarge) {
		return err
	}
	return &noServerError{addr: c.addr(), err: err}
}

// service opens a service of one phone, and returns the connection after its
// OKAY.
func (c *Client) service(ctx context.Context, serial, service string) (*conn, error) {
	if err := checkSerial(serial); err != nil {
		return nil, err
	}
	if err := checkService(service); err != nil {
		return nil, err
	}
	cn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := cn.request("host:transport:" + serial); err != nil {
		_ = cn.Close()
		return nil, transportError(serial, err)
	}
	if err := cn.request(service); err != nil {
		_ = cn.Close()
		return nil, serviceError(serial, err)
	}
	return cn, nil
}

// checkService refuses what the protocol cannot carry as it is.
func checkService(service string) error {
	if len(service) > maxService {
		return fmt.Errorf("adb: request %s: %w: %d bytes, the protocol carries %d", shorten(service), ErrTooLarge, len(service), maxService)
	}
	if strings.ContainsRune(service, 0) {
		return fmt.Errorf("adb: request %q: a NUL byte would cut it short on the phone", shorten(service))
	}
	return nil
}

// checkSerial refuses what could not be a serial: an empty one would be taken
// by the server for "the only phone attached".
func checkSerial(serial string) error {
	if serial == "" {
		return errors.New("adb: use phone: the serial is empty")
	}
	const most = 256
	if len(serial) > most {
		return fmt.Errorf("adb: use phone %q: a serial has at most %d bytes", shorten(serial), most)
	}
	for _, r := range serial {
		if r <= ' ' || r == 0x7f {
			return fmt.Errorf("adb: use phone %q: a serial has no blanks or control characters", serial)
		}
	}
	return nil
}
