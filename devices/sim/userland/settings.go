package userland

import (
	"context"
	"sort"
	"strings"
	"sync"
)

const (
	maxSettings     = 4096
	maxSettingValue = 32 << 10 // bytes
)

// settings are the three tables of the settings provider. They survive a
// reboot.
type settings struct {
	mu     sync.Mutex
	tables map[string]map[string]string
}

func newSettings(id Identity) *settings {
	return &settings{tables: map[string]map[string]string{
		"global": {
			"adb_enabled": "1", "airplane_mode_on": "0", "auto_time": "1", "auto_time_zone": "1",
			"bluetooth_on": "0", "boot_count": "17", "data_roaming": "0", "development_settings_enabled": "1",
			"device_name": id.Model, "device_provisioned": "1", "mobile_data": "0", "mode_ringer": "2",
			"network_recommendations_enabled": "0", "stay_on_while_plugged_in": "7", "transition_animation_scale": "0",
			"usb_mass_storage_enabled": "1", "wifi_on": "1", "window_animation_scale": "0",
			"animator_duration_scale": "0", "private_dns_mode": "off",
		},
		"system": {
			"accelerometer_rotation": "0", "font_scale": "1.0", "haptic_feedback_enabled": "1",
			"screen_brightness": "102", "screen_brightness_mode": "0", "screen_off_timeout": "2147483647",
			"time_12_24": "24", "user_rotation": "0", "volume_music": "5",
		},
		"secure": {
			"android_id": id.AndroidID, "default_input_method": "com.android.inputmethod.latin/.LatinIME",
			"enabled_input_methods": "com.android.inputmethod.latin/.LatinIME", "install_non_market_apps": "1",
			"location_providers_allowed": "", "lockscreen.disabled": "1", "user_setup_complete": "1",
			"upload_log_pref": "0", "limit_ad_tracking": "0",
		},
	}}
}

func (t *settings) get(namespace, key string) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.tables[namespace][key]
	return v, ok
}

func (t *settings) put(namespace, key, value string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	table := t.tables[namespace]
	if _, had := table[key]; table == nil || !had && len(table) >= maxSettings || len(value) > maxSettingValue {
		return false
	}
	table[key] = value
	return true
}

func (t *settings) delete(namespace, key string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.tables[namespace][key]; !ok {
		return 0
	}
	delete(t.tables[namespace], key)
	return 1
}

func (t *settings) list(namespace string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for k, v := range t.tables[namespace] {
		lines = append(lines, k+"="+v)
	}
	sort.Strings(lines)
	return lines
}

func (t *settings) all() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := map[string]string{}
	for ns, table := range t.tables {
		for k, v := range table {
			m[ns+"/"+k] = v
		}
	}
	return m
}

const settingsUsage = `Settings provider (settings) commands:
  help
      Print this help text.
  get [--user <USER_ID> | current] NAMESPACE KEY
      Retrieve the current value of KEY.
  put [--user <USER_ID> | current] NAMESPACE KEY VALUE [TAG] [default]
      Change the contents of KEY to VALUE.
  delete [--user <USER_ID> | current] NAMESPACE KEY
      Delete the entry for KEY.
  list [--user <USER_ID> | current] NAMESPACE
      Print all defined keys.
`

// cmdSettings is settings.
func cmdSettings(_ context.Context, p *proc, args []string) int {
	if !p.service("settings") {
		return noService
	}
	args = args[1:]
	if len(args) == 0 || args[0] == "help" {
		p.printf("%s", settingsUsage)
		return 0
	}
	if !p.sys.pause(p.done, binderCall) {
		return 1
	}
	verb, rest := args[0], args[1:]
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == "--user" {
			rest = append(rest[:i:i], rest[i+2:]...)
			break
		}
	}
	bad := func(msg string) int {
		p.errorf("%s\n", msg)
		return 255
	}
	switch verb {
	case "get", "put", "delete", "list", "reset":
	default:
		return bad("Invalid command: " + verb)
	}
	if len(rest) == 0 {
		return bad("Not enough arguments")
	}
	ns := strings.ToLower(rest[0])
	if ns != "global" && ns != "system" && ns != "secure" {
		return bad("Invalid namespace '" + rest[0] + "'")
	}
	if p.gated() && (verb == "put" || verb == "delete" || verb == "reset") {
		text := "Permission denial: writing to settings requires:android.permission.WRITE_SECURE_SETTINGS"
		if ns == "system" {
			text = "com.android.shell was not granted WRITE_SETTINGS"
		}
		return p.securityException(text, "com.android.providers.settings.SettingsProvider.enforceWritePermission(SettingsProvider.java:1815)")
	}
	t := p.sys.settings
	switch {
	case verb == "list":
		for _, line := range t.list(ns) {
			p.printf("%s\n", line)
		}
	case verb == "get" && len(rest) == 2:
		v, ok := t.get(ns, rest[1])
		if !ok {
			v = "null"
		}
		p.printf("%s\n", v)
	case verb == "put" && len(rest) >= 3:
		if !t.put(ns, rest[1], rest[2]) {
			return bad("java.lang.IllegalArgumentException: value too long")
		}
		p.sys.logf("I", "SettingsProvider", p.pid, "put %s/%s", ns, rest[1])
		if ns == "global" && rest[1] == "airplane_mode_on" {
			p.sys.cfg.Network.SetUp(rest[2] != "1")
		}
	case verb == "delete" && len(rest) == 2:
		p.printf("Deleted %d rows\n", t.delete(ns, rest[1]))
	case verb == "reset":
	case len(rest) > 2:
		return bad("Too many arguments")
	default:
		return bad("Not enough arguments")
	}
	return 0
}
