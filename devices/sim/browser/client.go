package browser

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/publicsuffix"
)

// A jar holds cookies; nil holds none.
type jar = cookiejar.Jar

func newJar() *jar {
	// The only error is one of the options, and there is none in these.
	j, err := cookiejar.New(&cookiejar.Options{PublicSuffixList: publicsuffix.List})
	if err != nil {
		return nil
	}
	return j
}

// A client makes requests in the name of one app and mode. Proxy and trusted
// certificates are the phone's at the time of each connection: when they
// change, no connection made before is used again.
type client struct {
	cfg *Config
	uid int

	mu     sync.Mutex
	jar    *jar
	conns  map[net.Conn]bool
	closed bool
	proxy  string
	roots  *x509.CertPool
	plain  *http.Transport
	pinned *http.Transport
}

func newClient(cfg *Config, uid int, cookies *jar) *client {
	return &client{cfg: cfg, uid: uid, jar: cookies, conns: map[net.Conn]bool{}}
}

// keep changes where cookies are kept from now on.
func (c *client) keep(cookies *jar) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jar = cookies
}

// do sends a request and follows redirects.
func (c *client) do(req *http.Request) (*http.Response, error) {
	h := &http.Client{Transport: roundTripper(c.roundTrip)}
	c.mu.Lock()
	if c.jar != nil {
		h.Jar = c.jar
	}
	c.mu.Unlock()
	res, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("browser: fetch %s: %w", req.URL.Host, err)
	}
	return res, nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (c *client) roundTrip(req *http.Request) (*http.Response, error) {
	return c.transport(req.URL.Hostname()).RoundTrip(req)
}

// transport is the one that fits the phone's settings now.
func (c *client) transport(host string) *http.Transport {
	proxy := c.cfg.Proxy()
	if _, port, err := net.SplitHostPort(proxy); err != nil || port == "0" {
		proxy = ""
	}
	roots := c.cfg.Roots()
	c.mu.Lock()
	var old []*http.Transport
	if c.plain == nil || proxy != c.proxy || !roots.Equal(c.roots) {
		if c.plain != nil {
			old = []*http.Transport{c.plain, c.pinned}
		}
		c.proxy, c.roots = proxy, roots
		c.plain = c.newTransport(proxy, roots)
		c.pinned = c.newTransport(proxy, c.cfg.PinnedRoots)
	}
	now := c.plain
	if pins := c.cfg.Personality.Pins; pins != nil && pins(host) {
		now = c.pinned
	}
	c.mu.Unlock()
	for _, t := range old {
		t.CloseIdleConnections()
	}
	return now
}

func (c *client) newTransport(proxy string, roots *x509.CertPool) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err == nil && strings.EqualFold(host, "localhost") {
				// The phone's hosts file, not its resolver, knows this name.
				address = net.JoinHostPort("127.0.0.1", port)
			}
			return c.dial(ctx, network, address)
		},
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, Time: c.cfg.Now, KeyLogWriter: c.cfg.Keys},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 20 * time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   2,
	}
	if proxy != "" {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	}
	return t
}

// dial makes a connection that close can break.
func (c *client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := c.cfg.Network.Dial(ctx, c.uid, network, address)
	if err != nil {
		return nil, err
	}
	conn := &clientConn{Conn: raw, client: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	c.conns[conn] = true
	return conn, nil
}

// A clientConn takes itself off its client's list when it is closed.
type clientConn struct {
	net.Conn
	client *client
}

func (c *clientConn) Close() error {
	c.client.mu.Lock()
	delete(c.client.conns, c)
	c.client.mu.Unlock()
	return c.Conn.Close()
}

// close breaks every connection, as the end of a process does. Nothing can be
// fetched afterwards.
func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	conns := slices.Collect(maps.Keys(c.conns))
	plain, pinned := c.plain, c.pinned
	c.mu.Unlock()
	if plain != nil {
		plain.CloseIdleConnections()
		pinned.CloseIdleConnections()
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// netError is the name that the page's engine has for an error.
func netError(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	var timeout interface{ Timeout() bool }
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrPageLost):
		return ErrPageLost.Error()
	case errors.As(err, &unknown):
		return "net::ERR_CERT_AUTHORITY_INVALID"
	case errors.As(err, &wrongName):
		return "net::ERR_CERT_COMMON_NAME_INVALID"
	case errors.As(err, &invalid):
		return "net::ERR_CERT_DATE_INVALID"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "net::ERR_PROXY_CONNECTION_FAILED"
	case errors.As(err, &dns):
		return "net::ERR_NAME_NOT_RESOLVED"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "net::ERR_CONNECTION_REFUSED"
	case errors.Is(err, syscall.ECONNRESET):
		return "net::ERR_CONNECTION_RESET"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "net::ERR_INTERNET_DISCONNECTED"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "net::ERR_CONNECTION_TIMED_OUT"
	default:
		return "net::ERR_FAILED"
	}
}

// pageAgent is the User-Agent of pages, appAgent that of the app's own
// requests.
func pageAgent(cfg *Config) string {
	id := cfg.Identity
	return fmt.Sprintf("Mozilla/5.0 (Linux; U; Android %s; %s-%s; %s Build/%s) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "+
		"Chrome/71.0.3578.141 Mobile Safari/537.36 XiaoMi/MiuiBrowser/%s",
		id.OSVersion, id.Language, strings.ToLower(id.Region), id.Model, id.Build, cfg.Personality.Version)
}

func appAgent(id Identity) string {
	return fmt.Sprintf("Dalvik/2.1.0 (Linux; U; Android %s; %s Build/%s)", id.OSVersion, id.Model, id.Build)
}
