package harness_test

import (
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/harness"
)

// TestHidingPlaces are requests that hold data where nobody looks for it: in what
// a harmless purpose excuses, in names without values, in numbers.
func TestHidingPlaces(t *testing.T) {
	t.Parallel()
	const (
		unlisted = "https://telemetry.unlisted.example/v1"
		connects = "https://connect.rom.miui.com/generate_204"
	)
	in := func(o *harness.Observation) time.Time { return o.Window.Open.Add(5 * time.Second) }
	// inBoth sends one request in the negative control and one with the switch off.
	const config = "https://sdkconfig.ad.intl.xiaomi.com/api/v4/detail/config"
	// codes writes bytes by a format, with something between.
	codes := func(b []byte, format, between string) string {
		var out []string
		for _, c := range b {
			out = append(out, fmt.Sprintf(format, c))
		}
		return strings.Join(out, between)
	}
	sealed := sha512.Sum512([]byte("what nobody can read"))
	asks := func(w *world, o *harness.Observation, value string) {
		w.send(in(o), "POST", config, "application/x-www-form-urlencoded", []byte("ov=V11&av=9&x="+url.QueryEscape(value)))
	}
	inBoth := func(w *world, kind string, quiet, off []byte) {
		w.send(in(w.get("quiet")), "POST", unlisted, kind, quiet)
		w.send(in(w.get("off-1")), "POST", unlisted, kind, off)
	}
	numbers := func(n ...uint64) []byte {
		named := map[string]uint64{}
		for i, x := range n {
			named[fmt.Sprintf("n%d", i)] = x
		}
		text, err := json.Marshal(named)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	message := func(empty ...protowire.Number) []byte {
		b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "com.mi.globalbrowser is the app that sends")
		for _, n := range empty {
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.BytesType), 0)
		}
		return b
	}
	for _, c := range []struct {
		name    string
		happens func(w *world, o *harness.Observation)
		want    harness.Outcome
		because string
	}{
		{"a connectivity check", func(w *world, o *harness.Observation) {
			w.send(in(o), "GET", connects, "", nil)
		}, harness.Stops, ""},
		{"the body of a connectivity check", func(w *world, o *harness.Observation) {
			w.send(in(o), "POST", connects, "text/plain", []byte("somebody looked for something about health"))
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"the query of a connectivity check", func(w *world, o *harness.Observation) {
			w.send(in(o), "GET", connects+"?topic=health", "", nil)
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"a path below a connectivity check's", func(w *world, o *harness.Observation) {
			w.send(in(o), "GET", connects+"/topic/health", "", nil)
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"names of cookies without values", func(w *world, o *harness.Observation) {
			ex := w.send(in(o), "GET", connects, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Cookie", Value: "health=; busy="})
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"names of header fields without values", func(w *world, o *harness.Observation) {
			ex := w.send(in(o), "GET", connects, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "X-Health"}, capture.Header{Name: "X-Busy"})
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"a header field of the standards without a value", func(w *world, o *harness.Observation) {
			ex := w.send(in(o), "GET", connects, "", nil)
			ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: "Accept-Encoding"})
		}, harness.Stops, ""},
		{"fields of protobuf without values", func(w *world, _ *harness.Observation) {
			inBoth(w, "application/x-protobuf", message(), message(77, 31, 200, 145, 99, 12, 54, 160, 233))
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"the words as the method", func(w *world, o *harness.Observation) {
			w.send(in(o), strings.ToUpper(strings.ReplaceAll(o.Canaries[0].Term, " ", "")), connects, "", nil)
		}, harness.Continues, "korvandel"},
		{"a method that nobody knows", func(w *world, o *harness.Observation) {
			w.send(in(o), "HEALTH", connects, "", nil)
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"a request for configuration", func(w *world, o *harness.Observation) {
			asks(w, o, "Redmi Note 8")
		}, harness.Stops, ""},
		{"ciphertext as a list of numbers in it", func(w *world, o *harness.Observation) {
			asks(w, o, codes(sealed[:32], "%d", ", "))
		}, harness.OutcomeInconclusive, "opaque"},
		{"ciphertext as pairs of digits in it", func(w *world, o *harness.Observation) {
			asks(w, o, codes(sealed[:32], "%02x", ";"))
		}, harness.OutcomeInconclusive, "opaque"},
		{"ciphertext in octal escapes in it", func(w *world, o *harness.Observation) {
			asks(w, o, codes(sealed[:32], `\%03o`, ""))
		}, harness.OutcomeInconclusive, "opaque"},
		{"ciphertext in quoted-printable in it", func(w *world, o *harness.Observation) {
			asks(w, o, codes(sealed[:32], "=%02X", ""))
		}, harness.OutcomeInconclusive, "opaque"},
		{"the words as JavaScript escapes them in it", func(w *world, o *harness.Observation) {
			asks(w, o, codes([]byte(o.Canaries[0].Term), "%%u%04x", ""))
		}, harness.Continues, "korvandel"},
		{"the words letter by letter in it", func(w *world, o *harness.Observation) {
			w.send(in(o), "POST", config, "application/x-www-form-urlencoded", []byte("ov=V11&c="+strings.Join(strings.Split(strings.ReplaceAll(o.Canaries[0].Term, " ", ""), ""), "&c=")))
		}, harness.Continues, "korvandel"},
		{"numbers of 64 bits where the control has small ones", func(w *world, _ *harness.Observation) {
			inBoth(w, "application/json", numbers(1, 2, 3), numbers(15181146223187869898, 2988735404632201966, 13097287745508191558))
		}, harness.OutcomeInconclusive, "opaque"},
		{"numbers of 32 bits where the control has small ones", func(w *world, _ *harness.Observation) {
			inBoth(w, "application/json", numbers(1, 2, 3, 4, 5), numbers(1518114622, 298873540, 3097287745, 1109320277, 4180289571))
		}, harness.OutcomeInconclusive, "numbers"},
		{"another end of a long text that the control has too", func(w *world, _ *harness.Observation) {
			const begin = "the browser reports what it did since it was started the last time, which was about: "
			inBoth(w, "text/plain", []byte(begin+"nothing"), []byte(begin+"health"))
		}, harness.OutcomeInconclusive, "no rule explains"},
		{"a long text that the control has too", func(w *world, _ *harness.Observation) {
			const text = "the browser reports what it did since it was started the last time, which was about: nothing"
			inBoth(w, "text/plain", []byte(text), []byte(text))
		}, harness.Stops, ""},
		{"numbers that count and tell times", func(w *world, o *harness.Observation) {
			body := func(at time.Time, n uint64) []byte {
				return numbers(uint64(at.UnixMilli()), uint64(at.UnixMicro())-3e6, uint64(at.Unix()), 40_000+n*357, n, 3_000_000_000+n*4096, 2, 87-n) //nolint:gosec // After 1970.
			}
			inBoth(w, "application/json", body(in(w.get("quiet")), 1), body(in(o), 4))
		}, harness.Stops, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.happens(w, w.get("off-1"))
			f := w.judge()
			if f.Outcome != c.want || !strings.Contains(strings.Join(f.Because, "\n"), c.because) {
				t.Errorf("outcome %s because %q, want %s because of %q", f.Outcome, f.Because, c.want, c.because)
			}
		})
	}
}
