package archtest

import (
	"fmt"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// A place says where a package stands.
type place struct {
	// tier is the package's floor: it may import every package of a lower one.
	tier int
	// beside are the packages of its own tier that it may import too.
	beside []string
	// why says what keeping to the place protects.
	why string
}

// tiers gives every package its place. A package that is not named here has no
// place yet, and is a finding: the table is the plan of the house.
var tiers = map[string]place{
	"capture":         {1, nil, "these are the words that instruments and judges share, so they may depend on nobody's opinion"},
	"devices/adb":     {1, nil, "the wire client must be testable with a socket alone"},
	"devices/android": {1, nil, "readers of the phone's texts are pure functions over text"},

	"capture/dissect":   {2, nil, "packets become flows by the packets alone, never by what somebody hopes to find in them"},
	"capture/packets":   {2, nil, "filing packets must not know where they come from nor what they mean"},
	"capture/payload":   {2, nil, "peeling a body must not know whose body it is"},
	"capture/telemetry": {2, []string{"capture/payload"}, "an SDK's format is a fact of the wire, not a judgement"},
	"devices":           {2, nil, "driving a phone must not know what is being looked for"},
	"devices/ui":        {2, []string{"devices"}, "the screen is one of a phone's parts"},

	"capture/tcpdump":   {3, nil, "a backend delivers bytes and health and never interprets"},
	"capture/proxy":     {3, nil, "a backend delivers bytes and health and never interprets"},
	"capture/pcapdroid": {3, nil, "a backend delivers bytes and health and never interprets"},
	"capture/gateway":   {3, nil, "a backend delivers bytes and health and never interprets"},
	"capture/emulator":  {3, nil, "a backend delivers bytes and health and never interprets"},

	"harness/canary":    {4, nil, "finding a planted term must not depend on who is suspected"},
	"harness/spikes":    {4, []string{"harness/canary"}, "what the lab sends and what the judge looks for is agreed on in one place"},
	"harness/collector": {4, nil, "who collects is data with reasons, apart from how it is judged"},

	"harness":          {5, nil, "the judge takes values and returns values, so that a sceptic can run it again from disk"},
	"harness/evidence": {5, []string{"harness"}, "the judge declares the recorder it needs; the files are one way to be it"},
	"harness/expect":   {5, []string{"harness"}, "a matcher says in a spec what the judge found and adds nothing"},

	"scenarios/browser": {6, nil, "what a person does with a browser is described once for every build"},
	"scenarios":         {6, []string{"scenarios/browser"}, "what a person does must not know how it is judged or on which bench"},

	"harness/rig":    {7, nil, "the bench must serve the command as well as the specs, so it knows no Ginkgo"},
	"harness/report": {7, nil, "a report is made from sealed evidence, without a bench"},
	"harness/suite":  {7, []string{"harness/rig", "harness/report"}, "only here do the bench and Ginkgo meet"},

	"devices/adbdtest":    {8, nil, "it tries what ships on a genuine daemon, and nothing builds on it"},
	"harness/capturetest": {8, nil, "it tries what ships with every set of instruments, and nothing builds on it"},
	"harness/faulttest":   {8, nil, "it tries what ships on phones that break, and nothing builds on it"},

	"specs":        {8, nil, "claims are tests and nothing builds on them"},
	"cmd/offproof": {8, nil, "the command wires; whatever others could use lives below"},

	"internal/archtest": {1, nil, "the rules must not depend on what they rule"},
	"internal/peers":    {1, nil, "tests of every package use it"},
}

// The folders of the simulated phone and of the helpers for tests.
const (
	simDir   = "devices/sim"
	peersDir = "internal/peers"
)

// simImporters may import the simulated phone in code that ships; every test may.
var simImporters = []string{"harness/rig", "cmd/offproof"}

// Reasons that more than one check gives.
const (
	whyOracle    = "an oracle may not share code with what it judges, and product code has no \"if sim\""
	whyStrangers = "a backend must work for any device that offers the small interface it declares, and a phone must not know what listens to it"
	whyPeers     = "it exists for tests: a program that ships never skips a check"
)

// A library is a module that is kept in its place.
type library struct {
	// where are the folders, with everything below them, that may import it.
	where []string
	// exact is true where the folders below them may not.
	exact bool
	// tests is true where any test may import it too.
	tests bool
	why   string
}

// libraries are the confined modules, by import path prefix. The longest prefix
// decides.
var libraries = map[string]library{
	"github.com/electricbubble/gadb": {
		where: []string{"devices"}, exact: true, tests: true,
		why: "it takes a lost phone for success and loses the end of a push, so each use stands behind a bound that only devices has",
	},
	"github.com/gopacket/gopacket": {
		where: []string{"capture/dissect"}, tests: true,
		why: "packets are read in one place, with one idea of what is missing",
	},
	"github.com/gopacket/gopacket/pcap": {
		why: "it needs cgo and libpcap, and the module must build with Go alone",
	},
	"google.golang.org/protobuf": {
		where: []string{"capture", simDir}, tests: true,
		why: "messages are read field by field, since no SDK publishes what its own mean; whoever judges gets values",
	},
	"gvisor.dev/gvisor": {
		where: []string{simDir},
		why:   "it is the simulated internet; anything else on it would measure itself",
	},
	"github.com/quic-go/quic-go": {
		where: []string{simDir}, tests: true,
		why: "what we say of QUIC is read from its packets, not asked of a library that speaks it",
	},
	"github.com/quic-go/qpack": {
		tests: true,
		why:   "what we say of HTTP/3 is read from its packets; the library is what our reading of its headers is compared with",
	},
	"github.com/onsi/ginkgo/v2": {
		where: []string{"specs", "harness/suite"},
		why:   "helpers return errors and only specs fail, so that a program can use them too",
	},
	"github.com/onsi/gomega": {
		where: []string{"specs", "harness/suite", "harness/expect"}, tests: true,
		why: "helpers return errors and only specs fail, so that a program can use them too",
	},
	"github.com/fxamacker/cbor/v2": {
		tests: true,
		why:   "it merges members of the same name and does not say where an item ended, so it is what tests compare with",
	},
	"github.com/vmihailenco/msgpack/v5": {
		tests: true,
		why:   "it merges members of the same name and copies what it reads, so it is what tests compare with",
	},
	"github.com/pierrec/lz4/v4": {
		where: []string{"capture/payload"}, tests: true,
		why: "what decompresses captured bytes stands behind one set of bounds",
	},
	"github.com/ulikunitz/xz": {
		where: []string{"capture/payload"}, tests: true,
		why: "a file may ask its own reader for a dictionary of 4 GB; only its decoder of blocks is used, within bounds",
	},
	"C": {
		why: "the module must build with Go alone",
	},
}

// imports applies the rules about what a file imports.
func (c *check) imports(f *file) {
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused such a file
		}
		if own, ok := strings.CutPrefix(name, Module+"/"); ok {
			c.ownImport(f, spec.Pos(), own)
		} else {
			c.libraryImport(f, spec.Pos(), name)
		}
	}
}

// ownImport applies the tiers to the import of a package of the project.
func (c *check) ownImport(f *file, pos token.Pos, target string) {
	if f.dir == target {
		return // an external test of the package itself
	}
	report := func(rule, why string) {
		c.at(f, pos, fmt.Sprintf("%s may not import %s: %s", f.dir, target, rule), why)
	}
	switch {
	case f.test:
		// A test may join what the code keeps apart, the simulated phone with
		// the judge for one.
		return
	case within(target, peersDir):
		report("only tests may", whyPeers)
		return
	case within(f.dir, simDir):
		if !within(target, simDir) {
			report("the simulated phone imports nothing of ours outside devices/sim", whyOracle)
		}
		return
	case within(target, simDir):
		if !slices.Contains(simImporters, f.dir) {
			report("only "+strings.Join(simImporters, ", ")+" and tests import the simulated phone", whyOracle)
		}
		return
	case within(f.dir, "capture") && within(target, "devices"), within(f.dir, "devices") && within(target, "capture"):
		report("capture and devices are strangers", whyStrangers)
		return
	}
	from, ok := placeOf(f.dir)
	if !ok {
		return // a finding of its own, made once per package
	}
	to, ok := placeOf(target)
	if !ok {
		return
	}
	if to.tier < from.tier || slices.Contains(from.beside, target) {
		return
	}
	report(fmt.Sprintf("it is of tier %d and the importer of tier %d", to.tier, from.tier), from.why)
}

// libraryImport applies the confinement of libraries.
func (c *check) libraryImport(f *file, pos token.Pos, name string) {
	var prefix string
	for p := range libraries {
		if within(name, p) && len(p) > len(prefix) {
			prefix = p
		}
	}
	if prefix == "" {
		return
	}
	lib := libraries[prefix]
	if f.test && lib.tests {
		return
	}
	for _, dir := range lib.where {
		if f.dir == dir || !lib.exact && within(f.dir, dir) {
			return
		}
	}
	rule := fmt.Sprintf("%s may not import %s: ", f.dir, name)
	if len(lib.where) == 0 {
		rule += "nothing may"
	} else {
		rule += "only " + strings.Join(lib.where, ", ") + " may"
	}
	c.at(f, pos, rule, lib.why)
}

// placeOf finds the place of a package: its own, or that of the package whose
// internal part it is. Packages of the simulated phone have rules of their own.
func placeOf(dir string) (place, bool) {
	if owner, _, ok := strings.Cut(dir, "/internal/"); ok {
		dir = owner
	}
	p, ok := tiers[dir]
	return p, ok
}

// placed says whether the plan of the house knows the package.
func placed(dir string) bool {
	if within(dir, simDir) {
		return true
	}
	_, ok := placeOf(dir)
	return ok
}

// within says whether a slash-separated path is dir or lies below it.
func within(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, dir+"/")
}
