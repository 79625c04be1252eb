package harness_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/telemetry"
	"github.com/offproof/offproof/harness"
)

// knows is a decoder from outside that knows what was sealed.
type knows struct {
	plain  []byte
	events []telemetry.Event
	err    error
}

func (knows) Name() string { return "the bench's own" }

func (k knows) Decode(_ context.Context, s telemetry.Sealed) (telemetry.Opened, error) {
	if k.err != nil {
		return telemetry.Opened{}, k.err
	}
	o := telemetry.Opened{Events: k.events}
	if k.plain != nil {
		for range s.Pieces {
			o.Plain = append(o.Plain, k.plain)
		}
	}
	return o, nil
}

// What a decoder from outside opens is judged like anything else; without one, or
// where it fails, what is sealed stays opaque. A program's events show that
// something was sent and never that nothing was.
func TestDecodersFromOutside(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		by   func(o *harness.Observation) []telemetry.Decoder
		want harness.Outcome
		says string
	}{
		{"nobody", func(*harness.Observation) []telemetry.Decoder { return nil }, harness.OutcomeInconclusive, "opaque payload"},
		{"keys, and the words are in it", func(o *harness.Observation) []telemetry.Decoder {
			return []telemetry.Decoder{knows{plain: []byte(fmt.Sprintf(`[{"H":{"event":"search","e_ts":%d},"B":{"word":%q}}]`, o.Acts[0].UnixMilli(), o.Canaries[0].Term))}}
		}, harness.Continues, "korvandelc mistruphc"},
		{"a program that knows the event", func(o *harness.Observation) []telemetry.Decoder {
			return []telemetry.Decoder{knows{events: []telemetry.Event{{SDK: telemetry.OneTrack, Name: "search", Type: "track", Time: o.Acts[0], Properties: map[string]any{"n": json.Number("1")}}}}}
		}, harness.Continues, "onetrack event search"},
		{"a program that fails", func(*harness.Observation) []telemetry.Decoder {
			return []telemetry.Decoder{knows{err: errors.New("no such key")}}
		}, harness.OutcomeInconclusive, "opaque payload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			o := w.get("off-1")
			var sealed []byte
			for i := range 8 {
				sum := sha256.Sum256([]byte{byte(i)})
				sealed = append(sealed, sum[:]...)
			}
			ex := w.send(o.Window.Open.Add(2*time.Second), "POST", "https://tracking.intl.miui.com/track/v4", "application/octet-stream", sealed)
			for name, value := range map[string]string{"OT_SID": "sid", "OT_ts": "1588300000000", "OT_net": "WIFI", "OT_sender": "com.mi.globalbrowser", "OT_protocol": "3.0"} {
				ex.RequestHeader = append(ex.RequestHeader, capture.Header{Name: name, Value: value})
			}
			opened := w.ev.Open(t.Context(), c.by(o)...)
			f := w.judge()
			said := strings.Join(f.Because, "\n")
			if f.Outcome != c.want || !strings.Contains(said, c.says) {
				t.Errorf("it came to %s: %s", f.Outcome, said)
			}
			if decoders := c.by(o); (len(opened) > 0) != (len(decoders) > 0) {
				t.Errorf("opened were %+v", opened)
			}
			for _, one := range opened {
				if one.Event.Doubt == "" && one.Decoder != "the bench's own" || !strings.Contains(one.URL, "track/v4") {
					t.Errorf("it names %+v", one)
				}
			}
			if b, err := json.Marshal(opened); err != nil || bytes.Contains(b, sealed[:8]) {
				t.Errorf("%v: %s", err, b)
			}
		})
	}
}
