package canary_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/internal/peers"
)

// encodedBodies are one identifier in each known encoding.
func encodedBodies(b *testing.B, text string) (names []string, bodies [][]byte) {
	for _, d := range disguises() {
		names = append(names, d.name)
		bodies = append(bodies, []byte(d.send(b, text)))
	}
	return names, bodies
}

// har is the bodies as requests to a host that nothing knows; a byte is one
// character, because a HAR has no other way to hold bytes in a request.
func har(bodies [][]byte) map[string]any {
	none := []any{}
	var entries []any
	for _, body := range bodies {
		text := make([]rune, len(body))
		for i, c := range body {
			text[i] = rune(c)
		}
		entries = append(entries, map[string]any{
			"startedDateTime": "2026-01-02T03:04:05.000Z", "time": 1,
			"request": map[string]any{
				"method": "POST", "url": "https://t.example/x", "httpVersion": "HTTP/1.1", "headers": none, "cookies": none, "queryString": none,
				"postData": map[string]any{"mimeType": "application/octet-stream", "text": string(text)},
			},
			"response": map[string]any{"status": 200},
		})
	}
	return map[string]any{"log": map[string]any{"version": "1.2", "creator": map[string]any{"name": "test", "version": "1"}, "entries": entries}}
}

// BenchmarkAgainstTrackHAR opens and searches one body for each known encoding
// of an identifier, as TrackHAR does by its indicators, in seconds of computing.
func BenchmarkAgainstTrackHAR(b *testing.B) {
	node := peers.Require(b, "node")
	dir := peers.NPM(b, "testdata/trackhar")
	uuid := canary.Canary{ID: "identifier/uuid", Field: "uuid", Term: "0b5c2a7e-6d1f-4a3c-9b5e-1f2d3c4b5a69"}
	names, bodies := encodedBodies(b, uuid.Term)

	const passes = 200
	input, err := json.Marshal(map[string]any{"har": har(bodies), "value": uuid.Term, "passes": passes})
	if err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "input.json")
	if err := os.WriteFile(file, input, 0o600); err != nil {
		b.Fatal(err)
	}
	var theirs struct {
		Found        []bool
		Milliseconds float64
	}
	peer := func() {
		cmd := exec.CommandContext(b.Context(), node, "search.js", file)
		cmd.Dir = dir
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			b.Fatalf("node: %v: %s", err, said.Bytes())
		}
		before := theirs.Milliseconds
		theirs.Found = nil
		if err := json.Unmarshal(out, &theirs); err != nil || len(theirs.Found) != len(bodies) {
			b.Fatalf("node said %.200q: %v", out, err)
		}
		if before > 0 {
			theirs.Milliseconds = min(theirs.Milliseconds, before)
		}
	}

	finder := canary.NewFinder([]canary.Canary{uuid, canary.ShamOf(source(81), uuid)})
	found := make([]bool, len(bodies))
	ours := 0.0
	for b.Loop() {
		peer()
		begin := cpuTime(b)
		for range passes {
			for i, body := range bodies {
				found[i] = slices.ContainsFunc(finder.Find(payload.Request(request(string(body)))), func(s canary.Sighting) bool {
					return s.Canary == uuid && s.Whole()
				})
			}
		}
		took := (cpuTime(b) - begin).Seconds() * 1000 / passes
		if ours == 0 || took < ours {
			ours = took
		}
	}
	count := func(found []bool) (n int) {
		for _, f := range found {
			if f {
				n++
			}
		}
		return n
	}
	n := float64(len(bodies))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(count(found)), "found")
	b.ReportMetric(float64(count(theirs.Found)), "TrackHAR-found")
	b.ReportMetric(ours/n*1000, "µs/body")
	b.ReportMetric(theirs.Milliseconds/n*1000, "TrackHAR-µs/body")
	b.ReportMetric(theirs.Milliseconds/ours, "x-TrackHAR")
	b.Logf("%d of %d found here, %d by TrackHAR; one body in %.0f µs here, %.0f µs there, ratio %.2f",
		count(found), len(bodies), count(theirs.Found), ours/n*1000, theirs.Milliseconds/n*1000, theirs.Milliseconds/ours)
	for i, name := range names {
		if !found[i] || theirs.Found[i] {
			b.Logf("%s: here %v, TrackHAR %v", name, found[i], theirs.Found[i])
		}
	}
}
