package browser_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/screen"
	"github.com/offproof/offproof/devices/sim/web"
)

func TestJavaHash(t *testing.T) {
	for s, want := range map[string]int32{
		"": 0, "a": 97, "hello": 99162322, "Aa": 2112, "BB": 2112, "polygenelubricants": -2147483648,
		"\U0001f600": 31*0xd83d + 0xde00,
	} {
		if got := browser.JavaHash(s); got != want {
			t.Errorf("hash of %q is %d, want %d", s, got, want)
		}
		if got := web.HashCode(s); got != want {
			t.Errorf("the collector's hash of %q is %d, want %d", s, got, want)
		}
	}
}

// A collector that answers as it is told, and decodes what it is sent.
type collector struct {
	mu     sync.Mutex
	status int
	off    bool
	posts  int
	events []web.Event
	batch  []int
}

func (c *collector) answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

func (c *collector) counts() (posts, events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts, len(c.events)
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method == http.MethodGet {
		_, _ = fmt.Fprintf(w, `{"v":"1","configs":{"disableSDK":%v}}`, c.off)
		return
	}
	c.posts++
	body := make([]byte, r.ContentLength)
	for n := 0; n < len(body); {
		k, err := r.Body.Read(body[n:])
		n += k
		if err != nil && n < len(body) {
			return
		}
	}
	if c.status < 300 || c.status == http.StatusBadRequest {
		u, err := web.DecodeSensors(body)
		if err != nil {
			c.status = http.StatusTeapot
		}
		c.events = append(c.events, u.Events...)
		c.batch = append(c.batch, len(u.Events))
	}
	w.WriteHeader(c.status)
}

// withCollector gives a deaf browser a collector of the test's own.
func withCollector(t *testing.T, status int, p browser.Personality) (*person, *collector) {
	t.Helper()
	c := &collector{status: status}
	n, err := internet.New(t.Context(), internet.Config{Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	for _, h := range []internet.HostConfig{
		{Name: web.Sensors, Handler: c},
		{Name: "www.google.com", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<title>results</title>words"))
		})},
	} {
		if err := n.AddHost(h); err != nil {
			t.Fatal(err)
		}
	}
	return someoneIn(t, n, p), c
}

func TestEventsAreKeptOrDeletedByTheReply(t *testing.T) {
	deaf, _ := browser.Find("deaf")
	for _, status := range []int{403, 404, 500, 503} {
		p, c := withCollector(t, status, deaf)
		p.begin()
		p.enter(words)
		if !p.wait(func() bool { posts, _ := c.counts(); return posts >= 3 }) {
			t.Fatalf("status %d: no further try", status)
		}
		if got := p.browser.Pending(); got != 3 {
			t.Errorf("status %d: %d events wait, want 3", status, got)
		}
		// They also outlive the process.
		p.display.ForceStop(browser.Package)
		c.answer(200)
		p.start(browser.MainActivity)
		p.rest()
		if _, n := c.counts(); n != 3 {
			t.Errorf("status %d: %d events came in the end, want 3", status, n)
		}
	}
	p, c := withCollector(t, 400, deaf)
	p.begin()
	p.enter(words)
	p.rest()
	if _, n := c.counts(); n != 3 || p.browser.Pending() != 0 {
		t.Errorf("status 400: %d events were sent and %d wait, want each sent once", n, p.browser.Pending())
	}
}

func TestDeadConnectionKeepsEvents(t *testing.T) {
	deaf, _ := browser.Find("deaf")
	p, c := withCollector(t, 200, deaf)
	p.begin()
	p.stack.SetUp(false)
	p.tap(byID("url"))
	p.display.Text(words)
	p.display.Key(screen.KeyEnter)
	p.see(byID("error_page"))
	if got := p.browser.Pending(); got != 2 {
		t.Errorf("%d events wait, want the search and the page's start", got)
	}
	p.stack.SetUp(true)
	p.tap(byID("error_retry"))
	p.see(byText("results"))
	p.rest()
	if _, n := c.counts(); n != 4 {
		t.Errorf("%d events came in the end, want 4", n)
	}
}

func TestAFullQueueIsSentAtOnceInPosts(t *testing.T) {
	chatty := browser.Personality{
		Name: "chatty", FlushEvery: 1000 * time.Hour,
		Report: func(act browser.Act, _ browser.State) []browser.Upload {
			if act.Kind != browser.ActSearch {
				return nil
			}
			var all []browser.Upload
			for range 60 {
				all = append(all, browser.Genuine(act)...)
			}
			return all
		},
	}
	p, c := withCollector(t, 200, chatty)
	p.begin()
	p.enter(words)
	if posts, _ := c.counts(); posts != 0 || p.browser.Pending() != 60 {
		t.Errorf("%d posts, %d events wait after 60 events", posts, p.browser.Pending())
	}
	p.enter(words)
	p.rest()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := fmt.Sprint(c.batch); got != "[50 50 20]" {
		t.Errorf("posts of %s events, want [50 50 20]", got)
	}
	for _, e := range c.events {
		if age := time.Since(time.UnixMilli(e.Time)); age < 0 || age > time.Hour {
			t.Fatalf("event time %d is not in milliseconds of now", e.Time)
		}
	}
}

func TestRemoteConfigurationTurnsTheModuleOff(t *testing.T) {
	deaf, _ := browser.Find("deaf")
	p, c := withCollector(t, 200, deaf)
	c.mu.Lock()
	c.off = true
	c.mu.Unlock()
	p.begin()
	p.enter(words)
	p.rest()
	if posts, _ := c.counts(); posts != 0 {
		t.Errorf("%d posts from a module that was turned off", posts)
	}
}
