package userland_test

import (
	"strings"
	"testing"

	"github.com/offproof/offproof/devices/sim/userland"
)

func TestFilter(t *testing.T) {
	frame := udpFrame(1000, 53, "q")
	for text, want := range map[string]bool{
		"": true, "udp": true, "tcp": false, "ip": true, "ip6": false, "port 53": true, "src port 53": false, "dst port 53": true,
		"host 203.0.113.7": true, "src host 203.0.113.7": false, "203.0.113.7": true, "net 203.0.113.0/24": true,
		"udp and not port 53": false, "tcp or (udp and dst 203.0.113.7)": true, "not (arp or icmp)": true, "udp port 53": true,
		"tcp port 53": false, "ether host 02:00:00:00:00:01": true, "ether dst 02:00:00:00:00:01": false, "port domain": true,
		"! udp": false, "udp && port 1000 || arp": true,
	} {
		got, err := userland.ParseFilter(text, frame)
		if err != nil || got != want {
			t.Errorf("%q: %t, %v", text, got, err)
		}
	}
	for _, text := range []string{"port", "port x", "udp and", "(udp", "udp )", "host nowhere.example", strings.Repeat("not ", 500) + "udp", "ether host x"} {
		if _, err := userland.ParseFilter(text, frame); err == nil {
			t.Errorf("%q was understood", text)
		}
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("udp and (port 53 or not host 1.2.3.4)", udpFrame(1, 2, "x"))
	f.Add("ether src 02:00:00:00:00:01", []byte{1, 2, 3})
	f.Fuzz(func(_ *testing.T, text string, frame []byte) {
		_, _ = userland.ParseFilter(text, frame) // any answer will do
	})
}

func FuzzSed(f *testing.F) {
	f.Add("s/a\\(b\\)/\\1&/gp;2,$d;/x/!q", false, "abc\nxyz\n")
	f.Add("$=", true, "a")
	f.Fuzz(func(t *testing.T, script string, extended bool, text string) {
		out, err := userland.RunSed(script, extended, strings.Split(text, "\n"))
		if err != nil && out != "" {
			t.Errorf("an error and %q", out)
		}
	})
}
