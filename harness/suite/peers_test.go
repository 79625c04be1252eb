// The programs under test are processes of their own, which the race detector of
// this one does not see: running them again under it would show nothing.

//go:build !race

package suite_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/offproof/offproof/internal/peers"
)

// command runs a program and returns what it said and its exit status.
func command(t *testing.T, name string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestGenuineADBDrivesTheSimulatedPhone uses the adb client of the system on
// `offproof sim`, as a person would.
func TestGenuineADBDrivesTheSimulatedPhone(t *testing.T) {
	t.Parallel()
	program := peers.Require(t, "adb")
	f := startFarm(t, "honest")
	serial := f.serials[0]
	adb := func(args ...string) (string, string, int) {
		t.Helper()
		return command(t, program, slices.Concat(f.adb, []string{"-s", serial}, args)...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, errs, exit := adb(args...)
		if exit != 0 {
			t.Fatalf("adb %q: exit %d: %s%s", args, exit, out, errs)
		}
		return out
	}
	if out := must("devices", "-l"); !strings.Contains(out, serial) || !strings.Contains(out, "model:Redmi_Note_8") || !strings.Contains(out, "product:ginkgo") {
		t.Errorf("devices -l: %q", out)
	}
	if out, errs, exit := adb("shell", "echo out; echo err >&2; exit 7"); out != "out\n" || errs != "err\n" || exit != 7 {
		t.Errorf("shell: %q, %q, %d; want out, err, 7", out, errs, exit)
	}
	if out := must("exec-out", "screencap", "-p"); !strings.HasPrefix(out, "\x89PNG\r\n\x1a\n") {
		t.Errorf("screencap is no PNG: %.20q", out)
	}
	local := filepath.Join(t.TempDir(), "file")
	content := bytes.Repeat([]byte("a line of text, and a number of bytes: \x00\x01\xff\n"), 20000)
	if err := os.WriteFile(local, content, 0o600); err != nil {
		t.Fatal(err)
	}
	must("push", local, "/data/local/tmp/file")
	must("pull", "/data/local/tmp/file", local+".back")
	if back, err := os.ReadFile(local + ".back"); err != nil || !bytes.Equal(back, content) {
		t.Errorf("pull gave other bytes than push took: %d of %d, %v", len(back), len(content), err)
	}
	must("reverse", "tcp:9090", "tcp:9091")
	if out := must("reverse", "--list"); !strings.Contains(out, "tcp:9090 tcp:9091") {
		t.Errorf("reverse --list: %q", out)
	}
	must("reverse", "--remove-all")
	must("shell", "uiautomator", "dump", "/sdcard/view.xml")
	if out := must("shell", "cat", "/sdcard/view.xml"); !strings.Contains(out, "<hierarchy") || !strings.Contains(out, "bounds=\"[") {
		t.Errorf("uiautomator dump: %.200q", out)
	}
	must("shell", "settings", "put", "global", "http_proxy", "localhost:8080")
	if out := must("shell", "settings", "get", "global", "http_proxy"); strings.TrimSpace(out) != "localhost:8080" {
		t.Errorf("settings get: %q", out)
	}
	must("shell", "settings", "delete", "global", "http_proxy")
	if out := must("shell", "settings", "get", "global", "http_proxy"); strings.TrimSpace(out) != "null" {
		t.Errorf("settings get after delete: %q", out)
	}
}

// TestTsharkAgreesWithInspect reads the evidence of a trial by another program.
// The phone is passive, so that the browser's own names and conversations are
// in the packets.
func TestTsharkAgreesWithInspect(t *testing.T) {
	t.Parallel()
	tshark := peers.Require(t, "tshark")
	f := startFarm(t, "honest")
	text, err := os.ReadFile(f.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.file, bytes.Replace(text, []byte("[tcpdump, proxy]"), []byte("[tcpdump]"), 1), 0o600); err != nil { //nolint:gosec // The test's own file.
		t.Fatal(err)
	}
	r := ginkgo(t, f.env(), []string{"--label-filter=duckduckgo && incognito"}, nil)
	specs := r.specs()
	if len(specs) != 1 || specs[0].State == types.SpecStatePassed || !strings.HasPrefix(specs[0].Failure.Message, "Inconclusive:") {
		t.Fatalf("a passive trial reads no contents, so it must be inconclusive:\n%s", r.output)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(f.file), "runs", "*", "tcpdump.pcapng"))
	if err != nil || len(files) != 1 {
		t.Fatalf("evidence: %v, %v", files, err)
	}
	file := files[0]
	check := []string{"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-n", "-r", file}
	bad, _, exit := command(t, tshark, append(check, "-Y", "_ws.malformed || tcp.checksum.status==0 || udp.checksum.status==0 || ip.checksum.status==0")...)
	if exit != 0 || bad != "" {
		t.Errorf("tshark finds malformed packets or bad checksums (exit %d):\n%s", exit, bad)
	}
	fields := func(filter string, names ...string) [][]string {
		args := append(slices.Clone(check), "-Y", filter, "-T", "fields")
		for _, n := range names {
			args = append(args, "-e", n)
		}
		out, errs, exit := command(t, tshark, args...)
		if exit != 0 {
			t.Fatalf("tshark: %s", errs)
		}
		var rows [][]string
		for line := range strings.Lines(out) {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
		return rows
	}
	out, errs, exit := command(t, program(t, "offproof"), "inspect", "--json", file)
	if exit != 0 {
		t.Fatalf("inspect: exit %d: %s", exit, errs)
	}
	ours := map[string]map[string]bool{"sni": {}, "dns": {}, "tcp": {}}
	packets := 0
	sc := bufio.NewScanner(strings.NewReader(out))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var line struct {
			Type, Proto, SNI, Name, Client, Server string
			Packets                                int
			Truncated                              bool
		}
		if err := json.Unmarshal(sc.Bytes(), &line); err != nil {
			t.Fatalf("inspect: %v in %s", err, sc.Text())
		}
		switch line.Type {
		case "flow":
			if line.SNI != "" {
				ours["sni"][line.SNI] = true
			}
			if line.Proto == "tcp" {
				ours["tcp"][line.Client+" "+line.Server] = true
			}
		case "dns":
			ours["dns"][line.Name] = true
		case "health":
			packets = line.Packets
		}
	}
	theirs := map[string]map[string]bool{"sni": {}, "dns": {}, "tcp": {}}
	for _, row := range fields("tls.handshake.extensions_server_name", "tls.handshake.extensions_server_name") {
		theirs["sni"][row[0]] = true
	}
	for _, row := range fields("dns.flags.response==0", "dns.qry.name") {
		theirs["dns"][row[0]] = true
	}
	streams := map[string]bool{}
	for _, row := range fields("tcp", "tcp.stream") {
		streams[row[0]] = true
	}
	for _, kind := range []string{"sni", "dns"} {
		if fmt.Sprint(theirs[kind]) != fmt.Sprint(ours[kind]) {
			t.Errorf("%s: tshark %v, inspect %v", kind, theirs[kind], ours[kind])
		}
	}
	if !ours["sni"]["duckduckgo.com"] {
		t.Errorf("the search engine is not among the names: %v", ours["sni"])
	}
	if len(streams) != len(ours["tcp"]) {
		t.Errorf("tshark sees %d TCP conversations, inspect %d", len(streams), len(ours["tcp"]))
	}
	if all := fields("frame", "frame.number"); len(all) != packets {
		t.Errorf("tshark sees %d packets, inspect %d", len(all), packets)
	}
}
