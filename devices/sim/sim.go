// Package sim is a simulated farm of phones on a simulated internet, behind the
// genuine ADB server protocol, so that anybody can run and trust the harness
// without a phone.
package sim

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// A Config says what world to start. The zero value is one honest Redmi Note 8.
type Config struct {
	// Phones are the phones of the farm; none means one honest phone.
	Phones []PhoneConfig
	// Pace multiplies every delay of the world; 0 means 0.01.
	Pace float64
	// ADB, SOCKS and Control are listen addresses; empty means 127.0.0.1:0.
	ADB, SOCKS, Control string
	// Dir receives roots.pem, farm.yaml and the farm's state; empty means a
	// temporary directory that Close removes.
	Dir string
	// Floor is the shortest quiet window written to farm.yaml, before pace.
	Floor time.Duration
	// Seed makes serials and content repeatable; 0 chooses one.
	Seed int64
	// Log hears what the world does; nil discards it.
	Log *slog.Logger
}

// A PhoneConfig says what one phone is.
type PhoneConfig struct {
	// Personality is the name of a known personality; empty means "honest".
	Personality string
	// Model is "Redmi Note 8" or empty, which means the same.
	Model string
}

// A World is a running farm.
type World struct{}

// ErrUnknownFault is returned for a fault that no phone knows.
var ErrUnknownFault = errors.New("sim: unknown fault")

// Start starts a world. It runs until Close; ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*World, error) {
	return nil, errors.New("sim: world is not joined yet")
}

// ADB is the address of the ADB server, host:port.
func (w *World) ADB() string { return "" }

// SOCKS is the address of the SOCKS5 door into the world's internet.
func (w *World) SOCKS() string { return "" }

// Control is the address of the HTTP control door.
func (w *World) Control() string { return "" }

// Phones are the phones of the farm, in the order of the configuration.
func (w *World) Phones() []*Phone { return nil }

// Phone is the phone with that serial, nil when there is none.
func (w *World) Phone(serial string) *Phone { return nil }

// FarmYAML is a farm.yaml that names this world's phones.
func (w *World) FarmYAML() []byte { return nil }

// FarmFile is the path of the farm.yaml that was written.
func (w *World) FarmFile() string { return "" }

// Personalities are the known names.
func (w *World) Personalities() []string { return nil }

// StopADB stops the ADB server; StartADB starts it again on the same address.
func (w *World) StopADB() {}

// StartADB starts the ADB server again after StopADB or host:kill.
func (w *World) StartADB(ctx context.Context) error { return nil }

// Close ends everything and frees every port, file and goroutine.
func (w *World) Close() error { return nil }

// A Phone is one simulated phone.
type Phone struct{}

// Serial is the phone's ADB serial, with the world's id in it.
func (p *Phone) Serial() string { return "" }

// Personality is the name of what the phone's browser does.
func (p *Phone) Personality() string { return "" }

// Settings is a copy of the settings as "namespace/key" to value.
func (p *Phone) Settings() map[string]string { return nil }

// Mounts are the lines of the mounts made since boot.
func (p *Phone) Mounts() []string { return nil }

// Reverses are the reverse forwards as "tcp:8080 tcp:4000".
func (p *Phone) Reverses() []string { return nil }

// Fault makes a fault happen. arg is a duration or a number where the fault
// takes one, and may be empty.
func (p *Phone) Fault(ctx context.Context, name, arg string) error { return ErrUnknownFault }
