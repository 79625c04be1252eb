package dissect

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"golang.org/x/crypto/chacha20"
)

// Versions of QUIC that are decrypted.
const (
	quic1       = 1
	quic2       = 0x6b3343cf
	quicDraft29 = 0xff00001d
)

// Salts from which the keys of Initial packets come, by version (RFC 9001,
// section 5.2; RFC 9369, section 3.3.1; draft-ietf-quic-tls-29).
var quicSalts = map[uint32]string{
	quic1:       "38762cf7f55934b34d179ae6a4c80cadccbb7f0a",
	quic2:       "0dede3def700a6db819381be6e269dcbf9bd2ed9",
	quicDraft29: "afbfec289993d24c9e9786f19c6111e04390a899",
}

const (
	// sampleSize is how much of a packet masks its header (RFC 9001, section 5.4.2).
	sampleSize = 16
	// maxAhead bounds the generations of keys that are tried beyond the present
	// one: packets of those between may be missing.
	maxAhead = 4
)

// quicKeys open the packets of one side at one level of encryption, under one
// generation of keys.
type quicKeys struct {
	suite   *suite
	secret  []byte
	version uint32
	aead    cipher.AEAD
	iv      []byte
	mask    func(sample []byte) [5]byte // the same for all generations
	phase   byte                        // the key phase bit of this generation
	next    *quicKeys                   // made when it is asked for
	prev    *quicKeys
}

// quicLabel is the prefix of the labels by which a version derives its keys.
func quicLabel(version uint32) string {
	if version == quic2 {
		return "quicv2 "
	}
	return "quic "
}

// newQUICKeys are the keys that follow from a traffic secret, nil where the
// secret does not fit the suite.
func newQUICKeys(s *suite, secret []byte, version uint32) *quicKeys {
	k := sealKeys(s, secret, version)
	if k == nil {
		return nil
	}
	hp := expandLabel(s.hash, secret, quicLabel(version)+"hp", s.key)
	if s == suites[0x1303] {
		k.mask = func(sample []byte) (mask [5]byte) {
			c, err := chacha20.NewUnauthenticatedCipher(hp, sample[4:sampleSize])
			if err == nil {
				c.SetCounter(binary.LittleEndian.Uint32(sample))
				c.XORKeyStream(mask[:], mask[:])
			}
			return mask
		}
		return k
	}
	block, err := aes.NewCipher(hp)
	if err != nil {
		return nil
	}
	k.mask = func(sample []byte) (mask [5]byte) {
		var out [sampleSize]byte
		block.Encrypt(out[:], sample[:sampleSize])
		copy(mask[:], out[:])
		return mask
	}
	return k
}

// sealKeys are the keys of the payload alone.
func sealKeys(s *suite, secret []byte, version uint32) *quicKeys {
	if s == nil || s.aead == nil || s.explicit != 0 || len(secret) != s.hash().Size() {
		return nil
	}
	label := quicLabel(version)
	aead, err := s.aead(expandLabel(s.hash, secret, label+"key", s.key))
	if err != nil {
		return nil
	}
	return &quicKeys{suite: s, secret: secret, version: version, aead: aead, iv: expandLabel(s.hash, secret, label+"iv", 12)}
}

// updated are the keys of the next generation (RFC 9001, section 6).
func (k *quicKeys) updated() *quicKeys {
	if k.next == nil {
		n := sealKeys(k.suite, expandLabel(k.suite.hash, k.secret, quicLabel(k.version)+"ku", len(k.secret)), k.version)
		if n == nil {
			return nil
		}
		n.mask, n.phase = k.mask, k.phase^1
		k.next = n
	}
	return k.next
}

// initialKeys are the keys of Initial packets, which follow from the connection
// id that the client made up: of the client's for side 0, of the server's for 1.
func initialKeys(dcid string, version uint32, side int) *quicKeys {
	salt, err := hex.DecodeString(quicSalts[version])
	if err != nil || len(salt) == 0 {
		return nil
	}
	first, err := hkdf.Extract(sha256.New, []byte(dcid), salt)
	if err != nil {
		return nil
	}
	label := "client in"
	if side == 1 {
		label = "server in"
	}
	return newQUICKeys(suites[0x1301], expandLabel(sha256.New, first, label, sha256.Size), version)
}

// quicSuites are the suites that a secret may belong to.
func quicSuites(secret []byte) []*suite {
	switch len(secret) {
	case 32:
		return []*suite{suites[0x1301], suites[0x1303]}
	case 48:
		return []*suite{suites[0x1302]}
	}
	return nil
}

// A quicPacket is one packet as it was sent.
type quicPacket struct {
	b      []byte
	number int // where its packet number begins
	// plain is a buffer for the contents.
	plain []byte
}

// unmask is the first byte without its protection, and the packet number with
// its length in bytes.
func (k *quicKeys) unmask(p *quicPacket) (first byte, number uint64, n int, ok bool) {
	at := p.number + 4
	if len(p.b) < at+sampleSize {
		return 0, 0, 0, false
	}
	mask := k.mask(p.b[at:])
	bits := byte(0x1f)
	if p.b[0]&0x80 != 0 {
		bits = 0x0f
	}
	first = p.b[0] ^ mask[0]&bits
	n = int(first&3) + 1
	for i, c := range p.b[p.number : p.number+n] {
		number = number<<8 | uint64(c^mask[1+i])
	}
	return first, number, n, true
}

// fullNumber is the packet number of which the lowest n bytes were sent, beside
// the highest one that was seen (RFC 9000, appendix A.3). expected is one more
// than that.
func fullNumber(expected, short uint64, n int) uint64 {
	window := uint64(1) << (8 * n)
	number := expected&^(window-1) | short
	switch {
	case number+window/2 <= expected && number < 1<<62-window:
		return number + window
	case number > expected+window/2 && number >= window:
		return number - window
	}
	return number
}

// open decrypts a packet whose header is unmasked. The contents stand in p.plain
// until the next call.
func (k *quicKeys) open(p *quicPacket, first byte, number, short uint64, n int) ([]byte, bool) {
	start := p.number + n
	if len(p.b) < start+k.aead.Overhead() {
		return nil, false
	}
	var room [64]byte
	header := append(room[:0], p.b[:start]...)
	header[0] = first
	for i := range n {
		header[start-1-i] = byte(short >> (8 * i))
	}
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], number)
	for i, b := range k.iv {
		nonce[i] ^= b
	}
	plain, err := k.aead.Open(p.plain[:0], nonce[:], p.b[start:], header)
	if err != nil {
		return nil, false
	}
	p.plain = plain
	return plain, true
}

// generation opens a packet with these keys or those of a generation near them.
// It returns the keys that fitted.
func (k *quicKeys) generation(p *quicPacket, expected uint64) (*quicKeys, []byte, uint64, bool) {
	first, short, n, ok := k.unmask(p)
	if !ok {
		return nil, nil, 0, false
	}
	number := fullNumber(expected, short, n)
	try := k
	for range maxAhead + 1 {
		if try == nil {
			break
		}
		if p.b[0]&0x80 != 0 || first>>2&1 == try.phase {
			if plain, ok := try.open(p, first, number, short, n); ok {
				return try, plain, number, true
			}
		}
		if p.b[0]&0x80 != 0 {
			return nil, nil, 0, false // Long headers know no generations.
		}
		try = try.updated()
	}
	if k.prev != nil && first>>2&1 == k.prev.phase {
		if plain, ok := k.prev.open(p, first, number, short, n); ok {
			return k.prev, plain, number, true
		}
	}
	return nil, nil, 0, false
}
