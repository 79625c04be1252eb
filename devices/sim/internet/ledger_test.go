package internet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/offproof/offproof/devices/sim/internet"
)

func TestLedgerIsExact(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Aliases: []string{"www.site.example"}, Handler: http.NotFoundHandler()})
	phone := attach(t, n, "serial-7")
	body := []byte("crc=1&data_list=%2B\x00\xff")
	start := time.Now()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://www.site.example/sa?project=p&r=GB", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"User-Agent": {"UA/1"}, "X-Two": {"a", "b"}, "Cookie": {"c=1"}, "Content-Type": {"application/x-www-form-urlencoded"}}
	r, err := client(t, n, phone, "tcp").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	entries := n.Ledger().Entries()
	if len(entries) != 1 {
		t.Fatalf("%d entries", len(entries))
	}
	e := entries[0]
	want := internet.Entry{
		ID: 1, At: e.At, Host: "site.example", Authority: "www.site.example", SNI: "www.site.example",
		Remote: e.Remote, Phone: "serial-7", TLS: true, Proto: "HTTP/2.0", Method: "POST",
		URL: "https://www.site.example/sa?project=p&r=GB", RequestURI: "/sa?project=p&r=GB",
		Header: http.Header{
			"User-Agent": {"UA/1"}, "X-Two": {"a", "b"}, "Cookie": {"c=1"}, "Content-Type": {"application/x-www-form-urlencoded"},
			"Accept-Encoding": {"gzip"}, "Content-Length": {fmt.Sprint(len(body))},
		},
		Body: body, BodySize: int64(len(body)),
	}
	if fmt.Sprintf("%#v", e) != fmt.Sprintf("%#v", want) {
		t.Errorf("entry\n%#v\nwant\n%#v", e, want)
	}
	if e.Remote.Addr() != phone.Addrs("wlan0")[1].Addr() || e.At.Before(start) || e.At.After(time.Now()) {
		t.Errorf("from %s at %s", e.Remote, e.At)
	}
}

func TestLedgerSaysWhatItTruncated(t *testing.T) {
	n, err := internet.New(context.Background(), internet.Config{MaxBody: 1000, MaxBodies: 2500})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var read int64
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			read, _ = io.Copy(io.Discard, r.Body)
		}
	})})
	c := client(t, n, attach(t, n, "p"), "tcp")
	cases := []struct {
		path         string
		size, stored int
	}{
		{"/ignore", 999, 999}, {"/ignore", 1000, 1000}, {"/read", 200_000, 501}, {"/ignore", 200_000, 0}, {"/ignore", 1, 0}, {"/ignore", 0, 0},
	}
	for i, tc := range cases {
		r, err := c.Post("http://site.example"+tc.path, "x/y", bytes.NewReader(make([]byte, tc.size)))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		until(t, fmt.Sprintf("the size of body %d", i), func() bool {
			e := n.Ledger().Entries()[i]
			return int(e.BodySize) == tc.size && len(e.Body) == tc.stored && e.Truncated == (tc.size != tc.stored) && e.Err == ""
		})
	}
	if read != 200_000 {
		t.Errorf("the handler read %d bytes", read)
	}
}

func TestLedgerNotesBrokenUploads(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example"})
	c, err := attach(t, n, "p").Dial(t.Context(), appUID, "tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST /up HTTP/1.1\r\nHost: site.example\r\nContent-Length: 100\r\n\r\nfirst ten!"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	e, err := n.Ledger().Wait(ctx, func(e internet.Entry) bool { return e.Method == http.MethodPost })
	if err != nil {
		t.Fatal(err)
	}
	if string(e.Body) != "first ten!" || !e.Truncated || e.Err == "" {
		t.Errorf("entry %+v", e)
	}
	short, stop := context.WithTimeout(t.Context(), time.Millisecond)
	defer stop()
	if _, err := n.Ledger().Wait(short, func(internet.Entry) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for nothing: %v", err)
	}
}

func TestSOCKSDoor(t *testing.T) {
	n := newWorld(t)
	addHost(t, n, internet.HostConfig{Name: "site.example", Handler: hello()})
	addHost(t, n, internet.HostConfig{Name: "six.example", NoV4: true, Handler: hello()})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.SOCKS(ctx, ln) }()

	dialer, err := proxy.SOCKS5("tcp", ln.Addr().String(), nil, proxy.Direct)
	if err != nil {
		t.Fatal(err)
	}
	say := func(addr string) string {
		c, err := dialer.Dial("tcp", addr)
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /socks HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(reply)
	}
	v4, v6 := "203.0.113.1:80", "[2001:db8:203::2]:80"
	for _, addr := range []string{"site.example:80", "six.example:80", v4, v6} {
		if got := say(addr); !strings.Contains(got, "hello h") {
			t.Errorf("%s: %q", addr, got)
		}
	}
	if got := say("nobody.example:80"); !strings.Contains(got, "host unreachable") {
		t.Errorf("unknown name: %q", got)
	}
	if got := say("site.example:81"); !strings.Contains(got, "connection refused") {
		t.Errorf("closed port: %q", got)
	}
	for _, e := range n.Ledger().Entries() {
		if e.Phone != "lab" {
			t.Errorf("a request through the door came from %q at %s", e.Phone, e.Remote)
		}
	}
	asked := map[string]bool{}
	for _, q := range n.Ledger().Questions() {
		asked[q.Phone+" "+q.Name] = true
	}
	if !asked["lab site.example"] || !asked["lab nobody.example"] {
		t.Errorf("names asked: %v", asked)
	}
	// An open connection does not keep the door from closing.
	c, err := dialer.Dial("tcp", "site.example:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("closing the door: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its door")
	}
}

func TestSOCKSRefusesEverythingElse(t *testing.T) {
	n := newWorld(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.SOCKS(context.Background(), ln) }()
	for _, command := range []byte{2, 3} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte{5, 1, 0, 5, command, 0, 1, 127, 0, 0, 1, 0, 80}); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 4)
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
		if reply[3] == 0 {
			t.Errorf("command %d was granted", command)
		}
		c.Close()
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the door of a closed world: %v", err)
	}
}
