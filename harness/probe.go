package harness

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/offproof/offproof/harness/spikes"
)

// A Lab is the laboratory's own server, to which known bodies are sent so that
// the instruments can be asked for them.
type Lab struct {
	// Page is the address below which `offproof lab` serves its pages, such as
	// http://lab.example/.
	Page string `json:"page"`
	// V4 and V6 are its addresses, not valid where it has none.
	V4 netip.Addr `json:"ipv4,omitzero"`
	V6 netip.Addr `json:"ipv6,omitzero"`
}

// A Probe is what the instruments were asked before the first window: known
// bodies by known ways, and packets of known sizes.
type Probe struct {
	Format int    `json:"format"`
	Lab    Lab    `json:"lab"`
	Run    string `json:"run"`
	// Start and End bound it, in host time.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// States are what the page said of each spike; one that it does not speak of
	// was not sent.
	States map[spikes.Kind]spikes.State `json:"states"`
	Pings  []SizedPing                  `json:"pings,omitempty"`
	// Err is why the page could not be loaded, empty when it was.
	Err string `json:"error,omitempty"`
	// Untried is why nothing was asked, empty when it was.
	Untried string `json:"untried,omitempty"`
}

// A SizedPing is one packet of a known size, with the phone's counters before and
// after it.
type SizedPing struct {
	// Bytes is the size of the packet, its IP header included.
	Bytes  int64    `json:"bytes"`
	Before Counters `json:"before"`
	After  Counters `json:"after"`
}

// pingSizes are the payloads of the pings of known sizes. All fit into one packet.
func pingSizes() []int { return []int{16, 64, 256, 1024, 1400} }

// pingPause lies between a packet and the readings around it, so that it is
// certain between which it left.
const pingPause = 100 * time.Millisecond

// pingLimit bounds one ping.
const pingLimit = 20 * time.Second

// probe sends the spikes and the pings. What goes wrong with them is kept, for
// the judge to say what cannot be said any more; only the end of ctx is an error.
func (b *bench) probe(ctx context.Context, act *Act, set *Setting) error {
	p := b.p
	if p.Lab == nil || b.probed != nil {
		return nil
	}
	if set.Load == nil {
		now := time.Now()
		b.probed = &Probe{Format: 1, Lab: *p.Lab, Start: now, End: now, Untried: fmt.Sprintf("the setting %q does not say how its app opens a page", set.Name)}
		return nil
	}
	run := nonce(rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))) //nolint:gosec // A name must be unique, not secret.
	probe := &Probe{Format: 1, Lab: *p.Lab, Run: run, Start: time.Now(), States: map[spikes.Kind]spikes.State{}}
	b.probed = probe
	p.say("asking the instruments for known bodies")
	words, err := set.Load(ctx, act, spikes.Address(p.Lab.Page, run), spikes.Title(run))
	maps.Copy(probe.States, spikes.Read(words))
	if err != nil {
		probe.Err = err.Error()
	}
	if probe.Pings, err = b.pings(ctx, p.Lab); err != nil {
		p.Log.Warn("packets of known sizes could not be sent", "err", err)
	}
	probe.End = time.Now()
	return ctx.Err()
}

// pings sends one packet of each size and reads the counters between them.
func (b *bench) pings(ctx context.Context, lab *Lab) ([]SizedPing, error) {
	to, program := lab.V4, "ping"
	if !to.IsValid() {
		to, program = lab.V6, "ping6"
	}
	if !to.IsValid() {
		return nil, nil
	}
	header := int64(20 + 8)
	if to.Is6() {
		header = 40 + 8
	}
	offset, _, err := b.p.Device.ClockOffset(ctx)
	if err != nil {
		return nil, fmt.Errorf("harness: measure the phone's clock: %w", err)
	}
	before, err := b.counters(ctx, offset)
	if err != nil {
		return nil, err
	}
	var out []SizedPing
	for _, size := range pingSizes() {
		if err := sleep(ctx, pingPause); err != nil {
			return out, err
		}
		one, cancel := context.WithTimeout(ctx, pingLimit)
		// One without an answer was sent all the same.
		res, err := b.p.Device.Script(one, fmt.Sprintf("%s -c 1 -W 2 -s %d %s", program, size, to))
		cancel()
		if err != nil {
			return out, fmt.Errorf("harness: send %d bytes: %w", size, err)
		}
		if res.Exit > 1 {
			return out, fmt.Errorf("harness: send %d bytes: %s", size, strings.TrimSpace(string(res.Stderr)))
		}
		if err := sleep(ctx, pingPause); err != nil {
			return out, err
		}
		after, err := b.counters(ctx, offset)
		if err != nil {
			return out, err
		}
		out = append(out, SizedPing{Bytes: int64(size) + header, Before: *before, After: *after})
		before = after
	}
	return out, nil
}
