package pcapdroid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// dumpEvery is how long packets stay with the app before it hands them on.
	dumpEvery = time.Second
	// dumpRoom is how many bytes of them it keeps at most.
	dumpRoom     = 512 << 10
	linkEthernet = 1
	linkRaw      = 101
	trailerLen   = 32
	trailerMagic = 0x01072021
	gapEvery     = 3 // of the packets, under the fault
)

// stats are what the app counts of a recording.
type stats struct{ sent, received, sentBytes, receivedBytes, dumped uint64 }

func (s *stats) count(bytes int, out bool) {
	n := uint64(bytes) //nolint:gosec // A packet is short.
	if out {
		s.sent++
		s.sentBytes += n
		return
	}
	s.received++
	s.receivedBytes += n
}

func (s *stats) add(t stats) {
	s.sent, s.received = s.sent+t.sent, s.received+t.received
	s.sentBytes, s.receivedBytes = s.sentBytes+t.sentBytes, s.receivedBytes+t.receivedBytes
}

// A recording is one capture with its tunnel.
type recording struct {
	a    *App
	set  settings
	sink sink
	end  func() // of the tap
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex
	stats  stats
	buf    []byte
	owners map[string]int // of the packets of a conversation; guarded by the app's lock
	users  map[int]stats
	nth    int
	failed bool
}

// A sink is where a dump goes. The file header comes with the first packets.
type sink interface {
	dump(header, records []byte) error
	close() error
}

func (a *App) record(s settings) (*recording, error) {
	r := &recording{a: a, set: s, quit: make(chan struct{}), done: make(chan struct{}), owners: map[string]int{}, users: map[int]stats{}}
	var err error
	switch s.mode {
	case "pcap_file":
		if strings.ContainsAny(s.name, "/\x00") {
			return nil, fmt.Errorf("invalid pcap_name: %q", s.name)
		}
		a.logf("D", "FileDumper", "PCAP URI: content://media/external/downloads/%d", a.cfg.Now().Unix()%10000)
		r.sink, err = newFileSink(a, Folder+"/"+s.name)
	case "http_server":
		r.sink, err = newServer(a, s.port)
	default:
		r.sink = nowhere{}
	}
	if err != nil {
		return nil, err
	}
	r.end = a.cfg.Tap(r.take)
	go r.pump()
	return r, nil
}

// take is one frame of the wire.
func (r *recording) take(at time.Time, frame []byte) {
	packet, out, ok := r.inside(frame)
	if !ok {
		return
	}
	uid := r.owner(frame[14:], out)
	if uid == UID {
		return // The app's own packets do not go through its tunnel.
	}
	r.a.mu.Lock()
	f := r.a.faults
	r.a.mu.Unlock()
	if f.past[uid] {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.count(len(packet), out)
	user := r.users[max(uid, 0)] // Whose it is not known to be is the kernel's.
	user.count(len(packet), out)
	r.users[max(uid, 0)] = user
	r.nth++
	if f.empty || f.gap && r.nth%gapEvery == 0 {
		return
	}
	n := len(r.buf)
	r.buf = r.set.append(r.buf, at, packet, uid, r.a.cfg.AppName(uid))
	r.stats.dumped += uint64(len(r.buf) - n) //nolint:gosec // It grew.
	if len(r.buf) > dumpRoom {
		r.flush()
	}
}

// owner is whose packet it is, -1 where nobody knows.
func (r *recording) owner(packet []byte, out bool) int {
	flow := flowOf(packet, out)
	r.a.mu.Lock()
	uid, ok := r.owners[flow]
	r.a.mu.Unlock()
	if ok && flow != "" {
		return uid
	}
	if uid, ok = r.a.cfg.Owner(packet, out); !ok {
		return -1
	}
	return uid
}

// append writes a packet as a record of the dump.
func (s settings) append(b []byte, at time.Time, packet []byte, uid int, app string) []byte {
	whole := len(packet)
	kept := packet[:min(whole, s.snap)]
	incl, orig := len(kept), whole
	pad := 0
	if s.trailer {
		pad = -(14 + len(kept)) & 3
		incl += 14 + pad + trailerLen
		orig += 14 + pad + trailerLen
	}
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(at.Unix()))            //nolint:gosec // Until 2106.
	b = le.AppendUint32(b, uint32(at.Nanosecond()/1000)) //nolint:gosec // Below a million.
	b = le.AppendUint32(b, uint32(incl))                 //nolint:gosec // A packet is short.
	b = le.AppendUint32(b, uint32(orig))                 //nolint:gosec // A packet is short.
	if !s.trailer {
		return append(b, kept...)
	}
	from := len(b)
	kind := []byte{0x08, 0x00}
	if packet[0]>>4 == 6 {
		kind = []byte{0x86, 0xdd}
	}
	b = append(append(b, make([]byte, 12)...), kind...)
	b = append(append(b, kept...), make([]byte, pad)...)
	b = binary.BigEndian.AppendUint32(b, trailerMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(uid)) //nolint:gosec // -1 is written like that.
	var name [20]byte
	copy(name[:19], app)
	b = append(b, name[:]...)
	return le.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
}

func (s settings) header() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, uint32(s.snap)) //nolint:gosec // At most 65535, or what the owner asked for.
	if s.trailer {
		return le.AppendUint32(b, linkEthernet)
	}
	return le.AppendUint32(b, linkRaw)
}

// pump hands on what waits, until the end.
func (r *recording) pump() {
	defer close(r.done)
	t := time.NewTicker(max(time.Duration(float64(dumpEvery)*r.a.cfg.Pace), 5*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			r.mu.Lock()
			r.flush()
			failed := r.failed
			r.mu.Unlock()
			if failed {
				r.a.run(func() { r.a.Stop() })
				return
			}
		case <-r.quit:
			return
		}
	}
}

// flush hands on what waits. The lock is held.
func (r *recording) flush() {
	if len(r.buf) == 0 || r.failed {
		return
	}
	if err := r.sink.dump(r.set.header(), r.buf); err != nil {
		r.a.logf("E", "CaptureService", "%v", err)
		r.failed = true // It ends the capture.
	}
	r.buf = r.buf[:0]
}

func (r *recording) counted() stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// stop ends the recording and says what it counted.
func (r *recording) stop() stats {
	r.end()
	close(r.quit)
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flush()
	_ = r.sink.close() // What it lost is what its reader misses.
	return r.stats
}

type nowhere struct{}

func (nowhere) dump(_, _ []byte) error { return nil }
func (nowhere) close() error           { return nil }

// fileSink writes to the phone's storage.
type fileSink struct {
	w     io.WriteCloser
	begun bool
}

func newFileSink(a *App, path string) (sink, error) {
	w, err := a.cfg.Create(path)
	if err != nil {
		return nil, err
	}
	return &fileSink{w: w}, nil
}

func (s *fileSink) dump(header, records []byte) error {
	if !s.begun {
		s.begun = true
		if _, err := s.w.Write(header); err != nil {
			return err
		}
	}
	_, err := s.w.Write(records)
	return err
}

func (s *fileSink) close() error { return s.w.Close() }

// server streams a dump to whoever asks for it, from then on.
type server struct {
	http *http.Server

	mu      sync.Mutex
	clients map[chan []byte]bool
	closed  bool
	done    chan struct{}
	serving sync.WaitGroup
}

// maxClients is how many may read at one time.
const maxClients = 8

func newServer(a *App, port int) (sink, error) {
	ln, err := a.cfg.Listen(port)
	if err != nil {
		return nil, err
	}
	s := &server{clients: map[chan []byte]bool{}, done: make(chan struct{})}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			a.logf("D", "HTTPServer", "%v", err)
		}
	}()
	return s, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		panic(http.ErrAbortHandler) // It closes the connection without a word.
	}
	if r.URL.Path == "/" {
		http.Redirect(w, r, "/PCAPdroid.pcap", http.StatusFound)
		return
	}
	mine := make(chan []byte, 1024)
	s.mu.Lock()
	if s.closed || len(s.clients) >= maxClients {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/vnd.tcpdump.pcap")
	w.Header().Set("Connection", "close")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	s.clients[mine] = true
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	defer func() {
		s.mu.Lock()
		delete(s.clients, mine)
		s.mu.Unlock()
	}()
	for {
		select {
		case b, ok := <-mine:
			if !ok {
				return
			}
			if _, err := w.Write(b); err != nil {
				return
			}
			_ = flush.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *server) dump(header, records []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, fresh := range s.clients {
		b := append([]byte(nil), records...)
		if fresh {
			b = append(append([]byte(nil), header...), records...)
			s.clients[c] = false
		}
		select {
		case c <- b:
		default: // One that does not read has lost the stream.
			close(c)
			delete(s.clients, c)
		}
	}
	return nil
}

func (s *server) close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.clients {
		close(c)
		delete(s.clients, c)
	}
	s.mu.Unlock()
	// Those who read get what waits for them; nobody is waited for long.
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.serving.Wait()
	}()
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-served:
	case <-timer.C:
	}
	err := s.http.Close()
	<-served
	<-s.done
	return err
}
