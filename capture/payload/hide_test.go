package payload_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// Places of formats in which nobody looks for content hold random bytes as well as
// others do: they must come out as what is not readable.
func TestHiddenBytes(t *testing.T) {
	t.Parallel()
	archive := func(secret []byte, header func(i int, chunk []byte) *zip.FileHeader, chunk int) []byte {
		var z bytes.Buffer
		w := zip.NewWriter(&z)
		for i := 0; i+chunk <= len(secret); i += chunk {
			h := header(i, secret[i:i+chunk])
			h.Name, h.Method = fmt.Sprintf("a%d.txt", i), zip.Store
			h.CompressedSize64, h.UncompressedSize64 = 11, 11
			if h.CRC32 == 0 {
				h.CRC32 = 0x8ab5a2c6
			}
			f, err := w.CreateRaw(h)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte("hello there")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return z.Bytes()
	}
	extra := func(id uint16) func([]byte) []byte {
		return func(secret []byte) []byte {
			return archive(secret, func(_ int, c []byte) *zip.FileHeader {
				b := binary.LittleEndian.AppendUint16(nil, id)
				b = binary.LittleEndian.AppendUint16(b, uint16(len(c))) //nolint:gosec // 24 or 32.
				return &zip.FileHeader{Extra: append(b, c...)}
			}, 32)
		}
	}
	fields := func(secret []byte, field func(b, chunk []byte) []byte, chunk int) []byte {
		b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "com.mi.globalbrowser is the app that sends")
		for ; len(secret) >= chunk; secret = secret[chunk:] {
			b = field(b, secret[:chunk])
		}
		return b
	}
	tagged := func(secret []byte) []byte {
		b, err := cbor.Marshal(map[string]string{"event": "search", "version": "12.2.6-g", "screen": "main page"})
		if err != nil {
			t.Fatal(err)
		}
		b[0]++
		name, err := cbor.Marshal("tags")
		if err != nil {
			t.Fatal(err)
		}
		b = append(append(b, name...), 0x80|byte(len(secret)/8)) //nolint:gosec // Few.
		for ; len(secret) >= 8; secret = secret[8:] {
			b = append(append(append(b, 0xdb), secret[:8]...), 0xf6)
		}
		return b
	}
	rng := rand.New(rand.NewPCG(3, 5))
	for _, c := range []struct {
		name string
		body func(secret []byte) []byte
	}{
		{"sizes in an archive", extra(1)},
		{"times in an archive", extra(0x000a)},
		{"owners in an archive", extra(0x7875)},
		{"sums in an archive", func(secret []byte) []byte {
			return archive(secret, func(_ int, c []byte) *zip.FileHeader { return &zip.FileHeader{CRC32: binary.LittleEndian.Uint32(c)} }, 4)
		}},
		{"tags of CBOR", tagged},
		{"floats of protobuf", func(secret []byte) []byte {
			return fields(secret, func(b, c []byte) []byte {
				return protowire.AppendFixed32(protowire.AppendTag(b, 3, protowire.Fixed32Type), binary.LittleEndian.Uint32(c))
			}, 4)
		}},
		{"large numbers of JSON", func(secret []byte) []byte {
			var list []string
			for ; len(secret) >= 8; secret = secret[8:] {
				list = append(list, fmt.Sprint(binary.LittleEndian.Uint64(secret)))
			}
			return []byte(`{"d":[` + strings.Join(list, ",") + `]}`)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 200 {
				secret := make([]byte, 64)
				for i := range secret {
					secret[i] = byte(rng.Uint32())
				}
				found := false
				for l := range payload.Leaves([]payload.Part{{Where: "body", Root: payload.Peel(c.body(secret), "")}}) {
					found = found || l.Kind == payload.KindOpaque || l.Kind == payload.KindToken
				}
				if !found {
					t.Fatalf("%x came out readable", secret)
				}
			}
		})
	}
}

// Honest values of the same places stay what they are.
func TestNothingHidden(t *testing.T) {
	t.Parallel()
	times := []byte{0, 0, 0, 0, 1, 0, 24, 0}
	for range 3 {
		times = binary.LittleEndian.AppendUint64(times, 132_500_000_000_000_000) // November 2020
	}
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	f, err := w.CreateHeader(&zip.FileHeader{Name: "a.txt", Method: zip.Store, Extra: append([]byte{0x0a, 0, 32, 0}, times...)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("hello there")); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "com.mi.globalbrowser is the app that sends")
	for _, n := range []uint32{1_606_500_000, 70_000, 0x42280000, 7} { // a time, a count, 42.0, a count
		message = protowire.AppendFixed32(protowire.AppendTag(message, 3, protowire.Fixed32Type), n)
	}
	for name, body := range map[string][]byte{
		"an archive": z.Bytes(), "protobuf": message, "JSON": []byte(`{"ms":1606500000000,"us":1606500000000000,"ns":1606500000000000000,"n":281474976710655,"f":0.12345678901234567,"neg":-5}`),
	} {
		for l := range payload.Leaves([]payload.Part{{Where: "body", Root: payload.Peel(body, "")}}) {
			if l.Kind == payload.KindOpaque || l.Kind == payload.KindToken {
				t.Errorf("%s: %s is %s: %q", name, l.Path, l.Kind, l.Value)
			}
		}
	}
}

// A word cut into labels that are each as short as an abbreviation is random all
// the same; names of hosts are not.
func TestShortLabels(t *testing.T) {
	t.Parallel()
	for name, readable := range map[string]bool{
		"fb5a3ea3.47a6f753.0e58cf22.example":   false,
		"nhh0xa.pyd4qx.lo5glu.jhxvcc.example":  false,
		"images.static.google.com":             true,
		"sa.api.intl.miui.com":                 true,
		"connect.rom.miui.com":                 true,
		"edge.mqtt.chat.facebook.com":          true,
		"android.clients.google.com":           true,
		"settings.crashlytics.reports.example": true,
	} {
		clean := true
		for l := range payload.Leaves(payload.Lookup(capture.Lookup{Name: name})) {
			clean = clean && l.Kind == payload.KindText
		}
		if clean != readable {
			t.Errorf("%s: readable %v", name, clean)
		}
	}
}

// Letters of another shape read as the words that they spell; wide marks alone
// are how Chinese is written.
func TestShapes(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"ｋｏｒｖａｎｄｅｌ ｍｉｓｔｒｕｐｈ": "korvandel mistruph",
		"𝐤𝐨𝐫𝐯𝐚𝐧𝐝𝐞𝐥 𝒎𝒊𝒔𝒕𝒓𝒖𝒑𝒉": "korvandel mistruph",
		"ⓚⓞⓡⓥⓐⓝⓓⓔⓛ":          "korvandel",
		"你好，世界！你好，世界！":       "你好，世界！你好，世界！",
	} {
		for _, body := range []string{value, `{"q":"` + value + `"}`} {
			found := false
			for l := range payload.Leaves([]payload.Part{{Where: "body", Root: payload.Peel([]byte(body), "")}}) {
				found = found || l.Kind == payload.KindText && string(l.Value) == want
			}
			if !found {
				t.Errorf("%s: no leaf says %q", body, want)
			}
		}
	}
}
