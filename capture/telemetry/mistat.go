package telemetry

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5" //nolint:gosec // The format derives its key by it.
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// The constants that MiStat's third format carries in every copy of its code.
const (
	mistatIV  = "cfbsdfgsdfxccvd1"
	mistatKey = "4ef8b4ac42dbc3f95320b73ae0edbd43"
)

// Open puts below the leaves of payload.Request what telemetry formats encrypt
// under keys that lie in the request itself, so that a search sees it too. It
// changes the tree that parts point to and returns parts.
func Open(ex capture.Exchange, parts []payload.Part) []payload.Part {
	r := request{ex: ex, parts: parts}
	for _, open := range []func(*request) (field, string, []byte, bool){(*request).mistatV2, (*request).mistatV3} {
		f, step, plain, ok := open(&r)
		if !ok {
			continue
		}
		child := payload.Peel(plain, "")
		child.Step = step
		f.node.Kind = payload.KindUnknown
		f.node.Children = []*payload.Node{child}
	}
	return parts
}

func one(fields []field) (field, bool) {
	if len(fields) == 0 {
		return field{}, false
	}
	return fields[0], true
}

// mistatV2 decrypts stat_value: AES in ECB mode under a key made of three
// values that the same form holds.
func (r *request) mistatV2() (field, string, []byte, bool) {
	f, ok := one(r.fields("stat_value"))
	if !ok {
		return field{}, "", nil, false
	}
	seed := r.value("app_id") + "-" + r.value("app_key") + "-" + r.value("device_id")
	sum := md5.Sum([]byte("seed:" + seed)) //nolint:gosec // As above.
	key := []byte(strings.ToUpper(hex.EncodeToString(sum[:]))[:16])
	sealed, err := hex.DecodeString(string(f.node.Value))
	if err != nil {
		return field{}, "", nil, false
	}
	plain, ok := decryptECB(key, sealed)
	return f, "mistat-v2", plain, ok && json.Valid(plain)
}

// mistatV3 decrypts p when the key travels along in sid (fc=1).
func (r *request) mistatV3() (field, string, []byte, bool) {
	f, ok := one(r.fields("p"))
	if !ok || r.value("fc") != "1" {
		return field{}, "", nil, false
	}
	static, err := hex.DecodeString(mistatKey)
	if err != nil {
		return field{}, "", nil, false
	}
	sid, err := hex.DecodeString(r.value("sid"))
	if err != nil {
		return field{}, "", nil, false
	}
	named, ok := decryptCBC(static, sid)
	if !ok {
		return field{}, "", nil, false
	}
	digits, _, _ := strings.Cut(string(named), "_")
	key, err := hex.DecodeString(digits)
	if err != nil {
		return field{}, "", nil, false
	}
	sealed, err := base64.StdEncoding.DecodeString(string(f.node.Value))
	if err != nil {
		return field{}, "", nil, false
	}
	plain, ok := decryptCBC(key, sealed)
	return f, "mistat-v3", plain, ok
}

func decryptECB(key, sealed []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	for i := 0; i < len(sealed); i += aes.BlockSize {
		block.Decrypt(out[i:], sealed[i:i+aes.BlockSize])
	}
	return unpad(out)
}

func decryptCBC(key, sealed []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, []byte(mistatIV)).CryptBlocks(out, sealed)
	return unpad(out)
}

func unpad(b []byte) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) || bytes.Count(b[len(b)-n:], []byte{byte(n)}) != n {
		return nil, false
	}
	return b[:len(b)-n], true
}

// mistat reads both formats of MiStat.
func (r *request) mistat() []Event {
	if f, ok := one(r.fields("stat_value")); ok && r.value("app_id") != "" && r.value("app_key") != "" {
		e := Event{
			SDK: MiStat, Type: "v2", Project: r.value("app_id"), Where: f.where, Path: f.path,
			Identifiers: identifiers(map[string]any{"device_id": r.value("device_id")}, "device_id"),
		}
		if _, step, plain, ok := r.mistatV2(); ok {
			return mistatEvents(e, step, plain, "data", "key")
		}
		e.Opaque, e.Reason = true, "the key could not be made from the form"
		return []Event{e}
	}
	f, ok := one(r.fields("p"))
	if !ok || r.value("ai") == "" || r.value("sid") == "" {
		return nil
	}
	e := Event{SDK: MiStat, Type: "v3", Project: r.value("ai"), Where: f.where, Path: f.path}
	if _, step, plain, ok := r.mistatV3(); ok {
		child := payload.Peel(plain, "")
		if len(child.Children) > 0 && child.Children[0].Step == "gzip" {
			plain, step = child.Children[0].Value, step+" > gzip"
		}
		return mistatEvents(e, step, plain, "es", "e")
	}
	e.Opaque, e.Reason = true, "the session's key is held by the collector"
	return []Event{e}
}

// mistatEvents reads the list of events in a decrypted document.
func mistatEvents(like Event, step string, plain []byte, list, name string) []Event {
	like.Path += " > " + step
	var events []Event
	for _, m := range objects(plain) {
		ids := identifiers(m, "id", "aii", "device_id", "instance_id", "oaid")
		for key, v := range like.Identifiers {
			ids[key] = v
		}
		records, _ := m[list].([]any)
		for _, record := range records {
			properties, ok := record.(map[string]any)
			if !ok {
				continue
			}
			e := like
			e.Name, e.Properties, e.Identifiers = text(properties, name), properties, ids
			for _, key := range []string{"ts", "time", "et", "timestamp"} {
				if e.Time = millis(properties[key]); !e.Time.IsZero() {
					break
				}
			}
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		like.Opaque, like.Reason = true, "decrypted, but without a list of events"
		return []Event{like}
	}
	return events
}

// identifiers picks the members that are text and not empty.
func identifiers(m map[string]any, keys ...string) map[string]string {
	ids := map[string]string{}
	for _, key := range keys {
		if v := text(m, key); v != "" {
			ids[key] = v
		}
	}
	return ids
}

// onetrack reads what OneTrack says in clear: the app, in headers of requests
// whose body is encrypted under a key of the collector, and the whole of the
// older format, which is not encrypted.
func (r *request) onetrack() []Event {
	if sender := r.header("OT_sender"); sender != "" {
		e := Event{
			SDK: OneTrack, App: sender, Flushed: millis(r.header("OT_ts")), Project: r.header("OT_SID"), Where: "body",
		}
		if events := r.onetrackRecords(e); len(events) > 0 {
			return events
		}
		e.Opaque, e.Reason = true, "encrypted under a key of the collector (OneTrack protocol "+r.header("OT_protocol")+")"
		return []Event{e}
	}
	return r.onetrackRecords(Event{SDK: OneTrack})
}

// onetrackRecords reads records of a header H and a body B in any JSON text of
// the request, alone or in a list, nested in one another or not.
func (r *request) onetrackRecords(like Event) []Event {
	var events []Event
	for _, part := range r.parts {
		if part.Root == nil || part.Where == "header" || part.Where == "cookie" {
			continue
		}
		path := part.Name
		for _, doc := range documents(field{part.Where, path, part.Root}) {
			for _, m := range objects(doc.node.Value) {
				e := like
				e.Where, e.Path = doc.where, doc.path
				events = append(events, onetrackEvents(e, m, 0)...)
			}
		}
	}
	return events
}

func onetrackEvents(like Event, m map[string]any, depth int) []Event {
	const deepest = 3
	head := object(m, "H")
	if head == nil || depth > deepest {
		return nil
	}
	if list, ok := m["B"].([]any); ok {
		var events []Event
		for _, record := range list {
			if inner, ok := record.(map[string]any); ok {
				events = append(events, onetrackEvents(like, inner, depth+1)...)
			}
		}
		return events
	}
	e := like
	e.Name, e.Properties = text(head, "event"), object(m, "B")
	if e.Name == "" {
		return nil
	}
	e.Time = millis(head["e_ts"])
	e.Identifiers = identifiers(head, "instance_id", "oaid", "gaid", "imei", "uid", "android_id")
	if app := text(head, "pkg"); app != "" {
		e.App = app
	}
	if id := text(head, "app_id"); id != "" {
		e.Project = id
	}
	return []Event{e}
}
