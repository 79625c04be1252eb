package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/offproof/offproof/capture"
)

// The lines of --json. Fields are only ever added; an absent field is unknown.
type (
	metaLine struct {
		Type   string `json:"type"`
		Format int    `json:"format"`
		File   string `json:"file"`
	}
	flowLine struct {
		Type       string             `json:"type"`
		ID         string             `json:"id"`
		Proto      capture.Proto      `json:"proto"`
		App        string             `json:"app"`
		Client     string             `json:"client,omitempty"`
		Server     string             `json:"server,omitempty"`
		Host       string             `json:"host,omitempty"`
		HostFrom   capture.HostSource `json:"host_from,omitempty"`
		SNI        string             `json:"sni,omitempty"`
		ALPN       []string           `json:"alpn,omitempty"`
		JA4        string             `json:"ja4,omitempty"`
		Start      time.Time          `json:"start"`
		End        time.Time          `json:"end"`
		Up         int64              `json:"bytes_up"`
		Down       int64              `json:"bytes_down"`
		UID        *int               `json:"uid,omitempty"`
		Visibility capture.Visibility `json:"visibility,omitempty"`
		// These came after the first format.
		ECH         bool   `json:"ech,omitempty"`
		Service     string `json:"service,omitempty"`
		PayloadUp   int64  `json:"payload_up"`
		PayloadDown int64  `json:"payload_down"`
		AppName     string `json:"app_name,omitempty"`
		Failure     string `json:"failure,omitempty"`
		Skipped     int64  `json:"skipped_bytes,omitempty"`
		Midstream   bool   `json:"midstream,omitempty"`
	}
	dnsLine struct {
		Type    string    `json:"type"`
		Name    string    `json:"name"`
		Answers []string  `json:"answers,omitempty"`
		At      time.Time `json:"at"`
		Flow    string    `json:"flow,omitempty"`
		Kind    string    `json:"qtype,omitempty"`
		RCode   string    `json:"rcode,omitempty"`
	}
	exchangeLine struct {
		Type      string     `json:"type"`
		Flow      string     `json:"flow,omitempty"`
		Method    string     `json:"method"`
		URL       string     `json:"url"`
		Status    int        `json:"status,omitempty"`
		Up        int64      `json:"bytes_up"`
		Down      int64      `json:"bytes_down"`
		ID        string     `json:"id,omitempty"`
		Start     *time.Time `json:"start,omitempty"`
		Version   string     `json:"version,omitempty"`
		Failure   string     `json:"failure,omitempty"`
		Truncated bool       `json:"request_truncated,omitempty"`
	}
	sightingLine struct {
		Type     string `json:"type"`
		Flow     string `json:"flow,omitempty"`
		Host     string `json:"host,omitempty"`
		Canary   string `json:"canary"`
		Where    string `json:"where"`
		Path     string `json:"path"`
		Form     string `json:"form"`
		Exchange string `json:"exchange,omitempty"`
		// Chars is how much of the text was seen, where it was not all of it.
		Chars   int    `json:"chars,omitempty"`
		Excerpt string `json:"excerpt,omitempty"`
	}
	eventLine struct {
		Type        string            `json:"type"`
		Flow        string            `json:"flow,omitempty"`
		SDK         string            `json:"sdk"`
		Name        string            `json:"name,omitempty"`
		Properties  map[string]any    `json:"properties,omitempty"`
		Identifiers map[string]string `json:"identifiers,omitempty"`
		// Kind is the SDK's word for what the record is, Consent what the record
		// itself says of consent, App the package that the SDK names.
		Kind    string            `json:"kind,omitempty"`
		Consent map[string]string `json:"consent,omitempty"`
		App     string            `json:"app,omitempty"`

		Time     time.Time `json:"time,omitzero"`
		Host     string    `json:"host,omitempty"`
		Exchange string    `json:"exchange,omitempty"`
		Opaque   bool      `json:"opaque,omitempty"`
		Reason   string    `json:"reason,omitempty"`
	}
	healthLine struct {
		Type      string   `json:"type"`
		Packets   int64    `json:"packets"`
		Dropped   *int64   `json:"dropped,omitempty"`
		Truncated bool     `json:"truncated"`
		Skipped   int64    `json:"skipped_bytes"`
		Problems  []string `json:"problems,omitempty"`
	}
)

// lines prints the findings, one JSON object per line.
func (f *findings) lines(w io.Writer) error {
	out := &lineWriter{w: bufio.NewWriter(w)}
	out.print(metaLine{"meta", 1, f.file})
	for _, x := range f.Flows {
		line := flowLine{
			Type: "flow", ID: x.ID, Proto: x.Proto, App: x.App, Host: x.Host, HostFrom: x.HostFrom,
			SNI: x.SNI, ALPN: x.ALPN, JA4: x.JA4, ECH: x.ECH, Service: x.Service, Start: x.Start, End: x.End, Up: x.BytesUp, Down: x.BytesDown, UID: x.UID,
			Visibility: x.Visibility, PayloadUp: x.PayloadUp, PayloadDown: x.PayloadDown, AppName: x.AppName,
			Failure: x.Failure, Skipped: x.SkippedBytes, Midstream: x.Midstream,
		}
		if x.Client.IsValid() {
			line.Client = x.Client.String()
		}
		if x.Server.IsValid() {
			line.Server = x.Server.String()
		}
		out.print(line)
	}
	for _, l := range f.Lookups {
		out.print(dnsLine{"dns", l.Name, l.Answers, l.At, l.Flow, l.Type, l.RCode})
	}
	for _, x := range f.Exchanges {
		line := exchangeLine{
			Type: "exchange", Flow: x.Flow, Method: x.Method, URL: x.URL, Status: x.Status, Up: x.BytesUp, Down: x.BytesDown,
			ID: x.ID, Version: x.Version, Failure: x.Failure, Truncated: x.RequestTruncated,
		}
		if !x.Start.IsZero() {
			line.Start = &x.Start
		}
		out.print(line)
	}
	for _, s := range f.sightings {
		out.print(s.line("sighting"))
	}
	for _, s := range f.expected {
		out.print(s.line("expected"))
	}
	for _, e := range f.events {
		out.print(eventLine{
			Type: "event", Flow: e.flow, SDK: e.SDK, Name: e.Name, Properties: e.Properties, Identifiers: e.Identifiers,
			Kind: e.Event.Type, Consent: e.Consent, App: e.App,
			Time: e.Time, Host: e.host, Exchange: e.exchange, Opaque: e.Opaque, Reason: e.Reason,
		})
	}
	h := f.Health
	out.print(healthLine{"health", h.Packets, h.Dropped, h.Truncated, h.SkippedBytes, h.Doubts()})
	return out.flush()
}

func (s seen) line(kind string) sightingLine {
	line := sightingLine{
		Type: kind, Flow: s.flow, Host: s.host, Canary: s.Canary.Term, Where: s.Where, Path: s.Path, Form: s.Form,
		Exchange: s.exchange, Excerpt: s.Excerpt,
	}
	if !s.Whole() {
		line.Chars = s.Chars
	}
	return line
}

// A lineWriter prints JSON lines and keeps the first error.
type lineWriter struct {
	w   *bufio.Writer
	err error
}

func (l *lineWriter) print(v any) {
	if l.err != nil {
		return
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if l.err = enc.Encode(v); l.err != nil {
		return
	}
	_, l.err = l.w.Write(harmless(buf.Bytes()))
}

func (l *lineWriter) flush() error {
	if l.err != nil {
		return l.err
	}
	return l.w.Flush()
}

// harmless escapes what JSON leaves as it is and a terminal might obey: control
// characters above ASCII, and those that turn the direction of text.
func harmless(line []byte) []byte {
	if isPlain(line) {
		return line
	}
	var out bytes.Buffer
	for _, r := range string(line) {
		switch {
		case r == '\n' || r < utf8.RuneSelf && r >= ' ' && r != 0x7f || r >= utf8.RuneSelf && unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.Bytes()
}

func isPlain(b []byte) bool {
	for _, c := range b {
		if c != '\n' && (c < ' ' || c >= 0x7f) {
			return false
		}
	}
	return true
}

// visible makes a string from a capture fit for a terminal: what does not print
// is shown as an escape.
func visible(s string) string {
	if isPlain([]byte(s)) && !strings.Contains(s, "\n") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&out, `\x%02x`, r)
		default:
			fmt.Fprintf(&out, `\u{%x}`, r)
		}
		i += n
	}
	return out.String()
}
