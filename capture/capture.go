// Package capture says what an instrument is and what it saw: backends that
// record a phone's traffic, the sessions in which they run, and the traces,
// flows, exchanges and health that a session leaves behind.
//
// The package holds types only. Backends (capture/tcpdump, capture/proxy)
// deliver bytes and health and never interpret; capture/dissect turns packets
// into flows; harness judges. "Unknown" is never zero: a number that an
// instrument could not measure is a nil pointer.
package capture

import (
	"context"
	"net/netip"
	"time"
)

// A Backend is an instrument that can record the traffic of one phone.
type Backend interface {
	// Name is the backend's word in farm.yaml, such as "tcpdump".
	Name() string

	// Probe says whether the backend can run on its phone, and if not, why and
	// what to do about it. It changes nothing on the phone. The error is for a
	// probe that could not be carried out.
	Probe(ctx context.Context) (Ability, error)

	// Start begins recording into files below dir, and returns when no later
	// packet can be missed. ctx bounds the start only: the session runs until
	// Stop. After an error nothing is left running and the phone is as before.
	Start(ctx context.Context, dir string) (Session, error)
}

// An Ability is the answer of a probe.
type Ability struct {
	// OK is true when the backend can run.
	OK bool `json:"ok"`
	// Reason says why it cannot run and what to do, in words for a technician.
	Reason string `json:"reason,omitempty"`
	// Sees names what the backend would see, such as "packets of wlan0".
	Sees string `json:"sees,omitempty"`
}

// A Session is a backend while it records.
type Session interface {
	// Beacon sends the nonce from the phone by a route that this backend must
	// see, and returns when the backend has recognised it. Everything that left
	// the phone before a recognised beacon by the same route has been recorded.
	// A nonce holds only a-z and 0-9 and at most 40 bytes.
	Beacon(ctx context.Context, nonce string) (Beacon, error)

	// Read flushes and returns everything recorded since the start. The session
	// goes on.
	Read(ctx context.Context) (Trace, error)

	// Done is closed when recording has ended, by Stop or by an early death.
	Done() <-chan struct{}

	// Stop flushes, ends the recording, undoes what Start did on the phone, and
	// returns the whole trace. An early death is Health.Truncated and no error;
	// the error is for an undo or a read that failed, and the trace holds what
	// was recorded all the same. Stop may be called again and answers the same.
	Stop(ctx context.Context) (Trace, error)
}

// A Tunnel is a session that is the phone's VPN while it records, so that a VPN on
// that interface is no place where traffic hides.
type Tunnel interface {
	Session
	// Tunnel is the name of the phone's interface, such as "tun0".
	Tunnel() string
	// Via is the package whose sockets carry on the wire what the tunnel takes.
	Via() string
}

// A Trace is what one backend recorded.
type Trace struct {
	Backend string    `json:"backend"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	// Packets is the path of the pcap or pcapng file that was recorded, empty
	// for a backend that records no packets. Its times are the phone's clock,
	// unless Clock says otherwise.
	Packets string `json:"packets,omitempty"`
	// Inside is true when the packets were taken at the app side of a tunnel in
	// the phone, such as a VPN of the phone's own: who sent what to whom is as the
	// apps meant it, but client addresses, resolvers and the sizes of segments are
	// not those of the wire.
	Inside bool `json:"inside,omitempty"`
	// Via is the package whose sockets carry on the wire what is Inside: to whom
	// such a socket belongs says nothing of who sent.
	Via string `json:"via,omitempty"`
	// Tunnel is the phone's interface at which what is Inside was taken, such as
	// "tun0"; empty for the others.
	Tunnel string `json:"tunnel,omitempty"`
	// Door is the address on the phone, host:port, at which apps reach a backend
	// that they connect to; empty for the others.
	Door string `json:"door,omitempty"`
	// Clock is how far the clock that stamped the packets is ahead of the host's,
	// for a backend whose packets are not stamped by the phone; nil otherwise.
	Clock *ClockOffset `json:"clock,omitempty"`
	// Keys is the path of a key log (the format of SSLKEYLOGFILE) of the TLS that
	// the backend itself ended, empty when it ended none.
	Keys string `json:"keys,omitempty"`
	// Flows are the conversations that the backend itself terminated, failed
	// ones included (a proxy's connections). Packets are not repeated here.
	Flows []Flow `json:"flows,omitempty"`
	// Exchanges are the requests that the backend itself read.
	Exchanges []Exchange `json:"exchanges,omitempty"`
	Beacons   []Beacon   `json:"beacons,omitempty"`
	Health    Health     `json:"health"`
}

// A ClockOffset is how far a clock is ahead of the host's; the truth lies within
// Uncertainty of Ahead.
type ClockOffset struct {
	Ahead       time.Duration `json:"ahead"`
	Uncertainty time.Duration `json:"uncertainty"`
}

// A Beacon is a nonce that a backend sent from the phone and recognised.
type Beacon struct {
	Nonce string    `json:"nonce"`
	Sent  time.Time `json:"sent"`
	Seen  time.Time `json:"seen"`
	// Name is the DNS name or URL that carried the nonce, so that accounting
	// can class exactly these bytes as the instrument's own.
	Name string `json:"name"`
}

// Proto is the transport protocol of a flow.
type Proto string

// The transport protocols that are told apart.
const (
	TCP  Proto = "tcp"
	UDP  Proto = "udp"
	ICMP Proto = "icmp"
	// OtherIP is any other protocol over IP.
	OtherIP Proto = "ip"
	// Link is frames that are no IP packets, such as ARP: they never leave the link.
	Link Proto = "link"
)

// Visibility says how much of a flow could be read. The zero value claims
// nothing.
type Visibility string

// How much of a flow could be read.
const (
	VisibilityUnknown Visibility = ""
	Metadata          Visibility = "metadata"
	Plaintext         Visibility = "plaintext"
)

// HostSource says where the name of a flow's server comes from.
type HostSource string

// Sources of a host name, best first.
const (
	HostUnknown HostSource = ""
	FromSNI     HostSource = "sni"
	FromConnect HostSource = "connect" // the CONNECT line sent to a proxy
	FromHeader  HostSource = "host"    // the Host header or :authority
	FromDNS     HostSource = "dns"     // an answer seen earlier for that address
	// FromCertificate is the first name in the server's certificate, without a
	// wildcard: it may be one of many.
	FromCertificate HostSource = "certificate"
)

// A Flow is one conversation: a TCP connection, or the datagrams between two
// sockets.
type Flow struct {
	// ID is unique within its trace.
	ID      string `json:"id"`
	Backend string `json:"backend,omitempty"`
	Proto   Proto  `json:"proto"`
	// App is the application protocol: "tls", "quic", "http", "dns", or empty
	// when unknown.
	App string `json:"app"`
	// Client is the end that opened the flow; for packets of a phone, the phone.
	Client netip.AddrPort `json:"client"`
	// Server is the other end; the zero value when a proxy never resolved it.
	Server   netip.AddrPort `json:"server,omitzero"`
	Host     string         `json:"host,omitempty"`
	HostFrom HostSource     `json:"host_from,omitempty"`
	SNI      string         `json:"sni,omitempty"`
	ALPN     []string       `json:"alpn,omitempty"`
	JA4      string         `json:"ja4,omitempty"`
	// ECH is true when the ClientHello holds an encrypted one, or pretends to: then
	// SNI may be the name of a relay and not of the server.
	ECH bool `json:"ech,omitempty"`
	// Service is what the conversation is for as far as its port and its first
	// bytes tell, where that is more than App: "dot" and "doh" (questions for names
	// inside TLS), "xmpush" and the like. Empty when unknown.
	Service string    `json:"service,omitempty"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	// BytesUp and BytesDown are IP bytes, headers included, from and to the
	// client. For a proxy they are the bytes read from and written to the
	// phone at its listener.
	BytesUp   int64 `json:"bytes_up"`
	BytesDown int64 `json:"bytes_down"`
	// PayloadUp and PayloadDown are transport payload bytes, each byte of a
	// stream once. What a client wrote where only headers belong is in PayloadUp.
	PayloadUp   int64 `json:"payload_up"`
	PayloadDown int64 `json:"payload_down"`
	// Sent is BytesUp and PayloadUp over time, so that a flow can be shared out
	// among windows. Packets closer than 10 ms may be merged into one burst.
	Sent []Burst `json:"sent,omitempty"`
	// UID is the Android user id that owned the socket, nil when unknown.
	UID *int `json:"uid,omitempty"`
	// AppName is what the instrument calls the app that owned the socket, perhaps
	// cut short, empty when it does not say. It is a label, and UID decides.
	AppName    string     `json:"app_name,omitempty"`
	Visibility Visibility `json:"visibility"`
	// Failure says why the conversation came to nothing (refused handshake,
	// reset, no answer), empty when it did not fail.
	Failure string `json:"failure,omitempty"`
	// SkippedBytes counts stream bytes known to be missing; Midstream is true
	// when the beginning was not seen.
	SkippedBytes int64 `json:"skipped_bytes,omitempty"`
	// Holes are the stretches in which they were sent; those of SkippedBytes that
	// no hole holds were sent at any time in the conversation.
	Holes     []Hole `json:"holes,omitempty"`
	Midstream bool   `json:"midstream,omitempty"`
}

// A Hole is bytes of a stream that were sent, at some time between From and To, and
// not recorded.
type Hole struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Bytes int64     `json:"bytes"`
}

// A Burst is a part of what a flow's client sent.
type Burst struct {
	At      time.Time `json:"at"`
	Bytes   int64     `json:"bytes"`   // IP bytes, or bytes at a proxy's listener
	Payload int64     `json:"payload"` // transport payload bytes
}

// A Header is one header field, in the order and spelling in which it was sent.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// An Exchange is one HTTP request with its reply.
type Exchange struct {
	ID string `json:"id"`
	// Flow is the ID of the flow that carried it, in the same trace.
	Flow    string `json:"flow"`
	Backend string `json:"backend,omitempty"`
	// Start is when the request's first byte arrived, Sent when its last did.
	Start time.Time `json:"start"`
	Sent  time.Time `json:"sent,omitzero"`
	// End is when the reply was complete, zero when it never was.
	End    time.Time `json:"end,omitzero"`
	Method string    `json:"method"`
	// URL is absolute: scheme, host, path and query as they were sent.
	URL            string   `json:"url"`
	Version        string   `json:"version,omitempty"` // "HTTP/1.1", "HTTP/2.0"
	RequestHeader  []Header `json:"request_header,omitempty"`
	RequestBody    []byte   `json:"request_body,omitempty"`
	Status         int      `json:"status,omitempty"` // 0 when no reply came
	ResponseHeader []Header `json:"response_header,omitempty"`
	ResponseBody   []byte   `json:"response_body,omitempty"`
	// BytesUp and BytesDown are body bytes as sent, before any decoding.
	BytesUp   int64 `json:"bytes_up"`
	BytesDown int64 `json:"bytes_down"`
	// RequestTruncated and ResponseTruncated are true when the stored body is
	// shorter than what was sent.
	RequestTruncated  bool `json:"request_truncated,omitempty"`
	ResponseTruncated bool `json:"response_truncated,omitempty"`
	// Failure says why no reply came, empty when one did.
	Failure string `json:"failure,omitempty"`
}

// A Lookup is one DNS question and what was answered.
type Lookup struct {
	Flow    string    `json:"flow"`
	Name    string    `json:"name"` // without the final dot, as it was sent
	Type    string    `json:"type"` // "A", "AAAA", "HTTPS", ...
	Answers []string  `json:"answers,omitempty"`
	RCode   string    `json:"rcode,omitempty"` // empty when no answer was seen
	At      time.Time `json:"at"`
	// Asked is how often the question was sent until it was answered, 0 when
	// nobody counted.
	Asked int  `json:"asked,omitempty"`
	UID   *int `json:"uid,omitempty"`
}
