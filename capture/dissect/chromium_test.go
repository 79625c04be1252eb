// A browser, tcpdump and tshark are processes of their own, and so are the servers
// here: the race detector of the test's own process sees none of it.

//go:build !race

package dissect_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// browsed is the page that Chromium opens: it makes requests of every kind, one
// after the other, and tells the server when it has done.
const browsed = `<!doctype html><title>browsed</title><script>
const words = "planted words, ".repeat(8000);
async function all() {
  for (const [url, body] of [
    ["http://plain.example:8080/one"], ["http://plain.example:8080/post", words], ["http://[::1]:8080/six"],
    ["https://two.example:8446/one"], ["https://two.example:8446/post", words], ["https://[::1]:8446/six"],
    ["https://three.example:8447/one?q=planted"], ["https://three.example:8447/post", words], ["https://six.example:8447/post", words],
  ]) {
    try { await (await fetch(url, body ? {method: "POST", body} : {})).text() } catch (e) { await fetch("/failed?" + encodeURIComponent(url + " " + e)) }
  }
  await Promise.all([...Array(20).keys()].map(i => fetch("https://three.example:8447/many/" + i, {method: "POST", body: words + i}).then(r => r.text())));
  for (let i = 0; i < 10; i++) await (await fetch("https://table.example:8448/table/" + i + "?q=planted")).text();
  await fetch("/done");
}
all();
</script>`

// TestBrowserServer is the servers of TestChromium, as a process of its own: HTTP/1,
// HTTP/2, HTTP/3, and a resolver that knows their names.
func TestBrowserServer(t *testing.T) {
	if os.Getenv(serveVariable) == "" {
		return
	}
	cert, err := tls.LoadX509KeyPair(os.Getenv(serveVariable), os.Getenv(serveVariable))
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		switch r.URL.Path {
		case "/page":
			_, _ = io.WriteString(w, browsed)
		case "/failed":
			fmt.Printf("failed %s\n", r.URL.RawQuery) //nolint:forbidigo // It is what the process says.
		case "/done":
			fmt.Println("done") //nolint:forbidigo // As above.
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			// So much that its datagrams are recorded joined over loopback.
			_, _ = fmt.Fprintf(w, "%d bytes over %s%s", n, r.Proto, strings.Repeat(", and more", 2000))
		}
	})
	resolver, err := net.ListenPacket("udp", ":53")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	two, err := net.Listen("tcp", ":8446")
	if err != nil {
		t.Fatal(err)
	}
	three, err := net.ListenPacket("udp", ":8447")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	table, err := quic.ListenAddr(":8448", http3.ConfigureTLSConfig(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	go resolve(resolver)
	go serveTable(t, table)
	go func() { _ = http.Serve(plain, handler) }() // #nosec G114 -- it lives for a test
	go func() {
		s := &http.Server{Handler: handler, TLSConfig: config} // #nosec G112 -- it lives for a test
		_ = s.ServeTLS(two, "", "")
	}()
	_, _ = os.Stdout.WriteString("ready\n")
	_ = (&http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(config)}).Serve(three)
}

// serveTable is a server of HTTP/3 that lets its clients fill a table of fields,
// which the library's does not. It reads no request and answers all of them.
func serveTable(t *testing.T, ln *quic.Listener) {
	reply := []byte(h3Header(t, ":status", "200", "access-control-allow-origin", "*") + h3Frame(0, "fine"))
	for {
		conn, err := ln.Accept(t.Context())
		if err != nil {
			return
		}
		go func() {
			control, err := conn.OpenUniStream()
			if err != nil {
				return
			}
			// A capacity of 4,096 bytes, and 16 requests that may wait for entries.
			_, _ = control.Write([]byte("\x00" + h3Frame(4, "\x01\x50\x00\x07\x10")))
			for {
				stream, err := conn.AcceptStream(t.Context())
				if err != nil {
					return
				}
				go func() {
					_, _ = io.Copy(io.Discard, stream)
					_, _ = stream.Write(reply)
					_ = stream.Close()
				}()
			}
		}()
	}
}

// resolve answers questions for the names of the test with loopback, and says of
// all others that they are not there.
func resolve(conn net.PacketConn) {
	b := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type, TTL: 60}
		six := strings.HasPrefix(q.Name.String(), "six.")
		switch {
		case !strings.HasSuffix(q.Name.String(), ".example."):
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA && !six:
			m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		case q.Type == dnsmessage.TypeAAAA && six:
			m.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{15: 1}}}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from)
		}
	}
}

// TestChromium records a browser with tcpdump in a network namespace of its own:
// nothing that tshark sees in it is missing here.
func TestChromium(t *testing.T) {
	tcpdump, chromium := peers.Require(t, "tcpdump"), peers.Require(t, "chromium")
	peers.Require(t, "tshark")
	ip := peers.Require(t, "ip")
	ns := peers.NewNamespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	useResolver(t, ns.Name)
	// Chromium asks for addresses of IPv6 only where there is a way to them.
	for _, args := range [][]string{{"addr", "add", "2001:db8::1/128", "dev", "lo"}, {"-6", "route", "add", "default", "dev", "lo"}} {
		if out, err := ns.Command(ctx, ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}

	dir := t.TempDir()
	path, keys := filepath.Join(dir, "browsed.pcap"), filepath.Join(dir, "keys")
	identity, pin := identityFile(t, dir)
	dump := ns.Command(ctx, tcpdump, "-i", "lo", "-U", "-n", "-s", "70000", "-B", "65536", "-w", path)
	listening := waitFor(t, dump, dump.StderrPipe, "listening on")
	server := ns.Command(ctx, os.Args[0], "-test.run=^TestBrowserServer$", "-test.v")
	server.Env = append(os.Environ(), serveVariable+"="+identity)
	lines := said(t, server)
	<-listening
	if !waitLine(ctx, t, lines, "ready") {
		t.Fatal("the servers do not start")
	}
	browser := ns.Command(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--enable-quic", "--origin-to-force-quic-on=three.example:8447,six.example:8447,table.example:8448",
		"--ignore-certificate-errors-spki-list="+pin, "--ssl-key-log-file="+keys, "http://plain.example:8080/page")
	browser.Env = append(os.Environ(), "HOME="+dir)
	var noise bytes.Buffer
	browser.Stdout, browser.Stderr = &noise, &noise
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	done := waitLine(ctx, t, lines, "done")
	_ = browser.Process.Signal(os.Interrupt)
	_ = browser.Wait()
	if !done {
		t.Fatalf("Chromium did not open the page: %.2000s", noise.String())
	}
	record(ctx, t, ns, dump, path)
	_ = server.Process.Kill()
	_ = server.Wait()

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := os.ReadFile(keys)
	if err != nil {
		t.Fatal(err)
	}
	opened, b := withKeys(t, b, secrets)
	c := read(t, b, dissect.Options{})
	if c.Damaged || c.Health.Truncated || c.Health.SkippedBytes > 0 || len(c.Health.Doubts()) > 0 {
		t.Errorf("health %+v", c.Health)
	}
	checkBrowsed(t, c)
	compare(t, opened, factsOf(c), tsharkFacts(t, opened))
	noneMissing(t, c, opened)
}

// checkBrowsed checks the requests that the page made.
func checkBrowsed(t *testing.T, c *dissect.Capture) {
	t.Helper()
	words := strings.Repeat("planted words, ", 8000)
	want := map[string]string{}
	for _, host := range []string{"http://plain.example:8080 HTTP/1.1", "https://two.example:8446 HTTP/2.0", "https://three.example:8447 HTTP/3.0", "https://six.example:8447 HTTP/3.0"} {
		url, version, _ := strings.Cut(host, " ")
		want[url+"/post "+version] = words
	}
	for _, s := range []string{"http://[::1]:8080/six HTTP/1.1", "https://[::1]:8446/six HTTP/2.0", "https://three.example:8447/one?q=planted HTTP/3.0"} {
		want[s] = ""
	}
	for i := range 10 {
		want[fmt.Sprintf("https://table.example:8448/table/%d?q=planted HTTP/3.0", i)] = ""
	}
	for i := range 20 {
		want[fmt.Sprintf("https://three.example:8447/many/%d HTTP/3.0", i)] = fmt.Sprintf("%s%d", words, i)
	}
	for _, x := range c.Exchanges {
		body, ok := want[x.URL+" "+x.Version]
		if !ok {
			continue
		}
		if x.Method != http.MethodGet && string(x.RequestBody) != body || x.Status != http.StatusOK || x.RequestTruncated || x.ResponseTruncated || x.Failure != "" {
			t.Errorf("%s %s: status %d, %d bytes, %s", x.Method, x.URL, x.Status, len(x.RequestBody), x.Failure)
		}
		delete(want, x.URL+" "+x.Version)
	}
	for s := range want {
		t.Errorf("%s is not read", s)
	}
	for _, f := range c.Flows {
		if f.App == "quic" && (f.Visibility != capture.Plaintext || !strings.HasSuffix(f.Host, ".example")) {
			t.Errorf("flow %+v", f)
		}
	}
}

// useResolver makes programs in a namespace ask the resolver on loopback. It is
// ip that reads that file.
func useResolver(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join("/etc/netns", name)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // As in /etc.
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte("nameserver 127.0.0.1\n"), 0o644); err != nil { //nolint:gosec // As above.
		t.Fatal(err)
	}
}

// identityFile writes the certificate of the servers with its key, and returns the
// hash by which Chromium is told to trust it.
func identityFile(t *testing.T, dir string) (path, pin string) {
	t.Helper()
	cert, err := world()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	path = filepath.Join(dir, "identity.pem")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return path, base64.StdEncoding.EncodeToString(sum[:])
}

// said starts a program and returns the lines that it prints.
func said(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := make(chan string, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// waitLine waits for a line.
func waitLine(ctx context.Context, t *testing.T, lines <-chan string, want string) bool {
	t.Helper()
	for {
		select {
		case <-ctx.Done():
			return false
		case line, ok := <-lines:
			if !ok {
				return false
			}
			if line == want {
				return true
			}
			t.Log(line)
		}
	}
}
