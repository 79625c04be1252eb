package harness_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/harness"
)

// second adds another packet capture to the world, as the access point's, which
// has what the first one has.
func (w *world) second() *dissect.Capture {
	first := w.ev.Packets["tcpdump"]
	again := &dissect.Capture{Lookups: append([]capture.Lookup(nil), first.Lookups...), Exchanges: append([]capture.Exchange(nil), first.Exchanges...)}
	for _, f := range first.Flows {
		f.Sent = append([]capture.Burst(nil), f.Sent...)
		again.Flows = append(again.Flows, f)
	}
	zero := int64(0)
	w.ev.Traces = append(w.ev.Traces, capture.Trace{
		Backend: "gateway", Packets: "gateway.pcap", Clock: &capture.ClockOffset{Uncertainty: time.Millisecond}, Health: capture.Health{Dropped: &zero},
		End: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	})
	w.ev.Packets["gateway"] = again
	for _, o := range w.trial.Observations {
		o.Beacons["gateway"] = append([]capture.Beacon(nil), o.Beacons["tcpdump"]...)
	}
	return again
}

// TestTwoCaptures: what two captures have counts once, what only one has is seen
// and makes the window inconclusive, and a term that only the copy holds is found.
func TestTwoCaptures(t *testing.T) {
	for _, c := range []struct {
		name   string
		harm   func(w *world, off *harness.Observation)
		want   harness.Outcome
		reason string
	}{
		{"the same in both", func(*world, *harness.Observation) {}, harness.Stops, ""},
		{"a conversation that the phone hides", func(w *world, off *harness.Observation) {
			at := off.Window.Open.Add(3 * time.Second)
			again := w.ev.Packets["gateway"]
			again.Flows = append(again.Flows, capture.Flow{
				ID: "hidden", Proto: capture.TCP, App: "tls", Client: netip.AddrPortFrom(phoneAddr, 40777), Server: netip.MustParseAddrPort("203.0.113.99:443"),
				Start: at, End: at.Add(time.Second), BytesUp: 900, PayloadUp: 700, Visibility: capture.Metadata,
				Sent: []capture.Burst{{At: at, Bytes: 900, Payload: 700}},
			})
		}, harness.OutcomeInconclusive, "gateway and tcpdump disagree"},
		{"the same sockets again at once, hidden", func(w *world, off *harness.Observation) {
			at := off.Window.Open.Add(3 * time.Second)
			flow := func(id string, at time.Time, bytes int64) capture.Flow {
				uid := claimUID
				return capture.Flow{
					ID: id, Proto: capture.TCP, App: "tls", Client: netip.AddrPortFrom(phoneAddr, 40780), Server: netip.MustParseAddrPort("203.0.113.95:443"), UID: &uid,
					Start: at, End: at.Add(100 * time.Millisecond), BytesUp: bytes, PayloadUp: bytes - 100, Visibility: capture.Metadata,
					Sent: []capture.Burst{{At: at, Bytes: bytes, Payload: bytes - 100}},
				}
			}
			first, again := w.ev.Packets["tcpdump"], w.ev.Packets["gateway"]
			first.Flows = append(first.Flows, flow("a", at, 400))
			again.Flows = append(again.Flows, flow("a", at, 395), flow("b", at.Add(time.Second), 398))
		}, harness.OutcomeInconclusive, "598 bytes"},
		{"frames of the link, which count once", func(w *world, off *harness.Observation) {
			at := off.Window.Open.Add(3 * time.Second)
			for _, c := range w.ev.Packets {
				c.Flows = append(c.Flows, capture.Flow{
					ID: "link", Proto: capture.Link, Start: at, End: at, BytesUp: 280, PayloadUp: 280, Visibility: capture.Metadata,
					Sent: []capture.Burst{{At: at, Bytes: 280, Payload: 280}},
				})
			}
			off.CountersAfter.Sent["wlan0"] += 2 * 280
		}, harness.OutcomeInconclusive, "280 bytes are unexplained"},
		{"a term in the copy alone", func(w *world, off *harness.Observation) {
			at := off.Window.Open.Add(3 * time.Second)
			flow := func(payload int64) capture.Flow {
				return capture.Flow{
					ID: "split", Proto: capture.TCP, App: "http", Client: netip.AddrPortFrom(phoneAddr, 40778), Server: netip.MustParseAddrPort("203.0.113.98:80"),
					Host: "split.example", HostFrom: capture.FromHeader, Start: at, End: at.Add(time.Second), BytesUp: payload + 100, PayloadUp: payload, Visibility: capture.Plaintext,
					Sent: []capture.Burst{{At: at, Bytes: payload + 100, Payload: payload}},
				}
			}
			request := func(id, body string) capture.Exchange {
				return capture.Exchange{
					ID: id, Flow: "split", Start: at, Sent: at, End: at, Method: "POST", URL: "http://split.example/x", Status: 200,
					RequestBody: []byte(body), BytesUp: int64(len(body)),
				}
			}
			// The first capture took it for two requests, and reads the term in neither.
			first, again := w.ev.Packets["tcpdump"], w.ev.Packets["gateway"]
			first.Flows = append(first.Flows, flow(300))
			first.Exchanges = append(first.Exchanges, request("a", "status=ok"), request("b", "status=ok"))
			again.Flows = append(again.Flows, flow(300))
			again.Exchanges = append(again.Exchanges, request("a", "q="+strings.ReplaceAll(off.Canaries[0].Term, " ", "+")))
		}, harness.Continues, "split.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.second()
			c.harm(w, w.get("off-1"))
			harness.JudgeTrial(w.trial, list(t))
			because := strings.Join(w.trial.Finding.Because, "; ")
			if w.trial.Finding.Outcome != c.want || !strings.Contains(because, c.reason) {
				t.Errorf("it came to %s: %s; want %s because of %q", w.trial.Finding.Outcome, because, c.want, c.reason)
			}
		})
	}
}

// TestADBOverTheNetwork: what the harness types crosses the air as well where the
// phone is reached over TCP. That is the instrument's, and no sighting.
func TestADBOverTheNetwork(t *testing.T) {
	for name, orient := range map[string]func(phone, host netip.AddrPort) (client, server netip.AddrPort){
		"the phone as client": func(phone, host netip.AddrPort) (netip.AddrPort, netip.AddrPort) { return phone, host },
		"the phone as server": func(phone, host netip.AddrPort) (netip.AddrPort, netip.AddrPort) { return host, phone },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			off := w.get("off-1")
			at := off.Window.Open.Add(time.Second)
			client, server := orient(netip.AddrPortFrom(phoneAddr, 5555), netip.MustParseAddrPort("192.168.43.2:40001"))
			packets := w.ev.Packets["tcpdump"]
			packets.Flows = append(packets.Flows, capture.Flow{
				ID: "adb", Proto: capture.TCP, Client: client, Server: server, Start: at, End: at.Add(5 * time.Second), BytesUp: 300, PayloadUp: 200,
				Visibility: capture.Metadata, Sent: []capture.Burst{{At: at, Bytes: 300, Payload: 200}},
			})
			packets.Unread = append(packets.Unread, dissect.Unread{Flow: "adb", Data: []byte("WRTE....shell,v2:input text '" + off.Canaries[0].Term + "'")})
			for _, o := range w.trial.Observations {
				o.Serial = netip.AddrPortFrom(phoneAddr, 5555).String()
				for i := range o.Canaries {
					o.Canaries[i].Serial = o.Serial
				}
			}
			off.CountersAfter.Sent["wlan0"] += 300
			w.ev.Owners = append(w.ev.Owners, harness.Owner{
				Proto: capture.TCP, Local: netip.AddrPortFrom(phoneAddr, 5555).String(), Remote: "192.168.43.2:40001", UID: 2000, First: at, Last: at.Add(5 * time.Second),
			})
			harness.JudgeTrial(w.trial, list(t))
			if got := off.Finding; len(got.Sightings) != 0 || got.Accounting.InScope[harness.ClassOpaqueTransport] != 0 || w.trial.Finding.Outcome != harness.Stops {
				t.Errorf("it came to %s: %q, sightings %+v", w.trial.Finding.Outcome, got.Because, got.Sightings)
			}
			// The same words to anybody else are a sighting.
			// From ADB's port, too.
			packets.Flows[len(packets.Flows)-1].Client = netip.AddrPortFrom(phoneAddr, 5555)
			packets.Flows[len(packets.Flows)-1].Server = netip.MustParseAddrPort("203.0.113.97:5222")
			harness.JudgeTrial(w.trial, list(t))
			if w.trial.Finding.Outcome != harness.Continues {
				t.Errorf("raw words to a stranger came to %s: %q", w.trial.Finding.Outcome, w.trial.Finding.Because)
			}
		})
	}
}

// TestTunnelsOwnSockets: what the app of an instrument's tunnel sends on the wire
// may be anybody's, so that it is not set aside as another app's.
func TestTunnelsOwnSockets(t *testing.T) {
	const tunnelUID = 10190
	for via, want := range map[string]harness.Outcome{"": harness.Stops, "com.emanuelef.remote_capture": harness.OutcomeInconclusive} {
		t.Run("via "+via, func(t *testing.T) {
			w := newWorld(t)
			off := w.get("off-1")
			at := off.Window.Open.Add(3 * time.Second)
			uid := tunnelUID
			packets := w.ev.Packets["tcpdump"]
			packets.Flows = append(packets.Flows, capture.Flow{
				ID: "carried", Proto: capture.TCP, App: "tls", Client: netip.AddrPortFrom(phoneAddr, 40779), Server: netip.MustParseAddrPort("203.0.113.96:443"), UID: &uid,
				Start: at, End: at.Add(time.Second), BytesUp: 900, PayloadUp: 700, Visibility: capture.Metadata, Sent: []capture.Burst{{At: at, Bytes: 900, Payload: 700}},
			})
			off.CountersAfter.Sent["wlan0"] += 900
			w.ev.Apps = map[int][]string{tunnelUID: {"com.emanuelef.remote_capture"}}
			w.ev.Traces[0].Via = via
			harness.JudgeTrial(w.trial, list(t))
			if w.trial.Finding.Outcome != want {
				t.Errorf("it came to %s: %q, want %s", w.trial.Finding.Outcome, w.trial.Finding.Because, want)
			}
		})
	}
}

// TestQuestionOverHTTPS: what a name holds that is asked for over HTTPS, through
// the proxy, was sent to whoever answers for that name.
func TestQuestionOverHTTPS(t *testing.T) {
	w := newWorld(t)
	off := w.get("off-1")
	question := []byte("\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x109f3c1d2e4b5a6978\x01q\x07example\x00\x00\x01\x00\x01")
	ex := w.send(off.Window.Open.Add(3*time.Second), "POST", "https://dns.google/dns-query", "application/dns-message", question)
	ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Content-Type", Value: "application/dns-message"})
	harness.JudgeTrial(w.trial, list(t))
	because := strings.Join(w.trial.Finding.Because, "; ")
	if w.trial.Finding.Outcome != harness.Continues || !strings.Contains(because, "9f3c1d2e4b5a6978.q.example") {
		t.Errorf("it came to %s: %s", w.trial.Finding.Outcome, because)
	}
}

// TestMissing: the counters bound what no capture saw.
func TestMissing(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	for _, c := range []struct {
		accounting harness.Accounting
		want       int64
	}{
		{harness.Accounting{Captured: 900, Tolerance: 100}, 0},
		{harness.Accounting{Counted: number(900), Captured: 900}, 0},
		{harness.Accounting{Counted: number(900), Captured: 950, Tolerance: 80}, 30},
		{harness.Accounting{Counted: number(900), Captured: 2000, Tolerance: 80}, 0},
		{harness.Accounting{Counted: number(900), Captured: 700, Tolerance: 50}, 250},
	} {
		if got := c.accounting.Missing(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.accounting, got, c.want)
		}
	}
}
