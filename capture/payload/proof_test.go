// Nothing here has two goroutines meet, and the race detector would make minutes
// of it: TestPeelFromSeveralGoroutines is what it runs instead.

//go:build !race

package payload_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// lost is true where a quarter of the bytes of a cipher text or more come out
// as something other than opaque.
func lost(root *payload.Node, size int) bool { return opaqueBytes(root)*4 < size*3 }

// buffers is how many random buffers a property is tried on. The whole number
// takes minutes, so it is a sample unless OFFPROOF_EXHAUSTIVE says otherwise.
func buffers(all int) int {
	if on, _ := strconv.ParseBool(os.Getenv("OFFPROOF_EXHAUSTIVE")); on {
		return all * 10
	}
	return all
}

func fill(r *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Random bytes are never anything but opaque: of 200,000 buffers none may lose
// a quarter of its bytes to a format that takes them for its own.
func TestRandomBytesProveNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	formats := map[string]int{}
	misses := 0
	n := buffers(200_000)
	for range n {
		b := fill(r, make([]byte, 16+r.IntN(497)))
		root := payload.Peel(b, "")
		if len(root.Children) > 0 {
			step, _, _ := strings.Cut(root.Children[0].Step, ":")
			formats[step]++
		}
		if lost(root, len(b)) {
			misses++
			t.Logf("%x\n%s", b, tree(root))
		}
	}
	t.Logf("of %d random buffers %d are not opaque; opened as %v", n, misses, formats)
	// Sixteen random bytes are a text in UTF-8 about once in a million.
	if misses > n/500_000 {
		t.Errorf("%d of %d random buffers are not opaque", misses, n)
	}
}

// Nor do random bytes that begin as the formats do.
func TestRandomBytesBehindAnHonestBeginning(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for _, c := range []struct {
		name    string
		begin   func(n int) []byte
		allowed int // of 20,000
	}{
		{"a protobuf tag", func(int) []byte { return []byte{0x0a} }, 0},
		{"a protobuf number", func(int) []byte { return []byte{0x08, 1, 0x10} }, 0},
		{"a protobuf string", func(int) []byte { return append([]byte{0x0a, 19}, "com.android.browser"...) }, 40},
		{"a MessagePack map", func(n int) []byte { return []byte{0x80 | byte(n&15)} }, 0},
		{"a MessagePack list", func(n int) []byte { return []byte{0x90 | byte(n&15)} }, 0},
		{"a MessagePack name", func(n int) []byte { return append([]byte{0x82, 0xb3}, "com.android.browser"...) }, 40},
		{"a CBOR map", func(n int) []byte { return []byte{0xa0 | byte(n&15)} }, 0},
		{"a CBOR list", func(n int) []byte { return []byte{0x80 | byte(n&15)} }, 0},
		{"CBOR without end", func(int) []byte { return []byte{0xbf} }, 0},
		{"a CBOR name", func(n int) []byte { return append([]byte{0xa2, 0x73}, "com.android.browser"...) }, 40},
		{"brotli", func(int) []byte { return []byte{0x0b} }, 0},
		{"deflate", func(int) []byte { return []byte{0x03} }, 0},
		{"a WebSocket head", func(n int) []byte { return []byte{0x81, 0x80 | byte(n-6)} }, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			misses := 0
			var example string
			for range 20_000 {
				n := 16 + r.IntN(100)
				tail := fill(r, make([]byte, n))
				if root := payload.Peel(append(c.begin(n), tail...), ""); lost(root, n) {
					misses++
					example = tree(root)
				}
			}
			t.Logf("%d of 20000", misses)
			if misses > c.allowed {
				t.Errorf("%d of 20000 are not opaque, at most %d may:\n%s", misses, c.allowed, example)
			}
		})
	}
}

// ciphertext is what AES-GCM makes of a text, with its nonce in front.
func ciphertext(tb testing.TB, r *rand.Rand, size int) []byte {
	tb.Helper()
	block, err := aes.NewCipher(fill(r, make([]byte, 16)))
	must(tb, err)
	gcm, err := cipher.NewGCM(block)
	must(tb, err)
	nonce := fill(r, make([]byte, gcm.NonceSize()))
	text := []byte(strings.Repeat(`{"event":"search","word":"zuvkomir"}`, 1+size/30))[:size]
	return gcm.Seal(nonce, nonce, text, nil)
}

// Cipher text inside of any format is an opaque leaf of its own, byte for byte.
func TestCipherTextInsideFormats(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 17))
	for _, d := range disguises {
		if d.text || d.name == "URL" {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			for _, size := range []int{4, 16, 40, 64, 100, 333, 1024, 5000} {
				for range 8 {
					secret := ciphertext(t, r, size)
					root := payload.Peel(d.wrap(t, secret), "")
					found := false
					for leaf := range payload.Leaves(body(root)) {
						// Hex and base32 that nobody can read stay as they are.
						value := string(leaf.Value)
						found = found || leaf.Kind == payload.KindOpaque && (value == string(secret) || strings.EqualFold(value, hex.EncodeToString(secret)) ||
							strings.TrimRight(value, "=") == strings.TrimRight(base32.StdEncoding.EncodeToString(secret), "="))
					}
					if !found {
						t.Fatalf("%d bytes are no opaque leaf:\n%s", len(secret), tree(root))
					}
				}
			}
		})
	}
}

// What one format says of random values beside honest ones: the fields of a
// proven message are judged one by one.
func TestRandomFieldsOfHonestMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 29))
	misses, n := 0, 20_000
	for i := range n {
		secret := fill(r, make([]byte, 16+i%64))
		doc := firebaseWith(secret)
		root := payload.Peel(doc, "")
		if opaqueBytes(root) < len(secret) {
			misses++
			if misses < 4 {
				t.Log(fmt.Sprintf("%x\n", secret) + tree(root))
			}
		}
	}
	t.Logf("%d of %d", misses, n)
	if misses > 2 {
		t.Errorf("%d of %d random fields are not opaque", misses, n)
	}
}
