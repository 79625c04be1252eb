package canary_test

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/internal/peers"
)

// cleanText is some megabytes of clean traffic of all kinds.
func cleanText(size int) []byte {
	r, words := source(31), vocabulary(source(32), 100)
	var text []byte
	for len(text) < size {
		text = append(text, clean(r, words)...)
	}
	return text[:size]
}

// BenchmarkFindRaw searches traffic as phones send it for 8,000 patterns, by
// kind, and then for more.
func BenchmarkFindRaw(b *testing.B) {
	const size = 8 << 20
	r := source(41)
	finder := cleanFinder(b, 8000)
	random := randomBytes(r, size)
	doc := []byte(`{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a60"}},`)
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"mixed", cleanText(size)},
		{"JSON", bytes.Repeat(doc, size/len(doc))},
		{"words", []byte(prose(r, vocabulary(r, 0), size))},
		{"random", random},
		{"base64", []byte(base64.StdEncoding.EncodeToString(random[:size*3/4]))},
		{"hex", []byte(hex.EncodeToString(random[:size/2]))},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			begin, n := cpuTime(b), 0
			for b.Loop() {
				finder.FindRaw(c.text)
				n++
			}
			b.ReportMetric(float64(n*len(c.text))/1e6/(cpuTime(b)-begin).Seconds(), "MB/cpu-s")
		})
	}
	text := cleanText(size)
	for _, n := range []int{1, 1000, 8000} {
		var planted []canary.Canary
		for range n {
			c, _ := canary.Mint(r, "query")
			planted = append(planted, c)
		}
		finder := canary.NewFinder(planted)
		b.Run(fmt.Sprintf("%d canaries", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			begin, n := cpuTime(b), 0
			for b.Loop() {
				finder.FindRaw(text)
				n++
			}
			b.ReportMetric(float64(n*len(text))/1e6/(cpuTime(b)-begin).Seconds(), "MB/cpu-s")
			b.ReportMetric(float64(finder.Patterns()), "patterns")
		})
	}
}

// nearMisses are hostile texts that begin like a term, or like its hash, everywhere.
func nearMisses(size int) map[string][]byte {
	sum := sumOf(hashes["md5"], term)
	return map[string][]byte{
		"words":     bytes.Repeat([]byte("zuvkomx"), size/7),
		"hex":       bytes.Repeat([]byte("7a75766b6f78"), size/12),
		"digests":   bytes.Repeat([]byte(hex.EncodeToString(sum[:7])+"-x"), size/16),
		"raw bytes": bytes.Repeat(append(sum[:7:7], 0), size/8),
	}
}

// BenchmarkNearMisses shows how much longer text takes that is nearly a term
// everywhere than text that is none: it must be no way to stop the tool.
func BenchmarkNearMisses(b *testing.B) {
	const size = 1 << 20
	finder := canary.NewFinder([]canary.Canary{planted})
	other := bytes.Repeat([]byte("abcdefg"), size/7)
	cost := func(text []byte) time.Duration {
		begin := cpuTime(b)
		for range 4 {
			finder.FindRaw(text)
		}
		return cpuTime(b) - begin
	}
	for name, text := range nearMisses(size) {
		b.Run(name, func(b *testing.B) {
			near, none := time.Duration(0), time.Duration(0)
			for b.Loop() {
				near += cost(text)
				none += cost(other)
			}
			b.ReportMetric(float64(near)/float64(max(none, 1)), "x-other")
		})
	}
}

// cpuTime is what this process has computed: others on the machine do not count.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}

// BenchmarkAgainstRipgrep searches the same bytes for as many patterns as
// ripgrep does, in seconds of computing. ripgrep searches them in one case only,
// because in any case so many take it minutes to prepare.
func BenchmarkAgainstRipgrep(b *testing.B) {
	rg := peers.Require(b, "rg")
	const patterns = 8000
	r := source(51)
	var planted []canary.Canary
	var list strings.Builder
	written := 0
	write := func(all ...string) {
		for _, p := range all {
			if written < patterns {
				fmt.Fprintln(&list, p)
				written++
			}
		}
	}
	for written < patterns {
		c, _ := canary.Mint(r, "query")
		planted = append(planted, c)
		head, tail, _ := strings.Cut(c.Term, " ")
		for _, text := range []string{c.Term, strings.ToUpper(c.Term), head + tail, head + "+" + tail, head + "-" + tail, head + "_" + tail} {
			write(text, hex.EncodeToString([]byte(text)))
			for offset := range 3 {
				write(base64.StdEncoding.EncodeToString([]byte("xyz"[:offset] + text))[4:16])
			}
			for _, fn := range hashes {
				sum := sumOf(fn, text)
				write(hex.EncodeToString(sum)[:16], base64.StdEncoding.EncodeToString(sum)[:11])
			}
		}
	}
	finder := canary.NewFinder(planted)
	text := cleanText(16 << 20)
	dir := b.TempDir()
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "patterns")
	for name, content := range map[string][]byte{data: text, file: []byte(list.String())} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	peer := func(file string) time.Duration {
		cmd := exec.CommandContext(b.Context(), rg, "--no-config", "--threads=1", "--text", "--count", "--fixed-strings", "--no-unicode", "--file", filepath.Join(dir, "patterns"), file)
		out, err := cmd.Output()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) { //nolint:errorlint // Output returns it as it is.
			b.Fatalf("rg: %v: %s", err, out)
		}
		return cmd.ProcessState.UserTime()
	}
	var ours, theirs []time.Duration
	for b.Loop() {
		begin := cpuTime(b)
		finder.FindRaw(text)
		ours = append(ours, cpuTime(b)-begin)
		// Reading the patterns is no part of the search.
		theirs = append(theirs, max(peer(data)-peer(empty), time.Microsecond))
	}
	speed := func(all []time.Duration) float64 { return float64(len(text)) / 1e6 / slices.Min(all).Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(speed(ours), "MB/s")
	b.ReportMetric(speed(theirs), "rg-MB/s")
	b.ReportMetric(speed(ours)/speed(theirs), "x-rg")
	b.Logf("%d patterns here and %d in rg over %d MB: %.0f MB/s, rg %.0f MB/s, ratio %.1f", finder.Patterns(), written, len(text)>>20, speed(ours), speed(theirs), speed(ours)/speed(theirs))
}

func BenchmarkFind(b *testing.B) {
	c, sham := canary.Mint(source(1), "query")
	finder := canary.NewFinder([]canary.Canary{c, sham})
	doc := strings.Repeat(`{"event":"page_load_event_finish","properties":{"url":"https://example.com/a/b?c=d","$os":"Android","uuid":"0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}},`, 200)
	body := "gzip=1&data_list=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(compress(b, func(w io.Writer) io.WriteCloser { f, _ := flate.NewWriter(w, 1); return f }, "["+doc+"{}]"))))
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		finder.Find(payload.Request(request(body)))
	}
}
