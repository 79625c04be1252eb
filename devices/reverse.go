package devices

import (
	"context"
	"errors"
	"fmt"

	"github.com/offproof/offproof/devices/adb"
)

const kindReverse = "reverse"

// AddReverse is the change that makes a port of the phone's loopback lead to
// one of this host's. Both ports are fixed, because the undo is written down
// before the phone could choose one. A tunnel that another program has on the
// same port is put back by the undo.
type AddReverse struct{ DevicePort, HostPort int }

var _ Undoable = AddReverse{}

// reverseUndo is how the phone's port was before.
type reverseUndo struct {
	DevicePort int `json:"device_port"`
	HostPort   int `json:"host_port"`
	// OldHostPort is where the tunnel led before, 0 when there was none.
	OldHostPort int `json:"old_host_port,omitempty"`
}

func (a AddReverse) prepare(ctx context.Context, d *Device) (undo, error) {
	const most = 65535
	if a.DevicePort < 1 || a.DevicePort > most || a.HostPort < 1 || a.HostPort > most {
		return nil, fmt.Errorf("reverse tcp:%d to tcp:%d: both ports must be between 1 and %d", a.DevicePort, a.HostPort, most)
	}
	old, err := d.tunnelAt(ctx, a.DevicePort)
	if err != nil {
		return nil, err
	}
	if old != nil && old.HostPort == 0 {
		return nil, fmt.Errorf("reverse tcp:%d: the port already leads to %s", a.DevicePort, old.Host)
	}
	u := &reverseUndo{DevicePort: a.DevicePort, HostPort: a.HostPort}
	if old != nil && old.HostPort != a.HostPort {
		u.OldHostPort = old.HostPort
	}
	return u, nil
}

// tunnelAt is the tunnel of a phone's port, nil when there is none.
func (d *Device) tunnelAt(ctx context.Context, devicePort int) (*Tunnel, error) {
	tunnels, err := d.ReverseList(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tunnels {
		if t.DevicePort == devicePort {
			return &t, nil
		}
	}
	return nil, nil //nolint:nilnil // No tunnel is no error.
}

func (a AddReverse) apply(ctx context.Context, d *Device, _ undo) error {
	if _, err := d.Reverse(ctx, a.DevicePort, a.HostPort); err != nil {
		return err
	}
	now, err := d.tunnelAt(ctx, a.DevicePort)
	if err != nil {
		return err
	}
	if now == nil || now.HostPort != a.HostPort {
		return errors.New("read back: the phone does not list the tunnel")
	}
	return nil
}

func (u *reverseUndo) kind() string { return kindReverse }
func (u *reverseUndo) note() string { return "" }

func (u *reverseUndo) what() string {
	return fmt.Sprintf("reverse tcp:%d to tcp:%d", u.DevicePort, u.HostPort)
}

func (u *reverseUndo) byHand(serial string) string {
	if u.OldHostPort != 0 {
		return adb.Quote("adb", "-s", serial, "reverse", fmt.Sprintf("tcp:%d", u.DevicePort), fmt.Sprintf("tcp:%d", u.OldHostPort))
	}
	return adb.Quote("adb", "-s", serial, "reverse", "--remove", fmt.Sprintf("tcp:%d", u.DevicePort))
}

func (u *reverseUndo) revert(ctx context.Context, d *Device) error {
	now, err := d.tunnelAt(ctx, u.DevicePort)
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	// A tunnel that leads elsewhere is somebody else's.
	if now != nil && now.HostPort == u.HostPort {
		if u.OldHostPort != 0 {
			_, err = d.Reverse(ctx, u.DevicePort, u.OldHostPort)
		} else {
			err = d.ReverseRemove(ctx, u.DevicePort)
		}
		var gone *adb.FailError
		if err != nil && !errors.As(err, &gone) {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
		now, err = d.tunnelAt(ctx, u.DevicePort)
		if err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
	}
	if now != nil && now.HostPort == u.HostPort {
		return fmt.Errorf("undo %s: read back: the tunnel is still there", u.what())
	}
	return nil
}
