package dissect_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// sane checks what must hold of any input.
func sane(t *testing.T, c *dissect.Capture, input int) {
	t.Helper()
	flows := map[string]bool{}
	for _, f := range c.Flows {
		if f.ID == "" || flows[f.ID] {
			t.Errorf("flow id %q is not unique", f.ID)
		}
		flows[f.ID] = true
		if f.BytesUp < 0 || f.BytesDown < 0 || f.PayloadUp < 0 || f.PayloadDown < 0 || f.SkippedBytes < 0 || f.PayloadUp > f.BytesUp || f.PayloadDown > f.BytesDown || f.End.Before(f.Start) {
			t.Errorf("flow %+v", f)
		}
		var missing int64
		for _, h := range f.Holes {
			missing += h.Bytes
			if h.Bytes <= 0 || h.To.Before(h.From) {
				t.Errorf("hole %+v", h)
			}
		}
		if missing > f.SkippedBytes {
			t.Errorf("%d bytes in holes of %d that are missing", missing, f.SkippedBytes)
		}
		if f.Visibility == capture.VisibilityUnknown {
			t.Errorf("flow %s says nothing of its visibility", f.ID)
		}
		checkSent(t, f)
	}
	stored := 0
	for _, x := range c.Exchanges {
		if x.Method == "WEBSOCKET" { // Inflated, within its bounds.
			if len(x.RequestBody) > 4<<20 || len(x.ResponseBody) > 4<<20 {
				t.Errorf("%d and %d bytes of a WebSocket", len(x.RequestBody), len(x.ResponseBody))
			}
			continue
		}
		stored += len(x.RequestBody) + len(x.ResponseBody)
		if len(c.Flows) > 0 && (!flows[x.Flow] || int64(len(x.RequestBody)) > x.BytesUp || int64(len(x.ResponseBody)) > x.BytesDown ||
			int64(len(x.RequestBody)) < x.BytesUp && !x.RequestTruncated || x.Status == 0 && x.Failure == "") {
			t.Errorf("exchange %+v", x)
		}
	}
	for _, l := range c.Lookups {
		if !flows[l.Flow] || l.Type == "" {
			t.Errorf("lookup %+v", l)
		}
	}
	for _, u := range c.Unread {
		stored += len(u.Data)
		if !flows[u.Flow] {
			t.Errorf("unread of flow %q", u.Flow)
		}
	}
	if len(c.Flows) > 0 && stored > input {
		t.Errorf("%d bytes are kept of an input of %d", stored, input)
	}
	if c.Health.Truncated && !c.Damaged || c.Damaged && len(c.Health.Doubts()) == 0 {
		t.Errorf("damaged %v, health %+v", c.Damaged, c.Health)
	}
}

func FuzzRead(f *testing.F) {
	w := sample(f)
	for _, d := range initials(f, 1, "8bytecid", quicHello(f, "h3.example")) {
		w.udp("10.0.0.2:40000", "203.0.113.7:443", d)
	}
	y := w.dial("10.0.0.2:40009", "203.0.113.7:443").open()
	y.send(y.client, clientHello(f, "a.example", "h2"))
	f.Add(w.pcap())
	var ng bytes.Buffer
	if err := dissect.WritePcapng(&ng, bytes.NewReader(w.pcap()), notes(w)); err != nil {
		f.Fatal(err)
	}
	f.Add(ng.Bytes())
	for _, path := range library(f) {
		if b, err := os.ReadFile(path); err == nil && len(b) < 20_000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := dissect.Read(bytes.NewReader(b), dissect.Options{})
		if err != nil {
			if !errors.Is(err, dissect.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		sane(t, c, len(b))
		if known, err := dissect.Read(bytes.NewReader(b), dissect.Options{Local: netip.Addr.IsPrivate}); err != nil {
			t.Error(err)
		} else {
			sane(t, known, len(b))
		}
		var out bytes.Buffer
		if err := dissect.WritePcapng(&out, bytes.NewReader(b), dissect.Notes{}); err != nil && !errors.Is(err, dissect.ErrDamaged) {
			t.Fatal(err)
		}
		again, err := dissect.Read(&out, dissect.Options{})
		if err != nil || again.Health.Packets != c.Health.Packets || len(again.Flows) != len(c.Flows) {
			t.Errorf("the copy has %d packets and %d flows, the original %d and %d: %v", again.Health.Packets, len(again.Flows), c.Health.Packets, len(c.Flows), err)
		}
		if err := dissect.WriteHAR(io.Discard, c.Exchanges, "fuzz"); err != nil {
			t.Error(err)
		}
	})
}

// FuzzStreams gives text to both directions of a connection, cut by the fuzzer.
func FuzzStreams(f *testing.F) {
	for _, s := range []string{posted, "CONNECT a:1 HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x84\x86", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\xc1\x85abcd\x00\x01\x02\x03\x04"} {
		for _, d := range []string{answered, "HTTP/1.1 101 x\r\n\r\nrest", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n\xc1\x03\x4b\x4c\x00", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88", "HTTP/1.1 100 x\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end"} {
			f.Add([]byte(s), []byte(d), uint8(7), uint8(0))
			f.Add([]byte(s), []byte(d), uint8(3), uint8(2))
		}
	}
	f.Add(clientHello(f, "a.example", "h2"), []byte("\x16\x03\x03\x00\x04\x02\x00\x00\x00\x15\x03\x03\x00\x02\x02\x28"), uint8(50), uint8(9))
	q := question(f, 1, "a.example", dnsmessage.TypeA)
	f.Add(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...), []byte{}, uint8(4), uint8(53))
	f.Fuzz(func(t *testing.T, up, down []byte, size, lose uint8) {
		if len(up)+len(down) > 1<<14 {
			return
		}
		w := newWire(t)
		server := host4
		if lose == 53 {
			server = "203.0.113.7:53"
		}
		x := w.dial(phone4, server).open()
		x.mss = max(1, int(size))
		for i := 0; len(up)+len(down) > 0; i++ {
			n := min(len(up), 40*x.mss)
			x.send(x.client, up[:n])
			up = up[n:]
			if lose > 0 && i%int(lose) == 0 {
				x.client.seq += 11
				x.server.seq += 5
			}
			n = min(len(down), 40*x.mss)
			x.send(x.server, down[:n])
			down = down[n:]
		}
		x.close()
		file := w.pcap()
		c := read(t, file, dissect.Options{})
		sane(t, c, len(file))
		if c.Damaged || len(c.Flows) != 1 {
			t.Errorf("health %+v, %d flows", c.Health, len(c.Flows))
		}
	})
}

func FuzzClientHello(f *testing.F) {
	f.Add(clientHello(f, "a.example", "h2", "http/1.1")[9:])
	f.Add(quicHello(f, "b.example")[4:])
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := dissect.ParseHello(b)
		if ok && (len(h.JA4) != 36 || len(h.ServerName) > len(b)) {
			t.Errorf("%+v", h)
		}
		// Nothing may follow it, and nothing of it may be missing.
		if ok && len(h.Extensions) > 0 {
			if _, longer := dissect.ParseHello(append(bytes.Clone(b), 0)); longer {
				t.Error("a byte too many is accepted")
			}
			if _, shorter := dissect.ParseHello(b[:len(b)-1]); shorter {
				t.Error("a byte too few is accepted")
			}
		}
	})
}

func FuzzDNS(f *testing.F) {
	f.Add(question(f, 1, "a.example", dnsmessage.TypeA))
	f.Add(answer(f, 1, "a.example", dnsmessage.TypeA, []dnsmessage.ResourceBody{a(203, 0, 113, 7), &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName("b.example.")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		questions, answers, ok := dissect.ParseDNS(b)
		for _, s := range append(questions, answers...) {
			if len(s) > 1<<17 {
				t.Errorf("%d bytes of text", len(s))
			}
		}
		// What the library reads is read here too, with the same names.
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil || len(m.Questions) > 8 || m.OpCode > 6 {
			return
		}
		if !ok || len(questions) != len(m.Questions) {
			t.Fatalf("%d questions of %d", len(questions), len(m.Questions))
		}
		for i, q := range m.Questions {
			want := strings.ReplaceAll(strings.TrimSuffix(q.Name.String(), "."), `\`, `\\`)
			if got, _, _ := strings.Cut(questions[i], " "); !strings.Contains(want, " ") && got != want {
				t.Errorf("name %q, want %q", got, want)
			}
		}
	})
}

func FuzzReadHAR(f *testing.F) {
	var file bytes.Buffer
	if err := dissect.WriteHAR(&file, []capture.Exchange{{ID: "1", Start: noon, Method: "POST", URL: "http://a/?b=c", RequestBody: []byte{0xff}, RequestHeader: []capture.Header{{Name: "A", Value: "b"}}}}, "x"); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte(`{"log":{"entries":[{"time":"5","request":{"headers":{},"postData":{"params":[{"name":1}]}},"response":{"status":"x","content":null}},7]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := dissect.ReadHAR(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, dissect.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		sane(t, c, len(b))
		var out bytes.Buffer
		if err := dissect.WriteHAR(&out, c.Exchanges, "fuzz"); err != nil {
			t.Fatal(err)
		}
		again, err := dissect.ReadHAR(&out)
		if err != nil || len(again.Exchanges) != len(c.Exchanges) {
			t.Fatalf("%v: %d exchanges of %d", err, len(again.Exchanges), len(c.Exchanges))
		}
		for i, x := range c.Exchanges {
			if y := again.Exchanges[i]; x.URL != y.URL || !bytes.Equal(x.RequestBody, y.RequestBody) || x.Status != y.Status || len(x.RequestHeader) != len(y.RequestHeader) {
				t.Errorf("written %+v, read back %+v", x, y)
			}
		}
	})
}
