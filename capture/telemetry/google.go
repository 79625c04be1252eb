package telemetry

import (
	"bytes"
	"maps"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What Google's reference of the Measurement Protocol asks for.
var (
	universalProperty = regexp.MustCompile(`^UA-\d{3,12}-\d{1,4}$`)
	webStream         = regexp.MustCompile(`^G-[A-Z0-9]{4,16}$`)
	universalHits     = map[string]bool{
		"pageview": true, "screenview": true, "appview": true, "event": true, "transaction": true, "item": true, "social": true,
		"exception": true, "timing": true,
	}
)

var (
	googleIDs = []string{"cid", "uid", "adid", "_gid", "_fid", "sid"}
	// gcs and gcd are consent mode, npa and ate older; ConsentMeaning has the
	// sources.
	googleConsent = []string{"gcs", "gcd", "gcu", "npa", "ate", "dma", "dma_cps", "us_privacy", "gdpr", "gdpr_consent", "pscdl"}
)

// googleAnalytics reads hits of Google Analytics, of version 1 (one in the query
// or in the body, or several in a body's lines) and of version 2 as pages send
// them.
func (r *request) googleAnalytics() []Event {
	query := url.Values{}
	for _, part := range r.parts {
		if name, ok := strings.CutPrefix(part.Name, "query:"); ok && part.Where == "url" && part.Root != nil {
			query.Add(name, string(part.Root.Value))
		}
	}
	var events []Event
	body, hasBody := r.body()
	if hasBody {
		n := 0
		for line := range bytes.Lines(body.node.Value) {
			if n++; n > maxRecords {
				break
			}
			values, err := url.ParseQuery(string(bytes.TrimRight(line, "\r\n")))
			if err != nil || len(values) == 0 {
				continue
			}
			if e, ok := r.hit(values); ok {
				e.Where, e.Path = "body", body.path
				events = append(events, e)
				continue
			}
			// Version 2 puts what is common into the query.
			if query.Get("v") == "2" && values.Has("en") {
				all := maps.Clone(query)
				maps.Copy(all, values)
				if e, ok := r.hit(all); ok {
					e.Where, e.Path = "body", body.path
					events = append(events, e)
				}
			}
		}
	}
	if e, ok := r.hit(query); ok {
		e.Where, e.Path = "url", "query:tid"
		events = append(events, e)
	}
	if len(events) > 0 || !r.googleHost() {
		return events
	}
	e := Event{SDK: GoogleAnalytics, Opaque: true, Reason: "damaged: there is no hit with its version, property and client", Where: "body"}
	if !hasBody {
		e.Where = "url"
	}
	if why := r.cut(); why != "" {
		e.Reason = why
	}
	return []Event{e}
}

// googleHost says whether a request goes where Google Analytics takes hits.
func (r *request) googleHost() bool {
	if r.host != "google-analytics.com" && !strings.HasSuffix(r.host, ".google-analytics.com") {
		return false
	}
	return r.path == "/batch" || strings.HasSuffix(r.path, "/collect")
}

// hit reads one hit.
func (r *request) hit(v url.Values) (Event, bool) {
	e := Event{SDK: GoogleAnalytics, Project: v.Get("tid"), App: v.Get("aid"), Identifiers: map[string]string{}}
	if v.Get("cid") == "" && v.Get("uid") == "" {
		return Event{}, false
	}
	switch v.Get("v") {
	case "1":
		if e.Type = v.Get("t"); !universalHits[e.Type] || !universalProperty.MatchString(e.Project) {
			return Event{}, false
		}
		e.Web = v.Has("dl") // An app has a screen (cd) and no document.
		if e.Name = e.Type; e.Type == "event" && v.Get("ea") != "" {
			e.Name = v.Get("ea")
		}
	case "2":
		if e.Type, e.Name, e.Web = "event", v.Get("en"), true; e.Name == "" || !webStream.MatchString(e.Project) {
			return Event{}, false
		}
	default:
		return Event{}, false
	}
	e.Properties = map[string]any{}
	for name, values := range v {
		e.Properties[name] = values[0]
	}
	for _, name := range googleIDs {
		if id := v.Get(name); id != "" {
			e.Identifiers[name] = id
		}
	}
	for _, name := range googleConsent {
		if said := v.Get(name); said != "" {
			if e.Consent == nil {
				e.Consent = map[string]string{}
			}
			e.Consent[name] = said
		}
	}
	// qt is how many milliseconds a hit has waited.
	const longest = 30 * 24 * time.Hour
	if ms, err := strconv.ParseInt(v.Get("qt"), 10, 64); err == nil && ms > 0 && ms <= longest.Milliseconds() && !r.ex.Start.IsZero() {
		e.Age = time.Duration(ms) * time.Millisecond
		e.Time = r.ex.Start.Add(-e.Age).UTC()
	}
	return e, true
}
