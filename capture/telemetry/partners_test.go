package telemetry_test

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/telemetry"
)

const (
	extinfo      = `["a2","com.mi.globalbrowser",120104,"12.1.4","9","Redmi Note 8","en_GB","BST","Carrier",1080,2130,"2.75",8,110,52,"Europe\/London"]`
	customEvents = `[{"_eventName":"fb_mobile_search","_logTime":1588300001,"fb_search_string":"korvandel","_implicitlyLogged":"0"},{"_eventName":"open","_logTime":1588300002}]`
	facebookJSON = `{"event":"CUSTOM_APP_EVENTS","advertiser_id":"38400000-8cf0-11bd-b23e-10b96e40000d","advertiser_tracking_enabled":false,"anon_id":"XZ0e1","application_tracking_enabled":true,` +
		`"extinfo":"[\"a2\",\"com.mi.globalbrowser\",120104,\"12.1.4\",\"9\",\"Redmi Note 8\",\"en_GB\",\"BST\",\"Carrier\",1080,2130,\"2.75\",8,110,52,\"Europe\\/London\"]",` +
		`"application_package_name":"com.mi.globalbrowser","custom_events":` + customEvents + `}`
	adjustForm = "app_token=abc123def456&environment=production&created_at=2020-05-01T02%3A26%3A40.000Z%2B0000&sent_at=2020-05-01T02%3A26%3A41.500Z%2B0000&event_token=ev1234&" +
		"gps_adid=38400000-8cf0-11bd-b23e-10b96e40000d&android_uuid=0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69&tracking_enabled=0&package_name=com.mi.globalbrowser&os_version=9&" +
		"callback_params=%7B%22gdpr_consent%22%3A%22denied%22%2C%22screen%22%3A%22feed%22%7D"
)

func TestFacebook(t *testing.T) {
	form := url.Values{
		"format": {"json"}, "event": {"CUSTOM_APP_EVENTS"}, "advertiser_id": {"38400000-8cf0-11bd-b23e-10b96e40000d"}, "anon_id": {"XZ0e1"},
		"advertiser_tracking_enabled": {"false"}, "application_tracking_enabled": {"true"}, "extinfo": {extinfo}, "custom_events": {customEvents},
	}.Encode()
	const boundary = "3i2ndDfv2rTHiSisAbouNdArYfORhtTPEefj3q2f"
	var parts string
	for _, p := range [][2]string{
		{"format", "json"},
		{"event", "CUSTOM_APP_EVENTS"},
		{"advertiser_id", "38400000-8cf0-11bd-b23e-10b96e40000d"},
		{"anon_id", "XZ0e1"},
		{"advertiser_tracking_enabled", "false"},
		{"application_tracking_enabled", "true"},
		{"extinfo", extinfo},
		{"custom_events", customEvents},
	} {
		parts += fmt.Sprintf("--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", boundary, p[0], p[1])
	}
	parts += "--" + boundary + "--\r\n"
	file := strings.Replace(parts, "name=\"custom_events\"", "name=\"custom_events_file\"; filename=\"custom_events_file\"", 1)
	zipped := strings.Replace(file, customEvents, string(gzipped(t, customEvents)), 1)
	const address = "https://graph.facebook.com/v8.0/1234567890/activities"
	for name, ex := range map[string]capture.Exchange{
		"JSON":      post(address, facebookJSON, "Content-Type", "application/json"),
		"gzip":      post(address, string(gzipped(t, facebookJSON)), "Content-Encoding", "gzip", "Content-Type", "application/json"),
		"form":      post(address, form, "Content-Type", formType),
		"file":      post(address, file, "Content-Type", "multipart/form-data; boundary="+boundary),
		"gzip file": post(address, zipped, "Content-Type", "multipart/form-data; boundary="+boundary),
		"multipart": post(address, parts, "Content-Type", "multipart/form-data; boundary="+boundary),
	} {
		t.Run(name, func(t *testing.T) {
			events := decode(ex)
			if len(events) != 2 {
				t.Fatalf("%+v", events)
			}
			e := events[0]
			if e.SDK != telemetry.Facebook || e.Name != "fb_mobile_search" || e.Project != "1234567890" || e.App != "com.mi.globalbrowser" ||
				!e.Time.Equal(time.Unix(1588300001, 0)) || e.Properties["fb_search_string"] != "korvandel" || e.Properties["$model"] != "Redmi Note 8" {
				t.Errorf("%+v", e)
			}
			if want := map[string]string{"advertiser_id": "38400000-8cf0-11bd-b23e-10b96e40000d", "anon_id": "XZ0e1"}; !reflect.DeepEqual(e.Identifiers, want) {
				t.Errorf("identifiers %v", e.Identifiers)
			}
			if want := map[string]string{"advertiser_tracking_enabled": "false", "application_tracking_enabled": "true"}; !reflect.DeepEqual(e.Consent, want) {
				t.Errorf("consent %v", e.Consent)
			}
			if events[1].Name != "open" {
				t.Errorf("%+v", events[1])
			}
		})
	}
	install := decode(post(address, "event=MOBILE_APP_INSTALL&anon_id=x&extinfo="+url.QueryEscape(extinfo), "Content-Type", formType))
	if len(install) != 1 || install[0].Name != "MOBILE_APP_INSTALL" || install[0].Properties["$locale"] != "en_GB" || !install[0].Reports() {
		t.Errorf("installation: %+v", install)
	}
	link := decode(post(address, "event=DEFERRED_APP_LINK&advertiser_id=x", "Content-Type", formType))
	if len(link) != 1 || link[0].Reports() {
		t.Errorf("a question for a link: %+v", link)
	}
}

func TestAdjust(t *testing.T) {
	for name, ex := range map[string]capture.Exchange{
		"body":         post("https://app.adjust.com/event", adjustForm, "Content-Type", formType),
		"query":        {Method: "GET", URL: "https://app.eu.adjust.com/event?" + adjustForm},
		"another host": post("https://adj.unlisted.example/v5/event", adjustForm, "Content-Type", formType),
	} {
		events := decode(ex)
		if len(events) != 1 {
			t.Fatalf("%s: %+v", name, events)
		}
		e := events[0]
		if e.SDK != telemetry.Adjust || e.Name != "ev1234" || e.Type != "event" || e.App != "com.mi.globalbrowser" || e.Project != "abc123def456" ||
			!e.Time.Equal(time.Date(2020, 5, 1, 2, 26, 40, 0, time.UTC)) || e.Flushed.Sub(e.Time) != 1500*time.Millisecond || !e.Reports() {
			t.Errorf("%s: %+v", name, e)
		}
		if e.Identifiers["gps_adid"] == "" || e.Identifiers["android_uuid"] == "" || len(e.Identifiers) != 2 {
			t.Errorf("%s: identifiers %v", name, e.Identifiers)
		}
		if want := map[string]string{"tracking_enabled": "0", "callback_params.gdpr_consent": "denied"}; !reflect.DeepEqual(e.Consent, want) {
			t.Errorf("%s: consent %v", name, e.Consent)
		}
		if inner, _ := e.Properties["callback_params"].(map[string]any); inner["screen"] != "feed" {
			t.Errorf("%s: properties %v", name, e.Properties)
		}
	}
	for path, kind := range map[string]string{"attribution": telemetry.TypeConfig, "gdpr_forget_device": telemetry.TypeConsent, "third_party_sharing": telemetry.TypeConsent} {
		events := decode(post("https://app.adjust.com/"+path, strings.Replace(adjustForm, "event_token=ev1234&", "", 1), "Content-Type", formType))
		if len(events) != 1 || events[0].Type != kind || events[0].Reports() {
			t.Errorf("%s: %+v", path, events)
		}
	}
	for name, c := range map[string]struct {
		created string
		known   bool
	}{
		"zone of an hour and a half": {"2020-05-01T04:26:40.000Z%2B0130", true},
		"RFC 3339":                   {"2020-05-01T02:26:40.000Z", true},
		"no time":                    {"yesterday", false},
		"before phones":              {"1970-01-01T00:00:00.000Z%2B0000", false},
	} {
		events := decode(post("https://app.adjust.com/session", "app_token=a&environment=sandbox&created_at="+c.created, "Content-Type", formType))
		if len(events) != 1 || events[0].Time.IsZero() == c.known {
			t.Errorf("%s: %+v", name, events)
		}
	}
}

func TestXiaomiAdvertising(t *testing.T) {
	for path, reports := range map[string]string{"/post/csv3": "", "/colbidding/getadm": "", "/config/getcolconfig": telemetry.TypeConfig} {
		events := decode(post("https://api.ad.intl.xiaomi.com"+path, "a=1&b=2", "Content-Type", formType))
		if len(events) != 1 || !events[0].Opaque || events[0].SDK != telemetry.XiaomiAds || events[0].Type != reports || events[0].Reason == "" {
			t.Errorf("%s: %+v", path, events)
		}
	}
}

func TestPushRegistration(t *testing.T) {
	fields := message(bytesField(2, []byte("Redmi Note 8")), bytesField(3, []byte("V11.0.8.0.PCOMIXM")), varint(4, 7), bytesField(8, []byte("en_GB")))
	framed := func(body []byte) []byte {
		return append([]byte{0xc2, 0xfe, 0, 5, 0, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	}
	for name, data := range map[string][]byte{
		"at once":      framed(fields),
		"after a head": framed(append([]byte{0, 2, 0, 4, 0, 0, 0, 40}, fields...)),
		"more follows": append(framed(fields), 0xc2, 0xfe, 0, 5),
	} {
		events := telemetry.Stream(data)
		if len(events) != 1 || events[0].Name != "registration" || events[0].Reports() || events[0].SDK != telemetry.XMPush ||
			!reflect.DeepEqual(events[0].Properties, map[string]any{"model": "Redmi Note 8", "build": "V11.0.8.0.PCOMIXM", "locale": "en_GB"}) {
			t.Errorf("%s: %+v", name, events)
		}
	}
	for name, data := range map[string][]byte{"cut": framed(fields)[:20], "something else": framed([]byte("\xff\xff\xff\xff\xff"))} {
		events := telemetry.Stream(data)
		if len(events) != 1 || !events[0].Opaque || events[0].Reason == "" {
			t.Errorf("%s: %+v", name, events)
		}
	}
}

// An event is a report, whatever the request around it is called.
func TestEventsUnderHarmlessNames(t *testing.T) {
	for name, ex := range map[string]capture.Exchange{
		"Facebook's question for a link": post("https://graph.facebook.com/v8.0/1234567890/activities",
			strings.Replace(facebookJSON, "CUSTOM_APP_EVENTS", "DEFERRED_APP_LINK", 1), "Content-Type", "application/json"),
		"Adjust's consent":     post("https://app.adjust.com/measurement_consent", adjustForm, "Content-Type", formType),
		"Adjust's attribution": post("https://app.adjust.com/attribution", adjustForm, "Content-Type", formType),
	} {
		events := decode(ex)
		if len(events) == 0 {
			t.Errorf("%s: no event", name)
		}
		for _, e := range events {
			if !e.Reports() {
				t.Errorf("%s: %s of type %q reports nothing", name, e.Name, e.Type)
			}
		}
	}
}
