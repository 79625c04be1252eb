package telemetry

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// sensorsIDs are the members of a Sensors event and of its properties that
// tell a person or a phone apart.
var sensorsIDs = []string{
	"distinct_id", "original_id", "login_id", "anonymous_id", "uuid", "$device_id", "$android_id", "$oaid", "$imei", "$mac",
	"$identity_login_id", "$identity_anonymous_id", "$identity_android_id", "$identity_android_uuid", "mi_id", "userid", "user_id",
}

// sensors reads Sensors Analytics: a form with data_list or data, or the same
// fields in the query of a web beacon.
func (r *request) sensors() []Event {
	var events []Event
	for _, name := range []string{"data_list", "data"} {
		for _, f := range r.fields(name) {
			events = append(events, r.sensorsField(f, name)...)
		}
	}
	if len(events) > 0 {
		return events
	}
	// The same records as a bare JSON body.
	for _, part := range r.parts {
		if part.Where != "body" || part.Root == nil {
			continue
		}
		events = append(events, r.sensorsDocuments(field{"body", "", part.Root})...)
	}
	return events
}

func (r *request) sensorsField(f field, name string) []Event {
	if events := r.sensorsDocuments(f); len(events) > 0 {
		return events
	}
	mode := r.value("gzip")
	known := name == "data_list" && (mode != "" || r.value("crc") != "")
	switch {
	case mode == "9" || mode == "13":
		return []Event{r.sensorsOpaque(f, "encrypted under a key of the collector (gzip="+mode+")")}
	case known:
		return []Event{r.sensorsOpaque(f, "a Sensors upload that could not be decoded")}
	}
	return nil
}

// sensorsDocuments reads the records in every JSON text below a field.
func (r *request) sensorsDocuments(f field) []Event {
	var events []Event
	for _, doc := range documents(f) {
		for _, m := range objects(doc.node.Value) {
			if isSealed(m) {
				e := r.sensorsOpaque(doc, "encrypted under a key of the collector (ekey)")
				e.Flushed = millis(m["flush_time"])
				events = append(events, e)
				continue
			}
			if e, ok := sensorsEvent(m); ok {
				e.Where, e.Path, e.Project = doc.where, doc.path, r.project()
				events = append(events, e)
			}
		}
	}
	return events
}

func (r *request) project() string {
	if p := r.query("project"); p != "" {
		return p
	}
	return r.value("project")
}

func (r *request) sensorsOpaque(f field, reason string) Event {
	return Event{SDK: Sensors, Opaque: true, Reason: reason, Where: f.where, Path: f.path, Project: r.project()}
}

// isSealed is true for the envelope of an encrypted upload.
func isSealed(m map[string]any) bool {
	_, key := m["ekey"].(string)
	_, many := m["payloads"].([]any)
	_, one := m["payload"].(string)
	return key && (many || one)
}

// sensorsEvent reads one record. It must have a type of Sensors and an
// identity; many formats have an event.
func sensorsEvent(m map[string]any) (Event, bool) {
	kind := text(m, "type")
	if !strings.HasPrefix(kind, "track") && !strings.HasPrefix(kind, "profile_") && !strings.HasPrefix(kind, "item_") {
		return Event{}, false
	}
	_, hasID := m["distinct_id"]
	properties := object(m, "properties")
	if !hasID && properties == nil {
		return Event{}, false
	}
	e := Event{
		SDK: Sensors, Type: kind, Name: text(m, "event"), Time: millis(m["time"]), Flushed: millis(m["_flush_time"]),
		Properties: properties, Identifiers: map[string]string{},
	}
	for _, key := range sensorsIDs {
		for _, from := range []map[string]any{m, properties, object(m, "identities")} {
			switch v := from[key].(type) {
			case string:
				if v != "" {
					e.Identifiers[key] = v
				}
			case json.Number:
				e.Identifiers[key] = v.String()
			}
		}
	}
	if lib := object(m, "lib"); lib != nil {
		e.App = text(lib, "$app_id")
	}
	if id := text(properties, "$app_id"); id != "" {
		e.App = id
	}
	return e, true
}

// SensorsConfig reads a reply of Sensors' remote configuration. ok is false
// when the exchange is none or its reply cannot be read (not fetched, not
// modified, cut short); disableSDK is true when it turns the SDK off, so that
// silence afterwards is not the switch's doing.
func SensorsConfig(ex capture.Exchange) (disableSDK, ok bool) {
	u, err := url.Parse(ex.URL)
	if err != nil || !strings.HasSuffix(u.Path, "/config/Android.conf") || ex.Status/100 != 2 || ex.ResponseTruncated {
		return false, false
	}
	var encoding, kind string
	for _, h := range ex.ResponseHeader {
		switch strings.ToLower(h.Name) {
		case "content-encoding":
			encoding = h.Value
		case "content-type":
			kind = h.Value
		}
	}
	root := payload.PeelEncoded(ex.ResponseBody, kind, encoding)
	for _, doc := range documents(field{node: root}) {
		for _, m := range objects(doc.node.Value) {
			configs := object(m, "configs")
			if configs == nil {
				configs = m
			}
			switch v := configs["disableSDK"].(type) {
			case bool:
				return v, true
			case string:
				return strings.EqualFold(v, "true"), true
			}
			if configs["disableDebugMode"] != nil || m["v"] != nil {
				// A configuration without the word leaves the SDK on.
				return false, true
			}
		}
	}
	return false, false
}
