//go:build !race

package capturetest_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/scenarios/browser"
)

// TestLab is what the lab's page finds out of the instruments, and what else takes
// a trial or two observations to see. A few of it run on an ordinary day.
func TestLab(t *testing.T) {
	t.Parallel()
	for _, row := range sample(t, []struct {
		name string
		try  func(t *testing.T)
	}{
		{"known bodies, proxy and packets", func(t *testing.T) { knownBodies(t, sim.PhoneConfig{Personality: "honest"}) }},
		{"known bodies, packets alone", func(t *testing.T) {
			knownBodies(t, sim.PhoneConfig{Personality: "honest", Capture: []string{"tcpdump"}, KeyLog: true})
		}},
		{"known bodies, PCAPdroid and proxy", func(t *testing.T) {
			knownBodies(t, sim.PhoneConfig{Personality: "honest", Capture: []string{"pcapdroid", "proxy"}})
		}},
		{"blind to UDP port 443", blindToQUIC},
		{"the lab is not reached, honest", func(t *testing.T) {
			labLost(t, "honest", harness.OutcomeInconclusive, "the lab's page did not do its work")
		}},
		{"the lab is not reached, deaf", func(t *testing.T) {
			labLost(t, "deaf", harness.Continues, "with the switch off, data was still transmitted")
		}},
		{"QUIC is blocked", blockedQUIC},
		{"QUIC is read by the key log", openedQUIC},
		{"links across resets", linksAcrossResets},
		{"an HMAC of the words", keyedSearch},
		{"searching three times, honest", honestKeyedSearch},
		{"an engine that suggests", suggestions},
	}, 3) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.try(t)
		})
	}
}

// Every known body that the lab's page sends is recovered on a sound bench, and the
// floor is measured.
func knownBodies(t *testing.T, phone sim.PhoneConfig) {
	t.Helper()
	trial, err := newBench(t, phone).try(incognito())
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(trial.Finding.Because, "\n")
	if trial.Finding.Outcome != harness.Stops {
		t.Fatalf("it came to %s: %s", trial.Finding.Outcome, said)
	}
	if !strings.Contains(said, "a plain body over HTTP, a body under gzip and base64, a body to an address of IPv6, a datagram to UDP port 443, a datagram to UDP port 443 over IPv6") {
		t.Errorf("not every known body was recovered: %s", said)
	}
	// How small it is hangs on what else the phone sends.
	if !strings.Contains(trial.Text(), "\n  floor     ") {
		t.Errorf("the floor was not measured:\n%s", trial.Text())
	}
}

// A capture that is kept from seeing what goes to UDP port 443 is found out by the
// lab's datagrams, whether or not the phone sends anything there.
func blindToQUIC(t *testing.T) {
	t.Helper()
	b := newBench(t, sim.PhoneConfig{Personality: "honest"})
	search := incognito()
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
func labLost(t *testing.T, personality string, want harness.Outcome, says string) {
	t.Helper()
	b := newBench(t, sim.PhoneConfig{Personality: personality, Capture: []string{"tcpdump"}, KeyLog: true})
	b.rig.Farm.Lab.Page = "http://lab.nowhere.example/"
	trial, err := b.try(incognito())
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(trial.Finding.Because, "\n"); trial.Finding.Outcome != want || !strings.Contains(said, says) {
		t.Errorf("it came to %s: %s", trial.Finding.Outcome, said)
	}
}

// Where QUIC is blocked, what goes past the proxy by QUIC takes TCP and is read.
func blockedQUIC(t *testing.T) {
	t.Helper()
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
func openedQUIC(t *testing.T) {
	t.Helper()
	trial, err := newBench(t, sim.PhoneConfig{Personality: "past-quic", Capture: []string{"tcpdump"}, KeyLog: true}).try(incognito())
	if err != nil {
		t.Fatal(err)
	}
	if trial.Finding.Outcome != harness.Continues {
		t.Fatalf("it came to %s: %q", trial.Finding.Outcome, trial.Finding.Because)
	}
	for _, o := range trial.Observations {
		if o.ID == "off-1" && o.Finding.Accounting.To[harness.ClassOpaqueTransport]["tracking.intl.miui.com"] > 0 {
			t.Errorf("bytes of QUIC count as unread: %v", o.Finding.Accounting.To)
		}
	}
}

// What the browser sends under the same name after its data was reset ties its
// records together all the same.
func linksAcrossResets(t *testing.T) {
	t.Helper()
	search := incognito()
	search.Start = append([]harness.Step{browser.Reset()}, search.Start...)
	trial, err := newBench(t, sim.PhoneConfig{Personality: "deaf"}).try(search)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]harness.Link{}
	for _, l := range trial.Finding.Links {
		if l.Host == "sa.api.intl.miui.com" {
			found[l.Name] = l
		}
	}
	if l := found["$device_id"]; len(l.Data) < 3 || len(l.Arms) != 2 {
		t.Errorf("the phone's own id is %+v", l)
	}
	if l, ok := found["distinct_id"]; ok && len(l.Data) > 1 {
		t.Errorf("the browser's id outlived a reset: %+v", l)
	}
}
