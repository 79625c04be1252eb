package telemetry

import (
	"strings"
)

// consentWords are parts of names that an app gives to what it says of consent.
var consentWords = []string{"consent", "gdpr", "ccpa", "us_privacy", "usprivacy", "privacy", "coppa", "opt_out", "optout", "opt_in", "optin", "limit_ad_tracking", "lat"}

// withConsent adds the members of an object that speak of consent by their
// names, under a prefix. It returns into, which may be nil.
func withConsent(into map[string]string, prefix string, m map[string]any) map[string]string {
	for name, v := range m {
		value, ok := plain(v)
		if !ok || !speaksOfConsent(name) {
			continue
		}
		if into == nil {
			into = map[string]string{}
		}
		into[prefix+name] = value
	}
	return into
}

func speaksOfConsent(name string) bool {
	name = strings.ToLower(name)
	for _, word := range consentWords {
		if name == word || len(word) > 3 && strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// ConsentMeaning says what a value of Event.Consent means, in words for a
// report; empty where that is not known. The sources:
//   - gcs, consent_signals: Google's description of consent mode. "G1", then ad
//     storage and analytics storage, each 1 granted, 0 denied, - not set.
//   - gcd: not described by Google. Public analyses agree that letters between
//     digits stand for ad storage, analytics storage, ad user data and ad
//     personalization, and that l is not set, p q m u denied, t r n v granted.
//   - npa, _npa: Google's reference; 1 asks for advertisements that are not
//     personalised.
//   - ate, limited_ad_tracking: the name in Google's SDKs.
//   - advertiser_tracking_enabled, application_tracking_enabled,
//     advertiser_id_collection_enabled: Meta's reference of application
//     activities and its published SDK.
//   - tracking_enabled: Adjust's published SDK; the phone's setting for
//     advertising, not the app's.
func ConsentMeaning(sdk, name, value string) string {
	switch {
	case sdk == Firebase || sdk == GoogleAnalytics:
		return googleMeaning(name, value)
	case sdk == Facebook && name == "advertiser_tracking_enabled", sdk == Adjust && (name == "tracking_enabled" || name == "fire_tracking_enabled"):
		return onOff(value, "the phone's setting allows tracking for advertising", "the phone's setting forbids tracking for advertising")
	case sdk == Facebook && name == "application_tracking_enabled":
		return onOff(value, "the app does not limit the use of events", "the app limits the use of events")
	case sdk == Facebook && name == "advertiser_id_collection_enabled":
		return onOff(value, "the app lets the advertising id be collected", "the app forbids that the advertising id is collected")
	}
	return ""
}

func onOff(value, on, off string) string {
	switch strings.ToLower(value) {
	case "1", "true":
		return on
	case "0", "false":
		return off
	}
	return ""
}

func googleMeaning(name, value string) string {
	switch name {
	case "gcs", "consent_signals":
		const length = len("G111")
		if len(value) != length || !strings.HasPrefix(value, "G1") {
			return ""
		}
		words := map[byte]string{'1': "granted", '0': "denied", '-': "not set"}
		ads, analytics := words[value[2]], words[value[3]]
		if ads == "" || analytics == "" {
			return ""
		}
		return "ad storage " + ads + ", analytics storage " + analytics
	case "gcd":
		return gcdMeaning(value)
	case "npa", "_npa", "non_personalized_ads":
		return onOff(value, "advertisements are not to be personalised", "advertisements may be personalised")
	case "ate":
		return onOff(value, "the phone's setting allows tracking for advertising", "the phone's setting forbids tracking for advertising")
	case "limited_ad_tracking":
		return onOff(value, "the phone's setting limits tracking for advertising", "the phone's setting does not limit tracking for advertising")
	}
	return ""
}

// gcdMeaning reads the four letters of a gcd. A digit stands between them, and
// others before and after.
func gcdMeaning(value string) string {
	var words []string
	for _, c := range value {
		switch {
		case c >= '0' && c <= '9':
		case c == 'l':
			words = append(words, "not set")
		case strings.ContainsRune("pqmu", c):
			words = append(words, "denied")
		case strings.ContainsRune("trnv", c):
			words = append(words, "granted")
		default:
			return ""
		}
	}
	subjects := []string{"ad storage", "analytics storage", "ad user data", "ad personalization"}
	if len(words) != len(subjects) {
		return ""
	}
	for i := range words {
		words[i] = subjects[i] + " " + words[i]
	}
	return strings.Join(words, ", ")
}
