//go:build !race

package capturetest_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
	"github.com/offproof/offproof/harness/rig"
	"github.com/offproof/offproof/scenarios"
	"github.com/offproof/offproof/scenarios/browser"
)

// pair observes an incognito search with the switch on and off, and does harm
// at a moment of the OFF window.
func (b *bench) pair(when string, harm func(ctx context.Context)) (on, off harness.Observation) {
	b.t.Helper()
	search := scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
	search.Claim = browser.MakersPromise()
	on, err := b.observe(search.With(browser.AggregatedData(harness.On)), never, nil)
	if err != nil {
		b.t.Fatalf("with the switch on: %v", err)
	}
	if on.Finding.Verdict != harness.Collected {
		b.t.Fatalf("with the switch on it came to %s: %q", on.Finding.Verdict, on.Finding.Because)
	}
	off, err = b.observe(search.With(browser.AggregatedData(harness.Off)).Against(on), when, harm)
	var rigs *harness.InfrastructureError
	if err != nil && !errors.As(err, &rigs) {
		b.t.Fatalf("with the switch off: %v", err)
	}
	if err != nil {
		b.t.Logf("with the switch off: %v", err)
	}
	return on, off
}

// incognito is the search that is tried where no other is meant.
func incognito() harness.Scenario {
	return scenarios.Search(browser.DuckDuckGo, harness.ModeIncognito)
}

// try makes a trial of a search.
func (b *bench) try(search harness.Scenario) (trial harness.Trial, err error) {
	return b.tryWhile(search, func(string) {})
}

// tryWhile makes a trial and passes on what its log says.
func (b *bench) tryWhile(search harness.Scenario, says func(message string)) (trial harness.Trial, err error) {
	search.Claim = browser.MakersPromise()
	run, err := evidence.Create(b.rig.Farm.Evidence, search.Name, time.Now())
	if err != nil {
		return trial, err
	}
	phone, err := b.lease.Phone(run, rig.Options{Seed: 1, Log: slog.New(watch{slog.NewJSONHandler(run.Log(), nil), says})})
	if err == nil {
		trial, err = phone.Try(b.t.Context(), search, browser.AggregatedData)
	}
	return trial, errors.Join(err, run.Seal(nil, time.Now()))
}

// verdict is what an observation came to; one that never had a window is
// inconclusive.
func verdict(o harness.Observation) harness.Verdict {
	if o.Finding == nil {
		return harness.Inconclusive
	}
	return o.Finding.Verdict
}

func because(o harness.Observation) string {
	if o.Finding == nil {
		return o.Err
	}
	return strings.Join(slices.Concat(o.Finding.Because, o.Broken), "; ")
}

// The variables that choose how much is tried: all, or a few of each test, other
// ones on another day, by a seed that is printed and may be given.
const (
	whichVariable = "OFFPROOF_CAPTURE"
	seedVariable  = "OFFPROOF_CAPTURE_SEED"
)

// sample chooses n of the rows.
func sample[T any](t *testing.T, rows []T, n int) []T {
	t.Helper()
	if os.Getenv(whichVariable) == "all" {
		return rows
	}
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv(seedVariable), time.Now().UTC().Format("20060102")), 10, 64)
	if err != nil {
		t.Fatalf("%s: a number is wanted: %v", seedVariable, err)
	}
	t.Logf("%d of %d rows; the same again: %s=%d; all: %s=all", n, len(rows), seedVariable, seed, whichVariable)
	rng := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // The choice is repeatable, not secret.
	rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows[:n]
}

// An instruments row is a set of instruments, and what is done to them.
type instruments struct {
	name    string
	phone   string
	capture []string
	when    string
	harm    func(b *bench) func(ctx context.Context)
	want    harness.Verdict
	reason  string
	model   string
}

// pastVPN lets the browser's packets go past PCAPdroid's VPN.
func pastVPN(b *bench) func(context.Context) {
	return func(ctx context.Context) {
		if err := b.phone.Fault(ctx, "past-vpn", ""); err != nil {
			b.t.Error(err)
		}
	}
}

// TestInstruments: every set of instruments that can decide does, and each kind
// of sabotage is seen.
func TestInstruments(t *testing.T) {
	t.Parallel()
	const honest, deaf = "honest", "deaf"
	both := []string{"tcpdump", "gateway", "proxy"}
	inside := []string{"pcapdroid", "proxy"}
	rows := []instruments{
		{"gateway and proxy", honest, []string{"gateway", "proxy"}, never, nil, harness.NotCollected, "", ""},
		{"gateway and proxy", deaf, []string{"gateway", "proxy"}, never, nil, harness.Collected, "", ""},
		{"all", honest, both, never, nil, harness.NotCollected, "", ""},
		{"all", deaf, both, never, nil, harness.Collected, "", ""},
		{"PCAPdroid and proxy", deaf, inside, never, nil, harness.Collected, "", ""},
		{"PCAPdroid and proxy", honest, inside, never, nil, harness.NotCollected, "", ""},
		// What is read inside the tunnel counts, and what is not is a doubt.
		{"inside PCAPdroid's tunnel, past the proxy", "past-xmpush", inside, never, nil, harness.Collected, "app.chat.global.xiaomi.net", ""},
		{"inside PCAPdroid's tunnel, past the proxy", "past-ipv6", inside, never, nil, harness.Inconclusive, "past the proxy by TLS of its own", ""},
		{"inside PCAPdroid's tunnel, past the proxy", "past-quic", inside, never, nil, harness.Inconclusive, "past the proxy by QUIC", ""},
		// Android 10 tells totals by user id, loopback and the tunnel with them.
		{"PCAPdroid and proxy by totals", honest, inside, never, nil, harness.NotCollected, "to the byte", "mi-10"},
		{"past PCAPdroid's tunnel and the proxy by totals", "past-xmpush", inside, before, pastVPN, harness.Inconclusive, "past pcapdroid's VPN", "mi-10"},
		// What goes past the tunnel is read by the proxy, or counted.
		{"past PCAPdroid's tunnel", deaf, inside, before, pastVPN, harness.Collected, "sa.api.intl.miui.com", ""},
		{"past PCAPdroid's tunnel and the proxy", "past-xmpush", inside, before, pastVPN, harness.Inconclusive, "past pcapdroid's VPN by app of the claim", ""},
		{"past PCAPdroid's tunnel and the proxy", "past-ipv6", inside, before, pastVPN, harness.Inconclusive, "past pcapdroid's VPN by app of the claim", ""},
		{"past PCAPdroid's tunnel and the proxy", "past-quic", inside, before, pastVPN, harness.Inconclusive, "past pcapdroid's VPN by app of the claim", ""},
		{"past PCAPdroid's tunnel and the proxy", "past-doh", inside, before, pastVPN, harness.Inconclusive, "past pcapdroid's VPN by app of the claim", ""},
		{"past PCAPdroid's tunnel and the proxy in the window", "past-xmpush", inside, during, pastVPN, harness.Inconclusive, "past pcapdroid's VPN by app of the claim", ""},
		{"PCAPdroid's VPN ends", honest, inside, during, func(b *bench) func(context.Context) {
			return func(ctx context.Context) {
				if err := b.phone.Fault(ctx, "pcapdroid-stops", ""); err != nil {
					b.t.Error(err)
				}
			}
		}, harness.Inconclusive, "pcapdroid", ""},
		{"PCAPdroid loses packets", honest, inside, during, func(b *bench) func(context.Context) {
			return func(ctx context.Context) {
				if err := b.phone.Fault(ctx, "pcapdroid-gap", ""); err != nil {
					b.t.Error(err)
				}
			}
		}, harness.Inconclusive, "gaps", ""},
		{"the gateway's clock is an hour ahead", honest, []string{"gateway", "proxy"}, never, func(b *bench) func(context.Context) {
			b.world.SetGatewayClock(time.Hour)
			return nil
		}, harness.NotCollected, "", ""},
		{"the gateway's clock is set in the window", honest, both, during, func(b *bench) func(context.Context) {
			return func(context.Context) { b.world.SetGatewayClock(time.Hour) }
		}, harness.Inconclusive, "clock", ""},
		{"the gateway restarts", deaf, both, during, func(b *bench) func(context.Context) {
			return func(context.Context) { b.world.CutGateway() }
		}, harness.Inconclusive, "gateway: recording died", ""},
		{"the gateway restarts", honest, both, during, func(b *bench) func(context.Context) {
			return func(context.Context) { b.world.CutGateway() }
		}, harness.Inconclusive, "gateway: recording died", ""},
		{"the gateway goes deaf", honest, []string{"gateway", "proxy"}, during, func(b *bench) func(context.Context) {
			return func(context.Context) { b.world.SetGatewayDeaf(true) }
		}, harness.Inconclusive, "gateway", ""},
		{"the phone hides packets from its own tcpdump", honest, both, before, func(b *bench) func(context.Context) {
			return func(ctx context.Context) {
				if err := b.phone.Fault(ctx, "hide-packets", "443"); err != nil {
					b.t.Error(err)
				}
			}
		}, harness.Inconclusive, "disagree", ""},
		// What goes past the proxy is seen by the packets, and named.
		{"past the proxy", "past-ipv6", []string{"tcpdump", "proxy"}, never, nil, harness.Inconclusive, "past the proxy by TLS of its own, IPv6", ""},
		{"past the proxy", "past-quic", []string{"tcpdump", "proxy"}, never, nil, harness.Inconclusive, "past the proxy by QUIC", ""},
		{"past the proxy", "past-quic", []string{"gateway", "proxy"}, never, nil, harness.Inconclusive, "past the proxy by QUIC", ""},
		{"past the proxy", "past-doh", []string{"tcpdump", "proxy"}, never, nil, harness.Inconclusive, "past the proxy by DNS over HTTPS", ""},
		{"past the proxy", "past-xmpush", []string{"tcpdump", "proxy"}, never, nil, harness.Collected, "app.chat.global.xiaomi.net", ""},
		{"an emulator", honest, []string{"emulator", "proxy"}, never, nil, harness.NotCollected, "", ""},
		{"an emulator", deaf, []string{"emulator", "proxy"}, never, nil, harness.Collected, "", ""},
		{"the emulator ends", honest, []string{"emulator", "proxy"}, during, func(b *bench) func(context.Context) {
			return func(context.Context) { b.phone.EndConsole() }
		}, harness.Inconclusive, "emulator", ""},
		{"by another app", "delegate", []string{"tcpdump", "gateway", "proxy"}, never, nil, harness.Collected, "sa.api.intl.miui.com", ""},
	}
	for _, c := range sample(t, rows, 3) {
		t.Run(c.name+", "+c.phone, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sim.PhoneConfig{Model: c.model, Personality: c.phone, Capture: c.capture, Emulator: slices.Contains(c.capture, "emulator")})
			var harm func(context.Context)
			if c.harm != nil {
				harm = c.harm(b)
			}
			on, off := b.pair(c.when, harm)
			balanced(t, on)
			balanced(t, off)
			if verdict(off) != c.want || !strings.Contains(because(off), c.reason) {
				t.Errorf("it came to %s: %s; want %s because of %q", verdict(off), because(off), c.want, c.reason)
			}
		})
	}
}

// A passive row is a phone that is only listened to.
type passive struct {
	phone, capture string
	keys           bool
	want           harness.Outcome
	reason         string
}

// TestPassive decides without a proxy, a certificate or a VPN in the phone, by
// packets and the TLS secrets that a tool on the phone writes down: also what an
// app pins, which no proxy reads.
func TestPassive(t *testing.T) {
	t.Parallel()
	rows := []passive{
		{"honest", "tcpdump", true, harness.Stops, ""},
		{"pinned", "gateway", true, harness.Continues, ""},
		{"deaf", "tcpdump", false, harness.OutcomeInconclusive, "contact"},
	}
	for _, c := range sample(t, rows, 1) {
		t.Run(c.phone+" at "+c.capture, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, sim.PhoneConfig{Personality: c.phone, Capture: []string{c.capture}, KeyLog: c.keys})
			trial, err := b.try(incognito())
			if err != nil {
				t.Fatal(err)
			}
			because := strings.Join(trial.Finding.Because, "; ")
			if trial.Finding.Outcome != c.want || !strings.Contains(because, c.reason) || strings.Contains(because, "under instrumentation") {
				t.Errorf("it came to %s: %s; want %s because of %q", trial.Finding.Outcome, because, c.want, c.reason)
			}
			// The file opens in Wireshark with the secrets inside.
			kept, err := os.Open(filepath.Join(trial.Dir, c.capture+".pcapng"))
			if err != nil {
				t.Fatal(err)
			}
			defer kept.Close() //nolint:errcheck // Read only.
			packets, err := dissect.Read(kept, dissect.Options{})
			if err != nil || c.keys != slices.ContainsFunc(packets.Exchanges, func(x capture.Exchange) bool { return strings.HasPrefix(x.URL, "https://duckduckgo.com/") }) {
				t.Errorf("%d requests can be read in the file that was kept, %v", len(packets.Exchanges), err)
			}
		})
	}
}

// balanced checks the accounting of an observation: what the phone's counters
// say, and what the proxy's listener read, is the sum of the classes, within the
// packets that lie at the readings.
func balanced(t *testing.T, o harness.Observation) {
	t.Helper()
	if o.Finding == nil || o.Finding.Accounting.Counted == nil {
		return
	}
	a := o.Finding.Accounting
	if d := a.Total() - *a.Counted - a.Tunnel; d < -a.Tolerance || d > a.Tolerance {
		t.Errorf("%s: %d bytes left (%d by the counters, %d by the proxy) and %d are in classes, tolerance %d", o.ID, *a.Counted+a.Tunnel, *a.Counted, a.Tunnel, a.Total(), a.Tolerance)
	}
}
