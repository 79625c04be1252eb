package harness

import (
	"net/http"
	"slices"
	"strings"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// greetings are the names that conversations asked for while they were set up,
// where no request says them again: in the handshake of TLS or QUIC, and in the
// question for a tunnel. A name is told to whoever listens, also where the
// handshake fails and nothing else of the conversation can be read.
func (v *view) greetings() []message {
	said := map[*flow][]string{}
	for i := range v.messages {
		if m := &v.messages[i]; m.ex != nil && !m.raw {
			said[m.flow] = append(said[m.flow], m.host)
		}
	}
	var out []message
	for _, list := range [][]flow{v.flows, v.copies} {
		for i := range list {
			f := &list[i]
			if f.adb {
				continue
			}
			add := func(where, name string) {
				if name == "" || slices.Contains(said[f], strings.ToLower(name)) {
					return
				}
				parts := payload.Lookup(capture.Lookup{Name: name})
				for j := range parts {
					parts[j].Where = where
				}
				out = append(out, message{
					flow: f, lookup: &capture.Lookup{Flow: f.ID, Name: name, At: f.Start}, raw: true, greeting: true,
					from: f.Start, to: f.Start, host: f.host, parts: parts,
				})
			}
			add("sni", f.SNI)
			if f.HostFrom == capture.FromConnect && !strings.EqualFold(f.Host, f.SNI) {
				add(strings.ToLower(http.MethodConnect), f.Host)
			}
			for _, name := range f.ALPN {
				if !slices.Contains([]string{"h2", "h3", "http/1.1"}, name) {
					add("alpn", name)
				}
			}
		}
	}
	return out
}

// An SNTP client asks with ntpPacket bytes (RFC 4330, section 5), a few times.
const (
	ntpPort    = 123
	ntpPacket  = 48
	ntpPackets = 8
)

// asksTime says whether data is all that the flow sent, and questions for the time
// as Android's SntpClient puts them: all of each is zero but its first byte and
// the time at which it was sent. Other fields would have room for words.
func (f *flow) asksTime(data []byte) bool {
	const client, stamp = 3, 40
	n := int64(len(data))
	if !f.packets || f.Proto != capture.UDP || f.Server.Port() != ntpPort || n == 0 || n != f.PayloadUp || n%ntpPacket != 0 || n > ntpPackets*ntpPacket {
		return false
	}
	for q := range slices.Chunk(data, ntpPacket) {
		version := q[0] >> 3 & 7
		if q[0]&7 != client || version < 3 || version > 4 || slices.ContainsFunc(q[1:stamp], func(c byte) bool { return c != 0 }) {
			return false
		}
	}
	return true
}
