package rig

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
)

// appendTo is a file to whose end each write goes, whoever else writes to it.
type appendTo string

func (a appendTo) Write(b []byte) (int, error) {
	f, err := os.OpenFile(string(a), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return n, err
}

// most bounds what a memory keeps.
const mostRecords = 2000

// A memory keeps log records, so that what was done to a phone before its run
// began stands in the run's log too.
type memory struct {
	kept  *kept
	attrs []slog.Attr
}

type kept struct {
	mu      sync.Mutex
	records []slog.Record
}

var _ slog.Handler = memory{}

func newMemory() memory { return memory{kept: &kept{}} }

func (m memory) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (m memory) Handle(_ context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(m.attrs...)
	m.kept.mu.Lock()
	defer m.kept.mu.Unlock()
	if len(m.kept.records) < mostRecords {
		m.kept.records = append(m.kept.records, r)
	}
	return nil
}

func (m memory) WithAttrs(attrs []slog.Attr) slog.Handler {
	return memory{m.kept, slices.Concat(m.attrs, attrs)}
}

// WithGroup keeps the names as they are: nothing here uses groups.
func (m memory) WithGroup(string) slog.Handler { return m }

// replay writes what was kept to another log, once.
func (m memory) replay(to *slog.Logger) {
	m.kept.mu.Lock()
	records := m.kept.records
	m.kept.records = nil
	m.kept.mu.Unlock()
	for _, r := range records {
		args := []any{slog.Time("at", r.Time)}
		r.Attrs(func(a slog.Attr) bool {
			args = append(args, a)
			return true
		})
		switch {
		case r.Level >= slog.LevelError:
			to.Error(r.Message, args...)
		case r.Level >= slog.LevelWarn:
			to.Warn(r.Message, args...)
		default:
			to.Info(r.Message, args...)
		}
	}
}
