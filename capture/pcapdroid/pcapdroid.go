// Package pcapdroid records a phone's packets with the app PCAPdroid, which
// becomes the phone's VPN: the way that is left on a phone without root.
//
// What it records are the packets at the app side of that VPN: who sent what to
// whom, with the owner's user id behind each packet, but not the addresses of the
// wire. The phone then runs with a VPN, which its firmware can notice.
//
// The app is driven by its documented intents. What it answers to them reaches
// only the app that asked, and a shell is none: so whether it records is read
// from Android (the app's foreground service, the tunnel's address), and whether
// it lost something from the kernel's counters of the tunnel, which the app does
// not keep itself.
package pcapdroid

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

// Name is the backend's word in farm.yaml.
const Name = "pcapdroid"

// Package is the app's name on the phone.
const Package = "com.emanuelef.remote_capture"

const (
	control = Package + "/.activities.CaptureCtrl"
	service = Package + "/.CaptureService"
	// folder is where the app puts its dumps.
	folder = "/sdcard/Download/PCAPdroid"
	// address is the tunnel's, by which it is told from other VPNs.
	address = "10.215.173.1"
)

// keySince is the first version that takes an API key: an older one shows a
// window at every intent.
var keySince = [3]int{1, 8, 6}

// Errors that callers may tell apart with errors.Is.
var (
	// ErrNotReady is returned by Start when the app did not record in time, or
	// recorded nothing.
	ErrNotReady = errors.New("pcapdroid: did not become ready")
	// ErrAsks is returned by Start, beside ErrNotReady, when a window on the phone
	// asks its owner, who has to answer once.
	ErrAsks = errors.New("pcapdroid: the phone asks its owner")
	// ErrStillRuns is returned by Stop when the app still records.
	ErrStillRuns = errors.New("pcapdroid: it still records")
)

// A Phone runs shell scripts and is changed through its journal. Its methods may
// be called concurrently.
type Phone interface {
	packets.Phone

	// Begin runs a script that has PCAPdroid record into a file of the phone, empty
	// for none, after it has been noted how to end that and to remove the file.
	Begin(ctx context.Context, script, file string) error

	// Restore ends the recording of Begin in whatever way, and removes its file. It
	// may be called again, and without Begin.
	Restore(ctx context.Context) error

	// Forward makes a port of this host's loopback lead to one of the phone's until
	// it is closed, and returns host:port.
	Forward(ctx context.Context, devicePort int) (hostAddr string, close func() error, err error)
}

// Options change how the backend works. APIKey is needed; of the rest the zero
// value is useful.
type Options struct {
	// APIKey is what PCAPdroid shows at Settings > Control permissions > API key.
	APIKey string
	// Isolated is true where nobody else is on the phone's network. Then the packets
	// are streamed by PCAPdroid's HTTP server, which listens on every address of the
	// phone; otherwise it writes a file that is read over ADB.
	Isolated bool
	// Port is that of the server on the phone, 8080 when zero.
	Port int
	// ReadyWait bounds the wait for the recording to begin, 20 s when zero, and
	// StopWait that for its end, 10 s when zero.
	ReadyWait, StopWait time.Duration
	// PollEvery is how often the file and the tunnel are looked at, 500 ms when
	// zero.
	PollEvery time.Duration
	// LostWait is how long the phone may be away before the recording counts as
	// ended, a minute when zero: the app goes on without its host.
	LostWait time.Duration
	// BeaconTries is how often a beacon's question is asked, 4 when zero, and
	// BeaconWait how long each is waited for, 5 s when zero: the app holds packets
	// back for a second.
	BeaconTries int
	BeaconWait  time.Duration
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		of    *time.Duration
		usual time.Duration
	}{
		{&o.ReadyWait, 20 * time.Second},
		{&o.StopWait, 10 * time.Second},
		{&o.PollEvery, 500 * time.Millisecond},
		{&o.LostWait, time.Minute},
		{&o.BeaconWait, 5 * time.Second},
	} {
		if *d.of <= 0 {
			*d.of = d.usual
		}
	}
	if o.Port <= 0 {
		o.Port = 8080
	}
	return o
}

// A Backend records one phone's packets.
type Backend struct {
	phone Phone
	o     Options
}

var _ capture.Backend = (*Backend)(nil)

// New returns a backend for a phone.
func New(phone Phone, o Options) *Backend { return &Backend{phone: phone, o: o.withDefaults()} }

// Name returns "pcapdroid".
func (b *Backend) Name() string { return Name }

// key is what the app makes.
var key = regexp.MustCompile(`^[A-Za-z0-9]{16,128}$`)

// CheckKey says in words what is wrong with an API key, empty when nothing is.
func CheckKey(text string) string {
	switch {
	case text == "":
		return "there is none: make one in PCAPdroid at Settings > Control permissions > API key, and write it as pcapdroid: {api_key: ...} beside the phone in farm.yaml"
	case !key.MatchString(text):
		return "it is not of letters and digits as PCAPdroid makes them: copy it from Settings > Control permissions > API key"
	}
	return ""
}

// Probe says whether the app is installed and new enough, whether it may be the
// VPN, and whether another one is in its way.
func (b *Backend) Probe(ctx context.Context) (capture.Ability, error) {
	if why := CheckKey(b.o.APIKey); why != "" {
		return capture.Ability{Reason: "PCAPdroid's API key cannot be right: " + why}, nil
	}
	ask := func(what, script string) (string, error) {
		out, stderr, _, err := b.phone.Run(ctx, script)
		if err != nil {
			return "", fmt.Errorf("pcapdroid: ask for %s: %w", what, err)
		}
		return string(out) + string(stderr), nil
	}
	text, err := ask("the app", "dumpsys package "+Package+" | grep versionName=")
	if err != nil {
		return capture.Ability{}, err
	}
	version := versionName(text)
	switch {
	case version == "":
		return capture.Ability{Reason: "PCAPdroid is not installed: install it from its releases, from F-Droid or from the Play Store"}, nil
	case older(version, keySince):
		return capture.Ability{Reason: fmt.Sprintf("PCAPdroid is of version %s, and takes an API key from 1.8.6 on: update it", version)}, nil
	}
	if text, err = ask("the consent", "appops get "+Package+" ACTIVATE_VPN"); err != nil {
		return capture.Ability{}, err
	}
	if mode := consent(text); mode != "" && mode != "allow" {
		return capture.Ability{Reason: "nobody has allowed PCAPdroid to be the phone's VPN: press Start in the app once and accept Android's question"}, nil
	}
	if text, err = ask("an always-on VPN", "settings get secure always_on_vpn_app"); err != nil {
		return capture.Ability{}, err
	}
	if app := strings.TrimSpace(text); app != "" && app != "null" && app != Package {
		return capture.Ability{Reason: fmt.Sprintf("%s is the phone's always-on VPN, and Android allows one only: switch it off in Settings > VPN", packets.Excerpt([]byte(app)))}, nil
	}
	state, err := b.state(ctx)
	if err != nil {
		return capture.Ability{}, err
	}
	switch {
	case state.tunnel != "":
		return capture.Ability{Reason: "PCAPdroid records already, for somebody else or since an earlier run: stop it in the app"}, nil
	case len(state.others) > 0:
		return capture.Ability{Reason: fmt.Sprintf("another VPN is up, on %s, and Android allows one only: end it", strings.Join(state.others, ", "))}, nil
	}
	return capture.Ability{OK: true, Sees: "what apps send, at the app side of PCAPdroid " + version + "'s VPN"}, nil
}

// state is what Android says of VPNs now.
func (b *Backend) state(ctx context.Context) (state, error) {
	out, stderr, _, err := b.phone.Run(ctx, stateScript)
	if err != nil {
		return state{}, fmt.Errorf("pcapdroid: look for VPNs: %w", err)
	}
	s, ok := parseState(string(out))
	if !ok {
		return state{}, fmt.Errorf("pcapdroid: look for VPNs: the phone says %s", packets.Excerpt(append(out, stderr...)))
	}
	return s, nil
}

var nameOfVersion = regexp.MustCompile(`versionName=(\S+)`)

// versionName is the app's version out of dumpsys package, empty for none.
func versionName(text string) string {
	m := nameOfVersion.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}

// older says whether a version such as 1.8.5 or 1.9.0-beta1 comes before
// another. What is no version is not older.
func older(version string, than [3]int) bool {
	var have [3]int
	for i, part := range strings.SplitN(version, ".", 3) {
		digits := strings.TrimLeft(part, "v")
		if n := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); n >= 0 {
			digits = digits[:n]
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			return false
		}
		have[i] = n
	}
	return slices.Compare(have[:], than[:]) < 0
}

var (
	mode        = regexp.MustCompile(`ACTIVATE_VPN: (\w+)`)
	defaultMode = regexp.MustCompile(`Default mode: (\w+)`)
)

// consent is the mode of the operation that makes an app the VPN, empty where
// the phone does not say.
func consent(text string) string {
	for _, r := range []*regexp.Regexp{mode, defaultMode} {
		if m := r.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	}
	return ""
}
