package telemetry

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// maxRecords bounds how many records of one document become events.
const maxRecords = 20_000

// objects parses a JSON text: one object, or the objects of one array.
func objects(text []byte) []map[string]any {
	all, damage := records(text)
	if damage != "" {
		return nil
	}
	return all
}

// records parses a JSON text: one object, or the objects of one array. Of a
// text that ends too early or is damaged it returns what comes before, and
// damage says so.
func records(text []byte) (all []map[string]any, damage string) {
	text = bytes.TrimSpace(text)
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if len(text) == 0 || text[0] != '[' {
		var doc any
		if in.Decode(&doc) != nil {
			return nil, "the text is no JSON"
		}
		if m, ok := doc.(map[string]any); ok {
			all = append(all, m)
		}
		return all, ""
	}
	if _, err := in.Token(); err != nil {
		return nil, "the text is no JSON"
	}
	for n := 0; in.More(); n++ {
		if n == maxRecords {
			return all, "there are more than " + strconv.Itoa(maxRecords) + " records"
		}
		var doc any
		if in.Decode(&doc) != nil {
			return all, "the text breaks off in record " + strconv.Itoa(n+1)
		}
		if m, ok := doc.(map[string]any); ok {
			all = append(all, m)
		}
	}
	if _, err := in.Token(); err != nil {
		return all, "the text breaks off after record " + strconv.Itoa(len(all))
	}
	return all, ""
}

// array parses a JSON text that is one array.
func array(text []byte) []any {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var all []any
	if in.Decode(&all) != nil {
		return nil
	}
	return all
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}

// plain returns a text, a number or a truth value as it was written; ok is
// false for anything else.
func plain(v any) (s string, ok bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// identifiers picks the members that are text or a number and not empty.
func identifiers(m map[string]any, keys ...string) map[string]string {
	ids := map[string]string{}
	for _, key := range keys {
		switch v := m[key].(type) {
		case string:
			if v != "" {
				ids[key] = v
			}
		case json.Number:
			ids[key] = v.String()
		}
	}
	return ids
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
	return unixMilli(ms)
}

// unixMilli is the zero time for a number that is no time.
func unixMilli(ms int64) time.Time {
	if ms < earliest || ms > latest {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// seconds reads a time in whole seconds since 1970, as number or text.
func seconds(v any) time.Time {
	s, ok := plain(v)
	if !ok {
		return time.Time{}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < earliest/1000 || n > latest/1000 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}

// written reads a time that is spelt out by one of some layouts.
func written(s string, layouts ...string) time.Time {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil && t.UnixMilli() >= earliest && t.UnixMilli() <= latest {
			return t.UTC()
		}
	}
	return time.Time{}
}
