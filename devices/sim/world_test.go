package sim_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/devices/sim/browser"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/web"
)

// told lists the words that the collector was told by a phone.
func told(t testing.TB, w *sim.World, serial string) []string {
	t.Helper()
	var words []string
	for _, e := range w.Ledger().Entries() {
		if e.Host != web.Sensors || e.Phone != serial || e.Method != http.MethodPost {
			continue
		}
		u, err := web.DecodeSensors(e.Body)
		if err != nil {
			t.Errorf("the collector got what it cannot read: %v", err)
		}
		for _, event := range u.Events {
			if word, ok := event.Properties["search_word"].(string); ok {
				words = append(words, word)
			}
		}
	}
	return words
}

// asked says whether the engine was asked for the words by the phone.
func asked(w *sim.World, serial, words string) bool {
	return slices.ContainsFunc(w.Ledger().Entries(), func(e internet.Entry) bool {
		u, err := url.Parse(e.URL)
		return err == nil && e.Phone == serial && (e.Host == web.Google || e.Host == web.DuckDuckGo) && u.Query().Get("q") == words
	})
}

// TestSearchByTapsAlone uses two phones as a person would, over ADB, and
// compares what their browsers told the collector with what they are.
func TestSearchByTapsAlone(t *testing.T) {
	w := start(t, sim.Config{Phones: []sim.PhoneConfig{{Personality: "honest"}, {Personality: "deaf"}}, Pace: 0.005, Seed: 7})
	if n := len(w.Phones()); n != 2 {
		t.Fatalf("%d phones", n)
	}
	for _, p := range w.Phones() {
		t.Run(p.Personality(), func(t *testing.T) {
			h := hand{t, w, p.Serial()}
			h.begin()
			h.search("loud words")
			if !asked(w, p.Serial(), "loud words") {
				t.Error("no engine was asked for the words")
			}
			until(t, "the collector is told", func() bool { return slices.Contains(told(t, w, p.Serial()), "loud words") })

			h.run("am start -n " + browser.Package + "/" + browser.SettingsActivity)
			h.tap(text("Privacy & security"))
			isSwitch := func(n *node) bool {
				return n.ID == "android:id/checkbox" && strings.HasPrefix(n.Desc, p.Browser().Personality().Row.Title)
			}
			h.see(text("Enable cookies"))
			h.run("input swipe 540 1900 540 500 300; input swipe 540 1900 540 500 300") // To the page's end.
			if !h.see(isSwitch).Checked {
				t.Fatal("the switch is off at first")
			}
			h.tap(isSwitch)
			if h.see(isSwitch).Checked || p.Browser().State().Switch {
				t.Fatal("a tap does not move the switch")
			}
			h.run("input keyevent 4 4")
			h.search("quiet words")
			if !asked(w, p.Serial(), "quiet words") {
				t.Error("no engine was asked for the words")
			}
			if p.Personality() == "deaf" {
				until(t, "the collector is told", func() bool { return slices.Contains(told(t, w, p.Serial()), "quiet words") })
				return
			}
			// The other phone has shown how long it takes; ten times that is silence.
			time.Sleep(10 * time.Duration(float64(15*time.Second)*0.005))
			if words := told(t, w, p.Serial()); slices.Contains(words, "quiet words") {
				t.Errorf("the honest phone told %q", words)
			}
		})
	}
}

func TestFarmFile(t *testing.T) {
	dir := t.TempDir()
	w := start(t, sim.Config{Dir: dir, Phones: make([]sim.PhoneConfig, 2), Floor: 90 * time.Second, Pace: 0.02})
	b, err := os.ReadFile(w.FarmFile())
	if err != nil || string(b) != string(w.FarmYAML()) {
		t.Fatalf("farm.yaml: %v", err)
	}
	for _, want := range []string{
		"version: 1\n", fmt.Sprintf("adb: [{server: %q}]", w.ADB()), fmt.Sprintf("socks5: %q", w.SOCKS()), "pace: 0.02\n", "floor: 1m30s\n",
		w.Phones()[0].Serial(), w.Phones()[1].Serial(), "capture: [tcpdump, proxy]",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("farm.yaml lacks %q:\n%s", want, b)
		}
	}
	if w.Phones()[0].Serial() == w.Phones()[1].Serial() {
		t.Error("two phones of one serial")
	}
	other := start(t, sim.Config{})
	if other.Phones()[0].Serial() == w.Phones()[0].Serial() {
		t.Error("two worlds have phones of one serial")
	}
}

// TestSOCKS goes through the door that a proxy of the host uses.
func TestSOCKS(t *testing.T) {
	w := start(t, sim.Config{})
	dialer, err := proxy.SOCKS5("tcp", w.SOCKS(), nil, proxy.Direct)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dialer.Dial("tcp", "connect.rom.miui.com:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // Nothing more is said.
	if _, err := io.WriteString(conn, "GET /generate_204 HTTP/1.1\r\nHost: connect.rom.miui.com\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 204") {
		t.Errorf("answer %q, %v", b, err)
	}
}

func TestWrongConfigurations(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() //nolint:errcheck // Nothing is written.
	taken := busy.Addr().String()
	for name, c := range map[string]struct {
		cfg  sim.Config
		want string
	}{
		"personality": {sim.Config{Phones: []sim.PhoneConfig{{Personality: "nobody"}}}, `"nobody"; known are honest, deaf`},
		"model":       {sim.Config{Phones: []sim.PhoneConfig{{Model: "mi10"}}}, `no model is named "mi10"; known are redmi-note-8, mi-10`},
		"locale":      {sim.Config{Phones: []sim.PhoneConfig{{Locale: "de"}}}, `no locale is named "de"; known are en-GB, fr-FR, ru-RU`},
		"adb port":    {sim.Config{ADB: taken}, "address already in use"},
		"socks port":  {sim.Config{SOCKS: taken}, "address already in use"},
		"control":     {sim.Config{Control: taken}, "address already in use"},
		"open adb":    {sim.Config{ADB: "0.0.0.0:0"}, "not a loopback address"},
		"open socks":  {sim.Config{SOCKS: "0.0.0.0:0"}, "not a loopback address"},
		"open door":   {sim.Config{Control: "0.0.0.0:0"}, "not a loopback address"},
		"folder":      {sim.Config{Dir: "/proc/nowhere"}, "/proc/nowhere"},
	} {
		before := runtime.NumGoroutine()
		w, err := sim.Start(t.Context(), c.cfg)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; wanted one line with %q", name, err, c.want)
		}
		if w != nil {
			t.Errorf("%s: a world beside an error", name)
		}
		settle(t, name, before)
	}
}

// settle waits until there are no more goroutines than before.
func settle(t testing.TB, what string, before int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%s: %d goroutines are left, %d before:\n%s", what, runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestCloseLeavesNothing ends a world in the middle of everything.
func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	w, err := sim.Start(t.Context(), sim.Config{Phones: make([]sim.PhoneConfig, 2), Pace: 0.01})
	if err != nil {
		t.Fatal(err)
	}
	h := hand{t, w, w.Phones()[0].Serial()}
	h.begin()
	h.search("some words")
	lost := make(chan error, 3)
	for _, script := range []string{"tcpdump -i any -U -w -", "while :; do sleep 1; done", "logcat"} {
		go func() {
			_, _, _, err := shell(t.Context(), w, h.serial, script)
			lost <- err
		}()
	}
	until(t, "they run", func() bool { return len(w.Phones()[0].Truth().Processes) >= 6 })
	for _, fault := range []string{"unplug", "reboot"} {
		if err := w.Phones()[1].Fault(t.Context(), fault, ""); err != nil {
			t.Error(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	for range 3 {
		if err := <-lost; !errors.Is(err, errLost) {
			t.Errorf("a command ended with %v", err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	settle(t, "after Close", before)
	if _, err := os.Stat(w.FarmFile()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestFaults(t *testing.T) {
	w := start(t, sim.Config{Pace: 0.01})
	p := w.Phones()[0]
	h := hand{t, w, p.Serial()}
	fault := func(name, arg string) {
		t.Helper()
		if err := p.Fault(t.Context(), name, arg); err != nil {
			t.Fatal(err)
		}
	}
	lost := make(chan error, 1)
	hold := func() {
		go func() {
			_, _, _, err := shell(t.Context(), w, p.Serial(), "sleep 1000")
			lost <- err
		}()
		until(t, "sleep runs", func() bool { return len(p.Truth().Processes) >= 2 })
	}
	back := func() {
		t.Helper()
		until(t, "the phone is back", func() bool {
			out, _, _, err := shell(t.Context(), w, p.Serial(), "getprop sys.boot_completed")
			return err == nil && out == "1\n"
		})
	}
	for _, name := range []string{"unplug", "unauthorized", "offline", "adb-down", "reboot"} {
		h.run("settings put global kept " + name + "; pkill sleep; sleep 0.05")
		if name == "reboot" {
			h.run("mount -t tmpfs mine /system/etc/security/cacerts")
		}
		hold()
		arg := "10s"
		if name == "reboot" {
			arg = ""
		}
		fault(name, arg)
		if err := <-lost; !errors.Is(err, errLost) {
			t.Errorf("%s: a command ended with %v", name, err)
		}
		back()
		if got := h.run("settings get global kept"); got != name+"\n" {
			t.Errorf("%s: the setting reads %q", name, got)
		}
		if name == "reboot" && (len(p.Mounts()) != 0 || strings.Contains(h.run("ps -A"), "sleep")) {
			t.Error("a mount or a process outlived the reboot")
		}
	}
	before := h.run("date +%s")
	fault("clock-jump", "2h")
	if after := h.run("date +%s"); after[:7] == before[:7] {
		t.Errorf("the clock says %s after a jump from %s", after, before)
	}
	fault("network-down", "")
	if _, _, code, err := shell(t.Context(), w, p.Serial(), "ping -c 1 -W 1 www.google.com"); code == 0 || err != nil {
		t.Errorf("without a network ping ends with %d, %v", code, err)
	}
	fault("network-up", "")
	h.run("ping -c 1 www.google.com")
	fault("unreachable", web.Google)
	if _, _, code, _ := shell(t.Context(), w, p.Serial(), "ping -c 1 -W 0.1 www.google.com"); code != 1 {
		t.Errorf("a host out of reach: ping ends with %d", code)
	}
	fault("reachable", web.Google)

	if err := p.Fault(t.Context(), "nonsense", ""); !errors.Is(err, sim.ErrUnknownFault) || !strings.Contains(err.Error(), "unplug") {
		t.Errorf("an unknown fault: %v", err)
	}
	for _, c := range [][2]string{{"unplug", "soon"}, {"drop-packets", "x"}, {"clock-jump", ""}, {"kill-tcpdump", ""}, {"unreachable", "nowhere.example"}} {
		if err := p.Fault(t.Context(), c[0], c[1]); err == nil {
			t.Errorf("%s %q was taken", c[0], c[1])
		}
	}
}

// TestControlDoor breaks the farm and reads its truth as another process does.
func TestControlDoor(t *testing.T) {
	w := start(t, sim.Config{Pace: 0.01})
	p := w.Phones()[0]
	ask := func(method, path string, header ...string) (int, []byte) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.Control()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close() //nolint:errcheck // It has been read.
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	h := hand{t, w, p.Serial()}
	h.run("settings put global http_proxy localhost:8080; mount -t tmpfs mine /data/local/tmp")
	status, b := ask(http.MethodGet, "/phones/"+p.Serial())
	var truth sim.Truth
	if err := json.Unmarshal(b, &truth); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, b, err)
	}
	if truth.Settings["global/http_proxy"] != "localhost:8080" || len(truth.Mounts) != 1 || truth.State != "device" || truth.Personality != "honest" {
		t.Errorf("the truth is %+v", truth)
	}
	if status, _ := ask(http.MethodPost, "/phones/"+p.Serial()+"/faults/unplug"); status != http.StatusOK || p.State() != "" {
		t.Errorf("unplug: %d, %q", status, p.State())
	}
	if status, _ := ask(http.MethodPost, "/phones/"+p.Serial()+"/faults/replug"); status != http.StatusOK || p.State() != "device" {
		t.Errorf("replug: %d, %q", status, p.State())
	}
	if status, _ := ask(http.MethodPost, "/adb/stop"); status != http.StatusOK {
		t.Errorf("stop: %d", status)
	}
	if _, err := net.DialTimeout("tcp", w.ADB(), time.Second); err == nil { //nolint:noctx // A test.
		t.Error("the ADB server still listens")
	}
	if status, _ := ask(http.MethodPost, "/adb/start"); status != http.StatusOK {
		t.Errorf("start: %d", status)
	}
	h.run("ping -c 1 duckduckgo.com")
	if status, b := ask(http.MethodGet, "/ledger"); status != http.StatusOK || !json.Valid(b) {
		t.Errorf("ledger: %d", status)
	}
	for path, want := range map[string]int{
		"/phones/nobody": 404, "/phones/" + p.Serial() + "/faults/nonsense": 404, "/phones/" + p.Serial() + "/faults/unplug?arg=x": 409,
	} {
		method := http.MethodPost
		if !strings.Contains(path, "faults") {
			method = http.MethodGet
		}
		if status, _ := ask(method, path); status != want {
			t.Errorf("%s: %d, wanted %d", path, status, want)
		}
	}
	if status, _ := ask(http.MethodPost, "/adb/stop", "Origin", "https://evil.example"); status != http.StatusForbidden {
		t.Errorf("a page may stop the server: %d", status)
	}
	if status, _ := ask(http.MethodPost, "/adb/stop", "Host", "evil.example"); status != http.StatusForbidden {
		t.Errorf("a name made for it may stop the server: %d", status)
	}
}

// TestOwnPersonality runs a personality that was written elsewhere.
func TestOwnPersonality(t *testing.T) {
	acts := make(chan string, 100)
	w := start(t, sim.Config{Pace: 0.01, Phones: []sim.PhoneConfig{{Behaviour: &browser.Personality{
		Name: "mine", Report: func(act browser.Act, _ browser.State) []browser.Upload {
			acts <- act.Words
			return nil
		},
	}}}})
	if got := w.Phones()[0].Personality(); got != "mine" {
		t.Errorf("personality %q", got)
	}
	h := hand{t, w, w.Phones()[0].Serial()}
	h.begin()
	h.search("my words")
	until(t, "the personality is told", func() bool {
		select {
		case words := <-acts:
			return words == "my words"
		default:
			return false
		}
	})
}
