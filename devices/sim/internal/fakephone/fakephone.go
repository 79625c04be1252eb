// Package fakephone is a phone of a few commands and one file, with which the
// doors of simulated phones are tested by their bytes. Only tests import it.
package fakephone

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// A Phone runs three commands: "cat" gives back what it reads, "fail N" ends with
// status N after a word on each stream, and "full" cannot be started. Its ports
// are those of this host.
type Phone struct {
	*device

	// Reboots and Restarts hear of each.
	Reboots  chan string
	Restarts chan struct{}
}

// New makes a phone with one file, /f.
func New(serial string) *Phone {
	d := &device{serial: serial, files: map[string]string{"/f": "content"}, reboots: make(chan string, 1), restarts: make(chan struct{}, 1)}
	return &Phone{device: d, Reboots: d.reboots, Restarts: d.restarts}
}

// device is the phone as its daemon sees it.
type device struct {
	serial   string
	mu       sync.Mutex
	files    map[string]string
	reboots  chan string
	restarts chan struct{}
}

// File is what a file holds, empty when there is none.
func (p *Phone) File(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.files[name]
}

func (p *device) Serial() string    { return p.serial }
func (p *device) Product() string   { return "ginkgo" }
func (p *device) Model() string     { return "Redmi Note 8" }
func (p *device) Device() string    { return "ginkgo" }
func (p *device) Files() adbd.Files { return p }

// Root answers each request in other words, and restarts for root only.
func (p *device) Root(on bool) (answer string, restart bool) {
	if on {
		return "restarting adbd as root\n", true
	}
	return "not restarting\n", false
}

func (p *device) Remount() string { return "no remount here\n" }

func (p *device) Reboot(into string) {
	select {
	case p.reboots <- into:
	default:
	}
}

func (p *device) Restart() {
	select {
	case p.restarts <- struct{}{}:
	default:
	}
}

type session struct {
	out    func([]byte) error
	done   chan struct{}
	once   sync.Once
	closed bool
	code   int
}

func (s *session) end(code int, closed bool) {
	s.once.Do(func() {
		s.code, s.closed = code, closed
		close(s.done)
	})
}

func (s *session) Write(b []byte) error      { return s.out(b) }
func (s *session) CloseInput()               { s.end(0, false) }
func (s *session) Close()                    { s.end(0, true) }
func (s *session) Wait() (code int, ok bool) { <-s.done; return s.code, !s.closed }

func (p *device) Open(_ context.Context, script string, mode adbd.Mode, out, errs func([]byte) error) (adbd.Session, error) {
	s := &session{out: out, done: make(chan struct{})}
	if n, ok := strings.CutPrefix(script, "fail "); ok {
		code, _ := strconv.Atoi(n)
		go func() {
			_ = out([]byte("o" + strconv.Itoa(int(mode))))
			_ = errs([]byte("e"))
			s.end(code, false)
		}()
	}
	if script == "full" {
		return nil, errors.New("can't fork")
	}
	return s, nil
}

// A port of this host stands for one of the phone.

func (p *device) Dial(ctx context.Context, port int) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func (p *device) Listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // A test.
}

func (p *device) Stat(name string) (adbd.Stat, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, ok := p.files[name]
	if !ok {
		return adbd.Stat{}, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return adbd.Stat{Name: name[1:], Mode: 0o100644, Size: int64(len(text)), Mtime: time.Unix(1600000000, 0)}, nil
}

func (p *device) Lstat(name string) (adbd.Stat, error) { return p.Stat(name) }

func (p *device) ReadDir(string) ([]adbd.Stat, error) {
	st, err := p.Stat("/f")
	return []adbd.Stat{st}, err
}

func (p *device) Get(name string, w io.Writer) error {
	p.mu.Lock()
	text, ok := p.files[name]
	p.mu.Unlock()
	if !ok {
		return fs.ErrNotExist
	}
	_, err := io.WriteString(w, text)
	return err
}

func (p *device) Put(name string, r io.Reader, _ fs.FileMode) error {
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err == nil && name == "/readonly" {
		err = errors.New("read-only file system")
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[name] = string(b)
	return nil
}

func (p *device) Chtimes(string, time.Time) error { return nil }
func (p *device) Symlink(string, string) error    { return nil }
