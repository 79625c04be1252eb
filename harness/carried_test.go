package harness_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness"
)

const (
	qtagHead  = "idx iface acct_tag_hex uid_tag_int cnt_set rx_bytes rx_packets tx_bytes tx_packets rx_tcp_bytes\n"
	qtaguid   = qtagHead + "2 wlan0 0x0 10144 0 1 1 500 5 0\n3 wlan0 0x0 10144 1 1 1 40 1 0\n4 wlan0 0xffffff8200000000 10144 1 1 1 40 1 0\n5 rmnet0 0x0 10144 0 1 1 60 2 0\n6 lo 0x0 10144 0 1 1 9000 9 0\n7 tun0 0x0 10144 0 1 1 700 7 0\n8 tun0 0x0 10123 0 1 1 800 8 0\n9 lo 0x0 10123 0 1 1 800 8 0\n10 wlan0 0x0 10123 0 1 1 30 1 0\n11 wlan0 0x0 10123 1 1 1 31 1 0\n12 wlan0 0x0 0 0 9 9 0 0 0\n"
	uidMap    = "  uid rxBytes rxPackets txBytes txPackets\n  10144 8000 90 %s 61\n  10123 10 1 12 1\n"
	netdMap   = "\n    mAppUidStatsMap status: OK\n\n    mAppUidStatsMap::\n" + uidMap + "\n    mStatsMapA:\n    ifaceIndex ifaceName tag_hex uid_int cnt_set rxBytes rxPackets txBytes txPackets\n"
	oldMap    = "\n  TrafficController\n    BPF module status: ON\n\n    mUidStatsMap status: OK\n\n    mUidStatsMap:\n    ifaceIndex ifaceName tag_hex uid_int cnt_set rxBytes rxPackets txBytes txPackets\n    5 wlan0 0x0 10144 0 1 1 500 5\n    5 wlan0 0x0 10144 1 1 1 40 1\n    9 tun0 0x0 10144 1 1 1 70 1\n    5 wlan0 0x0 10123 1 1 1 61 1\n    1 lo 0x0 10123 1 1 1 90 1\n"
	statsMap  = "  mAppUidStatsMap: OK\n\nmAppUidStatsMap:\n" + uidMap + "mStatsMapA:\n"
	unlimited = "99999999999999999999"
)

// TestCarried reads what phones of every age say of a user id's sockets.
func TestCarried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source, text   string
		bytes, packets int64
		others         map[int]int64
		fails          string
	}{
		{"xt_qtaguid", qtaguid, 600, 8, map[int]int64{10123: 61}, ""},
		{"xt_qtaguid", qtagHead + "2 wlan0 0x0 10123 0 1 1 5 5 0\n", 0, 0, nil, "does not list user id 10144"},
		{"xt_qtaguid", qtagHead + "2 wlan0 0x0 10144 0 1 1 4611686018427387904 5 0\n", 0, 0, nil, "more by wlan0 than can be"},
		{"xt_qtaguid", "cat: /proc/net/xt_qtaguid/stats: Permission denied\n", 0, 0, nil, "unknown format"},
		{"xt_qtaguid", "", 0, 0, nil, "no header"},
		{"netd", fmt.Sprintf(netdMap, "7700"), 7700, 61, nil, ""},
		{"netstats", fmt.Sprintf(statsMap, "7701"), 7701, 61, nil, ""},
		{"netd", oldMap + "\n    mTagStatsMap:\n", 540, 6, map[int]int64{10123: 61}, ""},
		{"netd", oldMap, 0, 0, nil, "has no end"},
		{"netd", oldMap + "    mUidStatsMap print end with error: Bad address\n\n", 0, 0, nil, "unknown format"},
		{"netd", strings.ReplaceAll(oldMap, "tun0", "unknown") + "\n", 0, 0, nil, "not name every interface"},
		{"netd", strings.ReplaceAll(oldMap, "cnt_set", "set") + "\n", 0, 0, nil, "other columns"},
		{"netstats", fmt.Sprintf(statsMap, unlimited), 0, 0, nil, "unknown format"},
		{"netstats", strings.ReplaceAll(fmt.Sprintf(statsMap, "7701"), "10144", "10145"), 0, 0, nil, "does not list user id 10144"},
		{"netd", "Can't find service: netd\n", 0, 0, nil, "mAppUidStatsMap"},
	} {
		got, err := harness.ReadCarried(c.source, "tun0", carrierUID, c.text)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s %q: %v, %v; wanted an error with %q", c.source, c.text, got, err, c.fails)
			}
			continue
		}
		if err != nil || got.Bytes != c.bytes || got.Packets != c.packets || !maps.Equal(got.Others, c.others) {
			t.Errorf("%s: %+v, %v; wanted %d bytes in %d packets, %v", c.source, got, err, c.bytes, c.packets, c.others)
		}
	}
}

// FuzzCarried: no text makes numbers that cannot be.
func FuzzCarried(f *testing.F) {
	f.Add(0, qtaguid)
	f.Add(1, fmt.Sprintf(netdMap, "7700"))
	f.Add(1, oldMap+"\n")
	f.Add(2, fmt.Sprintf(statsMap, unlimited))
	f.Fuzz(func(t *testing.T, source int, text string) {
		if len(text) > 1<<16 {
			return
		}
		names := []string{"xt_qtaguid", "netd", "netstats"}
		c, err := harness.ReadCarried(names[uint(source)%3], "tun0", carrierUID, text)
		if err == nil && (c.Bytes < 0 || c.Packets < 0) {
			t.Errorf("%+v", c)
		}
		for uid, n := range c.Others {
			if n < 0 || uid == carrierUID {
				t.Errorf("user id %d sent %d bytes", uid, n)
			}
		}
	})
}
