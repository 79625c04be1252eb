package harness_test

import (
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/harness"
)

// decrypted adds a conversation of the claim's app that a key log opened: a
// search, as the browser sends it, with so many bytes of payload.
func (w *world) decrypted(app string, payload int64) *capture.Flow {
	at := w.get("off-1").Window.Open.Add(2 * time.Second)
	w.packets(at, app, "duckduckgo.com", payload, claimUID)
	c := w.ev.Packets["tcpdump"]
	f := &c.Flows[len(c.Flows)-1]
	f.Visibility = capture.Plaintext
	c.Exchanges = append(c.Exchanges, capture.Exchange{
		ID: "d" + f.ID, Flow: f.ID, Start: at, Sent: at, End: at, Method: "GET", URL: "https://duckduckgo.com/", Status: 200,
		RequestHeader: []capture.Header{{Name: "Host", Value: "duckduckgo.com"}},
	})
	return f
}

// What is left of a conversation that was opened is its framing, within bounds;
// where anything of it is unread nothing is excused.
func TestOpenedConversations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(w *world)
		want int64 // opaque transport, at least this and at most twice of it
	}{
		{"the handshake of TLS", func(w *world) { w.decrypted("tls", 3000) }, 0},
		{"the padded packets of QUIC", func(w *world) { w.decrypted("quic", 4000) }, 0},
		{"more than any handshake", func(w *world) { w.decrypted("tls", 30000) }, 20000},
		{"it was not opened", func(w *world) { w.decrypted("tls", 3000).Visibility = capture.Metadata }, 1800},
		{"no message came of it", func(w *world) {
			w.decrypted("tls", 3000)
			w.ev.Packets["tcpdump"].Exchanges = nil
		}, 2400},
		{"a part is missing", func(w *world) { w.decrypted("tls", 3000).SkippedBytes = 1 }, 1800},
		{"its beginning was not seen", func(w *world) { w.decrypted("tls", 3000).Midstream = true }, 1800},
		{"something in it is no message", func(w *world) {
			f := w.decrypted("tls", 3000)
			w.ev.Packets["tcpdump"].Unread = append(w.ev.Packets["tcpdump"].Unread, dissect.Unread{Flow: f.ID, Data: []byte("words that nobody reads")})
		}, 1800},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.do(w)
			w.judge()
			f := w.get("off-1").Finding
			got := f.Accounting.Bytes[harness.ClassOpaqueTransport]
			if got < c.want || got > 2*c.want {
				t.Errorf("%d bytes are unread, want about %d: %v", got, c.want, f.Accounting.Bytes)
			}
			if says := strings.Contains(strings.Join(f.Because, "\n"), "opaque transport"); says != (c.want > 0) {
				t.Errorf("it says %q", f.Because)
			}
		})
	}
}
