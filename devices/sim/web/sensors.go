package web

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf16"
)

// Bounds of what the collector takes.
const (
	maxUpload   = 8 << 20
	maxPlain    = 32 << 20
	maxEvents   = 10_000
	maxReceived = 100_000
	// configVersion is the version of the remote configuration.
	configVersion = "1.37"
)

// An Upload is what one request to the Sensors collector brought.
type Upload struct {
	At time.Time
	// Remote is the sender's address and port.
	Remote string
	// Project and Country are the parameters of the request's URL.
	Project, Country string
	// Events are the decoded events; empty when the upload is opaque.
	Events []Event
	// Opaque is true for an encrypted upload, which only the maker can read.
	Opaque bool
}

// An Event is one event as the SDK wrote it.
type Event struct {
	// Event is its name, empty for the profile types; Type is "track",
	// "profile_set" and so on.
	Event      string         `json:"event"`
	Type       string         `json:"type"`
	DistinctID string         `json:"distinct_id"`
	Time       int64          `json:"time"` // Milliseconds since 1970, the phone's clock.
	Properties map[string]any `json:"properties"`
	// Raw is the event's JSON as received.
	Raw json.RawMessage `json:"-"`
}

// Events stores what the Sensors collector received. The zero value is ready;
// it is safe for concurrent use.
type Events struct {
	mu       sync.Mutex
	uploads  []Upload
	rejected []string
	lost     int
}

// Uploads returns a copy of all accepted uploads, in order.
func (s *Events) Uploads() []Upload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.uploads)
}

// Rejected returns why uploads were answered with 400, in order.
func (s *Events) Rejected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rejected)
}

// Lost counts uploads that a full store could not take.
func (s *Events) Lost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *Events) accept(u Upload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.uploads) >= maxReceived {
		s.lost++
		return
	}
	s.uploads = append(s.uploads, u)
}

func (s *Events) reject(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rejected) >= maxReceived {
		s.lost++
		return
	}
	s.rejected = append(s.rejected, err.Error())
}

// sensors is the collector. It answers 200 with an empty body to what it
// accepts, and 400 to what it does not, which the SDK then deletes.
func sensors(store *Events, disable func(project string) bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sa", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
		if err != nil {
			store.reject(fmt.Errorf("sensors: read body: %w", err))
			http.Error(w, "unreadable body", http.StatusBadRequest)
			return
		}
		u, err := DecodeSensors(body)
		if err == nil && r.URL.Query().Get("project") == "" {
			err = errors.New("sensors: check request: no project")
		}
		if err != nil {
			store.reject(err)
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		u.At, u.Remote = time.Now(), r.RemoteAddr
		u.Project, u.Country = r.URL.Query().Get("project"), r.URL.Query().Get("r")
		store.accept(u)
		w.WriteHeader(http.StatusOK)
	})
	mux.HandleFunc("GET /config/Android.conf", func(w http.ResponseWriter, r *http.Request) {
		project := r.URL.Query().Get("project")
		off := disable(project)
		if r.URL.Query().Get("v") == configVersion && !off {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		config := map[string]any{
			"v": configVersion,
			"configs": map[string]any{
				"disableDebugMode": false, "disableSDK": off, "autoTrackMode": -1,
			},
		}
		w.Header().Set("Content-Type", "application/json")
		// The client has gone, which is nothing to the collector.
		_ = json.NewEncoder(w).Encode(config)
	})
	return mux
}

// DecodeSensors reads the form that the Sensors SDK posts, and checks it as the
// collector does: the checksum, the encoding and the shape of the events. It
// bounds what it unpacks.
func DecodeSensors(body []byte) (Upload, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return Upload{}, fmt.Errorf("sensors: read form: %w", err)
	}
	list, single := form.Get("data_list"), false
	if list == "" {
		list, single = form.Get("data"), true
	}
	if list == "" {
		return Upload{}, errors.New("sensors: read form: neither data_list nor data")
	}
	if err := checkCRC(form, list); err != nil {
		return Upload{}, err
	}
	packing := form.Get("gzip")
	if packing == "9" || packing == "13" {
		return opaque(list)
	}
	plain, err := base64.StdEncoding.DecodeString(list)
	if err != nil {
		return Upload{}, fmt.Errorf("sensors: decode base64: %w", err)
	}
	switch packing {
	case "1":
		if plain, err = gunzip(plain); err != nil {
			return Upload{}, fmt.Errorf("sensors: unpack gzip: %w", err)
		}
	case "", "0":
	default:
		return Upload{}, fmt.Errorf("sensors: read form: unknown gzip=%q", packing)
	}
	if single {
		plain = slices.Concat([]byte("["), plain, []byte("]"))
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(plain, &raw); err != nil {
		return Upload{}, fmt.Errorf("sensors: read events: %w", err)
	}
	if len(raw) == 0 || len(raw) > maxEvents {
		return Upload{}, fmt.Errorf("sensors: read events: %d events", len(raw))
	}
	u := Upload{Events: make([]Event, len(raw))}
	for i, r := range raw {
		e := &u.Events[i]
		if err := json.Unmarshal(r, e); err != nil {
			return Upload{}, fmt.Errorf("sensors: read event %d: %w", i, err)
		}
		e.Raw = r
		if e.Type == "" || e.DistinctID == "" || e.Time <= 0 {
			return Upload{}, fmt.Errorf("sensors: check event %d: no type, distinct_id or time", i)
		}
		if e.Type == "track" && e.Event == "" {
			return Upload{}, fmt.Errorf("sensors: check event %d: no name", i)
		}
	}
	return u, nil
}

// checkCRC compares the form's checksum. Encrypted forms may come without one.
func checkCRC(form url.Values, data string) error {
	text := form.Get("crc")
	if text == "" && form.Get("gzip") != "1" {
		return nil
	}
	crc, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return fmt.Errorf("sensors: read crc: %w", err)
	}
	if int32(crc) != HashCode(data) {
		return fmt.Errorf("sensors: check crc: %d, want %d", crc, HashCode(data))
	}
	return nil
}

// HashCode is Java's String.hashCode, which the SDK sends as crc.
func HashCode(s string) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(s)) {
		h = 31*h + int32(unit)
	}
	return h
}

// opaque checks what can be checked of an encrypted upload.
func opaque(list string) (Upload, error) {
	var sealed []struct {
		EKey     string   `json:"ekey"`
		Payloads []string `json:"payloads"`
	}
	if err := json.Unmarshal([]byte(list), &sealed); err != nil {
		return Upload{}, fmt.Errorf("sensors: read encrypted events: %w", err)
	}
	if len(sealed) == 0 {
		return Upload{}, errors.New("sensors: read encrypted events: none")
	}
	for i, s := range sealed {
		if s.EKey == "" || len(s.Payloads) == 0 {
			return Upload{}, fmt.Errorf("sensors: check encrypted event %d: no ekey or payload", i)
		}
	}
	return Upload{Opaque: true}, nil
}

// gunzip unpacks up to maxPlain bytes.
func gunzip(b []byte) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	plain, err := io.ReadAll(io.LimitReader(zr, maxPlain+1))
	if err != nil {
		return nil, err
	}
	if len(plain) > maxPlain {
		return nil, fmt.Errorf("more than %d bytes", maxPlain)
	}
	return plain, nil
}
