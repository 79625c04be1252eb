// Package adbdtest tries the clients of ADB and the tcpdump backend on Debian's
// genuine adbd, with a genuine ADB server, kernel, shell and tcpdump between
// them. Only what is Android's own (settings, getprop, pm and the like) comes
// from a simulated phone: the daemon finds each in its PATH, as a program that
// hands its arguments on.
package adbdtest_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/internal/peers"
)

// patience bounds what a test waits for; no test asserts a time.
const patience = 5 * time.Minute

// Where the programs find the simulated phone: at its ADB server, which is
// offered inside the namespace.
const (
	userlandPort   = 5040
	userlandAddr   = "127.0.0.1:5040"
	userlandSerial = "OFFPROOF_USERLAND"
)

// The phone's network: its own end of the cable, and the one of the world.
const (
	phoneInterface = "wlan0"
	phoneAddress   = "10.77.0.2"
	worldAddress   = "10.77.0.1"
)

// android are the commands that only Android has.
var android = []string{
	"am", "cmd", "dumpsys", "getprop", "input", "log", "logcat", "monkey", "pm", "screencap", "setprop",
	"settings", "svc", "uiautomator", "wm",
}

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); slices.Contains(android, name) {
		os.Exit(command(context.Background(), name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// command is one of the phone's programs.
func command(ctx context.Context, name string, args []string) int {
	script := adb.Quote(append([]string{name}, args...)...)
	var in *os.File
	if name == "cmd" || name == "pm" { // only these read
		in = os.Stdin
	}
	client := adb.Client{Addr: userlandAddr}
	var r adb.Result
	var err error
	if in == nil {
		r, err = client.Run(ctx, os.Getenv(userlandSerial), script, nil)
	} else {
		r, err = client.Run(ctx, os.Getenv(userlandSerial), script, in)
	}
	_, _ = os.Stdout.Write(r.Stdout)
	_, _ = os.Stderr.Write(r.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: no simulated phone: %v\n", name, err)
		return 255
	}
	return r.Exit
}

// A bench is a genuine daemon that a genuine server has connected to.
type bench struct {
	*devices.Device
	daemon *peers.ADBD
	server *peers.ADB
	sim    *sim.Phone
	world  *peers.Namespace
}

// servers are the kinds of genuine ADB servers.
var servers = map[string]func(testing.TB) *peers.ADB{"adb 29": peers.NewADB, "adb 34": peers.NewTrixieADB}

// eachServer runs a test with every kind of server, each with a daemon of its own.
func eachServer(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t, server(t)))
		})
	}
}

// start makes a bench.
func start(t *testing.T, server *peers.ADB) *bench {
	t.Helper()
	w, err := sim.Start(t.Context(), sim.Config{Phones: make([]sim.PhoneConfig, 1), Pace: 0.01, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{server: server, sim: w.Phones()[0], world: peers.NewNamespace(t)}
	b.daemon = peers.NewADBD(t, peers.ADBDConfig{
		Resolver: worldAddress, Programs: android,
		Env: []string{userlandSerial + "=" + b.sim.Serial()},
	})
	b.daemon.Offer(t, userlandPort, w.ADB())
	peers.Join(t, b.daemon.Namespace, phoneInterface, phoneAddress+"/24", b.world, "lan0", worldAddress+"/24")
	b.serve(t)
	b.connect(t)
	b.Device = devices.Open(server.Addr, b.daemon.Addr)
	return b
}

// connect makes the server connect to the daemon, as a person would.
func (b *bench) connect(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"connect", b.daemon.Addr}, {"-s", b.daemon.Addr, "wait-for-device"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := b.server.Command(ctx, args...).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("adb %q: %v: %s", args, err, out)
		}
	}
}

// page is what the world's only site answers.
const page = "the world's page\n"

// serve answers every question for a name with the world's address, and there
// every request with a page.
func (b *bench) serve(t *testing.T) {
	t.Helper()
	var questions net.PacketConn
	var requests net.Listener
	if err := b.world.Do(func() (err error) {
		if questions, err = net.ListenPacket("udp", worldAddress+":53"); err != nil {
			return err
		}
		requests, err = net.Listen("tcp", worldAddress+":80")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	site := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(page))
	})}
	var running sync.WaitGroup
	running.Go(func() { _ = site.Serve(requests) })
	running.Go(func() { resolve(questions) })
	t.Cleanup(func() {
		_ = site.Close()
		_ = questions.Close()
		running.Wait()
	})
}

// resolve answers questions until conn is closed. A name below "invalid" does not
// exist.
func resolve(conn net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.RecursionAvailable = true, true
		m.Additionals = nil
		switch {
		case netInvalid(q.Name.String()):
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(worldAddress).As4()},
			}}
		}
		if out, err := m.Pack(); err == nil {
			_, _ = conn.WriteTo(out, from)
		}
	}
}

func netInvalid(name string) bool { return filepath.Ext(name[:max(0, len(name)-1)]) == ".invalid" }
