package sim_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/sim/browser"
)

// TestModels asks one phone of each model who it is, and what its browser is
// made of: the same code in all of them.
func TestModels(t *testing.T) {
	var phones []sim.PhoneConfig
	for i, model := range sim.Models() {
		phones = append(phones, sim.PhoneConfig{Model: model, Locale: sim.Locales()[i%len(sim.Locales())]})
	}
	w := start(t, sim.Config{Phones: phones, Pace: 0.01})
	sums := map[string]bool{}
	paths := map[string]bool{}
	for i, want := range []struct {
		model, fingerprint, release, device, product, locale, region string
	}{
		{"Redmi Note 8", "xiaomi/ginkgo/ginkgo:9/PKQ1.190616.001/V11.0.8.0.PCOMIXM:user/release-keys", "9", "ginkgo", "ginkgo", "en-GB", "GB"},
		{"Mi 10", "Xiaomi/umi_global/umi:10/QKQ1.191117.002/V11.0.2.0.QJBMIXM:user/release-keys", "10", "umi", "umi_global", "fr-FR", "FR"},
		{"Mi 9T", "Xiaomi/davinci/davinci:10/QKQ1.190825.002/V11.0.1.0.QFJMIXM:user/release-keys", "10", "davinci", "davinci", "ru-RU", "RU"},
		{"MIX 3", "Xiaomi/perseus/perseus:10/QKQ1.190828.002/V11.0.3.0.QEEMIXM:user/release-keys", "10", "perseus", "perseus", "en-GB", "GB"},
	} {
		p := w.Phones()[i]
		h := hand{t, w, p.Serial()}
		parts := strings.Split(want.fingerprint, "/")
		for prop, value := range map[string]string{
			"ro.product.model": want.model, "ro.build.fingerprint": want.fingerprint, "ro.build.version.release": want.release,
			"ro.build.version.sdk": map[string]string{"9": "28", "10": "29"}[want.release], "ro.product.device": want.device,
			"ro.product.name": want.product, "ro.product.mod_device": want.device + "_global", "ro.miui.region": want.region,
			"persist.sys.locale": want.locale, "ro.build.version.incremental": strings.TrimSuffix(parts[4], ":user"),
			"ro.build.id": parts[3], "ro.product.brand": parts[0],
		} {
			if got := strings.TrimSpace(h.run("getprop " + prop)); got != value {
				t.Errorf("%s: %s is %q, wanted %q", want.model, prop, got, value)
			}
		}
		if got := h.run("getprop ro.product.system.model"); (got == want.model+"\n") != (want.release == "10") {
			t.Errorf("%s: ro.product.system.model is %q", want.model, got)
		}
		// Android 9 counts by user in a file, Android 10 no longer does.
		if got := h.run("ls /proc/net/xt_qtaguid/stats 2>&1; true"); strings.Contains(got, "No such file") != (want.release == "10") {
			t.Errorf("%s: ls says %q", want.model, got)
		}
		apk := strings.TrimPrefix(strings.TrimSpace(h.run("pm path "+browser.Package)), "package:")
		if !strings.HasPrefix(apk, "/data/app/"+browser.Package+"-") || !strings.HasSuffix(apk, "==/base.apk") {
			t.Errorf("%s: the browser lies at %q", want.model, apk)
		}
		keyboard := h.run("pm path com.android.inputmethod.latin")
		if strings.HasPrefix(keyboard, "package:/system/product/") != (want.release == "10") {
			t.Errorf("%s: the keyboard lies at %q", want.model, keyboard)
		}
		sum, _, _ := strings.Cut(h.run("sha256sum "+apk), " ")
		sums[sum], paths[apk] = true, true
		if !strings.Contains(string(w.FarmYAML()), p.Model()+", "+want.locale) || p.Locale() != want.locale {
			t.Errorf("%s: farm.yaml does not say what the phone is:\n%s", want.model, w.FarmYAML())
		}
	}
	if len(sums) != 1 || len(paths) != len(phones) {
		t.Errorf("the browser has %d codes in %d places", len(sums), len(paths))
	}
}
