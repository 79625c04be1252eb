package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offproof/offproof/capture"
)

// cleanLimit bounds the undoing of what was done on the phone.
const cleanLimit = 30 * time.Second

// A session is a listening proxy with a phone led to it.
type session struct {
	phone    Phone
	o        Options
	rec      *recorder
	keys     *os.File // the key log of both sides of each intercepted connection
	ca       *authority
	uplink   *uplink
	listener net.Listener
	end      context.CancelFunc // ends every dial
	ended    <-chan struct{}    // closed by end
	done     chan struct{}
	work     sync.WaitGroup
	beacons  beacons

	mu       sync.Mutex
	conns    map[*conn]struct{}
	stopping bool

	stop    sync.Once
	final   capture.Trace
	failure error
}

var _ capture.Session = (*session)(nil)

// Start listens on the host's loopback, then leads the phone there: the tunnel,
// the trust, and last the proxy setting, so that the phone never has a proxy
// that does not answer. The run's CA certificate is written to dir as
// proxy-ca.pem; its key stays in memory. The secrets of the conversations are
// written to proxy-keys.log there, which only its owner may read.
func (b *Backend) Start(ctx context.Context, dir string) (capture.Session, error) {
	ca, err := newAuthority(b.o.Clock())
	if err != nil {
		return nil, fmt.Errorf("proxy: make certificate authority: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "proxy-ca.pem"), ca.pem, 0o600); err != nil {
		return nil, fmt.Errorf("proxy: write certificate: %w", err)
	}
	keys, err := os.OpenFile(filepath.Join(dir, "proxy-keys.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // dir is the run's own
	if err != nil {
		return nil, fmt.Errorf("proxy: make key log: %w", err)
	}
	up, err := newUplink(b.o, keys)
	if err != nil {
		return nil, errors.Join(err, keys.Close())
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy: listen: %w", err), keys.Close())
	}
	s := &session{
		phone: b.phone, o: b.o, keys: keys, ca: ca, uplink: up, listener: listener,
		rec: newRecorder(b.o), done: make(chan struct{}), conns: make(map[*conn]struct{}),
	}
	s.beacons.waiting = make(map[string]chan time.Time)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	s.end, s.ended = end, life.Done()
	s.work.Go(func() { s.accept(life) })
	s.work.Go(s.sweep)

	if err := s.lead(ctx); err != nil {
		_, stopErr := s.Stop(ctx)
		return nil, errors.Join(err, stopErr, os.Remove(filepath.Join(dir, "proxy-ca.pem")), os.Remove(keys.Name()))
	}
	return s, nil
}

// lead makes the phone use the proxy.
func (s *session) lead(ctx context.Context) error {
	_, port, err := splitPort(s.listener.Addr().String())
	if err != nil {
		return fmt.Errorf("proxy: own address: %w", err)
	}
	if err := s.phone.Tunnel(ctx, s.o.DevicePort, port); err != nil {
		return fmt.Errorf("proxy: open tunnel: %w", err)
	}
	if err := s.phone.TrustCA(ctx, s.ca.pem); err != nil {
		return fmt.Errorf("proxy: make the phone trust the certificate: %w", err)
	}
	if err := s.phone.SetProxy(ctx, fmt.Sprintf("127.0.0.1:%d", s.o.DevicePort)); err != nil {
		return fmt.Errorf("proxy: set the phone's proxy: %w", err)
	}
	return nil
}

// accept takes connections until the listener ends.
func (s *session) accept(life context.Context) {
	defer close(s.done)
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() && !errors.Is(err, net.ErrClosed) {
				// Out of file descriptors: connections are being lost.
				s.rec.lost(fmt.Sprintf("accepting failed: %v", err))
				if pause(life, 50*time.Millisecond) {
					continue
				}
			}
			s.mu.Lock()
			stopping := s.stopping
			s.mu.Unlock()
			if !stopping {
				s.rec.died(fmt.Sprintf("the listener died: %v", err))
			}
			return
		}
		s.take(life, raw)
	}
}

// pause waits and says whether the context still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *session) take(life context.Context, raw net.Conn) {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		_ = raw.Close()
		return
	}
	if len(s.conns) >= s.o.MaxConns {
		s.mu.Unlock()
		s.rec.lost(fmt.Sprintf("connections were turned away: more than %d at once", s.o.MaxConns))
		_ = raw.Close()
		return
	}
	c := newConn(s, raw)
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.work.Go(func() {
		c.serve(life)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	})
}

// sweep closes connections that take too long over a header or do nothing at
// all. One sweeper costs less than a deadline on every read and write.
func (s *session) sweep() {
	every := min(s.o.HeaderTimeout/4, s.o.IdleTimeout/4, time.Second)
	tick := time.NewTicker(max(every, 5*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-tick.C:
		}
		now := s.o.Clock()
		s.mu.Lock()
		for c := range s.conns {
			c.expire(now)
		}
		s.mu.Unlock()
	}
}

// Read returns everything recorded so far, unfinished exchanges included. What
// reached the host's socket before a recognised beacon has been recorded.
func (s *session) Read(ctx context.Context) (capture.Trace, error) {
	select {
	case <-s.ended:
		return s.Stop(ctx)
	default:
		return s.trace(), nil
	}
}

func (s *session) trace() capture.Trace {
	t := s.rec.trace(s.o.Clock())
	t.Keys = s.keys.Name()
	t.Door = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.o.DevicePort))
	return t
}

// Done is closed when recording has ended.
func (s *session) Done() <-chan struct{} { return s.done }

// Stop gives the phone its settings back, closes every connection, and returns
// the trace. ctx gives the clean-up its values only: an ended context must not
// leave a phone without a network, so the limit is the session's own.
func (s *session) Stop(ctx context.Context) (capture.Trace, error) {
	s.stop.Do(func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer cancel()
		s.mu.Lock()
		s.stopping = true
		s.mu.Unlock()
		// First the phone: as long as it is told to use a proxy there is one.
		if err := s.phone.Restore(clean); err != nil {
			s.failure = fmt.Errorf("proxy: restore the phone: %w", err)
		}
		_ = s.listener.Close() // an error means that it was closed already
		s.end()
		s.mu.Lock()
		for c := range s.conns {
			c.close("")
		}
		s.mu.Unlock()
		s.work.Wait()
		if err := s.keys.Close(); err != nil {
			s.failure = errors.Join(s.failure, fmt.Errorf("proxy: close key log: %w", err))
		}
		s.final = s.trace()
	})
	return s.final, s.failure
}

// beacons are the nonces that are being waited for.
type beacons struct {
	mu      sync.Mutex
	waiting map[string]chan time.Time
}

// find looks up the path of a request to BeaconHost. recognise tells whoever
// waits for it.
func (b *beacons) find(path string) (recognise func(at time.Time), known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	seen, known := b.waiting[strings.TrimPrefix(path, "/")]
	return func(at time.Time) {
		select {
		case seen <- at:
		default: // a repeated beacon, recognised before
		}
	}, known
}

// Beacon sends the nonce from the phone through its end of the tunnel, and
// returns when the proxy has read it.
func (s *session) Beacon(ctx context.Context, nonce string) (capture.Beacon, error) {
	if !validNonce(nonce) {
		return capture.Beacon{}, fmt.Errorf("proxy: beacon: %q is not a nonce of a-z and 0-9", nonce)
	}
	seen := make(chan time.Time, 1)
	s.beacons.mu.Lock()
	if s.beacons.waiting[nonce] != nil {
		s.beacons.mu.Unlock()
		return capture.Beacon{}, fmt.Errorf("proxy: beacon: %s is already under way", nonce)
	}
	s.beacons.waiting[nonce] = seen
	s.beacons.mu.Unlock()
	defer func() {
		s.beacons.mu.Lock()
		delete(s.beacons.waiting, nonce)
		s.beacons.mu.Unlock()
	}()

	beacon := capture.Beacon{Nonce: nonce, Sent: s.o.Clock(), Name: "http://" + BeaconHost + "/" + nonce}
	script := fmt.Sprintf(`printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' | nc -w 5 127.0.0.1 %d`,
		beacon.Name, BeaconHost, s.o.DevicePort)
	var last error
	for range s.o.BeaconTries {
		at, err := s.send(ctx, script, seen)
		if !at.IsZero() {
			beacon.Seen = at
			s.rec.beacon(beacon)
			return beacon, nil
		}
		if errors.Is(err, ErrEnded) || ctx.Err() != nil {
			return capture.Beacon{}, err
		}
		last = err
	}
	return capture.Beacon{}, fmt.Errorf("%w: %s, sent %d times to port %d of the phone: does the tunnel still stand? %w",
		ErrBeaconUnseen, nonce, s.o.BeaconTries, s.o.DevicePort, last)
}

// send runs the script once and waits for the nonce.
func (s *session) send(ctx context.Context, script string, seen <-chan time.Time) (time.Time, error) {
	run, cancel := context.WithCancel(ctx)
	var said atomic.Value
	sent := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		defer close(sent)
		_, stderr, exit, err := s.phone.Run(run, script)
		switch {
		case err != nil:
			failed <- fmt.Errorf("proxy: beacon: send from the phone: %w", err)
		case exit != 0:
			said.Store(fmt.Sprintf("exit status %d: %s", exit, excerpt(stderr)))
		}
	}()
	// Whatever comes, no command is left running behind the caller's back.
	defer func() {
		cancel()
		<-sent
	}()
	timer := time.NewTimer(s.o.BeaconWait)
	defer timer.Stop()
	var sendErr error
	for {
		select {
		case at := <-seen:
			return at, nil
		case <-s.done:
			return time.Time{}, fmt.Errorf("%w: %s", ErrEnded, s.rec.lastProblem())
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("proxy: beacon: %w", context.Cause(ctx))
		case sendErr = <-failed:
			// Nothing more will come of it, unless the nonce is on its way.
			timer.Reset(s.o.BeaconWait / 10)
		case <-timer.C:
			if words, ok := said.Load().(string); ok && sendErr == nil {
				sendErr = errors.New(words)
			}
			if sendErr == nil {
				sendErr = errors.New("the phone's command reported no failure")
			}
			return time.Time{}, sendErr
		}
	}
}

func validNonce(nonce string) bool {
	if nonce == "" || len(nonce) > 40 {
		return false
	}
	for _, c := range []byte(nonce) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// excerpt is the beginning of a program's words, fit for one line.
func excerpt(b []byte) string {
	const limit = 300
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), limit)]), "?")), " ")
	if s == "" {
		return "(it said nothing)"
	}
	return s
}
