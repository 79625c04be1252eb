package devices_test

import (
	"testing"
	"time"
)

const guarded = "127.0.0.1:18080"

// TestProxyGoesWithItsHost sets a proxy under a guard and has the host go away:
// nobody leases the phone again, and it reaches the network all the same.
func TestProxyGoesWithItsHost(t *testing.T) {
	t.Parallel()
	_, p, d := world(t)
	set := func() bool {
		_, ok := p.Settings()["global/http_proxy"]
		return ok
	}
	gone := func(what string) {
		t.Helper()
		if inTime(t, func() bool { return !set() && len(p.Truth().Processes) == 0 }) {
			return
		}
		t.Errorf("%s: the proxy is %q, and %q run", what, p.Settings()["global/http_proxy"], p.Truth().Processes)
	}
	was := p.Settings()
	put := func() {
		t.Helper()
		if _, err := d.Output(t.Context(), "settings", "put", "global", "http_proxy", guarded); err != nil {
			t.Fatal(err)
		}
	}

	// The guard that is let go looks at nothing.
	g, err := d.GuardProxy(t.Context(), guarded)
	if err != nil {
		t.Fatal(err)
	}
	put()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if !set() {
		t.Error("a guard that was let go took the proxy away")
	}

	// The cable is pulled.
	if _, err = d.GuardProxy(t.Context(), guarded); err != nil {
		t.Fatal(err)
	}
	if err := p.Fault(t.Context(), "unplug", ""); err != nil {
		t.Fatal(err)
	}
	gone("the cable was pulled")
	if err := p.Fault(t.Context(), "replug", ""); err != nil {
		t.Fatal(err)
	}
	for key, value := range p.Settings() {
		if was[key] != value {
			t.Errorf("%s was %q and is %q", key, was[key], value)
		}
	}

	// Somebody else's proxy is left alone.
	if g, err = d.GuardProxy(t.Context(), guarded); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close() }()
	if _, err := d.Output(t.Context(), "settings", "put", "global", "http_proxy", "proxy.example:3128"); err != nil {
		t.Fatal(err)
	}
	if err := p.Fault(t.Context(), "stale", ""); err != nil {
		t.Fatal(err)
	}
	if !inTime(t, func() bool { return len(p.Truth().Processes) == 0 }) {
		t.Error("the guard does not end")
	}
	if is := p.Settings()["global/http_proxy"]; is != "proxy.example:3128" {
		t.Errorf("another proxy became %q", is)
	}
}

// inTime looks until something is so, and says whether it came to be so.
func inTime(t *testing.T, so func() bool) bool {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
	return true
}
