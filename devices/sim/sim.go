// Package sim is a simulated farm of phones on a simulated internet, behind the
// genuine ADB server protocol, so that anybody can run and trust the harness
// without a phone.
//
// A world is started, used through ordinary doors, and given back:
//
//	world, err := sim.Start(ctx, sim.Config{Phones: []sim.PhoneConfig{{Personality: "honest"}, {Personality: "deaf"}}})
//	if err != nil {
//		return err
//	}
//	defer world.Close()
//	fmt.Println(world.ADB(), world.FarmFile())
//
// World.ADB is an ADB server: `adb -H 127.0.0.1 -P PORT devices -l` lists the
// phones, and `adb -s SERIAL shell input tap X Y` is a finger. World.SOCKS is the
// way into the world's internet for a program of the host, such as a proxy; the
// certificates that it needs lie beside the farm.yaml. What the phones send are
// real packets, which their own tcpdump shows.
//
// What a phone's browser tells whom is its personality (package browser), one of
// Personalities or a value of the caller's own. The truth that a harness has to
// find out is in World.Ledger: what every simulated host received. It shares no
// code with any instrument.
//
// A phone can be broken by name while it is observed, in Go or from another
// process through the control door, a small HTTP server on loopback:
//
//	err = world.Phones()[0].Fault(ctx, "unplug", "5s")
//
//	curl -X POST http://CONTROL/phones/SERIAL/faults/reboot
//	curl -X POST 'http://CONTROL/phones/SERIAL/faults/unplug?arg=5s&after=20s'
//	curl -X POST http://CONTROL/adb/stop
//	curl http://CONTROL/phones/SERIAL
//	curl http://CONTROL/ledger
//
// Faults lists the names, as GET /faults does; PhoneConfig.Faults has them happen by themselves. Every door listens on loopback only.
//
// The parts are packages of their own: internet (stacks, router, hosts, ledger),
// web (the sites), screen and browser (what is seen and tapped), apps (noise),
// userland (files, processes, commands), door (the protocol).
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/door"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/userland"
	"github.com/offproof/offproof/devices/sim/web"
)

// A Config says what world to start. The zero value is one honest Redmi Note 8.
type Config struct {
	// Phones are the phones of the farm; none means one honest phone.
	Phones []PhoneConfig
	// Pace multiplies every delay of the world; 0 means 0.02.
	Pace float64
	// ADB, SOCKS and Control are listen addresses; empty means 127.0.0.1:0.
	ADB, SOCKS, Control string
	// Transport, when set, is host:port of a genuine ADB server, such as
	// 127.0.0.1:5037. Each phone then listens for it as adbd does, and farm-adb.yaml
	// names the phones by their addresses, as that server does once it has
	// connected to them.
	Transport string
	// Dir receives roots.pem, farm.yaml, and in time the farm's state and
	// evidence; empty means a temporary folder that Close removes.
	Dir string
	// Floor is the shortest quiet window written to farm.yaml, before the pace;
	// 0 means 2 minutes.
	Floor time.Duration
	// Lab is the laboratory's own server in the world; nil is none.
	Lab *Lab
	// Seed makes serials and content repeatable; 0 chooses one.
	Seed int64
	// Log hears what the world does; nil discards it.
	Log *slog.Logger
}

// A Root says how a phone's owner can be root on it.
type Root = userland.Root

// The kinds of phones.
const (
	RootADBD = userland.RootADBD // the daemon runs as root, as after `adb root`
	RootSU   = userland.RootSU   // the shell is the shell user, and su makes it root
	RootNone = userland.RootNone // a locked retail phone
)

// A PhoneConfig says what one phone is.
type PhoneConfig struct {
	// Personality is the name of a built-in personality; empty means "honest".
	Personality string
	// Behaviour, when set, is a personality of the caller's own, and Personality
	// is ignored.
	Behaviour *browser.Personality
	// Model is a name of Models; empty means the first of them.
	Model string
	// Locale is one of Locales; empty means the first of them.
	Locale string
	// Root says how the phone's owner can be root; empty means RootADBD.
	Root Root
	// Faults happen to the phone by themselves.
	Faults []PlannedFault
	// DualApps gives the phone a second user, 999, who has the browser as well.
	DualApps bool
	// Emulator makes the phone an Android Emulator: its serial is emulator-PORT, and
	// a console listens at that port.
	Emulator bool
	// KeyLog makes the phone's apps write the secrets of their TLS to a file of the
	// farm, as a tool on a rooted phone does; farm.yaml names it.
	KeyLog bool
	// Capture are the instruments that farm.yaml lists for the phone; none means
	// tcpdump and proxy.
	Capture []string
	// PCAPdroid is the version of the app that is installed; empty means none, or a
	// good one where Capture names it. The phone's owner has allowed it to be the
	// phone's VPN.
	PCAPdroid string
	// BlockQUIC says in farm.yaml that QUIC is to be blocked while the proxy runs.
	BlockQUIC bool
	// Isolated says in farm.yaml that nobody else is on the phone's network.
	Isolated bool
}

// pcapdroid is the version of PCAPdroid that the phone has, empty for none.
func (pc PhoneConfig) pcapdroid() string {
	if pc.PCAPdroid == "" && slices.Contains(pc.Capture, capturePCAPdroid) {
		return pcapdroidVersion
	}
	return pc.PCAPdroid
}

// A Lab is a server of the laboratory that owns the phones, which farm.yaml
// names. What it does is its owner's.
type Lab struct {
	V4, V6 netip.Addr
	// Handler answers HTTP at port 80, Datagram what comes to the UDP port.
	Handler  http.Handler
	Port     uint16
	Datagram func(datagram []byte, from netip.AddrPort) []byte
}

// labName is the laboratory's server by name.
const labName = "lab.bench.example"

// addLab adds the laboratory's server to the internet.
func (w *World) addLab() error {
	l := w.cfg.Lab
	if l == nil {
		return nil
	}
	return w.net.AddHost(internet.HostConfig{
		Name: labName, V4: l.V4, V6: l.V6, NoV4: !l.V4.IsValid(), NoV6: !l.V6.IsValid(), TLSPorts: []uint16{}, Handler: l.Handler,
		Datagrams: map[uint16]func([]byte, netip.AddrPort) []byte{l.Port: l.Datagram},
	})
}

// labYAML is what farm.yaml says of it.
func (w *World) labYAML() string {
	l := w.cfg.Lab
	if l == nil {
		return ""
	}
	out := fmt.Sprintf("lab: {page: %q", "http://"+labName+"/")
	if l.V4.IsValid() {
		out += fmt.Sprintf(", ipv4: %q", l.V4)
	}
	if l.V6.IsValid() {
		out += fmt.Sprintf(", ipv6: %q", l.V6)
	}
	return out + "}\n"
}

// A World is a running farm.
type World struct {
	cfg     Config
	net     *internet.Internet
	events  *web.Events
	adb     *door.Server
	socks   net.Listener
	control *control
	gateway *gateway
	phones  []*Phone
	dir     string
	made    bool // dir is ours to remove
	stop    context.CancelFunc
	running sync.WaitGroup
	close   sync.Once
	closed  error
}

func (c Config) withDefaults() Config {
	if len(c.Phones) == 0 {
		c.Phones = []PhoneConfig{{}}
	}
	if c.Pace <= 0 {
		c.Pace = 0.02
	}
	if c.Floor <= 0 {
		c.Floor = 2 * time.Minute
	}
	for _, addr := range []*string{&c.ADB, &c.SOCKS, &c.Control} {
		if *addr == "" {
			*addr = "127.0.0.1:0"
		}
	}
	if c.Seed == 0 {
		c.Seed = time.Now().UnixNano()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Start starts a world. It runs until Close; ctx bounds the start only. After
// an error nothing is left running.
func Start(ctx context.Context, cfg Config) (*World, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &World{cfg: cfg.withDefaults(), stop: stop, events: &web.Events{}}
	if err := w.start(ctx, life); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

func (w *World) start(ctx, life context.Context) error {
	var err error
	if w.net, err = internet.New(ctx, internet.Config{Seed: w.cfg.Seed, Log: w.cfg.Log}); err != nil {
		return fmt.Errorf("sim: start the internet: %w", err)
	}
	if err = web.Register(w.net, web.Options{Pace: w.cfg.Pace, Events: w.events}); err != nil {
		return fmt.Errorf("sim: start the sites: %w", err)
	}
	if err = w.addLab(); err != nil {
		return fmt.Errorf("sim: start the laboratory's server: %w", err)
	}
	w.adb = door.NewServer(w.cfg.Log)
	rng := rand.New(rand.NewPCG(uint64(w.cfg.Seed), 0x73696d)) //nolint:gosec // A world is made from its seed.
	id := rng.Uint32() & 0xffffff
	for i, pc := range w.cfg.Phones {
		serial := fmt.Sprintf("SIM%06X%02d", id, i+1)
		var con *console
		if pc.Emulator {
			if con, err = openConsole(ctx); err != nil {
				return fmt.Errorf("sim: open the console of an emulator: %w", err)
			}
			serial = con.serial()
		}
		p, err := w.phone(life, pc, serial, rng)
		if err != nil {
			return err
		}
		if con != nil {
			p.console, con.phone = con, p
			go con.serve()
		}
		w.phones = append(w.phones, p)
		if w.cfg.Transport != "" {
			if p.transport, err = p.daemon.Listen(ctx, adbd.TransportConfig{Addr: "127.0.0.1:0", Secure: true}); err != nil {
				return fmt.Errorf("sim: open the door of %s: %w", p.serial, err)
			}
		}
		w.adb.Add(p.daemon, adbd.Device)
	}
	if w.gateway, err = openGateway(ctx, w); err != nil {
		return fmt.Errorf("sim: open the gateway's door: %w", err)
	}
	if w.socks, err = listen(ctx, w.cfg.SOCKS); err != nil {
		return fmt.Errorf("sim: open the SOCKS door: %w (choose another port, or 0 for a free one)", err)
	}
	socks := w.socks
	w.running.Go(func() {
		if err := w.net.SOCKS(life, socks); err != nil && life.Err() == nil {
			w.cfg.Log.Error("SOCKS door", "err", err)
		}
	})
	if err = w.adb.Start(ctx, w.cfg.ADB); err != nil {
		return fmt.Errorf("sim: open the ADB door: %w (choose another port, or 0 for a free one)", err)
	}
	if w.control, err = openControl(ctx, w, w.cfg.Control); err != nil {
		return fmt.Errorf("sim: open the control door: %w (choose another port, or 0 for a free one)", err)
	}
	for i, pc := range w.cfg.Phones {
		for _, f := range pc.Faults {
			if err := w.phones[i].FaultAfter(ctx, f.Name, f.Arg, f.After); err != nil {
				return err
			}
		}
	}
	return w.writeFiles()
}

// listen opens a door. Whoever passes one may do anything to the farm, so it is
// for programs of this host only.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return nil, errors.Join(fmt.Errorf("%s is not a loopback address", address), ln.Close())
	}
	return ln, nil
}

func (w *World) writeFiles() error {
	w.dir = w.cfg.Dir
	if w.dir == "" {
		dir, err := os.MkdirTemp("", "offproof-sim-*")
		if err != nil {
			return fmt.Errorf("sim: make the farm's folder: %w", err)
		}
		w.dir, w.made = dir, true
	}
	for _, p := range w.phones {
		if p.keys != nil {
			if err := p.keys.open(w.dir); err != nil {
				return err
			}
		}
		if c := p.console; c != nil {
			if err := os.WriteFile(filepath.Join(w.dir, c.tokenName()), []byte(c.token+"\n"), 0o600); err != nil {
				return fmt.Errorf("sim: write a console's token: %w", err)
			}
		}
	}
	files := map[string][]byte{"roots.pem": w.net.Roots(), "farm.yaml": w.FarmYAML()}
	if w.cfg.Transport != "" {
		files[transportFarm] = w.farmYAML(w.cfg.Transport, (*Phone).Transport)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o600); err != nil {
			return fmt.Errorf("sim: write %s: %w", name, err)
		}
	}
	return nil
}

// ADB is the address of the ADB server, host:port.
func (w *World) ADB() string { return w.adb.Addr() }

// SOCKS is the address of the SOCKS5 door into the world's internet.
func (w *World) SOCKS() string { return w.socks.Addr().String() }

// Control is the address of the HTTP control door.
func (w *World) Control() string { return w.control.addr() }

// Phones are the phones of the farm, in the order of the configuration.
func (w *World) Phones() []*Phone { return w.phones }

// Phone is the phone with that serial, nil when there is none.
func (w *World) Phone(serial string) *Phone {
	for _, p := range w.phones {
		if p.serial == serial {
			return p
		}
	}
	return nil
}

// Ledger is what every simulated host truly received.
func (w *World) Ledger() *internet.Ledger { return w.net.Ledger() }

// Events are the uploads that the Sensors collector decoded.
func (w *World) Events() *web.Events { return w.events }

// FarmYAML is a farm.yaml that names this world's phones.
func (w *World) FarmYAML() []byte { return w.farmYAML(w.ADB(), (*Phone).Serial) }

func (w *World) farmYAML(server string, serial func(*Phone) string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nadb: [{server: %q}]\nphones:\n", server)
	for i, p := range w.phones {
		capture := w.cfg.Phones[i].Capture
		if len(capture) == 0 {
			capture = []string{"tcpdump", "proxy"}
		}
		keylog := ""
		if p.keys != nil {
			keylog = fmt.Sprintf("keylog: %q, ", p.keys.name)
		}
		if p.console != nil {
			keylog += fmt.Sprintf("emulator: {token: %q}, ", p.console.tokenName())
		}
		if w.cfg.Phones[i].BlockQUIC {
			keylog += "quic: block, "
		}
		fmt.Fprintf(&b, "  - {serial: %q, capture: [%s], %snote: %q%s}\n", serial(p), strings.Join(capture, ", "), keylog, "simulated "+p.Model()+", "+p.Locale()+", "+p.Personality(), pcapdroidYAML(p, w.cfg.Phones[i]))
	}
	fmt.Fprintf(&b, "uplink: {socks5: %q, roots: roots.pem}\ngateway: {command: %s}\npace: %g\nfloor: %s\nstate: state\nevidence: runs\n%s",
		w.SOCKS(), w.gateway.command(), w.cfg.Pace, w.cfg.Floor, w.labYAML())
	return []byte(b.String())
}

// pcapdroidYAML is what farm.yaml says of a phone's PCAPdroid.
func pcapdroidYAML(p *Phone, pc PhoneConfig) string {
	switch {
	case !slices.Contains(pc.Capture, capturePCAPdroid):
		return ""
	case pc.Isolated:
		return fmt.Sprintf(", pcapdroid: {api_key: %q, isolated: true}", p.PCAPdroidKey())
	}
	return fmt.Sprintf(", pcapdroid: {api_key: %q}", p.PCAPdroidKey())
}

// FarmFile is the path of the farm.yaml that was written.
func (w *World) FarmFile() string { return filepath.Join(w.dir, "farm.yaml") }

// transportFarm is the farm.yaml for a genuine ADB server.
const transportFarm = "farm-adb.yaml"

// TransportFile is the path of the farm.yaml for the genuine ADB server of
// Config.Transport, empty without one.
func (w *World) TransportFile() string {
	if w.cfg.Transport == "" {
		return ""
	}
	return filepath.Join(w.dir, transportFarm)
}

// StopADB stops the ADB server, as adb kill-server does.
func (w *World) StopADB() { w.adb.Stop() }

// StartADB starts the ADB server again on the same address.
func (w *World) StartADB(ctx context.Context) error {
	if err := w.adb.Start(ctx, ""); err != nil {
		return fmt.Errorf("sim: start the ADB server again: %w", err)
	}
	return nil
}

// Close ends everything and frees every port, file and goroutine.
func (w *World) Close() error {
	w.close.Do(func() {
		w.stop()
		if w.control != nil {
			w.closed = errors.Join(w.closed, w.control.close())
		}
		if w.gateway != nil {
			w.closed = errors.Join(w.closed, w.gateway.close())
		}
		if w.adb != nil {
			w.adb.Stop()
		}
		if w.socks != nil {
			_ = w.socks.Close()
		}
		for _, p := range w.phones {
			if p.transport != nil {
				p.transport.Close()
			}
			p.end()
			if p.console != nil {
				p.console.close()
			}
			if p.keys != nil {
				w.closed = errors.Join(w.closed, p.keys.close())
			}
		}
		if w.net != nil {
			w.closed = errors.Join(w.closed, w.net.Close())
		}
		w.running.Wait()
		if w.made {
			w.closed = errors.Join(w.closed, os.RemoveAll(w.dir))
		}
	})
	return w.closed
}
