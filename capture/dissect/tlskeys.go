package dissect

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
)

// Labels of a key log.
const (
	labelMaster          = "CLIENT_RANDOM"
	labelClientEarly     = "CLIENT_EARLY_TRAFFIC_SECRET"
	labelClientHandshake = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
	labelServerHandshake = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
	labelClientTraffic   = "CLIENT_TRAFFIC_SECRET_0"
	labelServerTraffic   = "SERVER_TRAFFIC_SECRET_0"
)

// maxWaiting bounds the sealed records of one direction that wait until the keys
// are known.
const maxWaiting = 1 << 20

// tlsKeys are what a handshake settles, with the conversation's secrets.
type tlsKeys struct {
	known     map[string][]byte // secrets by label, nil for none
	client    [32]byte
	clientDir int
	server    [32]byte
	version   uint16
	suite     *suite
	thenMAC   bool
	begun     bool
}

// retryRandom is the random number of a ServerHello that is a HelloRetryRequest
// (RFC 8446, section 4.1.3).
var retryRandom, _ = hex.DecodeString("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

// answer reads the body of a ServerHello. again is true for a HelloRetryRequest.
func (k *tlsKeys) answer(b []byte) (again, ok bool) {
	f := fields{b, true}
	version := uint16(f.number(2)) // #nosec G115 -- two bytes
	random := f.take(32)
	f.vector(1)                   // session
	number := uint16(f.number(2)) // #nosec G115 -- two bytes
	f.take(1)                     // compression
	if !f.ok {
		return false, false
	}
	if len(f.b) > 0 {
		all := fields{f.vector(2), f.ok}
		for all.ok && len(all.b) > 0 {
			kind, value := all.number(2), all.vector(2)
			switch {
			case kind == 43 && len(value) == 2: // supported_versions
				version = uint16(value[0])<<8 | uint16(value[1])
			case kind == 22 && all.ok: // encrypt_then_mac
				k.thenMAC = true
			}
		}
		if !all.ok {
			return false, false
		}
	}
	copy(k.server[:], random)
	k.version, k.suite = version, suites[number]
	return bytes.Equal(random, retryRandom), true
}

// secretsOf is what the key logs say of a conversation.
func (e *engine) secretsOf(random [32]byte) map[string][]byte {
	if known := e.o.KeyLog.of(random); known != nil {
		return known
	}
	return e.inFile.of(random)
}

// wanted says whether the contents of a direction's records are looked at: there
// are secrets, and nothing has shown that they do not fit.
func (t *tlsTalk) wanted(dir int) bool {
	s := &t.side[dir]
	return t.keys.known != nil && !s.lost && (s.open != nil || !t.keys.begun)
}

// begin makes the keys, once the hellos have settled them.
func (t *tlsTalk) begin() {
	k := &t.keys
	if k.known == nil || k.begun {
		return
	}
	k.begun = true
	client, server := &t.side[k.clientDir], &t.side[1-k.clientDir]
	if k.version == tls13 {
		client.open = newOpener13(k.suite, k.known[labelClientHandshake])
		if early := newOpener13(k.suite, k.known[labelClientEarly]); early != nil {
			client.open = early
		}
		server.open = newOpener13(k.suite, k.known[labelServerHandshake])
	} else {
		client.open, server.open = newOpeners12(k.version, k.suite, k.known[labelMaster], k.client, k.server, k.thenMAC)
	}
	for dir := range t.side {
		s := &t.side[dir]
		waits := s.waits
		s.waits, s.waited = nil, 0
		for _, record := range waits {
			t.sealed(dir, record)
		}
	}
}

// sealed takes a whole encrypted record, header included.
func (t *tlsTalk) sealed(dir int, record []byte) {
	s := &t.side[dir]
	if !t.wanted(dir) {
		return
	}
	if !t.keys.begun {
		if s.waited += len(record); s.waited > maxWaiting {
			t.keys.begun = true // The ServerHello will not come.
			t.unfit(dir)
			return
		}
		s.waits = append(s.waits, record)
		return
	}
	head := [5]byte(record)
	kind, content, ok := s.open.open(head, record[5:])
	if !ok && t.keys.version == tls13 && dir == t.keys.clientDir && bytes.Equal(s.open.secret, t.keys.known[labelClientEarly]) {
		// The server took no early data, or the client sent none.
		if later := newOpener13(t.keys.suite, t.keys.known[labelClientHandshake]); later != nil {
			if kind, content, ok = later.open(head, record[5:]); ok {
				s.open = later
			} else if s.secret == nil {
				return // Early data that was refused.
			}
		}
	}
	if !ok {
		t.unfit(dir)
		return
	}
	switch kind {
	case recordApplication:
		t.inside(dir, content)
	case recordHandshake:
		if len(content) > 0 {
			t.hidden(dir, content)
		}
	case recordAlert:
		if len(content) == 2 && content[0] == 2 {
			s.alert = alertName(content[1])
		}
	}
}

// unfit notes that a direction cannot be decrypted with the secrets at hand.
func (t *tlsTalk) unfit(dir int) {
	t.side[dir].open, t.side[dir].waits = nil, nil
	t.engine.unfit++
	if t.inner != nil {
		t.inner.gap(t.engine, t.flow, dir, 1)
	}
	t.flow.sealed = true
}

// inside hands on what was said inside.
func (t *tlsTalk) inside(dir int, content []byte) {
	if len(content) == 0 {
		return
	}
	if t.inner == nil {
		t.inner = &talk{inside: true}
	}
	t.inner.data(t.engine, t.flow, dir, content, t.side[dir].at)
}

// hidden reads handshake messages that were encrypted: those after which the
// keys change, and the certificate.
func (t *tlsTalk) hidden(dir int, content []byte) {
	s := &t.side[dir]
	client := dir == t.keys.clientDir
	if t.keys.version != tls13 {
		if client && content[0] != finished { // It begins anew, or says something else.
			t.flow.keepUnread(t.engine, dir, content)
		}
		return
	}
	s.secret = append(s.secret, content...)
	for len(s.secret) >= 4 {
		size := 4 + int(s.secret[1])<<16 + int(s.secret[2])<<8 + int(s.secret[3])
		if size > maxHello {
			t.unfit(dir)
			return
		}
		if len(s.secret) < size {
			return
		}
		kind, body := s.secret[0], s.secret[4:size]
		s.secret = s.secret[size:]
		var next *opener
		switch {
		case kind == certificate && !client:
			t.flow.certify(body, true)
			continue
		case kind == endOfEarly && client:
			next = newOpener13(t.keys.suite, t.keys.known[labelClientHandshake])
		case kind == finished && client:
			next = newOpener13(t.keys.suite, t.keys.known[labelClientTraffic])
		case kind == finished:
			next = newOpener13(t.keys.suite, t.keys.known[labelServerTraffic])
		case kind == keyUpdate:
			next = s.open.next()
		case kind == certificate:
			t.flow.greet(t.engine, dir, body)
			continue
		default:
			if client && kind != verify {
				t.flow.keepUnread(t.engine, dir, body)
			}
			continue
		}
		if next == nil {
			t.unfit(dir)
			return
		}
		s.open = next
	}
}

// certify notes the names in a server's certificate: the body of a Certificate
// message, whose form TLS 1.3 changed.
func (f *flow) certify(body []byte, hidden bool) {
	m := fields{body, true}
	if hidden {
		m.vector(1) // context
	}
	list := fields{m.vector(3), m.ok}
	first := list.vector(3)
	if !list.ok || len(f.certificate) > 0 {
		return
	}
	if c, err := x509.ParseCertificate(first); err == nil {
		f.certificate = c.DNSNames
	}
}
