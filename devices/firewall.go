package devices

import (
	"context"
	"fmt"
	"strings"

	"github.com/offproof/offproof/devices/adb"
)

const kindFirewall = "firewall"

// quicChain is the chain of ours in the phone's packet filter, by whose name what
// is left of an earlier run is known.
const quicChain = "offproof_quic"

// BlockQUIC is the change by which nothing of the phone goes to UDP port 443 any
// more, over IPv4 and IPv6: apps that speak QUIC there fall back to TLS over TCP,
// which goes where the proxy can read it. It needs root, and iptables and
// ip6tables on the phone. A restart of the phone takes it away.
type BlockQUIC struct{}

var _ Undoable = BlockQUIC{}

// firewallUndo needs to know nothing.
type firewallUndo struct{}

// quicPrograms are the packet filters of both kinds of addresses.
func quicPrograms() []string { return []string{"iptables", "ip6tables"} }

// quicJump is the rule that leads into the chain.
const quicJump = "OUTPUT -p udp --dport 443 -j " + quicChain

// filterScript runs a script for both packet filters, in which $f is the program.
// -w waits for whoever else changes the table.
func (d *Device) filterScript(ctx context.Context, script string) error {
	text := "for p in " + strings.Join(quicPrograms(), " ") + "; do f=\"$p -w\"; " + script + " || exit 1; done"
	asRoot, err := d.AsRoot(ctx, text)
	if err != nil {
		return err
	}
	res, err := d.Script(ctx, asRoot)
	if err != nil {
		return err
	}
	return d.check(res, "iptables")
}

// dropQUICRules takes away what there is of the rules.
const dropQUICRules = "{ while $f -C " + quicJump + " 2>/dev/null; do $f -D " + quicJump + " || exit 1; done; " +
	"if $f -F " + quicChain + " 2>/dev/null; then $f -X " + quicChain + "; fi; }"

func (BlockQUIC) prepare(ctx context.Context, d *Device) (undo, error) {
	if _, err := d.AsRoot(ctx, ":"); err != nil {
		return nil, err
	}
	return &firewallUndo{}, nil
}

func (BlockQUIC) apply(ctx context.Context, d *Device, _ undo) error {
	// What an earlier run left without its journal is taken away first.
	if err := d.filterScript(ctx, dropQUICRules); err != nil {
		return fmt.Errorf("block QUIC: %w", err)
	}
	if err := d.filterScript(ctx, "$f -N "+quicChain+" && $f -A "+quicChain+" -j REJECT && $f -I "+quicJump+" && $f -C "+quicJump); err != nil {
		return fmt.Errorf("block QUIC: %w", err)
	}
	return nil
}

func (u *firewallUndo) kind() string { return kindFirewall }
func (u *firewallUndo) note() string { return "" }
func (u *firewallUndo) what() string { return "nothing goes to UDP port 443" }

func (u *firewallUndo) byHand(serial string) string {
	return adb.Quote("adb", "-s", serial, "reboot")
}

func (u *firewallUndo) revert(ctx context.Context, d *Device) error {
	if err := d.filterScript(ctx, dropQUICRules); err != nil {
		return fmt.Errorf("undo %s: %w", u.what(), err)
	}
	return nil
}
