package devices

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/android"
)

const (
	kindSetting = "setting"

	// proxyKey is the phone's HTTP proxy, in the namespace global. A proxy that
	// is left behind cuts the phone off from the network, or worse, leads its
	// traffic through whoever listens there next.
	proxyKey = "http_proxy"
	// noProxy is what Android takes for "no proxy" in that setting.
	noProxy = ":0"
)

// proxyCompanions are the settings that Android derives from http_proxy and
// that outlive it.
func proxyCompanions() []string {
	return []string{"global_http_proxy_host", "global_http_proxy_port", "global_http_proxy_exclusion_list"}
}

// Setting reads one setting of the namespace system, secure or global. The
// second value is false when it is not set.
func (d *Device) Setting(ctx context.Context, namespace, key string) (string, bool, error) {
	if err := checkSetting(namespace, key); err != nil {
		return "", false, err
	}
	args := []string{"settings", "get", namespace, key}
	result, err := d.Shell(ctx, args...)
	if err != nil {
		return "", false, err
	}
	if err := d.check(result, args...); err != nil {
		return "", false, err
	}
	value, ok := android.ParseSetting(string(result.Stdout))
	return value, ok, nil
}

func checkSetting(namespace, key string) error {
	if !slices.Contains([]string{"system", "secure", "global"}, namespace) {
		return fmt.Errorf("devices: setting %s: the namespace %q is none of system, secure, global", key, namespace)
	}
	if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.") != "" {
		return fmt.Errorf("devices: setting %q: a key has letters, digits, dots and underscores", key)
	}
	return nil
}

// putSetting writes a setting, without reading it back.
func (d *Device) putSetting(ctx context.Context, namespace, key, value string) error {
	args := []string{"settings", "put", namespace, key, value}
	result, err := d.Shell(ctx, args...)
	if err != nil {
		return err
	}
	return d.check(result, args...)
}

// deleteSetting removes a setting, without reading it back.
func (d *Device) deleteSetting(ctx context.Context, namespace, key string) error {
	args := []string{"settings", "delete", namespace, key}
	result, err := d.Shell(ctx, args...)
	if err != nil {
		return err
	}
	return d.check(result, args...)
}

// PutSetting is the change of one setting. Its undo writes the old value back,
// or deletes the setting where there was none. The proxy is undone with the
// three settings that Android derives from it; an old proxy on the phone's own
// loopback is taken for what a crashed run left behind, and not put back.
type PutSetting struct{ Namespace, Key, Value string }

var _ Undoable = PutSetting{}

// settingUndo is how a setting was before. A nil string is "not set".
type settingUndo struct {
	Namespace string  `json:"namespace"`
	Key       string  `json:"key"`
	Value     string  `json:"value"` // what the change writes
	Old       *string `json:"old"`
	// Others are the settings that follow the proxy, as they were.
	Others map[string]*string `json:"others,omitempty"`
	Remark string             `json:"remark,omitempty"`
}

func (s PutSetting) prepare(ctx context.Context, d *Device) (undo, error) {
	old, ok, err := d.Setting(ctx, s.Namespace, s.Key)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(s.Value, "\x00\r\n") || s.Value == "null" {
		return nil, fmt.Errorf("devices: setting %s: value %q: a line break cannot be read back, nor null told from absence", s.Key, s.Value)
	}
	u := &settingUndo{Namespace: s.Namespace, Key: s.Key, Value: s.Value}
	if ok {
		u.Old = &old
	}
	if !u.proxy() {
		return u, nil
	}
	if ok && ownProxy(old) {
		u.Old = nil
		u.Remark = fmt.Sprintf("the proxy was already %q, which an earlier run must have left behind without its journal: it will not be put back", old)
		return u, nil
	}
	u.Others = map[string]*string{}
	for _, key := range proxyCompanions() {
		value, ok, err := d.Setting(ctx, s.Namespace, key)
		if err != nil {
			return nil, err
		}
		if ok {
			u.Others[key] = &value
		}
	}
	return u, nil
}

func (s PutSetting) apply(ctx context.Context, d *Device, _ undo) error {
	if err := d.putSetting(ctx, s.Namespace, s.Key, s.Value); err != nil {
		return err
	}
	value, ok, err := d.Setting(ctx, s.Namespace, s.Key)
	if err != nil {
		return err
	}
	if !ok || value != s.Value {
		return fmt.Errorf("read back %s: it did not take the value", shown(value, ok))
	}
	return nil
}

func shown(value string, ok bool) string {
	if !ok {
		return "null"
	}
	return strconv.Quote(value)
}

// ownProxy reports whether a proxy is on the phone's own loopback, where only
// this program's tunnels are expected to end.
func ownProxy(value string) bool {
	host, port, err := net.SplitHostPort(strings.TrimSpace(value))
	if err != nil {
		return false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (u *settingUndo) kind() string { return kindSetting }
func (u *settingUndo) note() string { return u.Remark }

func (u *settingUndo) proxy() bool { return u.Namespace == "global" && u.Key == proxyKey }

func (u *settingUndo) what() string {
	was := "it was not set"
	if u.Old != nil {
		was = fmt.Sprintf("it was %q", *u.Old)
	}
	if u.proxy() {
		return fmt.Sprintf("PROXY SETTING global http_proxy = %q, %s", u.Value, was)
	}
	return fmt.Sprintf("setting %s %s = %q, %s", u.Namespace, u.Key, u.Value, was)
}

func (u *settingUndo) byHand(serial string) string {
	var commands []string
	add := func(args ...string) { commands = append(commands, adb.Quote(args...)) }
	switch {
	case u.Old != nil:
		add("settings", "put", u.Namespace, u.Key, *u.Old)
	case u.proxy():
		add("settings", "put", u.Namespace, u.Key, noProxy)
		add("settings", "delete", u.Namespace, u.Key)
		for _, key := range proxyCompanions() {
			add("settings", "delete", u.Namespace, key)
		}
	default:
		add("settings", "delete", u.Namespace, u.Key)
	}
	return adb.Quote("adb", "-s", serial, "shell", strings.Join(commands, "; "))
}

// revert writes the old state until it reads back. Android derives the other
// proxy settings a moment after http_proxy was written, so the first look may
// come too early.
func (u *settingUndo) revert(ctx context.Context, d *Device) error {
	if err := checkSetting(u.Namespace, u.Key); err != nil {
		return err
	}
	const attempts = 5
	var wrong string
	for i := range attempts {
		if i > 0 {
			if err := pause(ctx, retryPause); err != nil {
				return fmt.Errorf("undo %s: %w", u.what(), err)
			}
		}
		var err error
		if wrong, err = u.differs(ctx, d); err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
		if wrong == "" {
			return nil
		}
		if err := u.restore(ctx, d); err != nil {
			return fmt.Errorf("undo %s: %w", u.what(), err)
		}
	}
	wrong, err := u.differs(ctx, d)
	if err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	if wrong == "" {
		return nil
	}
	return fmt.Errorf("undo %s: read back: %s", u.what(), wrong)
}

// restore writes the old state once.
func (u *settingUndo) restore(ctx context.Context, d *Device) error {
	switch {
	case u.Old != nil:
		if err := d.putSetting(ctx, u.Namespace, u.Key, *u.Old); err != nil {
			return err
		}
	case u.proxy():
		// Deleting alone leaves the proxy in force until the next restart.
		if err := d.putSetting(ctx, u.Namespace, u.Key, noProxy); err != nil {
			return err
		}
		fallthrough
	default:
		if err := d.deleteSetting(ctx, u.Namespace, u.Key); err != nil {
			return err
		}
	}
	if !u.proxy() {
		return nil
	}
	for _, key := range proxyCompanions() {
		if old := u.Others[key]; old != nil {
			if err := d.putSetting(ctx, u.Namespace, key, *old); err != nil {
				return err
			}
			continue
		}
		if err := d.deleteSetting(ctx, u.Namespace, key); err != nil {
			return err
		}
	}
	return nil
}

// differs says what is not as it was, empty when all is.
func (u *settingUndo) differs(ctx context.Context, d *Device) (string, error) {
	want := map[string]*string{u.Key: u.Old}
	if u.proxy() {
		for _, key := range proxyCompanions() {
			want[key] = u.Others[key]
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, ok, err := d.Setting(ctx, u.Namespace, key)
		if err != nil {
			return "", err
		}
		old := want[key]
		switch {
		case old == nil && !ok, old != nil && ok && value == *old:
		case old == nil && key != u.Key && (value == "" || value == "0"):
			// Android writes these itself for "no proxy".
		case old == nil:
			return fmt.Sprintf("%s %s is %q, it was not set", u.Namespace, key, value), nil
		default:
			return fmt.Sprintf("%s %s is %s, it was %q", u.Namespace, key, shown(value, ok), *old), nil
		}
	}
	return "", nil
}

// A StrayProxyError says that the phone's proxy leads to its own loopback, where
// no tunnel to a host begins: what uses the proxy is cut off from the network, or
// goes through an app that nobody named.
type StrayProxyError struct{ Serial, Proxy string }

func (e *StrayProxyError) Error() string {
	return fmt.Sprintf("devices: phone %s: its proxy is %s, to which no tunnel of a host belongs: apps that use it are cut off: take it away with `adb -s %s shell settings put global %s %s`", e.Serial, e.Proxy, e.Serial, proxyKey, noProxy)
}

// CheckProxy looks whether a run, here or on another host, left the phone a proxy
// that leads nowhere: a *StrayProxyError.
func (d *Device) CheckProxy(ctx context.Context) error {
	value, ok, err := d.Setting(ctx, "global", proxyKey)
	if err != nil || !ok || !ownProxy(value) {
		return err
	}
	tunnels, err := d.ReverseList(ctx)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(strings.TrimSpace(value)) // ownProxy has read it.
	for _, t := range tunnels {
		if strconv.Itoa(t.DevicePort) == port {
			return nil
		}
	}
	return &StrayProxyError{Serial: d.serial, Proxy: value}
}
