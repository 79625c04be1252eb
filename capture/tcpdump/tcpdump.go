// Package tcpdump records a phone's packets with the phone's own tcpdump,
// streamed to the host while it runs.
//
// It needs root on the phone. Nothing is stored there: the packets travel over
// a stream whose standard error and exit status arrive apart, so that "ready",
// "lost" and "ended" are never guessed. The phone is reached through the small
// interface Phone.
package tcpdump

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

// Name is the backend's word in farm.yaml.
const Name = "tcpdump"

// Errors that callers may tell apart with errors.Is.
var (
	// ErrNotReady is returned by Start when tcpdump did not say in time that it
	// listens.
	ErrNotReady = errors.New("tcpdump: did not become ready")
	// ErrStillRuns is returned by Stop when the phone's tcpdump outlived it.
	ErrStillRuns = errors.New("tcpdump: process still runs on the phone")
)

// A Phone runs shell scripts. Its methods may be called concurrently.
type Phone interface {
	// Run runs a script to its end. A non-zero exit status is no error; a phone
	// that was lost before the exit status arrived is one.
	Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error)

	// Stream starts a script and returns its outputs while it runs. Standard
	// output carries binary data unchanged. wait blocks until the exit status
	// has arrived or the phone is lost, which is an error. Cancelling ctx, or
	// closing a reader, abandons the stream and releases what the host holds.
	Stream(ctx context.Context, script string) (stdout, stderr io.ReadCloser, wait func() (int, error), err error)
}

// Options change how the backend works. The zero value is useful.
type Options struct {
	// Interface is the network interface to record, "wlan0" when empty.
	Interface string
	// ReadyWait bounds the wait for "listening on"; 15 s when zero.
	ReadyWait time.Duration
	// StopWait bounds the wait for tcpdump to end after each signal; 5 s when
	// zero.
	StopWait time.Duration
	// BeaconTries is how often a beacon's question is asked, 4 when zero, and
	// BeaconWait how long each is waited for, 3 s when zero.
	BeaconTries int
	BeaconWait  time.Duration
}

func (o Options) withDefaults() Options {
	if o.Interface == "" {
		o.Interface = "wlan0"
	}
	if o.ReadyWait <= 0 {
		o.ReadyWait = 15 * time.Second
	}
	if o.StopWait <= 0 {
		o.StopWait = 5 * time.Second
	}
	return o
}

// A Backend records one phone's packets.
type Backend struct {
	phone Phone
	o     Options
}

var _ capture.Backend = (*Backend)(nil)

// New returns a backend for a phone.
func New(phone Phone, o Options) *Backend {
	return &Backend{phone: phone, o: o.withDefaults()}
}

// Name returns "tcpdump".
func (b *Backend) Name() string { return Name }

// Probe says whether the phone gives root, has tcpdump, and has the interface.
func (b *Backend) Probe(ctx context.Context) (capture.Ability, error) {
	if !interfaceName.MatchString(b.o.Interface) {
		return capture.Ability{Reason: fmt.Sprintf("%q is not the name of a network interface: correct the option", b.o.Interface)}, nil
	}
	asRoot, err := b.root(ctx)
	if errors.Is(err, errNoRoot) {
		return capture.Ability{
			Reason: "no root on the phone, and tcpdump needs it: root it, allow su for the shell, " +
				"or use a userdebug build; without root use the lab's gateway or PCAPdroid",
		}, nil
	}
	if err != nil {
		return capture.Ability{}, err
	}
	_, _, exit, err := b.phone.Run(ctx, asRoot("command -v tcpdump"))
	if err != nil {
		return capture.Ability{}, fmt.Errorf("tcpdump: look for the program: %w", err)
	}
	if exit != 0 {
		return capture.Ability{
			Reason: "no tcpdump on the phone: push a static build for its architecture to a folder in root's PATH",
		}, nil
	}
	out, stderr, exit, err := b.phone.Run(ctx, "cat /proc/net/dev")
	if err != nil {
		return capture.Ability{}, fmt.Errorf("tcpdump: list interfaces: %w", err)
	}
	if exit != 0 {
		return capture.Ability{}, fmt.Errorf("tcpdump: list interfaces: exit status %d: %s", exit, packets.Excerpt(stderr))
	}
	names := interfaces(string(out))
	if b.o.Interface != "any" && !contains(names, b.o.Interface) {
		return capture.Ability{
			Reason: fmt.Sprintf("the phone has no interface %s (it has %s): turn Wi-Fi on, or name another interface",
				b.o.Interface, strings.Join(names, ", ")),
		}, nil
	}
	return capture.Ability{OK: true, Sees: "packets of " + b.o.Interface}, nil
}

// interfaceName is what Linux allows and a shell takes as one plain word.
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)

var errNoRoot = errors.New("tcpdump: no root on the phone")

// root finds out how a script is run as root: as it is, or through one of the
// two kinds of su in use, whose arguments differ.
func (b *Backend) root(ctx context.Context) (func(script string) string, error) {
	ways := []func(string) string{
		func(s string) string { return s },
		func(s string) string { return "su -c " + quote(s) },      // Magisk and its kin
		func(s string) string { return "su 0 sh -c " + quote(s) }, // userdebug builds
	}
	for _, way := range ways {
		out, _, exit, err := b.phone.Run(ctx, way("id -u"))
		if err != nil {
			return nil, fmt.Errorf("tcpdump: ask for root: %w", err)
		}
		if exit == 0 && strings.TrimSpace(string(out)) == "0" {
			return way, nil
		}
	}
	return nil, errNoRoot
}

// interfaces reads the names out of /proc/net/dev.
func interfaces(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		name, _, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); ok && interfaceName.MatchString(name) && !contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func contains(list []string, want string) bool {
	for _, s := range list {
		if s == want {
			return true
		}
	}
	return false
}

// quote makes one word of a shell out of any text.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
