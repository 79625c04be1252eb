package adbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strconv"
	"strings"
)

// A reverse is a tunnel from a port of the phone to one of the host. It belongs
// to the link that asked for it last.
type reverse struct {
	tunnel *Tunnel
	link   *Link
	remote string
}

// reverse is the service reverse:. Its answers are those of a smart socket,
// inside the stream.
func (l *Link) reverse(ctx context.Context, arg string, s Stream) error {
	if err := s.Accept(); err != nil {
		return err
	}
	verb, rest, _ := strings.Cut(arg, ":")
	switch verb {
	case "forward":
		spec, noRebind := strings.CutPrefix(rest, "norebind:")
		port, err := l.addReverse(ctx, spec, noRebind)
		if err != nil {
			return SendFail(s, err.Error())
		}
		return errors.Join(SendOkay(s), SendBlock(s, strconv.Itoa(port)))
	case "killforward":
		if !l.d.dropReverse(rest) {
			return SendFail(s, "listener '"+rest+"' not found")
		}
		return SendOkay(s)
	case "killforward-all":
		l.d.dropReverses(nil)
		return SendOkay(s)
	case "list-forward":
		return SendBlock(s, l.d.reverseList())
	}
	return SendFail(s, "unknown reverse service")
}

func (l *Link) addReverse(ctx context.Context, spec string, noRebind bool) (int, error) {
	local, remote, err := Ports(spec)
	if err != nil {
		return 0, err
	}
	d := l.d
	target := TCP(remote)
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) { return l.open(ctx, target) }
	d.mu.Lock()
	defer d.mu.Unlock()
	switch old := d.reverses[TCP(local)]; {
	case old == nil:
	case noRebind:
		return 0, errors.New("cannot rebind existing socket")
	case old.link == l:
		old.tunnel.Retarget(dial)
		old.remote = target
		return local, nil
	default: // It would end with its own link.
		old.tunnel.Close()
		delete(d.reverses, TCP(local))
	}
	ln, err := d.phone.Listen(local)
	if err != nil {
		return 0, fmt.Errorf("cannot bind listener: %w", err)
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		local = addr.Port
	}
	t := NewTunnel(ln, dial)
	if !l.run(func() { t.Run(ctx) }) {
		t.Close()
		return 0, errors.New("device offline")
	}
	d.reverses[TCP(local)] = &reverse{tunnel: t, link: l, remote: target}
	return local, nil
}

func (d *Daemon) dropReverse(local string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.reverses[local]
	if r == nil {
		return false
	}
	r.tunnel.Close()
	delete(d.reverses, local)
	return true
}

// dropReverses takes away the reverse connections of a link, or all.
func (d *Daemon) dropReverses(of *Link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for local, r := range d.reverses {
		if of == nil || r.link == of {
			r.tunnel.Close()
			delete(d.reverses, local)
		}
	}
}

func (d *Daemon) reverseList() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := make([]string, 0, len(d.reverses))
	for local, r := range d.reverses {
		lines = append(lines, r.link.name+" "+local+" "+r.remote+"\n")
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}
