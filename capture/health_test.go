package capture_test

import (
	"slices"
	"testing"
	"time"

	"github.com/offproof/offproof/capture"
)

func TestHealthInWords(t *testing.T) {
	at := time.Date(2020, 5, 1, 12, 0, 0, 0, time.UTC)
	dropped := int64(7)
	h := capture.Health{Dropped: &dropped, Problems: []string{"a problem"}, Losses: []capture.Loss{
		{From: at, To: at, Packets: 1, Why: "with a damaged IP header"},
		{From: at, To: at.Add(time.Minute), Packets: 2, Why: "dropped", Dropped: true},
		{From: at, To: at, Packets: 3, Why: "with a damaged IP header"},
		{From: at, To: at, Why: "it did not say"},
		{From: at, To: at, Packets: 1, Why: "cut short"},
	}}
	if want := []string{"a problem", "1 packet cut short", "2 packets dropped", "it did not say", "4 packets with a damaged IP header"}; !slices.Equal(h.Doubts(), want) {
		t.Errorf("doubts %q", h.Doubts())
	}
	if n := h.Unplaced(); n != 5 {
		t.Errorf("%d packets were lost nobody knows when, want 5", n)
	}
	h.Dropped = nil
	if n := h.Unplaced(); n != 0 {
		t.Errorf("%d packets of an unknown number", n)
	}
}
