package adbd

import (
	"context"
	"net"
)

// Serve gives a connection to the transport as if it had been accepted, so that
// the fuzzer needs no ports.
func (t *Transport) Serve(ctx context.Context, nc net.Conn) bool {
	t.mu.Lock()
	ln := t.listener
	t.mu.Unlock()
	return t.greet(ctx, ln, nc)
}
