package adb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/adb"
)

func TestReconnectNamesThePhone(t *testing.T) {
	const ask = ">> host-serial:S1:reconnect\n"
	for name, c := range map[string]struct {
		script string
		check  func(error) bool
	}{
		"an offline phone": {ask + "< OKAY\n<< reconnecting\\x20S1\\x20[offline]\\n", func(err error) bool { return err == nil }},
		"a phone that the server does not know": {ask + "< OKAY\n<< device 'S1' not found", func(err error) bool {
			var unknown *adb.UnknownError
			return errors.As(err, &unknown) && unknown.Serial == "S1"
		}},
		"another phone": {ask + "< OKAY\n<< reconnecting\\x20S10\\x20[offline]\\n", func(err error) bool {
			var fail *adb.FailError
			return errors.As(err, &fail)
		}},
		"a server that is too old": {ask + "< FAIL\n<< unknown host service", func(err error) bool {
			var fail *adb.FailError
			return errors.As(err, &fail) && fail.Message == "unknown host service"
		}},
		"a server that dies": {ask, func(err error) bool { return errors.Is(err, adb.ErrNoServer) }},
	} {
		t.Run(name, func(t *testing.T) {
			if err := server(t, c.script).Reconnect(t.Context(), "S1"); !c.check(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	// An empty serial would be "the only phone".
	if err := (&adb.Client{}).Reconnect(t.Context(), ""); err == nil {
		t.Error("an empty serial was accepted")
	}
}

func TestReboot(t *testing.T) {
	const ask = ">> host:transport:S1\n< OKAY\n>> reboot:\n"
	for name, script := range map[string]string{
		"a phone that hangs up":   ask + "< OKAY",
		"a phone that breaks off": ask + "< OKAY\nreset",
	} {
		t.Run(name, func(t *testing.T) {
			if err := server(t, script).Reboot(t.Context(), "S1"); err != nil {
				t.Error(err)
			}
		})
	}
	var fail *adb.FailError
	if err := server(t, ask+"< OKAY\n< reboot\\x20failed:\\x20denied\\n").Reboot(t.Context(), "S1"); !errors.As(err, &fail) || fail.Message == "" {
		t.Errorf("a phone that says why not: got %v", err)
	}
	var lost *adb.LostError
	if err := server(t, ask).Reboot(t.Context(), "S1"); !errors.As(err, &lost) {
		t.Errorf("a phone that is lost before: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := server(t, ask+"< OKAY\nstall").Reboot(ctx, "S1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a phone that stays silent: got %v, want the context's error", err)
	}
}
