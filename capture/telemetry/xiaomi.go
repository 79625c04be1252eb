package telemetry

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// sdkconfig reads the form by which Xiaomi's SDKs ask how to behave: short
// names for the build, the app's and the SDK's version, the model, the region
// and the open advertising id (oa). The names are as OneTrack 1.1.5 has them; what
// ii says beyond its being there is not known.
func (r *request) sdkconfig() []Event {
	for _, f := range r.forms() {
		if !f.has("oa", "ov", "sv", "av", "ml", "re") {
			continue
		}
		e := Event{
			SDK: XiaomiConfig, Type: TypeConfig, Name: r.path[strings.LastIndexByte(r.path, '/')+1:], Properties: f.properties(),
			Identifiers: f.pick("oa", "oaid", "gaid", "imei", "android_id", "instance_id", "aid", "vaid", "udid"),
			App:         f.values["pn"], Where: f.where, Path: f.fields["oa"].path,
		}
		return []Event{e}
	}
	if !strings.Contains(r.path, "/api/v4/detail/config") || !strings.HasPrefix(r.host, "sdkconfig.") {
		return nil
	}
	e := Event{SDK: XiaomiConfig, Type: TypeConfig, Opaque: true, Reason: "damaged: the form lacks fields of a request for configuration", Where: "body"}
	if why := r.cut(); why != "" {
		e.Reason = why
	}
	return []Event{e}
}

// xiaomiAds recognises Xiaomi's advertising SDK. Nobody has said what its bodies
// look like, so it goes by host and path, and by both.
func (r *request) xiaomiAds() []Event {
	if !strings.HasPrefix(r.host, "api.ad.") || !strings.HasSuffix(r.host, ".xiaomi.com") && r.host != "api.ad.xiaomi.com" {
		return nil
	}
	e := Event{SDK: XiaomiAds, Opaque: true, Reason: "recognised by host and path; what its body says is not known", Where: "body"}
	switch r.path {
	case "/post/csv3", "/colbidding/getadm":
	case "/config/getcolconfig":
		e.Type = TypeConfig
	default:
		return nil
	}
	if f, ok := r.body(); ok && len(f.node.Value) > 0 {
		e.Path = f.path
		e.sealed = &sealed{document: f.node.Value, pieces: []piece{{f.node.Value, f.node}}, read: func(like Event, plain []byte) []Event {
			var events []Event
			for _, m := range objects(plain) {
				e := like
				e.Properties = m
				events = append(events, e)
			}
			return events
		}}
	}
	return []Event{e}
}

// xmpushMagic begins what a phone sends to Xiaomi's push service; the length of
// what follows comes after it, in four bytes.
const xmpushMagic = "\xc2\xfe\x00\x05"

// Stream returns the events in the beginning of what a phone sent outside HTTP:
// the registration with Xiaomi's push service (TCP port 5222), which names the
// model, the build and the locale in clear. Its fields are those seen in such
// registrations: 2 the model, 3 the build, 8 the locale. Anything else in that
// framing is an opaque event, and anything without it is none.
func Stream(data []byte) []Event {
	const head = 8
	rest, ok := strings.CutPrefix(string(data), xmpushMagic)
	if !ok || len(data) < head {
		return nil
	}
	size := int(data[4])<<24 | int(data[5])<<16 | int(data[6])<<8 | int(data[7])
	e := Event{SDK: XMPush, Type: TypePush, Where: "stream"}
	const longest = 1 << 20
	switch body := rest[4:]; {
	case size == 0 || size > longest:
		return nil
	case size > len(body):
		e.Opaque, e.Reason = true, "damaged: the message breaks off"
	default:
		if e.Properties = registration(body[:size]); e.Properties != nil {
			e.Name = "registration"
			return []Event{e}
		}
		e.Opaque, e.Reason = true, "a message that is no registration in clear"
	}
	return []Event{e}
}

// registration finds the fields of a registration in a message. What precedes
// them has no known length, so a few are tried.
func registration(message string) map[string]any {
	const furthest = 32
	for from := 0; from < min(furthest, len(message)); from++ {
		found := map[string]any{}
		b := []byte(message[from:])
		for len(b) > 0 {
			number, kind, n := protowire.ConsumeTag(b)
			if n < 0 {
				break
			}
			m := protowire.ConsumeFieldValue(number, kind, b[n:])
			if m < 0 {
				break
			}
			if kind == protowire.BytesType {
				value, _ := protowire.ConsumeBytes(b[n:])
				name := map[protowire.Number]string{2: "model", 3: "build", 8: "locale"}[number]
				if name != "" && found[name] == nil && isPlainText(string(value)) {
					found[name] = string(value)
				}
			}
			b = b[n+m:]
		}
		if found["model"] != nil && found["build"] != nil {
			return found
		}
	}
	return nil
}

// isPlainText says whether bytes are a short text that a person could read.
func isPlainText(s string) bool {
	const longest = 200
	if len(s) < 2 || len(s) > longest || !utf8.ValidString(s) {
		return false
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}
