package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
	cfg := sim.Config{Pace: rig.SimulatedPace, Floor: rig.SimulatedFloor, Lab: rig.SimulatedLab()}
	var phones, log string
	var faults []string
	cmd := &cobra.Command{
		Use:   "sim [--phones PERSONALITY[:MODEL[:LOCALE]],...] [--fault N:NAME[=ARG][@AFTER]] [--dir DIR] [--adb HOST:PORT]",
		Short: "Start a simulated farm in the foreground, and print the lines to use it",
		Long: `Sim starts simulated phones on a simulated internet, behind the genuine protocol
of an ADB server on this host's loopback. It writes a farm.yaml and prints the
lines for the genuine adb client and for ginkgo. Ctrl-C ends it.

With --transport each phone listens on a port of its own as well, as a phone does
after "adb tcpip", and a second farm.yaml names the phones as a genuine ADB server
knows them once it has connected to them.

The control door breaks phones by name: GET /faults lists what it knows, and
--fault has it happen by itself.

It says nothing about a live phone: it is for trying the tool and for testing it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Phones, err = rig.SimulatedPhones(phones); err != nil {
				return fmt.Errorf("sim: --phones: %w", err)
			}
			if err := breakPhones(cfg.Phones, faults); err != nil {
				return err
			}
			if log != "" {
				f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600) //nolint:gosec // The user names the file.
				if err != nil {
					return fmt.Errorf("sim: --log: %w", err)
				}
				defer f.Close() //nolint:errcheck // Each line is written by itself.
				cfg.Log = slog.New(slog.NewJSONHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
			}
			return simulate(cmd.Context(), cmd.OutOrStdout(), cfg)
		},
	}
	cmd.Flags().StringVar(&phones, "phones", "honest,honest", "the phones, separated by commas, such as honest,deaf:mi-10,honest:redmi-k20:fr-FR")
	cmd.Flags().StringVar(&cfg.Dir, "dir", "offproof-sim", "folder for farm.yaml, certificates and state")
	cmd.Flags().StringVar(&cfg.ADB, "adb", "127.0.0.1:0", "address of the simulated ADB server; port 0 takes a free one")
	cmd.Flags().StringVar(&cfg.Control, "control", "127.0.0.1:0", "address of the door through which tests break the farm")
	cmd.Flags().StringVar(&log, "log", "", "file that gets every request of an ADB client, every fault and every error, one JSON object a line")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "break a phone by its number and a time, such as 1:unplug=5s@20s; may be repeated")
	cmd.Flags().StringVar(&cfg.Transport, "transport", "", "let a genuine ADB server at this address connect to the phones; alone it means "+genuineServer)
	cmd.Flags().Lookup("transport").NoOptDefVal = genuineServer
	return cmd
}

// breakPhones adds faults in the notation INDEX:NAME[=ARG][@AFTER] to phones
// that are counted from 1.
func breakPhones(phones []sim.PhoneConfig, faults []string) error {
	for _, text := range faults {
		index, rest, _ := strings.Cut(text, ":")
		n, err := strconv.Atoi(index)
		if err != nil || n < 1 || n > len(phones) {
			return fmt.Errorf("sim: --fault %s: before the colon stands a phone's number, 1 to %d", text, len(phones))
		}
		f, err := sim.ParseFault(rest)
		if err != nil {
			return fmt.Errorf("sim: --fault %s: %w", text, err)
		}
		phones[n-1].Faults = append(phones[n-1].Faults, f)
	}
	return nil
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
