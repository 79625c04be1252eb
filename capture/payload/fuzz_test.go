package payload_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/encoding/protowire"

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
	for _, d := range disguises {
		f.Add(d.wrap(f, []byte(sentence)), "", "")
	}
	f.Add(firebase(2, term), "application/x-protobuf", "")
	for _, write := range written {
		f.Add([]byte(write(term)), "", "")
	}
	f.Add([]byte("\xac\xed\x00\x05t\x00\x20"+base64.StdEncoding.EncodeToString([]byte(`{"q":"`+term+`"}`))), "", "")
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

// FuzzDisguises reaches the readers behind one another: content that is not
// ours, wrapped in two formats.
func FuzzDisguises(f *testing.F) {
	for i := range disguises {
		f.Add([]byte(sentence), uint8(i), uint8(0))                          //nolint:gosec // There are fewer than 256.
		f.Add([]byte("\x0a\x03abc\x10\x01"), uint8(0), uint8(i))             //nolint:gosec // As above.
		f.Add([]byte("\xa2\x61a\x01\x61b\x9f\xff"), uint8(i), uint8(2*i%50)) //nolint:gosec // As above.
	}
	f.Fuzz(func(t *testing.T, b []byte, inner, outer uint8) {
		i, o := disguises[int(inner)%len(disguises)], disguises[int(outer)%len(disguises)]
		// The frames of the tests hold no more.
		if wrapped := i.wrap(t, b); len(wrapped) < 1<<16 {
			check(t, body(payload.Peel(o.wrap(t, wrapped), "")))
		}
	})
}

// FuzzBinary holds the readers of binary formats against other decoders: what
// ours takes for a format, theirs read to the end.
func FuzzBinary(f *testing.F) {
	for _, d := range disguises {
		if strings.Contains(d.path, ":") && d.binary {
			f.Add(d.wrap(f, []byte(sentence)))
		}
	}
	f.Add(firebase(3, term))
	f.Add([]byte("\x1f\x8b\b\x0000000000000000")) // a header with nothing behind it
	f.Add([]byte("0\x9c0!300000000000000000007")) // 0x37 has a wire type that does not exist
	many, err := cbor.DecOptions{MaxNestedLevels: 512, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		root := payload.Peel(b, "")
		check(t, body(root))
		if len(root.Children) == 0 {
			return
		}
		format, _, _ := strings.Cut(root.Children[0].Step, ":")
		switch strings.TrimSuffix(format, "-key") {
		case "cbor":
			for rest := b; len(rest) > 0; {
				var item cbor.RawMessage
				if rest, err = many.UnmarshalFirst(rest, &item); err != nil {
					t.Fatalf("%x: %v", b, err)
				}
			}
		case "msgpack":
			in := bytes.NewReader(b)
			for dec := msgpack.NewDecoder(in); in.Len() > 0; {
				if err := dec.Skip(); err != nil {
					t.Fatalf("%x: %v", b, err)
				}
			}
		case "protobuf":
			for rest := b; len(rest) > 0; {
				_, _, n := protowire.ConsumeField(rest)
				if n < 0 {
					t.Fatalf("%x: %v", b, protowire.ParseError(n))
				}
				rest = rest[n:]
			}
		}
	})
}
