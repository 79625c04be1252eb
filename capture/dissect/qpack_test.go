package dissect_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/qpack"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestQPACK has the examples of RFC 9204, appendix B.
func TestQPACK(t *testing.T) {
	table := dissect.NewQPACKTable(220)
	authority, custom := capture.Header{Name: ":authority", Value: "www.example.com"}, capture.Header{Name: "custom-key", Value: "custom-value"}
	path := capture.Header{Name: ":path", Value: "/sample/path"}
	for _, step := range []struct {
		encoder, header string
		want            []capture.Header
	}{
		{"", "0000 510b 2f69 6e64 6578 2e68 746d 6c", []capture.Header{{Name: ":path", Value: "/index.html"}}},
		{"3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468", "0381 1011", []capture.Header{authority, path}},
		{"4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565 02", "0500 80c1 81", []capture.Header{authority, {Name: ":path", Value: "/"}, custom}},
		{"810d 6375 7374 6f6d 2d76 616c 7565 32", "0600 80", []capture.Header{{Name: "custom-key", Value: "custom-value2"}}},
	} {
		header := unhex(t, step.header)
		if step.encoder != "" {
			if _, _, read, waits := table.Header(header); read || !waits {
				t.Errorf("%s does not wait for the table", step.header)
			}
			for _, b := range unhex(t, step.encoder) { // byte by byte
				if !table.Instruct([]byte{b}) {
					t.Fatalf("the instructions %s are not followed", step.encoder)
				}
			}
		}
		if got, _, read, _ := table.Header(header); !read || !slices.Equal(got, step.want) {
			t.Errorf("%s is %v, want %v", step.header, got, step.want)
		}
	}
	if all, n := table.Entries(); n != 5 || len(all) != 4 || all[0] != path {
		t.Errorf("%d entries, of which %v are left", n, all)
	}
	// The first entry has made room.
	if got, _, read, waits := table.Header(unhex(t, "0381 1011")); read || waits {
		t.Errorf("an entry that is gone is read as %v", got)
	}
}

// TestQPACKLargeTable: how a header counts the entries depends on the capacity that
// was allowed, however much of it is used.
func TestQPACKLargeTable(t *testing.T) {
	q := newMadeQUIC(t, 1, 0x1301)
	q.controls(1 << 29) // 16,777,216 entries
	q.say(madeApplication, 0, streamFrame(6, 0, "\x02"+string(unhex(t, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468")), false))
	q.say(madeApplication, 0, streamFrame(0, 0, h3Frame(1, string(unhex(t, "0381 1011d4"))), true))
	if c := q.read(); len(c.Exchanges) != 1 || c.Exchanges[0].URL != "https://www.example.com/sample/path" {
		t.Errorf("%d exchanges, health %+v", len(c.Exchanges), c.Health)
	}
}

// TestQPACKStatic compares the table that all know with the library's.
func TestQPACKStatic(t *testing.T) {
	table := dissect.NewQPACKTable(0)
	for i := range 99 {
		block := []byte{0, 0, 0xc0 | byte(min(i, 63))}
		if i >= 63 {
			block = append(block, byte(i-63))
		}
		got, _, read, _ := table.Header(block)
		want, err := qpack.NewDecoder().Decode(block)()
		if err != nil || !read || len(got) != 1 || got[0] != (capture.Header{Name: want.Name, Value: want.Value}) {
			t.Errorf("entry %d is %v, the library's %v (%v)", i, got, want, err)
		}
	}
	if _, _, read, _ := table.Header([]byte{0, 0, 0xff, 99 - 63}); read {
		t.Error("there is an entry too many")
	}
}

// TestHTTP3Table has requests that use a table before the capture shows how it
// was filled, as happens when packets come out of order.
func TestHTTP3Table(t *testing.T) {
	q := newMadeQUIC(t, 1, 0x1301)
	q.say(madeApplication, 0, streamFrame(0, 0, h3Frame(1, string(unhex(t, "0381 1011d4")))+h3Frame(0, "a body"), true))
	q.say(madeApplication, 0, streamFrame(6, 0, "\x02"+string(unhex(t, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c")), false))
	q.controls(220)
	q.say(madeApplication, 0, streamFrame(4, 0, h3Frame(1, string(unhex(t, "0381 1011d4"))), true))
	q.say(madeApplication, 0, streamFrame(6, 29, string(unhex(t, "652f 7061 7468")), false))
	c := q.read()
	if f := only(t, c); len(c.Exchanges) != 2 || f.Visibility != capture.Plaintext || len(c.Health.Doubts()) > 0 {
		t.Fatalf("%d exchanges, flow %+v, health %+v", len(c.Exchanges), f, c.Health)
	}
	for _, x := range c.Exchanges {
		if x.Method != http.MethodPost || x.URL != "https://www.example.com/sample/path" || x.Sent.IsZero() || x.RequestTruncated {
			t.Errorf("exchange %+v", x)
		}
	}
	if string(c.Exchanges[0].RequestBody) != "a body" && string(c.Exchanges[1].RequestBody) != "a body" {
		t.Error("the body behind the header is missing")
	}
}

// FuzzQPACK compares with the library what needs no table, and checks that the
// instructions mean the same however they are cut.
func FuzzQPACK(f *testing.F) {
	f.Add(unhex(f, "0000 510b 2f69 6e64 6578 2e68 746d 6c"), unhex(f, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d"), uint8(3))
	f.Add(unhex(f, "0381 1011"), unhex(f, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468 02"), uint8(1))
	f.Add(unhex(f, "0500 80c1 81"), unhex(f, "3fbd01 4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565 810d 6375 7374 6f6d 2d76 616c 7565 32"), uint8(7))
	f.Fuzz(func(t *testing.T, header, encoder []byte, cut uint8) {
		whole, parts := dissect.NewQPACKTable(4096), dissect.NewQPACKTable(4096)
		ok := whole.Instruct(encoder)
		again := true
		for b := range slices.Chunk(encoder, 1+int(cut)) {
			again = again && parts.Instruct(b)
		}
		a, n := whole.Entries()
		if b, m := parts.Entries(); ok != again || ok && (n != m || !slices.Equal(a, b)) {
			t.Errorf("%v, %d entries; cut in pieces %v, %d", ok, n, again, m)
		}
		got, need, read, _ := whole.Header(header)
		if read && need > n {
			t.Errorf("a header was read that needs %d entries of %d", need, n)
		}
		size := 0
		for _, h := range got {
			size += len(h.Name) + len(h.Value)
		}
		if size > 1<<20 {
			t.Errorf("a header of %d bytes", size)
		}
		var want []capture.Header
		next := qpack.NewDecoder().Decode(header)
		for {
			h, err := next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || len(want) >= 1<<14 {
				return
			}
			want = append(want, capture.Header{Name: h.Name, Value: h.Value})
		}
		if !read && size < 1<<19 || read && !slices.Equal(got, want) {
			t.Errorf("%x is %v (%v), the library has %v", header, got, read, want)
		}
	})
}

// FuzzQUIC lets the fuzzer write the packets of a connection whose keys are known:
// their side, level and order, key updates, addresses, and what is in them.
func FuzzQUIC(f *testing.F) {
	add := func(packets ...[]byte) {
		var b []byte
		for i, p := range packets {
			b = append(append(b, byte(3|i&1<<2), byte(min(len(p), 255))), p[:min(len(p), 255)]...)
		}
		f.Add(b)
	}
	add(streamFrame(0, 0, madeRequest(f, "/a", "b"), true), streamFrame(0, 0, madeReply(f), true))
	add(streamFrame(2, 0, "\x00"+h3Frame(4, "\x01\x40\xdc"), false), streamFrame(3, 0, "\x00"+h3Frame(4, "\x01\x40\xdc"), false),
		streamFrame(6, 0, "\x02"+string(unhex(f, "3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d")), false), nil,
		streamFrame(0, 0, h3Frame(1, string(unhex(f, "0280 10d4"))), true), []byte{2, 9, 0, 1, 3, 2, 1, 4, 8, 0, 8})
	add([]byte{0x18, 1, 0, 4, 'n', 'e', 'w', 'i', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []byte{6, 0, 4, 8, 0, 0, 0}, streamFrame(4, 100, "late", true), streamFrame(4, 0, strings.Repeat("x", 100), false))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<14 {
			return
		}
		q := newMadeQUIC(t, 1, 0x1301)
		q.controls(4096)
		for len(b) >= 2 {
			level, side, how, n := int(b[0]&3), int(b[0]>>2&1), b[0]>>3, int(b[1])
			b = b[2:]
			n = min(n, len(b))
			payload := b[:n]
			b = b[n:]
			switch {
			case how == 1: // as it is
				q.show(side, payload)
				continue
			case how == 2:
				q.seal[madeApplication][side] = q.seal[madeApplication][side].Updated()
			case how == 3:
				q.phone = []string{"10.0.0.3:1", quicPhone}[len(b)&1]
			case how == 4:
				q.number[madeApplication][side] += uint64(n)
			case how == 5 && len(q.w.frames) > 3: // once more
				again := q.w.frames[len(q.w.frames)-1]
				q.w.frames = append(q.w.frames, again)
				continue
			}
			if level == madeEarly && side == 1 {
				level = madeApplication
			}
			q.show(side, q.packet(level, side, bytes.Clone(payload)))
		}
		file := q.w.pcap()
		c := q.read()
		sane(t, c, len(file))
		if again := q.read(); len(again.Exchanges) != len(c.Exchanges) || len(again.Unread) != len(c.Unread) || again.Health.SkippedBytes != c.Health.SkippedBytes {
			t.Error("two readings differ")
		}
	})
}
