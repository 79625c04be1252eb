package userland

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// netContext is a process's context with a limit; killing the process ends it too.
func netContext(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if limit <= 0 {
		limit = 30 * time.Second
	}
	return context.WithTimeout(ctx, limit)
}

func netError(err error) string {
	var errno syscall.Errno
	var timeout net.Error
	switch {
	case errors.As(err, &errno):
		return strerror(errno)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "Connection timed out"
	}
	text := err.Error()
	for _, known := range []string{"connection refused", "network is unreachable", "no route to host", "connection reset by peer"} {
		if strings.Contains(strings.ToLower(text), known) {
			return strings.ToUpper(known[:1]) + known[1:]
		}
	}
	return text
}

// cmdPing is ping: -c, -i, -W, -w, -s, -n, -q, -4 and -6.
func cmdPing(ctx context.Context, p *proc, args []string) int {
	flags, rest, ok := options(p, args, "46nqUDvbA", "ciWwsItQM")
	if !ok {
		return 2
	}
	if len(rest) != 1 {
		p.errorf("Usage: ping [-aAbBdDfhLnOqrRUvV] [-c count] [-i interval] [-W timeout] destination\n")
		return 2
	}
	host := rest[0]
	count, has := atoi(flags['c'])
	if !has {
		count = -1
	}
	interval := time.Second
	if d, ok := parseDuration(flags['i']); ok {
		interval = d
	}
	wait := 10 * time.Second
	if d, ok := parseDuration(flags['W']); ok && d > 0 {
		wait = d
	}
	total := time.Duration(1 << 62)
	if d, ok := parseDuration(flags['w']); ok && d > 0 {
		total = d
	}
	began := time.Now()
	addr, err := netip.ParseAddr(host)
	if err != nil {
		rctx, cancel := netContext(ctx, min(wait, total))
		addrs, rerr := p.sys.cfg.Network.Resolve(rctx, p.uid, host)
		cancel()
		found := false
		for _, a := range addrs {
			if v6 := flags['6'] != "" || strings.HasSuffix(args[0], "6"); a.Unmap().Is4() != v6 && !found {
				addr, found = a.Unmap(), true
			}
		}
		if rerr != nil || !found {
			p.errorf("ping: unknown host %s\n", host)
			return 2
		}
	}
	size := 56
	if n, ok := atoi(flags['s']); ok {
		size = n
	}
	p.printf("PING %s (%s) %d(%d) bytes of data.\n", host, addr, size, size+28)
	p.catch(syscall.SIGINT)
	var times []time.Duration
	sent := 0
	for stop := false; !stop && (count < 0 || sent < count) && time.Since(began) < total; {
		sent++
		pctx, cancel := netContext(ctx, wait)
		rtt, perr := p.sys.cfg.Network.Ping(pctx, p.uid, addr, size)
		cancel()
		if p.dead() {
			return 1
		}
		if perr == nil {
			times = append(times, rtt)
			if flags['q'] == "" {
				p.printf("%d bytes from %s: icmp_seq=%d ttl=63 time=%.3g ms\n", size+8, addr, sent, millis(rtt))
			}
		}
		if count >= 0 && sent >= count {
			break
		}
		t := newTimer(interval)
		select {
		case <-t.C:
		case <-p.sigs:
			stop = true
		case <-p.done:
			t.Stop()
			return 1
		}
		t.Stop()
	}
	lost := 0
	if sent > 0 {
		lost = (sent - len(times)) * 100 / sent
	}
	p.printf("\n--- %s ping statistics ---\n%d packets transmitted, %d received, %d%% packet loss, time %dms\n",
		host, sent, len(times), lost, time.Since(began).Milliseconds())
	if len(times) == 0 {
		return 1
	}
	lowest, highest, sum := times[0], times[0], time.Duration(0)
	for _, d := range times {
		lowest, highest, sum = min(lowest, d), max(highest, d), sum+d
	}
	mean := sum / time.Duration(len(times))
	p.printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms\n", millis(lowest), millis(mean), millis(highest), millis(highest-lowest)/2)
	return 0
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// cmdNc is nc HOST PORT: it carries standard input there and the answer back,
// until the other side closes, or -w seconds after the connection idles.
func cmdNc(ctx context.Context, p *proc, args []string) int {
	flags, rest, ok := options(p, args, "46ulLtnvz", "wqpsW")
	if !ok {
		return 1
	}
	if flags['l'] != "" || flags['L'] != "" {
		p.errorf("nc: -l is not supported\n")
		return 1
	}
	if len(rest) != 2 {
		p.errorf("nc: Needs 2 arguments (see \"nc --help\")\n")
		return 1
	}
	wait, _ := parseDuration(flags['w'] + flags['W'])
	network := "tcp"
	if flags['u'] != "" {
		network = "udp"
	}
	if flags['4'] != "" {
		network += "4"
	} else if flags['6'] != "" {
		network += "6"
	}
	dctx, cancel := netContext(ctx, wait)
	conn, err := p.sys.cfg.Network.Dial(dctx, p.uid, network, net.JoinHostPort(rest[0], rest[1]))
	cancel()
	if p.dead() {
		return 1
	}
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			p.errorf("nc: %s:%s: No address associated with hostname\n", rest[0], rest[1])
		} else {
			p.errorf("nc: connect: %s\n", netError(err))
		}
		return 1
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	if flags['z'] != "" {
		return 0
	}
	idle := func() {
		if wait > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(wait)) // a closed connection says so when read
		}
	}
	idle()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		buf := make([]byte, 32<<10)
		for {
			n, err := conn.Read(buf)
			if n > 0 {
				idle()
				if _, werr := p.out().Write(buf[:n]); werr != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	sentAll := make(chan struct{})
	in := p.in()
	go func() {
		defer close(sentAll)
		_, _ = io.Copy(conn, in) // a broken connection shows in the answer's end
		if c, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
		if network[:3] == "udp" && wait <= 0 {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		}
	}()
	select {
	case <-answered:
	case <-p.done:
		_ = conn.Close()
		<-answered
	}
	// The copier of standard input may still wait for its end; the process is
	// over all the same, and its death frees the copier.
	p.cancel()
	<-sentAll
	return 0
}

func cmdIP(p *proc, args []string) int {
	v4, v6, brief := true, true, false
	args = args[1:]
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-4":
			v6 = false
		case "-6":
			v4 = false
		case "-br", "-o":
			brief = true
		case "-f":
			if len(args) > 1 {
				v4, v6 = args[1] == "inet", args[1] == "inet6"
				args = args[1:]
			}
		}
		args = args[1:]
	}
	if len(args) == 0 {
		p.errorf("Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }\n")
		return 255
	}
	name := ""
	for _, a := range args[1:] {
		switch a {
		case "show", "list", "ls", "dev", "scope", "global", "table", "all", "main", "wlan0_table", "up":
		default:
			name = a
		}
	}
	switch {
	case strings.HasPrefix("address", args[0]) && args[0] != "":
		return ipAddr(p, name, v4, v6, brief)
	case strings.HasPrefix("link", args[0]):
		return ipAddr(p, name, false, false, false)
	case strings.HasPrefix("route", args[0]):
		return ipRoute(p, v4 && len(args) >= 1, v6 && !v4, args)
	case strings.HasPrefix("rule", args[0]):
		p.printf("0:\tfrom all lookup local \n32000:\tfrom all unreachable\n")
		return 0
	case strings.HasPrefix("neighbor", args[0]):
		return 0
	}
	p.errorf("Object \"%s\" is unknown, try \"ip help\".\n", args[0])
	return 1
}

func ipAddr(p *proc, name string, v4, v6, brief bool) int {
	found := false
	for n, i := range p.sys.cfg.Network.Interfaces() {
		if name != "" && i.Name != name {
			continue
		}
		found = true
		flags, state, kind := "BROADCAST,MULTICAST,UP,LOWER_UP", "UP", "ether"
		mac, brd, mtu := i.MAC.String(), "ff:ff:ff:ff:ff:ff", 1500
		if i.Name == "lo" {
			flags, state, kind = "LOOPBACK,UP,LOWER_UP", "UNKNOWN", "loopback"
			mac, brd, mtu = "00:00:00:00:00:00", "00:00:00:00:00:00", 65536
		}
		if !i.Up {
			flags, state = "BROADCAST,MULTICAST", "DOWN"
		}
		tunnel := strings.HasPrefix(i.Name, "tun")
		switch {
		case brief:
		case tunnel:
			p.printf("%d: %s: <POINTOPOINT,UP,LOWER_UP> mtu 10000 qdisc pfifo_fast state UNKNOWN group default qlen 500\n    link/none \n", n+1, i.Name)
		default:
			p.printf("%d: %s: <%s> mtu %d qdisc mq state %s group default qlen 1000\n    link/%s %s brd %s\n", n+1, i.Name, flags, mtu, state, kind, mac, brd)
		}
		for _, prefix := range i.Prefixes {
			is4 := prefix.Addr().Is4()
			if is4 && !v4 || !is4 && !v6 {
				continue
			}
			scope := "global"
			switch {
			case prefix.Addr().IsLoopback():
				scope = "host"
			case prefix.Addr().IsLinkLocalUnicast():
				scope = "link"
			}
			word := "inet6"
			if is4 {
				word = "inet"
			}
			if brief {
				p.printf("%d: %s    %s %s scope %s %s\n", n+1, i.Name, word, prefix, scope, i.Name)
				continue
			}
			bcast := ""
			if is4 && scope == "global" && !tunnel {
				bcast = "brd " + lastAddr(prefix) + " "
			}
			p.printf("    %s %s %sscope %s %s\n       valid_lft forever preferred_lft forever\n", word, prefix, bcast, scope, i.Name)
		}
	}
	if !found {
		p.errorf("Device \"%s\" does not exist.\n", name)
		return 1
	}
	return 0
}

// lastAddr is the broadcast address of an IPv4 network.
func lastAddr(prefix netip.Prefix) string {
	a := prefix.Addr().As4()
	for bit := prefix.Bits(); bit < 32; bit++ {
		a[bit/8] |= 1 << (7 - bit%8)
	}
	return netip.AddrFrom4(a).String()
}

func ipRoute(p *proc, v4, v6 bool, args []string) int {
	i, ok := p.sys.wifi()
	if !ok || !i.Up {
		return 0
	}
	get := len(args) > 2 && args[1] == "get"
	for _, prefix := range i.Prefixes {
		is4 := prefix.Addr().Is4()
		switch {
		case prefix.Addr().IsLinkLocalUnicast():
		case get && is4:
			p.printf("%s via %s dev wlan0 src %s uid %d \n    cache \n", args[2], prefix.Masked().Addr().Next(), prefix.Addr(), p.uid)
			return 0
		case is4 && v4:
			p.printf("%s dev wlan0 proto kernel scope link src %s \n", prefix.Masked(), prefix.Addr())
		case !is4 && v6:
			p.printf("%s dev wlan0 proto kernel metric 256 \ndefault via %s dev wlan0 proto ra metric 1024 \n", prefix.Masked(), prefix.Masked().Addr().Next())
		}
	}
	return 0
}

func cmdIfconfig(p *proc, args []string) int {
	for _, i := range p.sys.cfg.Network.Interfaces() {
		if len(args) > 1 && args[1] != i.Name {
			continue
		}
		encap := "Ethernet  HWaddr " + i.MAC.String()
		if i.Name == "lo" {
			encap = "Local Loopback  "
		}
		if strings.HasPrefix(i.Name, "tun") {
			encap = "UNSPEC  "
		}
		p.printf("%-9s Link encap:%s\n", i.Name, encap)
		for _, prefix := range i.Prefixes {
			switch {
			case prefix.Addr().Is4():
				p.printf("          inet addr:%s  Bcast:%s  Mask:%s \n", prefix.Addr(), lastAddr(prefix), net.IP(net.CIDRMask(prefix.Bits(), 32)))
			case prefix.Addr().IsLinkLocalUnicast():
				p.printf("          inet6 addr: %s Scope: Link\n", prefix)
			default:
				p.printf("          inet6 addr: %s Scope: Global\n", prefix)
			}
		}
		c := i.Counters
		p.printf("          UP BROADCAST RUNNING MULTICAST  MTU:1500  Metric:1\n          RX packets:%d errors:0 dropped:%d overruns:0 frame:0 \n"+
			"          TX packets:%d errors:0 dropped:%d overruns:0 carrier:0 \n          collisions:0 txqueuelen:1000 \n          RX bytes:%d TX bytes:%d \n\n",
			c.RxPackets, c.RxDropped, c.TxPackets, c.TxDropped, c.RxBytes, c.TxBytes)
	}
	return 0
}

var tcpStates = []string{"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"}

func cmdNetstat(p *proc, _ []string) int {
	p.printf("Active Internet connections (w/o servers)\nProto Recv-Q Send-Q Local Address           Foreign Address         State      \n")
	for _, k := range p.sys.cfg.Network.Sockets() {
		proto, state := k.Proto, ""
		if k.IPv6 {
			proto += "6"
		}
		if k.Proto == "tcp" && k.State > 0 && k.State < len(tcpStates) {
			state = tcpStates[k.State]
		}
		p.printf("%-5s %6d %6d %-23s %-23s %-11s\n", proto, 0, 0, k.Local, k.Remote, state)
	}
	return 0
}
