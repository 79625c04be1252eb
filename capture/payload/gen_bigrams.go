//go:build ignore

// Command gen_bigrams writes bigrams.txt: how many bits a letter costs after
// another in names and prose of many languages. It learns from the words of
// the Go distribution's documentation and sources and from the names of
// languages, scripts and regions in every language that golang.org/x/text
// knows. Run it by: go run gen_bigrams.go
package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

func main() {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		log.Fatal(err)
	}
	english, foreign := map[string]int{}, map[string]int{}
	err = filepath.WalkDir(strings.TrimSpace(string(root)), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if d != nil && (d.Name() == "testdata" || d.Name() == "vendor") {
				return fs.SkipDir
			}
			return err
		}
		ext := filepath.Ext(path)
		base := strings.TrimSuffix(filepath.Base(path), ext)
		if ext != ".html" && ext != ".md" && (ext != ".go" || strings.Contains(base, "tables") || strings.Contains(base, "_test") || strings.HasPrefix(base, "z")) {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if ext == ".go" {
			var comments []byte
			for _, line := range bytes.Split(text, []byte("\n")) {
				if i := bytes.Index(line, []byte("//")); i >= 0 {
					comments = append(append(comments, line[i:]...), '\n')
				}
			}
			text = comments
		}
		count(english, string(text))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, tag := range display.Supported.Tags() {
		languages, regions, scripts := display.Languages(tag), display.Regions(tag), display.Scripts(tag)
		for _, base := range display.Supported.BaseLanguages() {
			if languages != nil {
				count(foreign, languages.Name(base))
			}
		}
		for _, region := range display.Supported.Regions() {
			if regions != nil {
				count(foreign, regions.Name(region))
			}
		}
		for _, script := range display.Supported.Scripts() {
			if scripts != nil {
				count(foreign, scripts.Name(script))
			}
		}
	}
	_ = language.Und
	var table [27][27]float64
	learn(&table, english)
	learn(&table, foreign)
	var out bytes.Buffer
	for prev := range 27 {
		var sum float64
		for cur := range 26 {
			table[prev][cur] += 2e-5
			sum += table[prev][cur]
		}
		for cur := range 26 {
			bits := -math.Log2(table[prev][cur] / sum)
			fmt.Fprintf(&out, "%c", 'A'+int(math.Min(math.Round(bits*4), 57)))
		}
		out.WriteByte('\n')
	}
	if err := os.WriteFile("bigrams.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

// count adds the words of a text, split where camel case and digits split it.
func count(words map[string]int, text string) {
	var word []byte
	flush := func() {
		if len(word) >= 2 && len(word) <= 24 {
			words[string(word)]++
		}
		word = word[:0]
	}
	prevLower := false
	for _, r := range text {
		if r >= 'A' && r <= 'Z' {
			if prevLower {
				flush()
			}
			word = append(word, byte(unicode.ToLower(r)))
			prevLower = false
			continue
		}
		if r >= 'a' && r <= 'z' {
			word = append(word, byte(r))
			prevLower = true
			continue
		}
		flush()
		prevLower = false
	}
	flush()
}

// learn adds the bigrams of words as shares of one; a word counts by the
// logarithm of how often it occurs, so that rare words are heard too.
func learn(table *[27][27]float64, words map[string]int) {
	var own [27][27]float64
	var sum float64
	for word, n := range words {
		weight := math.Log2(float64(n) + 1)
		prev := 26
		for _, c := range []byte(word) {
			own[prev][c-'a'] += weight
			sum += weight
			prev = int(c - 'a')
		}
	}
	for prev := range own {
		for cur := range own[prev] {
			table[prev][cur] += own[prev][cur] / sum
		}
	}
}
