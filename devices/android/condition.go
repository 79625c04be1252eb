package android

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNetworks bounds how many networks of one dump are kept.
const maxNetworks = 64

// A Disk is one line of df, in bytes.
type Disk struct {
	Size uint64 `json:"size"`
	Free uint64 `json:"free"`
}

// ParseDF reads `df -k PATH`: the size of the file system and what an app may
// still write. A device name that is too long for its column has a line of its
// own. The sizes of toolbox before Android 6, such as 12.5G, are an ErrFormat.
func ParseDF(text string) (Disk, error) {
	header, rest, ok := strings.Cut(strings.TrimSpace(text), "\n")
	if !ok || !strings.Contains(header, "1K-blocks") && !strings.Contains(header, "1024-blocks") {
		return Disk{}, fmt.Errorf("android: read df: %w", ErrFormat)
	}
	fields := strings.Fields(rest)
	for i := 1; i+2 < len(fields); i++ {
		// Size, used and available stand behind the device's name.
		var n [3]uint64
		var err error
		for j := range n {
			if n[j], err = strconv.ParseUint(fields[i+j], 10, 53); err != nil {
				break
			}
		}
		if err != nil {
			continue
		}
		const block = 1024
		if n[2] > n[0] {
			return Disk{}, fmt.Errorf("android: read df: more is free than there is: %w", ErrFormat)
		}
		return Disk{Size: n[0] * block, Free: n[2] * block}, nil
	}
	return Disk{}, fmt.Errorf("android: read df: no line with numbers: %w", ErrFormat)
}

// ParseWakefulness finds in `dumpsys power` whether the phone is Awake, Asleep,
// Dreaming or Dozing; false when the text does not say.
func ParseWakefulness(text string) (string, bool) {
	return value(text, "mWakefulness=")
}

// value is what stands behind the key at the beginning of a line, up to a
// blank; false when no line begins so or nothing follows.
func value(text, key string) (string, bool) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			word, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
			return word, word != ""
		}
	}
	return "", false
}

// truth is value for true and false, nil for anything else.
func truth(text, key string) *bool {
	word, _ := value(text, key)
	b, err := strconv.ParseBool(word)
	if err != nil || word != "true" && word != "false" {
		return nil
	}
	return &b
}

// ParseKeyguard finds in `dumpsys window policy` whether the lock screen is in
// front, nil when the text does not say. Of two lines that disagree the one that
// says locked counts.
func ParseKeyguard(text string) *bool {
	var showing *bool
	for _, key := range []string{"mIsShowing=", "showing=", "mShowingLockscreen=", "mKeyguardShowing="} {
		if b := truth(text, key); b != nil && (showing == nil || *b) {
			showing = b
		}
	}
	return showing
}

// A NetworkState is one network that Android is connected to.
type NetworkState struct {
	ID         string   `json:"id"`
	Interface  string   `json:"interface,omitempty"`
	Transports []string `json:"transports,omitempty"` // WIFI, CELLULAR, VPN, ...
	// Validated says that Android reached the internet through it.
	Validated bool `json:"validated"`
	// Default is true for the network that apps use which choose none.
	Default bool `json:"default"`
	// PrivateDNS is true where lookups go over TLS; PrivateDNSServer names the
	// resolver where the phone's owner chose one.
	PrivateDNS       bool   `json:"private_dns,omitempty"`
	PrivateDNSServer string `json:"private_dns_server,omitempty"`
}

// ParseNetworks reads the section "Current Networks:" of `dumpsys connectivity`,
// as Android 9 and later write it. No network at all is an empty list; a text
// without the section is an ErrFormat.
func ParseNetworks(text string) ([]NetworkState, error) {
	chosen, _ := value(text, "Active default network:")
	var (
		out    []NetworkState
		inside bool
		found  bool
	)
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "Current Networks:" {
			inside, found = true, true
			continue
		}
		if inside && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
			inside = false
		}
		if !inside || !strings.Contains(line, "NetworkAgentInfo{") {
			continue
		}
		n := NetworkState{
			ID: between(line, "network{", "}"), Interface: between(line, "InterfaceName: ", " "),
			PrivateDNS: strings.Contains(line, "UsePrivateDns: true"), PrivateDNSServer: between(line, "PrivateDnsServerName: ", " "),
		}
		if t := between(line, "Transports: ", " "); t != "" {
			n.Transports = strings.Split(t, "|")
		}
		n.Validated = slices.Contains(strings.Split(between(line, "Capabilities: ", " "), "&"), "VALIDATED")
		n.Default = n.ID != "" && n.ID == chosen
		if out = append(out, n); len(out) > maxNetworks {
			return nil, fmt.Errorf("android: read networks: more than %d: %w", maxNetworks, ErrFormat)
		}
	}
	if !found {
		return nil, fmt.Errorf("android: read networks: %w", ErrFormat)
	}
	return out, nil
}

// between is the text behind the first open and before the next end.
func between(line, open, end string) string {
	_, rest, ok := strings.Cut(line, open)
	if !ok {
		return ""
	}
	word, _, ok := strings.Cut(rest, end)
	if !ok {
		return strings.TrimSpace(rest)
	}
	return word
}

// ParseBluetooth finds in `dumpsys bluetooth_manager` whether Bluetooth is on,
// nil when the text does not say.
func ParseBluetooth(text string) *bool { return truth(text, "enabled:") }

// ParseNFC finds in `dumpsys nfc` whether NFC is on, nil when the text does not
// say. A state on the way, such as "turning on", counts as on.
func ParseNFC(text string) *bool {
	state, ok := value(text, "mState=")
	if !ok {
		return nil
	}
	on := state != "off"
	return &on
}
