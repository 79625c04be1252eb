package main_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// unfolded is a HAR file of one request in the format of Sensors Analytics.
func unfolded(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../capture/telemetry/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors map[string]struct {
		URL         string `json:"url"`
		ContentType string `json:"content_type"`
		Body        string `json:"body"`
	}
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	v := vectors["sensors_plain"]
	har, err := json.Marshal(map[string]any{"log": map[string]any{"version": "1.2", "entries": []any{map[string]any{
		"startedDateTime": "2020-05-01T00:00:00Z",
		"request": map[string]any{
			"method": "POST", "url": v.URL, "headers": []any{map[string]any{"name": "Content-Type", "value": v.ContentType}},
			"postData": map[string]any{"mimeType": v.ContentType, "text": v.Body},
		},
		"response": map[string]any{"status": 200},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "sensors.har", har)
}

// A term in pieces stands at no one place, and is shown with all of them.
func TestUnfoldPieces(t *testing.T) {
	t.Parallel()
	for body, path := range map[string]string{
		`{"a":"zuvkomi","b":2,"c":"tefralog"}`:   "json:/a + json:/c",
		`{"a":"zuvk","b":"omi te","c":"fralog"}`: "json:/a + json:/b + json:/c",
	} {
		har, err := json.Marshal(map[string]any{"log": map[string]any{"version": "1.2", "entries": []any{map[string]any{
			"startedDateTime": "2020-05-01T00:00:00Z",
			"request":         map[string]any{"method": "POST", "url": "https://x.example/v1", "headers": []any{}, "postData": map[string]any{"mimeType": "application/json", "text": body}},
			"response":        map[string]any{"status": 200},
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		out, stderr, status := offproof(t, nil, "inspect", "--exchange", "1", "--canary", "zuvkomi tefralog", write(t, "pieces.har", har))
		want := "\nput together\n  body: " + path + "  <== \"zuvkomi tefralog\", split\n"
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d, %s; %q is missing from:\n%s", status, stderr, want, out)
		}
	}
}

// A request is unfolded layer by layer, with the canary marked where it is.
func TestUnfold(t *testing.T) {
	t.Parallel()
	file := unfolded(t)
	out, stderr, status := offproof(t, nil, "inspect", "--exchange", "1", "--canary", "HH-CANARY-word", file)
	if status != 0 {
		t.Fatal(stderr)
	}
	const want = `
    form:data_list  [base64 > gzip]: 2,518 bytes
      0
        _track_id: 101
        time: 1588300000000
`
	if !strings.Contains(out, want) {
		t.Errorf("%q is missing from:\n%s", want, out)
	}
	const marked = "          search_word: >>HH-canary-word<<  <== \"HH-CANARY-word\", plain\n"
	if strings.Count(out, "<==") != 1 || !strings.Contains(out, marked) {
		t.Errorf("%q is missing from:\n%s", marked, out)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--exchange", "2"}, "the first is 1 and the last 1"},
		{[]string{"--exchange", "1", "--json"}, "for people"},
	} {
		out, stderr, status := offproof(t, nil, append(append([]string{"inspect"}, c.args...), file)...)
		if status != 2 || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: status %d, %q, %q", c.args, status, out, stderr)
		}
	}
}
