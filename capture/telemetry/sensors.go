package telemetry

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// sensorsIDs are the members of a Sensors event and of its properties that
// tell a person or a phone apart.
var sensorsIDs = []string{
	"distinct_id", "original_id", "login_id", "anonymous_id", "uuid", "$device_id", "$android_id", "$oaid", "$imei", "$mac",
	"$identity_login_id", "$identity_anonymous_id", "$identity_android_id", "$identity_android_uuid", "$identity_cookie_id",
	"$identity_email", "$identity_mobile", "mi_id", "userid", "user_id",
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
	if f, ok := r.body(); ok {
		events = append(events, r.sensorsDocuments(f)...)
	}
	return events
}

func (r *request) sensorsField(f field, name string) []Event {
	if events := r.sensorsDocuments(f); len(events) > 0 {
		return events
	}
	mode, crc := r.value("gzip"), r.value("crc")
	known := name == "data_list" && (mode != "" || crc != "")
	// One event alone: the server SDKs send gzip with it, the web SDK a checksum.
	known = known || name == "data" && (isNumber(crc) && mode != "" || isNumber(strings.TrimPrefix(r.value("ext"), "crc=")))
	if !known {
		return nil
	}
	if mode == "9" || mode == "13" {
		e := r.sensorsOpaque(f, "encrypted under a key of the collector (gzip="+mode+")")
		if why := r.cut(); why != "" {
			e.Reason = why
		}
		return []Event{e}
	}
	return r.sensorsDamaged(f)
}

func isNumber(s string) bool {
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil
}

// sensorsDamaged reads what is whole of an upload that is not.
func (r *request) sensorsDamaged(f field) []Event {
	var damage string
	note := func(layer string, err error) {
		if err != nil && damage == "" {
			damage = "damaged: " + layer + ": " + err.Error()
		}
	}
	content, err := unbase64(string(f.node.Value))
	note("base64", err)
	if r.value("gzip") != "0" && bytes.HasPrefix(content, []byte{0x1f, 0x8b}) {
		content, err = gunzip(content)
		note("gzip", err)
	}
	all, broken := records(content)
	if damage == "" && broken != "" {
		damage = "damaged: " + broken
	}
	if cut := r.cut(); cut != "" {
		damage = cut
	}
	if damage == "" {
		damage = "readable, but with records of no known shape"
	}
	var events []Event
	for _, m := range all {
		if e, ok := sensorsEvent(m); ok {
			e.Where, e.Path, e.Project = f.where, f.path, r.project()
			events = append(events, e)
		}
	}
	return append(events, r.sensorsOpaque(f, damage))
}

// sensorsDocuments reads the records in every JSON text below a field.
func (r *request) sensorsDocuments(f field) []Event {
	var events []Event
	for _, doc := range documents(f) {
		for i, m := range objects(doc.node.Value) {
			if isSealed(m) {
				events = append(events, r.sensorsSealed(doc, m, i))
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

// sensorsSealed is the event for an envelope of an encrypted upload, the i-th of
// its document. The key of each envelope lies in it, encrypted under the
// collector's RSA or EC key; that stays opaque whoever reads the payloads.
func (r *request) sensorsSealed(doc field, m map[string]any, i int) Event {
	e := r.sensorsOpaque(doc, "encrypted under a key of the collector (ekey)")
	e.Flushed = millis(m["flush_time"])
	e.sealed = &sealed{read: func(like Event, plain []byte) []Event {
		var events []Event
		for _, m := range objects(plain) {
			if found, ok := sensorsEvent(m); ok {
				found.Where, found.Path, found.Project, found.Decoder = like.Where, like.Path, like.Project, like.Decoder
				if found.Flushed.IsZero() {
					found.Flushed = like.Flushed
				}
				events = append(events, found)
			}
		}
		return events
	}}
	e.sealed.document, _ = json.Marshal(m)
	values, _ := m["payloads"].([]any)
	pointer := "/payloads/"
	if values == nil {
		values, pointer = []any{m["payload"]}, "/payload"
	}
	for j, v := range values {
		s, ok := v.(string)
		ciphertext, err := unbase64(s)
		if !ok || err != nil || len(ciphertext) <= ivSize || len(ciphertext)%ivSize != 0 {
			e.Reason = "damaged: a payload is no whole number of cipher blocks in base64"
			continue
		}
		end := pointer
		if pointer == "/payloads/" {
			end += strconv.Itoa(j)
		}
		e.sealed.pieces = append(e.sealed.pieces, piece{ciphertext, leafAt(doc.node, i, end)})
	}
	return e
}

// leafAt finds the leaf for a member of the i-th object of a document, or of the
// document that is one object.
func leafAt(doc *payload.Node, i int, member string) *payload.Node {
	for _, step := range []string{"json:/" + strconv.Itoa(i) + member, "json:" + member} {
		for _, child := range doc.Children {
			if child.Step != step {
				continue
			}
			for len(child.Children) == 1 {
				child = child.Children[0] // Down to the ciphertext in base64.
			}
			return child
		}
	}
	return nil
}

// sensorsEvent reads one record. Its type is one of Sensors and it names whom or
// what it is about; many formats have an event.
func sensorsEvent(m map[string]any) (Event, bool) {
	kind := text(m, "type")
	ids := identifiers(m, "distinct_id", "item_id")
	switch {
	case kind == "track", strings.HasPrefix(kind, "track_"), strings.HasPrefix(kind, "profile_"):
		if ids["distinct_id"] == "" {
			return Event{}, false
		}
	case strings.HasPrefix(kind, "item_"):
		if ids["item_id"] == "" {
			return Event{}, false
		}
	default:
		return Event{}, false
	}
	properties := object(m, "properties")
	if ids["item_id"] != "" { // An item is what is spoken of, and no person.
		if properties == nil {
			properties = map[string]any{}
		}
		properties["item_id"], properties["item_type"] = m["item_id"], m["item_type"]
	}
	e := Event{
		SDK: Sensors, Type: kind, Name: text(m, "event"), Time: millis(m["time"]), Flushed: millis(m["_flush_time"]),
		Properties: properties, Identifiers: map[string]string{},
	}
	for _, from := range []map[string]any{m, properties, object(m, "identities")} {
		maps.Copy(e.Identifiers, identifiers(from, sensorsIDs...))
	}
	if lib := object(m, "lib"); lib != nil {
		e.App, e.Web = text(lib, "$app_id"), text(lib, "$lib") == "js"
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
