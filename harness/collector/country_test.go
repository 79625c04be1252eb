package collector_test

import (
	"net/netip"
	"regexp"
	"testing"

	"github.com/offproof/offproof/harness/collector"
)

func TestCountry(t *testing.T) {
	for text, want := range map[string]string{
		"8.8.8.8": "US", "::ffff:8.8.8.8": "US", "2001:4860:4860::8888": "US", "114.114.114.114": "CN", "77.88.8.8": "RU",
		"10.0.0.1": "", "127.0.0.1": "", "fe80::1": "", "fd00::1": "", "224.0.0.251": "", "0.0.0.0": "", "255.255.255.255": "",
	} {
		if got := collector.Country(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is in %q, want %q", text, got, want)
		}
	}
	if got := collector.Country(netip.Addr{}); got != "" {
		t.Errorf("no address is in %q", got)
	}
	if source := collector.CountrySource(); !regexp.MustCompile(`^by IP2Location LITE data of 20\d\d-\d\d-\d\d \(http://www\.ip2location\.com\)$`).MatchString(source) {
		t.Errorf("the source is %q", source)
	}
}

func FuzzCountry(f *testing.F) {
	f.Add([]byte{8, 8, 8, 8})
	f.Add(netip.MustParseAddr("2001:db8::1").AsSlice())
	f.Fuzz(func(t *testing.T, b []byte) {
		a, _ := netip.AddrFromSlice(b)
		if code := collector.Country(a); len(code) != 0 && len(code) != 2 {
			t.Fatalf("%s is in %q", a, code)
		}
	})
}
