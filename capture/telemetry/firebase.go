package telemetry

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of a bundle, as Firebase Analytics numbers them. Google does not
// publish them: the names are those that its SDK for Android prints in its debug
// log, and the numbers were checked against a community's description
// (github.com/lari/firebase-ga4-app-measurement-protobuf) and against TrackHAR's
// adapter. Sources disagree on 27: an id of the installation to some, of the
// vendor's apps to others; it is called instance_id here.
const (
	fbEvent           = 2
	fbUserProperty    = 3
	fbUploadMillis    = 4
	fbPlatform        = 8
	fbAppID           = 14
	fbLimitedTracking = 20
	fbProject         = 25
	fbConsentSignals  = 52
	// Every bundle seen begins so: version 1 of the protocol, then an event.
	fbBeginning = "\x08\x01\x12"
)

var (
	fbText = map[protowire.Number]string{
		8: "$platform", 9: "$os_version", 10: "$device_model", 11: "$language", 13: "$app_store", 16: "$app_version",
	}
	fbIDs = map[protowire.Number]string{
		19: "resettable_device_id", 21: "app_instance_id", 27: "instance_id", 30: "firebase_instance_id",
	}
)

// A bundle is what one upload says of one app.
type bundle struct {
	events, properties []fbRecord
	phone              map[string]any
	ids, consent       map[string]string
	platform, app      string
	project            string
	uploaded           time.Time
	broken             bool
}

// fbRecord is an event or a property of the user.
type fbRecord struct {
	name   string
	at     time.Time
	values map[string]any
}

// firebase reads Google Analytics for Firebase: a protobuf message whose only
// field, repeated, is a bundle.
func (r *request) firebase() []Event {
	f, ok := r.body()
	if !ok {
		return nil
	}
	known := r.path == "/a" && (r.host == "app-measurement.com" || strings.HasSuffix(r.host, ".app-measurement.com"))
	bundles, broken := batch(f.node.Value)
	var events []Event
	for _, b := range bundles {
		// Whole or not, what names no app on no platform is another's message.
		if !b.shaped() && !(b.broken && (known || len(b.events) > 0)) {
			if known {
				broken = true
			}
			continue
		}
		broken = broken || b.broken
		events = append(events, b.decoded(f)...)
	}
	if !known && len(events) == 0 || known && len(events) > 0 && !broken || !known && !broken {
		return events
	}
	e := Event{SDK: Firebase, Opaque: true, Reason: "damaged: the body is no whole list of bundles", Where: "body", Path: f.path}
	if why := r.cut(); why != "" {
		e.Reason = why
	}
	return append(events, e)
}

// shaped says whether a message is a bundle beyond doubt.
func (b *bundle) shaped() bool {
	switch strings.ToLower(b.platform) {
	case "android", "ios":
	default:
		return false
	}
	return strings.Contains(b.app, ".") && isPlainText(b.app) && (len(b.events) > 0 || len(b.properties) > 0 || !b.uploaded.IsZero())
}

// batch reads the bundles of an upload; broken is true when something in it is
// no bundle.
func batch(body []byte) (all []*bundle, broken bool) {
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 || number != 1 || kind != protowire.BytesType {
			return all, true
		}
		message, m := protowire.ConsumeBytes(body[n:])
		if m < 0 {
			// Cut off: what is there may still begin a bundle.
			_, k := protowire.ConsumeVarint(body[n:])
			if k < 0 || !bytes.HasPrefix(body[n+k:], []byte(fbBeginning)) {
				return all, true
			}
			b := readBundle(body[n+k:])
			b.broken = true
			return append(all, b), true
		}
		all = append(all, readBundle(message))
		if len(all) == maxRecords {
			return all, true
		}
		body = body[n+m:]
	}
	return all, false
}

func readBundle(message []byte) *bundle {
	b := &bundle{phone: map[string]any{}, ids: map[string]string{}}
	b.broken = !walk(message, func(number protowire.Number, v value) {
		switch {
		case number == fbEvent && v.isBytes:
			if record, ok := fbRead(v.bytes, 1, 2, 3); ok && len(b.events) < maxRecords {
				b.events = append(b.events, record)
			}
		case number == fbUserProperty && v.isBytes:
			if record, ok := fbProperty(v.bytes); ok && len(b.properties) < maxRecords {
				b.properties = append(b.properties, record)
			}
		case number == fbUploadMillis && !v.isBytes:
			b.uploaded = unixMilli(v.signed())
		case number == fbLimitedTracking && !v.isBytes:
			b.agreed("limited_ad_tracking", strconv.FormatUint(v.number, 10))
		case number == fbConsentSignals && v.isBytes:
			b.agreed("consent_signals", string(v.bytes))
		case number == fbAppID && v.isBytes:
			b.app = string(v.bytes)
		case number == fbProject && v.isBytes:
			b.project = string(v.bytes)
		case fbText[number] != "" && v.isBytes:
			b.phone[fbText[number]] = string(v.bytes)
		case fbIDs[number] != "" && v.isBytes && len(v.bytes) > 0:
			b.ids[fbIDs[number]] = string(v.bytes)
		}
	})
	b.platform, _ = b.phone[fbText[fbPlatform]].(string)
	for _, p := range b.properties {
		if p.name == "_npa" || speaksOfConsent(p.name) {
			if s, ok := plain(p.values["value"]); ok {
				b.agreed(p.name, s)
			}
		}
	}
	return b
}

func (b *bundle) agreed(name, value string) {
	if value == "" {
		return
	}
	if b.consent == nil {
		b.consent = map[string]string{}
	}
	b.consent[name] = value
}

// decoded makes events of a bundle. One that only sets properties of the user is
// an event without a name.
func (b *bundle) decoded(f field) []Event {
	like := Event{
		SDK: Firebase, Type: "event", App: b.app, Project: b.project, Flushed: b.uploaded, Identifiers: b.ids, Consent: b.consent,
		Where: f.where, Path: f.path,
	}
	var events []Event
	for _, record := range b.events {
		e := like
		e.Name, e.Time, e.Properties = record.name, record.at, record.values
		for key, v := range b.phone {
			if _, ok := e.Properties[key]; !ok {
				e.Properties[key] = v
			}
		}
		events = append(events, e)
	}
	if len(events) == 0 && !b.broken {
		like.Type, like.Properties = "user_property", b.phone
		for _, p := range b.properties {
			like.Properties[p.name] = p.values["value"]
			if p.at.After(like.Time) {
				like.Time = p.at
			}
		}
		events = append(events, like)
	}
	return events
}

// fbRead reads an event: repeated parameters, a name, a time.
func fbRead(message []byte, parameter, name, at protowire.Number) (fbRecord, bool) {
	record := fbRecord{values: map[string]any{}}
	whole := walk(message, func(number protowire.Number, v value) {
		switch {
		case number == parameter && v.isBytes:
			if key, value, ok := fbParameter(v.bytes); ok {
				record.values[key] = value
			}
		case number == name && v.isBytes:
			record.name = string(v.bytes)
		case number == at && !v.isBytes:
			record.at = unixMilli(v.signed())
		}
	})
	return record, whole && isPlainName(record.name) && !record.at.IsZero()
}

// fbParameter reads a parameter: 1 its name, 2 a text, 3 a whole number, 4 and 5
// a fraction of 32 and 64 bits.
func fbParameter(message []byte) (key string, content any, ok bool) {
	whole := walk(message, func(number protowire.Number, v value) {
		if number == 1 && v.isBytes {
			key = string(v.bytes)
		} else if content == nil && number > 1 {
			content = v.json()
		}
	})
	return key, content, whole && isPlainName(key)
}

// fbProperty reads a property of the user: 1 when it was set, 2 its name, then a
// value as a parameter has it.
func fbProperty(message []byte) (fbRecord, bool) {
	record := fbRecord{values: map[string]any{}}
	whole := walk(message, func(number protowire.Number, v value) {
		switch {
		case number == 1 && !v.isBytes:
			record.at = unixMilli(v.signed())
		case number == 2 && v.isBytes:
			record.name = string(v.bytes)
		case number > 2 && record.values["value"] == nil:
			record.values["value"] = v.json()
		}
	})
	return record, whole && isPlainName(record.name)
}

// isPlainName says whether a text can name an event of Firebase: letters, digits
// and underscores, at most 40, with room for what older SDKs allowed.
func isPlainName(s string) bool {
	const longest = 64
	if s == "" || len(s) > longest {
		return false
	}
	for _, c := range s {
		if c != '_' && c != '-' && c != ' ' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// A value is what a field of a protobuf message holds.
type value struct {
	isBytes bool
	bytes   []byte
	number  uint64
	kind    protowire.Type
}

// signed is the number as protobuf stores negative ones.
func (v value) signed() int64 {
	return int64(v.number) //nolint:gosec // That is how they are stored.
}

// json is the value as JSON would give it.
func (v value) json() any {
	switch v.kind {
	case protowire.BytesType:
		return string(v.bytes)
	case protowire.VarintType:
		return json.Number(strconv.FormatInt(v.signed(), 10))
	case protowire.Fixed32Type:
		return fraction(float64(math.Float32frombits(uint32(v.number)))) //nolint:gosec // It holds 32 bits.
	case protowire.Fixed64Type:
		return fraction(math.Float64frombits(v.number))
	case protowire.StartGroupType, protowire.EndGroupType:
	}
	return nil
}

func fraction(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}

// walk hands over the fields of a message, one layer of it. It returns false
// when the message is damaged, after what came before.
func walk(message []byte, visit func(protowire.Number, value)) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		v := value{kind: kind}
		switch kind {
		case protowire.BytesType:
			v.isBytes = true
			v.bytes, n = protowire.ConsumeBytes(message)
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var small uint32
			small, n = protowire.ConsumeFixed32(message)
			v.number = uint64(small)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(message)
		case protowire.StartGroupType, protowire.EndGroupType:
			return false
		default:
			return false
		}
		if n < 0 {
			return false
		}
		message = message[n:]
		visit(number, v)
	}
	return true
}
