package rig

import (
	"context"
	"log/slog"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/pcapdroid"

	"github.com/offproof/offproof/devices"
)

// MendServer starts an ADB server, ending it first if it has hung.
func (r *Rig) MendServer(ctx context.Context, server string, hook func(context.Context) error, hung bool, log *slog.Logger) error {
	return r.mendServer(ctx, server, hook, hung, log)
}

// Change changes the leased phone through its journal, as the proxy does.
func (l *Lease) Change(ctx context.Context, c devices.Undoable) error {
	return l.journal.Change(ctx, l.Device, c)
}

// SetProxy sets the phone's proxy, as the proxy does.
func (l *Lease) SetProxy(ctx context.Context, hostport string) error {
	return changes{streams{l.Device}, l}.SetProxy(ctx, hostport)
}

// JournalPath is the file of the phone's journal.
func (l *Lease) JournalPath() string { return l.journal.Path() }

// RecogniseServer notes that an adb of this host listens there.
func (r *Rig) RecogniseServer(server string) error { return r.recogniseServer(server) }

// Backend is an instrument of the leased phone.
func (l *Lease) Backend(name string) (capture.Backend, error) { return l.backend(name) }

// Tunneled is the phone as PCAPdroid's backend has it.
func (l *Lease) Tunneled() pcapdroid.Phone { return tunneled{streams{l.Device}, l} }
