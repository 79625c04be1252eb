package dissect

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture"
)

// Services that are more than an application protocol.
const (
	serviceDoT    = "dot"    // questions for names over TLS (RFC 7858)
	serviceDoQ    = "doq"    // the same over QUIC (RFC 9250)
	serviceDoH    = "doh"    // the same over HTTP (RFC 8484)
	serviceXMPush = "xmpush" // the push channel of Xiaomi's phones
)

// ports are services by their port, where nothing else would use it. The
// registry is IANA's.
var ports = map[capture.Proto]map[uint16]string{
	capture.TCP: {853: serviceDoT, 5222: "xmpp", 5228: "fcm", 1883: "mqtt", 8883: "mqtt"},
	capture.UDP: {
		853: serviceDoQ, 67: "dhcp", 123: "ntp", 1900: "ssdp", 3478: "stun", 5353: "mdns", 5355: "llmnr", 546: "dhcpv6", 547: "dhcpv6",
	},
}

// magics are how plain protocols begin that no parser here reads. XMPush's was
// read in captures of its clients: C2 FE, a version, a length.
var magics = []struct {
	service string
	proto   capture.Proto
	begins  []byte
}{
	{serviceXMPush, capture.TCP, []byte{0xc2, 0xfe, 0x00, 0x05}},
	{"mqtt", capture.TCP, []byte("\x00\x04MQTT")},
	{"ssh", capture.TCP, []byte("SSH-2.0-")},
	{"xmpp", capture.TCP, []byte("<stream:stream")},
	{"ssdp", capture.UDP, []byte("M-SEARCH * HTTP/1.1")},
}

// resolvers are the public resolvers that browsers and phones know by name; a
// TLS or QUIC conversation with one asks for names.
var resolvers = []string{
	"dns.google", "dns64.dns.google", "cloudflare-dns.com", "one.one.one.one", "1dot1dot1dot1.cloudflare-dns.com", "quad9.net",
	"doh.opendns.com", "dns.adguard.com", "dns.adguard-dns.com", "dns.nextdns.io", "doh.cleanbrowsing.org", "doh.pub", "dns.alidns.com",
	"doh.360.cn", "dns.umbrella.com", "dns.controld.com", "doh.dns.sb", "dns.mullvad.net", "doh.mullvad.net", "dns0.eu", "common.dot.dns.yandex.net",
}

// dohHost says whether a name is that of a public resolver, or of one of its
// kinds, such as mozilla.cloudflare-dns.com.
func dohHost(name string) bool {
	return slices.ContainsFunc(resolvers, func(r string) bool { return name == r || strings.HasSuffix(name, "."+r) })
}

// asksNames says whether the port is one of those on which names are asked for
// over a stream.
func (f *flow) asksNames() bool {
	for _, end := range f.ends {
		if p := end.Port(); p == 53 || p == 853 {
			return true
		}
	}
	return false
}

// serves is what the flow is for, as far as its port and its first bytes tell.
func (f *flow) serves(down int) string {
	if f.service != "" {
		return f.service
	}
	service := ports[f.proto][f.ends[down].Port()]
	switch {
	case service == serviceDoT && f.app != appTLS, service == serviceDoQ && f.app != appQUIC:
		return ""
	case service != "":
		return service
	case (f.app == appTLS || f.app == appQUIC) && f.hello != nil && dohHost(hostName(f.hello.serverName)):
		return serviceDoH
	}
	return ""
}

// begins notes the service of a payload that no parser knows, by its first
// bytes.
func (f *flow) begins(b []byte) {
	if f.service != "" {
		return
	}
	for _, m := range magics {
		// The magic of MQTT stands behind a type and a length.
		if at := bytes.Index(b[:min(len(b), len(m.begins)+2)], m.begins); f.proto == m.proto && (at == 0 || at == 2 && m.service == "mqtt") {
			f.service = m.service
			return
		}
	}
}

// Lookups are the questions for names that an exchange carries: those of DNS over
// HTTPS, by GET or POST (RFC 8484), with what was answered. There are none in any
// other exchange.
func Lookups(x capture.Exchange) []capture.Lookup {
	const kind = "application/dns-message"
	var question, answer []byte
	content, _ := field(x.RequestHeader, "Content-Type")
	accept, _ := field(x.RequestHeader, "Accept")
	switch {
	case strings.EqualFold(strings.TrimSpace(content), kind):
		question = x.RequestBody
	case strings.Contains(x.URL, "dns="):
		u, err := url.Parse(x.URL)
		if err != nil || accept != "" && !strings.Contains(accept, kind) && !strings.Contains(accept, "*/*") {
			return nil
		}
		question = unbase64(u.Query().Get("dns"))
	default:
		return nil
	}
	if content, _ := field(x.ResponseHeader, "Content-Type"); strings.EqualFold(strings.TrimSpace(content), kind) {
		answer = x.ResponseBody
	}
	asked, ok := parseDNS(question)
	if !ok || asked.reply {
		return nil
	}
	replied, answered := parseDNS(answer)
	var all []capture.Lookup
	for _, q := range asked.questions {
		l := capture.Lookup{Flow: x.Flow, Name: q.name, Type: dnsType(q.kind), At: x.Start}
		if answered && replied.reply {
			l.Answers, l.RCode = replied.answers, dnsCode(replied.rcode)
		}
		all = append(all, l)
	}
	return all
}

// unbase64 reads base64url, with and without padding.
func unbase64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}
