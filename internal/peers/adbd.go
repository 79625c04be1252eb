package peers

import (
	"bytes"
	"context"
	_ "embed"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

//go:embed adbd.sh
var adbdScript string

// An ADBD is Debian's genuine adbd in namespaces of its own, with a file system
// in memory. Its shell, its tools and its kernel are this machine's; what else a
// phone has comes from the programs that the test puts first in its PATH.
type ADBD struct {
	*Namespace
	// Addr is where an ADB server connects to the daemon, on this machine's
	// loopback.
	Addr string

	relay *relay
}

// An ADBDConfig says what a phone adds to the daemon.
type ADBDConfig struct {
	// Resolver is the address of the name server that programs ask.
	Resolver string
	// Programs are the names of commands that stand first in the PATH. Each is
	// this test's own executable, which sees by its first argument what it is.
	Programs []string
	// Env are variables for every command, as NAME=value.
	Env []string
}

// NewADBD starts a daemon, and ends it with all that it started when the test
// ends. Where the daemon is missing it skips the test, or fails it when
// OFFPROOF_REQUIRE_PEERS=1.
func NewADBD(t testing.TB, cfg ADBDConfig) *ADBD {
	t.Helper()
	debian := requireTrixie(t)
	unshare, sh := Require(t, "unshare"), Require(t, "sh")
	d := &ADBD{Namespace: NewNamespace(t)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	phone := t.TempDir()
	bin := filepath.Join(phone, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil { //nolint:gosec // The phone's other users run these.
		t.Fatal(err)
	}
	for _, name := range cfg.Programs {
		if err := os.Symlink("/opt/program", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(phone, "resolv.conf"), []byte("nameserver "+cfg.Resolver+"\n"), 0o644); err != nil { //nolint:gosec // Any program reads it.
		t.Fatal(err)
	}
	port, release, err := holdPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	args := slices.Concat(
		[]string{"--mount", "--pid", "--fork", "--kill-child", sh, "-c", adbdScript, "adbd.sh", t.TempDir(), string(debian), phone, self, strconv.Itoa(port)},
		cfg.Env,
		debian.command("/opt/adbd", "usr/lib/android-sdk/platform-tools/adbd"),
	)
	cmd := d.Command(context.WithoutCancel(t.Context()), unshare, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		// The end of unshare is the end of the daemon's first process, and with it
		// of every other.
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() && said.Len() > 0 {
			t.Logf("the daemon said:\n%s", said.String())
		}
	})
	dial := func(ctx context.Context) (net.Conn, error) {
		return d.Dial(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	for end := time.Now().Add(30 * time.Second); ; {
		conn, err := dial(t.Context())
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the daemon ended: %v: %s", err, said.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("the daemon does not listen: %v", err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A port that is free now.
	if err != nil {
		t.Fatal(err)
	}
	d.Addr = ln.Addr().String()
	d.relay = startRelay(t, ln, dial, nameProduct)
	return d
}

// Cut breaks the daemon's connections, as pulling a cable does. An ADB server
// connects anew by itself, or when it is told to.
func (d *ADBD) Cut() { d.relay.cut() }

// Dial connects to an address inside the namespace.
func (n *Namespace) Dial(ctx context.Context, addr string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, "tcp", addr)
		return err
	})
	return conn, err
}

// Offer lets the namespace reach a server of this machine's loopback at a port
// of its own loopback, until the test ends.
func (n *Namespace) Offer(t testing.TB, port int, addr string) {
	t.Helper()
	var ln net.Listener
	if err := n.Do(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // It does not wait.
		return err
	}); err != nil {
		t.Fatal(err)
	}
	startRelay(t, ln, func(ctx context.Context) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "tcp", addr)
	}, nil)
}

// Join lays a cable between two namespaces: an interface in each, with an
// address such as 10.0.0.1/24.
func Join(t testing.TB, a *Namespace, nameA, addressA string, b *Namespace, nameB, addressB string) {
	t.Helper()
	ip := func(n *Namespace, args ...string) {
		t.Helper()
		if out, err := n.Command(t.Context(), n.ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("peers: ip %q in namespace %s: %v: %s", args, n.Name, err, out)
		}
	}
	ip(a, "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", b.Name)
	for _, end := range []struct {
		n             *Namespace
		name, address string
	}{{a, nameA, addressA}, {b, nameB, addressB}} {
		ip(end.n, "address", "add", end.address, "dev", end.name)
		ip(end.n, "link", "set", end.name, "up")
	}
}
