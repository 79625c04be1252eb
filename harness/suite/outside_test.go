// The programs under test are processes of their own, which the race detector of
// this one does not see: running them again under it would show nothing.

//go:build !race

package suite_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// These tests use the suite as its users do: they run the genuine ginkgo
// command on ./specs as a process of its own, against a simulated farm in
// another process, and break that farm from a third.

// testLimit bounds one run of ginkgo; it is far above what any run needs.
const testLimit = 9 * time.Minute

var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offproof-outside-*")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"build", "-o", filepath.Join(dir, "offproof"), "../../cmd/offproof"},
		{"build", "-o", filepath.Join(dir, "ginkgo"), "github.com/onsi/ginkgo/v2/ginkgo"},
		{"test", "-c", "-o", filepath.Join(dir, "specs.test"), "../../specs"},
		{"test", "-c", "-o", filepath.Join(dir, "farmspecs.test"), "./testdata/farmspecs"},
		{"test", "-c", "-o", filepath.Join(dir, "spectimeout.test"), "./testdata/spectimeout"},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil { //nolint:gosec,noctx // Fixed arguments.
			return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	// These tests mostly wait for windows to pass, so more of them than there are
	// processors can run at once. Not all of them: the windows are host time, and a
	// phone whose host is late is inconclusive.
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		_ = flag.Set("test.parallel", "5") // a number, which it takes
	}
	code := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// program is the path of a program of ours.
func program(t *testing.T, name string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// A run is what ginkgo said and reported.
type run struct {
	output string
	exit   int
	report []types.SpecReport
}

// ginkgo runs the specs with Ginkgo's flags before and the suite's after "--".
func ginkgo(t *testing.T, env, before, after []string) run {
	t.Helper()
	return start(t, env, before, after)()
}

// start starts ginkgo on ./specs and returns the wait for its end.
func start(t *testing.T, env, before, after []string) func() run {
	t.Helper()
	return startSuite(t, "specs.test", env, before, after)
}

// startSuite is start on a suite that programs has built.
func startSuite(t *testing.T, suite string, env, before, after []string) func() run {
	t.Helper()
	dir := t.TempDir()
	report := filepath.Join(dir, "report.json")
	args := append([]string{"--no-color", "--json-report=report.json", "--output-dir=" + dir}, before...)
	args = append(args, program(t, suite))
	if len(after) > 0 {
		args = append(append(args, "--"), after...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program(t, "ginkgo"), args...) //nolint:gosec // Our own program.
	// A precompiled suite runs in ginkgo's folder: the module's, so that it finds what
	// it would find there.
	cmd.Dir = filepath.Join("..", "..", "specs")
	cmd.Env = append(os.Environ(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() run {
		err := cmd.Wait()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("ginkgo: %v\n%s", err, out.String())
		}
		r := run{output: out.String(), exit: cmd.ProcessState.ExitCode()}
		if b, err := os.ReadFile(report); err == nil { //nolint:gosec // Our own file.
			var suites []types.Report
			if err := json.Unmarshal(b, &suites); err != nil {
				t.Fatalf("report: %v", err)
			}
			for _, s := range suites {
				r.report = append(r.report, s.SpecReports...)
			}
		}
		return r
	}
}

// specs are the reports of the specs that ran, whose text holds every part.
func (r run) specs(parts ...string) []types.SpecReport {
	var out []types.SpecReport
	for _, s := range r.report {
		if s.LeafNodeType != types.NodeTypeIt || s.State.Is(types.SpecStateSkipped|types.SpecStatePending) {
			continue
		}
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(s.FullText(), p) }) {
			out = append(out, s)
		}
	}
	return out
}

// A farm is `offproof sim` as a process of its own.
type farm struct {
	t       *testing.T
	file    string
	log     string // every request of an ADB client, among others
	control string
	adb     []string // arguments of the genuine client that lead here
	serials []string
	// transports are where a genuine ADB server connects to the phones.
	transports []string
}

var (
	phoneLine   = regexp.MustCompile(`^  (\S+)  (?:Redmi|Mi) `)
	connectLine = regexp.MustCompile(`^  adb .*connect (\S+)$`)
)

func startFarm(t *testing.T, personalities string, flags ...string) *farm {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "sim.jsonl")
	args := append([]string{"sim", "--phones", personalities, "--dir", dir, "--log", log}, flags...)
	cmd := exec.Command(program(t, "offproof"), args...) //nolint:gosec,noctx // Ended below.
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("offproof sim: %v\n%s", err, stderr.String())
			}
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Error("offproof sim did not end on an interrupt")
		}
	})
	f := &farm{t: t, file: filepath.Join(dir, "farm.yaml"), log: log}
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		line := sc.Text()
		if _, url, ok := strings.Cut(line, "control: "); ok {
			f.control = url
		}
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "adb "); ok {
			f.adb = strings.Fields(strings.TrimSuffix(rest, " devices -l"))
		}
		if m := phoneLine.FindStringSubmatch(line); m != nil {
			f.serials = append(f.serials, m[1])
		}
		if m := connectLine.FindStringSubmatch(line); m != nil {
			f.transports = append(f.transports, m[1])
		}
		if strings.HasPrefix(line, "ready") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return f
		}
	}
	t.Fatalf("offproof sim never became ready: %s", stderr.String())
	return nil
}

// pause lets time go by, or ends with the test.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func (f *farm) env() []string { return []string{"OFFPROOF_FARM=" + f.file} }

// post asks the farm's control door for something.
func (f *farm) post(path string) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.control+path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode/100 != 2 {
		f.t.Fatalf("POST %s: %s: %s", path, res.Status, body)
	}
}

// settings are a phone's settings, mounts and reverse connections, from the
// simulation's own state.
func (f *farm) settings(serial string) string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.control+"/phones/"+serial, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	var all map[string]json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	for _, k := range []string{"settings", "mounts", "reverses"} {
		fmt.Fprintf(&b, "%s: %s\n", k, all[k])
	}
	return b.String()
}

// windowOf waits until a run below dir has opened a window of an arm, and a
// little longer, so that the middle of the window is reached.
func (f *farm) windowOf(arm string) {
	f.t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for time.Now().Before(deadline) {
		logs, _ := filepath.Glob(filepath.Join(filepath.Dir(f.file), "runs", "*", "log.jsonl"))
		for _, log := range logs {
			b, _ := os.ReadFile(log) //nolint:gosec // The farm's own folder.
			for line := range bytes.Lines(b) {
				var rec struct{ Msg, Arm, Observation string }
				if json.Unmarshal(line, &rec) == nil && rec.Msg == "window open" && rec.Arm == arm && strings.HasPrefix(rec.Observation, arm+"-") {
					pause(f.t, 700*time.Millisecond)
					return
				}
			}
		}
		pause(f.t, 50*time.Millisecond)
	}
	f.t.Fatalf("no %s window was opened", arm)
}

func TestPersonalitiesComeOutAsTheyAre(t *testing.T) {
	t.Parallel()
	const maker, press = "maker's promise", "press read"
	type want struct{ maker, press string } // heading of the failure, empty for a pass
	table := map[string]want{
		"honest":           {"", ""},
		"deaf":             {"Collected:", "Collected:"},
		"incognito-leak":   {"Collected:", ""},
		"as-shipped-2020":  {"", "Collected:"},
		"silent":           {"Inconclusive:", "Inconclusive:"},
		"encrypted-leaf":   {"Inconclusive:", "Inconclusive:"},
		"unlisted":         {"Collected:", "Collected:"},
		"springs-back":     {"Inconclusive:", "Inconclusive:"},
		"sdk42":            {"Inconclusive:", "Inconclusive:"},
		"page-never-loads": {"Inconclusive:", "Inconclusive:"},
		"pinned":           {"Inconclusive:", "Inconclusive:"},
		"slow":             {"Collected:", "Collected:"},
		"delegate":         {"Collected:", "Collected:"},
	}
	var names []string
	for name := range table {
		names = append(names, name)
	}
	slices.Sort(names)
	r := ginkgo(t, nil, []string{"--procs=7", "--label-filter=duckduckgo"}, []string{"-sim=" + strings.Join(names, ",")})
	if r.exit == 0 {
		t.Errorf("ginkgo passed although phones lie")
	}
	for _, name := range names {
		for promise, heading := range map[string]string{maker: table[name].maker, press: table[name].press} {
			specs := r.specs(", "+name+" ", promise)
			if len(specs) != 1 {
				t.Errorf("%s, %s: %d specs ran, want 1\n%s", name, promise, len(specs), r.output)
				continue
			}
			s := specs[0]
			switch {
			case heading == "" && s.State != types.SpecStatePassed:
				t.Errorf("%s, %s: %s: %s", name, promise, s.State, s.Failure.Message)
			case heading != "" && !strings.HasPrefix(s.Failure.Message, heading):
				t.Errorf("%s, %s: %s, wanted it headed %q: %s", name, promise, s.State, heading, s.Failure.Message)
			}
			if !slices.ContainsFunc(s.ReportEntries, func(e types.ReportEntry) bool { return e.Name == "trial" }) {
				t.Errorf("%s, %s: the finding is not among the report entries", name, promise)
			}
		}
	}
	for _, s := range r.specs(", deaf ", maker) {
		for _, part := range []string{"planted as search words", "sa.api.intl.miui.com", "form:data_list > base64 > gzip > json:", "search_word"} {
			if !strings.Contains(s.Failure.Message, part) {
				t.Errorf("the message of a deaf phone does not name %q: %s", part, s.Failure.Message)
			}
		}
	}
	for _, s := range r.specs(", silent ", maker) {
		if !strings.Contains(s.Failure.Message, "no positive control") {
			t.Errorf("the message of a silent phone does not name the positive control: %s", s.Failure.Message)
		}
	}
}

// TestKillsInTheOffArmNeverPass breaks one thing in the middle of the OFF
// window, for a phone that leaks and for one that does not.
func TestKillsInTheOffArmNeverPass(t *testing.T) {
	t.Parallel()
	kills := map[string]func(f *farm){
		"the ADB server": func(f *farm) {
			f.post("/adb/stop")
			pause(f.t, 2*time.Second)
			f.post("/adb/start")
		},
		"the phone":        func(f *farm) { f.post("/phones/" + f.serials[0] + "/faults/reboot") },
		"tcpdump":          func(f *farm) { f.post("/phones/" + f.serials[0] + "/faults/kill-tcpdump") },
		"the proxy's door": func(f *farm) { f.post("/phones/" + f.serials[0] + "/faults/cut-reverse") },
	}
	for name, kill := range kills {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFarm(t, "honest")
			before := f.settings(f.serials[0])
			wait := start(t, f.env(), []string{"--label-filter=duckduckgo && incognito"}, nil)
			f.windowOf("off")
			kill(f)
			r := wait()
			specs := r.specs()
			if len(specs) != 1 {
				t.Fatalf("%d specs ran, want 1\n%s", len(specs), r.output)
			}
			msg := specs[0].Failure.Message
			if specs[0].State == types.SpecStatePassed || (!strings.HasPrefix(msg, "Inconclusive:") && !strings.HasPrefix(msg, "Infrastructure:")) {
				t.Errorf("%s: %s", specs[0].State, msg)
			}
			if after := f.settings(f.serials[0]); after != before {
				t.Errorf("the phone was left changed:\nbefore\n%safter\n%s", before, after)
			}
		})
	}
}

func TestWrongUsesGetOneClearLine(t *testing.T) {
	t.Parallel()
	write := func(text string) []string {
		path := filepath.Join(t.TempDir(), "farm.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"OFFPROOF_FARM=" + path}
	}
	f := startFarm(t, "honest")
	f.post("/phones/" + f.serials[0] + "/faults/unauthorized")
	_, port, _ := strings.Cut(strings.Join(f.adb, " "), "-P ")
	for name, c := range map[string]struct {
		env, before, after []string
		want               string
	}{
		"no ADB server":             {env: write("version: 1\nadb: [{server: \"127.0.0.1:1\"}]\nstate: s\nphones:\n  - {serial: R58M, capture: [tcpdump]}\n"), want: "adb start-server"},
		"unknown serial":            {env: write("version: 1\nadb: [{server: \"127.0.0.1:" + strings.TrimSpace(port) + "\"}]\nstate: s\nphones:\n  - {serial: R58M, capture: [tcpdump]}\n"), want: "correct the serial"},
		"unauthorized phone":        {env: f.env(), want: "unauthorized"},
		"unknown personality":       {after: []string{"-sim=hnoest"}, want: "no personality is named \"hnoest\""},
		"malformed farm.yaml":       {env: write("version: 1\nphones:\n  - {serial: R58M, capture: [tcpdmp]}\n"), want: "farm.yaml:3: capture \"tcpdmp\""},
		"farm.yaml that is no YAML": {env: write("version: 1\nphones: [\n"), want: "farm.yaml:"},
		"farm.yaml that is missing": {env: []string{"OFFPROOF_FARM=/nonexistent/farm.yaml"}, want: "there is no farm at /nonexistent/farm.yaml"},
		"a flag of Ginkgo after --": {after: []string{"-p"}, want: "Ginkgo's own flags"},
		"a word after --":           {after: []string{"deaf"}, want: "such as -sim=deaf"},
		"a retry":                   {before: []string{"--flake-attempts=2"}, want: "flake-attempts is refused"},
		"no pairs":                  {after: []string{"-pairs=0"}, want: "-pairs=0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := ginkgo(t, c.env, append(c.before, "--label-filter=duckduckgo && incognito"), c.after)
			if r.exit == 0 {
				t.Errorf("it passed")
			}
			found := ""
			for line := range strings.Lines(r.output) {
				if strings.Contains(line, c.want) {
					found = line
					break
				}
			}
			if found == "" {
				t.Errorf("no line says %q:\n%s", c.want, r.output)
			}
			if strings.Contains(r.output, "panic:") || strings.Contains(r.output, "goroutine ") {
				t.Errorf("it panicked:\n%s", r.output)
			}
		})
	}
}

func TestPortInUseGetsOneClearLine(t *testing.T) {
	t.Parallel()
	f := startFarm(t, "honest")
	_, port, _ := strings.Cut(strings.Join(f.adb, " "), "-P ")
	for _, flag := range []string{"--adb", "--control"} {
		taken := "127.0.0.1:" + strings.TrimSpace(port)
		_, stderr, exit := command(t, program(t, "offproof"), "sim", "--dir", t.TempDir(), flag, taken)
		if exit != 2 || !strings.HasPrefix(stderr, "offproof: sim: ") || !strings.Contains(stderr, "choose another port") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s %s in use: exit %d, %q", flag, taken, exit, stderr)
		}
	}
}
