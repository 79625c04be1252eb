package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/rig"
)

func simCommand() *cobra.Command {
	var phones, dir, adb, control string
	cmd := &cobra.Command{
		Use:   "sim [--phones PERSONALITY[:MODEL[:LOCALE]],...] [--dir DIR] [--adb HOST:PORT]",
		Short: "Start a simulated farm in the foreground, and print the lines to use it",
		Long: `Sim starts simulated phones on a simulated internet, behind the genuine protocol
of an ADB server on this host's loopback. It writes a farm.yaml and prints the
lines for the genuine adb client and for ginkgo. Ctrl-C ends it.

It says nothing about a live phone: it is for trying the tool and for testing it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return simulate(cmd.Context(), cmd.OutOrStdout(), phones, dir, adb, control)
		},
	}
	cmd.Flags().StringVar(&phones, "phones", "honest,honest", "the phones, separated by commas, such as honest,deaf:mi-10,honest:redmi-k20:fr-FR")
	cmd.Flags().StringVar(&dir, "dir", "offproof-sim", "folder for farm.yaml, certificates and state")
	cmd.Flags().StringVar(&adb, "adb", "127.0.0.1:0", "address of the simulated ADB server; port 0 takes a free one")
	cmd.Flags().StringVar(&control, "control", "127.0.0.1:0", "address of the door through which tests break the farm")
	return cmd
}

func simulate(ctx context.Context, out io.Writer, phones, dir, adb, control string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return fmt.Errorf("sim: make the farm's folder: %w", err)
	}
	cfg := sim.Config{Pace: rig.SimulatedPace, Floor: rig.SimulatedFloor, Dir: abs, ADB: adb, Control: control}
	if cfg.Phones, err = rig.SimulatedPhones(phones); err != nil {
		return fmt.Errorf("sim: --phones: %w", err)
	}
	world, err := sim.Start(ctx, cfg)
	if err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	host, port, err := net.SplitHostPort(world.ADB())
	if err != nil {
		return errors.Join(fmt.Errorf("sim: %w", err), world.Close())
	}
	var text strings.Builder
	fmt.Fprintf(&text, "simulated farm: %d phone(s)\n", len(world.Phones()))
	for _, p := range world.Phones() {
		fmt.Fprintf(&text, "  %s  %s, %s, %s\n", p.Serial(), p.Model(), p.Locale(), p.Personality())
	}
	fmt.Fprintf(&text, `
  adb -H %s -P %s devices -l
  OFFPROOF_FARM=%s go tool ginkgo ./specs
  go run ./cmd/offproof doctor --farm %s

control: http://%s
ready; Ctrl-C ends it
`, host, port, world.FarmFile(), world.FarmFile(), world.Control())
	if _, err := io.WriteString(out, text.String()); err != nil {
		return errors.Join(fmt.Errorf("sim: %w", err), world.Close())
	}
	<-ctx.Done()
	if err := world.Close(); err != nil {
		return fmt.Errorf("sim: end: %w", err)
	}
	return nil
}
