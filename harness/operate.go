package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
)

// showLimit bounds the wait for what an act has to bring about.
const showLimit = 45 * time.Second

// A Handling is one thing that is done to a phone: by the phone's hand, or by a
// person who is told in words.
type Handling struct {
	// Words tell a person what to do, as one order that names what is to be seen
	// on the phone.
	Words string
	// Do does it with the screen.
	Do func(ctx context.Context) error
	// Until says what is still missing, nil when nothing is. A person is asked
	// again while something is. It is nil where the step itself reads the effect
	// back, because a second try would not be the same act.
	Until func(ctx context.Context) error
	// Acts is true for what hands a canary to the app: lags and timing are counted
	// from it.
	Acts bool
}

// An Asked is one order to the person who operates the phone, and what came of
// it.
type Asked struct {
	Words string    `json:"words"`
	At    time.Time `json:"at"`
	// Answered is when the person said that it was done, or that it could not be.
	Answered time.Time `json:"answered"`
	// Answer is what was wrong, empty for done.
	Answer string `json:"answer,omitempty"`
}

// ErrAborted is a person's wish to end.
var ErrAborted = errors.New("harness: the person ended it")

// A CannotError is a person's answer that something cannot be done.
type CannotError struct{ Words, Why string }

func (e *CannotError) Error() string {
	if e.Why == "" {
		return fmt.Sprintf("harness: the person could not do it: %q", e.Words)
	}
	return fmt.Sprintf("harness: the person could not do it: %q: %s", e.Words, e.Why)
}

// Perform has something done to the phone, by its hand or by a person. Where
// Until is given it is looked at either way.
func (a *Act) Perform(ctx context.Context, h Handling) error {
	if h.Acts {
		a.acted()
	}
	if a.person == nil {
		if err := h.Do(ctx); err != nil {
			return err
		}
		return h.look(ctx)
	}
	words := h.Words
	for {
		asked := Asked{Words: words, At: a.now()}
		err := a.person(ctx, words)
		asked.Answered = a.now()
		if err != nil {
			asked.Answer = err.Error()
		}
		a.asked(asked, h.Acts)
		if err != nil {
			return err
		}
		if err = h.look(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		words = fmt.Sprintf("%s (asked again: %v)", h.Words, err)
	}
}

// look waits for what has to be seen afterwards.
func (h Handling) look(ctx context.Context) error {
	if h.Until == nil {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, showLimit)
	defer cancel()
	return h.Until(wait)
}

// Showing is a Handling's Until: the screen has to show a node.
func (a *Act) Showing(sel ui.Selector) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := a.Screen.WaitFor(ctx, sel)
		return err
	}
}

// asked keeps an order; where it was the act itself, the window's length counts
// from the answer, because nobody knows when in between it was done.
func (a *Act) asked(one Asked, act bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.obs.Asked = append(a.obs.Asked, one)
	if act {
		a.obs.Settled = one.Answered
	}
}

// operate finds the way by which the phone can be operated: the one that was
// chosen, or the input command, or HID devices. The function ends it.
func (p *Phone) operate(ctx context.Context) (end func() error, err error) {
	nothing := func() error { return nil }
	if p.Person != nil {
		p.Screen.Use(ui.Nobody{})
		return nothing, nil
	}
	var denied error
	if p.Route != ui.RouteHID {
		// MIUI has a property for it, which may claim either.
		denied = p.Device.ProbeInput(ctx)
		var gate *devices.GateError
		if denied == nil || p.Route == ui.RouteInput || !errors.As(denied, &gate) {
			return nothing, p.noRoute(denied)
		}
	}
	hid, err := ui.OpenHID(ctx, p.Device)
	switch {
	case err != nil && denied != nil:
		return nothing, p.noRoute(fmt.Errorf("%w; %w", denied, err))
	case err != nil:
		return nothing, p.noRoute(err)
	}
	p.say("operating the phone by a keyboard and a touch screen of ours (hid)")
	p.Screen.Use(hid)
	return hid.Close, nil
}

func (p *Phone) noRoute(err error) error {
	if err == nil {
		return nil
	}
	return p.infra("operate the phone", "let a person operate it: `offproof observe --manual`; signing in to open the gate changes the experiment: write it down", err)
}
