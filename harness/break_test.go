package harness_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
)

// secret is a value that nobody can read, as it stands in a header or a field.
const secret = "nhH0XAPYd4qxLO5glU+jHXvCOOlWDfGEKr1jF8ifQOU="

// proxied adds a conversation of the proxy in which no request was read.
func (w *world) proxied(f capture.Flow) {
	w.next++
	f.ID, f.Proto = fmt.Sprint(w.next), capture.TCP
	w.ev.Traces[1].Flows = append(w.ev.Traces[1].Flows, f)
}

// lastFlow is the conversation that carried the exchange that was sent last.
func (w *world) lastFlow() *capture.Flow {
	tr := &w.ev.Traces[1]
	return &tr.Flows[len(tr.Flows)-1]
}

// search is the exchange in which the search engine was asked.
func (w *world) search(o *harness.Observation) *capture.Exchange {
	w.t.Helper()
	tr := &w.ev.Traces[1]
	for i := range tr.Exchanges {
		if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(o.Canaries[0].Term)) {
			return &tr.Exchanges[i]
		}
	}
	w.t.Fatal("the search was not recorded")
	return nil
}

// inTheClear adds a request that the packet capture read.
func (w *world) inTheClear(at time.Time, address string) {
	u, err := url.Parse(address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.packets(at, "http", u.Host, int64(200+len(address)), noiseUID)
	c := w.ev.Packets["tcpdump"]
	f := &c.Flows[len(c.Flows)-1]
	f.SNI, f.HostFrom, f.Visibility = "", capture.FromHeader, capture.Plaintext
	c.Exchanges = append(c.Exchanges, capture.Exchange{
		Flow: f.ID, Start: at, Sent: at, End: at, Method: "GET", URL: address, Status: 200, RequestHeader: []capture.Header{{Name: "Host", Value: u.Host}},
	})
}

// datagrams adds a flow of one burst to the packet capture.
func (w *world) datagrams(at time.Time, f capture.Flow) *capture.Flow {
	w.next++
	f.ID, f.Start, f.End = fmt.Sprint(w.next), at, at.Add(50*time.Millisecond)
	f.Client = netip.AddrPortFrom(phoneAddr, 50000)
	f.Sent = []capture.Burst{{At: at, Bytes: f.BytesUp, Payload: f.PayloadUp}}
	c := w.ev.Packets["tcpdump"]
	c.Flows = append(c.Flows, f)
	for _, o := range w.trial.Observations {
		if !at.Before(o.Window.Open) && at.Before(o.Window.Close) {
			o.CountersAfter.Sent["wlan0"] += f.BytesUp
		}
	}
	return &c.Flows[len(c.Flows)-1]
}

// lookup adds a DNS question with its flow.
func (w *world) lookup(at time.Time, server, name string, payload int64) *capture.Flow {
	f := w.datagrams(at, capture.Flow{
		Proto: capture.UDP, App: "dns", Server: netip.MustParseAddrPort(server), BytesUp: payload + 28, PayloadUp: payload, Visibility: capture.Plaintext,
	})
	c := w.ev.Packets["tcpdump"]
	c.Lookups = append(c.Lookups, capture.Lookup{Flow: f.ID, Name: name, Type: "A", At: at})
	return f
}

// TestAttacks are recorded values by which data may leave unseen, or be laid at
// the wrong door. None that hides something may stop.
func TestAttacks(t *testing.T) {
	off := func(w *world) *harness.Observation { return w.get("off-1") }
	in := func(o *harness.Observation) time.Time { return o.Acts[0].Add(2 * time.Second) }
	words := func(o *harness.Observation) string { return o.Canaries[0].Term }
	q := func(o *harness.Observation) string { return url.QueryEscape(words(o)) }
	header := func(ex *capture.Exchange, name, value string) {
		ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: name, Value: value})
	}
	record := func(at string) []byte {
		return []byte(`[{"type":"track","event":"search","distinct_id":"x","properties":{"engine":"duckduckgo"}` + at + `}]`)
	}
	const collect = "https://sa.api.intl.miui.com/sa?project=global_browser"

	for name, c := range map[string]struct {
		happens func(w *world)
		want    harness.Outcome
		because string
	}{
		// Conversations without times or with impossible numbers.
		"a long conversation that does not say when it sent": {func(w *world) {
			w.proxied(capture.Flow{App: "tls", Host: "cdn.example", Start: w.start, End: w.start.Add(2 * time.Minute), BytesUp: 9000, PayloadUp: 9000, Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "cdn.example"},
		"a conversation that says only of a part when it was sent": {func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", Host: "cdn.example", Start: w.start, End: w.start.Add(2 * time.Minute), BytesUp: 9000, PayloadUp: 9000, Visibility: capture.Metadata,
				Sent: []capture.Burst{{At: w.start.Add(-time.Minute), Bytes: 600, Payload: 600}},
			})
		}, harness.OutcomeInconclusive, "cdn.example"},
		"a conversation without any time": {func(w *world) {
			w.proxied(capture.Flow{App: "tls", Host: "cdn.example", BytesUp: 9000, PayloadUp: 9000, Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "cdn.example"},
		"a burst without a time": {func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", Host: "cdn.example", Start: in(off(w)), End: in(off(w)), BytesUp: 9000, PayloadUp: 9000, Visibility: capture.Metadata,
				Sent: []capture.Burst{{Bytes: 9000, Payload: 9000}},
			})
		}, harness.OutcomeInconclusive, "cdn.example"},
		"a failed attempt without an end": {func(w *world) {
			w.proxied(capture.Flow{App: "tls", Host: "sa.api.intl.miui.com", Start: in(off(w)), Failure: "no answer", Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "no answer"},
		"negative bytes": {func(w *world) {
			w.proxied(capture.Flow{App: "tls", Host: "cdn.example", Start: in(off(w)), End: in(off(w)), BytesUp: -9000, PayloadUp: -9000, Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "cannot be"},
		"bytes that overflow": {func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", Host: "cdn.example", Start: in(off(w)), End: in(off(w)), BytesUp: 1 << 62, PayloadUp: 1 << 62, Visibility: capture.Metadata,
				Sent: []capture.Burst{{At: in(off(w)), Bytes: 1 << 62, Payload: 1 << 62}, {At: in(off(w)), Bytes: 1 << 62, Payload: 1 << 62}},
			})
		}, harness.OutcomeInconclusive, ""},
		"a readable conversation in which nothing was read": {func(w *world) {
			w.proxied(capture.Flow{
				App: "tls", Host: "cdn.example", Start: in(off(w)), End: in(off(w)), BytesUp: 5000, PayloadUp: 5000, Visibility: capture.Plaintext,
				Sent: []capture.Burst{{At: in(off(w)), Bytes: 5000, Payload: 5000}},
			})
		}, harness.OutcomeInconclusive, "cdn.example"},
		"a kept connection on which something else is said": {func(w *world) {
			w.send(w.get("quiet").Window.Open.Add(time.Second), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			f := w.lastFlow()
			f.End = in(off(w))
			f.BytesUp += 4000
			f.PayloadUp += 4000
			f.Sent = append(f.Sent, capture.Burst{At: in(off(w)), Bytes: 4000, Payload: 4000})
		}, harness.OutcomeInconclusive, "opaque transport"},
		"an attempt at a collector that was never answered": {func(w *world) {
			w.packets(in(off(w)), "", "sa.api.intl.miui.com", 0, claimUID)
		}, harness.OutcomeInconclusive, "contact"},

		// Exchanges without times, bodies or conversations.
		"an identifier in an exchange without a time": {func(w *world) {
			ex := w.send(in(off(w)), "POST", "https://cdn.example/x", "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
			ex.Start, ex.Sent, ex.End = time.Time{}, time.Time{}, time.Time{}
		}, harness.Continues, "ANDROID_ID"},
		"an upload that began before the window and never ended": {func(w *world) {
			ex := w.send(w.get("quiet").Window.Open.Add(-500*time.Millisecond), "POST", "https://cdn.example/x", "application/json", encryptedLeaf())
			ex.Sent, ex.End = time.Time{}, time.Time{}
			w.lastFlow().End, w.lastFlow().Sent = in(off(w)), nil
		}, harness.OutcomeInconclusive, "opaque"},
		"an exchange of no recorded conversation": {func(w *world) {
			ex := w.send(in(off(w)), "POST", "https://connect.rom.miui.com/generate_204", "application/json", encryptedLeaf())
			ex.Flow = "lost"
			tr := &w.ev.Traces[1]
			tr.Flows = tr.Flows[:len(tr.Flows)-1]
		}, harness.OutcomeInconclusive, "no recorded conversation"},
		"an unreadable value while its conversation says that it was silent": {func(w *world) {
			w.send(in(off(w)), "POST", "https://connect.rom.miui.com/generate_204", "application/json", encryptedLeaf())
			f := w.lastFlow()
			f.Start = w.start.Add(-time.Minute)
			f.Sent[0].At = f.Start
		}, harness.OutcomeInconclusive, "opaque"},
		"a body that was not kept": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			ex.BytesUp = 5000
			f := w.lastFlow()
			f.BytesUp, f.Sent[0].Bytes, f.Sent[0].Payload = f.BytesUp+5000, f.Sent[0].Bytes+5000, f.Sent[0].Payload+5000
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a body of which half was kept": {func(w *world) {
			ex := w.send(in(off(w)), "POST", "https://connect.rom.miui.com/generate_204", "text/plain", []byte("hello"))
			ex.BytesUp = 5000
			f := w.lastFlow()
			f.BytesUp, f.Sent[0].Bytes, f.Sent[0].Payload = f.BytesUp+5000, f.Sent[0].Bytes+5000, f.Sent[0].Payload+5000
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a tunnel inside the tunnel": {func(w *world) {
			w.send(in(off(w)), "CONNECT", "https://connect.rom.miui.com/generate_204", "", nil)
			f := w.lastFlow()
			f.BytesUp, f.Sent[0].Bytes, f.Sent[0].Payload = f.BytesUp+5000, f.Sent[0].Bytes+5000, f.Sent[0].Payload+5000
		}, harness.OutcomeInconclusive, "opaque transport"},

		// Names and packets.
		"an option hidden in a DNS question": {func(w *world) {
			w.lookup(in(off(w)), "192.168.43.1:53", "cdn.example", 29+600)
		}, harness.OutcomeInconclusive, "opaque transport"},
		"a DNS question to a resolver on the link": {func(w *world) {
			w.lookup(in(off(w)), "[fe80::1]:53", "nhh0xapyd4qxlo5glujhxvccoolwdfgekr1jf8ifqou.example", 80)
		}, harness.OutcomeInconclusive, "opaque"},
		"the words in a DNS question": {func(w *world) {
			w.lookup(in(off(w)), "192.168.43.1:53", strings.ReplaceAll(words(off(w)), " ", "-")+".example", 60)
		}, harness.Continues, "in the dns"},
		"a collector's name in a DNS question": {func(w *world) {
			w.lookup(in(off(w)), "192.168.43.1:53", "sa.api.intl.miui.com", 38)
		}, harness.OutcomeInconclusive, "only its address"},
		"bytes in a ping": {func(w *world) {
			w.datagrams(in(off(w)), capture.Flow{Proto: capture.ICMP, Server: netip.AddrPortFrom(hostAddr, 0), BytesUp: 1028, PayloadUp: 1000, Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "opaque transport"},
		"bytes to a neighbour that may pass them on": {func(w *world) {
			w.datagrams(in(off(w)), capture.Flow{Proto: capture.TCP, Server: netip.MustParseAddrPort("[fe80::1]:8080"), BytesUp: 1060, PayloadUp: 1000, Visibility: capture.Metadata})
		}, harness.OutcomeInconclusive, "opaque transport"},

		// Owners.
		"datagrams of a system process": {func(w *world) {
			f := w.datagrams(in(off(w)), capture.Flow{Proto: capture.UDP, App: "quic", Server: netip.AddrPortFrom(hostAddr, 443), BytesUp: 1228, PayloadUp: 1200, Visibility: capture.Metadata})
			w.ev.Owners = append(w.ev.Owners, harness.Owner{Proto: capture.UDP, Local: f.Client.String(), Remote: f.Server.String(), UID: 1000, First: f.Start, Last: f.End})
		}, harness.OutcomeInconclusive, "contact"},
		"datagrams of a port that another app used for somebody else": {func(w *world) {
			f := w.datagrams(in(off(w)), capture.Flow{Proto: capture.UDP, App: "quic", Server: netip.AddrPortFrom(hostAddr, 443), BytesUp: 1228, PayloadUp: 1200, Visibility: capture.Metadata})
			w.ev.Owners = append(w.ev.Owners, harness.Owner{Proto: capture.UDP, Local: f.Client.String(), Remote: "198.51.100.9:443", UID: noiseUID, First: f.Start, Last: f.End})
		}, harness.OutcomeInconclusive, "contact"},
		"a socket that was another app's seconds before": {func(w *world) {
			w.packets(in(off(w)), "tls", "cdn.example", 900, noiseUID)
			last := &w.ev.Owners[len(w.ev.Owners)-1]
			last.First, last.Last = last.First.Add(-9*time.Second), last.Last.Add(-4*time.Second)
		}, harness.OutcomeInconclusive, "contact"},
		"the app in another user of the phone": {func(w *world) {
			w.packets(in(off(w)), "tls", "cdn.example", 900, 99900000+claimUID)
		}, harness.OutcomeInconclusive, "contact"},
		"the app's SDK in its sandbox": {func(w *world) {
			w.packets(in(off(w)), "tls", "cdn.example", 900, claimUID+10000)
		}, harness.OutcomeInconclusive, "contact"},
		"an isolated process": {func(w *world) {
			w.packets(in(off(w)), "tls", "cdn.example", 900, 99012)
		}, harness.OutcomeInconclusive, "contact"},
		"a shared user id of the system that the claim names": {func(w *world) {
			off(w).ClaimUIDs = append(off(w).ClaimUIDs, 1000)
			w.packets(in(off(w)), "tls", "cdn.example", 900, 1000)
		}, harness.OutcomeInconclusive, "contact"},
		"another app by an address of IPv4 in IPv6": {func(w *world) {
			w.packets(in(off(w)), "tls", "push.weather.example", 900, noiseUID)
			last := &w.ev.Owners[len(w.ev.Owners)-1]
			last.Local, last.Remote = "[::ffff:"+strings.Replace(last.Local, ":", "]:", 1), "[::ffff:"+strings.Replace(last.Remote, ":", "]:", 1)
		}, harness.Stops, "not observed"},

		// Beacons.
		"a beacon with the words in a header": {func(w *world) {
			b := &off(w).Beacons["proxy"][1]
			b.Name = "http://beacon.offproof.invalid/" + b.Nonce
			ex := w.send(in(off(w)), "GET", b.Name, "", nil)
			header(ex, "X-Trace", words(off(w)))
		}, harness.Continues, "X-Trace"},
		"a beacon with an encrypted body": {func(w *world) {
			b := &off(w).Beacons["proxy"][1]
			b.Name = "http://beacon.offproof.invalid/" + b.Nonce
			w.send(in(off(w)), "POST", b.Name, "application/json", encryptedLeaf())
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a beacon on a connection that says more": {func(w *world) {
			b := &off(w).Beacons["proxy"][1]
			b.Name = "http://beacon.offproof.invalid/" + b.Nonce
			w.send(in(off(w)), "GET", b.Name, "", nil)
			f := w.lastFlow()
			f.BytesUp, f.Sent[0].Bytes, f.Sent[0].Payload = f.BytesUp+50000, f.Sent[0].Bytes+50000, f.Sent[0].Payload+50000
		}, harness.OutcomeInconclusive, "opaque transport"},
		"a beacon without a name": {func(w *world) {
			off(w).Beacons["proxy"][1].Name = ""
			ex := w.send(in(off(w)), "POST", "https://cdn.example/x", "text/plain", []byte(words(off(w))))
			ex.URL = ""
		}, harness.Continues, "korvandel"},
		"a beacon that was never seen": {func(w *world) {
			off(w).Beacons["proxy"][2].Seen = time.Time{}
		}, harness.OutcomeInconclusive, "beacons"},

		// Excuses that a page gives.
		"the words in a header at an address that the page names": {func(w *world) {
			pixel := "https://ads.partner.example/p.gif"
			w.search(off(w)).ResponseBody = []byte(`<img src="` + pixel + `">`)
			header(w.send(in(off(w)), "GET", pixel, "", nil), "X-Trace", words(off(w)))
		}, harness.Continues, "X-Trace"},
		"the words in a cookie at an address that the page names": {func(w *world) {
			pixel := "https://ads.partner.example/p.gif"
			w.search(off(w)).ResponseBody = []byte(`<img src="` + pixel + `">`)
			header(w.send(in(off(w)), "GET", pixel, "", nil), "Cookie", "last="+strings.ReplaceAll(words(off(w)), " ", "-"))
		}, harness.Continues, "cookie"},
		"an identifier sent to the site that was opened, as if by its page": {func(w *world) {
			ex := w.send(in(off(w)), "POST", "https://duckduckgo.com/log", "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
			header(ex, "Referer", "https://duckduckgo.com/")
		}, harness.Continues, "ANDROID_ID"},
		"the maker's own page and an unreadable upload as if by it": {func(w *world) {
			for _, o := range w.trial.Observations {
				if len(o.Expected) > 0 {
					o.Expected[0].Host = "search.intl.miui.com"
					ex := w.search(o)
					ex.URL = strings.Replace(ex.URL, "duckduckgo.com", "search.intl.miui.com", 1)
					for i := range w.ev.Traces[1].Flows {
						if f := &w.ev.Traces[1].Flows[i]; f.ID == ex.Flow {
							f.Host = "search.intl.miui.com"
						}
					}
				}
			}
			ex := w.send(in(off(w)), "POST", "https://sa.api.intl.miui.com/x", "application/json", encryptedLeaf())
			header(ex, "Referer", "https://search.intl.miui.com/")
		}, harness.OutcomeInconclusive, "opaque payload"},
		"the search as a page redirects it": {func(w *world) {
			s := w.search(off(w))
			s.Status, s.ResponseHeader = 302, []capture.Header{{Name: "Location", Value: "https://partner.example/find?q=" + q(off(w))}}
			w.send(in(off(w)), "GET", "https://partner.example/find?q="+q(off(w)), "", nil)
		}, harness.Stops, "reported apart"},
		"a page that reports to its own site on a collecting path": {func(w *world) {
			for _, o := range w.trial.Observations {
				if len(o.Expected) > 0 {
					o.Expected[0].Host = "www.google.com"
					ex := w.search(o)
					ex.URL = strings.Replace(ex.URL, "duckduckgo.com", "www.google.com", 1)
					for i := range w.ev.Traces[1].Flows {
						if f := &w.ev.Traces[1].Flows[i]; f.ID == ex.Flow {
							f.Host = "www.google.com"
						}
					}
				}
			}
			ex := w.send(in(off(w)), "GET", "https://www.google.com/gen_204?atyp=i", "", nil)
			header(ex, "Referer", "https://www.google.com/?q="+q(off(w))+"&ia=web")
		}, harness.Stops, "reported apart"},

		// The expected exchange.
		"the search sent to a collector under another name": {func(w *world) {
			w.send(in(off(w)), "GET", "https://duckduckgo.com/?q="+q(off(w))+"&ia=web", "", nil)
			f := w.lastFlow()
			f.Host, f.SNI = "sa.api.intl.miui.com", "sa.api.intl.miui.com"
		}, harness.Continues, "sa.api.intl.miui.com"},
		"a connectivity check at a host of another name": {func(w *world) {
			w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204?state=busy", "", nil)
			f := w.lastFlow()
			f.Host, f.SNI = "cdn.example", "cdn.example"
		}, harness.OutcomeInconclusive, "no rule explains"},
		"a further parameter in the search": {func(w *world) {
			w.search(off(w)).URL += "&state=busy"
		}, harness.OutcomeInconclusive, "no rule explains"},
		"a further parameter without a value in the search": {func(w *world) {
			w.search(off(w)).URL += "&busy"
		}, harness.OutcomeInconclusive, "no rule explains"},
		"only the beginning of the words was heard": {func(w *world) {
			w.search(off(w)).URL = "https://duckduckgo.com/?q=" + strings.Fields(words(off(w)))[0] + "&ia=web"
		}, harness.OutcomeInconclusive, "not read at its expected recipient"},
		"the words were heard long after the window": {func(w *world) {
			s := w.search(off(w))
			s.Start, s.Sent, s.End = s.Start.Add(time.Hour), s.Sent.Add(time.Hour), s.End.Add(time.Hour)
		}, harness.OutcomeInconclusive, "not read at its expected recipient"},
		"one word alone": {func(w *world) {
			w.send(in(off(w)), "GET", "https://suggest.example/?w="+strings.Fields(words(off(w)))[1], "", nil)
		}, harness.Continues, "suggest.example"},
		"the beginning of the words": {func(w *world) {
			w.send(in(off(w)), "GET", "https://suggest.example/?w="+words(off(w))[:7], "", nil)
		}, harness.Continues, "suggest.example"},

		"the search in the clear to an address that is not the engine's": {func(w *world) {
			w.inTheClear(in(off(w)), "http://duckduckgo.com/?q="+q(off(w))+"&ia=web")
		}, harness.Continues, "duckduckgo.com"},
		"the search in the clear to the engine": {func(w *world) {
			w.inTheClear(in(off(w)), "http://duckduckgo.com/?q="+q(off(w))+"&ia=web")
			l := w.lookup(in(off(w)).Add(-time.Second), "192.168.43.1:53", "duckduckgo.com", 32)
			w.ev.Owners = append(w.ev.Owners, harness.Owner{Proto: l.Proto, Local: l.Client.String(), Remote: l.Server.String(), UID: noiseUID, First: l.Start, Last: l.End})
			c := w.ev.Packets["tcpdump"]
			c.Lookups[len(c.Lookups)-1].Answers = []string{hostAddr.String()}
		}, harness.Stops, "not observed"},

		// Cookies and tags.
		"a cookie that the collector only repeats": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			header(ex, "Cookie", "id="+secret)
			ex.ResponseHeader = []capture.Header{{Name: "Set-Cookie", Value: "id=" + secret}}
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a tag that only comes back": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			header(ex, "If-None-Match", secret)
			ex.ResponseHeader = []capture.Header{{Name: "ETag", Value: secret}}
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a tag of another site": {func(w *world) {
			w.search(w.get("calibration")).ResponseHeader = []capture.Header{{Name: "ETag", Value: secret}}
			header(w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil), "If-None-Match", secret)
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a second cookie behind the name of a good one": {func(w *world) {
			token := "aGVsbG8gd29ybGQ5f3b1e7c2d4a6980"
			w.search(w.get("calibration")).ResponseHeader = []capture.Header{{Name: "Set-Cookie", Value: "id=" + token}}
			header(w.search(off(w)), "Cookie", "id="+token+"; id="+secret)
		}, harness.OutcomeInconclusive, "opaque payload"},

		// Events.
		"an event that claims to be years old": {func(w *world) {
			w.send(in(off(w)), "POST", collect, "application/json", record(`,"time":1000000000000`))
		}, harness.OutcomeInconclusive, "no rule explains"},
		"an event that claims to come": {func(w *world) {
			w.send(in(off(w)), "POST", collect, "application/json", record(fmt.Sprintf(`,"time":%d`, in(off(w)).Add(time.Hour).UnixMilli())))
		}, harness.Continues, "sensors event search"},
		"an event without a time": {func(w *world) {
			w.send(in(off(w)), "POST", collect, "application/json", record(""))
		}, harness.Continues, "sensors event search"},
		"an identifier among events that claim to be years old": {func(w *world) {
			w.send(in(off(w)), "POST", collect, "application/json",
				bytes.ReplaceAll(record(`,"time":1000000000000`), []byte(`"x"`), []byte(`"9f3c1d2e4b5a6978"`)))
		}, harness.OutcomeInconclusive, "ANDROID_ID"},
		"the words of ON arrive late, and the act was not timed": {func(w *world) {
			w.get("on-1").Acts = nil
		}, harness.OutcomeInconclusive, "moment"},
		"a late report behind a later act": {func(w *world) {
			w.withoutReports()
			for _, id := range []string{"calibration", "closing"} {
				w.report(w.get(id))
			}
			o := w.get("on-1")
			o.Acts = append(o.Acts, o.Acts[0].Add(5*time.Second))
			o.Window.Close = o.Window.Close.Add(5 * time.Second)
			w.sensors(o.Acts[0].Add(6*time.Second), o.Acts[0], words(o))
		}, harness.OutcomeInconclusive, "too short"},

		// The negative control.
		"another value where the control shows one": {func(w *world) {
			for id, state := range map[string]string{"quiet": "idle", "off-1": "busy"} {
				o := w.get(id)
				w.send(o.Window.Open.Add(3*time.Second), "POST", "https://telemetry.unlisted.example/v1", "application/json", []byte(`{"state":"`+state+`"}`))
			}
		}, harness.OutcomeInconclusive, "no rule explains"},
		"the same value as in the control": {func(w *world) {
			for _, id := range []string{"quiet", "off-1"} {
				o := w.get(id)
				w.send(o.Window.Open.Add(7*time.Second), "POST", "https://telemetry.unlisted.example/v1", "application/json", []byte(`{"state":"idle"}`))
			}
		}, harness.Stops, "not observed"},
		"a control in which the switch was on": {func(w *world) {
			w.get("quiet").After.Arm = harness.On
			for _, id := range []string{"quiet", "off-1"} {
				o := w.get(id)
				w.send(o.Window.Open.Add(7*time.Second), "POST", "https://telemetry.unlisted.example/v1", "application/json", []byte(`{"state":"idle"}`))
			}
		}, harness.OutcomeInconclusive, "no rule explains"},
		"a control that contacted the collector": {func(w *world) {
			w.packets(w.get("quiet").Window.Open.Add(time.Second), "tls", "sa.api.intl.miui.com", 900, claimUID)
		}, harness.OutcomeInconclusive, "contact"},
		"a control that leaked while its setting was unproven": {func(w *world) {
			w.get("quiet").After = nil
			w.send(w.get("quiet").Window.Open.Add(time.Second), "POST", collect, "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
		}, harness.OutcomeInconclusive, "setting is unproven"},
		"a control whose beacons are missing": {func(w *world) { w.get("quiet").Beacons = nil }, harness.OutcomeInconclusive, "beacons"},
		"no control": {func(w *world) {
			w.trial.Observations = append(w.trial.Observations[:1:1], w.trial.Observations[2:]...)
		}, harness.OutcomeInconclusive, "not run to its end"},

		// Counters, clocks and windows.
		"a counter that went down": {func(w *world) {
			off(w).CountersBefore.Sent["wlan0"] = 100
		}, harness.OutcomeInconclusive, "backwards"},
		"counters of no interface": {func(w *world) {
			off(w).CountersBefore.Sent, off(w).CountersAfter.Sent = nil, nil
		}, harness.OutcomeInconclusive, "counter"},
		"counters that stood still": {func(w *world) {
			w.packets(in(off(w)), "tls", "push.weather.example", 90000, noiseUID)
			off(w).CountersAfter.Sent["wlan0"] = 0
		}, harness.OutcomeInconclusive, "counter"},
		"counters that were read too late": {func(w *world) {
			off(w).CountersBefore = counters(in(off(w)), 0)
		}, harness.OutcomeInconclusive, "counter"},
		"counters that were read too early": {func(w *world) {
			off(w).CountersAfter = counters(in(off(w)), 0)
		}, harness.OutcomeInconclusive, "counter"},
		"a clock that nobody knows": {func(w *world) {
			off(w).ClockBefore.Uncertainty, off(w).ClockAfter.Uncertainty = time.Hour, time.Hour
		}, harness.OutcomeInconclusive, "clock"},
		"a clock that jumped between the windows": {func(w *world) {
			off(w).ClockBefore.Offset, off(w).ClockAfter.Offset = time.Hour, time.Hour
		}, harness.OutcomeInconclusive, "clock"},
		"a window that was cut short": {func(w *world) {
			o := off(w)
			o.Window.Close = o.Acts[0].Add(3 * time.Second)
		}, harness.OutcomeInconclusive, "short"},
		"a window that wanted less than the trial": {func(w *world) {
			o := off(w)
			o.Window.Wanted = time.Second
			o.Window.Close = o.Acts[0].Add(1500 * time.Millisecond)
		}, harness.OutcomeInconclusive, "short"},
		"a window that closes before it opens": {func(w *world) {
			o := off(w)
			o.Window.Close = o.Window.Open.Add(-time.Second)
		}, harness.OutcomeInconclusive, ""},
		"a window without a length": {func(w *world) {
			o := off(w)
			o.CountersBefore, o.CountersAfter = nil, nil
			o.Window.Close = o.Window.Open
			w.send(o.Window.Open, "GET", "https://busy.unlisted.example/", "", nil)
		}, harness.OutcomeInconclusive, "counters"},

		"an app of the claim without a user id": {func(w *world) {
			for _, o := range w.trial.Observations {
				o.ClaimUIDs = nil
			}
			w.packets(in(off(w)), "tls", "cdn.example", 900, claimUID)
		}, harness.OutcomeInconclusive, "user id"},
		"bytes that the capture lost somewhere": {func(w *world) {
			w.ev.Traces[0].Health.SkippedBytes = 100
		}, harness.OutcomeInconclusive, "misses 100 bytes"},
		"bytes that the proxy lost": {func(w *world) {
			w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			w.lastFlow().SkippedBytes = 100
		}, harness.OutcomeInconclusive, "misses 100 bytes"},
		"two conversations of one number": {func(w *world) {
			w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			again := *w.lastFlow()
			again.Visibility = capture.Metadata
			w.ev.Traces[1].Flows = append(w.ev.Traces[1].Flows, again)
		}, harness.OutcomeInconclusive, "two conversations"},
		"an event that took long behind a later act": {func(w *world) {
			w.withoutReports()
			for _, o := range w.trial.Observations {
				if o.Arm == harness.On {
					o.Acts = append(o.Acts, o.Acts[0].Add(5*time.Second))
					o.Window.Close = o.Window.Close.Add(5 * time.Second)
					o.CountersAfter = counters(o.Window.Close.Add(time.Second), 0)
					w.sensors(o.Acts[0].Add(5500*time.Millisecond), o.Acts[0], "")
				}
			}
		}, harness.OutcomeInconclusive, "too short"},

		// What ran.
		"an instrument without a trace": {func(w *world) {
			w.ev.Traces = w.ev.Traces[1:]
			delete(w.ev.Packets, "tcpdump")
		}, harness.OutcomeInconclusive, "tcpdump"},
		"a packet file that was not read": {func(w *world) {
			delete(w.ev.Packets, "tcpdump")
		}, harness.OutcomeInconclusive, "tcpdump"},
		"a trace that begins after the act": {func(w *world) {
			w.ev.Traces[0].Start = in(off(w))
		}, harness.OutcomeInconclusive, "began"},
		"a trace that ends before the window": {func(w *world) {
			w.ev.Traces[0].End = in(off(w))
		}, harness.OutcomeInconclusive, "ended"},
		"an OFF window without an arm": {func(w *world) {
			o := off(w)
			w.observation("off-2", harness.Pair, "")
			w.report(o)
			o.Arm, o.Before.Arm, o.After.Arm = "", "", ""
			w.trial.Observations[5].Arm = harness.Off
			w.trial.Observations[5].Before.Arm, w.trial.Observations[5].After.Arm = harness.Off, harness.Off
		}, harness.OutcomeInconclusive, "off-1"},
		"a calibration with the switch off": {func(w *world) {
			o := w.get("calibration")
			o.Arm, o.Before.Arm, o.After.Arm = harness.Off, harness.Off, harness.Off
		}, harness.Continues, "korvandel"},
		"an app that was updated between the arms": {func(w *world) {
			for _, s := range []*harness.State{off(w).Before, off(w).After} {
				s.SHA256, s.Version = "bb", "13"
			}
		}, harness.OutcomeInconclusive, "app hash"},
		"an arm in another mode": {func(w *world) {
			off(w).Mode = harness.ModeNormal
		}, harness.OutcomeInconclusive, "mode"},
		"an arm on another phone": {func(w *world) {
			off(w).Serial = "other"
		}, harness.OutcomeInconclusive, "phone"},
		"a mode that nobody read": {func(w *world) {
			for _, o := range w.trial.Observations {
				o.Claim.Scope.Modes, o.Mode = []harness.Mode{harness.ModeIncognito}, harness.ModeUnknown
			}
		}, harness.OutcomeInconclusive, "mode"},
		"a step that failed": {func(w *world) {
			off(w).Steps = []harness.StepRecord{{Name: "search DuckDuckGo", Err: "no such row"}}
		}, harness.OutcomeInconclusive, "no such row"},
		"an observation that ended with an error": {func(w *world) { off(w).Err = "device lost" }, harness.OutcomeInconclusive, "device lost"},
		"an observation that is missing from the file": {func(w *world) {
			w.trial.Observations = append(w.trial.Observations, nil)
		}, harness.OutcomeInconclusive, "not run to its end"},
		"an identifier that only this window knows": {func(w *world) {
			w.get("calibration").Identifiers = nil
			w.send(in(off(w)), "POST", "https://api.collect.data.intl.miui.com/x", "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
		}, harness.Continues, "ANDROID_ID"},
		"a window that was recorded apart": {func(w *world) {
			off(w).Attach(&harness.Evidence{Traces: w.ev.Traces, Packets: w.ev.Packets, Notes: nil})
		}, harness.OutcomeInconclusive, "apart"},
		"the words of an earlier run": {func(w *world) {
			w.ev.Known = []canary.Canary{{ID: "earlier", Field: "search words", Term: "quilvemor dastrephil"}}
			w.send(in(off(w)), "POST", "https://cdn.example/x", "text/plain", []byte("quilvemor dastrephil"))
		}, harness.OutcomeInconclusive, "earlier run"},
		"remote configuration turned the SDK off between the windows": {func(w *world) {
			ex := w.send(off(w).Window.Open.Add(-4*time.Second), "GET", "https://sa.api.intl.miui.com/config/Android.conf?project=global_browser&v=1", "", nil)
			ex.ResponseBody = []byte(`{"v":"1","configs":{"disableSDK":true,"disableDebugMode":false}}`)
			ex.ResponseHeader = []capture.Header{{Name: "Content-Type", Value: "application/json"}}
		}, harness.OutcomeInconclusive, "turned the SDK off"},
		"an identifier between two windows that are both off": {func(w *world) {
			w.send(w.get("quiet").CountersAfter.To.Add(time.Second), "POST", "https://api.collect.data.intl.miui.com/x", "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
		}, harness.Continues, "ANDROID_ID"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.happens(w)
			f := w.judge()
			if f.Outcome != c.want {
				for _, o := range w.trial.Observations {
					if o != nil && o.Finding != nil {
						t.Logf("%s: %s %q %+v", o.ID, o.Finding.Verdict, o.Finding.Because, o.Finding.Accounting.InScope)
					}
				}
				t.Fatalf("outcome %s because %q, want %s", f.Outcome, f.Because, c.want)
			}
			if !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("because %q does not mention %q", f.Because, c.because)
			}
		})
	}
}

// TestLoneAttacks are observations made by hand that look like silence.
func TestLoneAttacks(t *testing.T) {
	for name, change := range map[string]func(on, off *harness.Observation){
		"an arm that nobody knows": func(_, off *harness.Observation) {
			off.Arm, off.Before.Arm, off.After.Arm = "", "", ""
		},
		"another switch":                func(on, _ *harness.Observation) { on.Setting = "advertising" },
		"no moment of the act in ON":    func(on, _ *harness.Observation) { on.Acts = nil },
		"a window of an unknown length": func(_, off *harness.Observation) { off.Window.Wanted = 0 },
		"another claim":                 func(on, _ *harness.Observation) { on.Claim.ID = "other" },
	} {
		w := newWorld(t)
		off, on := w.get("off-1"), w.get("on-1")
		f := harness.JudgeAlone(on, nil, list(t))
		on.Finding = &f
		change(on, off)
		if f := harness.JudgeAlone(off, on, list(t)); f.Verdict != harness.Inconclusive {
			t.Errorf("%s: %s because %q", name, f.Verdict, f.Because)
		}
	}
}

// TestJudgedAgainFromDisk writes a trial and reads it back: the same values
// must give the same finding.
func TestJudgedAgainFromDisk(t *testing.T) {
	for name, happens := range map[string]func(w *world){
		"honest": func(*world) {},
		"deaf":   func(w *world) { w.report(w.get("off-1")) },
		"earlier run": func(w *world) {
			w.ev.Known = []canary.Canary{{ID: "earlier", Field: "search words", Term: "quilvemor dastrephil"}}
			w.send(w.get("off-1").Acts[0], "POST", "https://cdn.example/x", "text/plain", []byte("quilvemor dastrephil"))
		},
		"encoded": func(w *world) {
			o := w.get("off-1")
			w.send(o.Acts[0], "POST", "https://cdn.example/x", "text/plain", []byte(base64.StdEncoding.EncodeToString([]byte(o.Canaries[0].Term))))
		},
	} {
		w := newWorld(t)
		happens(w)
		first := w.judge()
		text, err := json.Marshal(w.trial)
		if err != nil {
			t.Fatal(err)
		}
		var again harness.Trial
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		ev, err := json.Marshal(w.ev)
		if err != nil {
			t.Fatal(err)
		}
		read := harness.Evidence{}
		if err := json.Unmarshal(ev, &read); err != nil {
			t.Fatal(err)
		}
		read.Traces, read.Packets = w.ev.Traces, w.ev.Packets
		for _, o := range again.Observations {
			o.Attach(&read)
		}
		harness.JudgeTrial(&again, list(t))
		if got, want := fmt.Sprint(again.Finding), fmt.Sprint(first); got != want {
			t.Errorf("%s: judged again %s, first %s", name, got, want)
		}
	}
}
