package dissect_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// Levels of encryption of QUIC, by the kind of their long packets.
const (
	madeInitial = iota
	madeEarly
	madeHandshake
	madeApplication
)

const (
	quicPhone  = "10.0.0.2:40000"
	quicServer = "203.0.113.7:443"
	// The ids by which the ends of a made connection are addressed; the first is that
	// of initials.
	phoneID, serverID = "scid", "serverid"
)

// A madeQUIC is a connection of QUIC made by hand, packet by packet.
type madeQUIC struct {
	t       testing.TB
	w       *wire
	version uint32
	suite   uint16
	random  []byte
	log     strings.Builder
	seal    [4][2]dissect.QUICSealer
	number  [4][2]uint64
	phone   string
}

// madeLabels are the key log's names for the secrets of a level.
var madeLabels = [4][2]string{
	madeEarly:       {"CLIENT_EARLY_TRAFFIC_SECRET", ""},
	madeHandshake:   {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET"},
	madeApplication: {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"},
}

// newMadeQUIC makes a connection whose ClientHello is in the capture.
func newMadeQUIC(t testing.TB, version uint32, suite uint16) *madeQUIC {
	t.Helper()
	hello := quicHello(t, "made.example")
	q := &madeQUIC{t: t, w: newWire(t), version: version, suite: suite, random: hello[6:38], phone: quicPhone}
	size := 32
	if suite == 0x1302 {
		size = 48
	}
	for level, both := range madeLabels {
		for side, label := range both {
			if label == "" {
				continue
			}
			first := sha256.Sum256([]byte(label))
			secret := append(first[:], first[:]...)[:size]
			fmt.Fprintf(&q.log, "%s %x %x\n", label, q.random, secret)
			q.seal[level][side] = dissect.NewQUICSealer(suite, secret, version)
		}
	}
	for _, d := range initials(t, version, "8bytecid", hello) {
		q.w.udp(q.phone, quicServer, d)
	}
	for side := range 2 {
		q.seal[madeInitial][side] = dissect.InitialSealer("8bytecid", version, side)
		q.number[madeInitial][side] = 2
	}
	return q
}

// packet makes a packet with the next number.
func (q *madeQUIC) packet(level, side int, payload []byte) []byte {
	to, from := serverID, phoneID
	if side == 1 {
		to, from = from, to
	}
	space := level
	if level == madeEarly {
		space = madeApplication
	}
	number := q.number[space][side]
	q.number[space][side]++
	payload = append(bytes.Clone(payload), make([]byte, max(0, 4-len(payload)))...)
	if level == madeApplication {
		header := append([]byte{0x41}, to...)
		header = binary.BigEndian.AppendUint16(header, uint16(number))
		return q.seal[level][side].Seal(header, number, 2, payload)
	}
	kind := byte(level)
	if q.version == 0x6b3343cf {
		kind = (kind + 1) & 3
	}
	header := binary.BigEndian.AppendUint32([]byte{0xc1 | kind<<4}, q.version)
	header = append(append(header, byte(len(to))), to...)
	header = append(append(header, byte(len(from))), from...)
	if level == madeInitial {
		header = append(header, 0)
	}
	header = append(header, quicInt(2+len(payload)+16)...)
	header = binary.BigEndian.AppendUint16(header, uint16(number))
	return q.seal[level][side].Seal(header, number, 2, payload)
}

// say adds a datagram of one packet.
func (q *madeQUIC) say(level, side int, frames ...[]byte) {
	q.show(side, q.packet(level, side, bytes.Join(frames, nil)))
}

func (q *madeQUIC) show(side int, b []byte) {
	if side == 0 {
		q.w.udp(q.phone, quicServer, b)
	} else {
		q.w.udp(quicServer, q.phone, b)
	}
}

func (q *madeQUIC) read() *dissect.Capture {
	q.t.Helper()
	log, err := dissect.ReadKeyLog(strings.NewReader(q.log.String()))
	if err != nil {
		q.t.Fatal(err)
	}
	return read(q.t, q.w.pcap(), dissect.Options{KeyLog: log})
}

// streamFrame is a STREAM frame with an offset and a length.
func streamFrame(id, offset int, data string, fin bool) []byte {
	kind := byte(0x0e)
	if fin {
		kind |= 1
	}
	b := quicvarint.Append([]byte{kind}, uint64(id))
	b = quicvarint.Append(b, uint64(offset))
	b = quicvarint.Append(b, uint64(len(data)))
	return append(b, data...)
}

// h3Frame is a frame of HTTP/3.
func h3Frame(kind int, body string) string {
	b := quicvarint.Append(nil, uint64(kind))
	return string(append(quicvarint.Append(b, uint64(len(body))), body...))
}

// h3Header is a HEADERS frame, made by the library.
func h3Header(t testing.TB, fields ...string) string {
	t.Helper()
	var b bytes.Buffer
	e := qpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := e.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	return h3Frame(1, b.String())
}

func madeRequest(t testing.TB, path, body string) string {
	t.Helper()
	return h3Header(t, ":method", "POST", ":scheme", "https", ":authority", "made.example", ":path", path, "x-word", "planted") + h3Frame(0, body)
}

func madeReply(t testing.TB) string {
	t.Helper()
	return h3Header(t, ":status", "200", "server", "made") + h3Frame(0, "fine")
}

// controls are the streams that each side opens first.
func (q *madeQUIC) controls(capacity int) {
	settings := quicvarint.Append(nil, 1)
	settings = quicvarint.Append(settings, uint64(capacity))
	q.say(madeApplication, 1, streamFrame(3, 0, "\x00"+h3Frame(4, string(settings)), false))
	q.say(madeApplication, 0, streamFrame(2, 0, "\x00"+h3Frame(4, ""), false))
}

// TestQUICLevels reads early data, the handshake and what follows it, with every
// suite and version, without a ServerHello to tell which they are.
func TestQUICLevels(t *testing.T) {
	for _, version := range []uint32{1, 0x6b3343cf, 0xff00001d} {
		for _, suite := range []uint16{0x1301, 0x1302, 0x1303} {
			t.Run(fmt.Sprintf("%x %x", version, suite), func(t *testing.T) {
				q := newMadeQUIC(t, version, suite)
				early := madeRequest(t, "/early", "soon")
				q.say(madeEarly, 0, streamFrame(0, 0, early, true))
				q.say(madeInitial, 1, []byte{1})
				// Two packets in one datagram.
				late := madeRequest(t, "/late", "then")
				q.show(0, append(q.packet(madeHandshake, 0, []byte{1}), q.packet(madeApplication, 0, streamFrame(4, 0, late, true))...))
				q.say(madeHandshake, 1, []byte{1})
				for id := range 2 {
					q.say(madeApplication, 1, streamFrame(4*id, 0, madeReply(t), true))
				}
				c := q.read()
				f := only(t, c)
				if len(c.Exchanges) != 2 || f.Visibility != capture.Plaintext || f.Host != "made.example" || len(c.Unread) > 0 || len(c.Health.Doubts()) > 0 || c.Health.SkippedBytes > 0 {
					t.Fatalf("%d exchanges, flow %+v, health %+v", len(c.Exchanges), f, c.Health)
				}
				for i, want := range []string{"/early soon", "/late then"} {
					x := c.Exchanges[i]
					if got := strings.TrimPrefix(x.URL, "https://made.example") + " " + string(x.RequestBody); got != want || x.Status != 200 || string(x.ResponseBody) != "fine" || x.Failure != "" || x.RequestTruncated {
						t.Errorf("exchange %s %+v", got, x)
					}
				}
			})
		}
	}
}

// TestQUICKeyUpdates changes the keys of each side often, loses whole
// generations and lets old packets come late.
func TestQUICKeyUpdates(t *testing.T) {
	q := newMadeQUIC(t, 1, 0x1302)
	want := map[string]bool{}
	for i := range 20 {
		path := fmt.Sprintf("/p%d", i)
		want[path] = true
		q.say(madeApplication, 0, streamFrame(4*i, 0, madeRequest(t, path, "b"), true))
		late := q.packet(madeApplication, 0, []byte{1})
		for side := range 2 {
			q.seal[madeApplication][side] = q.seal[madeApplication][side].Updated()
			for range i % 4 { // generations of which the capture holds nothing
				q.seal[madeApplication][side] = q.seal[madeApplication][side].Updated()
			}
		}
		q.say(madeApplication, 1, streamFrame(4*i, 0, madeReply(t), true))
		q.say(madeApplication, 0, []byte{1})
		if i%4 == 0 {
			q.show(0, late)
		}
	}
	c := q.read()
	for _, x := range c.Exchanges {
		delete(want, strings.TrimPrefix(x.URL, "https://made.example"))
	}
	if f := only(t, c); len(want) > 0 || f.Visibility != capture.Plaintext || len(c.Health.Doubts()) > 0 || c.Health.SkippedBytes > 0 {
		t.Errorf("missing %v, flow %+v, health %+v", want, f, c.Health)
	}
}

// TestQUICJoined has datagrams that were recorded as one, before a network card cut
// them.
func TestQUICJoined(t *testing.T) {
	for _, size := range []int{1200, 1252, 1500} {
		q := newMadeQUIC(t, 1, 0x1301)
		body := strings.Repeat("planted ", 600)
		request := madeRequest(t, "/a", body)
		var all []byte
		for at := 0; at < len(request); {
			frame := streamFrame(0, at, request[at:min(at+1100, len(request))], at+1100 >= len(request))
			at += 1100
			payload := append(frame, make([]byte, max(0, size-len(frame)-1-len(serverID)-2-16))...)
			if at >= len(request) {
				payload = frame // The last one may be shorter.
			}
			all = append(all, q.packet(madeApplication, 0, payload)...)
		}
		q.show(0, all)
		q.say(madeApplication, 1, streamFrame(0, 0, madeReply(t), true))
		c := q.read()
		if f := only(t, c); len(c.Exchanges) != 1 || string(c.Exchanges[0].RequestBody) != body || f.Visibility != capture.Plaintext || len(c.Health.Doubts()) > 0 {
			t.Errorf("of %d bytes each: %d exchanges, flow %+v, health %+v", size, len(c.Exchanges), f, c.Health)
		}
	}
}

// TestQUICStaysClosed has packets of a client that nobody can open beside some
// that can: the flow must not look as if all of it was read.
func TestQUICStaysClosed(t *testing.T) {
	for name, hide := range map[string]func(*madeQUIC){
		"another key":       func(q *madeQUIC) { q.show(0, []byte("A"+serverID+strings.Repeat("hidden words", 9))) },
		"a strange version": func(q *madeQUIC) { q.show(0, []byte("\xc0\x1a\x2a\x3a\x4a\x00\x00"+strings.Repeat("hidden words", 9))) },
		"a tail": func(q *madeQUIC) {
			q.show(0, append(q.packet(madeHandshake, 0, []byte{1}), strings.Repeat("hidden", 9)...))
		},
		"before it": func(q *madeQUIC) {
			q.w.udp(quicPhone, quicServer, []byte("words in clear, of no known protocol"))
			last := len(q.w.frames) - 1
			q.w.frames = append([]frame{q.w.frames[last]}, q.w.frames[:last]...)
		},
		"an unknown frame": func(q *madeQUIC) { q.say(madeApplication, 0, []byte("\x21 hidden words")) },
		"a far offset": func(q *madeQUIC) {
			q.say(madeApplication, 0, streamFrame(8, 1<<40, "hidden words", false))
		},
		"a header that waits": func(q *madeQUIC) {
			q.controls(4096)
			q.say(madeApplication, 0, streamFrame(8, 0, h3Frame(1, "\x02\x00\x80"), true))
		},
		"a header that is none": func(q *madeQUIC) {
			q.say(madeApplication, 0, streamFrame(8, 0, h3Frame(1, "\x00\x00\xff\x50"), true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := newMadeQUIC(t, 1, 0x1301)
			q.say(madeApplication, 0, streamFrame(0, 0, madeRequest(t, "/a", "b"), true))
			hide(q)
			q.say(madeApplication, 1, streamFrame(0, 0, madeReply(t), true))
			q.say(madeApplication, 0, streamFrame(4, 0, madeRequest(t, "/c", "d"), true))
			c := q.read()
			if f := only(t, c); f.Visibility != capture.Metadata || !strings.Contains(strings.Join(c.Health.Doubts(), " "), "does not open") {
				t.Errorf("flow %+v, health %+v", f, c.Health)
			}
			if n := slices.IndexFunc(c.Exchanges, func(x capture.Exchange) bool { return x.URL == "https://made.example/c" }); n < 0 {
				t.Error("what follows is not read")
			}
		})
	}
}

// TestQUICUnread keeps what a client says in frames, streams and datagrams whose
// meaning nobody knows.
func TestQUICUnread(t *testing.T) {
	q := newMadeQUIC(t, 1, 0x1301)
	q.controls(0)
	q.say(madeApplication, 0, streamFrame(0, 0, madeRequest(t, "/a", "b")+h3Frame(0x21, "in a frame. "), true))
	q.say(madeApplication, 0, streamFrame(6, 0, "\x21in a stream. ", true))
	q.say(madeApplication, 0, append([]byte{0x30}, "in a datagram. "...))
	q.say(madeApplication, 0, streamFrame(4, 0, "\x40\x41\x00in a tunnel. ", false))
	q.say(madeApplication, 0, append([]byte{0x1d, 0, 10}, "as reason."...))
	c := q.read()
	if len(c.Unread) != 1 || c.Health.SkippedBytes > 0 || only(t, c).Visibility != capture.Plaintext {
		t.Fatalf("%d unread, flow %+v, health %+v", len(c.Unread), c.Flows, c.Health)
	}
	for _, want := range []string{"in a frame.", "in a stream.", "in a datagram.", "in a tunnel.", "as reason."} {
		if !bytes.Contains(c.Unread[0].Data, []byte(want)) {
			t.Errorf("%q is not in %q", want, c.Unread[0].Data)
		}
	}
}

func TestQUICRefused(t *testing.T) {
	q := newMadeQUIC(t, 1, 0x1301)
	q.say(madeHandshake, 1, []byte{1})
	q.say(madeHandshake, 0, []byte{0x1c, 0x41, 42, 6, 0})
	if f := only(t, q.read()); f.Failure != "the client refused the handshake: bad_certificate" {
		t.Errorf("failure %q", f.Failure)
	}
}

// TestQUICLostPacket: an acknowledgement of a packet that is not in the capture
// says that something is missing, whatever it was.
func TestQUICLostPacket(t *testing.T) {
	for number, want := range map[byte]bool{1: false, 3: true} {
		q := newMadeQUIC(t, 1, 0x1301)
		q.say(madeApplication, 0, streamFrame(0, 0, madeRequest(t, "/a", "b"), true))
		q.say(madeApplication, 0, []byte{1})
		q.say(madeApplication, 1, []byte{2, number, 0, 0, number}, streamFrame(0, 0, madeReply(t), true))
		q.number[madeApplication][0] = 10 // Skipped, as clients do to catch false acknowledgements.
		q.say(madeApplication, 0, []byte{1})
		if got := q.read().Health.SkippedBytes > 0; got != want {
			t.Errorf("acknowledged up to %d: missing is %v", number, got)
		}
	}
}

// TestChaCha20 has the vector of RFC 9001, appendix A.5.
func TestChaCha20(t *testing.T) {
	secret, _ := hex.DecodeString("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
	packet, _ := hex.DecodeString("4cfe4189655e5cd55c41f69080575d7999c25a5bfb")
	plain, number, ok := dissect.NewQUICSealer(0x1303, secret, 1).OpenQUIC(packet, 1, 654360564)
	if !ok || number != 654360564 || !bytes.Equal(plain, []byte{1}) {
		t.Errorf("%x, number %d, %v", plain, number, ok)
	}
}

// TestFullNumber has the example of RFC 9000, appendix A.3, and the ends.
func TestFullNumber(t *testing.T) {
	for _, c := range []struct {
		expected, short uint64
		n               int
		want            uint64
	}{{0xa82f30eb, 0x9b32, 2, 0xa82f9b32}, {0, 0, 1, 0}, {0, 255, 1, 255}, {256, 255, 1, 255}, {255, 0, 1, 256}, {1 << 40, 0xffffffff, 4, 1<<40 - 1}} {
		if got := dissect.FullNumber(c.expected, c.short, c.n); got != c.want {
			t.Errorf("%x after %x is %x, want %x", c.short, c.expected, got, c.want)
		}
	}
}
