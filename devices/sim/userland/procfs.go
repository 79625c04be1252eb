package userland

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/netip"
	"sort"
	"strings"
)

// makeProc makes the files of /proc and /sys whose content is made when they
// are opened.
func (s *System) makeProc() error {
	files := map[string]func() []byte{
		"/proc/net/dev":                func() []byte { return s.procNetDev() },
		"/proc/net/tcp":                func() []byte { return s.procSockets("tcp", false) },
		"/proc/net/tcp6":               func() []byte { return s.procSockets("tcp", true) },
		"/proc/net/udp":                func() []byte { return s.procSockets("udp", false) },
		"/proc/net/udp6":               func() []byte { return s.procSockets("udp", true) },
		"/proc/net/arp":                func() []byte { return s.procARP() },
		"/proc/net/if_inet6":           func() []byte { return s.procInet6() },
		"/proc/uptime":                 func() []byte { u := s.uptime().Seconds(); return fmt.Appendf(nil, "%.2f %.2f\n", u, u*6.1) },
		"/proc/mounts":                 func() []byte { return []byte(strings.Join(s.fs.MountTable(false), "\n") + "\n") },
		"/proc/loadavg":                func() []byte { return []byte("1.20 1.31 1.18 2/1204 9123\n") },
		"/proc/version":                func() []byte { return s.procVersion() },
		"/proc/sys/kernel/hostname":    func() []byte { return []byte("localhost\n") },
		"/proc/meminfo":                func() []byte { return []byte("MemTotal:        3692144 kB\nMemFree:          233760 kB\n") },
		"/proc/sys/kernel/random/uuid": func() []byte { return s.procUUID() },
		"/proc/sys/kernel/random/boot_id": func() []byte {
			s.clockMu.Lock()
			defer s.clockMu.Unlock()
			return s.bootID
		},
		"/sys/class/net/wlan0/address": func() []byte { return s.sysAddress() },
		"/sys/class/net/wlan0/operstate": func() []byte {
			if i, ok := s.wifi(); ok && i.Up {
				return []byte("up\n")
			}
			return []byte("down\n")
		},
		"/sys/class/power_supply/battery/capacity": func() []byte { return fmt.Appendf(nil, "%d\n", s.Condition().Battery) },
		"/sys/class/net/wlan0/statistics/tx_bytes": func() []byte {
			i, _ := s.wifi()
			return fmt.Appendf(nil, "%d\n", i.Counters.TxBytes)
		},
		"/sys/class/net/wlan0/statistics/rx_bytes": func() []byte {
			i, _ := s.wifi()
			return fmt.Appendf(nil, "%d\n", i.Counters.RxBytes)
		},
	}
	if !s.cfg.Identity.Ten() { // Android 10 counts in the kernel's BPF maps, which no file shows.
		files["/proc/net/xt_qtaguid/stats"] = s.procQtaguid
	}
	for name, generate := range files {
		if err := s.fs.dynamic(name, generate); err != nil {
			return err
		}
	}
	s.fs.mu.Lock()
	defer s.fs.mu.Unlock()
	at, err := s.fs.find("open", "/proc", true)
	if err != nil {
		return err
	}
	at.n.lookup, at.n.listing = s.procDir, s.procPIDs
	return nil
}

func (s *System) procPIDs() []string {
	var names []string
	for _, e := range s.processes() {
		names = append(names, itoa(e.pid))
	}
	return names
}

// procDir is /proc/PID, made when it is looked at.
func (s *System) procDir(name string) *node {
	pid, ok := atoi(name)
	if !ok {
		return nil
	}
	var found *entry
	for _, e := range s.processes() {
		if e.pid == pid {
			found = &e
			break
		}
	}
	if found == nil {
		return nil
	}
	now := s.Now()
	file := func(text string) *node {
		return &node{mode: 0o444, uid: found.uid, gid: found.uid, mtime: now, label: "u:r:su:s0", generate: func() []byte { return []byte(text) }}
	}
	cmdline := strings.Join(found.args, "\x00") + "\x00"
	if found.ppid == 2 || found.pid == 2 {
		cmdline = ""
	}
	comm := found.name[max(len(found.name)-15, 0):]
	return &node{mode: fs.ModeDir | 0o555, uid: found.uid, gid: found.uid, mtime: now, label: "u:r:su:s0", children: map[string]*node{
		"cmdline": file(cmdline),
		"comm":    file(comm + "\n"),
		"status": file(fmt.Sprintf("Name:\t%s\nState:\tS (sleeping)\nTgid:\t%d\nPid:\t%d\nPPid:\t%d\nUid:\t%[5]d\t%[5]d\t%[5]d\t%[5]d\nSigCgt:\t%016[6]x\n",
			comm, found.pid, found.pid, found.ppid, found.uid, found.caught)),
		"stat":      file(fmt.Sprintf("%d (%s) S %d %d 0 0 -1\n", found.pid, comm, found.ppid, found.pid)),
		"oom_score": file("0\n"),
		"mountinfo": file(""),
		"oom_adj":   file("0\n"),
		"attr":      {mode: fs.ModeDir | 0o555, mtime: now, children: map[string]*node{"current": file("u:r:su:s0\x00")}},
		"cgroup":    file("2:cpu:/\n"),
		"wchan":     file("0"),
	}}
}

// wifi is the interface that leaves the phone.
func (s *System) wifi() (Interface, bool) {
	for _, i := range s.cfg.Network.Interfaces() {
		if i.Name == "wlan0" {
			return i, true
		}
	}
	return Interface{}, false
}

func (s *System) procVersion() []byte {
	return fmt.Appendf(nil, "Linux version %s (builder@c3-miui-ota-bd134.bj) (clang version 8.0.12 for Android NDK) "+
		"#1 SMP PREEMPT Mon Mar 16 14:29:40 CST 2020\n", s.cfg.Identity.Kernel)
}

func (s *System) procUUID() []byte {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(s.random())) //nolint:gosec // Any 64 bits do.
	binary.BigEndian.PutUint64(b[8:], uint64(s.random())) //nolint:gosec // As above.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return []byte(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] + "\n")
}

func (s *System) sysAddress() []byte {
	i, _ := s.wifi()
	return []byte(i.MAC.String() + "\n")
}

func (s *System) procNetDev() []byte {
	b := []byte("Inter-|   Receive                                                |  Transmit\n" +
		" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n")
	row := func(name string, c Counters) {
		b = fmt.Appendf(b, "%6s: %7d %7d %4d %4d %4d %5d %10d %9d %8d %7d %4d %4d %4d %5d %7d %10d\n",
			name, c.RxBytes, c.RxPackets, 0, c.RxDropped, 0, 0, 0, 0, c.TxBytes, c.TxPackets, 0, c.TxDropped, 0, 0, 0, 0)
	}
	list := s.cfg.Network.Interfaces()
	sort.Slice(list, func(i, j int) bool { return list[i].Name > list[j].Name })
	for _, name := range []string{"rmnet0", "dummy0"} {
		row(name, Counters{})
	}
	for _, i := range list {
		row(i.Name, i.Counters)
	}
	row("p2p0", Counters{})
	return b
}

// hexAddress is an address and port as the kernel prints them: each 32-bit word
// of the address in the byte order of the processor, which is little-endian.
func hexAddress(ap netip.AddrPort, v6 bool) string {
	if !ap.IsValid() {
		if v6 {
			return strings.Repeat("0", 32) + ":0000"
		}
		return "00000000:0000"
	}
	var raw []byte
	if v6 {
		a := ap.Addr().As16() // an IPv4 address comes out mapped
		if ap.Addr().Is4() && ap.Addr().IsUnspecified() {
			a = [16]byte{}
		}
		raw = a[:]
	} else {
		a := ap.Addr().Unmap().As4()
		raw = a[:]
	}
	var b strings.Builder
	for i := 0; i < len(raw); i += 4 {
		fmt.Fprintf(&b, "%08X", binary.LittleEndian.Uint32(raw[i:]))
	}
	fmt.Fprintf(&b, ":%04X", ap.Port())
	return b.String()
}

func (s *System) procSockets(proto string, v6 bool) []byte {
	head := "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	if v6 {
		head = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
	}
	if proto == "udp" {
		head += " ref pointer drops"
	}
	width := 0
	if !v6 {
		width = 149
		if proto == "udp" {
			width = 127
		}
	}
	b := fmt.Appendf(nil, "%-*s\n", width, head)
	n := 0
	for _, k := range s.cfg.Network.Sockets() {
		if k.Proto != proto || k.IPv6 != v6 {
			continue
		}
		local, remote := hexAddress(k.Local, v6), hexAddress(k.Remote, v6)
		line := fmt.Sprintf("%4d: %s %s %02X %08X:%08X %02X:%08X %08X %5d %8d %d ", n, local, remote, k.State, 0, 0, 0, 0, 0, k.UID, 0, k.Inode)
		if proto == "tcp" {
			line += "1 0000000000000000 20 4 30 10 -1"
		} else {
			line = fmt.Sprintf("%5d: %s", 1000+n, line[6:]) + "2 0000000000000000 0"
		}
		b = fmt.Appendf(b, "%-*s\n", width, line)
		n++
	}
	return b
}

func (s *System) procQtaguid() []byte {
	b := []byte("idx iface acct_tag_hex uid_tag_int cnt_set rx_bytes rx_packets tx_bytes tx_packets " +
		"rx_tcp_bytes rx_tcp_packets rx_udp_bytes rx_udp_packets rx_other_bytes rx_other_packets " +
		"tx_tcp_bytes tx_tcp_packets tx_udp_bytes tx_udp_packets tx_other_bytes tx_other_packets\n")
	idx := 2
	counters := s.cfg.Network.UIDCounters()
	ifaces := make([]string, 0, len(counters))
	for name := range counters {
		ifaces = append(ifaces, name)
	}
	sort.Strings(ifaces)
	for _, iface := range ifaces {
		uids := make([]int, 0, len(counters[iface]))
		for uid := range counters[iface] {
			uids = append(uids, uid)
		}
		sort.Ints(uids)
		for _, uid := range uids {
			c := counters[iface][uid]
			b = fmt.Appendf(b, "%d %s 0x0 %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n", idx, iface, uid)
			b = fmt.Appendf(b, "%d %s 0x0 %d 1 %d %d %d %d %d %d 0 0 0 0 %d %d 0 0 0 0\n", idx+1, iface, uid,
				c.RxBytes, c.RxPackets, c.TxBytes, c.TxPackets, c.RxBytes, c.RxPackets, c.TxBytes, c.TxPackets)
			idx += 2
		}
	}
	return b
}

func (s *System) procARP() []byte {
	return []byte("IP address       HW type     Flags       HW address            Mask     Device\n")
}

func (s *System) procInet6() []byte {
	var b []byte
	for n, i := range s.cfg.Network.Interfaces() {
		for _, prefix := range i.Prefixes {
			if !prefix.Addr().Is6() {
				continue
			}
			a := prefix.Addr().As16()
			scope := 0
			switch {
			case prefix.Addr().IsLoopback():
				scope = 0x10
			case prefix.Addr().IsLinkLocalUnicast():
				scope = 0x20
			}
			b = fmt.Appendf(b, "%s %02x %02x %02x %02x %8s\n", hex.EncodeToString(a[:]), n+1, prefix.Bits(), scope, 0x80, i.Name)
		}
	}
	return b
}
