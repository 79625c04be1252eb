package canary_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/offproof/offproof/harness/canary"
)

func BenchmarkScanKinds(b *testing.B) {
	r := source(31)
	var planted []canary.Canary
	for range 50 {
		c, _ := canary.Mint(r, "query")
		planted = append(planted, c)
	}
	finder := canary.NewFinder(planted)
	fmt.Println(finder.Patterns())
	words := vocabulary(source(32), 100)
	var mix bytes.Buffer
	for mix.Len() < 8<<20 {
		mix.Write(clean(r, words).RequestBody)
	}
	for name, text := range kindsOfText(8 << 20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				finder.FindRaw(text)
			}
		})
	}
	b.Run("mix", func(b *testing.B) {
		b.SetBytes(int64(mix.Len()))
		for b.Loop() {
			finder.FindRaw(mix.Bytes())
		}
	})
}

func kindsOfText(size int) map[string][]byte {
	r := source(41)
	random := make([]byte, size)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	doc := []byte(`{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}},`)
	words := vocabulary(source(42), 0)
	var text bytes.Buffer
	for text.Len() < size {
		text.WriteString(words[r.IntN(len(words))])
		text.WriteByte(' ')
	}
	return map[string][]byte{
		"random": random, "base64": []byte(base64.StdEncoding.EncodeToString(random[:size*3/4])), "hex": []byte(hex.EncodeToString(random[:size/2])),
		"JSON": bytes.Repeat(doc, size/len(doc)), "text": text.Bytes(),
	}
}
