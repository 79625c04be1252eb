package devices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/electricbubble/gadb"

	"github.com/offproof/offproof/devices/adb"
)

const (
	// gadbLimit bounds every call of gadb, whose own limit is a minute.
	gadbLimit = 10 * time.Second
	// retryPause lies between two looks at something that should change soon.
	retryPause = 100 * time.Millisecond
)

// pause waits, or returns the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// bounded runs a call of gadb. The call knows no context: when it is given up
// its goroutine lives on until gadb's own limit of a minute. Lengths that gadb
// does not check make it panic, which must not end the program.
func bounded[T any](ctx context.Context, what string, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, gadbLimit)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a.err = fmt.Errorf("answer that gadb cannot read: %v", r)
			}
			answers <- a
		}()
		a.value, a.err = call()
	}()
	var none T
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("%s: %w", what, ctx.Err())
	case a := <-answers:
		if a.err != nil {
			return none, fmt.Errorf("%s: %w", what, a.err)
		}
		return a.value, nil
	}
}

// splitAddr parts an address for gadb, which puts host and port together again
// without brackets of its own.
func splitAddr(hostPort string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(hostPort)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: want host:port: %w", hostPort, err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %q: want host:port: %w", hostPort, err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		host = "[" + host + "]"
	}
	return host, int(n), nil
}

// gadbClient asks the server by the wire client first: gadb dials without a
// limit, and would hang on a server that does not answer.
func gadbClient(ctx context.Context, server string) (gadb.Client, error) {
	if server == "" {
		server = adb.DefaultAddr
	}
	host, port, err := splitAddr(server)
	if err != nil {
		return gadb.Client{}, fmt.Errorf("devices: use server: %w", err)
	}
	if _, err := (&adb.Client{Addr: server}).Version(ctx); err != nil {
		return gadb.Client{}, err
	}
	return bounded(ctx, "connect to the ADB server", func() (gadb.Client, error) {
		return gadb.NewClientWith(host, port)
	})
}

// ServerVersion is the protocol version of an ADB server, such as 41.
func ServerVersion(ctx context.Context, server string) (int, error) {
	client, err := gadbClient(ctx, server)
	if err != nil {
		return 0, err
	}
	return bounded(ctx, "devices: read server version", client.ServerVersion)
}

func serialList(ctx context.Context, server string) ([]string, error) {
	client, err := gadbClient(ctx, server)
	if err != nil {
		return nil, err
	}
	return bounded(ctx, "list serials", client.DeviceSerialList)
}

// Connect makes the server connect to a phone over TCP, and returns it. The
// server answers "connected" for a phone that refuses it, so the state is read
// afterwards.
func Connect(ctx context.Context, server, hostPort string) (*Device, error) {
	host, port, err := splitAddr(hostPort)
	if err != nil {
		return nil, fmt.Errorf("devices: connect: %w", err)
	}
	client, err := gadbClient(ctx, server)
	if err != nil {
		return nil, err
	}
	if _, err := bounded(ctx, "devices: connect "+hostPort, func() (struct{}, error) {
		return struct{}{}, client.Connect(host, port)
	}); err != nil {
		return nil, err
	}
	d := Open(server, hostPort)
	state, err := d.State(ctx)
	if err != nil {
		return nil, err
	}
	if !state.Usable() {
		return d, fmt.Errorf("devices: connect %s: state %s: %s", hostPort, state, state.Advice())
	}
	return d, nil
}

// Disconnect makes the server let go of a phone over TCP.
func Disconnect(ctx context.Context, server, hostPort string) error {
	host, port, err := splitAddr(hostPort)
	if err != nil {
		return fmt.Errorf("devices: disconnect: %w", err)
	}
	client, err := gadbClient(ctx, server)
	if err != nil {
		return err
	}
	_, err = bounded(ctx, "devices: disconnect "+hostPort, func() (struct{}, error) {
		return struct{}{}, client.Disconnect(host, port)
	})
	return err
}

// State is the phone's state at its server now; StateAbsent is no error.
func (d *Device) State(ctx context.Context) (State, error) {
	table, err := d.client.Devices(ctx)
	if err != nil {
		return StateUnknown, err
	}
	for _, e := range table {
		if e.Serial == d.serial {
			return State(e.State), nil
		}
	}
	return StateAbsent, nil
}

// Forward makes a port of this host's loopback lead to a port of the phone's.
// Both are fixed: gadb cannot tell a port that the server chose.
func (d *Device) Forward(ctx context.Context, hostPort, devicePort int) error {
	g, err := d.gadb(ctx)
	if err != nil {
		return err
	}
	_, err = bounded(ctx, fmt.Sprintf("devices: phone %s: forward tcp:%d", d.serial, hostPort), func() (struct{}, error) {
		return struct{}{}, g.Forward(hostPort, devicePort)
	})
	return err
}

// ForwardRemove takes a forward connection away.
func (d *Device) ForwardRemove(ctx context.Context, hostPort int) error {
	g, err := d.gadb(ctx)
	if err != nil {
		return err
	}
	_, err = bounded(ctx, fmt.Sprintf("devices: phone %s: remove forward tcp:%d", d.serial, hostPort), func() (struct{}, error) {
		return struct{}{}, g.ForwardKill(hostPort)
	})
	return err
}

// errNoProps is gadb's blind spot in words.
var errNoProps = errors.New("gadb does not see the phone: it must be in the state device and say its product")

// gadb finds the phone among those that gadb can see.
func (d *Device) gadb(ctx context.Context) (gadb.Device, error) {
	client, err := gadbClient(ctx, d.server)
	if err != nil {
		return gadb.Device{}, err
	}
	list, err := bounded(ctx, "devices: list phones", client.DeviceList)
	if err != nil {
		return gadb.Device{}, err
	}
	for _, g := range list {
		if g.Serial() == d.serial {
			return g, nil
		}
	}
	return gadb.Device{}, fmt.Errorf("devices: phone %s: %w", d.serial, errNoProps)
}
