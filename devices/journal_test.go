package devices_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
)

// The test program is started again as the one that gets killed.
var (
	childDo     = flag.String("child-do", "", "what this process does before it is killed: change or undo")
	childAddr   = flag.String("child-addr", "", "the server's address")
	childDir    = flag.String("child-dir", "", "the journal's folder")
	childSerial = flag.String("child-serial", "", "the phone's serial")
)

// changes are those that a run with a proxy makes.
var changes = []devices.Undoable{
	devices.AddReverse{DevicePort: 8080, HostPort: 9000},
	devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"},
	devices.PutSetting{Namespace: "system", Key: "screen_off_timeout", Value: "1800000"},
}

// TestChild does nothing unless this process was started to be killed.
func TestChild(t *testing.T) {
	if *childDo == "" {
		return
	}
	d := devices.Open(*childAddr, *childSerial)
	j, err := devices.OpenJournal(*childDir, *childSerial)
	if err != nil {
		t.Fatal(err)
	}
	j.Settle = time.Millisecond
	if *childDo == "undo" {
		if err := j.Undo(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, c := range changes {
		if err := j.Change(t.Context(), d, c); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string, p *phone) *devices.Journal {
	t.Helper()
	j, err := devices.OpenJournal(dir, p.serial)
	if err != nil {
		t.Fatal(err)
	}
	j.Settle = time.Millisecond // The stand-in's commands die with their connection.
	return j
}

// present are the settings, without what Android writes for "no proxy".
func present(p *phone) map[string]string {
	all := p.settings()
	maps.DeleteFunc(all, func(key, value string) bool {
		return strings.HasPrefix(key, "global/global_http_proxy_") && (value == "" || value == "0")
	})
	return all
}

// The entry is on the disk before the phone is touched.
func TestChangeIsWrittenDownFirst(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	var seen atomic.Bool
	p.during(func(_ int, after bool, service string) bool {
		if !after && strings.Contains(service, "settings put") {
			seen.Store(true)
			b, err := os.ReadFile(j.Path())
			if err != nil || !bytes.Contains(b, []byte(`"http_proxy"`)) || !bytes.HasSuffix(b, []byte("\n")) {
				t.Errorf("the phone is changed while the journal says %q, %v", b, err)
			}
		}
		return true
	})
	if err := j.Change(within(t), p.device(), changes[1]); err != nil || !seen.Load() {
		t.Errorf("seen %v, %v", seen.Load(), err)
	}
}

func TestChangeThatCannotBeWrittenDownIsNotMade(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	// A folder in the file's place refuses even root.
	if err := os.Mkdir(j.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := j.Change(within(t), p.device(), changes[1]); err == nil {
		t.Error("no error")
	}
	if got := p.settings(); len(got) != 0 {
		t.Errorf("the phone was changed: %v", got)
	}
}

// A command goes on in the phone when the connection breaks, so a change can
// land after its undo has looked.
func TestChangeThatLandsLate(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	late := make(chan struct{})
	p.during(func(_ int, after bool, service string) bool {
		if after || !strings.Contains(service, "settings put") {
			return true
		}
		go func() {
			<-late
			p.set("global", "http_proxy", "localhost:8080")
			late <- struct{}{}
		}()
		return false
	})
	var lost *devices.LostError
	if err := j.Change(within(t), p.device(), changes[1]); !errors.As(err, &lost) {
		t.Fatalf("got %v, want a *LostError", err)
	}
	// The command lands after the first undo has read that nothing is set.
	var landed atomic.Bool
	reads := atomic.Int32{}
	p.during(func(_ int, after bool, service string) bool {
		const settings = 4 // what one look at the proxy reads
		if after && strings.Contains(service, "settings get") && reads.Add(1) == settings {
			late <- struct{}{}
			<-late
			landed.Store(true)
		}
		return true
	})
	if err := j.Undo(within(t), p.device()); err != nil || !landed.Load() {
		t.Errorf("landed %v, %v", landed.Load(), err)
	}
	if got := present(p); len(got) != 0 {
		t.Errorf("the proxy was left behind: %v", got)
	}
	if left := open(t, dir, p).Pending(); len(left) != 0 {
		t.Errorf("pending %v", left)
	}
}

func TestUndoGoesOnWhenItsCallerIsCancelled(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	if err := j.Change(within(t), p.device(), changes[1]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Undo(ctx, p.device()); err != nil {
		t.Error(err)
	}
	if got := present(p); len(got) != 0 {
		t.Errorf("settings are %v", got)
	}
}

// A proxy that cannot be undone is shouted, with the command to do it by hand.
func TestProxyLeftBehindCannotBeMissed(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	if err := j.Change(within(t), p.device(), changes[1]); err != nil {
		t.Fatal(err)
	}
	p.flag("gate", true)
	err := j.Undo(within(t), p.device())
	var left *devices.UndoError
	if !errors.As(err, &left) || len(left.Left) != 1 {
		t.Fatalf("got %v, want an *UndoError with one change", err)
	}
	for _, want := range []string{"LEFT BEHIND", "PROXY", "localhost:8080", "adb -s SIM0001 shell", "settings put global http_proxy :0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from: %v", want, err)
		}
	}
	if got := open(t, dir, p).Pending(); len(got) != 1 {
		t.Errorf("the next run would not know: %v", got)
	}
	p.flag("gate", false)
	if err := open(t, dir, p).Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
}

func TestUndoOfALostPhoneKeepsEverything(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	for _, c := range changes {
		if err := j.Change(within(t), p.device(), c); err != nil {
			t.Fatal(err)
		}
	}
	p.during(func(int, bool, string) bool { return false })
	err := j.Undo(within(t), p.device())
	var lost *devices.LostError
	if !errors.As(err, &lost) {
		t.Errorf("got %v, want a *LostError inside", err)
	}
	if got := len(j.Pending()); got != len(changes) {
		t.Errorf("%d of %d changes are remembered", got, len(changes))
	}
	if got := j.Pending()[0].What; !strings.Contains(got, "screen_off_timeout") {
		t.Errorf("the newest is not first: %s", got)
	}
}

// A setting that does not take the value is an error, not a change.
func TestChangeIsReadBack(t *testing.T) {
	p := newPhone(t)
	p.flag("stubborn", true)
	j := open(t, t.TempDir(), p)
	err := j.Change(within(t), p.device(), devices.PutSetting{Namespace: "system", Key: "x", Value: "1"})
	if err == nil || !strings.Contains(err.Error(), "read back") {
		t.Errorf("got %v", err)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
}

// The proxy of a crashed run whose journal was lost is not put back.
func TestOwnProxyIsNotAnOldValue(t *testing.T) {
	for _, value := range []string{"localhost:41234", "127.0.0.1:8080", "[::1]:8080"} {
		p := newPhone(t)
		p.set("global", "http_proxy", value)
		j := open(t, t.TempDir(), p)
		if err := j.Change(within(t), p.device(), changes[1]); err != nil {
			t.Fatal(err)
		}
		if note := j.Pending()[0].Note; !strings.Contains(note, value) {
			t.Errorf("the note does not say so: %q", note)
		}
		if err := j.Undo(within(t), p.device()); err != nil {
			t.Error(err)
		}
		if got := present(p); len(got) != 0 {
			t.Errorf("settings are %v", got)
		}
	}
	// Somebody else's proxy is put back.
	p := newPhone(t)
	p.set("global", "http_proxy", "10.0.0.1:3128")
	j := open(t, t.TempDir(), p)
	if err := j.Change(within(t), p.device(), changes[1]); err != nil {
		t.Fatal(err)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
	if got := p.settings()["global/http_proxy"]; got != "10.0.0.1:3128" {
		t.Errorf("got %q", got)
	}
}

func TestReverseOfSomebodyElseIsPutBack(t *testing.T) {
	p := newPhone(t)
	p.reverses[8080] = 7000
	j := open(t, t.TempDir(), p)
	if err := j.Change(within(t), p.device(), changes[0]); err != nil {
		t.Fatal(err)
	}
	if got := p.tunnels(); got[8080] != 9000 {
		t.Errorf("got %v", got)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
	if got := p.tunnels(); !reflect.DeepEqual(got, map[int]int{8080: 7000}) {
		t.Errorf("got %v", got)
	}
}

// A journal that was cut anywhere is read as far as it goes, and says so.
func TestCutJournal(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	for _, c := range changes[:2] {
		if err := j.Change(within(t), p.device(), c); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	// The two lines of the second change are cut: that it was made is the last.
	whole = whole[:bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1]
	first := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := first + 1; cut < len(whole); cut++ {
		if err := os.WriteFile(j.Path(), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		j := open(t, dir, p)
		complete := cut == len(whole)-1 // Only the line break is missing.
		if got := len(j.Pending()); got != 1 && !complete {
			t.Fatalf("cut at %d: %d pending", cut, got)
		}
		if got := len(j.Damage()) == 1; got == complete {
			t.Fatalf("cut at %d: damage %v", cut, j.Damage())
		}
	}
	// A write after a cut line is not swallowed by it.
	if err := os.WriteFile(j.Path(), whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, p)
	if err := j.Change(within(t), p.device(), changes[2]); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir, p)
	if got := j.Pending(); len(got) != 2 || !strings.Contains(got[0].What, "screen_off_timeout") {
		t.Errorf("got %v", got)
	}
	// The damaged line was about the proxy: only a sweep can find it.
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Error(err)
	}
	if got := present(p); len(got) != 0 {
		t.Errorf("settings are %v", got)
	}
	if got := open(t, dir, p).Damage(); len(got) != 0 {
		t.Errorf("the damage is reported for ever: %v", got)
	}
	if kept, err := filepath.Glob(j.Path() + ".damaged-*"); err != nil || len(kept) != 1 {
		t.Errorf("the damaged file was not kept: %v, %v", kept, err)
	}
}

func TestForeignAndNewerRecords(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	path := open(t, dir, p).Path()
	newer := `{"format":1,"serial":"SIM0001","op":"change","id":1,"kind":"volume","what":"volume was 3","by_hand":"turn it up","undo":{}}` + "\n"
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	err := open(t, dir, p).Undo(within(t), p.device())
	var left *devices.UndoError
	if !errors.As(err, &left) || !strings.Contains(err.Error(), "turn it up") {
		t.Errorf("a change of an unknown kind was forgotten: %v", err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(newer, "SIM0001", "OTHER")+newer), 0o600); err != nil {
		t.Fatal(err)
	}
	if j := open(t, dir, p); len(j.Damage()) != 1 || len(j.Pending()) != 1 {
		t.Errorf("damage %v, pending %v", j.Damage(), j.Pending())
	}
	j := open(t, dir, p)
	if err := j.Undo(within(t), devices.Open(p.addr, "OTHER")); err == nil {
		t.Error("a journal was applied to another phone")
	}
}

func TestJournalStartsAnewWhenOnlyHistoryIsLeft(t *testing.T) {
	p, dir := newPhone(t), t.TempDir()
	j := open(t, dir, p)
	if err := j.Change(within(t), p.device(), changes[0]); err != nil {
		t.Fatal(err)
	}
	if err := j.Undo(within(t), p.device()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(j.Path(), bytes.Repeat(b, 2000), 0o600); err != nil {
		t.Fatal(err)
	}
	if j = open(t, dir, p); len(j.Pending()) != 0 {
		t.Errorf("pending %v", j.Pending())
	}
	if _, err := os.Stat(j.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the history goes on: %v", err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"format":1,"serial":"S","op":"change","id":1,"kind":"setting","what":"x","undo":{"namespace":"global","key":"http_proxy","value":"localhost:1","old":null}}` + "\n"))
	f.Add([]byte(`{"format":1,"serial":"S","op":"undone","id":1}` + "\n" + `{"for`))
	f.Fuzz(func(t *testing.T, b []byte) {
		pending, damage, err := devices.ReadJournal(bytes.NewReader(b), "S")
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(b)) > 0 && pending == 0 && len(damage) == 0 && !bytes.Contains(b, []byte("undone")) && !bytes.Contains(b, []byte("made")) {
			t.Error("content without meaning went unreported")
		}
	})
}
