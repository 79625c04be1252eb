package devices_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/offproof/offproof/devices"
	"github.com/offproof/offproof/devices/sim"
)

// QUIC is blocked over both kinds of addresses, and the phone's filter is as it was
// afterwards, whatever became of the phone in between.
func TestBlockQUIC(t *testing.T) {
	t.Parallel()
	blocked := []string{
		"ip6tables -A OUTPUT -p udp --dport 443 -j offproof_quic", "ip6tables -A offproof_quic -j REJECT", "ip6tables -N offproof_quic",
		"iptables -A OUTPUT -p udp --dport 443 -j offproof_quic", "iptables -A offproof_quic -j REJECT", "iptables -N offproof_quic",
	}
	for _, c := range []struct {
		name   string
		root   sim.Root
		before string // a script that runs on the phone first, and one in between
		during string
		left   []string
	}{
		{"rooted daemon", sim.RootADBD, ":", ":", nil},
		{"su", sim.RootSU, ":", ":", nil},
		{"left by an earlier run", sim.RootADBD, "iptables -N offproof_quic; iptables -A offproof_quic -j REJECT; iptables -I OUTPUT -p udp --dport 443 -j offproof_quic; iptables -I OUTPUT -p udp --dport 443 -j offproof_quic", ":", nil},
		{"gone meanwhile", sim.RootADBD, ":", "iptables -F OUTPUT; iptables -F offproof_quic; iptables -X offproof_quic", nil},
		{"others' rules stay", sim.RootADBD, "iptables -A OUTPUT -p tcp --dport 25 -j REJECT", ":", []string{"iptables -A OUTPUT -p tcp --dport 25 -j REJECT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7, Phones: []sim.PhoneConfig{{Root: c.root}}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
			p := w.Phones()[0]
			d := devices.Open(w.ADB(), p.Serial())
			j, err := devices.OpenJournal(t.TempDir(), d.Serial())
			if err != nil {
				t.Fatal(err)
			}
			script := func(text string) {
				t.Helper()
				if res, err := d.Script(within(t), text); err != nil || res.Exit != 0 {
					t.Fatalf("%s: %v: %s", text, err, res.Stderr)
				}
			}
			script(c.before)
			if err := j.Change(within(t), d, devices.BlockQUIC{}); err != nil {
				t.Fatal(err)
			}
			for _, rule := range blocked {
				if got := strings.Join(p.Truth().Firewall, "\n"); strings.Count(got, rule) != 1 {
					t.Errorf("%q is not there once:\n%s", rule, got)
				}
			}
			script(c.during)
			if err := j.Undo(within(t), d); err != nil {
				t.Fatal(err)
			}
			if got := p.Truth().Firewall; strings.Join(got, "\n") != strings.Join(c.left, "\n") {
				t.Errorf("left are %q, want %q", got, c.left)
			}
		})
	}
}

func TestBlockQUICNeedsRoot(t *testing.T) {
	t.Parallel()
	w, err := sim.Start(t.Context(), sim.Config{Dir: t.TempDir(), Seed: 7, Phones: []sim.PhoneConfig{{Root: sim.RootNone}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	d := devices.Open(w.ADB(), w.Phones()[0].Serial())
	j, err := devices.OpenJournal(t.TempDir(), d.Serial())
	if err != nil {
		t.Fatal(err)
	}
	var no *devices.NotRootError
	if err := j.Change(within(t), d, devices.BlockQUIC{}); !errors.As(err, &no) {
		t.Errorf("got %v", err)
	}
}
