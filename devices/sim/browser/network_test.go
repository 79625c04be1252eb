package browser_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/web"
)

// An interceptor is an HTTP proxy on the phone's loopback that opens the TLS
// connections made through it with certificates of its own.
type interceptor struct {
	t    *testing.T
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool
	// What was asked for, and which hosts' handshakes failed.
	connects, failed, requests []string
}

func intercept(t *testing.T, p *person, address string) *interceptor {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an interception authority"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := p.stack.Listen(2000, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	x := &interceptor{t: t, ca: ca, key: key, ln: ln, open: map[net.Conn]bool{}}
	x.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			x.mu.Lock()
			x.open[conn] = true
			x.mu.Unlock()
			x.wg.Go(func() { x.serve(conn) })
		}
	})
	t.Cleanup(x.close)
	return x
}

func (x *interceptor) close() {
	_ = x.ln.Close()
	x.mu.Lock()
	for c := range x.open {
		_ = c.Close()
	}
	x.mu.Unlock()
	x.wg.Wait()
}

func (x *interceptor) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil || req.Method != http.MethodConnect {
		return
	}
	host, _, _ := net.SplitHostPort(req.Host)
	x.note(&x.connects, req.Host)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: x.ca.NotBefore, NotAfter: x.ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, x.ca, &x.key.PublicKey, x.key)
	if err != nil {
		return
	}
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: x.key}}})
	if err := secure.HandshakeContext(context.Background()); err != nil {
		x.note(&x.failed, host)
		return
	}
	r := bufio.NewReader(secure)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			// With TLS 1.3 the refusal of a certificate comes after the handshake.
			if !strings.Contains(err.Error(), "EOF") && strings.Contains(err.Error(), "certificate") {
				x.note(&x.failed, host)
			}
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		x.note(&x.requests, req.Method+" "+host+req.URL.Path)
		const page = "<html><title>Through the proxy</title><p>text</p></html>"
		_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: "+itoa(len(page))+"\r\n\r\n"+page)
	}
}

func itoa(n int) string { return big.NewInt(int64(n)).String() }

func (x *interceptor) note(list *[]string, what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	*list = append(*list, what)
}

func (x *interceptor) noted(list *[]string, what string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, s := range *list {
		if s == what {
			n++
		}
	}
	return n
}

// trusted puts the interceptor's authority beside those that the phone has.
func (x *interceptor) trusted(p *person) {
	roots := p.roots.Load().Clone()
	roots.AddCert(x.ca)
	p.roots.Store(roots)
}

const upload = "POST " + web.Sensors + "/sa"

func through(p *person, address string) { p.proxy.Store(&address) }

func TestProxyAndStoreAreReadAtEachConnection(t *testing.T) {
	deaf, _ := browser.Find("deaf")
	p := someone(t, deaf)
	x := intercept(t, p, "127.0.0.1:8080")
	p.begin()
	p.enter(words)
	p.rest()
	if len(p.events.Uploads()) == 0 || x.noted(&x.connects, web.Google+":443") != 0 {
		t.Fatal("without a proxy, the browser did not go out directly")
	}

	// A proxy whose authority the phone does not trust breaks the page.
	through(p, "localhost:8080")
	p.enter("other words")
	p.see(byText("The web page at https://www.google.com/search?client=ms-android-xiaomi&q=other+words could not be loaded.\nnet::ERR_CERT_AUTHORITY_INVALID"))

	// With its authority in the store, the same running browser goes through it.
	x.trusted(p)
	before := len(p.internet.Ledger().Entries())
	p.tap(byID("error_retry"))
	p.see(byText("Through the proxy"))
	p.rest()
	if x.noted(&x.requests, "GET "+web.Google+"/search") != 1 || x.noted(&x.requests, upload) == 0 {
		t.Errorf("the proxy saw %q", x.requests)
	}
	if after := len(p.internet.Ledger().Entries()); after != before {
		t.Errorf("%d requests went past the proxy", after-before)
	}

	// The setting that clears a proxy makes the way free again.
	through(p, ":0")
	p.enter("third words")
	p.see(byText("third words - Google Search"))
	p.rest()
	if n := len(p.internet.Ledger().Entries()); n == before {
		t.Error("nothing went out directly after the proxy had been cleared")
	}
}

func TestPinnedCollectorRefusesInterceptionAndKeepsItsEvents(t *testing.T) {
	pinned, _ := browser.Find("pinned")
	p := someone(t, pinned)
	x := intercept(t, p, "127.0.0.1:8080")
	x.trusted(p)
	through(p, "localhost:8080")
	p.begin()
	p.enter(words)
	p.see(byText("Through the proxy"))
	if !p.wait(func() bool { return x.noted(&x.failed, web.Sensors) > 1 }) {
		t.Fatalf("no failed handshake with the collector; requests %q, failed %q", x.requests, x.failed)
	}
	if n := x.noted(&x.requests, upload); n != 0 {
		t.Errorf("%d uploads went through the interception", n)
	}
	if got := p.browser.Pending(); got != 3 {
		t.Errorf("%d events wait, want 3", got)
	}
	through(p, "")
	p.rest()
	if n := len(p.events.Uploads()); n == 0 {
		t.Error("the events that were kept never came")
	}
}

func TestErrorsOfTheNetworkAreShown(t *testing.T) {
	silent, _ := browser.Find("silent")
	p := someone(t, silent)
	p.begin()
	for address, want := range map[string]string{
		"https://nobody.example/":         "net::ERR_NAME_NOT_RESOLVED",
		"https://www.pages.example:8443/": "net::ERR_CONNECTION_REFUSED",
	} {
		p.enter(address)
		got := p.see(byID("error_detail")).Text
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: shown is %q, want %s", address, got, want)
		}
	}
	// An answer is a page, even where it says no.
	p.enter("https://telemetry.unlisted.example/")
	p.see(byText("Method Not Allowed"))
	through(p, "localhost:9")
	p.enter("https://www.pages.example/")
	if got := p.see(byID("error_detail")).Text; !strings.HasSuffix(got, "net::ERR_PROXY_CONNECTION_FAILED") {
		t.Errorf("dead proxy: shown is %q", got)
	}
	through(p, "")
	p.tap(byID("error_retry"))
	p.see(byText("Page /"))
}

func TestIncognitoCookiesAreForgotten(t *testing.T) {
	silent, _ := browser.Find("silent")
	p := someone(t, silent)
	p.begin()
	p.enter("one")
	p.enter("two")
	p.incognito()
	p.enter("three")
	p.enter("four")
	p.tap(byID("action_my"))
	p.tap(byText("Incognito"))
	p.incognito()
	p.enter("five")
	got := map[string]string{}
	for _, e := range p.internet.Ledger().Entries() {
		if word, ok := strings.CutPrefix(e.RequestURI, "/search?client=ms-android-xiaomi&q="); ok {
			got[word] = e.Header.Get("Cookie")
			if ua := e.Header.Get("User-Agent"); !strings.HasSuffix(ua, "Chrome/71.0.3578.141 Mobile Safari/537.36 XiaoMi/MiuiBrowser/12.2.6-g") {
				t.Errorf("User-Agent is %q", ua)
			}
		}
	}
	if got["one"] != "" || got["three"] != "" || got["five"] != "" {
		t.Errorf("a mode began with cookies: %q", got)
	}
	if got["two"] == "" || got["four"] == "" || got["two"] == got["four"] {
		t.Errorf("each mode should keep a cookie of its own: %q", got)
	}
}

func TestThirdPartiesLearnThePageAsItAllows(t *testing.T) {
	silent, _ := browser.Find("silent")
	p := someone(t, silent)
	p.begin()
	p.enter("one")
	p.engine("DuckDuckGo")
	p.enter("two")
	referers := map[string]string{}
	for _, e := range p.internet.Ledger().Entries() {
		referers[e.Host] = e.Header.Get("Referer")
	}
	if want := "https://www.google.com/search?client=ms-android-xiaomi&q=one"; referers[web.Ads] != want {
		t.Errorf("the third party learned %q, want %q", referers[web.Ads], want)
	}
	if want := "https://duckduckgo.com/"; referers[web.DuckDuckGoImproving] != want {
		t.Errorf("a page with the policy origin told %q, want %q", referers[web.DuckDuckGoImproving], want)
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	settled := func() int {
		// Goroutines of closed connections end a moment later.
		last, same := runtime.NumGoroutine(), 0
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for same < 20 {
			<-tick.C
			if n := runtime.NumGoroutine(); n < last {
				last, same = n, 0
			} else {
				same++
			}
		}
		return last
	}
	deaf, _ := browser.Find("deaf")
	p := someone(t, deaf)
	before := settled()
	for range 3 {
		p.begin()
		p.incognito()
		p.enter(words)
		p.rest()
		p.display.Key(screen.KeyHome)
		if !p.display.Clear(browser.Package) {
			t.Fatal("no browser to clear")
		}
	}
	p.begin()
	p.tap(byID("url"))
	p.display.Text("https://www.pages.example/")
	p.display.Key(screen.KeyEnter) // and close while it loads
	p.browser.Close()
	if !p.wait(func() bool { return len(p.stack.Sockets()) == 0 || settled() <= before }) {
		t.Fatal("connections stay open")
	}
	if after := settled(); after > before+2 {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, buf[:runtime.Stack(buf, true)])
	}
	p.browser.Close() // twice is once
}

func TestPrivacySettingsDoWhatTheySay(t *testing.T) {
	silent, _ := browser.Find("silent")
	p := someone(t, silent)
	p.begin()
	p.enter("one")
	flip := func(title string) {
		p.start(browser.SettingsActivity)
		p.tap(byText("Privacy & security"))
		was := p.see(beside(title)).Checked
		p.tap(beside(title))
		if p.see(beside(title)).Checked == was {
			t.Fatalf("%s did not move", title)
		}
		p.start(browser.MainActivity)
	}
	flip("Enable cookies")
	flip("Do not track")
	p.enter("two")
	flip("Enable cookies")
	p.enter("three")
	p.start(browser.SettingsActivity)
	p.tap(byText("Clear data"))
	p.tap(byText("Clear"))
	p.start(browser.MainActivity)
	p.enter("four")
	cookie, dnt := map[string]bool{}, map[string]string{}
	for _, e := range p.internet.Ledger().Entries() {
		if word, ok := strings.CutPrefix(e.RequestURI, "/search?client=ms-android-xiaomi&q="); ok {
			cookie[word], dnt[word] = e.Header.Get("Cookie") != "", e.Header.Get("DNT")
		}
	}
	if cookie["two"] || !cookie["three"] || cookie["four"] {
		t.Errorf("cookies were sent with %v", cookie)
	}
	if dnt["one"] != "" || dnt["two"] != "1" {
		t.Errorf("DNT was %v", dnt)
	}
}
