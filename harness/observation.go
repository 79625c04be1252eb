package harness

import (
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness/canary"
)

// A Part is the place of an observation in its trial.
type Part string

// The parts of a trial. Single is an observation made by hand.
const (
	PartUnknown Part = ""
	Single      Part = "single"
	Calibration Part = "calibration" // fixes the window length; not counted
	Quiet       Part = "quiet"       // the negative control: no act
	Pair        Part = "pair"        // counted
	Closing     Part = "closing"     // shows that the collector is still there
)

// An Observation is one run of one scenario under one setting: what was done,
// when, what was read back, and what was recorded. It holds values only, so
// that it can be judged again from disk.
type Observation struct {
	Format int `json:"format"`
	// ID is unique within the trial, such as "off-1".
	ID       string `json:"id"`
	Part     Part   `json:"part"`
	Scenario string `json:"scenario"`
	Claim    Claim  `json:"claim"`
	Setting  string `json:"setting"`
	Arm      Arm    `json:"arm"`
	Mode     Mode   `json:"mode,omitempty"`
	Serial   string `json:"serial"`
	Build    string `json:"build,omitempty"`
	Model    string `json:"model,omitempty"`
	// Boot is the mark of the kernel that ran, another one after each start of the
	// phone; empty where it was not read.
	Boot    string            `json:"boot,omitempty"`
	Factors map[string]string `json:"factors,omitempty"`

	// Health is what was found of the phone before the window.
	Health devices.Health `json:"health,omitempty"`

	Window Window       `json:"window"`
	Steps  []StepRecord `json:"steps,omitempty"`
	Acts   []time.Time  `json:"acts,omitempty"`
	// Typings are the acts of typing planted terms, in order.
	Typings []Typing `json:"typings,omitempty"`
	// Settled is when the last act was over, where that is later than when it
	// began: a person says so afterwards.
	Settled time.Time `json:"settled,omitzero"`
	// Route is the way by which the phone was operated; Asked is what a person was
	// told to do.
	Route ui.Route `json:"route,omitempty"`
	Asked []Asked  `json:"asked,omitempty"`
	// Before and After are the conditions read before the first step and after
	// the wait; After is nil when it could not be read.
	Before *State `json:"before,omitempty"`
	After  *State `json:"after,omitempty"`
	// ClaimUIDs are the user ids of the claim's apps and delegates.
	ClaimUIDs []int `json:"claim_uids,omitempty"`

	Canaries []canary.Canary `json:"canaries,omitempty"`
	// Identifiers are those of the phone that could be read, each with its sham
	// twin; they are searched like canaries, and no others.
	Identifiers []canary.Canary `json:"identifiers,omitempty"`
	Expected    []Expected      `json:"expected,omitempty"`
	ReadBacks   []ReadBack      `json:"read_backs,omitempty"`

	// Beacons are the nonces that each backend recognised in the window, by
	// backend name.
	Beacons map[string][]capture.Beacon `json:"beacons,omitempty"`
	// BeaconPeriod is the longest stretch between beacons that was planned.
	BeaconPeriod time.Duration `json:"beacon_period,omitempty"`
	// Counters are the interface counters at both ends of the window; nil when
	// they could not be read.
	CountersBefore *Counters `json:"counters_before,omitempty"`
	CountersAfter  *Counters `json:"counters_after,omitempty"`
	// ClockBefore and ClockAfter are phone clock minus host clock; nil when
	// they could not be measured.
	ClockBefore *Clock `json:"clock_before,omitempty"`
	ClockAfter  *Clock `json:"clock_after,omitempty"`
	// Broken are the ways in which the window broke, each a full reason.
	Broken []string `json:"broken,omitempty"`
	// Err is the error that ended the observation early.
	Err string `json:"error,omitempty"`

	// Finding is what the judge says of this observation alone, or within its
	// trial once the trial is judged.
	Finding *Finding `json:"finding,omitempty"`

	evidence *Evidence
	err      error
	against  *Observation
}

// Completed says whether the window was opened and closed again.
func (o *Observation) Completed() bool {
	return !o.Window.Open.IsZero() && !o.Window.Close.IsZero()
}

// Evidence returns what was recorded, or nil.
func (o *Observation) Evidence() *Evidence { return o.evidence }

// A Window is the stretch of host time that an observation speaks of.
type Window struct {
	// Open is when the opening beacons had been recognised.
	Open time.Time `json:"open"`
	// Close is when the last act or read-back was over and the closing beacons
	// were about to be sent.
	Close time.Time `json:"close"`
	// Wanted is the length that was fixed beforehand, counted from the last act.
	Wanted time.Duration `json:"wanted"`
}

// Holds says whether a time lies in the window.
func (w Window) Holds(t time.Time) bool {
	return !w.Open.IsZero() && !t.Before(w.Open) && (w.Close.IsZero() || t.Before(w.Close))
}

// A StepRecord is one step as it was run.
type StepRecord struct {
	Name       string    `json:"name"`
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	Screenshot string    `json:"screenshot,omitempty"`
	Tree       string    `json:"tree,omitempty"`
	Err        string    `json:"error,omitempty"`
}

// Counters are IP bytes that the phone's kernel says left by each interface
// but loopback, read between two moments of the phone's clock.
type Counters struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Sent is IP bytes by interface.
	Sent map[string]int64 `json:"sent"`
	// Packets is how many packets these were, by interface; nil in records that
	// are older than it.
	Packets map[string]int64 `json:"packets,omitempty"`
	// Carried is what the app behind an instrument's VPN had sent with sockets of
	// its own at the same moment; nil where there is no such instrument.
	Carried *Carried `json:"carried,omitempty"`
}

// Carried is what the kernel counted for the app whose sockets carry on the wire
// what goes into a tunnel in the phone.
type Carried struct {
	// Source is where the phone says it: "xt_qtaguid", "netd" or "netstats".
	Source string `json:"source,omitempty"`
	// Tunnel is the tunnel's interface, UID the app's user id.
	Tunnel string `json:"tunnel"`
	UID    int    `json:"uid"`
	// Bytes and Packets are IP bytes and packets sent since the phone's start by
	// every interface but the tunnel and loopback, or by all where the source does
	// not tell them apart.
	Bytes   int64 `json:"bytes"`
	Packets int64 `json:"packets"`
	// Others are IP bytes that other user ids sent by these interfaces; nil where
	// the source does not tell them apart.
	Others map[int]int64 `json:"others"`
	// Steady is true when two readings, and the interfaces' counters between them,
	// agreed, so that nothing was under way.
	Steady bool `json:"steady"`
	// Why says why the phone could not be asked, empty when it could.
	Why string `json:"why,omitempty"`
}

// A Clock is a measured difference between the phone's clock and the host's.
type Clock struct {
	Offset      time.Duration `json:"offset"`
	Uncertainty time.Duration `json:"uncertainty"`
}

// Evidence is what the instruments recorded over a trial, or over a single
// observation. All times are host time.
type Evidence struct {
	Traces []capture.Trace `json:"-"`
	// Packets are the dissected packet files, by backend.
	Packets map[string]*dissect.Capture `json:"-"`
	// Owners are the sockets that were seen on the phone, with their owners.
	Owners []Owner `json:"owners,omitempty"`
	// Unwatched are stretches in which the sockets were looked at too seldom to say
	// that none was missed.
	Unwatched []Stretch `json:"unwatched,omitempty"`
	// Apps are the packages of each user id, as the phone named them before the
	// first window; nil where it did not.
	Apps map[int][]string `json:"apps,omitempty"`
	// Known are terms that earlier runs planted on this phone. They never
	// expire: what is still sent of them is seen too.
	Known []canary.Canary `json:"known,omitempty"`
	// Probe is what the instruments were asked before the first window; nil where
	// the bench has no lab.
	Probe *Probe `json:"-"`
	// Now is when the evidence was read; sightings charged to an observation
	// are searched up to here.
	Now time.Time `json:"now"`
	// Notes are doubts about reading the evidence itself.
	Notes []string `json:"notes,omitempty"`

	opened map[exchangeAt]reading // by decoders from outside
}

// An Owner is one socket of the phone with the user id that held it from First
// to Last.
type Owner struct {
	Proto  capture.Proto `json:"proto"`
	Local  string        `json:"local"`
	Remote string        `json:"remote"`
	UID    int           `json:"uid"`
	First  time.Time     `json:"first"`
	Last   time.Time     `json:"last"`
}

// Attach gives an observation what was recorded, so that it can be judged
// again. All observations of a trial share one evidence.
func (o *Observation) Attach(ev *Evidence) { o.evidence = ev }
