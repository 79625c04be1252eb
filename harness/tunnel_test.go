package harness_test

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/harness"
)

// carrierUID is PCAPdroid's.
const carrierUID = 10144

var tunnelAddr = netip.MustParseAddr("10.215.173.1")

// tunnelled makes the world's packets those of a VPN in the phone, whose app's
// sockets send on the wire what goes into it, in other packets.
func (w *world) tunnelled() {
	w.t.Helper()
	w.ev.Traces[0] = capture.Trace{
		Backend: "pcapdroid", Packets: "pcapdroid.pcap", Inside: true, Via: "com.emanuelef.remote_capture", Tunnel: "tun0", Health: w.ev.Traces[0].Health,
	}
	w.ev.Apps = map[int][]string{carrierUID: {"com.emanuelef.remote_capture"}, noiseUID: {"com.weather"}, claimUID: {"com.mi.globalbrowser"}}
	w.ev.Packets = map[string]*dissect.Capture{"pcapdroid": {}}
	w.trial.Instruments = []string{"pcapdroid", "proxy"}
	for _, o := range w.trial.Observations {
		o.Beacons["pcapdroid"] = o.Beacons["tcpdump"]
		delete(o.Beacons, "tcpdump")
		for _, c := range []*harness.Counters{o.CountersBefore, o.CountersAfter} {
			c.Sent = map[string]int64{"wlan0": 9000, "tun0": 4000, "dummy0": 0}
			c.Packets = map[string]int64{"wlan0": 90, "tun0": 40, "dummy0": 0}
			c.Carried = &harness.Carried{
				Source: "xt_qtaguid", Tunnel: "tun0", UID: carrierUID, Bytes: 7000, Packets: 70, Others: map[int]int64{noiseUID: 2000}, Steady: true,
			}
		}
		w.inside(o, 400, 3)
	}
}

// inside sends packets of an app that is out of scope into the tunnel; the VPN's app
// sends them on in two more, with larger headers.
func (w *world) inside(o *harness.Observation, payload, packets int64) {
	w.next++
	at := o.Window.Open.Add(3 * time.Second)
	uid := noiseUID
	f := capture.Flow{
		ID: "inside-" + o.ID, Proto: capture.TCP, App: "tls", Client: netip.AddrPortFrom(tunnelAddr, 41000), Server: netip.AddrPortFrom(hostAddr, 443),
		Host: "weather.example", HostFrom: capture.FromSNI, Start: at, End: at.Add(time.Second), BytesUp: payload + 40*packets, PayloadUp: payload,
		Visibility: capture.Metadata, UID: &uid, Sent: []capture.Burst{{At: at, Bytes: payload + 40*packets, Payload: payload}},
	}
	w.ev.Packets["pcapdroid"].Flows = append(w.ev.Packets["pcapdroid"].Flows, f)
	c := o.CountersAfter
	c.Sent["tun0"] += f.BytesUp
	c.Packets["tun0"] += packets
	w.carry(o, payload+52*(packets+2), packets+2)
}

// carry is what the VPN's app sends on the wire.
func (w *world) carry(o *harness.Observation, bytes, packets int64) {
	w.wire(o, bytes, packets)
	o.CountersAfter.Carried.Bytes += bytes
	o.CountersAfter.Carried.Packets += packets
}

// wire is what leaves by the phone's interface.
func (w *world) wire(o *harness.Observation, bytes, packets int64) {
	o.CountersAfter.Sent["wlan0"] += bytes
	o.CountersAfter.Packets["wlan0"] += packets
}

// user has an app's own counter say that it sent something past the VPN.
func (w *world) user(o *harness.Observation, uid int, bytes int64) {
	others := maps.Clone(o.CountersAfter.Carried.Others)
	others[uid] += bytes
	o.CountersAfter.Carried.Others = others
}

// TestTunnel: what went into the tunnel and what its app sent on are one thing, and
// whatever else left is a doubt, however it came past.
func TestTunnel(t *testing.T) {
	t.Parallel()
	const instead = "record at the lab's access point instead"
	// total makes the counters those of a source that tells no interfaces apart.
	total := func(o *harness.Observation) {
		for _, c := range []*harness.Counters{o.CountersBefore, o.CountersAfter} {
			c.Carried.Source, c.Carried.Others = "netstats", nil
		}
	}
	for _, c := range []struct {
		name string
		do   func(w *world, o *harness.Observation)
		want harness.Outcome
		says string
	}{
		{"honest", func(*world, *harness.Observation) {}, harness.Stops, "sent all that the interfaces did, to the byte"},
		{"honest, by a map of totals", func(_ *world, o *harness.Observation) { total(o) }, harness.Stops, "to the byte"},
		{"questions of ARP", func(w *world, o *harness.Observation) { w.wire(o, 3*28, 3) }, harness.Stops, "84 bytes in 3 packets left past the VPN in which packets were recorded, with room for 0 bytes"},
		{"as little as no term has", func(w *world, o *harness.Observation) { w.wire(o, 28+3, 1) }, harness.Stops, "with room for 3 bytes"},
		{"as much as a hash has", func(w *world, o *harness.Observation) { w.wire(o, 28+4, 1) }, harness.OutcomeInconclusive, "32 bytes are unexplained: 32 bytes to unknown, past pcapdroid's VPN"},
		{"a neighbour is asked for", func(w *world, o *harness.Observation) { w.wire(o, 72, 1) }, harness.OutcomeInconclusive, "72 bytes are unexplained"},
		{"a question among questions of ARP", func(w *world, o *harness.Observation) { w.wire(o, 20*28+70, 21) }, harness.OutcomeInconclusive, "630 bytes are unexplained"},
		{"the app goes past", func(w *world, o *harness.Observation) {
			w.wire(o, 900, 6)
			w.user(o, claimUID, 900)
		}, harness.OutcomeInconclusive, "900 bytes to unknown, past pcapdroid's VPN by app of the claim (uid 10123)"},
		{"another app goes past, to whom nobody knows", func(w *world, o *harness.Observation) {
			w.wire(o, 900, 6)
			w.user(o, noiseUID, 700)
		}, harness.OutcomeInconclusive, "700 bytes to unknown, past pcapdroid's VPN by com.weather (uid 10150), 200 bytes to unknown, past pcapdroid's VPN"},
		{"the app goes past, and totals tell no more", func(w *world, o *harness.Observation) {
			total(o)
			w.wire(o, 900, 6)
		}, harness.OutcomeInconclusive, "900 bytes are unexplained"},
		{"empty packets of an app", func(w *world, o *harness.Observation) {
			w.wire(o, 28, 1)
			w.user(o, claimUID, 28)
		}, harness.OutcomeInconclusive, "28 bytes are unexplained"},
		{"empty packets of the kernel", func(w *world, o *harness.Observation) {
			w.wire(o, 28, 1)
			w.user(o, 0, 28)
		}, harness.Stops, "28 bytes in 1 packets"},
		{"by another interface", func(_ *world, o *harness.Observation) {
			o.CountersAfter.Sent["rmnet0"], o.CountersAfter.Packets["rmnet0"] = 600, 4
		}, harness.OutcomeInconclusive, "600 bytes are unexplained"},
		{"the capture misses what went into the tunnel", func(w *world, o *harness.Observation) {
			o.CountersAfter.Sent["tun0"] += 300
			w.carry(o, 330, 2)
		}, harness.OutcomeInconclusive, "300 bytes are unexplained: 300 bytes to unknown"},
		{"what may lie on either side of a reading hides nothing past it", func(w *world, o *harness.Observation) {
			f := &w.ev.Packets["pcapdroid"].Flows[2]
			f.BytesUp += 900
			f.Sent = append(f.Sent, capture.Burst{At: o.CountersBefore.From, Bytes: 900, Payload: 860})
			f.Start = o.CountersBefore.From
			w.wire(o, 500, 4)
		}, harness.OutcomeInconclusive, "500 bytes are unexplained: 500 bytes to unknown, past pcapdroid's VPN"},
		{"the tunnel counts less than was recorded", func(w *world, o *harness.Observation) {
			w.inside(o, 9000, 10)
			o.CountersAfter.Sent["tun0"] -= 8000
		}, harness.OutcomeInconclusive, "they do not count everything"},
		{"the tunnel has no counter", func(_ *world, o *harness.Observation) {
			delete(o.CountersBefore.Sent, "tun0")
			delete(o.CountersAfter.Sent, "tun0")
		}, harness.OutcomeInconclusive, "has no counter of tun0"},
		{"nobody asked", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried = nil }, harness.OutcomeInconclusive, instead},
		{"the phone does not say", func(_ *world, o *harness.Observation) {
			o.CountersBefore.Carried.Why = "cat: No such file or directory"
		}, harness.OutcomeInconclusive, "(cat: No such file or directory); " + instead},
		{"never quiet", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Steady = false }, harness.OutcomeInconclusive, "never stopped sending while its counters were read"},
		{"another source", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Source = "netstats" }, harness.OutcomeInconclusive, "not those of one app and tunnel"},
		{"another user id", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.UID++ }, harness.OutcomeInconclusive, "not those of one app and tunnel"},
		{"another tunnel", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Tunnel = "tun1" }, harness.OutcomeInconclusive, "not those of one app and tunnel"},
		{"its app uses its own tunnel", func(w *world, o *harness.Observation) {
			uid := carrierUID
			w.ev.Packets["pcapdroid"].Flows[2].UID = &uid
			total(o)
		}, harness.OutcomeInconclusive, "sent something of its own into the tunnel"},
		{"its app sent more than left", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Bytes += 60 }, harness.OutcomeInconclusive, "one of the two does not count everything"},
		{"its app sent more packets than left", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Packets++ }, harness.OutcomeInconclusive, "one of the two does not count everything"},
		{"its app's counter fell", func(_ *world, o *harness.Observation) { o.CountersAfter.Carried.Bytes = 10 }, harness.OutcomeInconclusive, "counter went backwards"},
		{"an app's counter fell", func(w *world, o *harness.Observation) { w.user(o, noiseUID, -1) }, harness.OutcomeInconclusive, "counter of user id 10150 went backwards"},
		{"an app's counter says more than left", func(w *world, o *harness.Observation) {
			w.wire(o, 100, 1)
			w.user(o, claimUID, 400)
		}, harness.OutcomeInconclusive, "apps sent 400 bytes past it by their own counters, and 100 by the interfaces'"},
		{"packets are not counted", func(w *world, o *harness.Observation) {
			o.CountersBefore.Packets, o.CountersAfter.Packets = nil, nil
		}, harness.OutcomeInconclusive, "cannot be compared"},
		{"ADB over the network", func(w *world, o *harness.Observation) {
			for _, x := range w.trial.Observations {
				x.Serial = "192.168.43.10:5555"
			}
			w.trial.Serial = "192.168.43.10:5555"
			w.wire(o, 6000, 40)
		}, harness.OutcomeInconclusive, "ADB over the network may be among them"},
		{"an older record", func(w *world, _ *harness.Observation) { w.ev.Traces[0].Tunnel = "" }, harness.OutcomeInconclusive, "bytes are unexplained"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.tunnelled()
			o := w.get("off-1")
			c.do(w, o)
			f := w.judge()
			if said := strings.Join(f.Because, "\n"); f.Outcome != c.want || !strings.Contains(said, c.says) {
				t.Errorf("it came to %s: %s\nwanted %s because of %q", f.Outcome, said, c.want, c.says)
			}
			// Counters that contradict a capture do not add up.
			if a := o.Finding.Accounting; a.Counted != nil && !strings.Contains(c.says, "they do not count everything") {
				if d := a.Total() - *a.Counted - a.Tunnel; d < -a.Tolerance || d > a.Tolerance {
					t.Errorf("%d bytes left and %d are in classes, tolerance %d", *a.Counted+a.Tunnel, a.Total(), a.Tolerance)
				}
			}
		})
	}
}

// TestTunnelBesideTheWire: where the wire is recorded too, its packets and the
// tunnel's have a counter each.
func TestTunnelBesideTheWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                string
		wire, tunnel, noted int64
	}{
		{"all is recorded", 0, 0, 0},
		{"the wire's capture misses some", 300, 0, 300},
		{"the tunnel's misses some, and the wire's has more", -300, 300, 300},
	} {
		w := newWorld(t)
		w.tunnelled()
		w.ev.Traces = append(w.ev.Traces, capture.Trace{Backend: "gateway", Packets: "gateway.pcap", Health: w.ev.Traces[0].Health})
		w.ev.Packets["gateway"] = &dissect.Capture{}
		for _, o := range w.trial.Observations {
			o.Beacons["gateway"] = o.Beacons["pcapdroid"]
			at := o.Window.Open.Add(3 * time.Second)
			f := w.ev.Packets["pcapdroid"].Flows[0]
			f.ID, f.Client = "wire-"+o.ID, netip.AddrPortFrom(phoneAddr, 42000)
			f.Start, f.End, f.BytesUp, f.Sent = at, at.Add(time.Second), 660, []capture.Burst{{At: at, Bytes: 660, Payload: 400}}
			w.ev.Packets["gateway"].Flows = append(w.ev.Packets["gateway"].Flows, f)
		}
		o := w.get("off-1")
		o.CountersAfter.Sent["wlan0"] += c.wire
		o.CountersAfter.Sent["tun0"] += c.tunnel
		w.judge()
		a := o.Finding.Accounting
		if got := a.Bytes[harness.ClassUnexplained]; got != c.noted || a.Beside != nil {
			t.Errorf("%s: %d bytes are unexplained, beside %v; wanted %d: %q", c.name, got, a.Beside, c.noted, o.Finding.Because)
		}
	}
}
