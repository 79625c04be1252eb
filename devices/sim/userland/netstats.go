package userland

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// netstats are the network statistics that a phone keeps: what the counters of
// the kernel had grown by at each poll, by interface, user and whether the app
// was in front, in buckets of time. They survive a reboot; between two polls
// they do not grow.
type netstats struct {
	mu      sync.Mutex
	seen    map[statsKey]Counters // the kernel's counters at the last poll
	history map[statsKey][]bucket
}

// A statsKey is one row; uid -1 is the whole interface.
type statsKey struct {
	iface string
	uid   int
	front bool
}

type bucket struct {
	start time.Time
	Counters
}

const (
	deviceBucket = time.Hour
	userBucket   = 2 * time.Hour
	everyUser    = -1
)

func newNetstats() *netstats {
	return &netstats{seen: map[statsKey]Counters{}, history: map[statsKey][]bucket{}}
}

// poll adds what the counters have grown by.
func (s *System) pollNetstats() {
	n := s.netstats
	n.mu.Lock()
	defer n.mu.Unlock()
	now := s.Now()
	front, _, _ := strings.Cut(s.cfg.Screen.Focus(), "/")
	frontUID := -2
	if p := s.pkg(front); p != nil {
		frontUID = p.UID
	}
	add := func(key statsKey, to Counters, front bool, size time.Duration) {
		grown := to.since(n.seen[key])
		n.seen[key] = to
		if grown == (Counters{}) {
			return
		}
		key.front = front
		list := n.history[key]
		start := now.Truncate(size)
		if len(list) == 0 || list[len(list)-1].start != start {
			list = append(list, bucket{start: start})
		}
		last := &list[len(list)-1]
		last.Counters = last.plus(grown)
		n.history[key] = list
	}
	for _, i := range s.cfg.Network.Interfaces() {
		if i.Name != "lo" {
			add(statsKey{iface: i.Name, uid: everyUser}, i.Counters, false, deviceBucket)
		}
	}
	for iface, users := range s.cfg.Network.UIDCounters() {
		if iface == "lo" {
			continue
		}
		for uid, c := range users {
			add(statsKey{iface: iface, uid: uid}, c, uid == frontUID, userBucket)
		}
	}
}

// since is what counters have grown by. Counters that fell began anew.
func (c Counters) since(was Counters) Counters {
	if c.RxBytes < was.RxBytes || c.TxBytes < was.TxBytes {
		return c
	}
	return Counters{
		RxBytes: c.RxBytes - was.RxBytes, RxPackets: c.RxPackets - was.RxPackets,
		TxBytes: c.TxBytes - was.TxBytes, TxPackets: c.TxPackets - was.TxPackets,
	}
}

func (c Counters) plus(more Counters) Counters {
	return Counters{
		RxBytes: c.RxBytes + more.RxBytes, RxPackets: c.RxPackets + more.RxPackets,
		TxBytes: c.TxBytes + more.TxBytes, TxPackets: c.TxPackets + more.TxPackets,
	}
}

// statsIdent names a network in the statistics of Android 9 and 10.
func statsIdent(iface string) string {
	switch {
	case strings.HasPrefix(iface, "wlan"):
		return `{type=WIFI, subType=COMBINED, networkId="` + networkName + `", metered=false, defaultNetwork=true}`
	case strings.HasPrefix(iface, "rmnet"):
		return `{type=MOBILE, subType=COMBINED, subscriberId=208150..., metered=true, defaultNetwork=false}`
	}
	return `{type=VPN, subType=COMBINED, metered=false, defaultNetwork=false}`
}

// dumpNetstats is dumpsys netstats [--poll | [--full] detail].
func (s *System) dumpNetstats(args []string) string {
	has := func(word string) bool { return slices.Contains(args, word) || slices.Contains(args, "--"+word) }
	if has("poll") {
		s.pollNetstats()
		return "Forced poll\n"
	}
	var b strings.Builder
	for _, title := range []string{"Active interfaces:", "Active UID interfaces:"} {
		b.WriteString(title + "\n")
		for _, i := range s.cfg.Network.Interfaces() {
			if i.Name != "lo" && i.Up {
				fmt.Fprintf(&b, "  iface=%s ident=[%s]\n", i.Name, statsIdent(i.Name))
			}
		}
	}
	n := s.netstats
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(n.history), func(x, y statsKey) int {
		return cmp.Or(cmp.Compare(y.iface, x.iface), cmp.Compare(x.uid, y.uid), cmp.Compare(oneIf(x.front), oneIf(y.front)))
	})
	head := "  History since boot:\n"
	if has("full") {
		head = "  Complete history:\n"
	}
	section := func(title string, size time.Duration, tag string, shown func(statsKey) bool) {
		b.WriteString(title + "\n  Pending bytes: 0\n" + head)
		for _, key := range keys {
			if !shown(key) {
				continue
			}
			set := "DEFAULT"
			switch {
			case key.uid == everyUser:
				set = "ALL"
			case key.front:
				set = "FOREGROUND"
			}
			fmt.Fprintf(&b, "  ident=[%s] uid=%d set=%s tag=%s\n    NetworkStatsHistory: bucketDuration=%d\n", statsIdent(key.iface), key.uid, set, tag, int(size.Seconds()))
			for _, bucket := range n.history[key] {
				fmt.Fprintf(&b, "      st=%d rb=%d rp=%d tb=%d tp=%d op=0\n", bucket.start.Unix(), bucket.RxBytes, bucket.RxPackets, bucket.TxBytes, bucket.TxPackets)
			}
		}
	}
	whole := func(k statsKey) bool { return k.uid == everyUser }
	section("Dev stats:", deviceBucket, "0x0", whole)
	section("Xt stats:", deviceBucket, "0x0", whole)
	if has("detail") || has("uid") {
		section("UID stats:", userBucket, "0x0", func(k statsKey) bool { return k.uid != everyUser })
	}
	if has("detail") || has("tag") {
		// The connections of one app are tagged by it, all of them.
		section("UID tag stats:", userBucket, "0xffffff82", func(k statsKey) bool { return k.uid == taggedUID })
	}
	return b.String()
}

// dumpNetd is dumpsys netd trafficcontroller of Android 10, whose kernel counts by
// BPF: of its maps those that tell what each user moved over all interfaces.
func (s *System) dumpNetd(args []string) string {
	if !s.cfg.Identity.Ten() || !slices.Contains(args, "trafficcontroller") {
		return "\n"
	}
	totals := map[int]Counters{}
	for _, users := range s.cfg.Network.UIDCounters() {
		for uid, c := range users {
			totals[uid] = totals[uid].plus(c)
		}
	}
	var b strings.Builder
	b.WriteString("\n  TrafficController\n    BPF module status: ON\n\n    mAppUidStatsMap status: OK\n\n    mAppUidStatsMap::\n    uid rxBytes rxPackets txBytes txPackets\n")
	for _, uid := range slices.Sorted(maps.Keys(totals)) {
		c := totals[uid]
		fmt.Fprintf(&b, "    %d %d %d %d %d\n", uid, c.RxBytes, c.RxPackets, c.TxBytes, c.TxPackets)
	}
	b.WriteString("\n    mStatsMapA:\n    ifaceIndex ifaceName tag_hex uid_int cnt_set rxBytes rxPackets txBytes txPackets\n")
	return b.String()
}

// taggedUID is the app that tags its connections: Google's.
const taggedUID = 10021
