package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/proxy"
)

func TestBeacon(t *testing.T) {
	w := newWorld(t)
	r := w.start(t, proxy.Options{})
	b, err := r.s.Beacon(t.Context(), "abc123")
	if err != nil {
		t.Fatal(err)
	}
	if b.Name != "http://beacon.offproof.invalid/abc123" || b.Nonce != "abc123" || b.Seen.Before(b.Sent) || b.Sent.IsZero() {
		t.Errorf("beacon %+v", b)
	}
	trace, err := r.s.Read(t.Context())
	if err != nil || len(trace.Beacons) != 1 || len(trace.Exchanges) != 1 {
		t.Fatalf("%+v %v", trace, err)
	}
	if x := trace.Exchanges[0]; x.URL != b.Name || x.Status != 204 || x.End.IsZero() || x.Flow != trace.Flows[0].ID {
		t.Errorf("%s", show(trace.Exchanges))
	}
	if f := trace.Flows[0]; f.Host != proxy.BeaconHost || f.Failure != "" {
		t.Errorf("flow %+v", f)
	}
	if len(w.asked) > 0 {
		t.Errorf("the beacon left the host: %q", w.asked)
	}
	if _, err := r.s.Beacon(t.Context(), "../x"); err == nil {
		t.Error("a nonce for the shell was accepted")
	}
	client, _ := r.client(false)
	if resp, _ := do(t, client, "GET", "http://beacon.offproof.invalid/stranger", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a beacon nobody sent: %d", resp.StatusCode)
	}
}

func TestBeaconThatDoesNotArrive(t *testing.T) {
	w := newWorld(t)
	r := w.start(t, proxy.Options{BeaconTries: 2, BeaconWait: 20 * time.Millisecond})
	r.phone.deaf = true
	if _, err := r.s.Beacon(t.Context(), "abc"); !errors.Is(err, proxy.ErrBeaconUnseen) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("beacon: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.s.Beacon(ctx, "abc"); !errors.Is(err, context.Canceled) {
		t.Errorf("beacon: %v", err)
	}
}

func TestOrderOnThePhone(t *testing.T) {
	w := newWorld(t)
	r := w.start(t, proxy.Options{})
	r.stop()
	if want := []string{"tunnel 8080", "trust", "proxy 127.0.0.1:8080", "restore"}; !slices.Equal(r.phone.did, want) {
		t.Errorf("did %q", r.phone.did)
	}
	r.stop()
	if len(r.phone.did) != 4 {
		t.Errorf("a second stop did %q", r.phone.did)
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "proxy-ca.pem"))
	if err != nil || !bytes.Equal(b, r.phone.pem) || bytes.Contains(b, []byte("KEY")) {
		t.Errorf("certificate file: %v", err)
	}
	block, _ := pem.Decode(b)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !ca.IsCA || !ca.MaxPathLenZero {
		t.Errorf("certificate %+v %v", ca, err)
	}
	for i, fail := range []string{"tunnel 8080", "trust", "proxy 127.0.0.1:8080"} {
		p := &phone{t: t, fail: fail}
		noLeaks(t, func() {
			if _, err := proxy.New(p, proxy.Options{}).Start(t.Context(), t.TempDir()); !errors.Is(err, errPhone) {
				t.Errorf("start: %v", err)
			}
		})
		if len(p.did) != i+2 || p.did[len(p.did)-1] != "restore" {
			t.Errorf("did %q", p.did)
		}
		if c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.addr()); err == nil && p.port != 0 {
			_ = c.Close()
			t.Error("it still listens")
		}
	}
	p := &phone{t: t, fail: "restore"}
	s, err := proxy.New(p, proxy.Options{}).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Stop(ctx); !errors.Is(err, errPhone) {
		t.Errorf("stop hides that the phone was not restored: %v", err)
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name  string
		p     *phone
		o     proxy.Options
		words string
	}{
		{"can", &phone{root: true}, proxy.Options{SOCKS5: w.socks}, ""},
		{"no root", &phone{}, proxy.Options{}, "root it"},
		{"no nc", &phone{root: true, noNC: true}, proxy.Options{}, "nc"},
		{"no uplink", &phone{root: true}, proxy.Options{SOCKS5: "127.0.0.1:1"}, "start it"},
		{"no port", &phone{root: true}, proxy.Options{DevicePort: 70000}, "correct the option"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.p
			a, err := proxy.New(p, c.o).Probe(t.Context())
			if err != nil || a.OK != (c.words == "") || !strings.Contains(a.Reason, c.words) || a.OK == (a.Sees == "") {
				t.Errorf("%+v %v", a, err)
			}
			if len(p.did) > 0 {
				t.Errorf("the probe did %q", p.did)
			}
		})
	}
}

func TestTheListenerDies(t *testing.T) {
	w := newWorld(t)
	w.serve("site.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{BeaconWait: 20 * time.Millisecond})
	client, _ := r.client(false)
	do(t, client, "GET", "https://site.test/before", nil)
	proxy.Kill(r.s)
	<-r.s.Done()
	if _, err := r.s.Beacon(t.Context(), "abc"); !errors.Is(err, proxy.ErrEnded) {
		t.Errorf("beacon: %v", err)
	}
	trace := r.stop()
	if !trace.Health.Truncated || trace.Health.Died.IsZero() || len(trace.Health.Problems) == 0 || len(trace.Exchanges) != 1 {
		t.Errorf("%+v", trace.Health)
	}
	if !slices.Contains(r.phone.did, "restore") {
		t.Error("the phone was not restored")
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	noLeaks(t, func() {
		w := newWorld(t)
		w.serve("site.test:443", echo, "h2", "http/1.1")
		hang := make(chan struct{})
		defer close(hang)
		w.serve("hang.test:443", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }), "h2", "http/1.1")
		r := w.start(t, proxy.Options{})
		for _, h2 := range []bool{false, true} {
			client, _ := r.client(h2)
			do(t, client, "GET", "https://site.test/", nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://hang.test/", nil)
				if resp, err := client.Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}()
		}
		r.connect("site.test:443") // silent
		r.secure("site.test:443", "http/1.1")
		r.until("four exchanges", func(tr capture.Trace) bool { return len(tr.Exchanges) == 4 })
		for _, x := range r.stop().Exchanges {
			if strings.HasPrefix(x.URL, "https://hang") && (x.Failure == "" || !x.End.IsZero()) {
				t.Errorf("%s", show([]capture.Exchange{x}))
			}
		}
	})
}

// TestPassThrough: the TLS of a host that is passed on is the server's own, and
// counts as a conversation that nobody read. Others are read as ever.
func TestPassThrough(t *testing.T) {
	w := newWorld(t)
	w.serve("api.pinned.test:443", echo, "http/1.1")
	w.serve("other.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{PassThrough: []string{"pinned.test"}})
	conn := r.connect("api.pinned.test:443")
	own := tls.Client(conn, &tls.Config{ServerName: "api.pinned.test", RootCAs: w.roots, MinVersion: tls.VersionTLS12})
	if err := own.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("the server's own certificate did not come through: %v", err)
	}
	if _, err := io.WriteString(own, "POST /x HTTP/1.1\r\nHost: api.pinned.test\r\nContent-Length: 7\r\nConnection: close\r\n\r\nplanted"); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(own)
	if err != nil || !strings.HasSuffix(string(reply), "planted") {
		t.Fatalf("reply %q, %v", reply, err)
	}
	_ = own.Close()
	client, _ := r.client(false)
	do(t, client, "GET", "https://other.test/", nil)
	r.exchange()
	trace := r.stop()
	passed := slices.IndexFunc(trace.Flows, func(f capture.Flow) bool { return f.Host == "api.pinned.test" })
	if passed < 0 || len(trace.Exchanges) != 1 || trace.Exchanges[0].URL != "https://other.test/" {
		t.Fatalf("flows %+v, exchanges %d", trace.Flows, len(trace.Exchanges))
	}
	if f := trace.Flows[passed]; f.App != "tls" || f.Visibility != capture.Metadata || f.Failure != "" || f.BytesUp < 300 {
		t.Errorf("flow %+v", f)
	}
}

// TestKeyLog: the secrets of both sides of an intercepted conversation are
// written where only their owner reads them.
func TestKeyLog(t *testing.T) {
	w := newWorld(t)
	w.serve("site.test:443", echo, "http/1.1")
	r := w.start(t, proxy.Options{})
	client, _ := r.client(false)
	do(t, client, "GET", "https://site.test/", nil)
	r.exchange()
	trace := r.stop()
	text, err := os.ReadFile(trace.Keys)
	if err != nil {
		t.Fatal(err)
	}
	randoms := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if part := strings.Fields(line); len(part) == 3 && part[0] == "CLIENT_TRAFFIC_SECRET_0" {
			randoms[part[1]] = true
		}
	}
	info, err := os.Stat(trace.Keys)
	if err != nil || info.Mode().Perm() != 0o600 || len(randoms) != 2 {
		t.Errorf("mode %v, secrets of %d conversations: %v", info.Mode(), len(randoms), err)
	}
}
