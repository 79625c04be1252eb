package rig

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/spikes"
)

// The simulated farm's haste: the telemetry of a simulated phone flushes every
// 15 s times the pace, and a window is at least the floor times the pace.
const (
	SimulatedPace  = 0.02
	SimulatedFloor = 4 * time.Minute
)

// A Simulation is a simulated farm that runs in this process.
type Simulation struct{ world *sim.World }

// SimulatedPhone reads what a person writes for one simulated phone:
// PERSONALITY[:MODEL[:LOCALE]], such as honest, deaf:mi-10 or
// honest:redmi-k20:fr-FR. The error names what is known.
func SimulatedPhone(text string) (sim.PhoneConfig, error) {
	parts := strings.Split(strings.TrimSpace(text), ":")
	if len(parts) > 3 {
		return sim.PhoneConfig{}, fmt.Errorf("simulated phone %q has too many parts: write PERSONALITY[:MODEL[:LOCALE]], such as honest:mi-10:fr-FR", text)
	}
	parts = append(parts, "", "")
	p := sim.PhoneConfig{Personality: parts[0], Model: parts[1], Locale: parts[2]}
	for _, part := range []struct {
		what, name string
		known      []string
	}{
		{"personality", p.Personality, sim.Personalities()},
		{"model", p.Model, append(sim.Models(), "")},
		{"locale", p.Locale, append(sim.Locales(), "")},
	} {
		if !slices.Contains(part.known, part.name) {
			known := slices.DeleteFunc(part.known, func(name string) bool { return name == "" })
			return sim.PhoneConfig{}, fmt.Errorf("simulated phone %q: no %s is named %q; known are %s", text, part.what, part.name, strings.Join(known, ", "))
		}
	}
	return p, nil
}

// SimulatedPhones reads phones in the notation of SimulatedPhone, separated by
// commas.
func SimulatedPhones(list string) ([]sim.PhoneConfig, error) {
	var phones []sim.PhoneConfig
	for text := range strings.SplitSeq(list, ",") {
		p, err := SimulatedPhone(text)
		if err != nil {
			return nil, err
		}
		phones = append(phones, p)
	}
	return phones, nil
}

// SimulatedLab is the laboratory's own server for a simulated farm: what `offproof
// lab` serves, at addresses of the simulated internet.
func SimulatedLab() *sim.Lab {
	lab := spikes.Lab{V4: netip.AddrFrom4([4]byte{203, 0, 113, 77}), V6: netip.MustParseAddr("2001:db8:77::77")}
	return &sim.Lab{V4: lab.V4, V6: lab.V6, Handler: lab.Handler(), Port: spikes.Port, Datagram: spikes.Answer}
}

// Simulate starts a farm of phones in the notation of SimulatedPhone. It runs
// until Close.
func Simulate(ctx context.Context, phones []string) (*Simulation, error) {
	cfg := sim.Config{Pace: SimulatedPace, Floor: SimulatedFloor, Lab: SimulatedLab()}
	for _, text := range phones {
		p, err := SimulatedPhone(text)
		if err != nil {
			return nil, fmt.Errorf("rig: %w", err)
		}
		cfg.Phones = append(cfg.Phones, p)
	}
	w, err := sim.Start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("rig: start the simulated farm: %w", err)
	}
	return &Simulation{w}, nil
}

// FarmFile is the path of the farm.yaml that names the simulated phones.
func (s *Simulation) FarmFile() string { return s.world.FarmFile() }

// Hands are the addresses at which a person can use the simulated phones, by
// serial.
func (s *Simulation) Hands() map[string]string {
	out := map[string]string{}
	for _, p := range s.world.Phones() {
		out[p.Serial()] = "http://" + s.world.Control() + "/phones/" + p.Serial() + "/hand"
	}
	return out
}

// Close ends the world.
func (s *Simulation) Close() error { return s.world.Close() }
