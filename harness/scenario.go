package harness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness/canary"
)

// A Scenario is what a person does with the phone, as steps in order.
type Scenario struct {
	// Name is unique among scenarios, lower-case with dashes; it names files.
	Name string
	// Summary is one sentence, verb first.
	Summary string
	// Start brings the app to the declared start state, once before the setting
	// is applied: agreeing to its terms, choosing its search engine.
	Start []Step
	Steps []Step
	// Mode is the browsing mode that the steps bring about, empty when a step
	// declares it.
	Mode Mode
	// Claim is the promise to judge; the zero value takes the setting's own.
	Claim Claim

	setting *Setting
	against *Observation
}

// With binds the scenario to a setting.
func (s Scenario) With(set Setting) Scenario {
	s.setting = &set
	return s
}

// Against binds an OFF observation to the collected ON observation that proves
// the instrument could have heard it.
func (s Scenario) Against(on Observation) Scenario {
	s.against = &on
	return s
}

// A Step is a part of a scenario. Its name starts with a verb.
type Step struct {
	Name string
	// Do performs the step and reads its effect back through the act.
	Do func(ctx context.Context, act *Act) error
	// Quiet is true for a step that also runs in the negative control, where
	// nothing may be typed: opening the app, choosing a tab.
	Quiet bool
	// Prepares is true for a step that brings about a condition of the experiment,
	// such as the browsing mode. Where a scenario begins with such steps they are
	// done before the window opens: what the app sends on the way there, in a mode
	// of which the claim may not speak, is not of this window.
	Prepares bool
}

// An Act is what a step works with: the phone, its screen, the minting of
// canaries, and a notebook for what was done and read back. What touches the
// phone goes through Perform, so that a person can do it; the screen is read by
// all.
type Act struct {
	Device *devices.Device
	Screen *ui.Screen
	Log    *slog.Logger
	// Pace multiplies every delay.
	Pace float64

	person func(ctx context.Context, words string) error

	mu   sync.Mutex
	obs  *Observation
	rng  *rand.Rand
	now  func() time.Time
	step int

	register func([]canary.Canary) error
}

// Canary mints a term for one field of this observation, with its sham twin.
// The term is registered before it is returned: what was typed once is searched
// for ever after. The error is for a register that cannot be written.
func (a *Act) Canary(field string) (canary.Canary, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plant(canary.Mint(a.rng, field))
}

// plant registers a term and its sham twin. The lock is held.
func (a *Act) plant(planted, sham canary.Canary) (canary.Canary, error) {
	for _, c := range []*canary.Canary{&planted, &sham} {
		c.Serial, c.Observation, c.Minted = a.obs.Serial, a.obs.ID, a.now()
	}
	if a.register == nil {
		return planted, errors.New("harness: mint a canary: the phone has no register to keep it")
	}
	if err := a.register([]canary.Canary{planted, sham}); err != nil {
		return planted, fmt.Errorf("harness: register a canary: %w", err)
	}
	a.obs.Canaries = append(a.obs.Canaries, planted, sham)
	return planted, nil
}

// Expect declares an exchange for which the step typed a canary.
func (a *Act) Expect(e Expected) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.Expected = append(a.obs.Expected, e)
}

// ReadBack records what a step wanted and what the phone really showed. A
// mismatch makes the observation inconclusive.
func (a *Act) ReadBack(what, want, got string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.ReadBacks = append(a.obs.ReadBacks, ReadBack{
		Step: a.step, What: what, Want: want, Got: got, OK: ok, At: a.now(),
	})
}

// acted records the moment at which a canary is handed to the app.
func (a *Act) acted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.Acts = append(a.obs.Acts, a.now())
}

// CurrentMode is the browsing mode that was recorded last.
func (a *Act) CurrentMode() Mode {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.obs.Mode
}

// Mode records the browsing mode that a step brought about and read back.
func (a *Act) Mode(m Mode) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.Mode = m
}

// Factor records a condition that may matter, such as a consent wall that was
// found open. Nothing is accepted on a person's behalf without one.
func (a *Act) Factor(name, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.obs.Factors == nil {
		a.obs.Factors = map[string]string{}
	}
	a.obs.Factors[name] = value
}

// An Expected exchange is the one place where a typed term belongs: its
// recipient and the role in which it receives it. It excuses that term there,
// and never an identifier, another field or a second copy.
type Expected struct {
	// Canary is the ID of the term.
	Canary string `json:"canary"`
	// Role is in words, such as "DuckDuckGo's search".
	Role string `json:"role"`
	// Host and Path are the recipient, both exact.
	Host string `json:"host"`
	Path string `json:"path"`
	// Param is the one query parameter that holds the term.
	Param string `json:"param"`
	// Known are further query parameters that the engine's own form sends, with
	// the values that a reviewed rule allows.
	Known map[string][]string `json:"known,omitempty"`
	// AsTyped is true for a recipient that may be told what has been typed so far,
	// such as an engine that suggests. Such an exchange need not happen, and does
	// not show that the instruments heard the term.
	AsTyped bool `json:"as_typed,omitempty"`
}

// A ReadBack is one effect that was checked on the phone.
type ReadBack struct {
	Step int       `json:"step"`
	What string    `json:"what"`
	Want string    `json:"want"`
	Got  string    `json:"got"`
	OK   bool      `json:"ok"`
	At   time.Time `json:"at"`
}
