package payload_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
)

// tree draws a node and what lies below it.
func tree(n *payload.Node) string {
	var b strings.Builder
	for leaf := range payload.Walk([]payload.Part{{Root: n}}) {
		fmt.Fprintf(&b, "%s: %v %d truncated=%v %.60q\n", leaf.Path, leaf.Kind, leaf.Size, leaf.Truncated, leaf.Value)
	}
	return b.String()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func body(root *payload.Node) []payload.Part {
	return []payload.Part{{Where: "body", Root: root}}
}

// leafAt returns the leaf at a path.
func leafAt(t testing.TB, parts []payload.Part, where, path string) payload.Leaf {
	t.Helper()
	var seen []string
	for leaf := range payload.Leaves(parts) {
		if leaf.Where == where && leaf.Path == path {
			return leaf
		}
		seen = append(seen, leaf.Where+" "+leaf.Path)
	}
	t.Fatalf("no leaf at %s %q, but at %q", where, path, seen)
	return payload.Leaf{}
}

// opaqueBytes is how many bytes of a tree's leaves nobody could read.
func opaqueBytes(root *payload.Node) int {
	sum := 0
	for leaf := range payload.Leaves(body(root)) {
		if leaf.Kind == payload.KindOpaque {
			sum += leaf.Size
		}
	}
	return sum
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

func TestSensorsPath(t *testing.T) {
	doc := `[{"event":"search","properties":{"search_word":"two words","$screen_width":1080,"$wifi":true,"$carrier":"","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}}]`
	form := "crc=-17&gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString(gzipped(t, []byte(doc))))
	parts := body(payload.Peel([]byte(form), "application/x-www-form-urlencoded"))
	const below = "form:data_list > base64 > gzip > json:/0/"
	for path, want := range map[string]struct {
		value string
		kind  payload.Kind
	}{
		"form:crc":                         {"-17", payload.KindNumber},
		"form:gzip":                        {"1", payload.KindNumber},
		below + "event":                    {"search", payload.KindText},
		below + "properties/search_word":   {"two words", payload.KindText},
		below + "properties/$screen_width": {"1080", payload.KindNumber},
		below + "properties/$wifi":         {"true", payload.KindNumber},
		below + "properties/$carrier":      {"", payload.KindEmpty},
		below + "properties/uuid":          {"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69", payload.KindToken},
	} {
		leaf := leafAt(t, parts, "body", path)
		if string(leaf.Value) != want.value || leaf.Kind != want.kind || leaf.Size != len(want.value) {
			t.Errorf("%s: %q %v %d, want %q %v", path, leaf.Value, leaf.Kind, leaf.Size, want.value, want.kind)
		}
	}
}

// An encrypted leaf in readable JSON must be told apart from what is around it.
func TestCipherTextInsideReadableJSON(t *testing.T) {
	secret := random(200)
	doc, err := json.Marshal(map[string]any{"event": "search", "words": []string{"plain", "text"}, "p": base64.StdEncoding.EncodeToString(secret)})
	if err != nil {
		t.Fatal(err)
	}
	parts := body(payload.Peel(doc, "application/json"))
	leaf := leafAt(t, parts, "body", "json:/p > base64")
	if leaf.Kind != payload.KindOpaque || !bytes.Equal(leaf.Value, secret) || leaf.Entropy < 6 {
		t.Errorf("%v of %d bytes with entropy %.1f", leaf.Kind, leaf.Size, leaf.Entropy)
	}
	if leaf := leafAt(t, parts, "body", "json:/words/0"); leaf.Kind != payload.KindText {
		t.Errorf("plain text is %v", leaf.Kind)
	}
}

func TestJSONKeepsWhatOthersLose(t *testing.T) {
	doc := `{"a":"first","a":"second","b/c~d":"x","":"empty name","n":123456789012345678901234567890,"deep":` +
		strings.Repeat("[", 40) + `"found"` + strings.Repeat("]", 40) + `,"bad":"` + "caf\xe9 at noon" + `","o":{},"l":[]}`
	var values []string
	for leaf := range payload.Leaves(body(payload.Peel([]byte(doc), ""))) {
		values = append(values, leaf.Path+"="+string(leaf.Value))
	}
	text := strings.Join(values, "\n")
	for _, want := range []string{
		"json:/a=first", "json:/a=second", "json:/b~1c~0d=x", "json:/=empty name", "json:/n=123456789012345678901234567890",
		"=found", "json:/bad=caf\xe9 at noon", "json:/o=", "json:/l=",
	} {
		if !strings.Contains(text+"\n", want+"\n") {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Wherever a random token stands in a body, some leaf must hold it and must
// not be readable: nothing is dropped.
func TestNothingIsDropped(t *testing.T) {
	const token = "q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp"
	for name, text := range map[string]string{
		"form value":          "a=1&b=@&c=3",
		"form name":           "a=1&@=2&c=3",
		"form without value":  "a=1&@",
		"JSON value":          `{"a":"@"}`,
		"JSON key":            `{"@":1}`,
		"JSON key of object":  `{"@":{"a":1}}`,
		"JSON key of empty":   `{"@":{}}`,
		"JSON duplicate":      `{"a":"@","a":"x"}`,
		"JSON, broken":        `{"a":"@`,
		"JSON lines, broken":  "{\"a\":1}\n{\"a\":\"@\n",
		"JSON deep":           strings.Repeat("[", 200) + `"@"` + strings.Repeat("]", 200),
		"URL path":            "https://x.example/a/@/b?c=d",
		"URL query":           "https://x.example/a?c=@",
		"URL query name":      "https://x.example/a?@=1",
		"URL fragment":        "https://x.example/a#@",
		"URL user":            "https://@:x@x.example/",
		"URL host":            "https://@.x.example/",
		"URL scheme":          "@://x.example/",
		"multipart preamble":  "--xx\r\nContent-Type: text/plain\r\n\r\nhello\r\n--xx\r\n\r\n@\r\n--xx--",
		"multipart value":     "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n@\r\n--xx--\r\n",
		"multipart name":      "--xx\r\nContent-Disposition: form-data; name=\"@\"\r\n\r\nx\r\n--xx--\r\n",
		"multipart file name": "--xx\r\nContent-Disposition: form-data; name=\"a\"; filename=\"@.jpg\"\r\n\r\nx\r\n--xx--\r\n",
		"multipart epilogue":  "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--xx--\r\n@",
		"sentence":            "The word @ stands here.",
		"behind percent":      "100%25 of @",
		"XML":                 `<a b="@">c</a>`,
	} {
		text = strings.ReplaceAll(text, "@x.example", "\x00x.example")
		text = strings.ReplaceAll(text, "@", token)
		text = strings.ReplaceAll(text, "\x00x.example", "@x.example")
		for _, wrapped := range [][]byte{[]byte(text), gzipped(t, []byte(text))} {
			root := payload.Peel(wrapped, "")
			found := false
			for leaf := range payload.Leaves(body(root)) {
				holds := bytes.Contains(leaf.Value, []byte(token)) || bytes.Contains([]byte(base64.RawStdEncoding.EncodeToString(leaf.Value)), []byte(token[:28]))
				found = found || holds && leaf.Kind == payload.KindOpaque
			}
			if !found {
				t.Errorf("%s: no opaque leaf holds the token in\n%s", name, tree(root))
			}
		}
	}
}

func TestGzipLeavesNothingOut(t *testing.T) {
	var named bytes.Buffer
	w := gzip.NewWriter(&named)
	w.Name, w.Comment = "secret name.txt", "said in the comment"
	_, _ = io.WriteString(w, "plain content")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	parts := body(payload.Peel(named.Bytes(), ""))
	if leaf := leafAt(t, parts, "body", "gzip-header"); !strings.Contains(string(leaf.Value), "secret name.txt said in the comment") {
		t.Errorf("header is %q", leaf.Value)
	}
	one, two := gzipped(t, []byte(`{"a":"split over `)), gzipped(t, []byte(`two members"}`))
	if leaf := leafAt(t, body(payload.Peel(slices.Concat(one, two), "")), "body", "gzip > json:/a"); string(leaf.Value) != "split over two members" {
		t.Errorf("members: %q", leaf.Value)
	}
	trailer := random(40)
	leaf := leafAt(t, body(payload.Peel(slices.Concat(one, trailer), "")), "body", "gzip-trailer")
	if leaf.Kind != payload.KindOpaque || !bytes.Equal(leaf.Value, trailer) {
		t.Errorf("trailer is %v %q", leaf.Kind, leaf.Value)
	}
}

// What damage or a bound cuts off must stay visible as an opaque leaf.
func TestDamageIsOpaque(t *testing.T) {
	text := []byte(strings.Repeat("This text is long enough to be cut in the middle of a sentence. ", 50))
	whole := gzipped(t, text)
	for name, b := range map[string][]byte{
		"cut":     whole[:len(whole)-12],
		"garbled": slices.Concat(whole[:len(whole)-8], []byte{1, 2, 3, 4, 5, 6, 7, 8}),
	} {
		parts := body(payload.Peel(b, ""))
		rest := leafAt(t, parts, "body", "gzip-rest")
		if !rest.Truncated || rest.Kind != payload.KindOpaque || rest.Size < 1 {
			t.Errorf("%s: the rest is %+v", name, *rest.Node)
		}
		if read := leafAt(t, parts, "body", "gzip"); !bytes.HasPrefix(text, read.Value) || read.Size == 0 || !read.Truncated {
			t.Errorf("%s: read %d bytes, truncated %v", name, read.Size, read.Truncated)
		}
	}
}

func bomb(t testing.TB, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	chunk := bytes.Repeat([]byte("a "), 1<<15)
	for range size / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestContentEncoding(t *testing.T) {
	doc := []byte(`{"search_word":"two words"}`)
	var br bytes.Buffer
	w := brotli.NewWriter(&br)
	_, _ = w.Write(doc)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body     []byte
		encoding string
		path     string
	}{
		"brotli":          {br.Bytes(), "br", "brotli > json:/search_word"},
		"gzip in brotli":  {brotliOf(t, gzipped(t, doc)), "gzip, br", "brotli > gzip > json:/search_word"},
		"gzip":            {gzipped(t, doc), "GZIP", "gzip > json:/search_word"},
		"already decoded": {doc, "br", "json:/search_word"},
		"wrong name":      {gzipped(t, doc), "br", "gzip > json:/search_word"},
		"identity":        {doc, "identity", "json:/search_word"},
		"unknown":         {doc, "x-new", "json:/search_word"},
	} {
		parts := body(payload.PeelEncoded(c.body, "application/json", c.encoding))
		if leaf := leafAt(t, parts, "body", c.path); string(leaf.Value) != "two words" {
			t.Errorf("%s: %q", name, leaf.Value)
		}
	}
	leaf := leafAt(t, body(payload.PeelEncoded(random(64), "", "br")), "body", "")
	if leaf.Kind != payload.KindOpaque {
		t.Errorf("damaged brotli is %v", leaf.Kind)
	}
}

func brotliOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := brotli.NewWriter(&out)
	_, _ = w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestRequest(t *testing.T) {
	ex := capture.Exchange{
		Method: "POST", URL: "https://user@sa.api.intl.miui.com:443/a%20b/9f3c1d2e4b5a6978?q=two+words&r=GB&flag#frag",
		RequestHeader: []capture.Header{
			{Name: "User-Agent", Value: "okhttp/3.12.1"},
			{Name: "referer", Value: "https://x.example/?u=" + url.QueryEscape("https://y.example/?q=deep+word")},
			{Name: "Cookie", Value: "lang=en-GB; sid=b7Kq2ZxW9vLr4Tn8Yc3Jm6Hd1Gs5Fp0A; enc=a%20b; bare"},
			{Name: "Content-Type", Value: "application/x-www-form-urlencoded"},
			{Name: "X-q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp", Value: "1"},
		},
		RequestBody: []byte("k=v+w"),
	}
	parts := payload.Request(ex)
	for _, c := range []struct {
		where, path, value string
		kind               payload.Kind
	}{
		{"url", "userinfo", "user", payload.KindText},
		{"url", "host", "sa.api.intl.miui.com:443", payload.KindText},
		{"url", "path:0", "a b", payload.KindText},
		{"url", "path:1", "9f3c1d2e4b5a6978", payload.KindToken},
		{"url", "query:q", "two words", payload.KindText},
		{"url", "query:flag", "", payload.KindEmpty},
		{"url", "fragment", "frag", payload.KindText},
		{"header", "User-Agent", "okhttp/3.12.1", payload.KindText},
		{"header", "referer > url:query:u > url:query:q", "deep word", payload.KindText},
		{"header", "name", "X-q9Zk3Lx0Vb7Rt2Yw8Nc5Mh1Jd6Gs4Fp", payload.KindUnknown},
		{"cookie", "lang", "en-GB", payload.KindText},
		{"cookie", "enc > percent", "a b", payload.KindText},
		{"cookie", "", "bare", payload.KindText},
		{"body", "form:k", "v w", payload.KindText},
	} {
		if c.kind == payload.KindUnknown {
			found := false
			for leaf := range payload.Leaves(parts) {
				found = found || leaf.Where == c.where && strings.HasPrefix(leaf.Path, c.path) && leaf.Kind == payload.KindOpaque
			}
			if !found {
				t.Errorf("no opaque leaf below %s %s", c.where, c.path)
			}
			continue
		}
		leaf := leafAt(t, parts, c.where, c.path)
		if string(leaf.Value) != c.value || leaf.Kind != c.kind {
			t.Errorf("%s %s: %q %v, want %q %v", c.where, c.path, leaf.Value, leaf.Kind, c.value, c.kind)
		}
	}
	opaqueCookie := false
	for leaf := range payload.Leaves(parts) {
		opaqueCookie = opaqueCookie || leaf.Where == "cookie" && strings.HasPrefix(leaf.Path, "sid") && leaf.Kind == payload.KindOpaque
	}
	if !opaqueCookie {
		t.Error("the session cookie is not opaque")
	}
}

func TestRequestWithMissingBody(t *testing.T) {
	for name, c := range map[string]struct {
		ex   capture.Exchange
		size int
	}{
		"part":  {capture.Exchange{URL: "https://x.example/", RequestBody: []byte("a=1&b=2"), BytesUp: 100, RequestTruncated: true}, 93},
		"text":  {capture.Exchange{URL: "https://x.example/", RequestBody: []byte("some words"), BytesUp: 100, RequestTruncated: true}, 90},
		"all":   {capture.Exchange{URL: "https://x.example/", BytesUp: 100, RequestTruncated: true}, 100},
		"count": {capture.Exchange{URL: "https://x.example/", RequestBody: []byte("some words"), RequestTruncated: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			leaf := leafAt(t, payload.Request(c.ex), "body", "missing")
			if leaf.Kind != payload.KindOpaque || !leaf.Truncated || leaf.Size != c.size {
				t.Errorf("missing is %v of %d bytes, want %d opaque", leaf.Kind, leaf.Size, c.size)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	parts := payload.Lookup(capture.Lookup{Name: "d41d8cd98f00b204e9800998ecf8427e.sa.api.intl.miui.com"})
	if leaf := leafAt(t, parts, "dns", "label:0"); leaf.Kind != payload.KindOpaque {
		t.Errorf("the hash is %v", leaf.Kind)
	}
	for i, label := range []string{"sa", "api", "intl", "miui", "com"} {
		if leaf := leafAt(t, parts, "dns", fmt.Sprintf("label:%d", i+1)); leaf.Kind != payload.KindText || string(leaf.Value) != label {
			t.Errorf("label %d is %v %q", i+1, leaf.Kind, leaf.Value)
		}
	}
	if leaf := leafAt(t, payload.Lookup(capture.Lookup{}), "dns", ""); leaf.Kind != payload.KindEmpty {
		t.Errorf("no name is %v", leaf.Kind)
	}
	long := strings.Repeat("abcdefghijklmnop.", 10_000)
	count := 0
	for range payload.Leaves(payload.Lookup(capture.Lookup{Name: long})) {
		count++
	}
	if count < 10_000 {
		t.Errorf("%d labels of a long name", count)
	}
}

func TestShare(t *testing.T) {
	leaf := func(size int) payload.Leaf { return payload.Leaf{Node: &payload.Node{Size: size}} }
	for _, c := range []struct {
		total int64
		sizes []int
		want  []int64
	}{
		{100, []int{1, 1}, []int64{50, 50}},
		{101, []int{1, 1}, []int64{51, 50}},
		{10, []int{1, 1, 1}, []int64{4, 3, 3}},
		{10, []int{0, 5, 0}, []int64{0, 10, 0}},
		{3, []int{0, 0}, []int64{2, 1}},
		{0, []int{7, 3}, []int64{0, 0}},
		{-5, []int{7, 3}, []int64{0, 0}},
		{1, []int{5, 4}, []int64{1, 0}},
		{50, nil, []int64{}},
	} {
		var leaves []payload.Leaf
		for _, size := range c.sizes {
			leaves = append(leaves, leaf(size))
		}
		if got := payload.Share(c.total, leaves); !slices.Equal(got, c.want) {
			t.Errorf("%d over %v: %v, want %v", c.total, c.sizes, got, c.want)
		}
	}
	if got := payload.Share(7, []payload.Leaf{{}, leaf(3)}); !slices.Equal(got, []int64{0, 7}) {
		t.Errorf("a leaf without a node: %v", got)
	}
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for range 2000 {
		leaves := make([]payload.Leaf, 1+r.IntN(40))
		for i := range leaves {
			leaves[i] = leaf(r.IntN(1 << (1 + r.IntN(40))))
			if r.IntN(50) == 0 {
				leaves[i] = leaf(math.MaxInt)
			}
		}
		total := r.Int64N(1 << (1 + r.IntN(61)))
		if r.IntN(50) == 0 {
			total = math.MaxInt64
		}
		var sum int64
		for i, share := range payload.Share(total, leaves) {
			if share < 0 {
				t.Fatalf("share %d of %d is %d", i, total, share)
			}
			sum += share
		}
		if sum != total {
			t.Fatalf("the shares of %d sum to %d", total, sum)
		}
	}
}

func TestEntropy(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, c := range []struct {
		b    []byte
		want float64
	}{{nil, 0}, {[]byte("aaaa"), 0}, {[]byte("abab"), 1}, {[]byte("abcd"), 2}, {all, 8}, {bytes.Repeat(all, 9), 8}, {bytes.Repeat([]byte("ab"), 1000), 1}} {
		if got := payload.Entropy(c.b); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%d bytes: %v, want %v", len(c.b), got, c.want)
		}
	}
}

func TestWalkStops(t *testing.T) {
	parts := body(payload.Peel([]byte(`{"a":[1,2,3],"b":"c"}`), ""))
	for n := range 5 {
		seen := 0
		for range payload.Walk(parts) {
			if seen++; seen > n {
				break
			}
		}
		if seen != n+1 {
			t.Errorf("%d nodes were seen, want %d", seen, n+1)
		}
	}
}
