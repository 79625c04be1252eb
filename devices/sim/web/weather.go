package web

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"io"
	"net"
	"time"
)

// weatherPeriod is the longest silence of the weather service, at pace 1.
const weatherPeriod = 30 * time.Second

// weather is a push service: each client keeps one connection. Both sides send
// small records, two bytes of length and then so many bytes: the client
// whenever it likes, the server in answer and now and then by itself.
func weather(pace float64) func(context.Context, net.Conn) {
	return func(ctx context.Context, conn net.Conn) {
		heard := make(chan struct{})
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			for {
				var size [2]byte
				if _, err := io.ReadFull(conn, size[:]); err != nil {
					return
				}
				if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
					return
				}
				select {
				case heard <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		ticker := time.NewTicker(scaled(weatherPeriod, pace))
		defer ticker.Stop()
		for {
			size := 8
			select {
			case <-gone:
				return
			case <-ctx.Done():
				_ = conn.Close() // Wakes the reader.
				<-gone
				return
			case <-heard:
			case <-ticker.C:
				size = 48
			}
			record := make([]byte, 2+size)
			binary.BigEndian.PutUint16(record, uint16(size)) //nolint:gosec // 8 or 48.
			// rand.Read never fails.
			_, _ = rand.Read(record[2:])
			if _, err := conn.Write(record); err != nil {
				_ = conn.Close()
				// The reader may be handing over; let it.
				for {
					select {
					case <-heard:
					case <-gone:
						return
					}
				}
			}
		}
	}
}
