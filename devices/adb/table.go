package adb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// An Entry is one line of the server's table of phones.
type Entry struct {
	Serial string
	// State is the server's word: "device", "offline", "unauthorized", "recovery",
	// "no permissions" and others.
	State string
	// Props are the server's key:value pairs: usb, product, model, device,
	// transport_id.
	Props map[string]string
}

// Devices lists the phones that the server knows, in every state.
func (c *Client) Devices(ctx context.Context) ([]Entry, error) {
	b, err := c.ask(ctx, "host:devices-l")
	if err != nil {
		return nil, fmt.Errorf("adb: list devices: %w", err)
	}
	return parseTable(string(b)), nil
}

// Track calls each with the whole table of phones now and after every change,
// until ctx ends, the server goes away, or each returns an error. It never
// returns nil.
func (c *Client) Track(ctx context.Context, each func([]Entry) error) error {
	cn, err := c.host(ctx, "host:track-devices-l")
	if err != nil {
		return fmt.Errorf("adb: track devices: %w", err)
	}
	defer func() { _ = cn.Close() }()
	for {
		b, err := cn.block()
		if err != nil {
			if ctx.Err() == nil && !isProtocol(err) {
				err = &noServerError{addr: c.addr(), err: err}
			}
			return fmt.Errorf("adb: track devices: %w", err)
		}
		if err := each(parseTable(string(b))); err != nil {
			return err
		}
	}
}

func isProtocol(err error) bool {
	var garbage *ProtocolError
	return errors.As(err, &garbage)
}

// Version is the server's protocol version, such as 41.
func (c *Client) Version(ctx context.Context) (int, error) {
	b, err := c.ask(ctx, "host:version")
	if err != nil {
		return 0, fmt.Errorf("adb: read version: %w", err)
	}
	n, err := strconv.ParseUint(string(b), 16, 16)
	if err != nil {
		return 0, fmt.Errorf("adb: read version: %w", &ProtocolError{Addr: c.addr(), Want: "a hexadecimal version", Got: shorten(string(b))})
	}
	return int(n), nil
}

// Features lists what the phone's daemon says that it can do, such as
// "shell_v2".
func (c *Client) Features(ctx context.Context, serial string) ([]string, error) {
	if err := checkSerial(serial); err != nil {
		return nil, err
	}
	b, err := c.ask(ctx, "host-serial:"+serial+":features")
	if err != nil {
		return nil, transportError(serial, err)
	}
	var features []string
	for f := range strings.SplitSeq(string(b), ",") {
		if f = strings.TrimSpace(f); f != "" {
			features = append(features, f)
		}
	}
	return features, nil
}

// Kill ends the ADB server. Every phone is lost to everybody until somebody
// starts it again.
func (c *Client) Kill(ctx context.Context) error {
	cn, err := c.host(ctx, "host:kill")
	if err != nil {
		return fmt.Errorf("adb: kill server: %w", err)
	}
	return cn.Close()
}

// WaitDevice waits until the phone is in the state "device".
func (c *Client) WaitDevice(ctx context.Context, serial string) error {
	if err := checkSerial(serial); err != nil {
		return err
	}
	cn, err := c.host(ctx, "host-serial:"+serial+":wait-for-any-device")
	if err != nil {
		return transportError(serial, err)
	}
	defer func() { _ = cn.Close() }()
	if err := cn.status("wait-for-any-device"); err != nil {
		return transportError(serial, err)
	}
	return nil
}

// ask sends a host request and returns its block.
func (c *Client) ask(ctx context.Context, service string) ([]byte, error) {
	cn, err := c.host(ctx, service)
	if err != nil {
		return nil, err
	}
	defer func() { _ = cn.Close() }()
	cn.soon()
	b, err := cn.block()
	if err != nil {
		return nil, c.silent(ctx, err)
	}
	return b, nil
}

// twoWordState begins the only state of the server that is longer than a word;
// an explanation in brackets follows it.
const twoWordState = "no permissions"

// parseTable reads the answer to devices-l. It keeps every line that has a
// serial and a state, and never fails: a line it cannot read is no phone.
func parseTable(text string) []Entry {
	var entries []Entry
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		e := Entry{Serial: fields[0], State: fields[1], Props: map[string]string{}}
		rest := fields[2:]
		explained := false
		if len(fields) > 2 && strings.HasPrefix(strings.Join(fields[1:3], " "), twoWordState) {
			e.State, rest, explained = twoWordState, fields[3:], true
		}
		for _, f := range rest {
			key, value, ok := strings.Cut(f, ":")
			if !ok || key == "" {
				continue
			}
			// The explanation holds an address with a colon; only known keys count there.
			if explained && !knownProp(key) {
				continue
			}
			e.Props[key] = value
		}
		entries = append(entries, e)
	}
	return entries
}

func knownProp(key string) bool {
	switch key {
	case "usb", "product", "model", "device", "features", "transport_id":
		return true
	}
	return false
}
