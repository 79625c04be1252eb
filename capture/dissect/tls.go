package dissect

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Types of TLS records.
const (
	recordChange      = 20
	recordAlert       = 21
	recordHandshake   = 22
	recordApplication = 23
)

// Handshake messages.
const (
	helloClient = 1
	helloServer = 2
	endOfEarly  = 5
	certificate = 11
	helloDone   = 14
	verify      = 15
	finished    = 20
	keyUpdate   = 24
)

// maxHello bounds a handshake message. A ClientHello with post-quantum keys has
// about 2 KiB, a chain of certificates may have ten.
const maxHello = 64 << 10

// A tlsTalk reads what TLS says in clear: the ClientHello, the certificate where
// it is not hidden, and how a handshake failed. With the conversation's secrets
// it reads what is inside too.
type tlsTalk struct {
	engine *engine
	flow   *flow
	talk   *talk
	side   [2]tlsSide
	keys   tlsKeys
	inner  *talk // what is said inside, nil as long as nothing was decrypted
}

type tlsSide struct {
	header  []byte // of the present record, while it is incomplete
	body    []byte // of the present record, where it is wanted
	left    int    // bytes of the present record that have not come
	kind    byte
	size    int
	message []byte // handshake messages in clear so far
	seen    int    // bytes of them
	read    bool   // all that is wanted of them has been read
	sealed  bool   // what follows is encrypted
	alert   string // a fatal alert in clear
	records int    // application records
	refused bool   // the first of them has the size of an alert
	lost    bool

	open   *opener
	waits  [][]byte // sealed records from before the keys were known, with headers
	waited int      // bytes of them
	at     time.Time
	secret []byte // handshake messages from inside, as far as they have come
}

func (t *tlsTalk) data(dir int, b []byte, at time.Time) bool {
	s := &t.side[dir]
	s.at = at
	for len(b) > 0 {
		if s.left == 0 {
			n := min(5-len(s.header), len(b))
			s.header = append(s.header, b[:n]...)
			b = b[n:]
			if len(s.header) < 5 {
				return true
			}
			s.kind, s.size = s.header[0], int(binary.BigEndian.Uint16(s.header[3:]))
			if s.kind < recordChange || s.kind > 24 || s.header[1] != 3 || s.size > 1<<14+2048 {
				t.lose(dir)
				return false
			}
			s.left, s.body = s.size, s.body[:0]
			if s.left == 0 {
				s.header = s.header[:0]
				continue
			}
		}
		n := min(s.left, len(b))
		if s.kind == recordAlert || s.kind == recordHandshake && !s.read && !s.sealed || t.wanted(dir) {
			s.body = append(s.body, b[:n]...)
		}
		if s.clear() {
			t.flow.greet(t.engine, dir, b[:n])
		}
		s.left -= n
		b = b[n:]
		if s.left == 0 {
			t.record(dir, s)
			s.header = s.header[:0]
			if t.talk.done {
				return true
			}
		}
	}
	return true
}

// clear says whether the present record's contents are not encrypted and may hold
// more than a fixed value does.
func (s *tlsSide) clear() bool {
	switch s.kind {
	case recordChange:
		return s.size > 1
	case recordAlert:
		return !s.sealed && s.size > 2
	}
	return !s.sealed && s.kind != recordApplication
}

// record looks at a whole record.
func (t *tlsTalk) record(dir int, s *tlsSide) {
	sealed := s.sealed && s.kind != recordChange || s.kind == recordApplication
	switch s.kind {
	case recordChange:
		s.sealed = true
	case recordAlert:
		// A warning does not end the handshake, and an encrypted alert is longer.
		if len(s.body) == 2 && !s.sealed && s.body[0] == 2 {
			s.alert = alertName(s.body[1])
		}
	case recordApplication:
		s.sealed = true
		s.records++
		if s.records == 1 {
			// An alert under TLS 1.3 is two bytes, a type and a tag of 16; the
			// Finished message that belongs here is longer than that.
			s.refused = s.size == 2+1+16
		}
	case recordHandshake:
		if !s.read && !s.sealed {
			t.handshake(dir, s)
		}
	}
	if sealed && len(s.body) == s.size {
		t.sealed(dir, append(append([]byte(nil), s.header...), s.body...))
	}
	if s.kind == recordApplication {
		t.settle()
	}
}

// handshake gathers the handshake messages of a direction that come in clear,
// and reads those of interest. A message may come in several records.
func (t *tlsTalk) handshake(dir int, s *tlsSide) {
	s.message = append(s.message, s.body...)
	s.seen += len(s.body)
	for len(s.message) >= 4 {
		size := 4 + int(s.message[1])<<16 + int(s.message[2])<<8 + int(s.message[3])
		if size > maxHello || s.seen > 4*maxHello {
			s.read, s.message = true, nil
			return
		}
		if len(s.message) < size {
			return
		}
		kind, body := s.message[0], s.message[4:size]
		s.message = s.message[size:]
		if t.message(dir, kind, body); s.read {
			s.message = nil
			return
		}
	}
}

// message reads a handshake message that came in clear.
func (t *tlsTalk) message(dir int, kind byte, body []byte) {
	s := &t.side[dir]
	switch kind {
	case helloClient:
		t.flow.ask(dir)
		// A second ClientHello follows a HelloRetryRequest; the first one is the
		// client's own choice, and its random number is that of both.
		if h, ok := parseHello(body, 't'); ok && t.flow.hello == nil {
			t.flow.hello = h
			t.keys.client, t.keys.clientDir = h.random, dir
			t.keys.known = t.engine.secretsOf(h.random)
		}
		s.read = true
	case helloServer:
		t.flow.ask(1 - dir)
		again, ok := t.keys.answer(body)
		// Under TLS 1.3 all that follows is encrypted, unless this was a
		// HelloRetryRequest.
		s.read = !ok || t.keys.version == tls13 && !again
		if ok && !again {
			t.begin()
		}
	case certificate:
		t.flow.certify(body, false)
		s.read = true
	case helloDone:
		s.read = true
	default:
		// The first message of a client or server is its hello.
		s.read = s.read || t.flow.hello == nil
	}
}

// settle ends the reading when both directions have shown all they will.
func (t *tlsTalk) settle() {
	if !t.wanted(0) && !t.wanted(1) && (t.side[0].records >= 2 || t.side[0].lost) && (t.side[1].records >= 2 || t.side[1].lost) {
		t.talk.done = true
		for d := range t.side {
			t.side[d].body, t.side[d].message = nil, nil
		}
	}
}

func (t *tlsTalk) gap(dir, n int) bool {
	s := &t.side[dir]
	if s.left > n && s.kind == recordApplication && !t.wanted(dir) {
		s.left -= n
		return true
	}
	t.lose(dir)
	return false
}

// lose gives a direction up.
func (t *tlsTalk) lose(dir int) {
	t.side[dir].lost = true
	if t.inner != nil {
		t.inner.gap(t.engine, t.flow, dir, 1)
	}
	t.settle()
}

func (t *tlsTalk) end() {
	if t.inner != nil {
		t.inner.end(t.engine, t.flow)
	}
}

// failure says why the handshake came to nothing.
func (t *tlsTalk) failure(up int) string {
	client, server := &t.side[up], &t.side[1-up]
	h := &t.flow.tcp.half
	switch {
	case client.alert != "":
		return "the client refused the handshake: " + client.alert
	case server.alert != "":
		return "the server refused the handshake: " + server.alert
	case client.lost || server.lost || !h[up].syn:
		return "" // there may have been more
	case client.refused && client.records == 1:
		return "the client refused the handshake: encrypted alert"
	case client.records > 0 || server.records > 1:
		return ""
	case h[1-up].rst:
		return "the server reset the connection during the handshake"
	case h[up].rst:
		return "the client reset the connection during the handshake"
	case h[1-up].fin && !server.sealed:
		return "the server closed the connection during the handshake"
	case h[up].fin && !client.sealed:
		return "the client closed the connection during the handshake"
	}
	return ""
}

var alertNames = map[byte]string{
	10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
	42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
	46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
	51: "decrypt_error", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error",
	86: "inappropriate_fallback", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
	113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
}

func alertName(n byte) string {
	if s, ok := alertNames[n]; ok {
		return s
	}
	return "alert " + strconv.Itoa(int(n))
}

// fields reads the length-prefixed fields of TLS. After the first field that
// does not fit, everything is empty and ok is false.
type fields struct {
	b  []byte
	ok bool
}

func (f *fields) take(n int) []byte {
	if !f.ok || n > len(f.b) {
		f.ok = false
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

// number reads a big-endian number of n bytes.
func (f *fields) number(n int) int {
	v := 0
	for _, c := range f.take(n) {
		v = v<<8 | int(c)
	}
	return v
}

// vector reads a field whose length stands before it in n bytes.
func (f *fields) vector(n int) []byte { return f.take(f.number(n)) }

// numbers reads a list of 16-bit numbers.
func numbers(b []byte) []uint16 {
	var all []uint16
	for ; len(b) >= 2; b = b[2:] {
		all = append(all, binary.BigEndian.Uint16(b))
	}
	return all
}

// A hello is what a ClientHello says about the client and its wish.
type hello struct {
	random     [32]byte
	version    uint16 // the legacy field
	ciphers    []uint16
	extensions []uint16
	versions   []uint16
	signatures []uint16
	serverName string
	protocols  []string
	ech        bool // an encrypted ClientHello, or the pretence of one
	ja4        string
}

// parseHello reads the body of a ClientHello. transport is 't' over TCP and 'q'
// over QUIC. It is strict: a body with a field that does not fit is none.
func parseHello(b []byte, transport byte) (*hello, bool) {
	f := fields{b, true}
	h := &hello{version: uint16(f.number(2))} // #nosec G115 -- two bytes
	copy(h.random[:], f.take(32))
	f.vector(1) // session
	ciphers := f.vector(2)
	f.vector(1) // compression
	if !f.ok || len(ciphers)%2 != 0 {
		return nil, false
	}
	h.ciphers = numbers(ciphers)
	if len(f.b) > 0 {
		all := fields{f.vector(2), f.ok}
		for all.ok && len(all.b) > 0 {
			kind := uint16(all.number(2)) // #nosec G115 -- two bytes
			value := fields{all.vector(2), all.ok}
			if !all.ok {
				break
			}
			h.extensions = append(h.extensions, kind)
			if !h.extension(kind, &value) {
				return nil, false
			}
		}
		if !all.ok || len(f.b) > 0 {
			return nil, false
		}
	}
	h.ja4 = ja4(h, transport)
	return h, f.ok
}

// extension reads the extensions that are of interest.
func (h *hello) extension(kind uint16, v *fields) bool {
	switch kind {
	case 0: // server_name
		if len(v.b) == 0 {
			return true
		}
		list := fields{v.vector(2), v.ok}
		for list.ok && len(list.b) > 0 {
			name := list.number(1)
			value := list.vector(2)
			if list.ok && name == 0 && h.serverName == "" {
				h.serverName = string(value)
			}
		}
		return list.ok
	case 16: // application_layer_protocol_negotiation
		list := fields{v.vector(2), v.ok}
		for list.ok && len(list.b) > 0 {
			if p := list.vector(1); list.ok {
				h.protocols = append(h.protocols, string(p))
			}
		}
		return list.ok
	case 0xfe0d: // encrypted_client_hello
		h.ech = true
		v.b = nil
	case 43: // supported_versions
		h.versions = numbers(v.vector(1))
	case 13: // signature_algorithms
		h.signatures = numbers(v.vector(2))
	}
	return v.ok
}

func (h *hello) String() string { return fmt.Sprintf("ClientHello to %q", h.serverName) }
