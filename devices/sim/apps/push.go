// Package apps is the background noise of a simulated phone: other apps that
// talk to their own servers while nobody looks, so that whoever watches the
// phone has something to tell apart.
package apps

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"
)

// The app that PushConfig's zero value describes.
const (
	WeatherPackage = "com.weather.push"
	WeatherUID     = 10150
	WeatherAddress = "push.weather.example:443"
)

// A Network is a phone's way out.
type Network interface {
	Dial(ctx context.Context, uid int, network, address string) (net.Conn, error)
}

// A PushConfig describes an app that keeps a connection open.
type PushConfig struct {
	// Network is required.
	Network Network
	// UID and Address are whose and where; the zero values are the weather's.
	UID     int
	Address string
	// Keys is where the app's TLS secrets are logged; nil for nowhere.
	Keys io.Writer
	// Roots are the certificates that the app was built with: it pins its
	// server, as push services do. Required.
	Roots *x509.CertPool
	// Every is the time between records, and Retry that before another try when
	// the connection was lost; 0 means 4 s and 10 s. Pace multiplies both; 0
	// means 1.
	Every, Retry time.Duration
	Pace         float64
	// Now is the phone's clock; nil means the host's.
	Now func() time.Time
	// Log hears about lost connections; nil discards it.
	Log *slog.Logger
}

// Push runs the app until ctx ends: one TLS connection, made directly whatever
// proxy the phone has set, on which a small record goes out every few seconds.
func Push(ctx context.Context, cfg PushConfig) {
	if cfg.UID == 0 {
		cfg.UID = WeatherUID
	}
	if cfg.Address == "" {
		cfg.Address = WeatherAddress
	}
	if cfg.Every <= 0 {
		cfg.Every = 4 * time.Second
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 10 * time.Second
	}
	if cfg.Pace <= 0 {
		cfg.Pace = 1
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	paced := func(d time.Duration) time.Duration { return time.Duration(float64(d) * cfg.Pace) }
	for ctx.Err() == nil {
		if err := cfg.connection(ctx, paced(cfg.Every)); err != nil && ctx.Err() == nil {
			cfg.Log.Debug("apps: push connection lost", "err", err)
		}
		pause(ctx, paced(cfg.Retry))
	}
}

// connection keeps one connection for as long as it lasts.
func (cfg PushConfig) connection(ctx context.Context, every time.Duration) error {
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		return fmt.Errorf("apps: read address: %w", err)
	}
	raw, err := cfg.Network.Dial(ctx, cfg.UID, "tcp", cfg.Address)
	if err != nil {
		return fmt.Errorf("apps: dial %s: %w", host, err)
	}
	defer func() { _ = raw.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer stop()
	conn := tls.Client(raw, &tls.Config{ServerName: host, RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12, Time: cfg.Now, KeyLogWriter: cfg.Keys})
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("apps: greet %s: %w", host, err)
	}

	// What the server pushes is read so that the connection does not fill.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, conn)
	}()
	defer func() {
		_ = raw.Close()
		<-gone
	}()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if _, err := conn.Write(record()); err != nil {
			return fmt.Errorf("apps: send record: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-gone:
			return fmt.Errorf("apps: read from %s: %w", host, io.ErrUnexpectedEOF)
		case <-ticker.C:
		}
	}
}

// record is two bytes of length and that many bytes that mean nothing.
func record() []byte {
	b := make([]byte, 2+24)
	binary.BigEndian.PutUint16(b, 24)
	_, _ = rand.Read(b[2:]) // never fails
	return b
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
