package dissect

import (
	"bytes"
	"time"

	"github.com/offproof/offproof/capture"
)

// Application protocols, as flows name them.
const (
	appTLS  = "tls"
	appQUIC = "quic"
	appHTTP = "http"
	appDNS  = "dns"
)

// maxHead bounds the beginning of a stream that is kept until its protocol is
// recognised. A request line is the longest thing that must fit.
const maxHead = 64 << 10

// A dialect reads one protocol from the two directions of a TCP connection.
type dialect interface {
	// data takes the next bytes of a direction. It returns false when the
	// direction does not speak this protocol (any more).
	data(dir int, b []byte, at time.Time) bool
	// gap says that n bytes are missing. It returns false as data does.
	gap(dir int, n int) bool
	// end is told when nothing more will come.
	end()
}

// talk is what is said over a TCP connection: it recognises the protocol and
// hands the bytes to the dialect that reads it.
type talk struct {
	side    [2]side
	dialect dialect
	// done is true when nothing of interest can follow.
	done bool
	// inside is true for what was decrypted.
	inside bool
}

// names says that the conversation speaks a protocol. What is inside TLS is
// still TLS on the wire.
func (t *talk) names(f *flow, app string, v capture.Visibility) {
	if !t.inside {
		f.app = app
	}
	f.visibility = v
}

// scheme is that of the URLs that are asked for.
func (t *talk) scheme() string {
	if t.inside {
		return "https://"
	}
	return "http://"
}

// adopt makes a dialect read both directions from here on.
func (t *talk) adopt(d dialect) {
	t.dialect = d
	t.side = [2]side{{speaks: true}, {speaks: true}}
}

// A side is one direction while its protocol is not recognised.
type side struct {
	head  []byte
	begun time.Time // when the first byte of head came
	// lost is true when the direction's own beginning was not recognised. Then
	// each segment is looked at on its own: a capture that began late, or a
	// connection that changes its protocol, is recognised at a message's start.
	lost bool
	// speaks is true while the dialect reads this direction.
	speaks bool
}

// chunk takes the next bytes of a direction.
func (t *talk) chunk(e *engine, f *flow, dir int, c chunk) {
	if t.done {
		return
	}
	if len(c.data) > 0 {
		t.data(e, f, dir, c.data, c.at)
	}
	if c.cut > 0 {
		t.gap(e, f, dir, c.cut)
	}
}

func (t *talk) data(e *engine, f *flow, dir int, b []byte, at time.Time) {
	s := &t.side[dir]
	if t.dialect != nil && s.speaks {
		if t.dialect.data(dir, b, at) {
			return
		}
		s.speaks, s.lost = false, true
		return
	}
	if _, sealed := t.dialect.(*tlsTalk); sealed && s.lost {
		return // the rest is encrypted, whatever it looks like
	}
	if len(s.head) == 0 {
		s.begun = at
	}
	whole := b
	if len(s.head) > 0 {
		s.head = append(s.head, b...)
		whole = s.head
	}
	kind := recognise(whole, f.asksNames())
	if kind == kindMore && len(whole) < maxHead {
		if len(s.head) == 0 {
			s.head = append([]byte(nil), b...)
		}
		return
	}
	s.head = nil
	d := t.open(e, f, dir, kind)
	if d == nil {
		s.lost = true
		f.keepUnread(e, dir, whole)
		return
	}
	s.speaks = true
	if !d.data(dir, whole, s.begun) {
		s.speaks, s.lost = false, true
	}
}

// open returns the dialect for a kind of beginning: the present one when it
// fits, a new one when there is none, nil when the kind is unknown.
func (t *talk) open(e *engine, f *flow, dir int, kind kind) dialect {
	switch kind {
	case kindTLS:
		if d, ok := t.dialect.(*tlsTalk); ok {
			return d
		}
		if t.dialect != nil {
			t.dialect.end()
		}
		t.names(f, appTLS, capture.Metadata)
		t.dialect = &tlsTalk{engine: e, flow: f, talk: t}
	case kindRequest, kindReply:
		if d, ok := t.dialect.(*httpTalk); ok {
			return d
		}
		if _, ok := t.dialect.(*tlsTalk); ok {
			return nil
		}
		if t.dialect != nil {
			t.dialect.end()
		}
		t.names(f, appHTTP, capture.Plaintext)
		t.dialect = newHTTP(e, f, t, dir, kind == kindRequest)
	case kindDNS:
		if d, ok := t.dialect.(*dnsTalk); ok {
			return d
		}
		t.names(f, appDNS, capture.Plaintext)
		t.dialect = &dnsTalk{engine: e, flow: f}
	case kindHTTP2, kindHTTP2Reply:
		if d, ok := t.dialect.(*http2Talk); ok {
			return d
		}
		// A server's first frame alone does not speak against what its client said.
		if _, ok := t.dialect.(*tlsTalk); ok || t.dialect != nil && kind == kindHTTP2Reply {
			return nil
		}
		if t.dialect != nil {
			t.dialect.end()
		}
		t.names(f, appHTTP, capture.Plaintext)
		t.dialect = newHTTP2(e, f, t, dir, kind == kindHTTP2)
	case kindUnknown, kindMore:
		return nil
	}
	return t.dialect
}

// gap says that bytes of a direction are missing.
func (t *talk) gap(e *engine, f *flow, dir, n int) {
	if t.done {
		return
	}
	s := &t.side[dir]
	if s.speaks {
		if !t.dialect.gap(dir, n) {
			s.speaks, s.lost = false, true
		}
		return
	}
	f.keepUnread(e, dir, s.head)
	s.head, s.lost = nil, true
}

// end is called once, when nothing more will come.
func (t *talk) end(e *engine, f *flow) {
	for dir := range t.side {
		f.keepUnread(e, dir, t.side[dir].head)
		t.side[dir].head = nil
	}
	if t.dialect != nil {
		t.dialect.end()
	}
	t.done = true
}

// change forgets the protocol: what follows is another one, inside a tunnel or
// after an upgrade.
func (t *talk) change() {
	t.dialect = nil
	t.side = [2]side{}
}

// failure says why the connection came to nothing.
func (t *talk) failure(up int) string {
	if d, ok := t.dialect.(*tlsTalk); ok {
		return d.failure(up)
	}
	return ""
}

// A kind is what the beginning of a stream looks like.
type kind uint8

const (
	kindUnknown kind = iota
	kindMore         // cannot tell yet
	kindTLS
	kindRequest
	kindReply
	kindHTTP2
	kindHTTP2Reply
	kindDNS
)

// recognise tells the protocol of a direction by its first bytes.
func recognise(b []byte, dns bool) kind {
	if len(b) < 3 {
		if dns || len(b) == 0 || b[0] >= recordChange && b[0] <= recordApplication || isToken(b[0]) {
			return kindMore
		}
		return kindUnknown
	}
	if k := recogniseTLS(b); k != kindUnknown {
		return k
	}
	if k := recogniseHTTP(b); k != kindUnknown {
		return k
	}
	if k := recogniseSettings(b); k != kindUnknown && !dns {
		return k
	}
	if dns {
		return recogniseDNS(b)
	}
	return kindUnknown
}

// recogniseTLS knows a handshake by its record's type and version, and a
// connection that was recorded late by any whole record header.
func recogniseTLS(b []byte) kind {
	if b[0] < recordChange || b[0] > recordApplication || b[1] != 3 || b[2] > 4 {
		return kindUnknown
	}
	if b[0] == recordHandshake {
		return kindTLS
	}
	if len(b) < 5 {
		return kindMore
	}
	if size := int(b[3])<<8 | int(b[4]); size == 0 || size > 1<<14+2048 {
		return kindUnknown
	}
	return kindTLS
}

func recogniseHTTP(b []byte) kind {
	if bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return kindReply
	}
	if len(b) < 7 && bytes.HasPrefix([]byte("HTTP/1."), b) {
		return kindMore
	}
	// A request is known by its whole first line: a method, a target, a version.
	const maxMethod = 32
	i := 0
	for i < len(b) && i < maxMethod && isToken(b[i]) {
		i++
	}
	switch {
	case i == len(b):
		return kindMore
	case i == 0 || b[i] != ' ':
		return kindUnknown
	}
	for j, c := range b[i:] {
		if c == '\n' {
			line := bytes.TrimRight(b[:i+j], "\r")
			k := bytes.LastIndexByte(line, ' ')
			switch {
			case k > i && bytes.HasPrefix(line[k+1:], []byte("HTTP/1.")):
				return kindRequest
			case bytes.Equal(line, []byte("PRI * HTTP/2.0")):
				return kindHTTP2
			}
			return kindUnknown
		}
		if c < ' ' && c != '\r' && c != '\t' {
			return kindUnknown
		}
	}
	return kindMore
}

// isToken says whether c may stand in a method or the name of a header field.
func isToken(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
