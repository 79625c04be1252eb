package rig

import (
	"context"
	"log/slog"
)

// MendServer starts an ADB server, ending it first if it has hung.
func (r *Rig) MendServer(ctx context.Context, server string, hook func(context.Context) error, hung bool, log *slog.Logger) error {
	return r.mendServer(ctx, server, hook, hung, log)
}
