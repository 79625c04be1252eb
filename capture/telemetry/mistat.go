package telemetry

import (
	"crypto/md5" //nolint:gosec // The format derives its key by it.
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

// The types of MiStat's events: the two formats.
const (
	mistatV2Type = "v2"
	mistatV3Type = "v3"
)

// Open puts below the leaves of payload.Request what telemetry formats encrypt
// under keys that lie in the request itself, so that a search sees it too. It
// changes the tree that parts point to and returns parts.
func Open(ex capture.Exchange, parts []payload.Part) []payload.Part {
	r := newRequest(ex, parts)
	for _, open := range []func(*request) (field, string, []byte, bool){(*request).mistatV2, (*request).mistatV3} {
		f, step, plain, ok := open(r)
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
	ciphertext, err := hex.DecodeString(string(f.node.Value))
	if err != nil {
		return field{}, "", nil, false
	}
	plain, ok := decryptECB(key, ciphertext)
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
	named, ok := decryptCBC(static, []byte(mistatIV), sid)
	if !ok {
		return field{}, "", nil, false
	}
	digits, _, _ := strings.Cut(string(named), "_")
	key, err := hex.DecodeString(digits)
	if err != nil {
		return field{}, "", nil, false
	}
	ciphertext, err := unbase64(string(f.node.Value))
	if err != nil {
		return field{}, "", nil, false
	}
	plain, ok := decryptCBC(key, []byte(mistatIV), ciphertext)
	return f, "mistat-v3", plain, ok
}

// mistat reads both formats of MiStat.
func (r *request) mistat() []Event {
	if f, ok := one(r.fields("stat_value")); ok && r.value("app_id") != "" && r.value("app_key") != "" {
		e := Event{
			SDK: MiStat, Type: mistatV2Type, Project: r.value("app_id"), Where: f.where, Path: f.path,
			Identifiers: identifiers(map[string]any{"device_id": r.value("device_id")}, "device_id"),
		}
		if _, step, plain, ok := r.mistatV2(); ok {
			e.Path += " > " + step
			return mistatEvents(e, plain)
		}
		ciphertext, err := hex.DecodeString(string(f.node.Value))
		return []Event{r.mistatOpaque(e, f, ciphertext, err, "the key could not be made from the form")}
	}
	f, ok := one(r.fields("p"))
	// The session's key comes last and may be cut off.
	if !ok || r.value("ai") == "" || r.value("sid") == "" && (r.value("sv") == "" || r.value("pv") == "" || r.value("rg") == "") {
		return nil
	}
	e := Event{SDK: MiStat, Type: mistatV3Type, Project: r.value("ai"), Where: f.where, Path: f.path}
	if _, step, plain, ok := r.mistatV3(); ok {
		e.Path += " > " + step
		if strings.HasPrefix(string(plain), "\x1f\x8b") {
			out, err := gunzip(plain)
			if err != nil {
				e.Opaque, e.Reason = true, "damaged: gzip: "+err.Error()
				return []Event{e}
			}
			e.Path, plain = e.Path+" > gzip", out
		}
		return mistatEvents(e, plain)
	}
	ciphertext, err := unbase64(string(f.node.Value))
	return []Event{r.mistatOpaque(e, f, ciphertext, err, "the session's key is held by the collector")}
}

// mistatOpaque is the event for what could not be decrypted.
func (r *request) mistatOpaque(e Event, f field, ciphertext []byte, err error, why string) Event {
	e.Opaque, e.Reason = true, why
	switch cut := r.cut(); {
	case cut != "":
		e.Reason = cut
	case err != nil || len(ciphertext) == 0 || len(ciphertext)%ivSize != 0:
		e.Reason = "damaged: the value is no whole number of cipher blocks"
	default:
		e.sealed = &sealed{document: f.node.Value, pieces: []piece{{ciphertext, f.node}}, read: func(like Event, plain []byte) []Event {
			if events := mistatEvents(like, plain); !events[0].Opaque {
				return events
			}
			return nil
		}}
	}
	return e
}

// mistatEvents reads the list of events in a decrypted document.
func mistatEvents(like Event, plain []byte) []Event {
	list, name := "data", "key"
	if like.Type == mistatV3Type {
		list, name = "es", "e"
	}
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
