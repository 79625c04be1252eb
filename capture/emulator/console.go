package emulator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/offproof/offproof/capture/packets"
)

// tokenFile is where the emulator writes its console's token, in the home of the
// user who started it.
const tokenFile = ".emulator_console_auth_token" //nolint:gosec // The name of a file.

const (
	// answerLimit bounds the wait for an answer of the console.
	answerLimit = 10 * time.Second
	// maxAnswer bounds what one answer may say.
	maxAnswer = 64 << 10
)

// A refusal is the console's KO.
type refusal struct{ command, said string }

func (e *refusal) Error() string {
	return fmt.Sprintf("emulator: the console refuses %q: %s", e.command, e.said)
}

// A console is a connection to the emulator's control console, a line protocol
// on the loopback of its host: each answer ends with a line OK or KO: reason.
type console struct {
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and shows the token, which is never put into an error.
func dial(ctx context.Context, address, tokenPath string) (*console, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("emulator: the console %q is not on this host's loopback", address)
	}
	conn, err := (&net.Dialer{Timeout: answerLimit}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("emulator: reach the console: %w: is the emulator running on this host?", err)
	}
	c := &console{conn: conn, r: bufio.NewReaderSize(conn, 4<<10)}
	if err := c.greet(tokenPath); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *console) greet(tokenPath string) error {
	banner, err := c.answer("the greeting")
	if err != nil {
		return err
	}
	if !strings.Contains(banner, "Authentication required") {
		return nil
	}
	if tokenPath == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("emulator: find the console's token: %w: write emulator: {token: FILE} beside the phone in farm.yaml", err)
		}
		tokenPath = filepath.Join(home, tokenFile)
	}
	token, err := os.ReadFile(tokenPath) //nolint:gosec // The bench names it.
	if err != nil {
		return fmt.Errorf("emulator: read the console's token: %w: write emulator: {token: FILE} beside the phone in farm.yaml", err)
	}
	if err := c.do("auth", strings.TrimSpace(string(token))); err != nil {
		var no *refusal
		if errors.As(err, &no) {
			return fmt.Errorf("emulator: the console takes another token than that in %s: it is of whoever started the emulator", tokenPath)
		}
		return err
	}
	return nil
}

// do sends one command and waits for its OK. Secret words are not named in
// errors.
func (c *console) do(command string, secret ...string) error {
	line := strings.Join(append([]string{command}, secret...), " ")
	if strings.ContainsAny(line, "\r\n") {
		return fmt.Errorf("emulator: the console's command %q has a line's end in it", command)
	}
	if err := c.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return fmt.Errorf("emulator: console: %w", err)
	}
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return fmt.Errorf("emulator: the console is gone: %w", err)
	}
	_, err := c.answer(command)
	return err
}

// answer reads lines up to OK or KO.
func (c *console) answer(command string) (string, error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return "", fmt.Errorf("emulator: console: %w", err)
	}
	return readAnswer(c.r, command)
}

func readAnswer(r *bufio.Reader, command string) (string, error) {
	var said strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("emulator: the console went away during %s: %w", command, err)
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "OK":
			return said.String(), nil
		case line == "KO" || strings.HasPrefix(line, "KO:"):
			return "", &refusal{command, packets.Excerpt([]byte(strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(line, "KO"), ":"))))}
		}
		if said.Len()+len(line) > maxAnswer {
			return "", fmt.Errorf("emulator: the console says more to %s than an answer can be", command)
		}
		said.WriteString(line + "\n")
	}
}

// gone is closed when the console's end is seen: it says nothing unasked, so
// that a read returns when the emulator has ended.
func (c *console) gone() <-chan struct{} {
	done := make(chan struct{})
	_ = c.conn.SetDeadline(time.Time{}) // A dead connection is seen by the read.
	go func() {
		defer close(done)
		_, _ = c.r.Peek(1)
	}()
	return done
}

func (c *console) close() { _ = c.conn.Close() }
