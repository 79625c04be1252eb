package harness_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/spikes"
)

const spikeRun = "abcdefghijkl"

// asked gives the trial a probe before its first window, and everything that a
// sound bench records of it.
func (w *world) asked() *harness.Probe {
	w.t.Helper()
	at := w.start.Add(-time.Minute)
	lab := harness.Lab{Page: "http://lab.example/", V4: netip.MustParseAddr("192.0.2.7"), V6: netip.MustParseAddr("2001:db8::7")}
	p := &harness.Probe{Format: 1, Lab: lab, Run: spikeRun, Start: at, End: at.Add(20 * time.Second), States: map[spikes.Kind]spikes.State{}}
	for _, s := range spikes.Make(spikeRun) {
		p.States[s.Kind] = spikes.Arrived
		switch s.Kind {
		case spikes.Plain:
			w.send(at, "POST", "http://lab.example/1/"+spikeRun+"/plain", "text/plain", []byte("offproof spike: "+s.Term.Term))
		case spikes.IPv6:
			w.send(at, "POST", "http://[2001:db8::7]/1/"+spikeRun+"/ipv6", "text/plain", []byte("offproof spike: "+s.Term.Term))
		case spikes.Packed:
			var z bytes.Buffer
			zw := gzip.NewWriter(&z)
			if _, err := zw.Write([]byte("offproof spike: " + s.Term.Term)); err != nil || zw.Close() != nil {
				w.t.Fatal(err)
			}
			w.send(at, "POST", "http://lab.example/1/"+spikeRun+"/gzip-base64", "text/plain", []byte(base64.StdEncoding.EncodeToString(z.Bytes())))
		case spikes.UDP:
			w.datagrams(at, capture.Flow{Proto: capture.UDP, Server: netip.AddrPortFrom(lab.V4, 443), BytesUp: 48, PayloadUp: 20})
		case spikes.UDP6:
			w.datagrams(at, capture.Flow{Proto: capture.UDP, Server: netip.AddrPortFrom(lab.V6, 443), BytesUp: 68, PayloadUp: 20})
		}
	}
	w.ev.Probe = p
	return p
}

// dropExchange takes a request to the lab out of the recording.
func (w *world) dropExchange(kind string) {
	tr := &w.ev.Traces[1]
	tr.Exchanges = slices.DeleteFunc(tr.Exchanges, func(ex capture.Exchange) bool { return strings.HasSuffix(ex.URL, "/"+kind) })
}

// dropDatagrams takes the lab's datagrams out of the recording.
func (w *world) dropDatagrams(to netip.Addr) {
	c := w.ev.Packets["tcpdump"]
	c.Flows = slices.DeleteFunc(c.Flows, func(f capture.Flow) bool { return f.Proto == capture.UDP && f.Server.Addr() == to })
}

// A known body that arrived and is in no recording voids the trial; one that the
// phone could not send is told. Neither hides a leak.
func TestProbe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(w *world, p *harness.Probe)
		want harness.Outcome
		says string
	}{
		{"sound", func(*world, *harness.Probe) {}, harness.Stops, "recovered from the recordings: a plain body over HTTP, a body under gzip and base64, a body to an address of IPv6, a datagram to UDP port 443, a datagram to UDP port 443 over IPv6"},
		{"plain is lost", func(w *world, _ *harness.Probe) { w.dropExchange("plain") }, harness.OutcomeInconclusive, "a plain body over HTTP that the lab's page sent arrived there and is in no recording"},
		{"packed is lost", func(w *world, _ *harness.Probe) { w.dropExchange("gzip-base64") }, harness.OutcomeInconclusive, "a body under gzip and base64 that the lab's page sent arrived"},
		{"packed is cut short", func(w *world, _ *harness.Probe) {
			for i := range w.ev.Traces[1].Exchanges {
				if ex := &w.ev.Traces[1].Exchanges[i]; strings.HasSuffix(ex.URL, "/gzip-base64") {
					ex.RequestBody = ex.RequestBody[:20]
				}
			}
		}, harness.OutcomeInconclusive, "a body under gzip and base64 that the lab's page sent arrived"},
		{"IPv6 is lost", func(w *world, _ *harness.Probe) { w.dropExchange("ipv6") }, harness.OutcomeInconclusive, "a body to an address of IPv6 that the lab's page sent arrived"},
		{"UDP is lost", func(w *world, p *harness.Probe) { w.dropDatagrams(p.Lab.V4) }, harness.OutcomeInconclusive, "a datagram to UDP port 443 that the lab's page sent arrived"},
		{"UDP over IPv6 is lost", func(w *world, p *harness.Probe) { w.dropDatagrams(p.Lab.V6) }, harness.OutcomeInconclusive, "a datagram to UDP port 443 over IPv6 that the lab's page sent arrived"},
		{"the network has no IPv6", func(w *world, p *harness.Probe) {
			w.dropExchange("ipv6")
			w.dropDatagrams(p.Lab.V6)
			p.States[spikes.IPv6], p.States[spikes.UDP6] = spikes.Failed, spikes.Failed
		}, harness.Stops, "a body to an address of IPv6 could not be tried"},
		{"the lab has no IPv6", func(w *world, p *harness.Probe) {
			w.dropExchange("ipv6")
			w.dropDatagrams(p.Lab.V6)
			p.Lab.V6 = netip.Addr{}
			delete(p.States, spikes.IPv6)
			delete(p.States, spikes.UDP6)
		}, harness.Stops, "a datagram to UDP port 443 over IPv6 was not tried"},
		{"the plain one never arrived", func(w *world, p *harness.Probe) {
			w.dropExchange("plain")
			p.States[spikes.Plain] = spikes.Failed
		}, harness.OutcomeInconclusive, "did not arrive there and is in no recording"},
		{"the page did not load", func(_ *world, p *harness.Probe) { p.Err = "net::ERR" }, harness.OutcomeInconclusive, "the lab's page did not do its work"},
		{"a page that went away before its datagrams had an answer", func(w *world, p *harness.Probe) {
			w.dropDatagrams(p.Lab.V4)
			p.States[spikes.UDP] = spikes.Waiting
		}, harness.Stops, "a datagram to UDP port 443 had no answer: it may have left, and is in no recording"},
		{"no packets were recorded", func(w *world, _ *harness.Probe) {
			w.ev.Traces = w.ev.Traces[1:]
			w.ev.Packets = nil
			w.trial.Instruments = []string{"proxy"}
			for _, o := range w.trial.Observations {
				delete(o.Beacons, "tcpdump")
			}
		}, harness.OutcomeInconclusive, "a datagram to UDP port 443 that the lab's page sent arrived there and is in no recording"},
		{"an app that opens no page", func(_ *world, p *harness.Probe) {
			p.States, p.Untried = nil, "the app opens no page"
		}, harness.Stops, "were not asked for known bodies: the app opens no page"},
		{"sent elsewhere", func(w *world, _ *harness.Probe) {
			for i := range w.ev.Traces[1].Exchanges {
				ex := &w.ev.Traces[1].Exchanges[i]
				ex.URL = strings.Replace(ex.URL, "http://lab.example", "http://other.example", 1)
			}
			for i := range w.ev.Traces[1].Flows {
				if f := &w.ev.Traces[1].Flows[i]; f.Host == "lab.example" {
					f.Host = "other.example"
				}
			}
		}, harness.OutcomeInconclusive, "a plain body over HTTP that the lab's page sent arrived"},
		{"a leak all the same", func(w *world, _ *harness.Probe) {
			w.dropExchange("plain")
			w.report(w.get("off-1"))
		}, harness.Continues, "with the switch off, data was still transmitted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.do(w, w.asked())
			f := w.judge()
			if f.Outcome != c.want || !strings.Contains(strings.Join(f.Because, "\n"), c.says) {
				t.Errorf("it came to %s: %q", f.Outcome, f.Because)
			}
		})
	}
}

// The floor is the smallest size from which on a packet that the capture missed
// would have shown in the counters.
func TestFloor(t *testing.T) {
	t.Parallel()
	sizes := []int64{44, 92, 284, 1052}
	for _, c := range []struct {
		name  string
		noise func(i int) int64 // bytes that the capture has beyond the counters' growth
		want  *int64
	}{
		{"quiet", func(int) int64 { return 0 }, ptr(44)},
		{"some noise", func(int) int64 { return 100 }, ptr(284)},
		{"noise at one", func(i int) int64 { return []int64{0, 0, 300, 0}[i] }, ptr(1052)},
		{"much noise", func(int) int64 { return 5000 }, ptr(0)},
		{"the capture has none of it", func(i int) int64 { return -sizes[i] - 60 }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := w.asked()
			total := int64(1000)
			for i, size := range sizes {
				at := p.Start.Add(time.Duration(i+1) * time.Second)
				got := size + c.noise(i)
				if got > 0 {
					w.datagrams(at.Add(500*time.Millisecond), capture.Flow{Proto: capture.ICMP, Server: netip.AddrPortFrom(p.Lab.V4, 0), BytesUp: got, PayloadUp: got - 28})
				}
				before := *counters(at, total)
				total += size
				p.Pings = append(p.Pings, harness.SizedPing{Bytes: size, Before: before, After: *counters(at.Add(900*time.Millisecond), total)})
			}
			w.judge()
			got := w.get("off-1").Finding.Accounting.Floor
			if (got == nil) != (c.want == nil) || (got != nil && *got != *c.want) {
				t.Errorf("the floor is %v, want %v", show(got), show(c.want))
			}
		})
	}
}

func ptr(n int64) *int64 { return &n }

func show(n *int64) any {
	if n == nil {
		return "unknown"
	}
	return *n
}
