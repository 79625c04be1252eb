package dissect_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/offproof/offproof/capture/dissect"
)

// sample is a capture with a bit of everything.
func sample(t testing.TB) *wire {
	w := newWire(t)
	w.udp(stub, resolver, question(t, 1, "sa.example", 1))
	x := w.dial(phone4, host4).open()
	x.up(posted)
	x.down(answered)
	x.close()
	y := w.dial(phone6, host6).open()
	y.up(posted)
	return w
}

// order is a byte order in which files are written.
type order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// block is one block of a pcapng file.
func block(o order, kind uint32, body []byte) []byte {
	body = append(bytes.Clone(body), make([]byte, -len(body)&3)...)
	size := uint32(len(body) + 12)
	return o.AppendUint32(append(o.AppendUint32(o.AppendUint32(nil, kind), size), body...), size)
}

func option(o order, code uint16, value []byte) []byte {
	b := o.AppendUint16(o.AppendUint16(nil, code), uint16(len(value)))
	return append(append(b, value...), make([]byte, -len(value)&3)...)
}

func section(o order) []byte {
	b := o.AppendUint32(nil, 0x1a2b3c4d)
	b = o.AppendUint16(o.AppendUint16(b, 1), 0)
	return block(o, 0x0a0d0d0a, o.AppendUint64(b, 1<<64-1))
}

func describe(o order, link uint16, options ...[]byte) []byte {
	b := o.AppendUint32(o.AppendUint16(o.AppendUint16(nil, link), 0), 0)
	return block(o, 1, append(b, bytes.Join(options, nil)...))
}

func enhanced(o order, iface uint32, ticks uint64, data []byte, wire int, options ...[]byte) []byte {
	b := o.AppendUint32(nil, iface)
	b = o.AppendUint32(o.AppendUint32(b, uint32(ticks>>32)), uint32(ticks))
	b = o.AppendUint32(o.AppendUint32(b, uint32(len(data))), uint32(wire))
	b = append(append(b, data...), make([]byte, -len(data)&3)...)
	return block(o, 6, append(b, bytes.Join(options, nil)...))
}

// TestEveryFormat writes the same packets in every format, with every link, and
// wants the same facts.
func TestEveryFormat(t *testing.T) {
	w := sample(t)
	want := readClean(t, w)
	if len(want.Flows) != 3 || len(want.Exchanges) != 2 || len(want.Lookups) != 1 {
		t.Fatalf("the sample has %d flows, %d exchanges, %d lookups", len(want.Flows), len(want.Exchanges), len(want.Lookups))
	}
	linked := func(link func(ip []byte) []byte) []frame {
		var out []frame
		for _, f := range w.frames {
			f.link = link(f.data)
			out = append(out, f)
		}
		return out
	}
	kind := func(ip []byte) []byte { return ethernet(ip)[12:] }
	files := map[string][]byte{}
	for _, o := range []order{binary.LittleEndian, binary.BigEndian} {
		for _, nano := range []bool{false, true} {
			files[fmt.Sprintf("pcap %v nano=%v", o, nano)] = pcapOf(o, nano, 1, w.frames)
		}
	}
	little := binary.LittleEndian
	none := func([]byte) []byte { return []byte{} }
	for _, n := range []uint32{101, 12, 14} {
		files[fmt.Sprintf("raw %d", n)] = pcapOf(little, false, n, linked(none))
	}
	files["check sequences"] = pcapOf(little, false, 1|4<<28|1<<26, w.frames)
	files["VLAN"] = pcapOf(little, false, 1, linked(func(ip []byte) []byte {
		return append(append(make([]byte, 12), 0x88, 0xa8, 0, 5, 0x81, 0, 0, 7), kind(ip)...)
	}))
	files["cooked"] = pcapOf(little, false, 113, linked(func(ip []byte) []byte { return append(make([]byte, 14), kind(ip)...) }))
	files["cooked 2"] = pcapOf(little, false, 276, linked(func(ip []byte) []byte { return append(kind(ip), make([]byte, 18)...) }))
	family := func(ip []byte) byte {
		if ip[0]>>4 == 6 {
			return 30
		}
		return 2
	}
	files["null little"] = pcapOf(little, false, 0, linked(func(ip []byte) []byte { return []byte{family(ip), 0, 0, 0} }))
	files["null big"] = pcapOf(little, false, 0, linked(func(ip []byte) []byte { return []byte{0, 0, 0, family(ip)} }))
	files["loop"] = pcapOf(little, false, 108, linked(func(ip []byte) []byte { return []byte{0, 0, 0, family(ip)} }))
	for _, o := range []order{binary.LittleEndian, binary.BigEndian} {
		// Two interfaces of different links, clocks and offsets, an unknown block
		// between packets, a second section.
		var offset [8]byte
		o.PutUint64(offset[:], 1_000_000)
		file := bytes.Join([][]byte{
			section(o),
			describe(o, 1),
			describe(o, 101, option(o, 9, []byte{9}), option(o, 14, offset[:])),
			block(o, 0x40000bad, []byte("custom")),
		}, nil)
		for i, f := range w.frames {
			switch {
			case i == 5:
				file = append(file, section(o)...)
				file = append(file, describe(o, 101, option(o, 9, []byte{0x80 | 20}))...)
				fallthrough
			case i > 5:
				// A clock of 2^-20 s cannot hit the microsecond; this one does not
				// need to, because it comes back within one.
				ticks := uint64(f.at.Unix())<<20 + (uint64(f.at.Nanosecond())<<20+999_999_999)/1_000_000_000
				file = append(file, enhanced(o, 0, ticks, f.data, len(f.data))...)
			case i%2 == 0:
				file = append(file, enhanced(o, 0, uint64(f.at.UnixMicro()), f.bytes(), len(f.bytes()))...)
			default:
				file = append(file, enhanced(o, 1, uint64(f.at.UnixNano()-1e15), f.data, len(f.data))...)
			}
		}
		files[fmt.Sprintf("pcapng %v", o)] = file
	}
	for name, file := range files {
		got := read(t, file, dissect.Options{})
		if got.Damaged || got.Health.Truncated || len(got.Health.Doubts()) > 0 {
			t.Errorf("%s: health %+v", name, got.Health)
		}
		for i := range got.Flows {
			f := &got.Flows[i]
			f.Start, f.End = f.Start.Truncate(time.Millisecond), f.End.Truncate(time.Millisecond)
			for j := range f.Sent {
				f.Sent[j].At = f.Sent[j].At.Truncate(time.Millisecond)
			}
		}
		for i := range got.Exchanges {
			x := &got.Exchanges[i]
			x.Start, x.Sent, x.End = x.Start.Truncate(time.Millisecond), x.Sent.Truncate(time.Millisecond), x.End.Truncate(time.Millisecond)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestDrops(t *testing.T) {
	o := binary.BigEndian
	count := func(n uint64) []byte { return o.AppendUint64(nil, n) }
	stats := func(n uint64) []byte {
		return block(o, 5, append(make([]byte, 12), option(o, 5, count(n))...))
	}
	file := bytes.Join([][]byte{
		section(o), describe(o, 1), stats(3), stats(7), section(o), describe(o, 1), stats(2),
		enhanced(o, 0, 0, sample(t).frames[0].bytes(), 100, option(o, 4, count(5))),
	}, nil)
	c := read(t, file, dissect.Options{})
	if c.Health.Dropped == nil || *c.Health.Dropped != 14 {
		t.Errorf("dropped %v, want 7+2+5", c.Health.Dropped)
	}
	if c := read(t, sample(t).pcap(), dissect.Options{}); c.Health.Dropped != nil {
		t.Errorf("a pcap file knows of %d drops", *c.Health.Dropped)
	}
}

// TestEveryCut cuts files at every byte.
func TestEveryCut(t *testing.T) {
	w := sample(t)
	var ng bytes.Buffer
	if err := dissect.WritePcapng(&ng, bytes.NewReader(w.pcap()), dissect.Notes{}); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{"pcap": w.pcap(), "pcapng": ng.Bytes()} {
		last, whole := int64(0), 0
		for cut := range file {
			c, err := dissect.Read(bytes.NewReader(file[:cut]), dissect.Options{})
			if err != nil {
				if !errors.Is(err, dissect.ErrFormat) || cut >= 28 {
					t.Errorf("%s cut at %d: %v", name, cut, err)
				}
				continue
			}
			if !c.Health.Truncated {
				whole++
			} else if !c.Damaged || len(c.Health.Doubts()) != 1 || !strings.Contains(c.Health.Doubts()[0], "the file ends within") {
				t.Errorf("%s cut at %d: health %+v", name, cut, c.Health)
			}
			if c.Health.Packets < last || c.Health.Packets > last+1 {
				t.Errorf("%s cut at %d: %d packets after %d", name, cut, c.Health.Packets, last)
			}
			last = c.Health.Packets
		}
		// Only a cut between packets, or between blocks, cannot be noticed.
		if last != int64(len(w.frames)-1) || whole > len(w.frames)+2 {
			t.Errorf("%s: %d packets at the last cut, %d cuts unnoticed", name, last, whole)
		}
	}
}

func TestDamage(t *testing.T) {
	w := sample(t)
	good := w.pcap()
	o := binary.LittleEndian
	head := append(section(o), describe(o, 1)...)
	packet := enhanced(o, 0, uint64(noon.UnixMicro()), w.frames[0].bytes(), len(w.frames[0].bytes()))
	huge := bytes.Clone(good)
	o.PutUint32(huge[24+8:], 0xfffffff0)
	short := w.frames[4]
	short.data = bytes.Clone(short.data)
	short.data[0] = 0x41
	for name, c := range map[string]struct {
		file []byte
		want string
		sure int // packets
	}{
		"huge packet":           {huge, "packet 1 claims 4294967280 bytes", 0},
		"huge block":            {append(bytes.Clone(head), o.AppendUint32(o.AppendUint32(nil, 6), 0xfffffffc)...), "the file ends within", 0},
		"tiny block":            {append(append(bytes.Clone(head), packet...), o.AppendUint64(o.AppendUint32(o.AppendUint32(nil, 6), 8), 0)...), "claims a length of 8", 1},
		"odd block":             {append(append(bytes.Clone(head), o.AppendUint32(o.AppendUint32(nil, 77), 17)...), append(make([]byte, 8), append([]byte{20, 0, 0, 0}, packet...)...)...), "no multiple of four", 1},
		"unknown interface":     {append(append(bytes.Clone(head), enhanced(o, 9, 0, []byte("x"), 1)...), packet...), "of an interface that is not described", 1},
		"no interface":          {append(section(o), packet...), "of an interface that is not described", 0},
		"packet in a packet":    {append(append(bytes.Clone(head), block(o, 6, append(append(make([]byte, 12), 0xff, 0xff, 0, 0), make([]byte, 8)...))...), packet...), "longer packet than it has room for", 1},
		"closing length":        {append(append(bytes.Clone(head), packet[:len(packet)-4]...), append([]byte{1, 2, 3, 4}, packet...)...), "another length", 2},
		"time beyond all":       {append(append(bytes.Clone(head), enhanced(o, 0, 1<<63, w.frames[0].bytes(), 100)...), packet...), "no clock shows", 2},
		"version 3 pcap":        {append(append(bytes.Clone(good[:4]), 3, 0), good[6:]...), "version 3 of pcap", len(w.frames)},
		"broken IP header":      {pcapOf(o, false, 1, []frame{short, w.frames[0]}), "1 packet with a damaged IP header", 2},
		"unknown link":          {pcapOf(o, false, 147, w.frames), "of a link type that is not known", len(w.frames)},
		"frames of a few bytes": {pcapOf(o, false, 1, []frame{{at: noon, data: []byte{1}, link: []byte{}}}), "too short for the header of its link", 1},
	} {
		got := read(t, c.file, dissect.Options{})
		if !got.Damaged || !strings.Contains(strings.Join(got.Health.Doubts(), "; "), c.want) || got.Health.Packets != int64(c.sure) {
			t.Errorf("%s: %d packets of %d, health %+v", name, got.Health.Packets, c.sure, got.Health)
		}
	}
}

func TestSnapshotLengthIsNoDamage(t *testing.T) {
	w := sample(t)
	var payload int64
	for _, f := range readClean(t, w).Flows {
		payload += f.PayloadUp
	}
	for i := range w.frames {
		w.frames[i].keep = 96
	}
	c := read(t, w.pcap(), dissect.Options{})
	if c.Damaged || c.Health.SkippedBytes == 0 || !strings.Contains(strings.Join(c.Health.Doubts(), ";"), "snapshot length") {
		t.Errorf("health %+v", c.Health)
	}
	var got int64
	for _, f := range c.Flows {
		checkSent(t, f)
		got += f.PayloadUp
	}
	if got != payload {
		t.Errorf("payload %d, without the cut %d", got, payload)
	}
	// Over IPv6 the headers leave no room for the request line.
	if len(c.Exchanges) != 1 || len(c.Unread) != 1 || !c.Exchanges[0].RequestTruncated || c.Exchanges[0].Failure != "" || c.Exchanges[0].Status != 200 {
		t.Errorf("exchanges %+v, unread %d", c.Exchanges, len(c.Unread))
	}
}

func TestCutDatagramIsMissingBytes(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40000", "203.0.113.7:9999", make([]byte, 500))
	w.frames[0].keep = 14 + 28 + 100
	c := read(t, w.pcap(), dissect.Options{})
	if f := only(t, c); f.SkippedBytes != 400 || c.Health.SkippedBytes != 400 || f.PayloadUp != 500 || f.BytesUp != 528 || len(c.Unread[0].Data) != 100 || !c.Unread[0].Truncated {
		t.Errorf("flow %+v, unread %+v", f, c.Unread[0].Truncated)
	}
}

func TestOtherFormats(t *testing.T) {
	for _, file := range []string{"", "x", "a text", "PK\x03\x04 a zip file", "\x0a\x0d\x0d\x0a", "\x0a\x0d\x0d\x0a\x1c\x00\x00\x00no order", strings.Repeat("\x00", 100)} {
		if c, err := dissect.Read(strings.NewReader(file), dissect.Options{}); !errors.Is(err, dissect.ErrFormat) || c != nil {
			t.Errorf("%q: %v", file, err)
		}
		if err := dissect.WritePcapng(io.Discard, strings.NewReader(file), dissect.Notes{}); !errors.Is(err, dissect.ErrFormat) {
			t.Errorf("%q: %v", file, err)
		}
		if c, err := dissect.Open(strings.NewReader(file), dissect.Options{}); !errors.Is(err, dissect.ErrFormat) || c != nil {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestFailingReader(t *testing.T) {
	file := sample(t).pcap()
	broken := errors.New("the cable is out")
	c, err := dissect.Read(io.MultiReader(bytes.NewReader(file[:600]), iotest.ErrReader(broken)), dissect.Options{})
	if !errors.Is(err, broken) || errors.Is(err, dissect.ErrFormat) || c == nil || c.Health.Packets == 0 {
		t.Errorf("%v, %+v", err, c)
	}
}
