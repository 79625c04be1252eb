package internet

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// openHTTP3 opens a host's UDP ports for HTTP/3, one at each of its addresses.
func (n *Internet) openHTTP3(h *host) error {
	for _, addr := range h.addrs() {
		local := full(netip.AddrPortFrom(addr, h.QUICPort))
		conn, err := gonet.DialUDP(n.core, &local, nil, protocolOf(addr))
		if err != nil {
			return fmt.Errorf("internet: add host %s: open port %d for QUIC: %w", h.Name, h.QUICPort, err)
		}
		tr := &quic.Transport{Conn: buffered{conn}}
		ln, err := tr.ListenEarly(http3.ConfigureTLSConfig(h.tls.Clone()), &quic.Config{})
		if err != nil {
			_ = conn.Close()
			return fmt.Errorf("internet: add host %s: listen for QUIC: %w", h.Name, err)
		}
		server := &http3.Server{
			Handler: http.HandlerFunc(n.serveHTTP),
			ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
				seen := &hostConn{host: h, remote: c.RemoteAddr()}
				seen.setSNI(c.ConnectionState().TLS.ServerName)
				n.ledger.connection(Connection{
					At: time.Now(), Host: h.Name, Remote: addrPort(c.RemoteAddr()), Port: h.QUICPort, TLS: true,
					SNI: seen.sni(), ALPN: http3.NextProtoH3, Phone: n.phoneAt(addrPort(c.RemoteAddr()).Addr()),
				})
				return context.WithValue(ctx, connKey{}, seen)
			},
		}
		n.ends = append(n.ends, func() {
			_ = server.Close()
			_ = ln.Close()
			_ = tr.Close()
			_ = conn.Close()
		})
		n.wg.Go(func() {
			// It ends with the world.
			_ = server.ServeListener(ln)
		})
	}
	return nil
}

// buffered is a simulated socket, which has the buffer that it has.
type buffered struct{ *gonet.UDPConn }

func (buffered) SetReadBuffer(int) error  { return nil }
func (buffered) SetWriteBuffer(int) error { return nil }
