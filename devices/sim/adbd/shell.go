package adbd

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
)

// shell is shell:CMD and shell,v2,raw:CMD with its kin.
func (l *Link) shell(ctx context.Context, options []string, script string, s Stream) error {
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
		return l.shellV2(ctx, script, mode, s)
	}
	if mode == Separate {
		mode = Merged
	}
	return l.stream(ctx, script, mode, s)
}

// stream is a command whose bytes go over the connection as they are. It tells
// no exit status.
func (l *Link) stream(ctx context.Context, script string, mode Mode, s Stream) error {
	out := func(b []byte) error {
		_, err := s.Write(b)
		return err
	}
	ses, err := l.session(ctx, script, mode, s, out, out)
	if err != nil {
		return err
	}
	fed := l.feed(ses, func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := s.Read(buf)
			if n > 0 && ses.Write(buf[:n]) != nil {
				continue // a command that reads no more still writes
			}
			if err != nil {
				return
			}
		}
	})
	if !fed {
		ses.Close()
	}
	ses.Wait()
	return nil
}

// session starts a command and accepts the stream. The command may write before
// the stream is accepted, and then waits.
func (l *Link) session(ctx context.Context, script string, mode Mode, s Stream, out, errs func([]byte) error) (Session, error) {
	accepted := make(chan struct{})
	after := func(sink func([]byte) error) func([]byte) error {
		return func(b []byte) error {
			<-accepted
			return sink(b)
		}
	}
	ses, err := l.d.phone.Open(ctx, script, mode, after(out), after(errs))
	if err != nil {
		_ = s.Refuse() // the better reason is err
		return nil, err
	}
	err = s.Accept()
	close(accepted)
	if err != nil {
		ses.Close()
		ses.Wait()
		return nil, err
	}
	return ses, nil
}

// feed runs a reader of the connection beside a session; its end is the host's
// and breaks the session's streams.
func (l *Link) feed(ses Session, read func()) bool {
	return l.run(func() {
		read()
		ses.Close()
	})
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

func (l *Link) shellV2(ctx context.Context, script string, mode Mode, s Stream) error {
	var mu sync.Mutex
	send := func(id byte) func([]byte) error {
		return func(b []byte) error {
			mu.Lock()
			defer mu.Unlock()
			packet := make([]byte, 0, 5+len(b))
			packet = append(packet, id)
			packet = binary.LittleEndian.AppendUint32(packet, uint32(len(b))) //nolint:gosec // At most 32 KiB.
			_, err := s.Write(append(packet, b...))
			return err
		}
	}
	ses, err := l.session(ctx, script, mode, s, send(packetStdout), send(packetStderr))
	if err != nil {
		return err
	}
	if !l.feed(ses, func() { readPackets(s, ses) }) {
		ses.Close()
	}
	if code, ok := ses.Wait(); ok {
		return send(packetExit)([]byte{byte(code)})
	}
	return nil
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
