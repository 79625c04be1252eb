package harness

import (
	"context"
	"slices"

	"github.com/offproof/offproof/capture"
	"github.com/offproof/offproof/capture/payload"
	"github.com/offproof/offproof/capture/telemetry"
)

// exchangeAt is the place of an exchange in the evidence.
type exchangeAt struct {
	backend string
	packets bool
	index   int
}

// A reading is a request as decoders from outside opened it.
type reading struct {
	parts  []payload.Part
	events []telemetry.Event
}

// An Opening is what a decoder from outside read, for the evidence: its name, and
// never a key.
type Opening struct {
	Decoder  string          `json:"decoder"`
	Backend  string          `json:"backend"`
	Exchange string          `json:"exchange"`
	URL      string          `json:"url"`
	Event    telemetry.Event `json:"event"`
}

// Open has decoders from outside read what no decoder of ours can, in every request
// of the evidence, and keeps what they read for the judge: judging itself asks
// nobody. It returns what was opened and what a decoder failed at. ctx ends the
// programs among them.
func (ev *Evidence) Open(ctx context.Context, decoders ...telemetry.Decoder) []Opening {
	if len(decoders) == 0 {
		return nil
	}
	ev.opened = map[exchangeAt]reading{}
	var out []Opening
	read := func(at exchangeAt, ex *capture.Exchange) {
		whole := wholly(*ex)
		parts, events := telemetry.Read(ctx, whole, payload.Request(whole), decoders...)
		foreign := func(e telemetry.Event) bool { return e.Decoder != "" || e.Doubt != "" }
		if !slices.ContainsFunc(events, foreign) {
			return
		}
		ev.opened[at] = reading{parts, events}
		for _, e := range events {
			if foreign(e) {
				out = append(out, Opening{Decoder: e.Decoder, Backend: at.backend, Exchange: ex.ID, URL: ex.URL, Event: e})
			}
		}
	}
	for _, t := range ev.Traces {
		for i := range t.Exchanges {
			read(exchangeAt{t.Backend, false, i}, &t.Exchanges[i])
		}
		if c := ev.Packets[t.Backend]; c != nil {
			for i := range c.Exchanges {
				read(exchangeAt{t.Backend, true, i}, &c.Exchanges[i])
			}
		}
	}
	return out
}

// wholly is an exchange that says what is missing of it: bytes that were sent and
// not kept are, whether or not the instrument says so.
func wholly(ex capture.Exchange) capture.Exchange {
	ex.RequestTruncated = ex.RequestTruncated || ex.BytesUp > int64(len(ex.RequestBody))
	return ex
}

// readAt is a request as it was opened from outside, or as we open it ourselves.
func (ev *Evidence) readAt(at exchangeAt, ex capture.Exchange) ([]payload.Part, []telemetry.Event) {
	if r, ok := ev.opened[at]; ok {
		return r.parts, r.events
	}
	parts := telemetry.Open(ex, payload.Request(ex))
	return parts, telemetry.Decode(ex, parts)
}
