package dissect_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// wholly checks that all the bodies were read, by the paths to which they were
// posted, and that nothing says otherwise.
func wholly(t *testing.T, c *dissect.Capture, bodies map[string]string) {
	t.Helper()
	left := maps.Clone(bodies)
	for _, x := range c.Exchanges {
		path := strings.TrimPrefix(x.URL, "https://secret.example")
		want, ok := left[path]
		if delete(left, path); !ok {
			t.Errorf("%s was not sent, or not twice", x.URL)
		}
		secret := slices.IndexFunc(x.RequestHeader, func(h capture.Header) bool { return h.Name == "x-secret" && len(h.Value) == 10*len(path) })
		if x.Method != http.MethodPost || x.Version != "HTTP/3.0" || string(x.RequestBody) != want || !strings.HasPrefix(string(x.ResponseBody), want) || len(x.ResponseBody) != len(want)+450 ||
			x.Status != 200 || secret < 0 || x.RequestTruncated || x.ResponseTruncated || x.Failure != "" || x.Sent.IsZero() || x.End.IsZero() {
			t.Errorf("%s %s: status %d, %d and %d bytes of %d, %q, truncated %v %v", x.Method, x.URL, x.Status, len(x.RequestBody), len(x.ResponseBody), len(want), x.Failure, x.RequestTruncated, x.ResponseTruncated)
		}
		if n := len(x.ResponseHeader); n == 0 || x.ResponseHeader[n-1] != (capture.Header{Name: "x-last", Value: "done"}) {
			t.Errorf("%s: the trailer is missing from %v", x.URL, x.ResponseHeader)
		}
	}
	if len(left) > 0 || c.Damaged || len(c.Health.Doubts()) > 0 || c.Health.SkippedBytes > 0 || len(c.Unread) > 0 {
		t.Errorf("missing %v, unread %d, health %+v", slices.Sorted(maps.Keys(left)), len(c.Unread), c.Health)
	}
	for _, f := range c.Flows {
		if f.App != "quic" || f.Visibility != capture.Plaintext || f.Host != "secret.example" || f.Failure != "" {
			t.Errorf("flow %+v", f)
		}
	}
}

// postAll posts many bodies, four at once.
func (r *quicRig) postAll(h http.RoundTripper, bodies map[string]string) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, 4)
	for path, body := range bodies {
		wg.Go(func() {
			turns <- struct{}{}
			r.post(h, path, body)
			<-turns
		})
	}
	wg.Wait()
}

func bodiesOf(n, size int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprintf("/p%d?q=planted", i)] = strings.Repeat(fmt.Sprintf("planted %d ", i), 1+size*i/10)
	}
	return all
}

func TestHTTP3(t *testing.T) {
	for _, version := range []quic.Version{quic.Version1, quic.Version2} {
		t.Run(version.String(), func(t *testing.T) {
			r := newQUICRig(t, nil)
			// More than a hundred packets each way, so that the keys change.
			bodies := bodiesOf(12, 20_000)
			h := r.client(r.transport("10.0.0.2:40000"), &quic.Config{Versions: []quic.Version{version}}, nil, nil)
			r.postAll(h, bodies)
			wholly(t, r.read(), bodies)
			// Without the keys it stays closed.
			_ = h.Close()
			r.mu.Lock()
			defer r.mu.Unlock()
			closed := readClean(t, r.w)
			if f := only(t, closed); len(closed.Exchanges) != 0 || len(closed.Unread) != 0 || f.Visibility != capture.Metadata || f.SNI != "secret.example" {
				t.Errorf("without keys: %d exchanges, %+v", len(closed.Exchanges), f)
			}
		})
	}
}

// TestHTTP3BadNetwork: packets that the network lost and swapped were seen when
// they were sent, or are sent again.
func TestHTTP3BadNetwork(t *testing.T) {
	r := newQUICRig(t, nil)
	r.shuffle = true
	r.lose = func(bool, int) (arrives, seen bool) { return r.random.IntN(20) > 0, true }
	bodies := bodiesOf(8, 10_000)
	h := r.client(r.transport("10.0.0.2:40000"), nil, nil, nil)
	r.postAll(h, bodies)
	wholly(t, r.read(), bodies)
}

func always(net.Addr) bool { return true }

func TestHTTP3Retry(t *testing.T) {
	r := newQUICRig(t, func(tr *quic.Transport, _ *quic.Config) {
		tr.VerifySourceAddress = always
	})
	bodies := bodiesOf(3, 1000)
	r.postAll(r.client(r.transport("10.0.0.2:40000"), nil, nil, nil), bodies)
	wholly(t, r.read(), bodies)
	// The first packets of all once more, as a capture of all interfaces may have
	// them: they begin no other connection.
	r.mu.Lock()
	r.w.frames = slices.Insert(slices.Clone(r.w.frames), len(r.w.frames)/2, r.w.frames[:2]...)
	r.mu.Unlock()
	wholly(t, r.read(), bodies)
}

// TestHTTP3OneSocket has several connections in one flow.
func TestHTTP3OneSocket(t *testing.T) {
	r := newQUICRig(t, nil)
	tr := r.transport("10.0.0.2:40000")
	bodies := bodiesOf(6, 1000)
	for path, body := range bodies {
		r.post(r.client(tr, nil, nil, nil), path, body)
	}
	wholly(t, r.read(), bodies)
}

// TestHTTP3Hole takes each datagram of the client's out of the capture in turn:
// whatever it carried, the reading must not look whole when it is not.
func TestHTTP3Hole(t *testing.T) {
	r := newQUICRig(t, nil)
	bodies := bodiesOf(5, 3000)
	h := r.client(r.transport("10.0.0.2:40000"), nil, nil, nil)
	r.postAll(h, bodies)
	_ = h.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	silent, harmless := 0, 0
	for i, f := range r.w.frames {
		if f.data[12] != 10 { // From the server.
			continue
		}
		w := *r.w
		w.frames = slices.Delete(slices.Clone(r.w.frames), i, i+1)
		c := read(t, w.pcap(), dissect.Options{KeyLog: r.log()})
		left := maps.Clone(bodies)
		said := c.Health.SkippedBytes > 0
		for _, f := range c.Flows {
			said = said || f.Visibility != capture.Plaintext
		}
		for _, x := range c.Exchanges {
			if path := strings.TrimPrefix(x.URL, "https://secret.example"); string(x.RequestBody) == left[path] && !x.RequestTruncated {
				delete(left, path)
			}
		}
		switch {
		case len(left) > 0 && !said:
			t.Errorf("without datagram %d %d bodies are not read, and nothing says so", i, len(left))
		case len(left) == 0 && said:
			harmless++
		case len(left) == 0:
			silent++
		}
	}
	t.Logf("%d holes without a loss were told, %d were not", harmless, silent)
}

// TestHTTP3Move has a client that goes on from another address, as a phone does
// that leaves its Wi-Fi.
func TestHTTP3Move(t *testing.T) {
	r := newQUICRig(t, nil)
	var conn *quic.Conn
	h := r.client(r.transport("10.0.0.2:40000"), nil, nil, func(c *quic.Conn) { conn = c })
	bodies := map[string]string{"/before": strings.Repeat("before ", 1000), "/after": strings.Repeat("after ", 1000)}
	r.post(h, "/before", bodies["/before"])
	path, err := conn.AddPath(r.transport("198.51.100.9:50000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := path.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := path.Switch(); err != nil {
		t.Fatal(err)
	}
	r.post(h, "/after", bodies["/after"])
	c := r.read()
	wholly(t, c, bodies)
	if len(c.Flows) != 2 || len(c.Exchanges) != 2 || c.Exchanges[0].Flow != c.Flows[0].ID || c.Exchanges[1].Flow != c.Flows[1].ID || c.Flows[1].SNI != "secret.example" {
		t.Errorf("flows %+v", c.Flows)
	}
	if first := c.Flows[1].Client.String(); first != "198.51.100.9:50000" {
		t.Errorf("the client is %s", first)
	}
}

// TestHTTP3Early sends a request before the handshake. crypto/tls logs no secret
// for that, so that the request cannot be read, and the flow says so.
func TestHTTP3Early(t *testing.T) {
	r := newQUICRig(t, nil)
	cache := tls.NewLRUClientSessionCache(4)
	tr := r.transport("10.0.0.2:40000")
	first := r.client(tr, nil, cache, nil)
	r.post(first, "/first", "words")
	_ = first.Close()
	r.mu.Lock()
	before := len(r.w.frames)
	r.mu.Unlock()
	h := r.client(r.transport("10.0.0.2:40001"), nil, cache, nil)
	req, err := http.NewRequestWithContext(t.Context(), http3.MethodGet0RTT, "https://secret.example/early", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	_ = h.Close()
	c := r.read()
	if len(c.Flows) != 2 || before == 0 {
		t.Fatalf("%d flows", len(c.Flows))
	}
	if c.Flows[0].Visibility != capture.Plaintext || c.Flows[1].Visibility != capture.Metadata || c.Health.SkippedBytes == 0 || !strings.Contains(strings.Join(c.Health.Doubts(), " "), "does not open") {
		t.Errorf("flows %+v, health %+v", c.Flows, c.Health)
	}
	for _, x := range c.Exchanges {
		// The client may have sent it again after the handshake.
		if x.Flow == c.Flows[1].ID && x.Method == "" && (x.Failure == "" || !x.RequestTruncated) {
			t.Errorf("exchange %+v", x)
		}
	}
}
