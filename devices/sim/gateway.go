package sim

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// gateway is the lab's access point: whoever connects to it, writes a hardware
// address, a word of his own and an end of line, reads a pcap stream of that
// device's frames, as `ssh ap tcpdump -U -w - ether host MAC` would give it. Who
// writes stop and that word ends the recording and reads what it lost.
type gateway struct {
	w    *World
	ln   net.Listener
	done chan struct{}

	mu    sync.Mutex
	conns map[net.Conn]bool
	runs  map[string]*recording // by the word of who started it
	ahead time.Duration         // its clock before the host's
	deaf  bool                  // it records nothing, and says nothing of it
}

func openGateway(ctx context.Context, w *World) (*gateway, error) {
	ln, err := listen(ctx, "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{w: w, ln: ln, done: make(chan struct{}), conns: map[net.Conn]bool{}, runs: map[string]*recording{}}
	go g.serve()
	return g, nil
}

func (g *gateway) serve() {
	defer close(g.done)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		conn, err := g.ln.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.conns[conn] = true
		g.mu.Unlock()
		running.Go(func() {
			g.answer(conn)
			g.mu.Lock()
			delete(g.conns, conn)
			g.mu.Unlock()
			_ = conn.Close()
		})
	}
}

// A recording is one tcpdump at the access point.
type recording struct {
	stop             chan struct{}
	ended            chan struct{}
	once             sync.Once
	written, dropped uint64 // once it has ended
}

// answer reads what a connection is for.
func (g *gateway) answer(conn net.Conn) {
	line, err := bufio.NewReaderSize(conn, 128).ReadString('\n')
	what, word, ok := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !ok {
		return
	}
	if what == "stop" {
		g.mu.Lock()
		r := g.runs[word]
		g.mu.Unlock()
		if r == nil {
			return
		}
		r.once.Do(func() { close(r.stop) })
		<-r.ended
		_, _ = fmt.Fprintf(conn, "%d packets captured\n%d packets received by filter\n%d packets dropped by kernel\n", r.written, r.written+r.dropped, r.dropped)
		return
	}
	r := &recording{stop: make(chan struct{}), ended: make(chan struct{})}
	defer close(r.ended)
	mac, err := net.ParseMAC(what)
	if err != nil {
		return
	}
	g.mu.Lock()
	g.runs[word] = r
	g.mu.Unlock()
	g.record(conn, mac, r)
}

// record streams the frames of one device until it is stopped or the reader has
// gone.
func (g *gateway) record(conn net.Conn, mac net.HardwareAddr, r *recording) {
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = binary.LittleEndian.AppendUint16(header, 2)
	header = binary.LittleEndian.AppendUint16(header, 4)
	header = append(header, make([]byte, 8)...)
	header = binary.LittleEndian.AppendUint32(header, 262144)
	header = binary.LittleEndian.AppendUint32(header, 1) // Ethernet
	if _, err := conn.Write(header); err != nil {
		return
	}
	gone := make(chan struct{})
	for _, p := range g.w.phones {
		if p.stack.MAC().String() != mac.String() {
			continue
		}
		tap := p.stack.OpenTap("wlan0", func(at time.Time, frame []byte) {
			g.mu.Lock()
			at, deaf := at.Add(g.ahead), g.deaf
			g.mu.Unlock()
			if deaf {
				return
			}
			r.written++                                                           // The tap shows one frame after the other.
			b := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))         //nolint:gosec // Until 2106.
			b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000)) //nolint:gosec // Below a million.
			b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))           //nolint:gosec // A frame is short.
			b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))           //nolint:gosec // A frame is short.
			_, _ = conn.Write(append(b, frame...))                                // One that has gone is seen below.
		})
		defer func() {
			tap.Stop()
			r.dropped += tap.Dropped()
		}()
	}
	go func() {
		defer close(gone)
		_, _ = conn.Read(make([]byte, 1))
	}()
	select {
	case <-gone:
	case <-r.stop:
	}
}

// cut ends every recording, as when the access point restarts.
func (g *gateway) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.conns {
		_ = conn.Close()
	}
}

func (g *gateway) close() error {
	err := g.ln.Close()
	g.cut()
	<-g.done
	return err
}

// command is what reaches the gateway, as farm.yaml names it. It needs a shell
// that can open a connection by itself and nothing else. It records until its
// input ends, then asks what was lost, and ends early when the recording does.
func (g *gateway) command() string {
	host, port, _ := net.SplitHostPort(g.ln.Addr().String())
	door := "/dev/tcp/" + host + "/" + port
	script := "exec 3<>" + door + "; echo $0 $$ >&3; { cat <&3; kill $$; } & cat >/dev/null 2>&1; trap : TERM; exec 4<>" + door + "; echo stop $$ >&4; cat <&4 >&2; wait"
	return fmt.Sprintf(`[bash, -c, %q, "{mac}"]`, script)
}

// SetGatewayClock puts the clock of the access point before the host's.
func (w *World) SetGatewayClock(ahead time.Duration) {
	w.gateway.mu.Lock()
	defer w.gateway.mu.Unlock()
	w.gateway.ahead = ahead
}

// SetGatewayDeaf makes the access point record nothing and say nothing of it.
func (w *World) SetGatewayDeaf(deaf bool) {
	w.gateway.mu.Lock()
	defer w.gateway.mu.Unlock()
	w.gateway.deaf = deaf
}

// CutGateway ends every recording at the access point, as when it restarts.
func (w *World) CutGateway() { w.gateway.cut() }
