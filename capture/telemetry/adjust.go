package telemetry

import (
	"regexp"
	"strings"
)

// adjustIDs are the parameters of Adjust's SDK that tell a person or a phone
// apart; the names are those of its published source (PackageBuilder.java).
var adjustIDs = []string{
	"gps_adid", "idfa", "idfv", "oaid", "adid", "android_id", "android_uuid", "ios_uuid", "persistent_ios_uuid", "web_uuid",
	"fire_adid", "mac_sha1", "mac_md5", "imeis", "meids", "device_ids", "fb_id", "fb_anon_id", "external_device_id", "push_token",
}

// adjustConsent are its parameters that say what a person agreed to.
var adjustConsent = []string{
	"tracking_enabled", "fire_tracking_enabled", "att_status", "coppa", "ff_coppa", "play_store_kids_app", "measurement", "sharing",
	"granular_third_party_sharing_options", "gdpr", "gdpr_consent", "privacy", "eea", "ad_personalization", "ad_user_data",
}

var adjustHost = regexp.MustCompile(`^(app|gdpr|subscription)(\.[a-z]+)?\.adjust\.(com|net\.in|world|io)$`)

// Layouts of Adjust's times: its SDK for Android, and the others.
const (
	adjustTime  = "2006-01-02T15:04:05.000Z-0700"
	adjustTime2 = "2006-01-02T15:04:05.999999999Z07:00"
)

// adjust reads Adjust's SDK: a form, in the body or in the query, for one app
// (app_token) in one environment.
func (r *request) adjust() []Event {
	kind := r.path[strings.LastIndexByte(r.path, '/')+1:]
	for _, f := range r.forms() {
		if !f.any("app_token") || !f.any("environment") || !f.any(append([]string{"created_at"}, adjustIDs...)...) {
			continue
		}
		e := Event{
			SDK: Adjust, Name: kind, Type: kind, Properties: f.properties(), Identifiers: f.pick(adjustIDs...), Consent: f.pick(adjustConsent...),
			Time: written(f.values["created_at"], adjustTime, adjustTime2), Flushed: written(f.values["sent_at"], adjustTime, adjustTime2),
			App: f.values["package_name"], Project: f.values["app_token"], Where: f.where, Path: f.fields["app_token"].path,
		}
		switch kind {
		case "attribution":
			e.Type = TypeConfig // It asks to whom the installation is owed.
		case "gdpr_forget_device", "disable_third_party_sharing", "third_party_sharing", "measurement_consent":
			e.Type = TypeConsent
		}
		if token := f.values["event_token"]; token != "" {
			e.Name, e.Type = token, kind // An event, under whatever address.
		}
		for _, name := range []string{"callback_params", "partner_params", "params"} {
			inner := objects([]byte(f.values[name]))
			if len(inner) != 1 {
				continue
			}
			e.Properties[name] = inner[0]
			e.Consent = withConsent(e.Consent, name+".", inner[0])
		}
		return []Event{e}
	}
	if !adjustHost.MatchString(r.host) {
		return nil
	}
	switch kind {
	case "session", "event", "sdk_click", "sdk_info", "ad_revenue":
		e := Event{SDK: Adjust, Type: kind, Opaque: true, Reason: "damaged: the form lacks fields of a report", Where: "body"}
		if why := r.cut(); why != "" {
			e.Reason = why
		}
		return []Event{e}
	}
	return nil
}
