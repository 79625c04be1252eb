package canary_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/offproof/offproof/harness/canary"
)

// The clean traffic is a gigabyte in blocks, each made from its own number.
const (
	cleanBlock  = 64 << 10
	cleanBlocks = 1 << 30 / cleanBlock
	cleanSample = 64 << 20 / cleanBlock
)

// vocabulary is minted like canaries, so that clean text is as much like a
// term as text can be without being one.
func vocabulary(r *rand.Rand, n int) []string {
	words := strings.Fields(`the of and to in is that for it as was with be by on not he his but at are this have from or had an they
		which one you were all her she there would their we him been has when who will no more if out so up said what its about than
		into them can only other time new some could these two may first then do any like my now over such our man me even most made
		after also did many off before must well back through years where much your way down should because long each just state people
		search browser incognito settings privacy privacyaccept improve statistics collection aggregated network language duckduckgo google`)
	for range n {
		c, _ := canary.Mint(r, "query")
		words = append(words, strings.Fields(c.Term)...)
	}
	return words
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func letters(r *rand.Rand, n int) string {
	b := randomBytes(r, n)
	for i, c := range b {
		b[i] = 'a' + c%26
	}
	return string(b)
}

// prose is n bytes of words with marks between.
func prose(r *rand.Rand, words []string, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte("     ,.\n&=/-_+"[r.IntN(14)])
	}
	return b.String()[:n]
}

// clean makes one block of traffic that holds no canary, of a kind that
// phones send.
func clean(r *rand.Rand, words []string) []byte {
	var b strings.Builder
	repeat := func(f func()) {
		for b.Len() < cleanBlock {
			f()
		}
	}
	switch r.IntN(11) {
	case 0, 1:
		return randomBytes(r, cleanBlock)
	case 2:
		b.WriteString(base64.StdEncoding.EncodeToString(randomBytes(r, cleanBlock*3/4)))
	case 3:
		b.WriteString(base64.StdEncoding.EncodeToString([]byte(prose(r, words, cleanBlock*3/4))))
	case 4:
		b.WriteString(hex.EncodeToString(randomBytes(r, cleanBlock/2)))
	case 5:
		b.WriteString(prose(r, words, cleanBlock))
	case 6:
		repeat(func() { b.WriteString(letters(r, 3+r.IntN(10)) + " ") })
	case 7:
		b.WriteString("[0")
		repeat(func() {
			fmt.Fprintf(&b, `,{"event":"page_load","time":%d,"url":"https://%s.example/%s?q=%s","token":"%x","id":"%x","words":%q}`, r.Uint64N(1<<41),
				letters(r, 8), letters(r, 20), letters(r, 16), randomBytes(r, 32), randomBytes(r, 8), prose(r, words, 200))
		})
		b.WriteString("]")
	case 8:
		repeat(func() {
			fmt.Fprintf(&b, `<div class="%s" id="%s-%d"><a href="https://%s.example/%s">%s</a>&nbsp;</div>`+"\n", letters(r, 7), letters(r, 5), r.IntN(100),
				letters(r, 9), url.PathEscape(prose(r, words, 30)), prose(r, words, 150))
		})
	case 9:
		b.WriteString("v=1")
		repeat(func() {
			fmt.Fprintf(&b, "&%s=%s&u=%s&b=%s", letters(r, 3), url.QueryEscape(prose(r, words, 80)),
				url.QueryEscape("https://"+letters(r, 9)+".example/?q="+letters(r, 7)), url.QueryEscape(base64.StdEncoding.EncodeToString(randomBytes(r, 60))))
		})
	case 10:
		repeat(func() {
			fmt.Fprintf(&b, "%s: %x-%x-%x-%x-%x %s %d\n", letters(r, 6), randomBytes(r, 4), randomBytes(r, 2), randomBytes(r, 2), randomBytes(r, 2), randomBytes(r, 6),
				base64.RawURLEncoding.EncodeToString(randomBytes(r, 32)), r.Uint64())
		})
	}
	return []byte(b.String())
}

// cleanFinder searches for 8,000 patterns and more: terms, shams and identifiers, with
// their salted hashes.
func cleanFinder(t testing.TB, least int) *canary.Finder {
	r := source(21)
	all := []canary.Canary{
		{ID: "identifier/ANDROID_ID", Term: "9f3c1d2e4b5a6978"},
		{ID: "identifier/IMEI", Term: "867400022047199"},
		{ID: "identifier/MAC", Term: "02:1a:4b:9c:3d:5e"},
		{ID: "identifier/serial", Term: "SIMD2501701"},
		{ID: "identifier/short serial", Term: "8b1e2f3a"},
		{ID: "identifier/OAID", Term: "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"},
		{ID: "identifier/number", Term: "+447700900123"},
	}
	for _, c := range all {
		all = append(all, canary.ShamOf(r, c))
	}
	for {
		for range 5 {
			c, sham := canary.Mint(r, "query")
			all = append(all, c, sham)
		}
		if f := canary.NewFinder(all); f.Patterns() >= least {
			t.Logf("%d texts in %d patterns", len(all), f.Patterns())
			return f
		}
	}
}
