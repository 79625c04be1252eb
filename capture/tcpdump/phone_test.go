package tcpdump_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

const pid = "4242"

var errLost = errors.New("device R58M0000000 lost")

// A fakePhone does what a phone's shell and tcpdump do, as far as this package
// can see them: scripts with an exit status, and a stream that ends with one.
// Its faults are fields.
type fakePhone struct {
	root     string // prefix under which "id -u" says 0
	noDump   bool   // there is no tcpdump
	netdev   string
	refuses  string   // what tcpdump says instead of listening
	silent   bool     // tcpdump never says that it listens
	noPID    bool     // the shell never says who it is
	deaf     bool     // questions do not show up in the packets
	lostRuns bool     // scripts fail, as on a phone that is gone
	ignores  []string // signals that have no effect
	lastly   []string // what tcpdump says at its end
	dropped  []int64  // what it says it dropped, each time that it is asked
	old      bool     // it does not know SIGUSR1
	slow     bool     // it does not answer SIGUSR1
	cmdline  string   // of the process with our pid
	chunk    int      // bytes written at once; 0 for all
	partial  bool     // the last record is cut when tcpdump ends

	wire sync.Mutex // one writer to the stream at a time

	mu     sync.Mutex
	runs   []string
	alive  bool
	live   *fakeStream
	stream []byte // all that was sent
}

type fakeStream struct {
	out, err *io.PipeWriter
	exit     chan int // one value, or closed when the phone is lost
	once     sync.Once
}

func newPhone() *fakePhone {
	return &fakePhone{
		netdev:  "Inter-| Receive\n face |bytes\n    lo: 1 2\n wlan0: 3 4\n",
		cmdline: "tcpdump\x00-i\x00wlan0\x00-U\x00",
		lastly: []string{
			"3 packets captured", "3 packets received by filter", "0 packets dropped by kernel",
		},
	}
}

func (p *fakePhone) ran(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.runs {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

func (p *fakePhone) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, 0, err
	}
	p.mu.Lock()
	p.runs = append(p.runs, script)
	lost := p.lostRuns
	p.mu.Unlock()
	if lost {
		return nil, nil, 0, errLost
	}
	rooted := p.root == ""
	switch {
	case p.root != "" && strings.HasPrefix(script, p.root):
		rooted = true
		script = strings.Trim(strings.TrimPrefix(script, p.root), "'")
	case strings.HasPrefix(script, "su "):
		return nil, []byte("su: not found"), 127, nil
	}
	switch {
	case script == "id -u" && rooted:
		return []byte("0\n"), nil, 0, nil
	case script == "id -u":
		return []byte("2000\n"), nil, 0, nil
	case script == "command -v tcpdump":
		if p.noDump {
			return nil, nil, 1, nil
		}
		return []byte("/system/bin/tcpdump\n"), nil, 0, nil
	case script == "cat /proc/net/dev":
		return []byte(p.netdev), nil, 0, nil
	case script == "cat /proc/"+pid+"/cmdline":
		return []byte(p.cmdline), nil, 0, nil
	case script == "cat /proc/"+pid+"/status" && p.old:
		return []byte("Name:\ttcpdump\nSigCgt:\t0000000000015803\n"), nil, 0, nil
	case script == "cat /proc/"+pid+"/status":
		return []byte("Name:\ttcpdump\nSigCgt:\t0000000000015a03\n"), nil, 0, nil
	case strings.HasPrefix(script, "kill -"):
		signal, id, _ := strings.Cut(strings.TrimPrefix(script, "kill -"), " ")
		if id != pid {
			return nil, []byte("kill: bad pid"), 1, nil
		}
		return nil, nil, p.kill(signal), nil
	case strings.HasPrefix(script, "ping -c 1 -W 1 "):
		if !p.deaf {
			p.send(dnsPacket(strings.TrimPrefix(script, "ping -c 1 -W 1 ")))
		}
		return nil, []byte("ping: unknown host"), 2, nil
	}
	return nil, []byte("sh: " + script + ": not found"), 127, nil
}

// kill delivers a signal and returns kill's exit status.
func (p *fakePhone) kill(signal string) int {
	p.mu.Lock()
	alive, live := p.alive, p.live
	p.mu.Unlock()
	if !alive {
		return 1
	}
	for _, s := range p.ignores {
		if s == signal {
			return 0
		}
	}
	switch signal {
	case "0":
	case "USR1":
		p.count(live)
	case "KILL", "9":
		p.end(live, 137, nil)
	default:
		p.end(live, 0, p.lastly)
	}
	return 0
}

// count has tcpdump say its counters, as on SIGUSR1; one that is too old dies.
func (p *fakePhone) count(s *fakeStream) {
	switch {
	case p.old:
		p.end(s, 138, nil)
	case p.slow:
	default:
		p.mu.Lock()
		var n int64
		if len(p.dropped) > 0 {
			n = p.dropped[0]
			p.dropped = p.dropped[1:]
		}
		p.mu.Unlock()
		_, _ = fmt.Fprintf(s.err, "tcpdump: 1 packet captured, 1 packet received by filter, %d packets dropped by kernel\n", n)
	}
}

// end lets the process end with an exit status.
func (p *fakePhone) end(s *fakeStream, exit int, words []string) {
	defer func() {
		p.mu.Lock()
		p.alive = false // also when nobody listens any more
		p.mu.Unlock()
	}()
	s.once.Do(func() {
		if p.partial {
			p.write(record(dnsPacket("cut.example"))[:30])
		}
		for _, w := range words {
			_, _ = io.WriteString(s.err, w+"\n")
		}
		s.exit <- exit
		_ = s.out.Close()
		_ = s.err.Close()
	})
}

// lose breaks the stream without an exit status; the process lives on.
func (p *fakePhone) lose() {
	p.mu.Lock()
	s := p.live
	p.mu.Unlock()
	s.once.Do(func() {
		close(s.exit)
		_ = s.out.Close()
		_ = s.err.Close()
	})
}

func (p *fakePhone) Stream(ctx context.Context, script string) (stdout, stderr io.ReadCloser, wait func() (int, error), err error) {
	if p.root != "" {
		script = strings.Trim(strings.TrimPrefix(script, p.root), "'")
	}
	if script != "echo $$ >&2; exec tcpdump -i wlan0 -U -s 0 -n -w -" {
		return nil, nil, nil, fmt.Errorf("unexpected script %q", script)
	}
	outR, outW := io.Pipe()
	errR, errW := io.Pipe()
	s := &fakeStream{out: outW, err: errW, exit: make(chan int, 1)}
	p.mu.Lock()
	p.live, p.alive = s, true
	p.mu.Unlock()
	// As over ADB: ending the stream on the host does not end the process.
	context.AfterFunc(ctx, func() {
		s.once.Do(func() { close(s.exit) })
		_ = outW.CloseWithError(context.Canceled)
		_ = errW.CloseWithError(context.Canceled)
	})
	go func() {
		if !p.noPID {
			_, _ = io.WriteString(errW, pid+"\n")
		}
		if p.refuses != "" {
			p.end(s, 1, []string{p.refuses})
			return
		}
		if p.silent {
			return
		}
		p.write(fileHeader())
		_, _ = io.WriteString(errW, "tcpdump: listening on wlan0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n")
	}()
	return outR, errR, func() (int, error) {
		exit, ok := <-s.exit
		if !ok {
			return 0, errLost
		}
		return exit, nil
	}, nil
}

// send lets the tap see packets.
func (p *fakePhone) send(packets ...[]byte) {
	for _, b := range packets {
		p.write(record(b))
	}
}

func (p *fakePhone) write(b []byte) {
	p.wire.Lock()
	defer p.wire.Unlock()
	p.mu.Lock()
	p.stream = append(p.stream, b...)
	out, chunk := p.live.out, p.chunk
	p.mu.Unlock()
	for len(b) > 0 {
		n := len(b)
		if chunk > 0 {
			n = min(n, chunk)
		}
		if _, err := out.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

func fileHeader() []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 262144)
	return binary.LittleEndian.AppendUint32(b, 1)
}

func record(packet []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1_600_000_000)
	b = binary.LittleEndian.AppendUint32(b, 5)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(packet)))
	return append(b, packet...)
}

// dnsPacket is an Ethernet frame with a question, in the mixed case that some
// resolvers use.
func dnsPacket(name string) []byte {
	q := []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for i, label := range strings.Split(name, ".") {
		if i%2 == 0 {
			label = strings.ToUpper(label)
		}
		q = append(append(q, byte(len(label))), label...)
	}
	q = append(q, 0, 0, 1, 0, 1)
	udp := binary.BigEndian.AppendUint16(nil, 40000)
	udp = binary.BigEndian.AppendUint16(udp, 53)
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(q)))
	udp = append(append(udp, 0, 0), q...)
	ip := []byte{0x45, 0, 0, byte(20 + len(udp)), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1}
	eth := append(make([]byte, 12), 8, 0)
	return append(append(eth, ip...), udp...)
}
