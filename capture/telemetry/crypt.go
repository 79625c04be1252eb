package telemetry

import (
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/offproof/offproof/capture/payload"
)

// decryptECB decrypts AES blocks one by one, without the padding of PKCS #7.
func decryptECB(key, sealed []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	for i := 0; i < len(sealed); i += aes.BlockSize {
		block.Decrypt(out[i:], sealed[i:i+aes.BlockSize])
	}
	return unpad(out)
}

// decryptCBC decrypts a chain of AES blocks, without the padding of PKCS #7.
func decryptCBC(key, iv, sealed []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil || len(iv) != aes.BlockSize || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, false
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, sealed)
	return unpad(out)
}

func unpad(b []byte) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize || n > len(b) || bytes.Count(b[len(b)-n:], []byte{byte(n)}) != n {
		return nil, false
	}
	return b[:len(b)-n], true
}

var errTooLong = errors.New("more content than payload.MaxOutput allows")

// gunzip decompresses. It returns what came before an error too.
func gunzip(b []byte) ([]byte, error) {
	in, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(in, payload.MaxOutput+1))
	if err == nil && len(out) > payload.MaxOutput {
		return out[:payload.MaxOutput], errTooLong
	}
	return out, err
}

// unbase64 decodes base64 of either alphabet, padded or not, in which plus
// signs may have become blanks. It returns what came before an error too.
func unbase64(s string) ([]byte, error) {
	s = strings.NewReplacer(" ", "+", "-", "+", "_", "/").Replace(strings.TrimSpace(s))
	s = strings.TrimRight(s, "=")
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(out, []byte(s))
	return out[:n], err
}
