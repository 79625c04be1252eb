package userland

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	ringBytes     = 2 << 20 // tcpdump's buffer in the kernel
	linkEthernet  = 1
	linkCooked    = 113
	snapDefault   = 262144
	cookedHeader  = 16
	tcpdumpErrors = 1
)

// tapFaults are what may be wrong with the phone's packet socket.
type tapFaults struct {
	dropEvery int  // every n-th packet is lost, and counted as dropped
	silent    bool // packets are lost without a word
	// hides are the packets that the kernel never shows, as firmware could keep
	// its own from the phone's owner; nil for none.
	hides packetFilter
}

// SetTapHides keeps the packets of a filter, in tcpdump's words, from every
// packet socket of the phone; empty shows all.
func (s *System) SetTapHides(filter string) error {
	hides, err := parseFilter(filter, false)
	if err != nil {
		return fmt.Errorf("userland: hide packets: %w", err)
	}
	s.faultMu.Lock()
	defer s.faultMu.Unlock()
	s.faults.hides = hides
	return nil
}

// SetDropEvery makes the packet socket lose every n-th packet, and say so in
// the kernel's drop counter; 0 mends it.
func (s *System) SetDropEvery(n int) {
	s.faultMu.Lock()
	s.faults.dropEvery = n
	s.faultMu.Unlock()
}

// SetTapSilent makes the packet socket deliver nothing and count nothing.
func (s *System) SetTapSilent(silent bool) {
	s.faultMu.Lock()
	s.faults.silent = silent
	s.faultMu.Unlock()
}

// KillByName sends a signal to every session's process of that name, and
// returns how many there were.
func (s *System) KillByName(name string, sig syscall.Signal) int {
	n := 0
	for _, e := range s.processes() {
		if e.name == name && s.kill(e.pid, sig) == nil {
			n++
		}
	}
	return n
}

type captured struct {
	at    time.Time
	frame []byte
}

// A ring is the kernel's side of a packet socket: what passed the filter and
// was not yet read, within a bound.
type ring struct {
	sys    *System
	filter packetFilter

	mu      sync.Mutex
	wake    chan struct{}
	frames  []captured
	bytes   int
	passed  uint64 // frames that passed the filter
	dropped uint64
	nth     int
}

func (r *ring) put(at time.Time, frame []byte) {
	if r.filter != nil && !r.filter(frame) {
		return
	}
	r.sys.faultMu.Lock()
	faults := r.sys.faults
	r.sys.faultMu.Unlock()
	if faults.silent || faults.hides != nil && faults.hides(frame) {
		return
	}
	at = r.sys.phoneTime(at)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passed++
	r.nth++
	if r.bytes+len(frame) > ringBytes || faults.dropEvery > 0 && r.nth%faults.dropEvery == 0 {
		r.dropped++
		return
	}
	r.bytes += len(frame)
	r.frames = append(r.frames, captured{at, frame})
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *ring) take() []captured {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.frames
	r.frames, r.bytes = nil, 0
	return list
}

func (r *ring) counts() (passed, dropped uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed, r.dropped
}

type tcpdumpOptions struct {
	iface, file string
	snap, count int
	immediate   bool // -U
	nano        bool
	verbose     bool
	filter      string
	list        bool
	version     bool
}

func parseTcpdump(p *proc, args []string) (tcpdumpOptions, bool) {
	o := tcpdumpOptions{iface: "wlan0", snap: snapDefault, count: -1}
	var rest []string
	for _, a := range args[1:] {
		switch {
		case strings.HasPrefix(a, "--time-stamp-precision="):
			o.nano = strings.HasSuffix(a, "=nano")
		case a == "--version":
			o.version = true
		case a == "--immediate-mode", a == "--packet-buffered":
			o.immediate = true
		default:
			rest = append(rest, a)
		}
	}
	flags, words, ok := options(p, append([]string{"tcpdump"}, rest...), "AbdDefhHIJKlLnNOpqStuUvxX#", "BcCFGijmMrsTVwWyzZEQ")
	if !ok {
		p.errorf("tcpdump version 4.9.2\nlibpcap version 1.9.0-PRE-GIT\nUsage: tcpdump [-aAbdDefhHIJKlLnNOpqStuUvxX#] [ -B size ] [ -c count ]\n")
		return o, false
	}
	if flags['i'] != "" {
		o.iface = flags['i']
	}
	o.file = flags['w']
	o.immediate = o.immediate || flags['U'] != ""
	o.verbose = flags['v'] != ""
	o.list = flags['D'] != ""
	o.version = o.version || flags['h'] != ""
	o.filter = strings.Join(words, " ")
	if n, isNumber := atoi(flags['c']); isNumber {
		o.count = n
	}
	if v, given := flags['s']; given {
		n, isNumber := atoi(v)
		if !isNumber {
			p.errorf("tcpdump: invalid snaplen %s\n", v)
			return o, false
		}
		if n > 0 && n < snapDefault {
			o.snap = n
		}
	}
	if flags['r'] != "" {
		p.errorf("tcpdump: %s: reading files is not supported here\n", flags['r'])
		return o, false
	}
	return o, true
}

// cmdTcpdump is tcpdump: it writes a classic pcap, or a line a packet.
func cmdTcpdump(_ context.Context, p *proc, args []string) int {
	o, ok := parseTcpdump(p, args)
	switch {
	case !ok:
		return tcpdumpErrors
	case o.version:
		p.errorf("tcpdump version 4.9.2\nlibpcap version 1.9.0-PRE-GIT\nBoringSSL\n")
		return 0
	case o.list:
		p.printf("1.wlan0 [Up, Running]\n2.any (Pseudo-device that captures on all interfaces) [Up, Running]\n3.lo [Up, Running, Loopback]\n")
		return 0
	}
	t, ok := newTcpdump(p, o)
	if !ok {
		return tcpdumpErrors
	}
	defer t.close()
	return t.run()
}

type tcpdump struct {
	p     *proc
	o     tcpdumpOptions
	ring  *ring
	taps  []Tap
	gone  []Tap // stopped ones
	out   io.Writer
	text  bool
	buf   []byte
	count int
}

func newTcpdump(p *proc, o tcpdumpOptions) (*tcpdump, bool) {
	net := p.sys.cfg.Network
	own := map[string]Interface{}
	for _, i := range net.Interfaces() {
		own[i.Name] = i
	}
	names := []string{o.iface}
	if o.iface == "any" {
		names = []string{"lo", "wlan0"}
	}
	for _, name := range names {
		if _, known := own[name]; !known {
			p.errorf("tcpdump: %s: No such device exists\n(SIOCGIFHWADDR: No such device)\n", name)
			return nil, false
		}
	}
	filter, err := parseFilter(o.filter, o.iface == "any")
	if err != nil {
		p.errorf("tcpdump: %s\n", err)
		return nil, false
	}
	t := &tcpdump{p: p, o: o, out: p.out(), text: o.file == "", ring: &ring{sys: p.sys, filter: filter, wake: make(chan struct{}, 1)}}
	if o.file != "" && o.file != "-" {
		h, err := p.fs().OpenFile(p.abs(o.file), syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC, 0o644)
		if err != nil {
			p.errorf("tcpdump: %s: %s\n", o.file, strerror(err))
			return nil, false
		}
		t.out = h
	}
	if p.uid != rootUID {
		p.errorf("tcpdump: %s: You don't have permission to capture on that device\n(socket: Operation not permitted)\n", o.iface)
		return nil, false
	}
	// The signals are caught before anybody can know that tcpdump listens.
	p.catch(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1)
	for _, name := range names {
		mac := own[name].MAC.String()
		tap, err := net.Tap(name, func(at time.Time, frame []byte) {
			if o.iface == "any" {
				frame = cook(frame, mac, name == "lo")
			}
			t.ring.put(at, frame)
		})
		if err != nil {
			p.errorf("tcpdump: %s: You don't have permission to capture on that device\n(socket: %s)\n", name, err)
			t.close()
			return nil, false
		}
		t.taps = append(t.taps, tap)
	}
	link := "EN10MB (Ethernet)"
	if o.iface == "any" {
		link = "LINUX_SLL (Linux cooked)"
	}
	if t.text {
		p.errorf("tcpdump: verbose output suppressed, use -v or -vv for full protocol decode\nlistening on %s, link-type %s, capture size %d bytes\n", o.iface, link, o.snap)
	} else {
		p.errorf("tcpdump: listening on %s, link-type %s, capture size %d bytes\n", o.iface, link, o.snap)
	}
	return t, true
}

// cook replaces the Ethernet header by that of a cooked capture.
func cook(frame []byte, mac string, loopback bool) []byte {
	if len(frame) < 14 {
		return frame
	}
	b := make([]byte, cookedHeader, cookedHeader+len(frame)-14)
	src := fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", frame[6], frame[7], frame[8], frame[9], frame[10], frame[11])
	if src == mac && !loopback {
		binary.BigEndian.PutUint16(b[0:], 4) // sent by us
	}
	binary.BigEndian.PutUint16(b[2:], 1)
	if loopback {
		binary.BigEndian.PutUint16(b[2:], 772)
	}
	binary.BigEndian.PutUint16(b[4:], 6)
	copy(b[6:12], frame[6:12])
	copy(b[14:16], frame[12:14])
	return append(b, frame[14:]...)
}

func (t *tcpdump) run() int {
	if !t.text {
		t.header()
		if !t.flush() {
			return tcpdumpErrors
		}
	}
	var progress <-chan time.Time
	if t.o.verbose && !t.text {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		progress = tick.C
	}
	for t.o.count < 0 || t.count < t.o.count {
		select {
		case <-t.ring.wake:
			if !t.drain() {
				return tcpdumpErrors
			}
			continue
		case <-progress:
			t.p.errorf("Got %d\r", t.count)
			continue
		case sig := <-t.p.sigs:
			if sig == syscall.SIGHUP {
				return 128 + int(sig)
			}
			if sig == syscall.SIGUSR1 {
				passed, dropped := t.counts()
				t.p.errorf("tcpdump: %s captured, %s received by filter, %s dropped by kernel\n", packets(t.count), packets(passed), packets(dropped))
				continue
			}
		case <-t.p.done:
			return tcpdumpErrors
		}
		break
	}
	t.stopTaps()
	if !t.drain() || !t.flush() {
		return tcpdumpErrors
	}
	passed, dropped := t.counts()
	t.p.errorf("%s captured\n%s received by filter\n%s dropped by kernel\n", packets(t.count), packets(passed), packets(dropped))
	return 0
}

// drain writes what the ring holds.
func (t *tcpdump) drain() bool {
	for _, c := range t.ring.take() {
		if t.o.count >= 0 && t.count >= t.o.count {
			break
		}
		t.count++
		if t.text {
			t.buf = append(t.buf, describeFrame(c.at, c.frame, t.o.iface == "any")...)
		} else {
			t.record(c)
		}
		if (t.o.immediate || t.text || len(t.buf) > 4096) && !t.flush() {
			return false
		}
	}
	return true
}

func (t *tcpdump) flush() bool {
	if len(t.buf) == 0 {
		return true
	}
	_, err := t.out.Write(t.buf)
	t.buf = t.buf[:0]
	if err != nil && !t.p.dead() {
		t.p.errorf("tcpdump: Unable to write output: %s\n", strerror(err))
	}
	return err == nil
}

func (t *tcpdump) header() {
	magic, link := uint32(0xa1b2c3d4), uint32(linkEthernet)
	if t.o.nano {
		magic = 0xa1b23c4d
	}
	if t.o.iface == "any" {
		link = linkCooked
	}
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.o.snap)) //nolint:gosec // At most 262144.
	t.buf = binary.LittleEndian.AppendUint32(b, link)
}

func (t *tcpdump) record(c captured) {
	frac := c.at.Nanosecond()
	if !t.o.nano {
		frac /= 1000
	}
	kept := c.frame[:min(len(c.frame), t.o.snap)]
	b := binary.LittleEndian.AppendUint32(t.buf, uint32(c.at.Unix())) //nolint:gosec // The format has 32 bits.
	b = binary.LittleEndian.AppendUint32(b, uint32(frac))             //nolint:gosec // Below 1e9.
	b = binary.LittleEndian.AppendUint32(b, uint32(len(kept)))        //nolint:gosec // At most 262144.
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.frame)))     //nolint:gosec // At most 64 KiB.
	t.buf = append(b, kept...)
}

func (t *tcpdump) stopTaps() {
	for _, tap := range t.taps {
		tap.Stop()
	}
	t.gone = append(t.gone, t.taps...)
	t.taps = nil
}

// counts is what the kernel says of the packets so far.
func (t *tcpdump) counts() (passed, dropped uint64) {
	passed, dropped = t.ring.counts()
	for _, tap := range slices.Concat(t.taps, t.gone) {
		passed, dropped = passed+tap.Dropped(), dropped+tap.Dropped()
	}
	return passed, dropped
}

func (t *tcpdump) close() { t.stopTaps() }

// packets counts them as tcpdump does.
func packets[N int | int64 | uint64](n N) string {
	if n == 1 {
		return "1 packet"
	}
	return fmt.Sprintf("%d packets", n)
}
