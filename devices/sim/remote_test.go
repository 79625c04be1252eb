package sim_test

import (
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim"
)

// patience bounds every wait; only a broken test uses it up.
const patience = 60 * time.Second

func start(t testing.TB, cfg sim.Config) *sim.World {
	t.Helper()
	w, err := sim.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// errLost is a stream that ended without an exit status.
var errLost = errors.New("the phone was lost")

// shell runs a script over the ADB server's protocol, as little of it as that
// takes.
func shell(ctx context.Context, w *sim.World, serial, script string) (stdout, stderr string, code int, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", w.ADB())
	if err != nil {
		return "", "", 0, err
	}
	defer conn.Close() //nolint:errcheck // Nothing more is said.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	for _, request := range []string{"host:transport:" + serial, "shell,v2,raw:" + script} {
		if _, err := fmt.Fprintf(conn, "%04x%s", len(request), request); err != nil {
			return "", "", 0, err
		}
		var word [4]byte
		if _, err := io.ReadFull(conn, word[:]); err != nil {
			return "", "", 0, err
		}
		if string(word[:]) != "OKAY" {
			reason, _ := io.ReadAll(conn)
			return "", "", 0, fmt.Errorf("%s: %s", request, reason)
		}
	}
	if _, err := conn.Write([]byte{4, 0, 0, 0, 0}); err != nil {
		return "", "", 0, err
	}
	var streams [3]strings.Builder
	for {
		var head [5]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return streams[1].String(), streams[2].String(), 0, errLost
		}
		data := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(conn, data); err != nil {
			return streams[1].String(), streams[2].String(), 0, errLost
		}
		if head[0] == 3 {
			return streams[1].String(), streams[2].String(), int(data[0]), nil
		}
		streams[head[0]].Write(data)
	}
}

// A hand uses a phone over ADB only: it looks by uiautomator, and taps.
type hand struct {
	t      testing.TB
	w      *sim.World
	serial string
}

func (h hand) run(script string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	out, errs, code, err := shell(ctx, h.w, h.serial, script)
	if err != nil || code != 0 {
		h.t.Fatalf("%s: status %d, %v: %s%s", script, code, err, out, errs)
	}
	return out
}

type node struct {
	Text    string `xml:"text,attr"`
	ID      string `xml:"resource-id,attr"`
	Class   string `xml:"class,attr"`
	Desc    string `xml:"content-desc,attr"`
	Checked bool   `xml:"checked,attr"`
	Bounds  string `xml:"bounds,attr"`
	Nodes   []node `xml:"node"`
}

func (n *node) find(fits func(*node) bool) *node {
	if fits(n) {
		return n
	}
	for i := range n.Nodes {
		if found := n.Nodes[i].find(fits); found != nil {
			return found
		}
	}
	return nil
}

func id(name string) func(*node) bool {
	return func(n *node) bool { return strings.HasSuffix(n.ID, ":id/"+name) }
}

func text(s string) func(*node) bool { return func(n *node) bool { return n.Text == s } }

// see waits until something is on the screen.
func (h hand) see(fits func(*node) bool) *node {
	h.t.Helper()
	var dump string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		dump = h.run("uiautomator dump /sdcard/d.xml >/dev/null; cat /sdcard/d.xml")
		var root node
		if err := xml.Unmarshal([]byte(dump), &root); err != nil {
			h.t.Fatalf("dump: %v", err)
		}
		if n := root.find(fits); n != nil {
			return n
		}
	}
	h.t.Fatalf("not on the screen: %s", dump)
	return nil
}

func (h hand) tap(fits func(*node) bool) {
	h.t.Helper()
	var x1, y1, x2, y2 int
	n := h.see(fits)
	if _, err := fmt.Sscanf(n.Bounds, "[%d,%d][%d,%d]", &x1, &y1, &x2, &y2); err != nil {
		h.t.Fatalf("bounds %q: %v", n.Bounds, err)
	}
	h.run(fmt.Sprintf("input tap %d %d", (x1+x2)/2, (y1+y2)/2))
}

// begin opens the browser by its icon and agrees to what it asks.
func (h hand) begin() {
	h.t.Helper()
	h.run("input keyevent KEYCODE_HOME")
	h.tap(func(n *node) bool { return n.Text == "Mi Browser" || n.Desc == "Mi Browser" })
	h.tap(id("button1"))
	h.see(id("home_page"))
}

// search types words into the bar, and waits for the page.
func (h hand) search(words string) {
	h.t.Helper()
	h.tap(id("url"))
	h.run("input text " + strings.ReplaceAll(words, " ", "%s"))
	if got := h.see(id("url")).Text; got != words {
		h.t.Fatalf("the bar holds %q, wanted %q", got, words)
	}
	h.run("input keyevent 66")
	h.see(func(n *node) bool { return n.Class == "android.webkit.WebView" && strings.Contains(n.Text, words) })
}

// until polls for something that must become true.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// A syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
