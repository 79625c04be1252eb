package payload_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture/payload"
)

// each writes every byte by a format, with something between.
func each(format, between string) func(string) string {
	return func(s string) string {
		var out []string
		for _, c := range []byte(s) {
			out = append(out, fmt.Sprintf(format, c))
		}
		return strings.Join(out, between)
	}
}

// written are the ways to write bytes as codes in a text, outside of any format
// that says so.
var written = map[string]func(string) string{
	"decimal, commas":       each("%d", ","),
	"decimal, blanks":       each("%d", " "),
	"decimal, Java's lines": each("%d", ",\n  "),
	"decimal, in braces":    func(s string) string { return "{" + each("%d", ", ")(s) + "}" },
	"hex, blanks":           each("%02x", " "),
	"hex, colons":           each("%02X", ":"),
	"hex, semicolons":       each("%02x", ";"),
	"hex, lines":            each("%02x", "\n"),
	"hex, as C writes it":   each("0x%02x", ", "),
	"octal escapes":         each(`\%03o`, ""),
	"escapes of JavaScript": each("%%u%04x", ""),
	"quoted-printable":      each("=%02X", ""),
}

// Bytes that are written as a list of codes are the bytes: text is found, and
// what nobody can read is not taken for text.
func TestWrittenBytes(t *testing.T) {
	t.Parallel()
	for name, write := range written {
		for _, carrier := range []string{"%s", `{"q":%q}`} {
			text := fmt.Sprintf(carrier, write(term))
			found := false
			for l := range payload.Leaves(body(payload.Peel([]byte(text), ""))) {
				found = found || string(l.Value) == term
			}
			if !found {
				t.Errorf("%s: no leaf of %q says %q", name, text, term)
			}
		}
		if name == "escapes of JavaScript" {
			continue // They are for characters.
		}
		clean := 0
		for i := range 200 {
			secret := random(32 + i%32)
			opaque := false
			for l := range payload.Leaves(body(payload.Peel([]byte(write(string(secret))), ""))) {
				opaque = opaque || l.Kind == payload.KindOpaque || l.Kind == payload.KindToken
			}
			if !opaque {
				clean++
			}
		}
		if clean > 0 {
			t.Errorf("%s: %d of 200 random values came out readable", name, clean)
		}
	}
}

// Lists of numbers that count something stay what they are.
func TestListsOfNumbersStayText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0,0,1,0,2,0,0,0,1,1,0,0,3,0,0,0,0,12,0,0",
		"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
		"192.168.43.10, 192.168.43.1, 10.0.0.1, 8.8.8.8, 8.8.4.4",
		"2026-11-23 10:00:00, 2026-11-24 11:30:00, 2026-11-25 12:00:15",
		"12.2.6, 12.1.4, 3.4.3, 3.4.0, 11.0.8, 11.0.2, 11.0.1, 9.0.0",
		"1080,2340,440,60,2,8,128,6,64,4,3,1920,1080,30,24",
		"=a&b=c&d=e&f=12&g=AB&h=CD",
		`C:\101\temp and D:\logs`,
	} {
		for l := range payload.Leaves(body(payload.Peel([]byte(text), ""))) {
			if l.Kind != payload.KindText && l.Kind != payload.KindNumber && l.Kind != payload.KindEmpty {
				t.Errorf("%q: %s is %s", text, l.Path, l.Kind)
			}
		}
	}
}

// Words that hold something are opened where they stand: in hex beside other
// text, behind a name, and in the fields of binary formats that nobody knows.
func TestWordsInOtherThings(t *testing.T) {
	t.Parallel()
	z := deflated(t, jsonOf(t, []byte(term)))
	word := base64.StdEncoding.EncodeToString(z)
	digits := hex.EncodeToString(z)
	field := func(s string) string {
		return "\xac\xed\x00\x05t" + string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s
	} //nolint:gosec // Short.
	for _, text := range []string{
		"data: " + digits + ", n: 3", "2020-01-01 browser: q=" + word + ", n=3", "a=1;q=" + word + ";b=2",
		field(word), field(digits), "\x00\x01\xff\xfe" + word + "\x00\x00\xfe\xff",
		string(random(200)) + "\x00" + word + "\x00" + string(random(200)),
	} {
		found := false
		for l := range payload.Leaves(body(payload.Peel([]byte(text), ""))) {
			found = found || string(l.Value) == term
		}
		if !found {
			t.Errorf("%q: no leaf says %q", text, term)
		}
	}
}

// Turkish has an i with and without a dot in both cases, and Android's
// toUpperCase writes it so where the phone speaks Turkish.
func TestTurkishLetters(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"ZUVKOMİR TEFRALON": "ZUVKOMIR TEFRALON", "zuvkomır": "zuvkomir"} {
		found := false
		for l := range payload.Leaves(body(payload.Peel([]byte(text), ""))) {
			found = found || string(l.Value) == want
		}
		if !found {
			t.Errorf("%q: no leaf says %q", text, want)
		}
	}
}
