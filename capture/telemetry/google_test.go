package telemetry_test

import (
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/telemetry"
)

func message(fields ...[]byte) []byte { return slices.Concat(fields...) }

func varint(number protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), uint64(v))
}

func bytesField(number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), v)
}

func double(number protowire.Number, v float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(nil, number, protowire.Fixed64Type), math.Float64bits(v))
}

const uploadMillis = 1588300009000

// firebaseUpload is an upload of two bundles in the field numbers that are known.
func firebaseUpload() []byte {
	event := func(name string, at int64, parameters ...[]byte) []byte {
		var all []byte
		for _, p := range parameters {
			all = append(all, bytesField(1, p)...)
		}
		return bytesField(2, message(all, bytesField(2, []byte(name)), varint(3, at), varint(4, at-1000)))
	}
	bundle := func(events []byte, more ...[]byte) []byte {
		return bytesField(1, message(
			varint(1, 1), events, varint(4, uploadMillis), bytesField(8, []byte("android")), bytesField(9, []byte("9")), bytesField(10, []byte("Redmi Note 8")),
			bytesField(14, []byte("com.mi.globalbrowser")), bytesField(16, []byte("12.1.4")), bytesField(19, []byte("38400000-8cf0-11bd-b23e-10b96e40000d")),
			varint(20, 1), bytesField(21, []byte("f3a1c2")), bytesField(25, []byte("1:1234:android:5678")), bytesField(27, []byte("9f3c1d2e4b5a6978")),
			bytesField(30, []byte("cXyZ")), bytesField(52, []byte("G10-")), message(more...), varint(99, 7),
		))
	}
	return message(
		bundle(message(
			event("screen_view", 1588300001000, message(bytesField(1, []byte("_sn")), bytesField(2, []byte("Settings")))),
			event("search", 1588300002000, message(bytesField(1, []byte("count")), varint(3, -5)), message(bytesField(1, []byte("score")), double(5, 0.5))),
		), bytesField(3, message(varint(1, 1588300000000), bytesField(2, []byte("_npa")), varint(4, 1)))),
		bundle(nil, bytesField(3, message(varint(1, 1588300000000), bytesField(2, []byte("region")), bytesField(3, []byte("GB"))))),
	)
}

func TestFirebase(t *testing.T) {
	phone := map[string]any{"$platform": "android", "$os_version": "9", "$device_model": "Redmi Note 8", "$app_version": "12.1.4"}
	with := func(more map[string]any) map[string]any {
		for k, v := range phone {
			more[k] = v
		}
		return more
	}
	upload := firebaseUpload()
	for name, ex := range map[string]capture.Exchange{
		"plain":          post("https://app-measurement.com/a", string(upload)),
		"gzip":           post("https://app-measurement.com/a", string(gzipped(t, string(upload))), "Content-Encoding", "gzip"),
		"gzip, unsaid":   post("https://app-measurement.com/a", string(gzipped(t, string(upload)))),
		"another host":   post("https://metrics.unlisted.example/x", string(upload)),
		"regional":       post("https://region1.app-measurement.com/a", string(upload)),
		"another header": post("https://app-measurement.com/a", string(upload), "Content-Type", "application/x-www-form-urlencoded"),
	} {
		t.Run(name, func(t *testing.T) {
			events := decode(ex)
			if len(events) != 3 {
				t.Fatalf("%d events: %+v", len(events), events)
			}
			for i, want := range []struct {
				name, kind string
				at         int64
				properties map[string]any
			}{
				{"screen_view", "event", 1588300001000, with(map[string]any{"_sn": "Settings"})},
				{"search", "event", 1588300002000, with(map[string]any{"count": json.Number("-5"), "score": json.Number("0.5")})},
				{"", "user_property", 1588300000000, with(map[string]any{"region": "GB"})},
			} {
				e := events[i]
				if e.SDK != telemetry.Firebase || e.Name != want.name || e.Type != want.kind || !e.Time.Equal(time.UnixMilli(want.at)) ||
					!e.Flushed.Equal(time.UnixMilli(uploadMillis)) || e.App != "com.mi.globalbrowser" || e.Project != "1:1234:android:5678" {
					t.Errorf("event %d: %+v", i, e)
				}
				if !reflect.DeepEqual(e.Properties, want.properties) {
					t.Errorf("event %d: properties %v, want %v", i, e.Properties, want.properties)
				}
				if want := map[string]string{
					"resettable_device_id": "38400000-8cf0-11bd-b23e-10b96e40000d", "app_instance_id": "f3a1c2", "instance_id": "9f3c1d2e4b5a6978", "firebase_instance_id": "cXyZ",
				}; !reflect.DeepEqual(e.Identifiers, want) {
					t.Errorf("event %d: identifiers %v", i, e.Identifiers)
				}
			}
			if got, want := events[0].Consent, map[string]string{"limited_ad_tracking": "1", "consent_signals": "G10-", "_npa": "1"}; !reflect.DeepEqual(got, want) {
				t.Errorf("consent %v, want %v", got, want)
			}
		})
	}
}

const (
	oneHit  = "v=1&tid=UA-12345-1&cid=35009a79-1a05-49d7-b876-2b884d0f825b&t=event&ec=feed&ea=open&an=Browser&aid=com.mi.globalbrowser&ate=0&adid=38400000-8cf0-11bd-b23e-10b96e40000d&npa=1&qt=2500"
	twoHits = oneHit + "\nv=1&tid=UA-12345-1&cid=35009a79-1a05-49d7-b876-2b884d0f825b&t=screenview&cd=Settings\n"
)

func TestGoogleAnalytics(t *testing.T) {
	start := time.Date(2020, 5, 1, 2, 26, 40, 0, time.UTC)
	at := func(ex capture.Exchange) capture.Exchange {
		ex.Start = start
		return ex
	}
	for name, c := range map[string]struct {
		ex    capture.Exchange
		names []string
		where string
		web   bool
	}{
		"in the body":  {at(post("https://ssl.google-analytics.com/collect", oneHit)), []string{"open"}, "body", false},
		"in the query": {at(capture.Exchange{Method: "GET", URL: "https://x.example/c?" + oneHit}), []string{"open"}, "url", false},
		"batch":        {at(post("https://ssl.google-analytics.com/batch", twoHits, "Content-Type", formType)), []string{"open", "screenview"}, "body", false},
		"gzip":         {at(post("https://x.example/batch", string(gzipped(t, twoHits)), "Content-Encoding", "gzip")), []string{"open", "screenview"}, "body", false},
		"of a page":    {at(capture.Exchange{Method: "GET", URL: "https://www.google-analytics.com/j/collect?v=1&tid=UA-12345-1&cid=1.2&t=pageview&dl=https%3A%2F%2Fa.example%2F&gcs=G100&gcd=11t1q1l1m5"}), []string{"pageview"}, "url", true},
		"version 2":    {at(capture.Exchange{Method: "GET", URL: "https://www.google-analytics.com/g/collect?v=2&tid=G-ABCD1234&cid=1.2&en=page_view"}), []string{"page_view"}, "url", true},
		"version 2, several": {
			at(post("https://www.google-analytics.com/g/collect?v=2&tid=G-ABCD1234&cid=1.2", "en=scroll&epn.p=90\r\nen=click")),
			[]string{"scroll", "click"},
			"body", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := decode(c.ex)
			var names []string
			for _, e := range events {
				names = append(names, e.Name)
				if e.SDK != telemetry.GoogleAnalytics || e.Opaque || e.Where != c.where || e.Web != c.web || e.Identifiers["cid"] == "" || e.Project == "" {
					t.Errorf("%+v", e)
				}
			}
			if !slices.Equal(names, c.names) {
				t.Fatalf("events %q, want %q", names, c.names)
			}
			if names[0] == "open" {
				e := events[0]
				if e.Age != 2500*time.Millisecond || !e.Time.Equal(start.Add(-e.Age)) || e.App != "com.mi.globalbrowser" || e.Consent["ate"] != "0" || e.Consent["npa"] != "1" {
					t.Errorf("%+v", e)
				}
			}
		})
	}
	// Without the request's own time an age says nothing.
	if e := decode(post("https://x.example/", oneHit))[0]; e.Age != 0 || !e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
}

func TestConsentMeaning(t *testing.T) {
	for _, c := range []struct{ sdk, name, value, want string }{
		{telemetry.GoogleAnalytics, "gcs", "G111", "ad storage granted, analytics storage granted"},
		{telemetry.GoogleAnalytics, "gcs", "G101", "ad storage denied, analytics storage granted"},
		{telemetry.Firebase, "consent_signals", "G10-", "ad storage denied, analytics storage not set"},
		{telemetry.GoogleAnalytics, "gcs", "G1x1", ""},
		{telemetry.GoogleAnalytics, "gcs", "G1", ""},
		{telemetry.GoogleAnalytics, "gcd", "11t1q1l1m5", "ad storage granted, analytics storage denied, ad user data not set, ad personalization denied"},
		{telemetry.GoogleAnalytics, "gcd", "11t1q", ""},
		{telemetry.GoogleAnalytics, "gcd", "13Z3Z3Z2Z1", ""},
		{telemetry.GoogleAnalytics, "npa", "1", "advertisements are not to be personalised"},
		{telemetry.Firebase, "_npa", "0", "advertisements may be personalised"},
		{telemetry.Firebase, "limited_ad_tracking", "1", "the phone's setting limits tracking for advertising"},
		{telemetry.Facebook, "advertiser_tracking_enabled", "false", "the phone's setting forbids tracking for advertising"},
		{telemetry.Facebook, "application_tracking_enabled", "1", "the app does not limit the use of events"},
		{telemetry.Facebook, "advertiser_id_collection_enabled", "true", "the app lets the advertising id be collected"},
		{telemetry.Adjust, "tracking_enabled", "0", "the phone's setting forbids tracking for advertising"},
		{telemetry.Adjust, "tracking_enabled", "maybe", ""},
		{telemetry.Sensors, "gcs", "G111", ""},
	} {
		if got := telemetry.ConsentMeaning(c.sdk, c.name, c.value); got != c.want {
			t.Errorf("%s %s=%s means %q, want %q", c.sdk, c.name, c.value, got, c.want)
		}
	}
}
