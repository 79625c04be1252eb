package dissect_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// An opensslServer is OpenSSL's test server on loopback, with a folder of files.
type opensslServer struct {
	t       *testing.T
	program string
	dir     string
	address string
}

func newOpenSSL(t *testing.T, args ...string) *opensslServer {
	t.Helper()
	s := &opensslServer{t: t, program: peers.Require(t, "openssl"), dir: t.TempDir()}
	s.run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=peer.example")
	if err := os.WriteFile(filepath.Join(s.dir, "file"), []byte(strings.Repeat("what the server has. ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	_ = ln.Close()
	server := exec.CommandContext(t.Context(), s.program, append([]string{"s_server", "-accept", s.address, "-key", "key.pem", "-cert", "cert.pem", "-quiet"}, args...)...) //nolint:gosec // The test's own.
	server.Dir = s.dir
	input, err := server.StdinPipe() // At the end of its input it would end too.
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = input.Close()
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", s.address); err == nil {
			_ = c.Close()
			return s
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatal("openssl s_server does not listen")
		}
	}
}

func (s *opensslServer) run(args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.program, args...) //nolint:gosec // The test's own.
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("openssl %v: %v: %s", args[0], err, out)
	}
}

// A typed line is one that OpenSSL's client reads by itself: a command is one only
// where its letter comes first in a read. The next line waits until done says that
// this one has had its effect, given what the client has said so far.
type typed struct {
	text string
	done func(said string) bool
}

// keyUpdates are the words for key updates, k for the client's keys and K for those
// of both ends, and then a request.
func keyUpdates(request, commands string) (lines []typed) {
	for i, c := range commands {
		lines = append(lines, typed{string(c) + "\n", func(said string) bool { return strings.Count(said, "KEYUPDATE") > i }})
	}
	return append(lines, typed{text: request})
}

// heard keeps what a program says, for those who wait for a word of it.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// ask runs OpenSSL's client through a relay that shows the conversation to a made
// capture. The lines are typed one by one, and the client has to end by itself: when
// the server closes, or when it is told Q. It returns what the client says.
func (s *opensslServer) ask(w *wire, say []typed, args ...string) (said string) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		ours, err := ln.Accept()
		if err != nil {
			return
		}
		theirs, err := net.Dial("tcp", s.address)
		if err != nil {
			_ = ours.Close()
			return
		}
		x := w.dial("10.0.0.2:42000", "203.0.113.7:443")
		x.client.seq += uint32(len(w.frames)) //nolint:gosec // A made number.
		x.open()
		var mu sync.Mutex
		var both sync.WaitGroup
		both.Go(func() {
			_, _ = io.Copy(tapped{theirs, &mu, x.up}, onlyReader{ours})
			_ = theirs.(*net.TCPConn).CloseWrite()
		})
		both.Go(func() {
			_, _ = io.Copy(tapped{ours, &mu, x.down}, onlyReader{theirs})
			_ = ours.(*net.TCPConn).CloseWrite()
		})
		both.Wait()
		_, _ = ours.Close(), theirs.Close()
		x.close()
	}()
	// OpenSSL's server sleeps a second for each key update that it reads.
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	client := exec.CommandContext(ctx, s.program, append([]string{"s_client", "-connect", ln.Addr().String(), "-servername", "peer.example", "-keylogfile", "keys"}, args...)...) //nolint:gosec // The test's own.
	client.Dir = s.dir
	input, err := client.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	var out heard
	client.Stdout, client.Stderr = &out, &out
	if err := client.Start(); err != nil {
		s.t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, line := range say {
		_, _ = io.WriteString(input, line.text)
		for line.done != nil && !line.done(out.String()) && ctx.Err() == nil {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}
	if _ = client.Wait(); ctx.Err() != nil {
		s.t.Fatalf("openssl s_client did not end: %s", out.String())
	}
	_ = input.Close()
	_ = ln.Close()
	<-relayed
	return out.String()
}

// onlyReader keeps io.Copy from going past the tap.
type onlyReader struct{ io.Reader }

func (s *opensslServer) read(w *wire) *dissect.Capture {
	s.t.Helper()
	f, err := os.Open(filepath.Join(s.dir, "keys"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	keys, err := dissect.ReadKeyLog(f)
	if err != nil {
		s.t.Fatal(err)
	}
	return read(s.t, w.pcap(), dissect.Options{KeyLog: keys})
}

// TestDecryptionOfOpenSSL reads what Go's own TLS does not say: other suites of TLS
// 1.3, key updates of both ends, encrypt-then-MAC.
func TestDecryptionOfOpenSSL(t *testing.T) {
	const get = "GET /file HTTP/1.0\r\nHost: peer.example\r\nX-Planted: planted words\r\n\r\n"
	s := newOpenSSL(t, "-WWW")
	for name, c := range map[string]struct {
		updates string // commands of OpenSSL's client
		args    []string
	}{
		"AES-256 of TLS 1.3":         {"", []string{"-ciphersuites", "TLS_AES_256_GCM_SHA384"}},
		"ChaCha20 of TLS 1.3":        {"", []string{"-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}},
		"the client's keys change":   {"k", nil},
		"both ends' keys change":     {"K", nil},
		"they change again":          {"Kk", nil},
		"encrypt-then-MAC, SHA-256":  {"", []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"}},
		"encrypt-then-MAC, SHA-384":  {"", []string{"-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA384"}},
		"encrypt-then-MAC, no ECDHE": {"", []string{"-tls1_2", "-cipher", "AES256-SHA"}},
		"ChaCha20 of TLS 1.2":        {"", []string{"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			w := newWire(t)
			said := s.ask(w, keyUpdates(get, c.updates), c.args...)
			if got := strings.Count(said, "KEYUPDATE"); got != len(c.updates) {
				t.Fatalf("openssl made %d key updates, want %d: %s", got, len(c.updates), said)
			}
			got := s.read(w)
			if len(got.Exchanges) != 1 || len(got.Health.Doubts()) > 0 {
				t.Fatalf("%d exchanges, %+v, %d packets", len(got.Exchanges), got.Health, len(w.frames))
			}
			if x := got.Exchanges[0]; x.URL != "https://peer.example/file" || x.Status != 200 || len(x.ResponseBody) < 40000 || got.Flows[0].Host != "peer.example" {
				t.Errorf("%s, status %d, %d bytes", x.URL, x.Status, len(x.ResponseBody))
			}
		})
	}
}

// TestEarlyData reads what a client sends before it has heard the server.
func TestEarlyData(t *testing.T) {
	s := newOpenSSL(t, "-early_data", "-no_anti_replay")
	early := "POST /early HTTP/1.1\r\nHost: peer.example\r\nContent-Length: 13\r\n\r\nplanted words"
	if err := os.WriteFile(filepath.Join(s.dir, "early"), []byte(early), 0o600); err != nil {
		t.Fatal(err)
	}
	// The session comes after the handshake, and the client writes it down at once.
	written := func(string) bool {
		b, err := os.ReadFile(filepath.Join(s.dir, "session"))
		return err == nil && len(b) > 0
	}
	s.ask(newWire(t), []typed{{"x\n", written}, {text: "Q\n"}}, "-sess_out", "session")
	w := newWire(t)
	if said := s.ask(w, []typed{{text: "Q\n"}}, "-sess_in", "session", "-early_data", "early"); !strings.Contains(said, "Early data was accepted") {
		t.Fatalf("openssl's server took no early data: %s", said)
	}
	c := s.read(w)
	if len(c.Exchanges) != 1 || c.Exchanges[0].URL != "https://peer.example/early" || string(c.Exchanges[0].RequestBody) != "planted words" {
		t.Errorf("%d exchanges, %+v", len(c.Exchanges), c.Health)
	}
}
