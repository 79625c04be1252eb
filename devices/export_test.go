package devices

import (
	"context"
	"io"
	"time"

	"github.com/offproof/offproof/devices/android"
)

// ReadJournal reads a journal's lines and counts what is pending.
func ReadJournal(r io.Reader, serial string) (pending int, damage []string, err error) {
	state, err := readJournal(r, serial)
	return len(state.pending), state.damage, err
}

// The parsers that the fuzz tests reach.
var ParseCounters = parseCounters

// ReadTables reads a stream of socket tables.
func ReadTables(r io.Reader, nonce string, fn func(android.SocketTable)) error {
	return readTables(r, nonce, fn)
}

// Assess turns what a phone said, by command, into its health.
var Assess = assess

// Within runs a script as Script does, with a limit of the test's own.
func (d *Device) Within(ctx context.Context, limit time.Duration, script string) (Result, error) {
	return d.within(ctx, limit, script, nil)
}
