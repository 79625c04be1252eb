package harness_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// world builds the recorded values of a trial by hand, so that every row of
// the tables can be tried without a phone. It starts as an honest phone: with
// the switch on a search is reported, with the switch off it is not.
type world struct {
	t     *testing.T
	start time.Time
	trial *harness.Trial
	ev    *harness.Evidence
	next  int
}

const (
	windowLength = 10 * time.Second
	claimUID     = 10123
	noiseUID     = 10150
)

var (
	phoneAddr = netip.MustParseAddr("192.168.43.10")
	hostAddr  = netip.MustParseAddr("203.0.113.7")
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, start: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
	zero := int64(0)
	w.ev = &harness.Evidence{
		Traces: []capture.Trace{
			{Backend: "tcpdump", Packets: "tcpdump.pcap", Health: capture.Health{Dropped: &zero}},
			{Backend: "proxy"},
		},
		Packets: map[string]*dissect.Capture{"tcpdump": {}},
	}
	w.trial = &harness.Trial{Format: 1, Scenario: "search", Serial: "R58M", Window: windowLength, Instruments: []string{"tcpdump", "proxy"}}
	w.trial.Finding.Claim = claim()
	for _, x := range []struct {
		id   string
		part harness.Part
		arm  harness.Arm
	}{
		{"calibration", harness.Calibration, harness.On},
		{"quiet", harness.Quiet, harness.Off},
		{"off-1", harness.Pair, harness.Off},
		{"on-1", harness.Pair, harness.On},
		{"closing", harness.Closing, harness.On},
	} {
		w.observation(x.id, x.part, x.arm)
	}
	for _, o := range w.trial.Observations {
		if o.Arm == harness.On {
			w.report(o)
		}
	}
	return w
}

func claim() harness.Claim {
	return harness.Claim{ID: "maker", Source: "the maker", Wording: "off stops it", Scope: harness.Scope{
		Apps: []string{"com.mi.globalbrowser"}, Parties: []string{"Xiaomi"},
	}}
}

func (w *world) observation(id string, part harness.Part, arm harness.Arm) {
	i := len(w.trial.Observations)
	open := w.start.Add(time.Duration(i) * 20 * time.Second)
	closed := open.Add(windowLength + 2*time.Second)
	state := harness.State{Arm: arm, Widget: string(arm), App: "com.mi.globalbrowser", Version: "12.2.6-g", SHA256: "aa"}
	after := state
	o := &harness.Observation{
		Format: 1, ID: id, Part: part, Scenario: "search", Claim: claim(), Arm: arm, Mode: harness.ModeIncognito, Serial: "R58M", Build: "b",
		Window: harness.Window{Open: open, Close: closed, Wanted: windowLength},
		Before: &state, After: &after, ClaimUIDs: []int{claimUID},
		Identifiers:    []canary.Canary{{ID: "identifier/ANDROID_ID", Field: "ANDROID_ID", Term: "9f3c1d2e4b5a6978"}},
		Beacons:        map[string][]capture.Beacon{},
		BeaconPeriod:   5 * time.Second,
		ClockBefore:    &harness.Clock{Uncertainty: time.Millisecond},
		ClockAfter:     &harness.Clock{Uncertainty: time.Millisecond},
		CountersBefore: counters(open.Add(-time.Second), 0),
		CountersAfter:  counters(closed.Add(time.Second), 0),
	}
	for _, b := range []string{"tcpdump", "proxy"} {
		for _, at := range []time.Time{open.Add(-500 * time.Millisecond), open.Add(5 * time.Second), closed.Add(200 * time.Millisecond)} {
			nonce := fmt.Sprintf("nonce%s%d", b, at.UnixNano())
			o.Beacons[b] = append(o.Beacons[b], capture.Beacon{Nonce: nonce, Name: nonce + ".beacon.offproof.invalid", Sent: at, Seen: at.Add(10 * time.Millisecond)})
		}
	}
	w.trial.Observations = append(w.trial.Observations, o)
	o.Attach(w.ev)
	if part == harness.Quiet {
		return
	}
	o.Acts = []time.Time{open.Add(time.Second)}
	// Words that differ in every window, in the alphabet that is minted.
	term := fmt.Sprintf("korvandel%c mistruph%c", 'a'+i, 'a'+i)
	o.Canaries = []canary.Canary{
		{ID: id + "-words", Field: "search words", Term: term, Observation: id, Serial: "R58M"},
		{ID: id + "-sham", Field: "search words", Term: fmt.Sprintf("belgoritx%c panvexilt%c", 'a'+i, 'a'+i), Observation: id, Serial: "R58M", Sham: true},
	}
	o.Expected = []harness.Expected{{
		Canary: id + "-words", Role: "DuckDuckGo's search", Host: "duckduckgo.com", Path: "/", Param: "q",
		Known: map[string][]string{"ia": {"web"}},
	}}
	o.ReadBacks = []harness.ReadBack{{What: "results page", Want: term, Got: term, OK: true}}
	ex := w.send(open.Add(1100*time.Millisecond), "GET", "https://duckduckgo.com/?q="+url.QueryEscape(term)+"&ia=web", "", nil)
	ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "User-Agent", Value: "Mozilla/5.0 (Linux; U; Android 9; Redmi Note 8) Mobile Safari/537.36"})
	ex.ResponseBody = []byte("<html><title>" + term + " at DuckDuckGo</title><img src=\"/t/page.gif?q=" + url.QueryEscape(term) + "\"></html>")
}

func counters(at time.Time, sent int64) *harness.Counters {
	return &harness.Counters{From: at, To: at.Add(10 * time.Millisecond), Sent: map[string]int64{"wlan0": sent}}
}

func (w *world) get(id string) *harness.Observation {
	w.t.Helper()
	for _, o := range w.trial.Observations {
		if o.ID == id {
			return o
		}
	}
	w.t.Fatalf("no observation %s", id)
	return nil
}

// send adds an exchange that the proxy read, with its flow.
func (w *world) send(at time.Time, method, address, contentType string, body []byte) *capture.Exchange {
	w.next++
	id := fmt.Sprint(w.next)
	u, err := url.Parse(address)
	if err != nil {
		w.t.Fatal(err)
	}
	tr := &w.ev.Traces[1]
	size := int64(700 + len(address) + len(body))
	tr.Flows = append(tr.Flows, capture.Flow{
		ID: id, Proto: capture.TCP, App: "tls", Host: u.Hostname(), HostFrom: capture.FromSNI, Start: at, End: at.Add(100 * time.Millisecond),
		BytesUp: size, PayloadUp: size, Visibility: capture.Plaintext, Sent: []capture.Burst{{At: at, Bytes: size, Payload: size}},
	})
	ex := capture.Exchange{
		ID: id, Flow: id, Start: at, Sent: at.Add(time.Millisecond), End: at.Add(50 * time.Millisecond), Method: method, URL: address, Status: 200,
		RequestHeader: []capture.Header{{Name: "Host", Value: u.Host}}, RequestBody: body, BytesUp: int64(len(body)),
	}
	if contentType != "" {
		ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Content-Type", Value: contentType})
	}
	tr.Exchanges = append(tr.Exchanges, ex)
	return &tr.Exchanges[len(tr.Exchanges)-1]
}

// packets adds a flow that only the packet capture saw; the counters of every
// observation that it touches count it.
func (w *world) packets(at time.Time, app, host string, payload int64, uid int) {
	w.next++
	port := uint16(40000 + w.next) //nolint:gosec // Small.
	f := capture.Flow{
		ID: fmt.Sprint(w.next), Proto: capture.TCP, App: app, Client: netip.AddrPortFrom(phoneAddr, port), Server: netip.AddrPortFrom(hostAddr, 443),
		Host: host, SNI: host, HostFrom: capture.FromSNI, Start: at, End: at.Add(time.Second), BytesUp: payload + 120, PayloadUp: payload,
		Visibility: capture.Metadata, Sent: []capture.Burst{{At: at, Bytes: payload + 120, Payload: payload}},
	}
	c := w.ev.Packets["tcpdump"]
	c.Flows = append(c.Flows, f)
	if uid != 0 {
		w.ev.Owners = append(w.ev.Owners, harness.Owner{Proto: capture.TCP, Local: f.Client.String(), Remote: f.Server.String(), UID: uid, First: at, Last: at})
	}
	for _, o := range w.trial.Observations {
		if !at.Before(o.Window.Open) && at.Before(o.Window.Close) {
			o.CountersAfter.Sent["wlan0"] += f.BytesUp
		}
	}
}

// report sends what the Sensors module of 2020 sends of a search.
func (w *world) report(o *harness.Observation) {
	w.sensors(o.Acts[0].Add(600*time.Millisecond), o.Acts[0], o.Canaries[0].Term)
}

func (w *world) sensors(at, event time.Time, words string) {
	records, err := json.Marshal([]map[string]any{{
		"type": "track", "event": "search", "time": event.UnixMilli(), "distinct_id": "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69",
		"properties": map[string]any{"search_word": words, "used_searchengine": "duckduckgo"},
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	if _, err := zw.Write(records); err != nil {
		w.t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		w.t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString(z.Bytes())
	crc := int32(0)
	for _, c := range b64 {
		crc = 31*crc + c
	}
	w.send(at, "POST", "https://sa.api.intl.miui.com/sa?project=global_browser&r=GB", "application/x-www-form-urlencoded",
		[]byte(fmt.Sprintf("crc=%d&gzip=1&data_list=%s", crc, url.QueryEscape(b64))))
}

func list(t *testing.T) *collector.List {
	t.Helper()
	return collector.Default()
}

func (w *world) judge() harness.TrialFinding {
	w.t.Helper()
	harness.JudgeTrial(w.trial, list(w.t))
	return w.trial.Finding
}

func TestHonestPhoneStops(t *testing.T) {
	w := newWorld(t)
	f := w.judge()
	if f.Outcome != harness.Stops || f.Grade != harness.CanaryGrade {
		t.Fatalf("outcome %s, grade %s, because %q", f.Outcome, f.Grade, f.Because)
	}
	if f.P != 0.5 || !strings.Contains(f.Because[0], "smoke") {
		t.Errorf("one pair: p %v, because %q; want 0.5 and the word smoke", f.P, f.Because[0])
	}
	for _, o := range w.trial.Observations {
		want := harness.NotCollected
		if o.Arm == harness.On {
			want = harness.Collected
		}
		if o.Finding.Verdict != want {
			t.Errorf("%s: %s because %q, want %s", o.ID, o.Finding.Verdict, o.Finding.Because, want)
		}
	}
}

func encryptedLeaf() []byte {
	return []byte(`{"v":1,"model":"Redmi Note 8","d":"` + base64.StdEncoding.EncodeToString([]byte{
		0x9e, 0x11, 0xf4, 0x5c, 0x03, 0xd8, 0x77, 0x8a, 0xb1, 0x2c, 0xee, 0x60, 0x95, 0x4f, 0xa3, 0x1d,
		0x7b, 0xc2, 0x38, 0xe9, 0x56, 0x0d, 0xf1, 0x84, 0x2a, 0xbd, 0x63, 0x17, 0xc8, 0x9f, 0x40, 0xe5,
	}) + `"}`)
}

// TestTrials is the judge's own judge: what happened, and what must come out.
// No case in which data leaves or an instrument fails may stop.
func TestTrials(t *testing.T) {
	off := func(w *world) *harness.Observation { return w.get("off-1") }
	in := func(o *harness.Observation) time.Time { return o.Acts[0].Add(2 * time.Second) }
	words := func(o *harness.Observation) string { return o.Canaries[0].Term }
	zip := func(s string) []byte {
		var z bytes.Buffer
		zw := gzip.NewWriter(&z)
		_, _ = zw.Write([]byte(s))
		_ = zw.Close()
		return z.Bytes()
	}
	for name, c := range map[string]struct {
		happens func(w *world)
		want    harness.Outcome
		because string
	}{
		"the switch is ignored": {func(w *world) { w.report(off(w)) }, harness.Continues, "korvandel"},
		"an upload to a host that no list knows": {func(w *world) {
			w.send(in(off(w)), "POST", "https://telemetry.unlisted.example/c", "application/octet-stream",
				[]byte(base64.StdEncoding.EncodeToString(zip("q="+words(off(w))))))
		}, harness.Continues, "telemetry.unlisted.example"},
		"the words in a header": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "X-Trace", Value: base64.RawURLEncoding.EncodeToString([]byte(words(off(w))))})
		}, harness.Continues, "X-Trace"},
		"a second copy in the expected exchange": {func(w *world) {
			w.send(in(off(w)), "GET", "https://duckduckgo.com/?q="+url.QueryEscape(words(off(w)))+"&again="+url.QueryEscape(words(off(w))), "", nil)
		}, harness.Continues, "again"},
		"the words at the engine in another role": {func(w *world) {
			w.send(in(off(w)), "POST", "https://duckduckgo.com/beacon", "text/plain", []byte(words(off(w))))
		}, harness.Continues, "duckduckgo.com"},
		"an upload that pretends to be a page's": {func(w *world) {
			ex := w.send(in(off(w)), "POST", "https://sa.api.intl.miui.com/x", "text/plain", []byte(words(off(w))))
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Referer", Value: "https://duckduckgo.com/"})
		}, harness.Continues, "sa.api.intl.miui.com"},
		"an identifier of the phone": {func(w *world) {
			w.send(in(off(w)), "POST", "https://api.collect.data.intl.miui.com/x", "application/json", []byte(`{"id":"9f3c1d2e4b5a6978"}`))
		}, harness.Continues, "ANDROID_ID"},
		"a telemetry event without the words": {func(w *world) {
			w.sensors(in(off(w)), off(w).Acts[0], "")
		}, harness.Continues, "sensors event search"},
		"the words of OFF arrive while ON runs": {func(w *world) {
			w.sensors(w.get("on-1").Acts[0].Add(time.Second), off(w).Acts[0], words(off(w)))
		}, harness.Continues, "korvandel"},
		"capture died, and it leaked all the same": {func(w *world) {
			w.report(off(w))
			w.ev.Traces[0].Health.Died = off(w).Window.Open
			w.ev.Traces[0].Health.Truncated = true
		}, harness.Continues, "korvandel"},

		"the words of ON arrive late, while OFF runs": {func(w *world) {
			w.sensors(w.get("off-1").Acts[0], w.get("calibration").Acts[0], words(w.get("calibration")))
		}, harness.OutcomeInconclusive, "lag"},
		"an encrypted leaf inside readable JSON": {func(w *world) {
			w.send(in(off(w)), "POST", "https://api.collect.data.intl.miui.com/v1/health", "application/json", encryptedLeaf())
		}, harness.OutcomeInconclusive, "opaque payload"},
		"an encrypted leaf to a host that no list knows": {func(w *world) {
			w.send(in(off(w)), "POST", "https://telemetry.unlisted.example/v1", "application/json", encryptedLeaf())
		}, harness.OutcomeInconclusive, "opaque payload"},
		"readable values that nobody can explain": {func(w *world) {
			w.send(in(off(w)), "POST", "https://telemetry.unlisted.example/v1", "application/json", []byte(`{"state":"busy"}`))
		}, harness.OutcomeInconclusive, "no rule explains"},
		"an encrypted header at an address that the page names": {func(w *world) {
			o := off(w)
			pixel := "https://ads.partner.example/p.gif"
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(o))) {
					tr.Exchanges[i].ResponseBody = append(tr.Exchanges[i].ResponseBody, []byte(`<img src="`+pixel+`">`)...)
				}
			}
			ex := w.send(in(o), "GET", pixel, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "X-State", Value: "nhH0XAPYd4qxLO5glU+jHXvCOOlWDfGEKr1jF8ifQOU="})
		}, harness.OutcomeInconclusive, "opaque payload"},
		"a nonce in an address of its own": {func(w *world) {
			nonce := off(w).Beacons["proxy"][0].Nonce
			w.send(in(off(w)), "GET", "https://collect.unlisted.example/"+nonce+"/busy", "", nil)
		}, harness.OutcomeInconclusive, "no rule explains"},
		"a bare visit to an unknown host": {func(w *world) {
			w.send(in(off(w)), "GET", "https://busy.unlisted.example/", "", nil)
		}, harness.OutcomeInconclusive, "no rule explains"},
		"a change of protocol that was not read": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://duckduckgo.com/?q="+url.QueryEscape(words(off(w)))+"&ia=web", "", nil)
			ex.Status = 101
		}, harness.OutcomeInconclusive, "opaque transport"},
		"a socket that changed its owner": {func(w *world) {
			at := in(off(w))
			w.packets(at, "tls", "cdn.example", 900, noiseUID)
			last := w.ev.Owners[len(w.ev.Owners)-1]
			last.UID = claimUID
			w.ev.Owners = append(w.ev.Owners, last)
		}, harness.OutcomeInconclusive, "contact"},
		"a conversation past the proxy": {func(w *world) {
			w.packets(in(off(w)), "tls", "sa.api.intl.miui.com", 900, claimUID)
		}, harness.OutcomeInconclusive, "contact"},
		"a conversation past the proxy by an unknown app": {func(w *world) {
			w.packets(in(off(w)), "quic", "cdn.example", 900, 0)
		}, harness.OutcomeInconclusive, "opaque transport"},
		"a delegate sends": {func(w *world) {
			w.packets(in(off(w)), "tls", "tracking.intl.miui.com", 900, noiseUID)
		}, harness.OutcomeInconclusive, "contact"},
		"a refused handshake": {func(w *world) {
			w.next++
			w.ev.Traces[1].Flows = append(w.ev.Traces[1].Flows, capture.Flow{
				ID: fmt.Sprint(w.next), App: "tls", Host: "sa.api.intl.miui.com", Start: in(off(w)), End: in(off(w)), BytesUp: 600, PayloadUp: 600,
				Visibility: capture.Metadata, Failure: "unknown certificate authority", Sent: []capture.Burst{{At: in(off(w)), Bytes: 600, Payload: 600}},
			})
		}, harness.OutcomeInconclusive, "unknown certificate authority"},
		"bytes that only the counter knows": {func(w *world) {
			off(w).CountersAfter.Sent["rmnet0"] = 5000
		}, harness.OutcomeInconclusive, "unexplained"},
		"the counters could not be read": {func(w *world) { off(w).CountersAfter = nil }, harness.OutcomeInconclusive, "counters"},
		"capture died before the act": {func(w *world) {
			w.ev.Traces[0].Health.Died = off(w).Acts[0].Add(-time.Millisecond)
			w.ev.Traces[0].Health.Truncated = true
		}, harness.OutcomeInconclusive, "died"},
		"capture is cut short, nobody knows where": {func(w *world) { w.ev.Traces[0].Health.Truncated = true }, harness.OutcomeInconclusive, "cut short"},
		"packets were dropped": {func(w *world) {
			n := int64(3)
			w.ev.Traces[0].Health.Dropped = &n
		}, harness.OutcomeInconclusive, "dropped"},
		"nobody knows whether packets were dropped": {func(w *world) { w.ev.Traces[0].Health.Dropped = nil }, harness.OutcomeInconclusive, "did not say"},
		"a gap in a conversation": {func(w *world) {
			w.packets(in(off(w)), "tls", "cdn.example", 900, noiseUID)
			c := w.ev.Packets["tcpdump"]
			c.Flows[len(c.Flows)-1].SkippedBytes = 100
		}, harness.OutcomeInconclusive, "misses 100 bytes"},
		"no closing beacon":         {func(w *world) { off(w).Beacons["proxy"] = off(w).Beacons["proxy"][:2] }, harness.OutcomeInconclusive, "beacons"},
		"no beacons of one backend": {func(w *world) { delete(off(w).Beacons, "tcpdump") }, harness.OutcomeInconclusive, "beacons"},
		"a long stretch without beacons": {func(w *world) {
			o := w.get("off-1")
			o.BeaconPeriod = time.Millisecond
			for i, ago := range []time.Duration{time.Minute, 30 * time.Second, 0} {
				b := &o.Beacons["proxy"][i]
				b.Sent, b.Seen = b.Sent.Add(-ago), b.Seen.Add(-ago)
			}
		}, harness.OutcomeInconclusive, "no beacon"},
		"the page never loaded": {func(w *world) {
			off(w).ReadBacks[0].OK, off(w).ReadBacks[0].Got = false, "net::ERR_CONNECTION_TIMED_OUT"
		}, harness.OutcomeInconclusive, "net::ERR"},
		"the search was never heard at the engine": {func(w *world) {
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(off(w)))) {
					tr.Exchanges[i].URL = "https://duckduckgo.com/"
				}
			}
		}, harness.OutcomeInconclusive, "not read at its expected recipient"},
		"the engine refused the search": {func(w *world) {
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(off(w)))) {
					tr.Exchanges[i].Status = 502
				}
			}
		}, harness.OutcomeInconclusive, "not read at its expected recipient"},
		"nothing was planted":                      {func(w *world) { off(w).Canaries, off(w).Expected = nil, nil }, harness.OutcomeInconclusive, "nothing was planted"},
		"the switch sprang back before the window": {func(w *world) { off(w).Before.Arm = harness.On }, harness.OutcomeInconclusive, "switch"},
		"the switch sprang back inside the window": {func(w *world) { off(w).After.Arm = harness.On }, harness.OutcomeInconclusive, "switch"},
		"the switch sprang back and it leaked": {func(w *world) {
			off(w).After.Arm = harness.On
			w.report(off(w))
		}, harness.OutcomeInconclusive, "setting is unproven"},
		"the app was updated":           {func(w *world) { off(w).After.SHA256 = "bb" }, harness.OutcomeInconclusive, "app hash"},
		"the setting was not read back": {func(w *world) { off(w).After = nil }, harness.OutcomeInconclusive, "not read back"},
		"the window broke":              {func(w *world) { off(w).Broken = []string{"the phone was unplugged"} }, harness.OutcomeInconclusive, "unplugged"},
		"the window never closed":       {func(w *world) { off(w).Window.Close = time.Time{} }, harness.OutcomeInconclusive, "not completed"},
		"the clock jumped":              {func(w *world) { off(w).ClockAfter.Offset = time.Hour }, harness.OutcomeInconclusive, "clock"},
		"the clock is unknown":          {func(w *world) { off(w).ClockAfter = nil }, harness.OutcomeInconclusive, "clock"},
		"remote configuration turned the SDK off": {func(w *world) {
			ex := w.send(in(off(w)), "GET", "https://sa.api.intl.miui.com/config/Android.conf?project=global_browser&v=1", "", nil)
			ex.ResponseBody = []byte(`{"v":"1","configs":{"disableSDK":true,"disableDebugMode":false}}`)
			ex.ResponseHeader = []capture.Header{{Name: "Content-Type", Value: "application/json"}}
		}, harness.OutcomeInconclusive, "turned the SDK off"},
		"remote configuration differs between the arms": {func(w *world) {
			for i, id := range []string{"off-1", "on-1"} {
				ex := w.send(in(w.get(id)), "GET", "https://sa.api.intl.miui.com/config/Android.conf?project=global_browser&v=1", "", nil)
				ex.ResponseBody = []byte(fmt.Sprintf(`{"v":"%d","configs":{"disableSDK":false,"eventLimit":%d}}`, i, i))
			}
		}, harness.OutcomeInconclusive, "not the same"},
		"no ON window was collected": {func(w *world) { w.withoutReports() }, harness.NeverCollected, "no window collected"},
		"one ON window was not collected": {func(w *world) {
			w.withoutReports()
			w.report(w.get("calibration"))
			w.report(w.get("closing"))
		}, harness.OutcomeInconclusive, "no steady positive control"},
		"the collector was gone at the end": {func(w *world) {
			w.withoutReports()
			w.report(w.get("calibration"))
			w.report(w.get("on-1"))
		}, harness.OutcomeInconclusive, "no steady positive control"},
		"ON needed longer than a third of the window": {func(w *world) {
			w.withoutReports()
			for _, id := range []string{"calibration", "closing"} {
				w.report(w.get(id))
			}
			o := w.get("on-1")
			w.sensors(o.Acts[0].Add(6*time.Second), o.Acts[0], words(o))
		}, harness.OutcomeInconclusive, "too short"},
		"the pairs were run again with longer windows": {func(w *world) {
			w.extend(w.get("on-1"), 6*time.Second)
		}, harness.Stops, "1 of 1 OFF windows of 18s"},
		"it leaked in the window that was too short": {func(w *world) {
			w.extend(w.get("on-1"), 6*time.Second)
			w.report(w.get("off-1"))
		}, harness.Continues, "korvandel"},
		"it sent an encrypted leaf in the window that was too short": {func(w *world) {
			w.extend(w.get("on-1"), 6*time.Second)
			w.send(in(w.get("off-1")), "POST", "https://api.collect.data.intl.miui.com/v1/health", "application/json", encryptedLeaf())
		}, harness.OutcomeInconclusive, "opaque payload"},
		"the trial ended before the closing ON": {func(w *world) {
			w.trial.Observations = w.trial.Observations[:4]
		}, harness.OutcomeInconclusive, "not run to its end"},
		"only one arm ran": {func(w *world) {
			w.trial.Observations = w.trial.Observations[:3]
		}, harness.OutcomeInconclusive, "not run to its end"},
		"the claim speaks of another mode": {func(w *world) {
			for _, o := range w.trial.Observations {
				o.Claim.Scope.Modes = []harness.Mode{harness.ModeNormal}
			}
		}, harness.OutcomeInconclusive, "does not speak of the mode"},
		"it sent in a mode of which the claim does not speak": {func(w *world) {
			for _, o := range w.trial.Observations {
				o.Claim.Scope.Modes = []harness.Mode{harness.ModeNormal}
			}
			w.sensors(in(off(w)), off(w).Acts[0], words(off(w)))
		}, harness.OutcomeInconclusive, "does not speak of the mode"},
		"it sent, and nobody read in which mode": {func(w *world) {
			off(w).Mode = harness.ModeUnknown
			off(w).Claim.Scope.Modes = []harness.Mode{harness.ModeIncognito}
			w.sensors(in(off(w)), off(w).Acts[0], words(off(w)))
		}, harness.OutcomeInconclusive, "nobody read in which mode"},
		"a sham is seen": {func(w *world) {
			w.send(in(off(w)), "POST", "https://cdn.example/x", "text/plain", []byte(off(w).Canaries[1].Term))
		}, harness.OutcomeInconclusive, "nobody typed"},
		"nothing was recorded": {func(w *world) { w.ev.Traces = nil }, harness.OutcomeInconclusive, "nothing was recorded"},

		"another app's opaque traffic": {func(w *world) {
			w.packets(in(off(w)), "tls", "push.weather.example", 4000, noiseUID)
		}, harness.Stops, "not observed"},
		"a connectivity check": {func(w *world) {
			w.send(in(off(w)), "GET", "https://connect.rom.miui.com/generate_204", "", nil)
		}, harness.Stops, "not observed"},
		"a page's own third party": {func(w *world) {
			o := off(w)
			pixel := "https://ads.partner.example/p.gif?q=" + url.QueryEscape(words(o))
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(o))) {
					tr.Exchanges[i].ResponseBody = append(tr.Exchanges[i].ResponseBody, []byte(`<img src="`+pixel+`">`)...)
				}
			}
			ex := w.send(in(o), "GET", pixel, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Referer", Value: "https://duckduckgo.com/"})
		}, harness.Stops, "reported apart"},
		"a page's report to a collector of its own": {func(w *world) {
			o := off(w)
			report := "https://www.google.com/gen_204?atyp=i"
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(o))) {
					tr.Exchanges[i].ResponseBody = append(tr.Exchanges[i].ResponseBody, []byte(`<img src="`+report+`">`)...)
				}
			}
			ex := w.send(in(o), "GET", report, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Referer", Value: "https://duckduckgo.com/?q=" + url.QueryEscape(words(o))})
		}, harness.Stops, "reported apart"},
		"a cookie that the site gave": {func(w *world) {
			o := off(w)
			token := "aGVsbG8gd29ybGQ5f3b1e7c2d4a6980"
			tr := &w.ev.Traces[1]
			for i := range tr.Exchanges {
				if strings.Contains(tr.Exchanges[i].URL, url.QueryEscape(words(o))) {
					tr.Exchanges[i].ResponseHeader = []capture.Header{{Name: "Set-Cookie", Value: "id=" + token + "; Path=/"}}
				}
			}
			ex := w.send(in(o), "GET", "https://duckduckgo.com/t/page.gif?q="+url.QueryEscape(words(o)), "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Cookie", Value: "id=" + token}, capture.Header{Name: "Referer", Value: "https://duckduckgo.com/"})
		}, harness.Stops, "not observed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.happens(w)
			f := w.judge()
			if f.Outcome != c.want {
				for _, o := range w.trial.Observations {
					t.Logf("%s: %s %q %+v", o.ID, o.Finding.Verdict, o.Finding.Because, o.Finding.Accounting.InScope)
				}
				t.Fatalf("outcome %s because %q, want %s", f.Outcome, f.Because, c.want)
			}
			if !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("because %q does not mention %q", f.Because, c.because)
			}
		})
	}
}

// extend makes an ON window late, and adds the pair and the closing that are
// run again with windows that are long enough.
func (w *world) extend(late *harness.Observation, lag time.Duration) {
	w.withoutReports()
	w.trial.Window = 3 * lag
	for _, x := range []struct {
		id   string
		part harness.Part
		arm  harness.Arm
	}{{"off-2", harness.Pair, harness.Off}, {"on-2", harness.Pair, harness.On}, {"closing-2", harness.Closing, harness.On}} {
		w.observation(x.id, x.part, x.arm)
		o := w.get(x.id)
		more := 3*lag - o.Window.Close.Sub(o.Acts[0])
		o.Window.Wanted, o.Window.Close = 3*lag, o.Window.Close.Add(more)
		o.CountersAfter = counters(o.Window.Close.Add(500*time.Millisecond), 0)
		for _, marks := range o.Beacons {
			last := &marks[len(marks)-1]
			last.Sent, last.Seen = last.Sent.Add(more), last.Seen.Add(more)
		}
	}
	for _, o := range w.trial.Observations {
		switch {
		case o == late:
			w.sensors(o.Acts[0].Add(lag), o.Acts[0], o.Canaries[0].Term)
		case o.Arm == harness.On:
			w.report(o)
		}
	}
}

// withoutReports removes what the ON windows reported.
func (w *world) withoutReports() {
	tr := &w.ev.Traces[1]
	tr.Exchanges = slices.DeleteFunc(tr.Exchanges, func(e capture.Exchange) bool { return strings.Contains(e.URL, "sa.api") })
	tr.Flows = slices.DeleteFunc(tr.Flows, func(f capture.Flow) bool { return strings.HasPrefix(f.Host, "sa.api") })
}

func TestLoneOffIsInconclusive(t *testing.T) {
	w := newWorld(t)
	off, on := w.get("off-1"), w.get("on-1")
	judge := func(against *harness.Observation) harness.Finding { return harness.JudgeAlone(off, against, list(t)) }
	if f := judge(nil); f.Verdict != harness.Inconclusive || !strings.Contains(f.Because[0], "lone OFF") {
		t.Errorf("alone: %s because %q", f.Verdict, f.Because)
	}
	f := harness.JudgeAlone(on, nil, list(t))
	on.Finding = &f
	if f.Verdict != harness.Collected {
		t.Fatalf("on: %s because %q", f.Verdict, f.Because)
	}
	if f := judge(on); f.Verdict != harness.NotCollected {
		t.Errorf("against a collected ON: %s because %q", f.Verdict, f.Because)
	}
	for name, change := range map[string]func(o *harness.Observation){
		"another phone":    func(o *harness.Observation) { o.Serial = "other" },
		"another build":    func(o *harness.Observation) { o.Build = "other" },
		"another scenario": func(o *harness.Observation) { o.Scenario = "other" },
		"another route":    func(o *harness.Observation) { o.Route = ui.RoutePerson },
		"another day": func(o *harness.Observation) {
			o.Window.Open, o.Window.Close = o.Window.Open.Add(-25*time.Hour), o.Window.Close.Add(-25*time.Hour)
		},
		"another mode":        func(o *harness.Observation) { o.Mode = harness.ModeNormal },
		"another app version": func(o *harness.Observation) { o.Before = &harness.State{Version: "1"} },
		"another consent":     func(o *harness.Observation) { s := *o.Before; s.Consent = "declined"; o.Before = &s },
		"another account":     func(o *harness.Observation) { s := *o.Before; s.Account = "somebody"; o.Before = &s },
		"another blind spot": func(o *harness.Observation) {
			o.Health = devices.Health{{Name: "Bluetooth", Standing: devices.BlindSpot, Found: "on"}}
		},
		"an uncollected ON":     func(o *harness.Observation) { o.Finding = &harness.Finding{Verdict: harness.NotCollected} },
		"an OFF instead of ON":  func(o *harness.Observation) { o.Arm = harness.Off },
		"an ON never judged":    func(o *harness.Observation) { o.Finding = nil },
		"an ON with longer lag": func(o *harness.Observation) { o.Finding.Sightings[0].Lag = time.Hour },
	} {
		other := *on
		finding := *on.Finding
		finding.Sightings = slices.Clone(finding.Sightings)
		other.Finding = &finding
		change(&other)
		if f := judge(&other); f.Verdict != harness.Inconclusive {
			t.Errorf("against %s: %s", name, f.Verdict)
		}
	}
}

// TestLoneOffKnowsTheCookiesOfItsOn gives the phone a cookie in the ON
// observation, whose recording is one of its own: the browser sends it back in
// OFF, and that is nothing new.
func TestLoneOffKnowsTheCookiesOfItsOn(t *testing.T) {
	apart := func(given, sent string) harness.Finding {
		before, w := newWorld(t), newWorld(t)
		on, off := before.get("calibration"), w.get("off-1")
		before.search(on).ResponseHeader = []capture.Header{{Name: "Set-Cookie", Value: "l=" + given + "; Path=/"}}
		ex := w.search(off)
		ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Cookie", Value: "l=" + sent})
		f := harness.JudgeAlone(on, nil, list(t))
		on.Finding = &f
		return harness.JudgeAlone(off, on, list(t))
	}
	if f := apart("wt-wt", "wt-wt"); f.Verdict != harness.NotCollected {
		t.Errorf("the site's own cookie: %s because %q", f.Verdict, f.Because)
	}
	if f := apart("wt-wt", "uk-en"); f.Verdict != harness.Inconclusive || !strings.Contains(strings.Join(f.Because, "\n"), "uk-en") {
		t.Errorf("a cookie that no site gave: %s because %q", f.Verdict, f.Because)
	}
}

// TestUnprovenSettingTellsWhatBroke reads the setting before the window only,
// since the instruments broke: the reason why stands in the finding, beside what
// was seen.
func TestUnprovenSettingTellsWhatBroke(t *testing.T) {
	w := newWorld(t)
	off := w.get("off-1")
	w.report(off)
	off.After, off.Broken = nil, []string{"beacon in the window: tcpdump: recording has ended"}
	f := harness.JudgeAlone(off, nil, list(t))
	if f.Verdict != harness.Inconclusive || len(f.Unproven) == 0 || !strings.Contains(strings.Join(f.Because, "\n"), "recording has ended") {
		t.Errorf("%s because %q", f.Verdict, f.Because)
	}
}

func TestBytesSumToTheTotal(t *testing.T) {
	w := newWorld(t)
	off := w.get("off-1")
	w.packets(off.Acts[0].Add(time.Second), "tls", "push.weather.example", 4000, noiseUID)
	w.send(off.Acts[0].Add(time.Second), "POST", "https://api.collect.data.intl.miui.com/v1/health", "application/json", encryptedLeaf())
	w.judge()
	acc := off.Finding.Accounting
	var ip int64
	for _, f := range w.ev.Packets["tcpdump"].Flows {
		ip += f.BytesUp
	}
	if acc.Total() != ip+acc.Tunnel {
		t.Errorf("classes sum to %d, counters and tunnel to %d: %v", acc.Total(), ip+acc.Tunnel, acc.Bytes)
	}
	if acc.Counted == nil || *acc.Counted != ip || acc.Captured != ip {
		t.Errorf("counted %v, captured %d, want %d", acc.Counted, acc.Captured, ip)
	}
}
