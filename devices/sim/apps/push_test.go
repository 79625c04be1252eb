package apps_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/apps"
	"github.com/offproof/offproof/devices/sim/internet"
	"github.com/offproof/offproof/devices/sim/web"
)

// world is a phone on an internet with the weather's server.
func world(t *testing.T) (*internet.Internet, *internet.Stack, *x509.CertPool) {
	t.Helper()
	n, err := internet.New(context.Background(), internet.Config{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := web.Register(n, web.Options{Pace: 0.001}); err != nil {
		t.Fatal(err)
	}
	stack, err := n.Attach(internet.StackConfig{Name: "phone"})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(n.Roots()) {
		t.Fatal("no roots")
	}
	return n, stack, roots
}

func wait(t *testing.T, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatal("it never came so")
		case <-tick.C:
		}
	}
}

func TestPushHoldsOneConnection(t *testing.T) {
	n, stack, roots := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		apps.Push(ctx, apps.PushConfig{Network: stack, Roots: roots, Pace: 0.001})
	}()
	sent := func() int64 { return int64(stack.UIDCounters()[apps.WeatherUID].TxBytes) }
	established := func() bool {
		for _, s := range stack.Sockets() {
			if s.UID == apps.WeatherUID && s.Remote.Port() == 443 {
				return true
			}
		}
		return false
	}
	wait(t, established)
	first := sent()
	wait(t, func() bool { return sent() > first+2000 })
	connections := func() int {
		count := 0
		for _, c := range n.Ledger().Connections() {
			if c.Host == web.Weather && c.TLS && c.Failure == "" {
				count++
			}
		}
		return count
	}
	// The ledger hears of a connection a little after the phone has used it.
	wait(t, func() bool { return connections() > 0 })
	if connections() != 1 || !established() {
		t.Errorf("%d connections, still open: %v; want one", connections(), established())
	}

	// When the network goes away and comes back, so does the connection.
	stack.SetUp(false)
	stack.SetUp(true)
	again := sent()
	wait(t, func() bool { return sent() > again+2000 })
	cancel()
	<-done
}

// broken is a network without a way out.
type broken struct{ tries atomic.Int64 }

func (b *broken) Dial(context.Context, int, string, string) (net.Conn, error) {
	b.tries.Add(1)
	return nil, errors.New("no way out")
}

func TestPushTriesAgainUntilItIsTold(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var b broken
	done := make(chan struct{})
	go func() {
		defer close(done)
		apps.Push(ctx, apps.PushConfig{Network: &b, Retry: time.Millisecond})
	}()
	wait(t, func() bool { return b.tries.Load() > 3 })
	cancel()
	<-done
}

func TestPushPinsItsServer(t *testing.T) {
	n, stack, _ := world(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		apps.Push(ctx, apps.PushConfig{Network: stack, Roots: x509.NewCertPool(), Retry: time.Millisecond})
	}()
	failures := func() int {
		count := 0
		for _, c := range n.Ledger().Connections() {
			if c.Host == web.Weather && c.Failure != "" {
				count++
			} else if c.Host == web.Weather {
				t.Error("a certificate of an unknown authority was taken")
			}
		}
		return count
	}
	wait(t, func() bool { return failures() > 1 })
	cancel()
	<-done
}
