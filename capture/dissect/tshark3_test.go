package dissect_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"

	"github.com/offproof/offproof/capture/dissect"
	"github.com/offproof/offproof/internal/peers"
)

// tsharkRequests are the requests of HTTP/3 that tshark sees in a capture with its
// keys, as authority and path, each with its count. It knows the frames, and the
// library decodes the headers in them.
func tsharkRequests(t testing.TB, path string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, row := range tshark(t, path, "http3", "http3.frame_payload") {
		for _, s := range values(row[0]) {
			block, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			header := map[string]string{}
			next := qpack.NewDecoder().Decode(block)
			for {
				f, err := next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					header = nil // Contents, or a part of them that tshark took for a frame.
					break
				}
				header[f.Name] = f.Value
			}
			if header[":path"] != "" {
				all[header[":authority"]+header[":path"]]++
			}
		}
	}
	return all
}

// requestsOf are the same as they are read here.
func requestsOf(c *dissect.Capture) map[string]int {
	all := map[string]int{}
	for _, x := range c.Exchanges {
		if x.Version == "HTTP/3.0" && x.Method != "" {
			all[strings.TrimPrefix(x.URL, "https://")]++
		}
	}
	return all
}

// noneMissing checks that no request that tshark sees is missing. One of which a
// packet was sent again is several to tshark.
func noneMissing(t *testing.T, c *dissect.Capture, path string) {
	t.Helper()
	ours := requestsOf(c)
	for request, n := range tsharkRequests(t, path) {
		if ours[request] == 0 {
			t.Errorf("tshark has %s %d times, and it is not in %v", request, n, ours)
		}
	}
}

// withKeys writes a capture with its key log to a file that both read.
func withKeys(t testing.TB, file, keys []byte) (string, []byte) {
	t.Helper()
	var out bytes.Buffer
	if err := dissect.WritePcapng(&out, bytes.NewReader(file), dissect.Notes{Secrets: keys}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, out.Bytes()
}

// TestHTTP3AgreesWithTshark has every version, a Retry, connections that share a
// socket, and keys that change.
func TestHTTP3AgreesWithTshark(t *testing.T) {
	peers.Require(t, "tshark")
	for _, version := range []quic.Version{quic.Version1, quic.Version2} {
		for _, retry := range []bool{false, true} {
			t.Run(version.String()+" retry "+strconv.FormatBool(retry), func(t *testing.T) {
				r := newQUICRig(t, func(tr *quic.Transport, _ *quic.Config) {
					if retry {
						tr.VerifySourceAddress = always
					}
				})
				bodies := bodiesOf(5, 16_000)
				h := r.client(r.transport(quicPhone), &quic.Config{Versions: []quic.Version{version}}, nil, nil)
				for _, p := range slices.Sorted(maps.Keys(bodies)) {
					r.post(h, p, bodies[p])
				}
				_ = h.Close()
				r.mu.Lock()
				defer r.mu.Unlock()
				path, file := withKeys(t, r.w.pcap(), r.keys.Bytes())
				c := read(t, file, dissect.Options{})
				wholly(t, c, bodies)
				compare(t, path, factsOf(c), tsharkFacts(t, path))
				noneMissing(t, c, path)
				phases := map[string]bool{}
				for _, row := range tshark(t, path, "quic.key_phase", "quic.key_phase") {
					phases[row[0]] = true
				}
				if !phases["0"] || !phases["1"] {
					t.Errorf("the keys did not change: %v", phases)
				}
			})
		}
	}
}
