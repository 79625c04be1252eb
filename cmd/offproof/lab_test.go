package main_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/offproof/offproof/harness/spikes"
	"github.com/offproof/offproof/internal/peers"
)

func TestLabAskedWrongly(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "--ipv4, --ipv6 or both"},
		{[]string{"--ipv4", "lab.example"}, "is no such address"},
		{[]string{"--ipv4", "2001:db8::1"}, "is no such address"},
		{[]string{"--ipv6", "192.0.2.1"}, "is no such address"},
		{[]string{"--ipv4", "0.0.0.0"}, "is no such address"},
		{[]string{"--ipv4", "127.0.0.1"}, "that phones can reach"},
		{[]string{"--ipv6", "fe80::1"}, "that phones can reach"},
		{[]string{"--ipv4", "192.0.2.1", "--name", "http://lab.example/"}, "a host name alone"},
		{[]string{"--ipv4", "192.0.2.1", "--port", "0"}, "leave it out for 80"},
		{[]string{"--ipv4", "192.0.2.1"}, "is it an address of this machine"},
	} {
		out, errs, status := offproof(t, nil, append([]string{"lab"}, c.args...)...)
		if status != 2 || out != "" || strings.Count(errs, "\n") != 1 || !strings.Contains(errs, c.says) {
			t.Errorf("%v: status %d, %q, %q; wanted %q", c.args, status, out, errs, c.says)
		}
	}
}

// A genuine browser opens the page of a genuine lab in another network, and
// everything that the page was to send is in what tcpdump recorded.
func TestLabInChromium(t *testing.T) {
	t.Parallel()
	chromium, tcpdump := peers.Require(t, "chromium"), peers.Require(t, "tcpdump")
	lab, phone := peers.NewNamespace(t), peers.NewNamespace(t)
	peers.Join(t, lab, "lab0", "10.77.0.10/24", phone, "phone0", "10.77.0.20/24")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ip := func(n *peers.Namespace, args ...string) {
		t.Helper()
		if out, err := n.Command(ctx, "ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	ip(lab, "address", "add", "fd00:77::10/64", "dev", "lab0", "nodad")
	ip(phone, "address", "add", "fd00:77::20/64", "dev", "phone0", "nodad")
	// Chromium asks the system for the way out before it gathers addresses.
	ip(phone, "route", "add", "default", "via", "10.77.0.10")
	ip(phone, "route", "add", "default", "via", "fd00:77::10")

	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	server := lab.Command(ctx, path, "lab", "--ipv4", "10.77.0.10", "--ipv6", "fd00:77::10")
	said := start(t, server)
	if line, err := said.ReadString('\n'); err != nil || line != `lab: {page: "http://10.77.0.10/", ipv4: "10.77.0.10", ipv6: "fd00:77::10"}   # for farm.yaml`+"\n" {
		t.Fatalf("the lab says %q, %v", line, err)
	}
	file := filepath.Join(t.TempDir(), "phone.pcap")
	recorder := phone.Command(ctx, tcpdump, "-i", "phone0", "--immediate-mode", "-U", "-n", "-w", file)
	var heard bytes.Buffer
	listening, err := recorder.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := recorder.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(io.TeeReader(listening, &heard))
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("tcpdump does not listen: %s", heard.String())
		}
		if strings.Contains(line, "listening on") {
			break
		}
	}
	const run = "chromiumtestrun1"
	browser := phone.Command(ctx, chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--enable-logging=stderr",
		"--user-data-dir="+t.TempDir(), spikes.Address("http://10.77.0.10/", run))
	browser.Env = append(browser.Environ(), "HOME="+t.TempDir())
	logs, err := browser.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := browser.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = browser.Process.Signal(unix.SIGTERM)
		_ = browser.Wait()
	}()
	states := map[spikes.Kind]spikes.State{}
	var log strings.Builder
	for console := bufio.NewScanner(logs); len(states) < len(spikes.Make(run)) && console.Scan(); {
		log.WriteString(console.Text() + "\n")
		if _, text, ok := strings.Cut(console.Text(), `:CONSOLE`); ok {
			if _, text, ok = strings.Cut(text, `"`); ok {
				text, _, _ = strings.Cut(text, `"`)
				maps.Copy(states, spikes.Read([]string{text}))
			}
		}
	}
	t.Log(states)
	if err := recorder.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, lines)
	if err := recorder.Wait(); err != nil {
		t.Fatalf("tcpdump: %v: %s", err, heard.String())
	}
	args := []string{"inspect", "--json"}
	want := map[string]bool{}
	for _, s := range spikes.Make(run) {
		if s.Kind.Body() {
			args = append(args, "--canary", s.Term.Term)
			want[s.Term.Term] = true
			if states[s.Kind] != spikes.Arrived {
				t.Errorf("the page says that %s %s", s.Kind, states[s.Kind])
			}
		} else {
			want[string(s.Kind)] = true
		}
	}
	out, errs, status := offproof(t, nil, append(args, file)...)
	if status != 0 {
		t.Fatalf("status %d: %s", status, errs)
	}
	for line := range strings.Lines(out) {
		var one struct{ Type, Proto, Server, Canary string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		switch {
		case one.Type == "sighting":
			delete(want, one.Canary)
		case one.Type == "flow" && one.Proto == "udp" && one.Server == "10.77.0.10:443":
			delete(want, string(spikes.UDP))
		case one.Type == "flow" && one.Proto == "udp" && one.Server == "[fd00:77::10]:443":
			delete(want, string(spikes.UDP6))
		}
	}
	if len(want) > 0 {
		t.Errorf("not found in what tcpdump recorded: %v\n%s\n%s", want, out, log.String())
	}
}

// start starts a program that runs until the test ends, and returns what it says.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGINT)
		_ = cmd.Wait()
	})
	return bufio.NewReader(out)
}
