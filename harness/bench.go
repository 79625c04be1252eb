package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/devices/android"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// A bench is a phone with its instruments running.
type bench struct {
	p        *Phone
	sessions []running
	build    string
	model    string
	ids      []canary.Canary
	start    time.Time

	mu      sync.Mutex
	looks   *looks
	apps    map[int][]string // packages by user id
	states  []stateChange
	lost    error // why the device or its owners could no longer be watched
	stop    context.CancelFunc
	handOff func() error // lets the phone's hand go
	watches sync.WaitGroup
	traces  []capture.Trace
	notes   []string
	packets map[string]*dissect.Capture
	probed  *Probe
	opened  []Opening
	counts  string // the source of counters by user id that answered
}

type running struct {
	name string
	capture.Session
}

type stateChange struct {
	at    time.Time
	state string
}

// socketPeriod is how often the phone's socket tables are read. It is short,
// because the owner of a socket that no reading saw is unknown, and traffic of
// an unknown owner can never be called somebody else's.
const socketPeriod = 200 * time.Millisecond

// start reads who the phone is and starts every instrument. On failure nothing
// is left running.
func (p *Phone) start(ctx context.Context) (*bench, error) {
	b := &bench{p: p, looks: newLooks(time.Now()), start: time.Now()}
	id, err := p.Device.Identity(ctx)
	if err != nil {
		return nil, p.infra("read the build", "check the cable and `adb devices`", err)
	}
	b.build, b.model = id.Fingerprint, id.Model
	if _, err := p.examine(ctx); err != nil {
		return nil, err
	}
	if err := p.Device.CheckProxy(ctx); err != nil {
		return nil, p.infra("look at the phone's proxy", "", err)
	}
	if b.apps, err = p.Device.Apps(ctx); err != nil {
		return nil, p.infra("read whose user ids are whose", "", err)
	}
	if b.ids, err = p.identifiers(ctx); err != nil {
		return nil, p.infra("read the phone's identifiers", "", err)
	}
	if len(p.Backends) == 0 {
		return nil, p.infra("start capture", "name at least one backend under capture: in farm.yaml", errors.New("no capture backend is listed for this phone"))
	}
	if b.handOff, err = p.operate(ctx); err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.stop = stop
	b.watches.Go(func() { b.watchState(watch) })
	b.watches.Go(func() { b.watchOwners(watch) })
	for _, be := range p.Backends {
		ability, err := be.Probe(ctx)
		if err == nil && !ability.OK {
			err = errors.New(ability.Reason)
		}
		var s capture.Session
		if err == nil {
			p.say("starting %s", be.Name())
			s, err = be.Start(ctx, p.Recorder.Dir())
		}
		if err != nil {
			b.close(ctx)
			return nil, p.infra("start "+be.Name(), "farm.yaml lists it for this phone; mend it or take it off the list", err)
		}
		b.sessions = append(b.sessions, running{be.Name(), s})
	}
	return b, nil
}

// watchState notes every ADB state of the phone. The end of the watch is
// itself a loss, unless the bench was closed.
func (b *bench) watchState(ctx context.Context) {
	err := b.p.Track(ctx, func(state string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.states = append(b.states, stateChange{time.Now(), state})
	})
	if ctx.Err() == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.states = append(b.states, stateChange{time.Now(), fmt.Sprintf("unwatched (%v)", err)})
	}
}

func (b *bench) watchOwners(ctx context.Context) {
	err := b.p.Device.WatchSockets(ctx, socketPeriod, func(t android.SocketTable) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.looks.take(time.Now(), t)
	})
	if ctx.Err() == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lost = fmt.Errorf("socket owners are no longer read: %w", err)
	}
}

// close stops watches and sessions; it may be called twice.
func (b *bench) close(ctx context.Context) {
	if b.stop == nil {
		return
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	for _, s := range slices.Backward(b.sessions) {
		trace, err := s.Stop(clean)
		if err != nil {
			b.notes = append(b.notes, fmt.Sprintf("%s could not be stopped cleanly: %v", s.name, err))
		}
		b.traces = append(b.traces, trace)
	}
	if err := b.handOff(); err != nil {
		b.p.Log.Warn("the phone's hand was not let go as it should", "serial", b.p.Device.Serial(), "err", err)
	}
	b.stop()
	b.watches.Wait()
	b.stop = nil
}

// finish ends the recording, reads it, and gives every observation its share
// of the evidence.
func (b *bench) finish(ctx context.Context, all []*Observation) {
	b.p.say("reading what was captured")
	b.close(ctx)
	b.packets = map[string]*dissect.Capture{}
	for i := range b.traces {
		b.read(&b.traces[i], clockOf(all), strayOf(all))
	}
	ev := &Evidence{Traces: b.traces, Packets: b.packets, Apps: b.apps, Known: b.p.Known, Probe: b.probed, Unwatched: b.looks.unwatched, Owners: b.looks.owners(), Now: time.Now(), Notes: b.notes}
	if len(b.p.Decoders) > 0 {
		b.p.say("asking the bench's decoders")
	}
	b.opened = ev.Open(ctx, b.p.Decoders...)
	for _, o := range all {
		o.evidence = ev
		b.judgeWatches(o)
	}
	if err := b.keep(ev, all); err != nil {
		for _, o := range all {
			o.Broken = append(o.Broken, fmt.Sprintf("the evidence could not be written: %v", err))
		}
	}
}

// stamped is how far the clock of a trace's packets is ahead of the host's: the
// phone's, unless the trace has one of its own.
func stamped(t capture.Trace, phone time.Duration) time.Duration {
	if t.Clock != nil {
		return t.Clock.Ahead
	}
	return phone
}

// read dissects a packet file and moves its times to the host's clock. phone is
// how far the phone's is ahead, and stray how far it may be from that.
func (b *bench) read(t *capture.Trace, phone, stray time.Duration) {
	if t.Packets == "" {
		return
	}
	f, err := os.Open(t.Packets)
	if err != nil {
		t.Health.Truncated = true
		t.Health.Problems = append(t.Health.Problems, fmt.Sprintf("the packet file cannot be read: %v", err))
		return
	}
	defer f.Close() //nolint:errcheck // Read only.
	keys, err := b.secrets()
	if err != nil {
		t.Health.Problems = append(t.Health.Problems, err.Error())
	}
	c, err := dissect.Read(f, dissect.Options{KeyLog: keys, Local: b.local()})
	if err != nil {
		t.Health.Truncated = true
		t.Health.Problems = append(t.Health.Problems, fmt.Sprintf("the packet file cannot be dissected: %v", err))
	}
	if c == nil {
		return
	}
	if t.Clock != nil {
		stray = t.Clock.Uncertainty
	}
	shift(c, -stamped(*t, phone), drift+max(stray, 0))
	t.Health.SkippedBytes += c.Health.SkippedBytes
	t.Health.Truncated = t.Health.Truncated || c.Health.Truncated
	t.Health.Problems = append(t.Health.Problems, c.Health.Problems...)
	t.Health.Losses = append(t.Health.Losses, c.Health.Losses...)
	b.packets[t.Backend] = c
}

// clockOf is the offset by which packet times are moved. When the clock jumped
// the observations say so themselves and are inconclusive.
func clockOf(all []*Observation) time.Duration {
	for _, o := range all {
		if o.ClockBefore != nil {
			return o.ClockBefore.Offset
		}
	}
	return 0
}

// strayOf is how far the phone's clock may be from clockOf in some window: it may have
// been set between two of them, which none of them notices.
func strayOf(all []*Observation) time.Duration {
	var stray time.Duration
	first := clockOf(all)
	for _, o := range all {
		for _, c := range []*Clock{o.ClockBefore, o.ClockAfter} {
			if c != nil {
				stray = max(stray, (c.Offset-first).Abs()+max(c.Uncertainty, 0))
			}
		}
	}
	return stray
}

// shift moves the times of a capture. Those of losses and holes become so much wider
// at both ends.
func shift(c *dissect.Capture, by, wider time.Duration) {
	for i := range c.Flows {
		f := &c.Flows[i]
		f.Start, f.End = f.Start.Add(by), f.End.Add(by)
		for j := range f.Sent {
			f.Sent[j].At = f.Sent[j].At.Add(by)
		}
		for j := range f.Holes {
			h := &f.Holes[j]
			h.From, h.To = h.From.Add(by-wider), h.To.Add(by+wider)
		}
	}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		for _, t := range []*time.Time{&e.Start, &e.Sent, &e.End} {
			if !t.IsZero() {
				*t = t.Add(by)
			}
		}
	}
	for i := range c.Lookups {
		c.Lookups[i].At = c.Lookups[i].At.Add(by)
	}
	for i := range c.Health.Losses {
		l := &c.Health.Losses[i]
		l.From, l.To = l.From.Add(by-wider), l.To.Add(by+wider)
	}
}

// drift is how far a packet's time may be from the host's after it was moved, beside
// what the readings of the clock say: they are few.
const drift = time.Second

// judgeWatches adds to an observation what the watches saw in its window.
func (b *bench) judgeWatches(o *Observation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.Window.Open.IsZero() {
		return
	}
	state := "never seen"
	for _, s := range b.states {
		if s.at.Before(o.Window.Open) {
			state = s.state
			continue
		}
		if o.Window.Holds(s.at) && s.state != "device" {
			o.Broken = append(o.Broken, fmt.Sprintf("the phone's ADB state was %q at %s, inside the window", s.state, clockTime(s.at)))
		}
	}
	if state != "device" {
		o.Broken = append(o.Broken, fmt.Sprintf("the phone's ADB state was %q when the window opened", state))
	}
	if b.lost != nil {
		o.Broken = append(o.Broken, b.lost.Error())
	}
}

// local says whether an address is one of the phone's, as its sockets show them,
// so that the phone is the client of conversations that others open too. It is
// nil where none was seen.
func (b *bench) local() func(netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := map[netip.Addr]bool{}
	for o := range b.looks.open {
		if a, err := netip.ParseAddrPort(o.Local); err == nil && !a.Addr().IsUnspecified() && !a.Addr().IsLoopback() {
			own[a.Addr().Unmap().WithZone("")] = true
		}
	}
	if len(own) == 0 {
		return nil
	}
	return func(a netip.Addr) bool { return own[a.Unmap().WithZone("")] }
}

// secrets is the phone's key log, nil where there is none. One that is not there
// yet is empty: a tool makes it with the first conversation.
func (b *bench) secrets() (*dissect.KeyLog, error) {
	if b.p.KeyLog == "" {
		return nil, nil
	}
	f, err := os.Open(b.p.KeyLog)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the key log cannot be read: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	keys, err := dissect.ReadKeyLog(f)
	if err != nil {
		return nil, fmt.Errorf("the key log %s cannot be read: %w", b.p.KeyLog, err)
	}
	return keys, nil
}

// secretText is every key log of a run in one, for the files that people open.
func (b *bench) secretText(all []capture.Trace) ([]byte, error) {
	var out []byte
	paths := []string{b.p.KeyLog}
	for _, t := range all {
		paths = append(paths, t.Keys)
	}
	for _, path := range paths {
		if path == "" {
			continue
		}
		text, err := os.ReadFile(path) //nolint:gosec // The bench's own, and the backends'.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("harness: read key log: %w", err)
		}
		if len(text) > 0 && text[len(text)-1] != '\n' {
			text = append(text, '\n')
		}
		out = append(out, text...)
	}
	return out, nil
}

func clockTime(t time.Time) string { return t.Format("15:04:05.000") }

// lag is the longest time between an act and a sighting that is charged to its
// observation, read while the instruments go on. leaked is true when an OFF
// window has a sighting.
func (b *bench) lag(ctx context.Context, all []*Observation, list *collector.List) (longest time.Duration, leaked bool, err error) {
	b.mu.Lock()
	side := &bench{p: b.p, packets: map[string]*dissect.Capture{}, looks: &looks{open: maps.Clone(b.looks.open)}}
	b.mu.Unlock()
	for _, s := range b.sessions {
		t, err := s.Read(ctx)
		if err != nil {
			return 0, false, fmt.Errorf("harness: read %s: %w", s.name, err)
		}
		side.traces = append(side.traces, t)
	}
	for i := range side.traces {
		side.read(&side.traces[i], clockOf(all), strayOf(all))
	}
	ev := &Evidence{Traces: side.traces, Packets: side.packets, Known: b.p.Known, Now: time.Now()}
	ev.Open(ctx, b.p.Decoders...)
	copies := make([]*Observation, len(all))
	for i, o := range all {
		c := *o
		c.evidence = ev
		copies[i] = &c
	}
	v := newView(copies, list)
	for _, o := range copies {
		f := v.judge(o)
		if o.Arm == On {
			longest = max(longest, longestLag(f))
		}
		leaked = leaked || (o.Arm == Off && len(f.Sightings) > 0)
	}
	return longest, leaked, nil
}

func longestLag(f Finding) time.Duration {
	var longest time.Duration
	for _, s := range slices.Concat(f.Sightings, f.Unproven) {
		longest = max(longest, s.Lag)
	}
	return longest
}

// keep writes what was recorded into the run directory.
func (b *bench) keep(ev *Evidence, obs []*Observation) error {
	var all []capture.Flow
	var exchanges []capture.Exchange
	secrets, err := b.secretText(ev.Traces)
	if err != nil {
		return err
	}
	for _, t := range ev.Traces {
		all = append(all, t.Flows...)
		exchanges = append(exchanges, t.Exchanges...)
		if c := ev.Packets[t.Backend]; c != nil {
			all = append(all, c.Flows...)
			exchanges = append(exchanges, c.Exchanges...)
			notes := notesOf(ev, obs, t)
			notes.Secrets = secrets
			if err := b.p.keepPackets(t, notes); err != nil {
				return err
			}
		}
	}
	if err := b.p.Recorder.Save("flows.json", all); err != nil {
		return fmt.Errorf("harness: save flows: %w", err)
	}
	var har bytes.Buffer
	if err := dissect.WriteHAR(&har, exchanges, "offproof"); err != nil {
		return fmt.Errorf("harness: write har: %w", err)
	}
	if err := b.p.Recorder.Write("proxy.har", har.Bytes()); err != nil {
		return fmt.Errorf("harness: save har: %w", err)
	}
	if ev.Probe != nil {
		if err := b.p.Recorder.Save("probe.json", ev.Probe); err != nil {
			return fmt.Errorf("harness: save probe: %w", err)
		}
	}
	if err := b.p.Recorder.Save("owners.json", ev.Owners); err != nil {
		return fmt.Errorf("harness: save owners: %w", err)
	}
	if len(b.p.Decoders) > 0 {
		if err := b.p.Recorder.Save("opened.json", b.opened); err != nil {
			return fmt.Errorf("harness: save what decoders read: %w", err)
		}
	}
	if err := b.p.Recorder.Save("unwatched.json", ev.Unwatched); err != nil {
		return fmt.Errorf("harness: save when nobody watched: %w", err)
	}
	if err := b.p.Recorder.Save("apps.json", ev.Apps); err != nil {
		return fmt.Errorf("harness: save apps: %w", err)
	}
	return nil
}

// notesOf makes the file readable in Wireshark: names of addresses, and a
// comment where each window and step begins, by the clock of the trace.
func notesOf(ev *Evidence, obs []*Observation, t capture.Trace) dissect.Notes {
	n := dissect.Notes{Application: "offproof", Names: map[netip.Addr][]string{}}
	for _, c := range ev.Packets {
		for _, l := range c.Lookups {
			for _, a := range l.Answers {
				if addr, err := netip.ParseAddr(a); err == nil && !slices.Contains(n.Names[addr], l.Name) {
					n.Names[addr] = append(n.Names[addr], l.Name)
				}
			}
		}
	}
	for _, o := range obs {
		if o.Window.Open.IsZero() {
			continue
		}
		offset := time.Duration(0)
		if o.ClockBefore != nil {
			offset = o.ClockBefore.Offset
		}
		offset = stamped(t, offset) // The file keeps its clock.
		add := func(at time.Time, text string) {
			n.Comments = append(n.Comments, dissect.Comment{At: at.Add(offset), Text: text})
		}
		add(o.Window.Open, o.ID+": window opens, switch "+string(o.Arm))
		for _, s := range o.Steps {
			add(s.Start, o.ID+": "+s.Name)
		}
		if !o.Window.Close.IsZero() {
			add(o.Window.Close, o.ID+": window closes")
		}
	}
	return n
}

// keepPackets writes a packet trace as an annotated pcapng.
func (p *Phone) keepPackets(t capture.Trace, notes dissect.Notes) error {
	f, err := os.Open(t.Packets)
	if err != nil {
		return fmt.Errorf("harness: keep packets: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, f, notes); err != nil {
		return fmt.Errorf("harness: keep packets: %w", err)
	}
	if err := p.Recorder.Write(t.Backend+".pcapng", out.Bytes()); err != nil {
		return fmt.Errorf("harness: keep packets: %w", err)
	}
	return nil
}

// nonce makes the text of a beacon.
func nonce(rng *rand.Rand) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	out := make([]byte, 24)
	for i := range out {
		out[i] = letters[rng.IntN(len(letters))]
	}
	return string(out)
}
