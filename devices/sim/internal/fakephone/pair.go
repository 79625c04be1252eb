package fakephone

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// Pair is a connection of two ends that uses no port: a fuzzer that makes
// thousands a second would leave none to the rest of the host.
func Pair() (a, b *net.UnixConn, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("fakephone: make a pair of sockets: %w", err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		conn, err := net.FileConn(f) // It has a descriptor of its own.
		_ = f.Close()
		unix, ok := conn.(*net.UnixConn)
		if err != nil || !ok {
			return nil, nil, fmt.Errorf("fakephone: use a pair of sockets: %w", err)
		}
		ends[i] = unix
	}
	return ends[0], ends[1], nil
}
