package payload_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture/payload"
)

// firebase makes a body of the shape of Firebase's telemetry: field 1 is one
// batch of events with the facts of the phone beside them.
func firebase(bundles int, term string) []byte {
	str := func(b []byte, num protowire.Number, s string) []byte {
		return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
	}
	num := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	sub := func(b []byte, num protowire.Number, m []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), m)
	}
	var body []byte
	for i := range bundles {
		now := uint64(1588300000000 + 1000*i) //nolint:gosec // A small count.
		var event []byte
		event = sub(event, 1, str(str(nil, 1, "_o"), 2, "auto"))
		event = sub(event, 1, num(str(nil, 1, "_si"), 3, 0xd4c5b6a798123456))
		event = sub(event, 1, str(str(nil, 1, "search_term"), 2, term))
		event = num(num(str(event, 2, "search"), 3, now), 4, now-5000)
		m := sub(num(nil, 1, 1), 2, event)
		m = sub(m, 3, str(str(num(nil, 1, now), 2, "_fot"), 3, "app"))
		m = num(num(m, 4, now), 5, now)
		m = str(str(str(m, 8, "android"), 9, "9"), 10, "Redmi Note 8")
		m = str(num(str(m, 11, "en-gb"), 12, 60), 13, "manual_install")
		m = str(str(str(m, 14, "com.mi.globalbrowser.mini"), 16, "3.4.0"), 19, "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69")
		m = str(str(m, 25, "1:1086610230652:android:131e4c3db28fca84"), 27, "dQw4w9WgXcQ")
		body = sub(body, 1, m)
	}
	return body
}

// corpus is what phones send most, by format.
func corpus(tb testing.TB) map[string][]byte {
	tb.Helper()
	const event = `{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69","t":1588300000000}},`
	doc := "[" + strings.Repeat(event, 200) + "{}]"
	page := strings.Repeat(`<div class="card"><a href="https://news.example/story?id=17&amp;ref=home">Weather &amp; traffic today</a><br><img src=/i/9.png><p>It will rain in the north.</p></div>`+"\n", 200)
	var form strings.Builder
	for range 200 {
		form.WriteString("url=" + url.QueryEscape("https://example.com/a b?c=d") + "&title=Weather+and+traffic&w=1080&t=1588300000000&")
	}
	return map[string][]byte{
		"json":     []byte(doc),
		"form":     []byte(form.String()),
		"sensors":  []byte("crc=-17&gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString(gzipped(tb, []byte(doc))))),
		"protobuf": firebase(60, "zuvkomir tefralon"),
		"html":     []byte("<!DOCTYPE html><html><head><title>News</title></head><body>\n" + page + "</body></html>"),
		"xml":      []byte(`<?xml version="1.0" encoding="utf-8"?><map>` + strings.Repeat(`<string name="last_url">https://example.com/a?b=c</string><int name="width" value="1080"/>`, 200) + "</map>"),
		"random":   random(64 << 10),
		"base64":   []byte(base64.StdEncoding.EncodeToString(random(48 << 10))),
	}
}

func BenchmarkCorpus(b *testing.B) {
	for name, in := range corpus(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				payload.Peel(in, "")
			}
		})
	}
}

// firebaseWith is such a body with one field of the given bytes.
func firebaseWith(secret []byte) []byte {
	m := protowire.AppendString(protowire.AppendTag(nil, 14, protowire.BytesType), "com.mi.globalbrowser.mini")
	m = protowire.AppendBytes(protowire.AppendTag(m, 15, protowire.BytesType), secret)
	m = protowire.AppendString(protowire.AppendTag(m, 16, protowire.BytesType), "3.4.0")
	return protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), m)
}
