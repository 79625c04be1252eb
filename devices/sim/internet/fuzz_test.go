package internet_test

import (
	"context"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/devices/sim/internet"
)

// FuzzPacket feeds arbitrary bytes to what reads the packets of a phone.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("\x45\x00\x00\x3c\xfa\xaa\x00\x00\x40\x06\x82\x0f\x7f\x00\x00\x01\x7f\x00\x00\x01\xe7\xbb\x1f\x90\xff\x59\x80\xd1\x00\x00\x00\x00\xa0\x02\xff\x80\x00\x00\x00\x00"))
	f.Add(append([]byte{0x60, 0, 0, 0, 0, 8, 17, 64}, make([]byte, 40)...))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, b []byte) {
		if addr, ok := internet.Inspect(b); ok && addr.BitLen() != 32 && addr.BitLen() != 128 {
			t.Errorf("destination %v", addr)
		}
	})
}

// FuzzResolver feeds arbitrary bytes to the resolver.
func FuzzResolver(f *testing.F) {
	n, err := internet.New(context.Background(), internet.Config{})
	if err != nil {
		f.Fatal(err)
	}
	defer n.Close()
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("site.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	packed, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		raw, _, ok := n.Answer(b)
		if !ok {
			return
		}
		var reply dnsmessage.Message
		if err := reply.Unpack(raw); err != nil || !reply.Response {
			t.Errorf("reply %x to %x: %v", raw, b, err)
		}
	})
}
