package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/devices/android"
)

// What an app sends through a VPN of the phone's own leaves by sockets of the
// VPN's app. How much these sent is asked of the kernel's counters by user id,
// and never of `dumpsys netstats detail`: the statistics service moves what a VPN
// carried to the apps, as far as the tunnel's own counts go (NetworkStats.migrateTun
// of AOSP), so that neither number is left as it was counted.
const (
	// sourceQtaguid is /proc/net/xt_qtaguid/stats, by user id and interface: phones
	// up to Android 9 whose kernel has the module. Segments that the network card
	// cuts count as one packet there.
	sourceQtaguid = "xt_qtaguid"
	// sourceNetd is `dumpsys netd trafficcontroller` (TrafficController.cpp of AOSP's
	// netd): in Android 9 the map mUidStatsMap, by user id and interface, and in 10
	// to 12 mAppUidStatsMap. sourceNetstats is `dumpsys netstats` of 13 and later
	// with the latter, by user id over all interfaces, loopback and the tunnel too:
	// the programs in bpf_progs/netd.c of AOSP's Connectivity module count whatever a
	// socket sends, cut segments with their headers.
	sourceNetd     = "netd"
	sourceNetstats = "netstats"
)

const (
	// steadyTries is how often the counters are read until nothing is under way.
	steadyTries = 10
	// steadyPause is how long a packet may be on its way from its socket's counter
	// to the interface's, and lies between two readings.
	steadyPause = 25 * time.Millisecond
)

// counters reads what left by each interface, and what the app of an instrument's
// VPN sent, at a moment when nothing was under way. offset is how far the phone's
// clock is ahead of the host's.
func (b *bench) counters(ctx context.Context, offset time.Duration) (*Counters, error) {
	t := b.vpn()
	if t == nil {
		return b.interfaces(ctx, offset)
	}
	for try := 1; ; try++ {
		first := b.carried(ctx, t)
		before, err := b.interfaces(ctx, offset)
		if err != nil {
			return nil, err
		}
		if err := sleep(ctx, steadyPause); err != nil {
			return nil, err
		}
		out, err := b.interfaces(ctx, offset)
		if err != nil {
			return nil, err
		}
		second := b.carried(ctx, t)
		second.Steady = second.Why == "" && first.same(second) && maps.Equal(before.Sent, out.Sent) && maps.Equal(before.Packets, out.Packets)
		if out.Carried = &second; second.Steady || second.Why != "" || try == steadyTries {
			return out, nil
		}
	}
}

// vpn is the instrument that is the phone's VPN, nil where none is.
func (b *bench) vpn() capture.Tunnel {
	for _, s := range b.sessions {
		if t, ok := s.Session.(capture.Tunnel); ok {
			return t
		}
	}
	return nil
}

// interfaces reads what left by each interface but loopback.
func (b *bench) interfaces(ctx context.Context, offset time.Duration) (*Counters, error) {
	c, err := b.p.Device.Counters(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the interface counters: %w", err)
	}
	out := &Counters{From: c.Before.Add(-offset), To: c.After.Add(-offset), Sent: map[string]int64{}, Packets: map[string]int64{}}
	for name, i := range c.Interfaces {
		if name == "lo" {
			continue
		}
		// The kernel counts the link header; capture counts IP bytes.
		link := int64(ethernetHeader)
		if bare(name) {
			link = 0
		}
		out.Packets[name] = int64(i.TxPackets)                      //nolint:gosec // Counters of one interface stay far below 2^63.
		out.Sent[name] = int64(i.TxBytes) - link*int64(i.TxPackets) //nolint:gosec // As above.
	}
	return out, nil
}

// ethernetHeader is the bytes of an Ethernet header without a VLAN tag.
const ethernetHeader = 14

// bare says whether an interface carries IP without a link header: modems and
// tunnels do.
func bare(name string) bool {
	for _, prefix := range []string{"rmnet", "ccmni", "tun", "ppp", "wg", "clat", "v4-", "dummy"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// carried asks the phone what the sockets of a VPN's app have sent. That it cannot
// be said is an answer.
func (b *bench) carried(ctx context.Context, t capture.Tunnel) Carried {
	uid, err := b.uidOf(t.Via())
	if err != nil {
		return Carried{Tunnel: t.Tunnel(), Why: err.Error()}
	}
	var whys []string
	for _, s := range []struct{ source, script string }{
		{sourceQtaguid, "cat /proc/net/xt_qtaguid/stats"},
		{sourceNetd, "dumpsys netd trafficcontroller"},
		{sourceNetstats, "dumpsys netstats"},
	} {
		if b.counts != "" && b.counts != s.source {
			continue
		}
		res, err := b.p.Device.Script(ctx, s.script)
		if err == nil && res.Exit != 0 {
			err = errors.New(strings.TrimSpace(string(res.Stderr)))
		}
		c := Carried{Source: s.source, Tunnel: t.Tunnel(), UID: uid}
		if err == nil {
			err = c.read(string(res.Stdout))
		}
		if err == nil {
			b.counts = s.source
			return c
		}
		whys = append(whys, fmt.Sprintf("%s: %v", s.script, err))
	}
	return Carried{Tunnel: t.Tunnel(), UID: uid, Why: strings.Join(whys, "; ")}
}

// uidOf is the user id of an app, as the phone named it before the first window.
func (b *bench) uidOf(name string) (int, error) {
	var uids []int
	for uid, names := range b.apps {
		if slices.Contains(names, name) {
			uids = append(uids, uid)
		}
	}
	if len(uids) != 1 {
		return 0, fmt.Errorf("%d user ids have the app %s", len(uids), name)
	}
	return uids[0], nil
}

// read takes the counts out of what the phone's source printed.
func (c *Carried) read(text string) error {
	if c.Source == sourceQtaguid {
		return c.readRows(text)
	}
	if _, rows, ok := strings.Cut(text, "mUidStatsMap:\n"); ok && c.Source == sourceNetd {
		return c.readMap(rows)
	}
	// Android 11 writes the name with two colons.
	users, err := android.ParseUIDMap(strings.ReplaceAll(text, "mAppUidStatsMap::", "mAppUidStatsMap:"))
	if err != nil {
		return err
	}
	use, ok := users[c.UID]
	if !ok {
		return fmt.Errorf("it does not list user id %d", c.UID)
	}
	c.Bytes, c.Packets = int64(use.TxBytes), int64(use.TxPackets) //nolint:gosec // They are read with 63 bits.
	if c.Bytes > most || c.Packets > most {
		return fmt.Errorf("user id %d sent more than can be", c.UID)
	}
	return nil
}

// readMap reads the rows of Android 9's map, which have the columns of xt_qtaguid
// with an interface's index before them.
func (c *Carried) readMap(text string) error {
	head, rest, _ := strings.Cut(text, "\n")
	if strings.Join(strings.Fields(head), " ") != "ifaceIndex ifaceName tag_hex uid_int cnt_set rxBytes rxPackets txBytes txPackets" {
		return fmt.Errorf("mUidStatsMap has other columns: %w", android.ErrFormat)
	}
	rows := strings.Builder{}
	rows.WriteString("idx iface acct_tag_hex uid_tag_int cnt_set rx_bytes rx_packets tx_bytes tx_packets\n")
	for line := range strings.Lines(rest) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			return c.readRows(rows.String())
		}
		// An interface without a name may be the tunnel or loopback.
		if len(fields) > 1 && fields[1] == "unknown" {
			return errors.New("it does not name every interface")
		}
		rows.WriteString(line)
	}
	return fmt.Errorf("mUidStatsMap has no end: %w", android.ErrFormat)
}

func (c *Carried) readRows(text string) error {
	rows, err := android.ParseQtaguid(text)
	if err != nil {
		return err
	}
	c.Others = map[int]int64{}
	listed := false
	for _, row := range rows {
		n, packets := int64(row.TxBytes), int64(row.TxPackets) //nolint:gosec // They are read with 63 bits.
		if max(n, packets, c.Bytes, c.Packets, c.Others[row.UID]) > most {
			return fmt.Errorf("user id %d sent more by %s than can be", row.UID, row.Interface)
		}
		switch {
		case row.UID == c.UID:
			listed = true
			if row.Interface != "lo" && row.Interface != c.Tunnel {
				c.Bytes, c.Packets = c.Bytes+n, c.Packets+packets
			}
		case row.Interface != "lo" && row.Interface != c.Tunnel && n > 0:
			c.Others[row.UID] += n
		}
	}
	if !listed {
		return fmt.Errorf("it does not list user id %d", c.UID)
	}
	return nil
}

// same says whether two readings agree.
func (c Carried) same(d Carried) bool {
	return c.Source == d.Source && c.UID == d.UID && c.Bytes == d.Bytes && c.Packets == d.Packets && maps.Equal(c.Others, d.Others)
}
