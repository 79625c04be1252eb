package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/harness"
	"github.com/offproof/offproof/harness/evidence"
)

func linkCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "link [--json] RUN...",
		Short: "Say by which values the records of several runs can be tied together",
		Long: `Link reads the run directories of trials and prints the values that were sent to
the same recipient in the same field in more than one window: identifiers by which
records can be tied to one phone, and so to one person. It says what did not change
them: the switch, the browsing mode, a restart of the phone, a reset of the app's
data, days.

Name runs of several modes, days and starts of a phone to learn how long a value
lives, and runs of another phone to learn which values are everybody's. A directory
whose seal is broken is an error.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("link: name at least one RUN, the directory of a trial's evidence")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var all [][]harness.Link
			for _, dir := range args {
				if _, err := os.Stat(filepath.Join(dir, "SHA256SUMS")); err != nil {
					return fmt.Errorf("link: %s is no sealed RUN: %w; name directories of trials below the farm's evidence directory", dir, err)
				}
				if err := evidence.Verify(dir); err != nil {
					return fmt.Errorf("link: %w", err)
				}
				t, err := evidence.ReadTrial(dir)
				if err != nil {
					return fmt.Errorf("link: %s: %w", dir, err)
				}
				all = append(all, t.Finding.Links)
			}
			var out bytes.Buffer
			links := harness.MergeLinks(all...)
			for _, l := range links {
				if asJSON {
					line, err := json.Marshal(l)
					if err != nil {
						return fmt.Errorf("link: %w", err)
					}
					out.Write(append(line, '\n'))
					continue
				}
				fmt.Fprintf(&out, "%s\n    in the %s: %s\n", visible(l.String()), visible(l.Where), visible(l.Path))
				for _, c := range []struct {
					what string
					list []string
				}{{"switch", l.Arms}, {"modes", l.Modes}, {"app data", l.Data}, {"phones", l.Serials}} {
					if len(c.list) > 1 {
						fmt.Fprintf(&out, "    %s: %s\n", c.what, visible(strings.Join(c.list, ", ")))
					}
				}
			}
			if len(links) == 0 && !asJSON {
				out.WriteString("no value was sent in more than one window to a recipient whose contents were read\n")
			}
			if _, err := cmd.OutOrStdout().Write(out.Bytes()); err != nil {
				return fmt.Errorf("link: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per line")
	return cmd
}
