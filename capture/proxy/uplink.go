package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/proxy"
)

// ErrRefusedAddress is the reason of a connection that the proxy would not
// make, see Options.AllowLoopback.
var ErrRefusedAddress = errors.New("proxy: loopback and link-local addresses are not for the phone")

// An uplink makes the connections to the servers.
type uplink struct {
	dialer   proxy.ContextDialer
	direct   bool
	loopback bool
	roots    *x509.CertPool
	timeout  time.Duration
	sessions tls.ClientSessionCache
	keys     io.Writer // the key log
}

func newUplink(o Options, keys io.Writer) (*uplink, error) {
	u := &uplink{
		keys:   keys,
		direct: o.SOCKS5 == "", loopback: o.AllowLoopback, roots: o.Roots, timeout: o.DialTimeout,
		sessions: tls.NewLRUClientSessionCache(512),
	}
	if u.direct {
		u.dialer = &net.Dialer{Timeout: o.DialTimeout, ControlContext: u.control}
		return u, nil
	}
	d, err := proxy.SOCKS5("tcp", o.SOCKS5, nil, &net.Dialer{Timeout: o.DialTimeout})
	if err != nil {
		return nil, fmt.Errorf("proxy: uplink %s: %w", o.SOCKS5, err)
	}
	cd, ok := d.(proxy.ContextDialer)
	if !ok {
		return nil, fmt.Errorf("proxy: uplink %s: its dialer knows no contexts", o.SOCKS5)
	}
	u.dialer = cd
	return u, nil
}

// control sees the address after its name was resolved, so that no name can
// lead where the address may not.
func (u *uplink) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("proxy: resolved address: %w", err)
	}
	return u.permit(ap.Addr())
}

func (u *uplink) permit(a netip.Addr) error {
	a = a.Unmap()
	if !u.loopback && (a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast()) {
		return fmt.Errorf("%w: %v", ErrRefusedAddress, a)
	}
	return nil
}

// connect makes a TCP connection to host:port.
func (u *uplink) connect(ctx context.Context, hostport string) (net.Conn, error) {
	if !u.direct && !u.loopback {
		// Names are resolved beyond the uplink; what can be told here is told.
		host, _, err := splitPort(hostport)
		if err != nil {
			return nil, err
		}
		if a, err := netip.ParseAddr(host); err == nil {
			if err := u.permit(a); err != nil {
				return nil, err
			}
		} else if h := strings.TrimSuffix(strings.ToLower(host), "."); h == "localhost" || strings.HasSuffix(h, ".localhost") {
			return nil, fmt.Errorf("%w: %s", ErrRefusedAddress, host)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	conn, err := u.dialer.DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("upstream: connect to %s: %w", hostport, err)
	}
	return conn, nil
}

// secure makes TLS over a connection, verified for name. It offers the
// protocols that the phone offered.
func (u *uplink) secure(ctx context.Context, conn net.Conn, name string, protocols []string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	c := tls.Client(conn, &tls.Config{
		ServerName: name, RootCAs: u.roots, NextProtos: protocols,
		ClientSessionCache: u.sessions, MinVersion: tls.VersionTLS12, KeyLogWriter: u.keys,
	})
	if err := c.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		var bad *tls.CertificateVerificationError
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("upstream: certificate of %s is not trusted: %w", name, bad.Err)
		}
		return nil, fmt.Errorf("upstream: tls handshake with %s: %w", name, err)
	}
	return c, nil
}

// splitPort splits host:port; the host is without brackets.
func splitPort(hostport string) (string, int, error) {
	host, text, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0, fmt.Errorf("proxy: address %q: %w", hostport, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || host == "" {
		return "", 0, fmt.Errorf("proxy: address %q: no such port or host", hostport)
	}
	return host, int(port), nil
}

// addrPort reads the address of a connection's end; zero when it is none.
func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
