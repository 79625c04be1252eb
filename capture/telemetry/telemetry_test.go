package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

const formType = "application/x-www-form-urlencoded"

// vector is one request of testdata/vectors.json.
type vector struct {
	URL       string            `json:"url"`
	Body      string            `json:"body"`
	BodyHex   string            `json:"body_hex"`
	Headers   map[string]string `json:"headers"`
	Plaintext string            `json:"plaintext"`
	Value     string            `json:"value"`
	AESKey    string            `json:"aes_key_hex"`
	Sign      string            `json:"sign"`
	Params    map[string]string `json:"params"`
}

func vectors(t testing.TB) map[string]vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]vector
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func post(address, body string, header ...string) capture.Exchange {
	ex := capture.Exchange{Method: "POST", URL: address, RequestBody: []byte(body), BytesUp: int64(len(body))}
	for i := 0; i+1 < len(header); i += 2 {
		ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: header[i], Value: header[i+1]})
	}
	return ex
}

func decode(ex capture.Exchange) []telemetry.Event {
	return telemetry.Decode(ex, telemetry.Open(ex, payload.Request(ex)))
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// javaHash is String.hashCode, by which Sensors checks its uploads.
func javaHash(s string) int32 {
	var h int32
	for _, c := range []byte(s) {
		h = 31*h + int32(c)
	}
	return h
}

func sensorsForm(t testing.TB, doc string) string {
	t.Helper()
	data := base64.StdEncoding.EncodeToString(gzipped(t, doc))
	return fmt.Sprintf("crc=%d&gzip=1&data_list=%s", javaHash(data), url.QueryEscape(data))
}

func TestSensorsVector(t *testing.T) {
	v := vectors(t)["sensors_plain"]
	events := decode(post(v.URL, v.Body, "Content-Type", formType))
	names := []string{"page_load_event_start", "search", "page_load_event_finish"}
	if len(events) != len(names) {
		t.Fatalf("%d events, want %d: %+v", len(events), len(names), events)
	}
	for i, e := range events {
		if e.SDK != telemetry.Sensors || e.Opaque || e.Name != names[i] || e.Type != "track" {
			t.Errorf("event %d is %+v, want %s", i, e, names[i])
		}
		if want := time.UnixMilli(1588300000000 + int64(i)*1000); !e.Time.Equal(want) {
			t.Errorf("event %d happened %v, want %v", i, e.Time, want)
		}
		if want := time.UnixMilli(1588300015000 + int64(i)*1000); !e.Flushed.Equal(want) {
			t.Errorf("event %d was sent %v, want %v", i, e.Flushed, want)
		}
		for key, want := range map[string]string{
			"distinct_id": "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69", "uuid": "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69", "$device_id": "9f3c1d2e4b5a6978",
		} {
			if e.Identifiers[key] != want {
				t.Errorf("event %d: %s is %q, want %q", i, key, e.Identifiers[key], want)
			}
		}
		if e.Project != "global_browser_mini" || e.Where != "body" || e.Path != "form:data_list > base64 > gzip" {
			t.Errorf("event %d: project %q at %s %q", i, e.Project, e.Where, e.Path)
		}
	}
	if got := events[1].Properties["search_word"]; got != "HH-canary-word" {
		t.Errorf("search_word is %v", got)
	}
	if got := events[0].Properties["url"]; got != "https://canary.example/incognito?token=HH-0001" {
		t.Errorf("url is %v", got)
	}
	if got := events[0].Properties["$screen_width"]; got != json.Number("1080") {
		t.Errorf("$screen_width is %v of type %T", got, got)
	}
}

const record = `{"type":"track","event":"search","time":1588300001000,"distinct_id":"d-1","properties":{"search_word":"hello","uuid":"u-1"}}`

func TestSensorsInEveryEnvelope(t *testing.T) {
	plain64 := base64.StdEncoding.EncodeToString([]byte(record))
	cases := map[string]struct {
		ex   capture.Exchange
		path string
	}{
		"data_list":         {post("https://x.example/sa?project=p", sensorsForm(t, "["+record+"]"), "Content-Type", formType), "form:data_list > base64 > gzip"},
		"without a type":    {post("https://x.example/sa?project=p", sensorsForm(t, "["+record+"]")), "form:data_list > base64 > gzip"},
		"one event":         {post("https://x.example/sa?project=p", "gzip=1&data="+url.QueryEscape(base64.StdEncoding.EncodeToString(gzipped(t, record)))), "form:data > base64 > gzip"},
		"not compressed":    {post("https://x.example/sa?project=p", "gzip=0&data_list="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte("["+record+"]")))), "form:data_list > base64"},
		"web beacon":        {capture.Exchange{Method: "GET", URL: "https://x.example/sa.gif?project=p&data=" + url.QueryEscape(plain64) + "&ext=crc%3D123"}, "query:data > base64"},
		"compressed body":   {post("https://x.example/sa?project=p", string(gzipped(t, sensorsForm(t, "["+record+"]"))), "Content-Encoding", "gzip", "Content-Type", formType), "gzip > form:data_list > base64 > gzip"},
		"plus signs as are": {post("https://x.example/sa?project=p", "gzip=1&data_list="+base64.StdEncoding.EncodeToString(gzipped(t, "["+record+"]"))), "form:data_list > base64 > gzip"},
		"bare JSON":         {post("https://x.example/sa?project=p", "["+record+"]", "Content-Type", "application/json"), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			events := decode(c.ex)
			if len(events) != 1 {
				t.Fatalf("%d events, want one: %+v", len(events), events)
			}
			e := events[0]
			if e.Name != "search" || e.Properties["search_word"] != "hello" || e.Identifiers["distinct_id"] != "d-1" || e.Identifiers["uuid"] != "u-1" {
				t.Errorf("got %+v", e)
			}
			if e.Path != c.path || e.Project != "p" {
				t.Errorf("path %q and project %q, want %q and p", e.Path, e.Project, c.path)
			}
		})
	}
}

func TestSensorsEncryptedIsOpaque(t *testing.T) {
	v := vectors(t)["sensors_encrypted_gzip9"]
	sealed := v.Body
	cases := map[string]string{
		"vector":             sealed,
		"gzip 13":            strings.Replace(sealed, "gzip=9", "gzip=13", 1),
		"without gzip":       strings.Replace(sealed, "gzip=9&", "", 1),
		"gzip 9, no JSON":    "crc=1&gzip=9&data_list=AAAA",
		"damaged compressed": "crc=1&gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0x9c, 0x13, 0xf7}, 30))),
	}
	for name, body := range cases {
		t.Run(name, func(t *testing.T) {
			events := decode(post("https://sa.api.intl.miui.com/sa?project=p", body, "Content-Type", formType))
			if len(events) != 1 || !events[0].Opaque || events[0].SDK != telemetry.Sensors || events[0].Reason == "" || events[0].Name != "" {
				t.Fatalf("got %+v, want one opaque event with a reason", events)
			}
		})
	}
	events := decode(post("https://sa.api.intl.miui.com/sa?project=p", sealed, "Content-Type", formType))
	if want := time.UnixMilli(1588300015000); !events[0].Flushed.Equal(want) {
		t.Errorf("sent %v, want %v: the envelope tells it in clear", events[0].Flushed, want)
	}
	// What the format hides must be opaque to payload too.
	ex := post("https://sa.api.intl.miui.com/sa", sealed, "Content-Type", formType)
	var hidden int
	for leaf := range payload.Leaves(payload.Request(ex)) {
		if leaf.Kind == payload.KindOpaque {
			hidden += leaf.Size
		}
	}
	if hidden < 300 {
		t.Errorf("only %d bytes are opaque", hidden)
	}
}

func TestOtherTrafficIsNoTelemetry(t *testing.T) {
	for name, ex := range map[string]capture.Exchange{
		"empty":       {URL: "https://x.example/"},
		"search page": {URL: "https://duckduckgo.com/?q=hello&t=h_"},
		"form":        post("https://x.example/login", "user=a&data=hello", "Content-Type", formType),
		"JSON events": post("https://x.example/e", `[{"event":"search","type":"click","properties":{"a":1}}]`),
		"JSON":        post("https://x.example/e", `{"H":1,"B":[]}`),
		"p and sid":   post("https://x.example/e", "p=1&sid=2"),
		"image":       post("https://x.example/e", "\x89PNG\r\n\x1a\n\x00\x00"),
	} {
		if events := decode(ex); len(events) != 0 {
			t.Errorf("%s: %+v", name, events)
		}
	}
}

func TestMiStatVectors(t *testing.T) {
	v2 := vectors(t)["mistat_v2"]
	events := decode(post(v2.URL, v2.Body, "Content-Type", formType))
	if len(events) != 1 || events[0].Opaque || events[0].Name != "HH" || events[0].Properties["category"] != "mistat_basic" ||
		events[0].Identifiers["device_id"] != "d0e1f2a3b4c5" || events[0].Project != "2882303761517500001" {
		t.Errorf("second format: %+v", events)
	}
	v3 := vectors(t)["mistat_v3_fallback"]
	events = decode(post(v3.URL, v3.Body, "Content-Type", formType))
	if len(events) != 1 || events[0].Opaque || events[0].Name != "HH_event" || events[0].Identifiers["aii"] != "inst-1" {
		t.Errorf("third format: %+v", events)
	}
	for name, body := range map[string]string{
		"v3 with a key of the collector": strings.Replace(v3.Body, "fc=1", "fc=0", 1),
		"v3 with a damaged key":          strings.Replace(v3.Body, "sid=c650", "sid=c651", 1),
		"v2 with another app_key":        strings.Replace(v2.Body, "app_key=579", "app_key=580", 1),
	} {
		events := decode(post(v3.URL, body, "Content-Type", formType))
		if len(events) != 1 || !events[0].Opaque || events[0].SDK != telemetry.MiStat {
			t.Errorf("%s: %+v, want one opaque event", name, events)
		}
	}
}

// What MiStat encrypts under a key that it sends along must be searched like
// anything else, and no longer be counted as opaque.
func TestOpenShowsWhatIsInside(t *testing.T) {
	for name, path := range map[string]string{
		"mistat_v2":          "form:stat_value > mistat-v2 > json:/data/0/key",
		"mistat_v3_fallback": "form:p > mistat-v3 > gzip > json:/es/0/e",
	} {
		v := vectors(t)[name]
		ex := post(v.URL, v.Body, "Content-Type", formType)
		opaque := func(parts []payload.Part) (sealed bool, found bool) {
			for leaf := range payload.Leaves(parts) {
				sealed = sealed || leaf.Kind == payload.KindOpaque && strings.HasPrefix(leaf.Path, path[:strings.Index(path, " ")])
				found = found || leaf.Path == path
			}
			return sealed, found
		}
		parts := payload.Request(ex)
		if sealed, found := opaque(parts); !sealed || found {
			t.Errorf("%s: before: sealed %v, found %v", name, sealed, found)
		}
		if sealed, found := opaque(telemetry.Open(ex, parts)); sealed || !found {
			t.Errorf("%s: after: sealed %v, found %v", name, sealed, found)
		}
	}
}

func TestOneTrack(t *testing.T) {
	v := vectors(t)["onetrack_v4"]
	body, err := hex.DecodeString(v.BodyHex)
	if err != nil {
		t.Fatal(err)
	}
	var header []string
	for name, value := range v.Headers {
		header = append(header, name, value)
	}
	events := decode(post(v.URL, string(body), header...))
	if len(events) != 1 || !events[0].Opaque || events[0].App != "com.android.browser" || events[0].SDK != telemetry.OneTrack ||
		!events[0].Flushed.Equal(time.UnixMilli(1588300000000)) {
		t.Errorf("encrypted: %+v", events)
	}
	clear := `[{"H":{"event":"open","pkg":"com.x","instance_id":"i-1","e_ts":1588300000000},"B":{"a":1}}]`
	events = decode(post(v.URL, clear, "OT_sender", "com.x"))
	if len(events) != 1 || events[0].Opaque || events[0].Name != "open" || events[0].Identifiers["instance_id"] != "i-1" {
		t.Errorf("in clear: %+v", events)
	}
	spock := vectors(t)["miui_analytics_spock"]
	for name, ex := range map[string]capture.Exchange{
		"query": {Method: "GET", URL: spock.URL + "?value=" + url.QueryEscape(spock.Value)},
		"form":  post(spock.URL, "value="+url.QueryEscape(spock.Value)),
	} {
		events = decode(ex)
		if len(events) != 1 || events[0].Name != "HH" || !strings.HasSuffix(events[0].Path, ":value > base64") {
			t.Errorf("older format in the %s: %+v", name, events)
		}
	}
}

func TestSensorsConfig(t *testing.T) {
	const address = "https://sa.api.intl.miui.com/config/Android.conf?v=1&project=p"
	off := `{"v":"7","configs":{"disableDebugMode":false,"disableSDK":true,"autoTrackMode":-1}}`
	cases := map[string]struct {
		ex          capture.Exchange
		disable, ok bool
	}{
		"turned off":   {capture.Exchange{URL: address, Status: 200, ResponseBody: []byte(off)}, true, true},
		"left on":      {capture.Exchange{URL: address, Status: 200, ResponseBody: []byte(strings.Replace(off, `SDK":true`, `SDK":false`, 1))}, false, true},
		"no word":      {capture.Exchange{URL: address, Status: 200, ResponseBody: []byte(`{"v":"7","configs":{}}`)}, false, true},
		"compressed":   {capture.Exchange{URL: address, Status: 200, ResponseBody: gzipped(t, off), ResponseHeader: []capture.Header{{Name: "content-encoding", Value: "gzip"}}}, true, true},
		"not modified": {capture.Exchange{URL: address, Status: 304}, false, false},
		"no reply":     {capture.Exchange{URL: address}, false, false},
		"error page":   {capture.Exchange{URL: address, Status: 200, ResponseBody: []byte("<html>no</html>")}, false, false},
		"cut":          {capture.Exchange{URL: address, Status: 200, ResponseBody: []byte(off), ResponseTruncated: true}, false, false},
		"other path":   {capture.Exchange{URL: "https://x.example/config", Status: 200, ResponseBody: []byte(off)}, false, false},
		"no URL":       {capture.Exchange{URL: "::", Status: 200, ResponseBody: []byte(off)}, false, false},
	}
	for name, c := range cases {
		if disable, ok := telemetry.SensorsConfig(c.ex); disable != c.disable || ok != c.ok {
			t.Errorf("%s: %v, %v, want %v, %v", name, disable, ok, c.disable, c.ok)
		}
	}
}

func TestTimesThatAreNoTimesAreUnknown(t *testing.T) {
	for value, known := range map[string]bool{
		"1588300001000": true, `"1588300001000"`: true, "1.588300001e12": true, "1588300001000.5": true,
		"0": false, "-1": false, "1588300001": false, `"yesterday"`: false, "null": false, "99999999999999999999": false, "1e400": false, "true": false,
	} {
		body := strings.Replace(record, "1588300001000", value, 1)
		events := decode(post("https://x.example/sa", "["+body+"]"))
		if len(events) != 1 || events[0].Time.IsZero() == known {
			t.Errorf("time %s: %+v", value, events)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range formats(f) {
		kind := formType
		for _, h := range v.ex.RequestHeader {
			if h.Name == "Content-Type" {
				kind = h.Value
			}
		}
		f.Add(v.ex.URL, v.ex.RequestBody, kind)
	}
	f.Add("https://x.example/sa.gif?data="+url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(record))), []byte(nil), "")
	f.Add("https://x.example/config/Android.conf", []byte(`{"H":{"event":"x"},"B":[{"H":{}}]}`), "")
	keys, err := telemetry.NewKeys("fuzz", make([]byte, 16))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address string, body []byte, contentType string) {
		ex := post(address, string(body), "Content-Type", contentType, "OT_sender", "x", "OT_ts", "1588300000000")
		ex.Start = time.UnixMilli(1588300000000)
		parts, events := telemetry.Read(t.Context(), ex, payload.Request(ex), keys)
		for _, e := range events {
			if e.SDK == "" || e.Opaque != (e.Reason != "") || e.Opaque && e.Reports() {
				t.Errorf("%+v", e)
			}
			for name, value := range e.Consent {
				telemetry.ConsentMeaning(e.SDK, name, value)
			}
		}
		opaqueBytes(parts) // It must still be a tree.
		ex.Status, ex.ResponseBody = 200, body
		telemetry.SensorsConfig(ex)
	})
}
