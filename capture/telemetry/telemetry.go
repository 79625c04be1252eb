// Package telemetry reads the formats of analytics SDKs as typed events.
//
// A format is recognised by its shape, not by its host: a collector that no
// list knows is read as well as a famous one. What a format encrypts under a
// key that only its maker holds is an event too, with Opaque set, so that it
// is never mistaken for silence.
package telemetry

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// The SDKs whose formats are read.
const (
	Sensors  = "sensors"
	MiStat   = "mistat"
	OneTrack = "onetrack"
)

// An Event is one thing that an SDK reported.
type Event struct {
	// SDK is one of the constants above.
	SDK string
	// Name is the event's name as the SDK sent it, empty when Opaque.
	Name string
	// Type is the record's type where the SDK has such, as "track".
	Type string
	// Time is when it happened by the phone's clock, zero when unknown.
	Time time.Time
	// Flushed is when the SDK sent it, by the phone's clock, zero when unknown.
	Flushed time.Time
	// Properties are the event's own, as JSON gives them: string, bool,
	// json.Number, []any, map[string]any, nil.
	Properties map[string]any
	// Identifiers are the values that tell a person or a phone apart, by the
	// name under which they were sent: distinct_id, uuid, $device_id.
	Identifiers map[string]string
	// App is the package that the SDK says it reports for, empty when unsaid.
	App string
	// Project is the collector's project or application id, empty when unsaid.
	Project string
	// Opaque is true when the format is recognised and its content cannot be
	// read; Reason says why.
	Opaque bool
	Reason string
	// Where and Path say where in the request the event lies, as payload has it.
	Where string
	Path  string
}

// Decode returns the events in a request, in order. parts is
// [Open] of payload.Request(ex), or payload.Request(ex) alone; it is taken so
// that it is not computed twice.
func Decode(ex capture.Exchange, parts []payload.Part) []Event {
	r := request{ex: ex, parts: parts}
	for _, decode := range []func(*request) []Event{(*request).sensors, (*request).mistat, (*request).onetrack} {
		if events := decode(&r); len(events) > 0 {
			return events
		}
	}
	return nil
}

// A request is an exchange with its opened parts.
type request struct {
	ex    capture.Exchange
	parts []payload.Part
}

// query returns a parameter of the URL, decoded once.
func (r *request) query(name string) string {
	for _, part := range r.parts {
		if part.Where == "url" && part.Name == "query:"+name && part.Root != nil {
			return string(part.Root.Value)
		}
	}
	return ""
}

// header returns a header's value, by its name in any case.
func (r *request) header(name string) string {
	for _, h := range r.ex.RequestHeader {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// A field is a value of a form in the body or of the URL's query.
type field struct {
	where, path string
	node        *payload.Node
}

// fields returns every field of a name, the body's before the query's. The
// body may be compressed around the form.
func (r *request) fields(name string) []field {
	var found []field
	for _, where := range []string{"body", "url"} {
		for leaf := range payload.Walk(r.parts) {
			if leaf.Where != where {
				continue
			}
			inBody := where == "body" && leaf.Step == "form:"+name
			inQuery := where == "url" && leaf.Path == "query:"+name
			if inBody || inQuery {
				found = append(found, field{leaf.Where, leaf.Path, leaf.Node})
			}
		}
	}
	return found
}

// value returns the first field of a name as text.
func (r *request) value(name string) string {
	for _, f := range r.fields(name) {
		return string(f.node.Value)
	}
	return ""
}

// documents returns every JSON text at or below a node, with its path.
func documents(f field) []field {
	var found []field
	for leaf := range payload.Walk([]payload.Part{{Where: f.where, Root: &payload.Node{Children: []*payload.Node{f.node}}}}) {
		if isDocument(leaf.Node) {
			below := strings.TrimPrefix(strings.TrimPrefix(leaf.Path, f.node.Step), " > ")
			found = append(found, field{f.where, joined(f.path, below), leaf.Node})
		}
	}
	return found
}

func joined(path, below string) string {
	if path == "" || below == "" {
		return path + below
	}
	return path + " > " + below
}

// isDocument is true for a node that payload opened as JSON.
func isDocument(n *payload.Node) bool {
	return len(n.Children) > 0 && (strings.HasPrefix(n.Children[0].Step, "json:") || strings.HasPrefix(n.Children[0].Step, "json-key:"))
}

// objects parses a JSON text: one object, or the objects of one array.
func objects(text []byte) []map[string]any {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var doc any
	if in.Decode(&doc) != nil {
		return nil
	}
	switch doc := doc.(type) {
	case map[string]any:
		return []map[string]any{doc}
	case []any:
		var all []map[string]any
		for _, v := range doc {
			if m, ok := v.(map[string]any); ok {
				all = append(all, m)
			}
		}
		return all
	}
	return nil
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}

// The times that a phone's clock can show in this tool's life: earlier and
// later numbers are no times.
const (
	earliest = 946_684_800_000   // 2000
	latest   = 4_102_444_800_000 // 2100
)

// millis reads a time in milliseconds since 1970, as number or text.
func millis(v any) time.Time {
	var number json.Number
	switch v := v.(type) {
	case json.Number:
		number = v
	case string:
		number = json.Number(v)
	default:
		return time.Time{}
	}
	ms, err := number.Int64()
	if err != nil {
		f, err := number.Float64()
		if err != nil || math.IsNaN(f) || f < earliest || f > latest {
			return time.Time{}
		}
		ms = int64(f)
	}
	if ms < earliest || ms > latest {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
