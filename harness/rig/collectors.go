package rig

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/offproof/offproof/harness/collector"
)

// collectors reads which lists are added to the built-in one.
func (p *parser) collectors(n *yaml.Node, f *Farm) {
	if n.Kind == 0 {
		return
	}
	var names []string
	if err := n.Decode(&names); err != nil || n.Kind != yaml.SequenceNode {
		p.fail(n, "collectors must be a list of files, such as [trackers.txt]")
		return
	}
	for _, name := range names {
		if name == "" {
			p.fail(n, "collectors: a file without a name")
			return
		}
		f.Collectors = append(f.Collectors, p.absolute(name))
	}
}

// addCollectors reads the farm's lists and adds them to the built-in one. A list
// that cannot be read is an error: a run must not know fewer collectors than its
// farm says. What collects is added first, whatever the order of the files, so
// that no list excuses what another calls a collector.
func (r *Rig) addCollectors() error {
	var excuses []func()
	for _, path := range r.Farm.Collectors {
		text, err := os.ReadFile(path) //nolint:gosec // The farm names it.
		if err != nil {
			return fmt.Errorf("rig: read collectors of %s: %w", r.Farm.Path, err)
		}
		sum := sha256.Sum256(text)
		name := filepath.Base(path)
		all, notes, err := collector.Import(bytes.NewReader(text), collector.By{Source: name + ", sha256:" + hex.EncodeToString(sum[:8])})
		if err != nil {
			return fmt.Errorf("rig: read collectors of %s: %w", r.Farm.Path, err)
		}
		say := func(lines []string) {
			for _, line := range lines {
				r.Lists = append(r.Lists, name+": "+line)
			}
		}
		add := func(entries []collector.Indicator) {
			more, added := r.Collectors.With(entries)
			r.Collectors = more
			say(added.Lines()[1:])
		}
		var collects, others []collector.Indicator
		for _, in := range all {
			switch in.Purpose {
			case collector.Collect, collector.Ads, collector.Push:
				collects = append(collects, in)
			case collector.PurposeUnknown, collector.Config, collector.Consent, collector.Connectivity, collector.Update:
				others = append(others, in)
			}
		}
		say(notes.Lines())
		add(collects)
		excuses = append(excuses, func() { add(others) })
	}
	for _, add := range excuses {
		add()
	}
	return nil
}
