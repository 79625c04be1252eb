package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/offproof/offproof/harness/spikes"
)

// maxDatagram is the longest payload of a datagram.
const maxDatagram = 65507

func labCommand() *cobra.Command {
	var v4, v6, name string
	var port uint16
	cmd := &cobra.Command{
		Use:   "lab --ipv4 ADDRESS [--ipv6 ADDRESS] [--name HOST] [--port PORT]",
		Short: "Serve the page whose known bodies the instruments are asked for",
		Long: `Lab is a small web server in the phones' network, on a machine that is not a
phone. Before the first window of a trial the browser under test opens its page,
which sends known bodies back to it: plain, under gzip and base64, over IPv6, and
as datagrams to UDP port 443. A body that arrived here and is in no recording is a
way by which data can leave unseen, and no window is called silent then.

It listens at the addresses that are given and nowhere else, keeps nothing, and
prints the line for farm.yaml. Ctrl-C ends it. Ports below 1024 need root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lab := spikes.Lab{Web: port}
			for _, a := range []struct {
				flag, text string
				to         *netip.Addr
				fits       func(netip.Addr) bool
			}{{"--ipv4", v4, &lab.V4, netip.Addr.Is4}, {"--ipv6", v6, &lab.V6, netip.Addr.Is6}} {
				if a.text == "" {
					continue
				}
				addr, err := netip.ParseAddr(a.text)
				if err != nil || !a.fits(addr) || addr.IsUnspecified() || addr.IsLoopback() || addr.IsLinkLocalUnicast() {
					return fmt.Errorf("lab: %s %q is no such address that phones can reach; name one of this machine's in their network, as `ip address` shows it, and no loopback or link-local one", a.flag, a.text)
				}
				*a.to = addr
			}
			if !lab.V4.IsValid() && !lab.V6.IsValid() {
				return errors.New("lab: name this machine's address in the phones' network: --ipv4, --ipv6 or both")
			}
			if strings.ContainsAny(name, "/:@ ") {
				return fmt.Errorf("lab: --name %q must be a host name alone, such as lab.example, which phones' resolver knows", name)
			}
			if port == 0 {
				return errors.New("lab: --port 0 is none that farm.yaml could name; leave it out for 80")
			}
			return serveLab(cmd.Context(), cmd.OutOrStdout(), lab, name, spikes.Port)
		},
	}
	cmd.Flags().StringVar(&v4, "ipv4", "", "address of this machine at which to listen")
	cmd.Flags().StringVar(&v6, "ipv6", "", "the same, of IPv6")
	cmd.Flags().StringVar(&name, "name", "", "name under which phones find this machine; without one the page has its address")
	cmd.Flags().Uint16Var(&port, "port", 80, "TCP port of the page")
	return cmd
}

// serveLab serves until ctx ends. udp is the port of the datagrams.
func serveLab(ctx context.Context, out io.Writer, lab spikes.Lab, name string, udp uint16) error {
	srv := &http.Server{Handler: lab.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 1 << 16}
	ended := make(chan error, 4)
	var doors []io.Closer
	var serving sync.WaitGroup
	shut := func() {
		_ = srv.Close() // It keeps nothing.
		for _, d := range doors {
			_ = d.Close()
		}
		serving.Wait()
	}
	defer shut()
	text := "lab: {page: %q"
	host := name
	for _, a := range []netip.Addr{lab.V4, lab.V6} {
		if !a.IsValid() {
			continue
		}
		web, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(a, lab.Web).String())
		if err != nil {
			return fmt.Errorf("lab: %w (is it an address of this machine, and the port free? ports below 1024 need root)", err)
		}
		doors = append(doors, web)
		serving.Go(func() { ended <- srv.Serve(web) })
		datagrams, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", netip.AddrPortFrom(a, udp).String())
		if err != nil {
			return fmt.Errorf("lab: %w (the datagrams need UDP port %d, and root)", err, udp)
		}
		doors = append(doors, datagrams)
		serving.Go(func() { ended <- answer(datagrams) })
		kind := "ipv4"
		if a.Is6() {
			kind = "ipv6"
		}
		if host == "" {
			if host = a.String(); a.Is6() {
				host = "[" + host + "]"
			}
		}
		text += fmt.Sprintf(", %s: %q", kind, a)
	}
	page := "http://" + host
	if lab.Web != 80 {
		page += ":" + strconv.Itoa(int(lab.Web))
	}
	if _, err := fmt.Fprintf(out, text+"}   # for farm.yaml\nready; Ctrl-C ends it\n", page+"/"); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return fmt.Errorf("lab: %w", err)
	}
}

// answer answers datagrams until the door is shut.
func answer(door net.PacketConn) error {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := door.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("read a datagram: %w", err)
		}
		if u, ok := from.(*net.UDPAddr); ok {
			if reply := spikes.Answer(buf[:n], u.AddrPort()); reply != nil {
				_, _ = door.WriteTo(reply, from) // Datagrams may be lost.
			}
		}
	}
}
