package dissect

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offproof/offproof/capture"
)

// What WriteHAR writes: all that HAR 1.2 asks for, in its order.
type (
	harOut struct {
		Started   time.Time      `json:"startedDateTime"`
		Time      float64        `json:"time"`
		Request   harRequestOut  `json:"request"`
		Response  harResponseOut `json:"response"`
		Cache     struct{}       `json:"cache"`
		Timings   harTimingsOut  `json:"timings"`
		Precisely harOwn         `json:"_offproof"`
	}
	harRequestOut struct {
		Method      string       `json:"method"`
		URL         string       `json:"url"`
		Version     string       `json:"httpVersion"`
		Cookies     []harPairOut `json:"cookies"`
		Headers     []harPairOut `json:"headers"`
		Query       []harPairOut `json:"queryString"`
		PostData    *harBodyOut  `json:"postData,omitempty"`
		HeadersSize int          `json:"headersSize"`
		BodySize    int64        `json:"bodySize"`
	}
	harResponseOut struct {
		Status      int          `json:"status"`
		StatusText  string       `json:"statusText"`
		Version     string       `json:"httpVersion"`
		Cookies     []harPairOut `json:"cookies"`
		Headers     []harPairOut `json:"headers"`
		Content     harBodyOut   `json:"content"`
		Redirect    string       `json:"redirectURL"`
		HeadersSize int          `json:"headersSize"`
		BodySize    int64        `json:"bodySize"`
	}
	harPairOut struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	harBodyOut struct {
		Size     *int64 `json:"size,omitempty"`
		MimeType string `json:"mimeType"`
		Text     string `json:"text,omitempty"`
		Encoding string `json:"encoding,omitempty"`
	}
	harTimingsOut struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)

// WriteHAR writes exchanges as HAR 1.2. Bodies are written as they were sent: a
// compressed one stays compressed, in base64, and so does any that is no text.
func WriteHAR(w io.Writer, exchanges []capture.Exchange, creator string) error {
	bw := bufio.NewWriter(w)
	name, err := json.Marshal(creator)
	if err != nil {
		return fmt.Errorf("har: write creator: %w", err)
	}
	// Errors of the buffered writer stay until Flush.
	_, _ = fmt.Fprintf(bw, "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":%s,\"version\":\"1\"},\"pages\":[],\"entries\":[", name)
	enc := json.NewEncoder(bw)
	enc.SetEscapeHTML(false)
	for i := range exchanges {
		sep := "\n"
		if i > 0 {
			sep = ","
		}
		_, _ = bw.WriteString(sep)
		if err := enc.Encode(harEntryOf(&exchanges[i])); err != nil {
			return fmt.Errorf("har: write entry %d: %w", i+1, err)
		}
	}
	_, _ = bw.WriteString("]}}\n")
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("har: write file: %w", err)
	}
	return nil
}

func harEntryOf(x *capture.Exchange) *harOut {
	version := x.Version
	if version == "" {
		version = "unknown"
	}
	sent := x.Sent
	if sent.IsZero() {
		sent = x.Start
	}
	out := &harOut{
		Started: x.Start,
		Request: harRequestOut{
			Method: x.Method, URL: x.URL, Version: version, Cookies: cookies(x.RequestHeader), Headers: pairs(x.RequestHeader),
			Query: query(x.URL), HeadersSize: -1, BodySize: x.BytesUp,
		},
		Response: harResponseOut{
			Status: x.Status, StatusText: http.StatusText(x.Status), Version: version, Cookies: []harPairOut{}, Headers: pairs(x.ResponseHeader),
			Content: body(x.ResponseBody, x.ResponseHeader), HeadersSize: -1, BodySize: x.BytesDown,
		},
		Timings: harTimingsOut{Send: float64(sent.Sub(x.Start)) / float64(time.Millisecond)},
		Precisely: harOwn{
			ID: x.ID, Flow: x.Flow, Backend: x.Backend, Start: x.Start, Sent: x.Sent, End: x.End,
			RequestTruncated: x.RequestTruncated, ResponseTruncated: x.ResponseTruncated, Failure: x.Failure,
		},
	}
	if !x.End.IsZero() {
		out.Time = float64(x.End.Sub(x.Start)) / float64(time.Millisecond)
		out.Timings.Wait = max(0, out.Time-out.Timings.Send)
	}
	size := x.BytesDown
	out.Response.Content.Size = &size
	out.Response.Redirect, _ = field(x.ResponseHeader, "Location")
	if len(x.RequestBody) > 0 {
		b := body(x.RequestBody, x.RequestHeader)
		out.Request.PostData = &b
	}
	return out
}

// body stores text as text, and everything else in base64. A stored base64 text
// survives what JSON does to bytes that are no UTF-8.
func body(b []byte, header []capture.Header) harBodyOut {
	kind, _ := field(header, "Content-Type")
	out := harBodyOut{MimeType: kind}
	if coding, _ := field(header, "Content-Encoding"); utf8.Valid(b) && (coding == "" || strings.EqualFold(coding, "identity")) {
		out.Text = string(b)
		return out
	}
	out.Text, out.Encoding = base64.StdEncoding.EncodeToString(b), "base64"
	return out
}

func pairs(all []capture.Header) []harPairOut {
	out := make([]harPairOut, 0, len(all))
	for _, f := range all {
		out = append(out, harPairOut{f.Name, f.Value})
	}
	return out
}

func cookies(header []capture.Header) []harPairOut {
	out := []harPairOut{}
	for _, f := range header {
		if !strings.EqualFold(f.Name, "Cookie") {
			continue
		}
		for c := range strings.SplitSeq(f.Value, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(c), "=")
			out = append(out, harPairOut{name, value})
		}
	}
	return out
}

// query splits the query of a URL, as it was sent where it cannot be decoded.
func query(raw string) []harPairOut {
	out := []harPairOut{}
	_, q, ok := strings.Cut(raw, "?")
	if !ok {
		return out
	}
	q, _, _ = strings.Cut(q, "#")
	for p := range strings.SplitSeq(q, "&") {
		name, value, _ := strings.Cut(p, "=")
		for _, s := range []*string{&name, &value} {
			if plain, err := url.QueryUnescape(*s); err == nil {
				*s = plain
			}
		}
		out = append(out, harPairOut{name, value})
	}
	return out
}
