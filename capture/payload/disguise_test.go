package payload_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/zlib"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture/payload"
)

// term is what hides in every disguise.
const term = "zuvkomir tefralon"

// A disguise is one way in which an SDK wraps what it sends.
type disguise struct {
	name string
	wrap func(testing.TB, []byte) []byte
	// path is what the disguise adds to the path of what it wraps.
	path string
	// binary is true where wrap gives bytes that are no text, text where it
	// takes nothing else.
	binary, text bool
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// through writes b to a compressor.
func through(tb testing.TB, b []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	must(tb, err)
	_, err = w.Write(b)
	must(tb, err)
	must(tb, w.Close())
	return out.Bytes()
}

func deflated(tb testing.TB, b []byte) []byte {
	return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, 9) })
}

func utf16Of(order binary.AppendByteOrder, mark bool) func(testing.TB, []byte) []byte {
	return func(_ testing.TB, b []byte) []byte {
		var out []byte
		if mark {
			out = order.AppendUint16(out, 0xfeff)
		}
		for _, unit := range utf16.Encode([]rune(string(b))) {
			out = order.AppendUint16(out, unit)
		}
		return out
	}
}

func quoted(tb testing.TB, b []byte) string {
	tb.Helper()
	out, err := json.Marshal(string(b))
	must(tb, err)
	return string(out)
}

func jsonOf(tb testing.TB, b []byte) []byte {
	return []byte(`{"event":"search","properties":{"search_word":` + quoted(tb, b) + `,"n":1}}`)
}

func zipped(tb testing.TB, method uint16, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range map[string][]byte{"events.json": b} {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		must(tb, err)
		_, err = f.Write(content)
		must(tb, err)
	}
	must(tb, w.Close())
	return out.Bytes()
}

func grpcOf(flag byte, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(b))), b...) //nolint:gosec // Small in tests.
}

// wsOf makes a masked frame, as every client sends.
func wsOf(head byte, b []byte) []byte {
	out := []byte{head}
	switch {
	case len(b) < 126:
		out = append(out, 0x80|byte(len(b)))
	default:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(len(b))) //nolint:gosec // Small in tests.
	}
	mask := []byte{0x9f, 0x12, 0x83, 0xe4}
	out = append(out, mask...)
	for i, c := range b {
		out = append(out, c^mask[i%4])
	}
	return out
}

func numericEntities(b []byte, format string) []byte {
	var out strings.Builder
	for _, r := range string(b) {
		fmt.Fprintf(&out, format, r)
	}
	return []byte(out.String())
}

var std, urlSafe = base64.StdEncoding, base64.RawURLEncoding

func coded(encode func([]byte) string) func(testing.TB, []byte) []byte {
	return func(_ testing.TB, b []byte) []byte { return []byte(encode(b)) }
}

func after(prefix string, encode func([]byte) string) func(testing.TB, []byte) []byte {
	return func(_ testing.TB, b []byte) []byte { return []byte(encode(append([]byte(prefix), b...))) }
}

func lines(encoded string, every int) string {
	var out []string
	for part := range slices.Chunk([]byte(encoded), every) {
		out = append(out, string(part))
	}
	return strings.Join(out, "\r\n") + "\r\n"
}

// disguises are the ways to wrap: plain is missing because it wraps nothing.
var disguises = []disguise{
	{name: "upper case", wrap: func(_ testing.TB, b []byte) []byte { return bytes.ToUpper(b) }, text: true},
	{name: "base64", wrap: coded(std.EncodeToString), path: "base64"},
	{name: "base64, one byte on", wrap: after("x", std.EncodeToString), path: "base64", text: true},
	{name: "base64, two bytes on", wrap: after("x:", std.EncodeToString), path: "base64", text: true},
	{name: "base64url", wrap: coded(urlSafe.EncodeToString), path: "base64"},
	{name: "base64 twice", wrap: coded(func(b []byte) string { return std.EncodeToString([]byte(std.EncodeToString(b))) }), path: "base64 > base64"},
	{name: "base64 without padding", wrap: coded(base64.RawStdEncoding.EncodeToString), path: "base64"},
	{name: "base64 with too much padding", wrap: coded(func(b []byte) string { return strings.TrimRight(std.EncodeToString(b), "=") + "===" }), path: "base64"},
	{name: "base64 in lines", wrap: coded(func(b []byte) string { return lines(std.EncodeToString(b), 16) }), path: "base64"},
	{name: "percent", wrap: coded(func(b []byte) string { return strings.ReplaceAll(url.QueryEscape(string(b)), "+", "%20") }), path: "percent"},
	{name: "percent twice", wrap: coded(func(b []byte) string {
		once := strings.ReplaceAll(url.QueryEscape(string(b)), "+", "%20")
		return url.QueryEscape(once)
	}), path: "percent > percent"},
	{name: "hex", wrap: coded(hex.EncodeToString), path: "hex"},
	{name: "upper-case hex", wrap: coded(func(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }), path: "hex"},
	{name: "base32", wrap: coded(base32.StdEncoding.EncodeToString), path: "base32"},
	{name: "gzip", wrap: gzipped, path: "gzip", binary: true},
	{name: "zlib", wrap: func(tb testing.TB, b []byte) []byte {
		return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil })
	}, path: "zlib", binary: true},
	{name: "deflate", wrap: deflated, path: "deflate", binary: true, text: true},
	{name: "brotli", wrap: brotliOf, path: "brotli", binary: true, text: true},
	{name: "zstd", wrap: func(tb testing.TB, b []byte) []byte {
		return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	}, path: "zstd", binary: true},
	{name: "lz4", wrap: func(tb testing.TB, b []byte) []byte {
		return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	}, path: "lz4", binary: true},
	{name: "xz", wrap: func(tb testing.TB, b []byte) []byte {
		return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	}, path: "xz", binary: true},
	{name: "snappy", wrap: func(tb testing.TB, b []byte) []byte {
		return through(tb, b, func(w io.Writer) (io.WriteCloser, error) { return snappy.NewBufferedWriter(w), nil })
	}, path: "snappy", binary: true},
	{name: "snappy block", wrap: func(_ testing.TB, b []byte) []byte { return snappy.Encode(nil, b) }, path: "snappy", binary: true, text: true},
	{name: "UTF-16LE", wrap: utf16Of(binary.LittleEndian, false), path: "utf16", binary: true, text: true},
	{name: "UTF-16BE", wrap: utf16Of(binary.BigEndian, false), path: "utf16", binary: true, text: true},
	{name: "UTF-16LE with a mark", wrap: utf16Of(binary.LittleEndian, true), path: "utf16", binary: true, text: true},
	{name: "UTF-16BE with a mark", wrap: utf16Of(binary.BigEndian, true), path: "utf16", binary: true, text: true},
	{name: "JSON", wrap: jsonOf, path: "json:/properties/search_word", text: true},
	{name: "JSON in JSON in JSON", wrap: func(tb testing.TB, b []byte) []byte {
		return jsonOf(tb, jsonOf(tb, jsonOf(tb, b)))
	}, path: "json:/properties/search_word > json:/properties/search_word > json:/properties/search_word", text: true},
	{name: "JSON lines", wrap: func(tb testing.TB, b []byte) []byte {
		return []byte("{\"a\":1}\n{\"q\":" + quoted(tb, b) + "}\n")
	}, path: "line:1 > json:/q", text: true},
	{name: "form", wrap: coded(func(b []byte) string { return "n=1&q=" + url.QueryEscape(string(b)) + "&r=GB" }), path: "form:q"},
	{name: "URL", wrap: coded(func(b []byte) string { return "https://x.example/s?q=" + url.QueryEscape(string(b)) }), path: "url:query:q"},
	{name: "Sensors", wrap: func(tb testing.TB, b []byte) []byte {
		return []byte("crc=-17&gzip=1&data_list=" + url.QueryEscape(std.EncodeToString(gzipped(tb, slices.Concat([]byte("["), jsonOf(tb, b), []byte("]"))))))
	}, path: "form:data_list > base64 > gzip > json:/0/properties/search_word", text: true},
	{name: "JWT", wrap: func(tb testing.TB, b []byte) []byte {
		return []byte(urlSafe.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + urlSafe.EncodeToString([]byte(`{"sub":`+quoted(tb, b)+`}`)) + "." + urlSafe.EncodeToString(random(32)))
	}, path: "jwt:payload > json:/sub", text: true},
	{name: "protobuf", wrap: func(_ testing.TB, b []byte) []byte {
		inner := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), b)
		inner = protowire.AppendString(protowire.AppendTag(inner, 5, protowire.BytesType), "search")
		out := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1588300000000)
		out = protowire.AppendString(protowire.AppendTag(out, 2, protowire.BytesType), "com.android.browser")
		return protowire.AppendBytes(protowire.AppendTag(out, 3, protowire.BytesType), inner)
	}, path: "protobuf:3/4", binary: true},
	{name: "CBOR", wrap: func(tb testing.TB, b []byte) []byte {
		out, err := cbor.Marshal(map[string]any{"event": "search", "properties": map[string]any{"word": b, "n": 1}})
		must(tb, err)
		return out
	}, path: "cbor:/properties/word", binary: true},
	{name: "MessagePack", wrap: func(tb testing.TB, b []byte) []byte {
		out, err := msgpack.Marshal(map[string]any{"event": "search", "properties": map[string]any{"word": b, "n": 1}})
		must(tb, err)
		return out
	}, path: "msgpack:/properties/word", binary: true},
	{name: "XML", wrap: func(tb testing.TB, b []byte) []byte {
		var out bytes.Buffer
		must(tb, xml.EscapeText(&out, b))
		return []byte(`<?xml version="1.0"?><map><int name="n" value="1"/><string name="q">` + strings.ReplaceAll(out.String(), " ", "&#x20;") + `</string></map>`)
	}, path: "xml:/map/string", text: true},
	{name: "XML attribute", wrap: func(tb testing.TB, b []byte) []byte {
		var out bytes.Buffer
		must(tb, xml.EscapeText(&out, b))
		return []byte(`<map><string name="q" value="` + strings.ReplaceAll(out.String(), " ", "&#32;") + `"/></map>`)
	}, path: "xml:/map/string@value", text: true},
	{name: "XML with CDATA", wrap: coded(func(b []byte) string {
		return `<map><string name="q"><![CDATA[` + strings.ReplaceAll(string(b), "]]>", "]]]]><![CDATA[>") + `]]></string></map>`
	}), path: "xml:/map/string", text: true},
	{name: "entities, decimal", wrap: func(_ testing.TB, b []byte) []byte { return numericEntities(b, "&#%d;") }, path: "entities", text: true},
	{name: "entities, hex", wrap: func(_ testing.TB, b []byte) []byte { return numericEntities(b, "&#x%x;") }, path: "entities", text: true},
	{name: "entities, named", wrap: coded(func(b []byte) string {
		return "&lt;q title=&quot;" + html.EscapeString(string(b)) + "&quot;&gt;"
	}), path: "entities", text: true},
	{name: "escapes", wrap: func(_ testing.TB, b []byte) []byte { return numericEntities(b, `\u%04x`) }, path: "escapes", text: true},
	{name: "gRPC", wrap: func(_ testing.TB, b []byte) []byte { return grpcOf(0, b) }, path: "grpc:0", binary: true},
	{name: "gRPC with gzip", wrap: func(tb testing.TB, b []byte) []byte { return grpcOf(1, gzipped(tb, b)) }, path: "grpc:0 > gzip", binary: true},
	{name: "WebSocket text", wrap: func(_ testing.TB, b []byte) []byte { return wsOf(0x81, b) }, path: "websocket:0", binary: true, text: true},
	{name: "WebSocket, compressed", wrap: func(tb testing.TB, b []byte) []byte {
		var out bytes.Buffer
		w, err := flate.NewWriter(&out, 9)
		must(tb, err)
		_, err = w.Write(b)
		must(tb, err)
		must(tb, w.Flush())
		return wsOf(0xc1, bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff}))
	}, path: "websocket:0", binary: true, text: true},
	{name: "ZIP, stored", wrap: func(tb testing.TB, b []byte) []byte { return zipped(tb, zip.Store, b) }, path: "zip:events.json", binary: true},
	{name: "ZIP, deflated", wrap: func(tb testing.TB, b []byte) []byte { return zipped(tb, zip.Deflate, b) }, path: "zip:events.json > deflate", binary: true},
	{name: "multipart", wrap: func(_ testing.TB, b []byte) []byte {
		return slices.Concat([]byte("--xx\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n1\r\n--xx\r\nContent-Disposition: form-data; name=\"q\"\r\nContent-Type: application/octet-stream\r\n\r\n"), b, []byte("\r\n--xx--\r\n"))
	}, path: "multipart:q"},
	{name: "multipart with gzip", wrap: func(tb testing.TB, b []byte) []byte {
		return slices.Concat([]byte("--xx\r\nContent-Disposition: form-data; name=\"q\"; filename=\"e.gz\"\r\n\r\n"), gzipped(tb, b), []byte("\r\n--xx--\r\n"))
	}, path: "multipart:q > gzip", binary: true},
}

// holder returns the path of a readable leaf that holds the term.
func holder(root *payload.Node) (path string, ok bool) {
	for leaf := range payload.Leaves(body(root)) {
		// A URL or a form among other text keeps its plus signs.
		text := strings.ReplaceAll(strings.ToLower(string(leaf.Value)), "+", " ")
		if leaf.Kind == payload.KindText && strings.Contains(text, term) {
			return leaf.Path, true
		}
	}
	return "", false
}

func holds(root *payload.Node) bool {
	_, ok := holder(root)
	return ok
}

// sentence is the term among words: a few bytes alone prove no binary format.
const sentence = "how to plant " + term + " in spring"

// Every disguise of a term ends in a readable leaf under a path that says how
// it was dressed.
func TestDisguises(t *testing.T) {
	for _, d := range disguises {
		t.Run(d.name, func(t *testing.T) {
			root := payload.Peel(d.wrap(t, []byte(sentence)), "")
			if got, ok := holder(root); !ok || got != d.path {
				t.Errorf("the term is at %q, want %q:\n%s", got, d.path, tree(root))
			}
		})
		t.Run(d.name+", the term alone", func(t *testing.T) {
			if root := payload.Peel(d.wrap(t, []byte(term)), ""); !holds(root) {
				t.Errorf("no readable leaf holds the term:\n%s", tree(root))
			}
		})
	}
}
