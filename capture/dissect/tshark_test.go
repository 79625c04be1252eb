package dissect_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// library finds the captures that come with the gopacket module.
func library(t testing.TB) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gopacket/gopacket").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []string
	err = filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, _ os.DirEntry, err error) error {
		switch filepath.Ext(path) {
		case ".pcap", ".pcapng", ".cap":
			all = append(all, path)
		}
		return err
	})
	if err != nil || len(all) < 60 {
		t.Fatalf("found %d captures in the gopacket module: %v", len(all), err)
	}
	return all
}

// facts are what tshark and this package both say of a capture.
type facts struct {
	// packets counts all of them.
	packets int
	// tcp and udp count conversations.
	tcp, udp int
	// questions are the names and types that were asked, servers the names in
	// ClientHellos, hosts the Host fields of requests; each with its count.
	questions, servers, hosts map[string]int
}

// tshark asks tshark for the fields of a file, one row for each packet that
// passes the filter. A field that occurs several times is separated by commas.
func tshark(t testing.TB, path, filter string, fields ...string) [][]string {
	t.Helper()
	args := []string{"-n", "-r", path, "-Y", filter, "-T", "fields", "-E", "separator=\t", "-E", "aggregator=\x01"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), peers.Require(t, "tshark"), args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && !strings.Contains(stderr.String(), "cut short") && !strings.Contains(stderr.String(), "damaged or corrupt") {
		t.Fatalf("tshark %s: %v: %s", path, err, stderr.String())
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return rows
}

func values(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\x01")
}

// tsharkFacts are the facts as tshark sees them.
func tsharkFacts(t testing.TB, path string) facts {
	t.Helper()
	f := facts{questions: map[string]int{}, servers: map[string]int{}, hosts: map[string]int{}}
	tcp, udp := map[string]bool{}, map[string]bool{}
	type question struct{ stream, id, name, kind string }
	asked := map[question]bool{}
	for _, row := range tshark(t, path, "frame", "tcp.stream", "udp.stream", "dns.id", "dns.qry.name", "dns.qry.type", "tls.handshake.extensions_server_name", "http.host", "http.request", "icmp", "icmpv6", "http2.headers.authority") {
		f.packets++
		// What an ICMP error quotes is no packet of its own.
		if row[8] == "" && row[9] == "" {
			for _, s := range values(row[0]) {
				tcp[s] = true
			}
			for _, s := range values(row[1]) {
				udp[s] = true
			}
		}
		names, kinds := values(row[3]), values(row[4])
		for i, name := range names {
			if i >= len(kinds) || len(values(row[2])) == 0 {
				break
			}
			// A question and its answer are one lookup, and so is a repetition.
			q := question{row[0] + "/" + row[1], values(row[2])[0], name, kinds[i]}
			if !asked[q] {
				asked[q] = true
				f.questions[strings.ToLower(strings.ReplaceAll(name, "<Root>", ""))]++
			}
		}
		for _, s := range values(row[5]) {
			f.servers[s]++
		}
		if row[7] != "" {
			for _, s := range values(row[6]) {
				f.hosts[s]++
			}
		}
		for _, s := range values(row[10]) {
			f.hosts[s]++
		}
	}
	f.tcp, f.udp = len(tcp), len(udp)
	return f
}

// factsOf are the facts as this package sees them.
func factsOf(c *dissect.Capture) facts {
	f := facts{packets: int(c.Health.Packets), questions: map[string]int{}, servers: map[string]int{}, hosts: map[string]int{}}
	for _, x := range c.Flows {
		switch x.Proto {
		case capture.TCP:
			f.tcp++
		case capture.UDP:
			f.udp++
		case capture.ICMP, capture.OtherIP, capture.Link:
		}
		if x.SNI != "" {
			f.servers[x.SNI]++
		}
	}
	for _, l := range c.Lookups {
		f.questions[strings.ToLower(l.Name)]++
	}
	for _, x := range c.Exchanges {
		if x.Version == "HTTP/2.0" && x.Method != "" {
			_, rest, _ := strings.Cut(x.URL, "://")
			host, _, _ := strings.Cut(rest, "/")
			f.hosts[host]++
		}
		for _, h := range x.RequestHeader {
			if strings.EqualFold(h.Name, "Host") {
				f.hosts[h.Value]++
			}
		}
	}
	return f
}

// compare reports where the two differ.
func compare(t *testing.T, path string, ours, theirs facts) {
	t.Helper()
	if ours.packets != theirs.packets {
		t.Errorf("%s: %d packets, tshark has %d", path, ours.packets, theirs.packets)
	}
	if ours.tcp != theirs.tcp || ours.udp != theirs.udp {
		t.Errorf("%s: %d TCP and %d UDP flows, tshark has %d and %d", path, ours.tcp, ours.udp, theirs.tcp, theirs.udp)
	}
	for _, c := range []struct {
		what         string
		ours, theirs map[string]int
	}{{"DNS names", ours.questions, theirs.questions}, {"server names", ours.servers, theirs.servers}, {"Host fields", ours.hosts, theirs.hosts}} {
		if !maps.Equal(c.ours, c.theirs) {
			t.Errorf("%s: %s %v, tshark has %v", path, c.what, c.ours, c.theirs)
		}
	}
}

// TestMadeCaptureAgreesWithTshark has every protocol that is told apart.
func TestMadeCaptureAgreesWithTshark(t *testing.T) {
	peers.Require(t, "tshark")
	w := sample(t)
	for _, d := range initials(t, 1, "8bytecid", quicHello(t, "h3.example")) {
		w.udp("10.0.0.2:40000", "203.0.113.7:443", d)
	}
	x := w.dial("[2001:db8::2]:40001", "[2001:db8:1::7]:443").open()
	x.mss = 500 // the ClientHello spans segments
	x.send(x.client, clientHello(t, "post-quantum.example", "h2", "http/1.1"))
	x.close()
	dns := w.dial("10.0.0.2:40002", "10.0.0.1:53").open()
	q := question(t, 9, "over-tcp.example", dnsmessage.TypeHTTPS)
	dns.up(string(append([]byte{0, byte(len(q))}, q...)))
	dns.close()
	for range 2 { // the same sockets twice
		x := w.dial("10.0.0.2:40003", "203.0.113.8:80")
		x.client.seq = uint32(len(w.frames)) * 1000
		x.open()
		x.up("GET /a HTTP/1.1\r\nHost: pipelined.example\r\n\r\nGET /b HTTP/1.1\r\nHost: pipelined.example\r\n\r\n")
		x.down(answered + answered)
		x.close()
		x.segment(x.client, x.client.seq, "A", nil)
	}
	path := filepath.Join(t.TempDir(), "made.pcap")
	if err := os.WriteFile(path, w.pcap(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := readClean(t, w)
	ours := factsOf(c)
	compare(t, path, ours, tsharkFacts(t, path))
	if ours.servers["h3.example"] != 1 || ours.servers["post-quantum.example"] != 1 || ours.questions["over-tcp.example"] != 1 || ours.hosts["pipelined.example"] != 4 {
		t.Errorf("facts %+v", ours)
	}
	// Bytes too: of each TCP conversation, and of all of them.
	bytesOf := map[string]int64{}
	for _, row := range tshark(t, path, "tcp", "tcp.stream", "frame.len") {
		n, err := strconv.ParseInt(row[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		bytesOf[row[0]] += n - 14 // without Ethernet
	}
	stream := 0
	for _, f := range c.Flows {
		if f.Proto != capture.TCP {
			continue
		}
		if want := bytesOf[strconv.Itoa(stream)]; f.BytesUp+f.BytesDown != want {
			t.Errorf("flow %s has %d bytes, tshark's stream %d has %d", f.ID, f.BytesUp+f.BytesDown, stream, want)
		}
		stream++
	}
	if stream != len(bytesOf) {
		t.Errorf("%d TCP flows, tshark has %d", stream, len(bytesOf))
	}
}

// TestGenuineTraffic records curl with tcpdump in a network namespace of its own.
func TestGenuineTraffic(t *testing.T) {
	tcpdump, curl := peers.Require(t, "tcpdump"), peers.Require(t, "curl")
	peers.Require(t, "tshark")
	ns := peers.NewNamespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	dir := t.TempDir()
	path, keys := filepath.Join(dir, "genuine.pcap"), filepath.Join(dir, "keys")
	// Each packet takes a slot of the snapshot length in the kernel's buffer: with
	// the defaults eight of them, and a busy machine drops some.
	dump := ns.Command(ctx, tcpdump, "-i", "lo", "-U", "-n", "-s", "70000", "-B", "65536", "-w", path)
	listening := waitFor(t, dump, dump.StderrPipe, "listening on")
	server := ns.Command(ctx, os.Args[0], "-test.run=TestServer", "-test.v")
	server.Env = append(os.Environ(), serveVariable+"=1")
	ready := waitFor(t, server, server.StdoutPipe, "ready")
	<-listening
	<-ready

	form := "crc=1&gzip=0&data_list=" + strings.Repeat("abcdefgh", 5000)
	for _, args := range [][]string{
		{"http://127.0.0.1:8080/get?canary=one"},
		{"--resolve", "named.example:8080:127.0.0.1", "--data", form, "http://named.example:8080/post"},
		{"-g", "http://[::1]:8080/six", "http://[::1]:8080/six-again"}, // one connection
		{"-H", "Transfer-Encoding: chunked", "--data", form, "http://127.0.0.1:8080/chunked"},
		{"--resolve", "sni.example:8443:127.0.0.1", "-k", "https://sni.example:8443/secret"},
		{"--resolve", "sni.example:8443:127.0.0.1", "https://sni.example:8443/not-trusted"},                                                      // refused by curl
		{"--resolve", "two.example:8444:127.0.0.1", "-k", "--http2", "--data", form, "https://two.example:8444/a", "https://two.example:8444/b"}, // one connection of HTTP/2
		{"--tls-max", "1.2", "--resolve", "two.example:8444:127.0.0.1", "-k", "--http1.1", "--data", form, "https://two.example:8444/older"},
		{"-g", "-k", "--http2", "https://[::1]:8444/six"},
		{"--max-time", "5", "http://127.0.0.1:9/closed"},
	} {
		get := ns.Command(ctx, curl, append([]string{"-sS", "--noproxy", "*"}, args...)...)
		get.Env = append(os.Environ(), "SSLKEYLOGFILE="+keys)
		out, err := get.CombinedOutput()
		t.Logf("curl %v: %v %.80q", args[len(args)-1:], err, out)
	}
	record(ctx, t, ns, dump, path)
	_ = server.Process.Kill()
	_ = server.Wait()

	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := read(t, b, dissect.Options{})
	if c.Damaged || c.Health.Truncated || c.Health.SkippedBytes > 0 || len(c.Health.Doubts()) > 0 {
		t.Errorf("health %+v", c.Health)
	}
	ours := factsOf(c)
	compare(t, path, ours, tsharkFacts(t, path))
	if ours.servers["sni.example"] != 2 || ours.hosts["named.example:8080"] != 1 || ours.questions["asked.example"] == 0 || len(c.Exchanges) != 5 {
		t.Errorf("facts %+v, %d exchanges", ours, len(c.Exchanges))
	}
	for _, x := range c.Exchanges {
		if x.Status != 200 || x.RequestTruncated || x.ResponseTruncated || x.Failure != "" {
			t.Errorf("exchange %s %s: status %d, %s", x.Method, x.URL, x.Status, x.Failure)
		}
		if x.Method == http.MethodPost && string(x.RequestBody) != form {
			t.Errorf("%s: a body of %d bytes, want %d", x.URL, len(x.RequestBody), len(form))
		}
	}
	checkOpened(t, b, keys)
	failures := map[uint16]string{}
	for _, f := range c.Flows {
		if f.Failure != "" {
			failures[f.Server.Port()] = f.Failure
		}
	}
	if failures[9] != "connection refused" || !strings.HasPrefix(failures[8443], "the client refused the handshake") {
		t.Errorf("failures %v", failures)
	}
}

// checkOpened reads the capture once more with curl's key log inside it, and so
// does tshark.
func checkOpened(t *testing.T, b []byte, keys string) {
	t.Helper()
	secrets, err := os.ReadFile(keys) //nolint:gosec // The test's own file.
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, bytes.NewReader(b), dissect.Notes{Secrets: secrets}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "opened.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	c := read(t, out.Bytes(), dissect.Options{})
	ours := factsOf(c)
	compare(t, path, ours, tsharkFacts(t, path))
	if ours.hosts["two.example:8444"] != 3 || ours.hosts["[::1]:8444"] != 1 || ours.hosts["sni.example:8443"] != 1 {
		t.Errorf("hosts %v", ours.hosts)
	}
	for _, x := range c.Exchanges {
		if x.Status != 200 || x.RequestTruncated || x.ResponseTruncated || x.Failure != "" || x.Method == http.MethodPost && len(x.RequestBody) < 40000 {
			t.Errorf("exchange %s %s (%s): status %d, %d bytes, %s", x.Method, x.URL, x.Version, x.Status, len(x.RequestBody), x.Failure)
		}
	}
}

// serveVariable makes TestServer serve.
const serveVariable = "OFFPROOF_TEST_SERVE"

// TestServer is the server of TestGenuineTraffic, as a process of its own.
func TestServer(t *testing.T) {
	if os.Getenv(serveVariable) == "" {
		return
	}
	cert, err := world()
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("a reply of some length. ", 1000))
	})
	plain, err := net.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := net.Listen("tcp", ":8443")
	if err != nil {
		t.Fatal(err)
	}
	both, err := net.Listen("tcp", ":8444")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = http.Serve(plain, handler) }() // #nosec G114 -- it lives for a test
	go func() {
		s := &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}} // #nosec G112 -- it lives for a test
		_ = s.ServeTLS(both, "", "")
	}()
	_, _ = os.Stdout.WriteString("ready\n")
	_ = http.Serve(tls.NewListener(sealed, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), handler) // #nosec G114 -- as above
}

// TestAsk asks a resolver on loopback, where there is none.
func TestAsk(t *testing.T) {
	conn, err := net.Dial("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(question(t, 77, "asked.example", dnsmessage.TypeA)); err != nil {
		t.Fatal(err)
	}
}

// waitFor starts a program and returns a channel that is closed when it has
// printed a word, or has ended.
func waitFor(t *testing.T, cmd *exec.Cmd, pipe func() (io.ReadCloser, error), word string) <-chan struct{} {
	t.Helper()
	r, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	done := make(chan struct{})
	go func() {
		said := false
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if !said && strings.Contains(lines.Text(), word) {
				said = true
				close(done)
			}
		}
		if !said {
			close(done)
		}
	}()
	return done
}

// record ends a recording: it asks for a name, and waits until that was recorded.
func record(ctx context.Context, t *testing.T, ns *peers.Namespace, dump *exec.Cmd, path string) {
	t.Helper()
	if err := ns.Command(ctx, os.Args[0], "-test.run=TestAsk").Run(); err != nil {
		t.Fatalf("ask: %v", err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for recorded := false; !recorded; {
		select {
		case <-ctx.Done():
			t.Fatal("tcpdump did not record the last question")
		case <-tick.C:
		}
		b, err := os.ReadFile(path)
		recorded = err == nil && bytes.Contains(b, []byte("\x05asked\x07example\x00"))
	}
	if err := dump.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = dump.Wait()
}
