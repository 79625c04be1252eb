package telemetry_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/internal/peers"
)

// listen starts a collector that keeps what it gets.
func listen(t *testing.T) (address string, got <-chan capture.Exchange) {
	t.Helper()
	all := make(chan capture.Exchange, 64)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		ex := capture.Exchange{Method: q.Method, URL: "http://" + q.Host + q.RequestURI, RequestBody: body, BytesUp: int64(len(body)), Start: time.Now()}
		for name, values := range q.Header {
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: name, Value: values[0]})
		}
		all <- ex
	}))
	t.Cleanup(server.Close)
	return server.URL, all
}

// What the genuine SDKs send is read, every record of it.
func TestGenuineSensorsSDKs(t *testing.T) {
	node := peers.Require(t, "node")
	peers.Require(t, "npm")
	dir := peers.NPM(t, "testdata/npm")
	for name, c := range map[string]struct {
		args   []string
		events []string // type, name
		web    bool
	}{
		"sa-sdk-node": {
			[]string{"node.js"},
			[]string{"track search", "profile_set ", "item_set "},
			false,
		},
		// Without a browser: see web.js for what that shows and what it does not.
		"sa-sdk-javascript by image": {[]string{"web.js", "image"}, []string{"track search"}, true},
		"sa-sdk-javascript by ajax":  {[]string{"web.js", "ajax"}, []string{"track search"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			address, got := listen(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := slices.Insert(slices.Clone(c.args), 1, address+"/sa?project=production")
			cmd := exec.CommandContext(ctx, node, args...)
			cmd.Dir = dir
			before := time.Now().Add(-time.Minute)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var events []telemetry.Event
			for len(got) > 0 {
				events = append(events, decode(<-got)...)
			}
			var names []string
			for _, e := range events {
				names = append(names, e.Type+" "+e.Name)
				if e.SDK != telemetry.Sensors || e.Opaque || e.Project != "production" || e.Web != c.web || !e.Reports() ||
					len(e.Identifiers) == 0 && e.Properties["item_id"] != "item-1" {
					t.Errorf("%+v", e)
				}
				if e.Name == "search" && e.Properties["search_word"] != "korvandel brisamo" {
					t.Errorf("properties %v", e.Properties)
				}
				if e.Name == "search" && c.web && e.Time.Before(before) {
					t.Errorf("it happened %v, and the test began %v", e.Time, before)
				}
			}
			slices.Sort(names)
			want := slices.Sorted(slices.Values(c.events))
			if !slices.Equal(names, want) {
				t.Errorf("events %q, want %q", names, want)
			}
		})
	}
}
