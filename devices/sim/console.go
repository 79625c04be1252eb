package sim

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/offproof/offproof/devices/sim/internet"
)

// console is the control console of a simulated phone that is an Android
// Emulator: a line protocol on loopback, behind a token.
type console struct {
	ln    net.Listener
	token string
	phone *Phone
	done  chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]bool
	dump  *dump
	ended bool
}

// openConsole opens a console on a free port, which the phone's serial names.
func openConsole(ctx context.Context) (*console, error) {
	ln, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return &console{ln: ln, token: rand.Text()[:16], done: make(chan struct{}), conns: map[net.Conn]bool{}}, nil
}

// serial is the phone's, as ADB names emulators by their consoles' ports.
func (c *console) serial() string {
	_, port, _ := net.SplitHostPort(c.ln.Addr().String())
	return "emulator-" + port
}

// tokenName is the name of the token's file in the farm's folder.
func (c *console) tokenName() string { return c.serial() + "-console-token" }

func (c *console) serve() {
	defer close(c.done)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := c.ln.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		c.conns[conn] = true
		c.mu.Unlock()
		running.Go(func() {
			c.talk(conn)
			c.mu.Lock()
			delete(c.conns, conn)
			c.mu.Unlock()
			_ = conn.Close()
		})
	}
}

// talk answers commands until the caller has had enough.
func (c *console) talk(conn net.Conn) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(conn, format+"\r\n", args...) }
	say("Android Console: Authentication required\r\nAndroid Console: type 'auth <auth_token>' to authenticate\r\n" +
		"Android Console: you can find your <auth_token> in\r\n'" + c.tokenName() + "'\r\nOK")
	known := false
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		rest := strings.Join(words[1:], " ")
		switch {
		case words[0] == "quit" || words[0] == "exit":
			return
		case words[0] == "auth" && rest == c.token:
			known = true
			say("Android Console: type 'help' for a list of commands\r\nOK")
		case words[0] == "auth":
			say("KO: authentication token does not match ~/.emulator_console_auth_token")
			return
		case words[0] == "help", words[0] == "ping":
			say("I am alive!\r\nOK")
		case !known:
			say("KO: unknown command, try 'help'")
		case words[0] == "avd" && rest == "name":
			say("offproof\r\nOK")
		case words[0] == "network" && rest == "capture stop":
			c.mu.Lock()
			if c.dump != nil {
				c.dump.stop()
				c.dump = nil
			}
			c.mu.Unlock()
			say("OK")
		case words[0] == "network" && strings.HasPrefix(rest, "capture start "):
			if err := c.start(strings.TrimPrefix(rest, "capture start ")); err != nil {
				say("KO: can't start capture: %s", err)
			} else {
				say("OK")
			}
		default:
			say("KO: unknown command, try 'help'")
		}
	}
}

// start begins a capture into a file, in place of the one before.
func (c *console) start(path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return net.ErrClosed
	}
	if c.dump != nil {
		c.dump.stop()
		c.dump = nil
	}
	d, err := openDump(c.phone.stack, path)
	if err != nil {
		var in *os.PathError
		if errors.As(err, &in) {
			return in.Err
		}
		return err
	}
	c.dump = d
	return nil
}

// end is the emulator's: every conversation and the capture break off, and what
// was buffered is lost.
func (c *console) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	_ = c.ln.Close()
	for conn := range c.conns {
		_ = conn.Close()
	}
	if c.dump != nil {
		c.dump.lose()
		c.dump = nil
	}
}

func (c *console) close() {
	c.end()
	<-c.done
}

// A dump writes a phone's frames into a file through a buffer, as the emulator's
// C library does.
type dump struct {
	tap  *internet.Tap
	file *os.File

	mu   sync.Mutex
	out  *bufio.Writer
	lost bool
}

// dumpBuffer is the C library's.
const dumpBuffer = 4096

func openDump(stack *internet.Stack, path string) (*dump, error) {
	f, err := os.Create(path) //nolint:gosec // Whoever has the token names it.
	if err != nil {
		return nil, err
	}
	d := &dump{file: f, out: bufio.NewWriterSize(f, dumpBuffer)}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 65536)
	d.write(binary.LittleEndian.AppendUint32(header, 1)) // Ethernet
	d.tap = stack.OpenTap("wlan0", func(at time.Time, frame []byte) {
		b := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))         //nolint:gosec // Until 2106.
		b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000)) //nolint:gosec // Below a million.
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))           //nolint:gosec // A frame is short.
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))           //nolint:gosec // A frame is short.
		d.write(append(b, frame...))
	})
	return d, nil
}

func (d *dump) write(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.lost {
		_, _ = d.out.Write(b) // The emulator does not look either.
	}
}

// stop writes what is buffered and ends the file.
func (d *dump) stop() {
	d.tap.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.out.Flush()
	_ = d.file.Close()
}

// lose ends the file without what is buffered.
func (d *dump) lose() {
	d.mu.Lock()
	d.lost = true
	_ = d.file.Close()
	d.mu.Unlock()
	d.tap.Stop()
}

// EndConsole breaks off the phone's console and its capture, as the end of the
// emulator's process does. It does nothing to a phone that is no emulator.
func (p *Phone) EndConsole() {
	if p.console != nil {
		p.console.end()
	}
}
