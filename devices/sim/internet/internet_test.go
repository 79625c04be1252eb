package internet_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
)

const appUID = 10123

// limit bounds every test that waits for something.
const limit = 2 * time.Minute

func newWorld(t testing.TB) *internet.Internet {
	t.Helper()
	n, err := internet.New(context.Background(), internet.Config{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func addHost(t testing.TB, n *internet.Internet, cfg internet.HostConfig) {
	t.Helper()
	if err := n.AddHost(cfg); err != nil {
		t.Fatal(err)
	}
}

func attach(t testing.TB, n *internet.Internet, name string) *internet.Stack {
	t.Helper()
	s, err := n.Attach(internet.StackConfig{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func roots(t testing.TB, n *internet.Internet) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(n.Roots()) {
		t.Fatal("no certificate in Roots")
	}
	return pool
}

// client is an HTTP client of a phone. network restricts it to an IP version.
func client(t testing.TB, n *internet.Internet, s *internet.Stack, network string) *http.Client {
	t.Helper()
	tr := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots(t, n)},
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return s.Dial(ctx, appUID, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: limit}
}

func get(t testing.TB, c *http.Client, url string) (string, *http.Response) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), r
}

// until polls a condition without asserting how long it takes.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

func hello() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s over %s", r.Host, r.Proto)
	})
}

func TestHTTPOverBothIPVersions(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	phone := attach(t, n, "phone-1")
	for _, network := range []string{"tcp4", "tcp6"} {
		for _, scheme := range []string{"http", "https"} {
			body, r := get(t, client(t, n, phone, network), scheme+"://site.example/path?q=1")
			want := "hello site.example over HTTP/1.1"
			if scheme == "https" {
				want = "hello site.example over HTTP/2.0"
			}
			if body != want {
				t.Errorf("%s %s: body %q, want %q", network, scheme, body, want)
			}
			e := n.Ledger().Entries()
			last := e[len(e)-1]
			if last.Phone != "phone-1" || last.TLS != (r.TLS != nil) || last.URL != scheme+"://site.example/path?q=1" {
				t.Errorf("%s %s: ledger has %+v", network, scheme, last)
			}
			if last.Remote.Addr().Is4() != (network == "tcp4") {
				t.Errorf("%s: request came from %s", network, last.Remote)
			}
		}
	}
}

func TestDialPrefersIPv6AndFallsBack(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "both.example", Handler: hello()})
	addHost(t, n, internet.HostConfig{Name: "four.example", NoV6: true, Handler: hello()})
	phone := attach(t, n, "p")
	c, err := phone.Dial(t.Context(), appUID, "tcp", "both.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if a := c.RemoteAddr().(*net.TCPAddr); a.IP.To4() != nil {
		t.Errorf("connected to %s, want IPv6 first", a)
	}
	d, err := phone.Dial(t.Context(), appUID, "tcp", "four.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := phone.Dial(t.Context(), appUID, "tcp6", "four.example:80"); err == nil {
		t.Error("tcp6 reached a host that has no IPv6 address")
	}
}

func TestDialFallsBackFromAHangingAddress(t *testing.T) {
	n := newWorld(t)
	v6 := netip.MustParseAddr("2001:db8:203::66")
	addHost(t, n, internet.HostConfig{Name: "half.example", V6: v6, Handler: hello()})
	phone := attach(t, n, "p")
	if err := n.SetReachable(v6.String(), false); err != nil {
		t.Fatal(err)
	}
	c, err := phone.Dial(t.Context(), appUID, "tcp", "half.example:80")
	if err != nil {
		t.Fatal(err)
	}
	if a := c.RemoteAddr().(*net.TCPAddr); a.IP.To4() == nil {
		t.Errorf("connected to %s, which is out of reach", a)
	}
	c.Close()
	if n.Unroutable() == 0 {
		t.Error("IPv6 was not tried, or its loss not counted")
	}
	// The loser is given up, not left to try on.
	until(t, "no attempt left", func() bool {
		for _, s := range phone.Sockets() {
			if s.State == internet.StateSynSent {
				return false
			}
		}
		return true
	})
	if err := n.SetReachable("half.example", false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := phone.Dial(ctx, appUID, "tcp", "half.example:80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a host out of reach: %v", err)
	}
	if err := n.SetReachable("half.example", true); err != nil {
		t.Fatal(err)
	}
	if body, _ := get(t, client(t, n, phone, "tcp6"), "http://half.example/"); body == "" {
		t.Error("no answer after the fault")
	}
	for _, nobody := range []string{"nobody.example", "192.0.2.1"} {
		if err := n.SetReachable(nobody, false); err == nil {
			t.Errorf("%s was found", nobody)
		}
	}
}

func TestDialErrorsAreTheSystems(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	phone := attach(t, n, "p")

	_, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:81")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: %v", err)
	}
	_, err = phone.Dial(t.Context(), appUID, "tcp", "nobody.example:80")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("unknown name: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = phone.Dial(ctx, appUID, "tcp", "192.0.2.1:80")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("address without a host: %v", err)
	}
	until(t, "packets to an address without a host are counted", func() bool { return n.Unroutable() > 0 })
	for _, bad := range []string{"site.example", "site.example:x", "site.example:99999", ":::80", "a..b:80", strings.Repeat("a", 300) + ":80"} {
		if _, err := phone.Dial(t.Context(), appUID, "tcp", bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
	phone.SetUp(false)
	_, err = phone.Dial(t.Context(), appUID, "tcp", "203.0.113.1:80")
	if !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("radio off: %v", err)
	}
}

func TestRadioOffResetsConnections(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	phone := attach(t, n, "p")
	c, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := phone.Counters()["wlan0"]
	phone.SetUp(false)
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read with the radio off: %v", err)
	}
	after := phone.Counters()["wlan0"]
	if after.TxBytes != before.TxBytes || after.RxBytes != before.RxBytes {
		t.Errorf("bytes passed with the radio off: %+v, %+v", before, after)
	}
	phone.SetUp(true)
	if body, _ := get(t, client(t, n, phone, "tcp"), "http://site.example/"); !strings.HasPrefix(body, "hello") {
		t.Errorf("radio on again: %q", body)
	}
}

func TestTLSNeedsTheWorldsRoot(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Aliases: []string{"*.site.example"}, Handler: hello()})
	phone := attach(t, n, "p")
	dial := func(name string, pool *x509.CertPool) error {
		raw, err := phone.Dial(t.Context(), appUID, "tcp", "site.example:443")
		if err != nil {
			t.Fatal(err)
		}
		c := tls.Client(raw, &tls.Config{ServerName: name, RootCAs: pool})
		defer c.Close()
		return c.HandshakeContext(t.Context())
	}
	if err := dial("site.example", roots(t, n)); err != nil {
		t.Errorf("with the root: %v", err)
	}
	if err := dial("www.site.example", roots(t, n)); err != nil {
		t.Errorf("wildcard with the root: %v", err)
	}
	var unknown x509.UnknownAuthorityError
	if err := dial("site.example", x509.NewCertPool()); !errors.As(err, &unknown) {
		t.Errorf("without the root: %v", err)
	}
	var wrong x509.HostnameError
	if err := dial("other.example", roots(t, n)); !errors.As(err, &wrong) {
		t.Errorf("another name: %v", err)
	}
	until(t, "four handshakes in the ledger", func() bool { return len(n.Ledger().Connections()) == 4 })
	var refused []string
	for _, c := range n.Ledger().Connections() {
		if c.Failure != "" {
			refused = append(refused, c.SNI)
		}
	}
	if fmt.Sprint(refused) != "[site.example other.example]" {
		t.Errorf("handshakes that the hosts know to have failed: %v", refused)
	}
}

func TestResolverOnTheWire(t *testing.T) {
	n := newWorld(t)
	v4, v6 := netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("2001:db8:203::77")
	addHost(t, n, internet.HostConfig{Name: "Both.Example", V4: v4, V6: v6})
	addHost(t, n, internet.HostConfig{Name: "six.example", NoV4: true})
	phone := attach(t, n, "p")

	addrs, err := phone.Resolve(t.Context(), appUID, "both.example")
	if err != nil || fmt.Sprint(addrs) != "[2001:db8:203::77 203.0.113.77]" {
		t.Errorf("both.example: %v, %v", addrs, err)
	}
	if addrs, err := phone.Resolve(t.Context(), appUID, "six.example."); err != nil || len(addrs) != 1 || !addrs[0].Is6() {
		t.Errorf("six.example: %v, %v", addrs, err)
	}
	var dns *net.DNSError
	if _, err := phone.Resolve(t.Context(), appUID, "nonce123.example"); !errors.As(err, &dns) || !dns.IsNotFound {
		t.Errorf("unknown name: %v", err)
	}
	want := []string{
		"p AAAA both.example [2001:db8:203::77] 0", "p A both.example [203.0.113.77] 0",
		"p AAAA six.example [2001:db8:203::1] 0", "p A six.example [] 0",
		"p AAAA nonce123.example [] 3", "p A nonce123.example [] 3",
	}
	var got []string
	for _, q := range n.Ledger().Questions() {
		got = append(got, fmt.Sprint(q.Phone, " ", q.Type, " ", q.Name, " ", q.Answers, " ", q.RCode))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("questions in the ledger:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// A cached name asks nothing; a flushed cache asks again.
	if _, err := phone.Resolve(t.Context(), appUID, "BOTH.example"); err != nil {
		t.Error(err)
	}
	if q := n.Ledger().Questions(); len(q) != len(want) {
		t.Errorf("a cached name made %d questions", len(q)-len(want))
	}
	phone.SetUp(false)
	phone.SetUp(true)
	if _, err := phone.Resolve(t.Context(), appUID, "both.example"); err != nil {
		t.Error(err)
	}
	if q := n.Ledger().Questions(); len(q) != len(want)+2 {
		t.Errorf("a flushed name made %d questions", len(q)-len(want))
	}
}

func TestManyPhonesAtOnce(t *testing.T) {
	const phones = 64
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			t.Error(err)
		}
	})})
	var wg sync.WaitGroup
	for i := range phones {
		phone := attach(t, n, fmt.Sprintf("phone-%d", i))
		c := client(t, n, phone, []string{"tcp", "tcp4"}[i%2])
		wg.Go(func() {
			want := strings.Repeat(fmt.Sprintf("body of %d. ", i), 5000)
			r, err := c.Post("https://site.example/", "text/plain", strings.NewReader(want))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != want {
				t.Errorf("phone %d: %d bytes of %d: %v", i, len(got), len(want), err)
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	addrs := map[netip.Addr]string{}
	for _, e := range n.Ledger().Entries() {
		seen[e.Phone]++
		addrs[e.Remote.Addr()] = e.Phone
		if !strings.HasPrefix(string(e.Body), "body of "+strings.TrimPrefix(e.Phone, "phone-")+". ") {
			t.Errorf("%s sent %.20q", e.Phone, e.Body)
		}
	}
	if len(seen) != phones || len(addrs) != phones {
		t.Errorf("%d phones at %d addresses", len(seen), len(addrs))
	}
}

func TestCloseReleasesEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	n, err := internet.New(context.Background(), internet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	stream := make(chan struct{})
	addHost(t, n, internet.HostConfig{Name: "push.example", Stream: func(_ context.Context, c net.Conn) {
		close(stream)
		_, _ = io.Copy(io.Discard, c)
	}})
	handling := make(chan struct{})
	addHost(t, n, internet.HostConfig{Name: "slow.example", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(handling)
		<-r.Context().Done()
	})})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.SOCKS(context.Background(), ln); err != nil {
			t.Error(err)
		}
	})
	for i := range 4 {
		phone := attach(t, n, fmt.Sprint(i))
		phone.Tap("any", func(time.Time, []byte) {})
		get(t, client(t, n, phone, "tcp"), "https://site.example/")
		if _, err := phone.Listen(0, "tcp", "127.0.0.1:99"); err != nil {
			t.Fatal(err)
		}
	}
	phone := attach(t, n, "last")
	c, err := phone.Dial(t.Context(), appUID, "tcp", "push.example:80")
	if err != nil {
		t.Fatal(err)
	}
	<-stream
	wg.Go(func() {
		if r, err := client(t, n, phone, "tcp").Get("https://slow.example/"); err == nil {
			r.Body.Close() // The handler may still have said a last word.
		}
	})
	<-handling
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its world")
	}
	wg.Wait()
	if _, err := n.Attach(internet.StackConfig{}); !errors.Is(err, internet.ErrClosed) {
		t.Errorf("attach after close: %v", err)
	}
	if err := n.AddHost(internet.HostConfig{Name: "x.example"}); !errors.Is(err, internet.ErrClosed) {
		t.Errorf("add host after close: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	until(t, "all goroutines ended", func() bool {
		if runtime.NumGoroutine() <= before {
			return true
		}
		http.DefaultClient.CloseIdleConnections()
		return false
	})
}

func TestDetachedPhoneLeavesItsAddress(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	a := attach(t, n, "a")
	cfg := internet.StackConfig{Name: "b", V4: a.Addrs("wlan0")[0], V6: a.Addrs("wlan0")[1], MAC: a.MAC()}
	if _, err := n.Attach(cfg); err == nil {
		t.Error("two phones got one address")
	}
	a.Close()
	a.Close()
	if _, err := a.Dial(t.Context(), 0, "tcp", "site.example:80"); !errors.Is(err, internet.ErrClosed) {
		t.Errorf("dial of a detached phone: %v", err)
	}
	b, err := n.Attach(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := get(t, client(t, n, b, "tcp"), "http://site.example/"); body == "" {
		t.Error("no answer to the second phone")
	}
	if _, err := n.Attach(internet.StackConfig{MAC: net.HardwareAddr{1, 2}}); err == nil {
		t.Error("a hardware address of two bytes was taken")
	}
}
