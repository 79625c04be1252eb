package internet

import (
	"fmt"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// maxDatagram is the longest payload of a datagram.
const maxDatagram = 65507

// openUDP opens a UDP port at each of a host's addresses.
func (n *Internet) openUDP(h *host, port uint16, answer func(datagram []byte, from netip.AddrPort) []byte) error {
	for _, addr := range h.addrs() {
		local := full(netip.AddrPortFrom(addr, port))
		conn, err := gonet.DialUDP(n.core, &local, nil, protocolOf(addr))
		if err != nil {
			return fmt.Errorf("internet: add host %s: open UDP port %d: %w", h.Name, port, err)
		}
		n.ends = append(n.ends, func() { _ = conn.Close() })
		n.wg.Go(func() {
			buf := make([]byte, maxDatagram)
			for {
				size, from, err := conn.ReadFrom(buf)
				if err != nil {
					return // It ends with the world.
				}
				if reply := answer(buf[:size], addrPort(from)); reply != nil {
					_, _ = conn.WriteTo(reply, from) // Datagrams may be lost.
				}
			}
		})
	}
	return nil
}
