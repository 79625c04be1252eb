package door

import (
	"context"
	"errors"
	"io"
	"net"
	"sort"
	"strings"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// A stream is a client's connection once it has been tied to a phone.
type stream struct{ net.Conn }

func (s stream) Accept() error { return adbd.SendOkay(s.Conn) }
func (s stream) Refuse() error { return adbd.SendFail(s.Conn, "closed") }
func (s stream) Flush() error  { return nil } // the kernel delivers it

// hostService opens what a phone's reverse connection leads to.
func hostService(ctx context.Context, service string) (io.ReadWriteCloser, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strings.TrimPrefix(service, "tcp:")))
}

// A forward leads from a port of the host to one of a phone.
type forward struct {
	tunnel                *adbd.Tunnel
	serial, local, remote string
}

// forward is host:forward:.
func (c *client) forward(ctx context.Context, want chosen, arg string) error {
	spec, noRebind := strings.CutPrefix(arg, "norebind:")
	local, remote, err := adbd.Ports(spec)
	if err != nil {
		return c.fail("%s", err)
	}
	c.s.mu.Lock()
	e, err := c.s.choose(want)
	if err == nil && c.s.forwards[adbd.TCP(local)] != nil && noRebind {
		err = errors.New("cannot rebind existing socket")
	}
	c.s.mu.Unlock()
	if err != nil {
		return c.fail("%s", err)
	}
	phone := e.phone
	c.s.killForwards(adbd.TCP(local))
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strings.TrimPrefix(adbd.TCP(local), "tcp:")))
	if err != nil {
		return c.fail("cannot bind listener: %s", err)
	}
	if addr, ok := ln.Addr().(*net.TCPAddr); ok {
		local = addr.Port
	}
	f := &forward{serial: phone.Serial(), local: adbd.TCP(local), remote: adbd.TCP(remote)}
	f.tunnel = adbd.NewTunnel(ln, func(ctx context.Context) (io.ReadWriteCloser, error) {
		if c.s.StateOf(phone.Serial()) != adbd.Device {
			return nil, errors.New("device offline")
		}
		return phone.Dial(ctx, remote)
	})
	c.s.mu.Lock()
	if c.s.listener == nil {
		c.s.mu.Unlock()
		f.tunnel.Close()
		return errEnd
	}
	c.s.forwards[f.local] = f
	c.s.running.Go(func() { f.tunnel.Run(ctx) })
	c.s.mu.Unlock()
	return errors.Join(c.okay(), c.okay(), c.block(strings.TrimPrefix(f.local, "tcp:")), errEnd)
}

func (s *Server) listForward() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, f := range s.forwards {
		lines = append(lines, f.serial+" "+f.local+" "+f.remote+"\n")
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// killForwards takes away one forward, or all of them for the empty name.
func (s *Server) killForwards(local string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for name, f := range s.forwards {
		if local == "" || name == local {
			f.tunnel.Close()
			delete(s.forwards, name)
			found = true
		}
	}
	return found
}
