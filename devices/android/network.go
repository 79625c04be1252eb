package android

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrFormat means that a text is not what the reader was made for.
var ErrFormat = errors.New("unknown format")

// A NetDev is one line of /proc/net/dev: bytes and packets since boot, link
// headers included where the driver counts them.
type NetDev struct {
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxDropped uint64 `json:"rx_dropped"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxDropped uint64 `json:"tx_dropped"`
}

// ParseNetDev reads /proc/net/dev by interface. A line that cannot be read is
// an error: a counter that is missing is not a counter at zero.
func ParseNetDev(text string) (map[string]NetDev, error) {
	devs := map[string]NetDev{}
	headers := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if strings.Contains(line, "|") {
			headers++
			continue
		}
		// A name may hold a colon (an alias); the numbers begin after the last.
		i := strings.LastIndexByte(line, ':')
		if i < 0 {
			return nil, fmt.Errorf("android: read /proc/net/dev: line %q: %w", shorten(line), ErrFormat)
		}
		name, fields := strings.TrimSpace(line[:i]), strings.Fields(line[i+1:])
		const columns = 16
		if name == "" || len(fields) < columns {
			return nil, fmt.Errorf("android: read /proc/net/dev: line %q: %w", shorten(line), ErrFormat)
		}
		var n [columns]uint64
		for c := range n {
			v, err := strconv.ParseUint(fields[c], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("android: read /proc/net/dev: line %q: %w", shorten(line), ErrFormat)
			}
			n[c] = v
		}
		if _, twice := devs[name]; twice || len(devs) >= maxEntries {
			return nil, fmt.Errorf("android: read /proc/net/dev: interface %q: listed again: %w", shorten(name), ErrFormat)
		}
		devs[name] = NetDev{
			RxBytes: n[0], RxPackets: n[1], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxDropped: n[11],
		}
	}
	if headers == 0 {
		return nil, fmt.Errorf("android: read /proc/net/dev: no header: %w", ErrFormat)
	}
	return devs, nil
}

// A Socket is one line of /proc/net/tcp and its sisters.
type Socket struct {
	Proto  string         `json:"proto"` // tcp, tcp6, udp, udp6
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
	// State is the kernel's number: 1 established, 10 listening, 7 for an
	// unconnected UDP socket.
	State int    `json:"state"`
	UID   int    `json:"uid"`
	Inode uint64 `json:"inode"`
}

// Closing reports whether the kernel has already let go of the socket's owner:
// its UID is then printed as 0 and says nothing.
func (s Socket) Closing() bool {
	const timeWait, finWait2 = 6, 5
	return s.Inode == 0 && (s.State == timeWait || s.State == finWait2 || s.UID == 0)
}

// A SocketTable is what one look at the phone's sockets found.
type SocketTable struct {
	// Before and After are the phone's clock around the look.
	Before time.Time `json:"before"`
	After  time.Time `json:"after"`
	// Sockets are those of all tables that were read.
	Sockets []Socket `json:"sockets"`
	// Read names the tables that were read: tcp, tcp6, udp, udp6. A socket that
	// is missing from an unread table is unknown, not closed.
	Read []string `json:"read"`
	// Problems say why a table was not read.
	Problems []string `json:"problems,omitempty"`
}

// ParseSockets reads /proc/net/PROTO, where proto is tcp, tcp6, udp or udp6.
// Addresses that IPv6 maps from IPv4 are given as IPv4. It returns what could be
// read together with the first error.
func ParseSockets(proto, text string) ([]Socket, error) {
	if !slices.Contains([]string{"tcp", "tcp6", "udp", "udp6"}, proto) {
		return nil, fmt.Errorf("android: read /proc/net/%s: %w", shorten(proto), ErrFormat)
	}
	var (
		sockets []Socket
		failed  error
		header  bool
	)
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if fields[0] == "sl" {
			header = true
			continue
		}
		s, ok := parseSocket(proto, fields)
		if !ok || len(sockets) >= maxEntries {
			if failed == nil {
				failed = fmt.Errorf("android: read /proc/net/%s: line %q: %w", proto, shorten(strings.TrimSpace(line)), ErrFormat)
			}
			continue
		}
		sockets = append(sockets, s)
	}
	if !header && failed == nil {
		failed = fmt.Errorf("android: read /proc/net/%s: no header: %w", proto, ErrFormat)
	}
	return sockets, failed
}

// parseSocket reads: sl local remote st tx:rx tr:when retrnsmt uid timeout inode.
func parseSocket(proto string, fields []string) (Socket, bool) {
	const least = 10
	if len(fields) < least || !strings.HasSuffix(fields[0], ":") {
		return Socket{}, false
	}
	v6 := strings.HasSuffix(proto, "6")
	local, ok1 := kernelAddr(fields[1], v6)
	remote, ok2 := kernelAddr(fields[2], v6)
	state, err1 := strconv.ParseUint(fields[3], 16, 8)
	uid, err2 := strconv.ParseUint(fields[7], 10, 31)
	inode, err3 := strconv.ParseUint(fields[9], 10, 64)
	if !ok1 || !ok2 || err1 != nil || err2 != nil || err3 != nil {
		return Socket{}, false
	}
	return Socket{Proto: proto, Local: local, Remote: remote, State: int(state), UID: int(uid), Inode: inode}, true
}

// kernelAddr reads the kernel's hexadecimal address: 32-bit words in the byte
// order of the machine, which is little-endian on every Android phone.
func kernelAddr(text string, v6 bool) (netip.AddrPort, bool) {
	address, portText, ok := strings.Cut(text, ":")
	if !ok {
		return netip.AddrPort{}, false
	}
	b, err := hex.DecodeString(address)
	want := 4
	if v6 {
		want = 16
	}
	if err != nil || len(b) != want || len(portText) != 4 {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

// shorten keeps an error on one readable line.
func shorten(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// A Mount is one line of /proc/mounts.
type Mount struct{ Source, Target, Type, Options string }

// ParseMounts reads /proc/mounts in its order: of two mounts at one place, the
// later covers the earlier.
func ParseMounts(text string) []Mount {
	var mounts []Mount
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || len(mounts) >= maxEntries {
			continue
		}
		mounts = append(mounts, Mount{
			Source: unescape(fields[0]), Target: unescape(fields[1]), Type: fields[2], Options: fields[3],
		})
	}
	return mounts
}

// unescape undoes the kernel's octal escapes of blanks and backslashes.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
