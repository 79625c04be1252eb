package door

import (
	"context"
	"net"
)

// Serve serves a connection as if it had been accepted, so that the fuzzer needs
// no ports.
func (s *Server) Serve(ctx context.Context, conn net.Conn) {
	s.serve(ctx, conn)
	_ = conn.Close()
}
