package telemetry_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

// What only resembles a format is no event: an event accuses somebody.
func TestWhatResemblesAFormatIsNoEvent(t *testing.T) {
	const jsonType = "application/json"
	for name, ex := range map[string]capture.Exchange{
		"Segment":                       post("https://api.segment.io/v1/track", `{"type":"track","event":"x","anonymousId":"a","properties":{"a":1}}`, "Content-Type", jsonType),
		"Mixpanel":                      post("https://api.mixpanel.com/track", "data="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(`[{"event":"x","properties":{"distinct_id":"a","token":"t"}}]`))), "Content-Type", formType),
		"Amplitude":                     post("https://api.amplitude.com/2/httpapi", `{"api_key":"k","events":[{"event_type":"x","device_id":"d","time":1588300000000}]}`, "Content-Type", jsonType),
		"a type that begins like one":   post("https://x.example/", `{"type":"tracker","distinct_id":"a","event":"x"}`, "Content-Type", jsonType),
		"an empty identity":             post("https://x.example/", `{"type":"track","distinct_id":"","event":"x"}`, "Content-Type", jsonType),
		"data with a checksum of words": post("https://x.example/", "data=hello&crc=none&gzip=1", "Content-Type", formType),
		"a header of another OT_sender": post("https://x.example/", "0123456789abcdef", "OT_sender", "x"),
		"H and B of others":             post("https://x.example/", `{"H":{"event":"x"},"B":{}}`, "Content-Type", jsonType),
		"H and no B":                    post("https://x.example/", `{"H":{"event":"x","pkg":"com.x"}}`, "Content-Type", jsonType),
		"stat_value without an app":     post("https://x.example/", "stat_value=00", "Content-Type", formType),
		"p and ai":                      post("https://x.example/", "p=1&ai=2", "Content-Type", formType),
		"half of a configuration":       post("https://x.example/", "oa=&ov=1&sv=2", "Content-Type", formType),
		"an ad host's other path":       post("https://api.ad.intl.xiaomi.com/other", "x"),
		"an ad path on another host":    post("https://x.example/post/csv3", "x"),
		"a host that only ends like it": post("https://api.ad.evilxiaomi.com/post/csv3", "x"),
		"an event of Facebook's name":   post("https://x.example/", `{"event":"CUSTOM_APP_EVENTS"}`, "Content-Type", jsonType),
		"another event":                 post("https://x.example/", `{"event":"click","anon_id":"x","extinfo":"[]"}`, "Content-Type", jsonType),
		"a page of Facebook's":          {Method: "GET", URL: "https://graph.facebook.com/v8.0/123456789/activities"},
		"an app's token":                post("https://x.example/event", "app_token=abc&environment=sandbox", "Content-Type", formType),
		"attribution without an app":    post("https://app.adjust.com/attribution", "x=1", "Content-Type", formType),
		"a property of another form":    {Method: "GET", URL: "https://x.example/collect?v=1&tid=XX-12-1&cid=1&t=pageview"},
		"an unknown hit":                {Method: "GET", URL: "https://x.example/collect?v=1&tid=UA-12345-1&cid=1&t=hello"},
		"a hit without a client":        {Method: "GET", URL: "https://x.example/collect?v=1&tid=UA-12345-1&t=pageview"},
		"version 2 without a stream":    {Method: "GET", URL: "https://x.example/g/collect?v=2&tid=UA-12345-1&cid=1&en=page_view"},
		"another page of analytics":     {Method: "GET", URL: "https://www.google-analytics.com/analytics.js"},
		"a message of protobuf":         post("https://x.example/a", string(message(bytesField(1, message(varint(1, 1), bytesField(8, []byte("windows")), bytesField(14, []byte("com.x"))))))),
		"a bundle without anything":     post("https://x.example/a", string(message(bytesField(1, message(varint(1, 1), bytesField(8, []byte("android")), bytesField(14, []byte("com.x"))))))),
	} {
		if events := decode(ex); len(events) != 0 {
			t.Errorf("%s: %+v", name, events)
		}
	}
	for _, data := range []string{"", "\xc2\xfe", "\xc2\xfe\x00\x05\x00\x00", "\xc2\xfe\x00\x05\x00\x00\x00\x00", "GET / HTTP/1.1\r\n", "\xc2\xfe\x00\x05\xff\xff\xff\xff\x00"} {
		if events := telemetry.Stream([]byte(data)); len(events) != 0 {
			t.Errorf("stream %q: %+v", data, events)
		}
	}
}

// formats are sound requests, one for each format, at its own endpoint; least is
// from which length on a beginning of the body tells the format.
func formats(t testing.TB) map[string]struct {
	ex    capture.Exchange
	least int
} {
	t.Helper()
	all := vectors(t)
	out := map[string]struct {
		ex    capture.Exchange
		least int
	}{
		"firebase":         {post("https://app-measurement.com/a", string(firebaseUpload())), 1},
		"google-analytics": {post("https://ssl.google-analytics.com/batch", twoHits), 1},
		"facebook":         {post("https://graph.facebook.com/v8.0/1234567890/activities", facebookJSON, "Content-Type", "application/json"), 1},
		"adjust":           {post("https://app.adjust.com/session", adjustForm, "Content-Type", formType), 1},
	}
	for name, begins := range map[string]string{
		"sensors_plain": "data_list=H4sIA", "sensors_encrypted_gzip9": "data_list=%", "mistat_v2": "stat_value=c2", "mistat_v3_fallback": "p=JN",
		"onetrack_v4": "", "miui_analytics_spock": "value=e", "onetrack_config_common": "",
	} {
		ex := all[name].request(t)
		at := strings.Index(string(ex.RequestBody), begins)
		if at < 0 {
			t.Fatalf("%s does not contain %q", name, begins)
		}
		out[name] = struct {
			ex    capture.Exchange
			least int
		}{ex, max(1, at+len(begins))}
	}
	return out
}

// A body of which only the beginning was captured is not lost: it is an opaque
// event that says "damaged", beside the events that came whole.
func TestDamagedBodiesAreNotLost(t *testing.T) {
	for name, f := range formats(t) {
		t.Run(name, func(t *testing.T) {
			body := f.ex.RequestBody
			whole := decode(f.ex)
			if len(whole) == 0 {
				t.Fatal("the whole request has no events")
			}
			step := max(1, len(body)/97)
			for n := f.least; n < len(body); n += step {
				ex := f.ex
				ex.RequestBody, ex.RequestTruncated = body[:n], true
				events := decode(ex)
				damaged := false
				for _, e := range events {
					damaged = damaged || e.Opaque && strings.HasPrefix(e.Reason, "damaged: ")
				}
				if !damaged {
					t.Errorf("%d of %d bytes: %+v", n, len(body), events)
				}
			}
		})
	}
}

// Bytes that were changed on their way are not lost either.
func TestSpoiltBodiesAreNotLost(t *testing.T) {
	for _, name := range []string{"sensors_plain", "onetrack_v4", "mistat_v2", "mistat_v3_fallback", "miui_analytics_spock", "firebase"} {
		f := formats(t)[name]
		for at := f.least; at < len(f.ex.RequestBody); at += max(1, len(f.ex.RequestBody)/61) {
			ex := f.ex
			ex.RequestBody = append([]byte(nil), f.ex.RequestBody...)
			ex.RequestBody[at] ^= 0x15
			if b := ex.RequestBody[at]; b == '&' || b == '=' || b == '%' || f.ex.RequestBody[at] == '&' || f.ex.RequestBody[at] == '=' {
				continue // Another form.
			}
			if events := decode(ex); len(events) == 0 {
				t.Errorf("%s: byte %d changed: no event", name, at)
			}
		}
	}
}

// The records before the damage are read.
func TestRecordsBeforeTheDamageAreRead(t *testing.T) {
	v := vectors(t)["sensors_plain"]
	ex := v.request(t)
	n := len(ex.RequestBody) * 95 / 100
	ex.RequestBody, ex.RequestTruncated = ex.RequestBody[:n], true
	events := decode(ex)
	if len(events) < 2 || events[0].Name != "page_load_event_start" || !events[0].Reports() {
		t.Fatalf("%+v", events)
	}
	if last := events[len(events)-1]; !last.Opaque || !strings.HasPrefix(last.Reason, "damaged: only the beginning") {
		t.Errorf("the last is %+v", last)
	}
}

// BenchmarkDecode prints how long decoding takes against opening the layers of
// the same requests, which comes before it.
func BenchmarkDecode(b *testing.B) {
	all := formats(b)
	var opening, decoding time.Duration
	for b.Loop() {
		for _, f := range all {
			begin := time.Now()
			parts := payload.Request(f.ex)
			opened := time.Now()
			telemetry.Decode(f.ex, telemetry.Open(f.ex, parts))
			opening += opened.Sub(begin)
			decoding += time.Since(opened)
		}
	}
	b.ReportMetric(float64(decoding)/float64(max(1, opening)), "decode/open")
}
