package android

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Usage is what the kernel or the system counted for one user id: IP bytes and
// packets, without link headers.
type Usage struct {
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
}

// add sums two usages; ok is false where a sum does not fit.
func (u Usage) add(v Usage) (sum Usage, ok bool) {
	sum = Usage{u.RxBytes + v.RxBytes, u.RxPackets + v.RxPackets, u.TxBytes + v.TxBytes, u.TxPackets + v.TxPackets}
	return sum, sum.RxBytes >= u.RxBytes && sum.RxPackets >= u.RxPackets && sum.TxBytes >= u.TxBytes && sum.TxPackets >= u.TxPackets
}

// A QtagRow is one line of /proc/net/xt_qtaguid/stats (Android 4.0 to 9): what a
// user id moved over one interface since boot, in one of the counter sets
// (0 background, 1 foreground).
type QtagRow struct {
	Interface string `json:"interface"`
	UID       int    `json:"uid"`
	Set       int    `json:"set"`
	Usage
}

// ParseQtaguid reads /proc/net/xt_qtaguid/stats. Rows of a tag other than 0 are
// left out: they are counted in the row of tag 0 too. A user id that has no row
// moved nothing that was counted, or is hidden from the reader. A line that
// cannot be read is an error, because sums without it would be wrong.
func ParseQtaguid(text string) ([]QtagRow, error) {
	fail := func(line string) error {
		return fmt.Errorf("android: read xt_qtaguid: line %q: %w", shorten(line), ErrFormat)
	}
	var rows []QtagRow
	seen := map[string]bool{}
	header := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if strings.HasPrefix(line, "idx iface acct_tag_hex uid_tag_int cnt_set rx_bytes rx_packets tx_bytes tx_packets") {
			header = true
			continue
		}
		const least = 9
		if !header || len(fields) < least {
			return nil, fail(line)
		}
		uid, set := number[int](fields[3]), number[int](fields[4])
		use, ok := usage(fields[5], fields[6], fields[7], fields[8])
		if !ok || uid == nil || *uid < 0 || set == nil || !strings.HasPrefix(fields[2], "0x") || len(rows) >= maxEntries {
			return nil, fail(line)
		}
		if fields[2] != "0x0" {
			continue
		}
		key := strings.Join(fields[1:5], " ")
		if seen[key] {
			return nil, fail(line)
		}
		seen[key] = true
		rows = append(rows, QtagRow{Interface: fields[1], UID: *uid, Set: *set, Usage: use})
	}
	if !header {
		return nil, fmt.Errorf("android: read xt_qtaguid: no header: %w", ErrFormat)
	}
	return rows, nil
}

func usage(rxBytes, rxPackets, txBytes, txPackets string) (u Usage, ok bool) {
	for _, n := range []struct {
		text string
		into *uint64
	}{{rxBytes, &u.RxBytes}, {rxPackets, &u.RxPackets}, {txBytes, &u.TxBytes}, {txPackets, &u.TxPackets}} {
		v, err := strconv.ParseUint(n.text, 10, 63)
		if err != nil {
			return Usage{}, false
		}
		*n.into = v
	}
	return u, true
}

// ParseUIDMap reads the map of user ids in `dumpsys netstats` of Android 13 and
// later: what each moved since boot, over all interfaces. A user id that is not in
// it is unknown, and not at zero. The map's name comes twice, first in a list of
// states; the one with the columns counts.
func ParseUIDMap(text string) (map[int]Usage, error) {
	const name, columns = "mAppUidStatsMap:", "uid rxBytes rxPackets txBytes txPackets"
	out := map[int]Usage{}
	named, inside, found := false, false, false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		fields := strings.Fields(line)
		switch {
		case !inside && line == name:
			named = true
			continue
		case named && strings.Join(fields, " ") == columns:
			if found {
				return nil, fmt.Errorf("android: read %s it comes twice: %w", name, ErrFormat)
			}
			inside, found = true, true
		case !inside:
		case len(fields) == 5 && strings.Trim(fields[0], "0123456789") == "":
			uid := number[int](fields[0])
			use, ok := usage(fields[1], fields[2], fields[3], fields[4])
			if _, twice := out[*orZero(uid)]; !ok || uid == nil || twice || len(out) >= maxEntries {
				return nil, fmt.Errorf("android: read %s line %q: %w", name, shorten(line), ErrFormat)
			}
			out[*uid] = use
		case line == "", strings.HasSuffix(line, ":"):
			inside = false
		default:
			return nil, fmt.Errorf("android: read %s line %q: %w", name, shorten(line), ErrFormat)
		}
		named = named && line == name
	}
	if !found {
		return nil, fmt.Errorf("android: read netstats: no %s with its columns (Android 13 and later have it): %w", name, ErrFormat)
	}
	return out, nil
}

func orZero(n *int) *int {
	if n == nil {
		return new(int)
	}
	return n
}

// A NetHistory is what the system remembers of one user id on one kind of
// network: buckets of time, oldest first.
type NetHistory struct {
	// Network is wifi, mobile, ethernet, bluetooth, vpn, or empty for one that is
	// not said or not known; Ident is the phone's own description.
	Network string      `json:"network,omitempty"`
	Ident   string      `json:"ident"`
	UID     int         `json:"uid"`
	Set     string      `json:"set"` // DEFAULT, FOREGROUND
	Length  int64       `json:"bucket_seconds"`
	Buckets []NetBucket `json:"buckets,omitempty"`
}

// A NetBucket is what was moved in one stretch of time.
type NetBucket struct {
	Start time.Time `json:"start"`
	Usage
}

// Total sums the buckets; ok is false where the sum does not fit.
func (h NetHistory) Total() (sum Usage, ok bool) {
	for _, b := range h.Buckets {
		if sum, ok = sum.add(b.Usage); !ok {
			return Usage{}, false
		}
	}
	return sum, true
}

// ParseNetstats reads the section "UID stats" of `dumpsys netstats detail`, in the
// three ways in which Android 8 to 15 describe a network. What is counted under
// a tag is left out, because it is counted without it too. What went through a VPN
// is told apart (Network "vpn"): the VPN's own traffic is counted as well. An entry
// that cannot be read is an error, because sums without it would be wrong.
func ParseNetstats(text string) ([]NetHistory, error) {
	fail := func(line string) error {
		return fmt.Errorf("android: read netstats: line %q: %w", shorten(line), ErrFormat)
	}
	var all []NetHistory
	inside, found, skip := false, false, true
	for raw := range strings.Lines(text) {
		line := strings.TrimSpace(raw)
		switch {
		case line == "":
		case strings.HasSuffix(line, " stats:"):
			inside, skip = line == "UID stats:", true
			if inside && found {
				return nil, fmt.Errorf("android: read netstats: a second section %q: %w", line, ErrFormat)
			}
			found = found || inside
		case !inside:
		case strings.HasPrefix(line, "ident="):
			h, tag, ok := netIdent(line)
			if !ok || len(all) >= maxEntries {
				return nil, fail(line)
			}
			if skip = tag != 0; !skip {
				all = append(all, h)
			}
		case strings.HasPrefix(line, "NetworkStatsHistory: bucketDuration="):
			n := number[int64](strings.TrimPrefix(line, "NetworkStatsHistory: bucketDuration="))
			if n == nil || *n <= 0 {
				return nil, fail(line)
			}
			if !skip {
				all[len(all)-1].Length = *n
			}
		case strings.HasPrefix(line, "(omitting "):
			return nil, fmt.Errorf("android: read netstats: the phone left buckets out, so that sums would be wrong: ask for `dumpsys netstats detail --full`: %w", ErrFormat)
		case strings.HasPrefix(line, "st="):
			b, ok := netBucket(line)
			if !ok {
				return nil, fail(line)
			}
			if !skip {
				h := &all[len(all)-1]
				if h.Buckets = append(h.Buckets, b); len(h.Buckets) > maxEntries {
					return nil, fail(line)
				}
			}
		case strings.HasPrefix(line, "bucketStart="):
			return nil, fail(line) // Android 4: times in another unit.
		case raw[0] != ' ' && raw[0] != '\t':
			inside = false // Another part of the dump.
		}
	}
	if !found {
		return nil, fmt.Errorf("android: read netstats: no section \"UID stats:\" (it comes with `dumpsys netstats detail`): %w", ErrFormat)
	}
	return all, nil
}

// netIdent reads ident=[{...}] uid=N set=S tag=0x0.
func netIdent(line string) (h NetHistory, tag uint64, ok bool) {
	ident, rest, found := cutLast(strings.TrimPrefix(line, "ident="), "] uid=")
	fields := strings.Fields(rest)
	if !found || len(fields) < 3 {
		return h, 0, false
	}
	uid := number[int](fields[0])
	set, ok1 := strings.CutPrefix(fields[1], "set=")
	hex, ok2 := strings.CutPrefix(fields[2], "tag=0x")
	tag, err := strconv.ParseUint(hex, 16, 64)
	if uid == nil || !ok1 || !ok2 || err != nil {
		return h, 0, false
	}
	return NetHistory{Network: networkOf(ident), Ident: ident + "]", UID: *uid, Set: set}, tag, true
}

// networkOf is the kind of a network in the words of the platform: the type by
// name until Android 11 and by number from 12 on (ConnectivityManager's), or the
// transports by number (NetworkCapabilities').
func networkOf(ident string) string {
	kinds := func(list map[string]string, values []string) string {
		kind := ""
		for _, v := range values {
			k := list[strings.TrimSpace(v)]
			if k == "vpn" {
				return k // It is what was counted, whatever carries it.
			}
			if kind == "" {
				kind = k
			}
		}
		return kind
	}
	ident = unquoted(ident) // The name of a network is anybody's text.
	if _, rest, ok := strings.Cut(ident, "transports={"); ok {
		numbers := strings.FieldsFunc(before(rest, "}"), func(r rune) bool { return r == ',' || r == ' ' || r == '&' })
		return kinds(map[string]string{"0": "mobile", "1": "wifi", "2": "bluetooth", "3": "ethernet", "4": "vpn"}, numbers)
	}
	var types []string
	for part := range strings.SplitSeq(ident, "{") {
		if kind, ok := strings.CutPrefix(part, "type="); ok {
			types = append(types, before(before(kind, ","), "}"))
		}
	}
	return kinds(map[string]string{
		"MOBILE": "mobile", "WIFI": "wifi", "BLUETOOTH": "bluetooth", "ETHERNET": "ethernet", "VPN": "vpn",
		"0": "mobile", "1": "wifi", "7": "bluetooth", "9": "ethernet", "17": "vpn",
	}, types)
}

// unquoted leaves out what stands between quotation marks.
func unquoted(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 0 {
			b.WriteString(part)
		}
	}
	return b.String()
}

// netBucket reads st=SECONDS rb= rp= tb= tp= op=.
func netBucket(line string) (NetBucket, bool) {
	values := map[string]string{}
	for _, f := range strings.Fields(line) {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return NetBucket{}, false
		}
		values[key] = value
	}
	use, ok := usage(values["rb"], values["rp"], values["tb"], values["tp"])
	st := number[int64](values["st"])
	const latest = 1 << 40
	if !ok || st == nil || *st < 0 || *st > latest {
		return NetBucket{}, false
	}
	return NetBucket{time.Unix(*st, 0).UTC(), use}, true
}
