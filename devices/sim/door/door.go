// Package door is the front door of simulated phones: the protocol of the ADB
// server on loopback, so that the genuine adb client and any other program
// drive them without noticing a difference.
//
// A Server knows phones by their daemons (package adbd), whose services it
// carries. It keeps the phones' states and its own forwards, and can be stopped
// and started again.
package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// Version is the protocol version that host:version answers.
const Version = 41

const (
	maxConnections = 2048
	requestTimeout = 2 * time.Minute // for a client that connects and says nothing
)

type entry struct {
	daemon *adbd.Daemon
	phone  adbd.Phone
	id     int
	state  adbd.State
	link   *adbd.Link // nil unless the state is online and the server runs
	// stale is true when only the connection is dead: a new one works.
	stale bool
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
	forwards map[string]*forward
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
	return &Server{log: log, conns: map[net.Conn]struct{}{}, forwards: map[string]*forward{}, changed: make(chan struct{})}
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
	for _, f := range s.forwards {
		f.tunnel.Close()
	}
	clear(s.forwards)
	for conn := range s.conns {
		_ = conn.Close()
	}
	return s.running
}

// Add makes a phone known by its daemon.
func (s *Server) Add(d *adbd.Daemon, state adbd.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	e := &entry{daemon: d, phone: d.Phone(), id: s.nextID, state: state}
	s.entries = append(s.entries, e)
	if s.listener != nil {
		s.plug(e)
	}
	s.notify()
}

// SetState changes what the server says of a phone. Every stream to the phone is
// cut before SetState returns.
func (s *Server) SetState(serial string, state adbd.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(serial)
	if e == nil || e.state == state {
		return
	}
	if e.state == adbd.Absent {
		s.nextID++
		e.id = s.nextID
	}
	s.unplug(e)
	e.state, e.stale = state, false
	if s.listener != nil {
		s.plug(e)
	}
	s.notify()
}

// Stale kills the connection to a phone, not the phone: it is offline until the
// connection is made anew.
func (s *Server) Stale(serial string) {
	s.SetState(serial, adbd.Offline)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(serial); e != nil {
		e.stale = true
	}
}

// reconnect makes the connection to a phone anew and says which state it had.
func (s *Server) reconnect(want chosen) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, err := s.chooseAny(want)
	if err != nil {
		return err.Error()
	}
	was := e.state
	s.unplug(e)
	s.nextID++
	e.id = s.nextID
	if e.stale {
		e.state, e.stale = adbd.Device, false
	}
	s.plug(e)
	s.notify()
	return fmt.Sprintf("reconnecting %s [%s]\n", e.phone.Serial(), was)
}

// StateOf is a phone's state, adbd.Absent for one that is not known.
func (s *Server) StateOf(serial string) adbd.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(serial); e != nil {
		return e.state
	}
	return adbd.Absent
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
	if e.state.Online() && e.link == nil {
		e.link = e.daemon.Link("UsbFfs", e.state, hostService)
	}
}

func (s *Server) unplug(e *entry) {
	l := e.link
	if l == nil {
		return
	}
	e.link = nil
	l.Close()
	s.running.Go(l.Wait)
}

func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}
