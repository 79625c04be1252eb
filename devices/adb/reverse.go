package adb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Tunnel is one reverse connection: whoever connects to the device's port
// reaches the host's. Ends that are no TCP ports have port 0.
type Tunnel struct {
	// Device and Host are the ends in adb's words, such as "tcp:8080".
	Device, Host         string
	DevicePort, HostPort int
}

// Reverse makes a port of the phone's loopback lead to a port of the host's. A
// devicePort of 0 lets the phone choose. It returns the phone's port. A tunnel
// that leads elsewhere from the same port is replaced.
func (c *Client) Reverse(ctx context.Context, serial string, devicePort, hostPort int) (int, error) {
	if err := checkPorts(devicePort, hostPort); err != nil {
		return 0, err
	}
	cn, err := c.reverse(ctx, serial, fmt.Sprintf("reverse:forward:tcp:%d;tcp:%d", devicePort, hostPort))
	if err != nil {
		return 0, fmt.Errorf("adb: reverse tcp:%d: %w", devicePort, err)
	}
	defer func() { _ = cn.Close() }()
	b, err := cn.block()
	if err != nil {
		// Daemons tell the port only when they chose it.
		if devicePort != 0 && errors.Is(err, io.ErrUnexpectedEOF) && ctx.Err() == nil {
			return devicePort, nil
		}
		return 0, fmt.Errorf("adb: reverse tcp:%d: %w", devicePort, lost(serial, err))
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("adb: reverse tcp:%d: %w", devicePort, &ProtocolError{Want: "a port", Got: shorten(string(b))})
	}
	return int(port), nil
}

// ReverseRemove takes the tunnel of a phone's port away. A tunnel that is not
// there is a *FailError.
func (c *Client) ReverseRemove(ctx context.Context, serial string, devicePort int) error {
	if err := checkPorts(devicePort, devicePort); err != nil {
		return err
	}
	cn, err := c.reverse(ctx, serial, fmt.Sprintf("reverse:killforward:tcp:%d", devicePort))
	if err != nil {
		return fmt.Errorf("adb: remove reverse tcp:%d: %w", devicePort, err)
	}
	return cn.Close()
}

// ReverseList lists the phone's tunnels.
func (c *Client) ReverseList(ctx context.Context, serial string) ([]Tunnel, error) {
	cn, err := c.service(ctx, serial, "reverse:list-forward")
	if err != nil {
		return nil, fmt.Errorf("adb: list reverses: %w", err)
	}
	defer func() { _ = cn.Close() }()
	cn.soon()
	b, err := cn.block() // This one service has no second OKAY.
	if err != nil {
		return nil, fmt.Errorf("adb: list reverses: %w", lost(serial, err))
	}
	return parseTunnels(string(b)), nil
}

// reverse opens a reverse service and reads the daemon's own OKAY, the second.
func (c *Client) reverse(ctx context.Context, serial, service string) (*conn, error) {
	cn, err := c.service(ctx, serial, service)
	if err != nil {
		return nil, err
	}
	cn.soon()
	if err := cn.status(service); err != nil {
		_ = cn.Close()
		return nil, serviceError(serial, err)
	}
	return cn, nil
}

// parseTunnels reads lines of transport, device end and host end.
func parseTunnels(text string) []Tunnel {
	var tunnels []Tunnel
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		tunnels = append(tunnels, Tunnel{
			Device: fields[1], Host: fields[2],
			DevicePort: tcpPort(fields[1]), HostPort: tcpPort(fields[2]),
		})
	}
	return tunnels
}

func tcpPort(end string) int {
	text, ok := strings.CutPrefix(end, "tcp:")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

func checkPorts(devicePort, hostPort int) error {
	const most = 65535
	if devicePort < 0 || devicePort > most {
		return fmt.Errorf("adb: reverse: port %d of the phone is not between 0 and %d", devicePort, most)
	}
	if hostPort < 1 || hostPort > most {
		return fmt.Errorf("adb: reverse: port %d is not between 1 and %d", hostPort, most)
	}
	return nil
}
