package spikes_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/harness/canary"
	"github.com/offproof/offproof/harness/spikes"
)

const run = "0123456789abcdef"

// A run's name gives the same terms everywhere, and another name others.
func TestMake(t *testing.T) {
	t.Parallel()
	first, again, other := spikes.Make(run), spikes.Make(run), spikes.Make("fedcba9876543210")
	seen := map[string]bool{}
	for i, s := range first {
		if s != again[i] {
			t.Errorf("%s: %v, then %v", s.Kind, s, again[i])
		}
		if s.Kind.Body() != (s.Term.Term != "") {
			t.Errorf("%s has the term %q", s.Kind, s.Term.Term)
		}
		if s.Term.Term == "" {
			continue
		}
		if !regexp.MustCompile(`^[a-z]{8} [a-z]{8}$`).MatchString(s.Term.Term) || seen[s.Term.Term] || s.Term.Term == other[i].Term.Term {
			t.Errorf("%s: the term %q is no pair of words of its own", s.Kind, s.Term.Term)
		}
		seen[s.Term.Term] = true
	}
}

// sends reads the page's own list of what it sends.
func sends(t *testing.T, page string) []struct{ ID, URL, Body string } {
	t.Helper()
	_, rest, ok := strings.Cut(page, `id="sends"`)
	if !ok {
		t.Fatalf("the page lists nothing:\n%s", page)
	}
	_, rest, _ = strings.Cut(rest, ">")
	text, _, _ := strings.Cut(rest, "</script>")
	var out []struct{ ID, URL, Body string }
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return out
}

// What the page sends is taken by the lab, and the judge's own reading finds each
// term in it.
func TestPage(t *testing.T) {
	t.Parallel()
	lab := spikes.Lab{V4: netip.MustParseAddr("192.0.2.7"), V6: netip.MustParseAddr("2001:db8::7"), Web: 8080}
	srv := httptest.NewServer(lab.Handler())
	defer srv.Close()
	res, err := http.Get(spikes.Address(srv.URL+"/", run)) //nolint:noctx // A test's own server.
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(res.Body)
	if err != nil || res.Body.Close() != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	list := sends(t, string(page))
	if len(list) != 5 || !strings.Contains(string(page), spikes.Title(run)) {
		t.Fatalf("the page sends %v", list)
	}
	var terms []canary.Canary
	want := map[string]string{}
	for _, s := range spikes.Make(run) {
		if s.Kind.Body() {
			terms = append(terms, s.Term)
			want[string(s.Kind)] = s.Term.ID
			if strings.Contains(res.Request.URL.String(), s.Term.Term) {
				t.Errorf("the page's address tells the term %q", s.Term.Term)
			}
		}
	}
	finder := canary.NewFinder(terms)
	for _, s := range list {
		switch s.ID {
		case "udp-443":
			if s.URL != "stun:192.0.2.7:443" {
				t.Errorf("%s goes to %s", s.ID, s.URL)
			}
			continue
		case "udp-443-ipv6":
			if s.URL != "stun:[2001:db8::7]:443" {
				t.Errorf("%s goes to %s", s.ID, s.URL)
			}
			continue
		case "ipv6":
			if !strings.HasPrefix(s.URL, "http://[2001:db8::7]:8080/1/"+run) {
				t.Errorf("%s goes to %s", s.ID, s.URL)
			}
			s.URL = srv.URL + s.URL[strings.Index(s.URL, "/1/"):]
		}
		res, err := http.Post(s.URL, "text/plain;charset=UTF-8", strings.NewReader(s.Body)) //nolint:noctx // A test's own server.
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: the lab says %s to its own page", s.ID, res.Status)
		}
		hits := finder.Find(payload.Request(capture.Exchange{URL: s.URL, RequestBody: []byte(s.Body)}))
		if len(hits) != 1 || hits[0].Canary.ID != want[s.ID] || !hits[0].Whole() {
			t.Errorf("%s: %v in %q", s.ID, hits, s.Body)
		}
	}
}

// A lab without IPv6 sends nothing there, and the wrong addresses and bodies are
// refused.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := spikes.Lab{}.Handler()
	ask := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, w.Body.String()
	}
	_, page := ask("GET", "/1/"+run, "")
	if list := sends(t, page); len(list) != 2 {
		t.Errorf("a lab that knows no address of its own sends %v", list)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "/", "", 404},
		{"GET", "/2/" + run, "", 404},
		{"GET", "/1/<script>", "", 404},
		{"POST", "/1/" + run + "/plain", "something else", 400},
		{"POST", "/1/" + run + "/udp-443", "", 400},
		{"POST", "/1/" + run + "/plain", strings.Repeat("x", 1<<20), 400},
	} {
		if got, text := ask(c.method, c.path, c.body); got != c.want {
			t.Errorf("%s %s: %d %s", c.method, c.path, got, text)
		}
	}
}

// The mapped addresses are those of RFC 5769's examples.
func TestAnswer(t *testing.T) {
	t.Parallel()
	question, err := hex.DecodeString("000100002112a442" + "b7e7a701bc34d686fa87dfae")
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		// RFC 5769, sections 2.2 and 2.3: the mapped address of the same number.
		"192.0.2.1:32853": "0101000c2112a442b7e7a701bc34d686fa87dfae" + "002000080001a147e112a643",
		"[2001:db8:1234:5678:11:2233:4455:6677]:32853": "010100182112a442b7e7a701bc34d686fa87dfae" + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9",
	} {
		if got := hex.EncodeToString(spikes.Answer(question, netip.MustParseAddrPort(from))); got != want {
			t.Errorf("%s:\n%s, want\n%s", from, got, want)
		}
	}
	for _, bad := range [][]byte{nil, question[:19], bytes.Repeat([]byte{1}, 40), append([]byte{0x40}, question[1:]...)} {
		if got := spikes.Answer(bad, netip.MustParseAddrPort("192.0.2.1:1")); got != nil {
			t.Errorf("%x gets %x", bad, got)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	got := spikes.Read([]string{"offproof lab", "plain: arrived\nipv6: failed", " gzip-base64: waiting ", "udp-443: gone", "other: arrived", "plain:"})
	want := map[spikes.Kind]spikes.State{spikes.Plain: spikes.Arrived, spikes.IPv6: spikes.Failed, spikes.Packed: spikes.Waiting}
	if len(got) != len(want) {
		t.Errorf("%v, want %v", got, want)
	}
	for k, s := range want {
		if got[k] != s {
			t.Errorf("%s: %q, want %q", k, got[k], s)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := spikes.Answer(b, netip.MustParseAddrPort("[2001:db8::1]:5")); len(got) > 44 {
			t.Errorf("an answer of %d bytes", len(got))
		}
	})
}
