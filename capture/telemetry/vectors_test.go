package telemetry_test

import (
	"encoding/hex"
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

// request makes the request that a vector describes.
func (v vector) request(t testing.TB) capture.Exchange {
	t.Helper()
	var header []string
	for name, value := range v.Headers {
		header = append(header, name, value)
	}
	body := v.Body
	switch {
	case v.BodyHex != "":
		b, err := hex.DecodeString(v.BodyHex)
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	case v.Value != "":
		body = "value=" + url.QueryEscape(v.Value)
	case len(v.Params) > 0:
		form := url.Values{"sign": {v.Sign}}
		for name, value := range v.Params {
			form.Set(name, value)
		}
		body = form.Encode()
	}
	if len(header) == 0 {
		header = []string{"Content-Type", formType}
	}
	address := v.URL
	if address == "" {
		address = "https://collector.example/sa"
	}
	return post(address, body, header...)
}

// said puts the plaintext of a vector into the shape of events, by the names
// under which its format holds an event's name and properties.
func said(t testing.TB, v vector, list, name, properties string) (names []string, all []map[string]any) {
	t.Helper()
	in := json.NewDecoder(strings.NewReader(v.Plaintext))
	in.UseNumber()
	var doc any
	if err := in.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if list != "" {
		doc = doc.(map[string]any)[list]
	}
	for _, record := range doc.([]any) {
		m := record.(map[string]any)
		from := m
		for _, key := range strings.Split(name, "/") {
			if inner, ok := from[key].(map[string]any); ok {
				from = inner
				continue
			}
			names = append(names, from[key].(string))
		}
		if properties != "" {
			m = m[properties].(map[string]any)
		}
		all = append(all, m)
	}
	return names, all
}

// Every vector decodes to its plaintext, all of it, or is called opaque.
func TestVectorsDecodeToTheirPlaintext(t *testing.T) {
	all := vectors(t)
	keyed := func(name string) telemetry.Decoder {
		key, err := hex.DecodeString(all[name].AESKey)
		if err != nil {
			t.Fatal(err)
		}
		k, err := telemetry.NewKeys("bench keys", []byte("0123456789abcdef"), key)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for name, c := range map[string]struct {
		sdk                    string
		list, event, propertys string
		opaque                 bool // without a key
		plaintext              string
	}{
		"sensors_plain":        {telemetry.Sensors, "", "event", "properties", false, ""},
		"mistat_v2":            {telemetry.MiStat, "data", "key", "", false, ""},
		"mistat_v3_fallback":   {telemetry.MiStat, "es", "e", "", false, ""},
		"onetrack_v4":          {telemetry.OneTrack, "", "H/event", "B", true, ""},
		"miui_analytics_spock": {telemetry.MIUIAnalytics, "B", "H/event", "B", false, ""},
		// Its plaintext is that of sensors_plain's first record, as the test says below.
		"sensors_encrypted_gzip9": {telemetry.Sensors, "", "event", "properties", true, "sealed"},
		"onetrack_config_common":  {telemetry.XiaomiConfig, "", "", "", false, "config"},
	} {
		t.Run(name, func(t *testing.T) {
			v := all[name]
			ex := v.request(t)
			parts := payload.Request(ex)
			parts, events := telemetry.Read(t.Context(), ex, parts)
			if c.opaque {
				if len(events) != 1 || !events[0].Opaque || events[0].Reason == "" || events[0].SDK != c.sdk || events[0].Reports() {
					t.Fatalf("without a key: %+v", events)
				}
				if opaqueBytes(parts) < 100 {
					t.Errorf("without a key only %d bytes are opaque", opaqueBytes(parts))
				}
				before := opaqueBytes(parts)
				parts, events = telemetry.Read(t.Context(), ex, payload.Request(ex), keyed(name))
				if opaqueBytes(parts) >= before {
					t.Errorf("%d bytes are opaque with the key, %d without it", opaqueBytes(parts), before)
				}
				for _, e := range events {
					if e.Decoder != "bench keys" || e.Doubt != "" {
						t.Errorf("provenance %q, doubt %q", e.Decoder, e.Doubt)
					}
				}
			}
			switch c.plaintext {
			case "config":
				if len(events) != 1 || events[0].SDK != c.sdk || events[0].Type != telemetry.TypeConfig || events[0].Reports() ||
					events[0].Properties["ml"] != "Redmi Note 8" || events[0].Name != "config_common" {
					t.Errorf("%+v", events)
				}
				return
			case "sealed":
				if len(events) != 1 || events[0].Name == "" || events[0].Opaque || events[0].Identifiers["distinct_id"] == "" {
					t.Errorf("with the key: %+v", events)
				}
				return
			}
			names, properties := said(t, v, c.list, c.event, c.propertys)
			if len(events) != len(names) {
				t.Fatalf("%d events, want %d: %+v", len(events), len(names), events)
			}
			for i, e := range events {
				if e.SDK != c.sdk || e.Name != names[i] || !reflect.DeepEqual(e.Properties, properties[i]) || e.Opaque {
					t.Errorf("event %d is %+v, want %s with %v", i, e, names[i], properties[i])
				}
			}
		})
	}
	if len(all) != 7 {
		t.Errorf("%d vectors, and not every one is tried", len(all))
	}
}

func opaqueBytes(parts []payload.Part) (n int) {
	for leaf := range payload.Leaves(parts) {
		if leaf.Kind == payload.KindOpaque {
			n += leaf.Size
		}
	}
	return n
}

// The identifiers in a request for configuration are found where they are.
func TestConfigurationCarriesIdentifiers(t *testing.T) {
	v := vectors(t)["onetrack_config_common"]
	v.Params["oa"] = "3f1c2d4e5b6a7988"
	for name, ex := range map[string]capture.Exchange{
		"body":  v.request(t),
		"query": {Method: "GET", URL: v.URL + "?" + string(v.request(t).RequestBody)},
	} {
		events := decode(ex)
		if len(events) != 1 || events[0].Identifiers["oa"] != "3f1c2d4e5b6a7988" || events[0].Reports() {
			t.Errorf("%s: %+v", name, events)
		}
	}
}
