package devices_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/adb"
)

// TestRestartIsJournalled restarts a phone that has a tunnel and a proxy: the
// journal knows that, and puts right what a restart does not.
func TestRestartIsJournalled(t *testing.T) {
	_, p, d := world(t)
	dir := t.TempDir()
	j, err := devices.OpenJournal(dir, p.Serial())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []devices.Undoable{
		devices.AddReverse{DevicePort: 8080, HostPort: 4000},
		devices.PutSetting{Namespace: "global", Key: "http_proxy", Value: "localhost:8080"},
	} {
		if err := j.Change(within(t), d, c); err != nil {
			t.Fatal(err)
		}
	}
	before, err := d.Output(within(t), "cat", "/proc/sys/kernel/random/boot_id")
	if err != nil || len(before) != 36 {
		t.Fatalf("boot id %q, %v", before, err)
	}
	if err := j.Change(within(t), d, devices.Restart{Why: "it did not answer", Ask: 5 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if after, err := d.Output(within(t), "cat", "/proc/sys/kernel/random/boot_id"); err != nil || after == before {
		t.Errorf("boot id %q after, %q before, %v", after, before, err)
	}
	if len(p.Reverses()) != 0 || p.Settings()["global/http_proxy"] != "localhost:8080" {
		t.Errorf("a restart keeps settings and no tunnels, not %v and %v", p.Reverses(), p.Settings()["global/http_proxy"])
	}
	// A program that was killed here left a journal that another one reads.
	again, err := devices.OpenJournal(dir, p.Serial())
	if err != nil {
		t.Fatal(err)
	}
	left := again.Pending()
	if len(left) != 3 || left[0].Kind != "restart" || !strings.Contains(left[0].What, "it did not answer") {
		t.Errorf("pending %+v", left)
	}
	if err := p.Fault(within(t), "reboot", ""); err != nil {
		t.Fatal(err)
	}
	if err := again.Undo(within(t), d); err != nil {
		t.Fatal(err)
	}
	if v, ok := p.Settings()["global/http_proxy"]; ok || len(again.Pending()) != 0 {
		t.Errorf("after the undo: http_proxy %q, pending %v", v, again.Pending())
	}
}

func TestRestartOfAPhoneThatIsGone(t *testing.T) {
	_, p, d := world(t)
	j, err := devices.OpenJournal(t.TempDir(), p.Serial())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Fault(within(t), "unplug", ""); err != nil {
		t.Fatal(err)
	}
	var unknown *adb.UnknownError
	if err := j.Change(within(t), d, devices.Restart{Why: "x"}); !errors.As(err, &unknown) {
		t.Errorf("got %v, want the reason", err)
	}
	if left := j.Pending(); len(left) != 1 || left[0].Kind != "restart" {
		t.Errorf("pending %v", left)
	}
}
