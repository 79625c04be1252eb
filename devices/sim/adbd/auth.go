package adbd

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
)

// The kinds of AUTH.
const (
	authToken     = 1 // the daemon's challenge
	authSignature = 2 // the host's signature of it
	authPublicKey = 3 // a key that the host asks a person to allow
)

const (
	tokenSize = 20
	// modulusSize is that of RSA with 2048 bits, the only keys that adb makes.
	modulusSize = 2048 / 8
	// keySize is that of a key in the form of Android's libcrypto_utils: the
	// modulus's size in words, its negative inverse, the modulus and a number for
	// Montgomery's multiplication, both little endian, and the exponent.
	keySize = 4 + 4 + modulusSize + modulusSize + 4

	// maxAttempts is how many signatures one connection may try.
	maxAttempts = 256
)

// parseKey reads the public key that a host offers: its base64, a blank and the
// host's name for itself.
func parseKey(text []byte) (*rsa.PublicKey, error) {
	text = bytes.TrimRight(text, "\x00")
	text, _, _ = bytes.Cut(text, []byte{' '})
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return nil, errors.New("public key: not base64")
	}
	if len(b) != keySize || binary.LittleEndian.Uint32(b) != modulusSize/4 {
		return nil, errors.New("public key: not an RSA key of 2048 bits")
	}
	modulus := slices.Clone(b[8 : 8+modulusSize])
	slices.Reverse(modulus)
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(binary.LittleEndian.Uint32(b[keySize-4:]))}
	if key.N.BitLen() != 2048 || key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 || key.E > 1<<16+1 {
		return nil, errors.New("public key: no modulus or exponent of RSA")
	}
	return key, nil
}

// signed reports whether a key's owner signed the token, which stands in the
// place of a SHA-1 digest.
func signed(key *rsa.PublicKey, token, signature []byte) bool {
	return rsa.VerifyPKCS1v15(key, crypto.SHA1, token, signature) == nil
}
