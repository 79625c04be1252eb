package dissect

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // TLS before 1.2 is made of it.
	"crypto/sha1" //nolint:gosec // TLS is made of it.
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"
)

// Versions of TLS, as they stand on the wire.
const (
	tls10 = 0x0301
	tls11 = 0x0302
	tls12 = 0x0303
	tls13 = 0x0304
)

// A suite is what a cipher suite is made of.
type suite struct {
	key  int
	hash func() hash.Hash // of TLS 1.3's schedule, and of the PRF of TLS 1.2
	aead func(key []byte) (cipher.AEAD, error)
	// explicit is how many bytes of the nonce stand in each record, iv how many
	// come from the key block.
	explicit, iv int
	mac          func() hash.Hash // of a suite in CBC mode, else nil
	macKey       int
}

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// suites are the cipher suites that are decrypted: those that browsers, Android
// and its apps offer.
var suites = func() map[uint16]*suite {
	all := map[uint16]*suite{
		0x1301: {key: 16, hash: sha256.New, aead: gcm, iv: 12},
		0x1302: {key: 32, hash: sha512.New384, aead: gcm, iv: 12},
		0x1303: {key: 32, hash: sha256.New, aead: chacha20poly1305.New, iv: 12},
	}
	for _, n := range []uint16{0x009c, 0x009e, 0xc02b, 0xc02f} {
		all[n] = &suite{key: 16, hash: sha256.New, aead: gcm, explicit: 8, iv: 4}
	}
	for _, n := range []uint16{0x009d, 0x009f, 0xc02c, 0xc030} {
		all[n] = &suite{key: 32, hash: sha512.New384, aead: gcm, explicit: 8, iv: 4}
	}
	for _, n := range []uint16{0xcca8, 0xcca9, 0xccaa} {
		all[n] = &suite{key: 32, hash: sha256.New, aead: chacha20poly1305.New, iv: 12}
	}
	cbc := func(key, macKey int, prf, mac func() hash.Hash, numbers ...uint16) {
		for _, n := range numbers {
			all[n] = &suite{key: key, hash: prf, mac: mac, macKey: macKey, iv: 16}
		}
	}
	cbc(16, 20, sha256.New, sha1.New, 0x002f, 0x0033, 0xc009, 0xc013)
	cbc(32, 20, sha256.New, sha1.New, 0x0035, 0x0039, 0xc00a, 0xc014)
	cbc(16, 32, sha256.New, sha256.New, 0x003c, 0x0067, 0xc023, 0xc027)
	cbc(32, 32, sha256.New, sha256.New, 0x003d, 0x006b)
	cbc(32, 48, sha512.New384, sha512.New384, 0xc024, 0xc028)
	return all
}()

// An opener decrypts the records of one direction, in order.
type opener struct {
	suite   *suite
	version uint16
	seq     uint64
	secret  []byte // of TLS 1.3, from which the next one follows
	aead    cipher.AEAD
	iv      []byte
	// In CBC mode.
	block     cipher.Block
	mac       hash.Hash
	thenMAC   bool // the MAC is over what was encrypted
	macLength int
}

// expandLabel is HKDF-Expand-Label of RFC 8446, section 7.1, with an empty
// context.
func expandLabel(h func() hash.Hash, secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n)) // #nosec G115 -- a key's length
	info = append(info, byte(len("tls13 ")+len(label)))   // #nosec G115 -- a short label
	info = append(info, "tls13 "+label...)
	out, err := hkdf.Expand(h, secret, string(append(info, 0)), n)
	if err != nil {
		return nil
	}
	return out
}

// newOpener13 is an opener for records under a traffic secret of TLS 1.3, nil
// where the secret does not fit.
func newOpener13(s *suite, secret []byte) *opener {
	if s == nil || s.aead == nil || s.explicit != 0 || len(secret) != s.hash().Size() {
		return nil
	}
	key := expandLabel(s.hash, secret, "key", s.key)
	aead, err := s.aead(key)
	if key == nil || err != nil {
		return nil
	}
	return &opener{suite: s, version: tls13, secret: secret, aead: aead, iv: expandLabel(s.hash, secret, "iv", 12)}
}

// next is the opener after a KeyUpdate.
func (o *opener) next() *opener {
	return newOpener13(o.suite, expandLabel(o.suite.hash, o.secret, "traffic upd", len(o.secret)))
}

// prf is the pseudo-random function of TLS before 1.3.
func prf(version uint16, h func() hash.Hash, secret []byte, label string, seed []byte, n int) []byte {
	seed = append([]byte(label), seed...)
	if version >= tls12 {
		return expandP(h, secret, seed, n)
	}
	half := (len(secret) + 1) / 2
	out := expandP(md5.New, secret[:half], seed, n)
	for i, b := range expandP(sha1.New, secret[len(secret)-half:], seed, n) {
		out[i] ^= b
	}
	return out
}

// expandP is P_hash of RFC 5246, section 5.
func expandP(h func() hash.Hash, secret, seed []byte, n int) []byte {
	sum := func(parts ...[]byte) []byte {
		mac := hmac.New(h, secret)
		for _, p := range parts {
			mac.Write(p)
		}
		return mac.Sum(nil)
	}
	var out []byte
	for a := sum(seed); len(out) < n; a = sum(a) {
		out = append(out, sum(a, seed)...)
	}
	return out[:n]
}

// newOpeners12 are the openers of the client's and the server's records under a
// master secret of TLS before 1.3; nil where they cannot be made.
func newOpeners12(version uint16, s *suite, master []byte, client, server [32]byte, thenMAC bool) (ours, theirs *opener) {
	if s == nil || s.aead != nil && (version != tls12 || s.key == 0) || len(master) != 48 || version < tls10 || version > tls12 {
		return nil, nil
	}
	iv := s.iv
	if s.mac != nil && version > tls10 {
		iv = 0 // each record has its own
	}
	seed := append(append([]byte(nil), server[:]...), client[:]...)
	block := fields{prf(version, s.hash, master, "key expansion", seed, 2*(s.macKey+s.key+iv)), true}
	macs := [2][]byte{block.take(s.macKey), block.take(s.macKey)}
	keys := [2][]byte{block.take(s.key), block.take(s.key)}
	ivs := [2][]byte{block.take(iv), block.take(iv)}
	var both [2]*opener
	for i := range both {
		o := &opener{suite: s, version: version, iv: ivs[i], thenMAC: thenMAC}
		var err error
		if s.mac == nil {
			o.aead, err = s.aead(keys[i])
		} else {
			o.block, err = aes.NewCipher(keys[i])
			o.mac, o.macLength = hmac.New(s.mac, macs[i]), s.macKey
		}
		if err != nil {
			return nil, nil
		}
		both[i] = o
	}
	return both[0], both[1]
}

// open decrypts one record. head is its header as it was sent. The content is
// that of kind, which under TLS 1.3 stands inside.
func (o *opener) open(head [5]byte, body []byte) (kind byte, content []byte, ok bool) {
	kind = head[0]
	switch {
	case o.mac != nil:
		content, ok = o.openCBC(head, body)
	default:
		content, ok = o.openAEAD(head, body)
	}
	if !ok {
		return 0, nil, false
	}
	o.seq++
	if o.version != tls13 {
		return kind, content, true
	}
	for n := len(content) - 1; n >= 0; n-- {
		if content[n] != 0 {
			return content[n], content[:n], true
		}
	}
	return 0, nil, false
}

func (o *opener) openAEAD(head [5]byte, body []byte) ([]byte, bool) {
	if len(body) < o.suite.explicit+o.aead.Overhead() {
		return nil, false
	}
	nonce := make([]byte, 12)
	extra := head[:]
	if o.suite.explicit > 0 {
		copy(nonce, o.iv)
		copy(nonce[4:], body[:8])
	} else {
		binary.BigEndian.PutUint64(nonce[4:], o.seq)
		for i, b := range o.iv {
			nonce[i] ^= b
		}
	}
	sealed := body[o.suite.explicit:]
	if o.version != tls13 {
		extra = o.header(head, len(sealed)-o.aead.Overhead())
	}
	content, err := o.aead.Open(nil, nonce, sealed, extra)
	return content, err == nil
}

// header is what a MAC before TLS 1.3 covers beside the content.
func (o *opener) header(head [5]byte, n int) []byte {
	b := binary.BigEndian.AppendUint64(nil, o.seq)
	b = append(b, head[:3]...)
	return binary.BigEndian.AppendUint16(b, uint16(n)) // #nosec G115 -- within a record
}

func (o *opener) openCBC(head [5]byte, body []byte) ([]byte, bool) {
	size := o.block.BlockSize()
	if o.thenMAC {
		n := len(body) - o.macLength
		if n < 0 || !o.genuine(head, body[:n], body[n:]) {
			return nil, false
		}
		body = body[:n]
	}
	iv := o.iv
	if o.version > tls10 {
		if len(body) < size {
			return nil, false
		}
		iv, body = body[:size], body[size:]
	}
	if len(body) == 0 || len(body)%size != 0 {
		return nil, false
	}
	plain := make([]byte, len(body))
	cipher.NewCBCDecrypter(o.block, iv).CryptBlocks(plain, body)
	if o.version == tls10 {
		o.iv = append([]byte(nil), body[len(body)-size:]...)
	}
	padding := int(plain[len(plain)-1]) + 1
	if padding > len(plain) {
		return nil, false
	}
	plain = plain[:len(plain)-padding]
	if o.thenMAC {
		return plain, true
	}
	n := len(plain) - o.macLength
	if n < 0 || !o.genuine(head, plain[:n], plain[n:]) {
		return nil, false
	}
	return plain[:n], true
}

func (o *opener) genuine(head [5]byte, content, mac []byte) bool {
	o.mac.Reset()
	o.mac.Write(o.header(head, len(content)))
	o.mac.Write(content)
	return subtle.ConstantTimeCompare(o.mac.Sum(nil), mac) == 1
}
