package dissect_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/dissect"
)

// TestInitialKeys has the vectors of RFC 9001 and RFC 9369, appendix A.
func TestInitialKeys(t *testing.T) {
	dcid, _ := hex.DecodeString("8394c8f03e515708")
	for _, c := range []struct {
		version          uint32
		iv, sample, mask string
	}{
		{1, "fa044b2f42a3fd3b46fb255c", "d1b1c98dd7689fb8ec11d242b123dc9b", "437b9aec36"},
		{0x6b3343cf, "91f73e2351d8fa91660e909f", "ffe67b6abcdb4298b485dd04de806071", "94a0c95e80"},
	} {
		iv, mask := dissect.InitialKeys(string(dcid), c.version)
		sample, _ := hex.DecodeString(c.sample)
		if got := hex.EncodeToString(iv); got != c.iv {
			t.Errorf("version %x: iv %s, want %s", c.version, got, c.iv)
		}
		bits := mask(sample)
		if got := hex.EncodeToString(bits[:]); got != c.mask {
			t.Errorf("version %x: mask %s, want %s", c.version, got, c.mask)
		}
	}
}

// quicHello is the ClientHello of crypto/tls for QUIC.
func quicHello(t testing.TB, name string) []byte {
	t.Helper()
	q := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: name, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13}})
	q.SetTransportParameters([]byte{1, 2, 0x40, 100})
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	var out []byte
	for {
		e := q.NextEvent()
		if e.Kind == tls.QUICNoEvent {
			return out
		}
		if e.Kind == tls.QUICWriteData {
			out = append(out, e.Data...)
		}
	}
}

func quicInt(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)|0x4000) }

// initials are datagrams that carry a ClientHello as clients send it: cut in
// pieces that are out of order, over two packets.
func initials(t testing.TB, version uint32, dcid string, hello []byte) [][]byte {
	t.Helper()
	var frames [][]byte
	for at, n := 0, 1; at < len(hello); at, n = at+n, min(2*n, 150) { // The first piece has one byte, as Chromium's.
		piece := hello[at:min(at+n, len(hello))]
		f := append([]byte{6}, quicInt(at)...)
		f = append(f, quicInt(len(piece))...)
		frames = append(frames, append(f, piece...))
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	var out [][]byte
	for n, part := range [][][]byte{frames[:len(frames)/2], frames[len(frames)/2:]} {
		payload := append([]byte{1, 0, 0}, bytes.Join(part, []byte{0})...) // PING and PADDING among them
		payload = append(payload, make([]byte, max(0, 1100-len(payload)))...)
		first := byte(0xc3)
		if version == 0x6b3343cf {
			first = 0xd3
		}
		header := binary.BigEndian.AppendUint32([]byte{first}, version)
		header = append(append(header, byte(len(dcid))), dcid...)
		header = append(header, 4, 's', 'c', 'i', 'd', 0) // no token
		header = append(header, quicInt(4+len(payload)+16)...)
		header = binary.BigEndian.AppendUint32(header, uint32(n))
		out = append(out, dissect.InitialSealer(dcid, version, 0).Seal(header, uint64(n), 4, payload))
	}
	return out
}

func TestQUIC(t *testing.T) {
	for _, version := range []uint32{1, 0x6b3343cf} {
		w := newWire(t)
		for _, d := range initials(t, version, "8bytecid", quicHello(t, "h3.example")) {
			w.udp("10.0.0.2:40000", "203.0.113.7:443", d)
		}
		w.udp("203.0.113.7:443", "10.0.0.2:40000", append(binary.BigEndian.AppendUint32([]byte{0xe0}, version), "\x04scid\x08otherone\x10sixteen bytes of!"...))
		w.udp("10.0.0.2:40000", "203.0.113.7:443", []byte("\x41 a short header"))
		c := readClean(t, w)
		f := only(t, c)
		if f.App != "quic" || f.SNI != "h3.example" || len(f.ALPN) != 1 || f.ALPN[0] != "h3" || !strings.HasPrefix(f.JA4, "q13d") || f.Visibility != capture.Metadata || len(c.Unread) > 0 {
			t.Errorf("version %x: flow %+v, unread %d", version, f, len(c.Unread))
		}
	}
}

func TestQUICWithoutAnswer(t *testing.T) {
	w := newWire(t)
	w.udp("10.0.0.2:40000", "203.0.113.7:443", initials(t, 1, "8bytecid", quicHello(t, "h3.example"))[0])
	if f := only(t, readClean(t, w)); f.App != "quic" || f.SNI != "" || f.Failure != "no answer" {
		t.Errorf("flow %+v", f)
	}
}
