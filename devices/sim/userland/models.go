package userland

import (
	"fmt"
	"strings"
)

// DefaultModel and DefaultLocale are those of a phone of which nothing is said.
const (
	DefaultModel  = "redmi-note-8"
	DefaultLocale = "en-GB"
)

// An Identity is what a phone says it is.
type Identity struct {
	// Title is what people call the phone; the phone itself does not say it.
	Title                                         string
	Serial                                        string
	Manufacturer, Brand, Model, Device            string
	Product                                       string // ro.product.name
	ModDevice                                     string // ro.product.mod_device
	Fingerprint, Release, SDK, Patch, Incremental string
	BuildID, Kernel                               string
	Platform, Board, Baseband                     string
	FirstAPI                                      string // the SDK that the phone was sold with
	NFC                                           bool   // it has the hardware
	MIUIName, MIUICode                            string // "V11", "9"
	Region, Locale                                string
	AndroidID                                     string
}

// models are the phones whose firmware was said to carry the same browser, by
// the name that people type. Their fingerprints are genuine; patch level, kernel
// and baseband are of the kind that such firmware has, and nothing rests on them.
// The global firmware of the Redmi K20 calls the phone Mi 9T.
func models() map[string]Identity {
	return map[string]Identity{
		"redmi-note-8": {
			Title: "Redmi Note 8", Brand: "xiaomi", Model: "Redmi Note 8", Device: "ginkgo", Product: "ginkgo", ModDevice: "ginkgo_global",
			Fingerprint: "xiaomi/ginkgo/ginkgo:9/PKQ1.190616.001/V11.0.8.0.PCOMIXM:user/release-keys",
			Patch:       "2020-03-01", Kernel: "4.14.83-perf-g9bd5fcd", Platform: "trinket", Board: "trinket",
			Baseband: "4.3.c5-00069-SM6125_GEN_PACK-1", FirstAPI: "28",
		},
		"mi-10": {
			Title: "Mi 10", Brand: "Xiaomi", Model: "Mi 10", Device: "umi", Product: "umi_global", ModDevice: "umi_global",
			Fingerprint: "Xiaomi/umi_global/umi:10/QKQ1.191117.002/V11.0.2.0.QJBMIXM:user/release-keys",
			Patch:       "2020-02-01", Kernel: "4.19.81-perf-g9f9b8a4", Platform: "kona", Board: "kona",
			Baseband: "4.3.c2-00054-SM8250_GEN_PACK-1", FirstAPI: "29", NFC: true,
		},
		"redmi-k20": {
			Title: "Redmi K20 (Mi 9T)", Brand: "Xiaomi", Model: "Mi 9T", Device: "davinci", Product: "davinci", ModDevice: "davinci_global",
			Fingerprint: "Xiaomi/davinci/davinci:10/QKQ1.190825.002/V11.0.1.0.QFJMIXM:user/release-keys",
			Patch:       "2019-12-01", Kernel: "4.14.117-perf-g38a4ecd", Platform: "sm6150", Board: "davinci",
			Baseband: "4.3.c5-00045-SM6150_GEN_PACK-1", FirstAPI: "28", NFC: true,
		},
		"mi-mix-3": {
			Title: "Mi MIX 3", Brand: "Xiaomi", Model: "MIX 3", Device: "perseus", Product: "perseus", ModDevice: "perseus_global",
			Fingerprint: "Xiaomi/perseus/perseus:10/QKQ1.190828.002/V11.0.3.0.QEEMIXM:user/release-keys",
			Patch:       "2020-01-01", Kernel: "4.9.186-perf-gf9a4b5e", Platform: "sdm845", Board: "sdm845",
			Baseband: "4.0.c2.6-00335-0619_1024_3f2b2ff", FirstAPI: "28", NFC: true,
		},
	}
}

// Models are the names of the phones that Make knows, the default first and
// the others in the order in which they were named.
func Models() []string { return []string{DefaultModel, "mi-10", "redmi-k20", "mi-mix-3"} }

// Locales are those that Make knows, the default first.
func Locales() []string { return []string{DefaultLocale, "fr-FR", "ru-RU"} }

// Make is the identity of a phone of a model that was sold for a locale; empty
// names mean the default ones. Serial and ANDROID_ID are those of one phone.
func Make(model, locale, serial, androidID string) (Identity, error) {
	if model == "" {
		model = DefaultModel
	}
	if locale == "" {
		locale = DefaultLocale
	}
	id, ok := models()[model]
	if !ok {
		return Identity{}, fmt.Errorf("no model is named %q; known are %s", model, strings.Join(Models(), ", "))
	}
	found := false
	for _, l := range Locales() {
		found = found || l == locale
	}
	if !found {
		return Identity{}, fmt.Errorf("no locale is named %q; known are %s", locale, strings.Join(Locales(), ", "))
	}
	// brand/product/device:release/id/incremental:type/keys
	build, _, _ := strings.Cut(id.Fingerprint[strings.IndexByte(id.Fingerprint, ':')+1:], ":")
	parts := strings.Split(build, "/")
	id.Release, id.BuildID, id.Incremental = parts[0], parts[1], parts[2]
	id.SDK = map[string]string{"9": "28", "10": "29"}[id.Release]
	id.Manufacturer, id.MIUIName, id.MIUICode = "Xiaomi", "V11", "9"
	id.Locale, id.Serial, id.AndroidID = locale, serial, androidID
	_, id.Region, _ = strings.Cut(locale, "-")
	return id, nil
}

// Language is the locale's language, such as "en".
func (id Identity) Language() string {
	language, _, _ := strings.Cut(id.Locale, "-")
	return language
}

// Ten says whether the phone runs Android 10, whose texts differ from those of
// Android 9.
func (id Identity) Ten() bool { return id.SDK == "29" }
