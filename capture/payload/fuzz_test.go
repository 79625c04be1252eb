package payload_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// check states what holds of every tree.
func check(t *testing.T, parts []payload.Part) {
	t.Helper()
	nodes := 0
	for leaf := range payload.Walk(parts) {
		nodes++
		interior := len(leaf.Children) > 0
		switch {
		case interior && leaf.Kind != payload.KindUnknown:
			t.Errorf("%q has children and is %v", leaf.Path, leaf.Kind)
		case !interior && leaf.Kind == payload.KindUnknown:
			t.Errorf("leaf %q has no kind: %.50q", leaf.Path, leaf.Value)
		case leaf.Kind == payload.KindEmpty && leaf.Size != 0:
			t.Errorf("%q is empty with %d bytes", leaf.Path, leaf.Size)
		case leaf.Truncated && !interior && leaf.Value == nil && leaf.Kind != payload.KindOpaque:
			t.Errorf("what was cut at %q is %v", leaf.Path, leaf.Kind)
		case leaf.Size < len(leaf.Value) || leaf.Entropy < 0 || leaf.Entropy > 8.0001:
			t.Errorf("%q: size %d of %d bytes, entropy %v", leaf.Path, leaf.Size, len(leaf.Value), leaf.Entropy)
		}
	}
	if nodes > payload.MaxNodes+1000 {
		t.Errorf("%d nodes", nodes)
	}
}

func FuzzPeel(f *testing.F) {
	for _, value := range readable {
		f.Add([]byte(value), "", "")
	}
	for value := range hidden {
		f.Add([]byte(value), "application/x-www-form-urlencoded", "")
	}
	f.Add(gzipped(f, []byte(`[{"a":"b"}]`)), "application/json", "gzip")
	f.Add([]byte("--xx\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db\r\n--xx--"), "multipart/form-data; boundary=xx", "br, zstd")
	f.Add([]byte("\xff\xfea\x00b\x00c\x00d\x00"), "", "deflate")
	f.Add([]byte("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,255]"), "", "")
	f.Add([]byte("\x28\xb5\x2f\xfd\x04\x00\x19\x00\x00abc"), "", "zstd")
	f.Fuzz(func(t *testing.T, b []byte, contentType, contentEncoding string) {
		before := slices.Clone(b)
		check(t, body(payload.PeelEncoded(b, contentType, contentEncoding)))
		if !bytes.Equal(before, b) {
			t.Error("the input was changed")
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add("https://x.example/a%20b?q=%zz&&=1#x", "Cookie", "a=b; ;c", []byte("x"), "a.b..c")
	f.Add("://", "", "Basic x", []byte(nil), "")
	f.Add("a@b:/?#", "Content-Type", "multipart/form-data; boundary=\"", []byte("--"), "d41d8cd98f00b204e9800998ecf8427e.x")
	f.Fuzz(func(t *testing.T, address, name, value string, b []byte, host string) {
		ex := capture.Exchange{URL: address, RequestHeader: []capture.Header{{Name: name, Value: value}}, RequestBody: b}
		check(t, payload.Request(ex))
		ex.RequestTruncated = true
		check(t, payload.Request(ex))
		check(t, payload.Lookup(capture.Lookup{Name: host}))
	})
}

func BenchmarkPeel(b *testing.B) {
	doc := "[" + strings.Repeat(`{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69","t":1588300000000}},`, 200) + "{}]"
	for name, in := range map[string][]byte{
		"json": []byte(doc), "gzip": gzipped(b, []byte(doc)), "text": []byte(strings.Repeat("The quick brown fox jumps over the lazy dog. ", 1000)),
		"random": random(64 << 10), "base64": []byte(base64.StdEncoding.EncodeToString(random(48 << 10))),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			for b.Loop() {
				payload.Peel(in, "")
			}
		})
	}
}
