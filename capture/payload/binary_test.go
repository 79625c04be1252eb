package payload_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture/payload"
)

// leaves lists the leaves of a tree as "path=value kind".
func leaves(root *payload.Node) []string {
	var all []string
	for leaf := range payload.Leaves(body(root)) {
		all = append(all, fmt.Sprintf("%s=%s %v", leaf.Path, leaf.Value, leaf.Kind))
	}
	return all
}

// wantLeaves says which of the leaves that are wanted a tree lacks.
func wantLeaves(t *testing.T, root *payload.Node, want ...string) {
	t.Helper()
	all := leaves(root)
	for _, w := range want {
		if !slices.Contains(all, w) {
			t.Errorf("no leaf %q in\n%s", w, strings.Join(all, "\n"))
		}
	}
}

// A body of Firebase says who sends it in fields that have numbers only.
func TestFirebase(t *testing.T) {
	for name, b := range map[string][]byte{"plain": firebase(2, term), "gzip": gzipped(t, firebase(2, term))} {
		t.Run(name, func(t *testing.T) {
			prefix := ""
			if name == "gzip" {
				prefix = "gzip > "
			}
			root := payload.Peel(b, "application/x-protobuf")
			wantLeaves(t, root,
				prefix+"protobuf:1/8=android text", prefix+"protobuf:1/9=9 number", prefix+"protobuf:1/10=Redmi Note 8 text",
				prefix+"protobuf:1/14=com.mi.globalbrowser.mini text", prefix+"protobuf:1/16=3.4.0 text",
				prefix+"protobuf:1/19=0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69 token", prefix+"protobuf:1/2/1/2="+term+" text",
				prefix+"protobuf:1/2/1/3=-3114882736329706410 token", prefix+"protobuf:1/4=1588300001000 number",
				prefix+"protobuf:1/3/2=_fot text", prefix+"protobuf:1/12=60 number")
			if n := opaqueBytes(root); n > 0 {
				t.Errorf("%d bytes are opaque in\n%s", n, strings.Join(leaves(root), "\n"))
			}
		})
	}
}

func TestValuesOfBinaryFormats(t *testing.T) {
	values := map[string]any{
		"name": "a word or two", "small": 7, "negative": -12, "time": uint64(1588300000000), "float": 51.5, "yes": true, "nothing": nil,
		"list": []any{"first of them", 2}, "empty": "", "deep": map[string]any{"er": "still a word"},
		"random": uint64(0xd4c5b6a798123456), "bytes": []byte{0xf6, 0x6e, 0x19, 0, 0xd7, 0x80, 0x9c, 0x31, 0xfe, 2, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6},
	}
	c, err := cbor.Marshal(values)
	must(t, err)
	m, err := msgpack.Marshal(values)
	must(t, err)
	for format, b := range map[string][]byte{"cbor": c, "msgpack": m} {
		t.Run(format, func(t *testing.T) {
			f := format + ":/"
			wantLeaves(t, payload.Peel(b, ""), f+"name=a word or two text", f+"small=7 number", f+"negative=-12 number", f+"time=1588300000000 number",
				f+"float=51.5 number", f+"yes=true number", f+"nothing=null number", f+"list/0=first of them text", f+"list/1=2 number", f+"empty= empty",
				f+"deep/er=still a word text", f+"random=15331861337379845206 token", f+"bytes="+string(values["bytes"].([]byte))+" opaque")
		})
	}
}

// What decoders of a format lose is kept: members of the same name, names that
// are no words, parts of a text, several values in a row.
func TestBinaryFormatsKeepWhatOthersLose(t *testing.T) {
	str := func(s string) []byte { return append([]byte{0x60 | byte(len(s))}, s...) }
	twice := slices.Concat([]byte{0xa2}, str("name"), str("the first of two"), str("name"), str("the second of two"))
	wantLeaves(t, payload.Peel(twice, ""), "cbor:/name=the first of two text", "cbor:/name=the second of two text")
	chunks := slices.Concat([]byte{0xbf}, str("name"), []byte{0x7f}, str("cut in the"), str(" middle"), []byte{0xff, 0xff})
	wantLeaves(t, payload.Peel(chunks, ""), "cbor:/name=cut in the middle text")
	wantLeaves(t, payload.Peel(slices.Concat(twice, chunks), ""), "cbor:/0/name=the first of two text", "cbor:/1/name=cut in the middle text")
	key := slices.Concat([]byte{0xa2}, str("q9Zk3Lx0Vb7Rt2Y"), str("the first of two"), []byte{0xf5}, str("the second of two"))
	wantLeaves(t, payload.Peel(key, ""), "cbor-key=q9Zk3Lx0Vb7Rt2Y token", "cbor:/true=the second of two text")
	tagged := slices.Concat([]byte{0xd9, 0xd9, 0xf7}, twice)
	wantLeaves(t, payload.Peel(tagged, ""), "cbor:/name=the first of two text")
}

// Random bytes stay opaque however a format spells them: as a list of small
// numbers, as fields of one number, as fixed numbers side by side.
func TestRandomBytesSpeltAsNumbers(t *testing.T) {
	secret := []byte("\xf6\x6e\x19\x6f\x64\x73\xd1\xc4\x37\xc8\x9c\x53\xee\xf2\xa9\x2f\x8b\xd0\x11\x5e\xa7\x42\xbc\x90")
	var fields, fixed []byte
	for _, c := range secret {
		fields = protowire.AppendVarint(protowire.AppendTag(fields, 3, protowire.VarintType), uint64(c))
	}
	for i := range len(secret) / 8 {
		fixed = protowire.AppendFixed64(protowire.AppendTag(fixed, protowire.Number(3+i), protowire.Fixed64Type), binary.LittleEndian.Uint64(secret[8*i:]))
	}
	app := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "com.android.browser")
	numbers := make([]int, len(secret))
	for i, c := range secret {
		numbers[i] = int(c)
	}
	c, err := cbor.Marshal(map[string]any{"application": "browser", "p": numbers})
	must(t, err)
	m, err := msgpack.Marshal(map[string]any{"application": "browser", "p": numbers})
	must(t, err)
	for name, b := range map[string][]byte{"fields": append(app, fields...), "fixed": append(app, fixed...), "CBOR": c, "MessagePack": m} {
		if root := payload.Peel(b, ""); opaqueBytes(root) < len(secret) {
			t.Errorf("%s: %d bytes are opaque\n%s", name, opaqueBytes(root), tree(root))
		}
	}
}

// An archive says things outside of its files too.
func TestZIPLeavesNothingOut(t *testing.T) {
	const token = "q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp"
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	must(t, w.SetComment("said in the comment of the archive"))
	extra := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, 0x4141), uint16(len(token)))
	f, err := w.CreateHeader(&zip.FileHeader{Name: "a.txt", Comment: "said of the file", Extra: append(extra, token...), Method: zip.Store})
	must(t, err)
	_, err = f.Write([]byte("plain content"))
	must(t, err)
	f, err = w.Create(token + ".bin")
	must(t, err)
	secret := random(100)
	_, err = f.Write(secret)
	must(t, err)
	must(t, w.Close())
	root := payload.Peel(append(out.Bytes(), "and what follows"...), "")
	wantLeaves(t, root, "zip:a.txt=plain content text", "zip-comment=said in the comment of the archive text", "zip-comment=said of the file text",
		"zip-trailer=and what follows text", "zip:"+token+".bin > deflate="+string(secret)+" opaque")
	tokens := 0
	for leaf := range payload.Leaves(body(root)) {
		if strings.Contains(string(leaf.Value), token) && leaf.Kind == payload.KindOpaque {
			tokens++
		}
	}
	if tokens < 2 {
		t.Errorf("%d opaque leaves hold the token, want that of the name and that of the field:\n%s", tokens, tree(root))
	}
	cut := payload.Peel(out.Bytes()[:150], "")
	if opaqueBytes(cut) == 0 {
		t.Errorf("what was cut off is not opaque:\n%s", tree(cut))
	}
}

// A message that was sent in parts, with a ping between them, is one text.
func TestWebSocketMessages(t *testing.T) {
	b := slices.Concat(wsOf(0x01, []byte("how to plant zuvko")), wsOf(0x89, []byte("ping of another")), wsOf(0x80, []byte("mir tefralon in spring")),
		wsOf(0x82, random(40)), wsOf(0x88, []byte{3, 0xe8}))
	root := payload.Peel(b, "")
	wantLeaves(t, root, "websocket:0="+sentence+" text", "websocket:1=ping of another text")
	if opaqueBytes(root) < 40 {
		t.Errorf("the binary message is not opaque:\n%s", tree(root))
	}
}

// A signature is opaque: nobody but the issuer can say what is in it.
func TestJWT(t *testing.T) {
	signature := random(32)
	word := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	token := word(`{"alg":"RS256"}`) + "." + word(`{"sub":"somebody"}`) + "." + word(string(signature))
	wantLeaves(t, payload.Peel([]byte(token), ""), "jwt:header > json:/alg=RS256 text", "jwt:payload > json:/sub=somebody text", "jwt:signature="+string(signature)+" opaque")
}

// What an XML document says beside its texts is kept.
func TestXMLLeavesNothingOut(t *testing.T) {
	const token = "q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp"
	for _, doc := range []string{
		"<a>@</a>", "<a b='@'/>", "<a @='x'>y</a>", "<@>x</@>", "<a>x<!--@--></a>", "<a>x</a><!--@-->", "<?@ x?><a>y</a>", "<?x @?><a>y</a>",
		"<!DOCTYPE @><a>y</a>", `<?xml version="1.0" encoding="@utf-8"?><a>y</a>`, "<a>x<b/>@</a>", "<a><![CDATA[@]]></a>", "<a:@ xmlns:a='x'>x</a:@>", "<@:a>x</@:a>",
		"<a>x</a>@", "@<a>x</a>", "<a>x</a><b>@</b>", "<a>@", strings.Repeat("<a>", 100) + "@" + strings.Repeat("</a>", 100),
	} {
		root := payload.Peel([]byte(strings.ReplaceAll(doc, "@", token)), "")
		// As base64 the token is a quarter shorter.
		if opaqueBytes(root) < len(token)*3/4 {
			t.Errorf("%s: no opaque leaf holds the token:\n%s", doc, tree(root))
		}
	}
}

// Half floats are rare; the others are compared with the standard library.
func TestHalfFloats(t *testing.T) {
	for want, bits := range map[float64]uint16{1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 5.960464477539063e-08: 1, 0.333251953125: 0x3555, math.Inf(1): 0x7c00} {
		b := slices.Concat([]byte{0xa2, 0x64}, []byte("name"), []byte{0x70}, []byte("the first of two"), []byte{0x61, 'h', 0xf9}, binary.BigEndian.AppendUint16(nil, bits))
		var got string
		for leaf := range payload.Leaves(body(payload.Peel(b, ""))) {
			if leaf.Path == "cbor:/h" {
				got = string(leaf.Value)
			}
		}
		if text := fmt.Sprint(float32(want)); got != text {
			t.Errorf("%#x is %q, want %q", bits, got, text)
		}
	}
}
