package devices

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/android"
)

const (
	// maxTable bounds what is kept of one of the phone's socket tables.
	maxTable = 8 << 20
	// leastEvery keeps the watch from keeping the phone awake by itself.
	leastEvery = 50 * time.Millisecond
)

// socketTables are the kernel's tables in the order in which they are read.
func socketTables() []string { return []string{"tcp", "tcp6", "udp", "udp6"} }

// WatchSockets reads the phone's socket tables over one stream, waits, and
// reads them again, until ctx ends. Each look goes to fn. It never returns nil:
// a phone that is lost is a *LostError. Sockets that open and close between two
// looks are not seen.
func (d *Device) WatchSockets(ctx context.Context, every time.Duration, fn func(android.SocketTable)) error {
	nonce := rand.Text()
	stream, err := d.Stream(ctx, socketScript(nonce, max(every, leastEvery)))
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if err := readTables(stream.Stdout, nonce, fn); err != nil {
		return fmt.Errorf("devices: phone %s: watch sockets: %w", d.serial, err)
	}
	exit, err := stream.Wait()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(stream.Stderr)
	if err != nil {
		return err
	}
	return &ExitError{Serial: d.serial, Args: []string{"cat", "/proc/net/tcp"}, Exit: exit, Stderr: excerpt(Result{Stderr: text})}
}

// socketScript prints the tables between lines of the nonce, which nothing else
// on the phone can know. A sleep that knows no fractions sleeps a second.
func socketScript(nonce string, every time.Duration) string {
	var b strings.Builder
	b.WriteString("while :; do\n")
	fmt.Fprintf(&b, "echo %s begin; date +%%s.%%N\n", nonce)
	for _, t := range socketTables() {
		fmt.Fprintf(&b, "echo %[1]s table %[2]s; cat /proc/net/%[2]s; echo %[1]s status $?\n", nonce, t)
	}
	fmt.Fprintf(&b, "echo %s end; date +%%s.%%N\n", nonce)
	fmt.Fprintf(&b, "echo %s done\n", nonce)
	seconds := strconv.FormatFloat(every.Seconds(), 'f', 3, 64)
	fmt.Fprintf(&b, "sleep %s || sleep 1\ndone", seconds)
	return b.String()
}

// readTables splits the stream by the nonce and calls fn for each whole look.
func readTables(r io.Reader, nonce string, fn func(android.SocketTable)) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	var (
		table android.SocketTable
		proto string // the table that is being read
		text  strings.Builder
	)
	for {
		part, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		mark, ok := strings.CutPrefix(string(part), nonce+" ")
		if !ok {
			if text.Len()+len(part) > maxTable {
				return fmt.Errorf("table %s: more than %d bytes", proto, maxTable)
			}
			text.Write(part)
			continue
		}
		word, value, _ := strings.Cut(strings.TrimSpace(mark), " ")
		switch word {
		case "begin":
			table, proto = android.SocketTable{}, ""
		case "table":
			if table.Before.IsZero() {
				if table.Before, _, err = android.ParseClock(text.String()); err != nil {
					return err
				}
			}
			proto = value
		case "status":
			take(&table, proto, value, text.String())
			proto = ""
		case "end":
		case "done":
			if table.After, _, err = android.ParseClock(text.String()); err != nil {
				return err
			}
			fn(table)
		}
		text.Reset()
	}
}

// take adds one table to the look, or the reason why it is not in it.
func take(table *android.SocketTable, proto, status, text string) {
	if status != "0" {
		table.Problems = append(table.Problems, fmt.Sprintf("/proc/net/%s: cat ended with status %s", proto, status))
		return
	}
	sockets, err := android.ParseSockets(proto, text)
	table.Sockets = append(table.Sockets, sockets...)
	if err != nil {
		table.Problems = append(table.Problems, err.Error())
		return
	}
	table.Read = append(table.Read, proto)
}
