package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness/rig"
)

// doctorLimit bounds the look at one phone.
const doctorLimit = time.Minute

func doctorCommand() *cobra.Command {
	var farm string
	cmd := &cobra.Command{
		Use:   "doctor [--farm FILE]",
		Short: "Say what this host and each phone can do, what they can decide, and what to do about the rest",
		Long: `Doctor asks the ADB servers of the farm for their phones and looks at those that
the farm lists: state, build, and what each instrument could record. A phone that
is not listed is only named. Nothing on a phone is changed, except that what an
earlier run left is undone: whether it accepts taps and settings is tried by a
key without a meaning and by writing a setting that it holds already.

Exit status: 0 when every listed phone can be used, 1 when one cannot, 2 when the
farm cannot be read.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doctor(cmd.Context(), cmd.OutOrStdout(), farm)
		},
	}
	cmd.Flags().StringVar(&farm, "farm", "", "farm.yaml to look at; found as ginkgo finds it when not named")
	return cmd
}

func doctor(ctx context.Context, out io.Writer, path string) error {
	farm, err := findFarm(path)
	if err != nil {
		return err
	}
	r, err := rig.New(farm)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "farm      %s\nstate     %s\nevidence  %s\npace      %g, floor %s\n", farm.Path, farm.State, farm.Evidence, farm.Pace, farm.Floor)
	for _, line := range r.Lists {
		fmt.Fprintf(&b, "lists     %s\n", line)
	}
	if farm.Lab == nil {
		b.WriteString("lab       none: the instruments are not tried with known bodies; run `offproof lab` on a machine in the phones' network\n")
	} else {
		fmt.Fprintf(&b, "lab       %s\n", farm.Lab.Page)
	}
	for _, d := range farm.Decoders {
		fmt.Fprintf(&b, "decoder   %s\n", d.Name)
	}
	healthy := true
	for _, server := range farm.Servers {
		ask, cancel := context.WithTimeout(ctx, 10*time.Second)
		v, err := devices.ServerVersion(ask, server)
		cancel()
		if err != nil {
			healthy = false
			fmt.Fprintf(&b, "adb       %s: %v\n", server, err)
			continue
		}
		fmt.Fprintf(&b, "adb       %s: server version %d\n", server, v)
	}
	entries, err := devices.Inventory(ctx, farm.Servers)
	if err != nil {
		healthy = false
		fmt.Fprintf(&b, "phones    %v\n", err)
	}
	for _, p := range farm.Phones {
		i := slices.IndexFunc(entries, func(e devices.Entry) bool { return e.Serial == p.Serial })
		ok := examine(ctx, &b, r, p, entries, i)
		healthy = healthy && ok
	}
	for _, e := range entries {
		if !slices.ContainsFunc(farm.Phones, func(p rig.FarmPhone) bool { return p.Serial == e.Serial }) {
			fmt.Fprintf(&b, "\n%s  %s: not listed in the farm, so it is never touched\n", visible(e.Serial), e.State)
		}
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	if !healthy {
		return &statusError{status: statusFound}
	}
	return nil
}

// examine writes the table of one listed phone and says whether it can be used.
func examine(ctx context.Context, b *strings.Builder, r *rig.Rig, p rig.FarmPhone, entries []devices.Entry, i int) bool {
	fmt.Fprintf(b, "\n%s\n", visible(p.Serial))
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	row := func(name, text string) { _, _ = fmt.Fprintf(w, "  %s\t%s\n", name, visible(text)) }
	defer w.Flush() //nolint:errcheck // A strings.Builder takes everything.
	if i < 0 {
		row("state", "not attached to any ADB server of the farm")
	} else {
		row("state", string(entries[i].State))
	}
	if notice, err := r.Quarantined(p.Serial); err != nil || notice != nil {
		todo := "mend what is wrong, then run `offproof farm release " + p.Serial + "`"
		switch {
		case err != nil:
			row("quarantine", err.Error())
		case p.Quarantine != "":
			row("quarantine", notice.Reason)
			todo = "mend what is wrong, then remove its quarantine: line"
		default:
			row("quarantine", "since "+notice.Since.Format(time.DateTime)+": "+notice.Reason)
		}
		row("to do", todo)
		return false
	}
	if i < 0 {
		row("to do", "plug it in, or correct its serial")
		return false
	}
	if !entries[i].State.Usable() {
		row("to do", entries[i].Advice())
		return false
	}
	look, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	lease, err := r.Lease(look, p.Serial)
	if err != nil {
		row("to do", err.Error())
		return false
	}
	defer lease.Release(ctx) //nolint:errcheck // Nothing was changed; the lock goes with the process.
	build, err := lease.Device.Identity(look)
	if err != nil {
		row("build", err.Error())
		return false
	}
	row("phone", build.Model+", Android "+build.Release+", "+build.Fingerprint)
	ok := vitals(look, row, lease.Device, p.Input)
	abilities, err := lease.Abilities(look)
	if err != nil {
		row("capture", err.Error())
		return false
	}
	able := map[string]bool{}
	for _, name := range p.Capture {
		a := abilities[name]
		able[name] = a.OK
		if a.OK {
			row(name, "ready: "+a.Sees)
		} else {
			row(name, "cannot run: "+a.Reason)
			ok = false
		}
	}
	if !ok {
		row("decides", "nothing until what is unfit or cannot run has been mended; then "+decides(able))
		return false
	}
	row("decides", decides(able))
	return true
}

// vitals writes a row for each side of the phone's health, and what to do about
// what is not in order.
func vitals(ctx context.Context, row func(name, text string), d *devices.Device, route ui.Route) (ok bool) {
	health, err := d.Health(ctx)
	if err != nil {
		row("to do", err.Error())
		return false
	}
	for _, v := range health {
		switch v.Standing {
		case devices.Fit:
			row(v.Name, v.Found)
		case devices.BlindSpot:
			row(v.Name, "BLIND SPOT: "+v.Found)
		case devices.Unfit:
			row(v.Name, "UNFIT: "+v.Found)
		case devices.Unknown:
			row(v.Name, "unknown: "+v.Found)
		}
	}
	ok = len(health.Is(devices.Unfit)) == 0
	if err := d.CheckProxy(ctx); err != nil {
		row("proxy", "UNFIT: "+err.Error())
		ok = false
	}
	ok = hand(ctx, row, d, route) && ok
	for _, v := range health {
		if v.Advice != "" {
			row("to do", v.Name+": "+v.Advice)
		}
	}
	return ok
}

// hand writes by which way the phone can be operated.
func hand(ctx context.Context, row func(name, text string), d *devices.Device, route ui.Route) (ok bool) {
	const gate = "Developer options: turn on \"USB debugging (Security settings)\" and restart; it may want an account, and signing in changes the experiment"
	if route == ui.RoutePerson {
		row("input", "a person, by farm.yaml: offproof observe --manual")
		return true
	}
	denied := d.ProbeInput(ctx)
	switch {
	case denied == nil && route != ui.RouteHID:
		row("input", "taps and settings are accepted")
		return true
	case route == ui.RouteInput:
		row("input", "UNFIT: "+denied.Error())
		row("to do", gate)
		return false
	}
	h, err := ui.OpenHID(ctx, d)
	if err != nil {
		if denied != nil {
			err = fmt.Errorf("%w; %w", denied, err)
		}
		row("input", "UNFIT: "+err.Error())
		row("to do", gate+"; or let a person operate it: offproof observe --manual")
		return false
	}
	_ = h.Close() // What went wrong with it shows when it is used.
	row("input", "a keyboard and a touch screen of ours are accepted (hid)")
	if denied != nil {
		row("to do", "nothing, or, for the proxy and other settings, which ADB is denied: "+gate)
	}
	return true
}

// decides says what instruments can decide together.
func decides(able map[string]bool) string {
	switch {
	case able[rig.CaptureTCPDump] && able[rig.CaptureProxy]:
		return "whether collection stops, by canary: contents are read, and bytes past the proxy are counted"
	case able[rig.CaptureProxy]:
		return "that something is collected; never that nothing is, since bytes past the proxy go unseen: list tcpdump too"
	case able[rig.CaptureTCPDump]:
		return "whom the phone contacts; contents stay unread: list proxy too"
	default:
		return "nothing yet"
	}
}
