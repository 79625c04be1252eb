package dissect_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/dissect"
)

// helloWith is a ClientHello with a session and one extension.
func helloWith(session string, kind uint16, value string) []byte {
	var extensions []byte
	name := "cdn.example"
	extensions = append(extensions, 0, 0, 0, byte(len(name)+5), 0, byte(len(name)+3), 0, 0, byte(len(name)))
	extensions = append(extensions, name...)
	extensions = binary.BigEndian.AppendUint16(extensions, kind)
	extensions = binary.BigEndian.AppendUint16(extensions, uint16(len(value)))
	extensions = append(extensions, value...)
	body := append([]byte{3, 3}, bytes.Repeat([]byte{7}, 32)...)
	body = append(body, byte(len(session)))
	body = append(body, session...)
	body = append(body, 0, 2, 0x13, 1, 1, 0)
	body = binary.BigEndian.AppendUint16(body, uint16(len(extensions)))
	body = append(body, extensions...)
	return append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

// What a client says in clear while a conversation is set up has room for words,
// and is kept to be searched.
func TestGreetings(t *testing.T) {
	t.Parallel()
	const words, sealed = "korvandel mistruph", "\x17\x03\x03\x00\x20"
	const honest = "\x00\x00"
	certified := func(kind byte) string {
		return string([]byte{22, 3, 3, 0, byte(4 + len(words)), kind, 0, 0, byte(len(words))}) + words
	}
	for _, c := range []struct {
		name         string
		said         string
		greet, aside bool // where the words are
	}{
		{"an honest one", string(records(helloWith("", 0x7a7a, honest), 5000)), false, false},
		{"an extension", string(records(helloWith("", 0xfafa, words), 5000)), true, false},
		{"a session", string(records(helloWith(words, 0x7a7a, honest), 50)), true, false},
		{"padding", string(records(helloWith("", 21, words), 5000)), true, false},
		{"a certificate", string(records(helloWith("", 0x7a7a, honest), 5000)) + certified(11), true, false},
		{"keys", string(records(helloWith("", 0x7a7a, honest), 5000)) + certified(16), true, false},
		{"a change of keys", string(records(helloWith("", 0x7a7a, honest), 5000)) + "\x14\x03\x03\x00\x12" + words, true, false},
		{"an alert", string(records(helloWith("", 0x7a7a, honest), 5000)) + "\x15\x03\x03\x00\x12" + words, true, false},
		{"a heartbeat", string(records(helloWith("", 0x7a7a, honest), 5000)) + "\x18\x03\x03\x00\x12" + words, true, false},
		{"more than any handshake", string(records(helloWith("", 0xfafa, strings.Repeat("\x00", 12000)+words), 15000)), false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t)
			k := w.dial("10.0.0.2:40000", "203.0.113.7:443").open()
			k.up(c.said)
			k.up("\x14\x03\x03\x00\x01\x01" + sealed + strings.Repeat("\x99", 32))
			k.close()
			got := readClean(t, w)
			f := only(t, got)
			if f.App != "tls" || f.SNI != "cdn.example" {
				t.Errorf("flow %+v", f)
			}
			in := func(all []dissect.Unread) bool {
				var b bytes.Buffer
				for _, u := range all {
					b.Write(u.Data)
				}
				return strings.Contains(b.String(), words)
			}
			if in(got.Greetings) != c.greet || in(got.Unread) != c.aside || len(got.Greetings) != 1 || !c.aside && len(got.Unread) > 0 {
				t.Errorf("greetings %v, unread %v", got.Greetings, got.Unread)
			}
		})
	}
}

func TestGreetingOfQUIC(t *testing.T) {
	t.Parallel()
	w := newWire(t)
	for _, b := range initials(t, 1, "\x01\x02\x03\x04\x05\x06\x07\x08", quicHello(t, "cdn.example")) {
		w.udp("10.0.0.2:40000", "203.0.113.7:443", b)
	}
	got := readClean(t, w)
	if len(got.Greetings) != 1 || !strings.Contains(string(got.Greetings[0].Data), "cdn.example") || len(got.Unread) > 0 {
		t.Errorf("greetings %v, unread %v", got.Greetings, got.Unread)
	}
}
