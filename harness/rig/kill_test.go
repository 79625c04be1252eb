package rig_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
	"github.com/offproof/offproof/harness/rig"
)

// The variables of TestKilledHolderLeavesNothing: how many holders are killed, 6
// if not given, and the seed of the moments, the day's if not given.
const (
	killsVariable = "OFFPROOF_KILLS"
	killsSeed     = "OFFPROOF_KILLS_SEED"
)

// beFarm is a simulated farm as a process of its own, which outlives who is
// killed. It ends with its standard input.
func beFarm(dir string, phones int) int {
	w, err := sim.Start(context.Background(), sim.Config{Dir: dir, Pace: 0.02, Phones: make([]sim.PhoneConfig, phones)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, w.Control(), w.FarmFile())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := w.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// beHolder leases a phone, changes it in every way, and puts it back.
func beHolder(farmFile, serial, certificate string) int {
	ctx := context.Background()
	err := func() error {
		farm, err := rig.Load(farmFile)
		if err != nil {
			return err
		}
		r, err := rig.New(farm)
		if err != nil {
			return err
		}
		l, err := r.Lease(ctx, serial)
		if err != nil {
			return err
		}
		ca, err := os.ReadFile(certificate) //nolint:gosec // The test's own file.
		if err != nil {
			return err
		}
		for _, c := range everyChange(ca) {
			if err := l.Change(ctx, c); err != nil {
				return err
			}
		}
		return l.Release(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// beProxy leases a phone, sets its proxy, says so and stays.
func beProxy(farmFile, serial string) int {
	ctx := context.Background()
	err := func() error {
		farm, err := rig.Load(farmFile)
		if err != nil {
			return err
		}
		r, err := rig.New(farm)
		if err != nil {
			return err
		}
		l, err := r.Lease(ctx, serial)
		if err != nil {
			return err
		}
		return l.SetProxy(ctx, "127.0.0.1:18080")
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, "set")
	<-time.NewTimer(time.Hour).C // An empty select would be a deadlock, and end it, where there is no cgo.
	return 0
}

// TestProxyIsGoneWithItsHolder kills whoever set a phone's proxy, and pulls the
// cable: the phone takes the proxy away by itself, before anybody leases it.
func TestProxyIsGoneWithItsHolder(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]string{"the holder is killed": "", "and the cable is pulled": "unplug", "and the ADB server is gone": "adb-down"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Pace: 0.02})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close() //nolint:errcheck // The world's end is tested elsewhere.
			p := w.Phones()[0]
			was := fmt.Sprint(p.Settings())
			cmd := exec.Command(os.Args[0], helper, "proxy", w.FarmFile(), p.Serial()) //nolint:gosec,noctx // This program.
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if said, err := bufio.NewReader(out).ReadString('\n'); err != nil || said != "set\n" {
				t.Fatalf("%q, %v", said, err)
			}
			if is := p.Settings()["global/http_proxy"]; is != "127.0.0.1:18080" {
				t.Errorf("the proxy is %q", is)
			}
			if then != "" {
				if err := p.Fault(t.Context(), then, ""); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			for range 1200 {
				if _, set := p.Settings()["global/http_proxy"]; !set && len(p.Truth().Processes) == 0 {
					break
				}
				wait(t, 100*time.Millisecond)
			}
			if is := fmt.Sprint(p.Settings()); is != was || len(p.Truth().Processes) > 0 {
				t.Errorf("the settings were\n%s\nand are\n%s; %q run", was, is, p.Truth().Processes)
			}
		})
	}
}

// everyChange has each kind of change that the journal knows, in the order of a
// run.
func everyChange(ca []byte) []devices.Undoable {
	return []devices.Undoable{
		devices.PutSetting{Namespace: "system", Key: "screen_off_timeout", Value: "1800000"},
		devices.OverrideDisplay{Side: devices.DisplaySize, Value: "720x1280"},
		devices.OverrideDisplay{Side: devices.DisplayDensity, Value: "320"},
		devices.SetPermission{Package: "com.mi.globalbrowser", Permission: "android.permission.CAMERA", Granted: true},
		devices.SetAppOp{Package: "com.mi.globalbrowser", Op: "RUN_IN_BACKGROUND", Mode: "ignore"},
		devices.PutFile{Path: "/data/local/tmp/offproof-test", Content: []byte("a file"), Mode: 0o600},
		devices.InstallApp{Path: "../../devices/testdata/helloworld.apk"},
		devices.AddReverse{DevicePort: 18080, HostPort: 9},
		devices.InstallCA{PEM: ca},
		devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:18080"},
	}
}

// changesMade is how many they are.
var changesMade = len(everyChange(nil))

// A killing is a phone with its holders.
type killing struct {
	t       *testing.T
	serial  string
	control string
	farm    string
	pem     string
	journal string
	before  string
	rig     *rig.Rig
	whole   time.Duration // what a holder takes that nobody kills
}

// truth is what the phone says of itself to the simulation.
func (k *killing) truth() string {
	k.t.Helper()
	res, err := http.Get("http://" + k.control + "/phones/" + k.serial) //nolint:gosec,noctx // The test's own server.
	if err != nil {
		k.t.Fatal(err)
	}
	defer res.Body.Close()
	var all map[string]json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		k.t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range []string{"settings", "mounts", "reverses", "grants", "files", "apps"} {
		fmt.Fprintf(&b, "%s: %s\n", name, all[name])
	}
	return b.String()
}

// ops are the journal's records in a few words, such as "change 3".
func (k *killing) ops() (ops []string) {
	b, err := os.ReadFile(k.journal)
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		var r struct {
			Op string
			ID int
		}
		if json.Unmarshal(line, &r) == nil {
			ops = append(ops, fmt.Sprintf("%s %d", r.Op, r.ID))
		}
	}
	return ops
}

// start starts a holder.
func (k *killing) start() *exec.Cmd {
	cmd := exec.Command(os.Args[0], helper, "holder", k.farm, k.serial, k.pem) //nolint:gosec,noctx // This program.
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	return cmd
}

// moments are when a holder may be killed: each returns when it has come, given
// how many records the journal had at the start.
func (k *killing) moments(rng *rand.Rand) map[string]func(from int) bool {
	nth := 1 + rng.IntN(changesMade) // which of the changes
	after := time.Duration(rng.Int64N(int64(k.whole)))
	count := func(from int, op string) (n int) {
		all := k.ops()
		if len(all) < from {
			from = 0 // The journal was written anew.
		}
		for _, o := range all[from:] {
			if strings.HasPrefix(o, op+" ") {
				n++
			}
		}
		return n
	}
	until := time.Now().Add(after)
	seen := k.before
	return map[string]func(from int) bool{
		"at some moment": func(int) bool { return time.Now().After(until) },
		// The record is on the disk, and the command has not begun: the phone is slow.
		"between record and change": func(from int) bool { return count(from, "change") >= nth && count(from, "made") < nth },
		// The phone has changed, and nobody has noted it.
		"between change and note": func(from int) bool {
			if now := k.truth(); now != seen {
				seen = now
				return count(from, "change") >= nth
			}
			return false
		},
		// Something is undone in the phone, and not yet read back.
		"between undo and read-back": func(from int) bool {
			if count(from, "made") < changesMade {
				seen = ""
				return false
			}
			now := k.truth()
			if seen == "" {
				seen = now
			}
			return now != seen && count(from, "undone") < changesMade
		},
		"between two undos": func(from int) bool { return count(from, "undone") >= min(nth, changesMade-1) },
	}
}

// kill runs a holder and kills it in its moment, and returns what the journal
// said then.
func (k *killing) kill(name string, rng *rand.Rand) string {
	from := len(k.ops())
	come := k.moments(rng)[name]
	cmd := k.start()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err := <-done:
			if err != nil {
				k.t.Errorf("%s: the holder failed: %v", name, err)
			}
			return "it was faster"
		default:
		}
		if come(from) {
			break
		}
		wait(k.t, time.Millisecond)
	}
	_ = cmd.Process.Kill()
	<-done
	at := k.ops()
	if len(at) <= from { // Fewer where the journal was written anew meanwhile.
		return "before the first change"
	}
	return "after " + at[len(at)-1]
}

// TestKilledHolderLeavesNothing kills who has a phone, as hard as can be, at
// random moments and at chosen ones: after the next lease the phone is as it was.
func TestKilledHolderLeavesNothing(t *testing.T) {
	t.Parallel()
	kills, seed := 6, uint64(time.Now().UTC().YearDay())
	for name, into := range map[string]func(uint64){killsVariable: func(n uint64) { kills = int(n) }, killsSeed: func(n uint64) { seed = n }} { //nolint:gosec // A count.
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				t.Fatalf("%s=%s: a number is wanted", name, text)
			}
			into(n)
		}
	}
	const phones = 3
	t.Logf("%d kills; repeat with %s=%d", kills, killsSeed, seed)
	dir := t.TempDir()
	farm := exec.Command(os.Args[0], helper, "farm", dir, strconv.Itoa(phones)) //nolint:gosec,noctx // This program.
	farm.Stderr = os.Stderr
	stdin, err := farm.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := farm.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := farm.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := farm.Wait(); err != nil {
			t.Errorf("the simulated farm: %v", err)
		}
	})
	var control, file string
	if _, err := fmt.Fscan(bufio.NewReader(out), &control, &file); err != nil {
		t.Fatal(err)
	}
	config, err := rig.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(certificate, testCA(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range phones {
		serial := config.Phones[i].Serial
		r, err := rig.New(config)
		if err != nil {
			t.Fatal(err)
		}
		k := &killing{t: t, serial: serial, control: control, farm: file, pem: certificate, rig: r}
		group.Go(func() { k.run(kills/phones, rand.New(rand.NewPCG(seed, uint64(i)))) }) //nolint:gosec // Small numbers.
	}
	group.Wait()
}

// run kills a number of holders of one phone.
func (k *killing) run(kills int, rng *rand.Rand) {
	// Each service takes a while to begin, so that a moment can be met.
	res, err := http.Post("http://"+k.control+"/phones/"+k.serial+"/faults/slow-adb?arg=40ms", "", nil) //nolint:noctx // The test's own server.
	if err != nil || res.StatusCode/100 != 2 {
		k.t.Errorf("slow-adb: %v, %v", res, err)
		return
	}
	_ = res.Body.Close()
	l, err := k.rig.Lease(k.t.Context(), k.serial)
	if err != nil {
		k.t.Error(err)
		return
	}
	k.journal = l.JournalPath()
	if err := l.Release(k.t.Context()); err != nil {
		k.t.Error(err)
		return
	}
	k.before = k.truth()
	began := time.Now()
	if err := k.start().Wait(); err != nil {
		k.t.Errorf("a holder that nobody kills: %v", err)
		return
	}
	k.whole = time.Since(began)
	if now := k.truth(); now != k.before {
		k.t.Errorf("a holder that nobody killed left\n%sof\n%s", now, k.before)
		return
	}
	names := []string{"at some moment", "between record and change", "between change and note", "between undo and read-back", "between two undos"}
	at := map[string]int{}
	for i := range kills {
		name := names[(i+rng.IntN(2))%len(names)]
		left := k.kill(name, rng)
		at[name+", "+left]++
		changed := k.truth() != k.before
		ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
		l, err := k.rig.Lease(ctx, k.serial)
		if err == nil {
			err = l.Release(ctx)
		}
		cancel()
		if err != nil {
			k.t.Errorf("killed %s, %s: the next lease: %v", name, left, err)
			return
		}
		if now := k.truth(); now != k.before {
			k.t.Errorf("killed %s, %s (changed: %v): the next lease left\n%sof\n%s", name, left, changed, now, k.before)
			return
		}
	}
	for _, key := range slices.Sorted(maps.Keys(at)) {
		k.t.Logf("%s: %d times killed %s", k.serial, at[key], key)
	}
}

// testCA is a certificate authority of the test's own.
func testCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
