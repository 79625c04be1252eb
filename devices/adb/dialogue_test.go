package adb_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

// patience bounds what a test waits for; no test asserts a time.
const patience = 2 * time.Minute

// A server plays scripted conversations, one per connection, in the order in
// which they were given, and reports every byte that differs.
//
// Each line of a script is one step:
//
//	> TEXT     the client must send these bytes
//	>> TEXT    the client must send this request, its length is added
//	< TEXT     the server sends these bytes
//	<< TEXT    the server sends a block, its length is added
//	skip N     the client must send N bytes, whatever they are
//	stall      the server says nothing until the client hangs up
//	reset      the server breaks the connection
//
// TEXT may hold Go's escapes. At the end of the script the server hangs up.
func server(t *testing.T, scripts ...string) *adb.Client {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, script := range scripts {
			conn, err := ln.Accept()
			if err != nil {
				t.Errorf("conversation %d never began", i+1)
				return
			}
			if err := play(conn, script); err != nil {
				t.Errorf("conversation %d: %v", i+1, err)
			}
		}
	})
	t.Cleanup(func() {
		// Closing first would race with a client that is about to connect; every
		// test waits for its client's answers, so all conversations have begun.
		_ = ln.Close()
		wg.Wait()
	})
	return &adb.Client{Addr: ln.Addr().String(), DialTimeout: patience, AnswerTimeout: patience}
}

func play(conn net.Conn, script string) error {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(conn)
	for line := range strings.Lines(script) {
		word, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" {
			continue
		}
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
		if err != nil {
			return fmt.Errorf("script line %q: %w", line, err)
		}
		switch word {
		case ">>":
			text = fmt.Sprintf("%04x%s", len(text), text)
			fallthrough
		case ">":
			got := make([]byte, len(text))
			n, err := io.ReadFull(r, got)
			if err != nil {
				return fmt.Errorf("client sent %q instead of %q: %w", got[:n], text, err)
			}
			if string(got) != text {
				return fmt.Errorf("client sent %q instead of %q", got, text)
			}
		case "<<":
			text = fmt.Sprintf("%04x%s", len(text), text)
			fallthrough
		case "<":
			if _, err := conn.Write([]byte(text)); err != nil {
				return err
			}
		case "skip":
			n, err := strconv.ParseInt(text, 10, 64)
			if err == nil {
				_, err = io.CopyN(io.Discard, r, n)
			}
			if err != nil {
				return fmt.Errorf("skip %s bytes: %w", text, err)
			}
		case "stall":
			_, err := io.Copy(io.Discard, r)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return errors.New("the client never hung up")
			}
			return nil
		case "reset":
			return conn.(*net.TCPConn).SetLinger(0)
		default:
			return fmt.Errorf("script line %q: unknown step", line)
		}
	}
	return nil
}

// v2 begins a conversation in which the phone S1 runs a script.
func v2(script string) string {
	return ">> host:transport:S1\n< OKAY\n>> shell,v2,raw:" + script + "\n< OKAY\n> \\x04\\x00\\x00\\x00\\x00\n"
}

// packets of the shell protocol, as a script's TEXT.
func out(id byte, data string) string {
	head := binary.LittleEndian.AppendUint32([]byte{id}, uint32(len(data)))
	return "< " + escape(string(head)+data) + "\n"
}

func escape(s string) string {
	q := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(escapeBytes(q[1:len(q)-1]), `\"`, `"`)
}

// escapeBytes keeps blanks at the ends from being trimmed.
func escapeBytes(s string) string { return strings.ReplaceAll(s, " ", `\x20`) }

const (
	modern = ">> host-serial:S1:features\n< OKAY\n<< shell_v2,cmd,stat_v2\n"
	old    = ">> host-serial:S1:features\n< OKAY\n<< cmd\n"
)
