package door

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
)

// service runs a service of the phone over the rest of the connection.
func (c *client) service(ctx context.Context, req string) {
	defer c.s.detach(c.link, c.conn)
	name, arg, _ := strings.Cut(req, ":")
	words := strings.Split(name, ",")
	var err error
	switch words[0] {
	case "shell":
		c.shell(ctx, words[1:], arg)
	case "exec":
		c.stream(ctx, arg, Merged)
	case "sync":
		if c.okay() == nil {
			(&syncer{files: c.phone.Files(), conn: c.conn}).run()
		}
	case "reverse":
		err = c.reverse(ctx, arg)
	case "tcp":
		err = c.tcp(ctx, arg)
	case "root":
		err = c.say("adbd is already running as root\n")
	case "unroot":
		err = c.say("adbd cannot run as non root in this build\n")
	case "remount":
		err = c.say("remount succeeded\n")
	case "reboot":
		if c.okay() == nil {
			c.phone.Reboot()
			<-c.link.done
		}
	default:
		err = c.fail("closed")
	}
	if err != nil && !errors.Is(err, errEnd) {
		c.s.log.Debug("adb service", "service", req, "error", err)
	}
}

func (c *client) say(text string) error {
	if err := c.okay(); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, text)
	return err
}

// shell is shell:CMD and shell,v2,raw:CMD with its kin.
func (c *client) shell(ctx context.Context, options []string, script string) {
	v2, mode := false, Terminal
	if script != "" {
		mode = Separate
	}
	for _, o := range options {
		switch o {
		case "v2":
			v2 = true
		case "raw":
			mode = Separate
		case "pty":
			mode = Terminal
		}
	}
	if v2 {
		c.shellV2(ctx, script, mode)
		return
	}
	if mode == Separate {
		mode = Merged
	}
	c.stream(ctx, script, mode)
}

// stream is a command whose bytes go over the connection as they are. It tells
// no exit status.
func (c *client) stream(ctx context.Context, script string, mode Mode) {
	out := func(b []byte) error {
		_, err := c.conn.Write(b)
		return err
	}
	ses, err := c.phone.Open(ctx, script, mode, out, out)
	if err != nil {
		_ = c.fail("%s", err) // the connection ends either way
		return
	}
	if c.okay() != nil {
		ses.Close()
		ses.Wait()
		return
	}
	c.s.feed(ses, func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := c.conn.Read(buf)
			if n > 0 && ses.Write(buf[:n]) != nil || err != nil {
				return
			}
		}
	})
	ses.Wait()
}

// feed runs a reader of the connection beside a session; its end is the host's
// and breaks the session's streams.
func (s *Server) feed(ses Session, read func()) {
	s.mu.Lock()
	running := s.running
	running.Add(1)
	s.mu.Unlock()
	go func() {
		defer running.Done()
		read()
		ses.Close()
	}()
}

// The packets of shell v2.
const (
	packetStdin      = 0
	packetStdout     = 1
	packetStderr     = 2
	packetExit       = 3
	packetCloseStdin = 4
	packetWindow     = 5

	maxPacket = 1 << 20
)

func (c *client) shellV2(ctx context.Context, script string, mode Mode) {
	var mu sync.Mutex
	send := func(id byte) func([]byte) error {
		return func(b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			packet := make([]byte, 0, 5+len(b))
			packet = append(packet, id)
			packet = binary.LittleEndian.AppendUint32(packet, uint32(len(b))) //nolint:gosec // At most 32 KiB.
			_, err := c.conn.Write(append(packet, b...))
			return err
		}
	}
	// The answer goes first: the command may write before Open returns.
	mu.Lock()
	ses, err := c.phone.Open(ctx, script, mode, send(packetStdout), send(packetStderr))
	if err != nil {
		mu.Unlock()
		_ = c.fail("%s", err) // the connection ends either way
		return
	}
	err = c.okay()
	mu.Unlock()
	if err != nil {
		ses.Close()
		ses.Wait()
		return
	}
	c.s.feed(ses, func() { readPackets(c.conn, ses) })
	if code, ok := ses.Wait(); ok {
		_ = send(packetExit)([]byte{byte(code)}) // a lost connection is the client's to notice
	}
}

// readPackets carries a client's packets into a session until the client's end
// or nonsense.
func readPackets(r io.Reader, ses Session) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := binary.LittleEndian.Uint32(head[1:])
		if n > maxPacket {
			return
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			return
		}
		switch head[0] {
		case packetStdin:
			if ses.Write(data) != nil {
				continue // a command that reads no more still writes
			}
		case packetCloseStdin:
			ses.CloseInput()
		case packetWindow:
		default:
			return
		}
	}
}

// tcp connects the client to a port of the phone.
func (c *client) tcp(ctx context.Context, arg string) error {
	port, err := strconv.ParseUint(arg, 10, 16)
	if err != nil {
		return c.fail("closed")
	}
	conn, err := c.phone.Dial(ctx, int(port))
	if err != nil {
		return c.fail("closed")
	}
	if err := c.okay(); err != nil {
		return errors.Join(err, conn.Close())
	}
	splice(c.conn, conn)
	return nil
}

// splice carries bytes both ways until either side ends, and closes both, as
// ADB does: it knows no half-closed streams.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // its end is all that counts
			_ = a.Close()
			_ = b.Close()
		})
	}
	wg.Wait()
}
