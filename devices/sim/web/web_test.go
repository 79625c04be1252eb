package web_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/web"
)

const (
	appUID = 10123
	limit  = 2 * time.Minute
	term   = "vilora détour & co"
)

type world struct {
	net    *internet.Internet
	phone  *internet.Stack
	events *web.Events
	client *http.Client
	tls    *tls.Config
}

func newWorld(t *testing.T, o web.Options) *world {
	t.Helper()
	n, err := internet.New(context.Background(), internet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{net: n, events: &web.Events{}}
	o.Events = w.events
	if err := web.Register(n, o); err != nil {
		t.Fatal(err)
	}
	if w.phone, err = n.Attach(internet.StackConfig{Name: "phone"}); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(n.Roots())
	w.tls = &tls.Config{RootCAs: pool}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{
		TLSClientConfig: w.tls, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return w.phone.Dial(ctx, appUID, network, addr)
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	w.client = &http.Client{Transport: tr, Jar: jar, Timeout: limit}
	return w
}

func (w *world) get(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	r, err := w.client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func (w *world) post(t *testing.T, address, kind, body string) (*http.Response, string) {
	t.Helper()
	r, err := w.client.Post(address, kind, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	reply, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(reply)
}

func TestResultsPages(t *testing.T) {
	w := newWorld(t, web.Options{})
	cases := []struct {
		address, title, cookie string
		resources              []string
	}{
		{
			"https://duckduckgo.com/?t=h_&ia=web&q=" + url.QueryEscape(term), "vilora détour &amp; co at DuckDuckGo", "l",
			[]string{`"/favicon.ico"`, `"/dist/`, `"https://links.duckduckgo.com/d.js?q=vilora%20d%c3%a9tour%20%26%20co&amp;`, `"/t/sl_h`, `"https://improving.duckduckgo.com/t/`},
		},
		{
			"https://www.google.com/search?q=" + url.QueryEscape(term), "vilora détour &amp; co - Google Search", "NID",
			[]string{`"/favicon.ico"`, `"/xjs/`, `"https://www.gstatic.com/images/`, `"/gen_204?`, `"https://ads.partner.example/pixel?slot=top&amp;url=https%3a%2f%2fwww.google.com%2fsearch%3fq%3dvilora`, `kw=vilora%20d%c3%a9tour%20%26%20co"`},
		},
	}
	for _, tc := range cases {
		r, body := w.get(t, tc.address)
		if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s, %s", tc.address, r.Status, r.Header.Get("Content-Type"))
		}
		if !strings.Contains(body, "<title>"+tc.title+"</title>") {
			t.Errorf("%s: title of\n%s", tc.address, body)
		}
		if c := strings.Count(body, "vilora détour &amp; co"); c < 10 {
			t.Errorf("%s: the term stands on the page %d times", tc.address, c)
		}
		for _, want := range tc.resources {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no resource %s in\n%s", tc.address, want, body)
			}
		}
		if c := r.Cookies(); len(c) != 1 || c[0].Name != tc.cookie {
			t.Errorf("%s: cookies %v", tc.address, c)
		}
		if r, _ := w.get(t, tc.address); tc.cookie == "NID" && len(r.Cookies()) != 0 {
			t.Errorf("%s: a known visitor got %v", tc.address, r.Cookies())
		}
	}
}

func TestTermIsEscaped(t *testing.T) {
	w := newWorld(t, web.Options{})
	evil := `"><script>alert(1)</script>`
	for _, address := range []string{"https://duckduckgo.com/?q=", "https://www.google.com/search?q="} {
		if _, body := w.get(t, address+url.QueryEscape(evil)); strings.Contains(body, "<script>alert") {
			t.Errorf("%s repeats markup", address)
		}
	}
}

func TestEveryAddress(t *testing.T) {
	w := newWorld(t, web.Options{Extra: []string{"collector.unseen.example"}})
	cases := []struct {
		method, address string
		status          int
		body            string
	}{
		{"GET", "https://duckduckgo.com/", 200, "<title>DuckDuckGo</title>"},
		{"GET", "https://duckduckgo.com/ac/?q=vil&type=list", 200, `["vil",["vil",`},
		{"GET", "https://duckduckgo.com/t/sl_h?4", 200, "GIF89a"},
		{"GET", "https://duckduckgo.com/dist/x.js", 200, "script"},
		{"GET", "https://duckduckgo.com/nothing", 404, ""},
		{"GET", "https://links.duckduckgo.com/d.js?q=x", 200, "script"},
		{"GET", "https://improving.duckduckgo.com/t/psv?1", 200, "GIF89a"},
		{"GET", "https://www.google.com/", 200, "<title>Google</title>"},
		{"GET", "https://www.google.com/complete/search?client=chrome&q=vil", 200, `["vil",["vil",`},
		{"GET", "https://www.google.com/gen_204?atyp=i", 204, ""},
		{"GET", "http://www.google.com/generate_204", 204, ""},
		{"GET", "http://connectivitycheck.gstatic.com/generate_204", 204, ""},
		{"GET", "https://www.gstatic.com/images/x.png", 200, "GIF89a"},
		{"GET", "http://connect.rom.miui.com/generate_204", 204, ""},
		{"POST", "https://telemetry.unlisted.example/any/path?x=1", 204, ""},
		{"GET", "https://telemetry.unlisted.example/any/path", 405, ""},
		{"POST", "https://tracking.intl.miui.com/track/v4", 200, "{}"},
		{"POST", "http://data.mistat.xiaomi.com/mistats/v2", 200, "{}"},
		{"PUT", "https://collector.unseen.example/x", 200, "{}"},
		{"GET", "https://www.pages.example/a/b", 200, "<title>Page /a/b</title>"},
		{"GET", "https://sa.api.intl.miui.com/", 404, ""},
	}
	for _, tc := range cases {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, tc.address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r, err := w.client.Do(req)
		if err != nil {
			t.Errorf("%s %s: %v", tc.method, tc.address, err)
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
			t.Errorf("%s %s: %s %q %v", tc.method, tc.address, r.Status, body, err)
		}
	}
	if entries := w.net.Ledger().Entries(); len(entries) != len(cases) {
		t.Errorf("%d entries in the ledger for %d requests", len(entries), len(cases))
	}
	for _, name := range []string{web.DuckDuckGo, web.Google, web.Sensors, web.Weather, web.Unlisted} {
		addrs, err := w.phone.Resolve(t.Context(), appUID, name)
		if err != nil || len(addrs) != 2 || !addrs[0].Is6() || !addrs[1].Is4() {
			t.Errorf("%s: %v, %v", name, addrs, err)
		}
	}
}

func TestThirdPartyLearnsThePage(t *testing.T) {
	w := newWorld(t, web.Options{})
	address := "https://ads.partner.example/pixel?slot=top&kw=vilora"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Referer", "https://www.google.com/search?q=vilora")
	r, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	e := w.net.Ledger().Entries()[0]
	if e.Host != web.Ads || e.URL != address || e.Header.Get("Referer") != "https://www.google.com/search?q=vilora" || len(r.Cookies()) != 1 {
		t.Errorf("%+v, cookies %v", e, r.Cookies())
	}
}

const form = "application/x-www-form-urlencoded"

func testdata(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

func TestSensorsTakesTheGenuineForm(t *testing.T) {
	w := newWorld(t, web.Options{})
	r, body := w.post(t, "https://sa.api.intl.miui.com/sa?project=global_browser&r=FR", form, testdata(t, "sensors.form"))
	if r.StatusCode != http.StatusOK || body != "" {
		t.Fatalf("%s %q", r.Status, body)
	}
	uploads := w.events.Uploads()
	if len(uploads) != 1 || len(uploads[0].Events) != 2 {
		t.Fatalf("uploads %+v", uploads)
	}
	u := uploads[0]
	if u.Project != "global_browser" || u.Country != "FR" || u.Opaque || u.At.IsZero() || !strings.HasPrefix(u.Remote, "[2001:db8:43:") {
		t.Errorf("upload %+v", u)
	}
	search := u.Events[0]
	if search.Event != "search" || search.Type != "track" || search.Time != 1589500000123 ||
		search.DistinctID != "7d1c1f0e-33aa-4b55-9d21-0f60c2b7e9aa" || search.Properties["search_word"] != "vilora détour 🗺" {
		t.Errorf("event %+v", search)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(testdata(t, "sensors.json")), &raw); err != nil {
		t.Fatal(err)
	}
	for i, e := range u.Events {
		if !bytes.Equal(e.Raw, raw[i]) {
			t.Errorf("event %d: %s, want %s", i, e.Raw, raw[i])
		}
	}
	r, _ = w.post(t, "https://sa.api.intl.miui.com/sa?project=p&r=GB", form, testdata(t, "sensors-encrypted.form"))
	if u := w.events.Uploads(); r.StatusCode != http.StatusOK || len(u) != 2 || !u[1].Opaque || len(u[1].Events) != 0 {
		t.Errorf("an encrypted upload: %s, %+v", r.Status, u)
	}
}

func TestSensorsRefusesEverythingElse(t *testing.T) {
	w := newWorld(t, web.Options{})
	good := testdata(t, "sensors.form")
	crc, rest, _ := strings.Cut(good, "&")
	plain := func(data string) string {
		return fmt.Sprintf("crc=%d&gzip=0&data_list=%s", web.HashCode(data), url.QueryEscape(data))
	}
	bad := map[string]string{
		"no crc":        rest,
		"wrong crc":     "crc=1&" + rest,
		"crc no number": "crc=x&" + rest,
		"crc too large": "crc=99999999999&" + rest,
		"one byte off":  strings.Replace(good, "data_list=H4sI", "data_list=H4sJ", 1),
		"no data":       crc,
		"empty":         "",
		"no form":       "%zz",
		"no base64":     plain("!!!"),
		"no JSON":       plain("YWJj"),
		"no events":     plain("W10="),
		"bare event":    plain("W3t9XQ=="),
		"unknown gzip":  strings.Replace(good, "gzip=1", "gzip=7", 1),
		"no gzip":       strings.Replace(plain("YWJj"), "gzip=0", "gzip=1", 1),
		"empty seal":    "gzip=9&data_list=" + url.QueryEscape(`[{"ekey":""}]`),
		"no seal":       "gzip=9&data_list=x",
	}
	for name, body := range bad {
		if r, _ := w.post(t, "https://sa.api.intl.miui.com/sa?project=p&r=GB", form, body); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if r, _ := w.post(t, "https://sa.api.intl.miui.com/sa", form, good); r.StatusCode != http.StatusBadRequest {
		t.Errorf("no project: %s", r.Status)
	}
	if u := w.events.Uploads(); len(u) != 0 || len(w.events.Rejected()) != len(bad)+1 {
		t.Errorf("accepted %+v, rejected %q", u, w.events.Rejected())
	}
	huge := strings.NewReader("data_list=" + strings.Repeat("A", 9<<20))
	if r, err := w.client.Post("https://sa.api.intl.miui.com/sa?project=p", form, huge); err == nil {
		r.Body.Close()
		if r.StatusCode != http.StatusBadRequest {
			t.Errorf("nine megabytes: %s", r.Status)
		}
	}
}

func TestHashCodeIsJavas(t *testing.T) {
	for s, want := range map[string]int32{"": 0, "hello": 99162322, "polygenelubricants": -2147483648, "é": 233, "🗺": 1772893} {
		if got := web.HashCode(s); got != want {
			t.Errorf("HashCode(%q) = %d, want %d", s, got, want)
		}
	}
}

func TestRemoteConfig(t *testing.T) {
	off := false
	w := newWorld(t, web.Options{DisableSDK: func(project string) bool { return off && project == "global_browser" }})
	read := func(query string) (int, any, any) {
		r, body := w.get(t, "https://sa.api.intl.miui.com/config/Android.conf?"+query)
		var c struct {
			V       string         `json:"v"`
			Configs map[string]any `json:"configs"`
		}
		if r.StatusCode == http.StatusOK {
			if err := json.Unmarshal([]byte(body), &c); err != nil {
				t.Fatal(err)
			}
		}
		return r.StatusCode, c.V, c.Configs["disableSDK"]
	}
	if status, v, disabled := read("project=global_browser"); status != 200 || v != "1.37" || disabled != false {
		t.Errorf("first: %d %v %v", status, v, disabled)
	}
	if status, _, _ := read("project=global_browser&v=1.37"); status != http.StatusNotModified {
		t.Errorf("same version: %d", status)
	}
	off = true
	if status, _, disabled := read("project=global_browser&v=1.37"); status != 200 || disabled != true {
		t.Errorf("turned off: %d %v", status, disabled)
	}
	if _, _, disabled := read("project=other"); disabled != false {
		t.Errorf("another project: %v", disabled)
	}
}

func TestWeatherHoldsItsConnection(t *testing.T) {
	w := newWorld(t, web.Options{Pace: 0.001})
	raw, err := w.phone.Dial(t.Context(), 10200, "tcp", web.Weather+":443")
	if err != nil {
		t.Fatal(err)
	}
	cfg := w.tls.Clone()
	cfg.ServerName = web.Weather
	c := tls.Client(raw, cfg)
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	sizes := map[uint16]int{}
	for sizes[8] < 3 || sizes[48] < 3 {
		if _, err := c.Write([]byte{0, 3, 1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			t.Fatal(err)
		}
		sizes[binary.BigEndian.Uint16(size[:])]++
		if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint16(size[:]))); err != nil {
			t.Fatal(err)
		}
	}
	if len(sizes) != 2 {
		t.Errorf("records of %v bytes", sizes)
	}
	if conns := w.net.Ledger().Connections(); len(conns) != 1 || conns[0].Host != web.Weather || conns[0].SNI != web.Weather || conns[0].Failure != "" {
		t.Errorf("connections %+v", conns)
	}
	if _, err := w.phone.Dial(t.Context(), 10200, "tcp", web.Weather+":80"); err == nil {
		t.Error("the weather service answers without TLS")
	}
}

func TestRegisterRefusesNonsense(t *testing.T) {
	n, err := internet.New(context.Background(), internet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := web.Register(n, web.Options{Pace: -1}); err == nil {
		t.Error("a negative pace was taken")
	}
	if err := web.Register(n, web.Options{Extra: []string{web.Google}}); err == nil {
		t.Error("two hosts of one name were taken")
	}
}

func TestSensorsBoundsWhatItUnpacks(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	if _, err := zw.Write(append([]byte("["), bytes.Repeat([]byte(" "), 40<<20)...)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	data := base64.StdEncoding.EncodeToString(packed.Bytes())
	_, err := web.DecodeSensors([]byte(fmt.Sprintf("crc=%d&gzip=1&data_list=%s", web.HashCode(data), url.QueryEscape(data))))
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("forty megabytes of blanks: %v", err)
	}
}

// FuzzDecodeSensors feeds arbitrary forms to the collector.
func FuzzDecodeSensors(f *testing.F) {
	f.Add([]byte(testdata(f, "sensors.form")))
	f.Add([]byte(testdata(f, "sensors-encrypted.form")))
	f.Add([]byte("gzip=0&data_list=W3t9XQ%3D%3D"))
	f.Add([]byte("data=e30%3D"))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := web.DecodeSensors(body)
		if err == nil && u.Opaque == (len(u.Events) > 0) {
			t.Errorf("accepted %q as %+v", body, u)
		}
	})
}
