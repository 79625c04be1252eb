package pcapdroid_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

var errLost = errors.New("device R58M0000000 lost")

const (
	apiKey = "uZIsot5koOPYek6lDwCUzYv791slSbg5"
	app    = "com.emanuelef.remote_capture"
)

// A fakePhone answers the scripts that a phone with PCAPdroid answers, as far as
// this package can see them. Its faults are fields.
type fakePhone struct {
	version   string
	op        string // what appops says
	alwaysOn  string
	six       bool
	others    string // lines of /proc/net/dev beside the usual ones
	window    string // what is in front instead of a recording
	refuses   bool   // the start cannot be carried out
	deaf      bool   // questions do not show up in the packets
	silent    bool   // the kernel's counters cannot be read
	stubborn  bool   // it does not stop when it is asked
	kernel    int    // packets that the kernel alone sends into the tunnel at first
	cutAtStop bool   // the last record is cut
	counts    int    // packets that the app says it had beyond those in the dump
	status    int    // of its server

	mu      sync.Mutex
	runs    []string
	lost    bool
	up      bool
	begun   bool
	dump    []byte // nil where there is no file
	passed  int
	records int
	drop    bool // packets pass and are not written
	files   []string
	server  *httptest.Server
	clients []chan []byte
	mark    string
	closes  int
}

func newPhone() *fakePhone {
	return &fakePhone{version: "1.8.7", op: "ACTIVATE_VPN: allow\n", alwaysOn: "null\n", status: http.StatusOK}
}

const netDev = "Inter-|   Receive |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n" +
	"    lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n wlan0: 5 6 0 0 0 0 0 0 7 8 0 0 0 0 0 0\n"

func (p *fakePhone) state() string {
	s := netDev + p.others
	if p.up && !p.silent {
		s += fmt.Sprintf("  tun0: 9 %d 0 0 0 0 0 0 10 %d 0 0 0 0 0 0\n", p.passed/2, p.passed-p.passed/2)
	}
	s += "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
	if p.up {
		s += "18: tun0    inet 10.215.173.1/30 scope global tun0\\       valid_lft forever preferred_lft forever\n"
	}
	return s
}

var (
	tail  = regexp.MustCompile(`tail -c \+(\d+) \S+ 2>/dev/null \| head -c (\d+)`)
	asked = regexp.MustCompile(`ping -c 1 -W 1 (\S+)`)
)

func (p *fakePhone) Run(ctx context.Context, script string) (stdout, stderr []byte, exit int, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = append(p.runs, script)
	if p.lost {
		return nil, nil, 0, errLost
	}
	say := func(text string) ([]byte, []byte, int, error) { return []byte(text), nil, 0, nil }
	switch {
	case tail.MatchString(script):
		m := tail.FindStringSubmatch(script)
		at, _ := strconv.Atoi(m[1])
		most, _ := strconv.Atoi(m[2])
		words := p.state()
		if p.dump == nil {
			words += "no-file\n"
		}
		from := min(at-1, len(p.dump))
		return append([]byte(nil), p.dump[from:min(len(p.dump), from+most)]...), []byte(words), 0, nil
	case strings.HasPrefix(script, "cat /proc/net/dev; ip -o -4 addr; echo ---"):
		serves := "  (nothing)\n"
		if p.up {
			serves = "  * ServiceRecord{5d1e7ab u0 " + app + "/.CaptureService}\n"
		}
		return say(p.state() + "---\nACTIVITY MANAGER SERVICES (dumpsys activity services)\n" + serves + "---\n    mResumedActivity: ActivityRecord{90d3d50 u0 " + p.window + " t41}\n")
	case script == "cat /proc/net/dev; ip -o -4 addr":
		return say(p.state())
	case script == "ip -o -6 addr":
		if p.six {
			return say("5: wlan0    inet6 2001:db8::2/64 scope global\n7: tun1    inet6 fd00::1/128 scope global\n")
		}
		return say("5: wlan0    inet6 fe80::1/64 scope link\n")
	case strings.HasPrefix(script, "dumpsys package"):
		if p.version == "" {
			return say("")
		}
		return say("    versionName=" + p.version + "\n")
	case strings.HasPrefix(script, "appops get"):
		return say(p.op)
	case strings.HasPrefix(script, "settings get secure always_on_vpn_app"):
		return say(p.alwaysOn)
	case strings.HasPrefix(script, "am start -e action stop"):
		if !p.stubborn {
			p.halt()
		}
		return say("Starting: Intent { cmp=" + app + "/.activities.CaptureCtrl (has extras) }\n")
	case strings.HasPrefix(script, "am force-stop"):
		p.closes++
		return say("")
	case strings.HasPrefix(script, "logcat"):
		if !p.begun {
			return say("--------- beginning of main\n")
		}
		return say("--------- beginning of main\n05-01 I/offproof: old\n05-01 D/CaptureCtrl: notifyCaptureStopped: 9999 pkts\n05-01 I/offproof: " + p.mark +
			"\n05-01 D/CaptureCtrl: notifyCaptureStopped: " + strconv.Itoa(p.records+p.counts) + " pkts\n")
	case asked.MatchString(script):
		if p.up && !p.deaf {
			p.packet(question(asked.FindStringSubmatch(script)[1]))
		}
		return nil, []byte("ping: unknown host"), 2, nil
	}
	return nil, []byte("sh: " + script + ": not found"), 127, nil
}

// packet passes the tunnel. The lock is held.
func (p *fakePhone) packet(b []byte) {
	p.passed++
	if p.drop {
		return
	}
	rec := []byte{}
	if p.records == 0 {
		rec = append(rec, "\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x65\x00\x00\x00"...)
	}
	now := time.Now()
	rec = binary.LittleEndian.AppendUint32(rec, uint32(now.Unix()))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(now.Nanosecond()/1000))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(b)))
	rec = binary.LittleEndian.AppendUint32(rec, uint32(len(b)))
	rec = append(rec, b...)
	p.records++
	if p.dump != nil {
		p.dump = append(p.dump, rec...)
	}
	for _, c := range p.clients {
		c <- rec
	}
}

// question is a packet that asks for a name, as far as beacons are looked for.
func question(name string) []byte {
	b := []byte("E.............................")
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0, 0, 1, 0, 1)
}

// halt ends the recording. The lock is held.
func (p *fakePhone) halt() {
	if p.up && p.cutAtStop {
		p.dump = append(p.dump, "\x01\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x40\x00\x00\x00half"...)
	}
	p.up = false
	for _, c := range p.clients {
		close(c)
	}
	p.clients = nil
}

// do does something to the phone.
func (p *fakePhone) do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *fakePhone) ran(part string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.runs {
		if strings.Contains(s, part) {
			n++
		}
	}
	return n
}

func (p *fakePhone) Begin(_ context.Context, script, file string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs = append(p.runs, script)
	if p.lost {
		return errLost
	}
	if p.refuses {
		return fmt.Errorf("%w while it ran %q", errLost, script)
	}
	p.files = append(p.files, file)
	mark, _, _ := strings.Cut(strings.TrimPrefix(script, "log -t offproof "), ";")
	p.mark = mark
	if p.window != "" {
		return nil
	}
	p.begun, p.up = true, true
	p.passed = p.kernel
	if file != "" {
		p.dump = []byte{}
	}
	return nil
}

func (p *fakePhone) Restore(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.halt()
	p.dump = nil
	return nil
}

func (p *fakePhone) Forward(context.Context, int) (string, func() error, error) {
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if p.status != http.StatusOK {
			w.WriteHeader(p.status)
			return
		}
		mine := make(chan []byte, 100)
		p.do(func() { p.clients = append(p.clients, mine) })
		w.WriteHeader(http.StatusOK)
		flush := http.NewResponseController(w)
		_ = flush.Flush()
		for b := range mine {
			_, _ = w.Write(b)
			_ = flush.Flush()
		}
	}))
	return p.server.Listener.Addr().(*net.TCPAddr).String(), func() error {
		p.server.Close()
		return nil
	}, nil
}
