package collector_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/offproof/offproof/harness/collector"
)

func TestTheBuiltInListLoads(t *testing.T) {
	b, err := os.ReadFile("data.txt")
	if err != nil {
		t.Fatal(err)
	}
	list, err := collector.Load(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(collector.Default().Indicators()), len(list.Indicators()); got != want || got < 60 {
		t.Errorf("the built-in list has %d entries, the file %d", got, want)
	}
	for _, in := range list.Indicators() {
		if got, ok := list.Match(in.Host, in.Path); !ok || got != in {
			t.Errorf("%s%s matches %+v", in.Host, in.Path, got)
		}
	}
}

func TestMatch(t *testing.T) {
	list := collector.Default()
	cases := []struct {
		host, path   string
		organisation string
		purpose      collector.Purpose
		ok           bool
	}{
		{"sa.api.intl.miui.com", "/sa", "Xiaomi", collector.Collect, true},
		{"sa.api.intl.miui.com", "/sa?project=global_browser_mini&r=GB", "Xiaomi", collector.Collect, true},
		{"SA.API.intl.miui.com.", "/sa", "Xiaomi", collector.Collect, true},
		{"sa.api.intl.miui.com:443", "", "Xiaomi", collector.Collect, true},
		{"sa.api.intl.miui.com", "/sa.gif", "Xiaomi", collector.Collect, true},
		{"sa.api.intl.miui.com", "/config/Android.conf", "Xiaomi", collector.Config, true},
		{"sa.api.intl.miui.com", "/configuration", "Xiaomi", collector.Collect, true},
		{"tracking.intl.miui.com", "/track/v4", "Xiaomi", collector.Collect, true},
		{"tracking.rus.miui.com", "/track/key_get", "Xiaomi", collector.Config, true},
		{"tracking.india.miui.com", "/track/spock", "Xiaomi", collector.Collect, true},
		{"sdkconfig.ad.intl.xiaomi.com", "/api/v4/detail/config_common", "Xiaomi", collector.Config, true},
		{"sdkconfig.ad.rus.xiaomi.com", "/api/v4/detail/config", "Xiaomi", collector.Config, true},
		{"data.mistat.xiaomi.com", "/mistats/v2", "Xiaomi", collector.Collect, true},
		{"data.mistat.intl.xiaomi.com", "/mistats/v3", "Xiaomi", collector.Collect, true},
		{"api.ad.intl.xiaomi.com", "/post/csv3", "Xiaomi", collector.Ads, true},
		{"api.ad.intl.xiaomi.com", "/config/getcolconfig", "Xiaomi", collector.Config, true},
		{"globalapi.ad.xiaomi.com", "/x", "Xiaomi", collector.Ads, true},
		{"globalreport.ad.intl.xiaomi.com", "/x", "Xiaomi", collector.Ads, true},
		{"data.sec.intl.miui.com", "/privacy/agree/v1", "Xiaomi", collector.Consent, true},
		{"data.sec.intl.miui.com", "/privacy/revoke/v1", "Xiaomi", collector.Consent, true},
		{"data.sec.intl.miui.com", "/privacy/get/v1", "Xiaomi", collector.Consent, true},
		{"api.collect.data.intl.miui.com", "/", "Xiaomi", collector.Collect, true},
		{"api.brs.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"api.mintbrs.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"api.browser.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"hot.browser.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"r.browser.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"activity.browser.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"api.newsfeed.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"api.content.intl.miui.com", "/", "Xiaomi", collector.PurposeUnknown, true},
		{"connect.rom.miui.com", "/generate_204", "Xiaomi", collector.Connectivity, true},
		{"new.service.miui.com", "/x", "Xiaomi", collector.PurposeUnknown, true},
		{"connectivitycheck.gstatic.com", "/generate_204", "Google", collector.Connectivity, true},
		{"www.google.com", "/search", "Google", collector.PurposeUnknown, true},
		{"www.google.com", "/generate_204", "Google", collector.Connectivity, true},
		{"app-measurement.com", "/a", "Google", collector.Collect, true},
		{"app-measurement.com", "/config/app", "Google", collector.Config, true},
		{"ssl.google-analytics.com", "/collect", "Google", collector.Collect, true},
		{"graph.facebook.com", "/v8.0/1/activities", "Facebook", collector.Collect, true},
		{"app.eu.adjust.com", "/session", "Adjust", collector.Collect, true},
		{"app.adjust.com", "/sdk_click", "Adjust", collector.Collect, true},
		{"links.duckduckgo.com", "/", "DuckDuckGo", collector.PurposeUnknown, true},
		{"duckduckgo.com", "", "DuckDuckGo", collector.PurposeUnknown, true},
		{"notmiui.com", "/sa", "", collector.PurposeUnknown, false},
		{"miui.com.evil.example", "/sa", "", collector.PurposeUnknown, false},
		{"com", "/", "", collector.PurposeUnknown, false},
		{"telemetry.unlisted.example", "/v1", "", collector.PurposeUnknown, false},
		{"", "", "", collector.PurposeUnknown, false},
		{"203.0.113.7", "/sa", "", collector.PurposeUnknown, false},
	}
	for _, c := range cases {
		in, ok := list.Match(c.host, c.path)
		if ok != c.ok || in.Organisation != c.organisation || in.Purpose != c.purpose {
			t.Errorf("%s%s: %q %q %v, want %q %q %v", c.host, c.path, in.Organisation, in.Purpose, ok, c.organisation, c.purpose, c.ok)
		}
		if got := list.Owner(c.host); got != c.organisation {
			t.Errorf("owner of %s is %q, want %q", c.host, got, c.organisation)
		}
	}
}

func TestOrganisations(t *testing.T) {
	got := strings.Join(collector.Default().Organisations(), " ")
	if want := "Adjust DuckDuckGo Facebook Google Xiaomi"; got != want {
		t.Errorf("organisations %q, want %q", got, want)
	}
	own := collector.Default().Of("DuckDuckGo")
	if len(own) != 1 || own[0].Host != "duckduckgo.com" {
		t.Errorf("entries of DuckDuckGo: %+v", own)
	}
}

func TestLoadNamesTheLine(t *testing.T) {
	const good = "a.example | /x | Org | collect | why | who says so\n"
	for name, c := range map[string]struct{ text, message string }{
		"fields":       {good + "\n# comment\nb.example | Org\n", "line 4: want six fields"},
		"no host":      {"- | - | Org | collect | why | who\n", "line 1: host is empty"},
		"a URL":        {good + "https://b.example | - | Org | collect | why | who\n", "line 2: host"},
		"a wildcard":   {"*.example | - | Org | collect | why | who\n", "line 1: host"},
		"relative":     {"b.example | x | Org | collect | why | who\n", "line 1: path"},
		"no reason":    {"b.example | - | Org | collect | - | who\n", "line 1: organisation, reason"},
		"no source":    {"b.example | - | Org | collect | why | -\n", "line 1: organisation, reason"},
		"bad purpose":  {"b.example | - | Org | spying | why | who\n", `line 1: unknown purpose "spying"`},
		"twice":        {good + good, "line 2: same host"},
		"endless line": {good + strings.Repeat("x", 1<<15), "after line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := collector.Load(strings.NewReader(c.text))
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("error %v, want one with %q", err, c.message)
			}
			_, kept := list.Match("a.example", "/x")
			if kept != strings.HasPrefix(c.text, good) {
				t.Errorf("the entry before the error is there: %v", kept)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := collector.Load(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("a.example | /x | Org | collect | why | who\n", "sub.a.example", "/x/y")
	f.Add("a.example | - | Org | - | why | who\n# c\n", "a.example:80", "")
	f.Fuzz(func(t *testing.T, text, host, path string) {
		list, _ := collector.Load(strings.NewReader(text))
		in, ok := list.Match(host, path)
		if ok && list.Owner(host) == "" {
			t.Errorf("%q matches %+v, but has no owner", host, in)
		}
	})
}

// Every endpoint of which the formats, or the browsers, are known has its operator
// and its purpose; a host that is only known by name has no purpose.
func TestEveryKnownEndpointIsListed(t *testing.T) {
	const none = collector.PurposeUnknown
	for address, want := range map[string]struct {
		organisation string
		purpose      collector.Purpose
	}{
		"sa.api.intl.miui.com/sa":                                   {"Xiaomi", collector.Collect},
		"sa.api.intl.miui.com/sa.gif":                               {"Xiaomi", collector.Collect},
		"tracking.miui.com/track/v4":                                {"Xiaomi", collector.Collect},
		"tracking.intl.miui.com/track/v4":                           {"Xiaomi", collector.Collect},
		"tracking.india.miui.com/track/v4":                          {"Xiaomi", collector.Collect},
		"tracking.rus.miui.com/track/v4":                            {"Xiaomi", collector.Collect},
		"tracking.miui.com/track/key_get":                           {"Xiaomi", collector.Config},
		"tracking.intl.miui.com/track/spock":                        {"Xiaomi", collector.Collect},
		"sdkconfig.ad.xiaomi.com/api/v4/detail/config":              {"Xiaomi", collector.Config},
		"sdkconfig.ad.intl.xiaomi.com/api/v4/detail/config":         {"Xiaomi", collector.Config},
		"sdkconfig.ad.india.xiaomi.com/api/v4/detail/config_common": {"Xiaomi", collector.Config},
		"sdkconfig.ad.rus.xiaomi.com/api/v4/detail/config_common":   {"Xiaomi", collector.Config},
		"data.mistat.xiaomi.com/mistats/v2":                         {"Xiaomi", collector.Collect},
		"data.mistat.xiaomi.com/mistats/v3":                         {"Xiaomi", collector.Collect},
		"data.mistat.intl.xiaomi.com/mistats/v3":                    {"Xiaomi", collector.Collect},
		"api.ad.intl.xiaomi.com/post/csv3":                          {"Xiaomi", collector.Ads},
		"globalapi.ad.xiaomi.com/":                                  {"Xiaomi", collector.Ads},
		"data.sec.intl.miui.com/privacy/agree/v1":                   {"Xiaomi", collector.Consent},
		"data.sec.intl.miui.com/privacy/revoke/v1":                  {"Xiaomi", collector.Consent},
		"data.sec.intl.miui.com/privacy/get/v1":                     {"Xiaomi", collector.Consent},
		"hot.browser.intl.miui.com/":                                {"Xiaomi", none},
		"r.browser.intl.miui.com/":                                  {"Xiaomi", none},
		"activity.browser.intl.miui.com/":                           {"Xiaomi", none},
		"app-measurement.com/a":                                     {"Google", collector.Collect},
		"ssl.google-analytics.com/collect":                          {"Google", collector.Collect},
		"ssl.google-analytics.com/batch":                            {"Google", collector.Collect},
		"graph.facebook.com/v5.0/1/activities":                      {"Facebook", collector.Collect},
		"app.adjust.com/session":                                    {"Adjust", collector.Collect},
		"app.eu.adjust.com/event":                                   {"Adjust", collector.Collect},
	} {
		host, path, _ := strings.Cut(address, "/")
		got, ok := collector.Default().Match(host, "/"+path)
		if !ok || got.Organisation != want.organisation || got.Purpose != want.purpose || got.Source == "" || want.purpose != none && got.Reason == "" {
			t.Errorf("%s: %v %+v, want %s for %q", address, ok, got, want.organisation, want.purpose)
		}
	}
	for _, host := range []string{
		"api.brs.intl.miui.com", "api.mintbrs.intl.miui.com", "api.browser.intl.miui.com", "api.newsfeed.intl.miui.com", "api.content.intl.miui.com",
		"api.collect.data.intl.miui.com", "globalreport.ad.intl.xiaomi.com",
	} {
		if got, ok := collector.Default().Match(host, "/"); !ok || got.Organisation != "Xiaomi" || got.Purpose == collector.Config || got.Purpose == collector.Consent {
			t.Errorf("%s: %v %+v", host, ok, got)
		}
	}
}
