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

// genuineServer is where an ADB server listens unless it is told otherwise.
const genuineServer = "127.0.0.1:5037"

// serverFlags are the options of the adb client that lead to a server.
func serverFlags(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || addr == genuineServer {
		return ""
	}
	return fmt.Sprintf("-H %s -P %s ", host, port)
}

func simCommand() *cobra.Command {
	cfg := sim.Config{Pace: rig.SimulatedPace, Floor: rig.SimulatedFloor}
	var phones string
	cmd := &cobra.Command{
		Use:   "sim [--phones PERSONALITY[:MODEL[:LOCALE]],...] [--dir DIR] [--adb HOST:PORT]",
		Short: "Start a simulated farm in the foreground, and print the lines to use it",
		Long: `Sim starts simulated phones on a simulated internet, behind the genuine protocol
of an ADB server on this host's loopback. It writes a farm.yaml and prints the
lines for the genuine adb client and for ginkgo. Ctrl-C ends it.

With --transport each phone listens on a port of its own as well, as a phone does
after "adb tcpip", and a second farm.yaml names the phones as a genuine ADB server
knows them once it has connected to them.

It says nothing about a live phone: it is for trying the tool and for testing it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Phones, err = rig.SimulatedPhones(phones); err != nil {
				return fmt.Errorf("sim: --phones: %w", err)
			}
			return simulate(cmd.Context(), cmd.OutOrStdout(), cfg)
		},
	}
	cmd.Flags().StringVar(&phones, "phones", "honest,honest", "the phones, separated by commas, such as honest,deaf:mi-10,honest:redmi-k20:fr-FR")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "offproof-sim", "folder for farm.yaml, certificates and state")
	cmd.Flags().StringVar(&cfg.ADB, "adb", "127.0.0.1:0", "address of the simulated ADB server; port 0 takes a free one")
	cmd.Flags().StringVar(&cfg.Control, "control", "127.0.0.1:0", "address of the door through which tests break the farm")
	cmd.Flags().StringVar(&cfg.Transport, "transport", "", "let a genuine ADB server at this address connect to the phones; alone it means "+genuineServer)
	cmd.Flags().Lookup("transport").NoOptDefVal = genuineServer
	return cmd
}

func simulate(ctx context.Context, out io.Writer, cfg sim.Config) error {
	var err error
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return fmt.Errorf("sim: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("sim: make the farm's folder: %w", err)
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
`, host, port, world.FarmFile(), world.FarmFile())
	if file := world.TransportFile(); file != "" {
		text.WriteString("\n")
		for _, p := range world.Phones() {
			fmt.Fprintf(&text, "  adb %sconnect %s\n", serverFlags(cfg.Transport), p.Transport())
		}
		fmt.Fprintf(&text, "  OFFPROOF_FARM=%s go tool ginkgo ./specs\n", file)
	}
	fmt.Fprintf(&text, "\ncontrol: http://%s\nready; Ctrl-C ends it\n", world.Control())
	if _, err := io.WriteString(out, text.String()); err != nil {
		return errors.Join(fmt.Errorf("sim: %w", err), world.Close())
	}
	<-ctx.Done()
	if err := world.Close(); err != nil {
		return fmt.Errorf("sim: end: %w", err)
	}
	return nil
}
