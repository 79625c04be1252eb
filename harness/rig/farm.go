// Package rig is for putting a bench together: it reads farm.yaml, leases
// phones, attaches the instruments that the farm lists for them, and starts a
// simulated farm where there is no bench. It knows no Ginkgo, so that the suite
// and the command use the same one.
package rig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/offproof/offproof/capture/emulator"
	"github.com/offproof/offproof/capture/gateway"
	"github.com/offproof/offproof/capture/pcapdroid"
	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/ui"
	"github.com/offproof/offproof/harness"
)

// FarmFile is the name of the file that describes a bench.
const FarmFile = "farm.yaml"

// FarmVariable is the environment variable that locates another one, relative
// to the module's root.
const FarmVariable = "OFFPROOF_FARM"

// The capture backends that a farm may list.
const (
	CaptureTCPDump = "tcpdump"
	CaptureProxy   = "proxy"
	CaptureGateway = "gateway"
	// CaptureEmulator is the Android Emulator's own.
	CaptureEmulator  = "emulator"
	CapturePCAPdroid = "pcapdroid"
)

// captures are all of them.
func captures() []string {
	return []string{CaptureTCPDump, CaptureProxy, CaptureGateway, CaptureEmulator, CapturePCAPdroid}
}

// A Farm is what farm.yaml says of the bench.
type Farm struct {
	// Path is the file that it was read from.
	Path string
	// Servers are ADB servers, host:port.
	Servers []string
	Phones  []FarmPhone
	Uplink  Uplink
	// Gateway is the command that records at the lab's access point, with {mac}
	// in the place of a phone's hardware address; empty where there is none.
	Gateway []string
	// Decoders read what no decoder of ours can.
	Decoders []Decoder
	// Lab is the laboratory's own server, nil where there is none.
	Lab *harness.Lab
	// Collectors are the absolute paths of lists that are added to the built-in one.
	Collectors []string
	// Pace multiplies every delay; Floor is the shortest quiet window, before
	// the pace.
	Pace  float64
	Floor time.Duration
	// State holds journals, locks and the canary register; Evidence the runs.
	// Both are absolute.
	State    string
	Evidence string
}

// A FarmPhone is a phone that may be used. A phone that is not listed is never
// touched.
type FarmPhone struct {
	Serial  string
	Capture []string
	// Interface is the network interface to record, empty for wlan0.
	Interface string
	// MAC is the phone's hardware address in the lab's network, empty where the
	// phone is to be asked.
	MAC string
	// Emulator is what is known of a phone that is an emulator.
	Emulator Emulator
	// KeyLog is the absolute path of a key log into which the phone's TLS secrets
	// are written while it is observed, by a tool of the bench; empty for none.
	KeyLog string
	// PCAPdroid is how that app is used on the phone.
	PCAPdroid PCAPdroid
	// BlockQUIC is true where nothing is to go to UDP port 443 while the proxy runs.
	BlockQUIC bool
	// Note is shown beside the serial, such as the phone's owner.
	Note string
	// Server is the ADB server, host:port, to which the phone is attached; empty
	// for any of the farm's.
	Server string
	// Region and Rooted are what the bench says of the phone, so that a spec that
	// needs something else is skipped before anything is asked of the phone; empty
	// and nil where it says nothing.
	Region string
	Rooted *bool
	// Quarantine is why the phone is not to be used; empty when it is.
	Quarantine string
	// Input is the way by which the phone is operated; ui.RouteUnknown for
	// whichever it can be.
	Input ui.Route
	// Hooks are the bench's commands for this phone, by name: the farm's, and the
	// phone's own in their place.
	Hooks map[string]Hook
}

// An Emulator is where an Android Emulator's capture is.
type Emulator struct {
	// Token is the absolute path of the file with its console's token, empty for
	// that in the user's home.
	Token string
	// PCAP is the absolute path of what it writes since it was started with
	// -tcpdump, empty where its console is to begin a capture.
	PCAP string
}

// PCAPdroid is how a phone's app of that name is used.
type PCAPdroid struct {
	// APIKey is what the app shows at Settings > Control permissions > API key.
	APIKey string
	// Isolated is true where nobody else is on the phone's network, so that the
	// app's server may be used, which listens on all of the phone's addresses.
	Isolated bool
}

// Facts are what farm.yaml says of the phone; all else is unknown.
func (p FarmPhone) Facts() devices.Facts {
	return devices.Facts{Region: p.Region, Rooted: p.Rooted, Capture: p.Capture}
}

// An Uplink is how the proxy reaches the internet.
type Uplink struct {
	// SOCKS5 is host:port, empty for a direct connection.
	SOCKS5 string
	// Roots is the absolute path of a PEM file, empty for the system's roots.
	Roots string
	// Pass are hosts, with the names below them, whose TLS the proxy passes on
	// without reading it.
	Pass []string
}

// farmFile is the shape of farm.yaml. Nodes keep their lines, so that an error
// can name one.
type farmFile struct {
	Version yaml.Node `yaml:"version"`
	ADB     []struct {
		Server yaml.Node `yaml:"server"`
	} `yaml:"adb"`
	Phones []struct {
		Serial    yaml.Node   `yaml:"serial"`
		Capture   []yaml.Node `yaml:"capture"`
		Interface yaml.Node   `yaml:"interface"`
		MAC       yaml.Node   `yaml:"mac"`
		KeyLog    yaml.Node   `yaml:"keylog"`
		Emulator  struct {
			Token yaml.Node `yaml:"token"`
			PCAP  yaml.Node `yaml:"pcap"`
		} `yaml:"emulator"`
		PCAPdroid struct {
			APIKey   yaml.Node `yaml:"api_key"`
			Isolated yaml.Node `yaml:"isolated"`
		} `yaml:"pcapdroid"`
		QUIC   yaml.Node `yaml:"quic"`
		Note   yaml.Node `yaml:"note"`
		Server yaml.Node `yaml:"server"`
		Region yaml.Node `yaml:"region"`
		Rooted yaml.Node `yaml:"rooted"`

		Quarantine yaml.Node `yaml:"quarantine"`
		Input      yaml.Node `yaml:"input"`
		Hooks      yaml.Node `yaml:"hooks"`
	} `yaml:"phones"`
	Hooks  yaml.Node `yaml:"hooks"`
	Uplink struct {
		SOCKS5 yaml.Node `yaml:"socks5"`
		Roots  yaml.Node `yaml:"roots"`
		Pass   yaml.Node `yaml:"pass"`
	} `yaml:"uplink"`
	Gateway struct {
		Command yaml.Node `yaml:"command"`
	} `yaml:"gateway"`
	Lab struct {
		Page yaml.Node `yaml:"page"`
		IPv4 yaml.Node `yaml:"ipv4"`
		IPv6 yaml.Node `yaml:"ipv6"`
	} `yaml:"lab"`
	Collectors yaml.Node     `yaml:"collectors"`
	Decoders   []decoderFile `yaml:"decoders"`

	Pace     yaml.Node `yaml:"pace"`
	Floor    yaml.Node `yaml:"floor"`
	State    yaml.Node `yaml:"state"`
	Evidence yaml.Node `yaml:"evidence"`
}

// A FarmError is a mistake in farm.yaml, with its line.
type FarmError struct {
	Path string
	Line int // 0 when it belongs to no line
	Text string
}

// Error is one line: file, line, what is wrong and what is right.
func (e *FarmError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Path, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Text)
}

// Load reads a farm from a file.
func Load(path string) (*Farm, error) {
	b, err := os.ReadFile(path) //nolint:gosec // The caller names the file.
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("rig: there is no farm at %s: name the file in $%s, or run `offproof sim` and use the one it writes", path, FarmVariable)
	}
	if err != nil {
		return nil, fmt.Errorf("rig: read farm: %w", err)
	}
	return Parse(path, b)
}

// Parse reads a farm from the text of a farm.yaml. Relative paths in it are
// relative to its folder. The error is a *FarmError.
func Parse(path string, text []byte) (*Farm, error) {
	var file farmFile
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, yamlError(path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("rig: read farm: %w", err)
	}
	p := &parser{path: path, dir: dir}
	f := p.farm(&file)
	if p.err != nil {
		return nil, p.err
	}
	return f, nil
}

// yamlError takes the line out of the library's words, because all messages of
// a farm are to look alike.
func yamlError(path string, err error) error {
	text := err.Error()
	var typed *yaml.TypeError
	if errors.As(err, &typed) && len(typed.Errors) > 0 {
		text = typed.Errors[0]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	line := 0
	if _, err := fmt.Sscanf(text, "line %d:", &line); err == nil {
		_, text, _ = strings.Cut(text, ": ")
	}
	text = strings.ReplaceAll(text, " in type rig.farmFile", " at this place")
	if text == "EOF" {
		text = "the file is empty: it needs version: 1 and a list of phones"
	}
	text, _, _ = strings.Cut(text, "\n")
	return &FarmError{Path: path, Line: line, Text: text}
}

type parser struct {
	path, dir string
	err       *FarmError
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = &FarmError{Path: p.path, Line: n.Line, Text: fmt.Sprintf(format, args...)}
	}
}

func (p *parser) text(n *yaml.Node, what string) string {
	if n.Kind == 0 {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		p.fail(n, "%s must be one value", what)
		return ""
	}
	return n.Value
}

func (p *parser) farm(file *farmFile) *Farm {
	f := &Farm{Path: p.path, Pace: 1, Floor: 15 * time.Minute}
	if v := p.text(&file.Version, "version"); v != "1" {
		p.fail(&file.Version, "version is %q; this program reads version: 1", v)
	}
	for i := range file.ADB {
		n := &file.ADB[i].Server
		server := p.text(n, "server")
		if _, port, ok := strings.Cut(server, ":"); !ok || port == "" {
			p.fail(n, "server %q must be host:port, such as 127.0.0.1:5037", server)
		}
		f.Servers = append(f.Servers, server)
	}
	if len(f.Servers) == 0 {
		f.Servers = []string{adb.DefaultAddr}
	}
	p.gateway(file, f)
	p.lab(file, f)
	p.phones(file, f)
	f.Uplink.SOCKS5 = p.text(&file.Uplink.SOCKS5, "socks5")
	if s := f.Uplink.SOCKS5; s != "" && !strings.Contains(s, ":") {
		p.fail(&file.Uplink.SOCKS5, "socks5 %q must be host:port", s)
	}
	if r := p.text(&file.Uplink.Roots, "roots"); r != "" {
		f.Uplink.Roots = p.absolute(r)
	}
	if n := &file.Uplink.Pass; n.Kind != 0 {
		if err := n.Decode(&f.Uplink.Pass); err != nil || n.Kind != yaml.SequenceNode {
			p.fail(n, "pass must be a list of host names, such as [pinned.example]")
		}
		for _, host := range f.Uplink.Pass {
			if !strings.Contains(host, ".") || strings.ContainsAny(host, "/ :*") {
				p.fail(n, "pass: %q is no host name; write pinned.example, which holds for the names below it too", host)
			}
		}
	}
	p.collectors(&file.Collectors, f)
	p.decoders(file.Decoders, f)
	if n := &file.Pace; n.Kind != 0 {
		if err := n.Decode(&f.Pace); err != nil || !(f.Pace > 0 && f.Pace <= 100) {
			p.fail(n, "pace %q must be a number above 0; 1 on real phones", n.Value)
		}
	}
	if n := &file.Floor; n.Kind != 0 {
		d, err := time.ParseDuration(n.Value)
		if err != nil || d <= 0 {
			p.fail(n, "floor %q must be a time such as 15m", n.Value)
		}
		f.Floor = d
	}
	if s := p.text(&file.State, "state"); s != "" {
		f.State = p.absolute(s)
	} else {
		f.State = defaultState()
	}
	f.Evidence = p.absolute("runs")
	if s := p.text(&file.Evidence, "evidence"); s != "" {
		f.Evidence = p.absolute(s)
	}
	return f
}

// gateway reads the command that reaches the access point.
func (p *parser) gateway(file *farmFile, f *Farm) {
	n := &file.Gateway.Command
	if n.Kind == 0 {
		return
	}
	if err := n.Decode(&f.Gateway); err != nil || n.Kind != yaml.SequenceNode {
		p.fail(n, "gateway: command must be a list of a program and its arguments, such as [ssh, lab-ap, tcpdump, -i, wlan0, -U, -w, \"-\", ether, host, \"{mac}\"]")
		return
	}
	if why := gateway.CheckCommand(f.Gateway); why != "" {
		p.fail(n, "gateway: command: %s", why)
	}
	if program := f.Gateway; len(program) > 0 && strings.ContainsRune(program[0], filepath.Separator) {
		f.Gateway[0] = p.absolute(program[0])
	}
}

// lab reads where the laboratory's own server is.
func (p *parser) lab(file *farmFile, f *Farm) {
	n := &file.Lab
	if n.Page.Kind == 0 && n.IPv4.Kind == 0 && n.IPv6.Kind == 0 {
		return
	}
	lab := &harness.Lab{Page: p.text(&n.Page, "page")}
	// Over TLS the page could be read by nobody but the proxy.
	if u, err := url.Parse(lab.Page); err != nil || u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "" {
		p.fail(&n.Page, "lab: page %q must be the http:// address that `offproof lab` prints, such as http://lab.example/", lab.Page)
	}
	address := func(n *yaml.Node, what string, fits func(netip.Addr) bool) netip.Addr {
		text := p.text(n, what)
		if text == "" {
			return netip.Addr{}
		}
		a, err := netip.ParseAddr(text)
		if err != nil || !fits(a) || a.Zone() != "" || a.IsLoopback() || a.IsUnspecified() {
			p.fail(n, "lab: %s %q is no such address of a server in the phones' network", what, text)
		}
		return a
	}
	lab.V4 = address(&n.IPv4, "ipv4", netip.Addr.Is4)
	lab.V6 = address(&n.IPv6, "ipv6", netip.Addr.Is6)
	f.Lab = lab
}

func (p *parser) phones(file *farmFile, f *Farm) {
	seen := map[string]bool{}
	hooks := p.hooks(&file.Hooks)
	for i := range file.Phones {
		row := &file.Phones[i]
		phone := FarmPhone{Serial: p.text(&row.Serial, "serial"), Interface: p.text(&row.Interface, "interface"), Note: p.text(&row.Note, "note")}
		if phone.Serial == "" {
			p.fail(&row.Serial, "phone %d has no serial; `adb devices` shows it", i+1)
		}
		if seen[phone.Serial] {
			p.fail(&row.Serial, "phone %s is listed twice", phone.Serial)
		}
		seen[phone.Serial] = true
		for j := range row.Capture {
			n := &row.Capture[j]
			switch {
			case !slices.Contains(captures(), n.Value):
				p.fail(n, "capture %q is not known; this version has %s", n.Value, strings.Join(captures(), ", "))
			case slices.Contains(phone.Capture, n.Value):
				p.fail(n, "capture %s is listed twice", n.Value)
			case n.Value == CaptureGateway && len(f.Gateway) == 0:
				p.fail(n, "capture gateway needs gateway: {command: [...]} in this file, which says how the access point is reached")
			}
			phone.Capture = append(phone.Capture, n.Value)
		}
		if phone.MAC = p.text(&row.MAC, "mac"); phone.MAC != "" && gateway.ParseMAC(phone.MAC) == "" {
			p.fail(&row.MAC, "mac %q is no hardware address such as f4:60:e2:01:02:03", phone.MAC)
		}
		if k := p.text(&row.KeyLog, "keylog"); k != "" {
			phone.KeyLog = p.absolute(k)
		}
		if f := p.text(&row.Emulator.Token, "token"); f != "" {
			phone.Emulator.Token = p.absolute(f)
		}
		if f := p.text(&row.Emulator.PCAP, "pcap"); f != "" {
			phone.Emulator.PCAP = p.absolute(f)
		}
		if _, ok := emulator.ConsoleOf(phone.Serial); !ok && phone.Emulator.PCAP == "" && slices.Contains(phone.Capture, CaptureEmulator) {
			p.fail(&row.Serial, "phone %s is captured by emulator, and its serial is not that of one, such as emulator-5554; name the file that it writes by emulator: {pcap: FILE}", phone.Serial)
		}
		phone.PCAPdroid.APIKey = p.text(&row.PCAPdroid.APIKey, "api_key")
		if n := &row.PCAPdroid.Isolated; n.Kind != 0 {
			if err := n.Decode(&phone.PCAPdroid.Isolated); err != nil {
				p.fail(n, "isolated %q must be true or false", n.Value)
			}
		}
		if why := pcapdroid.CheckKey(phone.PCAPdroid.APIKey); why != "" && slices.Contains(phone.Capture, CapturePCAPdroid) {
			n := &row.PCAPdroid.APIKey
			if n.Kind == 0 {
				n = &row.Serial
			}
			p.fail(n, "phone %s: PCAPdroid's api_key cannot be right: %s", phone.Serial, why)
		}
		switch q := p.text(&row.QUIC, "quic"); {
		case q == "block" && !slices.Contains(phone.Capture, CaptureProxy):
			p.fail(&row.QUIC, "phone %s: quic: block is for phones with capture: [proxy], which cannot read it", phone.Serial)
		case q != "" && q != "watch" && q != "block":
			p.fail(&row.QUIC, "quic %q must be watch or block", q)
		default:
			phone.BlockQUIC = q == "block"
		}
		phone.Server = p.text(&row.Server, "server")
		if phone.Server != "" && !slices.Contains(f.Servers, phone.Server) {
			p.fail(&row.Server, "phone %s is at server %s, which adb: does not list; it lists %s", phone.Serial, phone.Server, strings.Join(f.Servers, ", "))
		}
		phone.Region = p.text(&row.Region, "region")
		if n := &row.Rooted; n.Kind != 0 {
			if err := n.Decode(&phone.Rooted); err != nil || phone.Rooted == nil {
				p.fail(n, "rooted %q must be true or false; leave it out if you do not know", n.Value)
			}
		}
		if n := &row.Quarantine; n.Kind != 0 {
			if phone.Quarantine = strings.Join(strings.Fields(p.text(n, "quarantine")), " "); phone.Quarantine == "" || n.Tag == "!!bool" || n.Tag == "!!null" {
				p.fail(n, "quarantine needs the reason in words, such as quarantine: the battery is swollen; remove the line when the phone may be used")
			}
		}
		if n := &row.Input; n.Kind != 0 {
			phone.Input = ui.Route(p.text(n, "input"))
			if !slices.Contains([]ui.Route{ui.RouteInput, ui.RouteHID, ui.RoutePerson}, phone.Input) {
				p.fail(n, "input %q is no way to operate a phone: write %s, %s or %s, or leave it out for whichever it can be", phone.Input, ui.RouteInput, ui.RouteHID, ui.RoutePerson)
			}
		}
		if len(phone.Capture) == 0 {
			p.fail(&row.Serial, "phone %s lists no capture; write capture: [%s, %s]", phone.Serial, CaptureTCPDump, CaptureProxy)
		}
		phone.Hooks = overlay(hooks, p.hooks(&row.Hooks))
		f.Phones = append(f.Phones, phone)
	}
	if len(f.Phones) == 0 && p.err == nil {
		p.err = &FarmError{Path: p.path, Text: "no phones are listed; a phone that is not listed is never touched"}
	}
}

func (p *parser) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(p.dir, path)
}

// defaultState is one folder per host where that can be had, because leases
// must be seen by everybody who uses the phones.
func defaultState() string {
	const host = "/var/lib/offproof"
	if err := os.MkdirAll(host, 0o700); err == nil {
		return host
	}
	if dir := os.Getenv("XDG_STATE_HOME"); dir != "" {
		return filepath.Join(dir, "offproof")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "offproof")
	}
	return filepath.Join(os.TempDir(), "offproof-state")
}

// Find locates the farm for a folder: $OFFPROOF_FARM, relative to the module's
// root, or farm.yaml in the folder or above it, up to go.mod. It returns ""
// when there is none.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("rig: find farm: %w", err)
	}
	named := os.Getenv(FarmVariable)
	for at := abs; ; at = filepath.Dir(at) {
		if named == "" {
			if path := filepath.Join(at, FarmFile); exists(path) {
				return path, nil
			}
		}
		if root := exists(filepath.Join(at, "go.mod")); root || at == filepath.Dir(at) {
			if named == "" {
				return "", nil
			}
			if filepath.IsAbs(named) {
				return named, nil
			}
			if !root {
				at = abs
			}
			return filepath.Join(at, named), nil
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
