package archtest_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/offproof/offproof/internal/archtest"
)

// TestTheHouse applies the rules to the project itself.
func TestTheHouse(t *testing.T) {
	const root = "../.."
	mod, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatalf("archtest runs at internal/archtest of the module: %v", err)
	}
	if !strings.HasPrefix(string(mod), "module "+archtest.Module+"\n") {
		t.Fatalf("go.mod is not that of %s", archtest.Module)
	}
	found, err := archtest.Check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// house is a small tree that breaks no rule, with one file more or in place of
// another.
func house(name, content string) fstest.MapFS {
	tree := fstest.MapFS{}
	add := func(name, content string) { tree[name] = &fstest.MapFile{Data: []byte(content)} }
	doc := func(name, more string) string {
		return "// Package " + name + " is here to be imported by examples.\npackage " + name + "\n" + more
	}
	add(".ci/run", "#!/bin/sh\n")
	add("docs/page.md", "See [the page](page.md), [a part](#x) and [elsewhere](https://example.com/).\n")
	add("capture/capture.go", doc("capture", "import \"context\"\nvar _ = context.WithoutCancel\n"))
	add("capture/dissect/dissect.go", doc("dissect", "import (\n_ \"github.com/gopacket/gopacket/layers\"\n_ \""+archtest.Module+"/capture\"\n)\n"))
	add("capture/payload/payload.go", doc("payload", ""))
	add("capture/telemetry/telemetry.go", doc("telemetry", "import _ \""+archtest.Module+"/capture/payload\"\n"))
	add("devices/devices.go", doc("devices", "import _ \"github.com/electricbubble/gadb\"\n"))
	add("devices/sim/phone.go", doc("sim", "import (\n_ \"gvisor.dev/gvisor/pkg/tcpip\"\n_ \""+archtest.Module+"/devices/sim/screen\"\n)\n"))
	add("devices/sim/screen/screen.go", doc("screen", "import \"time\"\nfunc wait() { time.Sleep(1) }\n"))
	add("harness/harness.go", doc("harness", ""))
	add("harness/rig/rig.go", doc("rig", "import _ \""+archtest.Module+"/devices/sim\"\n"))
	add("harness/suite/suite.go", doc("suite", "import . \"github.com/onsi/ginkgo/v2\"\nfunc f(retries int) bool { c, _ := GinkgoConfiguration(); Skip(\"the plan said so\"); return c.FlakeAttempts > 0 }\n"))
	add("scenarios/scenarios.go", doc("scenarios", "import _ \""+archtest.Module+"/harness\"\n"))
	add("specs/specs_test.go", "// Package specs holds claims made to the owner.\npackage specs_test\nimport . \"github.com/onsi/ginkgo/v2\"\nvar _ = Describe(\"x\", func() { It(\"y\", func() {}) })\n")
	add("cmd/offproof/main.go", "// Command offproof wires what others made.\npackage main\nimport \"context\"\nfunc main() { _ = context.Background() }\n")
	add("internal/peers/peers.go", doc("peers", "import \"testing\"\nfunc Require(t testing.TB) { t.Skip(\"no peer\") }\n"))
	add("runs/huge.bin", strings.Repeat("x", 2<<20))
	add(name, content)
	return tree
}

func TestACleanHouseHasNoFinding(t *testing.T) {
	for name, content := range map[string]string{
		"README.md": "Plain.\n",
		// A test joins what the code keeps apart.
		"capture/proxy_test.go": "package capture_test\nimport (\n. \"github.com/onsi/gomega\"\n\"context\"\n_ \"" + archtest.Module + "/devices/sim\"\n_ \"" + archtest.Module + "/internal/peers\"\n)\nvar _ = context.Background\n",
		// A package of tests alone, under its full name.
		"specs/specs_test.go": "// Package specs_test holds claims made to the owner.\npackage specs_test\n",
		// A generator beside the package that it serves.
		"capture/generate.go": "//go:build ignore\n\n// Command generate makes a table for the package.\npackage main\nfunc main() {}\n",
		// Words that only look like those that are not allowed.
		"devices/focus.go":           "package devices\ntype d struct{}\nfunc (d) Focus() {}\nfunc (d) Skip() {}\nfunc (d) init() {}\nfunc f(x d) { x.Focus(); x.Skip() }\n",
		"devices/sleep.go":           "package devices\ntype clock struct{}\nfunc (clock) Sleep() {}\nfunc g(time clock) { time.Sleep() }\n",
		"capture/testdata/broken.go": "this is no Go\n",
	} {
		t.Run(name, func(t *testing.T) {
			found, err := archtest.Check(house(name, content))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range found {
				t.Error(f)
			}
		})
	}
}

func TestEachViolationIsReported(t *testing.T) {
	imports := func(pkg, path string) string {
		return "package " + pkg + "\nimport _ \"" + strings.Replace(path, "~", archtest.Module, 1) + "\"\n"
	}
	specs := func(body string) string {
		return "package specs_test\nimport . \"github.com/onsi/ginkgo/v2\"\nvar _ = " + body + "\n"
	}
	const nothing = "func() {}"
	for _, example := range []struct {
		about, file, content string
		// rule and reason are parts of what the finding must say.
		rule, reason string
	}{
		{"a lower tier that knows a higher one", "capture/a.go", imports("capture", "~/harness"), "capture may not import harness", "nobody's opinion"},
		{"a neighbour of the same tier", "capture/dissect/a.go", imports("dissect", "~/capture/payload"), "tier 2", "by the packets alone"},
		{"a helper turned round", "capture/payload/a.go", imports("payload", "~/capture/telemetry"), "tier 2", "whose body"},
		{"a backend beside another", "capture/proxy/a.go", "// Package proxy is here for one example.\n" + imports("proxy", "~/capture/tcpdump"), "tier 3", "never interprets"},
		{"a scenario that knows the bench", "scenarios/a.go", imports("scenarios", "~/harness/rig"), "tier 7", "on which bench"},
		{"an internal part that climbs", "capture/internal/x/a.go", "// Package x is here for one example.\n" + imports("x", "~/harness"), "capture/internal/x may not import harness", "nobody's opinion"},
		{"a capture that knows devices", "capture/a.go", imports("capture", "~/devices"), "strangers", "small interface"},
		{"a device that knows capture", "devices/a.go", imports("devices", "~/capture"), "strangers", "small interface"},
		{"a simulated phone that shares code", "devices/sim/a.go", imports("sim", "~/devices"), "imports nothing of ours", "oracle"},
		{"a part of it that shares code", "devices/sim/screen/a.go", imports("screen", "~/capture/payload"), "imports nothing of ours", "oracle"},
		{"a judge that knows the simulated phone", "harness/a.go", imports("harness", "~/devices/sim"), "only harness/rig, cmd/offproof and tests", "oracle"},
		{"a suite that reaches into it", "harness/suite/a.go", imports("suite", "~/devices/sim/screen"), "only harness/rig, cmd/offproof and tests", "oracle"},
		{"test helpers in a program", "cmd/offproof/a.go", imports("main", "~/internal/peers"), "only tests may", "never skips"},
		{"a package without a place", "harness/util/a.go", "// Package util is here for one example.\npackage util\n", "no place in the tiers", "nobody planned"},

		{"gadb in the wire client", "devices/adb/a.go", "// Package adb is here for one example.\n" + imports("adb", "github.com/electricbubble/gadb"), "only devices may", "lost phone for success"},
		{"gadb in the judge", "harness/a.go", imports("harness", "github.com/electricbubble/gadb"), "only devices may", "lost phone for success"},
		{"gopacket in a backend", "capture/a.go", imports("capture", "github.com/gopacket/gopacket"), "only capture/dissect may", "one place"},
		{"gopacket/pcap where gopacket may be", "capture/dissect/a.go", imports("dissect", "github.com/gopacket/gopacket/pcap"), "nothing may", "cgo"},
		{"gopacket/pcap in a test", "capture/dissect/a_test.go", imports("dissect_test", "github.com/gopacket/gopacket/pcap"), "nothing may", "cgo"},
		{"cgo", "capture/a.go", imports("capture", "C"), "nothing may", "Go alone"},
		{"gVisor outside the simulated phone", "capture/a.go", imports("capture", "gvisor.dev/gvisor/pkg/tcpip"), "only devices/sim may", "measure itself"},
		{"gVisor in a test outside it", "capture/a_test.go", imports("capture_test", "gvisor.dev/gvisor/pkg/tcpip"), "only devices/sim may", "measure itself"},
		{"Ginkgo in the judge", "harness/a.go", imports("harness", "github.com/onsi/ginkgo/v2"), "only specs, harness/suite may", "only specs fail"},
		{"Ginkgo in a test of the judge", "harness/a_test.go", imports("harness_test", "github.com/onsi/ginkgo/v2"), "only specs, harness/suite may", "only specs fail"},
		{"Gomega in the judge", "harness/a.go", imports("harness", "github.com/onsi/gomega"), "harness/expect may", "only specs fail"},

		{"an init function", "capture/a.go", "package capture\nfunc init() {}\n", "no init", "unasked"},
		{"a sleep", "devices/a.go", "package devices\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "no time.Sleep", "too short"},
		{"a sleep under another name", "devices/a.go", "package devices\nimport clock \"time\"\nvar f = clock.Sleep\n", "no time.Sleep", "too short"},
		{"a sleep in a test", "devices/a_test.go", "package devices_test\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "no time.Sleep", "too short"},
		{"a root context", "devices/a.go", "package devices\nimport \"context\"\nvar _ = context.Background()\n", "no context.Background", "cancel"},
		{"a context to be done", "devices/a.go", "package devices\nimport \"context\"\nvar _ = context.TODO()\n", "no context.TODO", "cancel"},
		{"a retry by decorator", "specs/a_test.go", specs("It(\"x\", FlakeAttempts(2), " + nothing + ")"), "no FlakeAttempts", "unsee"},
		{"a retry by configuration", "harness/suite/a.go", "package suite\nimport . \"github.com/onsi/ginkgo/v2\"\nfunc g() { c, _ := GinkgoConfiguration(); c.FlakeAttempts = 2 }\n", "no FlakeAttempts", "unsee"},
		{"a retry by literal", "harness/suite/a.go", "package suite\nimport \"github.com/onsi/ginkgo/v2/types\"\nvar c = types.SuiteConfig{FlakeAttempts: 2}\n", "no FlakeAttempts", "unsee"},
		{"a retry on a command line", ".ci/run", "go tool ginkgo --flake-attempts=2 ./specs\n", "no FlakeAttempts on a command line", "unsee"},
		{"a focused spec", "specs/a_test.go", specs("FIt(\"x\", " + nothing + ")"), "FIt", "unjudged"},
		{"a focused container", "specs/a_test.go", strings.Replace(specs("g.FDescribe(\"x\", "+nothing+")"), "import .", "import g", 1), "FDescribe", "unjudged"},
		{"a focus decorator", "specs/a_test.go", specs("It(\"x\", Focus, " + nothing + ")"), "Focus", "unjudged"},
		{"a pending spec", "specs/a_test.go", specs("PIt(\"x\")"), "PIt", "unjudged"},
		{"a pending decorator", "specs/a_test.go", strings.Replace(specs("g.It(\"x\", g.Pending)"), "import .", "import g", 1), "Pending", "unjudged"},
		{"a skipped test", "capture/a_test.go", "package capture_test\nimport \"testing\"\nfunc TestX(t *testing.T) { t.Skip(\"later\") }\n", "no skipped test", "looks like a pass"},
		{"a skipped benchmark", "capture/a_test.go", "package capture_test\nimport \"testing\"\nfunc BenchmarkX(b *testing.B) { b.Run(\"y\", func(sub *testing.B) { sub.SkipNow() }) }\n", "no skipped test", "looks like a pass"},
		{"a program looked for by hand", "capture/a_test.go", "package capture_test\nimport \"os/exec\"\nvar _, err = exec.LookPath(\"tshark\")\n", "no exec.LookPath", "looks like a pass"},
		{"a test that depends on -short", "capture/a_test.go", "package capture_test\nimport \"testing\"\nvar _ = testing.Short\n", "no testing.Short", "looks like a pass"},
		{"a skipped spec", "specs/a_test.go", specs("It(\"x\", func() { Skip(\"later\") })"), "no Skip outside harness/suite", "looks like a pass"},
		{"a spec skipped by Ginkgo's T", "specs/a_test.go", specs("It(\"x\", func() { GinkgoT().Skip(\"later\") })"), "no skipped test", "looks like a pass"},

		{"no package comment", "capture/capture.go", "package capture\n", "no comment says", "two packages"},
		{"two package comments", "capture/z.go", "// Package capture says more than once what it is for.\npackage capture\n", "second package comment", "two packages"},
		{"a comment that says nothing", "capture/capture.go", "// Package capture.\npackage capture\n", "does not begin", "two packages"},
		{"a comment of another name", "capture/capture.go", "// Package other is here to be imported by examples.\npackage capture\n", "does not begin", "two packages"},
		{"a long file", "capture/a.go", "package capture\n" + strings.Repeat("\n", 700), "701 lines", "more than one thing"},
		{"a large file", "capture/testdata/a.pcap", strings.Repeat("x", 1<<20+1), "1048577 bytes", "no captures"},
		{"a new top folder", "pkg/README.md", "Plain.\n", "does not have", "table of contents"},
		{"a link that leads nowhere", "docs/a.md", "[see](missing.md)\n", "leads nowhere", "trusting"},
	} {
		t.Run(example.about, func(t *testing.T) {
			found, err := archtest.Check(house(example.file, example.content))
			if err != nil {
				t.Fatal(err)
			}
			if len(found) != 1 {
				t.Fatalf("want one finding, got %d: %v", len(found), found)
			}
			f := found[0]
			if !strings.Contains(f.Rule, example.rule) || !strings.Contains(f.Reason, example.reason) {
				t.Errorf("want rule ...%s... and reason ...%s..., got %s", example.rule, example.reason, f)
			}
			if !strings.HasPrefix(example.file, f.File) {
				t.Errorf("want file %s, got %s", example.file, f.File)
			}
			line := f.String()
			for _, part := range []string{f.File, f.Rule, f.Reason} {
				if !strings.Contains(line, part) {
					t.Errorf("the message lacks %q: %s", part, line)
				}
			}
		})
	}
}

func TestAMissingFolderIsReported(t *testing.T) {
	tree := house("README.md", "Plain.\n")
	delete(tree, "docs/page.md")
	found, err := archtest.Check(tree)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].File != "docs" || !strings.Contains(found[0].Rule, "missing") {
		t.Errorf("want the missing docs, got %v", found)
	}
}

func TestABrokenFileIsAnError(t *testing.T) {
	if _, err := archtest.Check(house("capture/a.go", "this is no Go\n")); err == nil {
		t.Error("a file that does not parse gave no error")
	}
}
