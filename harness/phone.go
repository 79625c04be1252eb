package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/collector"
)

// A Phone is a leased device with its instruments, ready to be observed. Its
// fields are set before the first call and not changed afterwards. A Phone
// serves one caller at a time.
type Phone struct {
	Device   *devices.Device
	Screen   *ui.Screen
	Backends []capture.Backend
	// Collectors is the list of who collects.
	Collectors *collector.List
	// Recorder keeps the evidence.
	Recorder Recorder
	// Track calls back with the device's ADB state, first the present one and
	// then each change, until ctx ends. It returns an error when the ADB server
	// can no longer be asked.
	Track func(ctx context.Context, state func(string)) error
	// Register makes canaries known for good, before they are typed anywhere.
	Register func([]canary.Canary) error
	// Known are canaries that earlier runs planted on this phone.
	Known []canary.Canary

	// Pace multiplies every delay; 1 on real phones.
	Pace float64
	// Floor is the shortest window, already multiplied by the pace.
	Floor time.Duration
	// Pairs is how many counted pairs a trial has, at least one.
	Pairs int
	// Seed makes the order of arms and the canaries.
	Seed uint64

	// Route is the way by which the phone is operated: ui.RouteInput, ui.RouteHID,
	// or ui.RouteUnknown for whichever it can be.
	Route ui.Route
	// Person is told in words what to do and returns when it was done; nil for a
	// phone that is operated by its route. Its error is a *CannotError or
	// ErrAborted.
	Person func(ctx context.Context, words string) error

	// Decoders read what no decoder of ours can: a program, or keys of the bench.
	Decoders []telemetry.Decoder
	// Lab is the laboratory's own server, nil where there is none.
	Lab *Lab

	Log *slog.Logger
	// Progress is told in a few words what is being done; nil for nobody.
	Progress func(string)
	// KeyLog is the path of a key log into which the phone's TLS secrets are
	// written while it is observed, by a tool of the bench; empty for none.
	KeyLog string
}

// A Recorder keeps the files of a run. Names are slash-separated paths below
// the run directory that the harness makes itself, never taken from captured
// data.
type Recorder interface {
	// Dir is an existing directory for files that instruments write.
	Dir() string
	// Save writes v as JSON.
	Save(name string, v any) error
	// Write writes bytes as they are.
	Write(name string, data []byte) error
}

// beaconPeriod is how often beacons are sent in a window, before pace.
const beaconPeriod = time.Minute

// beaconLimit bounds one beacon; it is not multiplied by the pace, because a
// busy host is as slow as it is.
const beaconLimit = 15 * time.Second

// extensions is how often the pairs are run again with longer windows, when a
// later ON showed a longer lag than the calibration. The rule is sealed with
// the plan; whatever leaked in a window that was too short counts all the same.
const extensions = 2

// cleanupLimit bounds stopping the instruments after a run.
const cleanupLimit = 60 * time.Second

func (p *Phone) say(format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	p.Log.Info(msg, "serial", p.Device.Serial())
	if p.Progress != nil {
		p.Progress(msg)
	}
}

func (p *Phone) infra(stage, advice string, err error) error {
	var already *InfrastructureError
	if errors.As(err, &already) {
		return err
	}
	return &InfrastructureError{Stage: stage, Device: p.Device.Serial(), Advice: advice, Err: err}
}

// Observe runs a scenario once under the setting that it was bound to, with
// instruments of its own, and judges the observation alone. A scenario bound
// to no setting is an error. When no window was completed the error is an
// *InfrastructureError and the observation holds what was recorded.
func (p *Phone) Observe(ctx context.Context, sc Scenario) (Observation, error) {
	if sc.setting == nil {
		return Observation{}, fmt.Errorf("harness: observe %s: the scenario is bound to no setting; use Scenario.With", sc.Name)
	}
	b, err := p.start(ctx)
	if err != nil {
		return Observation{}, err
	}
	id := string(sc.setting.Arm) + "-" + fmt.Sprint(time.Now().UnixMilli())
	obs := b.observe(ctx, sc, Single, id, p.window(sc.against))
	b.finish(ctx, []*Observation{obs})
	obs.against = sc.against
	f := JudgeAlone(obs, sc.against, p.Collectors)
	obs.Finding = &f
	if err := p.Recorder.Save("observations/"+obs.ID+".json", obs); err != nil {
		return *obs, p.infra("write evidence", "check the disk", err)
	}
	if !obs.Completed() && len(f.Sightings) == 0 {
		return *obs, p.infra("observe "+sc.Name, "", obs.err)
	}
	return *obs, nil
}

// window is the length to wait: the floor, or three times the lag that an
// earlier ON showed.
func (p *Phone) window(on *Observation) time.Duration {
	if on == nil || on.Finding == nil {
		return p.Floor
	}
	return max(p.Floor, 3*longestLag(*on.Finding))
}

// A Trial is observations of one scenario in both arms, paired, in random
// order, with a calibration, a negative control and a closing run.
type Trial struct {
	Format   int    `json:"format"`
	Scenario string `json:"scenario"`
	Summary  string `json:"summary"`
	Serial   string `json:"serial"`
	Model    string `json:"model,omitempty"`
	Build    string `json:"build,omitempty"`
	Seed     uint64 `json:"seed"`
	// Instruments are the backends that ran.
	Instruments []string `json:"instruments"`
	// Window is the length fixed by the calibration.
	Window       time.Duration  `json:"window"`
	Observations []*Observation `json:"observations"`
	Finding      TrialFinding   `json:"finding"`
	// Void are earlier attempts that the rig broke; they stay in the report.
	Void []string `json:"void,omitempty"`
	// Dir is where the evidence lies.
	Dir string `json:"dir,omitempty"`
}

// Try runs a trial: calibration with the switch on, the negative control,
// pairs of both arms in random order, and a closing ON, with capture unbroken
// from the first to the last. When no window was completed the error is an
// *InfrastructureError; a window that broke is a finding with its reason.
func (p *Phone) Try(ctx context.Context, sc Scenario, sw Switch) (Trial, error) {
	t := Trial{Format: 1, Scenario: sc.Name, Summary: sc.Summary, Serial: p.Device.Serial(), Seed: p.Seed, Dir: p.Recorder.Dir()}
	for _, b := range p.Backends {
		t.Instruments = append(t.Instruments, b.Name())
	}
	claim := sc.Claim
	if claim.ID == "" {
		claim = sw(Off).Claim
	}
	t.Finding.Claim = claim
	pairs := max(1, p.Pairs)
	plan := map[string]any{
		"format": 1, "claim": claim, "scenario": sc.Name, "summary": sc.Summary, "pairs": pairs, "extensions": extensions, "floor": p.Floor.String(),
		"seed": p.Seed, "rules": RulesVersion, "collectors": CollectorsVersion(p.Collectors), "serial": t.Serial,
		"instruments": t.Instruments, "written": time.Now(),
	}
	if err := p.Recorder.Save("plan.json", plan); err != nil {
		return t, p.infra("write the plan", "check the disk", err)
	}
	b, err := p.start(ctx)
	if err != nil {
		return t, err
	}
	t.Build, t.Model = b.build, b.model

	run := func(set Setting, part Part, id string, wait time.Duration) *Observation {
		s := sc
		s.Claim = claim
		o := b.observe(ctx, s.With(set), part, id, wait)
		t.Observations = append(t.Observations, o)
		return o
	}
	p.trial(ctx, b, &t, run, sw, pairs)

	b.finish(ctx, t.Observations)
	JudgeTrial(&t, p.Collectors)
	for _, o := range t.Observations {
		if err := p.Recorder.Save("observations/"+o.ID+".json", o); err != nil {
			return t, p.infra("write evidence", "check the disk", err)
		}
	}
	if err := p.Recorder.Save("finding.json", t); err != nil {
		return t, p.infra("write evidence", "check the disk", err)
	}
	completed := slices.ContainsFunc(t.Observations, (*Observation).Completed)
	if !completed && !t.Sighted() {
		var cause error = errors.New("no window was completed")
		if len(t.Observations) > 0 && t.Observations[0].err != nil {
			cause = t.Observations[0].err
		}
		return t, p.infra("try "+sc.Name, "", cause)
	}
	return t, nil
}

// trial runs the arms in order and stops at the first window that broke with
// an error, since nothing after it could repair the trial.
func (p *Phone) trial(ctx context.Context, b *bench, t *Trial, run func(Setting, Part, string, time.Duration) *Observation, sw Switch, pairs int) {
	cal := run(sw(On), Calibration, "calibration", p.Floor)
	if cal.err != nil {
		return
	}
	lag, _, err := b.lag(ctx, t.Observations, p.Collectors)
	if err != nil {
		cal.Broken = append(cal.Broken, fmt.Sprintf("the calibration could not be read: %v", err))
		return
	}
	t.Window = max(p.Floor, 3*lag)
	p.say("calibration: longest lag %s, windows of %s", lag.Round(time.Millisecond), t.Window.Round(time.Millisecond))
	if q := run(sw(Off), Quiet, "quiet", t.Window); q.err != nil {
		return
	}
	rng := rand.New(rand.NewPCG(p.Seed, 0x6f72646572)) //nolint:gosec // The order is sealed with its seed, so it must be repeatable, not secret.
	for round := range 1 + extensions {
		for i := range pairs {
			arms := []Arm{On, Off}
			rng.Shuffle(2, func(i, j int) { arms[i], arms[j] = arms[j], arms[i] })
			for _, arm := range arms {
				if o := run(sw(arm), Pair, fmt.Sprintf("%s-%d", arm, round*pairs+i+1), t.Window); o.err != nil {
					return
				}
			}
		}
		id := "closing"
		if round > 0 {
			id += fmt.Sprintf("-%d", round+1)
		}
		last := run(sw(On), Closing, id, t.Window)
		if last.err != nil || round == extensions {
			return
		}
		lag, leaked, err := b.lag(ctx, t.Observations, p.Collectors)
		if err != nil {
			last.Broken = append(last.Broken, fmt.Sprintf("the lags could not be read: %v", err))
			return
		}
		if leaked || 3*lag <= t.Window {
			return
		}
		t.Window = 3 * lag
		p.say("a later window showed a lag of %s: the pairs are run again with windows of %s", lag.Round(time.Millisecond), t.Window.Round(time.Millisecond))
	}
}

// CollectorsVersion identifies the content of a collector list.
func CollectorsVersion(l *collector.List) string {
	h := sha256.New()
	for _, i := range l.Indicators() {
		fmt.Fprintf(h, "%+v\n", i)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))[:16]
}
