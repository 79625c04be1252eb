package adbd_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/devices/sim/adbd"
)

// A key is one host's.
type key struct {
	testing.TB

	private *rsa.PrivateKey
}

var newKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func makeKey(t testing.TB) key {
	t.Helper()
	k, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return key{t, k}
}

// public is the key as a host offers it.
func (k key) public() string {
	n := k.private.N
	word := new(big.Int).Lsh(big.NewInt(1), 32)
	inverse := new(big.Int).ModInverse(n, word)
	inverse.Sub(word, inverse)
	rr := new(big.Int).Lsh(big.NewInt(1), 4096)
	rr.Mod(rr, n)
	little := func(i *big.Int) []byte {
		b := i.FillBytes(make([]byte, 256))
		slices.Reverse(b)
		return b
	}
	b := binary.LittleEndian.AppendUint32(nil, 64)
	b = binary.LittleEndian.AppendUint32(b, uint32(inverse.Uint64())) //nolint:gosec // 32 bits.
	b = append(append(b, little(n)...), little(rr)...)
	b = binary.LittleEndian.AppendUint32(b, uint32(k.private.E)) //nolint:gosec // 65537.
	return base64.StdEncoding.EncodeToString(b) + " somebody@host\x00"
}

func (k key) sign(token string) string {
	k.Helper()
	s, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA1, []byte(token))
	if err != nil {
		k.Fatal(err)
	}
	return string(s)
}

// challenged reads a challenge.
func (h *host) challenged() string {
	h.Helper()
	m := h.next()
	if m.command != auth || m.arg0 != 1 || len(m.data) != 20 {
		h.Fatalf("%v came, wanted a challenge", m)
	}
	return m.data
}

func TestAuthentication(t *testing.T) {
	_, tr := serve(t, true)
	k := makeKey(t)
	h := dial(t, tr)
	h.greet()
	first := h.challenged()
	h.send(message{open, 1, 0, "exec:cat\x00"}) // not yet
	h.send(message{auth, 2, 0, k.sign(first)})
	if second := h.challenged(); second == first {
		t.Error("the same challenge twice")
	}
	h.send(message{auth, 3, 0, k.public()})
	h.expectBanner("device")
	h.open(1, "exec:cat")

	// The key is remembered, and only a signature of the right challenge counts.
	h = dial(t, tr)
	h.greet()
	token := h.challenged()
	h.send(message{auth, 2, 0, k.sign(first)})
	token2 := h.challenged()
	if token2 == token {
		t.Error("a challenge is used again")
	}
	h.send(message{auth, 2, 0, k.sign(token2)})
	h.expectBanner("device")
}

func TestWrongKeys(t *testing.T) {
	k := makeKey(t)
	good := k.public()
	encode := func(change func(b []byte)) string {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(good, " somebody@host\x00"))
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, text := range map[string]string{
		"nothing": "", "no base64": "!!!! somebody@host", "short": "AAAA", "cut": good[:400],
		"another size":          encode(func(b []byte) { b[0] = 32 }),
		"an even modulus":       encode(func(b []byte) { b[8] &^= 1 }),
		"a short modulus":       encode(func(b []byte) { b[8+255] = 0 }),
		"an exponent of 1":      encode(func(b []byte) { copy(b[len(b)-4:], "\x01\x00\x00\x00") }),
		"an exponent of 2^32-1": encode(func(b []byte) { copy(b[len(b)-4:], "\xff\xff\xff\xff") }),
	} {
		t.Run(name, func(t *testing.T) {
			_, tr := serve(t, true)
			h := dial(t, tr)
			h.greet()
			h.challenged()
			h.send(message{auth, 3, 0, text})
			h.expectEnd()
		})
	}
	t.Run("a kind that is none", func(t *testing.T) {
		_, tr := serve(t, true)
		h := dial(t, tr)
		h.greet()
		h.challenged()
		h.send(message{auth, 4, 0, good})
		h.expectEnd()
	})
	t.Run("guessing for ever", func(t *testing.T) {
		_, tr := serve(t, true)
		h := dial(t, tr)
		h.greet()
		for range 256 {
			h.challenged()
			h.send(message{auth, 2, 0, "guess"})
		}
		h.challenged()
		h.send(message{auth, 2, 0, "guess"})
		h.expectEnd()
	})
}

func TestUnauthorized(t *testing.T) {
	_, tr := serve(t, true)
	k := makeKey(t)
	known := dial(t, tr)
	known.greet()
	known.challenged()
	known.send(message{auth, 3, 0, k.public()})
	known.expectBanner("device")

	tr.SetState(adbd.Unauthorized)
	known.expectEnd()
	h := dial(t, tr)
	h.greet()
	for range 3 { // The phone has forgotten the key.
		h.send(message{auth, 2, 0, k.sign(h.challenged())})
	}
	h.challenged()
	h.send(message{auth, 3, 0, k.public()})
	h.silent()
	tr.SetState(adbd.Device) // A person has said yes.
	h.expectBanner("device")

	// A phone that asks nobody turns hosts away in this state as well.
	_, tr = serve(t, false)
	tr.SetState(adbd.Unauthorized)
	h = dial(t, tr)
	h.greet()
	h.challenged()
	tr.SetState(adbd.Device)
	h.expectBanner("device")
}

// silent sees that nothing comes by itself.
func (h *host) silent() {
	h.Helper()
	if err := h.conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
		h.Fatal(err)
	}
	m, err := h.receive()
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		h.Fatalf("%v came, %v; wanted nothing", m, err)
	}
	if err := h.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		h.Fatal(err)
	}
}

func TestOffline(t *testing.T) {
	_, tr := serve(t, true)
	before := dial(t, tr)
	before.greet()
	before.challenged()
	before.send(message{auth, 3, 0, makeKey(t).public()})
	before.expectBanner("device")
	tr.SetState(adbd.Offline)
	before.expectEnd()
	h := dial(t, tr)
	h.greet()
	h.silent()
	tr.SetState(adbd.Device)
	h.challenged()
	h.send(message{auth, 3, 0, makeKey(t).public()})
	h.expectBanner("device")
}

func TestRecovery(t *testing.T) {
	p, tr := serve(t, false)
	for _, state := range []adbd.State{adbd.Recovery, adbd.Sideload, adbd.Rescue} {
		tr.SetState(state)
		h := dial(t, tr)
		h.greet()
		h.expectBanner(string(state))
		h.send(message{open, 1, 0, "shell,v2,raw:fail 0\x00"})
		h.expect(message{clse, 0, 1, ""})
		h.open(1, "reboot:")
		if into := <-p.Reboots; into != "" {
			t.Errorf("reboots into %q", into)
		}
	}
}

// TestAbsent takes the phone away and brings it back, at the same address.
func TestAbsent(t *testing.T) {
	_, tr := serve(t, false)
	for range 3 {
		h := connect(t, tr)
		phone := h.open(1, "exec:cat")
		tr.SetState(adbd.Absent)
		h.expectEnd()
		if _, err := net.Dial("tcp", tr.Addr()); !errors.Is(err, syscall.ECONNREFUSED) { //nolint:noctx // A test.
			t.Errorf("an absent phone: %v", err)
		}
		tr.SetState(adbd.Device)
		// It listens again a moment later.
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			conn, err := net.Dial("tcp", tr.Addr()) //nolint:noctx // A test.
			if err == nil {
				_ = conn.Close()
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		h = connect(t, tr)
		h.send(message{wrte, 1, phone, "for a stream of another connection"})
		if got := h.drain(1, h.open(1, "exec:fail 0")); got != "o0e" {
			t.Errorf("after coming back: %q", got)
		}
	}
}

// TestTheAddressIsTaken brings a phone back while somebody else has its port.
func TestTheAddressIsTaken(t *testing.T) {
	_, tr := serve(t, false)
	tr.SetState(adbd.Absent)
	ln, err := net.Listen("tcp", tr.Addr()) //nolint:noctx // A test.
	if err != nil {
		t.Fatal(err)
	}
	tr.SetState(adbd.Device)
	h := dial(t, tr) // It leads to somebody else.
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if _, err := h.receive(); !errors.Is(err, io.EOF) {
		t.Errorf("somebody else says %v", err)
	}
	_ = ln.Close()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("tcp", tr.Addr()); err == nil { //nolint:noctx // A test.
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the phone does not listen again")
		}
	}
	connect(t, tr)
}
