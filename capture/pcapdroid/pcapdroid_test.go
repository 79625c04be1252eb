package pcapdroid_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
	"github.com/offproof/offproof/capture/pcapdroid"
)

// quick are options of which no wait lasts.
func quick() pcapdroid.Options {
	return pcapdroid.Options{
		APIKey: apiKey, ReadyWait: time.Second, StopWait: 300 * time.Millisecond, PollEvery: 10 * time.Millisecond, LostWait: 100 * time.Millisecond,
		BeaconTries: 2, BeaconWait: 400 * time.Millisecond,
	}
}

func start(t *testing.T, p *fakePhone, o pcapdroid.Options) capture.Session {
	t.Helper()
	s, err := pcapdroid.New(p, o).Start(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Stop(context.WithoutCancel(t.Context())) }) // The tests have looked.
	return s
}

// TestProbe: each reason says what to do.
func TestProbe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *fakePhone, o *pcapdroid.Options)
		reason string
	}{
		"all is well":              {func(*fakePhone, *pcapdroid.Options) {}, ""},
		"an unknown consent":       {func(p *fakePhone, _ *pcapdroid.Options) { p.op = "Error: Unknown operation string\n" }, ""},
		"a version of its own":     {func(p *fakePhone, _ *pcapdroid.Options) { p.version = "git-1234" }, ""},
		"its own always-on VPN":    {func(p *fakePhone, _ *pcapdroid.Options) { p.alwaysOn = app + "\n" }, ""},
		"no key":                   {func(_ *fakePhone, o *pcapdroid.Options) { o.APIKey = "" }, "Settings > Control permissions > API key"},
		"a key that is none":       {func(_ *fakePhone, o *pcapdroid.Options) { o.APIKey = "x; reboot" }, "copy it from"},
		"no app":                   {func(p *fakePhone, _ *pcapdroid.Options) { p.version = "" }, "install it"},
		"an old app":               {func(p *fakePhone, _ *pcapdroid.Options) { p.version = "1.8.5" }, "update it"},
		"no consent":               {func(p *fakePhone, _ *pcapdroid.Options) { p.op = "No operations.\nDefault mode: ignore\n" }, "accept Android's question"},
		"a consent that was taken": {func(p *fakePhone, _ *pcapdroid.Options) { p.op = "ACTIVATE_VPN: ignore; time=+1d ago\n" }, "accept Android's question"},
		"an always-on VPN":         {func(p *fakePhone, _ *pcapdroid.Options) { p.alwaysOn = "org.torproject.android\n" }, "org.torproject.android is the phone's always-on VPN"},
		"another VPN":              {func(p *fakePhone, _ *pcapdroid.Options) { p.others = "  tun1: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n" }, "another VPN is up, on tun1"},
		"a recording":              {func(p *fakePhone, _ *pcapdroid.Options) { p.up = true }, "stop it in the app"},
	} {
		p, o := newPhone(), quick()
		c.change(p, &o)
		a, err := pcapdroid.New(p, o).Probe(t.Context())
		if err != nil || a.OK != (c.reason == "") || !strings.Contains(a.Reason, c.reason) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if n := p.ran("am "); n > 0 {
			t.Errorf("%s: a probe changed the phone", name)
		}
	}
	p := newPhone()
	p.lost = true
	if _, err := pcapdroid.New(p, quick()).Probe(t.Context()); !errors.Is(err, errLost) {
		t.Errorf("a lost phone: %v", err)
	}
}

// TestRecords follows a recording by each of the two ways.
func TestRecords(t *testing.T) {
	for _, isolated := range []bool{false, true} {
		for _, six := range []bool{false, true} {
			p, o := newPhone(), quick()
			p.six, o.Isolated, p.kernel = six, isolated, 3
			s := start(t, p, o)
			for _, nonce := range []string{"one", "two"} {
				if _, err := s.Beacon(t.Context(), nonce); err != nil {
					t.Fatal(err)
				}
			}
			if trace, err := s.Read(t.Context()); err != nil || trace.Health.Packets != 3 || trace.Health.Dropped != nil || !trace.Inside || trace.Tunnel != "tun0" {
				t.Errorf("%+v, %v", trace, err)
			}
			trace, err := s.Stop(t.Context())
			h := trace.Health
			if err != nil || h.Packets != 3 || h.Truncated || len(h.Problems) > 0 || h.Dropped == nil || *h.Dropped != 0 || !trace.Inside || trace.Tunnel != "tun0" || len(trace.Beacons) != 3 {
				t.Errorf("isolated %t: %+v, %v", isolated, trace, err)
			}
			if again, err := s.Stop(t.Context()); err != nil || again.Health.Packets != 3 {
				t.Errorf("again: %+v, %v", again, err)
			}
			if b, err := os.ReadFile(trace.Packets); err != nil || len(b) < 24 {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			// What the intent asks for, and what it never does.
			for part, want := range map[string]bool{
				"-e api_key " + apiKey + " -e pcap_dump_mode pcap_file -e pcap_name offproof-":     !isolated,
				"-e api_key " + apiKey + " -e pcap_dump_mode http_server -e http_server_port 8080": isolated,
				"-e dump_extensions true": true, "-e snaplen 0": true, "-e auto_block_private_dns false": true, "-e ip_mode both": six, "-e ip_mode ipv4": !six,
				"-e block_quic never": true, "app_filter": false, "-e action stop -e api_key " + apiKey: true,
			} {
				if got := p.ran(part) > 0; got != want {
					t.Errorf("isolated %t, six %t: an intent with %q: %t", isolated, six, part, got)
				}
			}
			if p.up || p.dump != nil {
				t.Error("something is left on the phone")
			}
		}
	}
}

// TestStartFails: no start returns a session that hears nothing, and none leaves
// anything behind.
func TestStartFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *fakePhone, o *pcapdroid.Options)
		is     error
		says   string
	}{
		"no key":       {func(_ *fakePhone, o *pcapdroid.Options) { o.APIKey = "" }, nil, "API key"},
		"a lost phone": {func(p *fakePhone, _ *pcapdroid.Options) { p.lost = true }, errLost, ""},
		"another VPN":  {func(p *fakePhone, _ *pcapdroid.Options) { p.others = "  tun1: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n" }, pcapdroid.ErrNotReady, "end it"},
		"Android asks": {func(p *fakePhone, _ *pcapdroid.Options) { p.window = "com.android.vpndialogs/.ConfirmDialog" }, pcapdroid.ErrAsks, "press Start"},
		"PCAPdroid asks": {func(p *fakePhone, o *pcapdroid.Options) {
			p.window, o.ReadyWait = app+"/.activities.CaptureCtrl", time.Minute
		}, pcapdroid.ErrAsks, "api_key"},
		"nothing happens":    {func(p *fakePhone, _ *pcapdroid.Options) { p.window = "com.miui.home/.launcher.Launcher" }, pcapdroid.ErrNotReady, "did not begin within 1s"},
		"an empty dump":      {func(p *fakePhone, _ *pcapdroid.Options) { p.deaf = true }, pcapdroid.ErrNotReady, "writes nothing"},
		"a deaf server":      {func(p *fakePhone, o *pcapdroid.Options) { p.deaf, o.Isolated = true, true }, pcapdroid.ErrNotReady, "beacon was not seen"},
		"a server that errs": {func(p *fakePhone, o *pcapdroid.Options) { p.status, o.Isolated = 403, true }, pcapdroid.ErrNotReady, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, o := newPhone(), quick()
			c.change(p, &o)
			dir := t.TempDir()
			_, err := pcapdroid.New(p, o).Start(t.Context(), dir)
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 || p.up || p.dump != nil {
				t.Errorf("left: %v, up %t", left, p.up)
			}
			if p.window != "" && p.ran("action stop") > 0 {
				t.Error("an intent more was one question more")
			}
			if strings.Contains(err.Error(), apiKey) {
				t.Errorf("the key is shown: %v", err)
			}
		})
	}
}

// TestEnds: each bad end of a recording is in its health.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(p *fakePhone, o *pcapdroid.Options)
		harm   func(p *fakePhone) // while it records
		died   bool
		check  func(h capture.Health, err error) bool
		says   string
	}{
		"another VPN": {nil, func(p *fakePhone) {
			p.halt()
			p.others = "  tun1: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n"
		}, true, nil, "another app's is up on tun1"},
		"by hand":                {nil, (*fakePhone).halt, true, nil, "by another app or by hand"},
		"by hand, at the server": {func(_ *fakePhone, o *pcapdroid.Options) { o.Isolated = true }, (*fakePhone).halt, true, nil, "by another app or by hand"},
		"the phone is away":      {nil, func(p *fakePhone) { p.lost = true }, true, func(_ capture.Health, err error) bool { return err == nil }, "the phone was away"},
		"the file is removed":    {nil, func(p *fakePhone) { p.dump = nil }, true, nil, "somebody removed it"},
		"no pcap any more":       {nil, func(p *fakePhone) { p.dump = append(p.dump, "0123456789abcdefghijklmnopqrstuvwxyz"...) }, true, nil, "absurd"},
		"a cut record":           {func(p *fakePhone, _ *pcapdroid.Options) { p.cutAtStop = true }, nil, false, func(h capture.Health, _ error) bool { return h.Truncated }, "inside a packet record"},
		"it does not stop": {func(p *fakePhone, _ *pcapdroid.Options) { p.stubborn = true }, nil, false, func(h capture.Health, err error) bool {
			return h.Truncated && errors.Is(err, pcapdroid.ErrStillRuns)
		}, ""},
		"packets that only the kernel counts": {nil, func(p *fakePhone) {
			p.drop = true
			for range 5 {
				p.packet(question("a.example"))
			}
			p.drop = false
		}, false, func(h capture.Health, _ error) bool { return h.Dropped != nil && *h.Dropped == 5 && !h.Truncated }, "at least 5"},
		"packets that only the app counts": {func(p *fakePhone, _ *pcapdroid.Options) { p.counts = 7 }, nil, false, func(h capture.Health, _ error) bool {
			return h.Dropped != nil && *h.Dropped == 7
		}, ""},
		"counters that cannot be read": {func(p *fakePhone, _ *pcapdroid.Options) { p.silent = true }, nil, false, func(h capture.Health, _ error) bool {
			return h.Dropped == nil && !h.Truncated
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, o := newPhone(), quick()
			if c.change != nil {
				c.change(p, &o)
			}
			s := start(t, p, o)
			if c.harm != nil {
				p.do(func() { c.harm(p) })
			}
			if c.died {
				select {
				case <-s.Done():
				case <-time.After(2 * time.Minute):
					t.Fatal("nobody noticed")
				}
				if _, err := s.Beacon(t.Context(), "late"); !errors.Is(err, packets.ErrEnded) {
					t.Errorf("a beacon afterwards: %v", err)
				}
			}
			trace, err := s.Stop(t.Context())
			h := trace.Health
			if c.died && (!h.Truncated || h.Died.IsZero()) || c.check != nil && !c.check(h, err) || c.check == nil && err != nil {
				t.Errorf("%+v, %v", h, err)
			}
			if words := strings.Join(h.Problems, "; "); !strings.Contains(words, c.says) || c.says == "" && words != "" {
				t.Errorf("problems: %s", words)
			}
			if p.up {
				t.Error("it still records")
			}
		})
	}
}

// TestAwayForAMoment: the app goes on while its host is away, and nothing is
// lost.
func TestAwayForAMoment(t *testing.T) {
	p, o := newPhone(), quick()
	o.LostWait = time.Minute
	s := start(t, p, o)
	p.do(func() {
		p.lost = true
		p.packet(question("a.example"))
	})
	if _, err := s.Read(t.Context()); !errors.Is(err, errLost) {
		t.Errorf("%v", err)
	}
	p.do(func() { p.lost = false })
	if _, err := s.Beacon(t.Context(), "back"); err != nil {
		t.Fatal(err)
	}
	if trace, err := s.Stop(t.Context()); err != nil || trace.Health.Truncated || trace.Health.Packets != 3 || *trace.Health.Dropped != 0 {
		t.Errorf("%+v, %v", trace.Health, err)
	}
}

// TestReaders reads texts of real phones.
func TestReaders(t *testing.T) {
	for version, old := range map[string]bool{"1.8.5": true, "1.8.6": false, "1.8.6-beta1": false, "1.9.0": false, "1.10.2": false, "2.0": false, "1.8": true, "0.9.9": true, "v1.7.6": true, "": false, "x": false} {
		if pcapdroid.Older(version, [3]int{1, 8, 6}) != old {
			t.Errorf("%q is older: %t", version, !old)
		}
	}
	for text, want := range map[string]string{
		"  mResumedActivity: ActivityRecord{90d3d50 u0 com.emanuelef.remote_capture/.activities.CaptureCtrl t41}":                "com.emanuelef.remote_capture",
		"topResumedActivity=ActivityRecord{1f u0 com.android.vpndialogs/.ConfirmDialog t9}\n  ResumedActivity: ActivityRecord{}": "com.android.vpndialogs",
		"mResumedActivity: ActivityRecord{90d3d50 u0 com.emanuelef.remote_capture/.activities.MainActivity t41}":                 "",
		"mResumedActivity: null": "",
	} {
		if got := pcapdroid.Window(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for text, want := range map[string]string{
		"ACTIVATE_VPN: allow; time=+2h ago": "allow", "Uid mode: ACTIVATE_VPN: ignore": "ignore", "No operations.\nDefault mode: ignore": "ignore", "": "",
	} {
		if got := pcapdroid.Consent(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// FuzzReaders: whatever a phone says is no crash and no count below nothing.
func FuzzReaders(f *testing.F) {
	p := newPhone()
	p.up, p.passed = true, 7
	f.Add(p.state(), "x")
	f.Add("Inter-|\n tun0: 1\n1: tun0 inet 10.215.173.1/30", "notifyCaptureStopped: 12 pkts")
	f.Add("mResumedActivity: ActivityRecord{1 u0 com.android.vpndialogs/.ConfirmDialog t1}", "versionName=1.8.6\nACTIVATE_VPN: allow")
	f.Fuzz(func(t *testing.T, a, b string) {
		tunnel, passed, others, ok := pcapdroid.ParseState(a)
		if passed != nil && (*passed < 0 || tunnel == "") || !ok && (tunnel != "" || others != nil) {
			t.Fatalf("%q: %q, %v, %v, %t", a, tunnel, passed, others, ok)
		}
		if n := pcapdroid.Counted(a, b); n != nil && *n < 0 {
			t.Fatalf("%d", *n)
		}
		pcapdroid.Window(a)
		pcapdroid.Consent(a)
		pcapdroid.Older(pcapdroid.VersionName(a), [3]int{1, 8, 6})
		if pcapdroid.CheckKey(a) == "" && strings.ContainsAny(a, " ;&|$'\"\n") {
			t.Fatalf("%q is taken for a key", a)
		}
	})
}
