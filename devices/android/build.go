package android

import "strings"

// Getprop reads the answer of getprop: lines of [key]: [value], where a value
// may hold line breaks. Text around them is skipped.
func Getprop(text string) map[string]string {
	props := map[string]string{}
	var key string
	var value strings.Builder
	open := false // inside a value that goes on in the next line
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if k, v, ok := strings.Cut(line, "]: ["); ok && strings.HasPrefix(k, "[") {
			key, open = k[1:], true
			value.Reset()
			line = v
		} else if open {
			value.WriteByte('\n')
		} else {
			continue
		}
		v, last := strings.CutSuffix(line, "]")
		value.WriteString(v)
		if !last {
			continue
		}
		open = false
		if len(props) < maxEntries {
			props[key] = value.String()
		}
	}
	return props
}

// A Build is what a phone says that it is. An empty string is "not said".
type Build struct {
	Brand        string `json:"brand,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Product      string `json:"product,omitempty"`
	Device       string `json:"device,omitempty"`
	Fingerprint  string `json:"fingerprint,omitempty"`
	Incremental  string `json:"incremental,omitempty"`
	Release      string `json:"release,omitempty"` // Android's version, such as "9"
	SDK          *int   `json:"sdk,omitempty"`
	Patch        string `json:"patch,omitempty"` // security patch level, YYYY-MM-DD
	Type         string `json:"type,omitempty"`  // user, userdebug, eng
	Tags         string `json:"tags,omitempty"`
	Serial       string `json:"serial,omitempty"`
	// MIUI is MIUI's name of itself, such as "V11"; HyperOS is its successor's.
	MIUI    string `json:"miui,omitempty"`
	HyperOS string `json:"hyperos,omitempty"`
	// ModDevice is MIUI's device with its region, such as "ginkgo_global".
	ModDevice string `json:"mod_device,omitempty"`
	Region    string `json:"region,omitempty"`
	Locale    string `json:"locale,omitempty"`
	Density   *int   `json:"density,omitempty"`
	// Booted is nil when the phone does not say whether it has booted.
	Booted *bool `json:"booted,omitempty"`
	// InputGate is MIUI's "USB debugging (Security settings)": false means that
	// input, settings put and pm clear are refused, nil that there is no such gate.
	InputGate *bool `json:"input_gate,omitempty"`
	// Emulator is true for Google's Android Emulator.
	Emulator bool `json:"emulator,omitempty"`
}

// ParseBuild picks the identity out of a phone's properties.
func ParseBuild(props map[string]string) Build {
	first := func(keys ...string) string {
		for _, k := range keys {
			if v := strings.TrimSpace(props[k]); v != "" {
				return v
			}
		}
		return ""
	}
	b := Build{
		Brand:        first("ro.product.brand", "ro.product.system.brand"),
		Manufacturer: first("ro.product.manufacturer", "ro.product.system.manufacturer"),
		Model:        first("ro.product.marketname", "ro.product.model", "ro.product.system.model"),
		Product:      first("ro.product.name", "ro.build.product"),
		Device:       first("ro.product.device", "ro.product.system.device"),
		Fingerprint:  first("ro.build.fingerprint", "ro.system.build.fingerprint", "ro.vendor.build.fingerprint"),
		Incremental:  first("ro.build.version.incremental", "ro.system.build.version.incremental"),
		Release:      first("ro.build.version.release", "ro.system.build.version.release"),
		SDK:          number[int](first("ro.build.version.sdk", "ro.system.build.version.sdk")),
		Patch:        first("ro.build.version.security_patch"),
		Type:         first("ro.build.type"),
		Tags:         first("ro.build.tags"),
		Serial:       first("ro.serialno", "ro.boot.serialno"),
		MIUI:         first("ro.miui.ui.version.name"),
		HyperOS:      first("ro.mi.os.version.name", "ro.mi.os.version.incremental"),
		ModDevice:    first("ro.product.mod_device"),
		Region:       first("ro.miui.region", "ro.miui.build.region"),
		Locale:       first("persist.sys.locale", "ro.product.locale"),
		Density:      number[int](first("ro.sf.lcd_density", "qemu.sf.lcd_density")),
		Emulator:     first("ro.kernel.qemu", "ro.boot.qemu") == "1",
	}
	if v, ok := props["sys.boot_completed"]; ok {
		booted := strings.TrimSpace(v) == "1"
		b.Booted = &booted
	} else if len(props) > 0 && b.SDK != nil {
		// A phone that prints its properties but not this one is still booting.
		booted := false
		b.Booted = &booted
	}
	if b.MIUI != "" || b.HyperOS != "" {
		open := strings.TrimSpace(props["persist.security.adbinput"]) == "1"
		b.InputGate = &open
	}
	return b
}
