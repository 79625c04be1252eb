package dissect

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// maxHAREntry bounds one entry of a HAR file as text, and maxHARBodies the
	// bodies of a whole file that are kept.
	maxHAREntry  = 64 << 20
	maxHARBodies = 256 << 20
)

// The objects of HAR 1.2 as other programs write them: any field may be absent,
// null, or of another type than the specification says.
type (
	harEntry struct {
		Started   harText     `json:"startedDateTime"`
		Time      harNumber   `json:"time"`
		Request   harRequest  `json:"request"`
		Response  harResponse `json:"response"`
		Timings   harTimings  `json:"timings"`
		Error     harText     `json:"_error"` // Chrome
		Precisely harOwn      `json:"_offproof"`
	}
	harRequest struct {
		Method   harText          `json:"method"`
		URL      harText          `json:"url"`
		Version  harText          `json:"httpVersion"`
		Headers  harList[harPair] `json:"headers"`
		PostData harPost          `json:"postData"`
		BodySize harNumber        `json:"bodySize"`
	}
	harResponse struct {
		Status   harNumber        `json:"status"`
		Version  harText          `json:"httpVersion"`
		Headers  harList[harPair] `json:"headers"`
		Content  harPost          `json:"content"`
		BodySize harNumber        `json:"bodySize"`
		Error    harText          `json:"_error"`
	}
	harPair struct {
		Name  harText `json:"name"`
		Value harText `json:"value"`
	}
	harPost struct {
		Size      harNumber        `json:"size"`
		Text      *harText         `json:"text"`
		Encoding  harText          `json:"encoding"`
		Encoding2 harText          `json:"_encoding"`
		Params    harList[harPair] `json:"params"`
	}
	harTimings struct {
		Blocked harNumber `json:"blocked"`
		DNS     harNumber `json:"dns"`
		Connect harNumber `json:"connect"`
		Send    harNumber `json:"send"`
	}
	// harOwn is what HAR has no place for, so that writing and reading back
	// loses nothing.
	harOwn struct {
		ID                string    `json:"id,omitempty"`
		Flow              string    `json:"flow,omitempty"`
		Backend           string    `json:"backend,omitempty"`
		Start             time.Time `json:"start,omitzero"`
		Sent              time.Time `json:"sent,omitzero"`
		End               time.Time `json:"end,omitzero"`
		RequestTruncated  bool      `json:"request_truncated,omitempty"`
		ResponseTruncated bool      `json:"response_truncated,omitempty"`
		Failure           string    `json:"failure,omitempty"`
	}
)

// harText is a string, for which a number or a boolean may stand.
type harText string

func (t *harText) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case len(b) > 0 && b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = harText(s)
	case len(b) > 0 && b[0] != 'n' && b[0] != '{' && b[0] != '[':
		*t = harText(b)
	}
	return nil
}

// harNumber is a number, for which a string may stand; NaN when it is absent.
type harNumber struct {
	v  float64
	ok bool
}

func (n *harNumber) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(b), `" `), 64)
	n.v, n.ok = v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && math.Abs(v) < 1<<52
	return nil
}

// positive is the number, or 0 when it is absent or says "unknown" by -1.
func (n harNumber) positive() float64 {
	if !n.ok {
		return 0
	}
	return max(n.v, 0)
}

// harList is an array; anything else counts as an empty one.
type harList[T any] []T

func (l *harList[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	if len(b) == 0 || b[0] != '[' {
		return nil
	}
	var all []T
	if err := json.Unmarshal(b, &all); err != nil {
		var mistyped *json.UnmarshalTypeError
		if !errors.As(err, &mistyped) {
			return err
		}
	}
	*l = all
	return nil
}

// errLarge ends the reading of a value that is larger than any sensible one.
var errLarge = fmt.Errorf("a value of more than %d bytes", maxHAREntry)

// allowance is a reader that gives up when a single value is too large.
type allowance struct {
	r    io.Reader
	left int64
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.left <= 0 {
		return 0, errLarge
	}
	n, err := a.r.Read(b[:min(int64(len(b)), a.left)])
	a.left -= int64(n)
	return n, err
}

// ReadHAR reads a HAR file, as browsers and proxies write them. Bodies are what
// the file holds: most programs store replies decoded, whatever their headers
// say. A file that is no HAR is ErrFormat; one that is damaged gives the
// entries before the damage, and its Health says so.
func ReadHAR(r io.Reader) (*Capture, error) {
	br := bufio.NewReader(r)
	if head, err := br.Peek(len(utf8BOM)); err == nil && bytes.Equal(head, utf8BOM) {
		if _, err := br.Discard(len(utf8BOM)); err != nil {
			return nil, fmt.Errorf("har: read file: %w", err)
		}
	}
	limit := &allowance{br, maxHAREntry}
	h := &harReader{dec: json.NewDecoder(limit), limit: limit, out: &Capture{}}
	h.ended(h.file())
	if !h.found {
		return nil, fmt.Errorf("%w: it has no \"log\"", ErrFormat)
	}
	return h.out, nil
}

type harReader struct {
	dec     *json.Decoder
	limit   *allowance
	out     *Capture
	found   bool
	full    bool
	count   int
	skipped int
	stored  int
}

func (h *harReader) problem(format string, args ...any) {
	h.out.Health.Problems = append(h.out.Health.Problems, fmt.Sprintf(format, args...))
}

// file reads the whole file, as far as it can be read.
func (h *harReader) file() error {
	return h.object(func(key string) error {
		if key != "log" {
			return h.pass()
		}
		err := h.object(func(key string) error {
			h.found = true
			if key != "entries" {
				return h.pass()
			}
			return h.entries()
		})
		h.found = h.found || err == nil
		return err
	})
}

// ended notes how the reading ended.
func (h *harReader) ended(err error) {
	if h.skipped > 0 {
		h.problem("%d entries could not be read", h.skipped)
	}
	if h.full {
		h.problem("more than %d bytes of bodies: the further ones were not kept", maxHARBodies)
	}
	if err != nil {
		h.out.Health.Truncated = true
		h.problem("after %d entries: %v", h.count, err)
	}
	h.out.Damaged = err != nil || h.skipped > 0 || h.full
}

// token reads a token and allows the next value its full size.
func (h *harReader) token() (json.Token, error) {
	h.limit.left = maxHAREntry
	t, err := h.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return t, err
}

// object calls f for each key of an object; f reads the value.
func (h *harReader) object(f func(key string) error) error {
	t, err := h.token()
	if err != nil {
		return err
	}
	if t != json.Delim('{') {
		return errors.New("an object was expected")
	}
	for h.dec.More() {
		if t, err = h.token(); err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errors.New("a key was expected")
		}
		if err := f(key); err != nil {
			return err
		}
	}
	_, err = h.token()
	return err
}

// pass steps over a value.
func (h *harReader) pass() error {
	depth := 0
	for {
		t, err := h.token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func (h *harReader) entries() error {
	t, err := h.token()
	if err != nil {
		return err
	}
	if t != json.Delim('[') {
		return errors.New("\"entries\" is no array")
	}
	for h.dec.More() {
		h.limit.left = maxHAREntry
		var entry harEntry
		err := h.dec.Decode(&entry)
		var mistyped *json.UnmarshalTypeError
		switch {
		case errors.As(err, &mistyped):
			h.skipped++
			continue
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
		if h.count++; h.count > maxExchanges {
			return fmt.Errorf("more than %d entries", maxExchanges)
		}
		h.out.Exchanges = append(h.out.Exchanges, h.exchange(&entry))
	}
	_, err = h.token()
	return err
}

// exchange is what an entry says.
func (h *harReader) exchange(e *harEntry) capture.Exchange {
	own := &e.Precisely
	x := capture.Exchange{
		ID: own.ID, Flow: own.Flow, Backend: own.Backend,
		Start: own.Start, Sent: own.Sent, End: own.End,
		Method: string(e.Request.Method), URL: string(e.Request.URL), Version: harVersion(string(e.Request.Version)),
		RequestHeader: harHeaders(e.Request.Headers), ResponseHeader: harHeaders(e.Response.Headers),
		RequestTruncated: own.RequestTruncated, ResponseTruncated: own.ResponseTruncated, Failure: own.Failure,
	}
	if x.ID == "" {
		x.ID = strconv.Itoa(h.count)
	}
	if s := int(e.Response.Status.positive()); s < 1000 {
		x.Status = s
	}
	if x.Start.IsZero() {
		h.times(e, &x)
	}
	x.RequestBody, x.RequestTruncated = h.body(&e.Request.PostData, x.RequestTruncated)
	x.ResponseBody, x.ResponseTruncated = h.body(&e.Response.Content, x.ResponseTruncated)
	x.BytesUp, x.BytesDown = int64(len(x.RequestBody)), int64(len(x.ResponseBody))
	if n := e.Request.BodySize; n.ok && n.v >= 0 {
		x.BytesUp = int64(n.v)
	}
	if n := e.Response.BodySize; n.ok && n.v >= 0 {
		x.BytesDown = int64(n.v)
	}
	if x.Status == 0 && x.Failure == "" {
		x.Failure = "no reply"
		for _, why := range []harText{e.Response.Error, e.Error} {
			if why != "" {
				x.Failure = string(why)
			}
		}
	}
	return x
}

// times reads when an entry began, was sent and ended.
func (h *harReader) times(e *harEntry, x *capture.Exchange) {
	at, ok := harTime(string(e.Started))
	if !ok {
		return
	}
	x.Start = at
	if e.Timings.Send.ok && e.Timings.Send.v >= 0 {
		t := e.Timings
		x.Sent = at.Add(millis(t.Blocked.positive() + t.DNS.positive() + t.Connect.positive() + t.Send.v))
	}
	if e.Time.ok && e.Time.v >= 0 && x.Status != 0 {
		x.End = at.Add(millis(e.Time.v))
	}
}

func millis(v float64) time.Duration {
	return time.Duration(min(v, 1e9) * float64(time.Millisecond))
}

func harTime(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// harVersion brings the names of versions to one form.
func harVersion(s string) string {
	switch strings.ToLower(s) {
	case "", "unknown":
		return ""
	case "h2", "http/2", "http/2.0", "spdy":
		return "HTTP/2.0"
	case "h3", "http/3", "http/3.0", "h3-29", "http/2+quic/46":
		return "HTTP/3.0"
	}
	return strings.ToUpper(s)
}

func harHeaders(all []harPair) []capture.Header {
	var out []capture.Header
	for _, p := range all {
		out = append(out, capture.Header{Name: string(p.Name), Value: string(p.Value)})
	}
	return out
}

// body reads a body from its text, or from the fields of a form that a program
// stored instead of the text.
func (h *harReader) body(p *harPost, truncated bool) ([]byte, bool) {
	var b []byte
	switch {
	case p.Text != nil && (strings.EqualFold(string(p.Encoding), "base64") || strings.EqualFold(string(p.Encoding2), "base64")):
		var err error
		if b, err = base64.StdEncoding.DecodeString(string(*p.Text)); err != nil {
			b, truncated = []byte(*p.Text), true
		}
	case p.Text != nil && *p.Text != "":
		b = []byte(*p.Text)
	case len(p.Params) > 0:
		var s strings.Builder
		for i, q := range p.Params {
			if i > 0 {
				s.WriteByte('&')
			}
			s.WriteString(string(q.Name) + "=" + string(q.Value))
		}
		b = []byte(s.String())
	}
	if len(b) == 0 {
		return nil, truncated || p.Size.positive() > 0
	}
	if h.stored+len(b) > maxHARBodies {
		h.full = true
		return nil, true
	}
	h.stored += len(b)
	return b, truncated
}
