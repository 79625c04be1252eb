package devices_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
)

func TestRequirements(t *testing.T) {
	yes, no := true, false
	full := devices.Facts{
		Build: "Xiaomi/umi_global/umi:10/QKQ1.191117.002/V11.0.2.0.QJBMIXM:user/release-keys", Region: "EEA", Rooted: &no,
		Capture: []string{"tcpdump", "proxy"}, Apps: []string{"com.android.chrome", "com.mi.globalbrowser"},
	}
	for name, c := range map[string]struct {
		need  devices.Requirement
		facts devices.Facts
		met   devices.Answer
		why   string
	}{
		"nothing":               {devices.Requirement{}, devices.Facts{}, devices.Met, ""},
		"build":                 {devices.Build("umi_global"), full, devices.Met, ""},
		"another build":         {devices.Build("ginkgo"), full, devices.Unmet, "needs a build with ginkgo, has Xiaomi/umi_global/"},
		"build unknown":         {devices.Build("ginkgo"), devices.Facts{}, devices.Unclear, ""},
		"region":                {devices.Region("global", "eea"), full, devices.Met, ""},
		"another region":        {devices.Region("CN"), full, devices.Unmet, "needs region CN, has EEA"},
		"region unknown":        {devices.Region("CN"), devices.Facts{}, devices.Unclear, ""},
		"root":                  {devices.Rooted(), devices.Facts{Rooted: &yes}, devices.Met, ""},
		"no root":               {devices.Rooted(), full, devices.Unmet, "needs root, has none"},
		"root unknown":          {devices.Rooted(), devices.Facts{}, devices.Unclear, ""},
		"app":                   {devices.App("com.mi.globalbrowser"), full, devices.Met, ""},
		"part of an app's name": {devices.App("com.mi.global"), full, devices.Unmet, "needs the app com.mi.global, has it not installed"},
		"apps unknown":          {devices.App("com.mi.globalbrowser"), devices.Facts{}, devices.Unclear, ""},
		"capture":               {devices.CapturedBy("proxy"), full, devices.Met, ""},
		"no capture":            {devices.CapturedBy("pcapdroid"), full, devices.Unmet, "needs capture by pcapdroid, has only tcpdump and proxy"},
		"capture unknown":       {devices.CapturedBy("proxy"), devices.Facts{}, devices.Unclear, ""},
	} {
		met, why := c.need.Judge(c.facts)
		if met != c.met || !strings.HasPrefix(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%s: got %v, %q; want %v, %q", name, met, why, c.met, c.why)
		}
	}
	needs := []devices.Requirement{devices.Rooted(), devices.Region("EEA"), devices.Build("ginkgo")}
	if why := devices.Misfit(needs, full, false); !strings.Contains(why, "needs root") || !strings.Contains(why, "; needs a build with ginkgo") || strings.Contains(why, "EEA,") {
		t.Errorf("got %q", why)
	}
	needs = []devices.Requirement{devices.Region("EEA")}
	if why := devices.Misfit(needs, devices.Facts{}, false); why != "" {
		t.Errorf("nobody was asked: %q", why)
	}
	if why := devices.Misfit(needs, devices.Facts{}, true); why != "needs region EEA, which the phone does not say" {
		t.Errorf("the phone was asked: %q", why)
	}
}

// TestFactsAreAskedOfThePhone compares what two models say.
func TestFactsAreAskedOfThePhone(t *testing.T) {
	_, p, d := world(t)
	f, err := d.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if why := devices.Misfit([]devices.Requirement{devices.Build("ginkgo"), devices.Rooted(), devices.App("com.mi.globalbrowser")}, f, true); why != "" {
		t.Errorf("%s: %+v", why, f)
	}
	if err := p.Fault(t.Context(), "root-lost", ""); err != nil {
		t.Fatal(err)
	}
	if f, err = d.Facts(t.Context()); err != nil || f.Rooted == nil || *f.Rooted {
		t.Errorf("got %+v, %v; want a phone without root", f, err)
	}
}
