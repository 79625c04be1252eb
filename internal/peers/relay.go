package peers

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// A relay carries connections from this machine's loopback to where dial leads.
type relay struct {
	dial  func(ctx context.Context) (net.Conn, error)
	first func([]byte) []byte // rewrites the first packet of the far end, if not nil
	ln    net.Listener

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	closed  bool
	running sync.WaitGroup
}

// startRelay listens with ln until the test ends.
func startRelay(t testing.TB, ln net.Listener, dial func(ctx context.Context) (net.Conn, error), first func([]byte) []byte) *relay {
	t.Helper()
	r := &relay{dial: dial, first: first, ln: ln, conns: map[net.Conn]struct{}{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			r.running.Go(func() { r.carry(ctx, near) })
		}
	})
	t.Cleanup(func() {
		cancel()
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		_ = ln.Close()
		r.cut()
		r.running.Wait()
	})
	return r
}

// cut breaks every connection, as pulling a cable does. New ones are taken.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.Close()
	}
}

// keep notes a connection for cut, unless the relay has ended.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.conns[c] = struct{}{}
	}
	return !r.closed
}

func (r *relay) drop(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) carry(ctx context.Context, near net.Conn) {
	defer r.drop(near)
	if !r.keep(near) {
		return
	}
	far, err := r.dial(ctx)
	if err != nil {
		return
	}
	defer r.drop(far)
	if !r.keep(far) {
		return
	}
	var out sync.WaitGroup
	out.Go(func() {
		_, _ = io.Copy(far, near)
		halfClose(far)
	})
	if r.first != nil {
		if b, err := readPacket(far); err == nil {
			_, _ = near.Write(r.first(b))
		}
	}
	_, _ = io.Copy(near, far)
	halfClose(near)
	out.Wait()
}

func halfClose(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// packetHead is the length of the head of an adbd packet; the length of what
// follows it stands at byte 12.
const packetHead = 24

func readPacket(r io.Reader) ([]byte, error) {
	head := make([]byte, packetHead)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	const most = 1 << 20
	b := make([]byte, packetHead+min(binary.LittleEndian.Uint32(head[12:]), most))
	copy(b, head)
	_, err := io.ReadFull(r, b[packetHead:])
	return b, err
}

// nameProduct puts a product into the banner of a daemon on Linux, which has
// none: adb then prints a phone without its product, and gadb leaves it out.
func nameProduct(b []byte) []byte {
	text := string(b[packetHead:])
	for _, key := range []string{"ro.product.name", "ro.product.model", "ro.product.device"} {
		text = strings.Replace(text, key+"=;", key+"=genuine;", 1)
	}
	b = append(b[:packetHead], text...)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(text))) //nolint:gosec // At most 1 MiB.
	var sum uint32
	for _, c := range []byte(text) {
		sum += uint32(c)
	}
	binary.LittleEndian.PutUint32(b[16:], sum) // hosts of the old version check it
	return b
}
