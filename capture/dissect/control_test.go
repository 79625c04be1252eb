package dissect_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/offproof/offproof/capture/dissect"
)

func keptOf(c *dissect.Capture) string {
	var b strings.Builder
	for _, u := range c.Unread {
		b.Write(u.Data)
	}
	return b.String()
}

// What of HTTP/2 has room for words is kept, and what every client sends is not.
func TestControlFramesOfHTTP2(t *testing.T) {
	t.Parallel()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a.test"}, {Name: ":path", Value: "/x"}} {
		_ = enc.WriteField(h)
	}
	for _, c := range []struct {
		name string
		up   func(f *http2.Framer)
		want string
	}{
		{"what honest clients send", func(f *http2.Framer) {
			_ = f.WriteSettings(http2.Setting{ID: 1, Val: 65536}, http2.Setting{ID: 0x5a5a, Val: 123456789})
			_ = f.WriteWindowUpdate(0, 15663105)
			_ = f.WritePriority(1, http2.PriorityParam{StreamDep: 0x7fffffff, Weight: 255})
			_ = f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01u=3, i"))
			_ = f.WritePing(false, [8]byte{7: 9})
			_ = f.WritePing(true, [8]byte([]byte("asked-it")))
			_ = f.WriteDataPadded(1, true, []byte("body"), make([]byte, 9))
			_ = f.WriteGoAway(0x7fffffff, http2.ErrCodeEnhanceYourCalm, nil)
		}, ""},
		{"a farewell", func(f *http2.Framer) { _ = f.WriteGoAway(1, http2.ErrCodeNo, []byte(spareWords)) }, spareWords},
		{"a frame that nobody knows", func(f *http2.Framer) { _ = f.WriteRawFrame(0xfa, 0, 0, []byte(spareWords)) }, spareWords},
		{"a priority", func(f *http2.Framer) { _ = f.WriteRawFrame(0x10, 0, 0, []byte("\x00\x00\x00\x01"+spareWords)) }, spareWords},
		{"settings", func(f *http2.Framer) {
			_ = f.WriteRawFrame(http2.FrameSettings, 0, 0, []byte(strings.Repeat("-", 72-len(spareWords))+spareWords))
		}, spareWords},
		{"padding", func(f *http2.Framer) {
			_ = f.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte("\x12"+"body"+spareWords))
		}, spareWords},
		{"an answer that nobody asked for", func(f *http2.Framer) { _ = f.WritePing(true, [8]byte([]byte("korvande"))) }, "korvande"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			k := w.dial("10.0.0.2:40000", "203.0.113.7:80").open()
			var up, down bytes.Buffer
			f := http2.NewFramer(&up, nil)
			up.WriteString(http2.ClientPreface)
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
			k.up(up.String())
			d := http2.NewFramer(&down, nil)
			_ = d.WriteSettings()
			_ = d.WritePing(false, [8]byte([]byte("asked-it")))
			k.down(down.String())
			up.Reset()
			c.up(f)
			k.up(up.String())
			k.close()
			got := readClean(t, w)
			if heard := keptOf(got); len(got.Exchanges) != 1 || !strings.Contains(heard, c.want) || c.want == "" && heard != "" {
				t.Errorf("%d exchanges, kept %q", len(got.Exchanges), heard)
			}
		})
	}
}

// What a question for a name holds beside the name is kept.
func TestSpareRoomOfQuestions(t *testing.T) {
	t.Parallel()
	option := func(code uint16, value string) string {
		b := append([]byte{0, 0, 41, 4, 0xd0, 0, 0, 0, 0}, binary.BigEndian.AppendUint16(nil, uint16(4+len(value)))...)
		b = binary.BigEndian.AppendUint16(b, code)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		return string(b) + value
	}
	const record = "\x00\x00\x10\x00\x01\x00\x00\x00\x00\x00\x13\x12" + spareWords
	for _, c := range []struct {
		name, flags, rest string
		want              bool
	}{
		{"nothing", "\x01\x00", "", false},
		{"the usual option", "\x01\x00", "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00", false},
		{"the usual option, padded", "\x01\x00", option(12, strings.Repeat("\x00", 50)), false},
		{"padding in words", "\x01\x00", option(12, spareWords), true},
		{"another option", "\x01\x00", option(65001, spareWords), true},
		{"a record", "\x01\x00", record, true},
		{"an answer", "\x81\x00", record, true},
		{"something behind the end", "\x01\x00", spareWords, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			for range 2 { // It is asked again.
				w.udp("10.0.0.2:40000", "10.0.0.1:53", []byte("\x12\x34"+c.flags+"\x00\x01\x00\x00\x00\x00\x00\x01\x03cdn\x07example\x00\x00\x01\x00\x01"+c.rest))
			}
			got := read(t, w.pcap(), dissect.Options{Local: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.2") }})
			if heard := keptOf(got); strings.Contains(heard, spareWords) != c.want || !c.want && heard != "" {
				t.Errorf("kept %q", heard)
			}
			if c.flags == "\x01\x00" && (len(got.Lookups) != 1 || got.Lookups[0].Asked != 2) {
				t.Errorf("%+v", got.Lookups)
			}
		})
	}
}
