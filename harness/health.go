package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
)

// answerLimit is how long a phone may take over a command that does next to
// nothing before a window; it is not multiplied by the pace, because a busy host
// is as slow as it is.
const answerLimit = 15 * time.Second

// examine wakes the phone and looks at its health. A phone that is unfit is an
// *InfrastructureError with what to do about it: a battery saver, a full disk or
// a tunnel silence a phone as thoroughly as a switch that keeps its promise. own are
// the tunnels of instruments.
func (p *Phone) examine(ctx context.Context, own ...string) (devices.Health, error) {
	// One that does not answer is not asked all the rest.
	if ailment, err := p.Device.Look(ctx, answerLimit); ailment != devices.Healthy {
		return nil, p.infra("examine the phone", "check the cable, look at the phone's screen, and run `offproof doctor`", fmt.Errorf("%s: %w", ailment, err))
	}
	// A phone that is awake takes no notice of this key, and one that refuses it
	// is examined all the same.
	var gate *devices.GateError
	var person *ui.HandsOffError
	if err := p.Screen.Key(ctx, ui.KeyWakeup); err != nil && !errors.As(err, &gate) && !errors.As(err, &person) {
		return nil, p.infra("wake the phone", "check the cable and `adb devices`", err)
	}
	h, err := p.Device.Health(ctx, own...)
	if err != nil {
		return nil, p.infra("examine the phone", "check the cable and `adb devices`", err)
	}
	var found, advice []string
	for _, v := range h.Is(devices.Unfit) {
		found, advice = append(found, v.Name+": "+v.Found), append(advice, v.Advice)
	}
	if len(found) > 0 {
		return h, p.infra("examine the phone", strings.Join(advice, "; "), errors.New(strings.Join(found, "; ")))
	}
	return h, nil
}

// tunnels are the interfaces of those instruments that are the phone's VPN.
func (b *bench) tunnels() []string {
	var own []string
	for _, s := range b.sessions {
		if t, ok := s.Session.(capture.Tunnel); ok {
			own = append(own, t.Tunnel())
		}
	}
	return own
}

// blindSpots says in words what the instruments would not have seen.
func blindSpots(h devices.Health) []string {
	var out []string
	for _, v := range h.Is(devices.BlindSpot) {
		out = append(out, "blind spot: "+v.Name+" "+v.Found)
	}
	return out
}

// orNone joins blind spots for a sentence.
func orNone(spots []string) string {
	if len(spots) == 0 {
		return "no blind spot"
	}
	return strings.Join(spots, ", ")
}
