package rig_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/capture/packets"
	"github.com/offproof/offproof/capture/pcapdroid"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/rig"
)

// A vpnBench is a simulated phone with PCAPdroid, leased.
type vpnBench struct {
	t     *testing.T
	phone *sim.Phone
	rig   *rig.Rig
	lease *rig.Lease
	dir   string
}

func newVPNBench(t *testing.T, pc sim.PhoneConfig) *vpnBench {
	t.Helper()
	pc.Capture = []string{"pcapdroid"}
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Pace: rig.SimulatedPace, Phones: []sim.PhoneConfig{pc}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	farm, err := rig.Load(w.FarmFile())
	if err != nil {
		t.Fatal(err)
	}
	r, err := rig.New(farm)
	if err != nil {
		t.Fatal(err)
	}
	b := &vpnBench{t: t, phone: w.Phones()[0], rig: r, dir: t.TempDir()}
	b.take()
	return b
}

func (b *vpnBench) take() {
	b.t.Helper()
	lease, err := b.rig.Lease(b.t.Context(), b.phone.Serial())
	if err != nil {
		b.t.Fatal(err)
	}
	b.lease = lease
	b.t.Cleanup(func() { _ = lease.Release(context.WithoutCancel(b.t.Context())) }) // Some tests have done it.
}

func (b *vpnBench) says(script string) string {
	b.t.Helper()
	res, err := b.lease.Device.Script(b.t.Context(), script)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(res.Stdout) + string(res.Stderr)
}

func (b *vpnBench) start() capture.Session {
	b.t.Helper()
	s, err := b.backend().Start(b.t.Context(), b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _, _ = s.Stop(context.WithoutCancel(b.t.Context())) }) // The tests have looked.
	return s
}

func (b *vpnBench) backend() capture.Backend {
	b.t.Helper()
	back, err := b.lease.Backend(rig.CapturePCAPdroid)
	if err != nil {
		b.t.Fatal(err)
	}
	return back
}

// clean checks that nothing of a recording is left on the phone.
func (b *vpnBench) clean() {
	b.t.Helper()
	if got := b.says("cat /proc/net/dev; ls /sdcard/Download/PCAPdroid 2>/dev/null; dumpsys activity services " + pcapdroid.Package); strings.Contains(got, "tun0") || strings.Contains(got, "offproof-") || !strings.Contains(got, "(nothing)") {
		b.t.Errorf("left on the phone: %s", got)
	}
}

// TestPCAPdroidOnASimulatedPhone records by both ways and reads who sent what.
func TestPCAPdroidOnASimulatedPhone(t *testing.T) {
	t.Parallel()
	for _, isolated := range []bool{false, true} {
		t.Run(map[bool]string{false: "a file", true: "its server"}[isolated], func(t *testing.T) {
			t.Parallel()
			b := newVPNBench(t, sim.PhoneConfig{Isolated: isolated})
			if a, err := b.backend().Probe(t.Context()); err != nil || !a.OK {
				t.Fatalf("%+v, %v", a, err)
			}
			s := b.start()
			if a, err := b.backend().Probe(t.Context()); err != nil || a.OK || !strings.Contains(a.Reason, "records already") {
				t.Errorf("while it records: %+v, %v", a, err)
			}
			b.says("monkey -p com.mi.globalbrowser -c android.intent.category.LAUNCHER 1; ping -c 3 -i 0.01 duckduckgo.com")
			for _, nonce := range []string{"one", "two"} {
				if _, err := s.Beacon(t.Context(), nonce); err != nil {
					t.Fatal(err)
				}
			}
			middle, err := s.Read(t.Context())
			if err != nil || !middle.Inside || middle.Health.Packets == 0 || middle.Health.Truncated || middle.Health.Dropped != nil {
				t.Errorf("%+v, %v", middle, err)
			}
			trace, err := s.Stop(t.Context())
			h := trace.Health
			if err != nil || !trace.Inside || trace.Clock != nil || h.Truncated || !h.Died.IsZero() || len(h.Problems) > 0 || h.Dropped == nil || *h.Dropped != 0 || len(trace.Beacons) != 3 {
				t.Fatalf("%+v, %v", trace, err)
			}
			f, err := os.Open(trace.Packets)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close() //nolint:errcheck // Read only.
			c, err := dissect.Read(f, dissect.Options{})
			if err != nil || c.Damaged || len(c.Health.Doubts()) > 0 || c.Health.Packets != h.Packets {
				t.Fatalf("%+v, %v", c.Health, err)
			}
			owned, asked := 0, 0
			for _, fl := range c.Flows {
				if fl.UID != nil {
					owned++
				}
				if got := fl.Client.Addr().String(); got != "10.215.173.1" && !strings.HasPrefix(got, "fd00:2:") {
					t.Errorf("flow %s is from %s", fl.ID, got)
				}
			}
			for _, l := range c.Lookups {
				if strings.HasSuffix(l.Name, "."+packets.Zone) {
					asked++
				}
			}
			if owned == 0 || asked < 3 {
				t.Errorf("%d of %d flows have an owner, %d beacons were asked for", owned, len(c.Flows), asked)
			}
			b.clean()
		})
	}
}

// TestPCAPdroidThatFails: what is wrong with the app is said before or after, and
// never passes for silence.
func TestPCAPdroidThatFails(t *testing.T) {
	t.Parallel()
	t.Run("no consent", func(t *testing.T) {
		t.Parallel()
		b := newVPNBench(t, sim.PhoneConfig{})
		b.fault("vpn-consent")
		if a, err := b.backend().Probe(t.Context()); err != nil || a.OK || !strings.Contains(a.Reason, "press Start in the app") {
			t.Errorf("%+v, %v", a, err)
		}
		_, err := b.backend().Start(t.Context(), b.dir)
		if !errors.Is(err, pcapdroid.ErrAsks) || !errors.Is(err, pcapdroid.ErrNotReady) {
			t.Errorf("%v", err)
		}
		b.clean()
		if front := b.says("dumpsys activity activities | grep mResumed"); strings.Contains(front, "vpndialogs") {
			t.Errorf("the question is left: %s", front)
		}
	})
	t.Run("another key", func(t *testing.T) {
		t.Parallel()
		b := newVPNBench(t, sim.PhoneConfig{})
		_, err := pcapdroid.New(b.lease.Tunneled(), pcapdroid.Options{APIKey: "abcdefghijklmnop"}).Start(t.Context(), b.dir)
		if !errors.Is(err, pcapdroid.ErrAsks) || !strings.Contains(err.Error(), "api_key") {
			t.Errorf("%v", err)
		}
		b.clean()
		if front := b.says("dumpsys activity activities | grep mResumed"); strings.Contains(front, "CaptureCtrl") {
			t.Errorf("the question is left: %s", front)
		}
	})
	t.Run("empty dumps", func(t *testing.T) {
		t.Parallel()
		b := newVPNBench(t, sim.PhoneConfig{})
		b.fault("pcapdroid-empty")
		_, err := pcapdroid.New(b.lease.Tunneled(), pcapdroid.Options{APIKey: b.phone.PCAPdroidKey(), BeaconTries: 1, BeaconWait: time.Second}).Start(t.Context(), b.dir)
		if !errors.Is(err, pcapdroid.ErrNotReady) || !strings.Contains(err.Error(), "writes nothing") {
			t.Errorf("%v", err)
		}
		b.clean()
		if left, _ := os.ReadDir(b.dir); len(left) > 0 {
			t.Errorf("left on the host: %v", left)
		}
	})
	t.Run("gaps", func(t *testing.T) {
		t.Parallel()
		b := newVPNBench(t, sim.PhoneConfig{})
		s := b.start()
		b.fault("pcapdroid-gap")
		b.says("ping -c 9 -i 0.01 duckduckgo.com")
		if _, err := s.Beacon(t.Context(), "after"); err != nil {
			t.Fatal(err)
		}
		trace, err := s.Stop(t.Context())
		if h := trace.Health; err != nil || h.Dropped == nil || *h.Dropped < 4 || !strings.Contains(strings.Join(h.Problems, ";"), "gaps") {
			t.Errorf("%+v, %v", trace.Health, err)
		}
		b.clean()
	})
	for _, isolated := range []bool{false, true} {
		t.Run("it stops", func(t *testing.T) {
			t.Parallel()
			b := newVPNBench(t, sim.PhoneConfig{Isolated: isolated})
			s := b.start()
			if _, err := s.Beacon(t.Context(), "one"); err != nil {
				t.Fatal(err)
			}
			b.fault("pcapdroid-stops")
			select {
			case <-s.Done():
			case <-time.After(2 * time.Minute):
				t.Fatal("nobody noticed")
			}
			if _, err := s.Beacon(t.Context(), "two"); !errors.Is(err, packets.ErrEnded) {
				t.Errorf("%v", err)
			}
			trace, err := s.Stop(t.Context())
			if h := trace.Health; err != nil || !h.Truncated || h.Died.IsZero() || !strings.Contains(strings.Join(h.Problems, ";"), "battery") {
				t.Errorf("%+v, %v", h, err)
			}
			b.clean()
		})
	}
	t.Run("the lease ends before the recording", func(t *testing.T) {
		t.Parallel()
		b := newVPNBench(t, sim.PhoneConfig{})
		b.start()
		if !strings.Contains(b.says("cat /proc/net/dev"), "tun0") {
			t.Fatal("it does not record")
		}
		if err := b.lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.take()
		b.clean()
	})
}

func (b *vpnBench) fault(name string) {
	b.t.Helper()
	if err := b.phone.Fault(b.t.Context(), name, ""); err != nil {
		b.t.Fatal(err)
	}
}
