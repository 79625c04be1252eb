// Package door is the front door of simulated phones: the protocol of the ADB
// server on loopback, so that the genuine adb client and any other program
// drive them without noticing a difference.
//
// A Server knows phones by a small interface. It keeps their states, carries
// shells, files, forwards and reverses, and can be stopped and started again;
// whatever ends a phone's connection ends every stream to it, without an exit
// status, and takes its reverses away, as it is with a real phone.
package door

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"time"
)

// A State is what the server says of a phone.
type State string

// The states of a phone.
const (
	Absent       State = "" // not connected: it is in no list
	Device       State = "device"
	Offline      State = "offline"
	Unauthorized State = "unauthorized"
)

// Version is the protocol version that host:version answers.
const Version = 41

// Features are what phones and server can do, as feature lists name it.
const Features = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir"

const (
	maxConnections = 2048
	requestTimeout = 2 * time.Minute // for a client that connects and says nothing
)

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

// A Phone is what the door needs of a phone.
type Phone interface {
	Serial() string
	// Product, Model and Device are the properties in the list of devices.
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
	// Reboot asks for a reboot and returns at once.
	Reboot()
}

// A link is one connection between server and phone, from plugging in to
// unplugging.
type link struct {
	done     chan struct{}
	streams  map[net.Conn]struct{}
	reverses map[string]*tunnel
}

type entry struct {
	phone Phone
	id    int
	state State
	link  *link // nil unless the state is Device and the server runs
}

// A Server is an ADB server. It is safe for concurrent use.
type Server struct {
	log *slog.Logger

	mu       sync.Mutex
	entries  []*entry
	nextID   int
	listener net.Listener
	addr     string
	conns    map[net.Conn]struct{}
	forwards map[string]*tunnel
	cancel   context.CancelFunc
	running  *sync.WaitGroup
	changed  chan struct{}
	stopped  chan struct{}
}

// NewServer makes a server that does not listen yet. log may be nil.
func NewServer(log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{log: log, conns: map[net.Conn]struct{}{}, forwards: map[string]*tunnel{}, changed: make(chan struct{})}
}

// ErrRunning is the error of starting a server that runs.
var ErrRunning = errors.New("door: server runs already")

// Start listens on addr, a loopback host:port, and serves until Stop. ctx
// bounds the start only. After a first start, addr may be empty to mean the
// same address as before.
func (s *Server) Start(ctx context.Context, addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return ErrRunning
	}
	if addr == "" {
		addr = s.addr
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("door: listen on %s: %w", addr, err)
	}
	if tcp, ok := ln.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = ln.Close()
		return fmt.Errorf("door: listen on %s: not a loopback address", addr)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.listener, s.addr, s.cancel = ln, ln.Addr().String(), cancel
	s.running = &sync.WaitGroup{}
	s.stopped = make(chan struct{})
	for _, e := range s.entries {
		s.plug(e)
	}
	s.notify()
	running := s.running
	running.Add(1)
	go func() {
		defer running.Done()
		s.accept(ctx, ln, running)
	}()
	return nil
}

func (s *Server) accept(ctx context.Context, ln net.Listener, running *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		refuse := s.listener != ln || len(s.conns) >= maxConnections
		if !refuse {
			s.conns[conn] = struct{}{}
			running.Add(1)
		}
		s.mu.Unlock()
		if refuse {
			_ = conn.Close()
			continue
		}
		go func() {
			defer running.Done()
			s.serve(ctx, conn)
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		}()
	}
}

// Addr is the address on which the server listens or last listened.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Running reports whether the server listens.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listener != nil
}

// Stop closes the listener and every connection, as adb kill-server does. The
// phones stay known for the next Start.
func (s *Server) Stop() {
	running := s.shut()
	if running != nil {
		running.Wait()
	}
}

// shut is Stop without waiting, for a request that comes over a connection.
func (s *Server) shut() *sync.WaitGroup {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	_ = s.listener.Close()
	s.listener = nil
	s.cancel()
	close(s.stopped)
	for _, e := range s.entries {
		s.unplug(e)
	}
	for _, t := range s.forwards {
		t.close()
	}
	clear(s.forwards)
	for conn := range s.conns {
		_ = conn.Close()
	}
	return s.running
}

// Add makes a phone known.
func (s *Server) Add(p Phone, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	e := &entry{phone: p, id: s.nextID, state: state}
	s.entries = append(s.entries, e)
	if s.listener != nil {
		s.plug(e)
	}
	s.notify()
}

// SetState changes what the server says of a phone. Every stream to a phone
// that is no longer a Device is cut before SetState returns.
func (s *Server) SetState(serial string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(serial)
	if e == nil || e.state == state {
		return
	}
	if e.state == Absent {
		s.nextID++
		e.id = s.nextID
	}
	s.unplug(e)
	e.state = state
	if s.listener != nil {
		s.plug(e)
	}
	s.notify()
}

// StateOf is a phone's state, Absent for one that is not known.
func (s *Server) StateOf(serial string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(serial); e != nil {
		return e.state
	}
	return Absent
}

// Reverses lists a phone's reverse forwards as "tcp:8080 tcp:4000".
func (s *Server) Reverses(serial string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(serial)
	if e == nil || e.link == nil {
		return nil
	}
	return tunnelLines(e.link.reverses, "")
}

func (s *Server) find(serial string) *entry {
	for _, e := range s.entries {
		if e.phone.Serial() == serial {
			return e
		}
	}
	return nil
}

func (s *Server) plug(e *entry) {
	if e.state == Device && e.link == nil {
		e.link = &link{done: make(chan struct{}), streams: map[net.Conn]struct{}{}, reverses: map[string]*tunnel{}}
	}
}

func (s *Server) unplug(e *entry) {
	l := e.link
	if l == nil {
		return
	}
	e.link = nil
	close(l.done)
	for conn := range l.streams {
		_ = conn.Close()
	}
	for _, t := range l.reverses {
		t.close()
	}
}

func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// attach ties a connection to a phone's link, so that the link's end closes it.
func (s *Server) attach(l *link, conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
	}
	l.streams[conn] = struct{}{}
	return true
}

func (s *Server) detach(l *link, conn net.Conn) {
	s.mu.Lock()
	delete(l.streams, conn)
	s.mu.Unlock()
}
