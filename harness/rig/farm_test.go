package rig_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/harness/rig"
)

const good = `version: 1
adb: [{server: "127.0.0.1:5037"}]
phones:
  - {serial: "R58M0000000", capture: [tcpdump, proxy]}
  - serial: emulator-5554
    capture: [tcpdump]
    interface: eth0
    note: lab's own
  - {serial: R58M0000001, capture: [pcapdroid], pcapdroid: {api_key: uZIsot5koOPYek6lDwCUzYv791slSbg5, isolated: true}}
uplink: {socks5: "127.0.0.1:1080", roots: lab-roots.pem}
pace: 0.5
floor: 10m
state: state
evidence: runs
`

func TestParseReadsEveryField(t *testing.T) {
	dir := t.TempDir()
	f, err := rig.Parse(filepath.Join(dir, "farm.yaml"), []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if want := (rig.PCAPdroid{APIKey: "uZIsot5koOPYek6lDwCUzYv791slSbg5", Isolated: true}); len(f.Phones) != 3 || f.Phones[2].PCAPdroid != want || f.Phones[0].PCAPdroid != (rig.PCAPdroid{}) {
		t.Errorf("PCAPdroid: %+v", f.Phones)
	}
	if f.Phones[0].Serial != "R58M0000000" || len(f.Phones[0].Capture) != 2 || f.Phones[1].Interface != "eth0" || f.Phones[1].Note != "lab's own" {
		t.Errorf("phones %+v", f.Phones)
	}
	if f.Servers[0] != "127.0.0.1:5037" || f.Uplink.SOCKS5 != "127.0.0.1:1080" || f.Pace != 0.5 || f.Floor != 10*time.Minute {
		t.Errorf("got %+v", f)
	}
	if f.Uplink.Roots != filepath.Join(dir, "lab-roots.pem") || f.State != filepath.Join(dir, "state") || f.Evidence != filepath.Join(dir, "runs") {
		t.Errorf("paths are not relative to the file: %+v", f)
	}
}

func TestParseReadsHooks(t *testing.T) {
	dir := t.TempDir()
	f, err := rig.Parse(filepath.Join(dir, "farm.yaml"), []byte(`version: 1
hooks:
  power: [uhubctl, -a, cycle, -l, 1-1, -p, "{note}"]
  flash: {command: [./flash.sh, "{serial}", "{build}"], limit: 45m}
phones:
  - {serial: a, note: "3", capture: [proxy]}
  - {serial: b, capture: [proxy], hooks: {power: [relay, "{serial}"], provision: [ansible-playbook, phone.yml]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	a, b := f.Phones[0].Hooks, f.Phones[1].Hooks
	if len(a) != 2 || a[rig.HookPower].Command[6] != "{note}" || a[rig.HookFlash].Limit != 45*time.Minute || a[rig.HookFlash].Dir != dir {
		t.Errorf("the farm's hooks: %+v", a)
	}
	if len(b) != 3 || b[rig.HookPower].Command[0] != "relay" || b[rig.HookPower].Limit != time.Minute || b[rig.HookFlash].Command[0] != "./flash.sh" || b[rig.HookProvision].Name != rig.HookProvision {
		t.Errorf("the phone's hooks: %+v", b)
	}
}

func TestParseDefaults(t *testing.T) {
	f, err := rig.Parse(filepath.Join(t.TempDir(), "farm.yaml"), []byte("version: 1\nphones: [{serial: a, capture: [proxy]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f.Pace != 1 || f.Floor != 15*time.Minute || f.Servers[0] != "127.0.0.1:5037" || f.State == "" || filepath.Base(f.Evidence) != "runs" {
		t.Errorf("got %+v", f)
	}
}

func TestParseNamesTheLine(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		line int
		want string
	}{
		"empty":                  {"", 0, "empty"},
		"no version":             {"phones: [{serial: a, capture: [proxy]}]\n", 0, "version"},
		"another version":        {"version: 2\n", 1, "version: 1"},
		"unknown key":            {"version: 1\nfones: []\n", 2, "fones"},
		"unknown key inside":     {strings.Replace(good, "note:", "nope:", 1), 8, "nope"},
		"no phones":              {"version: 1\n", 0, "never touched"},
		"no serial":              {"version: 1\nphones:\n  - {capture: [proxy]}\n", 0, "no serial"},
		"no capture":             {"version: 1\nphones:\n  - {serial: a}\n", 3, "lists no capture"},
		"unknown capture":        {"version: 1\nphones:\n  - serial: a\n    capture:\n      - proxy\n      - wireshark\n", 6, "wireshark"},
		"listed twice":           {"version: 1\nphones:\n  - {serial: a, capture: [proxy]}\n  - {serial: a, capture: [proxy]}\n", 4, "twice"},
		"server without port":    {"version: 1\nadb: [{server: localhost}]\nphones: [{serial: a, capture: [proxy]}]\n", 2, "host:port"},
		"uplink without port":    {"version: 1\nphones: [{serial: a, capture: [proxy]}]\nuplink: {socks5: lab}\n", 3, "host:port"},
		"pace of nothing":        {"version: 1\npace: 0\nphones: [{serial: a, capture: [proxy]}]\n", 2, "pace"},
		"pace in words":          {"version: 1\npace: fast\nphones: [{serial: a, capture: [proxy]}]\n", 2, "pace"},
		"pace that is no number": {"version: 1\npace: .nan\nphones: [{serial: a, capture: [proxy]}]\n", 2, "pace"},
		"floor without unit":     {"version: 1\nfloor: 15\nphones: [{serial: a, capture: [proxy]}]\n", 2, "15m"},
		"floor below nothing":    {"version: 1\nfloor: -15m\nphones: [{serial: a, capture: [proxy]}]\n", 2, "15m"},
		"gateway for all":        {"version: 1\ngateway: {command: [ssh, ap, tcpdump]}\nphones: [{serial: a, capture: [proxy]}]\n", 2, "{mac}"},
		"gateway for a shell":    {"version: 1\ngateway: {command: ssh ap tcpdump}\nphones: [{serial: a, capture: [proxy]}]\n", 2, "list of a program"},
		"a lab over TLS":         {"version: 1\nlab: {page: \"https://lab.example/\"}\nphones: [{serial: a, capture: [proxy]}]\n", 2, "must be the http:// address"},
		"a lab without a page":   {"version: 1\nlab: {ipv4: 192.0.2.1}\nphones: [{serial: a, capture: [proxy]}]\n", 0, "must be the http:// address"},
		"a lab nowhere":          {"version: 1\nlab: {page: \"http://lab.example/\", ipv4: 127.0.0.1}\nphones: [{serial: a, capture: [proxy]}]\n", 2, "no such address"},
		"a lab of IPv4 as IPv6":  {"version: 1\nlab: {page: \"http://lab.example/\", ipv6: 192.0.2.1}\nphones: [{serial: a, capture: [proxy]}]\n", 2, "no such address"},
		"quic in another word":   {"version: 1\nphones: [{serial: a, capture: [proxy], quic: drop}]\n", 2, "watch or block"},
		"quic without a proxy":   {"version: 1\nphones: [{serial: a, capture: [tcpdump], quic: block}]\n", 2, "capture: [proxy]"},
		"a decoder without name": {"version: 1\ndecoders: [{keys: k.txt}]\nphones: [{serial: a, capture: [proxy]}]\n", 0, "has no name"},
		"a decoder of nothing":   {"version: 1\ndecoders: [{name: d}]\nphones: [{serial: a, capture: [proxy]}]\n", 2, "a command or a file of keys"},
		"a decoder of both":      {"version: 1\ndecoders: [{name: d, keys: k.txt, command: [p]}]\nphones: [{serial: a, capture: [proxy]}]\n", 2, "and not both"},
		"a decoder for a shell":  {"version: 1\ndecoders: [{name: d, command: python3 decode.py}]\nphones: [{serial: a, capture: [proxy]}]\n", 2, "a list of a program"},
		"gateway nowhere":        {"version: 1\nphones: [{serial: a, capture: [gateway]}]\n", 2, "gateway: {command"},
		"pass without a list":    {"version: 1\nphones: [{serial: a, capture: [proxy]}]\nuplink: {pass: pinned.example}\n", 3, "list of host names"},
		"pass of an address":     {"version: 1\nphones: [{serial: a, capture: [proxy]}]\nuplink: {pass: [\"*.pinned.example\"]}\n", 3, "no host name"},
		"capture twice":          {"version: 1\nphones: [{serial: a, capture: [proxy, proxy]}]\n", 2, "twice"},
		"mac":                    {"version: 1\nphones: [{serial: a, mac: \"f4:60\", capture: [proxy]}]\n", 2, "hardware address"},
		"pcapdroid, no key":      {"version: 1\nphones: [{serial: a, capture: [pcapdroid]}]\n", 2, "Settings > Control permissions"},
		"pcapdroid, a bad key":   {"version: 1\nphones:\n  - serial: a\n    capture: [pcapdroid]\n    pcapdroid: {api_key: \"x y\"}\n", 5, "copy it from"},
		"isolated perhaps":       {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    pcapdroid: {isolated: perhaps}\n", 5, "true or false"},
		"pcapdroid, its filter":  {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    pcapdroid: {app_filter: x}\n", 5, "app_filter"},
		"hooks that are a list":  {"version: 1\nhooks: [uhubctl]\nphones: [{serial: a, capture: [proxy]}]\n", 2, "table"},
		"an unknown hook":        {"version: 1\nhooks:\n  pwer: [uhubctl]\nphones: [{serial: a, capture: [proxy]}]\n", 3, "pwer"},
		"a hook given twice":     {"version: 1\nhooks:\n  power: [uhubctl]\n  power: [uhubctl]\nphones: [{serial: a, capture: [proxy]}]\n", 0, "power"},
		"an empty hook":          {"version: 1\nhooks:\n  power: []\nphones: [{serial: a, capture: [proxy]}]\n", 3, "list of a program"},
		"a hook for a shell":     {"version: 1\nhooks:\n  power: uhubctl -a cycle\nphones: [{serial: a, capture: [proxy]}]\n", 3, "no shell"},
		"a hook without a name":  {"version: 1\nhooks:\n  power: [\"\"]\nphones: [{serial: a, capture: [proxy]}]\n", 3, "names no program"},
		"a hook without command": {"version: 1\nhooks:\n  power: {limit: 5m}\nphones: [{serial: a, capture: [proxy]}]\n", 3, "list of a program"},
		"a hook's limit":         {"version: 1\nhooks:\n  power:\n    command: [x]\n    limit: 5\nphones: [{serial: a, capture: [proxy]}]\n", 5, "5m"},
		"a hook's own key":       {"version: 1\nhooks:\n  power:\n    command: [x]\n    shell: true\nphones: [{serial: a, capture: [proxy]}]\n", 5, "shell"},
		"a list in a hook":       {"version: 1\nhooks:\n  power:\n    - x\n    - [y]\nphones: [{serial: a, capture: [proxy]}]\n", 5, "one value"},
		"an unknown placeholder": {"version: 1\nhooks:\n  power:\n    - uhubctl\n    - \"{port}\"\nphones: [{serial: a, capture: [proxy]}]\n", 5, "{port}"},
		"an empty placeholder":   {"version: 1\nhooks:\n  power: [uhubctl, \"{}\"]\nphones: [{serial: a, capture: [proxy]}]\n", 3, "{}"},
		"a build to a hub":       {"version: 1\nhooks:\n  power: [uhubctl, \"{build}\"]\nphones: [{serial: a, capture: [proxy]}]\n", 3, "{build}"},
		"a program made of one":  {"version: 1\nhooks:\n  power: [\"{note}\", x]\nphones: [{serial: a, capture: [proxy]}]\n", 3, "program"},
		"a hook of one phone":    {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    hooks: {power: [x, \"{prt}\"]}\n", 5, "{prt}"},
		"a server of no farm":    {"version: 1\nphones:\n  - {serial: a, capture: [proxy], server: \"lab:5037\"}\n", 3, "adb: does not list"},
		"rooted perhaps":         {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    rooted: maybe\n", 5, "true or false"},
		"rooted null":            {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    rooted: null\n", 5, "true or false"},
		"no such input":          {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    input: mouse\n", 5, "input, hid or person"},
		"quarantine, no reason":  {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    quarantine: true\n", 5, "reason in words"},
		"quarantine of nothing":  {"version: 1\nphones:\n  - serial: a\n    capture: [proxy]\n    quarantine: \" \"\n", 5, "reason in words"},
		"a list":                 {"- a\n", 1, ""},
		"broken YAML":            {"version: 1\nphones: [\n", 0, ""},
		"tabs":                   {"version: 1\n\tphones: []\n", 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rig.Parse("farm.yaml", []byte(c.text))
			var farm *rig.FarmError
			if !errors.As(err, &farm) {
				t.Fatalf("got %v, want a FarmError", err)
			}
			if c.line != 0 && farm.Line != c.line {
				t.Errorf("line %d, want %d: %v", farm.Line, c.line, err)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q is not one line that says %q", err, c.want)
			}
		})
	}
}

func TestFindLooksUpToTheModule(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "specs", "deep")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	find := func() string {
		t.Helper()
		path, err := rig.Find(deep)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv(rig.FarmVariable, "")
	write("go.mod")
	if got := find(); got != "" {
		t.Errorf("found %q where there is none", got)
	}
	write("farm.yaml")
	if got := find(); got != filepath.Join(root, "farm.yaml") {
		t.Errorf("found %q", got)
	}
	t.Setenv(rig.FarmVariable, "lab/other.yaml")
	if got := find(); got != filepath.Join(root, "lab", "other.yaml") {
		t.Errorf("$%s relative to the module: %q", rig.FarmVariable, got)
	}
	t.Setenv(rig.FarmVariable, "/etc/farm.yaml")
	if got := find(); got != "/etc/farm.yaml" {
		t.Errorf("absolute $%s: %q", rig.FarmVariable, got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: 1\nphones: [\n"))
	f.Add([]byte("version: 1\nhooks: {power: [uhubctl, -l, \"{note}\"], flash: {command: [flash.sh, \"{build}\"], limit: 45m}}\nphones: [{serial: a, capture: [proxy], hooks: {server: [x]}}]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		farm, err := rig.Parse("farm.yaml", text)
		if err == nil && (len(farm.Phones) == 0 || farm.Pace <= 0 || farm.Floor <= 0) {
			t.Errorf("accepted %+v", farm)
		}
	})
}
