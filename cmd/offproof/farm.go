package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/harness/rig"
)

// listLimit bounds the question for all phones of all servers.
const listLimit = 30 * time.Second

func farmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "farm",
		Short: "Set up the bench that farm.yaml describes",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(farmInitCommand(), farmHoldCommand(), farmProvisionCommand(), farmQuarantineCommand(), farmReleaseCommand())
	return cmd
}

func farmInitCommand() *cobra.Command {
	var servers []string
	var path string
	cmd := &cobra.Command{
		Use:   "init [--adb HOST:PORT]... [--out FILE]",
		Short: "Write a farm.yaml that lists the phones that are attached now",
		Long: `Init asks the ADB servers which phones are attached and writes a farm.yaml that
lists them. It asks the servers only and touches no phone: a phone is not to be
touched before it is listed. Phones that cannot be used yet are written as
comments, with what to do about each. Read the file, take out what is not to be
tested, and run offproof doctor.

Exit status: 0 when a phone was listed, 1 when none could be, 2 when a server did
not answer or the file is there already.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return farmInit(cmd.Context(), cmd.OutOrStdout(), servers, path)
		},
	}
	cmd.Flags().StringArrayVar(&servers, "adb", []string{adb.DefaultAddr}, "an ADB server; may be given more than once")
	cmd.Flags().StringVar(&path, "out", rig.FarmFile, "the file to write")
	return cmd
}

func farmInit(ctx context.Context, out io.Writer, servers []string, path string) error {
	ask, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	entries, err := devices.Inventory(ask, servers)
	if err != nil {
		return fmt.Errorf("farm init: %w", err)
	}
	text, listed := farmText(servers, entries)
	if listed == 0 {
		var said strings.Builder
		said.WriteString("no phone can be listed yet; nothing was written\n")
		for _, e := range entries {
			fmt.Fprintf(&said, "  %s  %s: %s\n", visible(e.Serial), e.State, e.Advice())
		}
		if len(entries) == 0 {
			said.WriteString("  none is attached: plug one in, unlock it, and turn on USB debugging in Developer options\n")
		}
		if _, err := io.WriteString(out, said.String()); err != nil {
			return fmt.Errorf("farm init: %w", err)
		}
		return &statusError{status: statusFound}
	}
	// What is written must be readable, whatever a serial holds.
	if _, err := rig.Parse(path, []byte(text)); err != nil {
		return fmt.Errorf("farm init: the file would not be readable: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // The person names the file.
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("farm init: %s is there already: move it away, or name another file with --out", path)
	}
	if err != nil {
		return fmt.Errorf("farm init: %w", err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("farm init: write %s: %w", path, err)
	}
	_, err = fmt.Fprintf(out, "%s lists %d of %d attached phone(s)\n\n%s\nnext: offproof doctor --farm %s\n", path, listed, len(entries), text, path)
	if err != nil {
		return fmt.Errorf("farm init: %w", err)
	}
	return nil
}

// farmText is the text of a farm.yaml and how many phones it lists.
func farmText(servers []string, entries []devices.Entry) (text string, listed int) {
	var b, later strings.Builder
	b.WriteString("version: 1\nadb:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "  - {server: %q}\n", s)
	}
	b.WriteString("phones: # a phone that is not listed is never touched\n")
	for _, e := range entries {
		if !e.State.Usable() {
			fmt.Fprintf(&later, "  # %s, %s: %s\n", visible(e.Serial), e.State, e.Advice())
			continue
		}
		listed++
		fmt.Fprintf(&b, "  - {serial: %q, capture: [%s, %s], note: %q}\n", e.Serial, rig.CaptureTCPDump, rig.CaptureProxy, strings.ReplaceAll(e.Model(), "_", " "))
	}
	b.WriteString(later.String())
	b.WriteString("pace: 1\nfloor: 15m\n")
	return b.String(), listed
}
