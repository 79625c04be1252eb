// Package adbd is the daemon of a simulated phone: the services that it gives to
// a host, and the protocol over which a genuine ADB server reaches them.
//
// A Daemon is one phone's. Whoever stands between it and a host makes a Link,
// one connection from plugging in to unplugging, and opens services over it;
// what ends the link ends every service, without an exit status, and takes its
// reverse connections away, as it is with a real phone.
//
// A Transport is such a connection over TCP, so that `adb connect` works with
// the phone. The simulated ADB server (package door) is another.
package adbd

import (
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sort"
	"sync"
	"time"
)

// A State is how a phone stands to its hosts, in the word that an ADB server has
// for it.
type State string

// The states of a phone.
const (
	Absent       State = "" // not connected: no server lists it
	Device       State = "device"
	Offline      State = "offline"
	Unauthorized State = "unauthorized"
	Recovery     State = "recovery"
	Sideload     State = "sideload"
	Rescue       State = "rescue"
	Authorizing  State = "authorizing"
	// NoPermissions is the state of a phone whose USB device a server may not open.
	NoPermissions State = "no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html]"
)

// Online reports whether the daemon serves in this state. In any but Device it
// is that of a small system that starts nothing and can only reboot.
func (s State) Online() bool {
	switch s {
	case Device, Recovery, Sideload, Rescue:
		return true
	case Absent, Offline, Unauthorized, Authorizing, NoPermissions:
	}
	return false
}

// Features are what the daemon can do, as feature lists name it.
const Features = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"

// A Mode says how the streams of a command are connected.
type Mode uint8

// The ways to connect a command.
const (
	Merged   Mode = iota // one stream for standard output and standard error
	Separate             // one each
	Terminal             // a terminal, whose end hangs up
)

// A Session is a command that runs on a phone.
type Session interface {
	// Write feeds standard input. It blocks while the command does not read.
	Write(b []byte) error
	// CloseInput is the end of standard input.
	CloseInput()
	// Wait returns the exit status when the command has ended and its output
	// has been delivered. ok is false when the session was closed before.
	Wait() (code int, ok bool)
	// Close breaks the streams; the command may live on.
	Close()
}

// A Stat describes a file as the sync service does.
type Stat struct {
	Name     string
	Mode     uint32 // st_mode
	UID, GID uint32
	Ino      uint64
	Size     int64
	Mtime    time.Time
}

// Files is a phone's file system.
type Files interface {
	Stat(name string) (Stat, error)
	Lstat(name string) (Stat, error)
	ReadDir(name string) ([]Stat, error)
	Get(name string, w io.Writer) error
	// Put stores a file whole, with its parents.
	Put(name string, r io.Reader, perm fs.FileMode) error
	Chtimes(name string, mtime time.Time) error
	Symlink(target, name string) error
}

// A Phone is what the daemon needs of its phone.
type Phone interface {
	Serial() string
	// Product, Model and Device are the properties that the daemon tells of
	// itself.
	Product() string
	Model() string
	Device() string
	// Open runs a script, or an interactive shell when it is empty. out and
	// errs are called from one goroutine each.
	Open(ctx context.Context, script string, mode Mode, out, errs func([]byte) error) (Session, error)
	Files() Files
	// Dial connects to a port of the phone's loopback interface; Listen listens
	// on one, any for port 0.
	Dial(ctx context.Context, port int) (net.Conn, error)
	Listen(port int) (net.Listener, error)
	// Reboot asks for a reboot into what is named, Android when it is empty, and
	// returns at once.
	Reboot(into string)
	// Root and Remount are the services of these names: they return what the
	// daemon answers. restart asks the daemon to start again, with other rights.
	Root(on bool) (answer string, restart bool)
	Remount() (answer string)
	// Restart drops every connection of the daemon and offers it anew, and
	// returns at once.
	Restart()
}

// A Daemon is the daemon of one phone. It is safe for concurrent use.
type Daemon struct {
	phone Phone
	log   *slog.Logger

	mu       sync.Mutex
	reverses map[string]*reverse // by the phone's end
}

// New makes the daemon of a phone. log may be nil.
func New(phone Phone, log *slog.Logger) *Daemon {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Daemon{phone: phone, log: log, reverses: map[string]*reverse{}}
}

// Phone is the phone that the daemon serves.
func (d *Daemon) Phone() Phone { return d.phone }

// Reverses lists the reverse connections as "tcp:8080 tcp:4000".
func (d *Daemon) Reverses() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := make([]string, 0, len(d.reverses))
	for local, r := range d.reverses {
		lines = append(lines, local+" "+r.remote)
	}
	sort.Strings(lines)
	return lines
}

// CutReverses takes every reverse connection away, as a daemon that dies does.
func (d *Daemon) CutReverses() { d.dropReverses(nil) }

// An Opener opens a service of the host, such as "tcp:4000".
type Opener func(ctx context.Context, service string) (io.ReadWriteCloser, error)

// A Link is one connection between the daemon and a host.
type Link struct {
	d     *Daemon
	name  string
	state State
	open  Opener

	mu      sync.Mutex
	ended   bool
	done    chan struct{}
	tied    map[io.Closer]struct{}
	running sync.WaitGroup
}

// Link begins a connection in a state that is online. name is the transport's in
// the lists of reverse connections; open is how these reach the host.
func (d *Daemon) Link(name string, state State, open Opener) *Link {
	return &Link{d: d, name: name, state: state, open: open, done: make(chan struct{}), tied: map[io.Closer]struct{}{}}
}

// Done is closed when the link has ended.
func (l *Link) Done() <-chan struct{} { return l.done }

// Tie makes the link's end close c. It reports false when the link has ended.
func (l *Link) Tie(c io.Closer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.tied[c] = struct{}{}
	}
	return !l.ended
}

// Untie undoes Tie.
func (l *Link) Untie(c io.Closer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tied, c)
}

// Close ends the link: what is tied to it is closed and its reverse connections
// are gone when Close returns.
func (l *Link) Close() {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	close(l.done)
	tied := l.tied
	l.tied = nil
	l.mu.Unlock()
	for c := range tied {
		_ = c.Close()
	}
	l.d.dropReverses(l)
}

// Wait returns when everything that the link's services started has ended. It
// is called after Close.
func (l *Link) Wait() { l.running.Wait() }

// run starts a goroutine that Wait waits for, unless the link has ended.
func (l *Link) run(f func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.running.Go(f)
	return true
}
