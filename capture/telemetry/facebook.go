package telemetry

import (
	"net/http"
	"regexp"
	"strings"
)

// facebookPath is where the SDK reports, with the app's number.
var facebookPath = regexp.MustCompile(`^/(?:v\d{1,3}\.\d{1,3}/)?(\d{5,20})/activities$`)

// facebookIDs are the parameters that tell a person or a phone apart, by Meta's
// reference of application activities.
var facebookIDs = []string{"advertiser_id", "anon_id", "app_user_id", "attribution", "device_token", "vendor_id", "user_id", "ud"}

var facebookConsent = []string{
	"advertiser_tracking_enabled", "application_tracking_enabled", "advertiser_id_collection_enabled", "limit_event_usage",
	"consider_views", "data_processing_options", "data_processing_options_country", "data_processing_options_state",
}

// extinfo are the members of the list of that name, by the same reference. The
// first is the list's version, the second the app.
var extinfo = []string{
	"", "", "$app_version_code", "$app_version", "$os_version", "$model", "$locale", "$timezone_short", "$carrier", "$screen_width",
	"$screen_height", "$screen_density", "$cpu_cores", "$storage_gb", "$storage_free_gb", "$timezone",
}

// facebook reads the app events of Meta's SDK: JSON, a form or multipart
// content with a word for the kind of activity and, for custom events, a list.
func (r *request) facebook() []Event {
	var app string
	if m := facebookPath.FindStringSubmatch(r.path); m != nil {
		app = m[1]
	}
	if f, ok := r.body(); ok {
		for _, m := range objects(f.node.Value) {
			if events := facebookEvents(m, app, f); len(events) > 0 {
				return events
			}
		}
	}
	for _, f := range r.forms() {
		if events := facebookEvents(f.properties(), app, f.fields["event"]); len(events) > 0 {
			return events
		}
	}
	if app == "" || r.host != "graph.facebook.com" || r.ex.Method == http.MethodGet {
		return nil
	}
	e := Event{SDK: Facebook, Project: app, Opaque: true, Reason: "damaged: the body holds no activity", Where: "body"}
	if why := r.cut(); why != "" {
		e.Reason = why
	}
	return []Event{e}
}

// facebookEvents reads the fields of one activity.
func facebookEvents(m map[string]any, app string, f field) []Event {
	kind := text(m, "event")
	switch kind {
	case "CUSTOM_APP_EVENTS", "MOBILE_APP_INSTALL", "DEFERRED_APP_LINK", "APP_INSTALL", "USER_PROPERTIES":
	default:
		return nil
	}
	// Others have an event of such a name too; the SDK describes its phone or app.
	if m["extinfo"] == nil && m["anon_id"] == nil && m["advertiser_id"] == nil && m["application_package_name"] == nil && m["custom_events"] == nil &&
		m["custom_events_file"] == nil {
		return nil
	}
	like := Event{
		SDK: Facebook, Type: kind, Name: kind, Project: app, App: text(m, "application_package_name"), Where: f.where, Path: f.path,
		Identifiers: identifiers(m, facebookIDs...),
	}
	if kind == "DEFERRED_APP_LINK" {
		like.Type = TypeConfig // It asks for the link that led to the installation.
	}
	for _, name := range facebookConsent {
		if v, ok := plain(m[name]); ok && v != "" {
			if like.Consent == nil {
				like.Consent = map[string]string{}
			}
			like.Consent[name] = v
		}
	}
	phone := map[string]any{}
	for i, v := range list(m["extinfo"]) {
		switch s, ok := plain(v); {
		case !ok || s == "":
		case i == 1 && like.App == "":
			like.App = s
		case i < len(extinfo) && extinfo[i] != "":
			phone[extinfo[i]] = v
		}
	}
	var events []Event
	reported := list(m["custom_events"])
	if len(reported) == 0 {
		reported = list(m["custom_events_file"]) // Older SDKs attach the list as a file.
	}
	for _, v := range reported {
		properties, ok := v.(map[string]any)
		if !ok || text(properties, "_eventName") == "" {
			continue
		}
		e := like
		e.Type = kind // Whatever else the activity asks for.
		e.Name, e.Time = text(properties, "_eventName"), seconds(properties["_logTime"])
		for key, v := range phone {
			if _, ok := properties[key]; !ok {
				properties[key] = v
			}
		}
		e.Properties = properties
		events = append(events, e)
	}
	if len(events) > 0 {
		return events
	}
	like.Properties = phone
	for key, v := range m {
		if key != "extinfo" {
			phone[key] = v
		}
	}
	return []Event{like}
}

// list returns a JSON array, or one that is written in a string.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case string:
		if !strings.HasPrefix(strings.TrimSpace(v), "[") {
			return nil
		}
		return array([]byte(v))
	}
	return nil
}
