package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/harness/rig"
)

// findFarm reads the farm that a person named, or the one that ginkgo would
// find.
func findFarm(path string) (*rig.Farm, error) {
	if path == "" {
		dir, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("find farm.yaml: %w", err)
		}
		if path, err = rig.Find(dir); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return nil, errors.New("there is no farm.yaml here: write one with `offproof farm init`, or name one with --farm")
	}
	return rig.Load(path)
}

// farmFlag adds the flag that names a farm.
func farmFlag(cmd *cobra.Command, farm *string) {
	cmd.Flags().StringVar(farm, "farm", "", "the farm.yaml; found as ginkgo finds it when not named")
}

func openRig(path string) (*rig.Rig, error) {
	farm, err := findFarm(path)
	if err != nil {
		return nil, err
	}
	return rig.New(farm)
}

func farmHoldCommand() *cobra.Command {
	var farm string
	var limit time.Duration
	cmd := &cobra.Command{
		Use:   "hold SERIAL [--for TIME]",
		Short: "Take a phone for yourself until Ctrl-C; runs wait for it and say who has it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRig(farm)
			if err != nil {
				return err
			}
			return hold(cmd.Context(), cmd.OutOrStdout(), r, args[0], limit)
		},
	}
	farmFlag(cmd, &farm)
	cmd.Flags().DurationVar(&limit, "for", 0, "give it back after this time, such as 2h; 0 means not before Ctrl-C")
	return cmd
}

// hold leases a phone, which undoes what an earlier run left on it, and keeps it
// until ctx ends or the time is over.
func hold(ctx context.Context, out io.Writer, r *rig.Rig, serial string, limit time.Duration) error {
	r.Waiting = func(holders []devices.Holder) {
		for _, h := range holders {
			_, _ = fmt.Fprintf(out, "waiting: %s\n", visible(h.String()))
		}
	}
	lease, err := r.Hold(ctx, serial)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(lease.Device.Server())
	if err == nil {
		_, err = fmt.Fprintf(out, "%s is yours: adb -H %s -P %s -s %s shell\nCtrl-C gives it back; put back by hand what you change by hand\n", visible(serial), host, port, visible(serial))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("farm hold: %w", err), lease.Release(ctx))
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	<-ctx.Done()
	if err := lease.Release(ctx); err != nil {
		return fmt.Errorf("farm hold: give %s back: %w", serial, err)
	}
	return nil
}

func farmQuarantineCommand() *cobra.Command {
	var farm, reason string
	cmd := &cobra.Command{
		Use:   "quarantine SERIAL --reason TEXT",
		Short: "Take a phone out of the farm until `farm release`; specs go to other phones",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("farm quarantine: say why, with --reason: whoever finds the phone has to know")
			}
			r, err := openRig(farm)
			if err != nil {
				return err
			}
			if err := r.Quarantine(args[0], reason); err != nil {
				return err
			}
			return say(cmd.OutOrStdout(), "%s is in quarantine: %s\n", visible(args[0]), visible(reason))
		},
	}
	farmFlag(cmd, &farm)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever finds the phone")
	return cmd
}

func farmReleaseCommand() *cobra.Command {
	var farm string
	cmd := &cobra.Command{
		Use:   "release SERIAL",
		Short: "End a phone's quarantine",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRig(farm)
			if err != nil {
				return err
			}
			if err := r.Readmit(args[0]); err != nil {
				return err
			}
			return say(cmd.OutOrStdout(), "%s may be used again\n", visible(args[0]))
		},
	}
	farmFlag(cmd, &farm)
	return cmd
}

func say(out io.Writer, format string, args ...any) error {
	if _, err := fmt.Fprintf(out, format, args...); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func farmProvisionCommand() *cobra.Command {
	var farm, build string
	cmd := &cobra.Command{
		Use:   "provision SERIAL [--build NAME]",
		Short: "Put a build onto a phone, and make it ready, by the hooks flash and provision of farm.yaml",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := openRig(farm)
			if err != nil {
				return err
			}
			return provision(cmd.Context(), cmd.OutOrStdout(), r, args[0], build)
		},
	}
	farmFlag(cmd, &farm)
	cmd.Flags().StringVar(&build, "build", "", "the build to put onto the phone, as the hook flash takes it; without one only the hook provision runs")
	return cmd
}

// provision leases a phone, has the bench's hooks change what is on it, and says
// what is on it then and how it is.
func provision(ctx context.Context, out io.Writer, r *rig.Rig, serial, build string) error {
	lease, err := r.Lease(ctx, serial)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	before, after, err := lease.Provision(ctx, build)
	if before.Fingerprint != "" {
		say("before  %s", visible(before.Fingerprint))
	}
	if err == nil {
		say("after   %s", visible(after.Fingerprint))
		var health devices.Health
		if health, err = lease.Device.Health(ctx); err == nil {
			for _, v := range append(health.Is(devices.Unfit), health.Is(devices.BlindSpot)...) {
				say("%-7s %s", v.Standing, visible(v.String()))
			}
		}
	}
	return errors.Join(err, lease.Release(ctx))
}
