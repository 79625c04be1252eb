package harness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness/collector"
)

// A Recipient is one host to which something was sent in an observation's
// stretch, whether or not it decides.
type Recipient struct {
	Host         string `json:"host"`
	Organisation string `json:"organisation,omitempty"`
	// Addresses are those that were spoken to; none where a proxy never resolved
	// the name. Countries are theirs, by Finding.CountriesBy.
	Addresses []string `json:"addresses,omitempty"`
	Countries []string `json:"countries,omitempty"`
	// Senders own the sockets, as far as they are known. A proxy knows none.
	Senders []string `json:"senders,omitempty"`
	// Bytes are IP bytes, or bytes at the proxy's listener.
	Bytes int64 `json:"bytes"`
	// Past says in words by which ways something went past a proxy that ran.
	Past []string `json:"past,omitempty"`
	// InScope is true when what was sent there decides.
	InScope bool `json:"in_scope"`
}

// past says how a flow went past the proxy, empty when it did not or none ran.
func (v *view) past(fl *flow) string {
	if !v.proxied || !fl.packets || fl.beacon || fl.adb || fl.local || fl.Server.Addr().IsLoopback() || fl.Service == "mdns" {
		return ""
	}
	var ways []string
	switch {
	case fl.App == "dns":
		return "" // Names are asked for beside any proxy.
	case fl.Proto == capture.ICMP, fl.Service == "ntp", fl.Service == "dhcp", fl.Service == "dhcpv6":
		return ""
	case fl.Service != "":
		ways = append(ways, serviceWords[fl.Service])
	}
	switch fl.App {
	case "quic":
		ways = append(ways, "QUIC")
	case "tls":
		ways = append(ways, "TLS of its own")
	case "http":
		ways = append(ways, "HTTP of its own")
	case "":
		ways = append(ways, "raw "+strings.ToUpper(string(fl.Proto)))
	}
	if fl.Server.Addr().Unmap().Is6() {
		ways = append(ways, "IPv6")
	}
	return strings.Join(slices.DeleteFunc(ways, func(s string) bool { return s == "" }), ", ")
}

// serviceWords are services of flows in words.
var serviceWords = map[string]string{
	"dot": "DNS over TLS", "doh": "DNS over HTTPS", "doq": "DNS over QUIC", "xmpush": "XMPush", "xmpp": "XMPP", "mqtt": "MQTT", "fcm": "Google's push channel", "stun": "STUN",
}

// recipients lists to whom something was sent in an observation's stretch, those
// that decide first, then by bytes.
func (v *view) recipients(o *Observation, decides func(*flow) bool) []Recipient {
	from, to := o.span()
	if from.IsZero() {
		return nil
	}
	by := map[string]*Recipient{}
	for i := range v.flows {
		fl := &v.flows[i]
		bytes, _ := fl.sentWithin(from, to)
		if bytes == 0 || fl.beacon || fl.adb || fl.local {
			continue
		}
		r := by[fl.host]
		if r == nil {
			r = &Recipient{Host: fl.host, Organisation: fl.org}
			by[fl.host] = r
		}
		r.Bytes += bytes
		r.InScope = r.InScope || decides(fl)
		if a := fl.Server.Addr(); a.IsValid() && !a.IsLoopback() {
			r.Addresses = with(r.Addresses, a.Unmap().String())
			r.Countries = with(r.Countries, collector.Country(a))
		}
		if fl.packets {
			r.Senders = with(r.Senders, fl.sender.String())
		}
		r.Past = with(r.Past, v.past(fl))
	}
	out := make([]Recipient, 0, len(by))
	for _, r := range by {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Recipient) int {
		if a.InScope != b.InScope {
			if a.InScope {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Host, b.Host))
	})
	return out
}

// with adds a word to a sorted set.
func with(set []string, word string) []string {
	i, there := slices.BinarySearch(set, word)
	if word == "" || there {
		return set
	}
	return slices.Insert(set, i, word)
}

// String is the recipient in one line.
func (r Recipient) String() string {
	s := r.Host
	if r.Organisation != "" {
		s += " (" + r.Organisation + ")"
	}
	if len(r.Countries) > 0 {
		s += " in " + strings.Join(r.Countries, ", ")
	}
	s += fmt.Sprintf(": %d B", r.Bytes)
	if len(r.Senders) > 0 {
		s += " from " + strings.Join(r.Senders, ", ")
	}
	if len(r.Past) > 0 {
		s += ", past the proxy by " + strings.Join(r.Past, " and ")
	}
	return s
}
