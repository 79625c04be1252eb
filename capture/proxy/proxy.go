// Package proxy records what a phone says to the servers of its apps, by
// standing between the two as an intercepting HTTP proxy on the host.
//
// The phone reaches it through a tunnel of ADB and its own proxy setting. Each
// connection of the phone is paired with one upstream connection, offered the
// same protocols, and relayed byte for byte as far as that is possible: the
// proxy reads along and adds nothing. What it cannot read, such as an app that
// refuses its certificate, is recorded as a failed or opaque flow and never
// passed over.
package proxy

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

// Name is the backend's word in farm.yaml.
const Name = "proxy"

// BeaconHost is the host under which the proxy itself answers beacons. No name
// below "invalid" can belong to anybody.
const BeaconHost = "beacon.offproof.invalid"

// Errors that callers may tell apart with errors.Is.
var (
	// ErrEnded is returned by Beacon when the recording is over.
	ErrEnded = errors.New("proxy: recording has ended")
	// ErrBeaconUnseen is returned by Beacon when the nonce never arrived.
	ErrBeaconUnseen = errors.New("proxy: beacon did not arrive")
)

// A Phone is the phone as the proxy needs it: scripts, and the changes that
// lead its traffic here. Whoever implements it keeps the journal of changes.
type Phone interface {
	// Run runs a shell script to its end. A non-zero exit status is no error.
	Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error)

	// Tunnel makes the phone's loopback port lead to the host's.
	Tunnel(ctx context.Context, devicePort, hostPort int) error
	// TrustCA makes the phone's apps trust a certificate authority.
	TrustCA(ctx context.Context, pem []byte) error
	// SetProxy makes host:port the phone's HTTP proxy.
	SetProxy(ctx context.Context, hostport string) error
	// Restore undoes, in reverse order, whichever of the three were done. It is
	// called once for every session, also after a start that failed half-way.
	Restore(ctx context.Context) error
}

// Options change how the backend works. The zero value is useful: a direct
// uplink and the system's roots.
type Options struct {
	// SOCKS5 is the address of a SOCKS5 server that all upstream connections go
	// through, names resolved there. Empty: a direct uplink.
	SOCKS5 string
	// Roots are the authorities trusted for upstream servers; nil means the
	// system's.
	Roots *x509.CertPool
	// PassThrough are hosts whose TLS is not intercepted, and the names below them:
	// those of apps that refuse the certificate and without which the phone cannot
	// be used. What is said to them is kept and stays unread.
	PassThrough []string
	// DevicePort is the phone's end of the tunnel; 8080 when zero.
	DevicePort int
	// AllowLoopback lets the phone reach loopback and link-local addresses
	// through the uplink. A phone under suspicion has no business with the
	// host's own services, so they are refused unless this is set.
	AllowLoopback bool

	// MaxConns bounds the connections open at once, 512 when zero; further ones
	// are turned away and counted in Health.Dropped.
	MaxConns int
	// MaxHeader bounds the bytes of one message's header; 256 KiB when zero.
	MaxHeader int
	// MaxRequestBody and MaxResponseBody bound the stored copy of one body, 8
	// MiB and 1 MiB when zero. Longer bodies pass through and are marked.
	MaxRequestBody, MaxResponseBody int64
	// MaxMemory bounds all that a session stores; 256 MiB when zero. Beyond it
	// bodies are cut, and then exchanges are only counted, both said in Health.
	MaxMemory int64

	// HeaderTimeout bounds the time from a message's first byte to the end of
	// its header, and a handshake; 30 s when zero.
	HeaderTimeout time.Duration
	// IdleTimeout ends a connection on which nothing moved; 15 minutes when
	// zero, so that a push connection survives.
	IdleTimeout time.Duration
	// DialTimeout bounds an upstream connection with its handshake; 20 s when
	// zero.
	DialTimeout time.Duration
	// ServerFirst is how long a tunnel's client may be silent before the server
	// is connected and given the chance to speak first; 3 s when zero.
	ServerFirst time.Duration
	// BeaconTries is how often a beacon is sent, 4 when zero, and BeaconWait how
	// long each is waited for, 5 s when zero.
	BeaconTries int
	BeaconWait  time.Duration
	// Clock tells the time, for tests; time.Now when nil.
	Clock func() time.Time
}

func (o Options) withDefaults() Options {
	number(&o.DevicePort, 8080)
	number(&o.MaxConns, 512)
	number(&o.MaxHeader, 256<<10)
	number(&o.MaxRequestBody, 8<<20)
	number(&o.MaxResponseBody, 1<<20)
	number(&o.MaxMemory, 256<<20)
	number(&o.HeaderTimeout, 30*time.Second)
	number(&o.IdleTimeout, 15*time.Minute)
	number(&o.DialTimeout, 20*time.Second)
	number(&o.ServerFirst, 3*time.Second)
	number(&o.BeaconTries, 4)
	number(&o.BeaconWait, 5*time.Second)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o
}

// number gives an option that was not set its default.
func number[T int | int64 | time.Duration](option *T, value T) {
	if *option <= 0 {
		*option = value
	}
}

// A Backend intercepts one phone's connections.
type Backend struct {
	phone Phone
	o     Options
}

var _ capture.Backend = (*Backend)(nil)

// New returns a backend for a phone.
func New(phone Phone, o Options) *Backend {
	return &Backend{phone: phone, o: o.withDefaults()}
}

// Name returns "proxy".
func (b *Backend) Name() string { return Name }

// Probe says whether the phone can be made to trust the proxy (that needs root)
// and to send a beacon, and whether the uplink answers.
func (b *Backend) Probe(ctx context.Context) (capture.Ability, error) {
	if b.o.DevicePort > 65535 {
		return capture.Ability{Reason: fmt.Sprintf("device port %d does not exist: correct the option", b.o.DevicePort)}, nil
	}
	_, _, exit, err := b.phone.Run(ctx, "command -v nc")
	if err != nil {
		return capture.Ability{}, fmt.Errorf("proxy: look for nc: %w", err)
	}
	if exit != 0 {
		return capture.Ability{Reason: "no nc on the phone, and beacons need it: push a static busybox or toybox as nc"}, nil
	}
	root, err := b.hasRoot(ctx)
	if err != nil {
		return capture.Ability{}, err
	}
	if !root {
		return capture.Ability{
			Reason: "no root on the phone, and apps trust an interception certificate only from the system store: " +
				"root it, or use a userdebug build; without root use PCAPdroid or the lab's gateway for metadata",
		}, nil
	}
	if b.o.SOCKS5 != "" {
		d := net.Dialer{Timeout: b.o.DialTimeout}
		conn, err := d.DialContext(ctx, "tcp", b.o.SOCKS5)
		if err != nil {
			return capture.Ability{
				Reason: fmt.Sprintf("the uplink's SOCKS5 server does not answer (%v): start it, or correct the uplink", err),
			}, nil
		}
		_ = conn.Close()
	}
	return capture.Ability{OK: true, Sees: "HTTP and HTTPS of apps that use the system's proxy and trust its store"}, nil
}

// hasRoot asks the shell, then the two kinds of su in use.
func (b *Backend) hasRoot(ctx context.Context) (bool, error) {
	for _, script := range []string{"id -u", "su -c 'id -u'", "su 0 id -u"} {
		out, _, exit, err := b.phone.Run(ctx, script)
		if err != nil {
			return false, fmt.Errorf("proxy: ask for root: %w", err)
		}
		if exit == 0 && strings.TrimSpace(string(out)) == "0" {
			return true, nil
		}
	}
	return false, nil
}
