package peers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do calls f on a thread inside the namespace. A socket that f opens stays
// inside, and may be used anywhere afterwards; f must not start goroutines that
// open others.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// The thread is never unlocked, so it ends with the goroutine and nobody
		// else comes to run inside the namespace.
		runtime.LockOSThread()
		done <- n.enter(f)
	}()
	return <-done
}

func (n *Namespace) enter(f func() error) error {
	fd, err := unix.Open("/var/run/netns/"+n.Name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("peers: open namespace %s: %w", n.Name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("peers: enter namespace %s: %w", n.Name, err)
	}
	return f()
}

// holdPort takes a port of the machine's virtual sockets, and returns it with
// the way to give it back. A genuine adbd listens there on the same number as on
// TCP, and these sockets know no namespaces: whoever runs this virtual machine
// could reach the daemon. While the port is taken it cannot listen.
func holdPort() (port int, release func(), err error) {
	const tries = 100
	for range tries {
		port = 20000 + rand.IntN(10000) //nolint:gosec // No secret.
		fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if errors.Is(err, unix.EAFNOSUPPORT) {
			return port, func() {}, nil // no such sockets, so nobody to be reached by
		}
		if err != nil {
			return 0, nil, fmt.Errorf("peers: open a virtual socket: %w", err)
		}
		err = unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: uint32(port)}) //nolint:gosec // It is small.
		if err == nil {
			return port, func() { _ = unix.Close(fd) }, nil
		}
		_ = unix.Close(fd)
		if !errors.Is(err, unix.EADDRINUSE) {
			return 0, nil, fmt.Errorf("peers: take virtual port %d: %w", port, err)
		}
	}
	return 0, nil, fmt.Errorf("peers: no virtual port is free after %d tries", tries)
}
