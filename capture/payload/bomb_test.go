// Nothing here has two goroutines meet, and the race detector would make minutes
// of it: TestPeelFromSeveralGoroutines is what it runs instead.

//go:build !race

package payload_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture/payload"
)

// A bombCase is a body that costs its reader more than its sender. cut is true
// where it must end at a bound, opaque where no reader may believe it.
type bombCase struct {
	body   []byte
	cut    bool
	opaque bool
}

const megabyte = 1 << 20

// blank writes n megabytes of a text to a compressor.
func blank(tb testing.TB, n int, open func(io.Writer) (io.WriteCloser, error)) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	must(tb, err)
	chunk := bytes.Repeat([]byte("a b "), megabyte/4)
	for range n {
		_, err := w.Write(chunk)
		must(tb, err)
	}
	must(tb, w.Close())
	return out.Bytes()
}

// overlapping is an archive whose directory names one file n times.
func overlapping(tb testing.TB, n int) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	f, err := w.Create("kernel")
	must(tb, err)
	_, err = f.Write(bytes.Repeat([]byte("a b "), 2*megabyte))
	must(tb, err)
	must(tb, w.Close())
	b := out.Bytes()
	at := bytes.Index(b, []byte("PK\x01\x02"))
	end := bytes.Index(b, []byte("PK\x05\x06"))
	return bytes.Join([][]byte{b[:at], bytes.Repeat(b[at:end], n), b[end:]}, nil)
}

// manyFiles is an archive of n files of a megabyte each.
func manyFiles(tb testing.TB, n int) []byte {
	tb.Helper()
	one := zipped(tb, zip.Deflate, bytes.Repeat([]byte("a b "), megabyte/4))
	at := bytes.Index(one, []byte("PK\x01\x02"))
	return bytes.Repeat(one[:at], n)
}

// within wraps a message into n others.
func within(b []byte, n int) []byte {
	for range n {
		b = protowire.AppendBytes(nil, b)
		b = append(protowire.AppendTag(nil, 2, protowire.BytesType), b...)
		b = append(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "com.android.browser"), b...)
	}
	return b
}

// layered puts a message into a field that reads as bytes, n times.
func layered(b []byte, n int) []byte {
	for range n {
		b = within(append([]byte{0x0c}, b...), 30)
	}
	return b
}

func bombs(tb testing.TB) map[string]bombCase {
	tb.Helper()
	gz := bomb(tb, 4*payload.MaxOutput)
	nested := bomb(tb, 10*megabyte)
	for range 3 {
		nested = gzipped(tb, nested)
	}
	hugeXZ := blank(tb, 1, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
	hugeXZ[bytes.Index(hugeXZ, []byte{0x21, 0x01})+2] = 40 // a dictionary of 4 GB
	laughs := `<!DOCTYPE a [<!ENTITY l "lol">`
	for i := range 20 {
		laughs += `<!ENTITY l` + string(rune('a'+i)) + ` "` + strings.Repeat("&l;", 10) + `">`
	}
	var fields []byte
	for range 200_000 {
		fields = protowire.AppendString(protowire.AppendTag(fields, 1, protowire.BytesType), "a word")
	}
	return map[string]bombCase{
		"gzip":                  {body: gz, cut: true},
		"10 MB of gzip, nested": {body: nested},
		"brotli": {body: blank(tb, 40, func(w io.Writer) (io.WriteCloser, error) {
			return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: 5, LGWin: 24}), nil
		}), opaque: true},
		"zstd":                   {body: blank(tb, 40, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithWindowSize(8*megabyte)) }), cut: true},
		"zstd of a huge window":  {body: blank(tb, 40, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w, zstd.WithWindowSize(512*megabyte)) }), opaque: true},
		"lz4":                    {body: blank(tb, 40, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil }), cut: true},
		"snappy":                 {body: blank(tb, 40, func(w io.Writer) (io.WriteCloser, error) { return snappy.NewBufferedWriter(w), nil }), cut: true},
		"xz":                     {body: blank(tb, 50, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }), cut: true},
		"xz of a huge window":    {body: hugeXZ},
		"ZIP that overlaps":      {body: overlapping(tb, 5000)},
		"ZIP of many files":      {body: manyFiles(tb, 2000), cut: true},
		"XML, deep":              {body: []byte(strings.Repeat("<a>", megabyte) + "x" + strings.Repeat("</a>", megabyte))},
		"XML, wide":              {body: []byte("<a>" + strings.Repeat("<b>1</b>", megabyte/2) + "</a>"), cut: true},
		"XML, attributes":        {body: []byte("<a" + strings.Repeat(" b='1'", megabyte/2) + "/>"), cut: true},
		"XML, entities":          {body: []byte(laughs + "]><a>&lt;&lt;</a>")},
		"protobuf, deep":         {body: within(bytes.Repeat([]byte("word "), megabyte), 1000)},
		"protobuf in layers":     {body: layered(random(8*megabyte), 10)},
		"protobuf, wide":         {body: fields, opaque: true},
		"CBOR, deep":             {body: bytes.Repeat([]byte{0x81}, 10*megabyte), opaque: true},
		"CBOR, deep without end": {body: bytes.Repeat([]byte{0x9f}, 10*megabyte), opaque: true},
		"CBOR, a huge list":      {body: append([]byte{0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff}, random(megabyte)...), opaque: true},
		"CBOR, tags":             {body: bytes.Repeat([]byte{0xc1}, 10*megabyte), opaque: true},
		"MessagePack, deep":      {body: bytes.Repeat([]byte{0x91}, 10*megabyte), opaque: true},
		"MessagePack, a list":    {body: binary.BigEndian.AppendUint32([]byte{0xdd}, 10*megabyte), opaque: true},
		"gRPC, empty frames":     {body: append([]byte{0, 0, 0, 0, 1, 'x'}, make([]byte, 10*megabyte)...), opaque: true},
		"codes in one word":      {body: bytes.Repeat([]byte("1234567890123456789012345nhH0XAPYd4qxLO5glU+"), 4*megabyte/44)},
		"values glued together":  {body: bytes.Repeat([]byte("SGVsbG8gd29ybGQgdGhpcw==1234567890123456789012345"), 4*megabyte/49)},
		"lines of hex":           {body: bytes.Repeat([]byte("0a1b2c3d4e5f\n"), megabyte/4)},
		"WebSocket, empty":       {body: bytes.Repeat([]byte{0x89, 0x80, 1, 2, 3, 4}, megabyte), opaque: true},
	}
}

// Every bomb ends at the stated bounds, with an opaque leaf for what was cut.
func TestFormatBombs(t *testing.T) {
	for name, c := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			root := payload.Peel(c.body, "")
			runtime.ReadMemStats(&after)
			nodes, cut := 0, false
			for leaf := range payload.Walk(body(root)) {
				nodes++
				cut = cut || leaf.Truncated && len(leaf.Children) == 0 && leaf.Kind == payload.KindOpaque
			}
			made := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes gave %d nodes and took %d MB", len(c.body), nodes, made/megabyte)
			if nodes > payload.MaxNodes+100 {
				t.Errorf("%d nodes", nodes)
			}
			if c.cut && !cut {
				t.Errorf("nothing says that it was cut")
			}
			if c.opaque && root.Kind != payload.KindOpaque && !cut {
				t.Errorf("it is believed: %v, %d children", root.Kind, len(root.Children))
			}
			// What is made is made of the input and of the output that is allowed,
			// each copied a few times as buffers grow.
			if most := uint64(12*payload.MaxOutput + 40*len(c.body)); made > most { //nolint:gosec // Sizes of test data.
				t.Errorf("%d MB were made, want at most %d", made/megabyte, most/megabyte)
			}
		})
	}
}

// BenchmarkBombs reports what each costs.
func BenchmarkBombs(b *testing.B) {
	for name, c := range bombs(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				payload.Peel(c.body, "")
			}
		})
	}
}

// Bombs, alone, nested, many, and behind every decoder, must end at the stated
// bounds, and what was cut must not pass for clean.
func TestBombs(t *testing.T) {
	big := bomb(t, 4*payload.MaxOutput)
	small := bomb(t, 4<<20)
	coded := base64.StdEncoding.EncodeToString(small)
	nested := big
	for range 5 {
		nested = gzipped(t, nested)
	}
	shell := []byte("x")
	for range 200 {
		shell = gzipped(t, shell)
	}
	percent := "%41 word"
	for range 60 {
		percent = strings.ReplaceAll(percent, "%", "%25")
	}
	deep := `"x"`
	for range 12 {
		b, err := json.Marshal(map[string]string{"a": deep})
		if err != nil {
			t.Fatal(err)
		}
		deep = string(b)
	}
	for name, c := range map[string]struct {
		body string
		cut  bool
	}{
		"one":              {string(big), true},
		"nested":           {string(nested), true},
		"many in a form":   {"a=" + strings.Repeat(url.QueryEscape(coded)+"&a=", 50), true},
		"many in a list":   {`["` + strings.Repeat(coded+`","`, 50) + `"]`, true},
		"200 shells":       {string(shell), true},
		"percent 60 times": {percent, true},
		"JSON in JSON":     {deep, false},
		"many members":     {strings.Repeat(string(gzipped(t, []byte("x"))), 20_000), false},
		"many fields":      {strings.Repeat("a=1&", 200_000), true},
		"many elements":    {"[" + strings.Repeat("1,", 200_000) + "1]", true},
		"many keys":        {"{" + strings.Repeat(`"a":1,`, 200_000) + `"b":1}`, true},
		"many documents":   {strings.Repeat("{}\n", 100_000), true},
		"many segments":    {"https://x.example" + strings.Repeat("/a", 200_000), true},
		"many tokens":      {strings.Repeat("q9Zk3Lx0Vb7Rt and then some ", 100_000), true},
		"many parts":       {strings.Repeat("--xx\r\nContent-Type: text/plain\r\n\r\nx\r\n", 100_000), true},
		"deep list":        {strings.Repeat("[", 9000) + strings.Repeat("]", 9000), true},
		"long keys":        {strings.Repeat(`{"`+strings.Repeat("k", 500)+`":`, 30) + strings.Repeat(`[1,2,3,4,5,6,7,8],`, 1) + "0" + strings.Repeat("}", 30), false},
		"brackets":         {strings.Repeat("[", 1<<20), false},
		"many parameters":  {"https://x.example/a?" + strings.Repeat("a=1&", 200_000), true},
		"quotes":           {strings.Repeat(`"`, 1<<20), false},
		"equals":           {strings.Repeat(`a=`, 1<<19), true},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			root := payload.Peel([]byte(c.body), "")
			nodes, cut, bytesOut := 0, false, 0
			for leaf := range payload.Walk(body(root)) {
				nodes++
				bytesOut += len(leaf.Value)
				if leaf.Truncated && len(leaf.Children) == 0 {
					cut = cut || leaf.Kind == payload.KindOpaque
				}
			}
			t.Logf("%d bytes gave %d nodes of %d bytes in %v", len(c.body), nodes, bytesOut, time.Since(start))
			// A little over the bound: the node that meets it is finished.
			if nodes > payload.MaxNodes+100 {
				t.Errorf("%d nodes", nodes)
			}
			if cut != c.cut {
				t.Errorf("cut is %v, want %v", cut, c.cut)
			}
		})
	}
}
