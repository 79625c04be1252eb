// Package emulator records the packets of an Android Emulator by the emulator's
// own capture, in front of its network card: on images that refuse root there is
// no other way inside.
//
// The emulator writes a pcap file on this host, at the word of its control
// console or because it was started with -tcpdump; the file is followed as it
// grows. An emulator says nothing about the maker's firmware, only about apps
// that install there.
package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/packets"
)

// Name is the backend's word in farm.yaml.
const Name = "emulator"

// ErrNotReady is returned by Start when the phone's own question did not come
// back in the packets in time.
var ErrNotReady = errors.New("emulator: did not become ready")

// Options say where the emulator writes. The zero value is useful for a serial
// such as emulator-5554.
type Options struct {
	// Serial is the emulator's, emulator-PORT: PORT is its console's.
	Serial string
	// Token is the file that holds the console's token; empty for that in the home
	// of this user.
	Token string
	// File is what the emulator was started to write, by -tcpdump; empty makes the
	// console begin a capture.
	File string
	// BeaconTries is how often a beacon's question is asked, 40 when zero, and
	// BeaconWait how long each is waited for, 500 ms when zero. The emulator's file
	// may be buffered, so that only further packets bring a question to light.
	BeaconTries int
	BeaconWait  time.Duration
}

// A Backend records one emulator's packets.
type Backend struct {
	phone packets.Phone
	o     Options
}

var _ capture.Backend = (*Backend)(nil)

// New returns a backend for a phone that is an emulator.
func New(phone packets.Phone, o Options) *Backend {
	if o.BeaconTries <= 0 {
		o.BeaconTries = 40
	}
	if o.BeaconWait <= 0 {
		o.BeaconWait = 500 * time.Millisecond
	}
	return &Backend{phone: phone, o: o}
}

// Name returns "emulator".
func (b *Backend) Name() string { return Name }

// ConsoleOf is the address of the console of an emulator with that serial; ok is
// false for a serial of another kind.
func ConsoleOf(serial string) (address string, ok bool) {
	text, ok := strings.CutPrefix(serial, "emulator-")
	port, err := strconv.ParseUint(text, 10, 16)
	if !ok || err != nil || port == 0 || strconv.FormatUint(port, 10) != text {
		return "", false
	}
	return net.JoinHostPort("127.0.0.1", text), true
}

// Probe says whether the emulator's console answers on this host, or the file is
// there that it was started to write.
func (b *Backend) Probe(ctx context.Context) (capture.Ability, error) {
	if b.o.File != "" {
		if !exists(b.o.File) {
			return capture.Ability{Reason: fmt.Sprintf("the file %s is not there: start the emulator with -tcpdump %s, or correct emulator: in farm.yaml", b.o.File, b.o.File)}, nil
		}
		return capture.Ability{OK: true, Sees: "packets of the emulator, in " + b.o.File}, nil
	}
	address, ok := ConsoleOf(b.o.Serial)
	if !ok {
		return capture.Ability{Reason: fmt.Sprintf("%s is no emulator of this host: capture it by another backend", b.o.Serial)}, nil
	}
	c, err := dial(ctx, address, b.o.Token)
	if err != nil && ctx.Err() == nil {
		return capture.Ability{Reason: strings.TrimPrefix(err.Error(), "emulator: ")}, nil
	}
	if err != nil {
		return capture.Ability{}, err
	}
	c.close()
	return capture.Ability{OK: true, Sees: "packets of the emulator's network card"}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// follow is how often the growing file is looked at.
const follow = 30 * time.Millisecond

// A session is one capture of the emulator.
type session struct {
	*packets.Recorder
	o       Options
	console *console // nil where the emulator writes by itself
	gone    <-chan struct{}
	source  *os.File
	own     bool // source is ours to remove
	stop    chan struct{}

	mu       sync.Mutex
	stopping bool
}

var _ capture.Session = (*session)(nil)

// Start makes the emulator write, and returns when a question that the phone
// asked has come back in the packets.
func (b *Backend) Start(ctx context.Context, dir string) (capture.Session, error) {
	s := &session{o: b.o, stop: make(chan struct{})}
	path := b.o.File
	if path == "" {
		address, ok := ConsoleOf(b.o.Serial)
		if !ok {
			return nil, fmt.Errorf("emulator: start: %s is no emulator of this host", b.o.Serial)
		}
		var err error
		if path, err = filepath.Abs(filepath.Join(dir, "emulator-source.pcap")); err != nil {
			return nil, fmt.Errorf("emulator: start: %w", err)
		}
		if strings.ContainsAny(path, " \t\r\n\"'") {
			return nil, fmt.Errorf("emulator: start: the console takes no path with blanks or quotes, such as %q: move evidence: in farm.yaml", path)
		}
		if s.console, err = dial(ctx, address, b.o.Token); err != nil {
			return nil, err
		}
		if err := s.console.do("network capture start " + path); err != nil {
			s.console.close()
			return nil, fmt.Errorf("emulator: start: %w", err)
		}
		s.own, s.gone = true, s.console.gone()
	}
	var err error
	if s.source, err = opened(ctx, path); err != nil {
		s.end(ctx)
		return nil, fmt.Errorf("emulator: start: the emulator's file: %w", err)
	}
	if s.Recorder, err = packets.Create(dir, b.phone, packets.Options{
		Name: Name, Where: "the emulator", BeaconTries: b.o.BeaconTries, BeaconWait: b.o.BeaconWait, OwnClock: true,
	}); err != nil {
		s.end(ctx)
		return nil, errors.Join(err, s.source.Close())
	}
	go s.record()
	if _, err := s.Beacon(ctx, packets.Nonce()); err != nil {
		_, stopErr := s.Stop(ctx)
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNotReady, err), stopErr, os.Remove(s.Path()))
	}
	return s, nil
}

// opened opens the file once the emulator has made it.
func opened(ctx context.Context, path string) (*os.File, error) {
	limit := time.NewTimer(answerLimit)
	defer limit.Stop()
	tick := time.NewTicker(follow)
	defer tick.Stop()
	for {
		f, err := os.Open(path) //nolint:gosec // The run's own, or the bench names it.
		if err == nil || !errors.Is(err, os.ErrNotExist) {
			return f, err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// record follows the file until the session is stopped or the emulator has gone.
func (s *session) record() {
	none := int64(0)
	// The emulator writes each packet on its way to the network, from no queue that
	// could overflow, so nothing is dropped as long as it writes; beacons tell that.
	how := packets.How{Early: true, Dropped: &none}
	tick := time.NewTicker(follow)
	defer tick.Stop()
	gone := s.gone
	for ended := false; !ended; {
		select {
		case <-tick.C:
		case <-gone:
			s.mu.Lock()
			if gone = nil; !s.stopping { // Else it is Stop that has closed it.
				how.Doubt, ended = "the emulator's console went away: it has ended", true
			}
			s.mu.Unlock()
		case <-s.stop:
			how.Early, how.Cut = false, true
			ended = true
		}
		if doubt := s.drain(); doubt != "" && !how.Cut {
			how.Doubt, ended = doubt, true
		}
	}
	s.End(how)
}

// drain files what the emulator has written since. It says what is wrong, empty
// for nothing.
func (s *session) drain() string {
	buf := make([]byte, 256<<10)
	for {
		n, err := s.source.Read(buf)
		if n > 0 && !s.Take(buf[:n]) {
			return "the emulator's file cannot be followed any more"
		}
		if errors.Is(err, io.EOF) || n == 0 && err == nil {
			break
		}
		if err != nil {
			return fmt.Sprintf("the emulator's file cannot be read: %v", err)
		}
	}
	at, err := s.source.Seek(0, io.SeekCurrent)
	info, statErr := s.source.Stat()
	switch {
	case err != nil || statErr != nil:
		return fmt.Sprintf("the emulator's file cannot be looked at: %v", errors.Join(err, statErr))
	case info.Size() < at:
		return "the emulator's file became shorter: something began it anew"
	}
	named, err := os.Stat(s.source.Name())
	if err != nil || !os.SameFile(info, named) {
		return "the emulator's file is no longer where it was: something replaced it"
	}
	return ""
}

// end tells the emulator to stop writing.
func (s *session) end(ctx context.Context) {
	if s.console == nil {
		return
	}
	s.console.close()
	if address, ok := ConsoleOf(s.o.Serial); ok {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		// An emulator that has gone writes nothing more.
		if c, err := dial(limit, address, s.o.Token); err == nil {
			_ = c.do("network capture stop")
			c.close()
		}
	}
}

// Stop ends the emulator's capture, reads what it has written, and returns the
// trace. ctx gives the work its values only: the limits are the session's own.
func (s *session) Stop(ctx context.Context) (capture.Trace, error) {
	return s.Close(func() error {
		s.mu.Lock()
		s.stopping = true
		s.mu.Unlock()
		s.end(ctx) // The emulator flushes its file.
		close(s.stop)
		<-s.Done()
		err := s.source.Close()
		if s.own {
			err = errors.Join(err, os.Remove(s.source.Name()))
		}
		if err != nil {
			return fmt.Errorf("emulator: let the file go: %w", err)
		}
		return nil
	})
}
