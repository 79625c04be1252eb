package collector

import (
	"net/netip"
	"strings"
	"time"

	"github.com/phuslu/iploc"
)

// Country is where an address is registered to be used, as an ISO 3166-1 code of
// two letters, by the database that CountrySource names; empty for an address
// that it does not know or that is no public one. It says nothing of where a
// name is registered or a company has its seat, and an address that is announced
// from many places has one entry all the same.
func Country(a netip.Addr) string {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return ""
	}
	code := iploc.IPCountry(a)
	if len(code) != 2 || code == "ZZ" || code != strings.ToUpper(code) {
		return ""
	}
	return code
}

// CountrySource names the database behind Country, with its date and the
// attribution that it asks for.
func CountrySource() string {
	date := iploc.Version
	if i := strings.LastIndexByte(date, '.'); i >= 0 {
		date = date[i+1:]
	}
	if day, err := time.Parse("20060102", date); err == nil {
		date = day.Format(time.DateOnly)
	}
	return "by IP2Location LITE data of " + date + " (http://www.ip2location.com)"
}
