package browser

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// A Way is how a request leaves the phone. The zero value goes by the phone's
// settings, through a proxy if one is set; the others know of no proxy.
type Way string

// The ways past a proxy.
const (
	// WayIPv6 is TLS of the app's own, over IPv6 only.
	WayIPv6 Way = "ipv6"
	// WayQUIC is HTTP/3.
	WayQUIC Way = "quic"
	// WaySocket is a TCP connection into which the request's body is written as it
	// is; the URL names host and port.
	WaySocket Way = "socket"
	// WayDirect is TLS of the app's own over whatever there is.
	WayDirect Way = "direct"
)

// pastLimit bounds a request that goes past the proxy.
const pastLimit = 20 * time.Second

// past sends a request past the proxy.
func (m *module) past(ctx context.Context, r Request, req *http.Request) error {
	ctx, cancel := context.WithTimeout(ctx, pastLimit)
	defer cancel()
	req = req.WithContext(ctx)
	config := &tls.Config{RootCAs: m.cfg.PinnedRoots, MinVersion: tls.VersionTLS12, Time: m.cfg.Now, KeyLogWriter: m.cfg.Keys}
	var by http.RoundTripper
	switch r.Way {
	case WaySocket:
		return m.socket(ctx, r)
	case WayQUIC:
		h3 := &http3.Transport{TLSClientConfig: config, Dial: m.dialQUIC}
		defer h3.Close() //nolint:errcheck // The phone has what it wanted.
		by = h3
	case WayIPv6, WayDirect:
		network := "tcp"
		if r.Way == WayIPv6 {
			network = "tcp6"
		}
		t := &http.Transport{
			TLSClientConfig: config, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return m.cfg.Network.Dial(ctx, m.uid, network, address)
			},
		}
		defer t.CloseIdleConnections()
		by = t
	default:
		return fmt.Errorf("browser: no way is called %q", r.Way)
	}
	res, err := by.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("browser: send to %s by %s: %w", req.URL.Host, r.Way, err)
	}
	return res.Body.Close()
}

// dialQUIC makes a connection of HTTP/3 from a socket of the app's own.
func (m *module) dialQUIC(ctx context.Context, address string, config *tls.Config, q *quic.Config) (*quic.Conn, error) {
	raw, err := m.cfg.Network.Dial(ctx, m.uid, "udp", address)
	if err != nil {
		return nil, err
	}
	tr := &quic.Transport{Conn: datagrams{raw}}
	conn, err := tr.Dial(ctx, raw.RemoteAddr(), config, q)
	if err != nil {
		return nil, errors.Join(err, tr.Close(), raw.Close())
	}
	context.AfterFunc(conn.Context(), func() {
		// What it has to say of its end it has said.
		_, _ = tr.Close(), raw.Close()
	})
	return conn, nil
}

// datagrams makes a connected UDP socket one that gives every packet its address.
type datagrams struct{ net.Conn }

func (d datagrams) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := d.Read(b)
	return n, d.RemoteAddr(), err
}

func (d datagrams) WriteTo(b []byte, _ net.Addr) (int, error) { return d.Write(b) }

// SetReadBuffer and SetWriteBuffer do nothing: a simulated socket has the buffer
// that it has.
func (d datagrams) SetReadBuffer(int) error  { return nil }
func (d datagrams) SetWriteBuffer(int) error { return nil }

// socket writes the body into a connection of its own.
func (m *module) socket(ctx context.Context, r Request) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return fmt.Errorf("browser: send to %s: %w", r.URL, err)
	}
	conn, err := m.cfg.Network.Dial(ctx, m.uid, "tcp", u.Host)
	if err != nil {
		return fmt.Errorf("browser: send to %s: %w", u.Host, err)
	}
	defer conn.Close() //nolint:errcheck // Nothing is read.
	if _, err := conn.Write(r.Body); err != nil {
		return fmt.Errorf("browser: send to %s: %w", u.Host, err)
	}
	return nil
}
