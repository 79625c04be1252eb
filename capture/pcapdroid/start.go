package pcapdroid

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

const (
	// startPoll is how often a recording that begins or ends is looked at.
	startPoll = 150 * time.Millisecond
	// askPatience is how long PCAPdroid's own window may be in front: it is so for a
	// moment at every intent.
	askPatience = 3 * time.Second
)

// Start has the app record and returns when it does: its service runs, its tunnel
// is up, and a question that the phone asked has come back in its packets. The
// packets are appended to a new file in dir, pcapdroid.pcap unless there is one.
func (b *Backend) Start(ctx context.Context, dir string) (capture.Session, error) {
	if why := CheckKey(b.o.APIKey); why != "" {
		return nil, fmt.Errorf("pcapdroid: start: the API key cannot be right: %s", why)
	}
	was, err := b.state(ctx)
	if err != nil {
		return nil, err
	}
	if was.tunnel != "" || len(was.others) > 0 {
		return nil, fmt.Errorf("%w: a VPN is up already: end it", ErrNotReady)
	}
	six, err := b.hasSix(ctx)
	if err != nil {
		return nil, err
	}
	rec, err := packets.Create(dir, b.phone, packets.Options{
		Name: Name, Where: "PCAPdroid's VPN", BeaconTries: b.o.BeaconTries, BeaconWait: b.o.BeaconWait, Via: Package,
	})
	if err != nil {
		return nil, err
	}
	s := newSession(b, rec)
	script := startIntent(b.o, s.name, six)
	if err := b.phone.Begin(ctx, "log -t offproof "+s.mark+"; "+script, s.file); err != nil {
		return nil, s.undo(ctx, fmt.Errorf("pcapdroid: start: %w", b.o.hide(err)))
	}
	if s.tunnel, err = b.untilUp(ctx); err != nil {
		return nil, s.undo(ctx, err)
	}
	if err := s.begin(ctx); err != nil {
		return nil, s.undo(ctx, err)
	}
	first := "start" + strings.ToLower(rand.Text())[:16]
	if _, err := rec.Beacon(ctx, first); err != nil {
		return nil, s.undo(ctx, s.whyNothing(err))
	}
	s.bound(ctx)
	return s, nil
}

// hasSix says whether the phone has an address of IPv6 by which apps reach the
// internet. A VPN without one would keep them from it, and one with it where the
// network has none would have them fail.
func (b *Backend) hasSix(ctx context.Context) (bool, error) {
	out, _, _, err := b.phone.Run(ctx, "ip -o -6 addr")
	if err != nil {
		return false, fmt.Errorf("pcapdroid: ask for the phone's addresses: %w", err)
	}
	return globalSix.Match(out), nil
}

var globalSix = regexp.MustCompile(`(?m)^\d+: +\S+\s+inet6 [23][0-9a-f]{3}:\S+ scope global`)

// startIntent is the command that has the app record all apps' packets whole.
func startIntent(o Options, name string, six bool) string {
	mode := []string{"-e pcap_dump_mode pcap_file", "-e pcap_name " + name}
	if o.Isolated {
		mode = []string{"-e pcap_dump_mode http_server", "-e http_server_port " + strconv.Itoa(o.Port)}
	}
	ip := "ipv4"
	if six {
		ip = "both"
	}
	return intent(o, "start", append(mode,
		"-e dump_extensions true", "-e pcapdroid_trailer true", "-e snaplen 0", "-e max_pkts_per_flow 0", "-e max_dump_size 0",
		"-e ip_mode "+ip, "-e auto_block_private_dns false", "-e block_quic never", "-e tls_decryption false", "-e root_capture false",
		"-e pcapng_format false", "-e socks5_enabled false")...)
}

// intent is the command of one intent. Its key is a word of letters and digits.
func intent(o Options, action string, extras ...string) string {
	all := append([]string{"am start -e action " + action, "-e api_key " + o.APIKey}, extras...)
	return strings.Join(append(all, "-n "+control), " ")
}

// hide keeps the key out of an error's text, which may quote a script.
func (o Options) hide(err error) error {
	if err == nil || !strings.Contains(err.Error(), o.APIKey) {
		return err
	}
	return &hiddenError{err, strings.ReplaceAll(err.Error(), o.APIKey, "...")}
}

// A hiddenError is an error in other words.
type hiddenError struct {
	err  error
	text string
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

// upScript says whether the app records, and which window is in front.
const upScript = stateScript + "; echo ---; dumpsys activity services " + Package + "; echo ---; dumpsys activity activities | grep esumedActivity"

// untilUp waits until the service runs and the tunnel is up, and returns the
// tunnel's name.
func (b *Backend) untilUp(ctx context.Context) (string, error) {
	deadline := time.NewTimer(b.o.ReadyWait)
	defer deadline.Stop()
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	var asked time.Time
	last := "the phone was not asked"
	for {
		out, _, _, err := b.phone.Run(ctx, upScript)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrNotReady, err)
		}
		parts := strings.SplitN(string(out), "---\n", 3)
		if len(parts) == 3 {
			now, ok := parseState(parts[0])
			serves := strings.Contains(parts[1], service)
			if ok && now.tunnel != "" && serves {
				return now.tunnel, nil
			}
			last = fmt.Sprintf("its service runs: %t, its tunnel: %q", serves, now.tunnel)
			switch window(parts[2]) {
			case windowVPN:
				b.close(ctx, windowVPN)
				return "", fmt.Errorf("%w: %w whether PCAPdroid may be the VPN: press Start in the app once and accept", ErrNotReady, ErrAsks)
			case windowControl:
				if asked.IsZero() {
					asked = time.Now()
				} else if time.Since(asked) > askPatience {
					b.close(ctx, windowControl)
					return "", fmt.Errorf("%w: %w whether PCAPdroid may be controlled: api_key in farm.yaml is not the app's: copy it from Settings > Control permissions > API key", ErrNotReady, ErrAsks)
				}
			default:
				asked = time.Time{}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
		case <-deadline.C:
			return "", fmt.Errorf("%w: PCAPdroid did not begin within %v (%s): open the app once, let it run in the background without battery limits", ErrNotReady, b.o.ReadyWait, last)
		}
	}
}

// close takes away a window that nobody is going to answer. It is not answered.
func (b *Backend) close(ctx context.Context, pkg string) {
	// One that stays is said to be there by the error that follows.
	_, _, _, _ = b.phone.Run(context.WithoutCancel(ctx), "am force-stop "+pkg)
}

// undo ends what a start that failed has begun.
func (s *session) undo(ctx context.Context, err error) error {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	_, stopErr := s.Stop(ctx)
	return errors.Join(err, stopErr, os.Remove(s.Path()))
}

// whyNothing puts into words why a beacon was not seen.
func (s *session) whyNothing(err error) error {
	s.mu.Lock()
	size := s.offset
	s.mu.Unlock()
	if size == 0 && errors.Is(err, packets.ErrBeaconUnseen) {
		return fmt.Errorf("%w: PCAPdroid runs and writes nothing (a known fault when it is started by an intent): update it, "+
			"open it once and press Start by hand, or use isolated: true in farm.yaml where the network is: %w", ErrNotReady, err)
	}
	return fmt.Errorf("%w: %w", ErrNotReady, err)
}
