package capturetest_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// Every known body that the lab's page sends is recovered on a sound bench, and
// the floor is measured, with a proxy in the phone and without.
func TestLab(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		phone sim.PhoneConfig
	}{
		{"proxy and packets", sim.PhoneConfig{Personality: "honest"}},
		{"packets alone", sim.PhoneConfig{Personality: "honest", Capture: []string{"tcpdump"}, KeyLog: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.phone)
			trial, err := b.try(incognito())
			if err != nil {
				t.Fatal(err)
			}
			if trial.Finding.Outcome != harness.Stops {
				t.Fatalf("it came to %s: %q", trial.Finding.Outcome, trial.Finding.Because)
			}
			said := strings.Join(trial.Finding.Because, "\n")
			t.Log(said)
			if !strings.Contains(said, "a plain body over HTTP, a body under gzip and base64, a body to an address of IPv6, a datagram to UDP port 443, a datagram to UDP port 443 over IPv6") {
				t.Error("not every known body was recovered")
			}
			// How small it is hangs on what else the phone sends.
			if !strings.Contains(trial.Text(), "\n  floor     ") {
				t.Error("the floor was not measured")
			}
		})
	}
}

// A capture that is kept from seeing what goes to UDP port 443 is found out by the
// lab's datagrams, whether or not the phone sends anything there.
func TestLabBlind(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.PhoneConfig{Personality: "honest"})
	search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
	search.Claim = browser.MakersPromise()
	on, err := b.observe(search.With(browser.AggregatedData(harness.On)), never, nil)
	if err != nil || on.Finding.Verdict != harness.Collected {
		t.Fatalf("with the switch on: %v, %q", err, on.Finding.Because)
	}
	if err := b.phone.Fault(t.Context(), "hide-packets", "443"); err != nil {
		t.Fatal(err)
	}
	off, err := b.observe(search.With(browser.AggregatedData(harness.Off)).Against(on), never, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(off.Finding.Because, "\n")
	if off.Finding.Verdict != harness.Inconclusive || !strings.Contains(said, "a datagram to UDP port 443 that the lab's page sent arrived there and is in no recording") {
		t.Errorf("it came to %s: %s", off.Finding.Verdict, said)
	}
}

// Without a way to the lab the instruments are not asked, and that is said; what
// leaks is found all the same.
func TestLabLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		personality string
		want        harness.Outcome
		says        string
	}{
		{"honest", harness.OutcomeInconclusive, "the lab's page did not do its work"},
		{"deaf", harness.Continues, "with the switch off, data was still transmitted"},
	} {
		t.Run(c.personality, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sim.PhoneConfig{Personality: c.personality, Capture: []string{"tcpdump"}, KeyLog: true})
			b.rig.Farm.Lab.Page = "http://lab.nowhere.example/"
			trial, err := b.try(incognito())
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(trial.Finding.Because, "\n"); trial.Finding.Outcome != c.want || !strings.Contains(said, c.says) {
				t.Errorf("it came to %s: %s", trial.Finding.Outcome, said)
			}
		})
	}
}

// Where QUIC is blocked, what goes past the proxy by QUIC takes TCP and is read.
func TestQUICBlocked(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.PhoneConfig{Personality: "past-quic", BlockQUIC: true})
	_, off := b.pair(never, nil)
	if off.Finding.Verdict != harness.Collected {
		t.Errorf("it came to %s: %q", off.Finding.Verdict, off.Finding.Because)
	}
	if left := b.phone.Truth().Firewall; len(left) > 0 {
		t.Errorf("the phone was left with %q", left)
	}
}

// What goes past every proxy by QUIC is read by the phone's key log, as what goes
// by TCP is, and no byte of such a conversation counts as unread.
func TestQUICByKeyLog(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.PhoneConfig{Personality: "past-quic", Capture: []string{"tcpdump"}, KeyLog: true})
	trial, err := b.try(incognito())
	if err != nil {
		t.Fatal(err)
	}
	if trial.Finding.Outcome != harness.Continues {
		t.Fatalf("it came to %s: %q", trial.Finding.Outcome, trial.Finding.Because)
	}
	off := trial.Observations[2:4]
	if i := slices.IndexFunc(off, func(o *harness.Observation) bool { return o.Arm == harness.Off }); i < 0 || off[i].Finding.Accounting.To[harness.ClassOpaqueTransport]["tracking.intl.miui.com"] > 0 {
		t.Errorf("bytes of QUIC count as unread: %v", off)
	}
}
