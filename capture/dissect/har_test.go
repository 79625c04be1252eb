package dissect_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

func TestHARRoundTrip(t *testing.T) {
	at := time.Date(2020, 5, 4, 12, 0, 0, 123456789, time.UTC)
	want := []capture.Exchange{
		{
			ID: "7", Flow: "3", Backend: "proxy", Start: at, Sent: at.Add(time.Millisecond), End: at.Add(time.Second),
			Method: "POST", URL: "https://sa.example/sa?project=x&r=%zz&q=a+b%20c#f", Version: "HTTP/2.0",
			RequestHeader:  []capture.Header{{Name: "cOOkie", Value: "a=1; b=2"}, {Name: "X", Value: "1"}, {Name: "X", Value: "2"}},
			RequestBody:    []byte("data_list=%7B%7D <&> \u2028"),
			ResponseHeader: []capture.Header{{Name: "Location", Value: "/next"}}, Status: 302, ResponseBody: []byte{0, 0xff, 0xfe},
			BytesUp: 999, BytesDown: 3, RequestTruncated: true,
		},
		{
			ID: "8", Start: at, Method: "PUT", URL: "http://a.example/", RequestHeader: []capture.Header{{Name: "Content-Encoding", Value: "gzip"}},
			RequestBody: []byte("\x1f\x8b\x08 and so on"), BytesUp: 13, Failure: "no reply", ResponseTruncated: true,
		},
		{ID: "9", Start: at, Method: "GET", URL: "http://a.example/", Version: "HTTP/1.1", Status: 204},
	}
	var file bytes.Buffer
	if err := dissect.WriteHAR(&file, want, "offproof \"test\""); err != nil {
		t.Fatal(err)
	}
	got, err := dissect.ReadHAR(bytes.NewReader(file.Bytes()))
	if err != nil || got.Damaged || got.Health.Truncated || len(got.Health.Doubts()) > 0 {
		t.Fatalf("%v, %+v", err, got)
	}
	if !reflect.DeepEqual(got.Exchanges, want) {
		t.Errorf("\n got %+v\nwant %+v", got.Exchanges, want)
	}
	var log struct {
		Log struct {
			Version string
			Creator struct{ Name, Version string }
			Entries []struct {
				StartedDateTime string
				Time            *float64
				Cache           *struct{}
				Timings         struct{ Send, Wait, Receive *float64 }
				Request         struct {
					Cookies, Headers, QueryString []struct{ Name, Value string }
					HeadersSize, BodySize         *int
					PostData                      *struct{ MimeType, Text *string }
				}
				Response struct {
					Status      *int
					StatusText  *string
					RedirectURL *string
					Cookies     []any
					Content     struct {
						Size           *int
						MimeType, Text *string
					}
				}
			}
		}
	}
	if err := json.Unmarshal(file.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	e := log.Log.Entries[0]
	if log.Log.Version != "1.2" || log.Log.Creator.Name != `offproof "test"` || e.Time == nil || *e.Time != 1000 || e.Cache == nil || e.Timings.Send == nil || e.Timings.Wait == nil || e.Timings.Receive == nil ||
		len(e.Request.Cookies) != 2 || e.Request.Cookies[1].Value != "2" || len(e.Request.QueryString) != 3 || e.Request.QueryString[1].Value != "%zz" || e.Request.QueryString[2].Value != "a b c" ||
		e.Request.HeadersSize == nil || e.Request.PostData.MimeType == nil || e.Response.Content.Size == nil || e.Response.Content.MimeType == nil || e.Response.RedirectURL == nil || *e.Response.RedirectURL != "/next" || e.Response.Cookies == nil {
		t.Errorf("not what HAR 1.2 asks for: %s", file.String())
	}
}

func TestHAROfNothing(t *testing.T) {
	var file bytes.Buffer
	if err := dissect.WriteHAR(&file, nil, "x"); err != nil {
		t.Fatal(err)
	}
	if got, err := dissect.ReadHAR(&file); err != nil || len(got.Exchanges) != 0 || got.Damaged {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestForeignHAR has entries in the manner of other programs.
func TestForeignHAR(t *testing.T) {
	for name, c := range map[string]struct {
		entry string
		want  capture.Exchange
	}{
		"Chrome": {
			`{"_initiator":{"type":"script"},"_priority":"High","connection":"443","cache":{},"startedDateTime":"2024-01-02T03:04:05.678Z","time":120.5,
			"request":{"method":"POST","url":"https://a.example/x?y=1","httpVersion":"h2","headers":[{"name":":authority","value":"a.example"}],"queryString":[],"cookies":[],"headersSize":-1,"bodySize":7,"postData":{"mimeType":"text/plain","text":"k=v&k=w"}},
			"response":{"status":200,"statusText":"","httpVersion":"h2","headers":[],"cookies":[],"content":{"size":3,"mimeType":"image/gif","text":"AP/+","encoding":"base64"},"redirectURL":"","headersSize":-1,"bodySize":-1,"_transferSize":300,"_error":null},
			"timings":{"blocked":1.5,"dns":-1,"ssl":2,"connect":4,"send":0.5,"wait":100,"receive":14}}`,
			capture.Exchange{
				ID: "1", Method: "POST", URL: "https://a.example/x?y=1", Version: "HTTP/2.0", Status: 200, RequestBody: []byte("k=v&k=w"), ResponseBody: []byte{0, 0xff, 0xfe}, BytesUp: 7, BytesDown: 3,
				RequestHeader: []capture.Header{{Name: ":authority", Value: "a.example"}}, Start: day(0), Sent: day(6 * time.Millisecond), End: day(120500 * time.Microsecond),
			},
		},
		"Chrome, failed": {
			`{"startedDateTime":"2024-01-02T03:04:05.678Z","time":3,"request":{"method":"GET","url":"https://a.example/","httpVersion":"http/1.1","headers":[],"bodySize":0},"response":{"status":0,"httpVersion":"","headers":[],"content":{"size":0,"mimeType":"x-unknown"},"bodySize":-1,"_error":"net::ERR_CERT_AUTHORITY_INVALID"},"timings":{"send":-1}}`,
			capture.Exchange{ID: "1", Method: "GET", URL: "https://a.example/", Version: "HTTP/1.1", Failure: "net::ERR_CERT_AUTHORITY_INVALID", Start: day(0)},
		},
		"Firefox": {
			`{"pageref":"page_1","startedDateTime":"2024-01-02T04:04:05.678+01:00","request":{"bodySize":3,"method":"POST","url":"https://a.example/","httpVersion":"HTTP/2","headers":[{"name":"Host","value":"a.example"}],"cookies":[],"queryString":[],"headersSize":10,"postData":{"mimeType":"","params":[],"text":"a=b"}},"response":{"status":204,"statusText":"","httpVersion":"HTTP/2","headers":[],"cookies":[],"content":{"mimeType":"","size":0,"text":""},"redirectURL":"","headersSize":9,"bodySize":9},"cache":{},"timings":{"blocked":-1,"dns":0,"connect":0,"ssl":0,"send":0,"wait":5,"receive":0},"time":5,"_securityState":"secure","serverIPAddress":"203.0.113.7","connection":"443"}`,
			capture.Exchange{
				ID: "1", Method: "POST", URL: "https://a.example/", Version: "HTTP/2.0", Status: 204, RequestBody: []byte("a=b"), BytesUp: 3, BytesDown: 9,
				RequestHeader: []capture.Header{{Name: "Host", Value: "a.example"}}, Start: day(0), Sent: day(0), End: day(5 * time.Millisecond),
			},
		},
		"a form in parts, numbers as texts, no lists": {
			`{"startedDateTime":"2024-01-02T03:04:05.678","time":"5","request":{"method":"POST","url":"http://a.example/","headers":{},"postData":{"params":[{"name":"q","value":"a%20b"},{"name":"n","value":7}]},"bodySize":null},"response":{"status":"200","headers":null,"content":{"size":10,"text":null}}}`,
			capture.Exchange{ID: "1", Method: "POST", URL: "http://a.example/", Status: 200, RequestBody: []byte("q=a%20b&n=7"), BytesUp: 11, ResponseTruncated: true, Start: day(0), End: day(5 * time.Millisecond)},
		},
		"next to nothing": {`{"request":{"url":"http://a.example/"}}`, capture.Exchange{ID: "1", URL: "http://a.example/", Failure: "no reply"}},
	} {
		file := "\xef\xbb\xbf" + ` {"log":{"version":"1.2","creator":{"name":"x"},"pages":[{"id":"page_1","pageTimings":{"onLoad":[1,{"a":[]}]}}],"entries":[` + c.entry + `],"comment":""}}`
		got, err := dissect.Open(strings.NewReader(file), dissect.Options{})
		if err != nil || got.Damaged || len(got.Exchanges) != 1 {
			t.Errorf("%s: %v, %+v", name, err, got)
			continue
		}
		if !reflect.DeepEqual(got.Exchanges[0], c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got.Exchanges[0], c.want)
		}
	}
}

// day is the moment of the foreign entries, and some time later.
func day(d time.Duration) time.Time {
	return time.Date(2024, 1, 2, 3, 4, 5, 678e6, time.UTC).Add(d)
}

func TestDamagedHAR(t *testing.T) {
	entry := `{"startedDateTime":"2024-01-02T03:04:05Z","request":{"method":"GET","url":"http://a.example/"},"response":{"status":200}}`
	whole := `{"log":{"version":"1.2","entries":[` + entry + "," + entry + `]}}`
	for cut := range whole {
		got, err := dissect.ReadHAR(strings.NewReader(whole[:cut]))
		if err != nil {
			if !errors.Is(err, dissect.ErrFormat) || cut > strings.Index(whole, ":\"1.2") {
				t.Errorf("cut at %d: %v", cut, err)
			}
			continue
		}
		want := strings.Count(whole[:cut], entry)
		if !got.Damaged || !got.Health.Truncated || len(got.Exchanges) != want || len(got.Health.Doubts()) != 1 {
			t.Errorf("cut at %d: %d entries of %d, health %+v", cut, len(got.Exchanges), want, got.Health)
		}
	}
	for name, c := range map[string]struct {
		file      string
		truncated bool
		entries   int
	}{
		"an entry that is no object": {`{"log":{"entries":[7,` + entry + `,"x"]}}`, false, 1},
		"a request that is none":     {`{"log":{"entries":[{"request":[]},` + entry + `]}}`, false, 1},
		"entries that are none":      {`{"log":{"entries":{}}}`, true, 0},
		"deep":                       {`{"log":{"entries":[` + entry + `],"x":` + strings.Repeat("[", 20_000), true, 1},
		"deep entry":                 {`{"log":{"entries":[` + entry + `,{"x":` + strings.Repeat("[", 20_000), true, 1},
	} {
		got, err := dissect.ReadHAR(strings.NewReader(c.file))
		if err != nil || !got.Damaged || got.Health.Truncated != c.truncated || len(got.Exchanges) != c.entries || len(got.Health.Doubts()) == 0 {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	for _, file := range []string{"{}", "[]", `{"a":{"log":{}}}`, `{"log"`, `{"log":[]}`, "{", ""} {
		if got, err := dissect.ReadHAR(strings.NewReader(file)); !errors.Is(err, dissect.ErrFormat) || got != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
