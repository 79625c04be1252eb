package adbd

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
)

// A Stream is the connection of one service to the program that opened it.
type Stream interface {
	io.ReadWriteCloser
	// Accept says that the service runs; nothing is written before it.
	Accept() error
	// Refuse says that there is no such service, in place of Accept.
	Refuse() error
	// Flush returns when the host has taken what was written.
	Flush() error
}

// Serve runs the service of that name over a stream, until either side ends it,
// and closes the stream. What the service leaves running lives as long as the
// link and ctx.
func (l *Link) Serve(ctx context.Context, service string, s Stream) {
	defer s.Close() //nolint:errcheck // The service has ended; the host will see.
	if err := l.serve(ctx, service, s); err != nil {
		l.d.log.Debug("adb service", "phone", l.d.phone.Serial(), "service", service, "err", err)
	}
}

func (l *Link) serve(ctx context.Context, service string, s Stream) error {
	phone := l.d.phone
	name, arg, _ := strings.Cut(service, ":")
	words := strings.Split(name, ",")
	if l.state != Device && name != "reboot" {
		return s.Refuse()
	}
	switch words[0] {
	case "shell":
		return l.shell(ctx, words[1:], arg, s)
	case "exec":
		return l.stream(ctx, arg, Merged, s)
	case "sync":
		if err := s.Accept(); err != nil {
			return err
		}
		(&syncer{files: phone.Files(), conn: s}).run()
		return nil
	case "reverse":
		return l.reverse(ctx, arg, s)
	case "tcp":
		return l.tcp(ctx, arg, s)
	case "root", "unroot":
		answer, restart := phone.Root(words[0] == "root")
		if err := say(s, answer); err != nil || !restart {
			return err
		}
		phone.Restart()
		return nil
	case "remount":
		return say(s, phone.Remount())
	case "tcpip", "usb":
		return say(s, "this phone does not change how it is connected\n")
	case "reboot":
		// The phone has not gone before the host knows that it will.
		if err := errors.Join(s.Accept(), s.Flush()); err != nil {
			return err
		}
		phone.Reboot(arg)
		<-l.done
		return nil
	}
	return s.Refuse()
}

// say answers with a text, which has arrived when say returns.
func say(s Stream, text string) error {
	if err := s.Accept(); err != nil {
		return err
	}
	if _, err := io.WriteString(s, text); err != nil {
		return err
	}
	return s.Flush()
}

// tcp connects the host to a port of the phone.
func (l *Link) tcp(ctx context.Context, arg string, s Stream) error {
	port, err := strconv.ParseUint(arg, 10, 16)
	if err != nil {
		return s.Refuse()
	}
	conn, err := l.d.phone.Dial(ctx, int(port))
	if err != nil {
		return s.Refuse()
	}
	defer conn.Close() //nolint:errcheck // Both ends are done.
	if err := s.Accept(); err != nil {
		return err
	}
	if !l.Tie(conn) {
		return nil
	}
	defer l.Untie(conn)
	splice(s, conn)
	return nil
}
