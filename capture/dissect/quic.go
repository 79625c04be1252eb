package dissect

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/offproof/offproof/capture"
)

const (
	// maxInitials bounds the datagrams of a flow that are tried for a ClientHello.
	maxInitials = 32
	maxPieces   = 256
)

// datagrams is what UDP adds to a flow.
type datagrams struct {
	initial cipher.AEAD // of the client's Initial packets
	protect cipher.Block
	iv      []byte
	dcid    string
	version uint32
	tries   int
	pieces  []piece
	done    bool
}

// A piece is a part of the crypto stream of a handshake.
type piece struct {
	offset int
	data   []byte
}

// datagram takes the payload of a UDP datagram.
func (e *engine) datagram(f *flow, dir int, b []byte, at time.Time) {
	for _, end := range f.ends {
		switch end.Port() {
		case 53, 5353, 5355: // DNS, multicast DNS, LLMNR
			if m, ok := parseDNS(b); ok {
				e.message(f, dir, m, at)
				return
			}
		}
	}
	version, ok := quicVersion(b)
	switch {
	case ok:
		f.app, f.visibility = appQUIC, capture.Metadata
		if f.udp == nil {
			f.udp = &datagrams{}
			// What was kept of this flow before is encrypted too.
			f.kept = [2]*keptBytes{f.kept[0].forget(), f.kept[1].forget()}
		}
		f.udp.initials(f, dir, b, version)
	case f.app != appQUIC:
		f.keepUnread(e, dir, b)
	}
}

// forget drops the bytes that turned out to be of a known protocol.
func (k *keptBytes) forget() *keptBytes {
	if k != nil {
		k.data, k.truncated = nil, false
	}
	return k
}

// quicVersion recognises a long header of QUIC and returns its version.
func quicVersion(b []byte) (uint32, bool) {
	if len(b) < 7 || b[0]&0xc0 != 0xc0 {
		return 0, false
	}
	v := binary.BigEndian.Uint32(b[1:])
	known := v == 1 || v == 0x6b3343cf || v>>8 == 0xff0000 || v>>24 == 'Q' && isDigits(b[2:5]) || v>>24 == 'T' && isDigits(b[2:5])
	if !known {
		return 0, false
	}
	f := fields{b[5:], true}
	dcid := f.vector(1)
	scid := f.vector(1)
	return v, f.ok && (len(dcid) <= 20 && len(scid) <= 20 || v>>24 == 'Q')
}

func isDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Salts from which the keys of Initial packets come, by version.
var quicSalts = map[uint32]string{
	1:          "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
	0x6b3343cf: "0dede3def700a6db819381be6e269dcbf9bd2ed9",
	0xff00001d: "afbfec289993d24c9e9786f19c6111e04390a899",
}

// initials looks through the packets of a datagram for Initial packets of the
// client, whose keys follow from what they say in clear.
func (d *datagrams) initials(f *flow, dir int, b []byte, version uint32) {
	if d.done || d.tries >= maxInitials || quicSalts[version] == "" {
		return
	}
	d.tries++
	for len(b) > 7 && b[0]&0x80 != 0 && binary.BigEndian.Uint32(b[1:]) == version {
		g := fields{b[5:], true}
		dcid := g.vector(1)
		g.vector(1)
		kind := b[0] >> 4 & 3
		if version == 0x6b3343cf {
			kind = (kind + 3) & 3 // version 2 numbers the kinds one higher
		}
		if kind == 3 {
			return // a Retry has no length
		}
		if kind == 0 {
			g.take(int(min(quicNumber(&g), 1<<16))) // #nosec G115 -- bounded
		}
		size := quicNumber(&g)
		if !g.ok || size > uint64(len(g.b)) {
			return
		}
		start := len(b) - len(g.b)
		end := start + int(size) // #nosec G115 -- not more than the datagram
		if kind == 0 && d.open(f, dir, b[:end], start, string(dcid), version) {
			return
		}
		b = b[end:]
	}
}

// quicNumber reads a number of variable length.
func quicNumber(f *fields) uint64 {
	if !f.ok || len(f.b) == 0 {
		f.ok = false
		return 0
	}
	n := 1 << (f.b[0] >> 6)
	v := uint64(f.b[0] & 0x3f)
	for i, c := range f.take(n) {
		if i > 0 {
			v = v<<8 | uint64(c)
		}
	}
	return v
}

// open decrypts an Initial packet and reads its frames. It answers true when
// the ClientHello is complete.
func (d *datagrams) open(f *flow, dir int, b []byte, start int, dcid string, version uint32) bool {
	// The keys come from the first destination that the client named; it may
	// name another one after a Retry.
	payload, ok := d.decrypt(b, start)
	if !ok && (d.dcid != dcid || d.version != version) {
		if d.keys(dcid, version) != nil {
			return false
		}
		if payload, ok = d.decrypt(b, start); ok {
			d.pieces = nil
		}
	}
	if !ok {
		return false
	}
	f.ask(dir)
	d.frames(payload)
	message := d.join()
	if len(message) < 4 || message[0] != 1 {
		return false
	}
	size := 4 + int(message[1])<<16 + int(message[2])<<8 + int(message[3])
	if len(message) < size {
		return false
	}
	if h, ok := parseHello(message[4:size], 'q'); ok && f.hello == nil {
		f.hello = h
	}
	d.done, d.pieces = true, nil
	return true
}

// keys derives the client's keys for Initial packets.
func (d *datagrams) keys(dcid string, version uint32) error {
	salt, err := hex.DecodeString(quicSalts[version])
	if err != nil {
		return err
	}
	first, err := hkdf.Extract(sha256.New, []byte(dcid), salt)
	if err != nil {
		return err
	}
	prefix := "quic "
	if version == 0x6b3343cf {
		prefix = "quicv2 "
	}
	client, err := expand(first, "client in", 32)
	if err != nil {
		return err
	}
	var key, iv, hp []byte
	for _, k := range []struct {
		to    *[]byte
		label string
		n     int
	}{{&key, prefix + "key", 16}, {&iv, prefix + "iv", 12}, {&hp, prefix + "hp", 16}} {
		if *k.to, err = expand(client, k.label, k.n); err != nil {
			return err
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if d.initial, err = cipher.NewGCM(block); err != nil {
		return err
	}
	if d.protect, err = aes.NewCipher(hp); err != nil {
		return err
	}
	d.iv, d.dcid, d.version = iv, dcid, version
	return nil
}

// expand is HKDF-Expand-Label of TLS 1.3, without a context.
func expand(secret []byte, label string, n int) ([]byte, error) {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
}

// decrypt removes the protection of an Initial packet, whose packet number is
// at start.
func (d *datagrams) decrypt(b []byte, start int) ([]byte, bool) {
	if d.initial == nil || len(b) < start+4+16 {
		return nil, false
	}
	var mask [16]byte
	d.protect.Encrypt(mask[:], b[start+4:start+20])
	first := b[0] ^ mask[0]&0x0f
	n := int(first&3) + 1
	header := append([]byte(nil), b[:start+n]...)
	header[0] = first
	nonce := append([]byte(nil), d.iv...)
	number := uint64(0)
	for i := range n {
		header[start+i] ^= mask[1+i]
		number = number<<8 | uint64(header[start+i])
	}
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(number >> (8 * i))
	}
	payload, err := d.initial.Open(nil, nonce, b[start+n:], header)
	return payload, err == nil
}

// frames gathers the CRYPTO frames of a packet.
func (d *datagrams) frames(b []byte) {
	f := fields{b, true}
	for f.ok && len(f.b) > 0 {
		switch quicNumber(&f) {
		case 0, 1: // PADDING, PING
		case 2, 3: // ACK
			quicNumber(&f)
			quicNumber(&f)
			ranges := quicNumber(&f)
			quicNumber(&f)
			for i := uint64(0); i < ranges && f.ok; i++ {
				quicNumber(&f)
				quicNumber(&f)
			}
		case 6: // CRYPTO
			offset, size := quicNumber(&f), quicNumber(&f)
			if offset > maxHello || size > maxHello {
				return
			}
			data := f.take(int(size))
			if f.ok && len(d.pieces) < maxPieces {
				d.pieces = append(d.pieces, piece{int(offset), data})
			}
		default:
			return
		}
	}
}

// join puts the pieces of the crypto stream in order, up to the first hole.
func (d *datagrams) join() []byte {
	var out []byte
	for grown := true; grown; {
		grown = false
		for _, p := range d.pieces {
			if from := len(out) - p.offset; from >= 0 && from < len(p.data) && len(out) < maxHello {
				out = append(out, p.data[from:]...)
				grown = true
			}
		}
	}
	return out
}
