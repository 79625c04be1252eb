package telemetry

import (
	"crypto/aes"
	"strings"
)

// onetrack reads what OneTrack says in clear: the app, in headers of requests
// whose body is encrypted under a key of the collector, and records that are
// not encrypted, as another transport may carry them.
func (r *request) onetrack() []Event {
	sender := r.header("OT_sender")
	if sender == "" || r.header("OT_protocol") == "" && r.header("OT_ts") == "" && r.header("OT_SID") == "" {
		return r.onetrackRecords(Event{SDK: OneTrack})
	}
	e := Event{
		SDK: OneTrack, App: sender, Flushed: millis(r.header("OT_ts")), Project: r.header("OT_SID"), Where: "body",
	}
	if events := r.onetrackRecords(e); len(events) > 0 {
		return events
	}
	e.Opaque, e.Reason = true, "encrypted under a key of the collector (OneTrack protocol "+r.header("OT_protocol")+")"
	f, ok := r.body()
	switch {
	case strings.HasSuffix(r.path, "/track/key_get"):
		e.Type, e.Reason = TypeConfig, "a request for the key of the uploads, whose body is not known"
	case !ok || len(f.node.Value) == 0:
		e.Reason = "damaged: there is no body"
	case r.cut() != "":
		e.Reason = r.cut()
	case len(f.node.Value)%aes.BlockSize != 0:
		e.Reason = "damaged: the body is no whole number of cipher blocks"
	default:
		e.Path = f.path
		e.sealed = &sealed{document: f.node.Value, pieces: []piece{{f.node.Value, f.node}}, read: onetrackPlain}
	}
	return []Event{e}
}

// onetrackPlain reads the records of a decrypted body.
func onetrackPlain(like Event, plain []byte) []Event {
	var events []Event
	for _, m := range objects(plain) {
		// Others may write H and B too.
		if e, ok := onetrackEvent(like, m); ok && (e.App != "" || !e.Time.IsZero() || len(e.Identifiers) > 0) {
			events = append(events, e)
		}
	}
	return events
}

// onetrackRecords reads records of a header H and a body B in any JSON text of
// the request, alone or in a list.
func (r *request) onetrackRecords(like Event) []Event {
	var events []Event
	for _, part := range r.parts {
		if part.Root == nil || part.Where == "header" || part.Where == "cookie" {
			continue
		}
		for _, doc := range documents(field{part.Where, part.Name, part.Root}, "H", "B") {
			e := like
			e.Where, e.Path = doc.where, doc.path
			events = append(events, onetrackPlain(e, doc.node.Value)...)
		}
	}
	return events
}

// onetrackEvent reads a record: a header H that names the event, and a body B.
func onetrackEvent(like Event, m map[string]any) (Event, bool) {
	head := object(m, "H")
	properties, ok := m["B"].(map[string]any)
	if head == nil || !ok || text(head, "event") == "" {
		return Event{}, false
	}
	e := like
	e.Name, e.Properties = text(head, "event"), properties
	e.Time = millis(head["e_ts"])
	e.Identifiers = identifiers(head, "instance_id", "oaid", "gaid", "imei", "uid", "android_id")
	if app := text(head, "pkg"); app != "" {
		e.App = app
	}
	if id := text(head, "app_id"); id != "" {
		e.Project = id
	}
	return e, true
}

// spock reads what the app com.miui.analytics sends: a parameter value that is
// base64 of one JSON text, compressed or not, with a header H for the phone and
// a list B of records like OneTrack's.
func (r *request) spock() []Event {
	var events []Event
	for _, part := range r.parts {
		if part.Root == nil || part.Where == "header" || part.Where == "cookie" {
			continue
		}
		for _, doc := range documents(field{part.Where, part.Name, part.Root}, "H", "B") {
			for _, m := range objects(doc.node.Value) {
				events = append(events, spockEvents(doc, m)...)
			}
		}
	}
	if len(events) > 0 || !strings.HasSuffix(r.path, "/track/spock") {
		return events
	}
	f, ok := one(r.fields("value"))
	if !ok {
		return nil
	}
	e := Event{SDK: MIUIAnalytics, Opaque: true, Reason: "damaged: the value is no base64 of records", Where: f.where, Path: f.path}
	if why := r.cut(); why != "" {
		e.Reason = why
	}
	return []Event{e}
}

func spockEvents(doc field, m map[string]any) []Event {
	head := object(m, "H")
	list, ok := m["B"].([]any)
	if head == nil || !ok {
		return nil
	}
	var events []Event
	for _, record := range list {
		inner, ok := record.(map[string]any)
		if !ok {
			continue
		}
		like := Event{SDK: MIUIAnalytics, Flushed: millis(head["st"]), Where: doc.where, Path: doc.path}
		e, ok := onetrackEvent(like, inner)
		if !ok {
			continue
		}
		for key, v := range identifiers(head, "instance_id", "oaid", "gaid", "imei", "uid", "android_id") {
			if e.Identifiers[key] == "" {
				e.Identifiers[key] = v
			}
		}
		if e.App == "" {
			e.App = text(head, "pkg")
		}
		events = append(events, e)
	}
	return events
}
