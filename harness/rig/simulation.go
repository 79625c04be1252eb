package rig

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/sim/browser"
)

// The simulated farm's haste: the telemetry of a simulated phone flushes every
// 15 s times the pace, and a window is at least the floor times the pace.
const (
	SimulatedPace  = 0.02
	SimulatedFloor = 4 * time.Minute
)

// A Simulation is a simulated farm that runs in this process.
type Simulation struct{ world *sim.World }

// CheckPersonality says whether a simulated phone can behave in that way.
func CheckPersonality(name string) error {
	if _, ok := browser.Find(name); ok {
		return nil
	}
	var known []string
	for _, p := range browser.All() {
		known = append(known, p.Name)
	}
	return fmt.Errorf("no personality is named %q; known are %s", name, strings.Join(known, ", "))
}

// Simulate starts a farm with one phone for each personality. It runs until
// Close.
func Simulate(ctx context.Context, personalities []string) (*Simulation, error) {
	cfg := sim.Config{Pace: SimulatedPace, Floor: SimulatedFloor}
	for _, name := range personalities {
		if err := CheckPersonality(name); err != nil {
			return nil, err
		}
		cfg.Phones = append(cfg.Phones, sim.PhoneConfig{Personality: name})
	}
	w, err := sim.Start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("rig: start the simulated farm: %w", err)
	}
	return &Simulation{w}, nil
}

// FarmFile is the path of the farm.yaml that names the simulated phones.
func (s *Simulation) FarmFile() string { return s.world.FarmFile() }

// Close ends the world.
func (s *Simulation) Close() error { return s.world.Close() }
