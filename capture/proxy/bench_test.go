package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/proxy"
	"github.com/offproof/offproof/internal/peers"
)

// The three benchmarks make the same requests through three paths, each with
// TLS on both sides: the proxy under test, the standard library's reverse proxy
// (which records nothing), and mitmdump. "ratio" is the path's speed as a
// multiple of the reverse proxy's, measured in the same run.

// bench is one site named localhost, which all paths can reach.
type bench struct {
	w    *world
	site string // https URL
}

func newBench(b *testing.B) *bench {
	b.Helper()
	w := newWorld(b)
	w.serve("localhost:443", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		_, _ = io.WriteString(rw, "ok")
	}), "http/1.1")
	_, port, _ := net.SplitHostPort(w.hosts["localhost:443"])
	return &bench{w: w, site: "https://localhost:" + port + "/collect"}
}

// through is a client of a proxy, or of the site itself when there is none.
func through(b *testing.B, proxyAddr string, roots *x509.CertPool, keep bool) *http.Client {
	b.Helper()
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: !keep, MaxIdleConnsPerHost: 64, DisableCompression: true,
	}
	if proxyAddr != "" {
		// Go's own rule would pass the proxy by for loopback.
		tr.Proxy = func(*http.Request) (*url.URL, error) {
			return &url.URL{Scheme: "http", Host: proxyAddr}, nil
		}
	}
	b.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// rate makes requests on all cores and returns how many a second.
func rate(b *testing.B, client *http.Client, url string, n int) float64 {
	b.Helper()
	var failed atomic.Int64
	work := make(chan struct{})
	done := make(chan struct{})
	const workers = 8
	began := time.Now()
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for range work {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
				if err != nil {
					failed.Add(1)
					continue
				}
				resp, err := client.Do(req)
				if err != nil {
					failed.Add(1)
					continue
				}
				if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "ok" {
					failed.Add(1)
				}
				_ = resp.Body.Close()
			}
		}()
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	for range workers {
		<-done
	}
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d requests failed", n)
	}
	return float64(n) / time.Since(began).Seconds()
}

// reverse starts the standard library's reverse proxy in front of the site.
func (x *bench) reverse(b *testing.B, keep bool) string {
	b.Helper()
	site, err := url.Parse(x.site)
	if err != nil {
		b.Fatal(err)
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: site.Scheme, Host: site.Host}) },
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: x.w.roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: !keep, MaxIdleConnsPerHost: 64, DisableCompression: true,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ln := listen(b)
	s := &http.Server{Handler: rp, ReadHeaderTimeout: time.Minute, TLSConfig: x.w.tls("localhost", "http/1.1"), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.ServeTLS(ln, "", "") }()
	b.Cleanup(func() { _ = s.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	return "https://localhost:" + port + "/collect"
}

// mitmdump starts the peer and returns its address and its authority.
func (x *bench) mitmdump(b *testing.B) (string, *x509.CertPool) {
	b.Helper()
	program := peers.Require(b, "mitmdump")
	dir := b.TempDir()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.w.ca.Raw}), 0o600); err != nil {
		b.Fatal(err)
	}
	ln := listen(b)
	addr := ln.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = ln.Close()
	ctx, cancel := context.WithCancel(b.Context())
	cmd := exec.CommandContext(ctx, program, "-q", "--listen-host", "127.0.0.1", "-p", port,
		"--set", "confdir="+dir, "--set", "ssl_verify_upstream_trusted_ca="+roots)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	wait, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(filepath.Join(dir, "mitmproxy-ca-cert.pem"))
		if err == nil {
			var c net.Conn
			if c, err = (&net.Dialer{}).DialContext(wait, "tcp", addr); err == nil {
				_ = c.Close()
				pool := x509.NewCertPool()
				pool.AppendCertsFromPEM(text)
				return addr, pool
			}
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			b.Fatalf("mitmdump did not start: %v", err)
		}
	}
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

func BenchmarkRequests(b *testing.B) {
	for _, keep := range []bool{true, false} {
		name, n := "new", 300
		if keep {
			name, n = "kept", 4000
		}
		b.Run(name+"/proxy", func(b *testing.B) {
			x := newBench(b)
			r := startProxy(b, proxy.Options{Roots: x.w.roots, AllowLoopback: true})
			peer := through(b, "", x.w.roots, keep)
			peerURL := x.reverse(b, keep)
			client := through(b, r.phone.addr(), r.roots(), keep)
			var ours, theirs []float64
			for b.Loop() { // the two take turns, so that what else runs hits both
				ours = append(ours, rate(b, client, x.site, n))
				theirs = append(theirs, rate(b, peer, peerURL, n))
			}
			b.ReportMetric(median(ours), "requests/s")
			b.ReportMetric(median(ours)/median(theirs), "ratio-to-reverse-proxy")
			trace := r.stop()
			if len(trace.Exchanges) < n {
				b.Fatalf("%d exchanges were recorded", len(trace.Exchanges))
			}
		})
		b.Run(name+"/mitmdump", func(b *testing.B) {
			x := newBench(b)
			addr, roots := x.mitmdump(b)
			r := startProxy(b, proxy.Options{Roots: x.w.roots, AllowLoopback: true})
			ours := through(b, r.phone.addr(), r.roots(), keep)
			theirs := through(b, addr, roots, keep)
			var mine, peer []float64
			for b.Loop() {
				mine = append(mine, rate(b, ours, x.site, n))
				peer = append(peer, rate(b, theirs, x.site, max(n/10, 100)))
			}
			b.ReportMetric(median(peer), "requests/s")
			b.ReportMetric(median(mine)/median(peer), "times-faster")
		})
	}
}

// BenchmarkUpload measures the throughput of one large body, recorded up to its
// limit.
func BenchmarkUpload(b *testing.B) {
	for _, h2 := range []bool{false, true} {
		b.Run(fmt.Sprintf("h2 %v", h2), func(b *testing.B) {
			w := newWorld(b)
			w.serve("site.test:443", http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body)
			}), "h2", "http/1.1")
			r := w.start(b, proxy.Options{})
			client, _ := r.client(h2)
			const size = 32 << 20
			b.SetBytes(size)
			for b.Loop() {
				do(b, client, "POST", "https://site.test/", io.LimitReader(zeros{}, size))
			}
		})
	}
}
