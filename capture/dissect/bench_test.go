package dissect_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// browsing makes a capture of a phone that browses: lookups, sealed downloads,
// requests in clear.
func browsing(b *testing.B, rounds int) []byte {
	b.Helper()
	w := newWire(b)
	hello := clientHello(b, "site.example", "h2")
	sealed := string(append([]byte{23, 3, 3, 0x3f, 0xfb}, make([]byte, 0x3ffb)...))
	form := "POST /sa HTTP/1.1\r\nHost: sa.example\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("data=", 600)
	for i := range rounds {
		port := itoa(10000 + i%50000)
		w.udp("10.0.0.2:"+port, resolver, question(b, uint16(i), "site.example", dnsmessage.TypeA))
		w.udp(resolver, "10.0.0.2:"+port, answer(b, uint16(i), "site.example", dnsmessage.TypeA, []dnsmessage.ResourceBody{a(203, 0, 113, 7)}))
		x := w.dial("10.0.0.2:"+port, "203.0.113.7:443").open()
		x.send(x.client, hello)
		for range 8 {
			x.down(sealed)
		}
		x.up(sealed)
		x.close()
		y := w.dial("10.0.0.2:"+port, "203.0.113.8:80").open()
		y.up(form)
		y.down(answered)
		y.close()
	}
	return w.pcap()
}

// BenchmarkRead reads the same file as tshark does, and prints how many times
// faster it is.
func BenchmarkRead(b *testing.B) {
	program := peers.Require(b, "tshark")
	file := browsing(b, 300)
	path := filepath.Join(b.TempDir(), "bench.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	cmd := exec.CommandContext(b.Context(), program, "-n", "-r", path, "-T", "fields", "-e", "tcp.stream", "-e", "ip.len", "-e", "dns.qry.name", "-e", "tls.handshake.extensions_server_name", "-e", "http.host", "-e", "http.request.full_uri")
	cmd.Stdout = io.Discard
	if err := cmd.Run(); err != nil {
		b.Fatal(err)
	}
	peer := time.Since(start)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		c, err := dissect.Read(f, dissect.Options{})
		_ = f.Close()
		if err != nil || len(c.Flows) != 900 || len(c.Exchanges) != 300 || c.Damaged {
			b.Fatalf("%v: %d flows, %d exchanges, %+v", err, len(c.Flows), len(c.Exchanges), c.Health)
		}
	}
	b.ReportMetric(peer.Seconds()/(b.Elapsed().Seconds()/float64(b.N)), "x-tshark")
}

// BenchmarkReadHAR reads a file of a thousand requests.
func BenchmarkReadHAR(b *testing.B) {
	c, err := dissect.Read(bytes.NewReader(browsing(b, 1000)), dissect.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var file bytes.Buffer
	if err := dissect.WriteHAR(&file, c.Exchanges, "bench"); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if c, err := dissect.ReadHAR(bytes.NewReader(file.Bytes())); err != nil || len(c.Exchanges) != 1000 {
			b.Fatal(err)
		}
	}
}
