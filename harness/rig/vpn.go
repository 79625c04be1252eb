package rig

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/offproof/offproof/capture/pcapdroid"
	"github.com/offproof/offproof/devices"
)

// tunneled lends a device to PCAPdroid's backend: what it starts there is in the
// journal, and ended apart from the changes of others.
type tunneled struct {
	streams
	l *Lease
}

var _ pcapdroid.Phone = tunneled{}

func (t tunneled) Begin(ctx context.Context, script, file string) error {
	return t.l.journal.Change(ctx, t.d, devices.RunVPNApp{Package: pcapdroid.Package, Script: script, File: file})
}

func (t tunneled) Restore(ctx context.Context) error {
	return t.l.restoreSome(ctx, devices.IsVPNApp)
}

// Forward takes a free port of this host's loopback.
func (t tunneled) Forward(ctx context.Context, devicePort int) (hostAddr string, closing func() error, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("rig: find a free port: %w", err)
	}
	addr, ok := ln.Addr().(*net.TCPAddr)
	if err := ln.Close(); err != nil || !ok {
		return "", nil, fmt.Errorf("rig: find a free port: %w", errors.Join(err, errors.New("it has no number")))
	}
	if err := t.d.Forward(ctx, addr.Port, devicePort); err != nil {
		return "", nil, err
	}
	return addr.String(), func() error {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreLimit)
		defer cancel()
		return t.d.ForwardRemove(clean, addr.Port)
	}, nil
}
