package pcapdroid

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// stateScript says what tunnels there are, with their counters and addresses.
const stateScript = "cat /proc/net/dev; ip -o -4 addr"

// A state is what Android says of tunnels at one moment.
type state struct {
	// tunnel is PCAPdroid's interface, empty for none; passed counts the packets
	// that went through it in both directions, nil where that cannot be read.
	tunnel string
	passed *int64
	// others are the interfaces of other VPNs.
	others []string
}

var (
	addressLine = regexp.MustCompile(`(?m)^\d+: +([A-Za-z0-9_.-]{1,15})\s+inet (\d+\.\d+\.\d+\.\d+)`)
	vpnName     = regexp.MustCompile(`^(?:tun|ppp|wg|ipsec)\d+$`)
)

// parseState reads the answer to stateScript. False means that it is not whole,
// so that the absence of a tunnel in it means nothing.
func parseState(text string) (state, bool) {
	if !strings.Contains(text, "Inter-|") || !addressLine.MatchString(text) {
		return state{}, false
	}
	var s state
	for _, m := range addressLine.FindAllStringSubmatch(text, -1) {
		if m[2] == address {
			s.tunnel = m[1]
		}
	}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		fields := strings.Fields(rest)
		if !ok || len(fields) < 16 {
			continue
		}
		if name != s.tunnel {
			if vpnName.MatchString(name) {
				s.others = append(s.others, name)
			}
			continue
		}
		in, errIn := strconv.ParseInt(fields[1], 10, 64)
		out, errOut := strconv.ParseInt(fields[9], 10, 64)
		if sum := in + out; errIn == nil && errOut == nil && in >= 0 && out >= 0 && sum >= 0 {
			s.passed = &sum
		}
	}
	slices.Sort(s.others)
	return s, true
}

// stopped is what the app says to the log at the end of a recording.
var stopped = regexp.MustCompile(`notifyCaptureStopped: (\d+) pkts`)

// counted is how many packets the app says that its recording had, out of the log
// lines behind a mark; nil where it does not say.
func counted(log, mark string) *int64 {
	at := strings.LastIndex(log, mark)
	if mark == "" || at < 0 {
		return nil
	}
	m := stopped.FindStringSubmatch(log[at:])
	if m == nil {
		return nil
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

// The windows that may stand in the way.
const (
	windowNone    = ""
	windowControl = Package                  // PCAPdroid asks whether it may be controlled
	windowVPN     = "com.android.vpndialogs" // Android asks whether the app may be the VPN
)

var resumed = regexp.MustCompile(`esumedActivity[:=].*?ActivityRecord\{\S+ u\d+ ([^\s/]+)/(\S+)`)

// window says which of them is in front, out of dumpsys activity activities.
func window(text string) string {
	m := resumed.FindStringSubmatch(text)
	switch {
	case m == nil:
		return windowNone
	case m[1] == windowVPN:
		return windowVPN
	case m[1] == windowControl && strings.HasSuffix(m[2], "CaptureCtrl"):
		return windowControl
	}
	return windowNone
}
